//! The metrics of the operator. The tables in docs/metrics.md are generated from this module.
//!
//! If controller-runtime, client-go or the Prometheus client libraries export the same metric, the operator uses the
//! same name for it. All other names start with `live_message_operator_`. Counters are incremented when an event
//! happens. On each scrape, the gauges are computed from the state of the operator, so they are always up to date.

mod kubernetes;
mod labels;
mod process;
mod reconciles;
mod register;
mod state;
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
use process::ProcessCollector;
pub use reconciles::{CONTROLLER, Reconciles};
pub use register::FloatGauge;
use register::Register;
pub use register::{Counters, Described, Gauges, Histograms};
pub use state::State;

/// The media type of the text that [`Metrics::render`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of the operator.
pub struct Metrics {
    register: Register,
    ready: FloatGauge,
    /// Calls to the Live API.
    pub calls: Calls,
    /// Finished reconcile passes.
    pub reconciles: Reconciles,
    applied: Histograms<PriorityLabels>,
    /// Failed reconcile passes, by reason.
    pub failures: Counters<ReasonLabels>,
    /// Changes to groups.
    pub changes: Counters<ChangeLabels>,
    /// Removed finalizers, by outcome.
    pub released: Counters<OutcomeLabels>,
    orphaned: Counter,
    /// Drift checks, by result.
    pub drift_checks: Counters<DriftCheckLabels>,
    drift: Counter,
    requests: Counters<RequestLabels>,
    /// Complete lists of a watched resource.
    pub lists: Counters<ResourceLabels>,
    /// Failed lists and watches.
    pub watch_errors: Counters<ResourceLabels>,
    /// Watches that work again after a failure.
    pub watch_recoveries: Counters<ResourceLabels>,
    /// 1 while this process is the leader, 0 while it is a standby. The gauge is absent if leader election is disabled.
    pub leader: Gauges<LeaderLabels>,
    state: State,
    fill: OnceLock<Fill>,
    scraping: Mutex<()>,
}

/// A function that sets the gauges in [`State`].
type Fill = Box<dyn Fn(&State) + Send + Sync>;

/// Metrics of the calls to the Live API. The metrics of `Calls::default()` are not registered.
#[derive(Debug, Clone)]
pub struct Calls {
    requests: Counters<CallLabels>,
    duration: Histograms<OperationLabels>,
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
                "live_message_operator_live_api_requests",
                "Calls to the Live API; `code` is OK or the class of the error: Throttled, CredentialsRejected, \
                 NotAuthorized, NotFound, QuotaExceeded, InvalidInput, ServiceError, Unreachable, ClockSkew, NonceUsed, \
                 Rejected, Resent",
            ),
            duration: register.histogram(
                "live_message_operator_live_api_request_duration_seconds",
                "Time from sending a call to the Live API to its response or failure",
                call_buckets,
            ),
        }
    }

    /// Initializes counters to zero, so that `rate()` sees the first increment.
    pub fn preregister(&self, operation: &'static str, codes: impl Iterator<Item = &'static str>) {
        codes.for_each(|code| drop(self.requests.get_or_create(&CallLabels { operation, code })));
        drop(self.duration.get_or_create(&OperationLabels { operation }));
    }

    /// Records a completed call.
    pub fn ended(&self, operation: &'static str, code: &'static str, took: Duration) {
        self.requests.get_or_create(&CallLabels { operation, code }).inc();
        self.duration.get_or_create(&OperationLabels { operation }).observe(took.as_secs_f64());
    }
}

