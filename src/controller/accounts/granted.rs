//! A permit on its way to the object that it is for.

use std::sync::Arc;

use super::account::Account;
use super::limits::Permits;
use crate::live::{Call, Operation};

/// A permit for a call of this operation of this account.
pub struct Granted {
    /// The account.
    pub account: Arc<Account>,
    /// The operation.
    pub operation: Operation,
    /// The permits.
    pub permits: Permits,
    /// Whether the credentials were proven when it was granted; else it is the one call that proves them.
    pub proven: bool,
}

impl Granted {
    /// The permits, where they are for this call; else they go back. Those for credentials that were rejected since go
    /// back too: whoever has not sent yet does not run into the same refusal.
    pub fn for_call(self, call: &Call, account: &Arc<Account>) -> Option<Permits> {
        let rejected = self.proven && !account.proof().is_proven();
        let fits = self.operation == call.operation() && Arc::ptr_eq(&self.account, account);
        (fits && !rejected).then_some(self.permits)
    }
}
