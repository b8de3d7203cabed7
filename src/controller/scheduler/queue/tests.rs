//! Tests of the queue alone: order, positions, deadlines, and a property test against a model.

mod order;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::controller::keys::AccountKey;
use crate::live::Operation;

const PRIORITIES: [Priority; 3] = [Priority::Resync, Priority::Retry, Priority::Change];

fn key(number: u32) -> ObjectKey {
    in_namespace("ns", number)
}

fn in_namespace(namespace: &str, number: u32) -> ObjectKey {
    ObjectKey::new(namespace, &format!("{number:05}"))
}

fn budget(number: u8) -> BudgetKey {
    BudgetKey { account: AccountKey::Operator, operation: Operation::ALL[usize::from(number)] }
}

fn cause(number: u8) -> Cause {
    Cause::Account(AccountKey::LiveAccount(ObjectKey::new("ns", &number.to_string())))
}

fn drain(queue: &mut Queue) -> Vec<ObjectKey> {
    std::iter::from_fn(|| queue.pop().map(|(key, _)| key)).collect()
}

/// Queues a new object, gives it to a worker and ends the step with `requeue`.
fn send_to(queue: &mut Queue, key: &ObjectKey, priority: Priority, requeue: &Requeue) {
    queue.add(key, priority);
    while let Some((popped, served)) = queue.pop() {
        assert_eq!((&popped, served), (key, priority));
        queue.finish(key, priority, requeue, Instant::now());
    }
}

#[test]
fn delayed_objects_return_in_order_behind_waiting_ones() {
    let (mut queue, start) = (Queue::default(), Instant::now());
    for (number, seconds) in [(0, 300), (1, 30), (2, 299), (3, 1)] {
        queue.add(&key(number), Priority::Retry);
        queue.pop();
        queue.finish(&key(number), Priority::Retry, &Requeue::After(Duration::from_secs(seconds)), start);
    }
    assert_eq!(queue.next_deadline(), Some(start + Duration::from_secs(1)));
    queue.expire(start);
    queue.add(&key(9), Priority::Retry);
    assert_eq!(queue.delayed(), 4);
    queue.expire(start + Duration::from_secs(300));
    assert_eq!(drain(&mut queue), [9, 3, 1, 2, 0].map(key));
}

#[test]
fn change_ends_a_delay_and_a_block_but_a_retry_does_not() {
    for requeue in [Requeue::After(Duration::from_secs(60)), Requeue::blocked(cause(0))] {
        let mut queue = Queue::default();
        send_to(&mut queue, &key(0), Priority::Retry, &requeue);
        queue.add(&key(0), Priority::Retry);
        assert_eq!(queue.pop(), None);
        queue.wake(&key(0), Priority::Retry);
        assert_eq!(queue.pop(), Some((key(0), Priority::Retry)));
        queue.finish(&key(0), Priority::Retry, &requeue, Instant::now());
        queue.add(&key(0), Priority::Change);
        assert_eq!(queue.pop(), Some((key(0), Priority::Change)));
        assert_eq!((queue.next_deadline(), queue.blocked(&cause(0))), (None, 0));
    }
}

#[test]
fn redecided_object_keeps_its_position_for_the_same_wait() {
    for requeue in [Requeue::Permit(budget(0)), Requeue::blocked(cause(0))] {
        let mut queue = Queue::default();
        for number in 0..3 {
            send_to(&mut queue, &key(number), Priority::Retry, &requeue);
        }
        for number in 0..3 {
            queue.wake(&key(number), Priority::Retry);
        }
        for key in drain(&mut queue).iter().rev() {
            queue.finish(key, Priority::Retry, &requeue, Instant::now());
        }
        let served: Vec<ObjectKey> = match &requeue {
            Requeue::Permit(budget) => std::iter::from_fn(|| queue.grant(budget)).map(|(key, _)| key).collect(),
            _ => queue.unblock(&cause(0), 3),
        };
        assert_eq!(served, [0, 1, 2].map(key));
    }
}