/// Buckets in seconds. They range from a short round trip to more than the default timeout of a call.
fn call_buckets() -> Histogram {
    Histogram::new([0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new("")
    }
}

const APPLIED_HELP: &str = "Time from when the watch delivers a new object or a change until the status reports it as \
                            applied (Ready is True); `priority` is `change` if the first pass succeeded, `retry` otherwise";

/// Buckets in seconds. Applying one change takes milliseconds; a change that waits for the rate limit takes minutes.
fn apply_buckets() -> Histogram {
    Histogram::new([0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0])
}

const LEADER_HELP: &str = "1 if the process holds the Lease `name`, 0 if not; absent without leader election";

const WATCH_ERRORS_HELP: &str = "Lists and watches that failed, including watches that timed out without data and \
                                 watches that returned undecodable data";

/// Registers the metrics of the process. Returns the readiness gauge, which [`Metrics::render`] sets on each scrape.
fn register_process(register: &mut Register, version: &'static str, started: f64) -> FloatGauge {
    register.collector(ProcessCollector, ProcessCollector::described());
    register.single_gauge("process_start_time_seconds", "Unix time when the process started").set(started);
    register
        .gauge("live_message_operator_build_info", "1, with the version of the operator")
        .set(&BuildLabels { version }, 1.0);
    register.single_gauge(
        "live_message_operator_ready",
        "1 if /readyz returns 200: the CustomResourceDefinitions exist and every object is listed",
    )
}

impl Metrics {
    /// The prefixes of all metric names. Only the first one belongs to this project; controller-runtime, client-go and
    /// the Prometheus client libraries use the others.
    pub const PREFIXES: [&'static str; 6] =
        ["live_message_operator_", "controller_runtime_", "leader_election_", "workqueue_", "rest_client_", "process_"];

    /// Registers the metrics. Reports the current time as the start time of the process.
    pub fn new(version: &'static str) -> Self {
        let mut register = Register::default();
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let ready = register_process(&mut register, version, started);
        let state = State::register(&mut register);
        let calls = Calls::register(&mut register);
        Self {
            reconciles: Reconciles::register(&mut register),
            applied: register.histogram("live_message_operator_apply_duration_seconds", APPLIED_HELP, apply_buckets),
            failures: register.counter(
                "live_message_operator_reconcile_failures",
                "Failed reconcile passes, by the reason in the status",
            ),
            changes: register.counter(
                "live_message_operator_group_changes",
                "Changes to groups, by the reason of the event: Created, AlreadyExists (adopted), Recovered, Modified, \
                 DriftCorrected",
            ),
            released: register.counter(
                "live_message_operator_finalizers_released",
                "Finalizers removed from deleted LiveMessageGroups, by the outcome for the group: Deleted, AlreadyGone, \
                 Retained, HandedOver, Abandoned (retained because of the annotation, or because the namespace may \
                 not use the operator's credentials), TimedOut (retained in a terminating namespace after \
                 --finalizer-timeout or --unreachable-finalizer-timeout), NotDeleted (retained although deletionPolicy \
                 is Delete; also counted without a finalizer)",
            ),
            orphaned: register.single_counter(
                "live_message_operator_groups_orphaned",
                "Groups created or changed for an object that was deleted or that now names another group",
            ),
            drift_checks: register.counter(
                "live_message_operator_drift_checks",
                "Drift checks of an app: success, failure, or skipped because the account has no usable credentials",
            ),
            drift: register.single_counter(
                "live_message_operator_drift_found",
                "LiveMessageGroups whose recorded state differs from the list of a drift check",
            ),
            requests: register.counter(
                "rest_client_requests",
                "Requests to the apiserver; `code` is the HTTP status, `timeout` or `unreachable`",
            ),
            lists: register.counter(
                "live_message_operator_watch_lists",
                "Complete lists of a watched resource: at startup and after a lost watch",
            ),
            watch_errors: register.counter("live_message_operator_watch_errors", WATCH_ERRORS_HELP),
            watch_recoveries: register.counter(
                "live_message_operator_watch_recoveries",
                "Watches that work again after one or more failures",
            ),
            leader: register.gauge("leader_election_master_status", LEADER_HELP),
            register,
            ready,
            calls,
            state,
            fill: OnceLock::new(),
            scraping: Mutex::default(),
        }
    }

    /// The description of every metric.
    pub fn described(&self) -> &[Described] {
        &self.register.described
    }

    /// Sets the function that fills the state gauges. Only the first call has an effect.
    pub fn on_scrape(&self, fill: impl Fn(&State) + Send + Sync + 'static) {
        let _ = self.fill.set(Box::new(fill));
    }

    /// Encodes the metrics in the OpenMetrics text format.
    ///
    /// # Errors
    /// Returns an error if a value cannot be encoded.
    pub fn render(&self, ready: bool) -> Result<String, fmt::Error> {
        // Serialize scrapes, because concurrent scrapes would clear each other's gauges.
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

    /// Counts an orphaned group. The operator created or changed this group, but no object manages it.
    pub fn orphaned(&self) {
        self.orphaned.inc();
    }

    /// Creates the histogram of [`Metrics::applied`] for a priority.
    pub fn preregister_applied(&self, priority: &'static str) {
        drop(self.applied.get_or_create(&PriorityLabels { priority }));
    }

    /// Records that a new object or a change was applied. `took` is the time since the watch delivered it.
    pub fn applied(&self, priority: &'static str, took: Duration) {
        self.applied.get_or_create(&PriorityLabels { priority }).observe(took.as_secs_f64());
    }

    /// Counts an object for which a drift check found drift.
    pub fn drifted(&self) {
        self.drift.inc();
    }

    /// Returns a layer that counts the requests sent to the apiserver at `host`.
    pub fn count_requests(&self, host: String) -> CountRequests {
        CountRequests { requests: self.requests.clone(), host }
    }
}
