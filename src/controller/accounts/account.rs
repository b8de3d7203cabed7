//! One account: its credentials, its client and its budgets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep_until};

use super::budgets::{BudgetRegistry, Budgets, Permits, Rate, SharedBudgets, permit_outcome};
use crate::budget::Pace;
use crate::controller::keys::AccountKey;
use crate::controller::leader::Leadership;
use crate::live::credentials::{CredentialSource, CredentialState, CredentialsError, ProviderError};
use crate::live::error::{Delivery, RetryHint};
use crate::live::{
    Call, CallError, Client, Credentials, Endpoint, ErrorClass, Operation, Reply, Response, Service, conceal,
};
use crate::resources::AccountRecord;
use crate::telemetry::metrics::Calls;

/// The value of the metric label `code` for a successful call.
pub const OK: &str = "OK";

/// The operator's own account, or the account of a LiveAccount.
#[derive(Debug)]
pub struct Account {
    key: AccountKey,
    /// The account as `status.account` records it.
    record: Arc<AccountRecord>,
    client: Client,
    credentials: CredentialSource,
    /// The budgets that only this account uses, limited by the LiveAccount's `spec.requestsPerSecond`. Their rate
    /// adapts to throttling.
    own: Arc<Budgets>,
    /// The data that selects the shared budgets; `None` for the operator's own account.
    shared: Option<SharedBudget>,
    /// The budgets that the account shares with other accounts that have the same account ID.
    budgets: Mutex<SharedBudgets>,
    calls: Calls,
    leadership: Leadership,
    /// Whether the details of the endpoint's errors appear only in the log; see [`conceal`].
    conceals_errors: bool,
    /// Whether a task waits for the credentials that are being loaded.
    load_is_watched: AtomicBool,
    /// Locked while rejected credentials are loaded again.
    reloading: tokio::sync::Mutex<()>,
}

/// The data that selects the shared budgets of an account.
#[derive(Debug)]
pub struct SharedBudget {
    /// The budgets of all account IDs.
    pub registry: Arc<BudgetRegistry>,
    /// The account ID. If it is unknown (`None`), the access key ID is used instead.
    pub number: Option<String>,
}

/// The reason why an account cannot be used, and the time of the next attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    /// The text for a condition; `None` while the credentials are loaded for the first time.
    pub why: Option<String>,
    /// The delay until the credentials are loaded again; `None` during a load, or if there is nothing to load.
    pub retry_after: Option<Duration>,
}

/// The result of a call, before rejected credentials are loaded again.
#[derive(Debug)]
pub struct Sent {
    result: Result<Response<Reply>, CallError>,
    /// The credentials that signed the call; `None` if no credentials were available.
    credentials: Option<Credentials>,
}

impl Sent {
    /// Whether the service rejected the credentials.
    pub fn is_rejected(&self) -> bool {
        matches!(&self.result, Err(CallError::Api(answer)) if answer.class() == ErrorClass::CredentialsRejected)
    }
}

impl Account {
    /// Creates the operator's own account, with new budgets.
    pub fn new(client: Client, credentials: CredentialSource, rate: Rate) -> Self {
        Self::build(AccountKey::Operator, client, credentials, None, Budgets::new(rate))
    }

    /// Creates the account of a LiveAccount.
    pub fn of_live_account(
        key: AccountKey,
        client: Client,
        credentials: CredentialSource,
        shared: SharedBudget,
    ) -> Self {
        let registry = &shared.registry;
        let budgets = match &shared.number {
            Some(number) => registry.get(number, client.endpoint().service()),
            None => registry.unshared(),
        };
        Self::build(key, client, credentials, Some(shared), budgets)
    }

    fn build(
        key: AccountKey,
        client: Client,
        credentials: CredentialSource,
        shared: Option<SharedBudget>,
        budgets: Arc<Budgets>,
    ) -> Self {
        let service = client.endpoint().service().to_string();
        let name = key.live_account_name().unwrap_or_default().to_owned();
        Self {
            key,
            record: Arc::new(AccountRecord { service, name, uid: String::new() }),
            client,
            credentials,
            own: Budgets::new(budgets.limit()),
            shared,
            budgets: Mutex::new(SharedBudgets::new(budgets)),
            calls: Calls::default(),
            leadership: Leadership::always(),
            conceals_errors: false,
            load_is_watched: AtomicBool::new(false),
            reloading: tokio::sync::Mutex::default(),
        }
    }

    /// Limits this account to `calls` calls per second for each operation.
    #[must_use]
    pub fn with_cap(self, calls: Option<u32>) -> Self {
        match calls {
            Some(calls) => Self { own: Budgets::new(Rate::PerSecond(calls)), ..self },
            None => self,
        }
    }

