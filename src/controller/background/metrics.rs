//! Metrics of the controller's state, computed at every scrape.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::namespaces;
use crate::controller::accounts::{Account, OK};
use crate::controller::context::Context;
use crate::controller::keys::{AccountKey, AppKey};
use crate::controller::pass::{NOT_DELETED, TIMED_OUT};
use crate::controller::reconcile::CHANGES;
use crate::controller::scheduler::COUNTED;
use crate::controller::watch::{ACCOUNTS, GROUPS, Readiness};
use crate::decide::Priority;
use crate::live::{ErrorClass, Operation};
use crate::resources::{ConditionStatus, ConditionType, ReadyEffect, Reason};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::{
    AccountLabels, AppLabels, BudgetLabels, CONTROLLER, ChangeLabels, ConditionLabels, ControllerLabels,
    DriftCheckLabels, GroupLabels, OutcomeLabels, PriorityLabels, QueueLabels, ReasonLabels, State,
};

/// The maximum number of apps with a metric series. If there are more apps, only those with the most groups have a
/// series. The limit exists because any user who can create a LiveAccount can specify an endpoint that accepts any
/// number of apps.
const MAX_APPS: usize = 100;

/// The values of the metric label `outcome` for deleted objects.
const OUTCOMES: [&str; 7] = ["Deleted", "AlreadyGone", "Retained", "HandedOver", "Abandoned", TIMED_OUT, NOT_DELETED];

/// The reasons for which a reconcile pass can fail.
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

/// The reasons for which a circuit breaker can open.
const BREAKERS: [Reason; 4] =
    [Reason::CredentialsRejected, Reason::NotAuthorized, Reason::AppNotFound, Reason::QuotaExceeded];

const PRIORITIES: [Priority; 3] = [Priority::Resync, Priority::Retry, Priority::Change];

/// Returns the status of a `Ready` condition that has this reason. Returns `None` if the `Ready` condition of a
/// LiveMessageGroup never has this reason.
fn ready_status_of(reason: Reason) -> Option<ConditionStatus> {
    match (reason, reason.ready()) {
        (Reason::Available | Reason::Paused | Reason::InSync, _)
        | (Reason::ImmutableFieldsDiffer | Reason::UpdateIgnored, _) => None,
        (_, ReadyEffect::True) => Some(ConditionStatus::True),
        (_, ReadyEffect::False) => Some(ConditionStatus::False),
        (_, ReadyEffect::Unknown | ReadyEffect::Unchanged) => Some(ConditionStatus::Unknown),
    }
}

/// Initializes counters to zero, so that `rate()` sees the first increment.
pub fn preregister(metrics: &Metrics) {
    for operation in Operation::ALL {
        let codes = ErrorClass::ALL.iter().filter(|class| **class != ErrorClass::CredentialsMissing);
        metrics.calls.preregister(operation.as_str(), std::iter::once(OK).chain(codes.map(|class| class.as_str())));
    }
    metrics.reconciles.preregister();
    PRIORITIES.iter().for_each(|priority| metrics.preregister_applied(priority.as_str()));
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
        drop(metrics.watch_recoveries.get_or_create(&resource));
    }
}

/// The settings for the collection of metrics.
#[derive(Debug, Clone, Copy)]
pub struct Collected {
    /// The time between two drift checks of an app.
    pub drift_check_interval: Duration,
    /// The number of namespaces whose objects are counted separately.
    pub metric_namespaces: usize,
}

/// Registers the collector of the metrics about the controller's state. Only the leader exports metrics of objects,
/// accounts and apps, so that each object, account and app is counted once.
pub fn register_collector(context: &Arc<Context>, settings: Collected, readiness: &Arc<Readiness>) {
    let collected: Weak<Context> = Arc::downgrade(context);
    let readiness = Arc::clone(readiness);
    context.metrics.on_scrape(move |state| {
        if let Some(context) = collected.upgrade() {
            for resource in [GROUPS, ACCOUNTS] {
                state.watch_silence.set(&resource, readiness.silence(&resource).as_secs_f64());
            }
            if !context.leadership.may_send(Instant::now()) {
                return;
            }
            collect_objects(&context, state);
            namespaces::collect(&context, state, settings.metric_namespaces);
            collect_queue(&context, state);
            collect_accounts(&context, state);
            collect_apps(&context, state);
            state.drift_check_interval.set(settings.drift_check_interval.as_secs_f64());
        }
    });
}

