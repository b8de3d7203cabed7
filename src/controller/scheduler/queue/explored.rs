//! The place of an object in the queue, for the tests in `explore`.

use super::{Queue, State, Wait};
use crate::controller::keys::{Cause, GroupAtService, ObjectKey};
use crate::decide::Priority;

/// The place of an object. Waits that end without an event count as [`Place::Ready`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Place {
    /// Not in the queue.
    #[default]
    Idle,
    /// Waiting for a worker, a delay, a permit, an account, a breaker or a place in its app.
    Ready,
    /// Being processed by a worker.
    Active,
    /// Being processed by a worker. The object has changed since the worker took it, so it must be processed again.
    Dirty,
    BlockedOnOwner,
}

impl Queue {
    pub fn place(&self, key: &ObjectKey) -> Place {
        match self.entries.get(key).map(|entry| &entry.state) {
            None => Place::Idle,
            Some(State::Active { dirty: None, .. }) => Place::Active,
            Some(State::Active { .. }) => Place::Dirty,
            Some(State::Waiting { on: Wait::Cause(Cause::Owner(_)), .. }) => Place::BlockedOnOwner,
            Some(State::Ready { .. } | State::Delayed { .. } | State::Waiting { .. }) => Place::Ready,
        }
    }

    /// Moves an object to `place`. The object must not be in the queue yet, and no other object may be ready.
    pub fn put(&mut self, key: &ObjectKey, place: Place, group: Option<&std::sync::Arc<GroupAtService>>) {
        let priority = Priority::Change;
        match (place, group) {
            (Place::Idle, _) => {}
            (Place::BlockedOnOwner, Some(group)) => self.block(key, priority, Cause::Owner(group.clone())),
            (Place::Ready | Place::BlockedOnOwner, _) => self.wake(key, priority),
            (Place::Active | Place::Dirty, _) => {
                self.wake(key, priority);
                self.pop();
                if place == Place::Dirty {
                    self.wake(key, priority);
                }
            }
        }
    }
}
