//! The end of a pass, and the status it becomes.

mod status;

use jiff::Timestamp;

pub use status::unreadable_status;

use super::{Desired, Facts, Failure, Holder};
use crate::live::CreateOutcome;
use crate::resources::{LiveMessageGroup, LiveMessageGroupStatus, Origin, Reason};
use status::Writer;

/// How the fields of a live group compare with the spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sync {
    /// Every field present in the spec is so in the group.
    Equal,
    /// These fields differ and cannot be changed by the API.
    ImmutableDiffer(Vec<&'static str>),
    /// These fields were changed, and changed again, and stayed as they were.
    NotTaken(Vec<&'static str>),
}

/// What a pass ends with.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The group is live.
    Live(Live),
    /// The pass ended without a live group, or did not end yet.
    Other(Other),
    /// The object is paused: the condition `Paused` is set, and what was done before is recorded.
    Paused(Learned),
    /// It is no longer: the condition is taken away, and nothing else was to do.
    Resumed,
}

/// A live group.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    origin: Origin,
    /// `Some` when this pass was told, `None` inside when a new group's is not known.
    create_time: Option<Option<Timestamp>>,
    request_id: Option<String>,
    sync: Sync,
    message: String,
}

/// Everything that is not a live group.
#[derive(Debug, Clone, PartialEq)]
pub struct Other {
    reason: Reason,
    message: String,
    learned: Learned,
}

/// What a pass that has not come to a live group leaves in the record.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Learned {
    origin: OriginChange,
    request_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default)]
enum OriginChange {
    #[default]
    Keep,
    Clear,
    Set(Origin),
}

impl Learned {
    fn by(facts: &Facts) -> Self {
        let origin = if facts.has_ended() {
            OriginChange::Clear
        } else if facts.create_outcome() == Some(CreateOutcome::Created) {
            OriginChange::Set(Origin::Created)
        } else {
            OriginChange::Keep
        };
        Self { origin, request_id: facts.last_write().map(str::to_owned) }
    }
}

impl Verdict {
    pub(super) fn live(
        desired: &Desired,
        origin: Origin,
        facts: &Facts,
        create_time: Option<Timestamp>,
        sync: Sync,
    ) -> Self {
        // Created or adopted just now: what is recorded of an earlier life does not hold.
        let new = facts.create_outcome().is_some();
        let what = match origin {
            Origin::Created => "is live",
            Origin::Recovered => "was recovered and is live",
            Origin::Adopted | Origin::Other(_) => "existed already, was adopted and is live",
        };
        Self::Live(Live {
            message: format!("group {} of app {} {what}", desired.group.group_id, desired.group.app_id),
            origin,
            create_time: if create_time.is_some() || new { Some(create_time) } else { None },
            request_id: facts.last_write().map(str::to_owned),
            sync,
        })
    }

    pub(super) fn deleted(desired: &Desired, facts: &Facts) -> Self {
        Self::Other(Other {
            reason: Reason::GroupDeleted,
            message: format!(
                "group {} of app {} was deleted and its id is blocked for about 30 days: edit spec.groupId \
                 (every field may be edited now)",
                desired.group.group_id, desired.group.app_id
            ),
            learned: Learned::by(facts),
        })
    }

    pub(super) fn paused(facts: &Facts) -> Self {
        Self::Paused(Learned::by(facts))
    }

    pub(super) fn conflict(desired: &Desired, holder: &Holder, facts: &Facts) -> Self {
        let message = format!(
            "group {} of app {} is managed by LiveMessageGroup {}: delete one of the two, or edit this one \
             (every field may be edited now)",
            desired.group.group_id, desired.group.app_id, holder.name
        );
        Self::waiting(Reason::Conflict, message, facts)
    }

    /// The status of a pass that failed. What the pass did before is recorded with it.
    pub fn failed(failure: &Failure, facts: &Facts) -> Self {
        Self::waiting(failure.reason, failure.message.clone(), facts)
    }

    /// The status of an object that waits: for its turn, for an answer, behind a gate, or for a person. What the pass
    /// did before is recorded with it.
    pub fn waiting(reason: Reason, message: String, facts: &Facts) -> Self {
        Self::Other(Other { reason, message, learned: Learned::by(facts) })
    }

    /// The reason a verdict puts into the conditions.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Live(live) => live.reason(),
            Self::Other(other) => other.reason,
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
            Self::Other(other) => writer.other(other),
            Self::Paused(learned) => writer.paused(learned),
            Self::Resumed => writer.resumed(),
        };
        (after != before).then_some(after)
    }
}

impl Live {
    fn reason(&self) -> Reason {
        match self.origin {
            Origin::Created => Reason::Created,
            Origin::Recovered => Reason::Recovered,
            Origin::Adopted | Origin::Other(_) => Reason::AlreadyExists,
        }
    }
}
