//! Sends the requests of leader election to the apiserver.

use std::hash::{BuildHasher as _, RandomState};
use std::mem::discriminant;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, PostParams};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Leadership;
use super::election::{Election, LeaseName, Role, Write};
use super::settings::ElectionSettings;
use crate::resources::FIELD_MANAGER;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::LeaderLabels;

/// The number of attempts to release the Lease during a shutdown: one write, and a second one after a conflict.
const RELEASE_ATTEMPTS: usize = 2;

/// The process lost the Lease and must stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the process lost the lease {namespace}/{name} and exits: Kubernetes restarts the container as a standby; if this \
     happens often, check how long the apiserver takes to respond"
)]
pub struct LeaseLost {
    /// The namespace of the Lease.
    pub namespace: String,
    /// The name of the Lease.
    pub name: String,
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the apiserver did not respond in time")]
    Timeout,
    #[error(
        "the operator is not permitted to get, create or update leases in the namespace: install the Role of the chart \
         for leases.coordination.k8s.io"
    )]
    Forbidden,
    #[error(
        "the namespace of the lease does not exist: create the namespace, or set --leader-elect-resource-namespace to \
         an existing namespace"
    )]
    NoNamespace,
    #[error("{0}")]
    Kube(Box<kube::Error>),
}

/// Returns an identity that no other process has. `host` is the name of the pod or the machine. A restarted container
/// also gets a new identity, because calls from its predecessor may still arrive.
pub fn identity(host: &str) -> String {
    format!("{host}_{:016x}", RandomState::new().hash_one(host))
}

/// Acquires, renews and releases the Lease.
pub struct Elector {
    api: Api<Lease>,
    name: LeaseName,
    election: Election,
    leadership: Leadership,
    metrics: Arc<Metrics>,
    /// The state that was last logged: whether this process leads, and the identity of the holder.
    reported: (bool, Option<String>),
    /// Why the last attempt failed; `None` if it succeeded.
    failure: Option<Failure>,
}

impl Elector {
    /// Creates an elector, and a handle that reports whether the process leads. Use the function [`identity`] to create
    /// the identity.
    pub fn new(
        client: kube::Client,
        name: LeaseName,
        identity: String,
        settings: ElectionSettings,
        metrics: Arc<Metrics>,
    ) -> (Self, Leadership) {
        let leadership = Leadership::standby();
        let elector = Self {
            api: Api::namespaced(client, &name.namespace),
            election: Election::new(identity, name.clone(), settings),
            name,
            leadership: leadership.clone(),
            metrics,
            reported: (false, None),
            failure: None,
        };
        elector.set_metric(false);
        (elector, leadership)
    }

    /// Acquires the Lease and renews it until `may_release` is canceled, then releases it. Before you cancel
    /// `may_release`, write the outcomes of all calls to the status, and wait until no call can still arrive.
    ///
    /// # Errors
    /// Returns an error if the process lost the Lease. The process must then exit without sending anything else.
    pub async fn run(mut self, may_release: CancellationToken) -> Result<(), LeaseLost> {
        loop {
            let started = Instant::now();
            let attempt = self.attempt().await;
            let role = self.election.role(Instant::now().into_std());
            self.leadership.update(role);
            self.report(attempt, role);
            let next = self.election.next_attempt(started.into_std(), Instant::now().into_std(), fastrand::f64());
            tokio::select! {
                biased;
                () = self.leadership.deposed() => return Err(self.lost()),
                () = may_release.cancelled() => return self.release().await,
                () = sleep_until(Instant::from_std(next)) => {}
            }
        }
    }

    /// Attempts once to acquire or renew the Lease. If the last observed Lease permits a write, the process writes
    /// without reading the Lease first, as the leader does in client-go. If it may not write, or if the write fails
    /// with a conflict, it reads the Lease and checks again whether it may write.
    async fn attempt(&mut self) -> Result<(), Failure> {
        if self.claim().await? {
            return Ok(());
        }
        self.read().await?;
        // After a second conflict, the next attempt tries again.
        self.claim().await.map(drop)
    }

    async fn read(&mut self) -> Result<(), Failure> {
        let read = send(self.request_timeout(), self.api.get_opt(&self.name.name)).await?;
        self.election.observe(read, Instant::now().into_std());
        Ok(())
    }

