//! Tests of the client against a server on loopback.

use std::time::Duration;

use super::*;
use crate::live::error::Delivery;
use crate::live::logged::logged;
use crate::live::loopback::{Act, Loopback, Seen, answer, answer_with, install_tls};
use crate::live::{GroupFields, GroupRef};

fn credentials() -> Credentials {
    Credentials::new("testid", "testsecret", Some("test/token+="))
}

fn client_with(server: &Loopback, change: impl FnOnce(&mut ClientOptions)) -> Client {
    let mut options = ClientOptions::default();
    options.http.request_timeout = Duration::from_secs(5);
    change(&mut options);
    Client::new(server.endpoint(), options).unwrap()
}

fn client(server: &Loopback) -> Client {
    client_with(server, |_| {})
}

fn create(info_bytes: usize) -> Call {
    let group = GroupRef { app_id: "demo".into(), group_id: "g1".into(), data_center: None };
    Call::Create(group, GroupFields { group_info: Some("x".repeat(info_bytes)), ..GroupFields::default() })
}

const CREATED: &str = r#"{"GroupId":"g1","AlreadyExists":false,"AlreadyDelete":false,"RequestId":"r1"}"#;
const MISSING: &str = r#"{"Code":"MissingAppId","Message":"AppId is mandatory for this action.","RequestId":"r2"}"#;

async fn one_call(act: Act) -> Result<Response<Reply>, CallError> {
    let server = Loopback::script(vec![act]).await;
    client(&server).send(&create(1), &credentials()).await
}

#[tokio::test]
async fn unreadable_response_is_classified_by_its_status() {
    let html = |status| answer_with(status, "content-type: text/html\r\n", "<html>10.1.2.3</html>");
    let cut = |status: u16| {
        Act::SendAndClose(format!("HTTP/1.1 {status} X\r\ncontent-length: 99\r\n\r\n{{\"Group").into_bytes())
    };
    let huge = || {
        let head = b"HTTP/1.1 200 X\r\ncontent-length: 99999999\r\n\r\n".to_vec();
        Act::Send([head, vec![b' '; 17 * 1024 * 1024]].concat())
    };
    for (act, class) in [
        (html(502), ErrorClass::ServiceError),
        (html(200), ErrorClass::ServiceError),
        (html(403), ErrorClass::Rejected),
        (html(429), ErrorClass::Throttled),
        (answer(200, ""), ErrorClass::ServiceError),
        (answer(503, ""), ErrorClass::ServiceError),
        (answer(200, "{\"GroupId\":"), ErrorClass::ServiceError),
        (cut(200), ErrorClass::ServiceError),
        (cut(429), ErrorClass::Throttled),
        (cut(400), ErrorClass::ServiceError),
        (answer(404, ""), ErrorClass::ServiceError),
        (huge(), ErrorClass::ServiceError),
    ] {
        let shown = format!("{act:?}").chars().take(80).collect::<String>();
        let error = one_call(act).await.unwrap_err();
        assert_eq!(error.class(), class, "{shown}: {error}");
        assert!(matches!(error, CallError::Api(_)), "the request arrived: {error}");
        assert!(!error.to_string().contains("10.1.2.3"), "{error}");
    }
}

#[tokio::test]
async fn errors_are_decoded_from_json_in_any_case_and_from_xml() {
    let lower = answer(404, r#"{"code":"ResourceNotExist","message":"no","requestId":"r"}"#);
    let xml = answer_with(
        404,
        "content-type: text/xml;charset=utf-8\r\n",
        "<Error><RequestId>r</RequestId><Code>ResourceNotExist</Code></Error>",
    );
    for act in [lower, xml] {
        let error = one_call(act).await.unwrap_err();
        assert_eq!((error.class(), error.request_id()), (ErrorClass::NotFound, Some("r")));
    }
}

#[tokio::test]
async fn redirect_is_not_followed() {
    let elsewhere = Loopback::script(vec![answer(200, CREATED)]).await;
    let server = Loopback::script(vec![answer_with(307, &format!("location: {}/\r\n", elsewhere.origin), "")]).await;
    let error = client(&server).send(&create(1), &credentials()).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Rejected);
    assert_eq!((server.seen().len(), elsewhere.seen().len()), (1, 0));
}