#[test]
fn change_during_a_step_keeps_the_position_of_the_step() {
    let (mut queue, permit) = (Queue::default(), Requeue::Permit(budget(0)));
    queue.add(&key(1), Priority::Change);
    queue.pop();
    queue.add(&key(1), Priority::Change);
    queue.finish(&key(1), Priority::Change, &permit, Instant::now());
    let redecided = queue.pop();
    send_to(&mut queue, &key(2), Priority::Change, &permit);
    assert_eq!(redecided, Some((key(1), Priority::Change)));
    queue.finish(&key(1), Priority::Change, &permit, Instant::now());
    assert_eq!(queue.grant(&budget(0)), Some((key(1), Priority::Change)));
}

#[test]
fn redecided_namespace_keeps_its_turn() {
    let mut queue = Queue::default();
    let permit = Requeue::Permit(budget(0));
    send_to(&mut queue, &in_namespace("a", 0), Priority::Retry, &permit);
    for number in 0..3 {
        send_to(&mut queue, &in_namespace("b", number), Priority::Retry, &permit);
    }
    queue.wake(&in_namespace("a", 0), Priority::Retry);
    queue.pop();
    queue.finish(&in_namespace("a", 0), Priority::Retry, &permit, Instant::now());
    assert_eq!(queue.grant(&budget(0)), Some((in_namespace("a", 0), Priority::Retry)));
}

#[test]
fn another_wait_or_priority_starts_at_the_back() {
    for (wait, priority) in [(1, Priority::Retry), (0, Priority::Change)] {
        let mut queue = Queue::default();
        send_to(&mut queue, &key(0), Priority::Retry, &Requeue::Permit(budget(0)));
        send_to(&mut queue, &key(1), priority, &Requeue::Permit(budget(wait)));
        queue.add(&key(0), Priority::Retry);
        queue.pop();
        queue.finish(&key(0), priority, &Requeue::Permit(budget(wait)), Instant::now());
        assert_eq!(queue.grant(&budget(wait)), Some((key(1), priority)));
        assert_eq!(queue.grant(&budget(wait)), Some((key(0), priority)));
    }
}

#[test]
fn unfinished_change_keeps_its_priority() {
    for requeue in [Requeue::Permit(budget(0)), Requeue::After(Duration::ZERO), Requeue::blocked(cause(0))] {
        let mut queue = Queue::default();
        queue.add(&key(0), Priority::Change);
        queue.pop();
        queue.wake(&key(0), Priority::Retry);
        queue.finish(&key(0), Priority::Change, &requeue, Instant::now());
        assert_eq!(queue.pop(), Some((key(0), Priority::Change)));
    }
    let mut queue = Queue::default();
    queue.add(&key(0), Priority::Change);
    queue.pop();
    queue.wake(&key(0), Priority::Retry);
    queue.finish(&key(0), Priority::Change, &Requeue::Done, Instant::now());
    assert_eq!(queue.pop(), Some((key(0), Priority::Retry)), "only the priority of the wake is left");
}

#[test]
fn deadline_ends_a_block() {
    let (mut queue, start) = (Queue::default(), Instant::now());
    let deadline = start + Duration::from_secs(60);
    let blocked = Requeue::Blocked { on: cause(0), deadline: Some(deadline) };
    send_to(&mut queue, &key(0), Priority::Retry, &blocked);
    send_to(&mut queue, &key(1), Priority::Retry, &blocked);
    assert_eq!(queue.unblock(&cause(0), 1), [key(0)]);
    assert_eq!(queue.next_deadline(), Some(deadline), "the deadline of the other object");
    queue.expire(deadline);
    assert_eq!(drain(&mut queue), [0, 1].map(key));
    assert_eq!((queue.next_deadline(), queue.blocked(&cause(0))), (None, 0));
    assert_eq!(queue.blocked_before(&key(1)), Some(&cause(0)));
}

#[test]
fn forgotten_object_leaves_no_entry() {
    for requeue in [
        Requeue::Permit(budget(0)),
        Requeue::After(Duration::from_secs(9)),
        Requeue::Blocked { on: cause(0), deadline: Some(Instant::now()) },
    ] {
        let mut queue = Queue::default();
        send_to(&mut queue, &key(0), Priority::Retry, &requeue);
        queue.forget(&key(0));
        let empty = Depths { ready: [0; 3], delayed: 0, blocked: 0, permits: vec![], active: 0 };
        assert_eq!((queue.depths(), queue.next_deadline()), (empty, None));
        assert!(queue.entries.is_empty() && queue.waiting.is_empty());
    }
}

