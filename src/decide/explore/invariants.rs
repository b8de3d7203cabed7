//! What must hold in every world, at every call and at every write.

use super::Explorer;
use super::index::other_of;
use super::service::target;
use super::world::{FOREIGN, Group, Pass, Shown, State, Stored, World};
use crate::decide::ownership::digest_of_group;
use crate::decide::{Facts, Release};
use crate::live::{Call, Operation};
use crate::resources::{ConditionStatus, ManagementPolicy, Reason};

/// Declares the invariants: a name for the code, and the words in which each is printed.
macro_rules! invariants {
    ($($name:ident: $words:literal,)+) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Invariant { $($name,)+ }

        impl Invariant {
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            pub const fn words(self) -> &'static str {
                match self { $(Self::$name => $words,)+ }
            }
        }
    };
}

invariants! {
    OnlyOwn: "never delete what this object did not create",
    NoChangeLost: "never lose a user's change",
    QuietWhenSettled: "never call in a settled state",
    Ends: "always end settled when faults stop",
    ReadyWasSeen: "Ready=True is only written when the pass's last answer showed the group live",
    InheritsNothing: "an object made again under an old name inherits nothing",
    NobodyLeft: "no state is left by nobody",
    OneHolder: "of two objects that manage one group only one calls, and one holds it",
    Allowed: "no call that a policy or a pause forbids",
    Counted: "one create a pass, a second one after a vain recovery, two changes a generation",
    TrueOrigin: "a recorded origin is the truth, and ends with the group's life",
    TrueStatus: "a status tells of the generation acted on, and Reconciling or Stalled, never both",
    LetGo: "a deletion leaves its own group only to an heir, or where it was given up",
}

impl Explorer {
    /// Before a call is sent.
    pub fn check_call(&mut self, world: &World, i: usize, read: &Stored, pass: &Pass, call: &Call) {
        let brief = self.brief(read);
        self.must(Invariant::QuietWhenSettled, brief.lane.is_some() || pass.suspects, || {
            format!("a call in a settled state: {call:?}")
        });
        let rival = world.slots[1 - i].record.is_some_and(|record| record.in_flight && record.id == read.id);
        self.must(Invariant::OneHolder, !rival || read.observes(), || {
            "two objects have a call out for one group".to_owned()
        });
        let facts: &Facts = self.library.facts.get(pass.facts);
        let creates = if facts.recovered() == Some(false) { 2 } else { 1 };
        let modified = if pass.modifies.0 == read.generation { pass.modifies.1 } else { 0 };
        let right = match call.operation() {
            Operation::Create => pass.creates < creates,
            Operation::Modify => modified < 2,
            _ => true,
        };
        self.must(Invariant::Counted, right, || format!("one more {} in one pass", call.operation()));
        let allowed = match read.policies.management {
            _ if read.paused && !read.deleting => false,
            _ if matches!(call, Call::Delete(..)) => read.deleting && read.deletes(),
            ManagementPolicy::Manage => true,
            ManagementPolicy::CreateOnly => !matches!(call, Call::Modify(..)),
            ManagementPolicy::Observe => !call.is_mutating(),
        };
        self.must(Invariant::Allowed, allowed, || format!("the policies, or a pause, forbid {call:?}"));
        let recovers = read.policies.deleted == crate::resources::DeletedGroupPolicy::Recover;
        let recovery = matches!(call, Call::Recover(_));
        self.must(Invariant::Allowed, !recovery || recovers, || "the policy forbids to recover".to_owned());
        self.check_delete(world, i, read.uid, call);
    }

    /// Before a delete is sent: whose group is it? The one known exception is counted.
    fn check_delete(&mut self, world: &World, i: usize, uid: u8, call: &Call) {
        let (Call::Delete(..), Some(id)) = (call, target(call)) else { return };
        let group = world.groups[id];
        if group.state != State::Live {
            return;
        }
        let excused = group.maker == FOREIGN && group.twin_of == uid && world.slots[i].unheard & group.body != 0;
        self.exceptions += u64::from(excused);
        let right = group.maker == uid || (excused && self.options.excuses);
        self.must(Invariant::OnlyOwn, right, || {
            format!("object {uid} deletes a group that object {} made (0: somebody else)", group.maker)
        });
    }

