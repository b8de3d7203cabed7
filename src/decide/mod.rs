//! Decides the next step for one object. The module is pure: it has no I/O, no clock and no Kubernetes client.
//!
//! The module makes every decision about a group, and computes the status that records the decision. It may import
//! `resources` and plain types of `live`. Its invariant: the deletion of an object deletes the group only if the object
//! created the group.
//!
//! A *reconcile pass* works on one object until its status can be written. [`decide`] determines the next step from the
//! object and the [`Facts`] of the pass. If the step is a call, the answer to the call is recorded in the facts and
//! `decide` runs again. A pass ends with a [`PassOutcome`], from which the status is computed.

mod account;
mod conflict;
mod deletion;
mod desired;
mod facts;
mod failure;
mod outcome;
mod ownership;
mod unreadable;

#[cfg(test)]
mod tests;

pub use account::{AccountCondition, AccountNumbers, account_status};
pub use conflict::{Claim, has_record, holder, is_refused};
pub use deletion::{retained_at_once, without_credentials_since};
pub use desired::{Desired, GroupKey, group_in, recorded_group, records_group_of_spec};
pub use facts::{Facts, Remote};
pub use failure::{Failure, FailureDomain, Retry};
pub use outcome::{PassOutcome, SyncState, unreadable_status};
pub use ownership::record_before;
#[cfg(test)]
pub use ownership::{digest_of_group, owns};
pub use unreadable::{UnreadableAction, decide_unreadable, time_until_release};

use crate::live::{Call, CreateOutcome, GroupChange, GroupSnapshot};
use crate::resources::{
    ConditionStatus, ConditionType, DeletedGroupPolicy, LiveMessageGroup, ManagementPolicy, Origin, Reason,
};
use ownership::{intent_proves, may_delete, open_intent, wants_finalizer, was_recreated};

/// The maximum number of times that a pass sends a change. If a field still has its old value afterwards, the field
/// counts as ignored.
const MODIFY_ATTEMPTS: u8 = 2;

/// The fields of a group that the Live API can change.
pub const MUTABLE: [&str; 2] = ["groupInfo", "administrators"];

/// The next step for an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Nothing to do: the object is settled, or it is being deleted and has no finalizer.
    Nothing,
    /// Send this call.
    Call(Call),
    /// Add the finalizer, then decide the next step again.
    AddFinalizer,
    /// Remove the finalizer from an object that is not being deleted, then decide the next step again.
    DropFinalizer,
    /// Remove the finalizer from an object that is being deleted, and report what happened to the group.
    FinishDeletion(DeletionOutcome),
    /// End the pass, and write the status of this outcome.
    Write(PassOutcome),
    /// End the pass with this failure, which says when to retry.
    Fail(Failure),
}

/// The effect of an object's deletion on its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeletionOutcome {
    /// The group was deleted.
    Deleted,
    /// The group no longer existed.
    Gone,
    /// The group is retained, for this reason.
    Retained(String),
    /// The group is retained because another object references it. The text identifies that object (see
    /// [`Holder::shown_to`]).
    HandedOver(String),
    /// The group is retained because the namespace of the object may not use the operator's own credentials.
    NotPermitted,
    /// The group is retained because its deletion was abandoned, either by the annotation or after it stalled for too
    /// long.
    Abandoned,
}

/// Another object that references the same group as the object of the pass. It owns the group, or it takes over the
/// group when the object of the pass is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// `namespace/name`.
    pub name: String,
    /// Whether the status of the other object records an origin, which means that the other object created, adopted or
    /// recovered the group.
    pub has_origin: bool,
}

impl Holder {
    /// Returns the name of this object for the messages of `object`. The name is hidden if `object` is in another
    /// namespace, because the readers of its messages may lack permission to see the namespace of this object. The
    /// operator's log contains the name.
    pub fn shown_to(&self, object: &LiveMessageGroup) -> String {
        let namespace = self.name.split_once('/').map(|(namespace, _)| namespace);
        if namespace == object.metadata.namespace.as_deref() {
            format!("LiveMessageGroup {}", self.name)
        } else {
            "an object of another namespace".to_owned()
        }
    }
}

/// The priority of an object in the queue. Objects with a greater value are processed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// A check of a settled object.
    Resync,
    /// A retry after a failure.
    Retry,
    /// A change by a user: a new object, a new generation or a forced reconcile.
    Change,
}

impl Priority {
    /// The value of the metric label `priority`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resync => "resync",
            Self::Retry => "retry",
            Self::Change => "change",
        }
    }
}

/// Returns the priority of the pending work of an object, or `None` if the object has no pending work.
pub fn triage(object: &LiveMessageGroup) -> Option<Priority> {
    triage_after(object, None)
}

