//! Decides when credentials are used and when they are renewed. The decision depends only on the time.

use std::time::Duration;

use tokio::time::Instant;

/// Renewal starts when this much of the lifetime is left, as in the official Python SDK.
const LEAD: Duration = Duration::from_secs(15 * 60);

/// Without jitter, renewal does not start before this fraction of the lifetime has passed.
const SHARE_USED: f64 = 0.75;

/// The longest delay after a failed renewal.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Determines how long credentials are valid and when they are renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lease {
    /// The time at which the renewal is due; `None` if the credentials are not renewed.
    renewal: Option<Instant>,
    /// The time at which the credentials expire; `None` if they do not expire.
    end: Option<Instant>,
}

/// The next action when a caller needs credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Use the current credentials.
    Use,
    /// Use the current credentials and renew them in the background.
    UseAndRenew,
    /// Wait for a renewal: there are no valid credentials.
    Renew,
    /// Return the last error: there are no valid credentials, and the next attempt is not due yet.
    GiveUp,
}

impl Lease {
    /// Creates the lease for credentials that were issued at `now`. A `jitter` from 0 to 1 lengthens the time between
    /// renewal and expiry by up to a fifth. Without jitter, processes that start at the same time would also call STS
    /// at the same time.
    pub(super) fn new(now: Instant, lifetime: Option<Duration>, jitter: f64) -> Self {
        let renewal = lifetime.map(|lifetime| {
            let lead = LEAD.min(lifetime.mul_f64(1.0 - SHARE_USED));
            now + lifetime.saturating_sub(lead.mul_f64(1.0 + jitter / 5.0))
        });
        Self { renewal, end: lifetime.map(|lifetime| now + lifetime) }
    }

    /// Returns the lease with a renewal no later than `now + after`, even if the credentials are valid for longer. If
    /// `after` is `None`, the lease is unchanged.
    pub(super) fn looked_at_again(self, now: Instant, after: Option<Duration>) -> Self {
        let look = after.map(|after| now + after);
        Self { renewal: self.renewal.into_iter().chain(look).min(), ..self }
    }

    /// Returns the remaining lifetime, or `None` if the credentials do not expire.
    pub(super) fn remaining(&self, now: Instant) -> Option<Duration> {
        self.end.map(|end| end.saturating_duration_since(now))
    }

    pub(super) fn has_ended(&self, now: Instant) -> bool {
        self.end.is_some_and(|end| end <= now)
    }

    fn is_due(&self, now: Instant) -> bool {
        self.renewal.is_some_and(|renewal| renewal <= now)
    }
}

/// Returns the next action when a caller needs credentials at `now`. `next_try` is the time of the next attempt after a
/// failed renewal.
pub(super) fn step(now: Instant, lease: Option<&Lease>, next_try: Option<Instant>) -> Step {
    let may_try = next_try.is_none_or(|at| at <= now);
    match lease.filter(|lease| !lease.has_ended(now)) {
        // A failed reload of rejected credentials is retried even though the renewal is not due.
        Some(lease) if (lease.is_due(now) || next_try.is_some()) && may_try => Step::UseAndRenew,
        Some(_) => Step::Use,
        None if may_try => Step::Renew,
        None => Step::GiveUp,
    }
}

/// Returns the delay after a failed renewal. It starts at 1 s and doubles for each of the previous `failures`, up to a
/// minute. It is then multiplied by a factor from 0.75 (`jitter` is 0) to 1.25 (`jitter` is 1).
pub(super) fn backoff(failures: u32, jitter: f64) -> Duration {
    Duration::from_secs(1 << failures.min(6)).min(LONGEST_WAIT).mul_f64(0.75 + jitter / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(minutes * 60)
    }

    #[test]
    fn renewal_starts_at_a_share_of_the_lifetime() {
        let now = Instant::now();
        for (lifetime, plain) in [(60, 45), (720, 705), (4, 3)] {
            let due = |jitter| Lease::new(now, Some(minutes(lifetime)), jitter).renewal.unwrap() - now;
            assert_eq!(due(0.0), minutes(plain));
            assert!(due(1.0) < due(0.0) && due(1.0) >= minutes(lifetime).mul_f64(0.7), "{:?}", due(1.0));
        }
        assert_eq!(Lease::new(now, None, 1.0).renewal, None);
        let looked_at = Lease::new(now, None, 1.0).looked_at_again(now, Some(minutes(2)));
        assert_eq!((looked_at.renewal, looked_at.end), (Some(now + minutes(2)), None));
        let sooner = Lease::new(now, Some(minutes(4)), 0.0).looked_at_again(now, Some(minutes(60)));
        assert_eq!(sooner.renewal, Some(now + minutes(3)));
    }

    #[test]
    fn step_depends_only_on_the_times() {
        let start = Instant::now();
        let lease = Lease::new(start, Some(minutes(60)), 0.0);
        let not_due = Some(start + minutes(300));
        for (after, next_try, expected) in [
            (0, None, Step::Use),
            (1, not_due, Step::Use),
            (1, Some(start), Step::UseAndRenew),
            (44, None, Step::Use),
            (45, None, Step::UseAndRenew),
            (45, not_due, Step::Use),
            (59, Some(start), Step::UseAndRenew),
            (60, None, Step::Renew),
            (60, not_due, Step::GiveUp),
        ] {
            assert_eq!(step(start + minutes(after), Some(&lease), next_try), expected, "{after} min, {next_try:?}");
        }
        assert_eq!(step(start, None, None), Step::Renew);
        assert_eq!(step(start, None, not_due), Step::GiveUp);
        let lasting = Lease::new(start, None, 0.5);
        assert_eq!(step(start + minutes(1_000_000), Some(&lasting), None), Step::Use);
    }

    #[test]
    fn backoff_doubles_up_to_a_minute() {
        let waits: Vec<u64> = (0..9).map(|failures| backoff(failures, 0.5).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(backoff(0, 0.0) >= Duration::from_millis(750) && backoff(99, 1.0) <= Duration::from_secs(75));
    }
}
