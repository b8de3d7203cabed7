//! Tests that the Grafana dashboard follows the rules for its panels, and that each of its queries finds data in the
//! metrics of a recorded burst. promtool evaluates the queries.

mod recording;

use std::collections::BTreeSet;
use std::fs;

use live_message_operator::telemetry::Metrics;
use serde_json::{Value, json};

use crate::support::{Context as _, Result, Scratch, promtool, repository};
use recording::{INTERVAL, SAMPLES, recorded};

/// The dashboard in the chart.
pub const DASHBOARD: &str = "charts/live-message-operator/files/dashboards/live-message-operator.json";

/// The data source that the user selects.
const DATASOURCE: &str = "${datasource}";

/// The Grafana units that the dashboard uses.
const UNITS: [&str; 5] = ["short", "s", "cps", "percentunit", "bytes"];

/// The label matchers of every query. They restrict the query to the operators that the user selects.
const SELECTOR: &str = r#"cluster=~"$cluster",namespace=~"$namespace",job=~"$job""#;

/// The metrics whose queries may return zero for every sample. During the recording, there were no panics, orphans or
/// apiserver failures, and the operator processed each drift candidate before the next sample.
const ZERO: [&str; 6] = [
    "controller_runtime_reconcile_panics_total",
    "live_message_operator_groups_orphaned_total",
    "live_message_operator_drift_candidates",
    "live_message_operator_watch_lists_total",
    "live_message_operator_watch_errors_total",
    "live_message_operator_watch_recoveries_total",
];

