//! What must hold in every world, at every call and at every write.

use super::Explorer;
use super::index::other_of;
use super::world::{Pass, Shown, State, Stored, World};
use crate::decide::Facts;
use crate::live::{Call, Operation};
use crate::resources::{ConditionStatus, DeletionPolicy, ManagementPolicy, Reason};

impl Explorer {
    /// Before a call is sent.
    pub fn check_call(&mut self, world: &World, i: usize, read: &Stored, pass: &Pass, call: &Call) {
        let brief = self.brief(read);
        self.must(brief.lane.is_some() || pass.suspects, || format!("a call in a settled state: {call:?}"));
        self.must(!read.paused || read.deleting, || format!("a call while paused: {call:?}"));
        let rival = world.slots[1 - i].record.is_some_and(|record| record.in_flight && record.id == read.id);
        self.must(!rival, || "two objects have a call out for one group".to_owned());
        let facts: &Facts = self.library.facts.get(pass.facts);
        let creates = if facts.recovered() == Some(false) { 2 } else { 1 };
        let modified = if pass.modifies.0 == read.generation { pass.modifies.1 } else { 0 };
        let right = match call.operation() {
            Operation::Create => pass.creates < creates,
            Operation::Modify => modified < 2,
            _ => true,
        };
        self.must(right, || format!("one more {} in one pass", call.operation()));
        // Nobody can tell what happened to the group between its Describe and its Delete.
        let maker = world.groups[usize::from(pass.id)].maker;
        self.must(!matches!(call, Call::Delete(..)) || !pass.knows || maker == read.uid, || {
            format!("object {} deletes a group that object {maker} made (0: somebody else)", read.uid)
        });
        let allowed = match self.options.policies.management {
            ManagementPolicy::Manage => true,
            ManagementPolicy::CreateOnly => !matches!(call, Call::Modify(..)),
            ManagementPolicy::Observe => !call.writes(),
        };
        self.must(allowed, || format!("the policy forbids {call:?}"));
    }

    /// Before a status is written: `read` is the object that was acted on, `written` the same with the new status.
    pub fn check_write(&mut self, world: &World, i: usize, read: &Stored, written: &Stored, pass: &Pass) {
        let (old, new, slot) = (self.brief(read), self.brief(written), world.slots[i]);
        self.must(!(new.going_on && new.stalled), || "both Reconciling and Stalled".to_owned());
        let paused = read.paused || old.told_paused;
        // A pause, and the record before a change, leave it.
        let left = paused || (new.ready, new.reason) == (old.ready, old.reason);
        let acted_on = new.observed == i64::from(read.generation) || (left && new.observed == old.observed);
        self.must(acted_on, || format!("observedGeneration {} for {}", new.observed, read.generation));
        let newly_ready = new.ready == ConditionStatus::True
            && (old.ready != ConditionStatus::True || old.observed != new.observed || old.reason != new.reason);
        self.must(!newly_ready || matches!(pass.shown, Shown::Live(_)), || "Ready=True without a look".to_owned());
        let looked = !newly_ready || self.library.facts.get(pass.facts).is_empty() || self.saw_the_fields(pass);
        self.must(looked, || "Ready=True without a look at the group as it is".to_owned());
        let own = pass.shown == Shown::Live(read.uid);
        let newly_created = new.created && !(old.created && old.recorded == new.recorded);
        self.must(!newly_created || own, || "origin Created for a group that it did not make".to_owned());
        let deletes = self.options.policies.deletion == DeletionPolicy::Delete && newly_ready;
        let foreign = matches!(pass.shown, Shown::Live(maker) if maker != read.uid);
        self.must(!(deletes && new.created && foreign && new.recorded == Some(pass.id)), || {
            "origin Created for a later life".to_owned()
        });
        self.must(!(slot.gone && new.created) || own, || "an origin outlives its group".to_owned());
        let own_group = new.ready == ConditionStatus::True && slot.told && new.recorded == Some(pass.id);
        self.must(!own_group || new.created, || "its own group is not recorded as created".to_owned());
        let waits = matches!(new.reason, Some(Reason::Conflict | Reason::NotAuthorized));
        let acknowledged = new.handled != old.handled;
        self.must(!acknowledged || slot.looked >= new.handled || waits, || {
            "a forced reconcile without a look".to_owned()
        });
    }

    fn saw_the_fields(&self, pass: &Pass) -> bool {
        // A create that was answered Created showed them; everything else needs a Describe.
        let facts = self.library.facts.get(pass.facts);
        matches!(facts.remote(), crate::decide::Remote::Live(_))
            || facts.create_outcome() == Some(crate::live::CreateOutcome::Created)
    }

    /// In every world.
    pub fn check_world(&mut self, world: &World) {
        let briefs = world.slots.map(|slot| slot.stored.map(|stored| (stored, self.brief(&stored))));
        if let [Some((a, first)), Some((b, second))] = briefs {
            let both = first.proven && second.proven && a.id == b.id && !a.deleting && !b.deleting;
            self.must(!both, || "two objects hold one group".to_owned());
        }
        if world.late == [None; 2] && world.slots.iter().all(|slot| !slot.queued) {
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
        self.must(brief.lane.is_none() || waits, || format!("object {} is left by everybody", stored.uid));
        if stored.paused || stored.deleting {
            return;
        }
        let group = world.groups[usize::from(stored.id)];
        self.must(brief.observed == i64::from(stored.generation), || "an edit was never acted on".to_owned());
        self.must(!slot.told || brief.created, || format!("object {}: its own group is not recorded", stored.uid));
        let manages = self.options.policies.management == ManagementPolicy::Manage;
        let right = match (brief.ready, brief.reason) {
            (ConditionStatus::True, _) => {
                group.state == State::Live && (!manages || group.info == stored.info || brief.not_taken)
            }
            (_, Some(Reason::GroupDeleted)) => brief.stalled && group.state == State::Deleted,
            (_, Some(Reason::GroupNotFound)) => brief.stalled && group.state == State::Absent,
            (_, reason) => brief.stalled && reason == Some(Reason::Conflict),
        };
        self.must(right || slot.drifted, || format!("object {} rests on something untrue", stored.uid));
    }
}
