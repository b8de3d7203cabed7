//! Decides which object is processed next. Tracks every object, group, app and circuit breaker, and what each object
//! waits for.
//!
//! The module owns all waiting state. It may import `keys`, `pass`, `decide`, `resources`, and plain types of `live`
//! and `budget`. It is pure: the caller passes the time, and `shared` provides the lock. Its invariant: an object that
//! can proceed is never left waiting. A method that makes an object ready also moves its queue entry, so callers do not
//! have to wake objects.
//!
//! To add a [`Cause`], use `Cause::Quota` as the model. Add a variant, return it from `Scheduler::preflight`, and call
//! `unblock` where the cause ends. The compiler then requires match arms in `Queue::wait` and in
//! `Scheduler::still_holds` (in admission.rs), which checks whether the cause ended before the object was queued.
//! See docs/development.md.

mod admission;
mod apps;
mod breakers;
mod copies;
#[cfg(test)]
pub(super) mod explored;
mod fair_queue;
mod fences;
mod objects;
mod ownership;
mod queue;
mod record;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use admission::CallRequest;
pub use apps::{DEFAULT_MAX_GROUPS, UsageQuery};
pub use objects::{Seen, Work};
pub use queue::{Depths, Wakeups};
pub use record::{COUNTED, ConditionSummary, RecordedState};
pub use usage::Recorded;

use super::keys::{AccountKey, AppKey, BreakerKey, Cause, GroupAtService, ObjectKey};
use super::namespaces::NamespacePattern;
use super::pass::Pass;
use crate::decide::Priority;
use crate::live::Service;
use apps::AppState;
use breakers::Breakers;
use copies::Copies;
use fences::LateArrivals;
use ownership::Group;
use queue::{Moment, Queue};
use record::Record;

/// The state that determines which object is processed next.
#[derive(Debug)]
pub struct Scheduler {
    /// Each state is boxed: a hash table has more slots than entries, and an empty slot takes as much memory as a full
    /// one.
    objects: HashMap<ObjectKey, Box<ObjectState>>,
    groups: HashMap<Arc<GroupAtService>, Group>,
    accounts: HashMap<AccountKey, AccountState>,
    apps: HashMap<AppKey, AppState>,
    breakers: Breakers,
    queue: Queue,
    copies: Copies,
    fences: LateArrivals,
    /// The number of objects with each condition summary.
    summaries: HashMap<ConditionSummary, usize>,
    drift_candidates: usize,
    max_groups: u64,
    started: Instant,
}

/// The state of one object: its record, its interrupted pass, and the probes and the reservation that it holds.
#[derive(Debug)]
struct ObjectState {
    record: Record,
    /// The newest resourceVersion that the operator has read or written, or that was kept as a copy. Older copies of
    /// the object are not used.
    version: u64,
    /// Whether `version` is the result of the operator's own write.
    is_written: bool,
    /// The priority of the work that remained after the operator's last write; `None` if no work remained. The work is
    /// queued when the step ends, because the watch event for the write does not queue it.
    left: Option<Priority>,
    /// The interrupted pass, which continues when the object is processed again; `None` if no pass was interrupted, or
    /// while a worker processes the object.
    pass: Option<Box<Pass>>,
    /// The probes and the reservation that other objects wait for; `None` for most objects.
    held: Option<Box<Held>>,
    /// The recorded state that a drift check contradicted; `None` if there is no contradiction, or if the object has
    /// been read since then.
    drift: Option<RecordedState>,
    /// When the watch delivered the current generation; `None` if the status reports this generation as applied.
    edited: Option<Moment>,
}

/// The probes and the reservation that an object holds until its call is answered. Other objects wait for them.
#[derive(Debug, Default)]
struct Held {
    /// The breakers that the object probes. Other objects stay blocked on them until the probe ends.
    probes: Vec<BreakerKey>,
    /// The app in which a place is reserved for the object; `None` if no place is reserved.
    reservation: Option<AppKey>,
}

impl ObjectState {
    fn new(record: Record) -> Self {
        Self { record, version: 0, is_written: false, left: None, pass: None, held: None, drift: None, edited: None }
    }

    /// Records a version that is not older than the known one.
    fn set_version(&mut self, version: u64) {
        self.is_written &= version <= self.version;
        self.version = self.version.max(version);
    }

    fn held_mut(&mut self) -> &mut Held {
        self.held.get_or_insert_default()
    }

    fn take_reservation(&mut self) -> Option<AppKey> {
        let reservation = self.held.as_mut()?.reservation.take();
        self.drop_if_nothing_held();
        reservation
    }

    fn drop_if_nothing_held(&mut self) {
        if self.held.as_ref().is_some_and(|held| held.probes.is_empty() && held.reservation.is_none()) {
            self.held = None;
        }
    }
}

/// The properties of an account that determine which groups its objects can own.
#[derive(Debug, Clone)]
pub struct AccountState {
    /// The service that the account calls.
    pub service: Service,
    /// Whether the account has credentials that the service has not rejected.
    pub is_usable: bool,
    /// The namespaces whose objects may use the account; `None` permits all namespaces.
    pub namespaces: Option<Arc<[NamespacePattern]>>,
}

impl AccountState {
    /// Whether objects of this namespace may use the account.
    pub fn permits(&self, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| pattern.matches(namespace)))
    }
}

impl Scheduler {
    /// Creates a scheduler that has no objects yet. Each app may have at most `max_groups` groups.
    pub fn new(max_groups: u64, now: Instant) -> Self {
        Self {
            objects: HashMap::new(),
            groups: HashMap::new(),
            accounts: HashMap::new(),
            apps: HashMap::new(),
            breakers: Breakers::default(),
            queue: Queue::default(),
            copies: Copies::default(),
            fences: LateArrivals::new(now),
            summaries: HashMap::new(),
            drift_candidates: 0,
            max_groups,
            started: now,
        }
    }

    /// Sets the current time, from which the following calls compute ages.
    pub fn set_time(&mut self, now: Instant) {
        self.queue.now = Moment::after(now.saturating_duration_since(self.started));
    }

    /// Returns which tasks must be notified about changes since this method was last called.
    pub fn take_wakeups(&mut self) -> Wakeups {
        std::mem::take(&mut self.queue.wakeups)
    }

    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// The number of objects in each state of the queue.
    pub fn depths(&self) -> Depths {
        self.queue.depths()
    }

    /// See [`Queue::oldest_ages`].
    pub fn oldest_ages(&self) -> [Duration; 3] {
        self.queue.oldest_ages()
    }

    /// The namespace and the conditions of every object.
    pub fn conditions(&self) -> impl Iterator<Item = (&str, ConditionSummary)> {
        self.objects.iter().map(|(key, state)| (key.namespace(), state.record.summary))
    }

    /// The number of objects that wait for a delay to end.
    pub fn delayed(&self) -> usize {
        self.queue.delayed()
    }

    /// The number of objects with each condition summary.
    pub fn summaries(&self) -> &HashMap<ConditionSummary, usize> {
        &self.summaries
    }

    /// The number of drift candidates: a drift check contradicted their status, and no worker has read them since then.
    pub fn drift_candidates(&self) -> usize {
        self.drift_candidates
    }

    /// Makes all objects that are blocked on `cause` ready again, in queue order.
    pub fn unblock(&mut self, cause: &Cause) {
        self.queue.unblock(cause, usize::MAX);
    }
}
