//! Tests of invalid arguments and environments. The program does not start, but prints an error with advice and
//! exits with an error code.

use std::net::TcpListener;
use std::process::Command;

use serde_json::json;

use crate::support::{Result, Scratch, shared_control_plane};
use crate::world::{PATIENCE, World};

/// Runs the program, expects it to fail, and returns its exit code and stderr. The environment contains only `HOME` and
/// `variables`.
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

/// Arguments, environment variables, and a part of the expected error.
type Invalid<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);

const INVALID: [Invalid<'_>; 18] = [
    (&["--drift-check-interval=often"], &[], "use a duration such as 90s"),
    (&[], &[("LMO_DRIFT_CHECK_INTERVAL", "1000h")], "at most 168h"),
    (&["--connect-timeout=0"], &[], "use a duration such as 3s"),
    (&["--connect-timeout=20s"], &[], "--connect-timeout 20s is longer than --request-timeout 10s"),
    (&["--requests-per-second=51"], &[], "from 1 to 50"),
    (&["--requests-per-second=unlimited"], &[], "--endpoint"),
    (&["--endpoint=http://live.example.com"], &[], "--allow-http"),
    (&["--endpoint=https://live.example.com/path"], &[], "https://HOST[:PORT]"),
    (&["--endpoint=https://"], &[], "https://HOST[:PORT]"),
    (&["--account-endpoints=https://live.example.com"], &[], "use a host such as live.example.com"),
    (&[], &[("LMO_ACCOUNT_ENDPOINTS", "a.example,")], "use a host such as live.example.com"),
    (&["--operator-credentials-namespaces=Team_A"], &[], "a pattern such as team-*"),
    (&["--watch-namespace=Team_A"], &[], "use the name of a namespace"),
    (&["--watch-namespace="], &[], "namespace"),
    // An empty name would select all namespaces.
    (&[], &[("LMO_WATCH_NAMESPACE", "team-a,")], "use the name of a namespace"),
    (&["--health-bind-address=localhost:8081"], &[], "use an IP address and a port"),
    (&["--log-format=xml"], &[], "text, json"),
    (&["--no-such-option"], &[], "--help"),
];

#[test]
fn invalid_arguments_are_reported_with_the_valid_form() -> Result<()> {
    let home = Scratch::new("arguments")?;
    for (args, variables, says) in INVALID {
        let (code, stderr) = fails(&home, &[&["run"], args].concat(), variables)?;
        assert!(code == Some(2) && stderr.contains("error: ") && stderr.contains(says), "{args:?}: {code:?}: {stderr}");
    }
    Ok(())
}

#[test]
fn missing_cluster_is_reported_without_kubeconfig_content() -> Result<()> {
    let home = Scratch::new("kubeconfig")?;
    home.write("broken", "apiVersion: v1\nusers: [{name: me, user: {token: hush\n")?;
    home.write("empty", "")?;
    let last_line = |variables: &[(&str, &str)]| -> Result<String> {
        let (code, stderr) = fails(&home, &["run"], variables)?;
        assert_eq!(code, Some(1), "{stderr}");
        assert!(!stderr.contains("hush"), "{stderr}");
        Ok(stderr.lines().last().unwrap_or_default().to_owned())
    };
    for (file, says) in [("broken", "YAML"), ("empty", "context"), ("nowhere", "No such file"), (".", "directory")] {
        let path = home.join(file).display().to_string();
        let stderr = last_line(&[("KUBECONFIG", &path)])?;
        assert!(stderr.starts_with("error: no cluster found: ") && stderr.contains(says), "{file}: {stderr}");
        assert!(stderr.ends_with("set KUBECONFIG to a readable kubeconfig, or run in a pod"), "{file}: {stderr}");
    }
    assert!(last_line(&[])?.contains(".kube/config"));
    let pod = [("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("KUBERNETES_SERVICE_PORT", "443")];
    assert!(last_line(&pod)?.contains("automountServiceAccountToken"));
    Ok(())
}

#[test]
fn missing_files_and_used_addresses_are_reported() -> Result<()> {
    let home = Scratch::new("machine")?;
    let (code, stderr) = fails(&home, &["run", "--ca-bundle=/nowhere.pem"], &[])?;
    assert!(code == Some(1) && stderr.contains("CA bundle \"/nowhere.pem\""), "{stderr}");
    let (code, stderr) = fails(&home, &["crd", "--dir=/nowhere"], &[])?;
    assert!(code == Some(1) && stderr.contains("--dir: cannot write /nowhere/"), "{stderr}");
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let kubeconfig = shared_control_plane()?.kubeconfig().display().to_string();
    let variables = [("KUBECONFIG", kubeconfig.as_str())];
    let (code, stderr) = fails(&home, &["run", "--health-bind-address", &address], &variables)?;
    assert!(code == Some(1) && stderr.contains("--health-bind-address"), "{stderr}");
    let (code, stderr) = fails(&home, &["emulate", "--listen", &address], &[])?;
    assert!(code == Some(1) && stderr.contains("use another address"), "{stderr}");
    Ok(())
}

#[test]
fn unusable_ca_files_are_reported_with_their_path() -> Result<()> {
    let home = Scratch::new("ca")?;
    home.write("garbage.pem", "no certificate")?;
    let kubeconfig = |authority: &str| {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1", "certificate-authority": authority}}],
            "users": [{"name": "u", "user": {"token": "hush"}}],
        })
    };
    for (file, why) in [("missing.pem", "No such file"), ("garbage.pem", "no PEM certificate")] {
        let path = home.join(file).display().to_string();
        home.write("kubeconfig", kubeconfig(&path).to_string())?;
        let config = home.join("kubeconfig").display().to_string();
        let (code, stderr) = fails(&home, &["run"], &[("KUBECONFIG", &config)])?;
        let said = stderr.contains(&format!("the CA file {path:?} of the apiserver")) && stderr.contains(why);
        assert!(code == Some(1) && said && !stderr.contains("hush"), "{stderr}");
        let (code, stderr) = fails(&home, &["run"], &[("SSL_CERT_FILE", &path)])?;
        let said = stderr.contains(&format!("the CA certificates in {path:?} cannot be used")) && stderr.contains(why);
        assert!(code == Some(1) && said && stderr.contains("SSL_CERT_FILE"), "{stderr}");
    }
    Ok(())
}

#[tokio::test]
async fn missing_namespace_is_reported_and_others_are_reconciled() -> Result<()> {
    let mut world = World::new(&[]).await?;
    // The administrator's permissions are required, because the apiserver would otherwise reject the watch of a missing
    // namespace.
    world.options.kubeconfig = world.control_plane.kubeconfig().to_owned();
    world.options.args.push("--watch-namespace=no-such-namespace".to_owned());
    world.start()?;
    world.create("room", json!({})).await?;
    world.ready("room", "True", "Created").await?;
    let reported = async || Ok(world.log().contains("the namespace does not exist yet"));
    world.until("the missing namespace to be reported", PATIENCE, reported).await?;
    assert!(
        world
            .log()
            .lines()
            .all(|line| !line.contains("the namespace does not exist yet") || line.contains("no-such-namespace"))
    );
    Ok(())
}
