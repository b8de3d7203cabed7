//! The delay after a failed list or watch.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use tokio::time::Instant;

const FIRST_DELAY: Duration = Duration::from_millis(500);

const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// A delay that doubles up to a limit and is reset after 15 s without a failure. A success does not reset it, because
/// the watcher reports the start of a list as a success even if the list then fails.
#[derive(Debug)]
pub struct WatchBackoff {
    next: Duration,
    failed: Option<Instant>,
}

impl Default for WatchBackoff {
    fn default() -> Self {
        Self { next: FIRST_DELAY, failed: None }
    }
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let now = Instant::now();
        if self.failed.replace(now).is_none_or(|failed| failed + 3 * LONGEST_DELAY < now) {
            self.next = FIRST_DELAY;
        }
        let delay = self.next;
        self.next = (delay * 2).min(LONGEST_DELAY);
        Some(delay.mul_f64(0.75 + fastrand::f64() / 2.0))
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn repeated_failures_become_rare() {
        let mut backoff = WatchBackoff::default();
        let (start, mut failures) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_secs(100) {
            tokio::time::sleep(backoff.next().unwrap()).await;
            backoff.reset();
            failures += 1;
        }
        assert!((16..=32).contains(&failures), "{failures}");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(backoff.next().unwrap() < Duration::from_secs(1), "there was no failure for a minute");
    }
}
