//! The pure core: what to do next for one object. No I/O, no clock, no Kubernetes client.
//!
//! The module owns every decision about a group and the status that records it. It may import `resources` and plain types
//! of `live`. Its invariant: a group is deleted only if this object created it.
//!
//! A *pass* works on one object until there is a status to write. It alternates between [`decide`], which says what to
//! do next from the object as read just now and from the [`Facts`] the pass has gathered, and a call whose answer
//! becomes a fact. [`PassOutcome`] turns the end of a pass into the status.

mod account;
mod conflict;
mod deletion;
mod desired;
mod facts;
mod failure;
mod ownership;
mod verdict;

#[cfg(test)]
mod explore;
#[cfg(test)]
mod tests;

pub use account::{AccountCondition, account_status};
pub use conflict::{Claim, holder, is_refused};
pub use deletion::{retained_at_once, without_credentials_since};
pub use desired::{Desired, GroupKey, recorded_group};
pub use facts::{Facts, Remote};
pub use failure::{Failure, FailureDomain, Retry};
pub use ownership::record_before;
pub use verdict::{PassOutcome, SyncState, unreadable_status};

use crate::live::{Call, CreateOutcome, GroupChange, GroupSnapshot};
use crate::resources::{
    ConditionStatus, ConditionType, DeletedGroupPolicy, LiveMessageGroup, ManagementPolicy, Origin, Reason,
};
use ownership::{intent_proves, may_delete, wants_finalizer, was_recreated};

/// How often a change is sent before a field that stays as it was is given up: once, and once more.
const MODIFY_ATTEMPTS: u8 = 2;

/// The fields of a group that the Live API can change.
pub const MUTABLE: [&str; 2] = ["groupInfo", "administrators"];

/// What to do next for an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Nothing: the object is settled, paused or going away.
    Nothing,
    /// Make this call.
    Call(Call),
    /// Add the finalizer, then go on.
    AddFinalizer,
    /// Take the finalizer away from an object that is not being deleted, then go on.
    DropFinalizer,
    /// Remove the finalizer from an object that is being deleted; the outcome says what happened to the group.
    FinishDeletion(DeletionOutcome),
    /// End the pass with this status.
    Write(PassOutcome),
    /// End the pass with this status and try again.
    Fail(Failure),
}

/// What became of the group of an object that was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeletionOutcome {
    /// It was deleted.
    Deleted,
    /// It no longer existed.
    Gone,
    /// It stays, and why.
    Retained(String),
    /// It stays for this other object, which names it.
    HandedOver(String),
    /// It is retained because it could not be deleted.
    Abandoned,
}

/// Another object that holds the same group; of an object that is being deleted: that would take it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// `namespace/name`.
    pub name: String,
}

/// How urgent the work of an object is. Ordered: a greater priority is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// A look at a settled object.
    Resync,
    /// Another try after a failure.
    Retry,
    /// A change by a user: a new object, a generation that was not observed, a forced reconcile.
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

/// The priority of the work of an object; `None` if it has none.
pub fn triage(object: &LiveMessageGroup) -> Option<Priority> {
    triage_after(object, None)
}

/// The same after a try that failed and that has heard of this forced reconcile: it is no news any more.
pub fn triage_after(object: &LiveMessageGroup, heard: Option<&str>) -> Option<Priority> {
    let forced = object.reconcile_is_requested() && (heard.is_none() || object.reconcile_requested_at() != heard);
    if object.is_deleting() {
        // A try that failed waits for its time: the status it has written is no news.
        let tried = is_observed(object) && !object.is_abandoned() && !forced;
        return object.has_finalizer().then_some(if tried { Priority::Retry } else { Priority::Change });
    }
    let paused = object.is_paused();
    if paused != has_condition(object, ConditionType::Paused) {
        return Some(Priority::Change);
    }
    if paused {
        return finalizer_is_wrong(object).then_some(Priority::Change);
    }
    if !is_observed(object) || forced {
        return Some(Priority::Change);
    }
    let owed = !is_settled(object) || object.reconcile_is_requested() || finalizer_is_wrong(object);
    owed.then_some(Priority::Retry)
}

/// Whether the object carries a finalizer that it should not, or lacks one that it should.
pub fn finalizer_is_wrong(object: &LiveMessageGroup) -> bool {
    !object.is_deleting() && wants_finalizer(object) != object.has_finalizer()
}

