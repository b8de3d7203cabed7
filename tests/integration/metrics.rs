//! Tests the metrics of a running operator in the states that the alerts detect.

mod exposition;

use std::collections::BTreeSet;
use std::time::SystemTime;

use kube::api::DeleteParams;
use live_message_operator::live::Call;
use live_message_operator::resources::ABANDON_ANNOTATION;
use live_message_operator::telemetry::Metrics;
use serde_json::json;

use crate::accounts;
use crate::alerts::RULES;
use crate::by_hand::{ByHand, group};
use crate::dashboard::DASHBOARD;
use crate::leaders::elected;
use crate::support::{ACCESS_KEY, Context as _, Operator, Request, Result, promtool, repository};
use crate::world::{APP, PATIENCE, World};
use exposition::Scrape;

const CALLS: &str = "live_message_operator_live_api_requests_total";
pub const GROUPS: &str = "live_message_operator_groups";
const CONTROLLER: &[(&str, &str)] = &[("controller", "livemessagegroup")];

/// Scrapes the operator and parses the metrics.
pub async fn scrape(world: &World<'_>) -> Result<Scrape> {
    scrape_of(world.operator.as_ref().context("an operator runs")?).await
}

pub async fn scrape_of(operator: &Operator) -> Result<Scrape> {
    let answer = reqwest::get(format!("{}/metrics", operator.probes()?)).await?.error_for_status()?;
    let kind = answer.headers()["content-type"].to_str()?.to_owned();
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(Scrape::parse(&answer.text().await?))
}

/// Waits until `holds` returns `true` for a scrape, and returns the scrape.
async fn until(world: &World<'_>, what: &str, holds: impl Fn(&Scrape) -> bool) -> Result<Scrape> {
    world.find(what, PATIENCE, async || Ok(Some(scrape(world).await?).filter(|shown| holds(shown)))).await
}

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[tokio::test]
async fn metrics_match_the_state_after_deletions_and_a_restart() -> Result<()> {
    let mut world = World::new(&["lobby"]).await?;
    // Enable leader election, as the chart does. Otherwise, the metric of the leader election is absent.
    world.options = elected(&world);
    world.options.args.push("--metric-namespaces=1".to_owned());
    world.start()?;
    for (name, spec) in [("one", json!({})), ("two", json!({})), ("lobby", json!({})), ("lost", json!({"appId": "no"}))]
    {
        world.create(name, spec).await?;
    }
    world.create("away", json!({"deletionPolicy": "Delete"})).await?;
    for (name, reason) in [("one", "Created"), ("two", "Created"), ("lobby", "AlreadyExists"), ("away", "Created")] {
        world.ready(name, "True", reason).await?;
    }
    world.ready("lost", "False", "AppNotFound").await?;

    // A call is counted shortly after the emulator has responded to it.
    let shown = world
        .find("all objects to be settled", PATIENCE, async || {
            let (shown, calls) = (scrape(&world).await?, world.emulator.requests()?.len() as f64);
            let settled = shown.value("controller_runtime_active_workers", CONTROLLER) == 0.0
                && shown.value("live_message_operator_queue_blocked", &[]) == 1.0;
            Ok(Some(shown).filter(|shown| settled && shown.sum(CALLS) == calls))
        })
        .await?;
    expect_state(&shown);
    expect_calls(&shown, &world.emulator.requests()?);
    expect_descriptions(&shown);
    expect_named(&shown)?;
    promtool(&["check", "metrics"], &shown.older_text())?;
    let own = |ready, reason| [("object_namespace", world.namespace.as_str()), ("ready", ready), ("reason", reason)];
    assert_eq!(shown.value("live_message_operator_namespace_groups", &own("True", "Created")), 3.0);
    assert_eq!(shown.value("live_message_operator_namespace_groups", &own("False", "AppNotFound")), 1.0);
    // The object whose app is missing is not counted, because it was not applied.
    let applied =
        |priority| shown.value("live_message_operator_apply_duration_seconds_count", &[("priority", priority)]);
    assert_eq!(["change", "retry", "resync"].map(applied), [4.0, 0.0, 0.0]);

    for name in ["one", "lost", "away"] {
        world.delete(name).await?;
    }
    let released = |outcome| ("live_message_operator_finalizers_released_total", [("outcome", outcome)]);
    let (of_deleted, deleted) = released("Deleted");
    let gone = |shown: &Scrape| shown.sum(GROUPS) == 2.0 && shown.value(of_deleted, &deleted) == 1.0;
    let shown = until(&world, "the deleted objects to be gone", gone).await?;
    for (outcome, count) in [("Deleted", 1.0), ("Abandoned", 0.0), ("Retained", 0.0)] {
        assert_eq!(shown.value(released(outcome).0, &released(outcome).1), count, "{outcome}");
    }
    world.stop()?;
    world.start()?;
    let shown = world
        .find("the restarted operator to be ready", PATIENCE, async || {
            Ok(scrape(&world).await.ok().filter(|shown| shown.sum(GROUPS) == 2.0))
        })
        .await?;
    assert_eq!(shown.value(GROUPS, &[("ready", "True"), ("reason", "Created")]), 1.0);
    assert_eq!(shown.value(GROUPS, &[("ready", "True"), ("reason", "AlreadyExists")]), 1.0);
    assert_eq!((shown.sum(GROUPS), shown.sum(CALLS)), (2.0, 0.0), "a restart makes no calls");
    Ok(())
}

