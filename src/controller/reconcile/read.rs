//! Reads the object of a pass and its namespace.

use super::Reconcile;
use crate::controller::api::{ApiError, GetResult, RBAC_HINT};
use crate::controller::events::reference;
use crate::controller::keys::AccountKey;
use crate::controller::pass::{EventDraft, EventType, Input};
use crate::decide::unreadable_status;
use crate::resources::{LiveMessageGroupStatus, Reason};

/// An object that this version cannot read.
struct Unreadable {
    uid: String,
    generation: i64,
    status: LiveMessageGroupStatus,
    error: String,
}

impl Reconcile {
    /// Reads the object. `None` ends the step; the next watch event queues the object again.
    pub(super) async fn load(&mut self) -> Option<Input> {
        match self.context.api.get(&self.key).await {
            Ok(GetResult::Object(object)) => {
                let account = self.context.accounts.find(&AccountKey::of(&object), object.is_deleting());
                self.record = account.ok().map(|account| account.record().clone());
                let shown = self.context.scheduler.with(|scheduler, _| scheduler.loaded(&self.key, &object));
                Some(Input::Read { object, has_drifted: shown? })
            }
            Ok(GetResult::Gone) => {
                // The removed pass is dropped: the current pass reports its own unrecorded effect.
                self.context.scheduler.with(|scheduler, now| drop(scheduler.remove(&self.key, now)));
                Some(Input::Gone)
            }
            Ok(GetResult::Unreadable { uid, generation, status, error }) => {
                tracing::warn!(error, "a stored object cannot be read");
                let unreadable = Unreadable { uid, generation, status: *status, error };
                match report_unreadable(self, unreadable).await {
                    Ok(()) => None,
                    Err(error) => {
                        tracing::warn!(%error, "the status of an unreadable object could not be written");
                        Some(Input::ReadFailed { is_forbidden: true })
                    }
                }
            }
            Err(error) if error.is_forbidden() => {
                tracing::warn!(%error, hint = RBAC_HINT, "the operator lacks permission to read the object");
                Some(Input::ReadFailed { is_forbidden: true })
            }
            Err(error) => {
                tracing::warn!(%error, "the object could not be read");
                Some(Input::ReadFailed { is_forbidden: false })
            }
        }
    }

    pub(super) async fn check_namespace(&self) -> Input {
        let is_terminating = self.context.api.is_terminating(self.key.namespace()).await.unwrap_or(false);
        Input::Namespace { is_terminating }
    }
}

/// Reports an unreadable object in its status, and once as an event.
async fn report_unreadable(reconcile: &Reconcile, unreadable: Unreadable) -> Result<(), ApiError> {
    let Unreadable { uid, generation, status, error } = unreadable;
    let reason = Reason::InvalidSpec.as_str();
    let is_known = status.conditions.iter().any(|condition| condition.reason == reason);
    let message = format!("The stored object cannot be read: {error}. Correct the object, or update the operator.");
    let Some(status) = unreadable_status(status, generation, message.clone(), jiff::Timestamp::now()) else {
        return Ok(());
    };
    reconcile.context.api.write_status(&reconcile.key, &uid, &status).await?;
    if !is_known {
        let regarding = reference(&reconcile.key, &uid);
        let (action, event_type) = ("Reconcile", EventType::Warning);
        reconcile.context.events.publish(EventDraft { regarding, action, event_type, reason, note: message });
    }
    Ok(())
}
