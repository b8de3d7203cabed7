//! An account as the operator calls it: credentials, client, budgets, and whether its credentials are proven.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, OwnedMutexGuard};
use tokio::time::Instant;

use super::accounts::{AccountId, AccountKey, Budgets, Numbers, Permits, Rate};
use super::gates::PROBE_INTERVAL;
use super::locked::locked;
use super::scrape::OK;
use crate::budget::Fate;
use crate::live::credentials::{CredentialSource, CredentialsError, Held, Refusal};
use crate::live::error::{Again, Delivery};
use crate::live::{Answer, Call, CallError, Client, Credentials, ErrorClass, Operation, Reply};
use crate::telemetry::metrics::Calls;

/// An account: the operator's own, or that of a LiveAccount.
#[derive(Debug)]
pub struct Account {
    id: AccountId,
    key: AccountKey,
    client: Client,
    credentials: CredentialSource,
    /// What this account alone may use.
    cap: Option<Arc<Budgets>>,
    /// What it shares with others of its number.
    shared: Shared,
    proven: AtomicBool,
    proving: Arc<Mutex<()>>,
    /// Held while rejected credentials are loaded again: nobody runs into the same refusal meanwhile.
    reloading: Mutex<()>,
    rejected: std::sync::Mutex<Option<Rejected>>,
    /// Rung when its credentials were rejected, or are good again.
    bell: Arc<Notify>,
    calls: Calls,
}

/// Where the budget that an account shares with others comes from.
#[derive(Debug)]
pub struct Share {
    /// The budgets of all numbers.
    pub numbers: Arc<Numbers>,
    /// The account's number; the access key id stands for it where it is not known.
    pub number: Option<String>,
    /// The endpoint.
    pub endpoint: String,
}

#[derive(Debug)]
struct Shared {
    share: Option<Share>,
    /// The budgets in use.
    current: std::sync::Mutex<Arc<Budgets>>,
}

/// The service has rejected the credentials.
#[derive(Debug)]
struct Rejected {
    message: String,
    at: Instant,
}

/// There are no credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// How the last try to load them failed, where there was one.
    pub why: Option<String>,
    /// When they are loaded again; `None` while they are.
    pub again: Option<Duration>,
}

/// The right to make a call while the credentials are not proven yet: one at a time.
#[derive(Debug)]
pub struct Turn(Option<OwnedMutexGuard<()>>);

impl Account {
    /// The operator's own account, whose budgets start now.
    pub fn new(client: Client, credentials: CredentialSource, rate: Rate) -> Self {
        let current = std::sync::Mutex::new(Budgets::new(rate));
        let shared = Shared { share: None, current };
        Self::of(AccountId::OWN, AccountKey::Own, client, credentials, shared)
    }

    /// The account of a LiveAccount.
    pub fn named(id: AccountId, key: AccountKey, client: Client, credentials: CredentialSource, share: Share) -> Self {
        let number = share.number.as_deref().unwrap_or_default();
        let current = std::sync::Mutex::new(share.numbers.of(number, &share.endpoint));
        Self::of(id, key, client, credentials, Shared { share: Some(share), current })
    }

    fn of(id: AccountId, key: AccountKey, client: Client, credentials: CredentialSource, shared: Shared) -> Self {
        let (proven, proving) = (AtomicBool::new(false), Arc::default());
        let (rejected, bell) = (std::sync::Mutex::default(), Arc::default());
        let (cap, reloading, calls) = (None, Mutex::default(), Calls::default());
        Self { id, key, client, credentials, cap, shared, proven, proving, reloading, rejected, bell, calls }
    }

    /// The same, with at most so many calls a second and operation of its own.
    #[must_use]
    pub fn with_cap(self, calls: Option<u32>) -> Self {
        Self { cap: calls.map(|calls| Budgets::new(Rate::PerSecond(calls))), ..self }
    }

    /// The same, ringing this when its credentials were rejected or are good again.
    #[must_use]
    pub fn with_bell(self, bell: &Arc<Notify>) -> Self {
        Self { bell: Arc::clone(bell), ..self }
    }

    /// The same, with its calls counted here.
    #[must_use]
    pub fn counted_by(self, calls: &Calls) -> Self {
        Self { calls: calls.clone(), ..self }
    }

    /// Its number.
    pub fn id(&self) -> AccountId {
        self.id
    }

    /// Its name.
    pub fn key(&self) -> &AccountKey {
        &self.key
    }

