//! Tests of the admin API.

use std::net::SocketAddr;

use live_message_operator::emulator::Handle;
use serde_json::{Value, json};

use crate::client::{Client, Connection, Response};
use crate::emulator;

const CREATE: &str = "CreateLiveMessageGroup";
const DESCRIBE: &str = "DescribeLiveMessageGroup";
const GROUP: [(&str, &str); 2] = [("AppId", "demo"), ("GroupId", "g1")];

/// Sends one request to the admin API and returns its status and body.
pub fn admin(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, Value) {
    let mut connection = Connection::open(address);
    let length = body.len();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: admin\r\nContent-Length: {length}\r\n\r\n{body}");
    connection.send(request.as_bytes());
    let response: Response = connection.receive();
    (response.status, response.json())
}

#[test]
fn admin_api_changes_a_running_emulator() {
    let emulator = emulator().admin_listen("127.0.0.1:0").start().unwrap();
    let client = Client::new(emulator.address());
    let request = |method: &str, path: &str, body: &str| admin(emulator.admin_address().unwrap(), method, path, body);

    let rules = json!(["CreateLiveMessageGroup:error=500/ServerError,times=1"]);
    assert_eq!(request("PUT", "/faults", &rules.to_string()), (200, rules));
    assert_eq!(client.call(CREATE, &GROUP).code(), "ServerError");
    assert_eq!(request("GET", "/faults", "").1, json!(["CreateLiveMessageGroup:error=500/ServerError,times=0"]));
    assert_eq!(request("DELETE", "/faults", ""), (200, json!([])));
    client.ok(CREATE, &GROUP);

    let limits = request("PUT", "/limits", r#"{"requestsPerSecond": 0, "groupsPerApp": 1}"#).1;
    assert_eq!(limits, json!({"requestsPerSecond": 0, "countRefused": false, "groupsPerApp": 1, "latencyMs": 0}));
    assert_eq!(client.call(CREATE, &[GROUP[0], ("GroupId", "g2")]).code(), "ErrorTooManyGroups");

    let saved = request("GET", "/state", "").1;
    client.ok("DeleteLiveMessageGroup", &GROUP);
    assert_eq!(request("PUT", "/clock", r#"{"advanceSeconds": 2592000}"#).0, 200);
    let time = Some(emulator.clock().now());
    let later = Client { time, ..client.clone() };
    assert_eq!(later.call(DESCRIBE, &GROUP).code(), "ResourceNotExist");
    assert_eq!(request("PUT", "/state", &saved.to_string()), (200, saved));
    assert_eq!(later.ok(DESCRIBE, &GROUP)["Delete"], json!(false));

    assert_eq!(request("GET", "/requests", "").1.as_array().unwrap().len(), 6);
    assert_eq!(request("DELETE", "/requests", ""), (200, json!([])));
    assert_eq!(request("GET", "/", "").1["apps"], json!(1));
    let now = json!({"now": "2026-01-02T03:04:05Z"});
    assert_eq!(request("PUT", "/clock", &now.to_string()).0, 200);
    let set: jiff::Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    assert!((0..600).contains(&emulator.clock().now().duration_since(set).as_secs()));
}

#[test]
fn invalid_admin_requests_change_nothing() {
    let emulator = emulator().admin_listen("127.0.0.1:0").start().unwrap();
    for (method, path, body, status) in [
        ("GET", "/none", "", 404),
        ("POST", "/faults", "[]", 405),
        ("DELETE", "/state", "", 405),
        ("PUT", "/faults", r#"["*:none"]"#, 400),
        ("PUT", "/limits", r#"{"latency": 1}"#, 400),
        ("PUT", "/clock", r#"{"advanceSeconds": -1}"#, 400),
        ("PUT", "/clock", r#"{"advanceSeconds": 1, "now": "2026-01-02T03:04:05Z"}"#, 400),
        ("PUT", "/state", r#"{"groups": []}"#, 400),
    ] {
        let (actual, body_json) = admin(emulator.admin_address().unwrap(), method, path, body);
        assert_eq!(actual, status, "{method} {path} {body}: {body_json}");
        assert!(body_json["error"].is_string());
    }
    // The admin address does not serve the Live API.
    assert_eq!(Client::new(emulator.admin_address().unwrap()).call(CREATE, &GROUP).status, 405);
}

fn emulator_with_admin() -> Handle {
    emulator().admin_listen("127.0.0.1:0").start().unwrap()
}

#[test]
fn keys_can_be_added_changed_and_removed() {
    let emulator = emulator_with_admin();
    let request = |method: &str, path: &str, body: &str| admin(emulator.admin_address().unwrap(), method, path, body);
    let client = Client { id: "k2".to_owned(), secret: "s2".to_owned(), ..Client::new(emulator.address()) };
    assert_eq!(request("PUT", "/keys/k2", r#"{"active": true}"#).0, 400);
    let key = json!({"id": "k2", "account": "42", "active": true, "temporary": false, "expires": null});
    assert_eq!(request("PUT", "/keys/k2", r#"{"secret": "s2", "account": "42"}"#), (200, key.clone()));
    client.ok(CREATE, &GROUP);
    assert_eq!(request("PUT", "/keys/k2", r#"{"active": false}"#).1["active"], json!(false));
    assert_eq!(client.call(DESCRIBE, &GROUP).code(), "InvalidAccessKeyId.Inactive");
    assert_eq!(request("PUT", "/keys/k2", r#"{"active": true, "token": "t"}"#).1["temporary"], json!(true));
    assert_eq!(client.call(DESCRIBE, &GROUP).code(), "MissingSecurityToken");
    let temporary = Client { token: Some("t".to_owned()), ..client.clone() };
    temporary.ok(DESCRIBE, &GROUP);
    request("PUT", "/keys/k2", r#"{"expires": "2026-01-02T03:04:05Z"}"#);
    assert_eq!(temporary.call(DESCRIBE, &GROUP).code(), "InvalidSecurityToken.Expired");
    let ids = |keys: Value| -> Vec<Value> { keys.as_array().unwrap().iter().map(|key| key["id"].clone()).collect() };
    assert_eq!(ids(request("GET", "/keys", "").1), [json!("k2"), json!("testid")]);
    assert!(!request("GET", "/keys", "").1.to_string().contains("secret"));
    assert_eq!(request("DELETE", "/keys/k2", "").0, 200);
    assert_eq!(request("DELETE", "/keys/k2", "").0, 404);
    assert_eq!(client.call(DESCRIBE, &GROUP).code(), "InvalidAccessKeyId.NotFound");
}

#[test]
fn groups_can_be_changed_externally() {
    let emulator = emulator_with_admin();
    let client = Client::new(emulator.address());
    let request = |method: &str, path: &str, body: &str| admin(emulator.admin_address().unwrap(), method, path, body);
    assert_eq!(request("PUT", "/groups/none/g1", "{}").0, 404);
    assert_eq!(request("PUT", "/groups/demo/g-1", "{}").0, 400);
    assert_eq!(request("GET", "/groups/demo/g1", "").0, 404);
    let created = request("PUT", "/groups/demo/g1", r#"{"name": "n", "info": "by hand", "administrators": ["u1"]}"#);
    assert_eq!((created.0, &created.1["info"]), (200, &json!("by hand")));
    request("PUT", "/groups/demo/g1", r#"{"info": "again"}"#);
    let described = client.ok(DESCRIBE, &GROUP);
    assert_eq!((&described["GroupInfo"], &described["AdminList"]), (&json!("again"), &json!(["u1"])));
    request("PUT", "/groups/demo/g1", r#"{"deleted": true}"#);
    assert_eq!(client.ok(DESCRIBE, &GROUP)["Delete"], json!(true));
    request("PUT", "/groups/demo/g1", r#"{"deleted": {"at": "2100-01-01T00:00:00Z", "by": "someone"}}"#);
    assert_eq!(client.ok(DESCRIBE, &GROUP)["Deletor"], json!("someone"));
    request("PUT", "/groups/demo/g1", r#"{"deleted": false}"#);
    assert_eq!(client.ok(DESCRIBE, &GROUP)["Delete"], json!(false));
    assert_eq!(request("DELETE", "/groups/demo/g1", "").1["info"], json!("again"));
    assert_eq!(client.call(DESCRIBE, &GROUP).code(), "ResourceNotExist");
}

#[test]
fn requests_filter_by_operation_and_post_moves_the_clock() {
    let emulator = emulator_with_admin();
    let client = Client::new(emulator.address());
    let request = |method: &str, path: &str, body: &str| admin(emulator.admin_address().unwrap(), method, path, body);
    client.ok(CREATE, &GROUP);
    client.ok(DESCRIBE, &GROUP);
    let selected = request("GET", "/requests?operation=CreateLiveMessageGroup", "").1;
    assert_eq!((selected.as_array().unwrap().len(), &selected[0]["operation"]), (1, &json!(CREATE)));
    assert_eq!(request("GET", "/requests?operation=None", "").1, json!([]));
    let before = emulator.clock().now();
    assert_eq!(request("POST", "/clock", r#"{"advanceSeconds": 3600}"#).0, 200);
    assert!(emulator.clock().now().as_second() >= before.as_second() + 3600);
    // After the clock is advanced, the emulator still accepts the system time and still rejects a wrong time.
    client.ok(DESCRIBE, &GROUP);
    let wrong = Client { time: Some(before - jiff::SignedDuration::from_mins(20)), ..client };
    assert_eq!(wrong.call(DESCRIBE, &GROUP).code(), "InvalidTimeStamp.Expired");
    let seeded = json!({"rules": ["*:empty,share=50%"], "seed": 3});
    assert_eq!(request("PUT", "/faults", &seeded.to_string()), (200, seeded["rules"].clone()));
    assert_eq!(request("PUT", "/faults", r#"{"seed": 3}"#).0, 400);
}

#[test]
fn credentials_uri_issues_keys_of_the_account() {
    let emulator = emulator().app_of("42", "own").group("own", "g1").admin_listen("127.0.0.1:0").start().unwrap();
    let request = |path: &str| admin(emulator.admin_address().unwrap(), "GET", path, "");
    let (status, credentials) = request("/credentials?account=42");
    assert_eq!((status, &credentials["Code"]), (200, &json!("Success")));
    let text = |name: &str| credentials[name].as_str().unwrap().to_owned();
    let (id, secret, token) = (text("AccessKeyId"), text("AccessKeySecret"), Some(text("SecurityToken")));
    let client = Client { id, secret, token, ..Client::new(emulator.address()) };
    client.ok(DESCRIBE, &[("AppId", "own"), GROUP[1]]);
    assert_eq!(request("/credentials?account=42").1["AccessKeyId"], credentials["AccessKeyId"]);
    assert_ne!(request("/credentials").1["AccessKeyId"], credentials["AccessKeyId"]);
    assert_eq!(request("/credentials?account=x").0, 400);
}
