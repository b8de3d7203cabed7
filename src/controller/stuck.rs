//! Deletions that wait for somebody, and how long they do in a namespace that goes away.

use std::time::Duration;

use tokio::time::Instant;

use super::accounts::Slot;
use super::causes::is_gated;
use super::key::Key;
use super::pass::{Pass, slowly};
use super::queue::Next;
use super::reconciler::Reconciler;
use crate::decide::without_credentials_since;
use crate::resources::{LiveMessageGroup, Progress, Reason};

/// How often a deletion is looked at that waits for somebody, where a look costs no call: its namespace may go away.
const LOOK: Duration = Duration::from_secs(60);

/// How long a deletion has waited for somebody.
#[derive(Debug, Clone, Copy)]
struct Waited {
    /// In this process.
    here: Duration,
    /// Before it too, as its status tells.
    recorded: Duration,
}

impl Waited {
    fn by(object: &LiveMessageGroup, here: Duration) -> Self {
        let recorded = without_credentials_since(object).map(|since| jiff::Timestamp::now().duration_since(since));
        Self { here, recorded: recorded.and_then(|recorded| recorded.try_into().ok()).unwrap_or_default() }
    }

    /// How much longer it is to wait. The record counts when this process has found the same for a while: what was
    /// recorded may have been mended since.
    fn left(self, release_after: Duration) -> Duration {
        let by_record = release_after.saturating_sub(self.recorded).max(LOOK.saturating_sub(self.here));
        by_record.min(release_after.saturating_sub(self.here))
    }
}

impl Reconciler {
    /// When a deletion that ended a pass with `reason` is looked at next. What goes on by itself is left to itself; for
    /// what only a person can mend, the time is taken: in a namespace that goes away nobody may come.
    pub(super) fn stuck(
        &self,
        object: &LiveMessageGroup,
        pass: &mut Pass,
        reason: Reason,
        next: Next<Slot>,
    ) -> Next<Slot> {
        if !matches!(reason.progress(), Progress::Stalled | Progress::StalledAfter(_)) {
            pass.stuck_since = None;
            return next;
        }
        let since = *pass.stuck_since.get_or_insert_with(Instant::now);
        let left = Waited::by(object, since.elapsed()).left(self.release_after);
        // Behind a gate, or without credentials, a look makes no call; anything else would be refused again.
        let free = is_gated(reason) || reason == Reason::CredentialsMissing;
        let look = if free { LOOK } else { slowly() };
        let look = if left.is_zero() { look } else { look.min(left) };
        match next {
            Next::After(delay) => Next::After(delay.min(look)),
            _ => Next::After(look),
        }
    }

    /// Whether a deletion has waited in vain for as long as it may, in a namespace that goes away.
    pub(super) async fn is_given_up(&self, key: &Key, object: &LiveMessageGroup, pass: &Pass) -> bool {
        let Some(since) = pass.stuck_since else { return false };
        if !Waited::by(object, since.elapsed()).left(self.release_after).is_zero() {
            return false;
        }
        self.objects.is_terminating(key.namespace()).await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_counts_when_this_process_has_seen_it_for_a_minute() {
        let seconds = Duration::from_secs;
        for (here, recorded, left) in [
            (0, 0, 600),
            (100, 0, 500),
            (600, 0, 0),
            (0, 540, 60),
            (0, 10_000, 60),
            (59, 10_000, 1),
            (60, 10_000, 0),
            (60, 599, 1),
            (300, 400, 200),
        ] {
            let waited = Waited { here: seconds(here), recorded: seconds(recorded) };
            assert_eq!(waited.left(seconds(600)), seconds(left), "{waited:?}");
        }
        // Where less than a minute is asked for, nothing makes it longer.
        assert_eq!(Waited { here: seconds(5), recorded: seconds(0) }.left(seconds(8)), seconds(3));
        assert_eq!(Waited { here: seconds(5), recorded: seconds(900) }.left(seconds(8)), seconds(3));
    }
}
