//! The call of a pass: preflight, create intent, call, and the record of its answer.

use std::time::Duration;

use super::ending::End;
use super::{Blocked, Effect, Explanation, Pass, Preflight, Stage, StepContext, is_stale};
use crate::controller::keys::{AccountKey, Requeue};
use crate::decide::{PassOutcome, record_before};
use crate::live::{Call, CallError, Reply, Response};
use crate::resources::{ConditionType, LiveMessageGroup, Reason};

/// The shortest expected wait for a permit that an object reports.
const REPORT_FROM: Duration = Duration::from_secs(30);

/// Same as [`REPORT_FROM`], while the status has `Ready=True` of an older generation, which must not hide the change.
const REPORT_STALE_FROM: Duration = Duration::from_secs(2);

impl Pass {
    pub(super) fn preflight_answered(&mut self, call: Call, answer: Preflight, context: &StepContext) -> Effect {
        match answer {
            Preflight::NeedsPermit { budget, wait } => {
                self.without_credentials_since = None;
                self.await_permit(Requeue::Permit(budget), wait, context)
            }
            // The call was decided for another account.
            Preflight::Cleared if self.facts.account() != context.account.as_deref() => {
                self.finish(Requeue::After(Duration::ZERO), false)
            }
            Preflight::Cleared => {
                self.without_credentials_since = None;
                self.claimed = true;
                self.persist_intent(call, context)
            }
            Preflight::Delayed(delay) => self.finish(Requeue::After(delay), false),
            Preflight::OwnerChanged => self.decide(context),
            Preflight::NoCredentials(missing) => self.without_credentials(missing, context),
            Preflight::NotPermitted => self.not_permitted(context),
            Preflight::Blocked(Blocked { on, explanation }) => match explanation {
                None => self.finish(Requeue::blocked(on), false),
                Some(Explanation { reason, message, failure }) => {
                    let outcome = PassOutcome::blocked(reason, message, failure, &self.facts);
                    self.wait(End { outcome, requeue: Requeue::blocked(on) }, context)
                }
            },
        }
    }

    /// Waits for a permit. An object reports a long wait once for each generation, before the first call of a pass.
    fn await_permit(&mut self, requeue: Requeue, wait: Duration, context: &StepContext) -> Effect {
        let Some(object) = self.object.as_deref() else { return self.gone() };
        let report_from = if is_stale(object) { REPORT_STALE_FROM } else { REPORT_FROM };
        let expected = context.wall.checked_add(wait).ok().filter(|_| wait >= report_from);
        match expected {
            Some(expected) if self.facts.is_empty() && !reports_wait(object) => {
                let message = format!(
                    "The next call waits for the rate limit of the Live API, expected at about {}. No action is needed.",
                    expected.strftime("%H:%M:%SZ")
                );
                let outcome = PassOutcome::waiting(Reason::Queued, message, &self.facts);
                self.wait(End { outcome, requeue }, context)
            }
            _ => self.finish(requeue, false),
        }
    }

    /// Records the create intent before the call, because a later deletion may depend on it even if the answer is lost.
    fn persist_intent(&mut self, call: Call, context: &StepContext) -> Effect {
        let Some(object) = self.object.as_deref() else { return self.gone() };
        match record_before(object, &self.facts, &call, context.service.unwrap_or(context.wall), context.wall) {
            None => self.send(call, context),
            Some((status, body)) => {
                self.facts.intent_recorded(body);
                self.enter(Stage::PersistingIntent(call), Effect::PersistIntent(Box::new(status)))
            }
        }
    }

    pub(super) fn send(&mut self, call: Call, context: &StepContext) -> Effect {
        self.capture_request();
        self.facts.mark_sent(context.service);
        self.enter(Stage::Sending(call.clone()), Effect::Send(call))
    }

    pub(super) fn answered(
        &mut self,
        call: &Call,
        result: &Result<Response<Reply>, CallError>,
        context: &StepContext,
    ) -> Effect {
        self.facts.mark_answered(context.service);
        let Some(object) = self.object.as_deref() else { return self.gone() };
        let generation = object.metadata.generation.unwrap_or_default();
        let account = AccountKey::of(object);
        let answer = match result {
            Ok(response) => Ok((response.value.clone(), response.request_id.clone())),
            Err(error) => Err(error),
        };
        match self.facts.record(call, generation, answer, account.live_account_name()) {
            Ok(()) => {
                self.immediate_retries = 0;
                self.decide(context)
            }
            Err(failure) => self.fail(failure, context),
        }
    }
}

/// Whether the object already reports for this generation that it waits for a permit.
fn reports_wait(object: &LiveMessageGroup) -> bool {
    object.condition(ConditionType::Reconciling).is_some_and(|reconciling| {
        reconciling.reason == Reason::Queued.as_str() && reconciling.observed_generation == object.metadata.generation
    })
}
