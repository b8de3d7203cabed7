//! The end of a pass: its status, and when the object is reconciled next.

use std::time::Duration;

use super::backoff::slow;
use super::events::{deletion_event, released_label, transition_events};
use super::{Effect, Explanation, NoCredentials, Pass, Report, Stage, StepContext, WriteFailure};
use crate::controller::keys::{AccountKey, AppKey, BreakerKey, Cause, Requeue};
use crate::decide::{DeletionOutcome, Failure, FailureDomain, PassOutcome, Retry, finalizer_is_wrong};
use crate::resources::{ConditionStatus, ConditionType, LiveMessageGroup, Reason};

/// The maximum number of consecutive immediate retries. A further failure is retried with a backoff.
const MAX_IMMEDIATE_RETRIES: u32 = 2;

/// How long the operator waits before it reports missing credentials. One `kubectl apply` can create a LiveAccount, its
/// Secret and the groups in any order, and the operator observes them one by one.
pub const MISSING_GRACE: Duration = Duration::from_secs(2);

/// The delay after which an object with missing credentials is reconciled again, so that the condition `Stalled` can
/// replace `Reconciling`.
const STALLED_CHECK: Duration = Duration::from_secs(160);

/// The minimum delay between two attempts to load the operator's own credentials.
const OPERATOR_RETRY_MIN: Duration = Duration::from_secs(1);

/// How a pass ends.
#[derive(Debug, Clone)]
pub struct End {
    /// The outcome that the status reports.
    pub outcome: PassOutcome,
    /// When the object is reconciled next.
    pub requeue: Requeue,
}

/// An outcome whose write failed. Only the write is repeated, not the call.
#[derive(Debug, Clone)]
pub struct PendingWrite {
    /// The generation that the outcome was decided for.
    pub generation: i64,
    pub end: End,
}

impl End {
    /// Schedules another reconcile if none is scheduled. The current step only repeats the failed write. The user may
    /// have requested a pause or a forced reconcile since the first attempt, and neither changes the generation.
    pub fn looking_again(self) -> Self {
        let requeue = if self.requeue == Requeue::Done { Requeue::After(Duration::ZERO) } else { self.requeue };
        Self { requeue, ..self }
    }
}

impl Pass {
    /// Returns how a failed pass ends; `None` if the call is repeated immediately and the status stays unchanged.
    pub(super) fn failed(&mut self, failure: &Failure, context: &StepContext) -> Option<End> {
        let Failure { reason, message, record, .. } = failure.clone();
        let explanation = Explanation { reason, message, failure: Some(record) };
        self.reports.push(Report::Failed(explanation.clone()));
        let requeue = match failure.retry {
            Retry::Never => Requeue::Done,
            Retry::Immediate if self.immediate_retries < MAX_IMMEDIATE_RETRIES => {
                self.immediate_retries += 1;
                if failure.reason != Reason::Throttled {
                    return None;
                }
                Requeue::After(Duration::ZERO)
            }
            Retry::Immediate | Retry::Backoff => self.retry_after(Self::backoff, context),
            Retry::Slow => self.retry_after(|_, context| slow(context), context),
            Retry::OnBreaker(domain) => {
                self.immediate_retries = 0;
                let breaker = self.breaker(domain)?;
                self.reports.push(Report::Tripped { breaker: breaker.clone(), explanation });
                Requeue::blocked(Cause::Breaker(breaker))
            }
        };
        Some(End { outcome: PassOutcome::failed(failure, &self.facts), requeue })
    }

    fn retry_after(
        &mut self,
        delay: impl FnOnce(&mut Self, &StepContext) -> Duration,
        context: &StepContext,
    ) -> Requeue {
        let delay = delay(self, context);
        self.not_before = Some(context.now + delay);
        Requeue::After(delay)
    }

    fn breaker(&self, domain: FailureDomain) -> Option<BreakerKey> {
        let object = self.object.as_deref()?;
        let app = AppKey::new(&AccountKey::of(object), &object.spec.app_id);
        Some(BreakerKey::new(domain, app, object.spec.data_center.map(|center| center.as_str())))
    }

