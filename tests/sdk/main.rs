//! Tests the emulator with the official SDKs. Each SDK runs every step of `scenario.json`. If an SDK cannot be
//! installed, its test fails with installation instructions.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed precondition fails the test")]

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

/// The timeout for the scenario, which takes a few seconds.
const SCENARIO_TIMEOUT: Duration = Duration::from_secs(300);

/// A program that runs the scenario through an SDK, and the properties that the SDK's calls must have.
struct Runner {
    /// The package and version that the program must print.
    sdk: &'static str,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(&'static str, OsString)>,
    /// An additional last argument of the program: the HTTP method, or the signature and the format.
    argument: Option<&'static str>,
    /// The signature version of the SDK's calls.
    signature: &'static str,
    /// The name of a parameter that the SDK sends for the list `Administrators`.
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
        self.args.extend(self.argument.map(OsString::from));
        let mut process = Process::spawn(&self.program, &self.args, &self.env, &dir.join("runner.log"))?;
        let status =
            process.wait(SCENARIO_TIMEOUT).map_err(|error| Error::new(format!("{error}\n{}", process.log_tail())))?;

        let log = process.log();
        let last = log.lines().last().unwrap_or_default();
        cache::print_progress(last);
        let expected = format!("conformance {}: {} steps, 0 failed", self.sdk, scenario.steps());
        if !status.success() || last != expected {
            let bad: Vec<&str> = log.lines().filter(|line| !line.starts_with("ok ")).collect();
            return Err(Error::new(format!("expected the last line {expected:?}\n{status}\n{}", bad.join("\n"))));
        }
        self.check_calls(&emulator, scenario.steps())
    }

    /// Checks that the request log contains exactly one call for each step (the SDKs make no retries), and that the
    /// calls use the SDK's signature version and list format.
    fn check_calls(&self, emulator: &Emulator, steps: usize) -> Result<()> {
        // Wait, because the client of the slowest call times out before the emulator logs the call.
        let calls = support::wait_for("one call for each step", Duration::from_secs(60), || {
            Ok(Some(emulator.requests()?).filter(|calls| calls.len() >= steps))
        })?;
        if calls.len() > steps {
            return Err(Error::new(format!("{} calls for {steps} steps", calls.len())));
        }
        if let Some(call) = calls.iter().find(|call| call.signature.as_deref() != Some(self.signature)) {
            return Err(Error::new(format!("{} has the signature {:?}", call.operation, call.signature)));
        }
        let creates_with_list =
            |call: &&Request| call.operation == "CreateLiveMessageGroup" && call.param(self.list).is_some();
        calls.iter().find(creates_with_list).map(drop).context(format_args!("no call has the parameter {}", self.list))
    }
}

#[test]
fn python_product_sdk_passes_the_scenario() -> Result<()> {
    let script = scenario::folder().join("python/run.py");
    Runner {
        sdk: "alibabacloud-live20161101 3.0.2",
        program: prepare::python()?,
        // With `-B`, Python writes no bytecode to the work tree. With `-I`, it ignores the user's modules.
        args: vec!["-B".into(), "-I".into(), script.into()],
        env: Vec::new(),
        argument: None,
        signature: "V3",
        list: "Administrators",
    }
    .run()
}

#[test]
fn go_product_sdk_passes_the_scenario() -> Result<()> {
    Runner {
        sdk: "github.com/aliyun/alibaba-cloud-sdk-go v1.63.107",
        program: prepare::go()?,
        args: Vec::new(),
        env: Vec::new(),
        argument: None,
        signature: "V1",
        list: "Administrators.2",
    }
    .run()
}

#[test]
fn node_openapi_core_passes_the_scenario() -> Result<()> {
    node("openapi-core.js", "@alicloud/openapi-core 1.0.8", None, "V3", "Administrators")
}

#[test]
fn node_pop_core_passes_the_scenario_with_get() -> Result<()> {
    node("pop-core.js", "@alicloud/pop-core 1.8.0, GET", Some("GET"), "V1", "Administrators.2")
}

#[test]
fn node_pop_core_passes_the_scenario_with_post() -> Result<()> {
    node("pop-core.js", "@alicloud/pop-core 1.8.0, POST", Some("POST"), "V1", "Administrators.2")
}

#[test]
fn java_sdk_passes_the_scenario_with_v1_and_json() -> Result<()> {
    java("com.aliyun:aliyun-java-sdk-live 3.9.76, V1-JSON", "V1-JSON", "V1")
}

#[test]
fn java_sdk_passes_the_scenario_with_v1_and_xml() -> Result<()> {
    java("com.aliyun:aliyun-java-sdk-live 3.9.76, V1-XML", "V1-XML", "V1")
}

#[test]
fn java_sdk_passes_the_scenario_with_v3() -> Result<()> {
    java("com.aliyun:aliyun-java-sdk-live 3.9.76, V3", "V3", "V3")
}

fn java(sdk: &'static str, mode: &'static str, signature: &'static str) -> Result<()> {
    let args = vec!["-cp".into(), prepare::java()?, "Main".into()];
    Runner {
        sdk,
        program: "java".into(),
        args,
        env: Vec::new(),
        argument: Some(mode),
        signature,
        list: "Administrators",
    }
    .run()
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
    Runner { sdk, program: PathBuf::from("node"), args, env, argument: method, signature, list }.run()
}
