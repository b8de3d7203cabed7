//! The binary under test, as processes: the operator and the emulator.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::admin;
use super::error::{Context as _, Error, Result};
use super::process::{Process, wait_for};
use super::request_log::{self, Request};
use super::scratch::Scratch;

/// Id and secret of the key pair that the emulator accepts and the operator uses, unless a test says otherwise.
pub const ACCESS_KEY: (&str, &str) = ("LTAItestAccessKeyId0001", "test-access-key-secret");

/// How long a program may take until it listens: much less than this, unless the machine has other work.
const LISTENS: Duration = Duration::from_secs(60);

/// What a program says that finds its address in use.
const TAKEN: &str = "ddress already in use";

/// How to start an operator; `..OperatorOptions::default()` for the rest.
#[derive(Clone, Debug)]
pub struct OperatorOptions {
    /// From `ControlPlane::operator_kubeconfig`.
    pub kubeconfig: PathBuf,
    /// The emulator's URL.
    pub endpoint: String,
    /// Whether it is started with `--allow-http`.
    pub allow_http: bool,
    /// Access key id and secret.
    pub access_key: (String, String),
    /// Further arguments of `run`.
    pub args: Vec<String>,
    /// Further environment.
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

/// `live-message-operator run`.
pub struct Operator {
    /// Signals, log, end.
    pub process: Process,
    _dir: Scratch,
}

impl Operator {
    /// Starts it; it is not waited for.
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

    /// Where `/healthz` and `/readyz` are: `http://ADDR:PORT`. The log tells it just after the start.
    pub fn probes(&self) -> Result<String> {
        let told = || {
            let log = self.process.log();
            let line = log.lines().find(|line| line.contains("serving /healthz"))?;
            Some(format!("http://{}", line.split_once("address=")?.1.split_whitespace().next()?))
        };
        let end = Instant::now() + LISTENS;
        while Instant::now() < end {
            if let Some(address) = told() {
                return Ok(address);
            }
            // Often: the bench measures from the start on.
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(Error::new(format!("the operator does not tell where its probes are\n{}", self.process.log_tail())))
    }
}

/// A failed assertion shows the values that it compares: what the operator did before stands in its log.
impl Drop for Operator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.process.log_tail());
        }
    }
}

/// How to start an emulator; `..EmulatorOptions::default()` for the rest.
#[derive(Clone, Debug)]
pub struct EmulatorOptions {
    /// `ADDR:PORT` on loopback; port 0 is any free one.
    pub listen: String,
    /// The key pairs it knows.
    pub access_keys: Vec<(String, String)>,
    /// Its apps: `APPID` or `APPID@DATACENTER`.
    pub apps: Vec<String>,
    /// Groups there from the start: `APPID/GROUPID` or `APPID/GROUPID:deleted`.
    pub groups: Vec<String>,
    /// Further arguments of `emulate`.
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

/// `live-message-operator emulate`.
pub struct Emulator {
    /// Signals, log, end.
    pub process: Process,
    url: String,
    admin: String,
    dir: Scratch,
}

impl Emulator {
    /// Starts it and waits until it listens.
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
                    // The address of an emulator that is gone: somebody's connection may have its port for a moment.
                    process = Process::spawn(&binary()?, &args, &[], &dir.join("emulator.log"))?;
                    return Ok(None);
                }
                return Err(Error::new(format!("the emulator has ended: {status}")));
            }
            let log = process.log();
            let after = |words: &str| log.lines().find_map(|line| Some(line.strip_prefix(words)?.trim().to_owned()));
            Ok(after("listening on ").zip(after("admin on http://")))
        });
        let (url, admin) = addresses.map_err(|error| Error::new(format!("{error}\n{}", process.log_tail())))?;
        Ok(Self { process, url, admin, dir })
    }

    /// `http://ADDR:PORT`, for the operator's `--endpoint`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `http://ADDR:PORT` of the admin address.
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.admin)
    }

    /// Puts other rules of what goes wrong in the place of those in force; see `emulate --help`.
    pub fn faults(&self, rules: &[&str]) -> Result<()> {
        self.set("/faults", &json!(rules))
    }

    /// What is at this path of the admin address.
    pub fn get(&self, path: &str) -> Result<Value> {
        admin::request(&self.admin, "GET", path, "")
    }

    /// Changes it.
    pub fn set(&self, path: &str, value: &Value) -> Result<()> {
        admin::request(&self.admin, "PUT", path, &value.to_string()).map(drop)
    }

    /// Takes it away.
    pub fn delete(&self, path: &str) -> Result<()> {
        admin::request(&self.admin, "DELETE", path, "").map(drop)
    }

    /// Every call it received so far, in order.
    pub fn requests(&self) -> Result<Vec<Request>> {
        request_log::read(&self.dir.join("requests.jsonl"))
    }

    /// How often this operation was called so far.
    pub fn calls(&self, operation: &str) -> Result<usize> {
        Ok(self.requests()?.iter().filter(|request| request.operation == operation).count())
    }
}

/// The binary under test. Cargo tells a test where it is; an example (the demo) lies one folder below it.
fn binary() -> Result<PathBuf> {
    if let Some(path) = option_env!("CARGO_BIN_EXE_live-message-operator") {
        return Ok(PathBuf::from(path));
    }
    let example = std::env::current_exe()?;
    let folder = example.parent().and_then(std::path::Path::parent).context("this program lies in no folder")?;
    let path = folder.join("live-message-operator");
    if path.is_file() {
        Ok(path)
    } else {
        Err(Error::new(format!("{} is missing: `cargo build` first", path.display())))
    }
}
