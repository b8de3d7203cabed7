//! Circuit breakers: if many objects share a cause of failure, one object probes the cause while the others are
//! blocked.
//!
//! *Closed* (not in the map): calls are sent. *Open*: the cause is known, and no call is sent before the next probe is
//! due. *Half-open*: one call is in flight, and its answer closes or reopens the breaker. The credentials of an account
//! start half-open: until the service has accepted them, only one call is in flight at a time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::controller::keys::{AccountKey, AppKey, BreakerKey, ObjectKey};
use crate::controller::pass::Explanation;
use crate::decide::FailureDomain;
use crate::live::{Call, ErrorClass};
use crate::resources::Reason;

/// The initial interval between two probes. For credentials and permissions, the interval does not increase.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(60);

/// The maximum interval between two probes of an app or of its quota. The cause may last for days, so the interval
/// doubles until it reaches this value.
const MAX_PROBE_INTERVAL: Duration = Duration::from_secs(600);

/// The interval before the next probe if the answer to a probe shows nothing about the cause.
pub const QUICK_PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// The maximum number of consecutive inconclusive probes to which [`QUICK_PROBE_INTERVAL`] applies. After further
/// inconclusive probes, [`PROBE_INTERVAL`] applies.
const MAX_QUICK_PROBES: u32 = 3;

/// A probe that has no result ends after this time.
const PROBE_TIMEOUT: Duration = Duration::from_secs(45);

/// The caller whose call decides whether a half-open breaker closes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prober {
    Object(ObjectKey),
    /// A list of the groups of an app, for a drift check or for the usage.
    List(AppKey),
}

#[derive(Debug, Clone)]
enum State {
    Open { next_probe: Instant },
    HalfOpen { probe: Option<Probe> },
}

#[derive(Debug, Clone)]
struct Probe {
    by: Prober,
    timeout: Instant,
}

#[derive(Debug)]
struct Breaker {
    /// The reason why the breaker is open; `None` if the credentials are only unverified.
    failure: Option<Explanation>,
    state: State,
    /// The time of the last probe result; `None` before the first result.
    last_probe: Option<Instant>,
    interval: Duration,
    /// The number of inconclusive probes since the last conclusive one.
    inconclusive: u32,
    /// The object that probes next, because of a forced reconcile.
    expedited: Option<ObjectKey>,
}

/// The effect of an answer on a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerEffect {
    /// The cause has ended: the breaker can close.
    Close,
    /// The cause persists: the breaker must open.
    Trip,
    /// The answer shows nothing about the cause.
    Inconclusive,
}

/// Determines how the result of a call affects a breaker of `domain`. `class` is `None` if the call succeeded.
pub fn effect_of(domain: FailureDomain, class: Option<ErrorClass>) -> BreakerEffect {
    let own = match domain {
        FailureDomain::Credentials => ErrorClass::CredentialsRejected,
        FailureDomain::Authorization(_) => ErrorClass::NotAuthorized,
        FailureDomain::App => ErrorClass::NotFound,
        FailureDomain::Quota => ErrorClass::QuotaExceeded,
    };
    match class {
        None => BreakerEffect::Close,
        Some(class) if class == own => BreakerEffect::Trip,
        // The service checks the credentials first, then the permission, then the app, and finally the quota of the
        // app.
        Some(ErrorClass::NotAuthorized) if domain == FailureDomain::Credentials => BreakerEffect::Close,
        Some(ErrorClass::NotFound)
            if matches!(domain, FailureDomain::Credentials | FailureDomain::Authorization(_)) =>
        {
            BreakerEffect::Close
        }
        Some(ErrorClass::QuotaExceeded) => BreakerEffect::Close,
        Some(ErrorClass::InvalidInput) if domain == FailureDomain::Credentials => BreakerEffect::Close,
        Some(_) => BreakerEffect::Inconclusive,
    }
}