    /// Ends a pass that could not examine the group. A requested forced reconcile is not acknowledged.
    pub(super) fn wait(&mut self, end: End, context: &StepContext) -> Effect {
        self.requested_at = None;
        self.conclude(end, context)
    }

    /// Writes the final status of the pass if it differs from the recorded one, and ends the pass.
    pub(super) fn conclude(&mut self, mut end: End, context: &StepContext) -> Effect {
        let Some(object) = self.object.take() else { return self.gone() };
        if object.is_deleting() && !matches!(end.requeue, Requeue::Permit(_)) {
            end.requeue = self.schedule_recheck(&object, end.outcome.reason(), end.requeue, context);
        }
        let status = end.outcome.status(&object, self.requested_at.as_deref(), context.wall);
        self.object = Some(object);
        match status {
            None => self.end(end),
            Some(status) => self.enter(Stage::Writing(Box::new(end)), Effect::WriteStatus(Box::new(status))),
        }
    }

    /// Ends a pass whose status is recorded.
    fn end(&mut self, end: End) -> Effect {
        self.claimed = false;
        let is_retry = matches!(end.requeue, Requeue::After(_) | Requeue::Blocked { .. });
        self.forget_recorded();
        self.finish(end.requeue, is_retry)
    }

    pub(super) fn status_written(
        &mut self,
        mut end: End,
        result: Result<Box<LiveMessageGroup>, WriteFailure>,
        context: &StepContext,
    ) -> Effect {
        match result {
            Ok(written) => {
                let is_wrong = finalizer_is_wrong(&written);
                let is_same_group = self.belongs_to(&written);
                let before = self.replace_object(written);
                self.report_transitions(before.as_deref(), end.outcome.reason());
                if !is_same_group {
                    // The spec now specifies another group. An orphan is reported here, because the next pass knows
                    // only the new group.
                    let object = self.object.take();
                    self.report_orphan(object.as_deref());
                    self.object = object;
                }
                if end.requeue == Requeue::Done && is_wrong {
                    end.requeue = Requeue::After(Duration::ZERO);
                }
                self.end(end)
            }
            Err(WriteFailure::Gone) => self.gone(),
            // Reporting a wait is optional, so this write is not repeated.
            Err(WriteFailure::Failed) if matches!(end.requeue, Requeue::Permit(_)) => {
                self.must_read = true;
                self.finish(end.requeue, false)
            }
            Err(WriteFailure::Failed) => {
                let delay = self.delay_after_failed_write(context);
                let generation = self.object.as_ref().and_then(|object| object.metadata.generation).unwrap_or_default();
                // The object may be paused or resumed before the retry. Therefore an outcome that only reports a pause
                // or its end is not kept. Instead, the retry evaluates the object again, which requires no call.
                let is_lasting = !matches!(end.outcome, PassOutcome::Paused(_) | PassOutcome::Resumed);
                self.pending_write = is_lasting.then_some(PendingWrite { generation, end });
                self.finish(Requeue::After(delay), false)
            }
        }
    }

    /// Handles a failed write of the finalizer or the create intent. No call is sent. The object is then read and
    /// evaluated again.
    pub(super) fn not_written(&mut self, failure: WriteFailure, context: &StepContext) -> Effect {
        if failure == WriteFailure::Gone {
            return self.gone();
        }
        // If an earlier call had an effect, the object keeps its claim until the effect is recorded.
        self.claimed &= self.facts.has_effect();
        let delay = self.delay_after_failed_write(context);
        self.finish(Requeue::After(delay), false)
    }

    /// The delay before a failed write is repeated. The object is read again first. If the write was based on a copy,
    /// there is no delay, because the copy was probably outdated.
    fn delay_after_failed_write(&mut self, context: &StepContext) -> Duration {
        self.must_read = true;
        if self.is_copy { Duration::ZERO } else { self.write_backoff(context) }
    }

    /// Ends a deletion after the finalizer was removed.
    pub(super) fn released(&mut self, outcome: &DeletionOutcome, context: &StepContext) -> Effect {
        let Some(object) = self.object.take() else { return self.gone() };
        let event = deletion_event(&object, outcome, self.facts.last_write(), self.stall_timeout(context));
        self.reports.push(Report::Released { outcome: released_label(&object, outcome, &event) });
        self.reports.push(Report::Event(event));
        self.facts = crate::decide::Facts::default();
        self.settled()
    }

