//! How many objects wait, and how long they have waited, for metrics.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{Entry, Queue, State, Wait};
use crate::controller::keys::{BudgetKey, ObjectKey};

/// The number of objects in each state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Depths {
    /// Objects that wait for a worker, by priority, lowest first.
    pub ready: [usize; 3],
    /// Objects that wait for a delay to end.
    pub delayed: usize,
    /// Objects that are blocked on a cause.
    pub blocked: usize,
    /// Objects that wait for a permit, by budget.
    pub permits: Vec<(BudgetKey, usize)>,
    /// Objects that a worker processes.
    pub active: usize,
}

/// A time in milliseconds, which takes little memory in the state of each object. It is correct for ages below 49 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(NonZeroU32);

impl Moment {
    /// The moment this long after the start of the process.
    pub fn after(start: Duration) -> Self {
        // Ages are computed modulo 2^32.
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
        let waiting = permits.iter().map(|(_, count)| count).sum::<usize>() + blocked;
        let active = self.entries.len().saturating_sub(self.ready.len() + self.delayed + waiting);
        Depths { ready: self.ready.by_priority(), delayed: self.delayed, blocked, permits, active }
    }

    /// The age of the object that has waited longest for a worker or a permit, by priority, lowest first.
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

    /// Since when only a missing worker or permit keeps the object from being processed.
    pub(super) fn runnable_since(&self, key: &ObjectKey) -> Moment {
        match self.entries.get(key) {
            None => self.now,
            Some(Entry { state: State::Delayed { .. } | State::Waiting { on: Wait::Cause(_), .. }, .. }) => self.now,
            Some(Entry { since, .. }) => *since,
        }
    }

    /// Whether a worker processes the object.
    pub fn is_active(&self, key: &ObjectKey) -> bool {
        self.entries.get(key).is_some_and(|entry| matches!(entry.state, State::Active { .. }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::controller::keys::{AccountKey, Requeue};
    use crate::decide::Priority;
    use crate::live::Operation;

    fn at(queue: &mut Queue, seconds: u64) {
        queue.now = Moment::after(Duration::from_secs(seconds));
    }

    fn ages(queue: &Queue) -> [u64; 3] {
        queue.oldest_ages().map(|age| age.as_secs())
    }

    #[test]
    fn age_counts_the_waits_for_a_worker_and_a_permit() {
        let (mut queue, key, now) = (Queue::default(), ObjectKey::new("ns", "a"), Instant::now());
        let permit = Requeue::Permit(BudgetKey { account: AccountKey::Operator, operation: Operation::Create });
        at(&mut queue, 10);
        queue.add(&key, Priority::Change);
        at(&mut queue, 13);
        assert_eq!(ages(&queue), [0, 0, 3]);
        queue.pop();
        assert_eq!(ages(&queue), [0, 0, 0], "a worker processes it");
        queue.finish(&key, Priority::Change, &permit, now);
        at(&mut queue, 20);
        assert_eq!(ages(&queue), [0, 0, 10], "the wait for a worker counts too");
        queue.add(&ObjectKey::new("ns", "b"), Priority::Resync);
        at(&mut queue, 25);
        assert_eq!(ages(&queue), [5, 0, 15]);
    }

    #[test]
    fn age_starts_again_after_a_delay_and_after_other_work() {
        let (mut queue, key, now) = (Queue::default(), ObjectKey::new("ns", "a"), Instant::now());
        at(&mut queue, 10);
        queue.add(&key, Priority::Retry);
        queue.pop();
        queue.finish(&key, Priority::Retry, &Requeue::After(Duration::from_secs(60)), now);
        at(&mut queue, 70);
        assert_eq!(ages(&queue), [0, 0, 0], "a delay is no wait");
        queue.expire(now + Duration::from_secs(60));
        at(&mut queue, 72);
        assert_eq!(ages(&queue), [0, 2, 0]);
        queue.pop();
        queue.add(&key, Priority::Change);
        at(&mut queue, 80);
        queue.finish(&key, Priority::Retry, &Requeue::Done, now);
        at(&mut queue, 81);
        assert_eq!(ages(&queue), [0, 0, 1], "the first work is done");
    }

    #[test]
    fn moment_wraps_without_a_wrong_age() {
        let before = Moment::after(Duration::from_millis(u64::from(u32::MAX) - 500));
        assert_eq!(before.until(Moment::after(Duration::from_millis(u64::from(u32::MAX) + 501))).as_secs(), 1);
        assert_eq!(size_of::<Option<Moment>>(), 4);
    }
}
