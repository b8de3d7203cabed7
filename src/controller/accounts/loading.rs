//! Who waits while credentials are being loaded. To load them may take as long as a call to STS may: no worker waits for
//! it, or a few accounts whose credentials do not come would hold up all others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::account::Account;
use super::key::AccountId;
use crate::controller::key::Key;
use crate::controller::line::Line;
use crate::controller::locked::locked;

/// The accounts whose credentials are being loaded, and who waits for them.
#[derive(Debug, Default)]
pub struct Loading {
    state: Mutex<State>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct State {
    begun: Vec<Arc<Account>>,
    waiting: HashMap<AccountId, Line<Key>>,
}

impl Loading {
    /// The account's credentials are being loaded; the object is woken when that has ended, well or not.
    pub fn wait(&self, account: &Arc<Account>, object: Option<&Key>) {
        let mut state = locked(&self.state);
        let known = state.waiting.contains_key(&account.id());
        let waiting = state.waiting.entry(account.id()).or_default();
        object.into_iter().for_each(|object| waiting.push(object));
        if !known {
            state.begun.push(Arc::clone(account));
            self.bell.notify_one();
        }
    }

    /// Waits for accounts whose credentials somebody has begun to wait for.
    pub async fn next(&self) -> Vec<Arc<Account>> {
        loop {
            let begun = std::mem::take(&mut locked(&self.state).begun);
            if !begun.is_empty() {
                return begun;
            }
            self.bell.notified().await;
        }
    }

    /// They are loaded or known to be missing; who waited for them, in the order in which they came.
    pub fn end(&self, account: AccountId) -> Vec<Key> {
        locked(&self.state).waiting.remove(&account).map_or_else(Vec::new, |mut waiting| waiting.take(usize::MAX))
    }
}
