//! Effects that a pass requests from its driver, and the inputs that answer them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::events::EventDraft;
use crate::controller::keys::{AccountKey, BreakerKey, BudgetKey, Cause, GroupAtService, GroupKey, Requeue};
use crate::decide::Holder;
use crate::live::{Call, CallError, Reply, Response};
use crate::resources::{AccountRecord, LastFailure, LiveMessageGroup, LiveMessageGroupStatus, Reason};

/// The next step of a pass. The driver answers each effect except the last one with an [`Input`]. The comment on each
/// effect ends with the possible inputs.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Take the cached copy of the object, or read the object from the apiserver if no copy is cached:
    /// [`Input::Read`], [`Input::Gone`] or [`Input::ReadFailed`].
    Load,
    /// Read the object from the apiserver: [`Input::Read`], [`Input::Gone`] or [`Input::ReadFailed`].
    Read,
    /// Check whether the namespace is terminating: [`Input::Namespace`].
    CheckNamespace,
    /// Add the finalizer, or remove it from an object that is not being deleted: [`Input::Patched`].
    SetFinalizer(bool),
    /// Remove the finalizer from an object that is being deleted: [`Input::Patched`].
    ReleaseFinalizer,
    /// Check whether this call may be sent: [`Input::Preflight`].
    Preflight(Call),
    /// Write this status before the call, if the resourceVersion is unchanged: [`Input::Patched`].
    PersistIntent(Box<LiveMessageGroupStatus>),
    /// Send this call with the granted permit: [`Input::Answer`].
    Send(Call),
    /// Write this status, if the resourceVersion is unchanged: [`Input::StatusWritten`].
    WriteStatus(Box<LiveMessageGroupStatus>),
    /// End the step. The pass is kept unless it is complete.
    Finish(Finish),
}

/// How a step ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// When the object is reconciled next.
    pub requeue: Requeue,
    /// Whether the priority of the object becomes `Retry`.
    pub is_retry: bool,
}

/// The answer to an [`Effect`].
#[derive(Debug, Clone)]
pub enum Input {
    /// A worker took the object, or a permit was granted.
    Start,
    Read {
        object: Box<LiveMessageGroup>,
        /// Whether a drift check contradicts the object's status.
        has_drifted: bool,
        /// Whether the object is a copy. The apiserver may have a newer version.
        is_copy: bool,
    },
    /// The object no longer exists.
    Gone,
    /// The object could not be read.
    ReadFailed {
        /// Whether the operator lacks the permission to read the object.
        is_forbidden: bool,
    },
    /// The answer to [`Effect::CheckNamespace`].
    Namespace {
        /// Whether the namespace is terminating or does not exist.
        is_terminating: bool,
    },
    /// The object after the finalizer was changed or the create intent was recorded.
    Patched(Result<Box<LiveMessageGroup>, WriteFailure>),
    Preflight(Preflight),
    /// The call ended.
    Answer {
        /// The answer, or the reason why there is no answer.
        result: Result<Response<Reply>, CallError>,
        /// The object with the status that was written while the call was in flight; `None` if no status was written.
        progress: Option<Box<LiveMessageGroup>>,
    },
    /// The object with the new status.
    StatusWritten(Result<Box<LiveMessageGroup>, WriteFailure>),
}

/// Why a write failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteFailure {
    /// The object was deleted, or recreated under the same name.
    Gone,
    /// Any other failure. The write is repeated.
    Failed,
}

/// The result of a preflight: whether a call may be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preflight {
    /// The call may be sent. The object's claim to its group is recorded.
    Cleared,
    /// The call needs only a permit of this budget. The permit is expected after `wait`.
    NeedsPermit { budget: BudgetKey, wait: Duration },
    /// The call must wait for this delay, because an earlier call for the group may still arrive, or because the object
    /// has changed.
    Delayed(Duration),
    /// Another object owns the group now.
    OwnerChanged,
    /// The account has no usable credentials.
    NoCredentials(NoCredentials),
    /// The namespace of the object may not use the operator's own credentials.
    NotPermitted,
    /// The call is blocked, for example by an open circuit breaker or a quota.
    Blocked(Blocked),
}

/// An account without usable credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoCredentials {
    pub account: AccountKey,
    /// The message for the condition; `None` while the credentials are being loaded for the first time.
    pub why: Option<String>,
    /// The delay until the credentials are loaded again; `None` during a load, or if there is nothing to load.
    pub retry_after: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    pub on: Cause,
    /// The explanation that the status reports; `None` leaves the status unchanged.
    pub explanation: Option<Explanation>,
}

/// The reason and the message of a condition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Explanation {
    pub reason: Reason,
    pub message: String,
    /// The value of `status.lastFailure`; `None` if no failed call is known.
    pub failure: Option<LastFailure>,
}

/// An event, a metric or a log line that a pass reports in addition to its effect. The driver takes the reports after
/// every effect.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    Event(EventDraft),
    Failed(Explanation),
    /// The pass failed, and other objects share the cause of the failure.
    Tripped {
        /// The circuit breaker of the cause.
        breaker: BreakerKey,
        /// The explanation that blocked objects report.
        explanation: Explanation,
    },
    /// The finalizer was removed from an object that was being deleted; `outcome` is the value of the metric label.
    Released {
        outcome: &'static str,
    },
    /// A group was created or changed for an object that no longer exists or whose spec now specifies another group.
    Orphaned {
        group: GroupKey,
        /// The event to publish for the object; `None` if the object was deleted.
        event: Option<EventDraft>,
    },
}

/// The clocks, scheduler state and settings that a pass needs at every step.
#[derive(Debug, Clone)]
pub struct StepContext {
    /// The monotonic clock.
    pub now: Instant,
    pub wall: Timestamp,
    /// The clock of the service, estimated from its responses; `None` if it differs too much from the local clock.
    pub service: Option<Timestamp>,
    /// The account that the object's next call uses; `None` if the account is not available.
    pub account: Option<Arc<AccountRecord>>,
    /// The group in the object's spec, with the service of the object's account; `None` if the spec does not specify a
    /// valid group.
    pub group: Option<Arc<GroupAtService>>,
    /// The other object that owns this object's group, or that would take over the group after this object is deleted;
    /// `None` if there is no such object.
    pub owner: Option<Holder>,
    /// The number of objects that wait for a delay to end.
    pub delayed: usize,
    /// A random factor from 0.75 to 1.25. It spreads the retries of objects that failed at the same time.
    pub jitter: f64,
    /// How long a deletion in a terminating namespace can be stalled before the finalizer is removed.
    pub finalizer_timeout: Duration,
    /// Like `finalizer_timeout`, but for a deletion that is stalled because the Live API cannot be reached.
    pub unreachable_finalizer_timeout: Duration,
}
