//! Events that do not come from the operator: watch events and late calls arrive, processes end and start, other
//! clients change groups, and users change objects.

use super::Explorer;
use super::machine::{Access, Step};
use super::world::{FOREIGN, FULL, Fields, Group, Object, Policies, State, Stored, THEIRS, Trail, Work, World};
use crate::controller::scheduler::explored::Place;
use crate::resources::{DeletedGroupPolicy, DeletionPolicy, ManagementPolicy, Reason};

impl Explorer {
    /// Emits the events that are neither faults nor changes. They do not count toward the maximum number of events.
    pub fn settle(&mut self, world: World) {
        for id in 0..2 {
            if let Some(late) = world.late[id] {
                let mut after = world;
                after.late[id] = None;
                let mut arrived = after;
                self.arrive(&mut arrived, late);
                for (mut after, label) in [(after, "a late call never arrives"), (arrived, "a late call arrives")] {
                    after.drop_fences(id);
                    self.emit(after, label);
                }
            }
        }
        for (p, i) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            if world.processes[p].work[i].is_behind {
                let mut after = world;
                // True if the process has already read or written this version of the object.
                let work = &world.processes[p].work[i];
                let is_own = work.copy.is_some() && work.copy == world.objects[i].stored;
                self.watch(&mut after, p, i, is_own);
                self.emit(after, "the watch shows an object");
            }
        }
        if world.processes[1].runs {
            let mut after = world;
            self.stop(&mut after, 0);
            after.processes.swap(0, 1);
            self.emit(after, "the former process ends");
        }
    }

    /// Emits every fault and every change that can happen now. Each counts as one event.
    pub fn happen(&mut self, world: World) {
        let Some(cheaper) = world.cheaper() else { return };
        self.processes(cheaper);
        for id in 0..2 {
            let is_named = |stored: Stored| usize::from(stored.id) == id;
            if id == 0 || world.objects.iter().any(|object| object.stored.is_some_and(is_named)) {
                self.other_clients(cheaper, id);
            }
        }
        for i in 0..2 {
            match world.objects[i].stored {
                Some(stored) => self.user(cheaper, i, stored),
                None => self.create_again(cheaper, i),
            }
        }
    }

    fn processes(&mut self, world: World) {
        let mut after = World { is_rerouted: !world.is_rerouted, ..world };
        for (p, i) in [(0, 0), (1, 0)] {
            self.access(&mut after, p, i, Access::Rerouted);
        }
        self.emit(after, SWITCHES[1]);
        if world.processes[1].runs {
            let mut after = world;
            self.stop(&mut after, 1);
            self.emit(after, "the successor crashes");
        } else {
            let mut after = world;
            self.stop(&mut after, 0);
            self.start(&mut after, 0);
            self.emit(after, "crashes");
            let mut after = world;
            self.start(&mut after, 1);
            self.emit(after, SUCCESSOR);
        }
        for (p, i) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let (mut after, work) = (world, world.processes[p].work[i]);
            if self.place(&work) == Place::Idle
                && let Some(stored) = world.objects[i].stored
            {
                let group = world.groups[usize::from(stored.id)];
                self.access(&mut after, p, i, Access::DriftCheck(group));
                if after != world {
                    self.emit(after, "a drift check");
                }
            }
        }
    }

    /// Emits the changes that another client can make to a group.
    fn other_clients(&mut self, world: World, id: usize) {
        let group = world.groups[id];
        let theirs = Fields { info: THEIRS, ..group.fields };
        match group.state {
            State::Live => {
                self.changed(world, id, Group { fields: theirs, ..group }, "another client edits the group");
                self.changed(world, id, Group { state: State::Deleted, ..group }, "another client deletes the group");
                if self.has_thirty_days(&world, id) {
                    let new = Group { born: world.clock + 1, ..Group::foreign(theirs) };
                    self.changed(world, id, new, RECREATED);
                }
            }
            State::Deleted => {
                self.changed(world, id, Group { state: State::Live, ..group }, "another client recovers the group");
                if self.has_thirty_days(&world, id) {
                    self.changed(world, id, Group::ABSENT, "the deleted group is purged after 30 days");
                }
            }
            State::Absent => {
                let theirs = Fields { name: 1, info: THEIRS, admins: 0 };
                let mut all = vec![theirs];
                for stored in world.objects.iter().filter_map(|object| object.stored) {
                    if usize::from(stored.id) == id && !all.contains(&stored.fields) {
                        all.push(stored.fields);
                    }
                }
                for fields in all {
                    let twin_of = self.with_open_intent(&world, id);
                    let body = if twin_of == FOREIGN { 0 } else { fields.bit() };
                    let made = Group { born: world.clock + 1, twin_of, body, ..Group::foreign(fields) };
                    let is_other = fields == theirs;
                    let label = if is_other {
                        "another client creates the group"
                    } else {
                        "another client creates an identical group"
                    };
                    self.changed(world, id, made, label);
                }
            }
        }
    }

    fn changed(&mut self, mut world: World, id: usize, to: Group, label: &'static str) {
        world.clock = world.clock.max(to.born);
        let names = |stored: &Stored, trail: &Trail| {
            usize::from(stored.id) == id || (trail.uid == stored.uid && usize::from(trail.id) == id)
        };
        world.drift(names);
        world.groups[id] = to;
        self.emit(world, label);
    }

    /// Returns the uid of the object that has an open create intent for this group or is about to record one. Returns
    /// [`FOREIGN`] if there is no such object.
    fn with_open_intent(&mut self, world: &World, id: usize) -> u8 {
        let is_recording = |i: usize| {
            let mut steps = world.processes.iter().filter_map(|process| process.work[i].step);
            steps.any(|(step, read)| matches!(step, Step::PersistIntent(_)) && usize::from(read.id) == id)
        };
        let mut has_intent = |i: usize, stored: &Stored| {
            usize::from(stored.id) == id && (self.brief(stored).has_open_intent || is_recording(i))
        };
        let mut stored = world.objects.iter().enumerate().filter_map(|(i, object)| Some((i, object.stored?)));
        stored.find(|(i, stored)| has_intent(*i, stored)).map_or(FOREIGN, |(_, stored)| stored.uid)
    }

    /// Whether 30 days can pass now. A pass lasts only minutes, so 30 days cannot pass while a pass is in progress. The
    /// exception is a pass whose writes fail, which may wait for a long time.
    fn has_thirty_days(&self, world: &World, id: usize) -> bool {
        let mut work = world.processes.iter().flat_map(|process| &process.work);
        let is_patient = |work: &Work| {
            let pass = self.library.passes.get(work.pass);
            let learned_nothing = pass.facts().is_empty();
            work.step.is_none() && (learned_nothing || work.trail.is_stuck || pass.pending_generation().is_some())
        };
        world.late[id].is_none() && work.all(is_patient)
    }

    /// Emits the changes that a user can make to an object.
    fn user(&mut self, world: World, i: usize, stored: Stored) {
        let edit = Stored { generation: stored.generation + 1, ..stored };
        let policies = |change: fn(&mut Policies)| {
            let mut to = edit;
            change(&mut to.policies);
            to
        };
        for management in ManagementPolicy::ALL {
            if *management != stored.policies.management {
                let mut to = edit;
                to.policies.management = *management;
                self.change(world, i, to, "a switch of managementPolicy");
            }
        }
        let other = policies(|policies| {
            let retains = policies.deletion == DeletionPolicy::Retain;
            policies.deletion = if retains { DeletionPolicy::Delete } else { DeletionPolicy::Retain };
        });
        self.change(world, i, other, "a switch of deletionPolicy");
        self.change(world, i, Stored { has_account: !stored.has_account, ..edit }, SWITCHES[0]);
        if stored.finalizer && !stored.abandoned {
            self.change(world, i, Stored { abandoned: true, ..stored }, "the annotation to abandon the group");
        }
        if stored.deleting {
            let is_stalled = |work: &Work| self.library.passes.get(work.pass).is_stalled();
            let mut after = world;
            if world.processes.iter().any(|process| is_stalled(&process.work[i]))
                && !std::mem::replace(&mut after.objects[i].timed_out, true)
            {
                self.emit(after, "ten minutes without success in a terminating namespace");
            }
            return;
        }
        let other = policies(|policies| {
            let reports = policies.deleted == DeletedGroupPolicy::Report;
            policies.deleted = if reports { DeletedGroupPolicy::Recover } else { DeletedGroupPolicy::Report };
        });
        self.change(world, i, other, "a switch of deletedGroupPolicy");
        self.edits(world, i, edit);
        self.change(world, i, Stored { force: stored.force + 1, ..stored }, "a forced reconcile");
        self.change(world, i, Stored { paused: !stored.paused, ..stored }, "a pause, or its end");
        if stored.finalizer {
            return self.change(world, i, Stored { deleting: true, ..edit }, "a deletion");
        }
        let mut gone = world;
        gone.store(i, None);
        self.emit(gone, "a deletion without a finalizer");
    }

    /// Emits an edit to each mutable field, and edits to the immutable fields if the admission rules allow them.
    fn edits(&mut self, world: World, i: usize, edit: Stored) {
        let Fields { name, info, admins } = edit.fields;
        for to in (0..=2).filter(|to| *to != info) {
            let fields = Fields { info: to, ..edit.fields };
            self.change(world, i, Stored { fields, ..edit }, "an edit of groupInfo");
        }
        let fields = Fields { admins: 1 - admins, ..edit.fields };
        self.change(world, i, Stored { fields, ..edit }, "an edit of administrators");
        let brief = self.brief(&edit);
        let is_allowed = match brief.reason {
            Some(Reason::GroupDeleted) => true,
            Some(Reason::AppNotFound | Reason::InvalidInput | Reason::Conflict) => !brief.has_record,
            _ => false,
        };
        if is_allowed {
            self.change(world, i, Stored { id: 1 - edit.id, ..edit }, "an edit of the identity");
            let fields = Fields { name: u8::from(name == 0), ..edit.fields };
            self.change(world, i, Stored { fields, ..edit }, "an edit of groupName");
        }
    }

    fn change(&mut self, mut world: World, i: usize, stored: Stored, label: &'static str) {
        world.store(i, Some(stored));
        self.emit(world, label);
    }

    /// Emits the events that create an object with the name of a deleted object. Each name is reused only once.
    fn create_again(&mut self, mut world: World, i: usize) {
        let uid = world.objects[i].last_uid + 2;
        if !(3..=4).contains(&uid) {
            return;
        }
        for deletion in DeletionPolicy::ALL {
            let policies = Policies { deletion: *deletion, ..Policies::default() };
            let stored = Stored::new(uid, policies, FULL, self.library.first_status());
            world.objects[i] = Object { last_uid: uid, ..Object::default() };
            world.store(i, Some(stored));
            self.emit(world, "a new object");
        }
    }
}

/// The label of an answer from a hostile service.
pub const HOSTILE: &str = "a hostile service answers";

/// The label of a call that a hostile service does not answer.
pub const SILENT: &str = "a hostile service does not answer";

/// The labels of two events: a change to the account of an object, and a change to the endpoint of an account.
pub const SWITCHES: [&str; 2] = ["a switch of accountRef", "a switch of the endpoint of the LiveAccount"];

/// The label of the event in which a second process starts while the first is still running.
pub const SUCCESSOR: &str = "a successor starts";

/// The label of the event in which a group is deleted, purged and recreated.
pub const RECREATED: &str = "another client deletes the group, and creates it after the purge";

impl World {
    /// Removes the fences for a late call that has arrived or is lost.
    fn drop_fences(&mut self, id: usize) {
        let is_clear = self.late == [None; 2];
        for process in &mut self.processes {
            process.lost[id] = false;
            process.is_fenced &= !is_clear;
        }
    }
}
