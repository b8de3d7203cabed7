//! The invariants, which are checked in every world, at every call and at every write.

use super::Explorer;
use super::access::Returned;
use super::accounts::At;
use super::machine::Access;
use super::mutants::Mutation;
use super::service::target;
use super::world::{FOREIGN, Group, Shown, State, Stored, Trail, World, id_text};
use crate::decide::{DeletionOutcome, Facts, Remote, digest_of_group};
use crate::live::{Call, CreateOutcome, Operation};
use crate::resources::{ConditionStatus, ManagementPolicy, Reason, Uid};

/// Declares the invariants, each with a name in the code and a text for the report.
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
    OnlyOwn: "an object deletes only a group that it created",
    NoChangeLost: "no change by a user is lost",
    QuietWhenSettled: "no call in a settled state",
    Ends: "all work ends when faults and changes stop",
    ReadyWasSeen: "Ready=True is written only if the last response that the pass received showed that the group exists \
         and is not deleted",
    InheritsNothing: "a recreated object inherits nothing from its predecessor",
    NoneForgotten: "no object is left with work to do",
    OneOwner: "if two objects manage one group, only one makes calls and only one owns it",
    Allowed: "no call that a policy or a pause forbids",
    Counted: "a pass sends at most one create (two if a recovery found nothing), no create after the group was \
         recorded as created, and at most two changes per generation",
    Recorded: "a create is recorded before it is sent, if a deletion may depend on it",
    TrueOrigin: "a recorded origin is correct, and is removed with the group",
    TrueStatus: "a status describes the generation that was applied, and never has both Reconciling and Stalled",
    Released: "a deletion that may delete its group retains it only for another object, or if the group is abandoned",
}

impl Invariant {
    /// The invariants that are checked while a hostile service answers. The other invariants do not apply, because the
    /// status of an object reports what that service claims.
    pub const UNDER_ATTACK: &'static [Self] = &[Self::OnlyOwn, Self::InheritsNothing, Self::Allowed, Self::TrueStatus];

    /// The invariants that are checked even while two processes are running. The other invariants require a single
    /// process. If two processes are running, a group may be retained although it could be deleted. One process may
    /// also revert a change that the other process made, until the next drift check detects the difference.
    pub const SAFETY: &'static [Self] = &[
        Self::OnlyOwn,
        Self::QuietWhenSettled,
        Self::Ends,
        Self::ReadyWasSeen,
        Self::InheritsNothing,
        Self::Allowed,
        Self::TrueOrigin,
        Self::TrueStatus,
    ];
}

/// A clock value that a short history of events cannot reach.
const MAX_CLOCK: u8 = 40;

