//! An estimate of how fast calls can be sent.

use std::time::Duration;

/// An estimate of when the waiting calls can be sent. Each answer to a call can change the estimate.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pace {
    /// The time until the first waiting call can be sent.
    pub delay: Duration,
    /// Calls per second; `None` if there is no limit.
    pub per_second: Option<f64>,
}

impl Pace {
    /// The time until this number of calls is sent.
    pub fn time_for(self, calls: usize) -> Duration {
        let seconds = self.per_second.map_or(0.0, |per_second| calls as f64 / per_second);
        self.delay.saturating_add(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    /// The pace of calls that are limited by both paces.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            delay: self.delay.max(other.delay),
            per_second: self.per_second.into_iter().chain(other.per_second).reduce(f64::min),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_follows_from_the_delay_and_the_lower_rate() {
        let seconds = Duration::from_secs;
        let own = Pace { delay: seconds(6), per_second: Some(50.0) };
        assert_eq!(own.time_for(5_000), seconds(106));
        assert_eq!(own.and(Pace::default()), own, "no limit changes nothing");
        let shared = Pace { delay: seconds(1), per_second: Some(10.0) };
        assert_eq!(own.and(shared).time_for(100), seconds(16));
        assert_eq!(Pace { delay: seconds(1), per_second: Some(0.0) }.time_for(1), Duration::MAX, "never");
    }
}
