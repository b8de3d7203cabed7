//! The API's rate limit: so many calls of one operation by one account in any second.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::operation::Operation;

/// A sliding window of one second per (account, operation).
///
/// A call is admitted when fewer than `limit` calls count in the second that ends with it. Admitted calls count, and
/// refused ones only if so told: then a caller that does not slow down is refused until it does. The API documents 50 a
/// second per account and operation for all operations emulated here; how the real gateway measures its second, and
/// whether refused calls count, is not documented. A second that slides is the strictest reading of it.
#[derive(Debug)]
pub struct RateLimit {
    limit: usize,
    count_refused: bool,
    counted: HashMap<(String, Operation), VecDeque<Timestamp>>,
}

impl RateLimit {
    /// `limit` calls a second; 0 means no limit.
    pub fn new(limit: usize) -> Self {
        Self { limit, count_refused: false, counted: HashMap::new() }
    }

    /// The limit; 0 means none.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Changes the limit; calls already admitted keep counting.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Whether refused calls count.
    pub fn counts_refused(&self) -> bool {
        self.count_refused
    }

    /// Lets refused calls count from now on, or no longer.
    pub fn set_count_refused(&mut self, count: bool) {
        self.count_refused = count;
    }

    /// Whether a call made `now` is admitted; if so it counts from now on.
    pub fn admit(&mut self, account: &str, operation: Operation, now: Timestamp) -> bool {
        if self.limit == 0 {
            return true;
        }
        let window = self.counted.entry((account.to_owned(), operation)).or_default();
        // A call exactly one second old has left the window. One from the future (the clock was set back) has too.
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
    fn the_window_slides_and_refused_calls_do_not_count() {
        let mut limit = RateLimit::new(50);
        let op = Operation::CreateGroup;
        // 60 calls, one every 10 ms: the first 50 pass.
        let admitted: Vec<i64> = (0..60).map(|i| i * 10).filter(|ms| limit.admit("a", op, at(*ms))).collect();
        assert_eq!(admitted, (0..50).map(|i| i * 10).collect::<Vec<_>>());
        // The first call leaves the window one second after it, and no earlier.
        assert!(!limit.admit("a", op, at(999)));
        assert!(limit.admit("a", op, at(1000)));
        assert!(!limit.admit("a", op, at(1009)));
        assert!(limit.admit("a", op, at(1010)));
    }

    #[test]
    fn refused_calls_count_if_so_told() {
        let mut limit = RateLimit::new(2);
        limit.set_count_refused(true);
        let mut admit = |ms| limit.admit("a", Operation::CreateGroup, at(ms));
        assert_eq!([0, 500, 900, 1100, 1600].map(&mut admit), [true, true, false, false, false]);
        // Only a pause lets the window empty.
        assert!(admit(2100));
    }

    #[test]
    fn accounts_and_operations_have_their_own_windows() {
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
