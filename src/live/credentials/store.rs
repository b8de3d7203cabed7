//! Stores credentials and renews them before they expire.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::watch;
use tokio::time::Instant;

use super::lease::{LONGEST_WAIT, Lease, Step, backoff, step};
use super::{Chain, Credentials, CredentialsError, Issued, Provider, ProviderError};

/// The minimum interval between reloads of rejected credentials. STS issues a new key for every reload. Without this
/// limit, the operator would reload credentials and repeat the call endlessly if the Live API rejected every new key.
const RELOAD_INTERVAL: Duration = Duration::from_secs(30);

/// The source of an account's credentials. All clones share the same credentials.
///
/// At most one renewal runs at a time. Callers wait for it only while there are no valid credentials.
#[derive(Debug, Clone)]
pub struct CredentialSource {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    chain: Chain,
    /// The longest delay after a failed renewal.
    longest_wait: Duration,
    state: Mutex<State>,
    /// Incremented at the end of every renewal.
    rounds: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<(Credentials, Lease)>,
    failure: Option<RenewalFailure>,
    renewing: bool,
    reloaded: Option<Instant>,
}

/// The failure of the last renewal.
#[derive(Debug)]
struct RenewalFailure {
    error: CredentialsError,
    failures: u32,
    next_try: Instant,
}

enum Look {
    Have(Credentials),
    Failed(CredentialsError),
    Wait,
}

/// Whether credentials are available.
#[derive(Debug)]
pub enum CredentialState {
    /// There are valid credentials.
    Valid,
    /// There are no valid credentials: the last renewal failed, and the next one is not due.
    Missing(CredentialsError),
    /// There are no valid credentials yet: a renewal is running. Contains the error of the previous renewal, if it
    /// failed.
    Renewing(Option<CredentialsError>),
}

#[derive(Debug)]
struct Fixed(Credentials);

impl Provider for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }

    fn issue(&self) -> futures::future::BoxFuture<'_, Result<Issued, ProviderError>> {
        Box::pin(std::future::ready(Ok(Issued::non_expiring(self.0.clone()))))
    }
}

impl CredentialSource {
    /// Creates a source that requests credentials from `chain` when they are first needed.
    pub fn new(chain: Chain) -> Self {
        Self::with_longest_wait(chain, LONGEST_WAIT)
    }

    /// Creates the same source as [`CredentialSource::new`], but with the given longest delay after a failed renewal.
    pub fn with_longest_wait(chain: Chain, longest_wait: Duration) -> Self {
        let shared = Shared { chain, longest_wait, state: Mutex::default(), rounds: watch::Sender::new(0) };
        Self { shared: Arc::new(shared) }
    }

    /// Creates a source of credentials that never change.
    pub fn fixed(credentials: Credentials) -> Self {
        Self::new(Chain::of(vec![Box::new(Fixed(credentials))]))
    }

    /// Returns the current credentials. Waits for a renewal only if there are no valid credentials.
    ///
    /// # Errors
    /// Returns an error if there are no valid credentials and the renewal fails. The error lists the providers that
    /// were tried, with the reasons for their failures. The same error is returned immediately until the next attempt
    /// is due (see [`CredentialSource::next_try`]).
    pub async fn current(&self) -> Result<Credentials, CredentialsError> {
        let mut rounds = self.shared.rounds.subscribe();
        loop {
            match self.look() {
                Look::Have(credentials) => return Ok(credentials),
                Look::Failed(error) => return Err(error),
                // The sender lives as long as `self`, so `changed` does not fail.
                Look::Wait => drop(rounds.changed().await),
            }
        }
    }

    /// Reports whether there are valid credentials. Does not wait for a renewal, but starts one if it is due.
    pub fn held(&self) -> CredentialState {
        match self.look() {
            Look::Have(_) => CredentialState::Valid,
            Look::Failed(error) => CredentialState::Missing(error),
            Look::Wait => {
                CredentialState::Renewing(self.shared.state().failure.as_ref().map(|failure| failure.error.clone()))
            }
        }
    }

    /// Reloads credentials that the service rejected. Returns whether the source has different credentials now.
    ///
    /// Concurrent callers share one reload. A reload starts at most once every 30 seconds.
    pub async fn reload(&self, rejected: &Credentials) -> bool {
        let mut rounds = self.shared.rounds.subscribe();
        {
            let mut state = self.shared.state();
            if state.has_other_than(rejected) {
                return true;
            }
            let now = Instant::now();
            if !state.renewing {
                if state.reloaded.is_some_and(|at| now < at + RELOAD_INTERVAL) {
                    return false;
                }
                state.reloaded = Some(now);
                self.start(&mut state);
            }
        }
        drop(rounds.changed().await);
        self.shared.state().has_other_than(rejected)
    }

