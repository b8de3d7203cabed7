//! Tests of the ages of waiting objects.

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
