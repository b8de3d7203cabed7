use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const LANES: [Lane; 3] = [Lane::Sweep, Lane::Retry, Lane::Change];

type Small = Queue<u32, u8>;

fn drain(queue: &mut Small) -> Vec<u32> {
    std::iter::from_fn(|| queue.pop().map(|(key, _)| key)).collect()
}

/// Sends a new key through a worker to wait for a permit of `slot`.
fn make_ready(queue: &mut Small, key: u32, lane: Lane, slot: u8) {
    queue.add(&key, lane);
    assert_eq!(queue.pop(), Some((key, lane)));
    queue.finish(&key, lane, Next::Ready(slot), Instant::now());
}

#[test]
fn first_in_first_out_inside_a_lane() {
    let mut queue = Small::default();
    for key in 0..100 {
        queue.add(&key, LANES[key as usize % 3]);
    }
    // Who is told of once more keeps its place.
    for key in (0..100).rev() {
        queue.add(&key, LANES[key as usize % 3]);
    }
    assert_eq!(queue.waiting(), 100);
    let mut served: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for key in drain(&mut queue) {
        served.entry(key % 3).or_default().push(key);
    }
    assert!(served.values().all(|keys| keys.is_sorted()), "{served:?}");
    assert_eq!(served.values().map(Vec::len).sum::<usize>(), 100);
}

#[test]
fn a_users_change_does_not_wait_behind_twenty_thousand_retries() {
    let mut queue = Small::default();
    for key in 0..20_000 {
        queue.add(&key, Lane::Retry);
    }
    queue.add(&20_000, Lane::Change);
    assert_eq!(queue.pop(), Some((20_000, Lane::Change)));
    // One that waits with them comes forward with its change.
    queue.add(&19_999, Lane::Change);
    assert_eq!(queue.pop(), Some((19_999, Lane::Change)));
    // At any moment: at most the share of the lower lanes is served before it.
    for key in 30_000..30_100 {
        queue.add(&key, Lane::Change);
        let before = std::iter::from_fn(|| queue.pop()).take_while(|(popped, _)| *popped != key).count();
        assert!(before <= 1, "{before}");
    }
}

/// What is served of each lane in 1000 turns, when lanes that are `pressed` never run dry.
fn served_under_pressure(pressed: &[Lane], permits: bool) -> [usize; 3] {
    let mut queue = Small::default();
    let (mut served, mut key) = ([0; 3], 0);
    for _ in 0..1000 {
        for lane in pressed {
            if permits {
                queue.add(&key, *lane);
                queue.pop();
                queue.finish(&key, *lane, Next::Ready(0), Instant::now());
            } else {
                queue.add(&key, *lane);
            }
            key += 1;
        }
        let popped = if permits { queue.pop_ready(0) } else { queue.pop() };
        served[popped.unwrap().1 as usize] += 1;
    }
    served
}

#[test]
fn a_small_share_keeps_every_lower_lane_alive() {
    for permits in [false, true] {
        assert_eq!(served_under_pressure(&LANES, permits), [50, 50, 900]);
        assert_eq!(served_under_pressure(&[Lane::Sweep, Lane::Change], permits), [100, 0, 900]);
        assert_eq!(served_under_pressure(&[Lane::Retry, Lane::Change], permits), [0, 100, 900]);
        assert_eq!(served_under_pressure(&[Lane::Sweep, Lane::Retry], permits), [50, 950, 0]);
    }
}

#[test]
fn of_a_slot_that_is_closed_nobody_waits_and_nothing_is_kept() {
    let mut queue = Small::default();
    for (key, slot) in [(1, 7), (2, 8), (3, 7)] {
        make_ready(&mut queue, key, Lane::Change, slot);
    }
    queue.close(|slot| slot == 7);
    assert_eq!(queue.depths().ready, [(8, 1)]);
    assert_eq!(BTreeSet::from_iter(drain(&mut queue)), BTreeSet::from([1, 3]));
    for key in [1, 3] {
        queue.finish(&key, Lane::Change, Next::Ready(9), Instant::now());
    }
    assert_eq!((queue.ready(9), queue.ready(7)), (2, 0));
}

#[test]
fn delayed_ones_come_back_in_the_order_of_their_moments_and_behind_those_that_wait() {
    let (mut queue, start) = (Small::default(), Instant::now());
    for (key, seconds) in [(0, 300), (1, 30), (2, 299), (3, 1)] {
        queue.add(&key, Lane::Retry);
        queue.pop();
        queue.finish(&key, Lane::Retry, Next::After(Duration::from_secs(seconds)), start);
    }
    assert_eq!(queue.next_release(), Some(start + Duration::from_secs(1)));
    assert_eq!(queue.release(start), 0);
    queue.add(&9, Lane::Retry);
    assert_eq!(queue.release(start + Duration::from_secs(300)), 4);
    assert_eq!(drain(&mut queue), [9, 3, 1, 2, 0]);
}

