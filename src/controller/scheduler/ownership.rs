//! Decides which object owns a group if several objects reference the same group at the same service.

use std::sync::Arc;

use super::record::Record;
use super::{ObjectState, Scheduler};
use crate::controller::keys::{AccountKey, Cause, GroupAtService, ObjectKey};
use crate::decide::{Claim, Holder, Priority, holder};
use crate::live::Service;

/// The objects that reference one group.
#[derive(Debug, Default)]
pub struct Group {
    members: Vec<ObjectKey>,
    owner: Option<ObjectKey>,
    /// Whether the status of the owner records an origin.
    is_recorded: bool,
}

impl Group {
    /// The objects that reference the group.
    pub fn members(&self) -> &[ObjectKey] {
        &self.members
    }
}

impl Scheduler {
    /// Returns the other object that owns this object's group. If this object is being deleted, returns the object that
    /// would take over the group instead. Returns `None` if there is no such object.
    pub fn other_claimant(&self, key: &ObjectKey) -> Option<Holder> {
        let record = self.record(key)?;
        let group = self.groups.get(record.group.as_ref()?)?;
        if group.members.len() < 2 || record.observes {
            return None;
        }
        let other = if record.is_deleting { self.next_owner(key, group)? } else { group.owner.as_ref()? };
        let has_origin = self.record(other).is_some_and(Record::has_origin);
        (other != key).then(|| Holder { name: other.to_string(), has_origin })
    }

    /// Whether another object owns this object's group, and this object's status does not report the conflict yet. If
    /// the service refused the last call of this object, the object loses the group only after the owner has recorded
    /// an origin. Otherwise, two refused objects would forever replace each other as the owner.
    pub(super) fn has_lost_group(&self, key: &ObjectKey) -> bool {
        let Some(record) = self.record(key) else { return false };
        if record.is_deleting || record.is_conflict || record.observes {
            return false;
        }
        let group = record.group.as_ref().and_then(|group| self.groups.get(group));
        group.is_some_and(|group| {
            group.owner.as_ref().is_some_and(|owner| owner != key) && (group.is_recorded || record.may_call())
        })
    }

    /// Claims the group of an object whose call is about to be sent. Returns `false` if another object owns the group.
    pub(super) fn claim(&mut self, key: &ObjectKey) -> bool {
        if self.other_claimant(key).is_some() {
            return false;
        }
        let observes = self.record(key).is_some_and(|record| record.observes);
        self.set_in_flight(key, !observes);
        true
    }

    /// Records whether the object has a call that is in flight or whose effect is not recorded yet.
    pub(super) fn set_in_flight(&mut self, key: &ObjectKey, in_flight: bool) {
        let Some(state) = self.objects.get_mut(key) else { return };
        if std::mem::replace(&mut state.record.in_flight, in_flight) != in_flight {
            let group = state.record.group.clone();
            self.settle_owner(group.as_ref());
        }
    }

    pub(super) fn enter_group(&mut self, key: &ObjectKey, group: Option<&Arc<GroupAtService>>) {
        let Some(group) = group.filter(|group| group.service.is_some()) else { return };
        let members = &mut self.groups.entry(Arc::clone(group)).or_default().members;
        if !members.contains(key) {
            // Capacity for exactly one more member is reserved, because most groups have only one member.
            members.reserve_exact(1);
            members.push(key.clone());
        }
        self.settle_owner(Some(group));
    }

    pub(super) fn leave_group(&mut self, key: &ObjectKey, group: Option<&Arc<GroupAtService>>) {
        let Some(group) = group else { return };
        if let Some(state) = self.groups.get_mut(group) {
            state.members.retain(|member| member != key);
        }
        self.settle_owner(Some(group));
        if self.groups.get(group).is_some_and(|state| state.members.is_empty()) {
            self.groups.remove(group);
        }
    }