fn dashboard() -> Result<Value> {
    let text = fs::read_to_string(repository().join(DASHBOARD)).context(DASHBOARD)?;
    serde_json::from_str(&text).context(DASHBOARD)
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The panels with queries.
fn panels(dashboard: &Value) -> Vec<&Value> {
    items(&dashboard["panels"]).filter(|panel| panel["type"] != "row").collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[test]
fn dashboard_follows_the_rules() -> Result<()> {
    let dashboard = dashboard()?;
    assert_eq!((&dashboard["uid"], &dashboard["id"]), (&json!("live-message-operator"), &Value::Null));
    let variables: Vec<&Value> = items(&dashboard["templating"]["list"]).collect();
    assert_eq!((text(&variables[0]["name"]), text(&variables[0]["type"])), ("datasource", "datasource"));
    let all = dashboard.to_string();
    let sources = all.matches(r#""datasource":{"#).count();
    let selected = json!({"type": "prometheus", "uid": DATASOURCE});
    assert_eq!(sources, all.matches(&format!(r#""datasource":{selected}"#)).count(), "a data source is fixed");

    let panels = panels(&dashboard);
    assert!(panels.len() > 35, "{}", panels.len());
    let ids: BTreeSet<i64> = items(&dashboard["panels"]).filter_map(|panel| panel["id"].as_i64()).collect();
    assert_eq!(ids.len(), items(&dashboard["panels"]).count(), "the IDs of panels are not unique");
    let mut titles = BTreeSet::new();
    for panel in panels {
        let title = text(&panel["title"]);
        assert!(!title.is_empty() && titles.insert(title), "a title is missing, or used twice: {title:?}");
        assert!(text(&panel["description"]).ends_with('.'), "{title} has no description");
        assert!(UNITS.contains(&text(&panel["fieldConfig"]["defaults"]["unit"])), "{title} has no known unit");
        assert_eq!(panel["datasource"]["uid"], DATASOURCE, "{title}");
        let targets: Vec<&Value> = items(&panel["targets"]).collect();
        let references: BTreeSet<&str> = targets.iter().map(|target| text(&target["refId"])).collect();
        assert!(!targets.is_empty() && references.len() == targets.len(), "{title}");
        for target in targets {
            let expression = text(&target["expr"]);
            assert_eq!(target["datasource"]["uid"], DATASOURCE, "{title}");
            assert!(panel["type"] == "stat" || !text(&target["legendFormat"]).is_empty(), "{title} has no legend");
            let windows = expression.matches('[').count();
            assert_eq!(windows, expression.matches("[$__rate_interval]").count(), "{title}: {expression}");
            let selectors = expression.matches('{').count();
            assert_eq!(selectors, expression.matches(&format!("{{{SELECTOR}")).count(), "{title}: {expression}");
            assert!(selectors > 0, "{title}: {expression}");
        }
    }
    Ok(())
}

/// Returns every query of the dashboard with the title of its panel. The variables in the query are replaced as Grafana
/// replaces them if the user selects all operators.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let interval = format!("{}s", 4 * INTERVAL.as_secs());
    let all = |query: &str| {
        let query = query.replace("$__rate_interval", &interval);
        ["$cluster", "$namespace", "$job"].iter().fold(query, |query, variable| query.replace(variable, ".*"))
    };
    let targets = panels(dashboard).into_iter().flat_map(|panel| {
        items(&panel["targets"]).map(|target| (text(&panel["title"]).to_owned(), all(text(&target["expr"]))))
    });
    targets.collect()
}

#[test]
fn every_query_finds_data_of_the_recorded_burst() -> Result<()> {
    let recorded = recorded()?;
    let end = INTERVAL.as_secs() * u64::from(SAMPLES - 1);
    let mut tests = Vec::new();
    for (_, query) in queries(&dashboard()?) {
        assert!(!query.contains('$'), "{query}");
        // A query must not end with a PromQL comment, because the comment would include the rest of this expression.
        let values = format!("max_over_time(({query})[{end}s:{}s])", INTERVAL.as_secs());
        let is_zero = ZERO.iter().any(|name| query.contains(name));
        let values = if is_zero { values } else { format!("{values} > 0") };
        let sample = json!([{"labels": "{}", "value": 1}]);
        let expression = format!("count({values}) > bool 0");
        tests.push(json!({"expr": expression, "eval_time": format!("{end}s"), "exp_samples": sample}));
    }
    assert!(tests.len() > 50, "{}", tests.len());
    let interval = format!("{}s", INTERVAL.as_secs());
    let test = json!({"interval": interval, "input_series": recorded, "promql_expr_test": tests});
    let scratch = Scratch::new("dashboard")?;
    let file = json!({"evaluation_interval": interval, "rule_files": [], "tests": [test]});
    let file = scratch.write("test.yaml", file.to_string())?;
    promtool(&["test", "rules", &file.to_string_lossy()], "")?;
    Ok(())
}

/// The recording becomes stale when a metric or a label is added, removed or renamed.
#[test]
fn recording_has_exactly_the_described_metrics() -> Result<()> {
    let recorded = recorded()?;
    let stale = "record it again, as docs/development.md describes";
    let metrics = Metrics::default();
    let mut found = BTreeSet::new();
    for series in &recorded {
        let series = text(&series["series"]);
        let (name, labels) = series.split_once('{').context(series)?;
        let is_known = |known: &&live_message_operator::telemetry::metrics::Described| {
            let parts = ["_bucket", "_sum", "_count"].map(|part| format!("{}{part}", known.name));
            known.name == name || (known.kind == "histogram" && parts.iter().any(|part| part == name))
        };
        let known = metrics.described().iter().find(is_known).context(format_args!("{name}: {stale}"))?;
        let labels: BTreeSet<&str> = labels
            .split("\",")
            .filter_map(|label| Some(label.split_once('=')?.0))
            .filter(|name| *name != "le")
            .collect();
        let expected: BTreeSet<&str> =
            known.labels.iter().copied().chain(["namespace", "job", "pod", "instance"]).collect();
        assert_eq!(labels, expected, "{name}: {stale}");
        found.insert(known.name.as_str());
    }
    for known in metrics.described() {
        assert!(found.contains(known.name.as_str()), "{} is not recorded: {stale}", known.name);
    }
    Ok(())
}
