//! Exhaustive exploration of small worlds: one or two objects, two group IDs, a service, a cluster, and one or two
//! processes of the operator. Faults, and changes by users and other clients, can happen at any time, up to a limit.
//!
//! The explored code is the production code: [`Pass`](super::pass::Pass) with `decide`, and the ownership and the queue
//! of [`Scheduler`](super::scheduler::Scheduler). The exploration replaces the driver in `reconcile`: it executes each
//! effect of a pass with every possible result. Any other event can happen between two requests of a process. The
//! module may import every pure module of the controller.
//!
//! The exploration covers:
//!
//! - specs with and without optional fields, and edits to every mutable field, and to immutable fields where the
//!   admission rules allow it;
//!
//! - all three policies of each object, and a change to a policy at any time;
//!
//! - forced reconciles, pauses, deletions, and objects that are recreated under the same name;
//!
//! - calls and answers that are lost, calls that arrive late, failures of the service, missing credentials, and an open
//!   circuit breaker;
//!
//! - crashes between any two requests, and a second process that runs at the same time;
//!
//! - writes that fail or whose answer is lost, watches that are behind, and cached copies that are outdated;
//!
//! - two accounts: the operator's own, and a LiveAccount that may use a hostile service, which can return any answer;
//!
//! - changes to the account of an object, and to the endpoint of the LiveAccount, at any time;
//!
//! - every change that other clients can make to the group, including a create after a purge.
//!
//! Each write by a process wakes the other objects of the group, as in the operator.
//!
//! The exploration assumes that a pass waits for 30 days only if its writes fail. If a watch is behind, the exploration
//! assumes that the watch later delivers only the newest state of each object. The exploration does not cover data
//! centers. For quotas and circuit breakers, it covers only the status that they cause.

mod access;
mod accounts;
mod brief;
mod events;
mod invariants;
mod library;
mod machine;
mod mutants;
mod process;
mod service;
mod world;
mod worlds;

use std::collections::HashMap;

use crate::controller::scheduler::explored::Place;
use access::Returned;
use brief::Brief;
use events::{HOSTILE, SILENT, SUCCESSOR, SWITCHES};
use invariants::Invariant;
use library::{Fast, Library};
use machine::{Access, Context, Fed, Moved};
use mutants::Mutation;
use world::{Fields, Group, Object, Packed, Parts, Policies, Process, Stored, World};

/// An initial world of an exploration: its objects, the group with the first ID, and the number of events that may
/// happen.
#[derive(Clone)]
struct Start {
    objects: Vec<(Policies, Fields)>,
    group: Group,
    left: u8,
    /// The events that may happen; `None` for all events except [`SUCCESSOR`] and [`SWITCHES`].
    only: Option<&'static [&'static str]>,
}

/// The states that a scheduler keeps for the two objects. Each state is stored as its number in the [`Library`].
type KnownPair = [u32; 2];

/// Cached results of the production code.
#[derive(Default)]
struct Memo {
    moves: HashMap<(u32, Fed, Context), Moved, Fast>,
    accesses: HashMap<(KnownPair, usize, Access, bool), (KnownPair, Returned), Fast>,
    briefs: HashMap<Stored, Brief, Fast>,
}

struct Explorer {
    mutation: Mutation,
    library: Library,
    memo: Memo,
    /// The worlds that can follow the current world, each with the event that leads to it.
    next: Vec<(World, &'static str)>,
    /// The number of events that may still happen in the current world, and the [`Start::only`] filter that applies to
    /// it.
    now: (u8, Option<&'static [&'static str]>),
    /// How often each invariant was checked.
    checked: [u64; Invariant::ALL.len()],
    /// How often [`Explorer::check_delete`] found its known exception.
    exceptions: u64,
    broken: Option<(Invariant, String)>,
}

/// The outcome of an exploration.
struct Report {
    states: usize,
    transitions: usize,
    checked: [u64; Invariant::ALL.len()],
    exceptions: u64,
    /// The first invariant that does not hold, and a shortest history that violates it.
    broken: Option<(Invariant, String)>,
}

