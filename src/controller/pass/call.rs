//! The call of a pass: preflight, create intent, call, and the record of its answer.

use std::time::Duration;

use super::ending::End;
use super::{Blocked, Effect, Explanation, Pass, Preflight, Stage, StepContext};
use crate::controller::keys::{AccountKey, Requeue};
use crate::decide::{PassOutcome, record_before};
use crate::live::{Call, CallError, Reply, Response};

impl Pass {
    pub(super) fn preflight_answered(&mut self, call: Call, answer: Preflight, context: &StepContext) -> Effect {
        match answer {
            Preflight::Cleared { budget, has_permit: false } => {
                self.without_credentials_since = None;
                self.finish(Requeue::Permit(budget), false)
            }
            // The call was decided for another account.
            Preflight::Cleared { has_permit: true, .. } if self.facts.account() != context.account.as_deref() => {
                self.finish(Requeue::After(Duration::ZERO), false)
            }
            Preflight::Cleared { has_permit: true, .. } => {
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
