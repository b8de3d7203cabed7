//! How fast to call when somebody else calls on the same account: the rate shrinks at once on a throttling answer and
//! recovers, slowly near the rate that was throttled last and ever faster beyond it (the cubic growth of TCP CUBIC).
//!
//! Plain additive increase cannot have both: slow enough to probe a shared limit with few refusals, and fast enough to
//! be back soon after the other caller has stopped. The settings come from `benches/adaptive.rs`.

use std::time::{Duration, Instant};

/// How the rate reacts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// What is left of the rate after a throttling answer, as a factor.
    pub backoff: f64,
    /// The growth: calls a second per cubed second.
    pub growth: f64,
    /// Throttling answers this soon after one that was reacted to tell nothing new: their calls were out already.
    pub guard: Duration,
    /// The rate never falls below this many calls a second.
    pub floor: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { backoff: 0.85, growth: 0.12, guard: Duration::from_millis(400), floor: 1.0 }
    }
}

/// The adaptive rate of one (account, operation).
#[derive(Debug)]
pub struct Adaptive {
    settings: Settings,
    limit: f64,
    /// The rate at which the last throttling answer came, and when; `None` while there was none, or it is outgrown.
    reduced: Option<Reduced>,
}

#[derive(Debug, Clone, Copy)]
struct Reduced {
    at: Instant,
    from: f64,
    to: f64,
}

impl Adaptive {
    /// A rate that starts at `limit` calls a second, and never exceeds it.
    pub fn new(limit: u32, settings: Settings) -> Self {
        Self { settings, limit: f64::from(limit), reduced: None }
    }

    /// Calls a second, now.
    pub fn rate(&mut self, now: Instant) -> f64 {
        let Some(reduced) = self.reduced else { return self.limit };
        let rate = self.grown(reduced, now);
        if rate >= self.limit {
            self.reduced = None;
            return self.limit;
        }
        rate
    }

    fn grown(&self, reduced: Reduced, now: Instant) -> f64 {
        let growth = self.settings.growth;
        let seconds = now.saturating_duration_since(reduced.at).as_secs_f64();
        let plateau = ((reduced.from - reduced.to) / growth).cbrt();
        (reduced.from + growth * (seconds - plateau).powi(3)).max(self.settings.floor)
    }

    /// A throttling answer came.
    pub fn throttled(&mut self, now: Instant) {
        if let Some(reduced) = self.reduced
            && now.saturating_duration_since(reduced.at) < self.settings.guard
        {
            return;
        }
        let rate = self.rate(now);
        let to = (rate * self.settings.backoff).max(self.settings.floor);
        // Throttled below the last ceiling: somebody takes more than before, so the next plateau is lower still.
        let from = match self.reduced {
            Some(before) if rate < before.from => rate * (1.0 + self.settings.backoff) / 2.0,
            _ => rate,
        };
        self.reduced = Some(Reduced { at: now, from: from.max(to), to });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(n: f64) -> Duration {
        Duration::from_secs_f64(n)
    }

    #[test]
    fn the_rate_shrinks_at_once_and_comes_back() {
        let start = Instant::now();
        let mut rate = Adaptive::new(50, Settings::default());
        assert_eq!(rate.rate(start), 50.0);
        rate.throttled(start);
        assert!((rate.rate(start) - 42.5).abs() < 0.01, "{}", rate.rate(start));
        let mut before = rate.rate(start);
        for tenth in 1..150 {
            let now = rate.rate(start + second(f64::from(tenth) / 10.0));
            assert!(now >= before && now <= 50.0);
            before = now;
        }
        assert_eq!(before, 50.0);
    }

    #[test]
    fn answers_to_calls_that_were_out_already_shrink_it_once() {
        let start = Instant::now();
        let mut rate = Adaptive::new(50, Settings::default());
        for call in 0..10 {
            rate.throttled(start + second(f64::from(call) / 100.0));
        }
        assert!(rate.rate(start) > 42.0);
        rate.throttled(start + second(0.5));
        assert!(rate.rate(start + second(0.5)) < 40.0);
    }

    #[test]
    fn throttled_for_ever_it_stays_at_the_floor() {
        let start = Instant::now();
        let mut rate = Adaptive::new(50, Settings::default());
        for n in 0..1000 {
            rate.throttled(start + second(f64::from(n)));
        }
        assert_eq!(rate.rate(start + second(999.0)), 1.0);
        assert_eq!(rate.rate(start + second(1100.0)), 50.0);
    }
}
