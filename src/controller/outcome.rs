//! The end of a pass: its status, what follows it, and who is told.

use std::time::Duration;

use kube::core::DeserializeGuard;
use tokio::time::Instant;

use super::accounts::{AccountKey, Slot};
use super::causes::gate_of;
use super::events::Kind;
use super::key::Key;
use super::objects::StoreError;
use super::pass::{PARKED, Pass, Unwritten, slowly};
use super::queue::Next;
use super::reconciler::Reconciler;
use super::scrape;
use super::tell::{is_applied, tellings};
use crate::decide::{Failure, GateKind, Lane, Retry, Verdict, finalizer_is_wrong};
use crate::resources::{ConditionType, LiveMessageGroup, Reason};
use crate::telemetry::metrics::ReasonLabels;

/// How often a failure is repeated at once before it is treated as one of the service.
const AT_ONCE: u32 = 2;

impl Reconciler {
    /// Ends a pass that failed: the status, and when it is tried again.
    pub(super) async fn failed(
        &self,
        key: &Key,
        object: &LiveMessageGroup,
        mut pass: Pass,
        failure: Failure,
        lane: Lane,
    ) -> (Lane, Next<Slot>) {
        self.metrics.failures.get_or_create(&ReasonLabels { reason: failure.reason.as_str() }).inc();
        let verdict = Verdict::failed(&failure, &pass.facts);
        let next = match failure.retry {
            Retry::Never => Next::Done,
            Retry::AtOnce if pass.at_once < AT_ONCE => {
                pass.at_once += 1;
                if failure.reason != Reason::Throttled {
                    self.keep_pass(key, pass);
                    return (lane, Next::After(Duration::ZERO));
                }
                Next::After(Duration::ZERO)
            }
            Retry::AtOnce | Retry::Backoff | Retry::Slowly => {
                let slow = failure.retry == Retry::Slowly;
                let delay = if slow { slowly() } else { pass.backoff(self.work.delayed()) };
                pass.not_before = Some(Instant::now() + delay);
                Next::After(delay)
            }
            Retry::Behind(kind) => {
                pass.at_once = 0;
                self.shut_gate(key, object, kind, &failure);
                Next::After(PARKED)
            }
        };
        tracing::info!(object = %key, reason = %failure.reason, detail = failure.message, "not done yet");
        self.conclude(key, object, pass, verdict, lane, next).await
    }

    fn shut_gate(&self, key: &Key, object: &LiveMessageGroup, kind: GateKind, failure: &Failure) {
        let account = AccountKey::of(object);
        let gate = gate_of(kind, &account, &object.spec.app_id, object.spec.data_center.map(|center| center.as_str()));
        let now = Instant::now().into_std();
        let was_open = self.gates().shut(gate, key, failure.reason, &failure.message, now);
        self.gate_bell.notify_one();
        if was_open {
            // Whoever waits for a permit to run into the same refusal is told now, and not one every 20 ms.
            self.work.recheck();
        }
    }

    /// Writes the status a pass ends with, if it is another one, and tells transitions.
    pub(super) async fn conclude(
        &self,
        key: &Key,
        object: &LiveMessageGroup,
        mut pass: Pass,
        verdict: Verdict,
        lane: Lane,
        next: Next<Slot>,
    ) -> (Lane, Next<Slot>) {
        let mut next = next;
        if object.is_deleting() {
            next = self.stuck(object, &mut pass, verdict.reason(), next);
            if let Next::After(delay) = next {
                pass.not_before = pass.not_before.map(|until| until.min(Instant::now() + delay));
            }
        }
        if let Some(status) = verdict.status(object, pass.asked.as_deref(), jiff::Timestamp::now()) {
            match self.objects.write_status(key, pass.uid(), &status).await {
                Ok(DeserializeGuard(Ok(written))) => {
                    let peers = self.index().refresh(key, &written);
                    self.wake_all(peers.unwrap_or_default());
                    let detail = written.condition(ConditionType::Ready).map(|ready| ready.message.as_str());
                    tracing::info!(object = %key, reason = %verdict.reason(), detail, "status written");
                    self.tell(object, &written, &mut pass, verdict.reason());
                    if !pass.belongs_to(&written) {
                        // What is recorded tells of a group that the next pass knows nothing of.
                        self.orphan(key, &written, &pass);
                    }
                    if matches!(next, Next::Done) && finalizer_is_wrong(&written) {
                        next = Next::After(Duration::ZERO);
                    }
                }
                Ok(DeserializeGuard(Err(_))) => {}
                Err(StoreError::Gone) => {
                    self.end_of(key, Some(pass));
                    return (lane, Next::Done);
                }
                Err(error) => {
                    tracing::warn!(object = %key, %error, "the status could not be written: the write is repeated");
                    let delay = pass.backoff(self.work.delayed()).min(Duration::from_secs(30));
                    let generation = object.metadata.generation.unwrap_or_default();
                    // A pause may be over by then, and costs no call to decide again.
                    let lasting = !matches!(verdict, Verdict::Paused(_) | Verdict::Resumed);
                    pass.unwritten = lasting.then_some(Unwritten { generation, verdict, next });
                    self.keep_pass(key, pass);
                    return (lane, Next::After(delay));
                }
            }
        }
        if matches!(next, Next::Done) {
            self.rest(key);
        } else {
            // Recorded is what was learned; the count of failures goes on.
            self.keep_pass(key, pass.recorded());
        }
        self.release(key);
        (if matches!(next, Next::Done) { lane } else { Lane::Retry }, next)
    }

    /// Tells by events what the pass has done and what has gone wrong, each transition once.
    pub(super) fn tell(&self, before: &LiveMessageGroup, after: &LiveMessageGroup, pass: &mut Pass, reason: Reason) {
        // What is recorded before a call takes Ready back.
        pass.applied |= is_applied(before);
        for telling in tellings((before, after), &pass.facts, reason, &mut pass.told, pass.applied) {
            scrape::count_change(&self.metrics, telling.reason);
            self.events.publish(after, telling.kind, telling.reason, "Reconcile", &telling.note);
        }
    }

    /// The pass's object names another group by now: one that was made or changed for it stays with nobody.
    pub(super) fn orphan(&self, key: &Key, object: &LiveMessageGroup, pass: &Pass) {
        let Some(identity) = pass.identity().filter(|_| pass.facts.has_effect()) else { return };
        let note = format!(
            "group {} of app {} was made or changed for an identity that the spec no longer names; it stays",
            identity.group_id, identity.app_id
        );
        tracing::warn!(object = %key, note, "orphaned");
        self.metrics.orphaned();
        self.events.publish(object, Kind::Warning, "Orphaned", "Reconcile", &note);
    }

    /// The pass's object is gone: an effect that nobody will record is told once.
    pub(super) fn end_of(&self, key: &Key, pass: Option<Pass>) {
        let pass = pass.or_else(|| self.taken_pass(key));
        if let Some(pass) = pass.filter(|pass| pass.facts.has_effect())
            && let Some(identity) = pass.identity()
        {
            self.metrics.orphaned();
            let (app, group) = (&identity.app_id, &identity.group_id);
            tracing::warn!(object = %key, app, group, "orphaned: the group was made or changed for an object that is gone");
        }
    }
}
