//! A compact form of a stored object, for the invariants.

use super::Explorer;
use super::world::{Stored, id_text, number_in};
use crate::decide::{Priority, finalizer_is_wrong, recorded_group, triage};
use crate::resources::{ConditionStatus, ConditionType, CreateIntent, LiveMessageGroup, Origin, Reason};

/// The status of a stored object and the operator's view of it, in compact form.
#[derive(Debug, Clone, Copy)]
pub struct Brief {
    /// The priority of the object's pending work; `None` if the object is settled.
    pub priority: Option<Priority>,
    pub finalizer_is_wrong: bool,
    pub ready: ConditionStatus,
    pub reason: Option<Reason>,
    pub reconciling: bool,
    pub stalled: bool,
    /// Whether `InSync` reports that the API ignored a change.
    pub update_ignored: bool,
    /// Whether `InSync` reports that an immutable field differs.
    pub differs: bool,
    pub reports_pause: bool,
    pub observed: i64,
    /// The last forced reconcile that the status acknowledges.
    pub handled: u8,
    pub created: bool,
    /// Whether the status has an origin or a create intent.
    pub has_record: bool,
    /// Whether the status does not record any call yet.
    pub is_new: bool,
    pub has_open_intent: bool,
    /// Whether the status has an origin or a create intent for the group in the spec.
    pub is_proven: bool,
    /// The group that is recorded in the status.
    pub recorded: Option<u8>,
}

impl Brief {
    fn of(object: &LiveMessageGroup) -> Self {
        let status = object.status.as_ref().unwrap();
        let holds = |kind| object.condition(kind).map(ConditionStatus::of) == Some(ConditionStatus::True);
        let in_sync = object.condition(ConditionType::InSync);
        let sync = |reason: Reason| in_sync.is_some_and(|condition| condition.reason == reason.as_str());
        let recorded = recorded_group(object).map(|identity| number_in(&identity.group_id));
        let is_same = recorded.map(id_text) == object.spec.group_id;
        Self {
            priority: triage(object),
            finalizer_is_wrong: finalizer_is_wrong(object),
            ready: object.condition(ConditionType::Ready).map_or(ConditionStatus::Unknown, ConditionStatus::of),
            reason: object.ready_reason(),
            reconciling: holds(ConditionType::Reconciling),
            stalled: holds(ConditionType::Stalled),
            update_ignored: sync(Reason::UpdateIgnored),
            differs: sync(Reason::ImmutableFieldsDiffer),
            reports_pause: holds(ConditionType::Paused),
            observed: status.observed_generation.unwrap_or_default(),
            handled: status.last_handled_reconcile_at.as_deref().map_or(0, number_in),
            created: object.origin() == Some(&Origin::Created),
            is_new: status.last_request_id.is_none()
                && status.create_time.is_none()
                && object.origin().is_none()
                && object.create_intent().is_none(),
            has_open_intent: object.create_intent().is_some_and(CreateIntent::is_open),
            has_record: object.origin().is_some() || object.create_intent().is_some(),
            is_proven: is_same && (object.origin().is_some() || object.create_intent().is_some()),
            recorded,
        }
    }
}

impl Explorer {
    pub fn brief(&mut self, stored: &Stored) -> Brief {
        *self.memo.briefs.entry(*stored).or_insert_with(|| Brief::of(&self.library.object(stored)))
    }
}