#[test]
fn a_change_brings_a_delayed_one_forward_and_a_retry_does_not() {
    let (mut queue, start) = (Small::default(), Instant::now());
    queue.add(&0, Lane::Retry);
    queue.pop();
    queue.finish(&0, Lane::Retry, Next::After(Duration::from_secs(60)), start);
    queue.add(&0, Lane::Retry);
    assert_eq!(queue.pop(), None);
    queue.wake(&0, Lane::Retry);
    assert_eq!(queue.pop(), Some((0, Lane::Retry)));
    queue.finish(&0, Lane::Retry, Next::After(Duration::from_secs(60)), start);
    queue.add(&0, Lane::Change);
    assert_eq!(queue.pop(), Some((0, Lane::Change)));
    assert_eq!(queue.next_release(), None);
}

#[test]
fn decided_again_to_the_same_end_a_key_keeps_its_place() {
    let mut queue = Small::default();
    for key in 0..3 {
        make_ready(&mut queue, key, Lane::Retry, 0);
    }
    queue.recheck(|_| true);
    assert_eq!(queue.ready(0), 0);
    let again: Vec<u32> = drain(&mut queue);
    for key in again.iter().rev() {
        queue.finish(key, Lane::Retry, Next::Ready(0), Instant::now());
    }
    let order: Vec<u32> = std::iter::from_fn(|| queue.pop_ready(0).map(|(key, _)| key)).collect();
    assert_eq!(order, [0, 1, 2]);
}

#[test]
fn to_another_end_it_goes_to_the_back() {
    for (slot, lane) in [(1, Lane::Retry), (0, Lane::Change)] {
        let mut queue = Small::default();
        make_ready(&mut queue, 0, Lane::Retry, 0);
        make_ready(&mut queue, 1, lane, slot);
        queue.add(&0, Lane::Retry);
        queue.pop();
        queue.finish(&0, lane, Next::Ready(slot), Instant::now());
        assert_eq!(queue.pop_ready(slot), Some((1, lane)));
        assert_eq!(queue.pop_ready(slot), Some((0, lane)));
    }
}

#[test]
fn a_change_under_way_does_not_fall_behind_because_something_lesser_woke_it() {
    for next in [Next::Ready(0), Next::After(Duration::ZERO)] {
        let mut queue = Small::default();
        queue.add(&0, Lane::Change);
        queue.pop();
        queue.wake(&0, Lane::Retry);
        queue.finish(&0, Lane::Change, next, Instant::now());
        assert_eq!(queue.pop(), Some((0, Lane::Change)));
    }
    // With its work done, only what woke it is left.
    let mut queue = Small::default();
    queue.add(&0, Lane::Change);
    queue.pop();
    queue.wake(&0, Lane::Retry);
    queue.finish(&0, Lane::Change, Next::Done, Instant::now());
    assert_eq!(queue.pop(), Some((0, Lane::Retry)));
}

#[derive(Debug, Clone)]
enum Step {
    Add(u32, Lane),
    Wake(u32, Lane),
    Pop,
    PopReady(u8),
    Finish(u32, Lane, Next<u8>),
    Pass(u64),
    Recheck(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..6_u32;
    let lane = prop::sample::select(LANES.to_vec());
    let next = prop_oneof![
        Just(Next::Done),
        (0..20_u64).prop_map(|seconds| Next::After(Duration::from_secs(seconds))),
        (0..2_u8).prop_map(Next::Ready),
    ];
    let step = prop_oneof![
        3 => (key.clone(), lane.clone()).prop_map(|(key, lane)| Step::Add(key, lane)),
        1 => (key.clone(), lane.clone()).prop_map(|(key, lane)| Step::Wake(key, lane)),
        3 => Just(Step::Pop),
        1 => (0..2_u8).prop_map(Step::PopReady),
        3 => (key, lane, next).prop_map(|(key, lane, next)| Step::Finish(key, lane, next)),
        1 => (0..10_u64).prop_map(Step::Pass),
        1 => (0..3_u8).prop_map(Step::Recheck),
    ];
    prop::collection::vec(step, 0..120)
}

/// What must hold of a queue, whatever is done with it.
#[derive(Default)]
struct Watcher {
    active: BTreeSet<u32>,
    /// The lowest lane in which a key may be served next; for an active one, what it was woken for.
    lanes: BTreeMap<u32, Lane>,
    /// Keys with urgent work that no worker has begun since.
    urgent: BTreeSet<u32>,
}

impl Watcher {
    fn put(&mut self, key: u32, lane: Lane, urgent: bool, delayed: bool) {
        if (self.active.contains(&key) || delayed) && !urgent {
            return;
        }
        let known = self.lanes.entry(key).or_insert(lane);
        *known = (*known).max(lane);
        if urgent {
            self.urgent.insert(key);
        }
    }

