//! A small world, explored exhaustively: one or two objects, two group ids, and a service, a cluster, a process and
//! people that do anything at any moment, a bounded number of times. What decides is the real code: `decide`,
//! `Facts::record`, `PassOutcome::status`, `triage`, `holder`; around it stands a model of the controller's steps.
//!
//! Explored: specs that name a field or leave it out, edits of every mutable field and of the immutable ones where the
//! admission rules let them be, all three policies of each object and their switch at any moment, forced reconciles,
//! pauses, deletions, objects made again under an old name; answers that are lost before or after their effect, calls
//! that arrive late, failures of the service, crashes before and after every call and every write, writes that fail or
//! whose answer is lost, reads of an object as it was before a person's last edit, also when the watch is behind; and
//! everything that others may do to the group, a purge after 30 days and a create after it included.
//!
//! The four ways out are the four reasons under which the admission rules let the identity be edited: GroupDeleted,
//! AppNotFound, InvalidInput and Conflict. Those of a deletion that cannot be done are there too: to abandon it, by the
//! annotation or after ten minutes without credentials, to switch the policy, to hand the group over.
//!
//! Assumed: a process that begins anew takes longer than a lost call does to arrive, and nothing but a write that fails
//! keeps a pass waiting for 30 days. Left out: accounts and gates, but for the status they lead to, and data centers.

mod brief;
mod controller;
mod ending;
mod index;
mod invariants;
mod mutants;
mod people;
mod service;
mod world;
mod worlds;

use std::collections::HashMap;

use super::{Action, Facts, Holder};
use crate::resources::LiveMessageGroup;
use brief::Brief;
use controller::Act;
use invariants::Invariant;
use service::Told;
use world::{Fast, Fields, Group, Library, Policies, Stored, World};

/// What decides, and the controller around it; all but the real one is there to be caught.
#[derive(Clone, Copy)]
struct Options {
    decide: fn(&LiveMessageGroup, &Facts, Option<&Holder>) -> Action,
    /// What a pass has learned outlives a write that failed.
    keeps_facts: bool,
    /// One more look follows a write that was repeated.
    looks_again: bool,
    /// A status is tied to the uid of the object that it was decided for.
    ties_to_uid: bool,
    /// A status tells of the generation that was read, not of the newest one.
    tells_of_what_was_read: bool,
    /// After a lost answer the next call waits until the lost one cannot arrive any more.
    waits_for_late: bool,
    /// The one known exception is let pass.
    excuses: bool,
}

const REAL: Options = Options {
    decide: super::decide,
    keeps_facts: true,
    looks_again: true,
    ties_to_uid: true,
    tells_of_what_was_read: true,
    waits_for_late: true,
    excuses: true,
};

/// How a world begins: its objects, the group of the first id, and how many things may go wrong or be done.
#[derive(Clone)]
struct Start {
    objects: Vec<(Policies, Fields)>,
    group: Group,
    left: u8,
    /// What may go wrong or be done at all, where that is not everything.
    only: Option<&'static [&'static str]>,
}

/// A verdict, and whether nothing follows.
type End = (u16, bool);

/// Facts, call, generation, answer, and the service's clock before and after it.
type Heard = (u16, u16, u8, Told, (u8, u8));

/// A verdict, the object it was decided for, the forced reconcile heard of, and the object as it is now, where that
/// counts.
type Ended = (u16, Stored, u8, Option<Stored>);

/// A status, and the digest of the body that is new in it.
type Recorded = (u16, Option<String>);

/// Decisions that were made already: the real code is asked once for each question.
#[derive(Default)]
struct Memo {
    acts: HashMap<(Stored, u16, Option<u8>), Act, Fast>,
    statuses: HashMap<Ended, Option<u16>, Fast>,
    records: HashMap<(Stored, u16, u16, u8), Option<Recorded>, Fast>,
    absorbed: HashMap<Heard, (u16, Option<End>), Fast>,
    briefs: HashMap<Stored, Brief, Fast>,
}

struct Explorer {
    options: Options,
    library: Library,
    memo: Memo,
    /// What follows the world that is being looked at.
    next: Vec<(World, &'static str)>,
    /// How much is left to the world that is being looked at, and what may happen to it.
    now: (u8, Option<&'static [&'static str]>),
    /// How often each invariant was asked for.
    checked: [u64; Invariant::ALL.len()],
    /// How often the one known exception was reached.
    exceptions: u64,
    broken: Option<(Invariant, String)>,
}

