//! Tests the alerts with promtool: the rule file in the chart, and the rules that the chart renders from this file.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::chart::{of_kind, render};
use crate::support::{CHART, Context as _, Result, Scratch, promtool, repository};

/// The rule file in the chart.
pub const RULES: &str = "charts/live-message-operator/files/rules/alerts.yaml";

/// The tests of the rule file.
const TESTS: [&str; 2] = ["tests/alerts/operator.yaml", "tests/alerts/groups.yaml"];

fn parse(path: &str) -> Result<Value> {
    let text = fs::read_to_string(repository().join(path)).context(path)?;
    serde_yaml::from_str(&text).context(path)
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[test]
fn shipped_alerts_pass_their_tests() -> Result<()> {
    let checked = promtool(&["check", "rules", "--lint=all", "--lint-fatal", RULES], "")?;
    assert!(checked.contains("12 rules found"), "{checked}");
    let mut args = vec!["test", "rules"];
    args.extend(TESTS);
    promtool(&args, "")?;
    Ok(())
}

/// Each alert needs two tests. In one test, the alert is pending for its `for` duration and then fires. In the other
/// test, the alert does not fire.
#[test]
fn every_alert_has_a_positive_and_a_negative_test() -> Result<()> {
    let mut tests: BTreeMap<(String, String), Vec<Value>> = BTreeMap::new();
    for file in TESTS {
        let parsed = parse(file)?;
        for test in items(&parsed["tests"]) {
            let mut words = test["name"].as_str().unwrap_or_default().split(' ').map(str::to_owned);
            let (alert, verb) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            tests.entry((alert, verb)).or_default().push(test.clone());
        }
    }
    let rules = parse(RULES)?;
    let mut known = 0;
    for rule in items(&rules["groups"]).flat_map(|group| items(&group["rules"])) {
        let alert = rule["alert"].as_str().context("a name")?;
        let of = |verb: &str| tests.get(&(alert.to_owned(), verb.to_owned())).into_iter().flatten();
        let samples: String = of("fires").map(ToString::to_string).collect();
        let shows = |state: &str| samples.contains(&format!("alertname=\\\"{alert}\\\",alertstate=\\\"{state}\\\""));
        let fires = shows("firing") || samples.contains("exp_alerts");
        assert!(fires, "no test expects {alert} to fire");
        assert!(rule["for"].is_null() || shows("pending"), "no test expects {alert} to wait for {}", rule["for"]);
        assert!(of("is").count() > 0, "no test expects {alert} to be silent");
        known += 1;
    }
    assert_eq!(known, 12);
    Ok(())
}

/// Returns the rules that the chart renders with these flags.
fn rendered(flags: &[&str]) -> Result<Value> {
    let mut all = vec!["--set", "metrics.prometheusRule.enabled=true"];
    all.extend(flags);
    let objects = render("chart", "default", &all)?;
    Ok(of_kind(&objects, "PrometheusRule").first().context("a PrometheusRule")?["spec"].clone())
}

/// Runs a promtool test on these rules.
fn test_rules(rules: &Value, test: &Value) -> Result<()> {
    let scratch = Scratch::new("rules")?;
    scratch.write("rules.yaml", rules.to_string())?;
    let file = json!({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]});
    let file = scratch.write("test.yaml", file.to_string())?;
    promtool(&["test", "rules", &file.to_string_lossy()], "")?;
    Ok(())
}

fn series(name: &str, labels: &str, values: &str) -> Value {
    json!({"series": format!("{name}{{{labels}}}"), "values": values})
}

