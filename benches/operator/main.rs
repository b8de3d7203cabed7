//! Measures throughput, memory and startup time of the operator process with a real apiserver and the emulator.
//!
//! `make bench` takes about five minutes on two cores, mostly for compiling and creating objects. It requires the same
//! tools as the integration tests, and Linux, because it reads memory usage from `/proc`.

mod measure;
mod objects;

#[path = "../../tests/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the tests; each uses a part of it")]
mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use measure::{Memory, median, memory, ready, scrape};
use support::{ControlPlane, Emulator, EmulatorOptions, Operator, OperatorOptions, Result};

/// The number of objects in each run without a rate limit, and the number of runs.
const UNLIMITED: (usize, usize) = (2_000, 3);
/// The number of objects in the run at the rate limit of the account.
const LIMITED: usize = 500;
/// The number of settled objects, which need no calls.
const SETTLED: usize = 10_000;
/// The number of starts with settled objects, and of starts without.
const STARTS: usize = 3;
/// The delay before memory is read, in which the process releases memory that it needs only at startup.
const REST: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let stage = Stage::start()?;
    let mut table = Vec::new();
    let cores = std::thread::available_parallelism()?;
    println!("{cores} cores, shared by etcd, kube-apiserver, the emulator, the operator and the benchmark\n");

    let (count, runs) = UNLIMITED;
    let mut rates = Vec::new();
    for run in 1..=runs {
        eprintln!("{count} new objects without rate limit, run {run} of {runs}");
        rates.push(rate(&stage, count, "unlimited").await?);
    }
    table.push((
        format!("objects per second, without rate limit ({count} new objects)"),
        format!("{:.0}", median(&mut rates)),
    ));

    eprintln!("{LIMITED} new objects at 50 calls per second");
    let limited = rate(&stage, LIMITED, "50").await?;
    table
        .push((format!("objects per second, at 50 calls per second ({LIMITED} new objects)"), format!("{limited:.1}")));

    let empty = starts(&stage, &stage.control_plane.namespace()?, 0).await?;
    let namespace = stage.control_plane.namespace()?;
    eprintln!("creating {SETTLED} settled objects");
    objects::create_settled(&stage.control_plane.client().await?, &namespace, SETTLED).await?;
    let full = starts(&stage, &namespace, SETTLED).await?;
    table.push(("startup time, no objects".to_owned(), format!("{:.2} s", empty.ready)));
    table.push((format!("startup time, {SETTLED} objects"), format!("{:.2} s", full.ready)));
    table.push(("memory, no objects".to_owned(), format!("{:.1} MiB", empty.memory.resident)));
    table.push((format!("memory, {SETTLED} objects"), format!("{:.1} MiB", full.memory.resident)));
    table.push((format!("peak memory, {SETTLED} objects"), format!("{:.1} MiB", full.memory.peak)));
    table.push((format!("duration of a scrape, {SETTLED} objects"), format!("{:.1} ms", full.scrape * 1000.0)));
    let per_object = (full.memory.resident - empty.memory.resident) * 1024.0 / SETTLED as f64;
    table.push(("memory per object".to_owned(), format!("{per_object:.2} KiB")));
    table.push((format!("calls to the Live API in {STARTS} starts with {SETTLED} objects"), full.calls.to_string()));

    let width = table.iter().map(|(what, _)| what.len()).max().unwrap_or_default();
    for (what, value) in table {
        println!("{what:width$}  {value:>10}");
    }
    println!("\nMedians of {runs} runs and {STARTS} starts. Each settled object has 2 KiB of groupInfo.");
    Ok(())
}

/// The control plane of all runs. Each run has its own namespace, operator and emulator.
struct Stage {
    control_plane: ControlPlane,
}

impl Stage {
    fn start() -> Result<Self> {
        let control_plane = ControlPlane::start()?;
        control_plane.apply_crds()?;
        Ok(Self { control_plane })
    }

    fn emulator(&self, limit: &str) -> Result<Emulator> {
        Emulator::start(&EmulatorOptions {
            apps: objects::APPS.map(str::to_owned).to_vec(),
            args: vec!["--requests-per-second".to_owned(), limit.to_owned()],
            ..EmulatorOptions::default()
        })
    }

    fn operator(&self, namespace: &str, emulator: &Emulator, rate: &str) -> Result<OperatorOptions> {
        // No drift check must run, because the groups of settled objects do not exist.
        let args = ["--watch-namespace", namespace, "--requests-per-second", rate, "--drift-check-interval", "168h"];
        Ok(OperatorOptions {
            kubeconfig: self.control_plane.operator_kubeconfig(namespace, &[namespace])?,
            endpoint: emulator.url().to_owned(),
            args: args.map(str::to_owned).to_vec(),
            env: vec![("RUST_LOG".to_owned(), "warn,live_message_operator::cli=info".to_owned())],
            ..OperatorOptions::default()
        })
    }
}

/// Measures the created objects per second, from the start of the operator until the last object is ready.
async fn rate(stage: &Stage, count: usize, rate: &str) -> Result<f64> {
    let namespace = stage.control_plane.namespace()?;
    let client = stage.control_plane.client().await?;
    objects::create_new(&client, &namespace, count).await?;
    let emulator = stage.emulator(if rate == "unlimited" { "0" } else { rate })?;
    let options = stage.operator(&namespace, &emulator, rate)?;
    let watching = objects::watch(&client, &namespace);
    let start = Instant::now();
    let operator = Operator::start(&options)?;
    objects::all_ready(watching, count)
        .await
        .map_err(|error| support::Error::new(format!("{error}\n{}", operator.process.log_tail())))?;
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

struct Start {
    /// The time until the operator is ready, in seconds.
    ready: f64,
    /// The duration of a scrape, in seconds.
    scrape: f64,
    memory: Memory,
    calls: usize,
}

async fn starts(stage: &Stage, namespace: &str, count: usize) -> Result<Start> {
    let emulator = stage.emulator("50")?;
    let options = stage.operator(namespace, &emulator, "50")?;
    let (mut seconds, mut scrapes, mut resident, mut peak) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for start in 1..=STARTS {
        eprintln!("startup with {count} objects, run {start} of {STARTS}");
        let begin = Instant::now();
        let mut operator = Operator::start(&options)?;
        seconds.push(ready(&operator.probes()?, begin)?.as_secs_f64());
        tokio::time::sleep(REST).await;
        scrapes.push(scrape(&operator.probes()?)?);
        let memory = memory(operator.process.pid())?;
        resident.push(memory.resident);
        peak.push(memory.peak);
        operator.process.sigterm()?;
        operator.process.wait(Duration::from_secs(30))?;
    }
    let memory = Memory { resident: median(&mut resident), peak: median(&mut peak) };
    Ok(Start { ready: median(&mut seconds), scrape: median(&mut scrapes), memory, calls: emulator.requests()?.len() })
}
