//! The budgets of each operation, how accounts share them, and the permits for a call.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::budget::{Budget, Permit, PermitOutcome};
use crate::live::credentials::CredentialSource;
use crate::live::{CallError, ErrorClass, Operation, Reply, Response, Service};

/// The rate limit per operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// Calls per second, 1 to 50.
    PerSecond(u32),
    /// No limit, for benchmarks against the emulator only.
    Unlimited,
}

/// Uses the format of the `--requests-per-second` value.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PerSecond(calls) => calls.fmt(f),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

/// How long an account still takes permits from its former budgets. This is longer than the longest `--request-timeout`
/// (5 minutes) plus [`LATE_ARRIVAL`](crate::budget::LATE_ARRIVAL).
const CARRY_OVER: Duration = Duration::from_secs(310);

/// The maximum number of former budgets that an account keeps. Each takes 7 KiB, and a user can change the account ID
/// of a LiveAccount many times per second. Beyond this maximum, the account no longer takes permits from the oldest
/// ones. It still takes permits from its own budgets, which limit only this account.
const MAX_FORMER: usize = 4;

/// One budget per operation.
#[derive(Debug)]
pub struct Budgets {
    rate: Rate,
    /// In the order of [`Operation::ALL`].
    budgets: [Budget; Operation::ALL.len()],
}

impl Budgets {
    pub fn new(rate: Rate) -> Arc<Self> {
        let budgets = Operation::ALL.map(|_| match rate {
            Rate::PerSecond(calls) => Budget::per_second(calls),
            Rate::Unlimited => Budget::unlimited(),
        });
        Arc::new(Self { rate, budgets })
    }

    pub fn of(&self, operation: Operation) -> &Budget {
        &self.budgets[operation as usize]
    }

    /// Whether every permit is free.
    fn are_idle(&self) -> bool {
        self.budgets.iter().all(Budget::is_idle)
    }

    /// The latest time at which a call can arrive; `None` if no call can still arrive.
    fn last_arrival(&self) -> Option<Instant> {
        self.budgets.iter().filter_map(Budget::last_arrival).max()
    }

    /// The limit of each budget.
    pub fn limit(&self) -> Rate {
        self.rate
    }
}

/// The budgets that an account shares with others. After its account ID or access key has changed, calls also need
/// permits from the former budgets, because earlier calls may still arrive at the same account of the service.
#[derive(Debug, Clone)]
pub struct SharedBudgets {
    current: Arc<Budgets>,
    former: Vec<Former>,
}

/// Budgets that the account used before. They still limit the account until the time in `until`.
#[derive(Debug, Clone)]
struct Former {
    budgets: Arc<Budgets>,
    until: Instant,
}

impl SharedBudgets {
    pub fn new(current: Arc<Budgets>) -> Self {
        Self { current, former: Vec::new() }
    }

    /// The budgets that the account uses.
    pub fn current(&self) -> &Arc<Budgets> {
        &self.current
    }

    /// Uses `budgets` from now on.
    pub fn switch_to(&mut self, budgets: Arc<Budgets>, now: Instant) {
        if Arc::ptr_eq(&self.current, &budgets) {
            return;
        }
        self.former.retain(|former| former.until > now && !Arc::ptr_eq(&former.budgets, &budgets));
        let budgets = std::mem::replace(&mut self.current, budgets);
        if self.former.len() == MAX_FORMER {
            self.former.remove(0);
        }
        self.former.push(Former { budgets, until: now + CARRY_OVER });
    }

    /// All budgets from which a call needs a permit. Every account takes the permits in the same order, so that no two
    /// accounts wait for each other.
    pub fn needed(&mut self, now: Instant) -> Vec<Arc<Budgets>> {
        self.former.retain(|former| former.until > now);
        let former = self.former.iter().map(|former| &former.budgets);
        let mut needed: Vec<Arc<Budgets>> = former.chain([&self.current]).map(Arc::clone).collect();
        needed.sort_by_key(Arc::as_ptr);
        needed
    }
}

/// The key of shared budgets: an account ID (or, if it is unknown, an access key ID) and a service. Users choose the
/// account ID freely, so the service is part of the key: calls to one service must not slow down calls to another.
type NumberAtService = (String, Service);

/// The operator's own account. LiveAccounts with the same account ID share its budgets.
#[derive(Debug)]
pub struct OperatorAccount {
    pub budgets: Arc<Budgets>,
    pub credentials: CredentialSource,
    /// `None` if the account ID is unknown.
    pub number: Option<String>,
    pub service: Service,
}

impl OperatorAccount {
    /// Whether `service` is the operator's service, and `number` is the operator's account ID or access key ID.
    fn is(&self, number: &str, service: &Service) -> bool {
        let is_known = self.number.as_deref() == Some(number);
        *service == self.service && (is_known || self.credentials.held_key_id().as_deref() == Some(number))
    }
}

