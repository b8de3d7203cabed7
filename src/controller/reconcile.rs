//! One step of a pass: read the object, decide, act, write the status.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::accounts::{Granted, Slot};
use super::events::Kind;
use super::key::Key;
use super::objects::{Found, StoreError};
use super::pass::{Pass, jittered};
use super::permission::Permission;
use super::queue::Next;
use super::reconciler::Reconciler;
use super::scrape;
use super::watch::LOST_RIGHTS;
use crate::decide::{Action, Lane, decide, unreadable_status};
use crate::resources::{LiveMessageGroup, LiveMessageGroupSpec, LiveMessageGroupStatus, Reason};

/// After a read for which the permission was missing: nobody gives it back within seconds.
const FORBIDDEN: Duration = Duration::from_secs(30);

/// After a panic.
const AFTER_PANIC: Duration = Duration::from_secs(60);

impl Reconciler {
    /// Works on an active object, and hands it back to the queue. A panic is one failed object.
    pub async fn run(self: Arc<Self>, key: Key, lane: Lane, permit: Option<Granted>) {
        let (this, of, started) = (Arc::clone(&self), key.clone(), Instant::now());
        let step = tokio::spawn(async move { this.step(&of, lane, permit).await });
        let (lane, next, result) = match step.await {
            Ok((lane, next)) => (lane, next, scrape::result(&next)),
            Err(error) => {
                tracing::error!(object = %key, %error, "a reconcile panicked: this is a defect, please report it");
                self.metrics.reconciles.panicked();
                (Lane::Retry, Next::After(AFTER_PANIC), "error")
            }
        };
        self.metrics.reconciles.observe_reconcile(result, started.elapsed());
        self.work.finish(&key, lane, next);
    }

    async fn step(&self, key: &Key, lane: Lane, permit: Option<Granted>) -> (Lane, Next<Slot>) {
        match self.objects.get(key).await {
            Ok(Found::Object(object)) => self.pass(key, *object, lane, permit).await,
            Ok(Found::Gone) => {
                self.end_of(key, None);
                self.forget(key);
                (lane, Next::Done)
            }
            Ok(Found::Unreadable { identity, status, error }) => {
                tracing::warn!(object = %key, error, "a stored object cannot be read: the others go on");
                match self.unreadable(key, identity, *status, &error).await {
                    Ok(()) => (lane, Next::Done),
                    Err(error) => {
                        tracing::warn!(object = %key, %error, "its status could not be written");
                        (Lane::Retry, Next::After(AFTER_PANIC))
                    }
                }
            }
            Err(error) => {
                let delay = if error.is_forbidden() {
                    tracing::warn!(object = %key, %error, "the object may not be read: {LOST_RIGHTS}");
                    jittered(FORBIDDEN)
                } else {
                    tracing::warn!(object = %key, %error, "the object could not be read");
                    self.change_pass(key, |pass| pass.backoff(self.work.delayed()))
                        .unwrap_or(Duration::from_secs(2))
                        .min(Duration::from_secs(30))
                };
                (lane, Next::After(delay))
            }
        }
    }

    /// Tells of an object that cannot be read, in its status and, where that is new, by an event.
    async fn unreadable(
        &self,
        key: &Key,
        (uid, generation): (String, i64),
        status: LiveMessageGroupStatus,
        error: &str,
    ) -> Result<(), StoreError> {
        let reason = Reason::InvalidSpec.as_str();
        let known = status.conditions.iter().any(|condition| condition.reason == reason);
        let message = format!("the stored object cannot be read, correct it or update the operator: {error}");
        let Some(status) = unreadable_status(status, generation, message.clone(), jiff::Timestamp::now()) else {
            return Ok(());
        };
        self.objects.write_status(key, &uid, &status).await?;
        if !known {
            let mut object = LiveMessageGroup::new(key.name(), LiveMessageGroupSpec::default());
            object.metadata.namespace = Some(key.namespace().to_owned());
            object.metadata.uid = Some(uid);
            self.events.publish(&object, Kind::Warning, reason, "Reconcile", &message);
        }
        Ok(())
    }

