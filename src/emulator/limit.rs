//! The API's rate limit: calls per second for each account and operation.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::operation::Operation;

/// A sliding window of one second for each account and operation.
///
/// A call is admitted if fewer than `limit` calls were counted in the last second. Admitted calls always count.
/// Throttled calls count only after [`RateLimit::set_count_refused`], so that a client stays throttled until it slows
/// down.
///
/// The documented limit is 50 calls per second for each account and operation. The documentation specifies neither the
/// kind of window nor whether throttled calls count. A sliding window is the strictest interpretation.
#[derive(Debug)]
pub struct RateLimit {
    limit: usize,
    count_refused: bool,
    windows: HashMap<(String, Operation), VecDeque<Timestamp>>,
}

impl RateLimit {
    /// Admits `limit` calls per second; 0 means no limit.
    pub fn new(limit: usize) -> Self {
        Self { limit, count_refused: false, windows: HashMap::new() }
    }

    /// The admitted calls per second; 0 means no limit.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Changes the limit. Calls that were made in the last second still count.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Whether throttled calls count.
    pub fn counts_refused(&self) -> bool {
        self.count_refused
    }

    /// Sets whether throttled calls count from now on.
    pub fn set_count_refused(&mut self, count: bool) {
        self.count_refused = count;
    }

    /// Counts a call and returns whether it is admitted.
    pub fn admit(&mut self, account: &str, operation: Operation, now: Timestamp) -> bool {
        if self.limit == 0 {
            return true;
        }
        let window = self.windows.entry((account.to_owned(), operation)).or_default();
        // Remove calls that are at least one second old, and calls in the future, which exist if the clock was set
        // back.
        let second = SignedDuration::from_secs(1);
        window.retain(|at| now.duration_since(*at) < second && *at <= now);
        let admitted = window.len() < self.limit;
        if admitted || self.count_refused {
            window.push_back(now);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + ms).unwrap()
    }

    #[test]
    fn window_slides_and_throttled_calls_do_not_count() {
        let mut limit = RateLimit::new(50);
        let op = Operation::CreateGroup;
        // 60 calls, one every 10 ms: the first 50 pass.
        let admitted: Vec<i64> = (0..60).map(|i| i * 10).filter(|ms| limit.admit("a", op, at(*ms))).collect();
        assert_eq!(admitted, (0..50).map(|i| i * 10).collect::<Vec<_>>());
        // The first call stops counting exactly one second later.
        assert!(!limit.admit("a", op, at(999)));
        assert!(limit.admit("a", op, at(1000)));
        assert!(!limit.admit("a", op, at(1009)));
        assert!(limit.admit("a", op, at(1010)));
    }

    #[test]
    fn throttled_calls_count_when_configured() {
        let mut limit = RateLimit::new(2);
        limit.set_count_refused(true);
        let mut admit = |ms| limit.admit("a", Operation::CreateGroup, at(ms));
        assert_eq!([0, 500, 900, 1100, 1600].map(&mut admit), [true, true, false, false, false]);
        // Calls are admitted again only after a pause of one second.
        assert!(admit(2100));
    }

    #[test]
    fn accounts_and_operations_have_separate_windows() {
        let mut limit = RateLimit::new(1);
        assert!(limit.admit("a", Operation::CreateGroup, at(0)));
        assert!(!limit.admit("a", Operation::CreateGroup, at(1)));
        assert!(limit.admit("a", Operation::DeleteGroup, at(1)));
        assert!(limit.admit("b", Operation::CreateGroup, at(1)));
    }

    #[test]
    fn zero_means_no_limit() {
        let mut limit = RateLimit::new(0);
        assert!((0..1000).all(|_| limit.admit("a", Operation::CreateGroup, at(0))));
    }
}