/// Decides the next step of a pass.
///
/// `other` is another object that names this one's group: the one that holds it, or, for an object that is being
/// deleted, one that would take it over.
pub fn decide(object: &LiveMessageGroup, facts: &Facts, other: Option<&Holder>) -> Action {
    if object.is_deleting() {
        return deletion::decide(object, facts, other);
    }
    if object.is_paused() {
        return finalizer_in_step(object).unwrap_or_else(|| Action::Write(PassOutcome::paused(facts)));
    }
    let desired = match Desired::of(object) {
        Ok(desired) => desired,
        Err(what) => return Action::Write(PassOutcome::waiting(Reason::InvalidInput, what, facts)),
    };
    let observes = object.management_policy() == ManagementPolicy::Observe;
    if let Some(holder) = other.filter(|_| !observes) {
        return finalizer_in_step(object)
            .unwrap_or_else(|| Action::Write(PassOutcome::conflict(object, &desired, holder, facts)));
    }
    if facts.is_empty() && is_settled(object) && is_observed(object) && !object.reconcile_is_requested() {
        if let Some(step) = finalizer_in_step(object) {
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

/// Whether a settled object is described when its pause ends: drift was not corrected meanwhile.
/// Where only a person could go on, or a change was given up, that still holds.
fn needs_observation(object: &LiveMessageGroup) -> bool {
    has_condition(object, ConditionType::Ready) && !MUTABLE.iter().any(|field| object.is_ignored(field))
}

fn finalizer_in_step(object: &LiveMessageGroup) -> Option<Action> {
    let wrong = finalizer_is_wrong(object);
    wrong.then_some(if object.has_finalizer() { Action::DropFinalizer } else { Action::AddFinalizer })
}

/// Looks, and never writes.
fn observe(object: &LiveMessageGroup, desired: &Desired, facts: &Facts) -> Action {
    match facts.remote() {
        Remote::Unknown => Action::Call(Call::Describe(desired.group.clone())),
        Remote::Live(group) => {
            // What the pass did before the switch to Observe is still recorded.
            let origin = if facts.has_effect() { origin(object, desired, facts, Some(group)) } else { None };
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
        Remote::Unknown => match origin(object, desired, facts, None) {
            None => create(object, desired, facts),
            // After a create that sent exactly the spec there is nothing to compare.
            Some(origin) if facts.created_as(&desired.fields) => {
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
    let origin = origin(object, desired, facts, Some(group)).unwrap_or(Origin::Adopted);
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

/// What of a change was not given up.
fn retryable_changes(object: &LiveMessageGroup, change: GroupChange) -> GroupChange {
    let anew = !is_observed(object) || object.reconcile_is_requested();
    let [info, administrators] = MUTABLE.map(|field| anew || !object.is_ignored(field));
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

/// The origin of the group as the pass knows it: what this pass found out, else what is recorded for this very
/// identity. A group that was there already is this object's own where a recorded attempt proves it.
fn origin(
    object: &LiveMessageGroup,
    desired: &Desired,
    facts: &Facts,
    group: Option<&GroupSnapshot>,
) -> Option<Origin> {
    if facts.recovered() == Some(true) {
        return Some(Origin::Recovered);
    }
    let recorded = recorded_group(object).as_ref() == Some(&desired.group_key());
    let known = object.origin().filter(|_| recorded && !facts.group_ended()).map(|origin| {
        // If the group was deleted and recreated by another client, the record describes another group.
        let another = group.is_some_and(|group| was_recreated(object, group));
        if another { Origin::Adopted } else { origin.clone() }
    });
    match facts.create_outcome() {
        Some(CreateOutcome::Created) => Some(Origin::Created),
        Some(CreateOutcome::AlreadyExists) => known.or_else(|| {
            let attempt = object.create_intent().filter(|attempt| recorded && attempt.is_open());
            let own = attempt.zip(group).is_some_and(|(attempt, group)| intent_proves(attempt, group, facts));
            Some(if own { Origin::Created } else { Origin::Adopted })
        }),
        Some(CreateOutcome::AlreadyDelete) => None,
        None => known,
    }
}

/// Whether this very generation was acted on.
pub fn is_observed(object: &LiveMessageGroup) -> bool {
    let observed = object.status.as_ref().and_then(|status| status.observed_generation);
    observed.is_some() && observed == object.metadata.generation
}

/// Whether the recorded outcome needs nothing more: the group is as it should be, or only a person can go on.
fn is_settled(object: &LiveMessageGroup) -> bool {
    let going_on = has_condition(object, ConditionType::Reconciling);
    let final_refusal =
        matches!(object.ready_reason(), Some(Reason::GroupDeleted | Reason::GroupNotFound | Reason::InvalidInput));
    !going_on && (has_condition(object, ConditionType::Ready) || final_refusal)
}

/// Whether the condition has the status `True`.
pub fn has_condition(object: &LiveMessageGroup, kind: ConditionType) -> bool {
    object.condition(kind).map(ConditionStatus::of) == Some(ConditionStatus::True)
}
