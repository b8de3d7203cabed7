//! One reconcile pass over one object, as a pure state machine.
//!
//! The module owns the state of a pass: its facts, its retries, and the step that it waits for. It may import `keys`,
//! `decide`, `resources` and plain types of `live`. Its invariant: only [`Pass::next`] advances a pass, and the effect
//! of a call is kept until it is recorded.
//!
//! The steps: load → decide → preflight → (permit) → call → record → write the status. The driver in `reconcile`
//! executes them; the exploration in `explore` executes them in every reachable state.

mod backoff;
mod call;
mod effect;
mod ending;
mod events;
#[cfg(test)]
pub mod explored;
mod stall;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use effect::{
    Blocked, Effect, Explanation, Finish, Input, NoCredentials, Preflight, Report, StepContext, WriteFailure,
};
pub use ending::MISSING_GRACE;
use events::orphaned_event;
pub use events::{ABANDONED, EventDraft, EventType, NOT_DELETED, TIMED_OUT, retained_event};

use super::keys::{Cause, GroupKey, Requeue};
#[cfg(not(test))]
use crate::decide::decide;
use crate::decide::{
    Action, DeletionOutcome, Facts, Failure, PassOutcome, Priority, has_condition, is_observed, triage_after,
};
use crate::live::Call;
use crate::resources::{ConditionType, LiveMessageGroup, LiveMessageGroupStatus, Reason};
use ending::{End, PendingWrite};
#[cfg(test)]
use explored::decide;
use stall::Stall;

/// One reconcile pass over one object.
#[derive(Debug, Clone)]
pub struct Pass {
    uid: String,
    group: Option<GroupKey>,
    /// The object as last read or written; `None` between steps.
    object: Option<Box<LiveMessageGroup>>,
    /// Whether `object` is a copy that the operator kept. The apiserver may have a newer version.
    is_copy: bool,
    /// Whether the next step must read the object from the apiserver, because a write failed.
    must_read: bool,
    stage: Stage,
    /// The facts about the group that the pass has collected.
    facts: Facts,
    /// The forced reconcile that the object had requested before the pass last examined the group. `None` if there was
    /// no request, or if the pass did not examine the group.
    requested_at: Option<String>,
    /// The number of consecutive failures.
    failures: u32,
    /// The earliest time of the next attempt after a failure.
    not_before: Option<Instant>,
    /// The number of consecutive immediate retries.
    immediate_retries: u32,
    /// The faults that events have reported since the pass began. An event reports each fault only once, even if two
    /// faults alternate.
    reported: Vec<Reason>,
    /// Whether the object's current generation was already applied when the pass began.
    was_applied: bool,
    /// The stall of the deletion; `None` if the regular retries may complete the deletion.
    stall: Option<Stall>,
    /// When the pass first found the LiveAccount without credentials; reset when a call passes preflight.
    without_credentials_since: Option<Instant>,
    /// The outcome whose write failed and must be repeated.
    pending_write: Option<PendingWrite>,
    /// Whether a call is in flight, or the effect of a call is not recorded yet.
    claimed: bool,
    reports: Vec<Report>,
}

/// The step that a pass waits for.
#[derive(Debug, Clone, Default)]
enum Stage {
    #[default]
    Idle,
    Loading,
    CheckingNamespace {
        has_drifted: bool,
    },
    ChangingFinalizer,
    Releasing(DeletionOutcome),
    Preflight(Call),
    PersistingIntent(Call),
    Sending(Call),
    Writing(Box<End>),
}

impl Pass {
    /// Creates a pass that has not begun. The pass belongs to the first object that it reads.
    pub fn new() -> Self {
        Self {
            uid: String::new(),
            group: None,
            object: None,
            is_copy: false,
            must_read: false,
            stage: Stage::Idle,
            facts: Facts::default(),
            requested_at: None,
            failures: 0,
            not_before: None,
            immediate_retries: 0,
            reported: Vec::new(),
            was_applied: false,
            stall: None,
            without_credentials_since: None,
            pending_write: None,
            claimed: false,
            reports: Vec::new(),
        }
    }

