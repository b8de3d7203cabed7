//! Tests of the process `live-message-operator emulate`.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::admin::admin;
use crate::client::{Client, Connection};

const GROUP: [(&str, &str); 2] = [("AppId", "demo"), ("GroupId", "g1")];

struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Process {
    fn start(args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_live-message-operator"))
            .args(["emulate", "--listen", "127.0.0.1:0"])
            .args(args)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on http://").unwrap().trim_end().parse().unwrap();
        Self { child, stdout, address }
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the process to exit. Returns its exit code and the rest of its stdout.
    fn wait_for_exit(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Parses the request log.
fn read_records(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn options_apply_and_sigterm_exits_with_zero() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("requests.jsonl");
    let log_name = log.to_str().unwrap();
    let args = ["--access-key", "testid:testsecret", "--app", "other@ap-southeast-1", "--app", "demo"];
    let args = [&args[..], &["--group", "demo/g1", "--group", "demo/g2:deleted", "--request-log", log_name]].concat();
    let process = Process::start(&args, &[]);
    let client = Client::new(process.address);
    assert_eq!(client.ok("DescribeLiveMessageGroup", &GROUP)["Delete"], json!(false));
    // A record is written to the file before its response is sent.
    assert_eq!(read_records(&log).len(), 1);
    let deleted = client.ok("DescribeLiveMessageGroup", &[GROUP[0], ("GroupId", "g2")]);
    assert_eq!(deleted["Delete"], json!(true));
    let v1 = Client { v1: true, ..client.clone() };
    let refused = v1.call("DescribeLiveMessageGroup", &[("AppId", "other"), ("DataCenter", "cn-shanghai"), GROUP[1]]);
    assert_eq!(refused.status, 404);

    process.signal("-TERM");
    assert_eq!(process.wait_for_exit(), (Some(0), String::new()));
    let records = read_records(&log);
    assert_eq!(records.len(), 3);
    let mut last = records[2].clone();
    let time = last["time"].as_str().unwrap();
    assert!(time.len() == 27 && time.ends_with('Z'), "{time}");
    assert!(time.parse::<jiff::Timestamp>().is_ok());
    assert!(last["durationMs"].is_u64());
    assert_eq!(last["requestId"].as_str().unwrap().len(), 36);
    for varying in ["time", "durationMs", "requestId"] {
        last.as_object_mut().unwrap().remove(varying);
    }
    let expected = json!({
        "accessKeyId": "testid",
        "operation": "DescribeLiveMessageGroup",
        "params": {"AppId": "other", "DataCenter": "cn-shanghai", "GroupId": "g1"},
        "signature": "V1",
        "status": 404,
        "code": "ResourceNotExist",
    });
    assert_eq!(last, expected);
}

#[test]
fn in_flight_request_at_sigint_is_answered_and_logged() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("requests.jsonl");
    let variables = [
        ("LMO_EMULATE_APP", "demo stage"),
        ("LMO_EMULATE_ACCESS_KEY", "testid:testsecret other:secret"),
        ("LMO_EMULATE_LATENCY_MS", "1500"),
        ("LMO_EMULATE_REQUEST_LOG", log.to_str().unwrap()),
    ];
    let mut process = Process::start(&["--admin-listen", "127.0.0.1:0"], &variables);
    let mut line = String::new();
    process.stdout.read_line(&mut line).unwrap();
    let admin_address = line.strip_prefix("admin on http://").unwrap().trim_end().parse().unwrap();
    let mut connection = Connection::open(process.address);
    connection.send(&Client::new(process.address).request("CreateLiveMessageGroup", &GROUP));
    // The request takes effect immediately; only its response is delayed.
    while admin(admin_address, "GET", "/groups/demo/g1", "").0 != 200 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    process.signal("-INT");
    assert_eq!(connection.receive().status, 200);
    assert!(connection.is_closed());
    assert_eq!(process.wait_for_exit().0, Some(0));
    assert_eq!(read_records(&log).len(), 1);
}

#[test]
fn state_is_restored_from_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state.json");
    let args = ["--access-key", "testid:testsecret", "--app", "demo", "--state", file.to_str().unwrap()];
    let first = Process::start(&args, &[]);
    let client = Client::new(first.address);
    client.ok("CreateLiveMessageGroup", &[GROUP[0], GROUP[1], ("GroupInfo", "群"), ("Administrators", "uid1")]);
    let before = client.ok("DescribeLiveMessageGroup", &GROUP);
    client.ok("CreateLiveMessageGroup", &[GROUP[0], ("GroupId", "g2")]);
    client.ok("DeleteLiveMessageGroup", &[GROUP[0], ("GroupId", "g2")]);
    first.signal("-TERM");
    assert_eq!(first.wait_for_exit().0, Some(0));

    let second = Process::start(&[&args[..], &["--group", "demo/g1:deleted", "--group", "demo/g3"]].concat(), &[]);
    let client = Client::new(second.address);
    let mut after = client.ok("DescribeLiveMessageGroup", &GROUP);
    after["RequestId"] = before["RequestId"].clone();
    assert_eq!(after, before);
    assert_eq!(client.ok("CreateLiveMessageGroup", &[GROUP[0], ("GroupId", "g2")])["AlreadyDelete"], json!(true));
    assert_eq!(client.ok("DescribeLiveMessageGroup", &[GROUP[0], ("GroupId", "g3")])["Delete"], json!(false));
}

#[test]
fn empty_variable_counts_as_absent() {
    let names = ["APP", "ACCESS_KEY", "GROUP", "FAULT", "SEED", "LATENCY_MS", "COUNT_REFUSED", "OIDC_ROLE", "ECS_ROLE"];
    let names: Vec<String> = names.iter().map(|name| format!("LMO_EMULATE_{name}")).collect();
    let variables: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let process = Process::start(&[], &variables);
    let (id, secret) = ("testAccessKeyId".to_owned(), "testAccessKeySecret".to_owned());
    let client = Client { id, secret, ..Client::new(process.address) };
    assert_eq!(client.call("DescribeLiveMessageGroup", &GROUP).code(), "ResourceNotExist");
}

#[test]
fn selected_ports_are_printed_after_the_first_line() {
    let args = ["--admin-listen", "127.0.0.1:0", "--metadata-listen", "127.0.0.1:0"];
    let mut process = Process::start(&args, &[("LMO_EMULATE_COUNT_REFUSED", "true")]);
    for name in ["admin", "metadata"] {
        let mut line = String::new();
        process.stdout.read_line(&mut line).unwrap();
        let address = line.strip_prefix(&format!("{name} on http://")).unwrap().trim_end();
        let stream = std::net::TcpStream::connect(address.parse::<SocketAddr>().unwrap());
        assert!(stream.is_ok(), "{line}");
    }
    process.signal("-TERM");
    assert_eq!(process.wait_for_exit(), (Some(0), String::new()));
}

#[test]
fn start_failure_is_reported_in_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let run = |args: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_live-message-operator")).arg("emulate").args(args).output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    let busy = run(&["--listen", &taken.local_addr().unwrap().to_string()]);
    assert!(busy.starts_with("error: cannot listen on 127.0.0.1:") && busy.lines().count() == 1, "{busy}");
    assert!(run(&["--listen", "127.0.0.1:0", "--request-log", "/nonexistent/x"]).starts_with("error: "));
    assert!(run(&["--app", "demo@moon"]).contains("cn-shanghai or ap-southeast-1"));
    assert!(run(&["--security-token", "nobody:t"]).contains("no --access-key has the ID nobody"));
}
