//! Delays requests by the time in the apiserver's `Retry-After` header.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{Response, StatusCode};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

/// The maximum delay. A longer `Retry-After` is reduced to this maximum, so that a wrong value does not stop the
/// operator.
const LONGEST: Duration = Duration::from_secs(60);

/// Stores when a client may send requests again after the apiserver requested a delay.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<Option<Instant>>);

impl Throttle {
    /// Waits until the requested delay is over.
    pub async fn wait(&self) {
        // Another response may prolong the delay during the wait.
        while let Some(until) = self.until() {
            sleep_until(until).await;
        }
    }

    /// Records the delay if the response has status 429 and a `Retry-After` header in seconds. Returns the response.
    pub fn observe<B>(&self, response: Response<B>) -> Response<B> {
        if let Some(delay) = delay_of(&response) {
            let until = Instant::now() + delay;
            let previous = self.until();
            if previous.is_none() {
                tracing::warn!(seconds = delay.as_secs(), "delaying requests because the apiserver sent Retry-After");
            }
            *self.0.lock() = previous.max(Some(until));
        }
        response
    }

    fn until(&self) -> Option<Instant> {
        let mut until = self.0.lock();
        *until = until.filter(|until| *until > Instant::now());
        *until
    }
}

fn delay_of<B>(response: &Response<B>) -> Option<Duration> {
    if response.status() != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: &str) -> Response<()> {
        Response::builder().status(status).header(RETRY_AFTER, retry_after).body(()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_429_with_seconds_delays_and_at_most_a_minute() {
        for (status, retry_after, seconds) in
            [(429, "3", 3), (429, "0", 0), (429, "86400", 60), (429, "Wed, 21 Oct 2026 07:28:00 GMT", 0), (503, "3", 0)]
        {
            let (throttle, started) = (Throttle::default(), Instant::now());
            throttle.observe(answer(status, retry_after));
            throttle.wait().await;
            assert_eq!(started.elapsed().as_secs(), seconds, "{status} {retry_after}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn longer_delay_prevails_over_a_shorter_one() {
        let (throttle, started) = (Throttle::default(), Instant::now());
        throttle.observe(answer(429, "30"));
        throttle.observe(answer(429, "1"));
        throttle.wait().await;
        assert_eq!(started.elapsed().as_secs(), 30);
    }
}
