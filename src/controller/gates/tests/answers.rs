//! What answers, questions and lists do to a gate.

use super::*;

#[test]
fn who_waited_is_told_why_and_what_is_of_the_past_opens_by_its_scope() {
    let (mut world, now) = (World::new(), Instant::now());
    let (own, team) = (app("demo"), app("ns/team|demo"));
    assert!(!world.gates.is_shut(&own));
    for (name, keys) in [(&own, [1, 2]), (&team, [3, 4])] {
        for key in keys {
            world.shut(name, key);
        }
    }
    world.gates.shut(own.clone(), &1, Reason::AppNotFound, "none", world.now);
    let why = world.gates.pass(std::slice::from_ref(&own), &2, world.now);
    assert_eq!(why, Passage::Shut(Reason::AppNotFound, "none".into()), "the last answer");
    assert_eq!(world.later(MINUTE).due().len(), 2);
    let mut released = world.gates.release("ns/team|");
    released.sort_unstable();
    assert_eq!(released, [3, 4], "the prober as well");
    assert!(world.gates.is_shut(&own) && !world.gates.is_shut(&team));
    world.gates.remember(team.clone(), &5, Reason::NotAuthorized, "recorded", now);
    world.gates.remember(team.clone(), &6, Reason::NotAuthorized, "recorded", now);
    assert!(world.passes(std::slice::from_ref(&team), 5));
    let why = world.gates.pass(&[team], &6, world.now);
    assert_eq!(why, Passage::Shut(Reason::NotAuthorized, "recorded".into()));
}

#[test]
fn the_next_probe_of_all_gates_is_the_soonest() {
    let mut world = World::new();
    world.shut(&app("one"), 1);
    world.later(MINUTE / 2).shut(&app("other"), 2);
    assert_eq!(world.wait(), Some(MINUTE / 2));
}

#[test]
fn one_that_is_asked_for_after_a_probe_that_told_nothing_waits_for_the_minute() {
    let (mut world, name) = (World::new(), app("demo"));
    world.remember(&name, 1);
    world.remember(&name, 2);
    assert_eq!(world.due(), [1]);
    world.gates.inconclusive(&name, &1, world.now);
    world.later(MINUTE / 3).gates.hasten(std::slice::from_ref(&name), &2);
    assert_eq!(world.wait(), Some(2 * MINUTE / 3));
    assert_eq!(world.later(MINUTE).due(), [2], "it is the next one");
}

#[test]
fn one_that_is_asked_for_waits_for_the_minute_after_the_last_probe_and_not_after_an_older_one() {
    let (mut world, name) = (World::new(), app("demo"));
    world.shut(&name, 1);
    world.shut(&name, 2);
    assert_eq!(world.later(MINUTE).due(), [1]);
    world.gates.inconclusive(&name, &1, world.now);
    world.gates.hasten(std::slice::from_ref(&name), &2);
    assert_eq!(world.wait(), Some(MINUTE));
}

#[test]
fn a_place_that_shows_itself_free_is_probed_at_once() {
    let (mut world, name) = (World::new(), gate(GateKind::Quota));
    world.shut(&name, 1);
    assert_eq!(world.due(), [] as [u32; 0]);
    // A call that was out when the gate shut.
    assert_eq!(world.gates.open(&name, &9, world.now), [] as [u32; 0]);
    assert_eq!(world.due(), [1]);
}

#[test]
fn a_gate_stays_while_its_only_object_probes_and_who_asks_again_keeps_its_place() {
    let (mut world, name) = (World::new(), gate(GateKind::Credentials));
    world.shut(&name, 1);
    assert_eq!(world.later(MINUTE).due(), [1]);
    assert_eq!((world.due(), world.gates.is_shut(&name)), (vec![], true));
    world.later(PROBER_PATIENCE);
    assert!(world.passes(std::slice::from_ref(&name), 2), "the prober was silent for too long");
    for key in [3, 4, 3] {
        assert!(!world.passes(std::slice::from_ref(&name), key));
    }
    assert_eq!(world.gates.open(&name, &2, world.now), [3, 4]);
}