/// The budgets of all account IDs.
#[derive(Debug)]
pub struct BudgetRegistry {
    rate: Rate,
    operator: Option<OperatorAccount>,
    known: Mutex<HashMap<NumberAtService, Arc<Budgets>>>,
}

impl BudgetRegistry {
    /// Creates a registry in which each account ID has the rate limit `rate`. LiveAccounts with the operator's account
    /// ID share the operator's budgets.
    pub fn new(rate: Rate, operator: Option<OperatorAccount>) -> Self {
        Self { rate, operator, known: Mutex::default() }
    }

    /// The latest time at which a call of any account can arrive; `None` if no call can still arrive.
    pub fn last_arrival(&self) -> Option<Instant> {
        let known = self.known.lock();
        let operator = self.operator.iter().map(|operator| &operator.budgets);
        known.values().chain(operator).filter_map(|budgets| budgets.last_arrival()).max()
    }

    /// Creates budgets that no other account shares, with the rate limit that applies to an account ID.
    pub fn unshared(&self) -> Arc<Budgets> {
        Budgets::new(self.rate)
    }

    /// Removes the budgets that no account uses. Budgets with permits in use are kept, because a call with one of these
    /// permits may still arrive.
    pub fn remove_unused(&self) {
        self.known.lock().retain(|_, budgets| Arc::strong_count(budgets) > 1 || !budgets.are_idle());
    }

    /// The budgets of an account ID at a service. They are kept until [`BudgetRegistry::remove_unused`] removes them.
    pub fn get(&self, number: &str, service: &Service) -> Arc<Budgets> {
        if let Some(operator) = self.operator.as_ref().filter(|operator| operator.is(number, service)) {
            return Arc::clone(&operator.budgets);
        }
        let name = (number.to_owned(), service.clone());
        Arc::clone(self.known.lock().entry(name).or_insert_with(|| Budgets::new(self.rate)))
    }
}

/// The permits for one call: from the account's own budget, and from the budgets that it shares.
#[derive(Debug)]
#[must_use]
pub struct Permits {
    pub(super) own: Permit,
    pub(super) shared: Vec<Permit>,
}

impl Permits {
    /// See [`Permit::mark_sent`].
    pub fn mark_sent(&mut self) {
        self.own.mark_sent();
        self.shared.iter_mut().for_each(Permit::mark_sent);
    }

    /// See [`Permit::complete`]. A throttling response slows down only the account that received it, because any
    /// LiveAccount can claim the account ID of another account.
    pub fn complete(self, outcome: PermitOutcome) {
        self.own.complete(outcome);
        let shared = if matches!(outcome, PermitOutcome::Throttled(_)) { PermitOutcome::Answered } else { outcome };
        self.shared.into_iter().for_each(|permit| permit.complete(shared));
    }
}

/// Converts the result of a call to the outcome for its permit.
pub fn permit_outcome(result: &Result<Response<Reply>, CallError>) -> PermitOutcome {
    match result {
        Ok(_) => PermitOutcome::Answered,
        Err(error) if error.is_undecided() => PermitOutcome::Lost,
        Err(CallError::Api(api)) if api.class() == ErrorClass::Throttled => PermitOutcome::Throttled(api.retry_after),
        Err(error) if error.may_have_arrived() => PermitOutcome::Answered,
        Err(_) => PermitOutcome::NotSent,
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
    #[tokio::test(start_paused = true)]
    async fn former_budgets_are_needed_until_no_call_is_out() {
        let [one, two] = [(); 2].map(|()| Budgets::new(Rate::PerSecond(50)));
        let mut shared = SharedBudgets::new(Arc::clone(&one));
        shared.switch_to(Arc::clone(&two), Instant::now());
        assert_eq!(shared.needed(Instant::now()).len(), 2);
        shared.switch_to(Arc::clone(&one), Instant::now());
        assert_eq!(shared.needed(Instant::now()).len(), 2, "one permit of each, though one is used again");
        assert!(Arc::ptr_eq(shared.current(), &one));
        let needed = shared.needed(Instant::now() + CARRY_OVER);
        assert!(needed.len() == 1 && Arc::ptr_eq(&needed[0], &one));
    }
    #[tokio::test(start_paused = true)]
    async fn only_the_latest_former_budgets_are_kept() {
        let all: Vec<_> = (0..100).map(|_| Budgets::new(Rate::PerSecond(50))).collect();
        let mut shared = SharedBudgets::new(Arc::clone(&all[0]));
        for budgets in &all {
            shared.switch_to(Arc::clone(budgets), Instant::now());
        }
        let needed = shared.needed(Instant::now());
        assert_eq!(needed.len(), MAX_FORMER + 1);
        assert!(all[99 - MAX_FORMER..].iter().all(|budgets| needed.iter().any(|needed| Arc::ptr_eq(needed, budgets))));
    }
}
