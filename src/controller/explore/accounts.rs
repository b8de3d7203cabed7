//! The accounts of an explored world: the operator's own, and a LiveAccount whose endpoint may be hostile.

use super::world::{Stored, World};
use crate::controller::keys::{AccountKey, ObjectKey};
use crate::controller::scheduler::AccountState;
use crate::resources::AccountRecord;

/// The account that a call uses, and the service that receives the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum At {
    /// The operator's own account. The Live API receives the call.
    #[default]
    Own,
    /// The LiveAccount. A hostile service receives the call.
    Hostile,
    /// The LiveAccount. The Live API receives the call.
    Rerouted,
}

impl At {
    pub fn record(self) -> AccountRecord {
        let service = if self == Self::Hostile { "live.example.com" } else { "live.aliyuncs.com" };
        let (name, uid) = if self == Self::Own { ("", "") } else { ("team", "team-1") };
        AccountRecord { service: service.to_owned(), name: name.to_owned(), uid: uid.to_owned() }
    }
}

/// The LiveAccount. If `is_rerouted` is true, its endpoint is the Live API. Otherwise, it is a hostile service.
pub fn team(is_rerouted: bool) -> (AccountKey, AccountState) {
    let at = if is_rerouted { At::Rerouted } else { At::Hostile };
    let state = AccountState { service: at.record().service.as_str().into(), is_usable: true, namespaces: None };
    (AccountKey::LiveAccount(ObjectKey::new("ns", "team")), state)
}

/// The accounts that a scheduler knows.
pub fn accounts(is_rerouted: bool) -> Vec<(AccountKey, AccountState)> {
    let own = AccountState { service: At::Own.record().service.as_str().into(), is_usable: true, namespaces: None };
    vec![(AccountKey::Operator, own), team(is_rerouted)]
}

impl World {
    /// The account that a call for this object uses now.
    pub fn account_of(&self, stored: &Stored) -> At {
        match (stored.has_account, self.is_rerouted) {
            (false, _) => At::Own,
            (true, false) => At::Hostile,
            (true, true) => At::Rerouted,
        }
    }
}