    /// When a call takes effect, perhaps long after it was sent.
    pub fn check_effect(&mut self, world: &World, call: &Call, uid: u8) {
        let (Call::Delete(..), Some(id)) = (call, target(call)) else { return };
        let group = world.groups[id];
        let right = group.state != State::Live || group.maker == uid || group.twin_of == uid;
        self.must(Invariant::OnlyOwn, right, || format!("a delete of object {uid} hits a group that it did not make"));
    }

    /// Before a status is written: `read` is the object that was acted on, `written` the same with the new status.
    pub fn check_write(&mut self, world: &World, i: usize, read: &Stored, written: &Stored, pass: &Pass) {
        let (old, new, slot) = (self.brief(read), self.brief(written), world.slots[i]);
        self.must(Invariant::TrueStatus, !(new.going_on && new.stalled), || "both Reconciling and Stalled".to_owned());
        let paused = read.paused || old.told_paused;
        // A pause, and the record before a change, leave it.
        let left = paused || (new.ready, new.reason) == (old.ready, old.reason);
        let acted_on = new.observed == i64::from(read.generation) || (left && new.observed == old.observed);
        self.must(Invariant::TrueStatus, acted_on, || {
            format!("observedGeneration {} for {}", new.observed, read.generation)
        });
        let newly_ready = new.ready == ConditionStatus::True
            && (old.ready != ConditionStatus::True || old.observed != new.observed || old.reason != new.reason);
        if newly_ready {
            let looked = matches!(pass.shown, Shown::Live(_)) && self.saw_the_fields(pass);
            self.must(Invariant::ReadyWasSeen, looked, || "Ready=True without a look".to_owned());
        }
        self.check_origin(world, i, read, written, pass, newly_ready);
        let waits = matches!(new.reason, Some(Reason::Conflict | Reason::NotAuthorized));
        let acknowledged = new.handled != old.handled;
        self.must(Invariant::NoChangeLost, !acknowledged || slot.looked >= new.handled || waits, || {
            "a forced reconcile without a look".to_owned()
        });
    }

    fn check_origin(
        &mut self,
        world: &World,
        i: usize,
        read: &Stored,
        written: &Stored,
        pass: &Pass,
        newly_ready: bool,
    ) {
        let (old, new, slot) = (self.brief(read), self.brief(written), world.slots[i]);
        let own = pass.seen == Shown::Live(read.uid);
        let newly_created = new.created && !(old.created && old.recorded == new.recorded);
        self.must(Invariant::TrueOrigin, !newly_created || own, || {
            "origin Created for a group that it did not make".to_owned()
        });
        let foreign = matches!(pass.seen, Shown::Live(_)) && !own && !read.observes();
        let later = read.deletes() && newly_ready && new.created && foreign && new.recorded == Some(pass.id);
        self.must(Invariant::TrueOrigin, !later, || "origin Created for a later life".to_owned());
        let outlived = slot.gone && new.created && !own && !read.observes();
        self.must(Invariant::TrueOrigin, !outlived, || "an origin outlives its group".to_owned());
        let own_group = new.ready == ConditionStatus::True && slot.told && new.recorded == Some(pass.id);
        self.must(Invariant::TrueOrigin, !own_group || new.created, || {
            "its own group is not recorded as created".to_owned()
        });
    }

    fn saw_the_fields(&self, pass: &Pass) -> bool {
        // A create that was answered Created showed them; everything else needs a Describe.
        let facts = self.library.facts.get(pass.facts);
        matches!(facts.remote(), crate::decide::Remote::Live(_))
            || facts.create_outcome() == Some(crate::live::CreateOutcome::Created)
    }

    /// Before an object is let go.
    pub fn check_release(&mut self, world: &World, i: usize, read: &Stored, release: &Release) {
        let (slot, group) = (world.slots[i], world.groups[usize::from(read.id)]);
        let known = slot.told && self.brief(read).proven || !slot.gone && self.attempted(read, &group);
        let own = known && group.state == State::Live && group.maker == read.uid;
        let given_up = read.abandoned || slot.given_up;
        let right = match release {
            Release::HandedOver(_) => world.slots[1 - i].record.is_some_and(|heir| heir.id == read.id),
            Release::Abandoned => given_up,
            // Somebody may have recovered it since.
            Release::Deleted => true,
            Release::Gone | Release::Retained(_) => !own || !read.deletes(),
        };
        self.must(Invariant::LetGo, right, || format!("object {} is let go: {release:?}", read.uid));
    }

