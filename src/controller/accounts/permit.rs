//! A permit between its grant and its call.

use std::sync::Arc;

use super::account::Account;
use super::budgets::Permits;
use crate::live::{Call, Operation};

/// A permit that was granted to an object.
#[derive(Debug)]
pub struct GrantedPermit {
    /// The account.
    pub account: Arc<Account>,
    /// The operation.
    pub operation: Operation,
    /// The permits.
    pub permits: Permits,
}

impl GrantedPermit {
    /// Whether it is for this call of this account.
    pub fn fits(&self, call: &Call, account: &Arc<Account>) -> bool {
        self.operation == call.operation() && Arc::ptr_eq(&self.account, account)
    }
}
