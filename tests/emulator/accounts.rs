//! Tests of accounts: shared rate limits, and apps that other accounts cannot see.

use jiff::Timestamp;
use live_message_operator::emulator::{AccessKey, Clock, Handle};
use serde_json::json;

use crate::client::{Client, Connection, Response};
use crate::emulator;

const DESCRIBE: &str = "DescribeLiveMessageGroup";

fn client_with_key(emulator: &Handle, id: &str) -> Client {
    Client { id: id.to_owned(), secret: "s".to_owned(), ..Client::new(emulator.address()) }
}

/// Sends the calls of all clients in one write, and returns the responses.
fn burst(clients: &[&Client], calls_per_client: usize) -> Vec<Response> {
    let params = [("AppId", "demo"), ("GroupId", "g1")];
    let calls = clients.iter().flat_map(|client| (0..calls_per_client).map(|_| client.request(DESCRIBE, &params)));
    let bytes: Vec<u8> = calls.flatten().collect();
    let mut connection = Connection::open(clients[0].address);
    connection.send(&bytes);
    (0..clients.len() * calls_per_client).map(|_| connection.receive()).collect()
}

#[test]
fn keys_of_an_account_share_its_rate_limit() {
    let keys = ["a1:s@42", "a2:s@42", "b:s@43", "c1:s", "c2:s"].map(|key| key.parse::<AccessKey>().unwrap());
    let builder = keys.into_iter().fold(emulator(), |builder, key| builder.key(key));
    let emulator = builder.group("demo", "g1").clock(Clock::fixed(Timestamp::now())).start().unwrap();
    for (first, second, admitted) in [("a1", "a2", 50), ("c1", "c2", 50)] {
        let responses = burst(&[&client_with_key(&emulator, first), &client_with_key(&emulator, second)], 40);
        assert_eq!(responses.iter().filter(|response| response.status == 200).count(), admitted);
        assert!(responses[admitted..].iter().all(|response| response.code() == "Throttling.User"));
    }
    assert!(burst(&[&client_with_key(&emulator, "b")], 50).iter().all(|response| response.status == 200));
}

#[test]
fn app_of_an_account_is_invisible_to_others() {
    let builder = emulator().key("a:s@42".parse().unwrap()).key("b:s@43".parse().unwrap());
    let emulator = builder.app_of("42", "private").group("private", "g1").start().unwrap();
    let (owner, other) = (client_with_key(&emulator, "a"), client_with_key(&emulator, "b"));
    let params = [("AppId", "private"), ("GroupId", "g1")];
    owner.ok(DESCRIBE, &params);
    assert_eq!(other.call(DESCRIBE, &params).code(), "ResourceNotExist");
    // Parameters are validated before the app is looked up.
    assert_eq!(other.call(DESCRIBE, &[params[0], ("GroupId", "-")]).code(), "InputInvalid");
    assert_eq!(other.call("CreateLiveMessageGroup", &[params[0], ("GroupId", "g2")]).status, 404);
    assert!(emulator.group("private", "g2").is_none());

    let created = other.ok("CreateLiveMessageApp", &[("AppName", "theirs")])["AppId"].clone();
    let apps = |client: &Client| -> Vec<_> {
        let list = client.ok("ListLiveMessageApps", &[("SortType", "1")])["AppList"].as_array().unwrap().clone();
        list.into_iter().map(|app| app["AppId"].clone()).collect()
    };
    let mut visible = apps(&owner);
    visible.sort_by_key(ToString::to_string);
    assert_eq!(visible, [json!("demo"), json!("private")]);
    assert_eq!(apps(&other), [json!("demo"), created]);
}

#[test]
fn inactive_key_is_rejected() {
    let key = AccessKey { inactive: true, ..AccessKey::new("a", "s") };
    let emulator = emulator().key(key).start().unwrap();
    let response = client_with_key(&emulator, "a").call(DESCRIBE, &[("AppId", "demo"), ("GroupId", "g1")]);
    assert_eq!((response.status, response.code().as_str()), (400, "InvalidAccessKeyId.Inactive"));
}
