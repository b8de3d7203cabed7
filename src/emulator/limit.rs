//! The API's rate limit: calls per second for each account and operation.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::operation::Operation;

/// A sliding window of one second for each account and operation.
///
/// A call is admitted if fewer than `limit` calls were counted in the last second. Admitted calls always count. By
/// default, throttled calls do not count. If [`RateLimit::set_count_refused`] enables counting them, a client stays
/// throttled until it slows down.
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
    /// Creates a rate limit that admits up to `limit` calls per second; 0 means no limit.
    pub fn new(limit: usize) -> Self {
        Self { limit, count_refused: false, windows: HashMap::new() }
    }

    /// Returns the maximum number of calls that are admitted per second; 0 means no limit.
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

    /// Sets whether future throttled calls count.
    pub fn set_count_refused(&mut self, count: bool) {
        self.count_refused = count;
    }

    /// Returns whether a call is admitted. Counts the call if it is admitted or if throttled calls count.
    pub fn admit(&mut self, account: &str, operation: Operation, now: Timestamp) -> bool {
        if self.limit == 0 {
            return true;
        }
        let window = self.windows.entry((account.to_owned(), operation)).or_default();
        // Remove calls that are at least one second old. Also remove calls that are later than `now`, which exist if
        // the clock was set back.
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
        // Make 60 calls, one every 10 ms. The first 50 are admitted.
        let admitted: Vec<i64> = (0..60).map(|i| i * 10).filter(|ms| limit.admit("a", op, at(*ms))).collect();
        assert_eq!(admitted, (0..50).map(|i| i * 10).collect::<Vec<_>>());
        // A call counts for exactly one second, so the first call no longer counts at 1,000 ms.
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
        // This call is admitted, because only one call was counted in the last second.
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