    /// Writes the Lease if this process may claim it. Returns whether the write succeeded.
    async fn claim(&mut self) -> Result<bool, Failure> {
        // The renew deadline counts from here: the apiserver may store the write at any time after this.
        let sent = Instant::now().into_std();
        let Some(write) = self.election.claim(sent, Timestamp::now()) else { return Ok(false) };
        let Some(written) = self.write(&write).await? else { return Ok(false) };
        self.election.written(written, sent, Instant::now().into_std());
        Ok(true)
    }

    /// Sends a write. Returns `None` if the stored Lease has changed or was deleted.
    ///
    /// A leader recreates a deleted Lease, as client-go does. A standby that saw the Lease before its deletion does not
    /// take over before the leader's renew deadline. A standby that never saw the Lease may create a new one first. The
    /// leader's create then fails with a conflict.
    async fn write(&self, write: &Write) -> Result<Option<Lease>, Failure> {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let Write { lease, is_new } = write;
        let answer = if *is_new {
            send(self.request_timeout(), self.api.create(&params, lease)).await
        } else {
            send(self.request_timeout(), self.api.replace(&self.name.name, &params, lease)).await
        };
        match answer {
            Ok(written) => Ok(Some(written)),
            Err(Failure::Kube(error)) => match *error {
                kube::Error::Api(status) if status.is_conflict() || status.is_already_exists() => Ok(None),
                kube::Error::Api(status) if status.is_not_found() && *is_new => Err(Failure::NoNamespace),
                kube::Error::Api(status) if status.is_not_found() => Ok(None),
                other => Err(Failure::Kube(Box::new(other))),
            },
            Err(failure) => Err(failure),
        }
    }

    fn request_timeout(&self) -> Duration {
        self.election.request_timeout(Instant::now().into_std())
    }

    /// Logs each new failure and each new holder once.
    fn report(&mut self, attempt: Result<(), Failure>, role: Role) {
        let lease = &self.name;
        let failure = attempt.err();
        if let Some(failure) = &failure
            && self.failure.as_ref().map(discriminant) != Some(discriminant(failure))
        {
            tracing::warn!(%lease, error = %failure, "cannot read or write the lease, retrying");
        }
        self.failure = failure;
        let current = (matches!(role, Role::Leader { .. }), self.election.holder().map(str::to_owned));
        if current == self.reported {
            return;
        }
        self.reported = current;
        let (is_leader, holder) = (self.reported.0, self.reported.1.as_deref().unwrap_or_default());
        if is_leader {
            tracing::info!(%lease, identity = holder, "acquired the lease");
            self.set_metric(true);
        } else if role == Role::Standby && !holder.is_empty() {
            tracing::info!(%lease, holder, "waiting for the lease");
        }
    }

    fn lost(&self) -> LeaseLost {
        self.set_metric(false);
        let holder = self.election.holder().unwrap_or_default();
        tracing::info!(lease = %self.name, holder, "lost the lease");
        LeaseLost { namespace: self.name.namespace.clone(), name: self.name.name.clone() }
    }

    /// Gives up the leadership, and then releases the Lease. If the write fails, a standby waits until the lease
    /// expires.
    async fn release(&mut self) -> Result<(), LeaseLost> {
        self.leadership.give_up();
        self.set_metric(false);
        for _ in 0..RELEASE_ATTEMPTS {
            let now = Instant::now().into_std();
            let Some(lease) = self.election.release(now, Timestamp::now()) else { break };
            match self.write(&Write { lease, is_new: false }).await {
                Ok(Some(_)) => {
                    tracing::info!(lease = %self.name, "released the lease");
                    break;
                }
                Ok(None) => {
                    if self.read().await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    tracing::warn!(lease = %self.name, %error, "cannot release the lease; the standby waits until the lease expires");
                    break;
                }
            }
        }
        Ok(())
    }

    fn set_metric(&self, is_leader: bool) {
        let labels = LeaderLabels { name: self.name.name.clone() };
        self.metrics.leader.set(&labels, f64::from(u8::from(is_leader)));
    }
}

async fn send<T>(longest: Duration, request: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    match timeout(longest, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) if status.is_forbidden() => Err(Failure::Forbidden),
        Ok(Err(error)) => Err(Failure::Kube(Box::new(error))),
        Err(_) => Err(Failure::Timeout),
    }
}
