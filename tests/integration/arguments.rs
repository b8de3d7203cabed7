//! What is wrong with arguments and surroundings is told at the start, with what to do, and by the exit code.

use std::net::TcpListener;
use std::process::Command;

use serde_json::json;

use crate::support::{Result, Scratch, shared_control_plane};
use crate::world::{PATIENCE, World};

/// Exit code and stderr of a start that fails; HOME is `home`, and nothing of the test's own environment is seen.
fn fails(home: &Scratch, args: &[&str], variables: &[(&str, &str)]) -> Result<(Option<i32>, String)> {
    let output = Command::new(env!("CARGO_BIN_EXE_live-message-operator"))
        .args(args)
        .env_clear()
        .env("HOME", home.path())
        .envs(variables.iter().copied())
        .output()?;
    assert!(!output.status.success() && output.stdout.is_empty(), "{args:?}");
    Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// Arguments, variables, and what the refusal says.
type Wrong<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);

const WRONG: [Wrong<'_>; 15] = [
    (&["--drift-check-interval=often"], &[], "use a duration such as 90s"),
    (&[], &[("LMO_DRIFT_CHECK_INTERVAL", "1000h")], "at most 168h"),
    (&["--connect-timeout=0"], &[], "use a duration such as 3s"),
    (&["--connect-timeout=20s"], &[], "--connect-timeout 20s is longer than --request-timeout 10s"),
    (&["--requests-per-second=51"], &[], "from 1 to 50"),
    (&["--requests-per-second=unlimited"], &[], "--endpoint"),
    (&["--endpoint=http://live.example.com"], &[], "--allow-http"),
    (&["--endpoint=https://live.example.com/path"], &[], "https://HOST[:PORT]"),
    (&["--endpoint=https://"], &[], "https://HOST[:PORT]"),
    (&["--watch-namespace=Team_A"], &[], "use the name of a namespace"),
    (&["--watch-namespace="], &[], "namespace"),
    // An empty name would be all namespaces.
    (&[], &[("LMO_WATCH_NAMESPACE", "team-a,")], "use the name of a namespace"),
    (&["--health-bind-address=localhost:8081"], &[], "use an IP address and a port"),
    (&["--log-format=xml"], &[], "text, json"),
    (&["--no-such-option"], &[], "--help"),
];

#[test]
fn wrong_arguments_are_told_with_what_to_write_instead() -> Result<()> {
    let home = Scratch::new("arguments")?;
    for (args, variables, says) in WRONG {
        let (code, told) = fails(&home, &[&["run"], args].concat(), variables)?;
        assert!(code == Some(2) && told.contains("error: ") && told.contains(says), "{args:?}: {code:?}: {told}");
    }
    Ok(())
}

#[test]
fn a_cluster_that_cannot_be_found_is_told_without_what_stands_in_its_file() -> Result<()> {
    let home = Scratch::new("kubeconfig")?;
    home.write("broken", "apiVersion: v1\nusers: [{name: me, user: {token: hush\n")?;
    home.write("empty", "")?;
    let last = |variables: &[(&str, &str)]| -> Result<String> {
        let (code, told) = fails(&home, &["run"], variables)?;
        assert_eq!(code, Some(1), "{told}");
        assert!(!told.contains("hush"), "{told}");
        Ok(told.lines().last().unwrap_or_default().to_owned())
    };
    for (file, says) in [("broken", "YAML"), ("empty", "context"), ("nowhere", "No such file"), (".", "directory")] {
        let path = home.join(file).display().to_string();
        let told = last(&[("KUBECONFIG", &path)])?;
        assert!(told.starts_with("error: no cluster found: ") && told.contains(says), "{file}: {told}");
        assert!(told.ends_with("set KUBECONFIG to a readable kubeconfig, or run in a pod"), "{file}: {told}");
    }
    assert!(last(&[])?.contains(".kube/config"));
    let pod = [("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("KUBERNETES_SERVICE_PORT", "443")];
    assert!(last(&pod)?.contains("automountServiceAccountToken"));
    Ok(())
}

#[test]
fn what_is_missing_or_taken_on_the_machine_is_told() -> Result<()> {
    let home = Scratch::new("machine")?;
    let (code, told) = fails(&home, &["run", "--ca-bundle=/nowhere.pem"], &[])?;
    assert!(code == Some(1) && told.contains("CA bundle \"/nowhere.pem\""), "{told}");
    let (code, told) = fails(&home, &["crd", "--dir=/nowhere"], &[])?;
    assert!(code == Some(1) && told.contains("--dir: cannot write /nowhere/"), "{told}");
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let kubeconfig = shared_control_plane()?.kubeconfig().display().to_string();
    let variables = [("KUBECONFIG", kubeconfig.as_str())];
    let (code, told) = fails(&home, &["run", "--health-bind-address", &address], &variables)?;
    assert!(code == Some(1) && told.contains("--health-bind-address"), "{told}");
    let (code, told) = fails(&home, &["emulate", "--listen", &address], &[])?;
    assert!(code == Some(1) && told.contains("use another address"), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_namespace_that_is_not_there_is_told_and_the_others_are_worked_in() -> Result<()> {
    let mut world = World::new(&[]).await?;
    // Where it may watch any namespace, no refusal tells.
    world.options.kubeconfig = world.control_plane.kubeconfig().to_owned();
    world.options.args.push("--watch-namespace=no-such-namespace".to_owned());
    world.start()?;
    world.create("room", json!({})).await?;
    world.ready("room", "True", "Created").await?;
    let told = async || Ok(world.log().contains("the namespace does not exist yet"));
    world.until("the missing namespace to be told", PATIENCE, told).await?;
    assert!(
        world
            .log()
            .lines()
            .all(|line| !line.contains("the namespace does not exist yet") || line.contains("no-such-namespace"))
    );
    Ok(())
}
