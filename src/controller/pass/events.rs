//! The events of a pass: one per transition, sent after the write that records the transition.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource as _;

use crate::controller::keys::GroupKey;
use crate::decide::{DeletionOutcome, Facts, has_condition, is_observed, retained_at_once};
use crate::live::CreateOutcome;
use crate::resources::{
    ABANDON_ANNOTATION, ConditionStatus, ConditionType, DeletionPolicy, LiveMessageGroup, Origin, ReadyEffect, Reason,
};

/// The metric label for a finalizer that was removed because the deletion timed out in a terminating namespace.
pub const TIMED_OUT: &str = "TimedOut";

/// The metric label for a group that is retained although the deletionPolicy of its object is Delete and no other
/// object manages the group.
pub const NOT_DELETED: &str = "NotDeleted";

/// The reason of the event for a finalizer that was removed although the group could not be deleted.
pub const ABANDONED: &str = "Abandoned";

/// The reason of the event for a group that is retained when its object is deleted.
const RETAINED: &str = "Retained";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    /// An expected transition.
    Normal,
    /// A transition that may need attention.
    Warning,
}

#[derive(Debug, Clone, PartialEq)]
pub struct EventDraft {
    pub regarding: ObjectReference,
    /// `Reconcile` or `Delete`.
    pub action: &'static str,
    pub event_type: EventType,
    pub reason: &'static str,
    pub note: String,
}

/// The change that a pass made to an object. The events of the pass are derived from this change.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// The object as the pass read it.
    pub before: &'a LiveMessageGroup,
    /// The object with its new status.
    pub after: &'a LiveMessageGroup,
    /// The facts about the group that the pass has collected.
    pub facts: &'a Facts,
    /// The reason in the final status of the pass.
    pub reason: Reason,
    /// Whether the object's current generation was already applied when the pass began.
    pub was_applied: bool,
}

/// Returns the events for a change. `reported` contains the faults that have been reported since the pass began; a new
/// fault is added.
pub fn transition_events(change: &Change<'_>, reported: &mut Vec<Reason>) -> Vec<EventDraft> {
    let done = change_event(change);
    let fault = fault_event(change, done.is_some(), reported);
    done.into_iter().chain(fault).chain(out_of_sync_event(change)).collect()
}

/// The event for an object that is deleted without a finalizer although its policy requests the deletion of the group;
/// `None` for other objects.
pub fn retained_event(object: &LiveMessageGroup) -> Option<EventDraft> {
    let why = retained_at_once(object)?;
    let (app, group) = (&object.spec.app_id, object.group_id().unwrap_or_default());
    let note = format!("Group {group} of app {app} is retained: {why}");
    Some(draft(object, "Delete", EventType::Warning, RETAINED, note))
}

/// Whether the group is retained although the object requests its deletion.
fn is_unwanted(object: &LiveMessageGroup, outcome: &DeletionOutcome) -> bool {
    matches!(outcome, DeletionOutcome::Retained(_)) && object.deletion_policy() == DeletionPolicy::Delete
}

/// The value of the metric label for a removed finalizer: the reason of `event`, or a more specific value.
pub fn released_label(object: &LiveMessageGroup, outcome: &DeletionOutcome, event: &EventDraft) -> &'static str {
    match outcome {
        DeletionOutcome::Abandoned if !object.is_abandoned() => TIMED_OUT,
        _ if is_unwanted(object, outcome) => NOT_DELETED,
        _ => event.reason,
    }
}

/// The event for an object whose finalizer was removed.
pub fn deletion_event(
    object: &LiveMessageGroup,
    outcome: &DeletionOutcome,
    request_id: Option<&str>,
    finalizer_timeout: Duration,
) -> EventDraft {
    let status = object.status.as_ref();
    let group = status.and_then(|status| status.group_id.as_deref()).or(object.group_id()).unwrap_or_default();
    let app = status.and_then(|status| status.app_id.as_deref()).unwrap_or(&object.spec.app_id);
    let (event_type, reason, what) = match outcome {
        DeletionOutcome::Deleted => {
            let id = request_id.unwrap_or_default();
            (EventType::Normal, "Deleted", format!("was deleted (RequestId {id})"))
        }
        DeletionOutcome::Gone => (EventType::Normal, "AlreadyGone", "was already deleted".to_owned()),
        DeletionOutcome::Retained(why) => {
            let event_type = if is_unwanted(object, outcome) { EventType::Warning } else { EventType::Normal };
            (event_type, RETAINED, format!("is retained: {why}"))
        }
        DeletionOutcome::HandedOver(to) => (EventType::Normal, "HandedOver", format!("is now owned by {to}")),
        DeletionOutcome::NotPermitted => {
            let why = "the namespace of the object is not listed in --operator-credentials-namespaces. Delete the \
                       group in the Live console if it is not needed.";
            (EventType::Warning, ABANDONED, format!("is retained: {why}"))
        }
        DeletionOutcome::Abandoned => {
            let why = why_abandoned(object, finalizer_timeout);
            (EventType::Warning, ABANDONED, format!("is retained: {why}"))
        }
    };
    draft(object, "Delete", event_type, reason, format!("Group {group} of app {app} {what}"))
}

