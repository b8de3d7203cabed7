//! The accounts that calls are made with: the operator's own, and one for every LiveAccount.

mod account;
mod granted;
mod key;
mod limits;
mod loading;
mod proof;
mod sources;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::Client;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use account::{Account, Missing, OK};
pub use granted::Granted;
pub use key::{AccountId, AccountKey, Slot};
pub use limits::{Numbers, Own, Permits, Rate};
pub use loading::Loading;

use super::key::Key;
use super::line::Line;
use super::locked::locked;
use crate::live::credentials::{AssumedRole, Chain, CredentialSource, Provider, ProviderEnv};
use crate::live::{ClientOptions, Endpoint};
use crate::resources::{ConditionType, LiveAccount, LiveAccountSpec, LiveAccountStatus, Reason};
use crate::telemetry::metrics::Calls;
use account::Share;
use sources::{SecretKey, ServiceAccountToken};

/// A Secret that is missing is looked for this often while something waits for it (with the jitter: 30 s at most).
const LONGEST_WAIT: Duration = Duration::from_secs(24);

fn no_account(key: &Key) -> String {
    let (name, namespace) = (key.name(), key.namespace());
    format!("there is no LiveAccount {name} in namespace {namespace}: create it, or correct spec.accountRef")
}

/// What all LiveAccounts have in common.
#[derive(Debug)]
pub struct Common {
    /// How clients of the Live API behave.
    pub options: ClientOptions,
    /// The endpoint where a LiveAccount names none: the operator's own.
    pub endpoint: Endpoint,
    /// Whether an endpoint may be plain http.
    pub allow_http: bool,
    /// What exchanges with STS see of the world.
    pub provider_env: ProviderEnv,
    /// Calls a second of a number.
    pub rate: Rate,
    /// The number of the operator's own account, where that is known.
    pub number: Option<String>,
    /// Where calls are counted.
    pub calls: Calls,
}

/// A dispatcher for each operation of this account is to run until the token is cancelled.
#[derive(Debug)]
pub struct Appeared {
    /// The account.
    pub id: AccountId,
    /// Cancelled when the account is forgotten.
    pub gone: CancellationToken,
}

/// Who misses a LiveAccount or its Secret for less than this says nothing: one `kubectl apply` brings them and the groups
/// in any order, and each is seen by a watch or a read of its own.
const UNTOLD: Duration = Duration::from_secs(2);

/// How much longer nothing is said of what has been missing since then; `None` when that time is over.
pub fn untold(since: Instant) -> Option<Duration> {
    Some(UNTOLD.saturating_sub(since.elapsed())).filter(|left| !left.is_zero())
}

/// A LiveAccount as it was seen last.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its uid.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// When this generation of it was seen first.
    pub since: Instant,
    /// Its status.
    pub status: LiveAccountStatus,
    /// Itself.
    pub object: Arc<LiveAccount>,
}

#[derive(Debug)]
struct Entry {
    id: AccountId,
    /// `None` where there is no such LiveAccount (any more).
    seen: Option<Seen>,
    /// What calls are made with. It outlives its LiveAccount while deletions may need it.
    account: Option<Arc<Account>>,
    /// Why calls cannot be made, whatever the credentials.
    invalid: Option<String>,
    /// Objects that wait for it.
    waiting: Line<Key>,
    gone: CancellationToken,
    dispatched: bool,
}

#[derive(Debug, Default)]
struct Named {
    entries: HashMap<Key, Entry>,
    keys: HashMap<AccountId, Key>,
    last: u32,
}

/// All accounts.
pub struct Accounts {
    own: Arc<Account>,
    common: Common,
    numbers: Arc<Numbers>,
    kube: Client,
    named: Mutex<Named>,
    appeared: mpsc::UnboundedSender<Appeared>,
    /// Who waits while credentials are being loaded.
    pub loading: Loading,
    /// Rung when a status may have to be written.
    pub bell: Arc<Notify>,
}

impl Accounts {
    /// With the operator's own account; what appears is told by the receiver.
    pub fn new(own: Account, common: Common, kube: Client) -> (Self, mpsc::UnboundedReceiver<Appeared>) {
        let (appeared, receiver) = mpsc::unbounded_channel();
        let rate = match common.rate {
            Rate::Unlimited => Rate::Unlimited,
            Rate::PerSecond(_) => Rate::PerSecond(crate::budget::DOCUMENTED_LIMIT),
        };
        let numbers = Arc::new(Numbers::new(
            rate,
            Some(Own {
                budgets: own.budgets(),
                credentials: own.credentials().clone(),
                number: common.number.clone(),
                endpoint: common.endpoint.to_string(),
            }),
        ));
        // The receiver is there: this cannot fail.
        let _ = appeared.send(Appeared { id: AccountId::OWN, gone: CancellationToken::new() });
        let (named, loading, bell) = (Mutex::default(), Loading::default(), Arc::default());
        (Self { own: Arc::new(own), common, numbers, kube, named, appeared, loading, bell }, receiver)
    }