/// The breakers that a call must pass, in the order in which the service checks their causes.
pub fn breakers_for(call: &Call, account: &AccountKey) -> Vec<BreakerKey> {
    let Some(group) = call.group() else { return Vec::new() };
    let more: &[FailureDomain] = match call {
        Call::Create(..) => &[FailureDomain::App, FailureDomain::Quota],
        Call::Recover(_) => &[FailureDomain::Quota],
        _ => &[],
    };
    let first = [FailureDomain::Credentials, FailureDomain::Authorization(call.operation())];
    let app = AppKey::new(account, &group.app_id);
    let domains = first.into_iter().chain(more.iter().copied());
    domains.map(|domain| BreakerKey::new(domain, app.clone(), group.data_center.as_deref())).collect()
}

/// All breakers that are not closed.
#[derive(Debug, Default)]
pub struct Breakers {
    breakers: HashMap<BreakerKey, Breaker>,
}

impl Breakers {
    /// Marks the credentials of an account as unverified: no call has shown that the service accepts them.
    pub fn credentials_unproven(&mut self, account: AccountKey) {
        self.breakers.insert(BreakerKey::Credentials(account), Breaker::unproven());
    }

    /// Checks whether `object` may pass all of these breakers. If so, the object starts to probe the open breakers, and
    /// their keys are returned. Otherwise, the error is the key of the first breaker that blocks the object.
    pub fn admit(
        &mut self,
        keys: &[BreakerKey],
        object: &ObjectKey,
        now: Instant,
    ) -> Result<Vec<BreakerKey>, BreakerKey> {
        let blocking = keys.iter().find(|key| {
            self.breakers.get_mut(key).is_some_and(|breaker| {
                breaker.expire_probe(now);
                !breaker.admits(object, now)
            })
        });
        if let Some(key) = blocking {
            return Err(key.clone());
        }
        let mut probed = Vec::new();
        for key in keys {
            if let Some(breaker) = self.breakers.get_mut(key)
                && breaker.failure.is_some()
            {
                breaker.start_probe(Prober::Object(object.clone()), now);
                probed.push(key.clone());
            }
        }
        Ok(probed)
    }

    /// Whether a permit may be granted to `account`. No permit may be granted while a call that verifies the
    /// credentials is in flight.
    pub fn may_grant(&self, account: &AccountKey) -> bool {
        let breaker = self.breakers.get(&BreakerKey::Credentials(account.clone()));
        breaker.is_none_or(|breaker| breaker.failure.is_some() || !breaker.is_probed())
    }

    /// Whether `prober` may send a call with the credentials of `account` now. If the credentials are unverified, only
    /// one prober may send a call, and that call verifies them.
    pub fn may_send(&mut self, account: &AccountKey, prober: &Prober, now: Instant) -> bool {
        let Some(breaker) = self.breakers.get_mut(&BreakerKey::Credentials(account.clone())) else { return true };
        breaker.expire_probe(now);
        match (&breaker.state, &breaker.failure) {
            (State::HalfOpen { probe: Some(probe) }, _) => probe.by == *prober,
            (State::HalfOpen { probe: None }, None) => {
                breaker.start_probe(prober.clone(), now);
                true
            }
            // An object has already started its probe in `admit`. A list call does not use `admit`, so its probe starts
            // here.
            (State::Open { next_probe }, _) if *next_probe <= now && matches!(prober, Prober::List(_)) => {
                breaker.start_probe(prober.clone(), now);
                true
            }
            (State::HalfOpen { probe: None } | State::Open { .. }, _) => false,
        }
    }

    /// Opens the breaker after a call failed for the breaker's cause. Returns whether the breaker was closed before, or
    /// half-open only because the credentials were unverified.
    pub fn trip(&mut self, key: &BreakerKey, prober: &Prober, failure: Explanation, now: Instant) -> bool {
        let is_lasting = matches!(key, BreakerKey::App(..) | BreakerKey::Quota(..));
        let breaker = self.breakers.entry(key.clone()).or_insert_with(Breaker::unproven);
        let is_new = breaker.failure.replace(failure).is_none();
        if is_new || breaker.is_by(prober) {
            breaker.last_probe = Some(now);
            breaker.inconclusive = 0;
            breaker.state = State::Open { next_probe: now + breaker.interval };
            if is_lasting {
                breaker.interval = (breaker.interval * 2).min(MAX_PROBE_INTERVAL);
            }
        }
        is_new
    }

