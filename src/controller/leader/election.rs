//! The rules of leader election, modeled on client-go's `leaderelection` package.
//!
//! The rules are pure. The `lease` module sends the requests and passes the current time to the rules. The rules have
//! these invariants:
//!
//! - A leader stops at the renew deadline. The deadline counts from the moment at which the leader *sent* its last
//!   successful write. The apiserver stores the write after that moment, so no other process can see it earlier.
//! - A process takes over the Lease of another process only if the Lease has not changed for the lease duration. The
//!   process measures this duration with its own monotonic clock, from the moment at which it saw the last change. It
//!   never compares its clock with the times in the Lease, because the clocks of machines differ.
//! - An update fails if the resourceVersion has changed, and a create fails if the Lease exists. If two processes see
//!   the same version of the Lease and both write, one of the writes therefore fails.
//!
//! The leader therefore stops at least `lease duration - renew deadline` before any other process can take over.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

use super::settings::{ElectionSettings, LONGEST_LEASE};

/// The name of the Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseName {
    /// The namespace of the Lease.
    pub namespace: String,
    /// The name of the Lease in its namespace.
    pub name: String,
}

impl std::fmt::Display for LeaseName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The role of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The process waits for the Lease.
    Standby,
    /// The process holds the Lease.
    Leader {
        /// When the process learned that it had acquired the Lease.
        acquired: Instant,
        /// The renew deadline. From then on, the process is [`Role::Deposed`], unless it renews the Lease first.
        until: Instant,
    },
    /// The process has lost the Lease. It never leads again.
    Deposed,
}

/// A write that acquires or renews the Lease.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// The Lease to write. Unless the Lease is new, its resourceVersion must match the stored one.
    pub lease: Lease,
    /// Whether to create the Lease instead of replacing it.
    pub is_new: bool,
}

/// The Lease as it was last seen.
#[derive(Debug)]
struct Observed {
    lease: Lease,
    /// Whether the Lease still existed when it was last read.
    exists: bool,
    /// When this process first saw this version of the Lease.
    since: Instant,
}

/// The election from the point of view of one process.
#[derive(Debug)]
pub struct Election {
    identity: String,
    name: LeaseName,
    settings: ElectionSettings,
    role: Role,
    /// `None` until the first read.
    observed: Option<Observed>,
}

impl Election {
    /// Creates the election for a process with this identity. No other process may use the same identity, and a
    /// restarted process needs a new one.
    pub fn new(identity: String, name: LeaseName, settings: ElectionSettings) -> Self {
        Self { identity, name, settings, role: Role::Standby, observed: None }
    }

    /// The role at `now`.
    pub fn role(&mut self, now: Instant) -> Role {
        if matches!(self.role, Role::Leader { until, .. } if until <= now) {
            self.role = Role::Deposed;
        }
        self.role
    }

    /// The holder in the last observed Lease; `None` if it had no holder.
    pub fn holder(&self) -> Option<&str> {
        spec(self.observed.as_ref()?)?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
    }

    /// The longest time to wait for the answer to a request that is sent at `now`. A leader does not wait beyond its
    /// deadline. A timeout of half the renew deadline leaves time for a second request on a new connection, as in
    /// client-go.
    pub fn request_timeout(&self, now: Instant) -> Duration {
        let longest = self.settings.renew_deadline / 2;
        match self.role {
            Role::Leader { until, .. } => longest.min(until.saturating_duration_since(now)),
            Role::Standby | Role::Deposed => longest,
        }
    }

    /// Records the result of a read: `lease` is `None` if the Lease does not exist, and `now` is a time after the
    /// answer arrived.
    pub fn observe(&mut self, lease: Option<Lease>, now: Instant) {
        match (lease, &mut self.observed) {
            // Deletion does not end the lease, because the holder learns about the deletion only at its next renewal.
            (None, Some(known)) => known.exists = false,
            (None, none) => *none = Some(Observed { lease: Lease::default(), exists: false, since: now }),
            // All fields are compared, because the resourceVersion may repeat after etcd is restored.
            (Some(lease), Some(known)) if known.exists && known.lease == lease => {}
            (Some(lease), observed) => *observed = Some(Observed { lease, exists: true, since: now }),
        }
        let is_led = matches!(self.role(now), Role::Leader { .. });
        if is_led && self.holder().is_some_and(|holder| holder != self.identity) {
            self.role = Role::Deposed;
        }
    }

