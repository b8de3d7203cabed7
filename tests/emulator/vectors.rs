//! The requests of the official SDKs, byte for byte as they were captured.

use live_message_operator::emulator::{AccessKey, Clock, Emulator};
use serde_json::Value;

use crate::client::Connection;

/// The bytes of a captured request; `None` for the examples of the documents, which are of another product.
fn captured(vector: &Value) -> Option<Vec<u8>> {
    let request = &vector["request"];
    let query = request["query_raw"].as_str()?;
    let target = if query.is_empty() { "/".to_owned() } else { format!("/?{query}") };
    let mut text = format!("{} {target} HTTP/1.1\r\n", request["method"].as_str()?);
    for header in request["headers"].as_array()? {
        text.push_str(&format!("{}: {}\r\n", header[0].as_str()?, header[1].as_str()?));
    }
    Some(format!("{text}\r\n{}", request["body"].as_str()?).into_bytes())
}

#[test]
fn every_captured_request_is_understood() {
    let mut seen = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors")).unwrap() {
        let path = entry.unwrap().path();
        if !path.file_name().unwrap().to_str().unwrap().starts_with('0') {
            continue;
        }
        let vector: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let Some(bytes) = captured(&vector) else { continue };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let key = &vector["credentials"];
        let mut access_key = AccessKey::new(text(&key["access_key_id"]), text(&key["access_key_secret"]));
        if let Some(token) = key["security_token"].as_str() {
            access_key = access_key.with_token(token, None);
        }
        let group = vector["input"]["GroupId"].as_str().unwrap_or("any");
        let deleted = vector["action"] == "RecoverLiveMessageDeletedGroup";
        let mut builder = Emulator::builder()
            .key(access_key)
            .clock(Clock::fixed(vector["date"].as_str().unwrap().parse().unwrap()))
            .app_in("demo", vector["input"]["DataCenter"].as_str().unwrap_or("cn-shanghai").parse().unwrap());
        builder = if deleted { builder.deleted_group("demo", group) } else { builder.group("demo", group) };
        let emulator = builder.start().unwrap();
        let mut connection = Connection::open(emulator.address());
        connection.send(&bytes);
        let response = connection.receive();
        // One operation of the vectors is not emulated.
        let expected = if vector["action"] == "DescribeLiveMessageGroupBand" { 404 } else { 200 };
        assert_eq!(response.status, expected, "{}: {response:?}", vector["name"]);
        assert!(response.header("content-type").unwrap().starts_with("application/json"));
        seen += 1;
    }
    assert!(seen > 30, "the vectors are missing");
}
