//! The pure core: what to do next for one object. No I/O, no clock, no Kubernetes client.
//!
//! A *pass* works on one object until there is a status to write. It alternates between [`decide`], which says what to
//! do next from the object as read just now and from the [`Facts`] the pass has gathered, and a call whose answer
//! becomes a fact. [`Verdict`] turns the end of a pass into the status.

mod conflict;
mod desired;
mod facts;
mod failure;
mod verdict;

#[cfg(test)]
mod tests;

pub use conflict::{Claim, holder};
pub use desired::{Desired, Identity, recorded_identity};
pub use facts::{Facts, Remote};
pub use failure::{Failure, GateKind, Retry};
pub use verdict::{Sync, Verdict, unreadable_status};

use crate::live::{Call, CreateOutcome, GroupChange, GroupSnapshot};
use crate::resources::{ConditionStatus, ConditionType, LiveMessageGroup, Origin, Reason};

/// How often a change is sent before a field that stays as it was is given up: once, and once more.
const MODIFY_ATTEMPTS: u8 = 2;

/// What to do next for an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Nothing: the object is settled, paused or going away.
    Nothing,
    /// Make this call.
    Call(Call),
    /// End the pass with this status.
    Write(Verdict),
    /// End the pass with this status and try again.
    Fail(Failure),
}

/// Another object that holds the same group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// `namespace/name`.
    pub name: String,
}

/// How urgent an object's work is. Ordered: a greater lane goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// A look at something that was settled.
    Sweep,
    /// Another try after a failure.
    Retry,
    /// Something a user did: a new object, a generation not observed, a forced reconcile.
    Change,
}

/// The lane of the work an object has, or `None` where it has none: what its events are sorted by.
pub fn triage(object: &LiveMessageGroup) -> Option<Lane> {
    if object.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let paused = object.is_paused();
    if paused != has_condition(object, ConditionType::Paused) {
        return Some(Lane::Change);
    }
    if paused {
        return None;
    }
    if !is_observed(object) || object.reconcile_is_requested() {
        return Some(Lane::Change);
    }
    (!is_settled(object)).then_some(Lane::Retry)
}

/// Decides the next step of a pass.
///
/// `holder` is the object that holds this one's group, where it is another one.
pub fn decide(object: &LiveMessageGroup, facts: &Facts, holder: Option<&Holder>) -> Action {
    if object.metadata.deletion_timestamp.is_some() {
        return Action::Nothing;
    }
    if object.is_paused() {
        return Action::Write(Verdict::paused(facts));
    }
    let desired = match Desired::of(object) {
        Ok(desired) => desired,
        Err(what) => return Action::Write(Verdict::waiting(Reason::InvalidInput, what, facts)),
    };
    if let Some(holder) = holder {
        return Action::Write(Verdict::conflict(&desired, holder, facts));
    }
    if facts.is_empty() && is_settled(object) && is_observed(object) && !object.reconcile_is_requested() {
        return if has_condition(object, ConditionType::Paused) {
            Action::Write(Verdict::Resumed)
        } else {
            Action::Nothing
        };
    }
    advance(object, &desired, facts)
}

fn advance(object: &LiveMessageGroup, desired: &Desired, facts: &Facts) -> Action {
    let origin = origin(object, desired, facts);
    match facts.remote() {
        Remote::Deleted => Action::Write(Verdict::deleted(desired, facts)),
        Remote::Absent if facts.create_outcome().is_some() => Action::Fail(Failure::contradiction()),
        Remote::Absent => Action::Call(Call::Create(desired.group.clone(), desired.fields.clone())),
        Remote::Unknown => match origin {
            None => Action::Call(Call::Create(desired.group.clone(), desired.fields.clone())),
            // A create that sent just what the spec says has left nothing to compare.
            Some(origin) if facts.created_as(&desired.fields) => {
                Action::Write(Verdict::live(desired, origin, facts, None, Sync::Equal))
            }
            Some(_) => Action::Call(Call::Describe(desired.group.clone())),
        },
        Remote::Live(group) => compare(object, desired, facts, group, origin),
    }
}

fn compare(
    object: &LiveMessageGroup,
    desired: &Desired,
    facts: &Facts,
    group: &GroupSnapshot,
    origin: Option<Origin>,
) -> Action {
    let origin = origin.unwrap_or(Origin::Adopted);
    let change = desired.difference(group);
    let generation = object.metadata.generation.unwrap_or_default();
    if !change.is_empty() && facts.modifies_of(generation) < MODIFY_ATTEMPTS {
        return Action::Call(Call::Modify(desired.group.clone(), change));
    }
    let sync = if !change.is_empty() {
        Sync::NotTaken(changed_fields(&change))
    } else {
        let fields = desired.immutable_difference(group);
        if fields.is_empty() { Sync::Equal } else { Sync::ImmutableDiffer(fields) }
    };
    Action::Write(Verdict::live(desired, origin, facts, group.create_time, sync))
}

fn changed_fields(change: &GroupChange) -> Vec<&'static str> {
    let info = change.group_info.as_ref().map(|_| "groupInfo");
    let admins = change.administrators.as_ref().map(|_| "administrators");
    info.into_iter().chain(admins).collect()
}

/// The origin of the group as the pass knows it: what this pass's create found, else what is recorded for this very
/// identity.
fn origin(object: &LiveMessageGroup, desired: &Desired, facts: &Facts) -> Option<Origin> {
    match facts.create_outcome() {
        Some(CreateOutcome::Created) => Some(Origin::Created),
        Some(CreateOutcome::AlreadyExists) => Some(Origin::Adopted),
        Some(CreateOutcome::AlreadyDelete) => None,
        None if facts.has_ended() => None,
        None => object.origin().filter(|_| recorded_identity(object).as_ref() == Some(&desired.identity())).cloned(),
    }
}

/// Whether this very generation was acted on.
fn is_observed(object: &LiveMessageGroup) -> bool {
    let observed = object.status.as_ref().and_then(|status| status.observed_generation);
    observed.is_some() && observed == object.metadata.generation
}

/// Whether the recorded outcome needs nothing more: the group is as it should be, or only a person can go on.
fn is_settled(object: &LiveMessageGroup) -> bool {
    let going_on = has_condition(object, ConditionType::Reconciling);
    let ready = object.condition(ConditionType::Ready).map(ConditionStatus::of);
    let final_refusal = matches!(object.ready_reason(), Some(Reason::GroupDeleted | Reason::InvalidInput));
    !going_on && (ready == Some(ConditionStatus::True) || final_refusal)
}

fn has_condition(object: &LiveMessageGroup, kind: ConditionType) -> bool {
    object.condition(kind).map(ConditionStatus::of) == Some(ConditionStatus::True)
}