    /// The account of this number.
    pub fn by_id(&self, id: AccountId) -> Option<Arc<Account>> {
        if id == AccountId::OWN {
            return Some(Arc::clone(&self.own));
        }
        let named = locked(&self.named);
        named.entries.get(named.keys.get(&id)?)?.account.clone()
    }

    /// Every account that there is, with the reason that its status tells, for metrics.
    pub fn standings(&self) -> Vec<(AccountKey, Reason, Option<Arc<Account>>)> {
        let own = match self.own.proof().rejection() {
            Some(_) => Reason::CredentialsRejected,
            None if self.own.key_id().is_none() => Reason::CredentialsMissing,
            None => Reason::Available,
        };
        let named = locked(&self.named);
        let told = named.entries.iter().filter_map(|(key, entry)| {
            let ready = entry.seen.as_ref()?.status.condition(ConditionType::Ready);
            let reason = ready.and_then(|ready| ready.reason.parse().ok()).unwrap_or(Reason::Pending);
            Some((AccountKey::Named(key.clone()), reason, entry.account.clone()))
        });
        std::iter::once((AccountKey::Own, own, Some(Arc::clone(&self.own)))).chain(told).collect()
    }

    /// The account of this name. What `ends` something, a deletion, may use one whose LiveAccount is gone.
    ///
    /// # Errors
    /// Why there is none, for a condition.
    pub fn get(&self, key: &AccountKey, ends: bool) -> Result<Arc<Account>, String> {
        let AccountKey::Named(key) = key else { return Ok(Arc::clone(&self.own)) };
        let named = locked(&self.named);
        let entry = named.entries.get(key);
        let account = entry.and_then(|entry| entry.account.clone());
        match entry.and_then(|entry| entry.seen.as_ref().map(|_| entry.invalid.as_deref())) {
            Some(Some(why)) => Err(format!("LiveAccount {} cannot be used: {why}", key.name())),
            Some(None) => account.ok_or_else(|| format!("LiveAccount {} is not ready yet", key.name())),
            None => account.filter(|_| ends).ok_or_else(|| no_account(key)),
        }
    }

    /// The object waits for this account: it is woken when it can be used.
    pub fn wait(&self, account: &AccountKey, object: &Key) {
        if let AccountKey::Named(key) = account {
            locked(&self.named).entry(key).waiting.push(object);
            self.bell.notify_one();
        }
    }

    /// The object is gone: it waits for no account.
    pub fn leave(&self, object: &Key) {
        for entry in locked(&self.named).entries.values_mut() {
            entry.waiting.remove(object);
        }
    }

    /// The objects that waited for this account, in the order in which they came.
    pub fn take_waiting(&self, key: &Key) -> Vec<Key> {
        let mut named = locked(&self.named);
        named.entries.get_mut(key).map_or_else(Vec::new, |entry| entry.waiting.take(usize::MAX))
    }

    /// Takes in a LiveAccount as seen just now. Whether it is another one than before.
    pub fn observe(&self, key: &Key, object: LiveAccount) -> bool {
        let uid = object.metadata.uid.clone().unwrap_or_default();
        let generation = object.metadata.generation.unwrap_or_default();
        let status = object.status.clone().unwrap_or_default();
        let mut named = locked(&self.named);
        let entry = named.entry(key);
        if let Some(seen) = &mut entry.seen
            && seen.uid == uid
            && seen.generation == generation
        {
            seen.status = status;
            return false;
        }
        match self.build(entry.id, key, &object.spec) {
            Ok(account) => {
                entry.account = Some(Arc::new(account));
                entry.invalid = None;
            }
            Err(why) => entry.invalid = Some(why),
        }
        entry.seen = Some(Seen { uid, generation, since: Instant::now(), status, object: Arc::new(object) });
        if entry.account.is_some() && !std::mem::replace(&mut entry.dispatched, true) {
            let _ = self.appeared.send(Appeared { id: entry.id, gone: entry.gone.clone() });
        }
        self.bell.notify_one();
        true
    }