/// The event for an orphan: the pass created or changed the group, but the spec of the object now specifies another
/// group.
pub fn orphaned_event(object: &LiveMessageGroup, group: &GroupKey) -> EventDraft {
    let GroupKey { app_id, group_id } = group;
    let note = format!(
        "Group {group_id} of app {app_id} was created or changed, but no object manages it now. Delete it if it is not \
         needed."
    );
    draft(object, "Reconcile", EventType::Warning, "Orphaned", note)
}

fn why_abandoned(object: &LiveMessageGroup, finalizer_timeout: Duration) -> String {
    if object.is_abandoned() {
        return format!("the annotation {ABANDON_ANNOTATION} is \"true\"");
    }
    let why = object.condition(ConditionType::Ready).map_or("", |ready| &ready.message);
    format!(
        "the namespace is terminating, and the group could not be deleted for {} s: {why}",
        finalizer_timeout.as_secs()
    )
}

fn draft(
    object: &LiveMessageGroup,
    action: &'static str,
    event_type: EventType,
    reason: &'static str,
    note: String,
) -> EventDraft {
    EventDraft { regarding: object.object_ref(&()), action, event_type, reason, note }
}

/// The event for a change to the group; `None` if there is no change to report yet.
fn change_event(change: &Change<'_>) -> Option<EventDraft> {
    let Change { before, after, facts, was_applied, .. } = change;
    let is_new = facts.create_outcome() == Some(CreateOutcome::Created) || facts.recovered() == Some(true);
    let is_new = is_new && !facts.group_ended();
    let origin = after.origin().filter(|origin| is_new || before.origin() != Some(*origin));
    let (reason, what) = match origin {
        Some(Origin::Created) if *was_applied => ("DriftCorrected", "no longer existed and was recreated"),
        Some(Origin::Created) => ("Created", "was created"),
        Some(Origin::Recovered) => ("Recovered", "was recovered"),
        Some(Origin::Adopted | Origin::Other(_)) => ("AlreadyExists", "already existed and was adopted"),
        // The change is reported when the origin is recorded.
        None if facts.create_outcome().is_some() || facts.recovered().is_some() => return None,
        None if !facts.has_modified() || update_was_ignored(after) => return None,
        None if *was_applied => ("DriftCorrected", "was changed by another client and was restored to match the spec"),
        None => ("Modified", "was changed to match the spec"),
    };
    // `before` contains the group of the pass. The spec may now specify another group.
    let (app, group) = (&before.spec.app_id, before.group_id().unwrap_or_default());
    let mut note = format!("Group {group} of app {app} {what}");
    if let Some(id) = facts.last_write().filter(|id| !id.is_empty()) {
        note += &format!(" (RequestId {id})");
    }
    Some(draft(after, "Reconcile", EventType::Normal, reason, note))
}

/// The event for a new fault or for the end of a fault. If the group has changed, the event for that change already
/// shows that the fault has ended.
fn fault_event(change: &Change<'_>, is_changed: bool, reported: &mut Vec<Reason>) -> Option<EventDraft> {
    let Change { before, after, reason, .. } = *change;
    let former = current_condition(before).map_or("", |condition| condition.reason.as_str());
    let current = current_condition(after)?;
    if former == current.reason {
        return None;
    }
    let note = current.message.clone();
    if is_fault(reason) {
        if reported.contains(&reason) {
            return None;
        }
        reported.push(reason);
        return Some(draft(after, "Reconcile", EventType::Warning, reason.as_str(), note));
    }
    let has_ended = former.parse().is_ok_and(is_fault);
    let reason = match reason {
        Reason::Observed => reason.as_str(),
        _ if reason.ready() == ReadyEffect::True && has_ended && !is_changed => ConditionType::Ready.as_str(),
        _ => return None,
    };
    Some(draft(after, "Reconcile", EventType::Normal, reason, note))
}

/// The event for fields that differ from the spec and cannot be corrected; `None` if the previous status already
/// reported them.
fn out_of_sync_event(change: &Change<'_>) -> Option<EventDraft> {
    let reason_of = |object| failed_sync(object).and_then(|sync| sync.reason.parse::<Reason>().ok());
    let reason = reason_of(change.after).filter(|reason| reason_of(change.before) != Some(*reason))?;
    let note = failed_sync(change.after)?.message.clone();
    Some(draft(change.after, "Reconcile", EventType::Warning, reason.as_str(), note))
}

fn failed_sync(object: &LiveMessageGroup) -> Option<&Condition> {
    object.condition(ConditionType::InSync).filter(|sync| ConditionStatus::of(sync) == ConditionStatus::False)
}

fn update_was_ignored(object: &LiveMessageGroup) -> bool {
    failed_sync(object).is_some_and(|sync| sync.reason == Reason::UpdateIgnored.as_str())
}

/// The condition `Reconciling` if there is one, otherwise `Ready`.
fn current_condition(object: &LiveMessageGroup) -> Option<&Condition> {
    object.condition(ConditionType::Reconciling).or(object.condition(ConditionType::Ready))
}

fn is_fault(reason: Reason) -> bool {
    let is_waiting = matches!(reason, Reason::Pending | Reason::Paused | Reason::Queued | Reason::Applying);
    reason.ready() != ReadyEffect::True && !is_waiting
}

/// Whether the status has `Ready=True` for this generation.
pub fn is_applied(object: &LiveMessageGroup) -> bool {
    has_condition(object, ConditionType::Ready) && is_observed(object)
}
