//! Stalled deletions. A deletion is stalled if it requires manual intervention or if the Live API is unreachable. In a
//! terminating namespace, a stalled deletion ends after a timeout.

use std::time::{Duration, Instant};

use super::backoff::slow;
use super::{Pass, StepContext};
use crate::decide::without_credentials_since;
use crate::resources::{LiveMessageGroup, NextActor, Reason};

/// The interval at which a stalled deletion is rechecked if the recheck makes no call. After the timeout, each recheck
/// also checks whether the namespace is terminating.
const RECHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Whether an object with this reason requires manual intervention.
fn stalls(reason: Reason) -> bool {
    matches!(reason.next_actor(), NextActor::User | NextActor::UserAfter(_))
}

/// Whether rechecking an object with this reason makes no call, because a circuit breaker blocks the object or because
/// its credentials are missing.
fn is_free_to_check(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::CredentialsRejected
            | Reason::NotAuthorized
            | Reason::AppNotFound
            | Reason::QuotaExceeded
            | Reason::CredentialsMissing
    )
}

/// A deletion that cannot complete by retries alone, and the time at which this process first saw the cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    pub since: Instant,
    pub cause: StallCause,
}

/// Why a deletion is stalled. Each cause has its own timeout, which restarts if the cause changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StallCause {
    /// Manual intervention is required.
    User,
    /// The Live API cannot be reached. It may become reachable again, so this timeout is longer.
    Unreachable,
}

impl StallCause {
    fn of(reason: Reason) -> Option<Self> {
        match reason {
            Reason::Unreachable => Some(Self::Unreachable),
            reason => stalls(reason).then_some(Self::User),
        }
    }

    fn timeout(self, context: &StepContext) -> Duration {
        match self {
            Self::User => context.finalizer_timeout,
            Self::Unreachable => context.unreachable_finalizer_timeout,
        }
    }
}

impl Pass {
    /// Records the reason why a deletion does not succeed. Returns the maximum time until the deletion is rechecked;
    /// `None` if the regular retries suffice.
    pub(super) fn recheck_after(
        &mut self,
        object: &LiveMessageGroup,
        reason: Reason,
        context: &StepContext,
    ) -> Option<Duration> {
        let cause = StallCause::of(reason);
        self.stall = cause.map(|cause| {
            let before = self.stall.filter(|before| before.cause == cause);
            before.unwrap_or(Stall { since: context.now, cause })
        });
        let left = self.stall?.time_left(object, context);
        let interval = match cause? {
            // Every retry rechecks the namespace.
            StallCause::Unreachable => None,
            StallCause::User => Some(if is_free_to_check(reason) { RECHECK_INTERVAL } else { slow(context) }),
        };
        interval.into_iter().chain(Some(left).filter(|left| !left.is_zero())).min()
    }

    /// Whether the timeout of a stalled deletion has expired.
    pub(super) fn has_timed_out(&self, context: &StepContext) -> bool {
        let (Some(object), Some(stall)) = (self.object.as_deref(), self.stall) else { return false };
        object.is_deleting() && stall.time_left(object, context).is_zero()
    }

    /// The timeout that applies to the stalled deletion.
    pub(super) fn stall_timeout(&self, context: &StepContext) -> Duration {
        self.stall.map_or(context.finalizer_timeout, |stall| stall.cause.timeout(context))
    }
}

impl Stall {
    fn time_left(self, object: &LiveMessageGroup, context: &StepContext) -> Duration {
        let here = context.now.saturating_duration_since(self.since);
        match self.cause {
            StallCause::User => time_left_for_user(object, here, context),
            StallCause::Unreachable => self.cause.timeout(context).saturating_sub(here),
        }
    }
}

/// Returns how long until a stalled deletion times out. `here` is how long the deletion has been stalled since this
/// process first observed it. The start time recorded in the status by an earlier process is ignored until this process
/// has observed the stall for one minute, because the user may have fixed the cause before this process started.
fn time_left_for_user(object: &LiveMessageGroup, here: Duration, context: &StepContext) -> Duration {
    let since = without_credentials_since(object).map(|since| context.wall.duration_since(since));
    let recorded: Duration = since.and_then(|since| since.try_into().ok()).unwrap_or_default();
    let by_record = context.finalizer_timeout.saturating_sub(recorded).max(RECHECK_INTERVAL.saturating_sub(here));
    by_record.min(context.finalizer_timeout.saturating_sub(here))
}