impl Explorer {
    /// Checks a call before it is sent.
    pub fn check_call(&mut self, world: &World, p: usize, i: usize, read: &Stored, call: &Call) {
        let brief = self.brief(read);
        let work = world.processes[p].work;
        let trail = work[i].trail;
        let facts: &Facts = self.library.passes.get(work[i].pass).facts();
        let creates = if facts.recovered() == Some(false) { 2 } else { 1 };
        let has_begun = facts.create_outcome().is_some() || facts.has_effect() || *facts.remote() != Remote::Unknown;
        let has_work = brief.priority.is_some() || trail.suspects || has_begun;
        self.must(Invariant::QuietWhenSettled, has_work, || format!("a call in a settled state: {call:?}"));
        // If this object was deleted or now references another group, its call can no longer be stopped. In that case,
        // a call of the other object for the same group does not violate the invariant.
        let own = self.known(&work[i]).record.as_ref().filter(|own| own.uid == Uid::from(&*read.uid.to_string()));
        let is_claimed =
            own.and_then(|own| own.group.as_ref()).is_some_and(|group| *group.group.group_id == *id_text(read.id));
        let other = self.known(&work[1 - i]).record.as_ref();
        let is_rival = other.is_some_and(|record| {
            let names = record.group.as_ref().is_some_and(|group| *group.group.group_id == *id_text(read.id));
            record.in_flight && names
        });
        self.must(Invariant::OneOwner, !is_rival || read.observes() || !is_claimed, || {
            "two objects have calls for one group in flight".to_owned()
        });
        let modified = if trail.modifies.0 == read.generation { trail.modifies.1 } else { 0 };
        let stored = world.objects[i].stored.filter(|stored| (stored.uid, stored.id) == (read.uid, read.id));
        let is_outdated = !brief.created && stored.is_some_and(|stored| self.brief(&stored).created);
        let is_counted = match call.operation() {
            Operation::Create => trail.creates < creates && !is_outdated,
            Operation::Modify => modified < 2,
            _ => true,
        };
        self.must(Invariant::Counted, is_counted, || format!("one more {} in one pass", call.operation()));
        let is_allowed = match read.policies.management {
            _ if read.paused && !read.deleting => false,
            _ if matches!(call, Call::Delete(_)) => read.deleting && read.deletes(),
            ManagementPolicy::Manage => true,
            ManagementPolicy::CreateOnly => !matches!(call, Call::Modify(..)),
            ManagementPolicy::Observe => !call.is_mutating(),
        };
        self.must(Invariant::Allowed, is_allowed, || format!("the policies or a pause forbid {call:?}"));
        let recovers = read.policies.deleted == crate::resources::DeletedGroupPolicy::Recover;
        let is_recovery = matches!(call, Call::Recover(_));
        self.must(Invariant::Allowed, !is_recovery || recovers, || "the policy forbids a recovery".to_owned());
        let rests_on_it = matches!(call, Call::Create(..)) && read.deletes();
        let is_recorded = brief.has_open_intent && brief.recorded == Some(read.id);
        self.must(Invariant::Recorded, !rests_on_it || is_recorded, || "a create without an intent".to_owned());
        if work[i].at != At::Hostile {
            self.check_delete(world, i, read.uid, call);
        }
    }

    /// Checks that an object deletes only a group that it created. There is one known exception, which is counted:
    /// another client creates the same group after the intent is recorded, and the answer to the object's own create is
    /// lost.
    fn check_delete(&mut self, world: &World, i: usize, uid: u8, call: &Call) {
        let (Call::Delete(_), Some(id)) = (call, target(call)) else { return };
        let group = world.groups[id];
        if group.state != State::Live {
            return;
        }
        let is_excused = group.maker == FOREIGN && group.twin_of == uid && world.objects[i].unheard & group.body != 0;
        self.exceptions += u64::from(is_excused);
        let is_excused = is_excused && !matches!(self.mutation, Mutation::WithoutTheException);
        self.must(Invariant::OnlyOwn, group.maker == uid || is_excused, || {
            format!("object {uid} deletes a group that object {} created (0: another client)", group.maker)
        });
    }

    /// Checks a delete when it takes effect, which may be long after it was sent.
    pub fn check_effect(&mut self, world: &World, call: &Call, uid: u8) {
        let (Call::Delete(_), Some(id)) = (call, target(call)) else { return };
        let group = world.groups[id];
        let is_right = group.state != State::Live || group.maker == uid || group.twin_of == uid;
        self.must(Invariant::OnlyOwn, is_right, || {
            format!("a delete call from object {uid} reaches a group that object {uid} did not create")
        });
    }

    /// Checks a status before it is written. `read` is the object that the pass read, and `written` is the same object
    /// with the new status.
    pub fn check_write(&mut self, world: &World, p: usize, i: usize, read: &Stored, written: &Stored) {
        let (old, new) = (self.brief(read), self.brief(written));
        let work = world.processes[p].work[i];
        self.must(Invariant::TrueStatus, !(new.reconciling && new.stalled), || {
            "both Reconciling and Stalled".to_owned()
        });
        let is_paused = read.paused || old.reports_pause;
        // Neither a pause nor a write before a call changes `observedGeneration`.
        let is_left = is_paused || (new.ready, new.reason) == (old.ready, old.reason);
        let is_acted_on = new.observed == i64::from(read.generation) || (is_left && new.observed == old.observed);
        self.must(Invariant::TrueStatus, is_acted_on, || {
            format!("observedGeneration {} for {}", new.observed, read.generation)
        });
        let is_newly_ready = new.ready == ConditionStatus::True
            && (old.ready != ConditionStatus::True || old.observed != new.observed || old.reason != new.reason);
        if is_newly_ready {
            let has_looked = matches!(work.trail.shown, Shown::Live(_)) && self.saw_the_fields(work.pass);
            self.must(Invariant::ReadyWasSeen, has_looked, || {
                "Ready=True although the pass has not seen the group".to_owned()
            });
        }
        self.check_origin(read, written, &work.trail, is_newly_ready);
        let waits = matches!(new.reason, Some(Reason::Conflict | Reason::NotAuthorized | Reason::CredentialsMissing));
        let is_handled = new.handled == old.handled || world.objects[i].looked >= new.handled || waits;
        self.must(Invariant::NoChangeLost, is_handled, || {
            "a forced reconcile is acknowledged without a call".to_owned()
        });
    }

