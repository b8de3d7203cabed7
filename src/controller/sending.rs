//! A call on its way: what is told while it lasts, and what its result tells others.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::accounts::{Account, AccountKey, Permits};
use super::causes::{Says, gates_of, group_of, says};
use super::key::Key;
use super::reconciler::Reconciler;
use crate::decide::{Facts, Identity, Lane, Verdict};
use crate::live::error::Delivery;
use crate::live::{Call, CallError, CreateOutcome, ErrorClass, Reply, Response};
use crate::resources::{ConditionStatus, ConditionType, LiveMessageGroup, Reason};

/// A change that is not through after this long is told in the status: `Ready` of an older generation must not stand
/// there as if nothing were open.
const PATIENCE: Duration = Duration::from_secs(2);

impl Reconciler {
    /// Sends a call; where the answer takes its time and an older generation's `Ready` stands in the status, tells so
    /// meanwhile.
    pub(super) async fn send(
        &self,
        key: &Key,
        object: &mut LiveMessageGroup,
        (call, account): (&Call, &Account),
        permits: Permits,
    ) -> Result<Response<Reply>, CallError> {
        let mut sending = Box::pin(account.send(call, permits));
        if let Ok(result) = timeout(PATIENCE, &mut sending).await {
            return result;
        }
        let message = format!("{} was sent and is not answered yet", call.operation());
        let (result, ()) = tokio::join!(sending, self.tell_progress(key, object, Reason::Applying, &message));
        result
    }

    /// Writes that a change is not through yet, where the status still says `Ready=True` for an older generation.
    pub(super) async fn tell_progress(&self, key: &Key, object: &mut LiveMessageGroup, reason: Reason, message: &str) {
        let status = object.status.as_ref();
        let stale = status.and_then(|status| status.observed_generation) != object.metadata.generation
            && object.condition(ConditionType::Ready).map(ConditionStatus::of) == Some(ConditionStatus::True);
        if !stale {
            return;
        }
        let verdict = Verdict::waiting(reason, message.to_owned(), &Facts::default());
        let Some(status) = verdict.status(object, None, jiff::Timestamp::now()) else { return };
        let uid = object.metadata.uid.clone().unwrap_or_default();
        match self.objects.write_status(key, &uid, &status).await {
            // The generation stays the one the call is made for: a newer one is another pass.
            Ok(_) => object.status = Some(status),
            Err(error) => tracing::warn!(object = %key, %error, "the progress could not be written"),
        }
    }

    /// What a result tells beyond its own object: gates, and groups whose last call may arrive yet.
    pub(super) fn learn(
        &self,
        key: &Key,
        call: &Call,
        account: &AccountKey,
        result: &Result<Response<Reply>, CallError>,
    ) {
        let now = Instant::now();
        if let Err(CallError::Transport { delivery: Delivery::Unknown, .. }) = result
            && call.is_mutating()
            && let Some(group) = group_of(call)
        {
            let identity = Identity { app_id: group.app_id.clone(), group_id: group.group_id.clone() };
            self.holds().lost(identity, now.into_std());
        }
        if let Call::Create(group, _) = call {
            let new = matches!(result, Ok(answer) if answer.value == Reply::Created(CreateOutcome::Created));
            self.places().created(&account.scoped(&group.app_id), &group.group_id, key, new);
        }
        if let (Call::Delete(group), Ok(_)) = (call, result) {
            let next = self.places().freed(&account.scoped(&group.app_id), &group.group_id);
            self.wake_all(next);
        }
        let class = match result {
            Ok(_) => None,
            // The next call of this object tells: a prober stays one.
            Err(CallError::Resent(..)) => return,
            // Nobody has judged it.
            Err(CallError::Unsendable(_)) => Some(ErrorClass::Unreachable),
            Err(error) => Some(error.class()),
        };
        let mut freed = Vec::new();
        {
            let mut gates = self.gates();
            for gate in gates_of(call, account) {
                match says(gate.kind, class) {
                    Says::Open => freed.extend(gates.open(&gate, key, now.into_std())),
                    Says::Nothing => gates.inconclusive(&gate, key, now.into_std()),
                    Says::Shut => {}
                }
            }
        }
        self.gate_bell.notify_one();
        for key in freed {
            self.work.wake(&key, Lane::Retry);
        }
    }
}