#[test]
fn every_object_is_counted_in_one_state() {
    let mut queue = Queue::default();
    send_to(&mut queue, &key(1), Priority::Retry, &Requeue::Permit(budget(1)));
    send_to(&mut queue, &key(2), Priority::Change, &Requeue::After(Duration::from_secs(1)));
    send_to(&mut queue, &key(6), Priority::Change, &Requeue::blocked(cause(0)));
    queue.add(&key(3), Priority::Resync);
    queue.pop();
    queue.add(&key(4), Priority::Change);
    queue.add(&key(5), Priority::Resync);
    let depths = queue.depths();
    let permits = vec![(budget(1), 1)];
    assert_eq!(depths, Depths { ready: [1, 0, 1], delayed: 1, blocked: 1, permits, active: 1 });
}

#[derive(Debug, Clone)]
enum Step {
    Add(u32, Priority),
    Wake(u32, Priority),
    Pop,
    Grant(u8),
    Finish(u32, Priority, Requeue),
    Unblock(u8, usize),
    Forget(u32),
    Pass(u64),
    Recheck(u8),
}

/// The key of one of the eight objects, which are in three namespaces.
fn object(number: u32) -> ObjectKey {
    in_namespace(["a", "b", "c"][number as usize % 3], number)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = 0..8_u32;
    let priority = prop::sample::select(PRIORITIES.to_vec());
    let start = Instant::now();
    let requeue = prop_oneof![
        Just(Requeue::Done),
        (0..20_u64).prop_map(|seconds| Requeue::After(Duration::from_secs(seconds))),
        (0..2_u8).prop_map(|number| Requeue::Permit(budget(number))),
        (0..2_u8, prop::option::of(0..20_u64)).prop_map(move |(number, deadline)| {
            let deadline = deadline.map(|seconds| start + Duration::from_secs(seconds));
            Requeue::Blocked { on: cause(number), deadline }
        }),
    ];
    let step = prop_oneof![
        3 => (number.clone(), priority.clone()).prop_map(|(number, priority)| Step::Add(number, priority)),
        1 => (number.clone(), priority.clone()).prop_map(|(number, priority)| Step::Wake(number, priority)),
        4 => Just(Step::Pop),
        1 => (0..2_u8).prop_map(Step::Grant),
        4 => (number.clone(), priority, requeue)
            .prop_map(|(number, priority, requeue)| Step::Finish(number, priority, requeue)),
        1 => (0..2_u8, 0..4_usize).prop_map(|(number, count)| Step::Unblock(number, count)),
        1 => number.prop_map(Step::Forget),
        1 => (0..10_u64).prop_map(Step::Pass),
        1 => (0..2_u8).prop_map(Step::Recheck),
    ];
    prop::collection::vec(step, 0..150)
}

/// A simple model of the queue.
#[derive(Default)]
struct Model {
    entries: BTreeMap<ObjectKey, ModelState>,
}

#[derive(Debug, Clone, PartialEq)]
enum ModelState {
    Ready,
    Active { is_dirty: bool },
    Until(Instant),
    Permit(BudgetKey),
    Blocked(Cause, Option<Instant>),
}

impl Model {
    fn add(&mut self, key: &ObjectKey, is_urgent: bool) {
        let state = self.entries.entry(key.clone()).or_insert(ModelState::Ready);
        match state {
            ModelState::Active { is_dirty } => *is_dirty |= is_urgent,
            ModelState::Until(_) | ModelState::Blocked(..) if !is_urgent => {}
            _ => *state = ModelState::Ready,
        }
    }

    fn finish(&mut self, key: &ObjectKey, requeue: &Requeue, now: Instant) {
        let is_dirty = self.entries.get(key) == Some(&ModelState::Active { is_dirty: true });
        let state = match requeue {
            _ if is_dirty => ModelState::Ready,
            Requeue::Done => {
                self.entries.remove(key);
                return;
            }
            Requeue::After(delay) => ModelState::Until(now + *delay),
            Requeue::Permit(budget) => ModelState::Permit(budget.clone()),
            Requeue::Blocked { on, deadline } => ModelState::Blocked(on.clone(), *deadline),
        };
        self.entries.insert(key.clone(), state);
    }

