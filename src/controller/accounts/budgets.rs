//! Budgets per operation, the accounts that share them, and permits.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::budget::{Budget, Permit, PermitOutcome};
use crate::live::credentials::CredentialSource;
use crate::live::{Operation, Service};

/// The rate limit per operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// Calls per second, 1 to 50.
    PerSecond(u32),
    /// No limit, for benchmarks against the emulator only.
    Unlimited,
}

/// One budget per operation, in the order of [`Operation::ALL`].
#[derive(Debug)]
pub struct Budgets([Budget; Operation::ALL.len()]);

impl Budgets {
    pub fn new(rate: Rate) -> Arc<Self> {
        Arc::new(Self(Operation::ALL.map(|_| match rate {
            Rate::PerSecond(calls) => Budget::per_second(calls),
            Rate::Unlimited => Budget::unlimited(),
        })))
    }

    pub fn of(&self, operation: Operation) -> &Budget {
        &self.0[operation as usize]
    }
}

/// The key of shared budgets: an account number (or an access key ID instead) and a service. Users choose the number
/// freely, so the service is part of the key: calls to one service must not slow down calls to another.
type NumberAtService = (String, Service);

/// The operator's own account. LiveAccounts with the same number share its budgets.
#[derive(Debug)]
pub struct OperatorAccount {
    pub budgets: Arc<Budgets>,
    pub credentials: CredentialSource,
    /// `None` if the number is unknown.
    pub number: Option<String>,
    pub service: Service,
}

impl OperatorAccount {
    /// Whether `service` is the operator's, and `number` is its account number or its access key ID.
    fn is(&self, number: &str, service: &Service) -> bool {
        let is_known = self.number.as_deref() == Some(number);
        *service == self.service && (is_known || self.credentials.held_key_id().as_deref() == Some(number))
    }
}

/// The budgets of all account numbers.
#[derive(Debug)]
pub struct BudgetRegistry {
    rate: Rate,
    operator: Option<OperatorAccount>,
    known: Mutex<HashMap<NumberAtService, Weak<Budgets>>>,
}

impl BudgetRegistry {
    /// Creates a registry in which each account number has the rate limit `rate`. LiveAccounts with the operator's
    /// number share the operator's budgets.
    pub fn new(rate: Rate, operator: Option<OperatorAccount>) -> Self {
        Self { rate, operator, known: Mutex::default() }
    }

    /// The budgets of an account number at a service. They are dropped with the last account that uses them. New
    /// budgets start without free permits.
    pub fn get(&self, number: &str, service: &Service) -> Arc<Budgets> {
        if let Some(operator) = self.operator.as_ref().filter(|operator| operator.is(number, service)) {
            return Arc::clone(&operator.budgets);
        }
        let mut known = self.known.lock();
        let name = (number.to_owned(), service.clone());
        if let Some(budgets) = known.get(&name).and_then(Weak::upgrade) {
            return budgets;
        }
        known.retain(|_, budgets| budgets.strong_count() > 0);
        let budgets = Budgets::new(self.rate);
        known.insert(name, Arc::downgrade(&budgets));
        budgets
    }
}

/// Permits of an account's own cap and of the shared budget.
#[derive(Debug)]
#[must_use]
pub struct Permits {
    pub(in crate::controller) cap: Option<Permit>,
    pub(in crate::controller) shared: Permit,
}

impl Permits {
    /// See [`Permit::mark_sent`].
    pub fn mark_sent(&mut self) {
        self.shared.mark_sent();
        if let Some(cap) = &mut self.cap {
            cap.mark_sent();
        }
    }

    /// See [`Permit::complete`]. A throttling answer slows down the shared budget, not the cap.
    pub fn complete(self, fate: PermitOutcome) {
        self.shared.complete(fate);
        if let Some(cap) = self.cap {
            cap.complete(if matches!(fate, PermitOutcome::Throttled(_)) { PermitOutcome::Answered } else { fate });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn accounts_with_one_number_share_a_budget_per_service() {
        let registry = BudgetRegistry::new(Rate::PerSecond(50), None);
        let budgets = |number: &str, endpoint: &str| {
            registry.get(number, crate::live::Endpoint::parse(endpoint, false).unwrap().service())
        };
        let one = budgets("42", "live.aliyuncs.com");
        for alias in ["live.aliyuncs.com.", "live.cn-shanghai.aliyuncs.com", "live-vpc.ap-southeast-1.aliyuncs.com"] {
            assert!(Arc::ptr_eq(&one, &budgets("42", alias)), "{alias}");
        }
        assert!(!Arc::ptr_eq(&one, &budgets("42", "live.example.com")));
        assert!(!Arc::ptr_eq(&one, &budgets("43", "live.aliyuncs.com")));
    }
}
