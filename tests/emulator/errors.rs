//! Tests of rejected requests: the status, the error code and the record in the request log.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use live_message_operator::emulator::{AccessKey, Clock};

use crate::client::{Client, Connection};
use crate::emulator;

const GROUP: [(&str, &str); 2] = [("AppId", "demo"), ("GroupId", "g1")];

#[test]
fn rate_limit_throttles_ten_of_sixty_calls() {
    // With a fixed clock, the result does not depend on the speed of the test.
    let emulator = emulator().clock(Clock::fixed(Timestamp::now())).start().unwrap();
    let client = Client::new(emulator.address());
    // All requests are signed first and then sent in one write.
    let requests: Vec<Vec<u8>> = (0..60).map(|_| client.request("DeleteLiveMessageGroup", &GROUP)).collect();
    let mut connection = Connection::open(emulator.address());
    connection.send(&requests.concat());
    let responses: Vec<_> = (0..60).map(|_| connection.receive()).collect();
    assert!(responses[..50].iter().all(|response| response.status == 200));
    assert!(responses[50..].iter().all(|response| response.status == 400 && response.code() == "Throttling.User"));
    // Another operation has its own limit.
    client.ok("CreateLiveMessageGroup", &GROUP);
    let codes = emulator.request_log().into_iter().filter_map(|record| record.code);
    assert_eq!(codes.collect::<Vec<_>>(), vec!["Throttling.User"; 10]);
}

#[test]
fn rate_limit_can_be_disabled() {
    let emulator = emulator().requests_per_second(0).start().unwrap();
    let client = Client::new(emulator.address());
    let requests: Vec<Vec<u8>> = (0..120).map(|_| client.request("DeleteLiveMessageGroup", &GROUP)).collect();
    let mut connection = Connection::open(emulator.address());
    connection.send(&requests.concat());
    assert!((0..120).all(|_| connection.receive().status == 200));
}

#[test]
fn unauthenticated_calls_are_rejected_and_logged() {
    let emulator = emulator().start().unwrap();
    let good = Client::new(emulator.address());
    let minutes_ago = |minutes| Some(Timestamp::now() - SignedDuration::from_mins(minutes));
    for v1 in [false, true] {
        let format = v1.then_some("JSON");
        let good = Client { v1, format, ..good.clone() };
        let nonce = Some(format!("nonce-{v1}"));
        let cases = [
            (404, "InvalidAccessKeyId.NotFound", Client { id: "unknown".to_owned(), ..good.clone() }),
            (400, "SignatureDoesNotMatch", Client { secret: "wrong".to_owned(), ..good.clone() }),
            (400, "InvalidTimeStamp.Expired", Client { time: minutes_ago(16), ..good.clone() }),
            (400, "InvalidTimeStamp.Expired", Client { time: minutes_ago(-16), ..good.clone() }),
            (400, "InvalidVersion", Client { version: "2014-05-26", ..good.clone() }),
            (404, "ResourceNotExist", Client { nonce: nonce.clone(), ..good.clone() }),
            (400, "SignatureNonceUsed", Client { nonce, ..good.clone() }),
            (400, "UnsupportedHTTPMethod", Client { method: "PUT", ..good.clone() }),
        ];
        for (status, code, client) in cases {
            let response = client.call("DescribeLiveMessageGroup", &GROUP);
            assert_eq!((response.status, response.code().as_str()), (status, code));
            assert_eq!(response.json()["HostId"].as_str(), Some(emulator.address().to_string().as_str()));
            let record = emulator.request_log().pop().unwrap();
            assert_eq!((record.status, record.code.as_deref()), (status, Some(code)));
            assert_eq!(record.access_key_id.as_deref(), Some(client.id.as_str()));
            assert_eq!(record.operation.as_deref(), Some("DescribeLiveMessageGroup"));
            assert_eq!(Some(record.request_id.as_str()), response.json()["RequestId"].as_str());
        }
        let response = good.call("SendLiveMessageGroup", &GROUP);
        assert_eq!((response.status, response.code().as_str()), (404, "InvalidApi.NotFound"));
    }
}