    fn take(&mut self, popped: Option<&(ObjectKey, Priority)>, from: &ModelState) -> Result<(), TestCaseError> {
        let Some((key, _)) = popped else {
            let left = self.entries.values().any(|state| state == from);
            prop_assert!(!left, "an object that waits for {:?} was not served", from);
            return Ok(());
        };
        prop_assert_eq!(self.entries.get(key), Some(from), "{} was served", key);
        self.entries.insert(key.clone(), ModelState::Active { is_dirty: false });
        Ok(())
    }

    fn release(&mut self, is_due: impl Fn(&ModelState) -> bool) {
        self.entries.values_mut().filter(|state| is_due(state)).for_each(|state| *state = ModelState::Ready);
    }

    fn is_active(&self, key: &ObjectKey) -> bool {
        matches!(self.entries.get(key), Some(ModelState::Active { .. }))
    }
}

fn state_of(state: &State) -> ModelState {
    match state {
        State::Ready { .. } => ModelState::Ready,
        State::Active { dirty, .. } => ModelState::Active { is_dirty: dirty.is_some() },
        State::Delayed { until } => ModelState::Until(*until),
        State::Waiting { on: Wait::Permit(budget), .. } => ModelState::Permit(budget.clone()),
        State::Waiting { on: Wait::Cause(cause), deadline, .. } => ModelState::Blocked(cause.clone(), *deadline),
    }
}

fn apply(queue: &mut Queue, model: &mut Model, step: Step, now: &mut Instant) -> Result<(), TestCaseError> {
    match step {
        Step::Add(number, priority) => {
            queue.add(&object(number), priority);
            model.add(&object(number), priority == Priority::Change);
        }
        Step::Wake(number, priority) => {
            queue.wake(&object(number), priority);
            model.add(&object(number), true);
        }
        Step::Pop => model.take(queue.pop().as_ref(), &ModelState::Ready)?,
        Step::Grant(number) => {
            model.take(queue.grant(&budget(number)).as_ref(), &ModelState::Permit(budget(number)))?;
        }
        Step::Finish(number, priority, requeue) => {
            if model.is_active(&object(number)) {
                queue.finish(&object(number), priority, &requeue, *now);
                model.finish(&object(number), &requeue, *now);
            }
        }
        Step::Unblock(number, count) => {
            let blocked = queue.blocked(&cause(number));
            let released = queue.unblock(&cause(number), count);
            prop_assert_eq!(released.len(), blocked.min(count));
            for key in released {
                prop_assert!(matches!(&model.entries[&key], ModelState::Blocked(on, _) if *on == cause(number)));
                model.entries.insert(key, ModelState::Ready);
            }
        }
        Step::Forget(number) => {
            queue.forget(&object(number));
            if !model.is_active(&object(number)) {
                model.entries.remove(&object(number));
            }
        }
        Step::Pass(seconds) => {
            *now += Duration::from_secs(seconds);
            queue.expire(*now);
            model.release(|state| match state {
                ModelState::Until(until) | ModelState::Blocked(_, Some(until)) => until <= now,
                _ => false,
            });
        }
        Step::Recheck(number) => {
            queue.recheck(|of| *of == budget(number));
            model.release(|state| *state == ModelState::Permit(budget(number)));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn queue_agrees_with_the_model(steps in steps()) {
        let (mut queue, mut model, mut now) = (Queue::default(), Model::default(), Instant::now());
        for step in steps {
            apply(&mut queue, &mut model, step, &mut now)?;
            let states: BTreeMap<ObjectKey, ModelState> =
                queue.entries.iter().map(|(key, entry)| (key.clone(), state_of(&entry.state))).collect();
            prop_assert_eq!(&states, &model.entries);
            let waiting: usize = queue.waiting.values().map(FairQueue::len).sum();
            prop_assert!(queue.waiting.values().all(|objects| !objects.is_empty()), "a wait without objects is kept");
            let in_states = states.values().filter(|state| {
                matches!(state, ModelState::Permit(_) | ModelState::Blocked(..))
            }).count();
            prop_assert_eq!(waiting, in_states);
        }
    }
}