    /// What it calls with.
    pub fn credentials(&self) -> &CredentialSource {
        &self.credentials
    }

    /// The id of the access key in use.
    pub fn key_id(&self) -> Option<String> {
        self.credentials.held_key_id()
    }

    /// The budgets it shares with others of its number.
    pub fn budgets(&self) -> Arc<Budgets> {
        let mut current = locked(&self.shared.current);
        // Asked every time: the operator's own key, which it may be, is known later than this one.
        if let Some(share) = self.shared.share.as_ref().filter(|share| share.number.is_none())
            && let Some(key_id) = self.key_id()
        {
            *current = share.numbers.of(&key_id, &share.endpoint);
        }
        Arc::clone(&current)
    }

    /// Calls a second that are granted now: by its own cap, or by what it shares where that is less. `None` where nothing
    /// bounds them.
    pub fn rate(&self, operation: Operation) -> Option<f64> {
        let cap = self.cap.as_ref().and_then(|cap| cap.of(operation).rate());
        let shared = self.budgets().of(operation).rate();
        cap.into_iter().chain(shared).reduce(f64::min)
    }

    /// Whether a call has shown that the credentials are good, and none since that they are not.
    pub fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Acquire)
    }

    /// How the service has rejected the credentials, while it does.
    pub fn rejection(&self) -> Option<String> {
        locked(&self.rejected).as_ref().map(|rejected| rejected.message.clone())
    }

    /// Whether the credentials were rejected within the last minute.
    pub fn was_just_rejected(&self) -> bool {
        locked(&self.rejected).as_ref().is_some_and(|rejected| rejected.at.elapsed() < PROBE_INTERVAL)
    }

    /// Why no call can be made now; `None` where there are credentials. What `ends` something may use credentials that
    /// are there no longer where they came from.
    pub fn missing_credentials(&self, ends: bool) -> Option<Missing> {
        let withdrawn = || self.credentials.withdrawn().filter(|_| !ends && self.id != AccountId::OWN);
        let error = match self.credentials.held() {
            Held::Valid => withdrawn()?,
            Held::Missing(error) => error,
            Held::Renewing(before) => {
                return Some(Missing { why: before.map(|error| self.explain(&error)), again: None });
            }
        };
        Some(Missing { why: Some(self.explain(&error)), again: Some(self.credentials.next_try()) })
    }

    /// Waits while its credentials are being loaded and there are no older ones.
    pub async fn loaded(&self) {
        drop(self.credentials.current().await);
    }

    /// Whether its credentials are there no longer where they came from: what is held is for deletions alone.
    pub fn is_withdrawn(&self) -> bool {
        self.id != AccountId::OWN && self.credentials.withdrawn().is_some()
    }

    fn explain(&self, error: &CredentialsError) -> String {
        let AccountKey::Named(key) = &self.key else { return error.to_string() };
        let why = error.tried().iter().map(|(provider, why)| match why {
            Refusal::NotConfigured(why) => why.clone(),
            Refusal::Failed(why) => format!("{provider}: {why}"),
        });
        format!("LiveAccount {} has no credentials: {}", key.name(), why.collect::<Vec<_>>().join("; "))
    }

    /// How messages name its credentials; `None` for the operator's own.
    pub fn whose(&self) -> Option<String> {
        let AccountKey::Named(key) = &self.key else { return None };
        Some(format!("the credentials of LiveAccount {}", key.name()))
    }

    /// Now, by the service's clock.
    pub fn server_now(&self) -> jiff::Timestamp {
        self.client.server_now()
    }

    /// Waits for this caller's turn: until a call has shown that the credentials are good, only one is out, so that a
    /// wrong secret costs one call and not as many as fit into a round trip.
    pub async fn turn(&self) -> Turn {
        drop(self.reloading.lock().await);
        if self.proven.load(Ordering::Acquire) {
            return Turn(None);
        }
        let turn = Arc::clone(&self.proving).lock_owned().await;
        Turn((!self.proven.load(Ordering::Acquire)).then_some(turn))
    }

    /// Waits for a permit for `operation`: of its own cap first, then of what it shares.
    pub async fn permit(&self, operation: Operation) -> Permits {
        let cap = match &self.cap {
            Some(cap) => Some(cap.of(operation).permit().await),
            None => None,
        };
        Permits { cap, shared: self.budgets().of(operation).permit().await }
    }

    /// Sends one call with one permit. The only way to the Live API: every call is counted and logged here.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn send(&self, call: &Call, mut permit: Permits) -> Result<Answer<Reply>, CallError> {
        let operation = call.operation();
        // Without credentials the permit goes back unused.
        let credentials = self.credentials.current().await;
        let credentials = credentials.map_err(|error| CallError::NoCredentials(self.explain(&error)))?;
        let started = Instant::now();
        permit.sending();
        tracing::debug!(account = %self.key, %operation, "call sent");
        let result = self.client.send(call, &credentials).await;
        let elapsed = started.elapsed();
        let code = result.as_ref().map_or_else(|error| error.class().as_str(), |_| OK);
        self.calls.ended(operation.as_str(), code, elapsed);
        let took = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        match &result {
            Ok(answer) => {
                self.prove();
                permit.done(Fate::Answered);
                let request_id = answer.request_id.as_deref().unwrap_or_default();
                tracing::debug!(%operation, took_ms = took, request_id, "call answered");
            }
            Err(error) => {
                let class = error.class();
                permit.done(match error {
                    CallError::Transport { delivery: Delivery::Unknown, .. } => Fate::Lost,
                    CallError::Api(api) if class == ErrorClass::Throttled => Fate::Throttled(api.retry_after),
                    error if error.may_have_arrived() => Fate::Answered,
                    _ => Fate::NotSent,
                });
                if error.may_have_arrived() {
                    self.learn(class);
                }
                let request_id = error.request_id().unwrap_or_default();
                tracing::debug!(%operation, took_ms = took, code = error.code(), request_id, "call failed");
            }
        }
        self.unless_renewed(result, &credentials).await
    }

    /// Rejected credentials are loaded again before they are reported: where that gives others, the call is made again.
    async fn unless_renewed<T>(&self, result: Result<T, CallError>, used: &Credentials) -> Result<T, CallError> {
        match result {
            Err(CallError::Api(answer)) if answer.class() == ErrorClass::CredentialsRejected => {
                let reloading = self.reloading.lock().await;
                let renewed = self.credentials.reload(used).await;
                drop(reloading);
                if renewed {
                    return Err(CallError::Again(Again::NewCredentials, answer));
                }
                self.reject(answer.code.as_deref().unwrap_or_default());
                Err(CallError::Api(answer))
            }
            result => result,
        }
    }

    fn prove(&self) {
        let before = self.proven.swap(true, Ordering::AcqRel);
        let rejected = locked(&self.rejected).take();
        if !before || rejected.is_some() {
            self.bell.notify_one();
        }
    }

    fn reject(&self, code: &str) {
        let message = format!("Alibaba Cloud rejected the credentials ({code}): renew the access key or its token");
        let before = locked(&self.rejected).replace(Rejected { message, at: Instant::now() });
        if before.is_none() {
            self.bell.notify_one();
        }
    }

    fn learn(&self, class: ErrorClass) {
        match class {
            ErrorClass::CredentialsRejected => self.proven.store(false, Ordering::Release),
            // These are told before or without a look at the signature.
            ErrorClass::Throttled
            | ErrorClass::ServiceError
            | ErrorClass::Unreachable
            | ErrorClass::ClockSkew
            | ErrorClass::NonceUsed
            | ErrorClass::CredentialsMissing
            | ErrorClass::TryAgain
            | ErrorClass::Rejected => {}
            ErrorClass::InvalidInput | ErrorClass::QuotaExceeded | ErrorClass::NotAuthorized | ErrorClass::NotFound => {
                self.prove();
            }
        }
    }
}

impl Turn {
    /// Whether the credentials were proven when the turn came.
    pub fn is_free(&self) -> bool {
        self.0.is_none()
    }
}

/// A permit for a call of this operation of this account.
pub struct Granted {
    /// The account.
    pub account: Arc<Account>,
    /// The operation.
    pub operation: Operation,
    /// The permits.
    pub permits: Permits,
    /// Whether the credentials were proven when it was granted; else it is the one call that proves them.
    pub proven: bool,
}

impl Granted {
    /// The permits, where they are for this call; else they go back. Those for credentials that were rejected since go
    /// back too: whoever has not sent yet does not run into the same refusal.
    pub fn for_call(self, call: &Call, account: &Arc<Account>) -> Option<Permits> {
        let rejected = self.proven && !account.is_proven();
        let fits = self.operation == call.operation() && Arc::ptr_eq(&self.account, account);
        (fits && !rejected).then_some(self.permits)
    }
}

#[cfg(test)]
mod tests;
