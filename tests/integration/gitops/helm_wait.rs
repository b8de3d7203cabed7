//! Tests `helm install --wait` with a chart that contains one LiveMessageGroup. Helm 4 uses kstatus to determine
//! whether the object is ready.

use std::time::{Duration, Instant};

use crate::support::{Helm, Result, Scratch};
use crate::world::World;

/// Installs the chart with `--wait` and this timeout, and returns the output of Helm.
fn install(world: &World<'_>, app: &str, timeout: &str) -> Result<String> {
    let chart = Scratch::new("chart")?;
    std::fs::create_dir(chart.join("templates"))?;
    chart.write("Chart.yaml", "apiVersion: v2\nname: room\nversion: 0.1.0\n")?;
    let room = format!(
        "apiVersion: live.alibabacloud.com/v1alpha1\nkind: LiveMessageGroup\nmetadata:\n  name: room\nspec:\n  appId: {app}\n"
    );
    chart.write("templates/room.yaml", room)?;
    let (path, kubeconfig) =
        (chart.path().display().to_string(), world.control_plane.kubeconfig().display().to_string());
    let install = ["install", "release", &path, "--namespace", &world.namespace, "--kubeconfig", &kubeconfig];
    Helm::new()?.run(&[&install[..], &["--wait", "--timeout", timeout]].concat())
}

#[tokio::test]
async fn helm_waits_until_the_group_exists() -> Result<()> {
    let mut world = World::new(&[]).await?;
    // The operator starts while Helm waits. Without the default status in the CRD, Helm would not wait.
    let waiting = std::thread::scope(|scope| {
        let install = scope.spawn(|| install(&world, "demo", "180s"));
        std::thread::sleep(Duration::from_secs(3));
        let early = install.is_finished();
        let operator = crate::support::Operator::start(&world.options);
        (early, operator.map(|operator| (operator, install.join())))
    });
    let (early, done) = waiting;
    let (operator, installed) = done?;
    world.operator = Some(operator);
    let output = installed.expect("the thread panicked")?;
    assert!(!early, "Helm did not wait: {output}");
    assert!(output.contains("STATUS: deployed"), "{output}");
    world.ready("room", "True", "Created").await?;
    Ok(())
}

#[tokio::test]
async fn helm_fails_early_if_manual_intervention_is_required() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    let started = Instant::now();
    let error = install(&world, "nowhere", "300s").expect_err("there is no such app").to_string();
    assert!(started.elapsed() < Duration::from_secs(180), "Helm waited {} s", started.elapsed().as_secs());
    assert!(error.contains("status: Failed") && error.contains("App \"nowhere\" does not exist"), "{error}");
    Ok(())
}
