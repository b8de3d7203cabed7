//! Budgets by operation, and which accounts share them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use crate::budget::{Budget, Fate, Permit};
use crate::controller::reconcile::locked;
use crate::live::Operation;

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

/// The budgets of all numbers.
#[derive(Debug)]
pub struct Numbers {
    rate: Rate,
    known: Mutex<HashMap<Number, Weak<Budgets>>>,
}

impl Numbers {
    /// Of so many calls a second for each number.
    pub fn new(rate: Rate) -> Self {
        Self { rate, known: Mutex::default() }
    }

    /// The budgets of a number at an endpoint. They go with the last account that holds them: new ones start with every
    /// permit taken.
    pub fn of(&self, number: &str, endpoint: &str) -> Arc<Budgets> {
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

    /// These budgets are those of this number.
    pub fn register(&self, number: &str, endpoint: &str, budgets: &Arc<Budgets>) {
        let name = (number.to_owned(), endpoint.to_owned());
        locked(&self.known).insert(name, Arc::downgrade(budgets));
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
    /// See [`Permit::sending`].
    pub fn sending(&mut self) {
        self.shared.sending();
        if let Some(cap) = &mut self.cap {
            cap.sending();
        }
    }

    /// See [`Permit::done`]. A throttling answer slows down what is shared; a cap stays what it is.
    pub fn done(self, fate: Fate) {
        self.shared.done(fate);
        if let Some(cap) = self.cap {
            cap.done(if matches!(fate, Fate::Throttled(_)) { Fate::Answered } else { fate });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn accounts_of_one_number_share_a_budget_at_one_endpoint_only() {
        let numbers = Numbers::new(Rate::PerSecond(50));
        let one = numbers.of("42", "https://a");
        assert!(Arc::ptr_eq(&one, &numbers.of("42", "https://a")));
        assert!(!Arc::ptr_eq(&one, &numbers.of("42", "https://b")));
        assert!(!Arc::ptr_eq(&one, &numbers.of("43", "https://a")));
        drop(one);
        let own = Budgets::new(Rate::PerSecond(50));
        numbers.register("LTAI", "https://a", &own);
        assert!(Arc::ptr_eq(&own, &numbers.of("LTAI", "https://a")));
    }
}
