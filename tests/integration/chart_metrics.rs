//! The parts of the chart for Prometheus and Grafana: monitors and the dashboard. The module `alerts` tests the rules.

use std::fs;

use serde_json::{Value, json};

use crate::chart::{assert_selects, of_kind, render};
use crate::support::{Context as _, Result, repository};

/// The CRDs of the Prometheus Operator, reduced to the fields that the chart may use. If the chart renders any other
/// field, kubectl rejects the object.
pub fn prometheus_crds() -> [Value; 3] {
    let text = json!({"type": "string"});
    let texts = json!({"type": "object", "additionalProperties": text});
    let relabelings = json!({"type": "array", "items": {"type": "object", "properties": {
        "action": text, "regex": text, "replacement": text, "targetLabel": text,
        "sourceLabels": {"type": "array", "items": text},
    }}});
    let duration = json!({
        "type": "string",
        "pattern": "^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$",
    });
    let endpoint = json!({"type": "object", "properties": {
        "port": text, "path": text, "interval": duration,
        "relabelings": relabelings, "metricRelabelings": relabelings,
    }});
    let monitor = json!({"type": "object", "required": ["endpoints", "selector"], "properties": {
        "selector": {"type": "object", "properties": {"matchLabels": texts}},
        "endpoints": {"type": "array", "items": endpoint},
    }});
    let pod_monitor = json!({"type": "object", "required": ["podMetricsEndpoints", "selector"], "properties": {
        "selector": {"type": "object", "properties": {"matchLabels": texts}},
        "podMetricsEndpoints": {"type": "array", "items": endpoint},
    }});
    let rule = json!({"type": "object", "required": ["expr"], "properties": {
        "alert": text, "expr": text, "for": duration, "labels": texts, "annotations": texts,
    }});
    let groups = json!({"type": "array", "items": {"type": "object", "required": ["name"], "properties": {
        "name": text, "rules": {"type": "array", "items": rule},
    }}});
    let rules = json!({"type": "object", "properties": {"groups": groups}});
    [("ServiceMonitor", monitor), ("PodMonitor", pod_monitor), ("PrometheusRule", rules)].map(|(kind, spec)| {
        let (singular, plural) = (kind.to_lowercase(), format!("{}s", kind.to_lowercase()));
        let schema = json!({"type": "object", "required": ["spec"], "properties": {"spec": spec}});
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.monitoring.coreos.com")},
            "spec": {
                "group": "monitoring.coreos.com",
                "names": {"kind": kind, "plural": plural, "singular": singular},
                "scope": "Namespaced",
                "versions": [{
                    "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
                }],
            },
        })
    })
}

#[test]
fn service_monitor_selects_the_service_and_its_port() -> Result<()> {
    for (flags, kinds) in [
        (&[][..], [0, 0]),
        (&["--set", "metrics.service.enabled=true"], [1, 0]),
        (&["--set", "metrics.serviceMonitor.enabled=true"], [1, 1]),
    ] {
        let objects = render("chart", "default", flags)?;
        let found = ["Service", "ServiceMonitor"].map(|kind| of_kind(&objects, kind).len());
        assert_eq!(found, kinds, "{flags:?}");
        let pod = &of_kind(&objects, "Deployment")[0]["spec"]["template"];
        let container = &pod["spec"]["containers"][0];
        for service in of_kind(&objects, "Service") {
            let port = &service["spec"]["ports"][0];
            assert_eq!(port["targetPort"], container["ports"][0]["name"]);
            let listen = format!("--health-bind-address=0.0.0.0:{}", container["ports"][0]["containerPort"]);
            assert!(container["args"].as_array().is_some_and(|args| args.contains(&json!(listen))), "{listen}");
            assert_selects(&service["spec"]["selector"], &pod["metadata"]["labels"]);
            for monitor in of_kind(&objects, "ServiceMonitor") {
                assert_selects(&monitor["spec"]["selector"]["matchLabels"], &service["metadata"]["labels"]);
                assert_eq!(monitor["spec"]["endpoints"][0]["port"], port["name"]);
            }
        }
    }
    Ok(())
}

