//! The delays before a pass is retried.

use std::time::Duration;

use super::{Pass, StepContext};

/// The delay after the first failure. It doubles with each further failure.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// The maximum delay while few objects are failing.
const LONGEST_DELAY_OF_FEW: Duration = Duration::from_secs(30);

/// The maximum delay while many objects are failing.
const LONGEST_DELAY: Duration = Duration::from_secs(300);

/// The target rate of retries per second, for all failing objects together. During an outage, this rate leaves capacity
/// in the account's rate limit. The maximum delay therefore grows with the number of failing objects, and a single
/// failing object does not wait for minutes.
const RETRIES_PER_SECOND: u32 = 10;

/// The delay after the Live API refused a call for an unknown reason.
const SLOW_DELAY: Duration = Duration::from_secs(600);

/// The delay after the apiserver refused a read because the operator lacks a permission.
const FORBIDDEN_DELAY: Duration = Duration::from_secs(30);

/// The maximum delay before a failed read or write is repeated.
const LONGEST_WRITE_DELAY: Duration = Duration::from_secs(30);

impl Pass {
    /// Counts one more failure, and returns the delay before the next attempt.
    pub(super) fn backoff(&mut self, context: &StepContext) -> Duration {
        let delay = FIRST_DELAY * 2_u32.saturating_pow(self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let together = Duration::from_secs(context.delayed as u64) / RETRIES_PER_SECOND;
        delay.min(together.clamp(LONGEST_DELAY_OF_FEW, LONGEST_DELAY)).mul_f64(context.jitter)
    }

    /// Counts one more failed read or write of the object, and returns the delay before the next attempt.
    pub(super) fn write_backoff(&mut self, context: &StepContext) -> Duration {
        self.backoff(context).min(LONGEST_WRITE_DELAY)
    }
}

/// The delay after the Live API refused a call for an unknown reason, with jitter.
pub fn slow(context: &StepContext) -> Duration {
    SLOW_DELAY.mul_f64(context.jitter)
}

/// The delay after the apiserver refused a read because the operator lacks a permission, with jitter.
pub fn forbidden(context: &StepContext) -> Duration {
    FORBIDDEN_DELAY.mul_f64(context.jitter)
}
