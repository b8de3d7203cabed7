//! Budgets by operation, and which accounts share them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use crate::budget::{Budget, Permit, PermitOutcome};
use crate::controller::locked::locked;
use crate::live::Operation;
use crate::live::credentials::CredentialSource;

/// Calls a second and operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// 1 to 50.
    PerSecond(u32),
    /// For benchmarks against the emulator only.
    Unlimited,
}

/// A budget for every operation, in the order of [`Operation::ALL`].
#[derive(Debug)]
pub struct Budgets([Budget; Operation::ALL.len()]);

impl Budgets {
    /// They start now.
    pub fn new(rate: Rate) -> Arc<Self> {
        Arc::new(Self(Operation::ALL.map(|_| match rate {
            Rate::PerSecond(calls) => Budget::per_second(calls),
            Rate::Unlimited => Budget::unlimited(),
        })))
    }

    /// The budget of an operation.
    pub fn of(&self, operation: Operation) -> &Budget {
        &self.0[operation as usize]
    }
}

/// What shares one budget: a number (or what stands for it) at an endpoint. A number is free text: calls to another
/// endpoint, whose answers anybody may have written, must not slow those to this one down.
type Number = (String, String);

/// The operator's own account, as others may share its budgets.
#[derive(Debug)]
pub struct Own {
    /// Its budgets.
    pub budgets: Arc<Budgets>,
    /// What it calls with.
    pub credentials: CredentialSource,
    /// Its number, where that is known.
    pub number: Option<String>,
    /// Where it is called.
    pub endpoint: String,
}

impl Own {
    /// Whether it is of this number, or calls with the access key that stands for it.
    fn is(&self, number: &str, endpoint: &str) -> bool {
        let known = self.number.as_deref() == Some(number);
        endpoint == self.endpoint && (known || self.credentials.held_key_id().as_deref() == Some(number))
    }
}

/// The budgets of all numbers.
#[derive(Debug)]
pub struct Numbers {
    rate: Rate,
    own: Option<Own>,
    known: Mutex<HashMap<Number, Weak<Budgets>>>,
}

impl Numbers {
    /// Of so many calls a second for each number; that of the operator's own account has the budgets of that.
    pub fn new(rate: Rate, own: Option<Own>) -> Self {
        Self { rate, own, known: Mutex::default() }
    }

    /// The budgets of a number at an endpoint. They go with the last account that holds them: new ones start with every
    /// permit taken.
    pub fn of(&self, number: &str, endpoint: &str) -> Arc<Budgets> {
        if let Some(own) = self.own.as_ref().filter(|own| own.is(number, endpoint)) {
            return Arc::clone(&own.budgets);
        }
        let mut known = locked(&self.known);
        let name = (number.to_owned(), endpoint.to_owned());
        if let Some(budgets) = known.get(&name).and_then(Weak::upgrade) {
            return budgets;
        }
        known.retain(|_, budgets| budgets.strong_count() > 0);
        let budgets = Budgets::new(self.rate);
        known.insert(name, Arc::downgrade(&budgets));
        budgets
    }
}

/// Permits of an account's own cap and of the budget it shares.
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

    /// See [`Permit::complete`]. A throttling answer slows down what is shared; a cap stays what it is.
    pub fn complete(self, outcome: PermitOutcome) {
        self.shared.complete(outcome);
        if let Some(cap) = self.cap {
            cap.complete(if matches!(outcome, PermitOutcome::Throttled(_)) {
                PermitOutcome::Answered
            } else {
                outcome
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn accounts_of_one_number_share_a_budget_at_one_endpoint_only() {
        let numbers = Numbers::new(Rate::PerSecond(50), None);
        let one = numbers.of("42", "https://a");
        assert!(Arc::ptr_eq(&one, &numbers.of("42", "https://a")));
        assert!(!Arc::ptr_eq(&one, &numbers.of("42", "https://b")));
        assert!(!Arc::ptr_eq(&one, &numbers.of("43", "https://a")));
    }
}
