//! Runs the operator and the emulator, which are commands of the binary under test, as child processes.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::admin;
use super::error::{Context as _, Error, Result};
use super::process::{Process, wait_for};
use super::request_log::{self, Request};
use super::scratch::Scratch;

/// The ID and secret of the default access key, for the emulator and the operator.
pub const ACCESS_KEY: (&str, &str) = ("LTAItestAccessKeyId0001", "test-access-key-secret");

/// The timeout for a program to start listening. It is much longer than necessary on an idle machine.
const LISTENS: Duration = Duration::from_secs(60);

/// Part of the error message of a program whose address is in use.
const TAKEN: &str = "ddress already in use";

/// The options of an operator. Use `..OperatorOptions::default()` for the rest.
#[derive(Clone, Debug)]
pub struct OperatorOptions {
    /// The path of the kubeconfig. `ControlPlane::operator_kubeconfig` creates one.
    pub kubeconfig: PathBuf,
    /// The URL of the emulator.
    pub endpoint: String,
    /// Whether to pass `--allow-http`.
    pub allow_http: bool,
    /// The ID and secret of the access key.
    pub access_key: (String, String),
    /// Additional arguments of `run`.
    pub args: Vec<String>,
    /// Additional environment variables.
    pub env: Vec<(String, String)>,
}

impl Default for OperatorOptions {
    fn default() -> Self {
        let (id, secret) = ACCESS_KEY;
        Self {
            kubeconfig: PathBuf::new(),
            endpoint: String::new(),
            allow_http: true,
            access_key: (id.to_owned(), secret.to_owned()),
            args: Vec::new(),
            env: Vec::new(),
        }
    }
}

/// A running `live-message-operator run`.
pub struct Operator {
    /// The process, with its log.
    pub process: Process,
    _dir: Scratch,
}

impl Operator {
    /// Starts the operator and does not wait until it is ready.
    pub fn start(options: &OperatorOptions) -> Result<Self> {
        let dir = Scratch::new("operator")?;
        let mut args = vec!["run".to_owned(), "--endpoint".to_owned(), options.endpoint.clone()];
        args.extend(options.allow_http.then(|| "--allow-http".to_owned()));
        args.extend(["--health-bind-address".to_owned(), "127.0.0.1:0".to_owned()]);
        args.extend(options.args.iter().cloned());
        let (id, secret) = &options.access_key;
        let mut env: Vec<(&str, OsString)> = vec![
            ("KUBECONFIG", options.kubeconfig.clone().into()),
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", id.into()),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", secret.into()),
        ];
        env.extend(options.env.iter().map(|(key, value)| (key.as_str(), value.into())));
        let process = Process::spawn(&binary()?, &args, &env, &dir.join("operator.log"))?;
        Ok(Self { process, _dir: dir })
    }

    /// Waits until the log contains the address of the health endpoints, and returns their URL, `http://ADDR:PORT`.
    pub fn probes(&self) -> Result<String> {
        let address = || {
            let log = self.process.log();
            let line = log.lines().find(|line| line.contains("serving /healthz"))?;
            Some(format!("http://{}", line.split_once("address=")?.1.split_whitespace().next()?))
        };
        let end = Instant::now() + LISTENS;
        while Instant::now() < end {
            if let Some(address) = address() {
                return Ok(address);
            }
            // Poll at a short interval, because the benchmark measures the startup time.
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(Error::new(format!("the log has no address of the health endpoints\n{}", self.process.log_tail())))
    }
}

/// Prints the log of the operator after a failed assertion.
impl Drop for Operator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.process.log_tail());
        }
    }
}

/// The options of an emulator. Use `..EmulatorOptions::default()` for the rest.
#[derive(Clone, Debug)]
pub struct EmulatorOptions {
    /// The address to listen on, `ADDR:PORT` on loopback. Port 0 selects a free port.
    pub listen: String,
    /// The access keys, as pairs of an ID and a secret.
    pub access_keys: Vec<(String, String)>,
    /// The apps, as `APPID` or `APPID@DATACENTER`.
    pub apps: Vec<String>,
    /// The groups at startup, as `APPID/GROUPID`, or as `APPID/GROUPID:deleted` for a group that was just deleted.
    pub groups: Vec<String>,
    /// Additional arguments of `emulate`.
    pub args: Vec<String>,
}

