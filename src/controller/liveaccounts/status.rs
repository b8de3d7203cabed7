//! The status of every LiveAccount, and the objects that wait for its credentials.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::{Instant, sleep};

use crate::controller::accounts::{Account, AccountKey, Missing, Seen, untold};
use crate::controller::events::Kind;
use crate::controller::key::Key;
use crate::controller::objects::StoreError;
use crate::controller::reconciler::Reconciler;
use crate::decide::{Finding, account_status};
use crate::resources::{ConditionType, LiveAccountStatus, Ready, Reason};

/// How often everything is looked at without a bell, and how often a number of groups is written at most.
const INTERVAL: Duration = Duration::from_secs(30);

/// Bells within this long are one.
const GATHER: Duration = Duration::from_millis(200);

/// LiveAccounts whose status is written at once.
const AT_ONCE: usize = 8;

/// Keeps the statuses; never returns.
pub async fn run(reconciler: Arc<Reconciler>) {
    let mut counted: HashMap<Key, Instant> = HashMap::new();
    loop {
        let bell = Arc::clone(&reconciler.accounts.bell);
        let rung = bell.notified();
        let next = look(&reconciler, &mut counted).await;
        tokio::select! {
            () = rung => sleep(GATHER).await,
            () = sleep(next) => {}
        }
    }
}

/// Looks at every LiveAccount; when to look again.
async fn look(reconciler: &Reconciler, counted: &mut HashMap<Key, Instant>) -> Duration {
    let groups = reconciler.index().by_account();
    reconciler.accounts.forget_unused(|key| groups.contains_key(key));
    let all = reconciler.accounts.seen();
    counted.retain(|key, _| all.iter().any(|(known, ..)| known == key));
    let now = Instant::now();
    let looks = all.into_iter().map(|(key, seen, account)| {
        let number = groups.get(&key).copied().unwrap_or_default();
        // A change of the number alone waits for its time; at first there is none to compare with.
        let due = seen.status.groups.is_none() || counted.get(&key).is_none_or(|at| *at + INTERVAL <= now);
        let number = due.then_some(number);
        async move {
            let (finding, wait) = find(reconciler, &key, &seen, account);
            let Some(finding) = finding else { return (None, wait) };
            let counted = number.is_some_and(|number| seen.status.groups != Some(number));
            write(reconciler, &key, &seen, &finding, number).await;
            (counted.then_some(key), wait)
        }
    });
    let looked: Vec<(Option<Key>, Duration)> = futures::stream::iter(looks).buffer_unordered(AT_ONCE).collect().await;
    counted.extend(looked.iter().filter_map(|(key, _)| Some((key.clone()?, now))));
    looked.into_iter().map(|(_, wait)| wait).min().unwrap_or(INTERVAL)
}

/// What there is to say of an account, if anything, and when to look again. Who waited for its credentials is woken when
/// they are there.
fn find(
    reconciler: &Reconciler,
    key: &Key,
    seen: &Seen,
    account: Result<Arc<Account>, String>,
) -> (Option<Finding>, Duration) {
    let account = match account {
        Ok(account) => account,
        Err(message) => return (Some(Finding { reason: Reason::InvalidInput, message }), INTERVAL),
    };
    if let Some(Missing { why, again }) = account.missing_credentials(false) {
        if again.is_none() {
            reconciler.accounts.loading.wait(&account, None);
        }
        let untold = untold(seen.since);
        let told = why.filter(|_| untold.is_none());
        let finding = told.map(|message| Finding { reason: Reason::CredentialsMissing, message });
        let wait = again.unwrap_or(INTERVAL).clamp(Duration::from_secs(1), INTERVAL);
        return (finding, untold.map_or(wait, |untold| wait.min(untold)));
    }
    reconciler.wake_all(reconciler.accounts.take_waiting(key));
    if let Some(message) = account.proof().rejection() {
        return (Some(Finding { reason: Reason::CredentialsRejected, message }), INTERVAL);
    }
    let ready = seen.status.condition(ConditionType::Ready);
    let rejected = ready.filter(|ready| {
        ready.reason == Reason::CredentialsRejected.as_str() && ready.observed_generation == Some(seen.generation)
    });
    if let Some(rejected) = rejected.filter(|_| !account.proof().is_proven()) {
        // An earlier process was told so, and nobody has tried since.
        return (Some(Finding { reason: Reason::CredentialsRejected, message: rejected.message.clone() }), INTERVAL);
    }
    let message = "the credentials are there and were not rejected".to_owned();
    (Some(Finding { reason: Reason::Available, message }), INTERVAL)
}

async fn write(reconciler: &Reconciler, key: &Key, seen: &Seen, finding: &Finding, groups: Option<i64>) {
    let now = jiff::Timestamp::now();
    let Some(status) = account_status(&seen.status, seen.generation, finding, groups, now) else { return };
    match reconciler.objects.write_account_status(key, &seen.uid, &status).await {
        Ok(()) => {}
        // The watch tells.
        Err(StoreError::Gone) => return,
        Err(error) => {
            tracing::warn!(account = %key, %error, "the status of a LiveAccount could not be written");
            return;
        }
    }
    let told = |status: &LiveAccountStatus| status.condition(ConditionType::Ready).map(|ready| ready.reason.clone());
    if told(&seen.status) != told(&status) {
        let kind = if finding.reason.ready() == Ready::True { Kind::Normal } else { Kind::Warning };
        tracing::info!(account = %AccountKey::Named(key.clone()), reason = %finding.reason, detail = finding.message, "account");
        reconciler.events.publish(&*seen.object, kind, finding.reason.as_str(), "Reconcile", &finding.message);
    }
    reconciler.accounts.written(key, &seen.uid, status);
}