#[test]
fn signature_mismatch_message_shows_the_string_to_sign() {
    let emulator = emulator().start().unwrap();
    let client = Client { secret: "wrong".to_owned(), ..Client::new(emulator.address()) };
    let message = client.call("DescribeLiveMessageGroup", &GROUP).json()["Message"].as_str().unwrap().to_owned();
    assert!(message.contains("server string to sign is:ACS3-HMAC-SHA256\n"), "{message}");
    assert!(message.contains("server CanonicalRequest is:POST\n/\nAppId=demo&GroupId=g1\nhost:"), "{message}");
}

#[test]
fn unsigned_requests_are_rejected() {
    let emulator = emulator().start().unwrap();
    let mut connection = Connection::open(emulator.address());
    connection.send(b"GET /?Action=DescribeLiveMessageGroup&AppId=demo HTTP/1.1\r\nHost: h\r\n\r\n");
    let response = connection.receive();
    assert_eq!((response.status, response.code().as_str()), (400, "MissingAccessKeyId"));
    let record = emulator.request_log().pop().unwrap();
    assert_eq!((record.access_key_id, record.signature), (None, None));
    assert_eq!(record.operation.as_deref(), Some("DescribeLiveMessageGroup"));
}

#[test]
fn temporary_keys_need_a_valid_token_and_can_be_rotated() {
    let key = AccessKey::new("STS.1", "s1").with_token("tok+en/1==", None);
    let emulator = emulator().key(key.clone()).group("demo", "g1").start().unwrap();
    let base = Client::new(emulator.address());
    for v1 in [false, true] {
        let format = v1.then_some("JSON");
        let token = Some("tok+en/1==".to_owned());
        let sts = Client { id: "STS.1".into(), secret: "s1".into(), token, v1, format, ..base.clone() };
        sts.ok("DescribeLiveMessageGroup", &GROUP);
        let bare = Client { token: None, ..sts.clone() };
        assert_eq!(bare.call("DescribeLiveMessageGroup", &GROUP).code(), "MissingSecurityToken");
        let other = Client { token: Some("other".to_owned()), ..sts.clone() };
        let code = other.call("DescribeLiveMessageGroup", &GROUP).code();
        assert_eq!(code, "InvalidSecurityToken.MismatchWithAccessKey");
        emulator.put_key(AccessKey { expires: Some(Timestamp::now()), ..key.clone() });
        assert_eq!(sts.call("DescribeLiveMessageGroup", &GROUP).code(), "InvalidSecurityToken.Expired");
        emulator.put_key(key.clone());
    }
    emulator.remove_key("testid");
    assert_eq!(base.call("DescribeLiveMessageGroup", &GROUP).code(), "InvalidAccessKeyId.NotFound");
    assert!(emulator.request_log().iter().all(|record| !record.params.contains_key("SecurityToken")));
}

#[test]
fn denied_key_gets_no_auth_for_its_app() {
    let emulator = emulator().access_key("other", "s").app("app2").deny("other", Some("demo")).start().unwrap();
    let client = Client { id: "other".into(), secret: "s".into(), ..Client::new(emulator.address()) };
    let response = client.call("CreateLiveMessageGroup", &GROUP);
    assert_eq!((response.status, response.code().as_str()), (403, "NoAuth"));
    client.ok("CreateLiveMessageGroup", &[("AppId", "app2"), ("GroupId", "g1")]);
    Client::new(emulator.address()).ok("CreateLiveMessageGroup", &GROUP);
}

#[test]
fn latency_delays_responses_and_is_logged() {
    let emulator = emulator().latency(Duration::from_millis(80)).start().unwrap();
    let start = std::time::Instant::now();
    Client::new(emulator.address()).ok("CreateLiveMessageGroup", &GROUP);
    assert!(start.elapsed() >= Duration::from_millis(80));
    assert!(emulator.request_log()[0].duration_ms >= 80);
}
