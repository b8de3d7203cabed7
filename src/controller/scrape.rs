//! Reads the state gauges from the state of the controller on each scrape, and names the values of labels.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use super::accounts::{AccountKey, OK};
use super::index::App;
use super::queue::Next;
use super::reconciler::Reconciler;
use super::standing::COUNTED;
use super::work::OPERATIONS;
use crate::decide::Lane;
use crate::live::{ErrorClass, Operation};
use crate::resources::{ConditionStatus, Ready, Reason};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::{
    AccountLabels, AppLabels, BudgetLabels, CONTROLLER, ChangeLabels, ConditionLabels, ControllerLabels,
    DriftCheckLabels, GroupLabels, OutcomeLabels, QueueLabels, ReasonLabels, ResourceLabels, State,
};

/// Maximum number of apps with a series, the fullest first: a user who can create LiveAccounts and LiveMessageGroups
/// can name any number of apps.
const APPS: usize = 100;

/// The watched resources.
pub(super) const GROUPS: ResourceLabels = ResourceLabels { resource: "livemessagegroups" };
pub(super) const ACCOUNTS: ResourceLabels = ResourceLabels { resource: "liveaccounts" };

/// The outcome of a finalizer that was removed after `--finalizer-timeout`.
pub(super) const TIMED_OUT: &str = "TimedOut";

/// The reasons of the events that report a change to a group.
const CHANGES: [&str; 5] = ["Created", "AlreadyExists", "Recovered", "Modified", "DriftCorrected"];

/// The outcomes of a deletion for the group.
const OUTCOMES: [&str; 6] = ["Deleted", "AlreadyGone", "Retained", "HandedOver", "Abandoned", TIMED_OUT];

/// The reasons that a failed pass can have.
const FAILURES: [Reason; 11] = [
    Reason::InvalidInput,
    Reason::QuotaExceeded,
    Reason::NotAuthorized,
    Reason::AppNotFound,
    Reason::CredentialsRejected,
    Reason::CredentialsMissing,
    Reason::ClockSkew,
    Reason::Throttled,
    Reason::ServiceError,
    Reason::Unreachable,
    Reason::Rejected,
];

/// The reasons that open a circuit breaker.
const BREAKERS: [Reason; 4] =
    [Reason::CredentialsRejected, Reason::NotAuthorized, Reason::AppNotFound, Reason::QuotaExceeded];

fn label(lane: Lane) -> &'static str {
    match lane {
        Lane::Sweep => "resync",
        Lane::Retry => "retry",
        Lane::Change => "change",
    }
}

/// The result of a reconcile, with controller-runtime's words where the meaning is the same.
pub(super) fn result<S>(next: &Next<S>) -> &'static str {
    match next {
        Next::Done => "success",
        Next::After(_) => "requeue_after",
        Next::Ready(_) => "awaiting_permit",
    }
}

/// The status of `Ready` with this reason; `None` if a LiveMessageGroup cannot have the reason.
fn of_groups(reason: Reason) -> Option<ConditionStatus> {
    match (reason, reason.ready()) {
        (Reason::Available | Reason::Paused | Reason::InSync, _)
        | (Reason::ImmutableFieldsDiffer | Reason::ChangeNotTaken, _) => None,
        (_, Ready::True) => Some(ConditionStatus::True),
        (_, Ready::False) => Some(ConditionStatus::False),
        (_, Ready::Unknown | Ready::Unchanged) => Some(ConditionStatus::Unknown),
    }
}

/// Initializes counters to zero, so that `rate()` sees the first increment.
pub(super) fn preregister(metrics: &Metrics) {
    for operation in Operation::ALL {
        let codes = ErrorClass::ALL.iter().filter(|class| **class != ErrorClass::CredentialsMissing);
        metrics.calls.preregister(operation.as_str(), std::iter::once(OK).chain(codes.map(|class| class.as_str())));
    }
    metrics.reconciles.preregister();
    for reason in FAILURES {
        drop(metrics.failures.get_or_create(&ReasonLabels { reason: reason.as_str() }));
    }
    for change in CHANGES {
        drop(metrics.changes.get_or_create(&ChangeLabels { change }));
    }
    for outcome in OUTCOMES {
        drop(metrics.released.get_or_create(&OutcomeLabels { outcome }));
    }
    for result in ["success", "failure", "skipped"] {
        drop(metrics.drift_checks.get_or_create(&DriftCheckLabels { result }));
    }
    for resource in [GROUPS, ACCOUNTS] {
        drop(metrics.lists.get_or_create(&resource));
        drop(metrics.watch_errors.get_or_create(&resource));
    }
}

/// Counts an event that reports a change to a group.
pub(super) fn count_change(metrics: &Metrics, reason: &str) {
    if let Some(change) = CHANGES.into_iter().find(|change| *change == reason) {
        metrics.changes.get_or_create(&ChangeLabels { change }).inc();
    }
}

/// Sets the gauges of `reconciler` on each scrape, as long as it exists.
pub(super) fn register_collector(reconciler: &Arc<Reconciler>, drift_check_interval: Duration) {
    let observed: Weak<Reconciler> = Arc::downgrade(reconciler);
    reconciler.metrics.on_scrape(move |state| {
        if let Some(reconciler) = observed.upgrade() {
            objects(&reconciler, state);
            queues(&reconciler, state);
            accounts(&reconciler, state);
            apps(&reconciler, state);
            state.drift_check_interval.set(drift_check_interval.as_secs_f64());
        }
    });
}

