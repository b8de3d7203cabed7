//! An account as the operator calls it: credentials, client and budgets.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::key::{AccountId, AccountKey};
use super::limits::{Budgets, Numbers, Permits, Rate};
use super::proof::Proof;
use crate::budget::PermitOutcome;
use crate::controller::locked::locked;
use crate::live::credentials::{CredentialSource, CredentialState, CredentialsError, ProviderError};
use crate::live::error::{Delivery, RetryHint};
use crate::live::{Call, CallError, Client, Credentials, ErrorClass, Operation, Reply, Response};
use crate::telemetry::metrics::Calls;

/// What a call that was answered well is counted as.
pub const OK: &str = "OK";

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
    proof: Proof,
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

/// There are no credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// How the last try to load them failed, where there was one.
    pub why: Option<String>,
    /// When they are loaded again; `None` while they are.
    pub again: Option<Duration>,
}

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
        let (cap, proof, calls) = (None, Proof::default(), Calls::default());
        Self { id, key, client, credentials, cap, shared, proof, calls }
    }

    /// The same, with at most so many calls a second and operation of its own.
    #[must_use]
    pub fn with_cap(self, calls: Option<u32>) -> Self {
        Self { cap: calls.map(|calls| Budgets::new(Rate::PerSecond(calls))), ..self }
    }

    /// The same, ringing this when its credentials were rejected or are good again.
    #[must_use]
    pub fn with_bell(self, bell: &Arc<Notify>) -> Self {
        Self { proof: self.proof.with_bell(bell), ..self }
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

    /// What is known of its credentials.
    pub fn proof(&self) -> &Proof {
        &self.proof
    }

    /// Why no call can be made now; `None` where there are credentials. What `ends` something may use credentials that
    /// are there no longer where they came from.
    pub fn missing_credentials(&self, ends: bool) -> Option<Missing> {
        let withdrawn = || self.credentials.source_removed().filter(|_| !ends && self.id != AccountId::OWN);
        let error = match self.credentials.held() {
            CredentialState::Valid => withdrawn()?,
            CredentialState::Missing(error) => error,
            CredentialState::Renewing(before) => {
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
        self.id != AccountId::OWN && self.credentials.source_removed().is_some()
    }

    fn explain(&self, error: &CredentialsError) -> String {
        let AccountKey::Named(key) = &self.key else { return error.to_string() };
        let why = error.tried().iter().map(|(provider, why)| match why {
            ProviderError::NotConfigured(why) => why.clone(),
            ProviderError::Failed(why) => format!("{provider}: {why}"),
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

    /// Waits for a permit for `operation`: of its own cap first, then of what it shares.
    pub async fn permit(&self, operation: Operation) -> Permits {
        let cap = match &self.cap {
            Some(cap) => Some(cap.of(operation).acquire().await),
            None => None,
        };
        Permits { cap, shared: self.budgets().of(operation).acquire().await }
    }

    /// Sends one call with one permit. The only way to the Live API: every call is counted and logged here.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn send(&self, call: &Call, mut permit: Permits) -> Result<Response<Reply>, CallError> {
        let operation = call.operation();
        // Without credentials the permit goes back unused.
        let credentials = self.credentials.current().await;
        let credentials = credentials.map_err(|error| CallError::NoCredentials(self.explain(&error)))?;
        let started = Instant::now();
        permit.mark_sent();
        tracing::debug!(account = %self.key, %operation, "call sent");
        let result = self.client.send(call, &credentials).await;
        let elapsed = started.elapsed();
        let code = result.as_ref().map_or_else(|error| error.class().as_str(), |_| OK);
        self.calls.ended(operation.as_str(), code, elapsed);
        let took = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        match &result {
            Ok(answer) => {
                self.proof.prove();
                permit.complete(PermitOutcome::Answered);
                let request_id = answer.request_id.as_deref().unwrap_or_default();
                tracing::debug!(%operation, took_ms = took, request_id, "call answered");
            }
            Err(error) => {
                let class = error.class();
                permit.complete(match error {
                    CallError::Transport { delivery: Delivery::Unknown, .. } => PermitOutcome::Lost,
                    CallError::Api(api) if class == ErrorClass::Throttled => PermitOutcome::Throttled(api.retry_after),
                    error if error.may_have_arrived() => PermitOutcome::Answered,
                    _ => PermitOutcome::NotSent,
                });
                if error.may_have_arrived() {
                    self.proof.learn(class);
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
                if self.proof.reload(&self.credentials, used).await {
                    return Err(CallError::Resent(RetryHint::NewCredentials, answer));
                }
                self.proof.reject(answer.code.as_deref().unwrap_or_default());
                Err(CallError::Api(answer))
            }
            result => result,
        }
    }
}

#[cfg(test)]
mod tests;
