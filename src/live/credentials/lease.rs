//! When credentials are used, renewed and given up: a question about times alone.

use std::time::Duration;

use tokio::time::Instant;

/// Renewal begins when this much is left, as in the official Python SDK …
const LEAD: Duration = Duration::from_secs(15 * 60);

/// … but never before this share of the lifetime is over.
const SHARE_USED: f64 = 0.75;

/// The longest wait after a failed renewal.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How long credentials are good, and when they are to be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lease {
    /// `None` = they are not renewed.
    renewal: Option<Instant>,
    /// `None` = they do not expire.
    end: Option<Instant>,
}

/// What to do for a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The held credentials are used.
    Use,
    /// They are used, and renewed meanwhile.
    UseAndRenew,
    /// There are none that are valid: the renewal is waited for.
    Renew,
    /// There are none, and it is too early to try again.
    GiveUp,
}

impl Lease {
    /// Of credentials issued `now`. `jitter`, 0 to 1, brings the renewal forward by up to a fifth of what would be left:
    /// what started together does not ask STS together.
    pub(super) fn new(now: Instant, lifetime: Option<Duration>, jitter: f64) -> Self {
        let renewal = lifetime.map(|lifetime| {
            let lead = LEAD.min(lifetime.mul_f64(1.0 - SHARE_USED));
            now + lifetime.saturating_sub(lead.mul_f64(1.0 + jitter / 5.0))
        });
        Self { renewal, end: lifetime.map(|lifetime| now + lifetime) }
    }

    /// The same, but looked at again after this long at the latest, though they may be good for longer.
    pub(super) fn looked_at_again(self, now: Instant, after: Option<Duration>) -> Self {
        let look = after.map(|after| now + after);
        Self { renewal: self.renewal.into_iter().chain(look).min(), ..self }
    }

    /// What is left; `None` = for ever.
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

/// What to do for a caller who comes `now`; `next_try` is set after a failed renewal.
pub(super) fn step(now: Instant, lease: Option<&Lease>, next_try: Option<Instant>) -> Step {
    let may_try = next_try.is_none_or(|at| at <= now);
    match lease.filter(|lease| !lease.has_ended(now)) {
        // What failed early, because the credentials were rejected, is tried again like what failed when it was due.
        Some(lease) if (lease.is_due(now) || next_try.is_some()) && may_try => Step::UseAndRenew,
        Some(_) => Step::Use,
        None if may_try => Step::Renew,
        None => Step::GiveUp,
    }
}

/// The wait after so many failed renewals in a row before this one: 1 s, doubled each time up to a minute; `jitter`, 0
/// to 1, makes it 75 % to 125 % of that.
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
    fn an_hour_is_renewed_with_a_quarter_left_and_a_short_life_with_a_share_of_it() {
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
    fn what_a_caller_gets_depends_on_the_time_alone() {
        let start = Instant::now();
        let lease = Lease::new(start, Some(minutes(60)), 0.0);
        let early = Some(start + minutes(300));
        for (after, next_try, expected) in [
            (0, None, Step::Use),
            (1, early, Step::Use),
            (1, Some(start), Step::UseAndRenew),
            (44, None, Step::Use),
            (45, None, Step::UseAndRenew),
            (45, early, Step::Use),
            (59, Some(start), Step::UseAndRenew),
            (60, None, Step::Renew),
            (60, early, Step::GiveUp),
        ] {
            assert_eq!(step(start + minutes(after), Some(&lease), next_try), expected, "{after} min, {next_try:?}");
        }
        assert_eq!(step(start, None, None), Step::Renew);
        assert_eq!(step(start, None, early), Step::GiveUp);
        let lasting = Lease::new(start, None, 0.5);
        assert_eq!(step(start + minutes(1_000_000), Some(&lasting), None), Step::Use);
    }

    #[test]
    fn failures_wait_ever_longer_up_to_a_minute() {
        let waits: Vec<u64> = (0..9).map(|failures| backoff(failures, 0.5).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(backoff(0, 0.0) >= Duration::from_millis(750) && backoff(99, 1.0) <= Duration::from_secs(75));
    }
}
