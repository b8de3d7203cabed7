//! What goes wrong on request, and the address to steer it at.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use live_message_operator::emulator::Handle;
use serde_json::{Value, json};

use crate::client::{Client, Connection, Response};
use crate::emulator;

const CREATE: &str = "CreateLiveMessageGroup";
const GROUP: [(&str, &str); 2] = [("AppId", "demo"), ("GroupId", "g1")];

fn with(fault: &str) -> (Handle, Client) {
    let emulator = emulator().fault(fault.parse().unwrap()).start().unwrap();
    let client = Client::new(emulator.address());
    (emulator, client)
}

/// Everything that came back, and how the connection ended.
fn raw(client: &Client) -> (String, Option<ErrorKind>) {
    let mut stream = TcpStream::connect(client.address).unwrap();
    stream.write_all(&client.request(CREATE, &GROUP)).unwrap();
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes).err().map(|error| error.kind());
    (String::from_utf8(bytes).unwrap(), end)
}

#[test]
fn errors_come_before_or_after_the_effect() {
    for (fault, effect) in [("error", false), ("error-after", true)] {
        let (emulator, client) = with(&format!("{CREATE}:{fault}=503/ServiceUnavailable,times=1"));
        let response = client.call(CREATE, &GROUP);
        assert_eq!((response.status, response.code().as_str()), (503, "ServiceUnavailable"));
        assert_eq!(emulator.group("demo", "g1").is_some(), effect);
        assert_eq!(client.ok(CREATE, &GROUP)["AlreadyExists"], json!(effect));
        assert_eq!(emulator.request_log()[0].code.as_deref(), Some("ServiceUnavailable"));
    }
    let (emulator, client) = with("*:throttle=250");
    let response = client.call(CREATE, &GROUP);
    assert_eq!((response.status, response.code().as_str()), (400, "Throttling.User"));
    assert_eq!(response.header("x-acs-retry-after"), Some("250"));
    assert!(emulator.group("demo", "g1").is_none());
}

#[test]
fn connections_are_reset_before_or_after_the_effect() {
    for (fault, effect) in [("reset-before", false), ("reset-after", true)] {
        let (emulator, client) = with(&format!("*:{fault}"));
        assert_eq!(raw(&client), (String::new(), Some(ErrorKind::ConnectionReset)));
        assert_eq!(emulator.group("demo", "g1").is_some(), effect);
        assert_eq!(emulator.request_log()[0].status, 0);
    }
}

#[test]
fn an_effect_can_come_after_the_reset() {
    let (emulator, client) = with("*:reset-late=1200,times=1");
    let start = Instant::now();
    assert_eq!(raw(&client), (String::new(), Some(ErrorKind::ConnectionReset)));
    let reset = start.elapsed();
    while emulator.request_log().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
        assert!(start.elapsed() < Duration::from_secs(5));
    }
    let record = emulator.request_log().remove(0);
    assert_eq!((record.status, record.code), (0, None));
    assert!(record.duration_ms <= 1300 && Duration::from_millis(record.duration_ms + 100) >= reset);
    assert!(emulator.group("demo", "g1").is_some());
    client.ok(CREATE, &GROUP);
}

#[test]
fn effects_still_to_come_are_waited_for_at_a_shutdown() {
    let (emulator, client) = with("*:reset-late=700");
    for id in ["g1", "g2", "g3"] {
        let mut stream = TcpStream::connect(client.address).unwrap();
        stream.write_all(&client.request(CREATE, &[GROUP[0], ("GroupId", id)])).unwrap();
        assert!(stream.read(&mut [0]).is_err());
    }
    assert_eq!(emulator.shutdown().app("demo").unwrap().live_groups(), 3);
}

#[test]
fn a_mixture_of_faults_is_gone_through_by_trying_again() {
    let rule = "*:mixed=20,share=30%".parse().unwrap();
    let emulator = emulator().requests_per_second(0).fault(rule).seed(7).start().unwrap();
    let client = Client::new(emulator.address());
    let mut tries = 0;
    for i in 0..100 {
        let id = format!("g{i}");
        let done = || {
            let mut stream = TcpStream::connect(client.address).unwrap();
            stream.write_all(&client.request(CREATE, &[GROUP[0], ("GroupId", &id)])).unwrap();
            // So that the emulator closes the connection, too, when it has answered; unless it has reset it by now.
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut text = String::new();
            let whole = stream.read_to_string(&mut text).is_ok() && text.starts_with("HTTP/1.1 200");
            whole && text.ends_with("}")
        };
        tries += 1 + (0..50).take_while(|_| !done()).count();
    }
    assert_eq!(emulator.with_state(|state| state.app("demo").unwrap().live_groups()), 100);
    assert!((115..160).contains(&tries), "{tries}");
}

