//! The operations, in every way they can be called.

use std::time::Duration;

use jiff::Timestamp;
use live_message_operator::emulator::{Clock, SignatureVersion};
use serde_json::json;

use crate::client::Client;
use crate::emulator;

/// The life of a group by this client, start to end.
fn life(client: &Client, group: &str) {
    let app = ("AppId", "demo");
    let id = ("GroupId", group);
    let fields = [app, id, ("GroupName", "名 a+b"), ("Administrators.1", "uid1"), ("Administrators.2", "uid2")];
    let created = client.ok("CreateLiveMessageGroup", &fields);
    assert_eq!((&created["AlreadyExists"], &created["AlreadyDelete"]), (&json!(false), &json!(false)));
    let change = [app, id, ("ModifyAdmin", "True"), ("AdminList", "uid3"), ("ModifyInfo", "true"), ("GroupInfo", "{}")];
    client.ok("ModifyLiveMessageGroup", &change);
    let group_now = client.ok("DescribeLiveMessageGroup", &[app, id]);
    assert_eq!(group_now["AdminList"], json!(["uid3"]));
    assert_eq!((&group_now["GroupName"], &group_now["GroupInfo"]), (&json!("名 a+b"), &json!("{}")));
    let age = Timestamp::now().as_second() - group_now["Createtime"].as_i64().unwrap();
    assert!((0..60).contains(&age), "{group_now}");
    client.ok("DeleteLiveMessageGroup", &[app, id, ("OperatorId", "op1")]);
    let gone = client.ok("DescribeLiveMessageGroup", &[app, id]);
    assert_eq!((&gone["Delete"], &gone["Deletor"]), (&json!(true), &json!("op1")));
    client.ok("RecoverLiveMessageDeletedGroup", &[app, id]);
    let list = client.ok("ListLiveMessageGroupByPage", &[app, ("SortType", "2"), ("GroupStatus", "1")]);
    assert_eq!(list["GroupList"][0]["GroupId"], json!(group));
    assert_eq!(list["GroupList"][0]["Delete"], json!(false));
}

#[test]
fn every_operation_by_get_and_post_query_and_form_v1_and_v3() {
    let emulator = emulator().start().unwrap();
    let mut number = 0;
    for v1 in [false, true] {
        for method in ["GET", "POST"] {
            for form in [false, true] {
                number += 1;
                let format = v1.then_some("json");
                let client = Client { v1, method, form, format, ..Client::new(emulator.address()) };
                life(&client, &format!("g{number}"));
            }
        }
    }
    let log = emulator.request_log();
    assert_eq!(log.len(), 8 * 7);
    assert!(log.iter().all(|record| record.status == 200 && record.code.is_none()));
    assert_eq!(log.iter().filter(|record| record.signature == Some(SignatureVersion::V1)).count(), 4 * 7);
    let params = |index: usize| log[index].params.keys().map(String::as_str).collect::<Vec<_>>();
    let create = ["Administrators.1", "Administrators.2", "AppId", "GroupId", "GroupName"];
    assert_eq!(params(0), create);
    assert_eq!(params(28), create);
}

#[test]
fn a_request_target_of_98_kb_is_understood() {
    let emulator = emulator().start().unwrap();
    let client = Client::new(emulator.address());
    // 32,768 bytes of Chinese: nine bytes on the wire for three.
    let info = "群".repeat(10_922) + "xy";
    assert_eq!(info.len(), 32_768);
    let params = [("AppId", "demo"), ("GroupId", "g1"), ("GroupInfo", info.as_str())];
    assert!(client.request("CreateLiveMessageGroup", &params).len() > 98_000);
    client.ok("CreateLiveMessageGroup", &params);
    let group = client.ok("DescribeLiveMessageGroup", &params[..2]);
    assert_eq!(group["GroupInfo"].as_str(), Some(info.as_str()));
    // And twice as much is refused by its length, not by its target's.
    let double = info.clone() + &info[..6_000];
    let response = client.call("CreateLiveMessageGroup", &[params[0], params[1], ("GroupInfo", &double)]);
    assert_eq!((response.status, response.code().as_str()), (400, "InputInvalid"));
}

#[test]
fn answers_are_json_or_xml_as_asked_for() {
    let emulator = emulator().group("demo", "g1").start().unwrap();
    let json = Client::new(emulator.address());
    let v1 = Client { v1: true, ..json.clone() };
    let kind = |client: &Client| {
        let response = client.call("DescribeLiveMessageGroup", &[("AppId", "demo"), ("GroupId", "g1")]);
        assert_eq!(response.status, 200);
        let root = response.body.contains("<DescribeLiveMessageGroupResponse><RequestId>");
        (response.header("content-type").unwrap().to_owned(), root)
    };
    let (as_json, as_xml) =
        (("application/json;charset=utf-8".to_owned(), false), ("text/xml;charset=utf-8".to_owned(), true));
    assert_eq!(kind(&json), as_json);
    assert_eq!(kind(&v1), as_xml);
    assert_eq!(kind(&Client { format: Some("Json"), ..v1.clone() }), as_json);
    assert_eq!(kind(&Client { format: Some("text/xml"), ..json.clone() }), as_xml);
    assert_eq!(kind(&Client { format: Some("application/json"), ..json }), as_json);
    let error = v1.call("DescribeLiveMessageGroup", &[("AppId", "demo"), ("GroupId", "none")]);
    assert_eq!(error.status, 404);
    assert!(error.body.contains("<Error><RequestId>") && error.body.contains("<Code>ResourceNotExist</Code>"));
}

#[test]
fn a_deleted_group_is_gone_after_30_days_of_the_emulators_clock() {
    let start: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    let clock = Clock::fixed(start);
    let emulator = emulator().clock(clock.clone()).deleted_group("demo", "g1").start().unwrap();
    let at = |time| Client { time: Some(time), ..Client::new(emulator.address()) };
    let params = [("AppId", "demo"), ("GroupId", "g1")];
    assert_eq!(at(start).ok("DescribeLiveMessageGroup", &params)["Deletatime"], json!(start.as_second()));
    clock.advance(Duration::from_secs(30 * 24 * 3600));
    let response = at(clock.now()).call("DescribeLiveMessageGroup", &params);
    assert_eq!((response.status, response.code().as_str()), (404, "ResourceNotExist"));
    assert_eq!(at(clock.now()).ok("CreateLiveMessageGroup", &params)["AlreadyExists"], json!(false));
    assert_eq!(at(start).call("DescribeLiveMessageGroup", &params).code(), "InvalidTimeStamp.Expired");
    assert!(emulator.group("demo", "g1").unwrap().deleted.is_none());
}

#[test]
fn apps_are_made_on_the_fly() {
    let emulator = emulator().start().unwrap();
    let client = Client::new(emulator.address());
    let app = client.ok("CreateLiveMessageApp", &[("AppName", "testApp"), ("DataCenter", "ap-southeast-1")]);
    let id = app["AppId"].as_str().unwrap();
    let params = [("AppId", id), ("GroupId", "g1"), ("DataCenter", "ap-southeast-1")];
    client.ok("CreateLiveMessageGroup", &params);
    assert_eq!(client.ok("DescribeLiveMessageApp", &[("AppId", id)])["AppName"], json!("testApp"));
    assert_eq!(client.ok("ListLiveMessageApps", &[("SortType", "1")])["AppList"].as_array().unwrap().len(), 2);
}