    /// Continues with the budgets of `former`, the account of the same LiveAccount before an edit.
    #[must_use]
    pub fn succeeding(mut self, former: &Self) -> Self {
        if self.service() != former.service() {
            return self;
        }
        if self.own.limit() == former.own.limit() {
            self.own = Arc::clone(&former.own);
        }
        let mut budgets = former.budgets.lock().clone();
        // Without an account ID, the access key ID selects the budgets as soon as the access key is known.
        if self.shared.as_ref().is_some_and(|shared| shared.number.is_some()) {
            budgets.switch_to(Arc::clone(self.budgets.get_mut().current()), Instant::now());
        }
        self.budgets = Mutex::new(budgets);
        self
    }

    /// Sets the uid of the LiveAccount.
    #[must_use]
    pub fn with_uid(mut self, uid: &str) -> Self {
        uid.clone_into(&mut Arc::make_mut(&mut self.record).uid);
        self
    }

    /// Makes calls only while this process leads.
    #[must_use]
    pub fn led_by(self, leadership: &Leadership) -> Self {
        Self { leadership: leadership.clone(), ..self }
    }

    /// Whether this process leads.
    pub fn leadership(&self) -> &Leadership {
        &self.leadership
    }

    /// Counts the calls of this account in `calls`.
    #[must_use]
    pub fn counted_by(self, calls: &Calls) -> Self {
        Self { calls: calls.clone(), ..self }
    }

    /// Hides the details of the endpoint's errors, because a user chose the endpoint.
    #[must_use]
    pub fn concealing_errors(self) -> Self {
        Self { conceals_errors: true, ..self }
    }

    /// The key of the account.
    pub fn key(&self) -> &AccountKey {
        &self.key
    }

    /// The account as `status.account` records it.
    pub fn record(&self) -> &Arc<AccountRecord> {
        &self.record
    }

    /// The service that the account calls.
    pub fn service(&self) -> &Service {
        self.client.endpoint().service()
    }

    /// A client for another endpoint with the options of this account's client.
    pub fn client_for(&self, endpoint: Endpoint) -> Client {
        self.client.for_endpoint(endpoint)
    }

    /// The source of the account's credentials.
    pub fn credentials(&self) -> &CredentialSource {
        &self.credentials
    }

    /// The ID of the access key in use; `None` if no credentials are loaded.
    pub fn access_key_id(&self) -> Option<String> {
        self.credentials.held_key_id()
    }

    /// The budgets that the account shares with other accounts that have the same account ID.
    pub fn budgets(&self) -> Arc<Budgets> {
        Arc::clone(self.shared_budgets().current())
    }

