//! Builds a scheduler from the states of two objects, and reads these states back. The tests in `explore` use it.

use std::time::{Duration, Instant};

pub use super::queue::explored::Place;
use super::record::Record;
use super::{AccountState, ObjectState, RecordedState, Scheduler};
use crate::controller::keys::{AccountKey, AppKey, ObjectKey};
use crate::decide::Priority;

/// The state that a scheduler keeps for one object.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The record; `None` if the watch has not delivered the object, or has delivered its deletion.
    pub record: Option<Record>,
    pub place: Place,
    /// Whether a pass was interrupted.
    pub has_pass: bool,
    /// The recorded state that a drift check contradicted; `None` if there is no contradiction.
    pub drift: Option<RecordedState>,
    /// The priority of the work that remained after the last write; `None` if no work remained.
    pub left: Option<Priority>,
}

impl Scheduler {
    /// Creates a scheduler that knows these objects of the app `app_id`, which has no groups. If `has_just_started` is
    /// true, calls of an earlier process may still arrive.
    pub fn restore(
        objects: &[(ObjectKey, Known)],
        accounts: Vec<(AccountKey, AccountState)>,
        app_id: &str,
        now: Instant,
        has_just_started: bool,
    ) -> Self {
        let started = if has_just_started { now } else { now - Duration::from_secs(3600) };
        let mut scheduler = Self::new(10, started);
        scheduler.accounts = accounts.into_iter().collect();
        for (key, Known { record, drift, has_pass, left, .. }) in objects {
            let Some(record) = record else { continue };
            let pass = has_pass.then(Box::default);
            let mut record = record.clone();
            scheduler.enter_app(key, &mut record);
            let group = record.group.clone();
            *scheduler.summaries.entry(record.summary).or_default() += 1;
            scheduler.drift_candidates += usize::from(drift.is_some());
            let state = ObjectState { drift: *drift, left: *left, pass, ..ObjectState::new(record) };
            scheduler.objects.insert(key.clone(), Box::new(state));
            scheduler.enter_group(key, group.as_ref());
        }
        scheduler.queue = super::Queue::default();
        let is_held = |place| matches!(place, Place::Active | Place::Dirty);
        for wanted in [true, false] {
            for (key, Known { record, place, .. }) in objects.iter().filter(|(_, known)| is_held(known.place) == wanted)
            {
                scheduler.queue.put(key, *place, record.as_ref().and_then(|record| record.group.as_ref()));
            }
        }
        let accounts: Vec<AccountKey> = scheduler.accounts.keys().cloned().collect();
        for account in accounts {
            scheduler.usage_known(&AppKey::new(&account, app_id), 0, None);
        }
        scheduler
    }

    /// The state that the scheduler keeps for an object.
    pub fn known(&self, key: &ObjectKey) -> Known {
        let state = self.objects.get(key);
        Known {
            record: state.map(|state| state.record.clone()),
            place: self.queue.place(key),
            has_pass: state.is_some_and(|state| state.pass.is_some()),
            drift: state.and_then(|state| state.drift),
            left: state.and_then(|state| state.left),
        }
    }

    /// Records that the operator has written this version of the object.
    pub fn set_written(&mut self, key: &ObjectKey, version: u64) {
        if let Some(state) = self.objects.get_mut(key) {
            (state.version, state.is_written) = (version, true);
        }
    }

    /// Records that a worker took the copy of the object. Returns whether a drift check contradicts the object's
    /// status.
    pub fn copy_taken(&mut self, key: &ObjectKey) -> bool {
        self.take_drift(key)
    }

    /// Records that the answer to a call for the group of this object was lost.
    pub fn answer_lost(&mut self, key: &ObjectKey, now: Instant) {
        if let Some(group) = self.record(key).and_then(|record| record.group.as_deref()).cloned() {
            self.fences.answer_lost(group, now);
        }
    }
}
