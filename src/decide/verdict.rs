//! The end of a pass, and the status it becomes.

mod status;

use jiff::Timestamp;

pub use status::unreadable_status;
pub(super) use status::{intent_status, ownership_status};

use super::conflict::has_record;
use super::{Desired, Facts, Failure, Holder};
use crate::live::{CreateOutcome, GroupSnapshot};
use crate::resources::{
    LastFailure, LiveMessageGroup, LiveMessageGroupStatus, NextActor, Origin, RECONCILE_REQUESTED_AT_ANNOTATION, Reason,
};
use status::Writer;

/// How the fields of a live group compare with the spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyncState {
    /// Every field present in the spec is so in the group.
    Equal,
    /// These fields differ and cannot be changed by the API.
    ImmutableDiffer(Vec<&'static str>),
    /// These fields were changed, and changed again, and stayed as they were.
    Ignored(Vec<&'static str>),
}

/// What a pass ends with.
#[derive(Debug, Clone, PartialEq)]
pub enum PassOutcome {
    /// The group is live.
    Live(Live),
    /// The pass ended without a live group, or did not end yet.
    NotLive(NotLive),
    /// The object is paused: the condition `Paused` is set, and effects of earlier calls are recorded.
    Paused(RecordUpdate),
    /// It is no longer: the condition is taken away, and nothing else was to do.
    Resumed,
}

/// A live group.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    /// `None` where the object only observes and the pass did nothing else: what is recorded stays.
    origin: Option<Origin>,
    reason: Reason,
    /// `Some` if this pass knows it; the inner `None`: the create time of a new group is not known.
    create_time: Option<Option<Timestamp>>,
    request_id: Option<String>,
    /// `None` where nothing is kept in sync.
    sync: Option<SyncState>,
    /// See [`Facts::created_after`].
    sent_at: Option<Timestamp>,
    /// See [`Facts::answered_at`].
    answered_at: Option<Timestamp>,
    /// See [`RecordUpdate`].
    disproved_intents: Vec<String>,
    message: String,
}

/// Everything that is not a live group.
#[derive(Debug, Clone, PartialEq)]
pub struct NotLive {
    reason: Reason,
    message: String,
    learned: RecordUpdate,
    /// What the status records of a failed call.
    failure: Option<LastFailure>,
}

/// What a pass that has not come to a live group leaves in the record.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RecordUpdate {
    origin: OriginChange,
    /// See [`Facts::disproved_intents`]: what is removed from the recorded intent.
    disproved_intents: Vec<String>,
    sent_at: Option<Timestamp>,
    answered_at: Option<Timestamp>,
    create_time: Option<Timestamp>,
    request_id: Option<String>,
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
        }
    }
}

impl PassOutcome {
    pub(super) fn live(
        desired: &Desired,
        origin: Origin,
        facts: &Facts,
        create_time: Option<Timestamp>,
        sync: Option<SyncState>,
    ) -> Self {
        // Created or adopted just now: the record of an earlier group does not hold.
        let new = facts.create_outcome().is_some();
        let (reason, what) = match origin {
            Origin::Created => (Reason::Created, "is live"),
            Origin::Recovered => (Reason::Recovered, "was recovered and is live"),
            Origin::Adopted | Origin::Other(_) => (Reason::AlreadyExists, "already existed, was adopted and is live"),
        };
        Self::Live(Live {
            message: format!("group {} of app {} {what}", desired.group.group_id, desired.group.app_id),
            origin: Some(origin),
            reason,
            sent_at: facts.created_after(),
            answered_at: facts.answered_at(),
            disproved_intents: facts.disproved_intents().to_vec(),
            create_time: if create_time.is_some() || new { Some(create_time) } else { None },
            request_id: facts.last_write().map(str::to_owned),
            sync,
        })
    }

    /// A live group, seen by an object that only observes.
    pub(super) fn observed(desired: &Desired, origin: Option<Origin>, facts: &Facts, group: &GroupSnapshot) -> Self {
        Self::Live(Live {
            origin,
            reason: Reason::Observed,
            create_time: group.create_time.map(Some),
            request_id: facts.last_write().map(str::to_owned),
            sync: None,
            sent_at: facts.created_after(),
            answered_at: facts.answered_at(),
            disproved_intents: facts.disproved_intents().to_vec(),
            message: format!("group {} of app {} is live", desired.group.group_id, desired.group.app_id),
        })
    }

