//! The outcome of a reconcile pass. The object's new status is computed from it.

mod status;

use jiff::Timestamp;

pub use status::unreadable_status;
pub(super) use status::{intent_status, ownership_status};

use super::conflict::has_record;
use super::{Desired, Facts, Failure, Holder};
use crate::live::{CreateOutcome, GroupSnapshot};
use crate::resources::{
    AccountRecord, LastFailure, LiveMessageGroup, LiveMessageGroupStatus, NextActor, Origin,
    RECONCILE_REQUESTED_AT_ANNOTATION, Reason,
};
use status::Writer;

/// The result of comparing the fields of a live group with the spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyncState {
    /// Every field of the spec matches the group.
    Equal,
    /// These fields differ, and the Live API cannot change them.
    ImmutableDiffer(Vec<&'static str>),
    /// The Live API accepted changes to these fields, but the group still has the old values.
    Ignored(Vec<&'static str>),
}

/// The outcome of a reconcile pass.
#[derive(Debug, Clone, PartialEq)]
pub enum PassOutcome {
    /// The group is live.
    Live(Live),
    /// The group is not live, or it is not known to be live.
    NotLive(NotLive),
    /// The object is paused: the condition `Paused` is set, and the results of earlier calls are recorded.
    Paused(RecordUpdate),
    /// The pause has ended: the condition `Paused` is removed, and nothing else changes.
    Resumed,
}

/// The outcome for a live group.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    /// The origin to record. `None` if managementPolicy is Observe and the pass has changed nothing. The recorded
    /// origin is then kept.
    origin: Option<Origin>,
    reason: Reason,
    /// `None` keeps the recorded create time. `Some(None)` removes it, because the create time of a new group is not
    /// known yet.
    create_time: Option<Option<Timestamp>>,
    request_id: Option<String>,
    /// See [`Facts::account`].
    account: Option<AccountRecord>,
    /// The result of the comparison with the spec. `None` if the operator does not keep the group in sync.
    sync: Option<SyncState>,
    /// See [`Facts::created_after`].
    sent_at: Option<Timestamp>,
    /// See [`Facts::answered_at`].
    answered_at: Option<Timestamp>,
    /// See [`RecordUpdate::disproved_intents`].
    disproved_intents: Vec<String>,
    message: String,
}

/// The outcome for a group that is not live, or not known to be live.
#[derive(Debug, Clone, PartialEq)]
pub struct NotLive {
    reason: Reason,
    message: String,
    learned: RecordUpdate,
    /// The new `status.lastFailure`.
    failure: Option<LastFailure>,
}

/// The changes to the recorded state of the group, for a pass that does not end with a live group.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RecordUpdate {
    origin: OriginChange,
    /// The bodies to remove from the recorded create intent. See [`Facts::disproved_intents`].
    disproved_intents: Vec<String>,
    sent_at: Option<Timestamp>,
    answered_at: Option<Timestamp>,
    create_time: Option<Timestamp>,
    request_id: Option<String>,
    /// See [`Facts::account`].
    account: Option<AccountRecord>,
}

#[derive(Debug, Clone, PartialEq, Default)]
enum OriginChange {
    #[default]
    Keep,
    Clear,
    Set(Origin),
}

impl RecordUpdate {
    fn by(facts: &Facts) -> Self {
        let origin = if facts.recovered() == Some(true) && !facts.group_ended() {
            OriginChange::Set(Origin::Recovered)
        } else if facts.group_ended() {
            OriginChange::Clear
        } else if facts.create_outcome() == Some(CreateOutcome::Created) {
            OriginChange::Set(Origin::Created)
        } else {
            OriginChange::Keep
        };
        let (answered_at, create_time) = (facts.answered_at(), facts.create_time());
        Self {
            origin,
            disproved_intents: facts.disproved_intents().to_vec(),
            sent_at: facts.created_after(),
            answered_at,
            create_time,
            request_id: facts.last_write().map(str::to_owned),
            account: facts.account().cloned(),
        }
    }
}

impl PassOutcome {
    /// The outcome for a live group.
    pub fn live(
        desired: &Desired,
        origin: Origin,
        facts: &Facts,
        create_time: Option<Timestamp>,
        sync: Option<SyncState>,
    ) -> Self {
        // If the pass created or adopted the group, the recorded create time may be that of an earlier group.
        let new = facts.create_outcome().is_some();
        let (reason, state) = match origin {
            Origin::Created => (Reason::Created, "is live"),
            Origin::Recovered => (Reason::Recovered, "was recovered and is live"),
            Origin::Adopted | Origin::Other(_) => (Reason::AlreadyExists, "already existed, was adopted and is live"),
        };
        Self::Live(Live {
            message: format!("Group {} of app {} {state}.", desired.group.group_id, desired.group.app_id),
            origin: Some(origin),
            reason,
            sent_at: facts.created_after(),
            answered_at: facts.answered_at(),
            disproved_intents: facts.disproved_intents().to_vec(),
            create_time: if create_time.is_some() || new { Some(create_time) } else { None },
            request_id: facts.last_write().map(str::to_owned),
            account: facts.account().cloned(),
            sync,
        })
    }

