//! Reads the object of a pass and its namespace.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Reconcile;
use crate::controller::api::{GetResult, RBAC_HINT};
use crate::controller::keys::{AccountKey, Requeue};
use crate::controller::pass::Input;
use crate::resources::LiveMessageGroup;

impl Reconcile {
    /// Takes the copy of the object, or reads the object if there is none.
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

    /// Reads the object. `Break` ends the step; the next watch event queues the object again.
    pub(super) async fn read(&mut self) -> ControlFlow<Requeue, Input> {
        ControlFlow::Continue(match self.context.api.get(&self.key).await {
            Ok(GetResult::Object(object)) => {
                self.find_account(&object);
                let shown = self.context.scheduler.with(|scheduler, _| scheduler.loaded(&self.key, &object));
                let Some(has_drifted) = shown else { return ControlFlow::Break(Requeue::Done) };
                Input::Read { object, has_drifted, is_copy: false }
            }
            Ok(GetResult::Gone) => {
                // The removed pass is dropped: the current pass reports its own unrecorded effect.
                self.context.scheduler.with(|scheduler, now| drop(scheduler.remove(&self.key, now)));
                Input::Gone
            }
            Ok(GetResult::Unreadable(object)) => match self.handle_unreadable(&object).await {
                Ok(requeue) => return ControlFlow::Break(requeue),
                Err(error) => {
                    tracing::warn!(%error, "an unreadable object could not be written");
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
