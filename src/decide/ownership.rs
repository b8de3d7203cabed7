//! Whether this object created a group: the proof that a deletion needs.

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use super::verdict::{intent_status, ownership_status};
use super::{Desired, Facts, GroupKey, Remote, recorded_group};
use crate::live::{Call, GroupFields, GroupSnapshot};
use crate::resources::{
    CreateIntent, DeletionPolicy, LiveMessageGroup, LiveMessageGroupStatus, ManagementPolicy, Origin,
};

/// Two readings of the service's clock that differ by less than this tell the same moment.
pub(super) const TOLERANCE: SignedDuration = SignedDuration::from_secs(1);

/// How many bodies of lost creates are remembered; the newest stays.
const SENT_MAX: usize = 8;

/// A digest of a group's fields; an absent field and an empty one are the same, administrators are a set.
fn digest(name: &str, info: &str, creator: &str, administrators: &[String]) -> String {
    let mut administrators: Vec<&str> = administrators.iter().map(String::as_str).collect();
    administrators.sort_unstable();
    administrators.dedup();
    let mut hash = Sha256::new();
    for part in [name, info, creator].into_iter().chain(administrators) {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hex::encode(&hash.finalize()[..16])
}

pub(super) fn digest_of_fields(fields: &GroupFields) -> String {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let administrators = fields.administrators.clone().unwrap_or_default();
    digest(&text(&fields.group_name), &text(&fields.group_info), &text(&fields.creator_id), &administrators)
}

pub(super) fn digest_of_group(group: &GroupSnapshot) -> String {
    digest(&group.group_name, &group.group_info, &group.creator_id, &group.administrators)
}

/// Whether the recorded intent proves this group: created between intent and answer, and exactly as a create sent it whose
/// answer was lost.
pub(super) fn intent_proves(attempt: &CreateIntent, group: &GroupSnapshot, facts: &Facts) -> bool {
    let digest = digest_of_group(group);
    created_within(attempt, group, facts.answered_at())
        && attempt.sent.contains(&digest)
        && !facts.disproved_intents().contains(&digest)
}

/// Whether the group was created between attempt and answer.
fn created_within(attempt: &CreateIntent, group: &GroupSnapshot, answered_at: Option<Timestamp>) -> bool {
    let Some(created) = group.create_time else { return false };
    let Ok(started) = attempt.started_at.parse::<Timestamp>() else { return false };
    let answered = attempt.answered_at.as_deref().and_then(|at| at.parse().ok()).or(answered_at);
    let Some(answered) = answered else { return false };
    started.duration_until(created) >= -TOLERANCE && created.duration_until(answered) >= -TOLERANCE
}

/// Whether this is not the recorded group, but a later one with the same ID.
pub(super) fn was_recreated(object: &LiveMessageGroup, group: &GroupSnapshot) -> bool {
    let Some(created) = group.create_time else { return false };
    let recorded = object.status.as_ref().and_then(LiveMessageGroupStatus::created_at);
    match (recorded, object.create_intent().filter(|attempt| !attempt.is_open())) {
        (Some(recorded), _) => recorded.duration_until(created).abs() > TOLERANCE,
        (None, Some(attempt)) => !created_within(attempt, group, None),
        (None, None) => false,
    }
}

/// Whether a deletion may delete this group: it is the one whose creation is recorded.
pub(super) fn owns(object: &LiveMessageGroup, group: &GroupSnapshot, facts: &Facts) -> bool {
    // Its own create was answered, and the described group is not a later one; only the status could not be written.
    if facts.created_after().is_some() && !facts.group_ended() {
        return group.create_time.is_some();
    }
    let recorded = object.status.as_ref().and_then(LiveMessageGroupStatus::created_at);
    match (recorded, object.create_intent(), object.origin()) {
        (Some(recorded), _, Some(Origin::Created)) => {
            group.create_time.is_some_and(|created| recorded.duration_until(created).abs() <= TOLERANCE)
        }
        (None, Some(attempt), Some(Origin::Created)) => created_within(attempt, group, None),
        (_, Some(attempt), None) => intent_proves(attempt, group, facts),
        _ => false,
    }
}

/// Whether the object is to carry the finalizer.
pub(super) fn wants_finalizer(object: &LiveMessageGroup) -> bool {
    may_delete(object) && (object.origin() == Some(&Origin::Created) || object.create_intent().is_some())
}

/// Whether a deletion of the object may delete a group.
pub(super) fn may_delete(object: &LiveMessageGroup) -> bool {
    object.deletion_policy() == DeletionPolicy::Delete && object.management_policy() != ManagementPolicy::Observe
}

/// The status to be recorded before a call is sent, and the digest of the body that is new in it (see
/// [`Facts::intent_recorded`]); `None` where the call needs none.
///
/// Before a create: the attempt, for a deletion may rest on it. Before a change of a group that was found under an open
/// intent: the origin. Afterwards it could not be found out, because the change makes the group equal to what was sent.
pub fn record_before(
    object: &LiveMessageGroup,
    facts: &Facts,
    call: &Call,
    service_now: Timestamp,
    now: Timestamp,
) -> Option<(LiveMessageGroupStatus, Option<String>)> {
    match call {
        Call::Create(_, fields) => {
            let attempt = intent_before(object, facts, fields, service_now)?;
            Some((intent_status(object, facts, attempt, now), Some(digest_of_fields(fields))))
        }
        Call::Modify(..) => {
            let desired = Desired::of(object).ok()?;
            let (Remote::Live(group), Some(_)) = (facts.remote(), open_intent(object)) else { return None };
            let origin = super::origin(object, &desired, facts, Some(group)).unwrap_or(Origin::Adopted);
            Some((ownership_status(object, &origin, group, facts.answered_at(), now), None))
        }
        _ => None,
    }
}

/// The recorded attempt, while its answer is open and for the group that the spec names.
fn open_intent(object: &LiveMessageGroup) -> Option<&CreateIntent> {
    let identity = GroupKey::of(object);
    object.create_intent().filter(|attempt| attempt.is_open() && recorded_group(object) == identity)
}

/// The attempt to be recorded before a create with these fields is sent, or `None` where it needs none: objects whose
/// group is never deleted, and bodies that are recorded already. Where the pass saw the recorded group gone, the
/// intent is a new one: an older one must not prove a group that another client created since.
fn intent_before(
    object: &LiveMessageGroup,
    facts: &Facts,
    fields: &GroupFields,
    service_now: Timestamp,
) -> Option<CreateIntent> {
    if !may_delete(object) {
        return None;
    }
    let sent = digest_of_fields(fields);
    match open_intent(object).filter(|_| !facts.group_ended()) {
        Some(attempt) if attempt.sent.contains(&sent) => None,
        Some(attempt) => {
            let mut attempt = attempt.clone();
            if attempt.sent.len() == SENT_MAX {
                attempt.sent.remove(0);
            }
            attempt.sent.push(sent);
            Some(attempt)
        }
        None => Some(CreateIntent { started_at: service_now.to_string(), answered_at: None, sent: vec![sent] }),
    }
}
