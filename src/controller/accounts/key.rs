//! Names of accounts.

use std::fmt;

use crate::controller::key::Key;
use crate::live::Operation;
use crate::resources::LiveMessageGroup;

/// Whose credentials calls are made with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AccountKey {
    /// The operator's own.
    Own,
    /// Those of a LiveAccount.
    Named(Key),
}

impl AccountKey {
    /// What metrics call the operator's own. The name of every other one has a slash.
    pub const OWN_LABEL: &'static str = "operator";

    /// What an object asks for: always something of its own namespace.
    pub fn of(object: &LiveMessageGroup) -> Self {
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        object.spec.account_ref.as_ref().map_or(Self::Own, |account| Self::Named(Key::new(namespace, &account.name)))
    }

    /// What metrics call it.
    pub fn label(&self) -> String {
        match self {
            Self::Own => Self::OWN_LABEL.to_owned(),
            Self::Named(key) => key.to_string(),
        }
    }

    /// A name within this account: apps, permissions and free places are its own. A LiveAccount's name has a slash and an
    /// app's has none, so that no two of them are the same.
    pub fn scoped(&self, name: &str) -> String {
        match self {
            Self::Own => name.to_owned(),
            Self::Named(key) => format!("{key}|{name}"),
        }
    }
}

impl fmt::Display for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("the operator's own"),
            Self::Named(key) => key.fmt(f),
        }
    }
}

/// A number for an account, as long as the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(pub u32);

impl AccountId {
    /// The operator's own.
    pub const OWN: Self = Self(0);
}

/// What an object waits for a permit of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The account.
    pub account: AccountId,
    /// The operation.
    pub operation: Operation,
}
