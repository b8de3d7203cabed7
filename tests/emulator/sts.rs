//! Tests of temporary keys from STS and the ECS metadata service.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use live_message_operator::emulator::{Clock, Handle, Imds};
use live_message_operator::live::encode::canonical_query;
use serde_json::{Value, json};

use crate::client::{Client, Connection, Response};
use crate::emulator;

const GROUP: [(&str, &str); 2] = [("AppId", "demo"), ("GroupId", "g1")];
pub const ROLE: &str = "acs:ram::42:role/operator";

fn start_time() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

/// Creates a projected ServiceAccount token that has a fake signature.
pub fn token(expires: Timestamp) -> String {
    let claims = json!({
        "aud": ["sts.aliyuncs.com"],
        "exp": expires.as_second(),
        "iss": "https://oidc-ack-cn-shanghai.example",
        "sub": "system:serviceaccount:operator:operator",
    });
    let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}.c2lnbmF0dXJl", part(json!({"alg": "RS256"})), part(claims))
}

fn send(address: SocketAddr, request: String) -> Response {
    let mut connection = Connection::open(address);
    connection.send(request.as_bytes());
    connection.receive()
}

/// Calls `AssumeRoleWithOIDC`. Sends the parameters in a form body, as the Go SDK does, or all of them in the query, as
/// the Python SDK does.
fn exchange(address: SocketAddr, form: bool, token: &str, role: &str) -> Response {
    let common = [("Action", "AssumeRoleWithOIDC"), ("Format", "JSON"), ("Version", "2015-04-01")];
    let values = [
        ("DurationSeconds", "3600"),
        ("OIDCProviderArn", "acs:ram::42:oidc-provider/ack"),
        ("OIDCToken", token),
        ("RoleArn", role),
        ("RoleSessionName", "operator"),
    ];
    let common = canonical_query(common);
    let values = canonical_query(values);
    send(
        address,
        match form {
            true => format!(
                "POST /?{common} HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n{values}",
                values.len()
            ),
            false => format!("GET /?{common}&{values} HTTP/1.1\r\nHost: h\r\n\r\n"),
        },
    )
}

fn client(emulator: &Handle, credentials: &Value) -> Client {
    let text = |name: &str| credentials[name].as_str().unwrap().to_owned();
    Client {
        id: text("AccessKeyId"),
        secret: text("AccessKeySecret"),
        token: Some(text("SecurityToken")),
        time: Some(emulator.clock().now()),
        ..Client::new(emulator.address())
    }
}

#[test]
fn key_from_an_oidc_token_works_until_it_expires() {
    let clock = Clock::fixed(start_time());
    let builder = emulator().clock(clock.clone()).app_of("42", "demo").group("demo", "g1");
    let emulator = builder.role(ROLE.parse().unwrap()).start().unwrap();
    for form in [true, false] {
        let token = token(clock.now() + Duration::from_secs(60));
        let response = exchange(emulator.address(), form, &token, ROLE);
        assert_eq!(response.status, 200, "{response:?}");
        let response_json = response.json();
        let credentials = &response_json["Credentials"];
        let expires = clock.now() + Duration::from_secs(3600);
        assert_eq!(credentials["Expiration"], json!(expires.to_string()));
        assert_eq!(response_json["AssumedRoleUser"]["Arn"], json!(format!("{ROLE}/operator")));
        let temporary = client(&emulator, credentials);
        for v1 in [false, true] {
            let format = v1.then_some("JSON");
            Client { v1, format, ..temporary.clone() }.ok("DescribeLiveMessageGroup", &GROUP);
            let bare = Client { v1, format, token: None, ..temporary.clone() };
            assert_eq!(bare.call("DescribeLiveMessageGroup", &GROUP).code(), "MissingSecurityToken");
        }
        let other = Client { token: Some("other".to_owned()), ..temporary.clone() };
        let code = other.call("DescribeLiveMessageGroup", &GROUP).code();
        assert_eq!(code, "InvalidSecurityToken.MismatchWithAccessKey");
        clock.advance(Duration::from_secs(3600));
        let late = Client { time: Some(clock.now()), ..temporary };
        assert_eq!(late.call("DescribeLiveMessageGroup", &GROUP).code(), "InvalidSecurityToken.Expired");
    }
    let log = emulator.request_log();
    assert_eq!((log[0].operation.as_deref(), log[0].signature), (Some("AssumeRoleWithOIDC"), None));
    let logged: Vec<&str> = log[0].params.keys().map(String::as_str).collect();
    assert_eq!(logged, ["DurationSeconds", "OIDCProviderArn", "RoleArn", "RoleSessionName"]);
    assert!(log.iter().all(|record| !record.params.contains_key("OIDCToken")));
}

