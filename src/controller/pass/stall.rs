//! Stalled deletions, which require manual intervention, and their time limit in a terminating namespace.

use std::time::Duration;

use super::backoff::slow;
use super::{Pass, StepContext};
use crate::decide::without_credentials_since;
use crate::resources::{LiveMessageGroup, NextActor, Reason};

/// How often a stalled deletion is rechecked if the recheck makes no call. Its namespace may have started to terminate.
const RECHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Whether an object with this reason requires manual intervention.
pub fn stalls(reason: Reason) -> bool {
    matches!(reason.next_actor(), NextActor::User | NextActor::UserAfter(_))
}

/// Whether a recheck with this reason makes no call: a circuit breaker blocks the object, or it has no credentials.
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

impl Pass {
    /// The time until a stalled deletion is rechecked.
    pub(super) fn recheck_after(
        &mut self,
        object: &LiveMessageGroup,
        reason: Reason,
        context: &StepContext,
    ) -> Duration {
        let since = *self.stalled_since.get_or_insert(context.now);
        let left = time_left(object, context.now.saturating_duration_since(since), context);
        let interval = if is_free_to_check(reason) { RECHECK_INTERVAL } else { slow(context) };
        if left.is_zero() { interval } else { interval.min(left) }
    }

    /// Whether a deletion has been stalled for the finalizer time-out.
    pub(super) fn has_timed_out(&self, context: &StepContext) -> bool {
        let (Some(object), Some(since)) = (self.object.as_deref(), self.stalled_since) else { return false };
        object.is_deleting() && time_left(object, context.now.saturating_duration_since(since), context).is_zero()
    }
}

/// The time left for a deletion that has been stalled for `here` in this process. The time that an earlier process
/// recorded counts only after this process has seen the same cause for a minute, because the cause may have been
/// corrected since.
fn time_left(object: &LiveMessageGroup, here: Duration, context: &StepContext) -> Duration {
    let since = without_credentials_since(object).map(|since| context.wall.duration_since(since));
    let recorded: Duration = since.and_then(|since| since.try_into().ok()).unwrap_or_default();
    let by_record = context.finalizer_timeout.saturating_sub(recorded).max(RECHECK_INTERVAL.saturating_sub(here));
    by_record.min(context.finalizer_timeout.saturating_sub(here))
}
