//! Who may go next: everything that is known of objects, groups, apps and circuit breakers, and who waits for what.
//!
//! The module owns all waiting state. It may import `keys`, `pass`, `decide`, `resources` and plain types of `live`; it is
//! pure (the caller passes the time) and lives behind one lock. Its invariant: an object that could go on is never
//! left waiting. No method returns objects to wake; whatever makes an object runnable moves its queue entry in the same
//! call.
//!
//! To add a cause for which objects wait: add a variant to [`Cause`], return it from [`Scheduler::preflight`], call
//! `unblock` where the cause ends, and say in `still_holds` how to tell that it ended while the object was on its way
//! into the queue. The property test fails while the last one is missing.

mod admission;
mod apps;
mod breakers;
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
use std::time::Instant;

pub use admission::CallRequest;
pub use apps::{DEFAULT_MAX_GROUPS, UsageQuery};
pub use objects::{Seen, Work};
pub use queue::{Depths, Wakeups};
pub use record::{COUNTED, ConditionSummary, RecordedState};

use super::keys::{AppKey, BreakerKey, Cause, GroupKey, ObjectKey};
use super::pass::Pass;
use apps::AppState;
use breakers::Breakers;
use fences::LateArrivals;
use ownership::Group;
use queue::Queue;
use record::Record;

/// See the module's documentation.
#[derive(Debug)]
pub struct Scheduler {
    objects: HashMap<ObjectKey, ObjectState>,
    groups: HashMap<Arc<GroupKey>, Group>,
    apps: HashMap<AppKey, AppState>,
    breakers: Breakers,
    queue: Queue,
    fences: LateArrivals,
    /// The number of objects with each summary.
    summaries: HashMap<ConditionSummary, usize>,
    drift_candidates: usize,
    max_groups: u64,
}

/// All that is known of one object.
#[derive(Debug)]
struct ObjectState {
    record: Record,
    /// The pass that goes on when the object is served again; a worker that has the object holds it.
    pass: Option<Box<Pass>>,
    /// The breakers that the object probes.
    probes: Vec<BreakerKey>,
    /// The app in which a place is reserved for it.
    reservation: Option<AppKey>,
    /// What its status recorded when a drift check contradicted it.
    drift: Option<RecordedState>,
}

impl Scheduler {
    /// A scheduler without objects, for apps with at most `max_groups` groups.
    pub fn new(max_groups: u64, now: Instant, wall: jiff::Timestamp) -> Self {
        Self {
            objects: HashMap::new(),
            groups: HashMap::new(),
            apps: HashMap::new(),
            breakers: Breakers::default(),
            queue: Queue::default(),
            fences: LateArrivals::new(now, wall),
            summaries: HashMap::new(),
            drift_candidates: 0,
            max_groups,
        }
    }

    /// The tasks to notify for what happened since the last call.
    pub fn take_wakeups(&mut self) -> Wakeups {
        std::mem::take(&mut self.queue.wakeups)
    }

    /// The number of objects.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// The number of objects in each state of the queue.
    pub fn depths(&self) -> Depths {
        self.queue.depths()
    }

    /// The number of objects that wait for a time.
    pub fn delayed(&self) -> usize {
        self.queue.delayed()
    }

    /// The number of objects with each summary of their conditions.
    pub fn summaries(&self) -> &HashMap<ConditionSummary, usize> {
        &self.summaries
    }

    /// The number of objects that a drift check contradicted and that are not looked at yet.
    pub fn drift_candidates(&self) -> usize {
        self.drift_candidates
    }

    /// Lets every object be decided again that is blocked on `cause`, in order.
    pub fn unblock(&mut self, cause: &Cause) {
        self.queue.unblock(cause, usize::MAX);
    }
}