#[tokio::test]
async fn retry_delay_is_read_at_any_status() {
    let body = r#"{"Code":"Throttling.User","Message":"slow down"}"#;
    for (status, header) in [
        (400, "x-acs-retry-after: 700\r\n"),
        (503, "x-ratelimit-user-api: Limit:50,Remain:0,TimeLeft:700\r\n"),
        (429, "x-ratelimit-user: TimeLeft:700\r\n"),
    ] {
        let error = one_call(answer_with(status, header, body)).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Throttled);
        let CallError::Api(api) = error else { panic!("{error}") };
        assert_eq!(api.retry_after, Some(Duration::from_millis(700)));
    }
}

#[tokio::test]
async fn calls_share_a_connection() {
    let server = Loopback::script(vec![answer(200, CREATED)]).await;
    let client = client(&server);
    for _ in 0..5 {
        client.send(&create(1), &credentials()).await.unwrap();
    }
    assert_eq!(server.seen().iter().map(|seen| seen.connection).collect::<Vec<_>>(), [0; 5]);
}

#[tokio::test]
async fn clients_for_one_endpoint_share_connections() {
    let server = Loopback::script(vec![answer(200, CREATED)]).await;
    let other = Loopback::script(vec![answer(200, CREATED)]).await;
    let first = client(&server);
    let memory = allocation_counter::measure(|| drop(first.for_endpoint(server.endpoint()))).bytes_max;
    assert!(memory < 1024, "a further client takes {memory} bytes");
    for client in [&first, &first.for_endpoint(server.endpoint()), &first.for_endpoint(other.endpoint())] {
        client.send(&create(1), &credentials()).await.unwrap();
    }
    assert_eq!(server.seen().iter().map(|seen| seen.connection).collect::<Vec<_>>(), [0; 2]);
    assert_eq!(other.seen().len(), 1);
}

#[tokio::test]
async fn clients_for_one_endpoint_share_no_state() {
    let refuses = |seen: &Seen| if seen.target() == "/" { answer(400, MISSING) } else { answer(200, CREATED) };
    let server = Loopback::start(refuses).await;
    let first = client_with(&server, |options| options.form_body_threshold = 100);
    let second = first.for_endpoint(server.endpoint());
    first.send(&create(100), &credentials()).await.unwrap_err();
    first.send(&create(100), &credentials()).await.unwrap();
    assert_eq!(second.send(&create(100), &credentials()).await.unwrap_err().class(), ErrorClass::Resent);
}

#[tokio::test]
async fn timed_out_call_may_have_arrived_and_drops_its_connection() {
    let server = Loopback::script(vec![answer(200, CREATED), Act::Silence, answer(200, CREATED)]).await;
    let client = client(&server);
    client.send(&create(1), &credentials()).await.unwrap();
    let error = client.send(&create(1), &credentials()).await.unwrap_err();
    assert!(matches!(error, CallError::Transport { delivery: Delivery::Unknown, .. }), "{error:?}");
    assert!(error.may_have_arrived());
    client.send(&create(1), &credentials()).await.unwrap();
    assert_eq!(server.seen().iter().map(|seen| seen.connection).collect::<Vec<_>>(), [0, 0, 1]);
}

#[tokio::test]
async fn request_on_a_closed_connection_may_have_arrived() {
    let error = one_call(Act::SendAndClose(Vec::new())).await.unwrap_err();
    assert!(matches!(error, CallError::Transport { delivery: Delivery::Unknown, .. }), "{error:?}");
}