#[test]
fn rendered_alerts_select_only_their_release() -> Result<()> {
    let service = r#"namespace="default",job="chart-live-message-operator-metrics""#;
    let pod = r#"namespace="default",job="default/chart-live-message-operator""#;
    for (flags, own) in [
        (&["--set", "metrics.serviceMonitor.enabled=true"][..], service),
        (&["--set", "metrics.podMonitor.enabled=true"], pod),
        (&[], r#"namespace="default""#),
        (
            &["--set-json", r#"metrics.prometheusRule.selector="cluster=\"eu\",namespace=\"live\"""#],
            r#"cluster="eu",namespace="live""#,
        ),
    ] {
        let rules = rendered(flags)?;
        assert!(!rules.to_string().contains("job=~"), "{rules}");
        // Prometheus has no metrics of the tested release. It has only metrics of two other releases, one in another
        // namespace and one in another cluster. The operators of these releases are ready, but some objects are not.
        let mut input = Vec::new();
        for other in [r#"namespace="two",job="metrics""#, r#"cluster="us",namespace="live",job="metrics""#] {
            let not_ready = format!(r#"{other},ready="False",reason="Conflict""#);
            input.push(series("live_message_operator_ready", other, "1x30"));
            input.push(series("live_message_operator_groups", &not_ready, "1x30"));
        }
        let fires = format!(
            r#"ALERTS{{alertname="LiveMessageOperatorNotReady",alertstate="firing",severity="critical",{own}}}"#
        );
        let expected = json!([{"labels": fires, "value": 1}]);
        test_rules(
            &rules,
            &json!({"interval": "1m", "input_series": input, "promql_expr_test": [
                {"expr": "ALERTS", "eval_time": "20m", "exp_samples": expected},
            ]}),
        )
        .context(format_args!("{flags:?}"))?;
    }
    Ok(())
}

#[test]
fn rendered_alerts_fire_for_their_release() -> Result<()> {
    let rules = rendered(&["--set", "metrics.serviceMonitor.enabled=true"])?;
    let own = r#"namespace="default",job="chart-live-message-operator-metrics""#;
    let groups = format!(r#"{own},ready="False",reason="Conflict""#);
    let alert = format!(
        r#"ALERTS{{alertname="LiveMessageGroupsNotReady",alertstate="firing",severity="warning",reason="Conflict",{own}}}"#
    );
    let expected = json!([{"labels": alert, "value": 1}]);
    test_rules(
        &rules,
        &json!({
            "interval": "1m",
            "input_series": [
                series("live_message_operator_ready", own, "1x30"),
                series("live_message_operator_groups", &groups, "1x30"),
            ],
            "promql_expr_test": [{"expr": "ALERTS", "eval_time": "15m", "exp_samples": expected}],
        }),
    )
}

#[test]
fn rendered_rules_differ_from_the_file_only_as_configured() -> Result<()> {
    assert!(of_kind(&render("chart", "default", &[])?, "PrometheusRule").is_empty());
    let selector = ["--set-json", r#"metrics.prometheusRule.selector="job=~\".+\"""#];
    let mut expected = parse(RULES)?;
    let mut rules: Vec<&mut Value> =
        expected["groups"][0]["rules"].as_array_mut().context("a list of rules")?.iter_mut().collect();
    for rule in &mut rules {
        rule["annotations"].as_object_mut().context("annotations")?.remove("runbook_url");
    }
    assert_eq!(rendered(&selector)?, expected);

    let values = format!("{CHART}/ci/full-values.yaml");
    let configured = rendered(&["--values", &values])?;
    let find = |name: &str| items(&configured["groups"][0]["rules"]).find(|rule| rule["alert"] == name);
    assert!(find("LiveApiThrottling").is_none(), "the alert is disabled");
    let full = find("LiveAppNearlyFull").context("LiveAppNearlyFull")?;
    assert_eq!((&full["labels"]["severity"], &full["for"]), (&json!("critical"), &json!("1h")));
    assert_eq!(
        full["annotations"]["runbook_url"],
        "https://git.example.com/live/live-message-operator/blob/v0.1.0/docs/troubleshooting.md#liveappnearlyfull"
    );
    assert_eq!(items(&configured["groups"][0]["rules"]).count(), 11);

    let unknown = rendered(&["--set", "metrics.prometheusRule.overrides.LiveApiThrotling.enabled=false"]);
    let refusal = unknown.err().context("an unknown alert is accepted")?.to_string();
    assert!(refusal.contains("there is no alert LiveApiThrotling. The alerts are Live"), "{refusal}");
    Ok(())
}
