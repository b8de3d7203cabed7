//! Sends the captured requests of the official SDKs over a socket, byte for byte.

use live_message_operator::emulator::{AccessKey, Clock, Emulator};

use crate::client::Connection;

#[path = "../support/vector.rs"]
mod vector;

#[test]
fn captured_sdk_requests_are_accepted() {
    // Skip the documented examples, because they call another product.
    let vectors = vector::read_all(&vector::own_folder()).unwrap();
    for vector in vectors.iter().filter(|vector| vector.captured()) {
        let mut key = AccessKey::new(vector.access_key_id.clone(), vector.access_key_secret.clone());
        if let Some(token) = &vector.security_token {
            key = key.with_token(token.clone(), None);
        }
        let group = vector.input.get("GroupId").and_then(|id| id.as_str()).unwrap_or("any");
        let data_center = vector.input.get("DataCenter").and_then(|id| id.as_str()).unwrap_or("cn-shanghai");
        let builder = Emulator::builder()
            .key(key)
            .clock(Clock::fixed(vector.date.parse().unwrap()))
            .app_in("demo", data_center.parse().unwrap());
        let builder = if vector.action == "RecoverLiveMessageDeletedGroup" {
            builder.deleted_group("demo", group)
        } else {
            builder.group("demo", group)
        };
        let emulator = builder.start().unwrap();
        let mut connection = Connection::open(emulator.address());
        connection.send(&vector.wire());
        let response = connection.receive();
        // The vectors include one operation that the emulator does not serve.
        let expected = if vector.action == "DescribeLiveMessageGroupBand" { 404 } else { 200 };
        assert_eq!(response.status, expected, "{}: {response:?}", vector.file);
        assert!(response.header("content-type").unwrap().starts_with("application/json"));
    }
}
