//! Writes the object of a pass: its finalizer, its create intent and its status.

use super::Reconcile;
use crate::controller::api::ApiError;
use crate::controller::pass::{Input, WriteFailure};
use crate::resources::{ConditionType, LiveMessageGroup, LiveMessageGroupStatus, Reason};

impl Reconcile {
    pub(super) async fn set_finalizer(&self, wanted: bool) -> Input {
        let Some(object) = self.pass.object() else { return Input::Gone };
        let result = self.context.api.set_finalizer(&self.key, object, wanted).await;
        self.patched(result)
    }

    pub(super) async fn persist_intent(&self, status: &LiveMessageGroupStatus) -> Input {
        let Some(object) = self.pass.object() else { return Input::Gone };
        let result = self.context.api.write_status(&self.key, object, status).await;
        if let Ok(written) = &result {
            self.log_transition(object, written);
        }
        self.patched(result)
    }

    fn patched(&self, result: Result<Box<LiveMessageGroup>, ApiError>) -> Input {
        Input::Patched(match result {
            Ok(object) => {
                self.written(&object);
                Ok(object)
            }
            Err(error) => Err(write_failure(&error, "the object could not be written; the operator retries")),
        })
    }

    fn written(&self, object: &LiveMessageGroup) {
        self.context.scheduler.with(|scheduler, _| scheduler.written(&self.key, object));
    }

    pub(super) async fn write_status(&self, status: &LiveMessageGroupStatus) -> Input {
        let Some(object) = self.pass.object() else { return Input::Gone };
        Input::StatusWritten(match self.context.api.write_status(&self.key, object, status).await {
            Ok(written) => {
                let applied = self.context.scheduler.with(|scheduler, _| {
                    scheduler.written(&self.key, &written);
                    scheduler.take_edit(&self.key, &written)
                });
                if let Some(took) = applied {
                    self.context.metrics.applied(self.priority.as_str(), took);
                }
                self.log_transition(object, &written);
                Ok(written)
            }
            Err(error) => Err(write_failure(&error, "the status could not be written; the operator retries")),
        })
    }

    /// Logs a change to the status or the reason of `Ready`.
    fn log_transition(&self, before: &LiveMessageGroup, after: &LiveMessageGroup) {
        let Some(ready) = after.condition(ConditionType::Ready) else { return };
        let former = before.condition(ConditionType::Ready);
        if former.is_some_and(|former| (&former.status, &former.reason) == (&ready.status, &ready.reason)) {
            return;
        }
        let (former, status, reason, text) =
            (former.map(|former| &*former.status), &*ready.status, &*ready.reason, &*ready.message);
        // The message of the condition omits an owner in another namespace, so the log contains the owner in a separate
        // field.
        let is_conflict = reason == Reason::Conflict.as_str();
        let owner = is_conflict.then(|| self.owner()).flatten();
        tracing::info!(former, status, reason, text, owner, "Ready changed");
    }

    /// Reports in the status that a change is not applied yet, if the status still has `Ready=True` for an older
    /// generation. Returns the object with the new status, or `None` if nothing was written.
    pub(super) async fn write_progress(&self, text: &str) -> Option<Box<LiveMessageGroup>> {
        let object = self.pass.object()?;
        let status = self.pass.progress_status(text, jiff::Timestamp::now())?;
        match self.context.api.write_status(&self.key, object, &status).await {
            Ok(written) => {
                self.written(&written);
                self.log_transition(object, &written);
                Some(written)
            }
            Err(error) => {
                tracing::warn!(%error, "the progress could not be reported in the status");
                None
            }
        }
    }
}

fn write_failure(error: &ApiError, what: &'static str) -> WriteFailure {
    match error {
        ApiError::Gone => WriteFailure::Gone,
        error => {
            tracing::warn!(%error, "{what}");
            WriteFailure::Failed
        }
    }
}