fn collect_objects(context: &Context, state: &State) {
    let mut ready: Vec<(GroupLabels, usize)> = Vec::new();
    for (status, reason) in Reason::ALL.iter().filter_map(|reason| Some((ready_status_of(*reason)?, *reason))) {
        ready.push((GroupLabels { ready: status.as_str(), reason: reason.as_str() }, 0));
    }
    let mut totals = [0; COUNTED.len()];
    let summaries = context.scheduler.with(|scheduler, _| scheduler.summaries().clone());
    for (summary, count) in summaries {
        let reason = summary.reason.map_or("Other", Reason::as_str);
        let labels = GroupLabels { ready: summary.ready.as_str(), reason };
        match ready.iter_mut().find(|(known, _)| *known == labels) {
            Some((_, total)) => *total += count,
            None => ready.push((labels, count)),
        }
        for (total, _) in totals.iter_mut().zip(summary.counted).filter(|(_, is_counted)| *is_counted) {
            *total += count;
        }
    }
    ready.iter().for_each(|(labels, count)| state.groups.set(labels, *count as f64));
    for ((kind, status), count) in COUNTED.iter().zip(totals) {
        let labels = ConditionLabels { condition: kind.as_str(), status: status.as_str() };
        state.conditions.set(&labels, count as f64);
    }
}

fn collect_queue(context: &Context, state: &State) {
    let (depths, ages, candidates) = context
        .scheduler
        .with(|scheduler, _| (scheduler.depths(), scheduler.oldest_ages(), scheduler.drift_candidates()));
    for priority in PRIORITIES {
        let labels = QueueLabels { name: CONTROLLER, priority: priority.as_str() };
        state.queue_depth.set(&labels, depths.ready[priority as usize] as f64);
        let labels = PriorityLabels { priority: priority.as_str() };
        state.oldest_age.set(&labels, ages[priority as usize].as_secs_f64());
    }
    state.delayed.set(depths.delayed as f64);
    state.blocked.set(depths.blocked as f64);
    state.active_workers.set(&ControllerLabels { controller: CONTROLLER }, depths.active as f64);
    for operation in Operation::ALL.into_iter().filter(|operation| *operation != Operation::ListByPage) {
        let account = AccountKey::OPERATOR_LABEL.to_owned();
        let labels = BudgetLabels { account, operation: operation.as_str() };
        state.awaiting_permit.set(&labels, 0.0);
        state.permit_waits.set(&labels, 0.0);
    }
    for (budget, count) in depths.permits {
        let labels = BudgetLabels { account: budget.account.label(), operation: budget.operation.as_str() };
        state.awaiting_permit.set(&labels, count as f64);
        if let Some(account) = context.accounts.current(&budget.account) {
            state.permit_waits.set(&labels, account.pace(budget.operation).time_for(count).as_secs_f64());
        }
    }
    state.drift_candidates.set(candidates as f64);
}

fn collect_accounts(context: &Context, state: &State) {
    // An operator that serves only LiveAccounts needs no credentials of its own.
    let uses_own = context.scheduler.with(|scheduler, _| {
        let mut apps = scheduler.apps();
        apps.any(|(app, _)| app.account == AccountKey::Operator)
    });
    for (key, reason, account) in account_reasons(context) {
        if key == AccountKey::Operator && reason == Reason::CredentialsMissing && !uses_own {
            continue;
        }
        let is_ready = if reason.ready() == ReadyEffect::True { 1.0 } else { 0.0 };
        state.accounts.set(&AccountLabels { account: key.label(), reason: reason.as_str() }, is_ready);
        for operation in Operation::ALL {
            let Some(account) = &account else { continue };
            let labels = BudgetLabels { account: key.label(), operation: operation.as_str() };
            if let Some(rate) = account.rate(operation) {
                state.rates.set(&labels, rate);
            }
            if let Some(permits) = account.permits_in_use(operation) {
                state.permits_in_use.set(&labels, permits.into());
            }
        }
    }
    let open = context.scheduler.with(|scheduler, _| scheduler.open_breakers());
    for reason in BREAKERS {
        let count = open.get(&reason).copied().unwrap_or_default();
        state.breakers.set(&ReasonLabels { reason: reason.as_str() }, count as f64);
    }
}

