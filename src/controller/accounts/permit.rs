//! A permit between its grant and its call.

use std::sync::Arc;

use super::account::Account;
use super::budgets::Permits;
use crate::live::{Call, Operation};

/// A permit that was granted to an object.
#[derive(Debug)]
pub struct GrantedPermit {
    /// The account that granted the permit.
    pub account: Arc<Account>,
    /// The operation that the permit is for.
    pub operation: Operation,
    /// The permits of the account's own cap and of the shared budget.
    pub permits: Permits,
}

impl GrantedPermit {
    /// Whether the permit is for the operation of this call and for this account.
    pub fn fits(&self, call: &Call, account: &Arc<Account>) -> bool {
        self.operation == call.operation() && Arc::ptr_eq(&self.account, account)
    }
}