/// A stored world, the number of the world before it, and the event between them.
type Kept = (Packed, u32, &'static str);

impl Explorer {
    fn new(mutation: Mutation) -> Self {
        let (library, memo) = (Library::new(), Memo::default());
        let checked = [0; Invariant::ALL.len()];
        Self { mutation, library, memo, next: Vec::new(), now: (0, None), checked, exceptions: 0, broken: None }
    }

    fn emit(&mut self, world: World, label: &'static str) {
        let (left, only) = self.now;
        let is_allowed = only.map_or(label != SUCCESSOR && !SWITCHES.contains(&label), |only| only.contains(&label));
        if world.left == left || is_allowed {
            self.next.push((world, label));
        }
    }

    fn must(&mut self, invariant: Invariant, holds: bool, what: impl FnOnce() -> String) {
        let includes = |label| self.now.1.is_some_and(|only| only.contains(&label));
        if includes(SUCCESSOR) && !Invariant::SAFETY.contains(&invariant)
            || includes(HOSTILE) && !Invariant::UNDER_ATTACK.contains(&invariant)
        {
            return;
        }
        self.checked[invariant as usize] += 1;
        if !holds && self.broken.is_none() {
            self.broken = Some((invariant, what()));
        }
    }

    fn first_world(&mut self, start: &Start) -> World {
        let (groups, processes) = ([start.group, Group::ABSENT], [Process::default(); 2]);
        let (objects, late) = ([Object::default(); 2], [None; 2]);
        let mut world = World { objects, groups, late, processes, clock: 1, left: start.left, is_rerouted: false };
        let status = self.library.first_status();
        for (i, (policies, fields)) in start.objects.iter().enumerate() {
            let uid = 1 + i as u8;
            let stored = Stored::new(uid, *policies, *fields, status);
            world.objects[i] = Object { stored: Some(stored), last_uid: uid, ..Object::default() };
        }
        self.start(&mut world, 0);
        world
    }

    /// Returns every world that can follow `world`, each with the event that leads to it. The flag is `true` if the
    /// event is neither a fault nor a change.
    fn successors(&mut self, world: World) -> Vec<(World, &'static str, bool)> {
        for (p, i) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let work = world.processes[p].work[i];
            if work.step.is_some() {
                self.execute(world, p, i);
            } else if self.place(&work) == Place::Ready {
                self.begin(world, p, i);
            }
        }
        self.settle(world);
        self.happen(world);
        let next = std::mem::take(&mut self.next);
        // A cycle of free events counts as work that never ends. A call that the hostile service does not answer is not
        // free, because the operator repeats such a call until the service answers.
        let is_free = |after: &World, label| after.left == world.left && label != SILENT;
        next.into_iter().map(|(after, label)| (after, label, is_free(&after, label))).collect()
    }

    /// Explores breadth first, so that the first violation has a shortest history.
    fn explore(mut self, starts: &[Start]) -> Report {
        let mut parts = Parts::default();
        let mut numbers: HashMap<Packed, u32, Fast> = HashMap::default();
        let mut worlds: Vec<Kept> = Vec::new();
        for start in starts {
            let world = parts.pack(&self.first_world(start));
            numbers.insert(world, u32::try_from(worlds.len()).unwrap());
            worlds.push((world, u32::MAX, "begins"));
        }
        let (mut at, mut transitions) = (0, 0);
        let mut free_edges: Vec<(u32, u32)> = Vec::new();
        while at < worlds.len() {
            let world = parts.unpack(worlds[at].0);
            let own = u32::try_from(at).unwrap();
            self.check_world(&world);
            self.now = (world.left, starts[0].only);
            for (after, label, is_free) in self.successors(world) {
                transitions += 1;
                let packed = parts.pack(&after);
                let number = *numbers.entry(packed).or_insert_with(|| {
                    worlds.push((packed, own, label));
                    u32::try_from(worlds.len() - 1).unwrap()
                });
                if is_free && world.late == [None; 2] {
                    free_edges.push((own, number));
                }
            }
            if let Some((invariant, what)) = self.broken.take() {
                let broken = Some((invariant, format!("{what}\n{}", self.history(&parts, &worlds, at))));
                return self.report(worlds.len(), transitions, broken);
            }
            at += 1;
        }
        let endless = on_a_cycle(worlds.len(), &free_edges);
        self.checked[Invariant::Ends as usize] += worlds.len() as u64;
        let broken = endless.map(|at| {
            let history = self.history(&parts, &worlds, at);
            (Invariant::Ends, format!("this never ends, although no fault occurs\n{history}"))
        });
        self.report(worlds.len(), transitions, broken)
    }

    fn report(&self, states: usize, transitions: usize, broken: Option<(Invariant, String)>) -> Report {
        Report { states, transitions, checked: self.checked, exceptions: self.exceptions, broken }
    }

    fn history(&mut self, parts: &Parts, worlds: &[Kept], mut at: usize) -> String {
        let mut lines = vec![self.show(&parts.unpack(worlds[at].0))];
        while let Some((world, parent, label)) = worlds.get(at) {
            lines.push(format!("{label}: {}", self.show_briefly(&parts.unpack(*world))));
            at = usize::try_from(*parent).unwrap();
        }
        lines.reverse();
        lines.join("\n")
    }

    fn show_briefly(&mut self, world: &World) -> String {
        let Group { state, fields, maker, .. } = world.groups[0];
        let mut shown = format!("{state:?} {fields:?} made by {maker}, late {:?}", world.late);
        for (p, i) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let work = world.processes[p].work[i];
            if let (true, Some(stored)) = (world.processes[p].runs, world.objects[i].stored) {
                let brief = self.brief(&stored);
                let Stored { uid, generation, id, policies, fields, .. } = stored;
                let Policies { management, deletion, deleted } = policies;
                shown += &format!(
                    "\n    {p}: [{uid} {:?} {:?} generation {generation}/{} id {id} {fields:?} {management:?} \
                     {deletion:?} {deleted:?} Ready={:?} {:?} created={}]",
                    self.place(&work),
                    work.step.map(|(step, _)| step),
                    brief.observed,
                    brief.ready,
                    brief.reason,
                    brief.created
                );
            }
        }
        shown
    }

    fn show(&self, world: &World) -> String {
        let stored = world.objects.iter().filter_map(|object| object.stored);
        let statuses = stored.map(|stored| format!("{:?}\n", self.library.statuses.get(stored.status)));
        format!("{world:?}\n{}", statuses.collect::<String>())
    }
}

/// Returns a node that is on a cycle or leads to one.
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
