//! Data for the queue metrics: the number of objects in each state, and the age of the oldest waiting objects.

#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::time::Duration;

use super::{Entry, Queue, State, Wait};
use crate::controller::keys::{BudgetKey, ObjectKey};

/// The number of objects in each state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Depths {
    /// Objects that wait for a worker, for each priority from lowest to highest.
    pub ready: [usize; 3],
    /// Objects that wait for a delay to end.
    pub delayed: usize,
    /// Objects that are blocked on a cause.
    pub blocked: usize,
    /// Objects that wait for a permit, by budget.
    pub permits: Vec<(BudgetKey, usize)>,
    /// Objects that a worker is processing.
    pub active: usize,
}

/// A time in milliseconds. It is stored in 32 bits to save memory, because the state of each object contains such a
/// time. Ages are correct up to 49 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(NonZeroU32);

impl Moment {
    /// Creates a moment from the time elapsed since the process started.
    pub fn after(start: Duration) -> Self {
        // The cast may drop high bits, because ages are computed modulo 2^32.
        Self(NonZeroU32::new(start.as_millis() as u32).unwrap_or(NonZeroU32::MIN))
    }

    /// The time from this moment until `now`.
    pub fn until(self, now: Self) -> Duration {
        Duration::from_millis(now.0.get().wrapping_sub(self.0.get()).into())
    }
}

impl Default for Moment {
    fn default() -> Self {
        Self(NonZeroU32::MIN)
    }
}

impl Queue {
    /// The number of objects in each state.
    pub fn depths(&self) -> Depths {
        let (mut permits, mut blocked) = (Vec::new(), 0);
        for (wait, objects) in &self.waiting {
            match wait {
                Wait::Permit(budget) => permits.push((budget.clone(), objects.len())),
                Wait::Cause(_) => blocked += objects.len(),
            }
        }
        Depths { ready: self.ready.by_priority(), delayed: self.delayed, blocked, permits, active: self.active }
    }

    /// The age of the oldest object that waits for a worker or a permit, for each priority from lowest to highest.
    pub fn oldest_ages(&self) -> [Duration; 3] {
        let mut oldest = [Duration::ZERO; 3];
        for Entry { priority, since, state } in self.entries.values() {
            if matches!(state, State::Ready { .. } | State::Waiting { on: Wait::Permit(_), .. }) {
                let age = &mut oldest[*priority as usize];
                *age = since.until(self.now).max(*age);
            }
        }
        oldest
    }

    /// The moment from which the age of the object is counted. This is the current time if the object is delayed,
    /// blocked on a cause or not in the queue.
    pub(super) fn runnable_since(&self, key: &ObjectKey) -> Moment {
        match self.entries.get(key) {
            None => self.now,
            Some(Entry { state: State::Delayed { .. } | State::Waiting { on: Wait::Cause(_), .. }, .. }) => self.now,
            Some(Entry { since, .. }) => *since,
        }
    }

    /// Whether a worker is processing the object.
    pub fn is_active(&self, key: &ObjectKey) -> bool {
        self.entries.get(key).is_some_and(|entry| matches!(entry.state, State::Active { .. }))
    }
}
