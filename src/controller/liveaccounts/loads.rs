//! The end of the wait for credentials.

use std::sync::Arc;

use crate::controller::reconciler::Reconciler;

/// Wakes who waits for credentials when they are loaded or known to be missing; never returns.
pub async fn run(reconciler: Arc<Reconciler>) {
    loop {
        for account in reconciler.accounts.loading.next().await {
            let reconciler = Arc::clone(&reconciler);
            tokio::spawn(async move {
                account.loaded().await;
                reconciler.wake_all(reconciler.accounts.loading.end(account.id()));
                reconciler.accounts.bell.notify_one();
            });
        }
    }
}