    /// The LiveAccount is gone; what calls were made with stays while something may need it. Whether there was one.
    pub fn vanish(&self, key: &Key) -> bool {
        let seen = locked(&self.named).entries.get_mut(key).and_then(|entry| {
            entry.invalid = None;
            entry.seen.take()
        });
        self.bell.notify_one();
        seen.is_some()
    }

    /// The LiveAccounts of this namespace (all, where absent) that are none of these.
    pub fn others_than(&self, namespace: Option<&str>, listed: &HashSet<Key>) -> Vec<Key> {
        let named = locked(&self.named);
        let of = |key: &&Key| namespace.is_none_or(|name| key.namespace() == name) && !listed.contains(*key);
        named.entries.keys().filter(of).cloned().collect()
    }

    /// Every LiveAccount that there is, and what calls are made with or why none can be.
    pub fn seen(&self) -> Vec<(Key, Seen, Result<Arc<Account>, String>)> {
        let named = locked(&self.named);
        let of = |entry: &Entry| match (&entry.invalid, &entry.account) {
            (Some(why), _) => Err(why.clone()),
            (None, Some(account)) => Ok(Arc::clone(account)),
            (None, None) => Err("it is not ready yet".to_owned()),
        };
        let seen = named.entries.iter().filter_map(|(key, entry)| Some((key.clone(), entry.seen.clone()?, of(entry))));
        seen.collect()
    }

    /// This status was written to the LiveAccount with this uid.
    pub fn written(&self, key: &Key, uid: &str, status: LiveAccountStatus) {
        if let Some(now) = locked(&self.named).entries.get_mut(key).and_then(|entry| entry.seen.as_mut())
            && now.uid == uid
        {
            now.status = status;
        }
    }

    /// Forgets accounts that are gone and that nobody names any more.
    pub fn forget_unused(&self, used: impl Fn(&Key) -> bool) {
        let mut named = locked(&self.named);
        let Named { entries, keys, .. } = &mut *named;
        entries.retain(|key, entry| {
            let keep = entry.seen.is_some() || used(key);
            if !keep {
                keys.remove(&entry.id);
                entry.gone.cancel();
            }
            keep
        });
    }

    fn build(&self, id: AccountId, key: &Key, spec: &LiveAccountSpec) -> Result<Account, String> {
        let endpoint = match &spec.endpoint {
            Some(text) => Endpoint::parse(text, self.common.allow_http).map_err(|error| error.to_string())?,
            None => self.common.endpoint.clone(),
        };
        let (namespace, credentials) = (key.namespace(), &spec.credentials);
        let provider: Box<dyn Provider> = match (&credentials.secret_ref, &credentials.oidc) {
            (Some(secret), None) => Box::new(SecretKey::new(&self.kube, namespace, &secret.name)),
            (None, Some(oidc)) => {
                let tokens = ServiceAccountToken::new(&self.kube, namespace, &oidc.service_account_ref.name);
                let arn = &oidc.oidc_provider_arn;
                Box::new(AssumedRole::new(&self.common.provider_env, &oidc.role_arn, arn, tokens))
            }
            _ => return Err("spec.credentials must have exactly one of secretRef and oidc".to_owned()),
        };
        let source = CredentialSource::with_longest_wait(Chain::of(vec![provider]), LONGEST_WAIT);
        let shown = endpoint.to_string();
        let client = crate::live::Client::new(endpoint, self.common.options.clone());
        let client = client.map_err(|error| format!("the client cannot be built: {error}"))?;
        let cap = spec.requests_per_second.and_then(|calls| u32::try_from(calls).ok()).filter(|calls| *calls < 50);
        let number = spec.number().map(str::to_owned);
        let share = Share { numbers: Arc::clone(&self.numbers), number, endpoint: shown };
        let account = Account::named(id, AccountKey::Named(key.clone()), client, source, share);
        Ok(account.with_cap(cap).with_bell(&self.bell).counted_by(&self.common.calls))
    }
}

impl Named {
    fn entry(&mut self, key: &Key) -> &mut Entry {
        let Self { entries, keys, last } = self;
        entries.entry(key.clone()).or_insert_with(|| {
            *last += 1;
            let id = AccountId(*last);
            keys.insert(id, key.clone());
            Entry {
                id,
                seen: None,
                account: None,
                invalid: None,
                waiting: Line::default(),
                gone: CancellationToken::new(),
                dispatched: false,
            }
        })
    }
}
