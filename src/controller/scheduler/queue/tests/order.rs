//! Tests of the order in which objects are processed, and of the number of objects ahead of an object.

use super::*;

#[test]
fn objects_of_one_priority_are_served_in_order() {
    let mut queue = Queue::default();
    for number in 0..100 {
        queue.add(&key(number), PRIORITIES[number as usize % 3]);
    }
    // A second event does not change the position.
    for number in (0..100).rev() {
        queue.add(&key(number), PRIORITIES[number as usize % 3]);
    }
    let mut served: BTreeMap<Priority, Vec<ObjectKey>> = BTreeMap::new();
    while let Some((key, priority)) = queue.pop() {
        served.entry(priority).or_default().push(key);
    }
    assert!(served.values().all(|keys| keys.is_sorted()), "{served:?}");
    assert_eq!(served.values().map(Vec::len).sum::<usize>(), 100);
}

#[test]
fn change_overtakes_twenty_thousand_retries() {
    let mut queue = Queue::default();
    for number in 0..20_000 {
        queue.add(&key(number), Priority::Retry);
    }
    queue.add(&key(20_000), Priority::Change);
    assert_eq!(queue.pop(), Some((key(20_000), Priority::Change)));
    queue.add(&key(19_999), Priority::Change);
    assert_eq!(queue.pop(), Some((key(19_999), Priority::Change)), "a waiting object gets the higher priority");
    for number in 30_000..30_100 {
        queue.add(&key(number), Priority::Change);
        let before = std::iter::from_fn(|| queue.pop()).take_while(|(popped, _)| *popped != key(number)).count();
        assert!(before <= 1, "only the share of lower priorities goes first: {before}");
    }
}

#[test]
fn new_object_gets_one_of_the_next_12_permits() {
    let permit = Requeue::Permit(budget(0));
    for served_before in [0, 5, 10, 23] {
        let mut queue = Queue::default();
        let mut add = |namespace: &str, number: u32, priority| {
            send_to(&mut queue, &in_namespace(namespace, number), priority, &permit);
        };
        (0..10_000).for_each(|number| add("large", number, Priority::Change));
        for other in 0..8 {
            (0..30).for_each(|number| add(&format!("other{other}"), number, Priority::Change));
        }
        for lower in [Priority::Retry, Priority::Resync] {
            (0..5).for_each(|number| add("lower", number + 10 * lower as u32, lower));
        }
        let granted_before = std::iter::from_fn(|| queue.grant(&budget(0))).take(served_before).count();
        assert_eq!(granted_before, served_before);
        let new = in_namespace("new", 0);
        send_to(&mut queue, &new, Priority::Change, &permit);
        let grants = std::iter::from_fn(|| queue.grant(&budget(0)));
        let before = grants.take_while(|(key, _)| *key != new).count();
        assert!(before < 12, "{before} permits before it, {served_before} granted earlier");
    }
}

#[test]
fn namespaces_take_turns_inside_a_priority() {
    let mut queue = Queue::default();
    for number in 0..10_000 {
        queue.add(&in_namespace("large", number), Priority::Change);
    }
    for small in 0..9 {
        queue.add(&in_namespace(&format!("small{small}"), 0), Priority::Change);
    }
    let next: Vec<ObjectKey> = (0..12).filter_map(|_| queue.pop()).map(|(key, _)| key).collect();
    let small = next.iter().filter(|key| key.namespace() != "large").count();
    assert_eq!(small, 9, "{next:?}");
}

#[test]
fn namespaces_take_turns_for_permits_and_causes() {
    for requeue in [Requeue::Permit(budget(0)), Requeue::blocked(cause(0))] {
        let mut queue = Queue::default();
        for number in 0..50 {
            send_to(&mut queue, &in_namespace("large", number), Priority::Retry, &requeue);
        }
        send_to(&mut queue, &in_namespace("small", 0), Priority::Retry, &requeue);
        let served: Vec<ObjectKey> = match &requeue {
            Requeue::Permit(budget) => (0..2).filter_map(|_| queue.grant(budget)).map(|(key, _)| key).collect(),
            _ => queue.unblock(&cause(0), 2),
        };
        assert_eq!(served, [in_namespace("large", 0), in_namespace("small", 0)]);
    }
}