    /// Whether an open attempt of this object was begun before the group was made, and sent just what it is.
    fn attempted(&mut self, read: &Stored, group: &Group) -> bool {
        let (brief, object, shown) = (self.brief(read), self.library.object(read), group.snapshot(read.id));
        let attempt = object.attempt().filter(|attempt| attempt.is_open() && brief.recorded == Some(read.id));
        attempt.is_some_and(|attempt| {
            attempt.started_at.parse().ok() <= shown.create_time && attempt.sent.contains(&digest_of_group(&shown))
        })
    }

    /// In every world.
    pub fn check_world(&mut self, world: &World) {
        let briefs = world.slots.map(|slot| slot.stored.map(|stored| (slot, stored, self.brief(&stored))));
        for (slot, stored, brief) in briefs.iter().flatten() {
            self.must(Invariant::InheritsNothing, brief.is_new || slot.called, || {
                format!("object {} has a record of calls that it never made", stored.uid)
            });
        }
        if world.late == [None; 2] && world.slots.iter().all(|slot| !slot.queued) {
            if let [Some((_, a, first)), Some((_, b, second))] = briefs {
                let manage = |object: &Stored| !object.deleting && !object.observes() && !object.paused;
                let both = a.id == b.id && manage(&a) && manage(&b);
                let ready = |brief: &super::Brief| brief.ready == ConditionStatus::True;
                self.must(Invariant::OneHolder, !both || !ready(&first) || !ready(&second), || {
                    "two objects hold one group".to_owned()
                });
            }
            for i in 0..2 {
                self.check_rest(world, i);
            }
        }
    }

    /// Where nothing is left to be done.
    fn check_rest(&mut self, world: &World, i: usize) {
        let slot = world.slots[i];
        let Some(stored) = slot.stored else { return };
        let brief = self.brief(&stored);
        let waits = brief.reason == Some(Reason::Conflict) && other_of(world, i).is_some() && !brief.finalizer_is_wrong;
        self.must(Invariant::NobodyLeft, brief.lane.is_none() || waits, || {
            format!("object {} is left by everybody", stored.uid)
        });
        if stored.paused || stored.deleting {
            return;
        }
        let group = world.groups[usize::from(stored.id)];
        self.must(Invariant::NoChangeLost, brief.observed == i64::from(stored.generation), || {
            "an edit was never acted on".to_owned()
        });
        self.must(Invariant::TrueOrigin, !slot.told || brief.created, || {
            format!("object {}: its own group is not recorded", stored.uid)
        });
        let manages = stored.policies.management == ManagementPolicy::Manage;
        let is = |wanted: u8, found: u8| wanted == 0 || wanted == found;
        let (wanted, found) = (stored.fields, group.fields);
        let same = is(wanted.info, found.info) && is(wanted.admins, found.admins);
        let right = match (brief.ready, brief.reason) {
            (ConditionStatus::True, _) => group.state == State::Live,
            (_, Some(Reason::GroupDeleted)) => brief.stalled && group.state == State::Deleted,
            (_, Some(Reason::GroupNotFound)) => brief.stalled && group.state == State::Absent,
            (_, reason) => brief.stalled && matches!(reason, Some(Reason::Conflict | Reason::InvalidInput)),
        };
        self.must(Invariant::NobodyLeft, right || slot.drifted, || {
            format!("object {} rests on something untrue", stored.uid)
        });
        if manages && brief.ready == ConditionStatus::True && !slot.drifted {
            self.must(Invariant::NoChangeLost, same || brief.not_taken, || {
                format!("object {}: the group is not as its spec says", stored.uid)
            });
            let told = brief.differs != is(wanted.name, found.name) || brief.not_taken;
            self.must(Invariant::NoChangeLost, told, || {
                format!("object {}: what cannot be changed is not told", stored.uid)
            });
        }
    }
}
