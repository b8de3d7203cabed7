//! How long a pass waits before it tries again.

use std::time::Duration;

use super::{Pass, StepContext};

/// The delay after the first failure; it doubles with every further one.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// The longest delay while few objects fail.
const LONGEST_DELAY_OF_FEW: Duration = Duration::from_secs(30);

/// The longest delay, however many objects fail.
const LONGEST_DELAY: Duration = Duration::from_secs(300);

/// The number of failing objects that try again in a second, all together: an outage does not use up the account's
/// limit, and a single object that fails repeatedly does not wait for minutes.
const RETRIES_PER_SECOND: u32 = 10;

/// The delay after a refusal of unknown meaning.
const SLOW_DELAY: Duration = Duration::from_secs(600);

/// The delay after a read for which the permission is missing.
const FORBIDDEN_DELAY: Duration = Duration::from_secs(30);

/// The longest delay before a failed write is repeated.
const LONGEST_WRITE_DELAY: Duration = Duration::from_secs(30);

impl Pass {
    /// The delay after one more failure.
    pub(super) fn backoff(&mut self, context: &StepContext) -> Duration {
        let delay = FIRST_DELAY * 2_u32.saturating_pow(self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let together = Duration::from_secs(context.delayed as u64) / RETRIES_PER_SECOND;
        delay.min(together.clamp(LONGEST_DELAY_OF_FEW, LONGEST_DELAY)).mul_f64(context.jitter)
    }

    /// The delay before a read or a write of the object is repeated.
    pub(super) fn write_backoff(&mut self, context: &StepContext) -> Duration {
        self.backoff(context).min(LONGEST_WRITE_DELAY)
    }
}

/// The delay before something is tried again that was refused for an unknown reason.
pub fn slow(context: &StepContext) -> Duration {
    SLOW_DELAY.mul_f64(context.jitter)
}

/// The delay before an object is read again that the operator may not read.
pub fn forbidden(context: &StepContext) -> Duration {
    FORBIDDEN_DELAY.mul_f64(context.jitter)
}
