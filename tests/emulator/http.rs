//! Tests of HTTP: connections, pipelining and invalid requests.

use crate::client::{Client, Connection};
use crate::emulator;

const GROUP: [(&str, &str); 2] = [("AppId", "demo"), ("GroupId", "g1")];

#[test]
fn connection_serves_many_requests() {
    let emulator = emulator().start().unwrap();
    let client = Client::new(emulator.address());
    let mut connection = Connection::open(emulator.address());
    for operation in ["CreateLiveMessageGroup", "DescribeLiveMessageGroup", "DeleteLiveMessageGroup"] {
        connection.send(&client.request(operation, &GROUP));
        let response = connection.receive();
        assert_eq!((response.status, response.header("connection")), (200, Some("keep-alive")));
        assert!(response.header("date").is_some_and(|date| date.ends_with(" GMT")));
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let emulator = emulator().start().unwrap();
    let client = Client { form: true, ..Client::new(emulator.address()) };
    let ids: Vec<String> = (0..5).map(|i| format!("g{i}")).collect();
    let requests = ids.iter().map(|id| client.request("CreateLiveMessageGroup", &[GROUP[0], ("GroupId", id)]));
    let mut connection = Connection::open(emulator.address());
    connection.send(&requests.collect::<Vec<_>>().concat());
    let responses = ids.iter().map(|_| connection.receive().json()["GroupId"].as_str().unwrap().to_owned());
    assert_eq!(responses.collect::<Vec<_>>(), ids);
}

#[test]
fn connection_close_is_honored() {
    let emulator = emulator().start().unwrap();
    let request = String::from_utf8(Client::new(emulator.address()).request("CreateLiveMessageGroup", &GROUP)).unwrap();
    let mut connection = Connection::open(emulator.address());
    connection.send(request.replace("Content-Length", "Connection: close\r\nContent-Length").as_bytes());
    let response = connection.receive();
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    assert!(connection.is_closed());
}

#[test]
fn invalid_requests_are_logged_and_close_the_connection() {
    let emulator = emulator().start().unwrap();
    let long = format!("GET /?a={} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(200_000));
    let cases: [(u16, &[u8]); 5] = [
        (400, b"hello world\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\n\r\n"),
        (413, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1048577\r\n\r\n"),
        (414, long.as_bytes()),
        (501, b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n"),
    ];
    for (status, bytes) in cases {
        let mut connection = Connection::open(emulator.address());
        connection.send(bytes);
        let response = connection.receive();
        assert_eq!(response.status, status);
        assert!(connection.is_closed());
        let record = emulator.request_log().pop().unwrap();
        assert_eq!((record.status, record.code), (status, Some(response.code())));
    }
}

#[test]
fn parameters_must_be_utf8() {
    let emulator = emulator().start().unwrap();
    let mut connection = Connection::open(emulator.address());
    connection.send(b"GET /?a=%FF HTTP/1.1\r\nHost: h\r\n\r\n");
    let response = connection.receive();
    assert_eq!((response.status, response.code().as_str()), (400, "InvalidParameter.Format"));
}

#[test]
fn chunked_forms_are_accepted() {
    let emulator = emulator().start().unwrap();
    let client = Client { form: true, ..Client::new(emulator.address()) };
    let request = String::from_utf8(client.request("CreateLiveMessageGroup", &GROUP)).unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let head = head.replace(&format!("Content-Length: {}", body.len()), "Transfer-Encoding: chunked");
    let mut connection = Connection::open(emulator.address());
    connection.send(format!("{head}\r\n\r\n3\r\n{}\r\n{:x}\r\n", &body[..3], body.len() - 3).as_bytes());
    connection.send(format!("{}\r\n0\r\n\r\n", &body[3..]).as_bytes());
    assert_eq!(connection.receive().status, 200);
}

#[test]
fn connections_are_served_concurrently() {
    let emulator = emulator().start().unwrap();
    let address = emulator.address();
    let calls: Vec<_> = (0..40)
        .map(|i| {
            std::thread::spawn(move || {
                let id = format!("g{i}");
                Client::new(address).ok("CreateLiveMessageGroup", &[("AppId", "demo"), ("GroupId", &id)]);
            })
        })
        .collect();
    calls.into_iter().for_each(|call| call.join().unwrap());
    assert_eq!(emulator.with_state(|state| state.app("demo").unwrap().live_groups()), 40);
}
