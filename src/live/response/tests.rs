use super::*;
use serde_json::{Value, json};

fn document(bytes: &[u8], is_xml: bool) -> Document<'_> {
    Document { bytes, is_xml, values: 1_000 }
}

fn reply_in(operation: Operation, value: &Value) -> Result<Reply, String> {
    decode(operation, document(value.to_string().as_bytes(), false)).unwrap().reply
}

fn created(value: &Value) -> Result<Reply, String> {
    reply_in(Operation::Create, value)
}

fn described(value: &Value) -> Result<Reply, String> {
    reply_in(Operation::Describe, value)
}

fn listed(value: &Value) -> Result<Reply, String> {
    reply_in(Operation::ListByPage, value)
}

fn request_id(value: &Value) -> Option<String> {
    decode(Operation::Delete, document(value.to_string().as_bytes(), false)).unwrap().request_id
}

fn api_error(status: u16, value: &Value) -> Option<CallError> {
    document(value.to_string().as_bytes(), false).read::<ErrorBody>().unwrap().into_error(status)
}

#[test]
fn already_delete_takes_precedence_over_already_exists() {
    let answer = json!({"AlreadyExists": true, "AlreadyDelete": "True", "GroupId": "g"});
    assert_eq!(created(&answer), Ok(Reply::Created(CreateOutcome::AlreadyDelete)));
    assert_eq!(created(&json!({"GroupId": "g"})), Ok(Reply::Created(CreateOutcome::Created)));
    assert!(created(&json!({"RequestId": "r"})).is_err());
    assert!(created(&json!({"GroupId": ""})).is_err());
    assert!(created(&json!({"GroupId": null, "AlreadyExists": null, "AlreadyDelete": null})).is_err());
}

#[test]
fn time_is_decoded_in_every_unit() {
    let second = parse_epoch(1_767_323_045);
    assert_eq!(second.map(Timestamp::as_second), Some(1_767_323_045));
    assert_eq!(parse_epoch(1_767_323_045_000), second);
    assert_eq!(parse_epoch(1_767_323_045_000_000), second);
    assert_eq!(parse_epoch(1_767_323_045_000_000_000), second);
    assert_eq!(parse_epoch(0), None);
}

#[test]
fn control_characters_are_removed_from_codes_and_messages() {
    assert_eq!(bounded("\u{1b}[2J no\r\n such\u{0}thing \u{9b}m "), "[2J no such thing m");
    assert_eq!(bounded("no\u{202e} group\u{200b}"), "no group");
    for word in ["A\nERROR all is lost", "\u{1b}[31m", "a b", "ü"] {
        assert_eq!(request_id(&json!({"RequestId": word})), None);
        assert!(api_error(400, &json!({"Code": word, "Message": "m"})).is_none());
    }
    let Some(CallError::Api(error)) = api_error(400, &json!({"Code": "InvalidParameter.A_b-1", "RequestId": "1-A"}))
    else {
        panic!("no error code")
    };
    assert_eq!((error.code.as_deref(), error.request_id.as_deref()), (Some("InvalidParameter.A_b-1"), Some("1-A")));
}

#[test]
fn response_without_content_is_an_error() {
    assert!(described(&json!({"RequestId": "r"})).is_err());
    assert!(listed(&json!({"RequestId": "r"})).is_err());
    for list in [json!([{}]), json!({"Unknown": [{"GroupId": "g"}]}), json!([{"GroupId": ""}])] {
        assert!(listed(&json!({"GroupList": list, "TotalCount": 1})).is_err(), "a group without an ID: {list}");
    }
}

#[test]
fn group_is_decoded_completely() {
    let answer = json!({
        "GroupId": "g", "GroupName": "Room", "GroupInfo": "info", "CreatorId": "me", "AdminList": ["a"],
        "Delete": true, "Createtime": 1_767_323_045,
    });
    let group = GroupSnapshot {
        group_id: "g".into(),
        group_name: "Room".into(),
        group_info: "info".into(),
        creator_id: "me".into(),
        administrators: vec!["a".into()],
        deleted: true,
        create_time: parse_epoch(1_767_323_045),
    };
    assert_eq!(described(&answer), Ok(Reply::Group(group)));
    let bare = GroupSnapshot { group_id: "g".into(), ..GroupSnapshot::default() };
    assert_eq!(described(&json!({"GroupId": "g"})), Ok(Reply::Group(bare)), "a group without `Delete` is not deleted");
}

#[test]
fn members_are_decoded_from_any_type_and_spelling() {
    let answer = json!({"groupid": 7, "GROUPNAME": true, "groupInfo": 12, "creatorId": null, "adminlist": [[1001, "b"]],
        "delete": "1", "CreateTime": " 1767323045 "});
    let group = GroupSnapshot {
        group_id: "7".into(),
        group_name: "true".into(),
        group_info: "12".into(),
        creator_id: String::new(),
        administrators: vec!["1001".into(), "b".into()],
        deleted: true,
        create_time: parse_epoch(1_767_323_045),
    };
    assert_eq!(described(&answer), Ok(Reply::Group(group)));
}

