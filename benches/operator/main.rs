//! The operator as a process against a real apiserver and the emulator: how fast, how much memory, how soon ready.
//!
//! `make bench`; about five minutes on two cores, most of them spent compiling and making objects. It wants what the
//! integration tests want. Memory is read from `/proc`: Linux only.

mod measure;
mod objects;

#[path = "../../tests/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the tests; neither uses all of it")]
mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use measure::{Memory, median, memory, ready, scrape};
use support::{ControlPlane, Emulator, EmulatorOptions, Operator, OperatorOptions, Result};

/// Objects of one run with the limiter off, and how many runs.
const UNLIMITED: (usize, usize) = (2_000, 3);
/// Objects of the run at the account's limit.
const LIMITED: usize = 500;
/// Settled objects.
const SETTLED: usize = 10_000;
/// Starts with and without them.
const STARTS: usize = 3;
/// From ready until memory is read: what was only needed to start has been given back.
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
    println!("{cores} cores, shared by etcd, kube-apiserver, the emulator, the operator and this program\n");

    let (count, runs) = UNLIMITED;
    let mut rates = Vec::new();
    for run in 1..=runs {
        eprintln!("{count} new objects with the limiter off, {run} of {runs}");
        rates.push(rate(&stage, count, "unlimited").await?);
    }
    table.push((
        format!("new objects a second to Ready, limiter off ({count} objects)"),
        format!("{:.0}", median(&mut rates)),
    ));

    eprintln!("{LIMITED} new objects at 50 calls a second");
    let limited = rate(&stage, LIMITED, "50").await?;
    table.push((
        format!("new objects a second to Ready, 50 calls a second ({LIMITED} objects)"),
        format!("{limited:.1}"),
    ));

    let empty = starts(&stage, &stage.control_plane.namespace()?, 0).await?;
    let namespace = stage.control_plane.namespace()?;
    eprintln!("making {SETTLED} settled objects");
    objects::settled(&stage.control_plane.client().await?, &namespace, SETTLED).await?;
    let full = starts(&stage, &namespace, SETTLED).await?;
    table.push(("start to ready, no objects".to_owned(), format!("{:.2} s", empty.ready)));
    table.push((format!("start to ready, {SETTLED} objects"), format!("{:.2} s", full.ready)));
    table.push(("memory, no objects".to_owned(), format!("{:.1} MiB", empty.memory.resident)));
    table.push((format!("memory, {SETTLED} objects"), format!("{:.1} MiB", full.memory.resident)));
    table.push((format!("highest memory since the start, {SETTLED} objects"), format!("{:.1} MiB", full.memory.peak)));
    table.push((format!("a scrape of the metrics, {SETTLED} objects"), format!("{:.1} ms", full.scrape * 1000.0)));
    let per_object = (full.memory.resident - empty.memory.resident) * 1024.0 / SETTLED as f64;
    table.push(("memory per object".to_owned(), format!("{per_object:.2} KiB")));
    table.push((format!("calls to the Live API by {STARTS} starts with {SETTLED} objects"), full.calls.to_string()));

    let width = table.iter().map(|(what, _)| what.len()).max().unwrap_or_default();
    for (what, value) in table {
        println!("{what:width$}  {value:>10}");
    }
    println!("\nMedians of {runs} runs and {STARTS} starts; 2 KiB of groupInfo in every settled object.");
    Ok(())
}

/// One control plane for everything; a namespace, an operator and an emulator for each run.
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
        // The groups of settled objects are not there: no sweep may find that out.
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

/// New objects a second, from the start of the operator until the last one is Ready.
async fn rate(stage: &Stage, count: usize, rate: &str) -> Result<f64> {
    let namespace = stage.control_plane.namespace()?;
    let client = stage.control_plane.client().await?;
    objects::fresh(&client, &namespace, count).await?;
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
    /// Seconds.
    ready: f64,
    /// Seconds.
    scrape: f64,
    memory: Memory,
    calls: usize,
}

async fn starts(stage: &Stage, namespace: &str, count: usize) -> Result<Start> {
    let emulator = stage.emulator("50")?;
    let options = stage.operator(namespace, &emulator, "50")?;
    let (mut seconds, mut scrapes, mut resident, mut peak) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for start in 1..=STARTS {
        eprintln!("start with {count} objects, {start} of {STARTS}");
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