    fn check_origin(&mut self, read: &Stored, written: &Stored, trail: &Trail, is_newly_ready: bool) {
        let (old, new) = (self.brief(read), self.brief(written));
        let is_own = trail.seen == Shown::Live(read.uid);
        let newly_created = new.created && !(old.created && old.recorded == new.recorded);
        self.must(Invariant::TrueOrigin, !newly_created || is_own, || {
            "origin Created for a group that the object did not create".to_owned()
        });
        let is_foreign = matches!(trail.seen, Shown::Live(_)) && !is_own && !read.observes();
        let is_later = read.deletes() && is_newly_ready && new.created && is_foreign && new.recorded == Some(trail.id);
        self.must(Invariant::TrueOrigin, !is_later, || "origin Created for a later group".to_owned());
        let outlives = trail.gone && new.created && !is_own && !read.observes();
        self.must(Invariant::TrueOrigin, !outlives, || "an origin outlives its group".to_owned());
        let is_ready = new.ready == ConditionStatus::True && trail.made && new.recorded == Some(trail.id);
        self.must(Invariant::TrueOrigin, !is_ready || new.created, || {
            "its own group is not recorded as created".to_owned()
        });
    }

    /// Whether the pass knows every field of the group, from a Describe or from a create whose answer was `Created`.
    fn saw_the_fields(&self, pass: u32) -> bool {
        let facts = self.library.passes.get(pass).facts();
        matches!(facts.remote(), Remote::Live(_)) || facts.create_outcome() == Some(CreateOutcome::Created)
    }

    /// Checks the decision to remove the finalizer. The check does not detect that the next owner is deleted after the
    /// decision but before the patch.
    pub fn check_release(&mut self, world: &World, p: usize, i: usize, read: &Stored) {
        let work = world.processes[p].work;
        let (trail, group) = (work[i].trail, world.groups[usize::from(read.id)]);
        let Some(outcome) = self.library.passes.get(work[i].pass).deletion_outcome().cloned() else { return };
        let is_known = trail.made && self.brief(read).is_proven || !trail.gone && self.intended(read, &group);
        let is_own = is_known && group.is_live() && group.maker == read.uid;
        let next_owner = self.known(&work[1 - i]).record.as_ref().and_then(|record| record.group.as_deref());
        let is_right = match &outcome {
            DeletionOutcome::HandedOver(_) => {
                next_owner.is_some_and(|group| *group.group.group_id == *id_text(read.id))
            }
            DeletionOutcome::Abandoned => read.abandoned || world.objects[i].timed_out,
            // In the explored worlds, every namespace may use the operator's credentials.
            DeletionOutcome::NotPermitted => false,
            // Another client may have recovered the group after the object deleted it.
            DeletionOutcome::Deleted => true,
            DeletionOutcome::Gone | DeletionOutcome::Retained(_) => !is_own || !read.deletes(),
        };
        self.must(Invariant::Released, is_right, || format!("object {} is released: {outcome:?}", read.uid));
    }

    /// Whether this object has an open create intent that is older than the group, and has sent a create with the
    /// group's fields under this intent.
    fn intended(&mut self, read: &Stored, group: &Group) -> bool {
        let (brief, object, shown) = (self.brief(read), self.library.object(read), group.snapshot(read.id));
        let intent = object.create_intent().filter(|intent| intent.is_open() && brief.recorded == Some(read.id));
        intent.is_some_and(|intent| {
            intent.started_at.parse().ok() <= shown.create_time && intent.sent.contains(&digest_of_group(&shown))
        })
    }

