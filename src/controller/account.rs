//! An account as the operator calls it: credentials, client, budgets, and whether its credentials are proven.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;

use crate::budget::{Budget, Fate, Permit};
use crate::live::credentials::{CredentialSource, CredentialsError};
use crate::live::error::{Again, Delivery};
use crate::live::{Answer, Call, CallError, Client, Credentials, ErrorClass, Operation, Reply};

/// Calls a second and operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// 1 to 50.
    PerSecond(u32),
    /// For benchmarks against the emulator only.
    Unlimited,
}

/// The operator's own account.
#[derive(Debug)]
pub struct Account {
    client: Client,
    credentials: CredentialSource,
    /// By operation, in the order of [`Operation::ALL`].
    budgets: [Budget; Operation::ALL.len()],
    proven: AtomicBool,
    proving: Arc<Mutex<()>>,
}

/// The right to make a call while the credentials are not proven yet: one at a time.
#[derive(Debug)]
pub struct Turn(Option<OwnedMutexGuard<()>>);

impl Account {
    /// An account whose budgets start now.
    pub fn new(client: Client, credentials: CredentialSource, rate: Rate) -> Self {
        let budget = || match rate {
            Rate::PerSecond(calls) => Budget::per_second(calls),
            Rate::Unlimited => Budget::unlimited(),
        };
        Self {
            client,
            credentials,
            budgets: Operation::ALL.map(|_| budget()),
            proven: AtomicBool::new(false),
            proving: Arc::default(),
        }
    }

    /// Why no call can be made now, and how long that is the answer; `None` where there are credentials. Waits while
    /// they are being loaded and there are no older ones.
    pub async fn missing_credentials(&self) -> Option<(CredentialsError, Duration)> {
        let error = self.credentials.current().await.err()?;
        Some((error, self.credentials.next_try()))
    }

    /// Now, by the service's clock.
    pub fn server_now(&self) -> jiff::Timestamp {
        self.client.server_now()
    }

    /// Waits for this caller's turn: until a call has shown that the credentials are good, only one is out, so that a
    /// wrong secret costs one call and not as many as fit into a round trip.
    pub async fn turn(&self) -> Turn {
        if self.proven.load(Ordering::Acquire) {
            return Turn(None);
        }
        let turn = Arc::clone(&self.proving).lock_owned().await;
        Turn((!self.proven.load(Ordering::Acquire)).then_some(turn))
    }

    /// Waits for a permit for `operation`.
    pub async fn permit(&self, operation: Operation) -> Permit {
        self.budgets[operation as usize].permit().await
    }

    /// Sends one call with one permit. The only way to the Live API: every call is counted and logged here.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn send(&self, call: &Call, mut permit: Permit) -> Result<Answer<Reply>, CallError> {
        let operation = call.operation();
        // Without credentials the permit goes back unused.
        let credentials = self.credentials.current().await;
        let credentials = credentials.map_err(|error| CallError::NoCredentials(error.to_string()))?;
        let started = Instant::now();
        permit.sending();
        tracing::debug!(%operation, "call sent");
        let result = self.client.send(call, &credentials).await;
        let took = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &result {
            Ok(answer) => {
                self.proven.store(true, Ordering::Release);
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
                let renewed = self.credentials.reload(used).await;
                Err(if renewed { CallError::Again(Again::NewCredentials, answer) } else { CallError::Api(answer) })
            }
            result => result,
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
                self.proven.store(true, Ordering::Release)
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

#[cfg(test)]
mod tests;
