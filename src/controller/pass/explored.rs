//! What the exploration sees of a pass, and what it leaves out of it.

use std::cell::Cell;
use std::time::Instant;

use super::{Pass, Stage};
use crate::decide::{Action, DeletionOutcome, Facts, Holder, PassOutcome};
use crate::live::Call;
use crate::resources::LiveMessageGroup;

/// What decides in a pass.
pub type Decide = fn(&LiveMessageGroup, &Facts, Option<&Holder>) -> Action;

thread_local! {
    /// What decides in the passes of this thread: a mutant, while one is explored.
    pub static DECIDE: Cell<Decide> = const { Cell::new(crate::decide::decide) };
}

/// Decides as [`DECIDE`] does.
pub fn decide(object: &LiveMessageGroup, facts: &Facts, owner: Option<&Holder>) -> Action {
    DECIDE.get()(object, facts, owner)
}

impl Pass {
    /// A pass whose call is out.
    pub fn with_claim() -> Self {
        Self { claimed: true, ..Self::new() }
    }

    /// The same pass without what only delays it or only suppresses events: the exploration has no durations.
    pub fn without_delays(mut self, now: Instant) -> Self {
        (self.failures, self.not_before, self.without_credentials_since) = (0, None, None);
        self.stalled_since = self.stalled_since.map(|_| now);
        self.reported.clear();
        self.reports.clear();
        self.was_applied = false;
        self
    }

    /// What the pass has learned.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The generation that a repeated write was decided for.
    pub fn pending_generation(&self) -> Option<i64> {
        self.pending_write.as_ref().map(|pending| pending.generation)
    }

    /// Repeats the write, if one is pending, for this generation.
    pub fn set_pending_generation(&mut self, generation: i64) {
        if let Some(pending) = &mut self.pending_write {
            pending.generation = generation;
        }
    }

    /// Whether a deletion waits for a person.
    pub fn is_stalled(&self) -> bool {
        self.stalled_since.is_some()
    }

    /// Whether the intent of a create is about to be recorded.
    pub fn intends_to_create(&self) -> bool {
        matches!(&self.stage, Stage::PersistingIntent(Call::Create(..)))
    }

    /// Why the finalizer is about to be removed.
    pub fn deletion_outcome(&self) -> Option<&DeletionOutcome> {
        if let Stage::Releasing(outcome) = &self.stage { Some(outcome) } else { None }
    }

    /// Whether the status that is about to be written records nothing of the group, because the object is paused.
    pub fn is_pausing(&self) -> bool {
        matches!(&self.stage, Stage::Writing(end) if matches!(end.outcome, PassOutcome::Paused(_) | PassOutcome::Resumed))
    }
}
