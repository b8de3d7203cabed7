//! Starts and stops the two operators that the benchmark measures.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::measure;
use crate::support::{
    ACCESS_KEY, ControlPlane, Emulator, Error, Operator, OperatorOptions, Process, Result, Scratch, yardstick,
};

/// How long to wait until the yardstick logs the address of its health endpoints.
const LISTENS: Duration = Duration::from_secs(60);

/// How long to wait after a new process is ready. The process sends no calls until it is the leader, and the operator
/// then waits for one more second.
const WARM_UP: Duration = Duration::from_secs(3);

/// An operator that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The plain operator in `benches/yardstick`.
    Yardstick,
    /// `live-message-operator`.
    Operator,
}

impl Subject {
    /// The name in the progress messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Yardstick => "yardstick",
            Self::Operator => "operator",
        }
    }
}

/// A namespace, and a kubeconfig with the permissions that the chart grants to an operator in this namespace.
pub struct Place {
    pub namespace: String,
    kubeconfig: PathBuf,
}

impl Place {
    pub fn new(control_plane: &ControlPlane) -> Result<Self> {
        let namespace = control_plane.namespace()?;
        let kubeconfig = control_plane.operator_kubeconfig(&namespace, &[&namespace])?;
        Ok(Self { namespace, kubeconfig })
    }

    /// The name of the Lease that the operator is permitted to use.
    fn lease(&self) -> String {
        format!("lmo-{}", self.namespace)
    }
}

/// A running operator.
pub enum Running {
    Yardstick(Process, #[expect(dead_code, reason = "removes the log when dropped")] Scratch),
    Operator(Operator),
}

impl Running {
    /// Starts an operator with leader election. If `limit` is `None`, the operator does not limit its call rate.
    pub fn start(subject: Subject, place: &Place, emulator: &Emulator, limit: Option<u32>) -> Result<Self> {
        match subject {
            Subject::Yardstick => start_yardstick(place, emulator, limit),
            Subject::Operator => start_operator(place, emulator, limit),
        }
    }

    /// Starts an operator and waits until it is ready to send calls.
    pub fn start_warm(subject: Subject, place: &Place, emulator: &Emulator, limit: Option<u32>) -> Result<Self> {
        let begin = Instant::now();
        let running = Self::start(subject, place, emulator, limit)?;
        measure::ready(&running.probes()?, begin)?;
        std::thread::sleep(WARM_UP);
        Ok(running)
    }

    pub fn process(&mut self) -> &mut Process {
        match self {
            Self::Yardstick(process, _) => process,
            Self::Operator(operator) => &mut operator.process,
        }
    }

    pub fn pid(&self) -> u32 {
        match self {
            Self::Yardstick(process, _) => process.pid(),
            Self::Operator(operator) => operator.process.pid(),
        }
    }

    /// The URL of the health endpoints.
    pub fn probes(&self) -> Result<String> {
        match self {
            Self::Yardstick(process, _) => yardstick_probes(process),
            Self::Operator(operator) => operator.probes(),
        }
    }

    /// Stops the operator with SIGTERM, so that it releases its Lease.
    pub fn stop(mut self) -> Result<()> {
        self.process().sigterm()?;
        self.process().wait(Duration::from_secs(60)).map(drop)
    }

    /// Adds the end of the log to an error.
    pub fn explain(&mut self, error: &Error) -> Error {
        Error::new(format!("{error}\n{}", self.process().log_tail()))
    }
}

fn start_operator(place: &Place, emulator: &Emulator, limit: Option<u32>) -> Result<Running> {
    let rate = limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    let lease = place.lease();
    // Drift checks must not run, because the groups of settled objects do not exist.
    let args =
        ["--watch-namespace", &place.namespace, "--requests-per-second", &rate, "--drift-check-interval", "168h"];
    // The quota of an app must not block new objects while others wait.
    let others = ["--leader-elect", "--leader-elect-resource-name", &lease, "--max-groups-per-app", "100000"];
    Operator::start(&OperatorOptions {
        kubeconfig: place.kubeconfig.clone(),
        endpoint: emulator.url().to_owned(),
        args: args.iter().chain(&others).map(|&arg| arg.to_owned()).collect(),
        env: vec![("RUST_LOG".to_owned(), "warn,live_message_operator::cli=info".to_owned())],
        ..OperatorOptions::default()
    })
    .map(Running::Operator)
}

fn start_yardstick(place: &Place, emulator: &Emulator, limit: Option<u32>) -> Result<Running> {
    let dir = Scratch::new("yardstick")?;
    let args = [
        format!("--endpoint={}", emulator.url()),
        format!("--watch-namespace={}", place.namespace),
        format!("--leader-elect-resource-name={}", place.lease()),
        format!("--requests-per-second={}", limit.unwrap_or_default()),
    ];
    let (id, secret) = ACCESS_KEY;
    let env: [(&str, OsString); 3] = [
        ("KUBECONFIG", place.kubeconfig.clone().into()),
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", id.into()),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", secret.into()),
    ];
    let program = yardstick()?.join("yardstick");
    let process = Process::spawn(&program, &args, &env, &dir.join("yardstick.log"))?;
    Ok(Running::Yardstick(process, dir))
}

/// Reads the address of the health endpoints from the log of the yardstick, which contains one JSON object per line.
fn yardstick_probes(process: &Process) -> Result<String> {
    let address = || {
        let log = process.log();
        let line = log.lines().find(|line| line.contains(r#""name":"health probe""#))?;
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(format!("http://{}", line["addr"].as_str()?))
    };
    let end = Instant::now() + LISTENS;
    while Instant::now() < end {
        if let Some(address) = address() {
            return Ok(address);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(Error::new(format!("the log has no address of the health endpoints\n{}", process.log_tail())))
}