#[test]
fn too_long_info_is_refused() {
    let info = |bytes| json!({"GroupId": "g", "GroupInfo": "x".repeat(bytes)});
    assert!(described(&info(MAX_INFO)).is_ok());
    assert!(described(&info(MAX_INFO + 1)).is_err());
    assert!(listed(&json!({"GroupList": [info(MAX_INFO + 1)], "TotalCount": 1})).is_err());
}

#[test]
fn create_outcome_is_decoded() {
    let exists = json!({"AlreadyExists": true, "AlreadyDelete": false, "GroupId": "g"});
    assert_eq!(created(&exists), Ok(Reply::Created(CreateOutcome::AlreadyExists)));
    let new = json!({"AlreadyExists": "false", "AlreadyDelete": "false"});
    assert_eq!(created(&new), Ok(Reply::Created(CreateOutcome::Created)));
}

#[test]
fn list_is_decoded_in_any_nesting() {
    let group = |id: &str| json!({"GroupId": id});
    for (list, ids) in [
        (json!([group("a"), group("b")]), vec!["a", "b"]),
        (json!({"GroupList": [group("a"), group("b")]}), vec!["a", "b"]),
        (json!({"GroupList": group("a")}), vec!["a"]),
        (json!({"Groups": [group("a"), group("b")]}), vec!["a", "b"]),
        (group("a"), vec!["a"]),
        (json!([]), vec![]),
        (json!(""), vec![]),
        (json!(null), vec![]),
    ] {
        let Ok(Reply::Page(page)) = listed(&json!({"GroupList": list, "TotalCount": "12"})) else { panic!("{list}") };
        let listed: Vec<&str> = page.groups.iter().map(|group| group.group_id.as_str()).collect();
        assert_eq!((listed, page.total), (ids, 12));
    }
}

#[test]
fn lists_in_xml_are_wrapped_or_repeated() {
    let groups_in = |xml: &str| {
        let xml = format!("<R><TotalCount>2</TotalCount>{xml}</R>");
        let decoded = decode(Operation::ListByPage, document(xml.as_bytes(), true)).unwrap();
        let Ok(Reply::Page(page)) = decoded.reply else { panic!("{xml}: {:?}", decoded.reply) };
        let group = |group: GroupSnapshot| (group.group_id, group.administrators.join(","));
        page.groups.into_iter().map(group).collect::<Vec<_>>()
    };
    let a = ("a".to_owned(), "u1,u2".to_owned());
    let b = ("b".to_owned(), "u3".to_owned());
    let wrapped = "<Groups><GroupId>a</GroupId><AdminList><Admins>u1</Admins><Admins>u2</Admins></AdminList></Groups>";
    let single = "<Groups><GroupId>b</GroupId><AdminList><Admins>u3</Admins></AdminList></Groups>";
    let unwrapped = "<GroupList><GroupId>a</GroupId><AdminList>u1</AdminList><AdminList>u2</AdminList></GroupList>";
    let without = "<Groups><GroupId>c</GroupId><AdminList></AdminList></Groups>";
    for (xml, expected) in [
        (format!("<GroupList>{wrapped}{single}</GroupList>"), vec![a.clone(), b.clone()]),
        (format!("<GroupList>{single}</GroupList>"), vec![b.clone()]),
        (format!("<GroupList>{wrapped}</GroupList><GroupList>{single}</GroupList>"), vec![a.clone(), b.clone()]),
        (format!("<GroupList>{without}</GroupList>"), vec![("c".to_owned(), String::new())]),
        (unwrapped.to_owned(), vec![a.clone()]),
        (unwrapped.repeat(2), vec![a.clone(), a]),
        ("<GroupList></GroupList>".to_owned(), vec![]),
        ("<GroupList/>".to_owned(), vec![]),
        (String::new(), vec![]),
    ] {
        assert_eq!(groups_in(&xml), expected, "{xml}");
    }
}

#[test]
fn code_is_one_word_and_condition_text_is_bounded() {
    let error_with_code = |code: &str| api_error(400, &json!({"Code": code, "RequestId": "r"}));
    for code in ["X", &"X".repeat(100)] {
        let Some(CallError::Api(error)) = error_with_code(code) else { panic!("{code}") };
        assert_eq!(
            (error.code.as_deref(), error.request_id.as_deref(), error.body_complete),
            (Some(code), Some("r"), true)
        );
    }
    assert_eq!((error_with_code(""), error_with_code(&"X".repeat(101))), (None, None));
    assert_eq!(bounded(" two\n lines "), "two lines");
    assert_eq!(bounded(&"x".repeat(500)), "x".repeat(500));
    assert_eq!(bounded(&"\u{e9}".repeat(501)), format!("{}\u{2026}", "\u{e9}".repeat(500)));
}
