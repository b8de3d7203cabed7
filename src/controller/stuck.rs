//! Deletions that wait for somebody, and how long they do in a namespace that goes away.

use std::time::Duration;

use tokio::time::Instant;

use super::accounts::Slot;
use super::causes::gate_kind;
use super::key::Key;
use super::pass::{Pass, slowly};
use super::queue::Next;
use super::reconciler::Reconciler;
use crate::resources::{Progress, Reason};

/// How often a deletion is looked at that waits for somebody, where a look costs no call: its namespace may go away.
const LOOK: Duration = Duration::from_secs(60);

impl Reconciler {
    /// When a deletion that ended a pass with `reason` is looked at next. What goes on by itself is left to itself; for
    /// what only a person can mend, the time is taken: in a namespace that goes away nobody may come.
    pub(super) fn stuck(&self, pass: &mut Pass, reason: Reason, next: Next<Slot>) -> Next<Slot> {
        if !matches!(reason.progress(), Progress::Stalled | Progress::StalledAfter(_)) {
            pass.stuck_since = None;
            return next;
        }
        let since = *pass.stuck_since.get_or_insert_with(Instant::now);
        let left = self.release_after.saturating_sub(since.elapsed());
        // Behind a gate, or without credentials, a look makes no call; anything else would be refused again.
        let free = gate_kind(reason).is_some() || reason == Reason::CredentialsMissing;
        let look = if free { LOOK } else { slowly() };
        let look = if left.is_zero() { look } else { look.min(left) };
        match next {
            Next::After(delay) => Next::After(delay.min(look)),
            _ => Next::After(look),
        }
    }

    /// Whether a deletion has waited in vain for as long as it may, in a namespace that goes away.
    pub(super) async fn is_given_up(&self, key: &Key, pass: &Pass) -> bool {
        if pass.stuck_since.is_none_or(|since| since.elapsed() < self.release_after) {
            return false;
        }
        self.objects.is_terminating(key.namespace()).await.unwrap_or(false)
    }
}
