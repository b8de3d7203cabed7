//! Writes the status of every LiveAccount, and unblocks the objects that wait for credentials.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep};

use crate::controller::accounts::{Account, ObservedAccount, Unavailable};
use crate::controller::api::ApiError;
use crate::controller::context::Context;
use crate::controller::keys::{AccountKey, Cause, ObjectKey};
use crate::controller::pass::{EventDraft, EventType, MISSING_GRACE};
use crate::decide::{AccountCondition, AccountNumbers, account_status};
use crate::live::Operation;
use crate::resources::{AccountQueue, ConditionType, LiveAccountStatus, ReadyEffect, Reason};

/// The maximum interval between two checks of a LiveAccount, even if no notification arrives. It is also the minimum
/// interval between two status writes that change only numbers. A queue is reported only if its last object is expected
/// to wait at least this long because of the rate limit.
const INTERVAL: Duration = Duration::from_secs(30);

/// The delay between a notification and the checks. Notifications that arrive during the delay are handled together.
const GATHER: Duration = Duration::from_millis(200);

/// The number of LiveAccounts whose status is written at the same time.
const CONCURRENT_WRITES: usize = 8;

/// The result of one check of a LiveAccount.
struct Finding {
    /// The condition to report; `None` if it is too early to report anything.
    condition: Option<AccountCondition>,
    /// The delay until the next check.
    next_look: Duration,
}

/// Keeps the status of every LiveAccount up to date; never returns.
pub async fn run(context: Arc<Context>) {
    let mut counted: HashMap<ObjectKey, Instant> = HashMap::new();
    loop {
        let notified = context.scheduler.accounts.notified();
        let next = look(&context, &mut counted).await;
        tokio::select! {
            () = notified => sleep(GATHER).await,
            () = sleep(next) => {}
        }
    }
}

/// Waits until the credentials of each account in `loads` have been loaded or the load has failed, and then unblocks
/// the objects that wait for these credentials. Returns when the channel closes.
pub async fn watch_loads(context: Arc<Context>, mut loads: UnboundedReceiver<Arc<Account>>) {
    while let Some(account) = loads.recv().await {
        let context = Arc::clone(&context);
        tokio::spawn(async move {
            account.wait_loaded().await;
            account.load_ended();
            let cause = Cause::Account(account.key().clone());
            context.scheduler.with(|scheduler, _| scheduler.unblock(&cause));
            context.scheduler.accounts.notify_one();
        });
    }
}

/// Removes every account whose LiveAccount was deleted and is not referenced by any object. Returns the number of
/// objects that reference each LiveAccount.
pub fn forget_unused(context: &Context) -> HashMap<ObjectKey, usize> {
    let groups = context.scheduler.with(|scheduler, _| scheduler.objects_by_account());
    for account in context.accounts.forget_unused(|key| groups.contains_key(key)) {
        context.scheduler.with(|scheduler, _| scheduler.account_removed(&account));
        context.scheduler.forget_budgets(&account);
    }
    groups
}

/// Checks every account. Returns the delay until the next check.
async fn look(context: &Context, counted: &mut HashMap<ObjectKey, Instant>) -> Duration {
    let groups = forget_unused(context);
    if context.accounts.usable(&AccountKey::Operator, false).is_ok() {
        context.scheduler.with(|scheduler, _| scheduler.unblock(&Cause::Account(AccountKey::Operator)));
    }
    let all = context.accounts.observed();
    let known: HashSet<&ObjectKey> = all.iter().map(|(key, ..)| key).collect();
    counted.retain(|key, _| known.contains(key));
    let now = Instant::now();
    let mut waiting: HashMap<AccountKey, Vec<(Operation, usize)>> = HashMap::new();
    for (budget, count) in context.scheduler.with(|scheduler, _| scheduler.depths().permits) {
        waiting.entry(budget.account).or_default().push((budget.operation, count));
    }
    let looks = all.into_iter().map(|(key, observed, account)| {
        // If only the numbers have changed, they are written at most once per interval. If the status does not contain
        // any numbers yet, they are written immediately.
        let is_due = observed.status.groups.is_none() || counted.get(&key).is_none_or(|at| *at + INTERVAL <= now);
        let numbers = is_due.then(|| AccountNumbers {
            groups: groups.get(&key).map_or(0, |number| *number as i64),
            queue: account.as_ref().ok().and_then(|account| queue_of(account, waiting.get(account.key())?)),
        });
        async move {
            let Finding { condition, next_look } = examine(context, &key, &observed, account);
            let Some(condition) = condition else { return (None, next_look) };
            let is_usable = condition.reason == Reason::Available;
            let account_key = AccountKey::LiveAccount(key.clone());
            context.scheduler.with(|scheduler, _| scheduler.set_account_usable(&account_key, is_usable));
            let is_counted = numbers.as_ref().is_some_and(|numbers| !numbers.are_recorded(&observed.status));
            write(context, &key, &observed, &condition, numbers.as_ref()).await;
            (is_counted.then_some(key), next_look)
        }
    });
    let looked: Vec<(Option<ObjectKey>, Duration)> =
        futures::stream::iter(looks).buffer_unordered(CONCURRENT_WRITES).collect().await;
    counted.extend(looked.iter().filter_map(|(key, _)| Some((key.clone()?, now))));
    looked.into_iter().map(|(_, next_look)| next_look).min().unwrap_or(INTERVAL)
}

