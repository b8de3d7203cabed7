//! What to do for an object that is being deleted.

use super::ownership::{may_delete, owns};
use super::{Action, Desired, Facts, Holder, Release, Remote, recorded_identity};
use crate::live::{Call, GroupRef};
use crate::resources::{DeletionPolicy, LiveMessageGroup, Origin};

const NOT_OWN: &str = "this object did not create it";
const ONLY_OBSERVES: &str = "its managementPolicy is Observe, which never deletes";
const NOT_ASKED: &str = "its deletionPolicy does not ask for a deletion";

/// Deletes the group if it is the one this object created and nobody else names it, then lets the object go.
pub(super) fn decide(object: &LiveMessageGroup, facts: &Facts, heir: Option<&Holder>) -> Action {
    if !object.has_finalizer() {
        return Action::Nothing;
    }
    if !may_delete(object) {
        let why = if asks_for_deletion(object) { ONLY_OBSERVES } else { NOT_ASKED };
        return Action::Release(Release::Retained(why.to_owned()));
    }
    // Nothing is recorded of an object that still waited for its turn.
    let Some(group) = recorded_group(object) else {
        return Action::Release(Release::Retained(NOT_OWN.to_owned()));
    };
    if facts.has_deleted() {
        return Action::Release(Release::Deleted);
    }
    if object.is_abandoned() || facts.is_abandoned() {
        return Action::Release(Release::Abandoned);
    }
    if object.attempt().is_none() && object.origin() != Some(&Origin::Created) {
        return Action::Release(Release::Retained(NOT_OWN.to_owned()));
    }
    if let Some(heir) = heir {
        return Action::Release(Release::HandedOver(heir.name.clone()));
    }
    // What was seen before the deletion may be long ago, where a status could not be written; to delete raises the
    // generation.
    let generation = object.metadata.generation.unwrap_or_default();
    match facts.remote() {
        _ if !facts.is_described_for(generation) => Action::Call(Call::Describe(group)),
        Remote::Unknown => Action::Call(Call::Describe(group)),
        Remote::Absent | Remote::Deleted => Action::Release(Release::Gone),
        Remote::Live(live) if owns(object, live, facts) => Action::Call(Call::Delete(group, None)),
        Remote::Live(_) => Action::Release(Release::Retained(
            "it is another one than this object created (its create time)".to_owned(),
        )),
    }
}

/// Why the group of an object that went without a deletion of ours stays, where its policy asks for one.
pub fn retained_at_once(object: &LiveMessageGroup) -> Option<&'static str> {
    // With a deletionTimestamp it was held for a while, and what was to be told was told then.
    let origin = object.origin().filter(|_| asks_for_deletion(object) && !object.is_deleting())?;
    if !may_delete(object) {
        return Some(ONLY_OBSERVES);
    }
    (*origin != Origin::Created).then_some(NOT_OWN)
}

fn asks_for_deletion(object: &LiveMessageGroup) -> bool {
    object.deletion_policy() == DeletionPolicy::Delete
}

/// The group that the status tells about: the spec may name another one already.
fn recorded_group(object: &LiveMessageGroup) -> Option<GroupRef> {
    let identity = recorded_identity(object)?;
    let spec = Desired::of(object).ok().filter(|desired| desired.identity() == identity);
    let recorded = object.status.as_ref().and_then(|status| status.data_center.clone());
    Some(GroupRef {
        app_id: identity.app_id,
        group_id: identity.group_id,
        data_center: spec.map_or(recorded, |desired| desired.group.data_center),
    })
}
