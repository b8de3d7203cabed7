//! Whether an account's credentials are good: what calls have shown of them, and who may call before any has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, Notify, OwnedMutexGuard};
use tokio::time::Instant;

use crate::controller::gates::PROBE_INTERVAL;
use crate::controller::locked::locked;
use crate::live::Credentials;
use crate::live::ErrorClass;
use crate::live::credentials::CredentialSource;

/// What is known of an account's credentials.
#[derive(Debug, Default)]
pub struct Proof {
    proven: AtomicBool,
    proving: Arc<Mutex<()>>,
    /// Held while rejected credentials are loaded again: nobody runs into the same refusal meanwhile.
    reloading: Mutex<()>,
    rejected: std::sync::Mutex<Option<Rejected>>,
    /// Rung when the credentials were rejected, or are good again.
    bell: Arc<Notify>,
}

/// The service has rejected the credentials.
#[derive(Debug)]
struct Rejected {
    message: String,
    at: Instant,
}

/// The right to make a call while the credentials are not proven yet: one at a time.
#[derive(Debug)]
pub struct Turn(Option<OwnedMutexGuard<()>>);

impl Proof {
    /// The same, ringing this when the credentials were rejected or are good again.
    pub fn with_bell(self, bell: &Arc<Notify>) -> Self {
        Self { bell: Arc::clone(bell), ..self }
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

    /// Waits for this caller's turn: until a call has shown that the credentials are good, only one is out, so that a
    /// wrong secret costs one call and not as many as fit into a round trip.
    pub async fn turn(&self) -> Turn {
        drop(self.reloading.lock().await);
        if self.is_proven() {
            return Turn(None);
        }
        let turn = Arc::clone(&self.proving).lock_owned().await;
        Turn((!self.is_proven()).then_some(turn))
    }

    /// Loads credentials again that were rejected; whether there are others now.
    pub async fn reload(&self, source: &CredentialSource, used: &Credentials) -> bool {
        let _reloading = self.reloading.lock().await;
        source.reload(used).await
    }

    /// A call has shown that the credentials are good.
    pub fn prove(&self) {
        let before = self.proven.swap(true, Ordering::AcqRel);
        let rejected = locked(&self.rejected).take();
        if !before || rejected.is_some() {
            self.bell.notify_one();
        }
    }

    /// The service has rejected the credentials, and there are no others.
    pub fn reject(&self, code: &str) {
        let message = format!("Alibaba Cloud rejected the credentials ({code}): renew the access key or its token");
        let before = locked(&self.rejected).replace(Rejected { message, at: Instant::now() });
        if before.is_none() {
            self.bell.notify_one();
        }
    }

    /// What a call that failed tells of the credentials.
    pub fn learn(&self, class: ErrorClass) {
        match class {
            ErrorClass::CredentialsRejected => self.proven.store(false, Ordering::Release),
            // These are told before or without a look at the signature.
            ErrorClass::Throttled
            | ErrorClass::ServiceError
            | ErrorClass::Unreachable
            | ErrorClass::ClockSkew
            | ErrorClass::NonceUsed
            | ErrorClass::CredentialsMissing
            | ErrorClass::Resent
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
