//! What happens without the operator: late calls arrive, the process ends, others work on the group, and people on
//! their objects.

use super::Explorer;
use super::index::{has_lost, observe_gone};
use super::world::{FOREIGN, FULL, Fields, Group, Policies, State, Stored, THEIRS, World};
use crate::decide::Facts;
use crate::resources::{DeletedGroupPolicy, DeletionPolicy, ManagementPolicy, Reason};

impl Explorer {
    /// Everything that may happen without the operator.
    pub fn happen(&mut self, world: World) {
        for id in 0..2 {
            if let Some(late) = world.late[id] {
                let mut gone = world;
                gone.late[id] = None;
                self.emit(gone, "a late call never arrives");
                self.land(&mut gone, late);
                self.emit(gone, "a late call arrives");
            }
        }
        let Some(cheaper) = world.cheaper() else { return };
        self.crash(world, "crashes");
        for i in 0..2 {
            let mut swept = cheaper;
            let slot = &mut swept.slots[i];
            if slot.drifted && !slot.queued && slot.stored.is_some_and(|stored| !stored.deleting) {
                (slot.queued, slot.suspect) = (true, true);
                self.emit(swept, "a sweep");
            }
        }
        for id in 0..2 {
            if id == 0 || world.slots.iter().any(|slot| slot.stored.is_some_and(|stored| usize::from(stored.id) == id))
            {
                self.outside(cheaper, id);
            }
        }
        for i in 0..2 {
            match world.slots[i].stored {
                Some(stored) => self.person(cheaper, i, stored),
                None => self.again(cheaper, i),
            }
        }
    }

    /// Somebody works on the group past the operator.
    fn outside(&mut self, world: World, id: usize) {
        let group = world.groups[id];
        let theirs = Fields { info: THEIRS, ..group.fields };
        match group.state {
            State::Live => {
                self.changed(world, id, Group { fields: theirs, ..group }, "somebody edits the group");
                self.changed(world, id, Group { state: State::Deleted, ..group }, "somebody deletes the group");
                if self.has_thirty_days(&world, id) {
                    let anew = Group { born: world.clock + 1, ..Group::foreign(Fields { info: THEIRS, ..theirs }) };
                    let label = "somebody deletes the group, and makes it anew when it is purged after 30 days";
                    self.changed(world, id, anew, label);
                }
            }
            State::Deleted => {
                self.changed(world, id, Group { state: State::Live, ..group }, "somebody recovers the group");
                if self.has_thirty_days(&world, id) {
                    self.changed(world, id, Group::ABSENT, "the deleted group is purged after 30 days");
                }
            }
            State::Absent => {
                let theirs = Fields { name: 1, info: THEIRS, admins: 0 };
                let mut all = vec![theirs];
                for stored in world.slots.iter().filter_map(|slot| slot.stored) {
                    if usize::from(stored.id) == id && !all.contains(&stored.fields) {
                        all.push(stored.fields);
                    }
                }
                for fields in all {
                    let twin_of = self.attempting(&world, id);
                    let body = if twin_of == FOREIGN { 0 } else { fields.bit() };
                    let made = Group { born: world.clock + 1, twin_of, body, ..Group::foreign(fields) };
                    let label =
                        if fields == theirs { "somebody creates the group" } else { "somebody creates the very group" };
                    self.changed(world, id, made, label);
                }
            }
        }
    }

    fn changed(&mut self, mut world: World, id: usize, to: Group, label: &'static str) {
        world.clock = world.clock.max(to.born);
        world.drift(|stored, pass| usize::from(stored.id) == id || pass.is_some_and(|pass| usize::from(pass.id) == id));
        world.groups[id] = to;
        self.emit(world, label);
    }

    /// The object whose attempt for this group is open.
    fn attempting(&mut self, world: &World, id: usize) -> u8 {
        let attempts = |stored: &Stored| usize::from(stored.id) == id && self.brief(stored).attempts;
        let mut stored = world.slots.iter().filter_map(|slot| slot.stored);
        stored.find(attempts).map_or(FOREIGN, |stored| stored.uid)
    }

    /// Whether a purge may come now: a call that is under way arrives in seconds and an object waits minutes for its
    /// turn, but what cannot be written may wait for as long as the apiserver refuses it.
    fn has_thirty_days(&self, world: &World, id: usize) -> bool {
        world.late[id].is_none()
            && world.slots.iter().filter_map(|slot| slot.pass).all(|pass| {
                let empty: &Facts = self.library.facts.get(pass.facts);
                pass.stuck || pass.unwritten.is_some() || empty.is_empty()
            })
    }

