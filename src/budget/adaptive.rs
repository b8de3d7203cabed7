//! The call rate of an account that other clients may use too.
//!
//! When a call is throttled, the number of calls that were accepted in the last second shows how much of the limit the
//! other clients leave unused. The rate drops below this value and then rises along a curve. The curve is flat near the
//! value, so few calls are throttled while other clients make calls. It becomes steep above the value, so the rate
//! reaches the full limit within seconds after the other clients stop. Additive increase cannot do both. The default
//! settings were chosen with `benches/adaptive.rs`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The limit applies to every interval of this length.
const SECOND: Duration = Duration::from_secs(1);

/// Parameters of the adaptive rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// How far the rate drops below the accepted rate, as a fraction of the accepted rate.
    pub drop: f64,
    /// The smallest drop, in calls per second. The steepness of the curve is proportional to the drop.
    pub least_drop: f64,
    /// The time until the rate returns to the accepted rate.
    pub plateau: Duration,
    /// The exponent of the curve, which must be odd. A higher exponent makes the middle of the curve flatter and its
    /// ends steeper.
    pub power: i32,
    /// The lowest rate in calls per second, unless the limit is lower.
    pub floor: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { drop: 0.3, least_drop: 5.0, plateau: Duration::from_millis(3250), power: 3, floor: 5.0 }
    }
}

/// The adaptive rate of one account and operation.
#[derive(Debug)]
pub struct Adaptive {
    settings: Settings,
    limit: f64,
    /// The times at which calls were accepted in the last second.
    accepted: VecDeque<Instant>,
    reduced: Option<Reduced>,
}

/// The reduction of the rate after the last throttled call.
#[derive(Debug, Clone, Copy)]
struct Reduced {
    at: Instant,
    /// The share of the limit that other clients leave, in calls per second.
    left: f64,
    /// How far the rate dropped below this share, in calls per second.
    drop: f64,
}

impl Adaptive {
    /// A rate that starts at `limit` calls per second and never exceeds it.
    pub fn new(limit: u32, settings: Settings) -> Self {
        Self { settings, limit: f64::from(limit), accepted: VecDeque::new(), reduced: None }
    }

    /// The rate at `now`, in calls per second.
    pub fn rate(&mut self, now: Instant) -> f64 {
        let Some(Reduced { at, left, drop }) = self.reduced else { return self.limit };
        let plateau = self.settings.plateau.as_secs_f64();
        let way = now.saturating_duration_since(at).as_secs_f64() / plateau - 1.0;
        let rate = (left + drop * way.powi(self.settings.power)).max(self.settings.floor);
        if rate >= self.limit {
            self.reduced = None;
            return self.limit;
        }
        rate
    }

    /// Whether the rate is below its limit.
    pub fn is_reduced(&self) -> bool {
        self.reduced.is_some()
    }

    /// Records an accepted call.
    pub fn accepted(&mut self, now: Instant) {
        self.accepted.push_back(now);
        self.forget(now);
    }

    /// Records a throttled call and reduces the rate.
    pub fn throttled(&mut self, now: Instant) {
        self.forget(now);
        let rate = self.rate(now);
        let accepted = self.accepted.len() as f64;
        let left = match self.reduced {
            // More calls were accepted than the rate allows, so some are from before the last reduction. The count must
            // not raise the recorded share.
            Some(before) if accepted > rate => accepted.min(before.left),
            _ => accepted.min(self.limit),
        };
        let drop = (left * self.settings.drop).max(self.settings.least_drop);
        self.reduced = Some(Reduced { at: now, left, drop });
    }

    fn forget(&mut self, now: Instant) {
        while self.accepted.front().is_some_and(|first| now.saturating_duration_since(*first) >= SECOND) {
            self.accepted.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    /// Creates a rate for which `calls` calls were accepted in the second before `start`.
    fn used(calls: u32, start: Instant) -> Adaptive {
        let mut rate = Adaptive::new(50, Settings::default());
        for call in 0..calls {
            rate.accepted(start - SECOND * (calls - call - 1) / calls.max(1));
        }
        rate
    }

    #[test]
    fn throttled_rate_drops_and_recovers_within_ten_seconds() {
        let start = Instant::now() + SECOND;
        let mut rate = used(25, start);
        assert_eq!(rate.rate(start), 50.0);
        rate.throttled(start);
        assert!((rate.rate(start) - 17.5).abs() < 0.01, "{}", rate.rate(start));
        let mut before = rate.rate(start);
        for tenth in 1..=100 {
            let now = rate.rate(after(start, f64::from(tenth) / 10.0));
            assert!(now >= before && now <= 50.0);
            before = now;
        }
        assert_eq!(before, 50.0);
    }

    #[test]
    fn simultaneous_throttled_calls_reduce_the_rate_once() {
        let start = Instant::now() + SECOND;
        let mut rate = used(25, start);
        for call in 0..10 {
            rate.throttled(after(start, f64::from(call) / 1000.0));
        }
        assert!(rate.rate(after(start, 0.01)) > 17.0, "{}", rate.rate(after(start, 0.01)));
    }

    #[test]
    fn repeatedly_throttled_rate_stops_at_the_floor_and_recovers() {
        let start = Instant::now();
        let mut rate = Adaptive::new(50, Settings::default());
        for n in 0..100 {
            rate.throttled(after(start, f64::from(n)));
        }
        assert_eq!(rate.rate(after(start, 99.0)), 5.0);
        assert_eq!(rate.rate(after(start, 112.0)), 50.0);
    }
}
