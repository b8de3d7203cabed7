//! What the chart gives to the operator's process: arguments, credentials, files.

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
fn the_program_takes_the_arguments_of_every_rendering() -> Result<()> {
    let help = |args: &[&str]| -> Result<(bool, String)> {
        // Arguments are read in their order: a mistake before --help is told, and help is not.
        let output = Command::new(env!("CARGO_BIN_EXE_live-message-operator")).args(args).arg("--help").output()?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    for (name, values) in matrix()? {
        let pod = pod(&["--values", &values])?;
        let args = pod["spec"]["containers"][0]["args"].as_array().cloned().unwrap_or_default();
        let args: Vec<&str> = args.iter().filter_map(Value::as_str).collect();
        let (taken, told) = help(&args)?;
        assert!(taken, "{name}: {args:?}: {told}");
        let (taken, _) = help(&[&args[..], &["--drift-check-interval=never"]].concat())?;
        assert!(!taken, "a wrong argument is found");
    }
    Ok(())
}

#[test]
fn every_option_of_run_that_a_value_sets_has_the_programs_default() -> Result<()> {
    let output = Command::new(env!("CARGO_BIN_EXE_live-message-operator")).args(["run", "--help"]).output()?;
    let help = String::from_utf8(output.stdout)?;
    let pod = pod(&[])?;
    let args = pod["spec"]["containers"][0]["args"].as_array().cloned().unwrap_or_default();
    for option in ["--connect-timeout", "--request-timeout", "--drift-check-interval", "--requests-per-second"] {
        let given = args.iter().find_map(|arg| arg.as_str()?.strip_prefix(option)?.strip_prefix('='));
        let described = help.split(&format!("{option} <")).nth(1).context(option)?;
        let default = described.split("[default: ").nth(1).and_then(|rest| rest.split(']').next());
        assert_eq!(given, default, "{option}");
    }
    Ok(())
}

#[test]
fn a_role_without_the_webhook_comes_with_its_token() -> Result<()> {
    let pod = pod(&["--values", &format!("{CHART}/ci/rrsa-values.yaml")])?;
    let environment = environment(&pod);
    let value = |name: &str| environment.iter().find_map(|(known, value)| (*known == name).then_some(*value));
    assert_eq!(value("ALIBABA_CLOUD_ACCESS_KEY_ID"), None, "a key would win over the role");
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
fn a_role_with_the_webhook_leaves_the_environment_to_it() -> Result<()> {
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
    assert_eq!(names, ["RUST_LOG"], "what stands in the Pod wins over what the webhook sets");
    let deployment = of_kind(&objects, "Deployment")[0];
    let selector = deployment["spec"]["selector"]["matchLabels"].as_object().context("a selector")?;
    assert!(!selector.contains_key("pod-identity.alibabacloud.com/injection"), "a selector can never change");
    Ok(())
}

#[test]
fn certificates_to_trust_are_where_the_argument_says() -> Result<()> {
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
