//! The next step for an object that is being deleted.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::ownership::{may_delete, owns};
use super::{Action, DeletionOutcome, Desired, Facts, Holder, Remote, recorded_group, records_group_of_spec};
use crate::live::{Call, GroupRef};
use crate::resources::{
    ConditionStatus, ConditionType, DeletionPolicy, LiveMessageGroup, LiveMessageGroupStatus, Origin, Reason,
};

const NOT_OWN: &str = "status.origin does not record that this object created the group";
const OTHER_ACCOUNT: &str = "it was created with another account or API service (see status.account)";
const ONLY_OBSERVES: &str = "managementPolicy Observe does not allow the operator to delete it";
const NOT_ASKED: &str = "deletionPolicy is Retain";

/// Decides the next step of a deletion. The operator deletes the group if this object created it and no other object
/// references it, then removes the finalizer.
pub(super) fn decide(object: &LiveMessageGroup, facts: &Facts, successor: Option<&Holder>) -> Action {
    if !object.has_finalizer() {
        return Action::Nothing;
    }
    if !may_delete(object) {
        let why = if asks_for_deletion(object) { ONLY_OBSERVES } else { NOT_ASKED };
        return Action::FinishDeletion(DeletionOutcome::Retained(why.to_owned()));
    }
    // Before the first reconcile pass, the status records no group.
    let Some(group) = group_ref(object) else {
        return Action::FinishDeletion(DeletionOutcome::Retained(NOT_OWN.to_owned()));
    };
    if facts.has_deleted() {
        return Action::FinishDeletion(DeletionOutcome::Deleted);
    }
    if object.is_abandoned() || facts.is_abandoned() {
        return Action::FinishDeletion(DeletionOutcome::Abandoned);
    }
    if facts.credentials_are_forbidden() {
        return Action::FinishDeletion(DeletionOutcome::NotPermitted);
    }
    if object.create_intent().is_none() && object.origin() != Some(&Origin::Created) {
        return Action::FinishDeletion(DeletionOutcome::Retained(NOT_OWN.to_owned()));
    }
    if !facts.has_created() && !facts.is_at_recorded_account(object) {
        return Action::FinishDeletion(DeletionOutcome::Retained(OTHER_ACCOUNT.to_owned()));
    }
    if let Some(successor) = successor {
        return Action::FinishDeletion(DeletionOutcome::HandedOver(successor.shown_to(object)));
    }
    // A Describe response from before the deletion of the object may be outdated. Such a response was recorded for an
    // older generation, because Kubernetes increments the generation when an object is deleted.
    let generation = object.metadata.generation.unwrap_or_default();
    match facts.remote() {
        _ if !facts.is_described_for(generation) => Action::Call(Call::Describe(group)),
        Remote::Unknown => Action::Call(Call::Describe(group)),
        Remote::Absent | Remote::Deleted => Action::FinishDeletion(DeletionOutcome::Gone),
        Remote::Live(live) if owns(object, live, facts) => Action::Call(Call::Delete(group)),
        Remote::Live(_) => Action::FinishDeletion(DeletionOutcome::Retained(
            "its create time differs from the create time of the group that this object created".to_owned(),
        )),
    }
}

/// If an object has no finalizer, its deletion retains the group, even if the deletionPolicy is Delete. Returns the
/// reason to report, or `None` if there is nothing to report.
pub fn retained_at_once(object: &LiveMessageGroup) -> Option<&'static str> {
    // An object with a deletionTimestamp had a finalizer. The result was reported when the finalizer was removed.
    let origin = object.origin().filter(|_| asks_for_deletion(object) && !object.is_deleting())?;
    if !may_delete(object) {
        return Some(ONLY_OBSERVES);
    }
    (*origin != Origin::Created).then_some(NOT_OWN)
}

/// Returns the time when the deletion of an object started to wait for credentials, according to the status of the
/// object. Returns `None` if the deletion has not been attempted yet, or if the last attempt had another result.
pub fn without_credentials_since(object: &LiveMessageGroup) -> Option<Timestamp> {
    stalled_since(&object.metadata, object.status.as_ref()?, Reason::CredentialsMissing)
}

/// Returns the time when a deletion stalled for this reason, according to the object's status.
pub(super) fn stalled_since(
    metadata: &ObjectMeta,
    status: &LiveMessageGroupStatus,
    reason: Reason,
) -> Option<Timestamp> {
    let deleted = metadata.deletion_timestamp.as_ref()?.0;
    let stalled = status.condition(ConditionType::Stalled).filter(|stalled| {
        ConditionStatus::of(stalled) == ConditionStatus::True
            && stalled.reason == reason.as_str()
            && stalled.observed_generation == metadata.generation
    })?;
    Some(stalled.last_transition_time.0.max(deleted))
}

fn asks_for_deletion(object: &LiveMessageGroup) -> bool {
    object.deletion_policy() == DeletionPolicy::Delete
}

/// Returns the group that the status records. The spec may already specify another group.
fn group_ref(object: &LiveMessageGroup) -> Option<GroupRef> {
    let identity = recorded_group(object)?;
    let spec = Desired::of(object).ok().filter(|_| records_group_of_spec(object));
    let recorded = object.status.as_ref().and_then(|status| status.data_center.clone());
    Some(GroupRef {
        app_id: identity.app_id.to_string(),
        group_id: identity.group_id.into_string(),
        data_center: spec.map_or(recorded, |desired| desired.group.data_center),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Returns the result of `without_credentials_since`, in the format HH:MM, for an object with generation 3 whose
    /// only condition has been true since `time`.
    fn since(kind: &str, reason: &str, generation: i64, time: &str, deleted: Value) -> Option<String> {
        let object: LiveMessageGroup = serde_json::from_value(json!({
            "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveMessageGroup",
            "metadata": {"name": "room", "generation": 3, "deletionTimestamp": deleted},
            "spec": {"appId": "demo"},
            "status": {"conditions": [{"type": kind, "status": "True", "reason": reason, "message": "",
                "observedGeneration": generation, "lastTransitionTime": format!("2026-01-01T{time}:00Z")}]},
        }))
        .unwrap();
        without_credentials_since(&object).map(|since| since.to_string()[11..16].to_owned())
    }

    #[test]
    fn deletion_waits_for_credentials_since_its_first_try() {
        let noon = || json!("2026-01-01T12:00:00Z");
        let missing = "CredentialsMissing";
        assert_eq!(since("Stalled", missing, 3, "12:02", noon()).as_deref(), Some("12:02"));
        assert_eq!(since("Stalled", missing, 3, "11:00", noon()).as_deref(), Some("12:00"), "not before the deletion");
        assert_eq!(since("Stalled", missing, 2, "11:00", noon()), None, "the deletion was not tried yet");
        assert_eq!(since("Stalled", "NotAuthorized", 3, "12:02", noon()), None, "the last try had another result");
        assert_eq!(since("Reconciling", missing, 3, "12:02", noon()), None, "still within the grace period");
        assert_eq!(since("Stalled", missing, 3, "12:02", Value::Null), None, "the object is not being deleted");
    }
}
