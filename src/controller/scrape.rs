//! What metrics tell of the controller's state, taken from the state itself when Prometheus asks.

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
    AccountLabels, AppLabels, BudgetLabels, ChangeLabels, ConditionLabels, GroupLabels, LaneLabels, OutcomeLabels,
    ReasonLabels, ReconcileLabels, ResourceLabels, State, SweepLabels,
};

/// As many apps have a series of their own, the fullest first: whoever may write a LiveAccount may name an endpoint that
/// tells of any number of apps.
const APPS: usize = 100;

/// The resources that are watched.
pub(super) const GROUPS: ResourceLabels = ResourceLabels { resource: "livemessagegroups" };
pub(super) const ACCOUNTS: ResourceLabels = ResourceLabels { resource: "liveaccounts" };

/// What a finalizer's release is counted as where nobody asked for it.
pub(super) const GIVEN_UP: &str = "GivenUp";

/// The events that tell what was done to a group.
const CHANGES: [&str; 5] = ["Created", "AlreadyExists", "Recovered", "Modified", "DriftCorrected"];

/// What becomes of the group of an object that is deleted.
const OUTCOMES: [&str; 6] = ["Deleted", "AlreadyGone", "Retained", "HandedOver", "Abandoned", GIVEN_UP];

/// What a pass fails for.
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

/// The gates' reasons.
const GATES: [Reason; 4] =
    [Reason::CredentialsRejected, Reason::NotAuthorized, Reason::AppNotFound, Reason::QuotaExceeded];

pub(super) fn word(lane: Lane) -> &'static str {
    match lane {
        Lane::Sweep => "sweep",
        Lane::Retry => "retry",
        Lane::Change => "change",
    }
}

/// What came of a step.
pub(super) fn result<S>(next: &Next<S>) -> &'static str {
    match next {
        Next::Done => "settled",
        Next::After(_) => "delayed",
        Next::Ready(_) => "waiting",
    }
}

/// Whether a LiveMessageGroup's `Ready` may have this reason, and with which status.
fn of_groups(reason: Reason) -> Option<ConditionStatus> {
    match (reason, reason.ready()) {
        (Reason::Available | Reason::Paused | Reason::InSync, _)
        | (Reason::ImmutableFieldsDiffer | Reason::ChangeNotTaken, _) => None,
        (_, Ready::True) => Some(ConditionStatus::True),
        (_, Ready::False) => Some(ConditionStatus::False),
        (_, Ready::Unknown | Ready::Unchanged) => Some(ConditionStatus::Unknown),
    }
}

/// Starts the counters at zero: a rate sees the first time too then.
pub(super) fn prepare(metrics: &Metrics) {
    for operation in Operation::ALL {
        let codes = ErrorClass::ALL.iter().filter(|class| **class != ErrorClass::CredentialsMissing);
        metrics.calls.expect(operation.as_str(), std::iter::once(OK).chain(codes.map(|class| class.as_str())));
    }
    for lane in [Lane::Sweep, Lane::Retry, Lane::Change].map(word) {
        for result in ["settled", "delayed", "waiting", "panicked"] {
            drop(metrics.reconciles.get_or_create(&ReconcileLabels { lane, result }));
        }
    }
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
        drop(metrics.sweeps.get_or_create(&SweepLabels { result }));
    }
    for resource in [GROUPS, ACCOUNTS] {
        drop(metrics.lists.get_or_create(&resource));
        drop(metrics.watch_errors.get_or_create(&resource));
    }
}

/// Counts what an event tells, where it tells of something that was done to a group.
pub(super) fn told(metrics: &Metrics, reason: &str) {
    if let Some(change) = CHANGES.into_iter().find(|change| *change == reason) {
        metrics.changes.get_or_create(&ChangeLabels { change }).inc();
    }
}

/// Tells the metrics where the state is.
pub(super) fn observe(reconciler: &Arc<Reconciler>, sweep_interval: Duration) {
    let observed: Weak<Reconciler> = Arc::downgrade(reconciler);
    reconciler.metrics.at_scrape(move |state| {
        if let Some(reconciler) = observed.upgrade() {
            objects(&reconciler, state);
            queues(&reconciler, state);
            accounts(&reconciler, state);
            apps(&reconciler, state);
            state.sweep_interval.set(sweep_interval.as_secs_f64());
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
        state.queued.set(&LaneLabels { lane: word(lane) }, depths.waiting[lane as usize] as f64);
    }
    state.delayed.set(depths.delayed as f64);
    state.active.set(depths.active as f64);
    for operation in OPERATIONS {
        let labels = BudgetLabels { account: AccountKey::OWN_LABEL.to_owned(), operation: operation.as_str() };
        state.waiting_calls.set(&labels, 0.0);
    }
    for (slot, count) in depths.ready {
        if let Some(account) = reconciler.accounts.by_id(slot.account) {
            let labels = BudgetLabels { account: account.key().label(), operation: slot.operation.as_str() };
            state.waiting_calls.set(&labels, count as f64);
        }
    }
    state.suspects.set(reconciler.suspects() as f64);
}

fn accounts(reconciler: &Reconciler, state: &State) {
    // An operator of LiveAccounts only needs no credentials of its own: that there are none is no fault.
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
    let shut: Vec<Reason> = reconciler.gates().reasons().collect();
    for reason in GATES {
        let count = shut.iter().filter(|shut| **shut == reason).count();
        state.gates.set(&ReasonLabels { reason: reason.as_str() }, count as f64);
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
    state.oldest_sweep.set(oldest.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_counted_by_a_word_is_there_from_the_start() {
        let metrics = Metrics::default();
        prepare(&metrics);
        let series = metrics.render(true).unwrap();
        for (reason, change) in CHANGES.map(|change| (change, format!("{{change=\"{change}\"}}"))) {
            assert!(series.contains(&format!("group_changes_total{change} 0\n")), "{reason}");
            told(&metrics, reason);
        }
        told(&metrics, "CredentialsRejected");
        let counted = metrics.render(true).unwrap();
        let lines = counted.lines().filter(|line| line.contains("group_changes_total{"));
        assert!(lines.clone().count() == CHANGES.len() && lines.clone().all(|line| line.ends_with(" 1")), "{counted}");
        let calls = series.lines().filter(|line| line.contains("live_api_requests_total{")).count();
        // Without credentials nothing is sent.
        assert_eq!(calls, Operation::ALL.len() * ErrorClass::ALL.len());
    }
}