    /// Advances the pass: takes the answer to the last effect, and returns the next effect.
    pub fn next(&mut self, input: Input, context: &StepContext) -> Effect {
        match (std::mem::take(&mut self.stage), input) {
            (_, Input::Start) => {
                let effect = if self.must_read { Effect::Read } else { Effect::Load };
                self.enter(Stage::Loading, effect)
            }
            (Stage::Loading, Input::Read { object, has_drifted, is_copy }) => {
                (self.is_copy, self.must_read) = (is_copy, false);
                self.loaded(object, has_drifted, context)
            }
            (Stage::Loading, Input::ReadFailed { is_forbidden }) => self.read_failed(is_forbidden, context),
            (Stage::CheckingNamespace { has_drifted }, Input::Namespace { is_terminating }) => {
                if is_terminating {
                    self.facts.abandon();
                }
                self.begin(has_drifted, context)
            }
            (Stage::ChangingFinalizer, Input::Patched(Ok(object))) => {
                self.replace_object(object);
                self.decide(context)
            }
            (Stage::Releasing(outcome), Input::Patched(Ok(_) | Err(WriteFailure::Gone))) => {
                self.released(&outcome, context)
            }
            (Stage::Preflight(call), Input::Preflight(answer)) => self.preflight_answered(call, answer, context),
            (Stage::PersistingIntent(call), Input::Patched(Ok(object))) => {
                let before = self.replace_object(object);
                self.report_transitions(before.as_deref(), Reason::Applying);
                self.send(call, context)
            }
            (Stage::Sending(call), Input::Answer { result, progress }) => {
                if let Some(object) = progress {
                    self.replace_object(object);
                }
                self.answered(&call, &result, context)
            }
            (_, Input::Patched(Err(failure))) => self.not_written(failure, context),
            (Stage::Writing(end), Input::StatusWritten(result)) => self.status_written(*end, result, context),
            // The pass ends if its object is gone, or if the input does not match the stage.
            (_, _) => self.gone(),
        }
    }

    /// Takes the reports of the last step.
    pub fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    /// Whether the object keeps its claim to its group: a call is in flight, or the effect of a call is not recorded
    /// yet.
    pub fn holds_claim(&self) -> bool {
        self.claimed
    }

    /// Whether the pass has read its object.
    pub fn is_begun(&self) -> bool {
        !self.uid.is_empty()
    }

    /// Takes the object at the end of a step.
    pub fn take_object(&mut self) -> Option<Box<LiveMessageGroup>> {
        self.is_copy = false;
        self.object.take()
    }

    /// Replaces the object with the apiserver's answer to a write. Returns the previous object.
    fn replace_object(&mut self, object: Box<LiveMessageGroup>) -> Option<Box<LiveMessageGroup>> {
        self.is_copy = false;
        self.object.replace(object)
    }

    /// The object; `None` between steps.
    pub fn object(&self) -> Option<&LiveMessageGroup> {
        self.object.as_deref()
    }

    /// The group that the pass has created or changed, if the status does not record this effect yet; `None` if every
    /// effect is recorded, or if the pass has deleted the group.
    pub fn unrecorded_group(&self) -> Option<&GroupKey> {
        self.group.as_ref().filter(|_| self.facts.has_effect() && !self.facts.has_deleted())
    }

    /// Returns a status that reports a slow call, if the current status still has `Ready=True` for an older generation;
    /// `None` otherwise.
    pub fn progress_status(&self, message: &str, wall: jiff::Timestamp) -> Option<Box<LiveMessageGroupStatus>> {
        let object = self.object.as_deref().filter(|object| is_stale(object))?;
        let outcome = PassOutcome::waiting(Reason::Applying, message.to_owned(), &Facts::default());
        outcome.status(object, None, wall).map(Box::new)
    }

    fn enter(&mut self, stage: Stage, effect: Effect) -> Effect {
        self.stage = stage;
        effect
    }

    fn finish(&mut self, requeue: Requeue, is_retry: bool) -> Effect {
        Effect::Finish(Finish { requeue, is_retry })
    }

    fn gone(&mut self) -> Effect {
        self.report_orphan(None);
        self.facts = Facts::default();
        self.claimed = false;
        self.finish(Requeue::Done, false)
    }

    fn read_failed(&mut self, is_forbidden: bool, context: &StepContext) -> Effect {
        let delay = if is_forbidden { backoff::forbidden(context) } else { self.write_backoff(context) };
        self.finish(Requeue::After(delay), false)
    }

    /// Continues with the object that was read. Starts a new pass if this is another object, or if its spec specifies
    /// another group.
    fn loaded(&mut self, object: Box<LiveMessageGroup>, has_drifted: bool, context: &StepContext) -> Effect {
        if !self.belongs_to(&object) {
            // A recreated object must not report events about the deleted one.
            let is_same_object = object.metadata.uid.as_deref() == Some(&self.uid);
            self.report_orphan(Some(&*object).filter(|_| is_same_object));
            let reports = self.take_reports();
            *self = Self {
                uid: object.metadata.uid.clone().unwrap_or_default(),
                group: GroupKey::of(&object),
                is_copy: self.is_copy,
                reports,
                ..Self::new()
            };
        }
        let generation = object.metadata.generation;
        self.object = Some(object);
        if let Some(PendingWrite { generation: decided, end }) = self.pending_write.take() {
            if generation == Some(decided) {
                return self.conclude(end.looking_again(), context);
            }
            if !self.facts.has_effect() {
                // Observations for an older generation do not apply to the current generation.
                self.forget_recorded();
            }
        }
        if context.account.is_some() && self.facts.account() != context.account.as_deref() {
            if self.facts.has_effect() {
                return self.record_former_account(context);
            }
            // The observed group belongs to the previous service and account.
            self.forget_recorded();
            self.facts.set_account(context.account.as_deref().cloned());
        }
        if let Some(wait) = self.remaining_backoff(context) {
            return self.finish(Requeue::After(wait), true);
        }
        if self.has_timed_out(context) {
            return self.enter(Stage::CheckingNamespace { has_drifted }, Effect::CheckNamespace);
        }
        self.begin(has_drifted, context)
    }

