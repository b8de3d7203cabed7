//! The official SDKs against the emulator: `scenario.json`, all of it, through each. Nothing is skipped: where an SDK
//! cannot be had, its test fails and says what to install.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is to stop")]

mod cache;
mod prepare;
mod scenario;

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the integration tests; neither uses all of it")]
mod support;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use scenario::Scenario;
use support::{Context as _, Emulator, EmulatorOptions, Error, Process, Request, Result, Scratch};

/// How long an SDK may take for the scenario; each takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(300);

/// A program that carries out the scenario through an SDK, and what is known of that SDK.
struct Runner {
    /// The package and its version, as the program is to print them.
    sdk: &'static str,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(&'static str, OsString)>,
    /// What the program takes after the scenario.
    method: Option<&'static str>,
    /// How the SDK signs.
    signature: &'static str,
    /// A parameter it makes of the list `Administrators`.
    list: &'static str,
}

impl Runner {
    fn run(mut self) -> Result<()> {
        let scenario = Scenario::load()?;
        let (access_keys, groups, args) = (Vec::new(), scenario.groups(), scenario.emulator.clone());
        let emulator = Emulator::start(&EmulatorOptions { access_keys, groups, args, ..EmulatorOptions::default() })?;

        let dir = Scratch::new("sdk")?;
        let file = dir.write("scenario.json", scenario.expanded.to_string())?;
        self.args.extend([emulator.url().into(), emulator.admin_url().into(), file.into()]);
        self.args.extend(self.method.map(OsString::from));
        let mut process = Process::spawn(&self.program, &self.args, &self.env, &dir.join("runner.log"))?;
        let status = process.wait(PATIENCE).map_err(|error| Error::new(format!("{error}\n{}", process.log_tail())))?;

        let log = process.log();
        let last = log.lines().last().unwrap_or_default();
        cache::say(last);
        let expected = format!("conformance {}: {} steps, 0 failed", self.sdk, scenario.steps());
        if !status.success() || last != expected {
            let bad: Vec<&str> = log.lines().filter(|line| !line.starts_with("ok ")).collect();
            return Err(Error::new(format!("expected as the last line: {expected}\n{status}\n{}", bad.join("\n"))));
        }
        self.judge(&emulator, scenario.steps())
    }

    /// Every step is one call, so the SDK repeats none by itself, and the calls look as they do from this SDK: that it is
    /// the SDK that made them.
    fn judge(&self, emulator: &Emulator, steps: usize) -> Result<()> {
        // The last record is written when the slowest answer has been given, to a client long gone.
        let calls = support::wait_for("one call for each step", Duration::from_secs(60), || {
            Ok(Some(emulator.requests()?).filter(|calls| calls.len() >= steps))
        })?;
        if calls.len() > steps {
            return Err(Error::new(format!("{} calls for {steps} steps", calls.len())));
        }
        if let Some(call) = calls.iter().find(|call| call.signature.as_deref() != Some(self.signature)) {
            return Err(Error::new(format!("{} has the signature {:?}", call.operation, call.signature)));
        }
        let lists = |call: &&Request| call.operation == "CreateLiveMessageGroup" && call.param(self.list).is_some();
        calls.iter().find(lists).map(drop).context(format_args!("no call has the parameter {}", self.list))
    }
}

#[test]
fn python_product_sdk() -> Result<()> {
    let script = scenario::folder().join("python/run.py");
    Runner {
        sdk: "alibabacloud-live20161101 3.0.2",
        program: prepare::python()?,
        // Without bytecode in the work tree, and without modules of the user's.
        args: vec!["-B".into(), "-I".into(), script.into()],
        env: Vec::new(),
        method: None,
        signature: "V3",
        list: "Administrators",
    }
    .run()
}

#[test]
fn go_product_sdk() -> Result<()> {
    Runner {
        sdk: "github.com/aliyun/alibaba-cloud-sdk-go v1.63.107",
        program: prepare::go()?,
        args: Vec::new(),
        env: Vec::new(),
        method: None,
        signature: "V1",
        list: "Administrators.2",
    }
    .run()
}

#[test]
fn node_openapi_core() -> Result<()> {
    node("openapi-core.js", "@alicloud/openapi-core 1.0.8", None, "V3", "Administrators")
}

#[test]
fn node_pop_core_get() -> Result<()> {
    node("pop-core.js", "@alicloud/pop-core 1.8.0, GET", Some("GET"), "V1", "Administrators.2")
}

#[test]
fn node_pop_core_post() -> Result<()> {
    node("pop-core.js", "@alicloud/pop-core 1.8.0, POST", Some("POST"), "V1", "Administrators.2")
}

fn node(
    script: &str,
    sdk: &'static str,
    method: Option<&'static str>,
    signature: &'static str,
    list: &'static str,
) -> Result<()> {
    let env = vec![("NODE_PATH", prepare::node()?.into())];
    let args = vec![scenario::folder().join("node").join(script).into()];
    Runner { sdk, program: PathBuf::from("node"), args, env, method, signature, list }.run()
}
