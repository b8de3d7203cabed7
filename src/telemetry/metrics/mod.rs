//! Metrics, as Prometheus scrapes them. docs/metrics.md is made of what is registered here.
//!
//! Counters are counted where something happens. What is a matter of state (objects by their conditions, queues,
//! budgets) is taken from the state itself at every scrape: it cannot drift away from it, and costs nothing in between.

mod kubernetes;
mod labels;
mod register;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

pub use kubernetes::CountRequests;
pub use labels::*;
pub use register::Number;
use register::Register;
pub use register::{Counters, Described, Gauges, Histograms};

/// The media type of what [`Metrics::render`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Every metric of the operator.
pub struct Metrics {
    register: Register,
    ready: Number,
    /// Calls to the Live API.
    pub calls: Calls,
    /// The work queue's steps, by what came of them.
    pub reconciles: Counters<ReconcileLabels>,
    reconcile_duration: Histogram,
    /// Passes that failed, by the reason they told.
    pub failures: Counters<ReasonLabels>,
    panics: Counter,
    /// What was done to groups.
    pub changes: Counters<ChangeLabels>,
    /// Finalizers that were released.
    pub released: Counters<OutcomeLabels>,
    orphaned: Counter,
    /// Sweeps.
    pub sweeps: Counters<SweepLabels>,
    drift: Counter,
    requests: Counters<RequestLabels>,
    /// Lists from scratch.
    pub lists: Counters<ResourceLabels>,
    /// Failed lists and watches.
    pub watch_errors: Counters<ResourceLabels>,
    state: State,
    fill: OnceLock<Fill>,
    scraping: Mutex<()>,
}

/// Sets the gauges of the state.
type Fill = Box<dyn Fn(&State) + Send + Sync>;

/// The calls to the Live API; those of a `default()` are counted for nobody.
#[derive(Debug, Clone)]
pub struct Calls {
    requests: Counters<CallLabels>,
    duration: Histograms<OperationLabels>,
}

/// The gauges that are set at every scrape.
#[derive(Debug)]
pub struct State {
    /// Objects by their `Ready` condition.
    pub groups: Gauges<GroupLabels>,
    /// Objects by another condition.
    pub conditions: Gauges<ConditionLabels>,
    /// Accounts: 1 where calls can be made.
    pub accounts: Gauges<AccountLabels>,
    /// Calls a second that are granted now.
    pub rates: Gauges<BudgetLabels>,
    /// Objects that wait for a permit.
    pub waiting_calls: Gauges<BudgetLabels>,
    /// Objects that wait for a worker.
    pub queued: Gauges<LaneLabels>,
    /// Objects that wait for a moment.
    pub delayed: Number,
    /// Objects that are being worked on.
    pub active: Number,
    /// Gates that are shut.
    pub gates: Gauges<ReasonLabels>,
    /// When the app that was swept longest ago was swept, in seconds since 1970.
    pub oldest_sweep: Number,
    /// How often each app is swept, in seconds.
    pub sweep_interval: Number,
    /// Objects that are to be looked at because of a sweep.
    pub suspects: Number,
    /// Groups an app holds.
    pub app_groups: Gauges<AppLabels>,
    /// Groups an app may hold.
    pub app_limit: Number,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("register", &self.register).finish_non_exhaustive()
    }
}

impl Default for Calls {
    fn default() -> Self {
        Self { requests: Counters::default(), duration: Histograms::new_with_constructor(call_buckets) }
    }
}

impl Calls {
    fn register(register: &mut Register) -> Self {
        Self {
            requests: register.counter(
                "live_api_requests",
                "Calls to the Live API; `code` is OK or the class of the error: Throttled, CredentialsRejected, \
                 NotAuthorized, NotFound, QuotaExceeded, InvalidInput, ServiceError, Unreachable, ClockSkew, NonceUsed, \
                 Rejected, TryAgain",
            ),
            duration: register.histogram(
                "live_api_request_duration_seconds",
                "Time from sending a call to the Live API to its answer or its failure",
                call_buckets,
            ),
        }
    }

    /// Lets these calls be there before the first one: a rate sees the first error then.
    pub fn expect(&self, operation: &'static str, codes: impl Iterator<Item = &'static str>) {
        codes.for_each(|code| drop(self.requests.get_or_create(&CallLabels { operation, code })));
        drop(self.duration.get_or_create(&OperationLabels { operation }));
    }

    /// A call has ended.
    pub fn ended(&self, operation: &'static str, code: &'static str, took: Duration) {
        self.requests.get_or_create(&CallLabels { operation, code }).inc();
        self.duration.get_or_create(&OperationLabels { operation }).observe(took.as_secs_f64());
    }
}

