//! A small world, explored exhaustively: one or two objects, two group ids, and a service, a cluster, a process and
//! people that do anything at any moment, a bounded number of times. What decides is the real code: `decide`,
//! `Facts::absorb`, `Verdict::status`, `triage`, `holder`; around it stands a model of the controller's steps.
//!
//! Explored: answers that are lost before or after their effect, calls that arrive late, failures of the service,
//! crashes before and after every call and every write, writes that fail or whose answer is lost, reads of an object as
//! it was before a person's last edit, edits, forced reconciles, pauses, deletions, objects made again under an old
//! name, and everything that others may do to the group. Assumed: a process that begins anew takes longer than a lost
//! call does to arrive, and people do not create the very group that an object describes at the same moment.

mod brief;
mod controller;
mod index;
mod invariants;
mod service;
mod world;

use std::collections::HashMap;

use super::{Action, CreateOutcome, Desired, Facts, Holder, Origin, Sync, Verdict};
use crate::resources::{DeletedGroupPolicy, DeletionPolicy, LiveMessageGroup, ManagementPolicy};
use brief::Brief;
use controller::{Act, real};
use service::Told;
use world::{Group, Library, Policies, State, Stored, THEIRS, World};

/// What is explored.
#[derive(Clone, Copy)]
struct Options {
    decide: fn(&LiveMessageGroup, &Facts, Option<&Holder>) -> Action,
    /// Whether what a pass has learned outlives a write that failed.
    keeps_facts: bool,
    /// Whether one more look follows a write that was repeated.
    looks_again: bool,
    policies: Policies,
}

/// A verdict, and whether nothing follows.
type End = (u16, bool);

/// Facts, call, generation, answer, and the service's clock.
type Heard = (u16, u16, u8, Told, u8);

/// Decisions that were made already: the real code is asked once for each question.
#[derive(Default)]
struct Memo {
    acts: HashMap<(Stored, u16, Option<u8>), Act>,
    statuses: HashMap<(u16, Stored, u8), Option<u16>>,
    absorbed: HashMap<Heard, (u16, Option<End>)>,
    briefs: HashMap<Stored, Brief>,
}

struct Explorer {
    options: Options,
    library: Library,
    memo: Memo,
    /// What follows the world that is being looked at.
    next: Vec<(World, &'static str)>,
    broken: Option<String>,
}

/// The outcome of an exploration.
struct Report {
    states: usize,
    transitions: usize,
    /// The first history that breaks an invariant.
    broken: Option<String>,
}

impl Explorer {
    fn new(options: Options) -> Self {
        Self { options, library: Library::default(), memo: Memo::default(), next: Vec::new(), broken: None }
    }

    fn emit(&mut self, world: World, label: &'static str) {
        self.next.push((world, label));
    }

    fn must(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.broken.is_none() {
            self.broken = Some(what());
        }
    }

    /// The world at its beginning: `objects` new ones, and a group that may be there already.
    fn start(&mut self, objects: usize, group: Group, left: u8) -> World {
        let mut world =
            World { slots: Default::default(), groups: [group, Group::ABSENT], late: [None; 2], clock: 1, left };
        let status = self.library.first_status();
        for (i, uid) in (1..=2).enumerate().take(objects) {
            let stored = Stored::new(uid, status);
            (world.slots[i].last_uid, world.slots[i].stored, world.slots[i].queued) = (uid, Some(stored), true);
            self.observe(&mut world, i, &stored);
        }
        world
    }

