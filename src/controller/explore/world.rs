//! The state of an explored world. It is small, because millions of worlds are compared and stored. Large values are
//! stored in the [`Library`](super::library::Library) and referenced by index.

use jiff::Timestamp;

use super::accounts::At;
use super::library::Index;
use super::machine::Step;
use crate::controller::keys::ObjectKey;
use crate::live::GroupSnapshot;
use crate::resources::{DeletedGroupPolicy, DeletionPolicy, ManagementPolicy};

/// The `maker` of a group that no object created.
pub const FOREIGN: u8 = 0;

/// The value of `groupInfo` that other clients write.
pub const THEIRS: u8 = 9;

/// The app of every group.
pub const APP: &str = "demo";

/// The fields of a group or of a spec. 0 stands for an empty or absent field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fields {
    /// `groupName`, which the API cannot change.
    pub name: u8,
    pub info: u8,
    /// `administrators`, which is compared as a set.
    pub admins: u8,
}

/// A spec with `groupName` and `groupInfo`.
pub const FULL: Fields = Fields { name: 1, info: 1, admins: 0 };

/// A spec with only `administrators`.
pub const SPARE: Fields = Fields { name: 0, info: 0, admins: 1 };

impl Fields {
    /// A bit that identifies these fields; 0 if no explored spec has them.
    pub fn bit(self) -> u32 {
        if self.info == THEIRS { 0 } else { 1 << (self.name + 3 * (self.info + 3 * self.admins)) }
    }
}

/// The state of one world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct World {
    /// Whether the LiveAccount uses the endpoint of the Live API. If not, it uses the endpoint of a hostile service.
    pub is_rerouted: bool,
    /// The objects by name.
    pub objects: [Object; 2],
    /// The groups by ID. Each object references one of the two.
    pub groups: [Group; 2],
    /// For each group ID, a call whose answer was lost and that has not arrived yet.
    pub late: [Option<Late>; 2],
    /// The operator, and its successor while both are running.
    pub processes: [Process; 2],
    /// The clock of the service. It advances when a group is created and when an intent is recorded.
    pub clock: u8,
    /// The number of events that may still happen: faults, and changes by users and other clients.
    pub left: u8,
}

/// An object name, the object with this name, and data for the invariants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Object {
    pub stored: Option<Stored>,
    /// The uid of the last object with this name.
    pub last_uid: u8,
    /// Whether the group changed after the status was written.
    pub drifted: bool,
    /// The number of the last forced reconcile that was followed by an answer from the service.
    pub looked: u8,
    /// Whether the deletion has been stalled for ten minutes in a terminating namespace.
    pub timed_out: bool,
    /// Whether a call for this object was sent, or recorded as an intent.
    pub called: bool,
    /// The bodies of the creates that were sent under the open intent, with one bit for each body.
    pub sent: u32,
    /// The bodies of the creates whose answers were lost, with one bit for each body.
    pub unheard: u32,
}

/// An object as the apiserver stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stored {
    pub uid: u8,
    pub generation: u8,
    /// Whether the object references the LiveAccount.
    pub has_account: bool,
    pub id: u8,
    pub fields: Fields,
    pub policies: Policies,
    pub paused: bool,
    pub abandoned: bool,
    /// The number of the last forced reconcile.
    pub force: u8,
    pub finalizer: bool,
    pub deleting: bool,
    pub status: u32,
}

impl Stored {
    pub fn new(uid: u8, policies: Policies, fields: Fields, status: u32) -> Self {
        let (paused, abandoned, finalizer, deleting) = (false, false, false, false);
        Self {
            uid,
            generation: 1,
            has_account: false,
            id: 0,
            fields,
            policies,
            paused,
            abandoned,
            force: 0,
            finalizer,
            deleting,
            status,
        }
    }

    pub fn observes(&self) -> bool {
        self.policies.management == ManagementPolicy::Observe
    }