/// Around the time-outs and the round trips of a call, in seconds.
fn call_buckets() -> Histogram {
    Histogram::new([0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

/// A step reads one object, and may write it and make a call, in seconds.
fn step_buckets() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

impl State {
    fn register(register: &mut Register) -> Self {
        Self {
            groups: register.fresh("groups", "LiveMessageGroups by status and reason of their condition Ready"),
            conditions: register.fresh(
                "groups_condition",
                "LiveMessageGroups with this condition: Reconciling, Stalled, Degraded or Paused that is True, InSync \
                 that is False",
            ),
            accounts: register.fresh(
                "account_ready",
                "1 where calls can be made with the account, 0 where not; `account` is NAMESPACE/NAME of a LiveAccount, \
                 or `operator` for the operator's own credentials, not there where there are none and nobody asks for them; \
                 one series an account",
            ),
            rates: register.fresh(
                "budget_calls_per_second",
                "Calls a second that the account is granted now; it falls while the Live API throttles",
            ),
            waiting_calls: register.fresh("budget_waiting", "LiveMessageGroups that wait for a permit for their call"),
            queued: register.fresh(
                "queue_depth",
                "LiveMessageGroups that wait for a worker: in the lane `change` what users did, in `retry` what failed, \
                 in `sweep` what a sweep found",
            ),
            delayed: register.one_gauge(
                "queue_delayed",
                "LiveMessageGroups that wait for a moment: to be tried again, or for a cause that they share",
            ),
            active: register.one_gauge("queue_active", "LiveMessageGroups that are being worked on"),
            gates: register.fresh(
                "gates_shut",
                "Causes of failure that many LiveMessageGroups share and one of them probes: credentials of an account, \
                 permissions for an operation on an app, apps that are missing or full",
            ),
            oldest_sweep: register.one_gauge(
                "sweep_oldest_success_timestamp_seconds",
                "Of all apps, the time since 1970 of the last sweep of the one that was swept longest ago; of a new app, \
                 and after a start, when it became known; now, where there is no app",
            ),
            sweep_interval: register.one_gauge("sweep_interval_seconds", "How often each app is swept"),
            suspects: register.one_gauge(
                "sweep_suspects",
                "LiveMessageGroups that are to be looked at because of what a sweep found",
            ),
            app_groups: register.fresh(
                "app_groups",
                "Groups that an app holds, as counted last, those on their way included; of the 100 fullest apps",
            ),
            app_limit: register.one_gauge("app_groups_limit", "Groups that an app may hold"),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new("")
    }
}

impl Metrics {
    /// All of them, of a process of this version that starts now.
    pub fn new(version: &'static str) -> Self {
        let mut register = Register::default();
        let start = register.common_gauge("process_start_time_seconds", "When the process started, since 1970");
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        start.set(started.as_secs_f64());
        register.gauge("build_info", "1, labelled with the version").set(&BuildLabels { version }, 1.0);
        let ready =
            register.one_gauge("ready", "1 where /readyz answers 200: the definitions are there, all is listed");
        let state = State::register(&mut register);
        state.oldest_sweep.set(started.as_secs_f64());
        let calls = Calls::register(&mut register);
        Self {
            reconciles: register.counter(
                "reconciles",
                "Steps of the work queue: `settled` with nothing left to do, `delayed` to be tried again later, \
                 `waiting` for a permit, `panicked`",
            ),
            reconcile_duration: register.one_histogram(
                "reconcile_duration_seconds",
                "Time of such a step, its call included",
                step_buckets(),
            ),
            failures: register.counter("reconcile_failures", "Passes that failed, by the reason in the status"),
            panics: register.one_counter("reconcile_panics", "Steps that panicked: each is a defect, please report it"),
            changes: register.counter(
                "group_changes",
                "What was done to groups, by the reason of the event that tells it: Created, AlreadyExists (adopted), \
                 Recovered, Modified, DriftCorrected",
            ),
            released: register.counter(
                "finalizers_released",
                "LiveMessageGroups with a finalizer that were deleted, by what became of the group: Deleted, \
                 AlreadyGone, Retained, HandedOver; it stays without anybody's intent: Abandoned (by annotation), \
                 GivenUp (in a namespace that goes away, after --finalizer-timeout)",
            ),
            orphaned: register.one_counter(
                "groups_orphaned",
                "Groups that were made or changed for an object that is gone, or that names another group by now",
            ),
            sweeps: register.counter(
                "sweeps",
                "Sweeps of an app: success, failure, or skipped because its account has no usable credentials",
            ),
            drift: register.one_counter(
                "sweep_drift_found",
                "LiveMessageGroups whose record a sweep's list contradicts, or whose group it lacks",
            ),
            requests: register.counter(
                "kubernetes_requests",
                "Requests to the apiserver; `code` is the HTTP status, `timeout`, or `unreachable`",
            ),
            lists: register.counter("watch_lists", "Lists from scratch: at the start, and after a watch was lost"),
            watch_errors: register.counter("watch_errors", "Lists and watches that failed"),
            register,
            ready,
            calls,
            state,
            fill: OnceLock::new(),
            scraping: Mutex::default(),
        }
    }

    /// What there is to be scraped.
    pub fn described(&self) -> &[Described] {
        &self.register.described
    }

    /// Says where the state comes from; the first one counts.
    pub fn at_scrape(&self, fill: impl Fn(&State) + Send + Sync + 'static) {
        let _ = self.fill.set(Box::new(fill));
    }

    /// All of them in the OpenMetrics text format.
    ///
    /// # Errors
    /// Where a value cannot be encoded.
    pub fn render(&self, ready: bool) -> Result<String, fmt::Error> {
        // Two scrapes at once would each show what the other one has set so far.
        let _one = self.scraping.lock().unwrap_or_else(PoisonError::into_inner);
        self.ready.set(f64::from(u8::from(ready)));
        self.register.clear.iter().for_each(|clear| clear());
        if let Some(fill) = self.fill.get() {
            fill(&self.state);
        }
        let mut text = String::new();
        encode(&mut text, &self.register.registry)?;
        Ok(text)
    }

    /// A step of the work queue has ended, one way or the other.
    pub fn stepped(&self, lane: &'static str, result: &'static str, took: Duration) {
        self.reconciles.get_or_create(&ReconcileLabels { lane, result }).inc();
        self.reconcile_duration.observe(took.as_secs_f64());
    }

    /// A step has panicked.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// A group was made or changed for an object that will not record it.
    pub fn orphaned(&self) {
        self.orphaned.inc();
    }

    /// A list contradicts what an object has recorded.
    pub fn drifted(&self) {
        self.drift.inc();
    }

    /// A layer that counts the requests of a client of the apiserver.
    pub fn count_requests(&self) -> CountRequests {
        CountRequests { requests: self.requests.clone() }
    }
}
