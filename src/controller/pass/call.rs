//! The call of a pass: the preflight, the create intent, the call itself, and the recording of the answer.

use std::time::Duration;

use super::ending::End;
use super::{Blocked, Effect, Explanation, Pass, Preflight, Stage, StepContext, is_stale};
use crate::controller::keys::{AccountKey, Requeue};
use crate::decide::{PassOutcome, is_observed, record_before};
use crate::live::{Call, CallError, Reply, Response};
use crate::resources::Reason;

/// An object reports the expected wait for a permit only if the wait is at least this long.
const REPORT_FROM: Duration = Duration::from_secs(30);

/// Like [`REPORT_FROM`], but for a status that has `Ready=True` for an older generation. Such a status must not hide a
/// pending change.
const REPORT_STALE_FROM: Duration = Duration::from_secs(2);

/// If the expected wait is at least this long, the reported time includes the date.
const HALF_A_DAY: Duration = Duration::from_secs(12 * 3600);

impl Pass {
    pub(super) fn preflight_answered(&mut self, call: Call, answer: Preflight, context: &StepContext) -> Effect {
        match answer {
            Preflight::NeedsPermit { budget, wait } => {
                self.without_credentials_since = None;
                self.await_permit(Requeue::Permit(budget), wait, context)
            }
            // The account has changed since the pass decided on this call, so the object is reconciled again.
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

    /// Waits for a permit. The object reports a long wait only before the first call for a generation. A later report,
    /// such as a failure, is more important, and the wait must not replace it.
    fn await_permit(&mut self, requeue: Requeue, wait: Duration, context: &StepContext) -> Effect {
        let Some(object) = self.object.as_deref() else { return self.gone() };
        let report_from = if is_stale(object) { REPORT_STALE_FROM } else { REPORT_FROM };
        let is_reported = is_observed(object) || !self.facts.is_empty();
        match context.wall.checked_add(wait).ok().filter(|_| wait >= report_from && !is_reported) {
            Some(expected) => {
                let format = if wait < HALF_A_DAY { "%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
                let message = format!(
                    "The rate limit of the Live API delays the next call, which is expected at about {}. No action is \
                     needed.",
                    expected.strftime(format)
                );
                let outcome = PassOutcome::waiting(Reason::Queued, message, &self.facts);
                self.wait(End { outcome, requeue }, context)
            }
            None => self.finish(requeue, false),
        }
    }

    /// Records the create intent before the call. If the answer is lost, a later deletion may depend on the intent.
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
