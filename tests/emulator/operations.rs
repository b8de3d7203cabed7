//! Tests of the operations in every supported request format.

use std::time::Duration;

use jiff::Timestamp;
use live_message_operator::emulator::{Clock, SignatureVersion};
use serde_json::json;

use crate::client::Client;
use crate::emulator;

/// Creates, changes, deletes and recovers a group.
fn exercise_lifecycle(client: &Client, group: &str) {
    let app = ("AppId", "demo");
    let id = ("GroupId", group);
    let fields = [app, id, ("GroupName", "名 a+b"), ("Administrators.1", "uid1"), ("Administrators.2", "uid2")];
    let created = client.ok("CreateLiveMessageGroup", &fields);
    assert_eq!((&created["AlreadyExists"], &created["AlreadyDelete"]), (&json!(false), &json!(false)));
    let change = [app, id, ("ModifyAdmin", "True"), ("AdminList", "uid3"), ("ModifyInfo", "true"), ("GroupInfo", "{}")];
    client.ok("ModifyLiveMessageGroup", &change);
    let described = client.ok("DescribeLiveMessageGroup", &[app, id]);
    assert_eq!(described["AdminList"], json!(["uid3"]));
    assert_eq!((&described["GroupName"], &described["GroupInfo"]), (&json!("名 a+b"), &json!("{}")));
    let age = Timestamp::now().as_second() - described["Createtime"].as_i64().unwrap();
    assert!((0..60).contains(&age), "{described}");
    client.ok("DeleteLiveMessageGroup", &[app, id, ("OperatorId", "op1")]);
    let gone = client.ok("DescribeLiveMessageGroup", &[app, id]);
    assert_eq!((&gone["Delete"], &gone["Deletor"]), (&json!(true), &json!("op1")));
    client.ok("RecoverLiveMessageDeletedGroup", &[app, id]);
    let list = client.ok("ListLiveMessageGroupByPage", &[app, ("SortType", "2"), ("GroupStatus", "1")]);
    assert_eq!(list["GroupList"][0]["GroupId"], json!(group));
    assert_eq!(list["GroupList"][0]["Delete"], json!(false));
}

#[test]
fn group_lifecycle_works_in_every_request_format() {
    let emulator = emulator().start().unwrap();
    let mut number = 0;
    for v1 in [false, true] {
        for method in ["GET", "POST"] {
            for form in [false, true] {
                number += 1;
                let format = v1.then_some("json");
                let client = Client { v1, method, form, format, ..Client::new(emulator.address()) };
                exercise_lifecycle(&client, &format!("g{number}"));
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
fn request_target_of_98_kb_is_accepted() {
    let emulator = emulator().start().unwrap();
    let client = Client::new(emulator.address());
    // Percent-encoding triples the length of the Chinese text.
    let info = "群".repeat(10_922) + "xy";
    assert_eq!(info.len(), 32_768);
    let params = [("AppId", "demo"), ("GroupId", "g1"), ("GroupInfo", info.as_str())];
    assert!(client.request("CreateLiveMessageGroup", &params).len() > 98_000);
    client.ok("CreateLiveMessageGroup", &params);
    let group = client.ok("DescribeLiveMessageGroup", &params[..2]);
    assert_eq!(group["GroupInfo"].as_str(), Some(info.as_str()));
    // A longer value is rejected because of its own length, not because of the length of the request target.
    let double = info.clone() + &info[..6_000];
    let response = client.call("CreateLiveMessageGroup", &[params[0], params[1], ("GroupInfo", &double)]);
    assert_eq!((response.status, response.code().as_str()), (400, "InputInvalid"));
}

#[test]
fn response_format_follows_the_request() {
    let emulator = emulator().group("demo", "g1").start().unwrap();
    let json = Client::new(emulator.address());
    let v1 = Client { v1: true, ..json.clone() };
    let content_type = |client: &Client| {
        let response = client.call("DescribeLiveMessageGroup", &[("AppId", "demo"), ("GroupId", "g1")]);
        assert_eq!(response.status, 200);
        let root = response.body.contains("<DescribeLiveMessageGroupResponse><RequestId>");
        (response.header("content-type").unwrap().to_owned(), root)
    };
    let (as_json, as_xml) =
        (("application/json;charset=utf-8".to_owned(), false), ("text/xml;charset=utf-8".to_owned(), true));
    assert_eq!(content_type(&json), as_json);
    assert_eq!(content_type(&v1), as_xml);
    assert_eq!(content_type(&Client { format: Some("Json"), ..v1.clone() }), as_json);
    assert_eq!(content_type(&Client { format: Some("text/xml"), ..json.clone() }), as_xml);
    assert_eq!(content_type(&Client { format: Some("application/json"), ..json }), as_json);
    let error = v1.call("DescribeLiveMessageGroup", &[("AppId", "demo"), ("GroupId", "none")]);
    assert_eq!(error.status, 404);
    assert!(error.body.contains("<Error><RequestId>") && error.body.contains("<Code>ResourceNotExist</Code>"));
}

#[test]
fn deleted_group_is_purged_after_30_days_by_the_clock() {
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
fn apps_can_be_created_at_run_time() {
    let emulator = emulator().start().unwrap();
    let client = Client::new(emulator.address());
    let app = client.ok("CreateLiveMessageApp", &[("AppName", "testApp"), ("DataCenter", "ap-southeast-1")]);
    let id = app["AppId"].as_str().unwrap();
    let params = [("AppId", id), ("GroupId", "g1"), ("DataCenter", "ap-southeast-1")];
    client.ok("CreateLiveMessageGroup", &params);
    assert_eq!(client.ok("DescribeLiveMessageApp", &[("AppId", id)])["AppName"], json!("testApp"));
    assert_eq!(client.ok("ListLiveMessageApps", &[("SortType", "1")])["AppList"].as_array().unwrap().len(), 2);
}
