//! The lock around the scheduler, and the notifications that wake the tasks.
//!
//! All code accesses the scheduler through [`SharedScheduler::with`], which notifies the tasks that have new work.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::sync::{Mutex, Notify, sleep_until};
use crate::controller::keys::{AccountKey, BudgetKey};
use crate::controller::scheduler::{Scheduler, Wakeups, Work};

/// A scheduler behind a lock, with the notifications for its tasks.
#[derive(Debug)]
pub struct SharedScheduler {
    state: Mutex<State>,
    workers: Notify,
    timer: Notify,
    /// Notified when the status of an account may need to be written, or when an object starts to wait for an account.
    pub accounts: Notify,
    /// Notified when the usage of an app is requested.
    pub usage: Notify,
}

#[derive(Debug)]
struct State {
    scheduler: Scheduler,
    budgets: HashMap<BudgetKey, Arc<Notify>>,
}

impl SharedScheduler {
    pub fn new(scheduler: Scheduler) -> Self {
        let state = Mutex::new(State { scheduler, budgets: HashMap::new() });
        let (workers, timer, accounts, usage) = (Notify::new(), Notify::new(), Notify::new(), Notify::new());
        Self { state, workers, timer, accounts, usage }
    }

    /// Locks the scheduler, runs `access`, and notifies the tasks that have new work. `access` must not block.
    pub fn with<T>(&self, access: impl FnOnce(&mut Scheduler, Instant) -> T) -> T {
        let mut state = self.state.lock();
        let now = tokio::time::Instant::now().into_std();
        state.scheduler.set_time(now);
        let result = access(&mut state.scheduler, now);
        let Wakeups { workers, budgets, timer, accounts, usage } = state.scheduler.take_wakeups();
        for budget in budgets {
            if let Some(notify) = state.budgets.get(&budget) {
                // Several drift checks can wait for the same list budget.
                notify.notify_waiters();
            }
        }
        drop(state);
        for (notify, is_due) in
            [(&self.workers, workers), (&self.timer, timer), (&self.accounts, accounts), (&self.usage, usage)]
        {
            if is_due {
                notify.notify_one();
            }
        }
        result
    }

    /// Waits for the next object that is ready for a worker.
    pub async fn next(&self) -> Work {
        loop {
            let notified = self.workers.notified();
            let (next, has_more) = self.with(|scheduler, _| (scheduler.next(), scheduler.has_ready()));
            if has_more {
                self.workers.notify_one();
            }
            if let Some(work) = next {
                return work;
            }
            notified.await;
        }
    }

    /// Calls `try_access` until it returns a value. Waits for a notification of this budget before each further call.
    pub async fn wait_for<T>(
        &self,
        budget: &BudgetKey,
        try_access: impl Fn(&mut Scheduler, Instant) -> Option<T>,
    ) -> T {
        let notify = Arc::clone(self.state.lock().budgets.entry(budget.clone()).or_default());
        loop {
            let notified = notify.notified();
            if let Some(value) = self.with(&try_access) {
                return value;
            }
            notified.await;
        }
    }

    /// Removes the notifications for the budgets of a deleted account.
    pub fn forget_budgets(&self, account: &AccountKey) {
        self.state.lock().budgets.retain(|budget, _| budget.account != *account);
    }

    /// Handles expired delays and deadlines, and starts probes that are due. Never returns.
    pub async fn run_timer(&self) {
        loop {
            let notified = self.timer.notified();
            let next = self.with(|scheduler, now| {
                scheduler.tick(now);
                scheduler.next_deadline()
            });
            match next {
                None => notified.await,
                Some(next) => tokio::select! {
                    () = notified => {}
                    () = sleep_until(next.into()) => {}
                },
            }
        }
    }
}