/// Counts the objects of each priority that are processed in 1000 turns. The queue always contains objects of the
/// priorities in `present`, and no others.
fn served_in_1000_turns(present: &[Priority], for_permits: bool) -> [usize; 3] {
    let mut queue = Queue::default();
    let (mut served, mut number) = ([0; 3], 0);
    for _ in 0..1000 {
        for priority in present {
            queue.add(&key(number), *priority);
            if for_permits {
                queue.pop();
                queue.finish(&key(number), *priority, &Requeue::Permit(budget(0)), Instant::now());
            }
            number += 1;
        }
        let popped = if for_permits { queue.grant(&budget(0)) } else { queue.pop() };
        served[popped.unwrap().1 as usize] += 1;
    }
    served
}

#[test]
fn lower_priorities_have_a_share_of_a_tenth() {
    for for_permits in [false, true] {
        assert_eq!(served_in_1000_turns(&PRIORITIES, for_permits), [50, 50, 900]);
        assert_eq!(served_in_1000_turns(&[Priority::Resync, Priority::Change], for_permits), [100, 0, 900]);
        assert_eq!(served_in_1000_turns(&[Priority::Retry, Priority::Change], for_permits), [0, 100, 900]);
        assert_eq!(served_in_1000_turns(&[Priority::Resync, Priority::Retry], for_permits), [50, 950, 0]);
    }
}

proptest! {
    #[test]
    fn number_of_objects_ahead_is_the_number_of_permits_before(
        waiting in prop::collection::vec((0..4_usize, 0..3_usize), 0..120),
        granted in 0..60_usize,
        namespace in 0..5_usize,
    ) {
        let mut queue = Queue::default();
        let permit = Requeue::Permit(budget(0));
        let add = |queue: &mut Queue, number: usize, namespace: usize, priority: usize| {
            let key = in_namespace(&namespace.to_string(), u32::try_from(number).unwrap());
            queue.add(&key, PRIORITIES[priority]);
            queue.pop();
            let ahead = queue.ahead(&key, &budget(0));
            queue.finish(&key, PRIORITIES[priority], &permit, Instant::now());
            (key, ahead)
        };
        for (number, (namespace, priority)) in waiting.iter().enumerate() {
            add(&mut queue, number, *namespace, *priority);
        }
        for _ in 0..granted {
            if let Some((key, priority)) = queue.grant(&budget(0)) {
                queue.finish(&key, priority, &Requeue::Done, Instant::now());
            }
        }
        let (key, ahead) = add(&mut queue, waiting.len(), namespace, 2);
        let before = std::iter::from_fn(|| queue.grant(&budget(0))).take_while(|(granted, _)| *granted != key).count();
        // The result can be off by one: earlier permits determine when the next lower-priority object has its turn.
        prop_assert!(before.abs_diff(ahead) <= 1, "{} ahead, {} permits before it", ahead, before);
    }

    #[test]
    fn no_namespace_waits_for_more_than_one_round(sizes in prop::collection::vec(1..40_u32, 2..8)) {
        let mut queue = Queue::default();
        for (namespace, size) in sizes.iter().enumerate() {
            for number in 0..*size {
                queue.add(&in_namespace(&namespace.to_string(), number), Priority::Retry);
            }
        }
        let mut left: BTreeMap<String, u32> =
            sizes.iter().enumerate().map(|(namespace, size)| (namespace.to_string(), *size)).collect();
        while !left.is_empty() {
            let round: BTreeSet<String> =
                (0..left.len()).filter_map(|_| queue.pop()).map(|(key, _)| key.namespace().to_owned()).collect();
            prop_assert_eq!(round.len(), left.len(), "every namespace is served once in a round");
            left.retain(|_, size| { *size -= 1; *size > 0 });
        }
    }
}
