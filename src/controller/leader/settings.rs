//! The timing settings of leader election.

use std::time::Duration;

use crate::budget::LATE_ARRIVAL;

/// The maximum lease duration. If the Lease contains a longer duration, a standby uses its own setting instead.
pub const LONGEST_LEASE: Duration = Duration::from_secs(600);

/// The timing settings of leader election. The defaults are those of client-go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ElectionSettings {
    /// How long a standby waits after the last observed change to the Lease before it takes over.
    pub lease_duration: Duration,
    /// How long a leader continues to lead after it sends its last successful renewal.
    pub renew_deadline: Duration,
    /// The time between two renewals by the leader. A standby reads the Lease twice as often.
    pub retry_period: Duration,
}

impl Default for ElectionSettings {
    fn default() -> Self {
        let [lease_duration, renew_deadline, retry_period] = [15, 10, 2].map(Duration::from_secs);
        Self { lease_duration, renew_deadline, retry_period }
    }
}

/// Why the leader election settings are invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidElectionSettings {
    /// The lease duration is too long.
    #[error(
        "--leader-elect-lease-duration {0:?} is longer than the maximum of {LONGEST_LEASE:?}: shorten the lease \
         duration, because a standby waits for the whole lease duration after the leader fails"
    )]
    LongLease(Duration),
    /// The time between the renew deadline and the end of the lease is too short.
    #[error(
        "--leader-elect-lease-duration {lease:?} must be at least {LATE_ARRIVAL:?} longer than \
         --leader-elect-renew-deadline {renew:?}, because the last calls of a leader arrive up to {LATE_ARRIVAL:?} \
         after the renew deadline: lengthen the lease duration or shorten the renew deadline"
    )]
    ShortLease {
        /// The lease duration.
        lease: Duration,
        /// The renew deadline.
        renew: Duration,
    },
    /// The renew deadline is too short for a second attempt.
    #[error(
        "--leader-elect-renew-deadline {renew:?} must be longer than 1.2 times --leader-elect-retry-period {retry:?}: \
         lengthen the renew deadline or shorten the retry period"
    )]
    ShortDeadline {
        /// The renew deadline.
        renew: Duration,
        /// The retry period.
        retry: Duration,
    },
}

impl ElectionSettings {
    /// The maximum jitter factor. Between two attempts, a standby waits for half of the retry period, multiplied by a
    /// random number between 1 and this value.
    pub const JITTER: f64 = 1.2;

    /// Checks that, with these settings, a leader stops and its last calls arrive before its lease can expire.
    ///
    /// # Errors
    /// Returns an error whose message lists the flags to change.
    pub fn check(self) -> Result<Self, InvalidElectionSettings> {
        let Self { lease_duration: lease, renew_deadline: renew, retry_period: retry } = self;
        if lease > LONGEST_LEASE {
            return Err(InvalidElectionSettings::LongLease(lease));
        }
        // This includes client-go's check that the lease duration is longer than the renew deadline.
        if lease < renew + LATE_ARRIVAL {
            return Err(InvalidElectionSettings::ShortLease { lease, renew });
        }
        if renew <= retry.mul_f64(Self::JITTER) {
            return Err(InvalidElectionSettings::ShortDeadline { renew, retry });
        }
        Ok(self)
    }

    /// The lease duration that is written to the Lease. It is rounded up, because a standby must not expect a shorter
    /// lease than the leader does.
    pub fn lease_seconds(&self) -> i32 {
        let seconds = self.lease_duration.as_secs() + u64::from(self.lease_duration.subsec_nanos() > 0);
        i32::try_from(seconds).unwrap_or(i32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(lease: u64, renew: u64, retry: u64) -> ElectionSettings {
        let [lease_duration, renew_deadline, retry_period] = [lease, renew, retry].map(Duration::from_millis);
        ElectionSettings { lease_duration, renew_deadline, retry_period }
    }

    #[test]
    fn default_settings_are_valid() {
        assert_eq!(ElectionSettings::default().check(), Ok(settings(15_000, 10_000, 2_000)));
    }

    #[test]
    fn late_calls_must_arrive_within_the_lease() {
        assert!(settings(15_000, 10_000, 2_000).check().is_ok());
        let error = settings(14_999, 10_000, 2_000).check().unwrap_err().to_string();
        assert!(error.starts_with("--leader-elect-lease-duration 14.999s must be at least 5s longer than"), "{error}");
        let error = settings(15_000, 15_000, 2_000).check().unwrap_err();
        assert!(matches!(error, InvalidElectionSettings::ShortLease { .. }), "{error}");
    }

    #[test]
    fn renew_deadline_must_allow_a_second_attempt() {
        assert!(settings(15_000, 10_000, 8_333).check().is_ok());
        let error = settings(15_000, 10_000, 8_334).check().unwrap_err();
        assert!(matches!(error, InvalidElectionSettings::ShortDeadline { .. }), "{error}");
    }

    #[test]
    fn lease_duration_has_a_maximum() {
        assert!(settings(600_000, 10_000, 2_000).check().is_ok());
        let error = settings(600_001, 10_000, 2_000).check().unwrap_err();
        assert!(matches!(error, InvalidElectionSettings::LongLease(_)), "{error}");
    }

    #[test]
    fn lease_duration_is_rounded_up_to_seconds() {
        assert_eq!([15_000, 15_001, 15_999].map(|ms| settings(ms, 0, 0).lease_seconds()), [15, 16, 16]);
    }
}
