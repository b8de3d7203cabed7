//! The state that the tasks of the controller share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::accounts::Accounts;
use super::activity::Activities;
use super::api::ApiStore;
use super::events::EventSender;
use super::leader::Leadership;
use super::scheduler::Scheduler;
use super::shared::SharedScheduler;
use crate::telemetry::Metrics;

/// Limits that the user configures.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The number of groups that an app may have.
    pub max_groups_per_app: u64,
    /// How long the deletion of an object in a terminating namespace may be stalled before the operator removes the
    /// finalizer.
    pub finalizer_timeout: Duration,
    /// Like `finalizer_timeout`, but for deletions that fail because the Live API cannot be reached.
    pub unreachable_finalizer_timeout: Duration,
    /// The number of namespaces whose objects are counted separately in metrics.
    pub metric_namespaces: usize,
}

/// The state that the tasks of the controller share.
pub struct Context {
    pub scheduler: SharedScheduler,
    /// Reads and writes objects in the apiserver.
    pub api: ApiStore,
    /// The operator's own account and all LiveAccounts.
    pub accounts: Accounts,
    pub events: EventSender,
    pub metrics: Arc<Metrics>,
    /// Whether this process is the leader.
    pub leadership: Leadership,
    /// See [`Limits::finalizer_timeout`].
    pub finalizer_timeout: Duration,
    /// See [`Limits::unreachable_finalizer_timeout`].
    pub unreachable_finalizer_timeout: Duration,
    /// Detects steps of reconcile passes that make no progress.
    pub activities: Activities,
}

impl Context {
    /// Creates a context whose scheduler contains no objects yet.
    pub fn new(api: ApiStore, accounts: Accounts, events: EventSender, metrics: Arc<Metrics>, limits: Limits) -> Self {
        let now: Instant = tokio::time::Instant::now().into_std();
        let scheduler = Scheduler::new(limits.max_groups_per_app, now);
        let leadership = api.leadership().clone();
        Self {
            scheduler: SharedScheduler::new(scheduler),
            api,
            accounts,
            events,
            metrics,
            leadership,
            finalizer_timeout: limits.finalizer_timeout,
            unreachable_finalizer_timeout: limits.unreachable_finalizer_timeout,
            activities: Activities::default(),
        }
    }
}
