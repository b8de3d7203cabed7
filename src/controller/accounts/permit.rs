//! Permits that were granted and have not been used yet.

use std::sync::Arc;

use super::account::Account;
use super::budgets::Permits;
use crate::live::{Call, Operation};

/// A permit that was granted to an object.
#[derive(Debug)]
pub struct GrantedPermit {
    pub account: Arc<Account>,
    pub operation: Operation,
    pub permits: Permits,
}

impl GrantedPermit {
    /// Whether the permit is for the operation of this call and for this account.
    pub fn fits(&self, call: &Call, account: &Arc<Account>) -> bool {
        self.operation == call.operation() && Arc::ptr_eq(&self.account, account)
    }
}
