mod answers;

use super::*;
use crate::live::Operation;

const MINUTE: Duration = Duration::from_secs(60);

/// Gates over numbered objects, with a clock of their own.
struct World {
    gates: Gates<u32>,
    now: Instant,
}

fn gate(kind: GateKind) -> GateKey {
    GateKey { kind, scope: String::new() }
}

fn app(name: &str) -> GateKey {
    GateKey { kind: GateKind::App, scope: name.to_owned() }
}

impl World {
    fn new() -> Self {
        Self { gates: Gates::default(), now: Instant::now() }
    }

    fn later(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    fn passes(&mut self, gates: &[GateKey], key: u32) -> bool {
        self.gates.pass(gates, &key, self.now) == Passage::Free
    }

    fn shut(&mut self, name: &GateKey, key: u32) -> bool {
        self.gates.shut(name.clone(), &key, Reason::NotAuthorized, "no", self.now)
    }

    fn remember(&mut self, name: &GateKey, key: u32) {
        self.gates.remember(name.clone(), &key, Reason::NotAuthorized, "recorded", self.now);
    }

    fn due(&mut self) -> Vec<u32> {
        self.gates.due(self.now)
    }

    /// When the next prober is wanted, from now.
    fn wait(&self) -> Option<Duration> {
        self.gates.next_due().map(|at| at.saturating_duration_since(self.now))
    }

    /// Lets every prober that is due within `time` fail once more; when each of them was sent, from now.
    fn probes_within(&mut self, name: &GateKey, time: Duration) -> Vec<Duration> {
        let start = self.now;
        let mut sent = Vec::new();
        while let Some(at) = self.gates.next_due().filter(|at| *at <= start + time) {
            self.now = self.now.max(at);
            for key in self.due() {
                assert!(self.passes(std::slice::from_ref(name), key), "the prober is let through");
                sent.push(self.now - start);
                self.shut(name, key);
            }
        }
        self.now = start + time;
        sent
    }
}

#[test]
fn a_gate_that_is_open_lets_everybody_through() {
    let mut world = World::new();
    assert!((0..500).all(|key| world.passes(&[gate(GateKind::Credentials)], key)));
    assert_eq!((world.due(), world.wait()), (vec![], None));
}

#[test]
fn five_hundred_objects_make_one_probe_a_minute() {
    for kind in [GateKind::Credentials, GateKind::Authorization(Operation::Create)] {
        let (mut world, name) = (World::new(), gate(kind));
        assert!(world.shut(&name, 0), "it was open");
        // Those whose calls were out already fail for the same cause; the rest is stopped.
        assert!((1..10).all(|key| !world.shut(&name, key)));
        assert!((10..500).all(|key| !world.passes(std::slice::from_ref(&name), key)));
        let probes = world.probes_within(&name, 10 * MINUTE);
        assert_eq!(probes, (1..=10).map(|minute| minute * MINUTE).collect::<Vec<_>>());
        // However often the others ask meanwhile.
        assert!((0..500).all(|key| !world.later(Duration::from_millis(1)).passes(std::slice::from_ref(&name), key)));
    }
}

#[test]
fn a_success_wakes_everybody_in_the_order_of_their_coming() {
    let (mut world, name) = (World::new(), gate(GateKind::Credentials));
    world.shut(&name, 0);
    for key in (1..500).rev() {
        world.passes(std::slice::from_ref(&name), key);
    }
    world.later(MINUTE);
    assert_eq!(world.due(), [0]);
    let freed = world.gates.open(&name, &0, world.now);
    assert_eq!(freed, (1..500).rev().collect::<Vec<_>>());
    assert!(world.passes(&[name], 7));
    assert_eq!(world.wait(), None);
}

#[test]
fn a_prober_that_says_nothing_is_replaced() {
    let (mut world, name) = (World::new(), gate(GateKind::Credentials));
    world.shut(&name, 0);
    world.passes(std::slice::from_ref(&name), 1);
    assert_eq!(world.later(MINUTE).due(), [0]);
    assert_eq!(world.due(), [] as [u32; 0], "one at a time");
    assert_eq!(world.wait(), Some(PROBER_PATIENCE));
    assert_eq!(world.later(PROBER_PATIENCE).due(), [1]);
    // The first one comes late: it is one of the others now.
    assert!(!world.passes(std::slice::from_ref(&name), 0));
    assert!(world.passes(&[name], 1));
}

#[test]
fn a_probe_that_tells_nothing_is_repeated_after_a_minute() {
    let (mut world, name) = (World::new(), gate(GateKind::Credentials));
    world.shut(&name, 0);
    assert_eq!(world.later(MINUTE).due(), [0]);
    world.gates.inconclusive(&name, &0, world.now);
    assert_eq!((world.due(), world.wait()), (vec![], Some(MINUTE)));
    assert_eq!(world.later(MINUTE).due(), [0]);
    // Of somebody else's call it means nothing.
    world.gates.inconclusive(&name, &1, world.now);
    assert!(world.passes(&[name], 0));
}

#[test]
fn an_apps_gate_is_probed_ever_more_slowly() {
    for kind in [GateKind::App, GateKind::Quota] {
        let (mut world, name) = (World::new(), gate(kind));
        world.shut(&name, 0);
        world.passes(std::slice::from_ref(&name), 1);
        let minutes: Vec<u64> =
            world.probes_within(&name, 60 * MINUTE).iter().map(|time| time.as_secs() / 60).collect();
        assert_eq!(minutes, [1, 3, 7, 15, 25, 35, 45, 55]);
    }
}

#[test]
fn who_is_asked_for_probes_next_but_not_more_than_once_a_minute() {
    let (mut world, name) = (World::new(), app("demo"));
    for key in 0..3 {
        world.shut(&name, key);
    }
    world.probes_within(&name, 10 * MINUTE);
    assert_eq!(world.wait(), Some(5 * MINUTE), "probed after 1, 3 and 7 minutes, and then after 15");
    world.gates.hasten(std::slice::from_ref(&name), &2);
    assert_eq!(world.due(), [2]);
    assert!(world.passes(std::slice::from_ref(&name), 2) && !world.passes(std::slice::from_ref(&name), 0));
    world.shut(&name, 2);
    for _ in 0..6 {
        world.gates.hasten(std::slice::from_ref(&name), &1);
        assert_eq!(world.due(), [] as [u32; 0]);
        world.later(Duration::from_secs(10));
    }
    assert_eq!(world.due(), [1]);
    // One that is open, and one that is being probed.
    world.gates.hasten(&[app("other"), name.clone()], &2);
    assert!(world.passes(std::slice::from_ref(&name), 1) && !world.passes(&[name], 2));
}

#[test]
fn free_places_are_taken_one_by_one() {
    let (mut world, name) = (World::new(), gate(GateKind::Quota));
    for key in 0..4 {
        world.shut(&name, key);
    }
    world.later(MINUTE);
    for key in 0..3 {
        assert_eq!(world.due(), [key]);
        assert_eq!(world.due(), [] as [u32; 0]);
        assert!(world.passes(std::slice::from_ref(&name), key));
        assert!(!world.passes(std::slice::from_ref(&name), 3), "one free place was shown, not two");
        assert_eq!(world.gates.open(&name, &key, world.now), [] as [u32; 0]);
    }
    // The places are gone again: from the first distance anew.
    assert_eq!(world.due(), [3]);
    world.shut(&name, 3);
    assert_eq!(world.wait(), Some(MINUTE));
    // The success of a call that was out before does not send a second prober beside the first.
    assert_eq!(world.later(MINUTE).due(), [3]);
    world.passes(std::slice::from_ref(&name), 4);
    world.gates.open(&name, &9, world.now);
    assert_eq!(world.due(), [] as [u32; 0]);
    world.gates.open(&name, &3, world.now);
    assert_eq!(world.due(), [4]);
    world.gates.open(&name, &4, world.now);
    assert!(world.passes(std::slice::from_ref(&name), 5) && world.passes(&[name], 6), "open again");
}

#[test]
fn a_remembered_gate_is_probed_at_once_and_by_one() {
    let (mut world, name) = (World::new(), gate(GateKind::Authorization(Operation::Create)));
    for key in 0..100_000 {
        world.remember(&name, key);
    }
    assert_eq!(world.wait(), Some(Duration::ZERO));
    assert_eq!(world.due(), [0]);
    assert_eq!((0..100_000).filter(|key| world.passes(std::slice::from_ref(&name), *key)).count(), 1);
    let mut world = World::new();
    world.remember(&name, 0);
    assert!(world.passes(std::slice::from_ref(&name), 7), "whoever comes first");
    assert!(!world.passes(&[name], 0));
    assert_eq!(world.due(), [] as [u32; 0]);
}

#[test]
fn a_repeated_list_is_no_reason_for_a_probe() {
    let (mut world, name) = (World::new(), app("demo"));
    world.remember(&name, 0);
    assert_eq!(world.due(), [0]);
    world.remember(&name, 0);
    assert!(world.passes(std::slice::from_ref(&name), 0), "it is still the prober");
    world.shut(&name, 0);
    let Passage::Shut(reason, message) = world.gates.pass(std::slice::from_ref(&name), &1, world.now) else {
        panic!("it is shut")
    };
    assert_eq!((reason, message.as_str()), (Reason::NotAuthorized, "no"));
    for _ in 0..20 {
        world.later(Duration::from_secs(1));
        world.remember(&name, 0);
        world.remember(&name, 1);
        assert_eq!(world.due(), [] as [u32; 0]);
    }
    assert_eq!(world.wait(), Some(MINUTE - Duration::from_secs(20)));
    world.probes_within(&name, 20 * MINUTE);
    world.remember(&name, 2);
    assert!(world.wait() > Some(2 * MINUTE), "the distance stays: {:?}", world.wait());
    assert!(matches!(world.gates.pass(&[name], &3, world.now), Passage::Shut(_, message) if message == "no"));
}

#[test]
fn an_object_held_up_by_another_gate_is_no_prober() {
    let (mut world, account, dead) = (World::new(), gate(GateKind::Credentials), app("dead"));
    let behind = [account.clone(), dead.clone()];
    world.shut(&dead, 0);
    world.probes_within(&dead, MINUTE);
    for key in 0..3 {
        world.shut(&dead, key);
        world.shut(&account, key);
    }
    world.shut(&account, 9);
    // The app is probed in two minutes, the account in one: the app's objects are of no use as its probers.
    world.later(MINUTE);
    let mut asked = Vec::new();
    while asked.last() != Some(&9) {
        let Some(key) = world.due().first().copied() else { panic!("a prober is wanted at once, after {asked:?}") };
        asked.push(key);
        let free =
            if key == 9 { world.passes(std::slice::from_ref(&account), key) } else { world.passes(&behind, key) };
        assert_eq!(free, key == 9);
    }
    // And they are not lost: the app's gate wakes them.
    assert_eq!(world.gates.open(&dead, &7, world.now).len(), 3);
}

#[test]
fn an_object_that_was_edited_to_another_app_leaves_the_gate_of_the_old_one() {
    let (mut world, old, new) = (World::new(), app("old"), app("new"));
    world.shut(&old, 0);
    world.shut(&old, 1);
    assert_eq!(world.later(MINUTE).due(), [0]);
    // The prober was edited meanwhile: the gate chooses another one at once.
    assert!(world.passes(std::slice::from_ref(&new), 0));
    assert_eq!(world.due(), [1]);
    // And a parked one that goes elsewhere is never chosen.
    world.shut(&old, 1);
    world.passes(std::slice::from_ref(&old), 2);
    world.passes(&[new], 1);
    assert_eq!(world.later(10 * MINUTE).due(), [2]);
}

#[test]
fn a_forgotten_object_holds_up_nobody() {
    let (mut world, name) = (World::new(), gate(GateKind::Credentials));
    world.shut(&name, 0);
    world.passes(std::slice::from_ref(&name), 1);
    assert_eq!(world.later(MINUTE).due(), [0]);
    world.gates.forget(&0);
    assert_eq!(world.due(), [1]);
    world.gates.forget(&1);
    assert_eq!((world.due(), world.wait()), (vec![], None));
    assert!(world.passes(&[name], 2));
}

#[test]
fn a_deserted_gate_still_spares_the_service() {
    let (mut world, name) = (World::new(), gate(GateKind::Credentials));
    // Objects come, are refused and are deleted again, ten a second.
    let mut calls = 0;
    for key in 0..1200 {
        if world.passes(std::slice::from_ref(&name), key) {
            calls += 1;
            world.shut(&name, key);
        }
        world.gates.forget(&key);
        world.due();
        world.later(Duration::from_millis(100));
    }
    assert_eq!(calls, 2, "in two minutes");
    world.later(MINUTE).due();
    assert!(world.gates.shut.is_empty(), "nothing is kept for ever");
}

/// Random histories: nobody is ever parked without a moment at which somebody is asked again, and when the cause is
/// gone everybody gets through.
#[test]
fn nobody_is_parked_for_ever() {
    let names = [gate(GateKind::Credentials), app("a"), app("b"), GateKey { kind: GateKind::Quota, scope: "a".into() }];
    let of = |key: u32| -> Vec<GateKey> {
        if key.is_multiple_of(2) {
            vec![names[0].clone(), names[1].clone(), names[3].clone()]
        } else {
            vec![names[0].clone(), names[2].clone()]
        }
    };
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut world = World::new();
        for _ in 0..200 {
            let key = random.u32(0..12);
            let behind = of(key);
            let name = behind[random.usize(0..behind.len())].clone();
            match random.u8(0..9) {
                0 => world.remember(&name, key),
                8 => world.gates.hasten(&behind, &key),
                1 => {
                    world.gates.forget(&key);
                    continue;
                }
                2 => {
                    world.later(Duration::from_secs(random.u64(0..200)));
                    world.due();
                    continue;
                }
                _ => {}
            }
            if world.passes(&behind, key) {
                match random.u8(0..4) {
                    0 => drop(world.shut(&name, key)),
                    1 => behind.iter().for_each(|name| world.gates.inconclusive(name, &key, world.now)),
                    2 => behind.iter().for_each(|name| drop(world.gates.open(name, &key, world.now))),
                    _ => {}
                }
            }
            assert!(world.wait().is_none_or(|wait| wait <= LONGEST_INTERVAL), "seed {seed}");
            let parked = world.gates.shut.values().any(|gate| !gate.parked.is_empty());
            assert_eq!(parked, world.wait().is_some(), "seed {seed}");
        }
        // The cause is gone: whoever is chosen goes through, and success frees the others.
        let mut steps = 0;
        while let Some(at) = world.gates.next_due() {
            world.now = world.now.max(at);
            for key in world.due() {
                if world.passes(&of(key), key) {
                    for name in of(key) {
                        world.gates.open(&name, &key, world.now);
                    }
                }
            }
            steps += 1;
            assert!(steps < 100, "seed {seed}: somebody waits for ever");
        }
        world.later(LONGEST_INTERVAL).due();
        assert!((0..12).all(|key| world.passes(&of(key), key)), "seed {seed}");
    }
}

#[test]
fn who_waits_for_a_permission_makes_no_call_that_comes_before_and_its_prober_makes_them() {
    let [create, modify] =
        [Operation::Create, Operation::Modify].map(|operation| gate(GateKind::Authorization(operation)));
    let mut world = World::new();
    world.shut(&modify, 0);
    assert!(world.passes(std::slice::from_ref(&create), 7), "another operation is another permission");
    assert!(!world.passes(std::slice::from_ref(&modify), 1));
    assert_eq!(world.gates.ahead_of(&7), []);
    for key in [0, 1] {
        assert_eq!(world.gates.ahead_of(&key), std::slice::from_ref(&modify));
        assert!(!world.passes(&[create.clone(), modify.clone()], key));
    }
    assert_eq!(world.later(MINUTE).due(), [0]);
    assert!(world.passes(&[create.clone(), modify.clone()], 0));
    assert_eq!(world.gates.open(&create, &0, world.now), [] as [u32; 0], "it tells nothing of the other one");
    assert!(world.passes(std::slice::from_ref(&modify), 0), "it is still the prober");
    assert!(!world.passes(&[create, modify], 1));
}