    /// Everything that may follow; the number of those at the front that follow when nothing more goes wrong.
    fn successors(&mut self, world: World) -> (Vec<(World, &'static str)>, Vec<bool>) {
        let mut free = Vec::new();
        for i in 0..2 {
            let slot = world.slots[i];
            if slot.queued {
                self.step(world, i, slot.stored);
                free.resize(self.next.len(), true);
                if let Some(Some(before)) = slot.before {
                    self.step(world, i, Some(before));
                    free.resize(self.next.len(), false);
                }
            }
        }
        self.happen(world);
        free.resize(self.next.len(), true);
        let next = std::mem::take(&mut self.next);
        for (free, (after, _)) in free.iter_mut().zip(&next) {
            *free &= after.left == world.left;
        }
        (next, free)
    }

    /// Breadth first, so that the first broken history is a shortest one.
    fn explore(&mut self, starts: Vec<World>) -> Report {
        let mut numbers: HashMap<World, u32> = HashMap::new();
        let mut worlds: Vec<(World, u32, &'static str)> = Vec::new();
        for world in starts {
            numbers.insert(world, u32::try_from(worlds.len()).unwrap());
            worlds.push((world, u32::MAX, "begins"));
        }
        let (mut at, mut transitions) = (0, 0);
        let mut free_edges: Vec<(u32, u32)> = Vec::new();
        while at < worlds.len() {
            let (world, ..) = worlds[at];
            let own = u32::try_from(at).unwrap();
            self.check_world(&world);
            let (next, free) = self.successors(world);
            transitions += next.len();
            for ((after, label), free) in next.into_iter().zip(free) {
                let number = *numbers.entry(after).or_insert_with(|| {
                    worlds.push((after, own, label));
                    u32::try_from(worlds.len() - 1).unwrap()
                });
                if free && (number != own || world.late == [None; 2]) {
                    free_edges.push((own, number));
                }
            }
            if let Some(what) = self.broken.take() {
                let broken = Some(format!("{what}\n{}", self.history(&worlds, at)));
                return Report { states: worlds.len(), transitions, broken };
            }
            at += 1;
        }
        let endless = on_a_cycle(worlds.len(), &free_edges);
        let broken =
            endless.map(|at| format!("this never ends, though nothing goes wrong\n{}", self.history(&worlds, at)));
        Report { states: worlds.len(), transitions, broken }
    }

    fn history(&self, worlds: &[(World, u32, &'static str)], mut at: usize) -> String {
        let mut lines = vec![self.show(&worlds[at].0)];
        while let Some((world, parent, label)) = worlds.get(at) {
            lines.push(format!("{label}: {:?} {}", world.groups[0], self.show_slots(world)));
            at = usize::try_from(*parent).unwrap();
        }
        lines.reverse();
        lines.join("\n")
    }

    fn show_slots(&self, world: &World) -> String {
        let slots = world.slots.iter().filter_map(|slot| Some((slot, slot.stored?)));
        slots.map(|(slot, stored)| format!("[{} {stored:?}]", if slot.queued { "queued" } else { "at rest" })).collect()
    }

    fn show(&self, world: &World) -> String {
        let statuses = world
            .slots
            .iter()
            .filter_map(|slot| slot.stored)
            .map(|stored| format!("{:#?}", self.library.statuses.get(stored.status)));
        format!("{world:#?}\n{}", statuses.collect::<String>())
    }
}

/// A node on a cycle, or on the way into one.
fn on_a_cycle(nodes: usize, edges: &[(u32, u32)]) -> Option<usize> {
    let mut out = vec![0_u32; nodes];
    let mut into: Vec<Vec<u32>> = vec![Vec::new(); nodes];
    for (from, to) in edges {
        out[*from as usize] += 1;
        into[*to as usize].push(*from);
    }
    let mut ends: Vec<usize> = (0..nodes).filter(|node| out[*node] == 0).collect();
    let mut seen = 0;
    while let Some(node) = ends.pop() {
        seen += 1;
        for from in &into[node] {
            let from = *from as usize;
            out[from] -= 1;
            if out[from] == 0 {
                ends.push(from);
            }
        }
    }
    (seen < nodes).then(|| (0..nodes).find(|node| out[*node] > 0).unwrap_or_default())
}

/// Every state in which a group may be found.
fn groups() -> Vec<Group> {
    vec![
        Group::ABSENT,
        Group::foreign(1, true),
        Group::foreign(THEIRS, true),
        Group::foreign(1, false),
        Group { state: State::Deleted, ..Group::foreign(1, true) },
    ]
}

fn explore(name: &str, options: Options, objects: usize, left: u8) -> Report {
    let mut explorer = Explorer::new(options);
    let starts = groups().into_iter().map(|group| explorer.start(objects, group, left)).collect();
    let report = explorer.explore(starts);
    println!("{name}: {} states, {} transitions", report.states, report.transitions);
    report
}

fn holds(name: &str, policies: Policies, objects: usize, left: u8) {
    let report = explore(name, real(policies), objects, left);
    if let Some(broken) = report.broken {
        panic!("{broken}");
    }
}

#[test]
fn one_object() {
    holds("one object", Policies::default(), 1, 3);
}

#[test]
fn two_objects_of_one_group() {
    holds("two objects", Policies::default(), 2, 2);
}

#[test]
fn an_object_that_recovers() {
    let policies = Policies { deleted: DeletedGroupPolicy::Recover, ..Policies::default() };
    holds("recover", policies, 1, 2);
}

#[test]
fn an_object_that_deletes_its_group() {
    let policies = Policies { deletion: DeletionPolicy::Delete, ..Policies::default() };
    holds("delete", policies, 1, 3);
    holds("delete, two objects", policies, 2, 2);
}

#[test]
fn an_object_that_never_modifies() {
    let policies = Policies { management: ManagementPolicy::CreateOnly, ..Policies::default() };
    holds("create only", policies, 1, 2);
}

#[test]
fn an_object_that_only_looks() {
    let policies = Policies { management: ManagementPolicy::Observe, ..Policies::default() };
    holds("observe", policies, 1, 2);
}

/// One event more everywhere: a minute or two.
#[test]
#[ignore = "takes minutes"]
fn deeper() {
    let recover = Policies { deleted: DeletedGroupPolicy::Recover, ..Policies::default() };
    let delete = Policies { deletion: DeletionPolicy::Delete, ..Policies::default() };
    let both = Policies { deletion: DeletionPolicy::Delete, ..recover };
    let create_only = Policies { management: ManagementPolicy::CreateOnly, ..delete };
    holds("delete, deeper", delete, 1, 4);
    holds("one object, deeper", Policies::default(), 1, 4);
    holds("recover, deeper", recover, 1, 3);
    holds("recover, two objects", recover, 2, 2);
    holds("recover and delete", both, 1, 3);
    holds("create only and delete", create_only, 1, 3);
    holds("two objects, deeper", Policies::default(), 2, 3);
    holds("delete, two objects, deeper", delete, 2, 3);
}

/// Takes a create's AlreadyExists for a proof that the group is as the spec says.
fn trusting(object: &LiveMessageGroup, facts: &Facts, other: Option<&Holder>) -> Action {
    match (super::decide(object, facts, other), facts.create_outcome()) {
        (Action::Call(crate::live::Call::Describe(_)), Some(CreateOutcome::AlreadyExists)) => {
            let desired = Desired::of(object).unwrap();
            Action::Write(Verdict::live(&desired, Origin::Adopted, facts, None, Some(Sync::Equal)))
        }
        (action, _) => action,
    }
}

/// Deletes whatever is alive under its id.
fn careless(object: &LiveMessageGroup, facts: &Facts, other: Option<&Holder>) -> Action {
    match super::decide(object, facts, other) {
        Action::Release(super::Release::Retained(why)) if why.contains("another one") => {
            Action::Call(crate::live::Call::Delete(Desired::of(object).unwrap().group, None))
        }
        action => action,
    }
}

#[test]
fn a_wrong_decision_is_caught() {
    let default = real(Policies::default());
    let trusting = explore("trusts AlreadyExists", Options { decide: trusting, ..default }, 1, 2);
    assert!(trusting.broken.unwrap().contains("Ready=True without a look"));
    let forgetful = explore("forgets after a failed write", Options { keeps_facts: false, ..default }, 1, 2);
    assert!(forgetful.broken.unwrap().contains("its own group"));
    let hasty = explore("ends with a repeated write", Options { looks_again: false, ..default }, 1, 2);
    assert!(hasty.broken.unwrap().contains("left by everybody"));
    let policies = Policies { deletion: DeletionPolicy::Delete, ..Policies::default() };
    let careless = explore("deletes what it did not make", Options { decide: careless, ..real(policies) }, 1, 4);
    assert!(careless.broken.unwrap().contains("deletes a group"));
}
