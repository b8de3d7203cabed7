//! The NetworkPolicy of the chart.

use serde_json::{Value, json};

use crate::chart::{assert_selects, of_kind, render};
use crate::support::{CHART, Context as _, Result};

const ENABLED: [&str; 2] = ["--set", "networkPolicy.enabled=true"];

fn policies(flags: &[&str]) -> Result<Vec<Value>> {
    let objects = render("chart", "default", &[&ENABLED[..], flags].concat())?;
    Ok(of_kind(&objects, "NetworkPolicy").into_iter().cloned().collect())
}

/// Returns the destination ports that a policy permits for all addresses.
fn open_ports(policy: &Value) -> Vec<u64> {
    let rules = policy["spec"]["egress"].as_array().into_iter().flatten();
    let rules = rules.filter(|rule| rule.get("to").is_none());
    rules
        .flat_map(|rule| rule["ports"].as_array().into_iter().flatten().filter_map(|port| port["port"].as_u64()))
        .collect()
}

#[test]
fn network_policy_permits_what_the_operator_needs() -> Result<()> {
    assert!(of_kind(&render("chart", "default", &[])?, "NetworkPolicy").is_empty());
    for (endpoint, ports) in [
        ("", &[53, 53, 443, 6443][..]),
        ("https://live.example.com/", &[53, 53, 443, 6443]),
        ("https://live.example.com:8443/", &[53, 53, 443, 6443, 8443]),
        ("http://emulator:8787", &[53, 53, 443, 6443, 8787]),
        ("http://emulator", &[53, 53, 443, 6443, 80]),
    ] {
        let values = format!("alibabaCloud.endpoint={endpoint},alibabaCloud.allowHttp=true");
        let policies = policies(&["--set", &values])?;
        let [policy] = &policies[..] else { panic!("one policy: {policies:?}") };
        assert_eq!(open_ports(policy), ports, "{endpoint}");
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
        assert_eq!(policy["spec"]["ingress"], json!([{"ports": [{"port": "http"}]}]), "probes and metrics");
    }
    Ok(())
}

#[test]
fn network_policy_selects_the_pods_of_the_operator() -> Result<()> {
    let objects = render("chart", "default", &ENABLED)?;
    let labels = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["metadata"]["labels"];
    assert_selects(&of_kind(&objects, "NetworkPolicy")[0]["spec"]["podSelector"]["matchLabels"], labels);
    Ok(())
}

#[test]
fn network_policy_connects_operator_and_emulator() -> Result<()> {
    let policies = policies(&["--set", "emulator.enabled=true"])?;
    let [operator, emulator] = &policies[..] else { panic!("two policies: {policies:?}") };
    let selector = |policy: &Value| policy["spec"]["podSelector"].clone();
    let egress = operator["spec"]["egress"].as_array().context("rules")?;
    let to_emulator = json!({"to": [{"podSelector": selector(emulator)}], "ports": [{"port": "http"}]});
    assert!(egress.contains(&to_emulator), "{egress:?}");
    let from_operator = json!([{"from": [{"podSelector": selector(operator)}], "ports": [{"port": "http"}]}]);
    assert_eq!(emulator["spec"]["ingress"], from_operator);
    assert_eq!(emulator["spec"]["egress"], json!([]), "the emulator opens no connections");
    Ok(())
}

#[test]
fn extra_rules_are_added_to_the_network_policy() -> Result<()> {
    let objects = render("chart", "default", &["--values", &format!("{CHART}/ci/full-values.yaml")])?;
    let spec = &of_kind(&objects, "NetworkPolicy")[0]["spec"];
    let added = |rules: &Value, text: &str| {
        rules.as_array().is_some_and(|rules| rules.len() > 1) && rules.to_string().contains(text)
    };
    assert!(added(&spec["ingress"], "9999") && added(&spec["egress"], "100.100.100.200/32"), "{spec}");
    Ok(())
}
