//! `make demo`: runs the operator without an Alibaba Cloud account.
//!
//! The demo starts a control plane, the emulator and the operator, applies the manifests in `examples/`, and shows and
//! checks the results. With `KEEP=1`, everything keeps running until you press Ctrl-C. With
//! `DEMO_CONTEXT=<kubeconfig context>`, the demo uses the cluster of that context instead of a new control plane.

mod interrupt;
mod report;
mod stage;

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the tests; each uses a part of it")]
mod support;

use std::io::Write as _;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use stage::Stage;
use support::{Emulator, EmulatorOptions, Error, Operator, OperatorOptions, Result, repository, wait_for};

/// A manifest in `examples/` and the condition `Ready` that its object is expected to have.
struct Expected {
    file: &'static str,
    object: &'static str,
    ready: &'static str,
    reason: &'static str,
}

const EXPECTED: [Expected; 4] = [
    Expected { file: "new-group.yaml", object: "classroom", ready: "True", reason: "Created" },
    Expected { file: "existing-group.yaml", object: "lobby", ready: "True", reason: "AlreadyExists" },
    Expected { file: "deleted-group.yaml", object: "oldroom", ready: "False", reason: "GroupDeleted" },
    Expected { file: "announcement.yaml", object: "weekly-announcement", ready: "True", reason: "Created" },
];

/// The timeout for the objects to settle. They usually settle in about one second.
const SETTLE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if interrupt::happened() => {
            eprintln!("interrupted");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    interrupt::listen()?;
    let (stage, emulator, mut operator) = start()?;
    step("Applying examples/", || apply(&stage))?;
    let settled = step("Waiting for the operator", || settle(&stage, &mut operator));
    // Print the table even after a failure, because it shows the progress.
    report::objects(&stage)?;
    settled.map_err(|error| Error::new(format!("{error}\n{}", operator.process.log_tail())))?;
    report::conditions(&stage, "oldroom")?;
    report::calls(&emulator)?;
    report::group_info(&stage, &emulator, "weekly-announcement", "weekly2026")?;
    if std::env::var("KEEP").is_ok_and(|keep| !keep.is_empty() && keep != "0") {
        keep(&stage, &emulator, &mut operator)?;
    }
    println!("\nStopping all processes.");
    Ok(())
}

fn start() -> Result<(Stage, Emulator, Operator)> {
    let context = std::env::var("DEMO_CONTEXT").unwrap_or_default();
    let stage = if context.is_empty() {
        step("Starting etcd and kube-apiserver", Stage::own)?
    } else {
        step(&format!("Preparing the cluster of the context {context}"), || Stage::of_context(&context))?
    };
    let emulator = step("Starting the emulator of the Live API", || {
        Emulator::start(&EmulatorOptions {
            apps: vec!["demo".to_owned()],
            groups: vec!["demo/lobby".to_owned(), "demo/oldroom:deleted".to_owned()],
            ..EmulatorOptions::default()
        })
    })?;
    let operator = step("Starting the operator with the permissions of the chart", || {
        Operator::start(&OperatorOptions {
            kubeconfig: stage.operator_kubeconfig().to_owned(),
            endpoint: emulator.url().to_owned(),
            args: stage.operator_args(),
            ..OperatorOptions::default()
        })
    })?;
    Ok((stage, emulator, operator))
}

fn apply(stage: &Stage) -> Result<()> {
    for expected in &EXPECTED {
        let path = repository().join("examples").join(expected.file);
        stage.kubectl().run(&["apply", "--namespace", stage.namespace(), "-f", &path.to_string_lossy()])?;
    }
    Ok(())
}

/// Waits until each object has its expected condition.
fn settle(stage: &Stage, operator: &mut Operator) -> Result<()> {
    let mut wrong = Vec::new();
    let settled = wait_for("the expected conditions", SETTLE, || {
        interrupt::check()?;
        if let Some(status) = operator.process.exited()? {
            return Err(Error::new(format!("the operator exited: {status}")));
        }
        wrong.clear();
        for expected in &EXPECTED {
            let (ready, reason) = report::ready(stage, expected.object)?;
            if (ready.as_str(), reason.as_str()) != (expected.ready, expected.reason) {
                let Expected { object, ready: wanted, reason: because, .. } = expected;
                wrong.push(format!("{object} has Ready={ready} ({reason}), expected Ready={wanted} ({because})"));
            }
        }
        Ok(wrong.is_empty().then_some(()))
    });
    settled.map_err(|error| Error::new(format!("{error}\n{}", wrong.join("\n"))))
}

fn keep(stage: &Stage, emulator: &Emulator, operator: &mut Operator) -> Result<()> {
    println!("\nEverything keeps running until you press Ctrl-C. In another terminal, run:\n\n{}", stage.how_to_use());
    println!("  kubectl get lmg -A --watch\n\nThe emulator of the Live API listens on {}.", emulator.url());
    while !interrupt::happened() {
        if let Some(status) = operator.process.exited()? {
            return Err(Error::new(format!("the operator exited: {status}\n{}", operator.process.log_tail())));
        }
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Runs a step and prints its name and duration.
fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    interrupt::check()?;
    print!("{what} ... ");
    std::io::stdout().flush()?;
    let started = Instant::now();
    let done = work();
    let outcome = if done.is_ok() { "done" } else { "failed" };
    println!("{outcome}, {:.1} s", started.elapsed().as_secs_f64());
    done
}
