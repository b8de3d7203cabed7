//! Handles objects that this version of the operator cannot read: reports them, and completes their deletion.

use std::time::Duration;

use super::Reconcile;
use super::report::send_event;
use crate::controller::api::ApiError;
use crate::controller::events::reference;
use crate::controller::keys::Requeue;
use crate::controller::pass::{ABANDONED, EventDraft, EventType, TIMED_OUT};
use crate::decide::{UnreadableAction, decide_unreadable, time_until_release, unreadable_status};
use crate::resources::{Reason, UnreadableGroup};
use crate::telemetry::metrics::OutcomeLabels;

/// The interval at which the operator checks again whether it can complete the deletion of an unreadable object. The
/// object's namespace may have started to terminate since the last check.
const RECHECK_INTERVAL: Duration = Duration::from_secs(60);

impl Reconcile {
    /// Reports an unreadable object, or removes its finalizer. The returned `Requeue` determines when the object is
    /// read again.
    pub(super) async fn handle_unreadable(&self, object: &UnreadableGroup) -> Result<Requeue, ApiError> {
        tracing::warn!(error = object.error, "a stored object cannot be read");
        let timeout = self.context.finalizer_timeout;
        let left = time_until_release(object, timeout, jiff::Timestamp::now());
        let is_due = left.is_some_and(|left| left.is_zero());
        let has_timed_out = is_due && self.context.api.is_terminating(self.key.namespace()).await.unwrap_or(false);
        match decide_unreadable(object, has_timed_out.then_some(timeout)) {
            UnreadableAction::Release { message, has_timed_out } => {
                self.release_unreadable(object, message, has_timed_out).await?;
                Ok(Requeue::Done)
            }
            UnreadableAction::Report(message) => {
                self.report_unreadable(object, message).await?;
                let recheck =
                    |left: Duration| if left.is_zero() { RECHECK_INTERVAL } else { left.min(RECHECK_INTERVAL) };
                Ok(left.map_or(Requeue::Done, |left| Requeue::After(recheck(left))))
            }
        }
    }

    async fn release_unreadable(
        &self,
        object: &UnreadableGroup,
        note: String,
        has_timed_out: bool,
    ) -> Result<(), ApiError> {
        match self.context.api.release_unreadable(&self.key, &object.metadata).await {
            Ok(()) => {}
            // The finalizer was removed earlier and the answer was lost, or another client removed it.
            Err(ApiError::Gone) => return Ok(()),
            Err(error) => return Err(error),
        }
        let outcome = if has_timed_out { TIMED_OUT } else { ABANDONED };
        self.context.metrics.released.get_or_create(&OutcomeLabels { outcome }).inc();
        self.publish_warning(object, "Delete", ABANDONED, note);
        Ok(())
    }

    /// Reports an unreadable object in its status, and once as an event.
    async fn report_unreadable(&self, object: &UnreadableGroup, message: String) -> Result<(), ApiError> {
        let reason = Reason::InvalidSpec.as_str();
        let is_known = object.status.conditions.iter().any(|condition| condition.reason == reason);
        let generation = object.metadata.generation.unwrap_or_default();
        let status = unreadable_status(object.status.clone(), generation, message.clone(), jiff::Timestamp::now());
        let Some(status) = status else { return Ok(()) };
        self.context.api.write_unreadable_status(&self.key, &object.metadata, &status).await?;
        if !is_known {
            self.publish_warning(object, "Reconcile", reason, message);
        }
        Ok(())
    }

    fn publish_warning(&self, object: &UnreadableGroup, action: &'static str, reason: &'static str, note: String) {
        let regarding = reference(&self.key, object.metadata.uid.as_deref().unwrap_or_default());
        send_event(&self.context, EventDraft { regarding, action, event_type: EventType::Warning, reason, note });
    }
}