/// The outcome of an exploration.
struct Report {
    states: usize,
    transitions: usize,
    checked: [u64; Invariant::ALL.len()],
    exceptions: u64,
    /// The first invariant that does not hold, and a shortest history that leads there.
    broken: Option<(Invariant, String)>,
}

impl Explorer {
    fn new(options: Options) -> Self {
        let (library, memo) = (Library::default(), Memo::default());
        let checked = [0; Invariant::ALL.len()];
        Self { options, library, memo, next: Vec::new(), now: (0, None), checked, exceptions: 0, broken: None }
    }

    fn emit(&mut self, world: World, label: &'static str) {
        let (left, only) = self.now;
        if world.left == left || only.is_none_or(|only| only.contains(&label)) {
            self.next.push((world, label));
        }
    }

    fn must(&mut self, invariant: Invariant, holds: bool, what: impl FnOnce() -> String) {
        self.checked[invariant as usize] += 1;
        if !holds && self.broken.is_none() {
            self.broken = Some((invariant, what()));
        }
    }

    fn begin(&mut self, start: &Start) -> World {
        let (groups, late) = ([start.group, Group::ABSENT], [None; 2]);
        let mut world = World { slots: Default::default(), groups, late, clock: 1, left: start.left };
        let status = self.library.first_status();
        for (i, uid) in (1..=2).enumerate().take(start.objects.len()) {
            let stored = Stored::new(uid, start.objects[i], status);
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
                    if slot.stored.is_none_or(|stored| stored.uid != before.uid) {
                        self.step_behind(world, i, before);
                    }
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
    fn explore(mut self, starts: &[Start]) -> Report {
        let mut numbers: HashMap<World, u32, Fast> = HashMap::default();
        let mut worlds: Vec<(World, u32, &'static str)> = Vec::new();
        for start in starts {
            let world = self.begin(start);
            numbers.insert(world, u32::try_from(worlds.len()).unwrap());
            worlds.push((world, u32::MAX, "begins"));
        }
        let (mut at, mut transitions) = (0, 0);
        let mut free_edges: Vec<(u32, u32)> = Vec::new();
        while at < worlds.len() {
            let (world, ..) = worlds[at];
            let own = u32::try_from(at).unwrap();
            self.check_world(&world);
            self.now = (world.left, starts[0].only);
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
            if let Some((invariant, what)) = self.broken.take() {
                let broken = Some((invariant, format!("{what}\n{}", self.history(&worlds, at))));
                return self.report(worlds.len(), transitions, broken);
            }
            at += 1;
        }
        let endless = on_a_cycle(worlds.len(), &free_edges);
        self.checked[Invariant::Ends as usize] += worlds.len() as u64;
        let broken = endless.map(|at| {
            let history = self.history(&worlds, at);
            (Invariant::Ends, format!("this never ends, though nothing goes wrong\n{history}"))
        });
        self.report(worlds.len(), transitions, broken)
    }

    fn report(&self, states: usize, transitions: usize, broken: Option<(Invariant, String)>) -> Report {
        Report { states, transitions, checked: self.checked, exceptions: self.exceptions, broken }
    }

    fn history(&mut self, worlds: &[(World, u32, &'static str)], mut at: usize) -> String {
        let mut lines = vec![self.show(&worlds[at].0)];
        while let Some((world, parent, label)) = worlds.get(at) {
            lines.push(format!("{label}: {}", self.show_briefly(world)));
            at = usize::try_from(*parent).unwrap();
        }
        lines.reverse();
        lines.join("\n")
    }

    fn show_briefly(&mut self, world: &World) -> String {
        let Group { state, fields, maker, .. } = world.groups[0];
        let mut shown = format!("{state:?} {fields:?} made by {maker}");
        for slot in &world.slots {
            let Some(stored) = slot.stored else { continue };
            let brief = self.brief(&stored);
            let Stored { uid, generation, id, policies, fields, .. } = stored;
            let Policies { management, deletion, deleted } = policies;
            let queued = if slot.queued { "queued" } else { "at rest" };
            shown += &format!(
                "\n    [{uid} {queued} generation {generation}/{} id {id} {fields:?} {management:?} {deletion:?} {deleted:?} \
                 Ready={:?} {:?} created={}]",
                brief.observed, brief.ready, brief.reason, brief.created
            );
        }
        shown
    }

    fn show(&self, world: &World) -> String {
        let statuses = world
            .slots
            .iter()
            .filter_map(|slot| slot.stored)
            .map(|stored| format!("{:?}\n", self.library.statuses.get(stored.status)));
        format!("{world:?}\n{}", statuses.collect::<String>())
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
