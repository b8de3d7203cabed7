//! Whether a call may be sent now, as far as it is not the budget's question.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::accounts::{Account, AccountKey, Missing, Slot, untold};
use super::causes::gates_of;
use super::gates::Passage;
use super::index::App;
use super::key::Key;
use super::pass::{PARKED, Pass, jittered};
use super::places::Fit;
use super::queue::Next;
use super::reconciler::Reconciler;
use super::wanted::Want;
use crate::decide::{Verdict, is_observed};
use crate::live::Call;
use crate::resources::{ConditionStatus, ConditionType, LiveMessageGroup, Reason};

/// An object that waits for a count of its app's groups is woken by it; this is only the net below.
const COUNTING: Duration = Duration::from_secs(60);

/// An object that waits while credentials are being loaded is woken when that has ended; this is only the net below.
const LOADING: Duration = Duration::from_secs(60);

/// An object that waits for a LiveAccount or its Secret is woken when they come. It looks by itself once more, when
/// waiting has become a fault.
const GRACE: Duration = Duration::from_secs(160);

/// What may be done about a call.
pub(super) enum Permission {
    /// It may be sent, with a permit.
    Granted(Arc<Account>),
    /// Not now; nothing is told.
    Later(Duration),
    /// Not now, and the status says why.
    Waiting(Box<Verdict>, Next<Slot>),
}

impl Reconciler {
    /// Whether a call may be sent now.
    pub(super) async fn may_call(
        &self,
        key: &Key,
        object: &LiveMessageGroup,
        pass: &mut Pass,
        call: &Call,
    ) -> Permission {
        let name = AccountKey::of(object);
        let account = match self.accounts.get(&name, object.is_deleting()) {
            Ok(account) => account,
            Err(why) => return self.without_credentials(key, object, pass, (why, PARKED)),
        };
        if let Some(Missing { why, again }) = account.missing_credentials(object.is_deleting()) {
            if again.is_none() {
                self.accounts.loading.wait(&account, Some(key));
            }
            let Some(why) = why else { return Permission::Later(LOADING) };
            return self.without_credentials(key, object, pass, (why, again.unwrap_or(LOADING)));
        }
        pass.without_since = None;
        let now = Instant::now().into_std();
        if let Some(wait) = self.holds().wait(pass.identity(), object, call, now) {
            return Permission::Later(wait);
        }
        let mut gates = gates_of(call, &name);
        let passage = {
            let mut shut = self.gates();
            // After an edit the work may be another one, and end elsewhere.
            if is_observed(object) {
                let ahead = shut.ahead_of(key);
                gates.extend(ahead.into_iter().filter(|gate| !gates.contains(gate)).collect::<Vec<_>>());
            }
            if object.reconcile_is_requested() {
                shut.hasten(&gates, key);
            }
            shut.pass(&gates, key, now)
        };
        match passage {
            Passage::Free => self.may_have_a_place(key, object, pass, (call, account)),
            Passage::Shut(reason, message) => {
                // It may have been the prober of another gate, which wants a new one now.
                self.gate_bell.notify_one();
                Permission::Waiting(Box::new(Verdict::waiting(reason, message, &pass.facts)), Next::After(PARKED))
            }
        }
    }

    /// Nothing can be sent, for this reason and this long.
    fn without_credentials(
        &self,
        key: &Key,
        object: &LiveMessageGroup,
        pass: &mut Pass,
        (why, wait): (String, Duration),
    ) -> Permission {
        let name = AccountKey::of(object);
        let next = if name == AccountKey::Own {
            wait.max(Duration::from_secs(1))
        } else {
            // One looks for all that wait.
            self.accounts.wait(&name, key);
            let since = *pass.without_since.get_or_insert_with(Instant::now);
            if let Some(left) = untold(since) {
                return Permission::Later(left);
            }
            let stalled = object.condition(ConditionType::Stalled);
            let told = stalled.is_some_and(|stalled| {
                ConditionStatus::of(stalled) == ConditionStatus::True
                    && stalled.reason == Reason::CredentialsMissing.as_str()
            });
            if told { PARKED } else { GRACE }
        };
        let verdict = Verdict::waiting(Reason::CredentialsMissing, why, &pass.facts);
        Permission::Waiting(Box::new(verdict), Next::After(jittered(next)))
    }

    /// Whether a new group would fit into its app, as far as that is known without a call of the object's own.
    fn may_have_a_place(
        &self,
        key: &Key,
        object: &LiveMessageGroup,
        pass: &Pass,
        (call, account): (&Call, Arc<Account>),
    ) -> Permission {
        let Call::Create(group, _) = call else { return Permission::Granted(account) };
        let app = App::new(account.key(), &group.app_id);
        let want = match self.places().fit(&app.scope(), &group.group_id, key) {
            Fit::Fits => return Permission::Granted(account),
            Fit::Full { used, limit } => {
                if object.reconcile_is_requested() {
                    // Somebody may have made room: it is counted again, without waiting for the sweep.
                    self.wanted.ask(&app, Want::Count);
                }
                let app = &group.app_id;
                let message = format!(
                    "app {app:?} holds {used} of {limit} groups: delete groups that are not needed; the object goes on \
                     when the next sweep finds a free place (where the quota was raised: --max-groups-per-app)"
                );
                let verdict = Verdict::waiting(Reason::QuotaExceeded, message, &pass.facts);
                return Permission::Waiting(Box::new(verdict), Next::After(PARKED));
            }
            Fit::Unknown => Want::Count,
            Fit::Unlisted => Want::List,
        };
        self.wanted.ask(&app, want);
        Permission::Later(COUNTING)
    }
}
