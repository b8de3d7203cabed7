//! Reads the object of a pass and its namespace.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Reconcile;
use crate::controller::api::{GetResult, RBAC_HINT};
use crate::controller::keys::{AccountKey, Requeue};
use crate::controller::pass::Input;
use crate::resources::LiveMessageGroup;

impl Reconcile {
    /// Takes the scheduler's copy of the object. If the scheduler has no copy, reads the object from the apiserver.
    pub(super) async fn load(&mut self) -> ControlFlow<Requeue, Input> {
        let Some((object, has_drifted)) = self.context.scheduler.with(|scheduler, _| scheduler.take_copy(&self.key))
        else {
            return self.read().await;
        };
        self.find_account(&object);
        ControlFlow::Continue(Input::Read { object, has_drifted, is_copy: true })
    }

    fn find_account(&mut self, object: &LiveMessageGroup) {
        let account = self.context.accounts.find(&AccountKey::of(object), object.is_deleting());
        self.record = account.ok().map(|account| Arc::clone(account.record()));
    }

    /// Reads the object from the apiserver. Returns `Break` to end the step if this version of the operator cannot read
    /// the object, if the watch has not delivered the object yet, or if the watch has delivered the object's deletion.
    /// In the last two cases, the next watch event queues the object again.
    pub(super) async fn read(&mut self) -> ControlFlow<Requeue, Input> {
        ControlFlow::Continue(match self.context.api.get(&self.key).await {
            Ok(GetResult::Object(object)) => {
                self.find_account(&object);
                let shown = self.context.scheduler.with(|scheduler, _| scheduler.loaded(&self.key, &object));
                let Some(has_drifted) = shown else { return ControlFlow::Break(Requeue::Done) };
                Input::Read { object, has_drifted, is_copy: false }
            }
            Ok(GetResult::Gone) => {
                // Only the pass in progress can have created or changed the group without recording this in the status.
                // This pass receives `Input::Gone` and reports the group, so the result of `remove` is dropped.
                self.context.scheduler.with(|scheduler, now| drop(scheduler.remove(&self.key, now)));
                Input::Gone
            }
            Ok(GetResult::Unreadable(object)) => match self.handle_unreadable(&object).await {
                Ok(requeue) => return ControlFlow::Break(requeue),
                Err(error) => {
                    tracing::warn!(%error, "the status or the finalizer of an unreadable object could not be updated");
                    Input::ReadFailed { is_forbidden: true }
                }
            },
            Err(error) if error.is_forbidden() => {
                tracing::warn!(%error, hint = RBAC_HINT, "the operator lacks permission to read the object");
                Input::ReadFailed { is_forbidden: true }
            }
            Err(error) => {
                tracing::warn!(%error, "the object could not be read");
                Input::ReadFailed { is_forbidden: false }
            }
        })
    }

    pub(super) async fn check_namespace(&self) -> Input {
        let is_terminating = self.context.api.is_terminating(self.key.namespace()).await.unwrap_or(false);
        Input::Namespace { is_terminating }
    }
}