    /// Checks the invariants of one world.
    pub fn check_world(&mut self, world: &World) {
        // The search for cycles does not find a loop that creates groups or intents. Each new group or intent advances
        // the clock, so the loop never returns to an earlier world. It is detected here, because its clock grows.
        self.must(Invariant::Ends, world.clock < MAX_CLOCK, || "groups or intents are created without end".to_owned());
        for object in world.objects {
            let Some(stored) = object.stored else { continue };
            let is_new = self.brief(&stored).is_new;
            self.must(Invariant::InheritsNothing, is_new || object.called, || {
                format!("object {} has a record of calls that it never made", stored.uid)
            });
        }
        let rests = (0..2).all(|i| self.rests(world, 0, i)) && !world.processes[1].runs;
        if world.late != [None; 2] || !rests {
            return;
        }
        if let [Some(a), Some(b)] = world.objects.map(|object| object.stored) {
            let manages = |object: &Stored| !object.deleting && !object.observes() && !object.paused;
            let both = a.id == b.id && manages(&a) && manages(&b);
            let are_ready = [a, b].iter().all(|object| self.brief(object).ready == ConditionStatus::True);
            self.must(Invariant::OneOwner, !both || !are_ready, || "two objects own one group".to_owned());
        }
        for i in 0..2 {
            self.check_rest(world, i);
        }
    }

    /// Checks an object that has no work left.
    fn check_rest(&mut self, world: &World, i: usize) {
        let (object, trail) = (world.objects[i], world.processes[0].work[i].trail);
        let Some(stored) = object.stored else { return };
        let brief = self.brief(&stored);
        let has_owner = self.access(&mut world.clone(), 0, i, Access::Owner) != Returned::Nothing;
        let waits = brief.reason == Some(Reason::Conflict) && has_owner && !brief.finalizer_is_wrong;
        self.must(Invariant::NoneForgotten, brief.priority.is_none() || waits, || {
            format!("object {} has work to do and is not queued", stored.uid)
        });
        if stored.paused || stored.deleting {
            return;
        }
        let group = world.groups[usize::from(stored.id)];
        self.must(Invariant::NoChangeLost, brief.observed == i64::from(stored.generation), || {
            "an edit was never acted on".to_owned()
        });
        self.must(Invariant::TrueOrigin, !trail.made || brief.created, || {
            format!("object {}: its own group is not recorded", stored.uid)
        });
        let is_right = match (brief.ready, brief.reason) {
            (ConditionStatus::True, _) => group.is_live(),
            (_, Some(Reason::GroupDeleted)) => brief.stalled && group.state == State::Deleted,
            (_, Some(Reason::GroupNotFound)) => brief.stalled && group.state == State::Absent,
            (_, reason) => brief.stalled && matches!(reason, Some(Reason::Conflict | Reason::InvalidInput)),
        };
        self.must(Invariant::NoneForgotten, is_right || object.drifted, || {
            format!("object {} is idle with a wrong status", stored.uid)
        });
        let manages = stored.policies.management == ManagementPolicy::Manage;
        if manages && brief.ready == ConditionStatus::True && !object.drifted {
            self.check_fields(&stored, &group);
        }
    }

    /// Checks that a group matches the spec, or that the status reports the difference.
    fn check_fields(&mut self, stored: &Stored, group: &Group) {
        let brief = self.brief(stored);
        let is = |wanted: u8, found: u8| wanted == 0 || wanted == found;
        let (wanted, found) = (stored.fields, group.fields);
        let is_same = is(wanted.info, found.info) && is(wanted.admins, found.admins);
        self.must(Invariant::NoChangeLost, is_same || brief.update_ignored, || {
            format!("object {}: the group does not match its spec", stored.uid)
        });
        let is_reported = brief.differs != is(wanted.name, found.name) || brief.update_ignored;
        self.must(Invariant::NoChangeLost, is_reported, || {
            format!("object {}: a difference in an immutable field is not reported", stored.uid)
        });
    }
}
