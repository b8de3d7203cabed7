//! Gives the tests in `explore` access to the state of a pass.

use std::cell::Cell;
use std::time::Instant;

use super::stall::Stall;
use super::{Pass, Stage};
use crate::decide::{Action, DeletionOutcome, Facts, Holder, PassOutcome};
use crate::live::Call;
use crate::resources::LiveMessageGroup;

/// The signature of the decision function of a pass.
pub type Decide = fn(&LiveMessageGroup, &Facts, Option<&Holder>) -> Action;

thread_local! {
    /// The decision function of this thread. Mutation tests replace it.
    pub static DECIDE: Cell<Decide> = const { Cell::new(crate::decide::decide) };
}

/// Calls the function in [`DECIDE`].
pub fn decide(object: &LiveMessageGroup, facts: &Facts, owner: Option<&Holder>) -> Action {
    DECIDE.get()(object, facts, owner)
}

impl Pass {
    /// Creates a pass that has a call in flight.
    pub fn with_claim() -> Self {
        Self { claimed: true, ..Self::new() }
    }

    /// Removes the delays and the state that only suppresses events. The exploration does not model durations.
    pub fn without_delays(mut self, now: Instant) -> Self {
        (self.failures, self.not_before, self.without_credentials_since) = (0, None, None);
        self.stall = self.stall.map(|stall| Stall { since: now, ..stall });
        self.reported.clear();
        self.reports.clear();
        self.was_applied = false;
        self
    }

    /// The facts about the group that the pass has collected.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The generation of the pending write; `None` if no write is pending.
    pub fn pending_generation(&self) -> Option<i64> {
        self.pending_write.as_ref().map(|pending| pending.generation)
    }

    /// Sets the generation of the pending write, if a write is pending.
    pub fn set_pending_generation(&mut self, generation: i64) {
        if let Some(pending) = &mut self.pending_write {
            pending.generation = generation;
        }
    }

    /// Whether the deletion is stalled.
    pub fn is_stalled(&self) -> bool {
        self.stall.is_some()
    }

    /// Whether the create intent is about to be recorded.
    pub fn intends_to_create(&self) -> bool {
        matches!(&self.stage, Stage::PersistingIntent(Call::Create(..)))
    }

    /// The outcome of the deletion if the finalizer is about to be removed.
    pub fn deletion_outcome(&self) -> Option<&DeletionOutcome> {
        if let Stage::Releasing(outcome) = &self.stage { Some(outcome) } else { None }
    }

    /// Whether the next status write only reports a pause or its end, and records nothing about the group.
    pub fn is_pausing(&self) -> bool {
        matches!(&self.stage, Stage::Writing(end) if matches!(end.outcome, PassOutcome::Paused(_) | PassOutcome::Resumed))
    }
}