    /// Somebody works on an object.
    fn person(&mut self, world: World, i: usize, stored: Stored) {
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
                self.touch(world, i, to, "a switch of managementPolicy");
            }
        }
        let other = policies(|policies| {
            let retains = policies.deletion == DeletionPolicy::Retain;
            policies.deletion = if retains { DeletionPolicy::Delete } else { DeletionPolicy::Retain };
        });
        self.touch(world, i, other, "a switch of deletionPolicy");
        if stored.finalizer && !stored.abandoned {
            self.touch(world, i, Stored { abandoned: true, ..stored }, "the annotation to abandon the group");
        }
        if stored.deleting {
            let mut given_up = world;
            if !std::mem::replace(&mut given_up.slots[i].given_up, true) {
                given_up.slots[i].queued = true;
                self.emit(given_up, "no usable credentials for ten minutes in a namespace that goes away");
            }
            return;
        }
        let other = policies(|policies| {
            let reports = policies.deleted == DeletedGroupPolicy::Report;
            policies.deleted = if reports { DeletedGroupPolicy::Recover } else { DeletedGroupPolicy::Report };
        });
        self.touch(world, i, other, "a switch of deletedGroupPolicy");
        self.edits(world, i, edit);
        self.touch(world, i, Stored { force: stored.force + 1, ..stored }, "a forced reconcile");
        self.touch(world, i, Stored { paused: !stored.paused, ..stored }, "a pause, or its end");
        if stored.finalizer {
            self.touch(world, i, Stored { deleting: true, ..edit }, "a deletion");
            return;
        }
        let mut gone = world;
        gone.slots[i].before = Some(Some(stored));
        gone.slots[i].stored = None;
        observe_gone(&mut gone, i);
        self.emit(gone, "a deletion at once");
    }

    /// Each mutable field is changed, added or removed; the others where the admission rules let them be.
    fn edits(&mut self, world: World, i: usize, edit: Stored) {
        let Fields { name, info, admins } = edit.fields;
        for to in (0..=2).filter(|to| *to != info) {
            let fields = Fields { info: to, ..edit.fields };
            self.touch(world, i, Stored { fields, ..edit }, "an edit of groupInfo");
        }
        let fields = Fields { admins: 1 - admins, ..edit.fields };
        self.touch(world, i, Stored { fields, ..edit }, "an edit of administrators");
        let brief = self.brief(&edit);
        let way_out = match brief.reason {
            Some(Reason::GroupDeleted) => true,
            Some(Reason::AppNotFound | Reason::InvalidInput | Reason::Conflict) => !brief.has_record,
            _ => false,
        };
        if way_out {
            self.touch(world, i, Stored { id: 1 - edit.id, ..edit }, "an edit of the identity");
            let fields = Fields { name: u8::from(name == 0), ..edit.fields };
            self.touch(world, i, Stored { fields, ..edit }, "an edit of groupName");
        }
    }

    fn touch(&mut self, mut world: World, i: usize, stored: Stored, label: &'static str) {
        let slot = &mut world.slots[i];
        let before = slot.stored;
        // A read may have shown the object of that name that is gone.
        let earlier = slot.before.flatten().filter(|earlier| earlier.uid != stored.uid);
        slot.before = Some(earlier.or(before));
        slot.stored = Some(stored);
        if before.is_some_and(|before| before.id != stored.id || before.uid != stored.uid) {
            (slot.told, slot.gone) = (false, false);
        }
        self.observe(&mut world, i, &stored);
        world.slots[i].queued |= self.brief(&stored).lane.is_some() || has_lost(&world, i);
        self.emit(world, label);
    }

    /// An object is made, perhaps under the name of one that is gone.
    fn again(&mut self, mut world: World, i: usize) {
        let slot = &mut world.slots[i];
        // Once more under each name is enough, and never under a name that was not used.
        if !(1..=2).contains(&slot.last_uid) {
            return;
        }
        slot.last_uid += 2;
        (slot.told, slot.gone, slot.looked) = (false, false, 0);
        (slot.given_up, slot.called, slot.unheard, slot.sent) = (false, false, 0, 0);
        let uid = slot.last_uid;
        for deletion in DeletionPolicy::ALL {
            let policies = Policies { deletion: *deletion, ..Policies::default() };
            let stored = Stored::new(uid, (policies, FULL), self.library.first_status());
            self.touch(world, i, stored, "a new object");
        }
    }
}
