//! Runs the preflight of a call, and sends the call.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::Reconcile;
use crate::controller::accounts::Unavailable;
use crate::controller::keys::AccountKey;
use crate::controller::pass::{Input, NoCredentials, Preflight};
use crate::controller::scheduler::CallRequest;
use crate::live::Call;

/// If a call has no answer after this time, the status reports that the call is in flight. Without this report,
/// `Ready=True` for an older generation would hide the pending change.
const REPORT_AFTER: Duration = Duration::from_secs(2);

impl Reconcile {
    pub(super) async fn preflight(&mut self, call: &Call) -> Input {
        let Some(object) = self.pass.object() else { return Input::Gone };
        let account_key = AccountKey::of(object);
        if !self.context.scheduler.with(|scheduler, _| scheduler.permits(self.key.namespace(), &account_key)) {
            return Input::Preflight(Preflight::NotPermitted);
        }
        let account = match self.context.accounts.usable(&account_key, object.is_deleting()) {
            Ok(account) => account,
            Err(Unavailable { why, retry_after }) => {
                return Input::Preflight(Preflight::NoCredentials(NoCredentials {
                    account: account_key,
                    why,
                    retry_after,
                }));
            }
        };
        let span = tracing::Span::current();
        span.record("account", tracing::field::display(&account_key));
        span.record("operation", call.operation().as_str());
        // A permit for another call, or for an account that was replaced, is returned unused.
        self.permit = self.permit.take().filter(|permit| permit.fits(call, &account));
        let has_permit = self.permit.is_some();
        let pace = account.pace(call.operation());
        let request = CallRequest { object, call, account: &account_key, has_permit, pace };
        let answer = self.context.scheduler.with(|scheduler, now| scheduler.preflight(&self.key, request, now));
        self.record = Some(Arc::clone(account.record()));
        self.account = Some(account);
        if let Preflight::NeedsPermit { .. } = answer {
            self.permit = None;
        }
        Input::Preflight(answer)
    }

    /// Sends the call. If there is no answer after 2 s, the status reports that the call is in flight.
    pub(super) async fn send(&mut self, call: &Call) -> Input {
        let (Some(account), Some(permit)) = (self.account.as_ref().map(Arc::clone), self.permit.take()) else {
            return Input::Gone;
        };
        let mut sending = Box::pin(account.send(call, permit.permits));
        let (sent, progress) = match timeout(REPORT_AFTER, &mut sending).await {
            Ok(sent) => (sent, None),
            Err(_) => {
                let text = format!("The Live API has not responded to {} yet. No action is needed.", call.operation());
                tokio::join!(sending, self.write_progress(&text))
            }
        };
        if sent.is_rejected() {
            // Other calls must not use these credentials until they have been loaded again.
            let key = account.key();
            self.context.scheduler.with(|scheduler, now| scheduler.suspend_credentials(&self.key, key, now));
        }
        let result = account.reload_if_rejected(sent).await;
        self.context
            .scheduler
            .with(|scheduler, now| scheduler.record_answer(&self.key, call, account.key(), &result, now));
        Input::Answer { result, progress }
    }
}