fn objects(reconciler: &Reconciler, state: &State) {
    let mut ready: Vec<(GroupLabels, usize)> = Vec::new();
    for (status, reason) in Reason::ALL.iter().filter_map(|reason| Some((of_groups(*reason)?, *reason))) {
        ready.push((GroupLabels { ready: status.as_str(), reason: reason.as_str() }, 0));
    }
    let mut has = [0; COUNTED.len()];
    let standings = reconciler.index().standings();
    for (standing, count) in standings {
        let reason = standing.reason.map_or("Other", Reason::as_str);
        let labels = GroupLabels { ready: standing.ready.as_str(), reason };
        match ready.iter_mut().find(|(known, _)| *known == labels) {
            Some((_, total)) => *total += count,
            None => ready.push((labels, count)),
        }
        for (total, _) in has.iter_mut().zip(standing.has).filter(|(_, has)| *has) {
            *total += count;
        }
    }
    ready.iter().for_each(|(labels, count)| state.groups.set(labels, *count as f64));
    for ((kind, status), count) in COUNTED.iter().zip(has) {
        let labels = ConditionLabels { condition: kind.as_str(), status: status.as_str() };
        state.conditions.set(&labels, count as f64);
    }
}

fn queues(reconciler: &Reconciler, state: &State) {
    let depths = reconciler.work.depths();
    for lane in [Lane::Sweep, Lane::Retry, Lane::Change] {
        state
            .queue_depth
            .set(&QueueLabels { name: CONTROLLER, priority: label(lane) }, depths.waiting[lane as usize] as f64);
    }
    state.delayed.set(depths.delayed as f64);
    state.active_workers.set(&ControllerLabels { controller: CONTROLLER }, depths.active as f64);
    for operation in OPERATIONS {
        let labels = BudgetLabels { account: AccountKey::OWN_LABEL.to_owned(), operation: operation.as_str() };
        state.awaiting_permit.set(&labels, 0.0);
    }
    for (slot, count) in depths.ready {
        if let Some(account) = reconciler.accounts.by_id(slot.account) {
            let labels = BudgetLabels { account: account.key().label(), operation: slot.operation.as_str() };
            state.awaiting_permit.set(&labels, count as f64);
        }
    }
    state.drift_candidates.set(reconciler.suspects() as f64);
}

fn accounts(reconciler: &Reconciler, state: &State) {
    // Missing credentials of the operator are not a fault if every object uses a LiveAccount.
    let own_is_used = reconciler.index().apps().any(|app| app.account == AccountKey::Own);
    let standings = reconciler.accounts.standings().into_iter();
    for (key, reason, account) in standings
        .filter(|(key, reason, _)| own_is_used || *key != AccountKey::Own || *reason != Reason::CredentialsMissing)
    {
        let available = if reason.ready() == Ready::True { 1.0 } else { 0.0 };
        state.accounts.set(&AccountLabels { account: key.label(), reason: reason.as_str() }, available);
        for operation in Operation::ALL {
            if let Some(rate) = account.as_ref().and_then(|account| account.rate(operation)) {
                state.rates.set(&BudgetLabels { account: key.label(), operation: operation.as_str() }, rate);
            }
        }
    }
    let open: Vec<Reason> = reconciler.gates().reasons().collect();
    for reason in BREAKERS {
        let count = open.iter().filter(|open| **open == reason).count();
        state.breakers.set(&ReasonLabels { reason: reason.as_str() }, count as f64);
    }
}

fn apps(reconciler: &Reconciler, state: &State) {
    let apps: Vec<App> = reconciler.index().apps().cloned().collect();
    let (mut held, limit): (Vec<(u64, App)>, u64) = {
        let places = reconciler.places();
        let held = apps.into_iter().filter_map(|app| Some((places.held(&app.scope())?, app)));
        (held.collect(), places.limit())
    };
    held.sort_unstable_by(|one, other| other.cmp(one));
    for (groups, App { account, id }) in held.into_iter().take(APPS) {
        state.app_groups.set(&AppLabels { account: account.label(), app: id }, groups as f64);
    }
    state.app_limit.set(limit as f64);
    let oldest = reconciler.swept.oldest().unwrap_or_else(SystemTime::now);
    state.oldest_drift_check.set(oldest.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_with_fixed_labels_start_at_zero() {
        let metrics = Metrics::default();
        preregister(&metrics);
        let series = metrics.render(true).unwrap();
        for (reason, change) in CHANGES.map(|change| (change, format!("{{change=\"{change}\"}}"))) {
            assert!(series.contains(&format!("group_changes_total{change} 0\n")), "{reason}");
            count_change(&metrics, reason);
        }
        count_change(&metrics, "CredentialsRejected");
        let counted = metrics.render(true).unwrap();
        let lines = counted.lines().filter(|line| line.contains("group_changes_total{"));
        assert!(lines.clone().count() == CHANGES.len() && lines.clone().all(|line| line.ends_with(" 1")), "{counted}");
        let calls = series.lines().filter(|line| line.contains("live_api_requests_total{")).count();
        // A call without credentials is not sent.
        assert_eq!(calls, Operation::ALL.len() * ErrorClass::ALL.len());
    }
}