    /// Opens a breaker because a recorded status shows that the breaker was open when the previous process ended. One
    /// object can probe the breaker immediately.
    pub fn restore(&mut self, key: &BreakerKey, failure: Explanation, now: Instant) {
        let breaker = self.breakers.entry(key.clone()).or_insert_with(Breaker::unproven);
        if breaker.failure.is_none() {
            breaker.failure = Some(failure);
            breaker.state = State::Open { next_probe: now };
        }
    }

    /// Closes the breaker, because a call has shown that the cause has ended. Returns whether all blocked objects can
    /// continue. A quota breaker with blocked objects stays open, because a successful call proves only that the app
    /// had one free place. The next object then probes the breaker immediately.
    pub fn close(&mut self, key: &BreakerKey, has_blocked: bool, now: Instant) -> bool {
        if matches!(key, BreakerKey::Quota(..))
            && has_blocked
            && let Some(breaker) = self.breakers.get_mut(key)
        {
            breaker.state = State::Open { next_probe: now };
            (breaker.interval, breaker.inconclusive) = (PROBE_INTERVAL, 0);
            return false;
        }
        self.breakers.remove(key).is_some()
    }

    /// Schedules the next probe after a result that shows nothing about the cause, such as a timeout or throttling. The
    /// next probe is due within seconds, because the call of another object may have a conclusive result. After several
    /// inconclusive results, the next probe is due in a minute.
    pub fn inconclusive(&mut self, key: &BreakerKey, prober: &Prober, now: Instant) {
        let Some(breaker) = self.breakers.get_mut(key).filter(|breaker| breaker.is_by(prober)) else { return };
        if breaker.failure.is_none() {
            breaker.state = State::HalfOpen { probe: None };
            return;
        }
        breaker.last_probe = Some(now);
        breaker.inconclusive += 1;
        let is_quick = breaker.inconclusive <= MAX_QUICK_PROBES;
        let interval = if is_quick { QUICK_PROBE_INTERVAL } else { PROBE_INTERVAL };
        breaker.state = State::Open { next_probe: now + interval };
    }

    /// Ends the probe of `prober`, so that another object can probe the breaker.
    pub fn release_probe(&mut self, key: &BreakerKey, prober: &Prober, now: Instant) {
        if let Some(breaker) = self.breakers.get_mut(key).filter(|breaker| breaker.is_by(prober)) {
            breaker.end_probe(now);
        }
    }

    /// Suspends the calls of an account whose credentials the service has rejected. The breaker does not open yet,
    /// because the credentials may have been renewed at their source. No other call is sent until `prober` has a
    /// result.
    pub fn suspend(&mut self, account: &AccountKey, prober: &Prober, now: Instant) {
        let key = BreakerKey::Credentials(account.clone());
        let breaker = self.breakers.entry(key).or_insert_with(Breaker::unproven);
        if breaker.failure.is_none() && !breaker.is_probed() {
            breaker.start_probe(prober.clone(), now);
        }
    }

    /// Selects `object` as the next object to probe the open breakers in `keys`, because of a forced reconcile. The
    /// next probe of a breaker is then due at the latest one minute after the previous probe.
    pub fn expedite(&mut self, keys: &[BreakerKey], object: &ObjectKey) {
        for key in keys {
            if let Some(breaker) = self.breakers.get_mut(key)
                && let State::Open { next_probe } = &mut breaker.state
            {
                breaker.expedited = Some(object.clone());
                if let Some(last) = breaker.last_probe {
                    *next_probe = (*next_probe).min(last + PROBE_INTERVAL);
                }
            }
        }
    }

    /// Returns the breakers that are due for a probe. If a user has forced a reconcile of a blocked object, that object
    /// is returned with the breaker and probes it. A breaker without blocked objects closes when its probe is due. If
    /// the breaker closed earlier, each new object would probe the cause. A credentials breaker stays open until the
    /// service accepts a call.
    pub fn due_probes(
        &mut self,
        now: Instant,
        is_waited_for: impl Fn(&BreakerKey) -> bool,
    ) -> Vec<(BreakerKey, Option<ObjectKey>)> {
        let mut due = Vec::new();
        self.breakers.retain(|key, breaker| {
            breaker.expire_probe(now);
            let State::Open { next_probe } = breaker.state else { return true };
            if next_probe > now {
                return true;
            }
            if is_waited_for(key) {
                due.push((key.clone(), breaker.expedited.take()));
                return true;
            }
            matches!(key, BreakerKey::Credentials(_))
        });
        due
    }

