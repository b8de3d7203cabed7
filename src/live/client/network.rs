//! Tests that the client uses proxies and verifies the service's certificate.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;
use crate::live::error::Delivery;
use crate::live::loopback::{Loopback, answer, install_tls};
use crate::live::{CaBundle, GroupRef};

const DONE: &str = r#"{"RequestId":"r"}"#;

fn delete() -> Call {
    Call::Delete(GroupRef { app_id: "demo".into(), group_id: "g1".into(), data_center: None })
}

async fn call(origin: &str, ca_bundle: Option<CaBundle>) -> Result<Response<Reply>, CallError> {
    install_tls();
    let mut options = ClientOptions::default();
    options.http.ca_bundle = ca_bundle;
    let client = Client::new(Endpoint::parse(origin, true).unwrap(), options).unwrap();
    client.send(&delete(), &Credentials::new("id", "secret", None)).await
}

/// Runs in a child process, because environment variables must not be changed while other threads run.
#[tokio::test]
#[ignore = "started by other tests, which set TEST_ORIGIN and the proxy variables"]
async fn call_with_proxy_environment() {
    let outcome = call(&std::env::var("TEST_ORIGIN").unwrap(), None).await;
    println!("outcome: {outcome:?}");
}

/// Runs the test above in a child process with the given variables and no other proxy variables. Returns its outcome.
fn run_with(origin: &str, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    let child = "live::client::network::call_with_proxy_environment";
    command.args(["--exact", child, "--ignored", "--nocapture", "--test-threads=1"]);
    let Output { stdout, .. } = command.env("TEST_ORIGIN", origin).envs(variables.iter().copied()).output().unwrap();
    let text = String::from_utf8(stdout).unwrap();
    let at = text.find("outcome: ").unwrap_or_else(|| panic!("{text}"));
    text[at..].lines().next().unwrap_or_default().to_owned()
}

/// Starts a proxy that refuses its first request. Returns the address of the proxy, and a thread that returns the first
/// line of that request.
fn refusing_proxy() -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let first_line = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").unwrap();
        line
    });
    (address, first_line)
}

#[test]
fn proxy_is_taken_from_the_environment() {
    let (proxy, first_line) = refusing_proxy();
    let outcome = run_with("https://live.example.invalid", &[("HTTPS_PROXY", &proxy)]);
    assert_eq!(first_line.join().unwrap(), "CONNECT live.example.invalid:443 HTTP/1.1\r\n");
    assert!(outcome.contains("NeverSent"), "a refused tunnel carries no request: {outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_variable_is_honored() {
    let server = Loopback::script(vec![answer(200, DONE)]).await;
    let origin = server.origin.clone();
    let call = move || run_with(&origin, &[("HTTP_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "127.0.0.1")]);
    let outcome = tokio::task::spawn_blocking(call).await.unwrap();
    assert!(outcome.starts_with("outcome: Ok("), "{outcome}");
    assert_eq!(server.seen().len(), 1);
}

/// Starts a TLS server on loopback with a certificate that a private CA signed. Returns the server's origin and the CA
/// certificate as PEM.
fn tls_server() -> (String, String) {
    install_tls();
    let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = ca.self_signed(&ca_key).unwrap().pem();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &Issuer::from_params(&ca, &ca_key)).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key);
    let config = Arc::new(config.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = BufReader::new(StreamOwned::new(connection, stream.unwrap()));
            let mut line = String::new();
            // A client that does not trust the CA disconnects here.
            while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let answer = format!("HTTP/1.1 200 X\r\ncontent-length: {}\r\n\r\n{DONE}", DONE.len());
            let _ = stream.get_mut().write_all(answer.as_bytes());
        }
    });
    (origin, authority)
}

#[tokio::test]
async fn private_ca_is_trusted_only_if_in_the_bundle() {
    let (origin, authority) = tls_server();
    let error = call(&origin, None).await.unwrap_err();
    assert!(matches!(error, CallError::Transport { delivery: Delivery::NeverSent, .. }), "{error:?}");
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority).unwrap();
    let bundle = CaBundle::read(file.path()).unwrap();
    let trusting = tokio::time::timeout(Duration::from_secs(60), call(&origin, Some(bundle))).await.unwrap();
    assert_eq!(trusting.unwrap().value, Reply::Done);
}

#[test]
fn unusable_ca_bundle_is_refused_with_its_path() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let name = file.path().display().to_string();
    for text in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA"] {
        std::fs::write(file.path(), text).unwrap();
        let error = CaBundle::read(file.path()).unwrap_err().to_string();
        assert!(error.contains(&name) && error.contains("PEM"), "{error}");
    }
    let error = CaBundle::read(std::path::Path::new("/nowhere.pem")).unwrap_err().to_string();
    assert!(error.contains("/nowhere.pem") && error.contains("No such file"), "{error}");
}