    fn begin(&mut self, has_drifted: bool, context: &StepContext) -> Effect {
        if self.facts.is_empty() {
            self.capture_request();
        }
        if has_drifted {
            self.facts.mark_drift();
        }
        self.decide(context)
    }

    fn decide(&mut self, context: &StepContext) -> Effect {
        let Some(object) = self.object.as_deref() else { return self.gone() };
        match decide(object, &self.facts, context.owner.as_ref()) {
            Action::Nothing => self.settled(),
            Action::Write(outcome) => {
                let requeue = requeue_of_owner(&outcome, context);
                self.conclude(End { outcome, requeue }, context)
            }
            Action::AddFinalizer => self.enter(Stage::ChangingFinalizer, Effect::SetFinalizer(true)),
            Action::DropFinalizer => self.enter(Stage::ChangingFinalizer, Effect::SetFinalizer(false)),
            Action::FinishDeletion(outcome) => self.enter(Stage::Releasing(outcome), Effect::ReleaseFinalizer),
            Action::Fail(failure) => self.fail(failure, context),
            // These calls depend on changes that the watch may not have delivered yet.
            Action::Call(Call::Delete(_) | Call::Recover(_)) if self.is_copy => {
                self.enter(Stage::Loading, Effect::Read)
            }
            Action::Call(call) => self.enter(Stage::Preflight(call.clone()), Effect::Preflight(call)),
        }
    }

    /// Records the effects of the calls that used the object's previous account. Then the pass starts over.
    fn record_former_account(&mut self, context: &StepContext) -> Effect {
        let message = "The account of the object has changed. The operator continues with the new account.";
        let outcome = PassOutcome::waiting(Reason::Applying, message.to_owned(), &self.facts);
        self.wait(End { outcome, requeue: Requeue::After(Duration::ZERO) }, context)
    }

    fn settled(&mut self) -> Effect {
        self.claimed = false;
        self.finish(Requeue::Done, false)
    }

    /// Remembers the forced reconcile that the object requests, before its group is examined.
    fn capture_request(&mut self) {
        self.requested_at = self.object.as_ref().and_then(|object| object.reconcile_requested_at().map(str::to_owned));
    }

    /// Whether this pass belongs to this object and to the group in its spec.
    fn belongs_to(&self, object: &LiveMessageGroup) -> bool {
        object.metadata.uid.as_deref() == Some(&self.uid) && GroupKey::of(object) == self.group
    }

    /// Clears the facts and the pending write after everything is recorded. The counters remain.
    fn forget_recorded(&mut self) {
        self.facts = std::mem::take(&mut self.facts).recorded();
        self.was_applied = false;
        self.pending_write = None;
    }

    /// The remaining backoff if the object is unchanged; `None` if the backoff is over or the object has changed.
    fn remaining_backoff(&mut self, context: &StepContext) -> Option<Duration> {
        let until = self.not_before.take().filter(|until| *until > context.now)?;
        let object = self.object.as_deref()?;
        let is_unchanged = triage_after(object, self.requested_at.as_deref()) == Some(Priority::Retry);
        is_unchanged.then(|| {
            self.not_before = Some(until);
            until - context.now
        })
    }

    fn report_orphan(&mut self, object: Option<&LiveMessageGroup>) {
        if let Some(group) = self.unrecorded_group().cloned() {
            let event = object.map(|object| orphaned_event(object, &group));
            self.reports.push(Report::Orphaned { group, event });
        }
    }

    fn fail(&mut self, failure: Failure, context: &StepContext) -> Effect {
        let end = self.failed(&failure, context);
        match end {
            Some(end) => self.conclude(end, context),
            // The call is repeated immediately, and no status is written.
            None => self.finish(Requeue::After(Duration::ZERO), false),
        }
    }
}

impl Default for Pass {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether the status has `Ready=True` for an older generation.
fn is_stale(object: &LiveMessageGroup) -> bool {
    has_condition(object, ConditionType::Ready) && !is_observed(object)
}

/// Makes an object in conflict wait for the owner of its group.
fn requeue_of_owner(outcome: &PassOutcome, context: &StepContext) -> Requeue {
    let group = context.group.as_ref().filter(|_| outcome.reason() == Reason::Conflict);
    group.map_or(Requeue::Done, |group| Requeue::blocked(Cause::Owner(Arc::clone(group))))
}
