//! The accounts: the operator's own, and one for every LiveAccount.
//!
//! The module owns credentials, LiveAccounts and budgets. It may import `keys`, `leader`, `api`, `live` and `budget`.
//! Its invariant: a LiveAccount uses only credentials from its own namespace, and only its own endpoint.

mod account;
mod budgets;
mod permit;
mod sources;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Client, Resource as _};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

pub use account::{Account, OK, Unavailable};
pub use budgets::{BudgetRegistry, OperatorAccount, Rate};
pub use permit::GrantedPermit;

use super::keys::{AccountKey, ObjectKey};
use crate::live::EndpointPolicy;
use crate::live::credentials::{AssumedRole, Chain, CredentialSource, Provider, ProviderEnv};
use crate::resources::{ConditionStatus, ConditionType, LiveAccount, LiveAccountSpec, LiveAccountStatus};
use crate::telemetry::metrics::Calls;
use account::SharedBudget;
use sources::{SecretKey, ServiceAccountToken};

/// The maximum delay between two attempts to read a missing Secret for which an object waits. Jitter can extend the
/// delay to 30 s.
const SECRET_RETRY_MAX: Duration = Duration::from_secs(24);

/// The settings that all LiveAccounts share.
#[derive(Debug)]
pub struct AccountDefaults {
    /// The endpoints that LiveAccounts may use.
    pub endpoints: EndpointPolicy,
    /// The environment for token exchanges with STS.
    pub provider_env: ProviderEnv,
    /// The rate limit of an account ID.
    pub rate: Rate,
    /// The ID of the operator's own account; `None` if it is unknown.
    pub number: Option<String>,
    /// The metrics that count calls.
    pub calls: Calls,
}

/// A request to start a dispatcher for each operation of an account.
#[derive(Debug)]
pub struct AccountStarted {
    pub key: AccountKey,
    /// Canceled when the account is removed.
    pub ended: CancellationToken,
}

/// Requests from [`Accounts`] to other tasks.
#[derive(Debug)]
pub struct AccountEvents {
    /// Accounts that need dispatchers.
    pub started: mpsc::UnboundedReceiver<AccountStarted>,
    /// Accounts whose credentials are being loaded while objects wait for them.
    pub loads: mpsc::UnboundedReceiver<Arc<Account>>,
}

/// A LiveAccount as last seen by the watch.
#[derive(Debug, Clone)]
pub struct ObservedAccount {
    pub uid: String,
    pub generation: i64,
    /// The time at which the watch first reported this generation.
    pub since: Instant,
    pub status: LiveAccountStatus,
    /// A reference for events. The object itself is not kept, because its annotations can take up to 256 KiB of memory.
    pub reference: ObjectReference,
}

#[derive(Debug, Default)]
struct Entry {
    /// `None` if the LiveAccount does not exist.
    observed: Option<ObservedAccount>,
    /// The account that is used for calls. It is kept after its LiveAccount is deleted, because the deletion of groups
    /// may still need it.
    account: Option<Arc<Account>>,
    /// The reason why the spec cannot be used; `None` if the spec is valid.
    invalid: Option<String>,
    ended: CancellationToken,
    is_started: bool,
}

/// The operator's own account and the accounts of all LiveAccounts.
pub struct Accounts {
    operator: Arc<Account>,
    defaults: AccountDefaults,
    budgets: Arc<BudgetRegistry>,
    kube: Client,
    entries: Mutex<HashMap<ObjectKey, Entry>>,
    started: mpsc::UnboundedSender<AccountStarted>,
    loads: mpsc::UnboundedSender<Arc<Account>>,
}

impl Accounts {
    /// Creates a set with only the operator's own account.
    pub fn new(operator: Account, defaults: AccountDefaults, kube: Client) -> (Self, AccountEvents) {
        let (started, started_events) = mpsc::unbounded_channel();
        let (loads, load_events) = mpsc::unbounded_channel();
        let rate = match defaults.rate {
            Rate::Unlimited => Rate::Unlimited,
            Rate::PerSecond(_) => Rate::PerSecond(crate::budget::DOCUMENTED_LIMIT),
        };
        let shared = OperatorAccount {
            budgets: operator.budgets(),
            credentials: operator.credentials().clone(),
            number: defaults.number.clone(),
            service: defaults.endpoints.own.service().clone(),
        };
        let budgets = Arc::new(BudgetRegistry::new(rate, Some(shared)));
        // This cannot fail: the receiver exists.
        let _ = started.send(AccountStarted { key: AccountKey::Operator, ended: CancellationToken::new() });
        let accounts =
            Self { operator: Arc::new(operator), defaults, budgets, kube, entries: Mutex::default(), started, loads };
        (accounts, AccountEvents { started: started_events, loads: load_events })
    }