    /// The outcome for a live group if managementPolicy is Observe.
    pub(super) fn observed(desired: &Desired, origin: Option<Origin>, facts: &Facts, group: &GroupSnapshot) -> Self {
        Self::Live(Live {
            origin,
            reason: Reason::Observed,
            create_time: group.create_time.map(Some),
            request_id: facts.last_write().map(str::to_owned),
            account: facts.account().cloned(),
            sync: None,
            sent_at: facts.created_after(),
            answered_at: facts.answered_at(),
            disproved_intents: facts.disproved_intents().to_vec(),
            message: format!("Group {} of app {} is live.", desired.group.group_id, desired.group.app_id),
        })
    }

    /// The outcome for an absent group if managementPolicy is Observe.
    pub(super) fn not_found(desired: &Desired, facts: &Facts) -> Self {
        let (group, app) = (&desired.group.group_id, &desired.group.app_id);
        let message = format!(
            "Group {group} of app {app} does not exist, and managementPolicy Observe does not allow the operator to \
             create it. Create the group, or set spec.managementPolicy to Manage."
        );
        Self::waiting(Reason::GroupNotFound, message, facts)
    }

    /// The outcome for a deleted group. The message contains the two best remedies.
    pub(super) fn deleted(desired: &Desired, observes: bool, facts: &Facts) -> Self {
        let (recovery, alternative) = match (observes, facts.recovered()) {
            (true, _) => ("", "recover the group".to_owned()),
            (false, Some(_)) => (
                " and could not be recovered",
                format!(
                    "request a reconcile pass with the annotation {RECONCILE_REQUESTED_AT_ANNOTATION} when the ID is \
                     free"
                ),
            ),
            (false, None) => ("", "set spec.deletedGroupPolicy to Recover".to_owned()),
        };
        Self::NotLive(NotLive {
            reason: Reason::GroupDeleted,
            // The message must stay true after the 30 days, because it is not written again.
            message: format!(
                "Group {} of app {} was deleted{recovery}, and the Live API blocks its ID until about 30 days after \
                 the deletion. Edit spec.groupId (every field may be edited now), or {alternative}.",
                desired.group.group_id, desired.group.app_id
            ),
            learned: RecordUpdate::by(facts),
            failure: None,
        })
    }

    pub(super) fn paused(facts: &Facts) -> Self {
        Self::Paused(RecordUpdate::by(facts))
    }

    pub(super) fn conflict(object: &LiveMessageGroup, desired: &Desired, holder: &Holder, facts: &Facts) -> Self {
        let had_group = match RecordUpdate::by(facts).origin {
            OriginChange::Keep => has_record(object),
            OriginChange::Clear => false,
            OriginChange::Set(_) => true,
        };
        // If the status records a group, the apiserver rejects changes to the fields that identify the group.
        let remedy = if had_group {
            "set spec.managementPolicy of this object to Observe"
        } else {
            "edit the spec of this object (every field may be edited now)"
        };
        let message = format!(
            "Group {} of app {} is owned by {}. Delete one of the two objects, or {remedy}.",
            desired.group.group_id,
            desired.group.app_id,
            holder.shown_to(object)
        );
        Self::waiting(Reason::Conflict, message, facts)
    }

    /// The outcome of a failed pass. It also records the results of earlier calls.
    pub fn failed(failure: &Failure, facts: &Facts) -> Self {
        Self::blocked(failure.reason, failure.message.clone(), Some(failure.record.clone()), facts)
    }

    /// The outcome for an object that waits because of its own failure or the failure of another object.
    pub fn blocked(reason: Reason, message: String, failure: Option<LastFailure>, facts: &Facts) -> Self {
        match Self::waiting(reason, message, facts) {
            Self::NotLive(outcome) => Self::NotLive(NotLive { failure, ..outcome }),
            other => other,
        }
    }

    /// The outcome for an object that waits for a permit, an answer, a circuit breaker or manual intervention. It also
    /// records the results of earlier calls.
    pub fn waiting(reason: Reason, message: String, facts: &Facts) -> Self {
        let mut learned = RecordUpdate::by(facts);
        // An automatic retry uses the same create intent, so the status keeps it.
        if reason.next_actor() == NextActor::Operator {
            learned.disproved_intents.clear();
        }
        Self::NotLive(NotLive { reason, message, learned, failure: None })
    }

    /// The reason in the conditions.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Live(live) => live.reason,
            Self::NotLive(outcome) => outcome.reason,
            Self::Paused(_) | Self::Resumed => Reason::Paused,
        }
    }

    /// Returns the new status, or `None` if it equals the recorded status. `requested_at` is the value of the
    /// annotation that requested a reconcile pass before this pass last read the group. The status does not acknowledge
    /// later requests.
    pub fn status(
        &self,
        object: &LiveMessageGroup,
        requested_at: Option<&str>,
        now: Timestamp,
    ) -> Option<LiveMessageGroupStatus> {
        let writer = Writer::of(object, object.status.clone().unwrap_or_default(), requested_at, now);
        let after = match self {
            Self::Live(live) => writer.live(live),
            Self::NotLive(outcome) => writer.not_live(outcome),
            Self::Paused(learned) => writer.paused(learned),
            Self::Resumed => writer.resumed(),
        };
        let is_recorded = match &object.status {
            Some(before) => *before == after,
            None => after == LiveMessageGroupStatus::default(),
        };
        (!is_recorded).then_some(after)
    }
}
