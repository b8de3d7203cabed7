//! What the stored objects say, in short.

use super::Explorer;
use super::world::{Stored, id_text, number_in};
use crate::decide::{Priority, finalizer_is_wrong, is_refused, recorded_group, triage};
use crate::resources::{ConditionStatus, ConditionType, CreateIntent, LiveMessageGroup, Origin, Reason};

/// What a stored object says, in short.
#[derive(Debug, Clone, Copy)]
pub struct Brief {
    pub lane: Option<Priority>,
    pub finalizer_is_wrong: bool,
    pub ready: ConditionStatus,
    pub reason: Option<Reason>,
    pub going_on: bool,
    pub stalled: bool,
    pub not_taken: bool,
    pub differs: bool,
    pub told_paused: bool,
    pub observed: i64,
    pub handled: u8,
    pub created: bool,
    pub has_record: bool,
    pub is_new: bool,
    pub attempts: bool,
    pub proven: bool,
    pub recorded: Option<u8>,
    pub refused: bool,
    pub refused_after_refusal: bool,
}

impl Brief {
    fn of(object: &LiveMessageGroup) -> Self {
        let status = object.status.as_ref().unwrap();
        let holds = |kind| object.condition(kind).map(ConditionStatus::of) == Some(ConditionStatus::True);
        let in_sync = object.condition(ConditionType::InSync);
        let sync = |reason: Reason| in_sync.is_some_and(|condition| condition.reason == reason.as_str());
        let recorded = recorded_group(object).map(|identity| number_in(&identity.group_id));
        let same = recorded.map(id_text) == object.spec.group_id;
        Self {
            lane: triage(object),
            finalizer_is_wrong: finalizer_is_wrong(object),
            ready: object.condition(ConditionType::Ready).map_or(ConditionStatus::Unknown, ConditionStatus::of),
            reason: object.ready_reason(),
            going_on: holds(ConditionType::Reconciling),
            stalled: holds(ConditionType::Stalled),
            not_taken: sync(Reason::UpdateIgnored),
            differs: sync(Reason::ImmutableFieldsDiffer),
            told_paused: holds(ConditionType::Paused),
            observed: status.observed_generation.unwrap_or_default(),
            handled: status.last_handled_reconcile_at.as_deref().map_or(0, number_in),
            created: object.origin() == Some(&Origin::Created),
            is_new: status.last_request_id.is_none()
                && status.create_time.is_none()
                && object.origin().is_none()
                && object.create_intent().is_none(),
            attempts: object.create_intent().is_some_and(CreateIntent::is_open),
            has_record: object.origin().is_some() || object.create_intent().is_some(),
            proven: same && (object.origin().is_some() || object.create_intent().is_some()),
            recorded,
            refused: is_refused(object, false),
            refused_after_refusal: is_refused(object, true),
        }
    }
}

impl Explorer {
    pub fn brief(&mut self, stored: &Stored) -> Brief {
        *self.memo.briefs.entry(*stored).or_insert_with(|| Brief::of(&self.library.object(stored)))
    }
}
