//! Tests of the test environment.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;

use crate::support::{ControlPlane, Result, shared_control_plane, wait_for};

#[tokio::test]
async fn kubectl_and_client_reach_the_same_server() -> Result<()> {
    let control_plane = shared_control_plane()?;
    let version = control_plane.kubectl(&["version", "--output=json"])?;
    let version: serde_json::Value = serde_json::from_str(&version)?;
    assert_eq!(version["serverVersion"]["minor"], version["clientVersion"]["minor"], "{version}");

    let namespace = control_plane.namespace()?;
    let api: Api<Namespace> = Api::all(control_plane.client().await?);
    assert_eq!(api.get(&namespace).await?.metadata.name.as_deref(), Some(namespace.as_str()));
    Ok(())
}

#[test]
fn every_namespace_is_new() -> Result<()> {
    let control_plane = shared_control_plane()?;
    assert_ne!(control_plane.namespace()?, control_plane.namespace()?);
    Ok(())
}

#[test]
fn outage_keeps_port_and_data_and_pause_stops_responses() -> Result<()> {
    // Use a separate control plane, because this test stops it.
    let control_plane = ControlPlane::start()?;
    let namespace = control_plane.namespace()?;
    let get = |timeout| ["get", "namespace", &namespace, "--output=name", timeout];
    let (long, short) = ("--request-timeout=60s", "--request-timeout=2s");

    control_plane.stop_apiserver()?;
    let refused = control_plane.kubectl_program().refused(&get(long), "")?;
    assert!(refused.contains("refused"), "{refused}");
    control_plane.start_apiserver()?;
    assert_eq!(control_plane.kubectl(&get(long))?.trim(), format!("namespace/{namespace}"));

    control_plane.pause_apiserver()?;
    let timed_out = control_plane.kubectl_program().refused(&get(short), "")?;
    assert!(!timed_out.contains("refused"), "{timed_out}");
    control_plane.resume_apiserver()?;
    wait_for("the server to answer again", Duration::from_secs(60), || Ok(control_plane.kubectl(&get(short)).ok()))?;
    Ok(())
}

#[test]
fn dropped_servers_are_gone_with_their_data() -> Result<()> {
    let control_plane = ControlPlane::start()?;
    let (pids, dir) = (control_plane.pids(), control_plane.dir().path().to_owned());
    assert!(dir.exists());
    drop(control_plane);
    assert!(!dir.exists());
    for pid in pids {
        assert!(!is_alive(pid)?, "process {pid} still exists");
    }
    Ok(())
}

fn is_alive(pid: u32) -> Result<bool> {
    let mut kill = std::process::Command::new("sh");
    Ok(kill.args(["-c", r#"kill -s 0 "$1" 2>/dev/null"#, "sh", &pid.to_string()]).status()?.success())
}
