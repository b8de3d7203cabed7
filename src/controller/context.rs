//! What the tasks of the controller share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::accounts::Accounts;
use super::api::ApiStore;
use super::events::EventSender;
use super::scheduler::Scheduler;
use super::shared::SharedScheduler;
use crate::telemetry::Metrics;

/// Bounds that the user sets.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Groups per app.
    pub max_groups_per_app: u64,
    /// In a terminating namespace, the finalizer of an object is removed when its deletion has failed for this time.
    pub finalizer_timeout: Duration,
}

/// What the tasks of the controller share.
pub struct Context {
    /// Who may go next.
    pub scheduler: SharedScheduler,
    /// The apiserver.
    pub api: ApiStore,
    /// The accounts that calls are made with.
    pub accounts: Accounts,
    /// Sends events.
    pub events: EventSender,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// See [`Limits::finalizer_timeout`].
    pub finalizer_timeout: Duration,
}

impl Context {
    /// A context without objects.
    pub fn new(api: ApiStore, accounts: Accounts, events: EventSender, metrics: Arc<Metrics>, limits: Limits) -> Self {
        let now: Instant = tokio::time::Instant::now().into_std();
        let scheduler = Scheduler::new(limits.max_groups_per_app, now, jiff::Timestamp::now());
        let scheduler = SharedScheduler::new(scheduler);
        Self { scheduler, api, accounts, events, metrics, finalizer_timeout: limits.finalizer_timeout }
    }
}
