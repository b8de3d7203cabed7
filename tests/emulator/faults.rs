//! Tests of fault injection over real sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use live_message_operator::emulator::Handle;
use serde_json::json;

use crate::client::Client;
use crate::emulator;

const CREATE: &str = "CreateLiveMessageGroup";
const GROUP: [(&str, &str); 2] = [("AppId", "demo"), ("GroupId", "g1")];

fn emulator_with_fault(fault: &str) -> (Handle, Client) {
    let emulator = emulator().fault(fault.parse().unwrap()).start().unwrap();
    let client = Client::new(emulator.address());
    (emulator, client)
}

/// Creates a group over a raw socket. Returns all received bytes, and the error that ended the connection.
fn raw_response(client: &Client) -> (String, Option<ErrorKind>) {
    let mut stream = TcpStream::connect(client.address).unwrap();
    stream.write_all(&client.request(CREATE, &GROUP)).unwrap();
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes).err().map(|error| error.kind());
    (String::from_utf8(bytes).unwrap(), end)
}

#[test]
fn errors_occur_before_or_after_the_effect() {
    for (fault, has_effect) in [("error", false), ("error-after", true)] {
        let (emulator, client) = emulator_with_fault(&format!("{CREATE}:{fault}=503/ServiceUnavailable,times=1"));
        let response = client.call(CREATE, &GROUP);
        assert_eq!((response.status, response.code().as_str()), (503, "ServiceUnavailable"));
        assert_eq!(emulator.group("demo", "g1").is_some(), has_effect);
        assert_eq!(client.ok(CREATE, &GROUP)["AlreadyExists"], json!(has_effect));
        assert_eq!(emulator.request_log()[0].code.as_deref(), Some("ServiceUnavailable"));
    }
    let (emulator, client) = emulator_with_fault("*:throttle=250");
    let response = client.call(CREATE, &GROUP);
    assert_eq!((response.status, response.code().as_str()), (400, "Throttling.User"));
    assert_eq!(response.header("x-acs-retry-after"), Some("250"));
    assert!(emulator.group("demo", "g1").is_none());
}

#[test]
fn connections_are_reset_before_or_after_the_effect() {
    for (fault, has_effect) in [("reset-before", false), ("reset-after", true)] {
        let (emulator, client) = emulator_with_fault(&format!("*:{fault}"));
        assert_eq!(raw_response(&client), (String::new(), Some(ErrorKind::ConnectionReset)));
        assert_eq!(emulator.group("demo", "g1").is_some(), has_effect);
        assert_eq!(emulator.request_log()[0].status, 0);
    }
}

#[test]
fn effect_can_follow_the_reset() {
    let (emulator, client) = emulator_with_fault("*:reset-late=1200,times=1");
    let start = Instant::now();
    assert_eq!(raw_response(&client), (String::new(), Some(ErrorKind::ConnectionReset)));
    while emulator.request_log().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
        assert!(start.elapsed() < Duration::from_secs(30));
    }
    let elapsed = start.elapsed();
    let record = emulator.request_log().remove(0);
    assert_eq!((record.status, record.code), (0, None));
    assert!(Duration::from_millis(record.duration_ms) <= elapsed, "{} ms in {elapsed:?}", record.duration_ms);
    assert!(emulator.group("demo", "g1").is_some());
    client.ok(CREATE, &GROUP);
}

#[test]
fn shutdown_waits_for_pending_effects() {
    let (emulator, client) = emulator_with_fault("*:reset-late=700");
    for id in ["g1", "g2", "g3"] {
        let mut stream = TcpStream::connect(client.address).unwrap();
        stream.write_all(&client.request(CREATE, &[GROUP[0], ("GroupId", id)])).unwrap();
        assert!(stream.read(&mut [0]).is_err());
    }
    assert_eq!(emulator.shutdown().app("demo").unwrap().live_groups(), 3);
}

#[test]
fn retries_overcome_mixed_faults() {
    let rule = "*:mixed=20,share=30%".parse().unwrap();
    let emulator = emulator().requests_per_second(0).fault(rule).seed(7).start().unwrap();
    let client = Client::new(emulator.address());
    let mut attempts = 0;
    for i in 0..100 {
        let id = format!("g{i}");
        let done = || {
            let mut stream = TcpStream::connect(client.address).unwrap();
            stream.write_all(&client.request(CREATE, &[GROUP[0], ("GroupId", &id)])).unwrap();
            // After the client closes its write side, the emulator closes the connection when it has responded.
            // `shutdown` fails if the emulator has already reset the connection.
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut text = String::new();
            let complete = stream.read_to_string(&mut text).is_ok() && text.starts_with("HTTP/1.1 200");
            complete && text.ends_with("}")
        };
        attempts += 1 + (0..50).take_while(|_| !done()).count();
    }
    assert_eq!(emulator.with_state(|state| state.app("demo").unwrap().live_groups()), 100);
    assert!((115..160).contains(&attempts), "{attempts}");
}

#[test]
fn responses_are_replaced_emptied_or_truncated() {
    let (emulator, client) = emulator_with_fault("*:html");
    let response = client.call(CREATE, &GROUP);
    assert_eq!((response.status, response.header("content-type")), (502, Some("text/html")));
    assert!(emulator.group("demo", "g1").is_none());

    let (emulator, client) = emulator_with_fault("*:empty");
    let response = client.call(CREATE, &GROUP);
    assert_eq!((response.status, response.body.as_str()), (200, ""));
    assert!(emulator.group("demo", "g1").is_some());

    let (emulator, client) = emulator_with_fault("*:truncated");
    let (text, end) = raw_response(&client);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let length: usize = head.split("Content-Length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    assert_eq!((body.len(), end), (length / 2, None));
    assert!(emulator.group("demo", "g1").is_some());
}

#[test]
fn responses_and_effects_can_be_delayed() {
    let (emulator, client) = emulator_with_fault("*:late=500");
    let start = Instant::now();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| client.ok(CREATE, &GROUP));
        while emulator.group("demo", "g1").is_none() {
            assert!(start.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(start.elapsed() >= Duration::from_millis(500));
        call.join().unwrap();
    });
    assert!(emulator.request_log()[0].duration_ms >= 500);

    let (emulator, client) = emulator_with_fault("*:slow=150");
    let start = Instant::now();
    client.ok(CREATE, &GROUP);
    assert!(start.elapsed() >= Duration::from_millis(150));
    assert!(emulator.group("demo", "g1").is_some());
}

#[test]
fn gateway_clock_can_be_skewed() {
    let (emulator, client) = emulator_with_fault("*:clock=3600,times=1");
    let response = client.call(CREATE, &GROUP);
    assert_eq!((response.status, response.code().as_str()), (400, "InvalidTimeStamp.Expired"));
    let date = jiff::fmt::rfc2822::parse(response.header("date").unwrap()).unwrap().timestamp();
    let ahead = date.as_second() - emulator.clock().now().as_second();
    assert!((3590..=3601).contains(&ahead), "{ahead}");
    client.ok(CREATE, &GROUP);
}