fn expect_state(shown: &Scrape) {
    assert_eq!(shown.value(GROUPS, &[("ready", "True"), ("reason", "Created")]), 3.0);
    assert_eq!(shown.value(GROUPS, &[("ready", "True"), ("reason", "AlreadyExists")]), 1.0);
    assert_eq!(shown.value(GROUPS, &[("ready", "False"), ("reason", "AppNotFound")]), 1.0);
    assert_eq!(shown.value(GROUPS, &[("ready", "False"), ("reason", "CredentialsRejected")]), 0.0);
    assert_eq!(shown.sum(GROUPS), 5.0);
    let stalled = [("condition", "Stalled"), ("status", "True")];
    assert_eq!(shown.value("live_message_operator_groups_condition", &stalled), 1.0);
    assert_eq!(shown.value("live_message_operator_ready", &[]), 1.0);
    assert_eq!(shown.value("live_message_operator_breakers_open", &[("reason", "AppNotFound")]), 1.0);
    assert_eq!(shown.value("live_message_operator_breakers_open", &[("reason", "QuotaExceeded")]), 0.0);
    assert_eq!(shown.value("live_message_operator_queue_blocked", &[]), 1.0, "one object is blocked on a missing app");
    assert_eq!(shown.value("live_message_operator_app_groups", &[("account", "operator"), ("app", APP)]), 4.0);
    assert_eq!(
        shown.series("live_message_operator_app_groups").len(),
        1,
        "no series for an app whose groups are not counted"
    );
    let own = [("account", "operator"), ("reason", "Available")];
    assert_eq!(shown.value("live_message_operator_account_ready", &own), 1.0);
    assert_eq!(shown.value("controller_runtime_reconcile_panics_total", CONTROLLER), 0.0);
    assert!(shown.sum_where("rest_client_requests_total", &[("method", "PATCH"), ("code", "200")]) >= 5.0);
    assert_eq!(shown.value("live_message_operator_watch_lists_total", &[("resource", "livemessagegroups")]), 1.0);
    assert!((now() - shown.value("process_start_time_seconds", &[])).abs() < 600.0);
    assert!(shown.value("process_resident_memory_bytes", &[]) > 1e6 && shown.value("process_open_fds", &[]) > 3.0);
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    assert_eq!(shown.value("live_message_operator_build_info", &version), 1.0);
}