    /// Returns the time until the next attempt after a failed renewal, or zero if the last renewal succeeded.
    pub fn next_try(&self) -> Duration {
        let state = self.shared.state();
        state.failure.as_ref().map_or(Duration::ZERO, |failure| failure.next_try - Instant::now())
    }

    /// Returns the access key ID of the current credentials.
    pub fn held_key_id(&self) -> Option<String> {
        self.shared.state().held.as_ref().map(|(held, _)| held.access_key_id().to_owned())
    }

    /// Returns the error of the last renewal if no provider is configured. The current credentials may still be valid.
    /// They may be used to finish existing work, but not to start new work.
    pub fn source_removed(&self) -> Option<CredentialsError> {
        let state = self.shared.state();
        let error = state.failure.as_ref().map(|failure| &failure.error)?;
        error.tried.iter().all(|(_, why)| matches!(why, ProviderError::NotConfigured(_))).then(|| error.clone())
    }

    fn look(&self) -> Look {
        let mut state = self.shared.state();
        let now = Instant::now();
        let next_try = state.failure.as_ref().map(|failure| failure.next_try);
        let step = step(now, state.held.as_ref().map(|(_, lease)| lease), next_try);
        if matches!(step, Step::UseAndRenew | Step::Renew) {
            self.start(&mut state);
        }
        match (step, &state.held, &state.failure) {
            (Step::Use | Step::UseAndRenew, Some((credentials, _)), _) => Look::Have(credentials.clone()),
            (Step::GiveUp, _, Some(failure)) => Look::Failed(failure.error.clone()),
            _ => Look::Wait,
        }
    }

    /// Starts a renewal unless one is running. The renewal is a separate task, so it continues even if the caller's
    /// future is dropped.
    fn start(&self, state: &mut State) {
        if std::mem::replace(&mut state.renewing, true) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let issued = std::panic::AssertUnwindSafe(shared.chain.issue()).catch_unwind().await;
            let issued = issued.unwrap_or_else(|_| Err(CredentialsError::panicked()));
            shared.end_round(issued, Instant::now());
        });
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A poisoned lock is ignored, because a panic cannot leave the state partially changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_round(&self, issued: Result<(Issued, &'static str), CredentialsError>, now: Instant) {
        {
            let mut state = self.state();
            state.renewing = false;
            match issued {
                Ok((issued, provider)) => state.take(issued, provider, now),
                Err(error) => state.fail(error, now, self.longest_wait),
            }
        }
        self.rounds.send_modify(|round| *round += 1);
    }
}

impl State {
    fn has_other_than(&self, rejected: &Credentials) -> bool {
        self.held.as_ref().is_some_and(|(held, lease)| !held.same_as(rejected) && !lease.has_ended(Instant::now()))
    }

    fn take(&mut self, issued: Issued, provider: &'static str, now: Instant) {
        let lease = Lease::new(now, issued.lifetime, fastrand::f64()).looked_at_again(now, issued.refresh_after);
        let seconds = issued.lifetime.map(|lifetime| lifetime.as_secs());
        let first = self.held.is_none() || self.failure.is_some();
        self.held = Some((issued.credentials, lease));
        self.failure = None;
        if first {
            tracing::info!(provider, expire_in_seconds = seconds, "credentials loaded");
        } else {
            tracing::debug!(provider, expire_in_seconds = seconds, "credentials renewed");
        }
    }

    fn fail(&mut self, error: CredentialsError, now: Instant, longest_wait: Duration) {
        let failures = self.failure.as_ref().map_or(0, |failure| failure.failures);
        let wait = backoff(failures, fastrand::f64()).min(longest_wait);
        match &self.held {
            Some((_, lease)) if !lease.has_ended(now) => tracing::warn!(
                %error,
                valid_for_seconds = lease.remaining(now).map(|left| left.as_secs()),
                "the credentials could not be renewed; the current ones are used until they expire"
            ),
            _ => tracing::warn!(%error, "no credentials are available; objects report CredentialsMissing"),
        }
        self.failure = Some(RenewalFailure { error, failures: failures.saturating_add(1), next_try: now + wait });
    }
}

#[cfg(test)]
mod tests;