    pub fn deletes(&self) -> bool {
        self.policies.deletion == DeletionPolicy::Delete && !self.observes()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Process {
    pub runs: bool,
    /// Whether calls of an earlier process may still arrive, because this process has just started.
    pub is_fenced: bool,
    /// For each group ID, whether the answer to the last call was lost and the call may still arrive.
    pub lost: [bool; 2],
    pub work: [Work; 2],
}

/// The state that a process keeps for an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Work {
    /// The uid of the object that the watch last delivered.
    pub shown: Option<u8>,
    /// Whether the object changed after the watch last delivered it.
    pub is_behind: bool,
    /// While the watch is behind: the newest version that the process knows from the watch, a read or a write.
    pub copy: Option<Stored>,
    /// The number of the state that the scheduler of the process keeps.
    pub known: u32,
    pub pass: u32,
    /// The next step of the worker, and the object that the worker read.
    pub step: Option<(Step, Stored)>,
    /// The account that the object had when the pass last read it or checked a call.
    pub at: At,
    /// Whether the worker has used its permit.
    pub has_called: bool,
    /// The data that the invariants need about the pass.
    pub trail: Trail,
}

/// The answers that a pass has received, in the form that the invariants check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Trail {
    pub uid: u8,
    pub id: u8,
    /// Whether a write before the call failed. The pass may then wait for a long time.
    pub is_stuck: bool,
    /// Whether the pass repeats a write that failed.
    pub repeats_write: bool,
    /// Whether a drift check contradicts the status.
    pub suspects: bool,
    /// Whether the pass knows the current state of the group.
    pub knows: bool,
    pub creates: u8,
    /// The generation of the last change to the group, and the number of changes for that generation.
    pub modifies: (u8, u8),
    /// The state that the last answer showed.
    pub shown: Shown,
    /// The last value of `shown` other than [`Shown::Nothing`].
    pub seen: Shown,
    /// Whether an answer showed that a create of this process created the group, and no later answer contradicts it.
    pub made: bool,
    /// Whether the last answer showed that a create of this process created the group.
    pub just_made: bool,
    /// Whether an answer showed that the group does not exist, and no later answer shows a new group.
    pub gone: bool,
}

impl Trail {
    /// The part of the trail that the next pass keeps.
    pub fn of_next_pass(self) -> Self {
        let Self { uid, id, made, gone, .. } = self;
        Self { uid, id, made, gone, ..Self::default() }
    }
}

/// The state of a group according to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Shown {
    #[default]
    Nothing,
    /// A live group, with the uid of the object that created it.
    Live(u8),
    /// No group, or a deleted one.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Group {
    pub state: State,
    pub fields: Fields,
    /// The uid of the object that created the group.
    pub maker: u8,
    pub born: u8,
    /// The uid of the object whose create intent was open when another client created the group; [`FOREIGN`] if no
    /// intent was open. `body` identifies the fields that the other client sent. If the object also sent these fields
    /// in a create and the answer was lost, only the service knows which create was successful.
    pub twin_of: u8,
    pub body: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    Absent,
    Live,
    Deleted,
}

/// A call that has not arrived yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Late {
    pub call: u32,
    pub uid: u8,
}

impl World {
    /// Returns the same world with one fewer event left, or `None` if no event is left.
    pub fn cheaper(mut self) -> Option<Self> {
        self.left = self.left.checked_sub(1)?;
        Some(self)
    }

    /// The state that process `p` keeps for object `i`.
    pub fn work(&mut self, p: usize, i: usize) -> &mut Work {
        &mut self.processes[p].work[i]
    }

    /// Replaces an object. All watches are behind afterwards.
    pub fn store(&mut self, i: usize, stored: Option<Stored>) {
        let before = std::mem::replace(&mut self.objects[i].stored, stored);
        for process in self.processes.iter_mut().filter(|process| process.runs) {
            let work = &mut process.work[i];
            work.copy = if work.is_behind { work.copy } else { before };
            work.is_behind = true;
        }
    }

    /// Marks an object as drifted if `concerns` returns true for it, because its status may be outdated.
    pub fn drift(&mut self, concerns: impl Fn(&Stored, &Trail) -> bool) {
        for i in 0..2 {
            let Some(stored) = self.objects[i].stored else { continue };
            for process in &mut self.processes {
                let trail = &mut process.work[i].trail;
                if concerns(&stored, trail) {
                    trail.knows = false;
                    self.objects[i].drifted = true;
                }
            }
        }
    }
}

