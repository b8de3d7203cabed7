//! Call budgets: the pace and the window of permits of each account and operation.

mod adaptive;
mod pace;
#[cfg(test)]
mod property;
mod window;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

pub use adaptive::{Adaptive, Settings};
pub use pace::Pace;
#[cfg(test)]
pub use property::{busiest_second, simulated_hours};
pub use window::{AcquireResult, DOCUMENTED_LIMIT, LATE_ARRIVAL, PermitOutcome, START_DELAY, TAKEOVER_DELAY, Window};

/// The budget of one account and operation. Clones share it.
#[derive(Debug, Clone)]
pub struct Budget {
    /// `None` if there is no limit.
    shared: Option<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    window: Mutex<Window>,
    returned: Notify,
    /// Locked while a caller waits for a permit. The lock is fair, so callers get permits in order of arrival.
    turn_lock: tokio::sync::Mutex<()>,
}

impl Shared {
    fn window(&self) -> std::sync::MutexGuard<'_, Window> {
        // A poisoned lock can be used, because a panic in a method of the window leaves no partial change.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Budget {
    /// Creates a budget of `calls` calls per second (at least one). All its permits are free, so the caller must not
    /// request the first one while calls of an earlier process can still arrive.
    pub fn per_second(calls: u32) -> Self {
        let window = Window::new(calls, Instant::now().into_std());
        let turn_lock = tokio::sync::Mutex::new(());
        Self { shared: Some(Arc::new(Shared { window: Mutex::new(window), returned: Notify::new(), turn_lock })) }
    }

    /// Creates a budget that has no limit, for benchmarks against the emulator.
    pub fn unlimited() -> Self {
        Self { shared: None }
    }

    /// Whether every permit is free. In this state, no earlier call can still arrive.
    pub fn is_idle(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| shared.window().is_idle(Instant::now().into_std()))
    }

    /// The latest time at which a call whose permit was returned can arrive. Returns `None` if there is no such call,
    /// or if there is no limit.
    pub fn last_arrival(&self) -> Option<Instant> {
        let last = self.shared.as_ref()?.window().last_arrival()?;
        Some(Instant::from_std(last))
    }

    /// The number of permits in use; `None` if there is no limit.
    pub fn permits_in_use(&self) -> Option<u32> {
        self.shared.as_ref().map(|shared| shared.window().in_use(Instant::now().into_std()))
    }

    /// The current rate in calls per second; `None` if there is no limit.
    pub fn rate(&self) -> Option<f64> {
        self.shared.as_ref().map(|shared| shared.window().rate(Instant::now().into_std()))
    }

    /// Returns how fast waiting calls can be sent.
    pub fn pace(&self) -> Pace {
        self.shared.as_ref().map_or(Pace::default(), |shared| shared.window().pace(Instant::now().into_std()))
    }

    /// Waits for a permit. Callers are served in order of arrival. A dropped future takes no permit.
    pub async fn acquire(&self) -> Permit {
        let Some(shared) = &self.shared else { return Permit::new(None) };
        let _turn = shared.turn_lock.lock().await;
        loop {
            let returned = shared.returned.notified();
            let grant = shared.window().try_acquire(Instant::now().into_std());
            match grant {
                AcquireResult::Now => {
                    return Permit::new(Some(Arc::clone(shared)));
                }
                AcquireResult::NotBefore(at) => {
                    tokio::select! {
                        () = sleep_until(Instant::from_std(at)) => {}
                        () = returned => {}
                    }
                }
                AcquireResult::AfterReturn => returned.await,
            }
        }
    }
}

/// The right to send one request. A dropped permit returns to its budget with the outcome [`PermitOutcome::NotSent`],
/// or with [`PermitOutcome::Lost`] if [`Permit::mark_sent`] was called.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    shared: Option<Arc<Shared>>,
    granted: Instant,
    outcome: PermitOutcome,
}

impl Permit {
    fn new(shared: Option<Arc<Shared>>) -> Self {
        Self { shared, granted: Instant::now(), outcome: PermitOutcome::NotSent }
    }

    /// Marks the request as sent. Call this before sending: if the permit is dropped afterwards, the answer counts as
    /// lost.
    pub fn mark_sent(&mut self) {
        self.outcome = PermitOutcome::Lost;
    }

    /// Returns the permit with the outcome of its request.
    pub fn complete(mut self, outcome: PermitOutcome) {
        self.outcome = outcome;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            let mut window = shared.window();
            window.return_permit(self.outcome, Instant::now().into_std());
            if self.outcome == PermitOutcome::Answered {
                window.answered_after(self.granted.elapsed());
            }
            drop(window);
            shared.returned.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn five_hundred_calls_take_ten_seconds() {
        let budget = Budget::per_second(50);
        let mut times = Vec::new();
        for _ in 0..500 {
            let permit = budget.acquire().await;
            times.push(Instant::now());
            permit.complete(PermitOutcome::Answered);
        }
        let total = times[499] - times[0];
        assert!(total >= Duration::from_millis(9980) && total < Duration::from_millis(10_100), "{total:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn callers_of_a_shared_budget_take_turns() {
        let budget = Budget::per_second(50);
        // The first permit is granted immediately.
        budget.acquire().await.complete(PermitOutcome::Answered);
        let end = Instant::now() + Duration::from_secs(10);
        let caller = async || {
            let mut calls = 0_usize;
            while Instant::now() < end {
                budget.acquire().await.complete(PermitOutcome::Answered);
                calls += 1;
            }
            calls
        };
        let (one, other) = tokio::join!(caller(), caller());
        assert!(one.abs_diff(other) <= 1 && one + other >= 480, "{one} and {other}");
    }

    #[tokio::test(start_paused = true)]
    async fn permit_dropped_after_sending_counts_as_lost() {
        let budget = Budget::per_second(1);
        let mut permit = budget.acquire().await;
        let granted = Instant::now();
        permit.mark_sent();
        drop(permit);
        let _next = budget.acquire().await;
        assert!(granted.elapsed() >= LATE_ARRIVAL + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn answered_call_keeps_its_permit_for_one_second() {
        let budget = Budget::per_second(2);
        let (one, other) = (budget.acquire().await, budget.acquire().await);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let answered = Instant::now();
        for mut permit in [one, other] {
            permit.mark_sent();
            permit.complete(PermitOutcome::Answered);
        }
        let _next = budget.acquire().await;
        assert!((1000..1010).contains(&answered.elapsed().as_millis()), "{:?}", answered.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_caller_wakes_when_a_permit_returns() {
        let budget = Budget::per_second(1);
        let taken = budget.acquire().await;
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.acquire().await.complete(PermitOutcome::NotSent) }
        });
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!waiting.is_finished(), "the only permit is taken");
        drop(taken);
        tokio::time::timeout(Duration::from_secs(1), waiting).await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn reported_rate_drops_after_throttling() {
        assert_eq!(Budget::unlimited().rate(), None);
        let budget = Budget::per_second(50);
        assert_eq!(budget.rate(), Some(50.0));
        for _ in 0..10 {
            budget.acquire().await.complete(PermitOutcome::Answered);
        }
        budget.acquire().await.complete(PermitOutcome::Throttled(None));
        assert!(budget.rate().is_some_and(|rate| rate < 50.0), "{:?}", budget.rate());
    }

    #[tokio::test(start_paused = true)]
    async fn unused_permit_returns_immediately() {
        let budget = Budget::per_second(1);
        drop(budget.acquire().await);
        let before = Instant::now();
        let _next = budget.acquire().await;
        assert!(before.elapsed() <= Duration::from_millis(1001), "{:?}", before.elapsed());
    }
}
