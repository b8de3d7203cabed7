//! `make e2e`: runs the image and the chart as pods on a real node.
//!
//! `tests/e2e/run` starts the cluster and runs this program in the cluster's network. The program runs the commands in
//! docs/getting-started.md and installs the chart with two replicas. It creates groups while it disturbs the operator,
//! and checks after each disturbance that all groups are ready. At the end, it reads all calls from the emulator's log,
//! checks the call rate, checks that no create was repeated after the object became ready, and prints a timeline.

mod calls;
mod cluster;
mod container;
mod disturbances;
mod observations;
mod timeline;
mod walkthrough;

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the tests; each uses a part of it")]
mod support;

use std::process::ExitCode;

use cluster::{Cluster, Images};
use support::{Context as _, Result};
use timeline::Timeline;

fn main() -> ExitCode {
    let mut timeline = Timeline::start();
    match run(&mut timeline) {
        Ok(()) => {
            println!("\ne2e result: ok. {} steps in {:.0} s", timeline.steps(), timeline.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("\n{error}\n\ne2e result: FAILED after {} steps", timeline.steps());
            ExitCode::FAILURE
        }
    }
}

fn run(timeline: &mut Timeline) -> Result<()> {
    let setting = |name: &str| std::env::var(name).context(format_args!("{name} is not set: start with make e2e"));
    let images = Images { first: setting("E2E_IMAGE")?, second: setting("E2E_SECOND_IMAGE")? };
    let cluster = Cluster::new(setting("KUBECONFIG")?.into(), images)?;
    let outcome = story(&cluster, timeline);
    outcome.map_err(|error| error.with_note(&cluster.diagnosis()))
}

fn story(cluster: &Cluster, timeline: &mut Timeline) -> Result<()> {
    for heading in ["Install", "Create a group", "Look around", "Clean up"] {
        timeline.step(&format!("docs/getting-started.md: {heading}"), || walkthrough::section(cluster, heading))?;
    }
    timeline.step("namespaces with the Pod Security Standard restricted", || cluster.create_namespaces())?;
    timeline.step("a pod that is not restricted is rejected", || cluster.rejects_unrestricted_pods())?;
    timeline.step("emulator of the Live API deployed", || cluster.deploy_live_api())?;
    let install = || cluster.deploy_operator("install", &cluster.images.first, &[]);
    timeline.step("helm install --wait with two replicas", install)?;
    timeline.step("150 groups without a disturbance", || cluster.create_groups("calm"))?;
    timeline.step("leader pod deleted", || disturbances::delete_leader(cluster))?;
    timeline.step("leader process killed", || disturbances::kill_leader(cluster))?;
    timeline.step("Deployment restarted", || disturbances::restart(cluster))?;
    timeline.step("node drained and uncordoned", || disturbances::drain(cluster))?;
    timeline.step("leader exceeds its memory limit", || disturbances::exceed_memory(cluster))?;
    timeline.step("logs, metrics and status read with kubectl", || observations::check(cluster))?;
    timeline.step("150 groups deleted with their objects", || cluster.delete_groups("calm"))?;
    timeline.step("upgrade to another image", || disturbances::upgrade(cluster))?;
    timeline.step("upgrade to a missing image fails, rollback", || disturbances::failed_upgrade(cluster))?;
    timeline.step("uninstalled and reinstalled", || disturbances::reinstall(cluster))?;
    let summary = timeline.step("log of all calls checked", || calls::check(cluster))?;
    println!("\n{summary}");
    Ok(())
}