/// Like [`triage`], but for an object whose forced reconcile failed. `tried` is the annotation value that requested
/// this reconcile. A retry of the reconcile has the priority [`Priority::Retry`].
pub fn triage_after(object: &LiveMessageGroup, tried: Option<&str>) -> Option<Priority> {
    let forced = object.reconcile_is_requested() && (tried.is_none() || object.reconcile_requested_at() != tried);
    if object.is_deleting() {
        // After a failed deletion, the object waits until its backoff ends. The status update that reports the failure
        // does not count as a change by a user.
        let is_retry = is_observed(object) && !object.is_abandoned() && !forced;
        return object.has_finalizer().then_some(if is_retry { Priority::Retry } else { Priority::Change });
    }
    let paused = object.is_paused();
    if paused != has_condition(object, ConditionType::Paused) {
        return Some(Priority::Change);
    }
    if paused {
        return finalizer_is_wrong(object).then_some(Priority::Change);
    }
    // If the first call for a generation must wait for a long time, the status reports the reason `Queued`. This report
    // does not change the priority of the object.
    if !is_observed(object) || forced || object.ready_reason() == Some(Reason::Queued) {
        return Some(Priority::Change);
    }
    let has_pending_work = !is_settled(object) || object.reconcile_is_requested() || finalizer_is_wrong(object);
    has_pending_work.then_some(Priority::Retry)
}

/// Whether the object has a finalizer that it should not have, or lacks one that it should have.
pub fn finalizer_is_wrong(object: &LiveMessageGroup) -> bool {
    !object.is_deleting() && wants_finalizer(object) != object.has_finalizer()
}

/// Decides the next step of a pass.
///
/// `other` is another object that references the same group.
pub fn decide(object: &LiveMessageGroup, facts: &Facts, other: Option<&Holder>) -> Action {
    if object.is_deleting() {
        return deletion::decide(object, facts, other);
    }
    if object.is_paused() {
        return finalizer_step(object).unwrap_or_else(|| Action::Write(PassOutcome::paused(facts)));
    }
    let desired = match Desired::of(object) {
        Ok(desired) => desired,
        Err(message) => return Action::Write(PassOutcome::waiting(Reason::InvalidInput, message, facts)),
    };
    let observes = object.management_policy() == ManagementPolicy::Observe;
    let is_idle = facts.is_empty() && is_settled(object) && is_observed(object) && !object.reconcile_is_requested();
    // If the Live API rejected this object's calls and neither object has a group, this object keeps its status. If it
    // reported a conflict instead, the two objects would take turns: whenever the Live API rejects the calls of one
    // object, the other object would retry.
    let is_recorded = has_record(object) && facts.is_at_recorded_account(object);
    let keeps_refusal = |holder: &Holder| is_idle && !holder.has_origin && is_refused(object, is_recorded, false);
    if let Some(holder) = other.filter(|holder| !observes && !keeps_refusal(holder)) {
        return finalizer_step(object)
            .unwrap_or_else(|| Action::Write(PassOutcome::conflict(object, &desired, holder, facts)));
    }
    if is_idle {
        if let Some(step) = finalizer_step(object) {
            return step;
        }
        if !has_condition(object, ConditionType::Paused) {
            return Action::Nothing;
        }
        if observes || !needs_observation(object) {
            return Action::Write(PassOutcome::Resumed);
        }
    }
    if observes { observe(object, &desired, facts) } else { advance(object, &desired, facts) }
}

/// Whether a settled object needs a Describe call when its pause ends, because drift was not corrected during the
/// pause. If manual intervention is required or a change was ignored, a Describe call would not help.
fn needs_observation(object: &LiveMessageGroup) -> bool {
    has_condition(object, ConditionType::Ready) && !MUTABLE.iter().any(|field| object.is_ignored(field))
}

fn finalizer_step(object: &LiveMessageGroup) -> Option<Action> {
    let wrong = finalizer_is_wrong(object);
    wrong.then_some(if object.has_finalizer() { Action::DropFinalizer } else { Action::AddFinalizer })
}

/// Returns the next step for an object whose managementPolicy is Observe. This step never changes the group.
fn observe(object: &LiveMessageGroup, desired: &Desired, facts: &Facts) -> Action {
    match facts.remote() {
        Remote::Unknown => Action::Call(Call::Describe(desired.group.clone())),
        Remote::Live(group) => {
            // The pass may have created or changed the group before managementPolicy became Observe. In that case, the
            // status must still record the origin of the group.
            let origin = if facts.has_effect() { origin(object, facts, Some(group)) } else { None };
            Action::Write(PassOutcome::observed(desired, origin, facts, group))
        }
        Remote::Absent => Action::Write(PassOutcome::not_found(desired, facts)),
        Remote::Deleted => Action::Write(PassOutcome::deleted(desired, true, facts)),
    }
}

fn advance(object: &LiveMessageGroup, desired: &Desired, facts: &Facts) -> Action {
    match facts.remote() {
        Remote::Deleted => deleted(object, desired, facts),
        Remote::Absent => create(object, desired, facts),
        Remote::Unknown => match origin(object, facts, None) {
            None => create(object, desired, facts),
            // The create sent every field of the spec, so there is nothing to compare. However, if a deletion may
            // delete the group, the exact create time is needed.
            Some(origin) if facts.created_as(&desired.fields) && !may_delete(object) => {
                Action::Write(PassOutcome::live(desired, origin, facts, None, Some(SyncState::Equal)))
            }
            Some(_) => Action::Call(Call::Describe(desired.group.clone())),
        },
        Remote::Live(group) => compare(object, desired, facts, group),
    }
}

