//! Metrics of reconcile passes, with the names that controller-runtime uses.

use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;

use super::labels::{ControllerLabels, ReconcileLabels};
use super::register::{Counters, Histograms, Register};

/// Name of the controller, and of its work queue.
pub const CONTROLLER: &str = "livemessagegroup";

const LABELS: ControllerLabels = ControllerLabels { controller: CONTROLLER };

/// The metrics of finished reconcile passes.
#[derive(Debug)]
pub struct Reconciles {
    results: Counters<ReconcileLabels>,
    time: Histograms<ControllerLabels>,
    panics: Counters<ControllerLabels>,
}

/// Buckets in seconds. A reconcile pass reads one object, and may write the object and make a call.
fn buckets() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

impl Reconciles {
    pub(super) fn register(register: &mut Register) -> Self {
        Self {
            results: register.counter(
                "controller_runtime_reconcile",
                "Reconcile passes by result: `success` (no further work), `requeue_after` (a retry or further work is \
                 scheduled), `awaiting_permit` (a call waits for a permit), `blocked` (the object waits for an \
                 account, the owner of its group, a circuit breaker or a quota), `error` (the pass panicked)",
            ),
            time: register.histogram(
                "controller_runtime_reconcile_time_seconds",
                "Duration of a reconcile pass, including its call to the Live API",
                buckets,
            ),
            panics: register.counter(
                "controller_runtime_reconcile_panics",
                "Reconcile passes that panicked; report each panic as a bug",
            ),
        }
    }

    /// Initializes counters to zero, so that `rate()` sees the first increment.
    pub fn preregister(&self) {
        for result in ["success", "requeue_after", "awaiting_permit", "blocked", "error"] {
            drop(self.results.get_or_create(&ReconcileLabels { controller: CONTROLLER, result }));
        }
        drop(self.time.get_or_create(&LABELS));
        drop(self.panics.get_or_create(&LABELS));
    }

    /// Records a finished reconcile pass.
    pub fn observe_reconcile(&self, result: &'static str, took: Duration) {
        self.results.get_or_create(&ReconcileLabels { controller: CONTROLLER, result }).inc();
        self.time.get_or_create(&LABELS).observe(took.as_secs_f64());
    }

    /// Counts a panic. The result of the reconcile pass is counted separately.
    pub fn panicked(&self) {
        self.panics.get_or_create(&LABELS).inc();
    }
}