    fn shared_budgets(&self) -> MutexGuard<'_, SharedBudgets> {
        let mut budgets = self.budgets.lock();
        // Look up the budgets at every call. If this account uses the operator's access key, it shares the operator's
        // budgets as soon as that key is known.
        if let Some(shared) = self.shared.as_ref().filter(|shared| shared.number.is_none())
            && let Some(key_id) = self.access_key_id()
        {
            budgets.switch_to(shared.registry.get(&key_id, self.client.endpoint().service()), Instant::now());
        }
        budgets
    }

    /// The current rate in calls per second: the lower of the account's own rate and the shared rate. `None` if neither
    /// rate is limited.
    pub fn rate(&self, operation: Operation) -> Option<f64> {
        let (own, shared) = (self.own.of(operation).rate(), self.budgets().of(operation).rate());
        own.into_iter().chain(shared).reduce(f64::min)
    }

    /// Returns how fast waiting calls can be sent.
    pub fn pace(&self, operation: Operation) -> Pace {
        let first = Pace { delay: self.leadership.until_first_permit(Instant::now()), per_second: None };
        first.and(self.own.of(operation).pace()).and(self.budgets().of(operation).pace())
    }

    /// The number of permits in use in the account's own budget; `None` if the budget has no limit.
    pub fn permits_in_use(&self, operation: Operation) -> Option<u32> {
        self.own.of(operation).permits_in_use()
    }

    /// Returns the reason why no call can be made now, or `None` if credentials are available. A deletion may use
    /// credentials whose source was removed.
    pub fn unavailable(&self, for_deletion: bool) -> Option<Unavailable> {
        let removed =
            || self.credentials.source_removed().filter(|_| !for_deletion && self.key != AccountKey::Operator);
        let error = match self.credentials.held() {
            CredentialState::Valid => removed()?,
            CredentialState::Missing(error) => error,
            CredentialState::Renewing(before) => {
                return Some(Unavailable { why: before.map(|error| self.explain(&error)), retry_after: None });
            }
        };
        Some(Unavailable { why: Some(self.explain(&error)), retry_after: Some(self.credentials.next_try()) })
    }

    /// Waits until the load of the credentials has ended. Returns immediately if valid credentials are available.
    pub async fn wait_loaded(&self) {
        drop(self.credentials.current().await);
    }

    /// Marks that a task waits for the load. Returns `false` if another task already waits for it.
    pub fn watch_load(&self) -> bool {
        !self.load_is_watched.swap(true, Ordering::AcqRel)
    }

    /// Clears the mark that [`Account::watch_load`] set. Must be called after the load has ended.
    pub fn load_ended(&self) {
        self.load_is_watched.store(false, Ordering::Release);
    }

    /// Whether the source of a LiveAccount's credentials was removed. If it was, only deletions may use the credentials
    /// that are still loaded.
    pub fn source_removed(&self) -> bool {
        self.key != AccountKey::Operator && self.credentials.source_removed().is_some()
    }

    fn explain(&self, error: &CredentialsError) -> String {
        let Some(name) = self.key.live_account_name() else { return error.to_string() };
        let why = error.tried().iter().map(|(provider, why)| match why {
            ProviderError::NotConfigured(why) => why.clone(),
            ProviderError::Failed(why) => format!("{provider}: {why}"),
        });
        format!("LiveAccount {name} has no credentials: {}", why.collect::<Vec<_>>().join("; "))
    }

    /// The current time according to the service's clock.
    pub fn server_now(&self) -> Option<jiff::Timestamp> {
        self.client.server_now()
    }

    /// Waits for the permits for a call of `operation`, first from the account's own budget and then from the shared
    /// ones. No permit is granted while a call from an earlier process can arrive in the same second as this call.
    pub async fn permit(&self, operation: Operation) -> Permits {
        sleep_until(self.leadership.acquired().await.first_permit_at).await;
        let own = self.own.of(operation).acquire().await;
        let needed = self.shared_budgets().needed(Instant::now());
        let mut shared = Vec::with_capacity(needed.len());
        for budgets in needed {
            shared.push(budgets.of(operation).acquire().await);
        }
        Permits { own, shared }
    }

    /// Sends one call with its permits, and counts and logs the call. Every call to the Live API uses this method. The
    /// caller passes the result to [`Account::reload_if_rejected`].
    pub async fn send(&self, call: &Call, mut permit: Permits) -> Sent {
        let operation = call.operation();
        // The permit is returned unused if there are no credentials.
        let credentials = match self.credentials.current().await {
            Ok(credentials) => credentials,
            Err(error) => {
                let result = Err(CallError::NoCredentials(self.explain(&error)));
                return Sent { result, credentials: None };
            }
        };
        let started = Instant::now();
        if !self.leadership.may_send(started) {
            return Sent { result: Err(no_leader(Delivery::NeverSent)), credentials: Some(credentials) };
        }
        permit.mark_sent();
        tracing::trace!(account = %self.key, %operation, "call sent");
        let sending = self.leadership.while_leading(self.client.send(call, &credentials)).await;
        let result = sending.unwrap_or_else(|| Err(no_leader(Delivery::Unknown)));
        let elapsed = started.elapsed();
        let code = result.as_ref().map_or_else(|error| error.class().as_str(), |_| OK);
        self.calls.ended(operation.as_str(), code, elapsed);
        permit.complete(permit_outcome(&result));
        log_call(&self.key, call, &result, elapsed);
        Sent { result, credentials: Some(credentials) }
    }

    /// Loads the credentials again if the service rejected them. If the new credentials are different, the error is
    /// [`CallError::Resent`] and the caller must repeat the call.
    ///
    /// # Errors
    /// Returns the [`CallError`] of the call.
    pub async fn reload_if_rejected(&self, sent: Sent) -> Result<Response<Reply>, CallError> {
        let result = self.result_after_reload(sent).await;
        if !self.conceals_errors {
            return result;
        }
        result.map_err(|error| {
            tracing::info!(account = %self.key, endpoint = %self.client.endpoint(), %error, "call failed");
            conceal(error)
        })
    }

    async fn result_after_reload(&self, sent: Sent) -> Result<Response<Reply>, CallError> {
        let is_rejected = sent.is_rejected();
        match (sent.result, sent.credentials) {
            (Err(CallError::Api(answer)), Some(used)) if is_rejected => {
                let _reloading = self.reloading.lock().await;
                if self.credentials.reload(&used).await {
                    return Err(CallError::Resent(RetryHint::NewCredentials, answer));
                }
                Err(CallError::Api(answer))
            }
            (result, _) => result,
        }
    }
}

/// Logs a call in one line.
fn log_call(account: &AccountKey, call: &Call, result: &Result<Response<Reply>, CallError>, took: Duration) {
    let operation = call.operation();
    let (app, group) = call.group().map(|group| (&*group.app_id, &*group.group_id)).unzip();
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    match result {
        Ok(Response { status, request_id, .. }) => {
            let request_id = request_id.as_deref();
            tracing::debug!(%account, %operation, app, group, code = OK, status, took_ms, request_id, "call answered");
        }
        Err(error) => {
            let (code, status, request_id) = (error.code(), error.status(), error.request_id());
            tracing::debug!(%account, %operation, app, group, code, status, took_ms, request_id, "call failed");
        }
    }
}

/// The error for a call that is not sent, or is dropped after it was sent, because this process does not lead.
fn no_leader(delivery: Delivery) -> CallError {
    CallError::Transport { delivery, message: "this process is no longer the leader".to_owned() }
}

#[cfg(test)]
mod tests;