    /// Returns the account with this key, or `None` if it does not exist.
    pub fn current(&self, key: &AccountKey) -> Option<Arc<Account>> {
        match key {
            AccountKey::Operator => Some(Arc::clone(&self.operator)),
            AccountKey::LiveAccount(key) => self.entries.lock().get(key)?.account.clone(),
        }
    }

    /// Returns the account if it can be used for calls. A deletion may use an account whose LiveAccount or Secret was
    /// deleted.
    ///
    /// # Errors
    /// Returns `Unavailable` if no call can be made. While the credentials are being loaded, the account is sent to
    /// `AccountEvents::loads`, whose receiver unblocks the objects after the load.
    pub fn usable(&self, key: &AccountKey, for_deletion: bool) -> Result<Arc<Account>, Unavailable> {
        let account = self.find(key, for_deletion);
        let account = account.map_err(|why| Unavailable { why: Some(why), retry_after: None })?;
        let Some(unavailable) = account.unavailable(for_deletion) else { return Ok(account) };
        if unavailable.retry_after.is_none() && account.watch_load() {
            let _ = self.loads.send(account);
        }
        Err(unavailable)
    }

    /// Returns the account, even if it has no credentials.
    ///
    /// # Errors
    /// Returns the reason why there is no account, as the text for a condition.
    pub fn find(&self, key: &AccountKey, for_deletion: bool) -> Result<Arc<Account>, String> {
        let AccountKey::LiveAccount(key) = key else { return Ok(Arc::clone(&self.operator)) };
        let entries = self.entries.lock();
        let entry = entries.get(key);
        let account = entry.and_then(|entry| entry.account.clone());
        match entry.and_then(|entry| entry.observed.as_ref().map(|_| entry.invalid.as_deref())) {
            Some(Some(why)) => Err(format!("LiveAccount {} cannot be used: {why}", key.name())),
            Some(None) => account.ok_or_else(|| format!("LiveAccount {} is not ready yet", key.name())),
            None => account.filter(|_| for_deletion).ok_or_else(|| no_account(key)),
        }
    }

    /// Records a LiveAccount from the watch. Returns whether its uid or generation is new.
    pub fn observe(&self, key: &ObjectKey, object: LiveAccount) -> bool {
        let uid = object.metadata.uid.clone().unwrap_or_default();
        let generation = object.metadata.generation.unwrap_or_default();
        let status = object.status.clone().unwrap_or_default();
        let mut entries = self.entries.lock();
        let entry = entries.entry(key.clone()).or_default();
        if let Some(observed) = &mut entry.observed
            && observed.uid == uid
            && observed.generation == generation
        {
            observed.status = status;
            return false;
        }
        match self.build(key, &uid, &object.spec) {
            Ok(account) => {
                let account = match &entry.account {
                    Some(former) => account.succeeding(former),
                    None => account,
                };
                entry.account = Some(Arc::new(account));
                entry.invalid = None;
            }
            Err(why) => entry.invalid = Some(why),
        }
        let reference = object.object_ref(&());
        entry.observed = Some(ObservedAccount { uid, generation, since: Instant::now(), status, reference });
        if entry.account.is_some() && !std::mem::replace(&mut entry.is_started, true) {
            let started = AccountStarted { key: AccountKey::LiveAccount(key.clone()), ended: entry.ended.clone() };
            let _ = self.started.send(started);
        }
        true
    }

    /// Removes a deleted LiveAccount, but keeps the account that is used for calls, because the deletion of groups may
    /// still need it. Returns whether the LiveAccount existed.
    pub fn remove(&self, key: &ObjectKey) -> bool {
        let removed = self.entries.lock().get_mut(key).and_then(|entry| {
            entry.invalid = None;
            entry.observed.take()
        });
        removed.is_some()
    }

    /// Returns the keys of all known LiveAccounts that are not in `listed`. If `namespace` is set, returns only the
    /// keys in this namespace.
    pub fn unlisted(&self, namespace: Option<&str>, listed: &HashSet<ObjectKey>) -> Vec<ObjectKey> {
        let entries = self.entries.lock();
        let is_unlisted =
            |key: &&ObjectKey| namespace.is_none_or(|name| key.namespace() == name) && !listed.contains(*key);
        entries.keys().filter(is_unlisted).cloned().collect()
    }