    pub fn start_probe(&mut self, key: &BreakerKey, object: &ObjectKey, now: Instant) {
        if let Some(breaker) = self.breakers.get_mut(key) {
            breaker.start_probe(Prober::Object(object.clone()), now);
        }
    }

    /// When [`Breakers::due_probes`] must run next; `None` if no probe can become due.
    pub fn next_due(&self, is_waited_for: impl Fn(&BreakerKey) -> bool) -> Option<Instant> {
        let events = self.breakers.iter().filter_map(|(key, breaker)| Some((key, breaker.next_event()?)));
        events.filter(|(key, _)| is_waited_for(key)).map(|(_, event)| event).min()
    }

    /// Removes the breakers of an account that was replaced or deleted, and returns their keys.
    pub fn remove_account(&mut self, account: &AccountKey) -> Vec<BreakerKey> {
        self.breakers.extract_if(|key, _| key.account() == account).map(|(key, _)| key).collect()
    }

    /// Returns why the breaker is open; `None` if it is closed, or if the credentials are only unverified.
    pub fn failure(&self, key: &BreakerKey) -> Option<&Explanation> {
        self.breakers.get(key)?.failure.as_ref()
    }

    /// Whether the last conclusive call has shown that the service accepts the credentials of this account.
    pub fn is_proven(&self, account: &AccountKey) -> bool {
        !self.breakers.contains_key(&BreakerKey::Credentials(account.clone()))
    }

    /// The reasons of all open breakers.
    pub fn reasons(&self) -> impl Iterator<Item = Reason> {
        self.breakers.values().filter_map(|breaker| breaker.failure.as_ref()).map(|failure| failure.reason)
    }
}

impl Breaker {
    fn unproven() -> Self {
        let state = State::HalfOpen { probe: None };
        let (interval, inconclusive) = (PROBE_INTERVAL, 0);
        Self { failure: None, state, last_probe: None, interval, inconclusive, expedited: None }
    }

    /// Whether `object` may pass: the object is already probing the breaker, or a probe is due. Unverified credentials
    /// do not block objects here. Instead, they limit how permits are granted.
    fn admits(&self, object: &ObjectKey, now: Instant) -> bool {
        match &self.state {
            _ if self.failure.is_none() => true,
            State::Open { next_probe } => *next_probe <= now,
            State::HalfOpen { probe: None } => true,
            State::HalfOpen { .. } => self.is_probed_by(object),
        }
    }

    fn start_probe(&mut self, by: Prober, now: Instant) {
        if !self.is_by(&by) {
            self.state = State::HalfOpen { probe: Some(Probe { by, timeout: now + PROBE_TIMEOUT }) };
        }
    }

    fn end_probe(&mut self, now: Instant) {
        self.state = match self.failure {
            Some(_) => State::Open { next_probe: now },
            None => State::HalfOpen { probe: None },
        };
    }

    fn expire_probe(&mut self, now: Instant) {
        if matches!(&self.state, State::HalfOpen { probe: Some(probe) } if probe.timeout <= now) {
            self.end_probe(now);
        }
    }

    fn is_probed(&self) -> bool {
        matches!(self.state, State::HalfOpen { probe: Some(_) })
    }

    fn is_probed_by(&self, object: &ObjectKey) -> bool {
        matches!(&self.state, State::HalfOpen { probe: Some(Probe { by: Prober::Object(by), .. }) } if by == object)
    }

    fn is_by(&self, prober: &Prober) -> bool {
        matches!(&self.state, State::HalfOpen { probe: Some(probe) } if probe.by == *prober)
    }

    fn next_event(&self) -> Option<Instant> {
        match &self.state {
            State::Open { next_probe } => Some(*next_probe),
            State::HalfOpen { probe } => probe.as_ref().map(|probe| probe.timeout),
        }
    }
}
