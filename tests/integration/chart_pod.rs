//! The pod of the operator in the chart: arguments, environment variables and mounted files.

use std::process::Command;

use serde_json::{Value, json};

use crate::chart::{matrix, of_kind, render};
use crate::support::{CHART, Context as _, Result};

fn pod(flags: &[&str]) -> Result<Value> {
    let objects = render("chart", "default", flags)?;
    Ok(of_kind(&objects, "Deployment").first().context("a Deployment")?["spec"]["template"].clone())
}

fn environment(pod: &Value) -> Vec<(&str, &Value)> {
    let variables = pod["spec"]["containers"][0]["env"].as_array().into_iter().flatten();
    variables.map(|variable| (variable["name"].as_str().unwrap_or_default(), &variable["value"])).collect()
}

#[test]
fn program_accepts_the_arguments_of_every_rendering() -> Result<()> {
    let help = |args: &[&str]| -> Result<(bool, String)> {
        // Arguments are parsed in order, so an invalid argument before --help causes an error.
        let output = Command::new(env!("CARGO_BIN_EXE_live-message-operator")).args(args).arg("--help").output()?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    for (name, values) in matrix()? {
        let objects = render("chart", "default", &["--values", &values])?;
        for deployment in of_kind(&objects, "Deployment") {
            let args = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().cloned();
            let args = args.unwrap_or_default();
            let args: Vec<&str> = args.iter().filter_map(Value::as_str).collect();
            let (accepted, stderr) = help(&args)?;
            assert!(accepted, "{name}: {args:?}: {stderr}");
            let invalid = if args[0] == "run" { "--drift-check-interval=never" } else { "--fault=never" };
            let (accepted, _) = help(&[&args[..], &[invalid]].concat())?;
            assert!(!accepted, "an invalid argument is refused");
        }
    }
    Ok(())
}

#[test]
fn chart_defaults_match_the_defaults_of_run() -> Result<()> {
    let output = Command::new(env!("CARGO_BIN_EXE_live-message-operator")).args(["run", "--help"]).output()?;
    let help = String::from_utf8(output.stdout)?;
    let pod = pod(&[])?;
    let args = pod["spec"]["containers"][0]["args"].as_array().cloned().unwrap_or_default();
    for option in [
        "--connect-timeout",
        "--request-timeout",
        "--drift-check-interval",
        "--unreachable-finalizer-timeout",
        "--requests-per-second",
        "--leader-elect-lease-duration",
        "--leader-elect-renew-deadline",
        "--leader-elect-retry-period",
    ] {
        let given = args.iter().find_map(|arg| arg.as_str()?.strip_prefix(option)?.strip_prefix('='));
        let described = help.split(&format!("{option} <")).nth(1).context(option)?;
        let default = described.split("[default: ").nth(1).and_then(|rest| rest.split(']').next());
        assert_eq!(given, default, "{option}");
    }
    Ok(())
}

#[test]
fn role_without_webhook_mounts_its_token() -> Result<()> {
    let pod = pod(&["--values", &format!("{CHART}/ci/rrsa-values.yaml")])?;
    let environment = environment(&pod);
    let value = |name: &str| environment.iter().find_map(|(known, value)| (*known == name).then_some(*value));
    assert_eq!(value("ALIBABA_CLOUD_ACCESS_KEY_ID"), None, "an access key would take precedence over the role");
    assert_eq!(value("ALIBABA_CLOUD_ROLE_ARN"), Some(&json!("acs:ram::1234567890123456:role/live-message-operator")));
    let provider = json!("acs:ram::1234567890123456:oidc-provider/ack-rrsa-c1");
    assert_eq!(value("ALIBABA_CLOUD_OIDC_PROVIDER_ARN"), Some(&provider));
    let file = value("ALIBABA_CLOUD_OIDC_TOKEN_FILE").and_then(Value::as_str).context("the token's file")?;
    let mount = &pod["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["mountPath"].as_str(), file.strip_suffix("/token"));
    let volume = &pod["spec"]["volumes"][0];
    assert_eq!(volume["name"], mount["name"]);
    let token = json!({"audience": "sts.aliyuncs.com", "expirationSeconds": 7200, "path": "token"});
    assert_eq!(volume["projected"]["sources"], json!([{ "serviceAccountToken": token }]));
    Ok(())
}

#[test]
fn role_with_webhook_sets_no_credential_variables() -> Result<()> {
    let flags = ["--values", &format!("{CHART}/ci/rrsa-webhook-values.yaml")];
    let objects = render("chart", "default", &flags)?;
    let account = of_kind(&objects, "ServiceAccount")[0];
    let annotations = json!({
        "example.com/owner": "live",
        "pod-identity.alibabacloud.com/role-name": "live-message-operator",
        "pod-identity.alibabacloud.com/service-account-token-expiration": "3600",
    });
    assert_eq!(account["metadata"]["annotations"], annotations);
    let pod = pod(&flags)?;
    assert_eq!(pod["metadata"]["labels"]["pod-identity.alibabacloud.com/injection"], "on");
    let names: Vec<&str> = environment(&pod).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["POD_NAME", "RUST_LOG"], "variables of the Pod take precedence over those of the webhook");
    let deployment = of_kind(&objects, "Deployment")[0];
    let selector = deployment["spec"]["selector"]["matchLabels"].as_object().context("a selector")?;
    assert!(!selector.contains_key("pod-identity.alibabacloud.com/injection"), "a selector is immutable");
    Ok(())
}

#[test]
fn credentials_file_is_mounted_and_no_key_is_in_the_environment() -> Result<()> {
    let pod = pod(&["--values", &format!("{CHART}/ci/credentials-file-values.yaml")])?;
    let names: Vec<&str> = environment(&pod).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["POD_NAME", "RUST_LOG", "ALIBABA_CLOUD_CREDENTIALS_FILE"]);
    let mount = &pod["spec"]["containers"][0]["volumeMounts"][0];
    let file = environment(&pod).into_iter().find(|(name, _)| *name == "ALIBABA_CLOUD_CREDENTIALS_FILE");
    let folder = mount["mountPath"].as_str().context("a mount")?;
    assert_eq!(file.map(|(_, value)| value), Some(&json!(format!("{folder}/credentials.ini"))));
    assert!(mount.get("subPath").is_none(), "the kubelet does not update a subPath");
    let volume = &pod["spec"]["volumes"][0];
    assert_eq!(volume["name"], mount["name"]);
    let items = json!([{"key": "credentials.ini", "path": "credentials.ini"}]);
    assert_eq!(volume["secret"], json!({"secretName": "credentials-file", "items": items}));
    Ok(())
}

