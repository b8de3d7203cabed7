//! The gauges that are computed from the state of the operator on each scrape.

use super::labels::{
    AccountLabels, AppLabels, BudgetLabels, ConditionLabels, ControllerLabels, GroupLabels, NamespaceLabels,
    PriorityLabels, QueueLabels, ReasonLabels, ResourceLabels,
};
use super::register::{Gauges, Register, TransientGauge};

/// Gauges that are set on each scrape.
#[derive(Debug)]
pub struct State {
    /// Objects by their `Ready` condition.
    pub groups: Gauges<GroupLabels>,
    /// Objects of each namespace by their `Ready` condition. The gauges are set only if `--metric-namespaces` is
    /// greater than 0.
    pub namespace_groups: Gauges<NamespaceLabels>,
    /// Objects by a condition other than `Ready`.
    pub conditions: Gauges<ConditionLabels>,
    /// 1 for an account with usable credentials, otherwise 0.
    pub accounts: Gauges<AccountLabels>,
    /// Calls per second that the budget grants.
    pub rates: Gauges<BudgetLabels>,
    /// Permits in use. A permit is in use until one second after its call is answered or can no longer arrive.
    pub permits_in_use: Gauges<BudgetLabels>,
    /// Objects that wait for a permit.
    pub awaiting_permit: Gauges<BudgetLabels>,
    /// The expected time until the last waiting object gets its permit, in seconds.
    pub permit_waits: Gauges<BudgetLabels>,
    /// Objects that wait for a worker.
    pub queue_depth: Gauges<QueueLabels>,
    /// Age of the object that has waited longest for a worker or a permit.
    pub oldest_age: Gauges<PriorityLabels>,
    /// Objects that wait for a delay to end, for example before a retry.
    pub delayed: TransientGauge,
    /// Objects that are blocked on a cause.
    pub blocked: TransientGauge,
    /// Reconcile passes that are running.
    pub active_workers: Gauges<ControllerLabels>,
    /// Open circuit breakers.
    pub breakers: Gauges<ReasonLabels>,
    /// Unix time of the last successful drift check of the app that was checked least recently.
    pub oldest_drift_check: TransientGauge,
    /// Seconds between two drift checks of an app.
    pub drift_check_interval: TransientGauge,
    /// Objects that must be examined because of the result of a drift check.
    pub drift_candidates: TransientGauge,
    /// Groups in each app.
    pub app_groups: Gauges<AppLabels>,
    /// Maximum number of groups in an app.
    pub app_limit: TransientGauge,
    /// Seconds since the apiserver last sent anything on a watch.
    pub watch_silence: Gauges<ResourceLabels>,
}

impl State {
    #[expect(clippy::too_many_lines, reason = "a flat list of metrics")]
    pub(super) fn register(register: &mut Register) -> Self {
        Self {
            groups: register.transient_gauge(
                "live_message_operator_groups",
                "LiveMessageGroups by the status and the reason of the Ready condition",
            ),
            namespace_groups: register.transient_gauge(
                "live_message_operator_namespace_groups",
                "LiveMessageGroups of a namespace by the status and the reason of the Ready condition; absent unless \
                 --metric-namespaces is set. `object_namespace` is the namespace. If there are more namespaces than \
                 --metric-namespaces permits, the namespaces with the fewest LiveMessageGroups are counted together as \
                 `(other)`",
            ),
            conditions: register.transient_gauge(
                "live_message_operator_groups_condition",
                "LiveMessageGroups by condition. A LiveMessageGroup is counted for Reconciling, Stalled, Degraded or \
                 Paused if the status of the condition is True, and for InSync if the status is False",
            ),
            accounts: register.transient_gauge(
                "live_message_operator_account_ready",
                "1 if the credentials of the account can be used, otherwise 0. `account` is NAMESPACE/NAME of \
                 a LiveAccount, or `operator` for the operator's own credentials. The series `operator` is absent \
                 while these credentials are neither configured nor needed",
            ),
            rates: register.transient_gauge(
                "live_message_operator_budget_calls_per_second",
                "Calls per second that the budget grants; reduced while the Live API throttles",
            ),
            permits_in_use: register.transient_gauge(
                "live_message_operator_budget_permits_in_use",
                "Permits in use. A permit stays in use until one second after its call is answered. If the call is not \
                 answered, the permit stays in use until one second after the call can no longer arrive. While all \
                 permits are in use, further calls wait",
            ),
            awaiting_permit: register.transient_gauge(
                "live_message_operator_budget_waiting",
                "LiveMessageGroups that wait for a permit for their next call",
            ),
            permit_waits: register.transient_gauge(
                "live_message_operator_budget_expected_wait_seconds",
                "Expected time until the last waiting LiveMessageGroup gets its permit",
            ),
            queue_depth: register.transient_gauge(
                "workqueue_depth",
                "LiveMessageGroups that wait for a worker; `priority` is `change` for changes by users, `retry` for \
                 retries after a failure and other pending work, `resync` for drift candidates",
            ),
            oldest_age: register.transient_gauge(
                "live_message_operator_queue_oldest_age_seconds",
                "How long the longest-waiting LiveMessageGroup has waited for a worker or a permit; 0 if none is \
                 waiting",
            ),
            delayed: register.transient_single_gauge(
                "live_message_operator_queue_delayed",
                "LiveMessageGroups that are scheduled for a later time, for example for a retry",
            ),
            blocked: register.transient_single_gauge(
                "live_message_operator_queue_blocked",
                "LiveMessageGroups that are blocked on a cause: an account, the owner of their group, a circuit breaker, or \
                 the quota of their app",
            ),
            active_workers: register
                .transient_gauge("controller_runtime_active_workers", "LiveMessageGroups that are being reconciled"),
            breakers: register.transient_gauge(
                "live_message_operator_breakers_open",
                "Open circuit breakers. Each is a cause that blocks many LiveMessageGroups, such as rejected \
                 credentials, a missing permission, or an app that does not exist or is full. One LiveMessageGroup \
                 probes the cause",
            ),
            oldest_drift_check: register.transient_single_gauge(
                "live_message_operator_drift_check_oldest_success_timestamp_seconds",
                "Unix time of the last successful drift check of the app whose last check is the oldest. For an app \
                 that has never been checked, the operator uses the time when it first saw the app. If there are no \
                 apps, the value is the current time",
            ),
            drift_check_interval: register.transient_single_gauge(
                "live_message_operator_drift_check_interval_seconds",
                "Interval between drift checks of an app",
            ),
            drift_candidates: register.transient_single_gauge(
                "live_message_operator_drift_candidates",
                "LiveMessageGroups whose recorded state differs from the list of a drift check, and that have not been \
                 reconciled since then",
            ),
            app_groups: register.transient_gauge(
                "live_message_operator_app_groups",
                "Groups in an app at the last count, including pending creates; for the 100 apps with the most groups",
            ),
            app_limit: register
                .transient_single_gauge("live_message_operator_app_groups_limit", "Maximum number of groups in an app"),
            watch_silence: register.transient_gauge(
                "live_message_operator_watch_silence_seconds",
                "Seconds since the apiserver last sent something on a watch of the resource: an event, a bookmark, a list, \
                 a refusal, or the end of the watch; below 30 while the apiserver responds",
            ),
        }
    }
}