/// Returns the queue of an account. `waiting` contains the number of waiting objects for each operation. Returns `None`
/// if the last object is expected to wait less than [`INTERVAL`].
fn queue_of(account: &Account, waiting: &[(Operation, usize)]) -> Option<AccountQueue> {
    let waits = waiting.iter().map(|(operation, count)| (*count, account.pace(*operation).time_for(*count)));
    let (waiting, longest) =
        waits.fold((0, Duration::ZERO), |(all, longest), (count, wait)| (all + count, longest.max(wait)));
    let expected_end = jiff::Timestamp::now().checked_add(longest).ok().filter(|_| longest >= INTERVAL)?;
    Some(AccountQueue {
        waiting: waiting as i64,
        expected_end: expected_end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    })
}

/// Determines the condition of an account. If the credentials of the account are available, unblocks the objects that
/// wait for these credentials.
fn examine(
    context: &Context,
    key: &ObjectKey,
    observed: &ObservedAccount,
    account: Result<Arc<Account>, String>,
) -> Finding {
    let report =
        |reason, message| Finding { condition: Some(AccountCondition { reason, message }), next_look: INTERVAL };
    if let Err(message) = account {
        return report(Reason::InvalidInput, message);
    }
    let account_key = AccountKey::LiveAccount(key.clone());
    if let Err(Unavailable { why, retry_after }) = context.accounts.usable(&account_key, false) {
        let grace = MISSING_GRACE.saturating_sub(observed.since.elapsed());
        let message = why.filter(|_| grace.is_zero());
        let next_look = retry_after.unwrap_or(INTERVAL).clamp(Duration::from_secs(1), INTERVAL);
        return Finding {
            condition: message.map(|message| AccountCondition { reason: Reason::CredentialsMissing, message }),
            next_look: if grace.is_zero() { next_look } else { next_look.min(grace) },
        };
    }
    let (failure, is_proven) = context.scheduler.with(|scheduler, _| {
        scheduler.unblock(&Cause::Account(account_key.clone()));
        (scheduler.credentials_failure(&account_key).cloned(), scheduler.is_proven(&account_key))
    });
    if let Some(failure) = failure {
        return report(Reason::CredentialsRejected, failure.message);
    }
    let ready = observed.status.condition(ConditionType::Ready);
    let rejected = ready.filter(|ready| {
        ready.reason == Reason::CredentialsRejected.as_str() && ready.observed_generation == Some(observed.generation)
    });
    if let Some(rejected) = rejected.filter(|_| !is_proven) {
        // A previous process recorded in the status that the credentials were rejected. Since then, no call has shown
        // that the service accepts them.
        return report(Reason::CredentialsRejected, rejected.message.clone());
    }
    report(Reason::Available, "The credentials exist and have not been rejected.".to_owned())
}

async fn write(
    context: &Context,
    key: &ObjectKey,
    observed: &ObservedAccount,
    condition: &AccountCondition,
    numbers: Option<&AccountNumbers>,
) {
    let now = jiff::Timestamp::now();
    let Some(status) = account_status(&observed.status, observed.generation, condition, numbers, now) else { return };
    match context.api.write_account_status(key, &observed.uid, &status).await {
        Ok(()) => {}
        // The watch reports the deletion.
        Err(ApiError::Gone) => return,
        Err(error) => {
            tracing::warn!(account = %key, %error, "the status of a LiveAccount could not be written");
            return;
        }
    }
    let reason_of =
        |status: &LiveAccountStatus| status.condition(ConditionType::Ready).map(|ready| ready.reason.clone());
    if reason_of(&observed.status) != reason_of(&status) {
        let is_ready = condition.reason.ready() == ReadyEffect::True;
        let event_type = if is_ready { EventType::Normal } else { EventType::Warning };
        let (reason, note) = (condition.reason.as_str(), condition.message.clone());
        tracing::info!(account = %key, reason, text = note, "the condition of a LiveAccount changed");
        let regarding = observed.reference.clone();
        context.events.publish(EventDraft { regarding, action: "Reconcile", event_type, reason, note });
    }
    context.accounts.status_written(key, &observed.uid, status);
}