#[test]
fn restrictions_of_namespaces_become_arguments() -> Result<()> {
    let restrictions = |flags: &[&str]| -> Result<Vec<String>> {
        let pod = pod(flags)?;
        let args = pod["spec"]["containers"][0]["args"].as_array().cloned().unwrap_or_default();
        let args = args.iter().filter_map(Value::as_str).map(str::to_owned);
        Ok(args.filter(|arg| arg.starts_with("--account-") || arg.starts_with("--operator-credentials")).collect())
    };
    assert_eq!(restrictions(&[])?, ["--operator-credentials-namespaces=*"]);
    let expected = [
        "--operator-credentials-namespaces=live",
        "--operator-credentials-namespaces=team-*",
        "--account-endpoints=live.aliyuncs.com",
        "--account-endpoints=*.example.com",
        "--account-endpoints=10.0.0.1",
        "--account-allow-http",
    ];
    let given = restrictions(&["--values", &format!("{CHART}/ci/full-values.yaml")])?;
    assert_eq!(given.iter().filter(|arg| !arg.starts_with("--account-id=")).collect::<Vec<_>>(), expected);
    Ok(())
}

#[test]
fn ca_bundle_is_mounted_where_the_argument_names_it() -> Result<()> {
    let pod = pod(&["--set", "alibabaCloud.caBundle.configMap=proxy-ca"])?;
    let args = pod["spec"]["containers"][0]["args"].as_array().cloned().unwrap_or_default();
    let file = args.iter().find_map(|arg| arg.as_str()?.strip_prefix("--ca-bundle=")).context("the argument")?;
    let mount = &pod["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!(Some(file), mount["mountPath"].as_str().map(|path| format!("{path}/ca.crt")).as_deref());
    let volume = &pod["spec"]["volumes"][0];
    assert_eq!(volume["name"], mount["name"]);
    assert_eq!(volume["configMap"], json!({"name": "proxy-ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}));
    Ok(())
}

#[test]
fn extra_variables_replace_those_of_the_chart() -> Result<()> {
    let extra = r#"extraEnv=[{"name":"RUST_LOG","value":"debug"},{"name":"ALIBABA_CLOUD_ACCESS_KEY_ID","value":"id"}]"#;
    let pod = pod(&["--set-json", extra])?;
    let mut names: Vec<&str> = environment(&pod).into_iter().map(|(name, _)| name).collect();
    assert!(environment(&pod).contains(&("RUST_LOG", &json!("debug"))));
    assert!(environment(&pod).contains(&("ALIBABA_CLOUD_ACCESS_KEY_ID", &json!("id"))));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "server-side apply refuses a name that appears twice");
    Ok(())
}

#[test]
fn probes_can_be_changed_without_their_address() -> Result<()> {
    let pod = pod(&["--set", "livenessProbe.failureThreshold=9,readinessProbe.periodSeconds=7"])?;
    let container = &pod["spec"]["containers"][0];
    let (liveness, readiness) = (&container["livenessProbe"], &container["readinessProbe"]);
    assert_eq!((&liveness["failureThreshold"], &liveness["timeoutSeconds"]), (&json!(9), &json!(5)));
    assert_eq!(liveness["httpGet"], json!({"path": "/livez", "port": "http"}));
    assert_eq!((&readiness["periodSeconds"], &readiness["httpGet"]["path"]), (&json!(7), &json!("/readyz")));
    Ok(())
}

#[test]
fn service_account_token_is_mounted_unless_disabled() -> Result<()> {
    for (flags, mounted) in [(&[][..], true), (&["--set", "serviceAccount.automount=false"], false)] {
        let objects = render("chart", "default", flags)?;
        assert_eq!(pod(flags)?["spec"]["automountServiceAccountToken"], mounted);
        assert_eq!(of_kind(&objects, "ServiceAccount")[0]["automountServiceAccountToken"], mounted);
    }
    Ok(())
}

#[test]
fn extra_objects_are_templates() -> Result<()> {
    let objects = render("chart", "home", &["--values", &format!("{CHART}/ci/full-values.yaml")])?;
    let maps = of_kind(&objects, "ConfigMap").into_iter().map(|map| &map["metadata"]);
    let maps: Vec<_> = maps.map(|metadata| (&metadata["name"], &metadata["namespace"])).collect();
    for name in ["proxy", "live-groups-extra"] {
        assert!(maps.contains(&(&json!(name), &json!("home"))), "{maps:?}");
    }
    Ok(())
}