impl Group {
    pub const ABSENT: Self = Self {
        state: State::Absent,
        fields: Fields { name: 0, info: 0, admins: 0 },
        maker: FOREIGN,
        born: 0,
        twin_of: FOREIGN,
        body: 0,
    };

    pub fn foreign(fields: Fields) -> Self {
        Self { state: State::Live, fields, ..Self::ABSENT }
    }

    pub fn is_live(&self) -> bool {
        self.state == State::Live
    }

    pub fn snapshot(&self, id: u8) -> GroupSnapshot {
        let Fields { name, info, admins } = self.fields;
        GroupSnapshot {
            group_id: id_text(id),
            group_name: text("Room", name).unwrap_or_default(),
            group_info: text("v", info).unwrap_or_default(),
            // The order differs from the request, to test that administrators are compared as a set.
            administrators: people(admins).map(|people| people.into_iter().rev().collect()).unwrap_or_default(),
            deleted: self.state == State::Deleted,
            create_time: Some(moment(self.born)),
            ..GroupSnapshot::default()
        }
    }
}

/// The three policies of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Policies {
    pub management: ManagementPolicy,
    pub deletion: DeletionPolicy,
    pub deleted: DeletedGroupPolicy,
}

impl Policies {
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for management in ManagementPolicy::ALL {
            for deletion in DeletionPolicy::ALL {
                for deleted in DeletedGroupPolicy::ALL {
                    all.push(Self { management: *management, deletion: *deletion, deleted: *deleted });
                }
            }
        }
        all
    }
}

/// The parts of worlds, each stored once.
#[derive(Default)]
pub struct Parts {
    objects: Index<Object>,
    services: Index<([Group; 2], [Option<Late>; 2], bool)>,
    processes: Index<Process>,
}

/// A world in compact form. Its objects, service and processes are stored as indexes into [`Parts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Packed {
    objects: [u32; 2],
    service: u32,
    processes: [u32; 2],
    clock: u8,
    left: u8,
}

impl Parts {
    pub fn pack(&mut self, world: &World) -> Packed {
        let World { objects, groups, late, processes, clock, left, is_rerouted } = *world;
        Packed {
            objects: objects.map(|object| self.objects.number(object)),
            service: self.services.number((groups, late, is_rerouted)),
            processes: processes.map(|process| self.processes.number(process)),
            clock,
            left,
        }
    }

    pub fn unpack(&self, packed: Packed) -> World {
        let Packed { objects, service, processes, clock, left } = packed;
        let (groups, late, is_rerouted) = self.services.get(service);
        let objects = objects.map(|object| self.objects.get(object));
        let processes = processes.map(|process| self.processes.get(process));
        World { objects, groups, late, processes, clock, left, is_rerouted }
    }
}

/// The name of the object with this uid: `first` if the uid is odd, `second` if it is even. Older objects have smaller
/// uids.
pub fn name_of(uid: u8) -> &'static str {
    if uid.is_multiple_of(2) { "second" } else { "first" }
}

pub fn key_of(i: usize) -> ObjectKey {
    ObjectKey::new("ns", ["first", "second"][i])
}

pub fn id_text(id: u8) -> String {
    format!("room{id}")
}

/// Returns `word` followed by `number`, or `None` if `number` is 0.
pub fn text(word: &str, number: u8) -> Option<String> {
    (number > 0).then(|| format!("{word}{number}"))
}

/// Returns the administrators with this number, or `None` if `number` is 0.
pub fn people(number: u8) -> Option<Vec<String>> {
    (number > 0).then(|| vec![format!("ann{number}"), format!("bob{number}")])
}

pub fn number_in(text: &str) -> u8 {
    text.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or_default()
}

/// The time at this value of the service's clock.
pub fn moment(clock: u8) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + 100 * i64::from(clock)).unwrap()
}