    /// Blocks an object whose account has no credentials.
    pub(super) fn without_credentials(&mut self, missing: NoCredentials, context: &StepContext) -> Effect {
        let NoCredentials { account, why, retry_after } = missing;
        let blocked = |deadline| Requeue::Blocked { on: Cause::Account(account.clone()), deadline };
        let Some(why) = why else { return self.finish(blocked(None), false) };
        let deadline = if account == AccountKey::Operator {
            retry_after.map(|delay| delay.max(OPERATOR_RETRY_MIN).mul_f64(context.jitter))
        } else {
            let since = *self.without_credentials_since.get_or_insert(context.now);
            let grace = (since + MISSING_GRACE).saturating_duration_since(context.now);
            if !grace.is_zero() {
                return self.finish(blocked(Some(context.now + grace)), false);
            }
            let is_stalled = self.object.as_deref().is_some_and(reports_missing_credentials);
            (!is_stalled).then(|| STALLED_CHECK.mul_f64(context.jitter))
        };
        let requeue = blocked(deadline.map(|delay| context.now + delay));
        let outcome = PassOutcome::waiting(Reason::CredentialsMissing, why, &self.facts);
        self.wait(End { outcome, requeue }, context)
    }

    /// Ends a pass whose object may not use the operator's own credentials. The permission changes only when a user
    /// edits the object or an administrator restarts the operator with other flags. Therefore a deletion finishes
    /// without a call.
    pub(super) fn not_permitted(&mut self, context: &StepContext) -> Effect {
        let Some(object) = self.object.as_deref() else { return self.gone() };
        if object.is_deleting() {
            self.facts.forbid_credentials();
            return self.decide(context);
        }
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let message = format!(
            "Objects in namespace {namespace} may not use the operator's own credentials. Create a LiveAccount and set \
             spec.accountRef, or ask the administrator to add the namespace to --operator-credentials-namespaces."
        );
        let is_stalled = reports_missing_credentials(object);
        let requeue = if is_stalled { Requeue::Done } else { Requeue::After(STALLED_CHECK.mul_f64(context.jitter)) };
        let outcome = PassOutcome::waiting(Reason::CredentialsMissing, message, &self.facts);
        self.wait(End { outcome, requeue }, context)
    }

    /// Reports each transition of the pass once, as an event.
    pub(super) fn report_transitions(&mut self, before: Option<&LiveMessageGroup>, reason: Reason) {
        let (Some(before), Some(after)) = (before, self.object.as_deref()) else { return };
        // A status that is written before a call no longer has `Ready=True`, so `was_applied` must stay true if it was
        // true before.
        self.was_applied |= super::events::is_applied(before);
        let change = super::events::Change { before, after, facts: &self.facts, reason, was_applied: self.was_applied };
        let events = transition_events(&change, &mut self.reported);
        self.reports.extend(events.into_iter().map(Report::Event));
    }

    /// Limits the time until a stalled deletion is rechecked, because the namespace of the object may be terminating.
    fn schedule_recheck(
        &mut self,
        object: &LiveMessageGroup,
        reason: Reason,
        requeue: Requeue,
        context: &StepContext,
    ) -> Requeue {
        let Some(recheck) = self.recheck_after(object, reason, context) else { return requeue };
        let by = context.now + recheck;
        self.not_before = self.not_before.map(|until| until.min(by));
        match requeue {
            Requeue::After(delay) => Requeue::After(delay.min(recheck)),
            Requeue::Blocked { on, deadline } => {
                Requeue::Blocked { on, deadline: Some(deadline.map_or(by, |deadline| deadline.min(by))) }
            }
            Requeue::Done | Requeue::Permit(_) => Requeue::After(recheck),
        }
    }
}

/// Whether the status has `Stalled=True` because credentials are missing.
fn reports_missing_credentials(object: &LiveMessageGroup) -> bool {
    object.condition(ConditionType::Stalled).is_some_and(|stalled| {
        ConditionStatus::of(stalled) == ConditionStatus::True && stalled.reason == Reason::CredentialsMissing.as_str()
    })
}
