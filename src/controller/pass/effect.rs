//! What a pass asks its driver to do, and what it is answered.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::events::EventDraft;
use crate::controller::keys::{AccountKey, BreakerKey, BudgetKey, Cause, GroupKey, Requeue};
use crate::decide::Holder;
use crate::live::{Call, CallError, Reply, Response};
use crate::resources::{LastFailure, LiveMessageGroup, LiveMessageGroupStatus, Reason};

/// The next step of a pass. Each but the last is answered by an [`Input`].
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Read the object: [`Input::Read`], [`Input::Gone`] or [`Input::ReadFailed`].
    Load,
    /// Find out whether the namespace is terminating: [`Input::Namespace`].
    CheckNamespace,
    /// Add the finalizer, or remove it from an object that is not being deleted: [`Input::Patched`].
    SetFinalizer(bool),
    /// Remove the finalizer from an object that is being deleted: [`Input::Patched`].
    ReleaseFinalizer,
    /// Find out whether this call may go out: [`Input::Preflight`].
    Preflight(Call),
    /// Write this status before the call, tied to the resourceVersion: [`Input::Patched`].
    PersistIntent(Box<LiveMessageGroupStatus>),
    /// Send this call with the permit at hand: [`Input::Answer`].
    Send(Call),
    /// Write this status, tied to the uid: [`Input::StatusWritten`].
    WriteStatus(Box<LiveMessageGroupStatus>),
    /// The step is over; the pass is kept unless nothing is left to do.
    Finish(Finish),
}

/// How a step ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// What follows.
    pub requeue: Requeue,
    /// Whether the object goes on as a retry, whatever its priority was.
    pub is_retry: bool,
}

/// The answer to an [`Effect`].
#[derive(Debug, Clone)]
pub enum Input {
    /// A worker or a permit is there.
    Start,
    /// The object as it is now.
    Read {
        /// The object.
        object: Box<LiveMessageGroup>,
        /// A drift check contradicts its status.
        has_drifted: bool,
    },
    /// There is no such object any more.
    Gone,
    /// The object could not be read.
    ReadFailed {
        /// The operator lacks the permission.
        is_forbidden: bool,
    },
    /// Whether the namespace is terminating.
    Namespace {
        /// It is, or it does not exist.
        is_terminating: bool,
    },
    /// The object after a change of its finalizer, or with its intent recorded.
    Patched(Result<Box<LiveMessageGroup>, WriteFailure>),
    /// Whether the call may go out.
    Preflight(Preflight),
    /// The answer to the call.
    Answer {
        /// The answer.
        result: Result<Response<Reply>, CallError>,
        /// The status that was written while the call was out.
        progress: Option<Box<LiveMessageGroupStatus>>,
    },
    /// The object as it is after the status was written; `None` if the answer cannot be read.
    StatusWritten(Result<Option<Box<LiveMessageGroup>>, WriteFailure>),
}

/// Why a write failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteFailure {
    /// The object is gone, or another one has its name.
    Gone,
    /// Anything else; the write is repeated.
    Failed,
}

/// Whether a call may go out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preflight {
    /// Yes. With a permit at hand the object's claim to its group is recorded.
    Cleared {
        /// The budget that the call belongs to.
        budget: BudgetKey,
        /// Whether a permit is at hand.
        has_permit: bool,
    },
    /// Not yet: an earlier call for the group may still arrive.
    Delayed(Duration),
    /// Another object owns the group by now.
    OwnerChanged,
    /// The account has no usable credentials.
    NoCredentials(NoCredentials),
    /// No.
    Blocked(Blocked),
}

/// An account without usable credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoCredentials {
    /// The account.
    pub account: AccountKey,
    /// Why there are none; `None` while they are being loaded for the first time.
    pub why: Option<String>,
    /// When they are loaded again; `None` while they are being loaded, or where nothing is there to load.
    pub retry_after: Option<Duration>,
}

/// Why an object is blocked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// What it waits for.
    pub on: Cause,
    /// What its status says meanwhile; `None` leaves it as it is.
    pub explanation: Option<Explanation>,
}

/// The reason and the message of a condition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Explanation {
    /// The reason.
    pub reason: Reason,
    /// The message.
    pub message: String,
    /// What `status.lastFailure` records.
    pub failure: Option<LastFailure>,
}

/// What a pass has to make known beside its effect. The driver takes these after every step.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// An event of the object.
    Event(EventDraft),
    /// The pass failed.
    Failed(Explanation),
    /// The pass failed for a cause that others share.
    Tripped {
        /// The circuit breaker of the cause.
        breaker: BreakerKey,
        /// What blocked objects report.
        explanation: Explanation,
    },
    /// The finalizer was removed from an object that was being deleted; `outcome` is the value of the metric label.
    Released {
        /// What became of the group.
        outcome: &'static str,
    },
    /// A group was created or changed for an object that is gone, or that names another group by now.
    Orphaned {
        /// The group.
        group: GroupKey,
        /// The event of the object, if it is still there.
        event: Option<EventDraft>,
    },
}

/// What a pass needs to know at every step, beside its input.
#[derive(Debug, Clone)]
pub struct StepContext {
    /// The monotonic clock.
    pub now: Instant,
    /// The wall clock.
    pub wall: Timestamp,
    /// The clock of the service, as far as its answers show it.
    pub service: Timestamp,
    /// The other object that names this one's group, if it owns it or would take it over.
    pub owner: Option<Holder>,
    /// The number of objects that wait for a retry.
    pub delayed: usize,
    /// 0.75 to 1.25: objects that failed together do not come back together.
    pub jitter: f64,
    /// After this time without success the finalizer is removed in a terminating namespace.
    pub finalizer_timeout: Duration,
}