    /// Recomputes the owner of a group. If the owner changed, wakes the objects that wait for the group. Also wakes the
    /// objects that have lost the group and whose status does not report the conflict yet.
    fn settle_owner(&mut self, group: Option<&Arc<GroupAtService>>) {
        let Some((key, state)) = group.and_then(|group| self.groups.get_key_value(group)) else { return };
        let key = Arc::clone(key);
        let rivals: Vec<&ObjectKey> =
            state.members.iter().filter(|member| self.record(member).is_some_and(Record::is_rival)).collect();
        let claims: Vec<Claim> = rivals.iter().filter_map(|rival| Some(self.record(rival)?.claim())).collect();
        let owner = holder(&claims).map(|index| rivals[index].clone());
        let is_recorded = owner.as_ref().and_then(|owner| self.record(owner)).is_some_and(Record::has_origin);
        let (is_other, is_news) = (owner != state.owner, is_recorded != state.is_recorded);
        let mut members = if is_other || is_news { state.members.clone() } else { Vec::new() };
        members.retain(|member| owner.as_ref() != Some(member));
        if let Some(state) = self.groups.get_mut(&key) {
            (state.owner, state.is_recorded) = (owner, is_recorded);
        }
        if is_other {
            self.queue.unblock(&Cause::Owner(Arc::clone(&key)), usize::MAX);
        }
        for member in members {
            let in_conflict = is_other && self.record(&member).is_some_and(|record| record.is_conflict);
            if in_conflict || self.has_lost_group(&member) {
                self.queue.wake(&member, Priority::Change);
            }
        }
    }

    /// Returns the object that would own the group if the object `key` were deleted. The new owner must be able to call
    /// the Live API, so that an object without credentials cannot prevent the deletion of the group.
    fn next_owner<'a>(&'a self, key: &ObjectKey, group: &'a Group) -> Option<&'a ObjectKey> {
        let candidates: Vec<&ObjectKey> =
            group.members.iter().filter(|member| *member != key && self.may_take_over(member, key)).collect();
        let claims: Vec<Claim> =
            candidates.iter().filter_map(|candidate| Some(self.record(candidate)?.claim())).collect();
        holder(&claims).and_then(|index| candidates.get(index)).copied()
    }

    /// Whether `candidate` can take over the group of `owner`, an object that is being deleted. If the candidate is in
    /// another namespace and uses another account, the service must have accepted the credentials of that account.
    /// Otherwise, any tenant could prevent the deletion of the group.
    fn may_take_over(&self, candidate: &ObjectKey, owner: &ObjectKey) -> bool {
        let (Some(record), Some(owned)) = (self.record(candidate), self.record(owner)) else { return false };
        let is_usable = self.accounts.get(&record.account).is_some_and(|account| account.is_usable);
        let is_trusted = candidate.namespace() == owner.namespace()
            || record.account == owned.account
            || self.breakers.is_proven(&record.account)
            || self.has_proven_object(&record.account);
        !record.observes && !record.is_deleting && record.may_call() && is_usable && is_trusted
    }

    /// Whether the status of an object records that the service accepted a call from this account.
    fn has_proven_object(&self, account: &AccountKey) -> bool {
        let apps = self.apps.iter().filter(|(app, _)| app.account == *account);
        let mut objects = apps.flat_map(|(_, state)| &state.objects);
        objects.any(|key| self.record(key).is_some_and(Record::is_proven))
    }

    /// Records the service of an account. Objects of the account compete for the groups of that service from now on.
    pub(super) fn set_service(&mut self, account: &AccountKey, service: &Service) {
        let is_moved = |state: &ObjectState| {
            let group = state.record.group.as_ref().filter(|_| state.record.account == *account);
            group.is_some_and(|group| group.service.as_ref() != Some(service))
        };
        let moved: Vec<ObjectKey> =
            self.objects.iter().filter(|(_, state)| is_moved(state)).map(|(key, _)| key.clone()).collect();
        for key in moved {
            let Some(state) = self.objects.get_mut(&key) else { continue };
            let former = state.record.group.clone();
            state.record.set_service(service);
            let group = state.record.group.clone();
            self.leave_group(&key, former.as_ref());
            self.enter_group(&key, group.as_ref());
        }
    }

    pub(super) fn record(&self, key: &ObjectKey) -> Option<&Record> {
        self.objects.get(key).map(|state| &state.record)
    }
}