/// Expects that the calls are counted by operation and result.
fn expect_calls(shown: &Scrape, calls: &[Request]) {
    let of = |operation: &str, code: Option<&str>| {
        calls.iter().filter(|call| call.operation == operation && call.code.as_deref() == code).count() as f64
    };
    for operation in ["CreateLiveMessageGroup", "DescribeLiveMessageGroup", "ListLiveMessageGroupByPage"] {
        assert_eq!(shown.value(CALLS, &[("operation", operation), ("code", "OK")]), of(operation, None), "{operation}");
        let refused = [("operation", operation), ("code", "NotFound")];
        assert_eq!(shown.value(CALLS, &refused), of(operation, Some("ResourceNotExist")), "{operation}");
    }
    assert_eq!(shown.sum(CALLS), calls.len() as f64);
    assert_eq!(shown.sum("live_message_operator_live_api_request_duration_seconds_count"), calls.len() as f64);
    for (change, count) in [("Created", 3.0), ("AlreadyExists", 1.0), ("Modified", 0.0)] {
        assert_eq!(shown.value("live_message_operator_group_changes_total", &[("change", change)]), count, "{change}");
    }
}

/// Expects that the exported metrics are exactly the metrics in [`Metrics::described`].
fn expect_descriptions(shown: &Scrape) {
    let metrics = Metrics::default();
    for (name, labels) in shown.metrics() {
        let known = metrics.described().iter().find(|known| known.name == name);
        let known = known.unwrap_or_else(|| panic!("{name} is not described"));
        assert!(labels.iter().all(|label| known.labels.contains(&label.as_str())), "{name}: {labels:?}");
    }
    for known in metrics.described() {
        assert!(shown.metrics().contains_key(&known.name), "{} is not exported from the start", known.name);
    }
}

