//! How fast to call when somebody else calls on the same account.
//!
//! A throttling answer tells how much is left for us: just as many calls as were accepted from us in the last second.
//! The rate falls below that at once and comes back along a curve that is flat where it was throttled last and steep
//! beyond: a shared limit is probed with few refusals, and a neighbour that has stopped is noticed within seconds.
//! Plain additive increase cannot have both. The settings come from `benches/adaptive.rs`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The limit is one of a sliding second.
const SECOND: Duration = Duration::from_secs(1);

/// How the rate reacts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// How far the rate falls below what was accepted, as a share of it.
    pub drop: f64,
    /// The least fall, in calls a second: the curve's steepness comes of the fall.
    pub least_drop: f64,
    /// How long it takes to come back to the rate that was throttled.
    pub plateau: Duration,
    /// The curve's odd power: the higher, the flatter its middle and the steeper its ends.
    pub power: i32,
    /// The rate never falls below this many calls a second.
    pub floor: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { drop: 0.3, least_drop: 5.0, plateau: Duration::from_millis(3250), power: 3, floor: 5.0 }
    }
}

/// The adaptive rate of one (account, operation).
#[derive(Debug)]
pub struct Adaptive {
    settings: Settings,
    limit: f64,
    /// When the calls of the last second were accepted.
    accepted: VecDeque<Instant>,
    reduced: Option<Reduced>,
}

/// The last throttling answer: when, what was left for us, and how far the rate fell below it.
#[derive(Debug, Clone, Copy)]
struct Reduced {
    at: Instant,
    left: f64,
    drop: f64,
}

impl Adaptive {
    /// A rate that starts at `limit` calls a second, and never exceeds it.
    pub fn new(limit: u32, settings: Settings) -> Self {
        Self { settings, limit: f64::from(limit), accepted: VecDeque::new(), reduced: None }
    }

    /// Calls a second, now.
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

    /// A call was accepted.
    pub fn accepted(&mut self, now: Instant) {
        self.accepted.push_back(now);
        self.forget(now);
    }

    /// A throttling answer came.
    pub fn throttled(&mut self, now: Instant) {
        self.forget(now);
        let rate = self.rate(now);
        let accepted = self.accepted.len() as f64;
        let left = match self.reduced {
            // Slower already than a second ago: the refused call was out before, and what was left is no more now.
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

    /// A rate at which `calls` were accepted in the second before `start`.
    fn used(calls: u32, start: Instant) -> Adaptive {
        let mut rate = Adaptive::new(50, Settings::default());
        for call in 0..calls {
            rate.accepted(start - SECOND * (calls - call - 1) / calls.max(1));
        }
        rate
    }

    #[test]
    fn the_rate_falls_below_what_was_accepted_and_comes_back_within_ten_seconds() {
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
    fn many_answers_at_once_reduce_it_as_one_does() {
        let start = Instant::now() + SECOND;
        let mut rate = used(25, start);
        for call in 0..10 {
            rate.throttled(after(start, f64::from(call) / 1000.0));
        }
        assert!(rate.rate(after(start, 0.01)) > 17.0, "{}", rate.rate(after(start, 0.01)));
    }

    #[test]
    fn throttled_for_ever_it_stays_at_the_floor_and_comes_back_all_the_same() {
        let start = Instant::now();
        let mut rate = Adaptive::new(50, Settings::default());
        for n in 0..100 {
            rate.throttled(after(start, f64::from(n)));
        }
        assert_eq!(rate.rate(after(start, 99.0)), 5.0);
        assert_eq!(rate.rate(after(start, 112.0)), 50.0);
    }
}