    /// Returns the write that acquires or renews the Lease at `now`. Returns `None` if the process has not read the
    /// Lease yet or may not claim it. `wall` is the wall-clock time to write to the Lease.
    pub fn claim(&mut self, now: Instant, wall: Timestamp) -> Option<Write> {
        let may_claim = match self.role(now) {
            Role::Leader { .. } => true,
            Role::Standby => self.is_free(now),
            Role::Deposed => false,
        };
        let observed = self.observed.as_ref().filter(|_| may_claim)?;
        let previous = spec(observed).cloned().unwrap_or_default();
        let is_own = self.holder() == Some(&*self.identity);
        let transitions = match previous.lease_transitions {
            None if !observed.exists => 0,
            count if is_own => count.unwrap_or_default(),
            count => count.unwrap_or_default().saturating_add(1),
        };
        let mut lease = self.with_spec(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(self.settings.lease_seconds()),
            acquire_time: previous.acquire_time.filter(|_| is_own).or(Some(MicroTime(wall))),
            renew_time: Some(MicroTime(wall)),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        })?;
        if !observed.exists {
            let (namespace, name) = (Some(self.name.namespace.clone()), Some(self.name.name.clone()));
            lease.metadata = ObjectMeta { namespace, name, ..ObjectMeta::default() };
        }
        Some(Write { lease, is_new: !observed.exists })
    }

    /// Records a successful write. `lease` is the answer, `sent` is a time before the request was sent, and `now` is a
    /// time after the answer arrived.
    pub fn written(&mut self, lease: Lease, sent: Instant, now: Instant) {
        self.observe(Some(lease), now);
        let until = sent + self.settings.renew_deadline;
        // A standby that was frozen during the request may learn too late that it acquired the Lease.
        if self.holder() != Some(&*self.identity) || until <= now {
            return;
        }
        self.role = match self.role {
            Role::Standby => Role::Leader { acquired: now, until },
            Role::Leader { acquired, .. } => Role::Leader { acquired, until },
            Role::Deposed => Role::Deposed,
        };
    }

    /// Returns the Lease without a holder, to be written during an orderly shutdown. Returns `None` if this process
    /// does not hold the Lease. A deposed process never releases the Lease, because its last calls may still arrive.
    /// The Lease must not end before then.
    pub fn release(&mut self, now: Instant, wall: Timestamp) -> Option<Lease> {
        let is_own = self.observed.as_ref().is_some_and(|known| known.exists) && self.holder() == Some(&*self.identity);
        if !is_own || self.role(now) == Role::Deposed {
            return None;
        }
        self.with_spec(LeaseSpec {
            // client-go writes the same values. The apiserver requires a positive duration.
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            acquire_time: Some(MicroTime(wall)),
            renew_time: Some(MicroTime(wall)),
            lease_transitions: self.observed.as_ref().and_then(spec).and_then(|spec| spec.lease_transitions),
            ..LeaseSpec::default()
        })
    }

    /// Returns when to start the next attempt if the last one started at `started`. `random` is between 0 and 1.
    pub fn next_attempt(&self, started: Instant, now: Instant, random: f64) -> Instant {
        let period = self.settings.retry_period;
        if matches!(self.role, Role::Leader { .. }) {
            return (started + period).max(now);
        }
        // A standby tries twice as often as the leader renews, so that a released Lease is soon acquired.
        let retry = now + (period / 2).mul_f64(1.0 + (ElectionSettings::JITTER - 1.0) * random);
        // If the leader has failed, the standby waits at most until the lease expires.
        self.expires().filter(|expires| *expires > now).map_or(retry, |expires| expires.min(retry))
    }

    /// Whether the last observed Lease has no holder, has expired, or is already held by this process. The last case
    /// occurs if the answer to an earlier write was lost.
    fn is_free(&self, now: Instant) -> bool {
        self.holder().is_none_or(|holder| holder == self.identity) || self.expires().is_some_and(|at| at <= now)
    }

    /// Returns when the last observed Lease expires, unless it changes before then.
    fn expires(&self) -> Option<Instant> {
        let observed = self.observed.as_ref()?;
        let seconds = spec(observed).and_then(|spec| u64::try_from(spec.lease_duration_seconds?).ok());
        let duration = seconds.map(Duration::from_secs).filter(|time| !time.is_zero() && *time <= LONGEST_LEASE);
        // A duration that another client wrote must neither block the takeover for hours nor allow it immediately.
        Some(observed.since + duration.unwrap_or(self.settings.lease_duration))
    }

    /// Returns a copy of the last observed Lease with a new spec. The copy keeps the labels and annotations.
    fn with_spec(&self, spec: LeaseSpec) -> Option<Lease> {
        let observed = self.observed.as_ref()?;
        Some(Lease { spec: Some(spec), ..observed.lease.clone() })
    }
}

fn spec(observed: &Observed) -> Option<&LeaseSpec> {
    observed.lease.spec.as_ref()
}