    /// No group, seen by an object that only observes.
    pub(super) fn not_found(desired: &Desired, facts: &Facts) -> Self {
        let (group, app) = (&desired.group.group_id, &desired.group.app_id);
        let message = format!(
            "group {group} of app {app} does not exist, and managementPolicy Observe does not create it: create the group, \
             or set spec.managementPolicy to Manage"
        );
        Self::waiting(Reason::GroupNotFound, message, facts)
    }

    /// A deleted group, which stays so: the message names the ways out that are left.
    pub(super) fn deleted(desired: &Desired, observes: bool, facts: &Facts) -> Self {
        let ask = format!("request a reconcile when the ID is free (annotation {RECONCILE_REQUESTED_AT_ANNOTATION})");
        let (tried, else_what) = match (observes, facts.recovered()) {
            (true, _) => ("", ", or recover the group".to_owned()),
            (false, Some(_)) => (", could not be recovered", format!(", or {ask}")),
            (false, None) => ("", format!(", set spec.deletedGroupPolicy to Recover, or {ask}")),
        };
        Self::NotLive(NotLive {
            reason: Reason::GroupDeleted,
            // It is not written again when the 30 days are over, and must be true then too.
            message: format!(
                "group {} of app {} was deleted{tried}, and its ID is blocked until about 30 days after the deletion: \
                 edit spec.groupId (every field may be edited now){else_what}",
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
        let had_it = match RecordUpdate::by(facts).origin {
            OriginChange::Keep => has_record(object),
            OriginChange::Clear => false,
            OriginChange::Set(_) => true,
        };
        // The apiserver refuses another identity to an object that has had a group of its own.
        let other_way = if had_it {
            "set spec.managementPolicy of this one to Observe"
        } else {
            "edit this one (every field may be edited now)"
        };
        let message = format!(
            "group {} of app {} is managed by LiveMessageGroup {}: delete one of the two, or {other_way}",
            desired.group.group_id, desired.group.app_id, holder.name
        );
        Self::waiting(Reason::Conflict, message, facts)
    }

    /// The status of a pass that failed. What the pass did before is recorded with it.
    pub fn failed(failure: &Failure, facts: &Facts) -> Self {
        Self::blocked(failure.reason, failure.message.clone(), Some(failure.record.clone()), facts)
    }

    /// The status of an object that waits because of a failure, its own or that of another object.
    pub fn blocked(reason: Reason, message: String, failure: Option<LastFailure>, facts: &Facts) -> Self {
        match Self::waiting(reason, message, facts) {
            Self::NotLive(outcome) => Self::NotLive(NotLive { failure, ..outcome }),
            other => other,
        }
    }

    /// The status of an object that waits: for its turn, for an answer, behind a gate, or for a person. What the pass
    /// did before is recorded with it.
    pub fn waiting(reason: Reason, message: String, facts: &Facts) -> Self {
        let mut learned = RecordUpdate::by(facts);
        // Soon there is another try: its attempt is this one.
        if reason.next_actor() == NextActor::Operator {
            learned.disproved_intents.clear();
        }
        Self::NotLive(NotLive { reason, message, learned, failure: None })
    }

    /// The reason a verdict puts into the conditions.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Live(live) => live.reason,
            Self::NotLive(other) => other.reason,
            Self::Paused(_) | Self::Resumed => Reason::Paused,
        }
    }

    /// The status that follows, or `None` where it is the recorded one. `asked` is the forced reconcile that the pass
    /// has heard of before its last look: one that came later is not acknowledged.
    pub fn status(
        &self,
        object: &LiveMessageGroup,
        asked: Option<&str>,
        now: Timestamp,
    ) -> Option<LiveMessageGroupStatus> {
        let before = object.status.clone().unwrap_or_default();
        let writer = Writer::of(object, before.clone(), asked, now);
        let after = match self {
            Self::Live(live) => writer.live(live),
            Self::NotLive(other) => writer.other(other),
            Self::Paused(learned) => writer.paused(learned),
            Self::Resumed => writer.resumed(),
        };
        (after != before).then_some(after)
    }
}
