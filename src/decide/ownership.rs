//! The proof that an object created its group. Without this proof, a deletion retains the group.

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use super::outcome::{intent_status, ownership_status};
use super::{Facts, GroupKey, Remote, recorded_group};
use crate::live::{Call, GroupFields, GroupSnapshot};
use crate::resources::{
    CreateIntent, DeletionPolicy, LiveMessageGroup, LiveMessageGroupStatus, ManagementPolicy, Origin,
};

/// The allowed difference between the create time of a group and the `Date` header of a response. The header may be set
/// by a gateway that has a different clock.
pub(super) const TOLERANCE: SignedDuration = SignedDuration::from_secs(30);

/// The maximum number of bodies in a create intent. The oldest one is dropped first.
const SENT_MAX: usize = 8;

/// A digest of a group's fields. An absent field counts as an empty one, and the order of administrators does not
/// matter.
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

/// The digest of a group's fields. It equals the digest of a create that sends these fields.
pub fn digest_of_group(group: &GroupSnapshot) -> String {
    digest(&group.group_name, &group.group_info, &group.creator_id, &group.administrators)
}

/// Whether the create intent proves that this object created the group: the group was created between the intent and
/// the answer, and its fields equal the fields of a recorded body that is not disproved.
pub(super) fn intent_proves(intent: &CreateIntent, group: &GroupSnapshot, facts: &Facts) -> bool {
    let digest = digest_of_group(group);
    created_within(intent, group, facts.answered_at())
        && intent.sent.contains(&digest)
        && !facts.disproved_intents().contains(&digest)
}

/// Whether the group was created between the intent and its answer. `answered_at` is used if the intent records no
/// answer.
fn created_within(intent: &CreateIntent, group: &GroupSnapshot, answered_at: Option<Timestamp>) -> bool {
    let Some(created) = group.create_time else { return false };
    let Ok(started) = intent.started_at.parse::<Timestamp>() else { return false };
    let answered = intent.answered_at.as_deref().and_then(|at| at.parse().ok()).or(answered_at);
    let Some(answered) = answered else { return false };
    if started.duration_until(answered) < -TOLERANCE {
        return false;
    }
    started.duration_until(created) >= -TOLERANCE && created.duration_until(answered) >= -TOLERANCE
}

/// Whether another group with the same ID has replaced the recorded one.
pub(super) fn was_recreated(object: &LiveMessageGroup, group: &GroupSnapshot) -> bool {
    let Some(created) = group.create_time else { return false };
    let recorded = object.status.as_ref().and_then(LiveMessageGroupStatus::created_at);
    match (recorded, object.create_intent().filter(|intent| !intent.is_open())) {
        (Some(recorded), _) => recorded != created,
        (None, Some(intent)) => !created_within(intent, group, None),
        (None, None) => false,
    }
}

/// Whether there is proof that the object created this group, so that a deletion may delete it.
pub fn owns(object: &LiveMessageGroup, group: &GroupSnapshot, facts: &Facts) -> bool {
    // If this pass created the group and the group has not disappeared since, the facts are the proof. The status does
    // not contain the proof yet.
    if facts.has_created() && !facts.group_ended() {
        return group.create_time.is_some();
    }
    if !facts.is_at_recorded_account(object) {
        return false;
    }
    let recorded = object.status.as_ref().and_then(LiveMessageGroupStatus::created_at);
    match (recorded, object.create_intent(), object.origin()) {
        (Some(recorded), _, Some(Origin::Created)) => group.create_time == Some(recorded),
        (None, Some(intent), Some(Origin::Created)) => created_within(intent, group, None),
        (_, Some(intent), None) => intent_proves(intent, group, facts),
        _ => false,
    }
}

/// Whether the object needs the finalizer: its deletion may delete a group, and the object created a group or may have
/// created one.
pub(super) fn wants_finalizer(object: &LiveMessageGroup) -> bool {
    may_delete(object) && (object.origin() == Some(&Origin::Created) || object.create_intent().is_some())
}

/// Whether the policies of the object allow its deletion to delete a group.
pub(super) fn may_delete(object: &LiveMessageGroup) -> bool {
    object.deletion_policy() == DeletionPolicy::Delete && object.management_policy() != ManagementPolicy::Observe
}

/// Returns the status that must be written before `call` is sent, and the digest of the body that this status adds to
/// the create intent (see [`Facts::intent_recorded`]). Returns `None` if no status needs to be written before the call.
///
/// Before a create, the status records the create intent, which a deletion may need as proof. Before a change to a
/// group, the status records the group's origin and closes an open intent. After the change, the group may equal the
/// recorded body, so the fields of the group would prove nothing.
pub fn record_before(
    object: &LiveMessageGroup,
    facts: &Facts,
    call: &Call,
    service_now: Timestamp,
    now: Timestamp,
) -> Option<(LiveMessageGroupStatus, Option<String>)> {
    match call {
        Call::Create(_, fields) => {
            let intent = intent_before(object, facts, fields, service_now)?;
            Some((intent_status(object, facts, intent, now), Some(digest_of_fields(fields))))
        }
        Call::Modify(..) => {
            let (Remote::Live(group), Some(_)) = (facts.remote(), open_intent(object, facts)) else { return None };
            let origin = super::origin(object, facts, Some(group)).unwrap_or(Origin::Adopted);
            Some((ownership_status(object, &origin, group, facts, now), None))
        }
        _ => None,
    }
}

/// Returns the create intent if its create has not been answered, and if the intent was recorded for the group in the
/// spec and for the account of this pass.
pub(super) fn open_intent<'a>(object: &'a LiveMessageGroup, facts: &Facts) -> Option<&'a CreateIntent> {
    let identity = GroupKey::of(object);
    let intent = object.create_intent().filter(|intent| intent.is_open() && recorded_group(object) == identity)?;
    facts.is_at_recorded_account(object).then_some(intent)
}

/// Returns the create intent to record before a create with these fields is sent. Returns `None` if the policies of the
/// object do not allow a deletion to delete the group, or if the body is already recorded. If the pass has seen that
/// the recorded group no longer exists, the function starts a new intent: the old intent could wrongly prove the
/// ownership of a group that another client has created since.
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
    match open_intent(object, facts).filter(|_| !facts.group_ended()) {
        Some(intent) if intent.sent.contains(&sent) => None,
        Some(intent) => {
            let mut intent = intent.clone();
            if intent.sent.len() == SENT_MAX {
                intent.sent.remove(0);
            }
            intent.sent.push(sent);
            Some(intent)
        }
        None => Some(CreateIntent { started_at: service_now.to_string(), answered_at: None, sent: vec![sent] }),
    }
}