/// Expects that the operator exports every metric that the alerts and the dashboard use.
fn expect_named(shown: &Scrape) -> Result<()> {
    let exported = shown.metrics();
    for (file, least) in [(RULES, 15), (DASHBOARD, 35)] {
        let text = std::fs::read_to_string(repository().join(file))?;
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let named: BTreeSet<&str> =
            words.filter(|word| Metrics::PREFIXES.iter().any(|prefix| word.starts_with(prefix))).collect();
        assert!(named.len() >= least, "the search finds too few metrics in {file}: {named:?}");
        for name in named {
            let family = name.strip_suffix("_bucket").unwrap_or(name);
            assert!(exported.contains_key(family), "{file}: the operator does not export {name}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn throttling_is_reported_in_calls_budget_and_failures() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    world.create("first", json!({})).await?;
    world.ready("first", "True", "Created").await?;
    let create = [("account", "operator"), ("operation", "CreateLiveMessageGroup")];
    let rate = "live_message_operator_budget_calls_per_second";
    assert_eq!(scrape(&world).await?.value(rate, &create), 50.0);
    world.emulator.faults(&["CreateLiveMessageGroup:throttle"])?;
    world.create_many("room", 100).await?;
    let throttled = [("operation", "CreateLiveMessageGroup"), ("code", "Throttled")];
    until(&world, "calls to be throttled", |shown| {
        shown.value(CALLS, &throttled) >= 3.0
            && shown.value(rate, &create) < 50.0
            && shown.value_or("live_message_operator_budget_waiting", &create, 0.0) > 10.0
            && shown.value("live_message_operator_budget_permits_in_use", &create) >= 3.0
            && shown.sum("live_message_operator_queue_oldest_age_seconds") > 0.5
            && shown.value("live_message_operator_reconcile_failures_total", &[("reason", "Throttled")]) >= 1.0
    })
    .await?;
    world.emulator.faults(&[])?;
    world.count_of("Created", 101, 2 * PATIENCE).await?;
    let shown = until(&world, "no call to wait", |shown| {
        shown.value_or("live_message_operator_budget_waiting", &create, 0.0) == 0.0
            && shown.value("controller_runtime_active_workers", CONTROLLER) == 0.0
    })
    .await?;
    assert_eq!(shown.sum("live_message_operator_queue_oldest_age_seconds"), 0.0);
    let applied =
        |priority| shown.value("live_message_operator_apply_duration_seconds_count", &[("priority", priority)]);
    assert_eq!(applied("change") + applied("retry"), 101.0);
    assert!(applied("retry") >= 1.0, "a throttled create was retried");
    let calls = world.emulator.requests()?;
    let refused = calls.iter().filter(|call| call.code.as_deref().is_some_and(|code| code.contains("Throttling")));
    assert_eq!(shown.value(CALLS, &throttled), refused.count() as f64);
    assert_eq!(shown.sum(GROUPS), 101.0);
    Ok(())
}

#[tokio::test]
async fn rejected_credentials_and_abandoned_groups_are_counted() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.start()?;
    world.create("mine", json!({"deletionPolicy": "Delete"})).await?;
    world.ready("mine", "True", "Created").await?;
    world.stop()?;
    let right = std::mem::replace(&mut world.options.access_key.1, "hush-another-secret".to_owned());
    world.start()?;
    world.create("other", json!({})).await?;
    world.ready("other", "False", "CredentialsRejected").await?;
    let not_ready = [("ready", "False"), ("reason", "CredentialsRejected")];
    let shown = until(&world, "the object to be counted", |shown| shown.value(GROUPS, &not_ready) == 1.0).await?;
    let rejected = [("account", "operator"), ("reason", "CredentialsRejected")];
    assert_eq!(shown.value("live_message_operator_account_ready", &rejected), 0.0);
    assert_eq!(shown.series("live_message_operator_account_ready").len(), 1, "one series for each account");
    assert_eq!(shown.value("live_message_operator_breakers_open", &[("reason", "CredentialsRejected")]), 1.0);
    assert_eq!(shown.value(GROUPS, &[("ready", "True"), ("reason", "Created")]), 1.0, "the settled object stays ready");
    let refused = shown.series(CALLS).into_iter().filter(|(labels, _)| labels["code"] == "CredentialsRejected");
    assert!(refused.map(|(_, value)| value).sum::<f64>() >= 1.0);

    world.api.delete("mine", &DeleteParams::default()).await?;
    world.patch("mine", json!({"metadata": {"annotations": {ABANDON_ANNOTATION: "true"}}})).await?;
    let abandoned = ("live_message_operator_finalizers_released_total", [("outcome", "Abandoned")]);
    let shown = until(&world, "the finalizer to be released", |shown| shown.value(abandoned.0, &abandoned.1) == 1.0);
    let shown = shown.await?;
    for secret in [right.as_str(), "hush-another-secret", ACCESS_KEY.0] {
        assert!(!shown.text.contains(secret), "{secret}");
    }
    assert!(!ByHand::at(&world)?.describe("mine").await?.deleted, "the group is retained");
    Ok(())
}

#[tokio::test]
async fn live_account_has_its_own_series_while_it_exists() -> Result<()> {
    let mut world = accounts::world(&[(accounts::KEY, accounts::SECRET)]).await?;
    // The operator also updates its list of apps at this interval.
    world.options.args.push("--drift-check-interval=5s".into());
    world.start()?;
    accounts::account(&world, "team", json!({"requestsPerSecond": 7}))?;
    world.create("room", accounts::of("team")).await?;
    let name = format!("{}/team", world.namespace);
    let of = |reason| [("account", name.as_str()), ("reason", reason)];
    let ready = "live_message_operator_account_ready";
    until(&world, "the missing Secret to be reported", |shown| {
        shown.find(ready, &of("CredentialsMissing")) == Some(0.0)
    })
    .await?;
    accounts::secret(&world, "team", (accounts::KEY, accounts::SECRET))?;
    world.ready("room", "True", "Created").await?;
    let shown =
        until(&world, "the account to be available", |shown| shown.find(ready, &of("Available")) == Some(1.0)).await?;
    assert_eq!(shown.series(ready).len(), 2, "one series for the account and one for the operator");
    let create = [("account", name.as_str()), ("operation", "CreateLiveMessageGroup")];
    assert_eq!(shown.value("live_message_operator_budget_calls_per_second", &create), 7.0);
    assert_eq!(shown.value("live_message_operator_app_groups", &[("account", &name), ("app", APP)]), 1.0);
    assert_eq!(shown.value(CALLS, &[("operation", "CreateLiveMessageGroup"), ("code", "OK")]), 1.0);
    assert!(!shown.text.contains(accounts::SECRET) && !shown.text.contains(accounts::KEY));

    world.delete("room").await?;
    world.control_plane.kubectl(&["delete", "lacc", "team", "-n", &world.namespace])?;
    until(&world, "all series of the account to disappear", |shown| !shown.text.contains(&name)).await.map(drop)
}

#[tokio::test]
async fn drift_checks_report_their_results_and_findings() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.options.args.push("--drift-check-interval=3s".into());
    world.start()?;
    for name in ["edited", "deleted", "left"] {
        world.create(name, json!({"groupInfo": "ours"})).await?;
        world.ready(name, "True", "Created").await?;
    }
    let success = ("live_message_operator_drift_checks_total", [("result", "success")]);
    let shown = until(&world, "two drift checks", |shown| shown.value(success.0, &success.1) >= 2.0).await?;
    assert_eq!(shown.value("live_message_operator_drift_found_total", &[]), 0.0);
    let age = now() - shown.value("live_message_operator_drift_check_oldest_success_timestamp_seconds", &[]);
    assert!((0.0..60.0).contains(&age), "{age} s");
    assert_eq!(shown.value("live_message_operator_drift_check_interval_seconds", &[]), 3.0);

    let hand = ByHand::at(&world)?;
    hand.set_info("edited", "theirs").await?;
    hand.call(Call::Delete(group("deleted"))).await?;
    let corrected = ("live_message_operator_group_changes_total", [("change", "DriftCorrected")]);
    let gone = [("ready", "False"), ("reason", "GroupDeleted")];
    let shown = until(&world, "the drift to be found", |shown| {
        shown.value("live_message_operator_drift_found_total", &[]) >= 2.0
            && shown.value(corrected.0, &corrected.1) == 1.0
            && shown.value(GROUPS, &gone) == 1.0
    })
    .await?;
    let degraded = [("condition", "Degraded"), ("status", "True")];
    assert_eq!(shown.value("live_message_operator_groups_condition", &degraded), 1.0);

    world.emulator.process.sigkill()?;
    let killed = now();
    let failure = ("live_message_operator_drift_checks_total", [("result", "failure")]);
    // A drift check fails after three attempts, at intervals of 2 s and 4 s.
    let shown = until(&world, "a drift check to fail", |shown| shown.value(failure.0, &failure.1) >= 1.0).await?;
    let still = shown.value("live_message_operator_drift_check_oldest_success_timestamp_seconds", &[]);
    assert!(
        now() - still > 4.0 && still - killed < 5.0,
        "a failed drift check does not count as a success: {killed} {still}"
    );
    Ok(())
}

#[tokio::test]
async fn unused_missing_operator_credentials_are_not_reported() -> Result<()> {
    let mut world = accounts::world(&[(accounts::KEY, accounts::SECRET)]).await?;
    world.options.access_key = (String::new(), String::new());
    world.options.env.push(("ALIBABA_CLOUD_ECS_METADATA_DISABLED".into(), "true".into()));
    accounts::secret(&world, "team", (accounts::KEY, accounts::SECRET))?;
    accounts::account(&world, "team", json!({}))?;
    world.create("team", accounts::of("team")).await?;
    world.start()?;
    world.ready("team", "True", "Created").await?;
    accounts::account_is(&world, "team", "Available", 1).await?;
    let ready = "live_message_operator_account_ready";
    let shown = until(&world, "the account to be ready", |shown| shown.sum(ready) == 1.0).await?;
    assert_eq!(shown.series(ready).len(), 1, "only the LiveAccount has a series");
    world.create("own", json!({})).await?;
    world.ready("own", "False", "CredentialsMissing").await?;
    let own = [("account", "operator"), ("reason", "CredentialsMissing")];
    until(&world, "the missing credentials to be reported", |shown| shown.find(ready, &own) == Some(0.0))
        .await
        .map(drop)
}