#[test]
fn answers_are_not_what_they_should_be() {
    let (emulator, client) = with("*:html");
    let response = client.call(CREATE, &GROUP);
    assert_eq!((response.status, response.header("content-type")), (502, Some("text/html")));
    assert!(emulator.group("demo", "g1").is_none());

    let (emulator, client) = with("*:empty");
    let response = client.call(CREATE, &GROUP);
    assert_eq!((response.status, response.body.as_str()), (200, ""));
    assert!(emulator.group("demo", "g1").is_some());

    let (emulator, client) = with("*:truncated");
    let (text, end) = raw(&client);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let length: usize = head.split("Content-Length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    assert_eq!((body.len(), end), (length / 2, None));
    assert!(emulator.group("demo", "g1").is_some());
}

#[test]
fn answers_and_effects_can_be_late() {
    let (emulator, client) = with("*:late=500");
    std::thread::scope(|scope| {
        let call = scope.spawn(|| client.ok(CREATE, &GROUP));
        assert!(emulator.group("demo", "g1").is_none());
        call.join().unwrap();
    });
    assert!(emulator.request_log()[0].duration_ms >= 500);

    let (emulator, client) = with("*:slow=150");
    let start = Instant::now();
    client.ok(CREATE, &GROUP);
    assert!(start.elapsed() >= Duration::from_millis(150));
    assert!(emulator.group("demo", "g1").is_some());
}

#[test]
fn the_gateways_clock_can_be_wrong() {
    let (emulator, client) = with("*:clock=3600,times=1");
    let response = client.call(CREATE, &GROUP);
    assert_eq!((response.status, response.code().as_str()), (400, "InvalidTimeStamp.Expired"));
    let date = jiff::fmt::rfc2822::parse(response.header("date").unwrap()).unwrap().timestamp();
    let ahead = date.as_second() - emulator.clock().now().as_second();
    assert!((3590..=3601).contains(&ahead), "{ahead}");
    client.ok(CREATE, &GROUP);
}

fn admin(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, Value) {
    let mut connection = Connection::open(address);
    let length = body.len();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: admin\r\nContent-Length: {length}\r\n\r\n{body}");
    connection.send(request.as_bytes());
    let response: Response = connection.receive();
    (response.status, response.json())
}

#[test]
fn a_running_emulator_can_be_steered() {
    let emulator = emulator().admin_listen("127.0.0.1:0").start().unwrap();
    let client = Client::new(emulator.address());
    let ask = |method: &str, path: &str, body: &str| admin(emulator.admin_address().unwrap(), method, path, body);

    let rules = json!(["CreateLiveMessageGroup:error=500/ServerError,times=1"]);
    assert_eq!(ask("PUT", "/faults", &rules.to_string()), (200, rules));
    assert_eq!(client.call(CREATE, &GROUP).code(), "ServerError");
    assert_eq!(ask("GET", "/faults", "").1, json!(["CreateLiveMessageGroup:error=500/ServerError,times=0"]));
    assert_eq!(ask("DELETE", "/faults", ""), (200, json!([])));
    client.ok(CREATE, &GROUP);

    let limits = ask("PUT", "/limits", r#"{"requestsPerSecond": 0, "groupsPerApp": 1}"#).1;
    assert_eq!(limits, json!({"requestsPerSecond": 0, "countRefused": false, "groupsPerApp": 1, "latencyMs": 0}));
    assert_eq!(client.call(CREATE, &[GROUP[0], ("GroupId", "g2")]).code(), "ErrorTooManyGroups");

    let saved = ask("GET", "/state", "").1;
    client.ok("DeleteLiveMessageGroup", &GROUP);
    assert_eq!(ask("PUT", "/clock", r#"{"advanceSeconds": 2592000}"#).0, 200);
    let time = Some(emulator.clock().now());
    let later = Client { time, ..client.clone() };
    assert_eq!(later.call("DescribeLiveMessageGroup", &GROUP).code(), "ResourceNotExist");
    assert_eq!(ask("PUT", "/state", &saved.to_string()), (200, saved));
    assert_eq!(later.ok("DescribeLiveMessageGroup", &GROUP)["Delete"], json!(false));

    assert_eq!(ask("GET", "/requests", "").1.as_array().unwrap().len(), 6);
    assert_eq!(ask("DELETE", "/requests", ""), (200, json!([])));
    assert_eq!(ask("GET", "/", "").1["apps"], json!(1));
    let now = json!({"now": "2026-01-02T03:04:05Z"});
    assert_eq!(ask("PUT", "/clock", &now.to_string()).0, 200);
    assert!(emulator.clock().now().to_string().starts_with("2026-01-02T03:04:0"));
}

#[test]
fn what_the_admin_address_does_not_understand_changes_nothing() {
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
        let (actual, answer) = admin(emulator.admin_address().unwrap(), method, path, body);
        assert_eq!(actual, status, "{method} {path} {body}: {answer}");
        assert!(answer["error"].is_string());
    }
    // The API is not at the admin address, nor the other way round.
    assert_eq!(Client::new(emulator.admin_address().unwrap()).call(CREATE, &GROUP).status, 405);
}
