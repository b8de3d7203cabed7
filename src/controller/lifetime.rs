//! Finalizers, recorded attempts, and the end of an object.

use std::time::Duration;

use super::accounts::{Account, Slot};
use super::events::Kind;
use super::key::Key;
use super::objects::StoreError;
use super::pass::Pass;
use super::queue::Next;
use super::reconciler::Reconciler;
use super::scrape::TIMED_OUT;
use crate::decide::{Lane, Release, record_before, retained_at_once};
use crate::live::Call;
use crate::resources::{ABANDON_ANNOTATION, ConditionType, LiveMessageGroup, Reason};
use crate::telemetry::metrics::OutcomeLabels;

impl Reconciler {
    /// Records what a deletion may later rest on, where that could not be told after the call.
    pub(super) async fn record_first(
        &self,
        key: &Key,
        object: &mut LiveMessageGroup,
        pass: &mut Pass,
        (call, account): (&Call, &Account),
    ) -> Result<(), StoreError> {
        let (service_now, now) = (account.server_now(), jiff::Timestamp::now());
        let Some((status, body)) = record_before(object, &pass.facts, call, service_now, now) else { return Ok(()) };
        pass.facts.attempted(body);
        let recorded = self.objects.record(key, object, &status).await?;
        let before = std::mem::replace(object, recorded);
        self.tell(&before, object, pass, Reason::Applying);
        Ok(())
    }

    /// A write before a call failed: nothing was sent, and the step is taken again.
    pub(super) fn not_written(&self, key: &Key, mut pass: Pass, lane: Lane, error: &StoreError) -> (Lane, Next<Slot>) {
        let gone = matches!(error, StoreError::Gone);
        if gone || !pass.facts.has_effect() {
            // What an earlier call of the pass has done is recorded later: until then the group stays claimed.
            self.release(key);
        }
        if gone {
            self.end_of(key, Some(pass));
            return (lane, Next::Done);
        }
        tracing::info!(object = %key, %error, "the object could not be written: the step is taken again");
        let delay = pass.backoff(self.work.delayed()).min(Duration::from_secs(30));
        self.keep_pass(key, pass);
        (lane, Next::After(delay))
    }

    /// Lets an object go that is being deleted, and tells what became of its group.
    pub(super) async fn let_go(
        &self,
        key: &Key,
        object: &LiveMessageGroup,
        pass: Pass,
        release: &Release,
        lane: Lane,
    ) -> (Lane, Next<Slot>) {
        if let Err(error) = self.objects.set_finalizer(key, object, false).await
            && !matches!(error, StoreError::Gone)
        {
            return self.not_written(key, pass, lane, &error);
        }
        let status = object.status.as_ref();
        let group = status.and_then(|status| status.group_id.as_deref()).or(object.group_id()).unwrap_or_default();
        let app = status.and_then(|status| status.app_id.as_deref()).unwrap_or(&object.spec.app_id);
        let (kind, reason, what) = match release {
            Release::Deleted => {
                let id = pass.facts.last_write().unwrap_or_default();
                (Kind::Normal, "Deleted", format!("was deleted (RequestId {id})"))
            }
            Release::Gone => (Kind::Normal, "AlreadyGone", "was gone already".to_owned()),
            Release::Retained(why) => (Kind::Normal, "Retained", format!("stays: {why}")),
            Release::HandedOver(to) => (Kind::Normal, "HandedOver", format!("stays for LiveMessageGroup {to}")),
            Release::Abandoned => (Kind::Warning, "Abandoned", format!("stays: {}", self.why_abandoned(object))),
        };
        let given_up = *release == Release::Abandoned && !object.is_abandoned();
        let outcome = if given_up { TIMED_OUT } else { reason };
        self.metrics.released.get_or_create(&OutcomeLabels { outcome }).inc();
        let note = format!("group {group} of app {app} {what}");
        match kind {
            Kind::Normal => tracing::info!(object = %key, reason, note, "let go"),
            Kind::Warning => tracing::warn!(object = %key, reason, note, "let go"),
        }
        self.events.publish(object, kind, reason, "Delete", &note);
        self.rest(key);
        self.release(key);
        (lane, Next::Done)
    }

    fn why_abandoned(&self, object: &LiveMessageGroup) -> String {
        if object.is_abandoned() {
            return format!("the annotation {ABANDON_ANNOTATION} asks for it");
        }
        let why = object.condition(ConditionType::Ready).map_or("", |ready| &ready.message);
        format!("its namespace goes away, and it could not be deleted for {} s: {why}", self.release_after.as_secs())
    }

    /// An object whose policy asks for a deletion, but which holds no finalizer because it did not create its group, is
    /// gone at once: that the group stays is told when it is.
    pub(super) fn tell_retained(&self, object: &LiveMessageGroup) {
        let Some(why) = retained_at_once(object) else { return };
        let app = &object.spec.app_id;
        let note = format!("group {} of app {app} stays: {why}", object.group_id().unwrap_or_default());
        self.events.publish(object, Kind::Normal, "Retained", "Delete", &note);
    }
}
