//! Fuzz targets for the response decoder, with JSON and XML.

use super::*;
use crate::live::bounded::Limits;
use crate::live::fuzz::Target;

const WORDS: &[&str] = &[
    "RequestId",
    "GroupId",
    "GroupName",
    "GroupInfo",
    "CreatorId",
    "AdminList",
    "Delete",
    "Createtime",
    "GroupList",
    "Groups",
    "TotalCount",
    "AlreadyExists",
    "AlreadyDelete",
    "Code",
    "Message",
    "code",
    "true",
    "null",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\u00e9",
    "\\ud83d\\ude00",
    "\\ud83d",
    "{\"a\":",
    "[[[[[[[[",
    "{},",
    "\"a\",",
    "<a>",
    "</a>",
    "<a/>",
    "<Groups>",
    "</Groups>",
    "<![CDATA[",
    "]]>",
    "&amp;",
    "&#65;",
    "&#x110000;",
    "&unknown;",
    "<!--",
    "-->",
    "<?xml",
    "?>",
    "<!DOCTYPE a [",
    "<!ENTITY b \"c\">",
    "xmlns:a=\"b\"",
];

const JSON: &[&str] = &[
    r#"{"RequestId":"1-A","GroupId":"g","AlreadyExists":true,"AlreadyDelete":false}"#,
    r#"{"RequestId":"1-A","GroupId":"g","GroupName":"Room","GroupInfo":"{\"a\":\"é\"}","CreatorId":"u1",
        "AdminList":["u1","u2"],"Delete":false,"Createtime":1767323045,"MsgAmount":{"1":7},"OnlineUserCounts":3}"#,
    r#"{"RequestId":"1-A","GroupId":7,"AdminList":[["u1","u2"]],"Delete":"true","createtime":"1767323045000"}"#,
    r#"{"RequestId":"1-A","GroupList":[{"GroupId":"a","AdminList":["[\"u1\",\"u2\"]"]},{"GroupId":"b"}],
        "PageNumber":1,"PageSize":50,"TotalCount":2}"#,
    r#"{"GroupList":{"Groups":[{"GroupId":"a"}]},"TotalCount":"1"}"#,
    r#"{"RequestId":"1-A","HostId":"live.aliyuncs.com","Code":"Throttling.User","Message":"Request was denied.",
        "AccessDeniedDetail":{"PolicyType":"x"}}"#,
];

const XML: &[&str] = &[
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?><DescribeLiveMessageGroupResponse><RequestId>1-A</RequestId>\
     <GroupId>g</GroupId><GroupInfo>&lt;a &amp; &quot;b&quot;&gt;&#13;</GroupInfo><AdminList><Admins>u1</Admins>\
     <Admins>u2</Admins></AdminList><Delete>false</Delete><Createtime>1767323045</Createtime><MsgAmount></MsgAmount>\
     </DescribeLiveMessageGroupResponse>",
    "<R><GroupList><Groups><GroupId>a</GroupId></Groups><Groups><GroupId>b</GroupId></Groups></GroupList>\
     <TotalCount>2</TotalCount></R>",
    "<R><GroupList><GroupId>a</GroupId><AdminList>u1</AdminList><AdminList>u2</AdminList></GroupList>\
     <TotalCount>1</TotalCount></R>",
    "<R><GroupId>g</GroupId><AlreadyExists>true</AlreadyExists><AlreadyDelete>true</AlreadyDelete></R>",
    "<Error><RequestId>1-A</RequestId><HostId>h</HostId><Code>NoAuth</Code><Message><![CDATA[no]]></Message></Error>",
];

/// Decodes a body as the response to every operation and as an error.
fn decode_all(bytes: &[u8], is_xml: bool) -> Vec<Option<String>> {
    let operations = Operation::ALL.into_iter().map(|operation| {
        let decoded = decode(operation, Document { bytes, is_xml, values: Limits::of(operation).values })?;
        let groups = match &decoded.reply {
            Ok(Reply::Group(group)) => std::slice::from_ref(group),
            Ok(Reply::Page(page)) => &page.groups,
            _ => &[],
        };
        for group in groups {
            assert!(!group.group_id.is_empty() && group.group_info.len() <= MAX_INFO, "{group:?}");
            assert!(group.administrators.iter().all(|id| !id.is_empty()) && group.administrators.len() <= 100);
        }
        assert!(decoded.request_id.is_none_or(|id| is_word(&id)));
        Some(format!("{:?}", decoded.reply))
    });
    let mut all: Vec<Option<String>> = operations.collect();
    let body = Document { bytes, is_xml, values: Limits::ERROR.values }.read::<ErrorBody>();
    all.push(body.map(|body| {
        let error = body.into_error(400);
        if let Some(CallError::Api(error)) = &error {
            assert!(error.code.as_deref().is_some_and(is_word));
            let message = bounded(&error.message);
            assert!(message.chars().count() <= 501 && !message.contains(['\n', '\u{202e}']), "{message:?}");
        }
        error.map(|error| error.to_string()).unwrap_or_default()
    }));
    all
}

fn seeds(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn json_responses() {
    Target { name: "JSON responses", seeds: seeds(JSON), words: WORDS }.run(|bytes| decode_all(bytes, false));
}

#[test]
fn xml_responses() {
    Target { name: "XML responses", seeds: seeds(XML), words: WORDS }.run(|bytes| decode_all(bytes, true));
}