    /// Goes on with the pass over an object that was read just now.
    async fn pass(
        &self,
        key: &Key,
        mut object: LiveMessageGroup,
        lane: Lane,
        mut granted: Option<Granted>,
    ) -> (Lane, Next<Slot>) {
        let Some(peers) = self.index().refresh(key, &object) else {
            // The watch has not shown this object yet, or has shown its end: its event brings it back, if any does.
            return (lane, Next::Done);
        };
        self.wake_all(peers);
        let mut pass = self.take_pass(key, &object);
        if let Some(unwritten) = pass.unwritten.take() {
            if object.metadata.generation == Some(unwritten.generation) {
                // What came meanwhile without a new generation (a forced reconcile, a pause) brought the object back
                // only to this write: one more look follows.
                let next =
                    if matches!(unwritten.next, Next::Done) { Next::After(Duration::ZERO) } else { unwritten.next };
                return self.conclude(key, &object, pass, unwritten.verdict, lane, next).await;
            }
            if !pass.facts.has_effect() {
                // A new generation asks anew: what was only seen for an older one answers it no longer.
                pass = pass.recorded();
            }
        }
        if let Some(wait) = pass.early(&object, Instant::now()) {
            self.keep_pass(key, pass);
            return (Lane::Retry, Next::After(wait));
        }
        if object.is_deleting() && self.is_given_up(key, &object, &pass).await {
            pass.facts.abandon();
        }
        if pass.facts.is_empty() {
            pass.hear(&object);
        }
        // A record that says something else by now was written after another look: the list is older.
        let contradicted = self.take_suspect(key);
        if contradicted.is_some_and(|contradicted| self.index().expects(key) == contradicted) {
            pass.facts.suspect();
        }
        loop {
            let other = self.index().other_of(key);
            let call = match decide(&object, &pass.facts, other.as_ref()) {
                Action::Nothing => {
                    self.rest(key);
                    self.release(key);
                    return (lane, Next::Done);
                }
                Action::Write(verdict) => return self.conclude(key, &object, pass, verdict, lane, Next::Done).await,
                action @ (Action::AddFinalizer | Action::DropFinalizer) => {
                    match self.objects.set_finalizer(key, &object, action == Action::AddFinalizer).await {
                        Ok(changed) => object = changed,
                        Err(error) => return self.not_written(key, pass, lane, &error),
                    }
                    continue;
                }
                Action::Release(release) => return self.let_go(key, &object, pass, &release, lane).await,
                Action::Fail(failure) => return self.failed(key, &object, pass, failure, lane).await,
                Action::Call(call) => call,
            };
            let account = match self.may_call(key, &object, &mut pass, &call).await {
                Permission::Granted(account) => account,
                Permission::Later(delay) => {
                    self.keep_pass(key, pass);
                    return (lane, Next::After(delay));
                }
                Permission::Waiting(verdict, next) => {
                    // Nobody has looked: a forced reconcile is still to come.
                    pass.asked = None;
                    return self.conclude(key, &object, pass, *verdict, lane, next).await;
                }
            };
            let slot = Slot { account: account.id(), operation: call.operation() };
            let Some(permits) = granted.take().and_then(|granted| granted.for_call(&call, &account)) else {
                if self.work.ready(slot) > 100 {
                    self.tell_progress(key, &mut object, Reason::Queued, "the change waits for its turn").await;
                }
                self.keep_pass(key, pass);
                return (lane, Next::Ready(slot));
            };
            if self.index().claim(key).is_err() {
                continue;
            }
            if let Err(error) = self.record_first(key, &mut object, &mut pass, (&call, &account)).await {
                return self.not_written(key, pass, lane, &error);
            }
            pass.hear(&object);
            pass.facts.sending(account.server_now());
            let result = self.send(key, &mut object, (&call, &account), permits).await;
            self.learn(key, &call, account.key(), &result);
            pass.facts.answered(account.server_now());
            let generation = object.metadata.generation.unwrap_or_default();
            let absorbed = match &result {
                Ok(answer) => {
                    pass.facts.absorb(&call, generation, Ok((answer.value.clone(), answer.request_id.clone())))
                }
                Err(error) => pass.facts.absorb(&call, generation, Err(error)),
            };
            if absorbed.is_ok() {
                pass.at_once = 0;
            }
            if let Err(failure) = absorbed {
                let failure = account.whose().iter().fold(failure, |failure, whose| failure.with_credentials_of(whose));
                return self.failed(key, &object, pass, failure, lane).await;
            }
        }
    }

    /// The pass over this object; one over another object of that name, or for another group, ends here.
    fn take_pass(&self, key: &Key, object: &LiveMessageGroup) -> Pass {
        match self.taken_pass(key) {
            Some(pass) if pass.belongs_to(object) => pass,
            Some(pass) if object.metadata.uid.as_deref() != Some(pass.uid()) => {
                // Of an object of that name that is gone: this one's status and events tell nothing of it.
                self.end_of(key, Some(pass));
                Pass::over(object)
            }
            Some(pass) => {
                self.orphan(key, object, &pass);
                Pass::over(object)
            }
            None => Pass::over(object),
        }
    }
}