#[tokio::test]
async fn refused_connection_never_sends_the_request() {
    install_tls();
    // The bound socket prevents other processes from listening on the port. The socket itself does not listen, so
    // connections to the port are refused.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap();
    let endpoint = Endpoint::parse(&format!("http://{port}"), true).unwrap();
    let client = Client::new(endpoint, ClientOptions::default()).unwrap();
    let error = client.send(&create(1), &credentials()).await.unwrap_err();
    assert!(matches!(error, CallError::Transport { delivery: Delivery::NeverSent, .. }), "{error:?}");
    assert!(!error.to_string().contains(&port.port().to_string()), "{error}");
}

#[tokio::test]
async fn clock_skew_is_corrected_and_logged_once() {
    let dated = |seen: &Seen| {
        let skewed = seen.header("x-acs-date").is_some_and(|date| !date.starts_with("2001-"));
        let (status, body) = if skewed { (400, r#"{"Code":"InvalidTimeStamp.Expired"}"#) } else { (200, CREATED) };
        answer_with(status, "date: Thu, 06 Sep 2001 08:49:37 GMT\r\n", body)
    };
    let server = Loopback::start(dated).await;
    let client = client(&server);
    let log = logged();
    // Both calls are sent before the first response arrives, so both are refused.
    let (call, credentials) = (create(1), credentials());
    let both = tokio::join!(client.send(&call, &credentials), client.send(&call, &credentials));
    assert_eq!(both.0.unwrap_err().class(), ErrorClass::ClockSkew);
    assert_eq!(both.1.unwrap_err().class(), ErrorClass::ClockSkew);
    client.send(&call, &credentials).await.unwrap();
    assert_eq!(log.count("clock differs"), 1);
}

#[tokio::test]
async fn parameters_above_the_threshold_are_sent_in_a_body() {
    let server = Loopback::script(vec![answer(200, CREATED)]).await;
    let client = client_with(&server, |options| options.form_body_threshold = 100);
    client.send(&create(10), &credentials()).await.unwrap();
    client.send(&create(100), &credentials()).await.unwrap();
    let seen = server.seen();
    assert!(seen[0].target().starts_with("/?AppId=demo&") && seen[0].body.is_empty(), "{seen:?}");
    assert_eq!((seen[1].target(), seen[1].header("content-type")), ("/", Some("application/x-www-form-urlencoded")));
    assert!(seen[1].body.starts_with("AppId=demo&GroupId=g1&GroupInfo=xxx"));
}

#[tokio::test]
async fn too_long_query_is_never_sent() {
    let server = Loopback::script(vec![answer(200, CREATED)]).await;
    let client = client_with(&server, |options| options.form_body_threshold = 1_000_000);
    client.send(&create(65_600), &credentials()).await.unwrap();
    client.send(&create(65_000), &credentials()).await.unwrap();
    let targets: Vec<usize> = server.seen().iter().map(|seen| seen.target().len()).collect();
    assert!(targets[0] == 1 && targets[1] > 65_000, "{targets:?}");
}

#[tokio::test]
async fn refused_body_switches_to_the_query_permanently() {
    let server = Loopback::start(|seen| if seen.target() == "/" { answer(400, MISSING) } else { answer(200, CREATED) });
    let server = server.await;
    let client = client(&server);
    let log = logged();
    let error = client.send(&create(10_000), &credentials()).await.unwrap_err();
    assert_eq!((error.class(), error.request_id()), (ErrorClass::Resent, Some("r2")));
    assert_eq!(server.seen().len(), 1, "one call is one request");
    client.send(&create(10_000), &credentials()).await.unwrap();
    client.send(&create(10_001), &credentials()).await.unwrap();
    assert!(server.seen()[1..].iter().all(|seen| seen.target().len() > 10_000 && seen.body.is_empty()));
    assert_eq!(log.count("ignores parameters in the request body"), 1);
}

#[tokio::test]
async fn refused_body_with_too_long_query_is_invalid_input() {
    let server = Loopback::script(vec![answer(400, MISSING)]).await;
    let client = client(&server);
    let first = client.send(&create(70_000), &credentials()).await.unwrap_err();
    assert!(first.may_have_arrived() && first.class() == ErrorClass::InvalidInput);
    let second = client.send(&create(70_000), &credentials()).await.unwrap_err();
    assert!(!second.may_have_arrived() && second.class() == ErrorClass::InvalidInput);
    for error in [first, second] {
        assert!(error.to_string().contains("fewer than 65534"), "{error}");
    }
    assert_eq!(server.seen().len(), 1, "the second call was not sent");
}

#[tokio::test]
async fn missing_parameter_in_a_query_is_invalid_input() {
    let error = one_call(answer(400, MISSING)).await.unwrap_err();
    assert!(matches!(error, CallError::Api(_)) && error.class() == ErrorClass::InvalidInput, "{error}");
}

#[tokio::test]
async fn errors_do_not_repeat_secrets() {
    for echo in ["testsecret", "test/token+=", "test%2Ftoken%2B%3D", "dGVzdC90b2tlbis9", "dGVzdHNlY3JldA=="] {
        let body = format!(r#"{{"Code":"SignatureDoesNotMatch","Message":"a {echo} b","RequestId":"r"}}"#);
        let error = one_call(answer(400, &body)).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains(echo), "{error:?}");
        assert!(error.to_string().ends_with("a … b"), "{error}");
    }
}

/// Creates a Describe call. [`endless`] and [`describes`] create responses to this call.
fn describe() -> Call {
    Call::Describe(GroupRef { app_id: "demo".into(), group_id: "g1".into(), data_center: None })
}

/// Sends this many bytes of a response body and keeps the connection open, so that the response never completes.
fn endless(bytes: usize) -> Act {
    let head = b"HTTP/1.1 200 X\r\ncontent-length: 200000\r\n\r\n".to_vec();
    Act::Send([head, vec![b' '; bytes]].concat())
}

fn describes(info_bytes: usize) -> Act {
    answer(200, &format!(r#"{{"GroupId":"g1","GroupInfo":"{}"}}"#, "x".repeat(info_bytes)))
}

#[tokio::test]
async fn clients_share_the_memory_of_the_process() {
    let (one, other) = (ClientOptions::default(), ClientOptions::default());
    assert!(Arc::ptr_eq(&one.memory, &other.memory));
}

#[tokio::test]
async fn endless_responses_do_not_delay_other_clients() {
    let memory = ResponseMemory::new(400_000);
    let in_memory = |server: &Loopback| client_with(server, |options| options.memory = Arc::clone(&memory));
    let hostile = Loopback::script(vec![endless(190_000)]).await;
    for _ in 0..10 {
        let client = in_memory(&hostile);
        tokio::spawn(async move { client.send(&describe(), &credentials()).await });
    }
    while hostile.seen().len() < 10 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let honest = Loopback::script(vec![describes(30_000)]).await;
    let client = in_memory(&honest);
    let (call, credentials) = (describe(), credentials());
    tokio::time::timeout(Duration::from_secs(1), client.send(&call, &credentials)).await.unwrap().unwrap();
}

#[tokio::test]
async fn response_waits_for_memory_within_the_time_out() {
    let memory = ResponseMemory::new(2_000);
    let server = Loopback::script(vec![describes(1_500), describes(3_000), describes(1_500)]).await;
    let client = client_with(&server, |options| {
        options.memory = memory;
        options.http.request_timeout = Duration::from_millis(500);
    });
    client.send(&describe(), &credentials()).await.unwrap();
    let error = client.send(&describe(), &credentials()).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::ServiceError);
    assert!(error.to_string().contains("memory") && error.may_have_arrived(), "{error}");
    client.send(&describe(), &credentials()).await.unwrap();
}