impl Default for EmulatorOptions {
    fn default() -> Self {
        let (id, secret) = ACCESS_KEY;
        Self {
            listen: "127.0.0.1:0".to_owned(),
            access_keys: vec![(id.to_owned(), secret.to_owned())],
            apps: Vec::new(),
            groups: Vec::new(),
            args: Vec::new(),
        }
    }
}

/// A running `live-message-operator emulate`.
pub struct Emulator {
    /// The process, with its log.
    pub process: Process,
    url: String,
    admin: String,
    dir: Scratch,
}

impl Emulator {
    /// Starts the emulator and waits until it listens.
    pub fn start(options: &EmulatorOptions) -> Result<Self> {
        let dir = Scratch::new("emulator")?;
        let mut args: Vec<OsString> = vec!["emulate".into(), "--listen".into(), options.listen.clone().into()];
        args.extend(["--request-log".into(), dir.join("requests.jsonl").into()]);
        args.extend(["--admin-listen".into(), "127.0.0.1:0".into()]);
        for (id, secret) in &options.access_keys {
            args.extend(["--access-key".into(), format!("{id}:{secret}").into()]);
        }
        args.extend(options.apps.iter().flat_map(|app| ["--app".into(), app.into()]));
        args.extend(options.groups.iter().flat_map(|group| ["--group".into(), group.into()]));
        args.extend(options.args.iter().map(OsString::from));
        let mut process = Process::spawn(&binary()?, &args, &[], &dir.join("emulator.log"))?;
        let addresses = wait_for("the emulator to listen", LISTENS, || {
            if let Some(status) = process.exited()? {
                if process.log().contains(TAKEN) {
                    // Retry, because a connection of a stopped emulator may still use the port.
                    process = Process::spawn(&binary()?, &args, &[], &dir.join("emulator.log"))?;
                    return Ok(None);
                }
                return Err(Error::new(format!("the emulator exited: {status}")));
            }
            let log = process.log();
            let after = |words: &str| log.lines().find_map(|line| Some(line.strip_prefix(words)?.trim().to_owned()));
            Ok(after("listening on ").zip(after("admin on http://")))
        });
        let (url, admin) = addresses.map_err(|error| Error::new(format!("{error}\n{}", process.log_tail())))?;
        Ok(Self { process, url, admin, dir })
    }

    /// The URL of the emulator, `http://ADDR:PORT`. The operator's `--endpoint` accepts it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of the admin API, `http://ADDR:PORT`.
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.admin)
    }

    /// Replaces the fault rules; see `emulate --help`.
    pub fn faults(&self, rules: &[&str]) -> Result<()> {
        self.set("/faults", &json!(rules))
    }

    /// Sends GET to the admin API.
    pub fn get(&self, path: &str) -> Result<Value> {
        admin::request(&self.admin, "GET", path, "")
    }

    /// Sends PUT to the admin API.
    pub fn set(&self, path: &str, value: &Value) -> Result<()> {
        admin::request(&self.admin, "PUT", path, &value.to_string()).map(drop)
    }

    /// Sends DELETE to the admin API.
    pub fn delete(&self, path: &str) -> Result<()> {
        admin::request(&self.admin, "DELETE", path, "").map(drop)
    }

    /// Returns the calls that the emulator has received so far, in order.
    pub fn requests(&self) -> Result<Vec<Request>> {
        request_log::read(&self.dir.join("requests.jsonl"))
    }

    /// Counts the calls of an operation so far.
    pub fn calls(&self, operation: &str) -> Result<usize> {
        Ok(self.requests()?.iter().filter(|request| request.operation == operation).count())
    }
}

/// Finds the binary under test. Cargo provides the path of the binary to tests, but not to the demo, which is a Cargo
/// example. Cargo builds examples into a subdirectory of the directory that contains the binary.
fn binary() -> Result<PathBuf> {
    if let Some(path) = option_env!("CARGO_BIN_EXE_live-message-operator") {
        return Ok(PathBuf::from(path));
    }
    let example = std::env::current_exe()?;
    let folder = example.parent().and_then(std::path::Path::parent).context("the program has no parent directory")?;
    let path = folder.join("live-message-operator");
    if path.is_file() { Ok(path) } else { Err(Error::new(format!("{} is missing: run `cargo build`", path.display()))) }
}