    fn popped(&mut self, popped: Option<(u32, Lane)>) -> Result<(), TestCaseError> {
        let Some((key, lane)) = popped else { return Ok(()) };
        prop_assert!(self.active.insert(key), "{} is active twice", key);
        prop_assert_eq!(self.lanes.remove(&key), Some(lane), "the lane of {}", key);
        self.urgent.remove(&key);
        Ok(())
    }

    fn finished(&mut self, key: u32, lane: Lane, next: Next<u8>) {
        self.active.remove(&key);
        if next != Next::Done {
            let known = self.lanes.entry(key).or_insert(lane);
            *known = (*known).max(lane);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_key_is_active_twice_no_wake_up_is_lost_and_no_lane_falls(steps in steps()) {
        let (mut queue, mut watcher, mut now) = (Small::default(), Watcher::default(), Instant::now());
        for step in steps {
            match step {
                Step::Add(key, lane) => {
                    let delayed = queue.is_delayed(key);
                    queue.add(&key, lane);
                    watcher.put(key, lane, lane == Lane::Change, delayed);
                }
                Step::Wake(key, lane) => {
                    queue.wake(&key, lane);
                    watcher.put(key, lane, true, false);
                }
                Step::Pop => watcher.popped(queue.pop())?,
                Step::PopReady(slot) => watcher.popped(queue.pop_ready(slot))?,
                Step::Finish(key, lane, next) => {
                    if watcher.active.contains(&key) {
                        queue.finish(&key, lane, next, now);
                        watcher.finished(key, lane, next);
                    }
                }
                Step::Pass(seconds) => {
                    now += Duration::from_secs(seconds);
                    queue.release(now);
                    prop_assert!(queue.next_release().is_none_or(|at| at > now));
                }
                Step::Recheck(slot) => queue.recheck(|of| of == slot),
            }
            prop_assert!((0..6).all(|key| queue.contains(&key) || !watcher.urgent.contains(&key)));
        }
        // Everything ends: whoever had work is served, and nothing is left.
        for key in std::mem::take(&mut watcher.active) {
            queue.finish(&key, Lane::Sweep, Next::Done, now);
        }
        queue.release(now + Duration::from_secs(3600));
        while let Some((key, lane)) = queue.pop().or_else(|| queue.pop_ready(0)).or_else(|| queue.pop_ready(1)) {
            watcher.popped(Some((key, lane)))?;
            queue.finish(&key, lane, Next::Done, now);
            watcher.finished(key, lane, Next::Done);
        }
        prop_assert!(watcher.urgent.is_empty() && watcher.lanes.is_empty(), "left: {:?}", watcher.lanes);
        prop_assert!((0..6).all(|key| !queue.contains(&key)));
    }
}

impl Small {
    fn is_delayed(&self, key: u32) -> bool {
        self.entries.get(&key).is_some_and(|entry| matches!(entry.place, Place::Delayed { .. }))
    }
}

#[test]
fn every_object_is_counted_in_one_place() {
    let mut queue = Small::default();
    assert_eq!(queue.depths(), Depths { waiting: [0; 3], delayed: 0, ready: vec![], active: 0 });
    make_ready(&mut queue, 1, Lane::Retry, 7);
    queue.add(&2, Lane::Change);
    queue.pop();
    queue.finish(&2, Lane::Change, Next::After(Duration::from_secs(1)), Instant::now());
    queue.add(&3, Lane::Sweep);
    queue.pop();
    queue.add(&4, Lane::Change);
    queue.add(&5, Lane::Sweep);
    let depths = queue.depths();
    assert_eq!(depths, Depths { waiting: [1, 0, 1], delayed: 1, ready: vec![(7, 1)], active: 1 });
    queue.finish(&3, Lane::Sweep, Next::Done, Instant::now());
    assert_eq!(queue.pop_ready(7), Some((1, Lane::Retry)));
    assert_eq!(queue.depths(), Depths { ready: vec![(7, 0)], ..depths });
}