fn create(object: &LiveMessageGroup, desired: &Desired, facts: &Facts) -> Action {
    if !facts.may_create() {
        return Action::Fail(Failure::contradiction());
    }
    if may_delete(object) && !object.has_finalizer() {
        return Action::AddFinalizer;
    }
    Action::Call(Call::Create(desired.group.clone(), desired.fields.clone()))
}

fn deleted(object: &LiveMessageGroup, desired: &Desired, facts: &Facts) -> Action {
    if object.deleted_group_policy() == DeletedGroupPolicy::Recover && facts.recovered().is_none() {
        return Action::Call(Call::Recover(desired.group.clone()));
    }
    Action::Write(PassOutcome::deleted(desired, false, facts))
}

fn compare(object: &LiveMessageGroup, desired: &Desired, facts: &Facts, group: &GroupSnapshot) -> Action {
    let origin = origin(object, facts, Some(group)).unwrap_or(Origin::Adopted);
    let live = |sync| Action::Write(PassOutcome::live(desired, origin.clone(), facts, group.create_time, sync));
    if object.management_policy() == ManagementPolicy::CreateOnly {
        return live(None);
    }
    let change = desired.difference(group);
    let generation = object.metadata.generation.unwrap_or_default();
    let retryable_changes = retryable_changes(object, change.clone());
    if !retryable_changes.is_empty() && facts.modifies_of(generation) < MODIFY_ATTEMPTS {
        return Action::Call(Call::Modify(desired.group.clone(), retryable_changes));
    }
    if !change.is_empty() {
        return live(Some(SyncState::Ignored(changed_fields(&change))));
    }
    let fields = desired.immutable_difference(group);
    live(Some(if fields.is_empty() { SyncState::Equal } else { SyncState::ImmutableDiffer(fields) }))
}

/// Removes ignored fields from a change. The operator sends these fields again only after the spec changes or a
/// reconcile pass is requested.
fn retryable_changes(object: &LiveMessageGroup, change: GroupChange) -> GroupChange {
    let resend = !is_observed(object) || object.reconcile_is_requested();
    let [info, administrators] = MUTABLE.map(|field| resend || !object.is_ignored(field));
    GroupChange {
        group_info: change.group_info.filter(|_| info),
        administrators: change.administrators.filter(|_| administrators),
    }
}

fn changed_fields(change: &GroupChange) -> Vec<&'static str> {
    let [info, administrators] = MUTABLE;
    let info = change.group_info.as_ref().map(|_| info);
    let administrators = change.administrators.as_ref().map(|_| administrators);
    info.into_iter().chain(administrators).collect()
}

/// Returns the origin of the group, according to this pass or else according to the status. If the create finds an
/// existing group, the recorded create intent can prove that this object created that group.
fn origin(object: &LiveMessageGroup, facts: &Facts, group: Option<&GroupSnapshot>) -> Option<Origin> {
    if facts.recovered() == Some(true) {
        return Some(Origin::Recovered);
    }
    let recorded = records_group_of_spec(object);
    let known = object.origin().filter(|_| recorded && !facts.group_ended()).map(|origin| {
        // The record does not apply to a group that another client has recreated. It also does not apply if the record
        // was made with another account, because that account may use a service that returns arbitrary answers.
        let another = !facts.is_at_recorded_account(object) || group.is_some_and(|group| was_recreated(object, group));
        if another { Origin::Adopted } else { origin.clone() }
    });
    match facts.create_outcome() {
        Some(CreateOutcome::Created) => Some(Origin::Created),
        Some(CreateOutcome::AlreadyExists) => known.or_else(|| {
            let own = open_intent(object, facts)
                .zip(group)
                .is_some_and(|(intent, group)| intent_proves(intent, group, facts));
            Some(if own { Origin::Created } else { Origin::Adopted })
        }),
        Some(CreateOutcome::AlreadyDelete) => None,
        None => known,
    }
}

/// Whether the status was written for the current generation.
pub fn is_observed(object: &LiveMessageGroup) -> bool {
    let observed = object.status.as_ref().and_then(|status| status.observed_generation);
    observed.is_some() && observed == object.metadata.generation
}

/// Whether the operator has nothing left to do: the group is live, or manual intervention is required.
fn is_settled(object: &LiveMessageGroup) -> bool {
    let is_reconciling = has_condition(object, ConditionType::Reconciling);
    let final_refusal =
        matches!(object.ready_reason(), Some(Reason::GroupDeleted | Reason::GroupNotFound | Reason::InvalidInput));
    !is_reconciling && (has_condition(object, ConditionType::Ready) || final_refusal)
}

/// Whether the condition has the status `True`.
pub fn has_condition(object: &LiveMessageGroup, kind: ConditionType) -> bool {
    object.condition(kind).map(ConditionStatus::of) == Some(ConditionStatus::True)
}