#[test]
fn failed_token_exchange_has_a_specific_code() {
    let emulator = emulator().role(ROLE.parse().unwrap()).clock(Clock::fixed(start_time())).start().unwrap();
    let valid = token(start_time() + Duration::from_secs(60));
    for (token, role, code) in [
        ("rubbish", ROLE, "AuthenticationFail.OIDCToken.Invalid"),
        (&token(start_time()), ROLE, "AuthenticationFail.OIDCToken.Expired"),
        (&valid, "acs:ram::42:role/other", "AuthenticationFail.NoPermission"),
    ] {
        for form in [true, false] {
            let response = exchange(emulator.address(), form, token, role);
            assert_eq!((response.status, response.code().as_str()), (401, code));
        }
    }
}

#[test]
fn assume_role_requires_a_signature() {
    let emulator = emulator().longest_session(Duration::from_secs(60)).group("demo", "g1").start().unwrap();
    let sts = Client { version: "2015-04-01", ..Client::new(emulator.address()) };
    let params = [("RoleArn", ROLE), ("RoleSessionName", "operator")];
    for v1 in [false, true] {
        let caller = Client { v1, format: v1.then_some("JSON"), ..sts.clone() };
        let credentials = caller.ok("AssumeRole", &params)["Credentials"].clone();
        client(&emulator, &credentials).ok("DescribeLiveMessageGroup", &GROUP);
        let impostor = Client { secret: "wrong".to_owned(), ..caller };
        assert_eq!(impostor.call("AssumeRole", &params).code(), "SignatureDoesNotMatch");
    }
    let old = Client { version: "2016-11-01", ..sts };
    assert_eq!(old.call("AssumeRole", &params).code(), "InvalidVersion");
}

#[test]
fn wildcard_faults_exclude_sts_and_metadata() {
    let rules = ["*:error=ServerError", "AssumeRoleWithOIDC:error=500/InternalError,times=1", "EcsMetadata:empty"];
    let builder = rules.into_iter().fold(emulator(), |builder, rule| builder.fault(rule.parse().unwrap()));
    let emulator = builder.ecs_role("operator".parse().unwrap()).start().unwrap();
    let token = token(Timestamp::now() + Duration::from_secs(60));
    assert_eq!(exchange(emulator.address(), true, &token, ROLE).code(), "InternalError");
    assert_eq!(exchange(emulator.address(), true, &token, ROLE).status, 200);
    assert_eq!(metadata(emulator.address(), "GET", "", None).body, "");
}

fn metadata(address: SocketAddr, method: &str, role: &str, header: Option<&str>) -> Response {
    let path = match method {
        "PUT" => "/latest/api/token".to_owned(),
        _ => format!("/latest/meta-data/ram/security-credentials/{role}"),
    };
    let header = header.map(|header| format!("{header}\r\n")).unwrap_or_default();
    send(address, format!("{method} {path} HTTP/1.1\r\nHost: h\r\n{header}Content-Length: 0\r\n\r\n"))
}

#[test]
fn metadata_service_issues_keys_of_the_role() {
    let builder = emulator().ecs_role("operator@42".parse().unwrap()).imds(Imds::V2).metadata_listen("127.0.0.1:0");
    let emulator = builder.app_of("42", "demo").group("demo", "g1").start().unwrap();
    for address in [emulator.address(), emulator.metadata_address().unwrap()] {
        assert_eq!(metadata(address, "GET", "", None).status, 403);
        let token = metadata(address, "PUT", "", Some("X-aliyun-ecs-metadata-token-ttl-seconds: 21600"));
        let with_token = format!("X-aliyun-ecs-metadata-token: {}", token.body);
        let get = |role: &str| metadata(address, "GET", role, Some(&with_token));
        assert_eq!(get("").body, "operator");
        assert_eq!(get("other").status, 404);
        let credentials = get("operator").json();
        assert_eq!(credentials["Code"], json!("Success"));
        assert_eq!(get("operator").json()["AccessKeyId"], credentials["AccessKeyId"]);
        let temporary = client(&emulator, &credentials);
        temporary.ok("DescribeLiveMessageGroup", &GROUP);
        // A removed key is not reused.
        emulator.remove_key(&temporary.id);
        assert_ne!(get("operator").json()["AccessKeyId"], credentials["AccessKeyId"]);
    }
    let record = emulator.request_log().remove(0);
    assert_eq!((record.operation.as_deref(), record.status), (Some("EcsMetadata"), 403));
    assert_eq!(record.params["Path"], "/latest/meta-data/ram/security-credentials/");
}