    /// Returns every LiveAccount, each with the account that is used for its calls, or with the reason why no calls can
    /// be made.
    pub fn observed(&self) -> Vec<(ObjectKey, ObservedAccount, Result<Arc<Account>, String>)> {
        let entries = self.entries.lock();
        let account = |entry: &Entry| match (&entry.invalid, &entry.account) {
            (Some(why), _) => Err(why.clone()),
            (None, Some(account)) => Ok(Arc::clone(account)),
            (None, None) => Err("the LiveAccount is not ready yet".to_owned()),
        };
        let observed =
            entries.iter().filter_map(|(key, entry)| Some((key.clone(), entry.observed.clone()?, account(entry))));
        observed.collect()
    }

    /// Whether the LiveAccount exists, is valid, and has `Ready=True` in its status.
    pub fn is_reported_available(&self, key: &ObjectKey) -> bool {
        let entries = self.entries.lock();
        let observed =
            entries.get(key).filter(|entry| entry.invalid.is_none()).and_then(|entry| entry.observed.as_ref());
        let ready = observed.and_then(|observed| observed.status.condition(ConditionType::Ready));
        ready.map(ConditionStatus::of) == Some(ConditionStatus::True)
    }

    /// Records the status that the operator wrote to the LiveAccount with this uid.
    pub fn status_written(&self, key: &ObjectKey, uid: &str, status: LiveAccountStatus) {
        if let Some(observed) = self.entries.lock().get_mut(key).and_then(|entry| entry.observed.as_mut())
            && observed.uid == uid
        {
            observed.status = status;
        }
    }

    /// Waits until the calls that were already sent can no longer arrive at the Live API. The caller must ensure that
    /// no call is in flight.
    pub async fn calls_arrived(&self) {
        if let Some(last) = self.budgets.last_arrival() {
            sleep_until(last).await;
        }
    }

    /// Removes every account whose LiveAccount was deleted and is not referenced by any object. Returns the keys of the
    /// removed accounts.
    pub fn forget_unused(&self, is_used: impl Fn(&ObjectKey) -> bool) -> Vec<AccountKey> {
        let mut entries = self.entries.lock();
        let unused = entries.extract_if(|key, entry| entry.observed.is_none() && !is_used(key));
        let forgotten = unused.map(|(key, entry)| {
            entry.ended.cancel();
            AccountKey::LiveAccount(key)
        });
        let forgotten = forgotten.collect();
        self.budgets.remove_unused();
        forgotten
    }

    fn build(&self, key: &ObjectKey, uid: &str, spec: &LiveAccountSpec) -> Result<Account, String> {
        let defaults = &self.defaults;
        let endpoint = defaults.endpoints.endpoint(spec.endpoint.as_deref()).map_err(|why| why.to_string())?;
        let shows_errors = defaults.endpoints.shows_errors_of(&endpoint);
        let (namespace, credentials) = (key.namespace(), &spec.credentials);
        let provider: Box<dyn Provider> = match (&credentials.secret_ref, &credentials.oidc) {
            (Some(secret), None) => Box::new(SecretKey::new(&self.kube, namespace, &secret.name)),
            (None, Some(oidc)) => {
                let tokens = ServiceAccountToken::new(&self.kube, namespace, &oidc.service_account_ref.name);
                let arn = &oidc.oidc_provider_arn;
                Box::new(AssumedRole::new(&defaults.provider_env, &oidc.role_arn, arn, tokens))
            }
            _ => {
                return Err(
                    "spec.credentials must have exactly one of secretRef and oidc: remove one, or add one".to_owned()
                );
            }
        };
        let source = CredentialSource::with_longest_wait(Chain::of(vec![provider]), SECRET_RETRY_MAX);
        let shared = SharedBudget { registry: Arc::clone(&self.budgets), number: spec.number().map(str::to_owned) };
        let client = self.operator.client_for(endpoint);
        let cap = spec.requests_per_second.and_then(|calls| u32::try_from(calls).ok()).filter(|calls| *calls < 50);
        let account = Account::of_live_account(AccountKey::LiveAccount(key.clone()), client, source, shared);
        let account = account.with_uid(uid).with_cap(cap).counted_by(&defaults.calls);
        let account = account.led_by(self.operator.leadership());
        Ok(if shows_errors { account } else { account.concealing_errors() })
    }
}

fn no_account(key: &ObjectKey) -> String {
    let (name, namespace) = (key.name(), key.namespace());
    format!("LiveAccount {name} does not exist in namespace {namespace}. Create it, or correct spec.accountRef.")
}