/// Returns the operator's own account and the account of every LiveAccount, each with its key and the reason of its
/// condition. The account is `None` if the LiveAccount cannot be used.
fn account_reasons(context: &Context) -> Vec<(AccountKey, Reason, Option<Arc<Account>>)> {
    let operator = context.accounts.current(&AccountKey::Operator);
    let is_rejected =
        context.scheduler.with(|scheduler, _| scheduler.credentials_failure(&AccountKey::Operator).is_some());
    let reason = match &operator {
        _ if is_rejected => Reason::CredentialsRejected,
        Some(account) if account.access_key_id().is_some() => Reason::Available,
        _ => Reason::CredentialsMissing,
    };
    let live_accounts = context.accounts.observed().into_iter().map(|(key, observed, account)| {
        let ready = observed.status.condition(ConditionType::Ready);
        let reason = ready.and_then(|ready| ready.reason.parse().ok()).unwrap_or(Reason::Pending);
        (AccountKey::LiveAccount(key), reason, account.ok())
    });
    std::iter::once((AccountKey::Operator, reason, operator)).chain(live_accounts).collect()
}

fn collect_apps(context: &Context, state: &State) {
    let (fullest, oldest, limit) = context.scheduler.with(|scheduler, _| {
        let usages = scheduler.apps().filter_map(|(app, state)| Some((state.usage()?, app)));
        let oldest = scheduler.apps().filter_map(|(_, state)| state.last_check).min();
        (fullest(usages), oldest, scheduler.max_groups())
    });
    for (groups, app) in fullest {
        let labels = AppLabels { account: app.account.label(), app: app.app_id.to_string() };
        state.app_groups.set(&labels, groups as f64);
    }
    state.app_limit.set(limit as f64);
    let oldest = oldest.unwrap_or_else(SystemTime::now);
    state.oldest_drift_check.set(oldest.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64());
}

/// Returns the [`MAX_APPS`] apps with the most groups. Clones only the keys of these apps, because the caller holds
/// the lock of the scheduler.
fn fullest<'a>(usages: impl Iterator<Item = (u64, &'a AppKey)>) -> Vec<(u64, AppKey)> {
    let mut most = BinaryHeap::with_capacity(MAX_APPS);
    for usage in usages {
        if most.len() < MAX_APPS {
            most.push(Reverse(usage));
        } else if let Some(mut least) = most.peek_mut()
            && least.0 < usage
        {
            *least = Reverse(usage);
        }
    }
    most.into_iter().map(|Reverse((groups, app))| (groups, app.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fullest_apps_are_those_with_the_most_groups() {
        let apps: Vec<AppKey> = (0..300).map(|app| AppKey::new(&AccountKey::Operator, &format!("app{app}"))).collect();
        let usages = apps.iter().enumerate().map(|(app, key)| ((app as u64 * 7) % 300, key));
        let mut most: Vec<u64> = fullest(usages).into_iter().map(|(groups, _)| groups).collect();
        most.sort_unstable();
        assert_eq!(most, (200..300).collect::<Vec<u64>>());
    }

    #[test]
    fn every_labeled_counter_starts_at_zero() {
        let metrics = Metrics::default();
        preregister(&metrics);
        let series = metrics.render(true).unwrap();
        for change in CHANGES {
            assert!(series.contains(&format!("group_changes_total{{change=\"{change}\"}} 0\n")), "{change}");
        }
        let calls = series.lines().filter(|line| line.contains("live_api_requests_total{")).count();
        // Each operation has a series for `OK` and for every error class except `CredentialsMissing`. No call is sent
        // if the credentials are missing.
        assert_eq!(calls, Operation::ALL.len() * ErrorClass::ALL.len());
    }
}