#[test]
fn pod_monitor_selects_the_pods_and_their_port() -> Result<()> {
    let objects = render("chart", "default", &["--set", "metrics.podMonitor.enabled=true"])?;
    assert!(of_kind(&objects, "Service").is_empty(), "a PodMonitor needs no Service");
    let monitors = of_kind(&objects, "PodMonitor");
    let pod = &of_kind(&objects, "Deployment")[0]["spec"]["template"];
    assert_selects(&monitors[0]["spec"]["selector"]["matchLabels"], &pod["metadata"]["labels"]);
    let endpoint = &monitors[0]["spec"]["podMetricsEndpoints"][0];
    assert_eq!(endpoint["port"], pod["spec"]["containers"][0]["ports"][0]["name"]);
    assert!(of_kind(&render("chart", "default", &[])?, "PodMonitor").is_empty());

    let both = "metrics.podMonitor.enabled=true,metrics.serviceMonitor.enabled=true";
    let refusal = render("chart", "default", &["--set", both]).err().context("two monitors are accepted")?;
    assert!(refusal.to_string().contains("would scrape each pod twice"), "{refusal}");
    Ok(())
}

#[test]
fn dashboard_is_rendered_unchanged_for_the_sidecar() -> Result<()> {
    assert!(of_kind(&render("chart", "default", &[])?, "ConfigMap").is_empty());
    let objects = render("chart", "default", &["--set", "metrics.dashboard.enabled=true"])?;
    let map = of_kind(&objects, "ConfigMap")[0];
    let file = fs::read_to_string(repository().join(crate::dashboard::DASHBOARD))?;
    assert_eq!(map["data"], json!({"live-message-operator.json": file}));
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    assert_eq!(map["metadata"]["namespace"], "default");

    let flags = "metrics.dashboard.enabled=true,metrics.dashboard.namespace=grafana,metrics.dashboard.annotations.a=b";
    let objects = render("chart", "default", &["--set", flags])?;
    let metadata = &of_kind(&objects, "ConfigMap")[0]["metadata"];
    assert_eq!((&metadata["namespace"], &metadata["annotations"]), (&json!("grafana"), &json!({"a": "b"})));
    Ok(())
}

/// An empty section in a values file, such as `metrics:`, is null. Helm then deletes the defaults of this section, and
/// the chart must restore them.
#[test]
fn empty_sections_of_metrics_disable_them() -> Result<()> {
    const KINDS: [&str; 5] = ["Service", "ServiceMonitor", "PodMonitor", "PrometheusRule", "ConfigMap"];
    for section in ["", ".service", ".serviceMonitor", ".podMonitor", ".prometheusRule", ".dashboard"] {
        let objects = render("chart", "default", &["--set", &format!("metrics{section}=null")]).context(section)?;
        for kind in KINDS {
            assert!(of_kind(&objects, kind).is_empty(), "metrics{section}: {kind}");
        }
    }
    for map in ["serviceMonitor.labels", "podMonitor.labels", "prometheusRule.labels", "dashboard.labels"]
        .iter()
        .chain(&["prometheusRule.overrides", "dashboard.annotations", "service.annotations"])
    {
        let enabled = format!("metrics.{}.enabled=true,metrics.{map}=null", map.split('.').next().unwrap_or_default());
        render("chart", "default", &["--set", &enabled]).context(map)?;
    }
    Ok(())
}

#[test]
fn invalid_values_of_metrics_are_refused() -> Result<()> {
    for (flags, named) in [
        ("metrics.maxNamespaces=1001", "maxNamespaces"),
        ("metrics.podMonitor.interval=often", "interval"),
        ("metrics.prometheusRule.selector=live", "selector"),
        ("metrics.prometheusRule.runbookBaseUrl=docs/", "runbookBaseUrl"),
        ("metrics.prometheusRule.overrides.LiveApiFailing.for=soon", "for"),
        ("metrics.prometheusRule.overrides.LiveApiFailing.expr=up", "expr"),
        ("metrics.dashboard.namespace=Grafana", "namespace"),
    ] {
        let refusal = render("chart", "default", &["--set", flags]).err().context(flags)?.to_string();
        let reason = refusal.split_once('\n').map_or("", |(_, reason)| reason);
        assert!(reason.contains("the schema(s)") && reason.contains(named), "{flags}: {refusal}");
    }
    Ok(())
}
