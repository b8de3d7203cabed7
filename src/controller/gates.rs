//! Gates: a cause of failure that many objects share is probed by one of them while the others wait.
//!
//! A gate shuts when a call fails for such a cause and opens when a call shows it gone. Pure: time is told by the
//! caller.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use super::line::Line;
use crate::decide::GateKind;
use crate::resources::Reason;

/// The first distance between two probes. "At most one a minute" for credentials and permissions.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(60);

/// The longest distance: reached by gates of an app, whose cause may last for days.
const LONGEST_INTERVAL: Duration = Duration::from_secs(600);

/// A prober that has not told a result after this long is given up, and another one is chosen.
const PROBER_PATIENCE: Duration = Duration::from_secs(45);

/// Which gate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GateKey {
    /// The cause.
    pub kind: GateKind,
    /// What it is about: the account, and the app (with its data center) where the cause is one of the app.
    pub scope: String,
}

/// Whether a call may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passage {
    /// No gate is shut, or the object is the prober of the one that is.
    Free,
    /// The object waits; this is why.
    Shut(Reason, String),
}

#[derive(Debug)]
struct Gate<K> {
    reason: Reason,
    message: String,
    parked: Line<K>,
    prober: Option<(K, Instant)>,
    /// When the last probe told something; the next one goes out a minute later at the earliest.
    probed: Option<Instant>,
    next_probe: Instant,
    interval: Duration,
}

/// The gates that are shut.
#[derive(Debug)]
pub struct Gates<K> {
    shut: HashMap<GateKey, Gate<K>>,
}

impl<K> Default for Gates<K> {
    fn default() -> Self {
        Self { shut: HashMap::new() }
    }
}

impl<K: Clone + Eq + Hash> Gates<K> {
    /// Asks whether `key` may make a call that stands behind `gates`, and behind no others; parks it where it may not.
    pub fn pass(&mut self, gates: &[GateKey], key: &K, now: Instant) -> Passage {
        let mut blocked = None;
        for name in gates {
            if let Some(gate) = self.shut.get_mut(name)
                && !gate.admits(key, now)
            {
                blocked = Some(name);
                break;
            }
        }
        // Whoever is held up by one gate is no prober of another: that one would wait for it in vain.
        for (name, gate) in &mut self.shut {
            if blocked != Some(name) && (blocked.is_some() || !gates.contains(name)) {
                gate.leave(key);
            }
        }
        let Some(name) = blocked else {
            for name in gates {
                if let Some(gate) = self.shut.get_mut(name)
                    && gate.prober.is_none()
                {
                    gate.probe(key, now);
                }
            }
            return Passage::Free;
        };
        self.shut.get_mut(name).map_or(Passage::Free, |gate| {
            gate.parked.push(key);
            Passage::Shut(gate.reason, gate.message.clone())
        })
    }

    /// The gates of permissions behind which `key` waits, or which it probes: its work ends at them. Whatever it has to call
    /// before, it would call in vain.
    pub fn ahead_of(&self, key: &K) -> Vec<GateKey> {
        let permission = |name: &GateKey| matches!(name.kind, GateKind::Authorization(_));
        let ahead = self.shut.iter().filter(|(name, gate)| permission(name) && gate.concerns(key));
        ahead.map(|(name, _)| name.clone()).collect()
    }

    /// A call of `key` failed for this gate's cause: the gate is shut, and `key` waits behind it. Whether it was open.
    pub fn shut(&mut self, name: GateKey, key: &K, reason: Reason, message: &str, now: Instant) -> bool {
        let lasting = matches!(name.kind, GateKind::App | GateKind::Quota);
        let was_open = !self.shut.contains_key(&name);
        let gate = self.shut.entry(name).or_insert_with(|| Gate::new(reason, now));
        gate.reason = reason;
        message.clone_into(&mut gate.message);
        if was_open || gate.is_probed_by(key) {
            gate.prober = None;
            gate.probed = Some(now);
            gate.next_probe = now + gate.interval;
            if lasting {
                gate.interval = (gate.interval * 2).min(LONGEST_INTERVAL);
            }
        }
        gate.parked.push(key);
        was_open
    }

    /// A recorded status tells that this gate was shut when the process ended: it is probed at once, by one object. A
    /// gate that is known to be shut goes by what this process has seen: lists are repeated, probes are not.
    pub fn remember(&mut self, name: GateKey, key: &K, reason: Reason, message: &str, now: Instant) {
        let gate = self.shut.entry(name).or_insert_with(|| {
            let mut gate = Gate::new(reason, now);
            message.clone_into(&mut gate.message);
            gate
        });
        if !gate.is_probed_by(key) {
            gate.parked.push(key);
        }
    }

    /// A call of `key` has shown that the cause is gone; who may go on. Of an app's free places one success shows one:
    /// that gate stays and lets the next one probe at once.
    pub fn open(&mut self, name: &GateKey, key: &K, now: Instant) -> Vec<K> {
        if name.kind == GateKind::Quota {
            let Some(gate) = self.shut.get_mut(name) else { return Vec::new() };
            gate.leave(key);
            gate.next_probe = now;
            gate.interval = PROBE_INTERVAL;
            if gate.is_deserted() {
                self.shut.remove(name);
            }
            return Vec::new();
        }
        self.shut.remove(name).map_or_else(Vec::new, |mut gate| gate.parked.take(usize::MAX))
    }

    /// A probe told nothing about the cause (time-out, throttling): another one may be sent after a minute.
    pub fn inconclusive(&mut self, name: &GateKey, key: &K, now: Instant) {
        if let Some(gate) = self.shut.get_mut(name)
            && gate.is_probed_by(key)
        {
            gate.prober = None;
            gate.probed = Some(now);
            gate.next_probe = now + PROBE_INTERVAL;
            gate.parked.push(key);
        }
    }

    /// A person asks for `key` to be tried: of the gates that it stands behind, those that are shut are probed by it next,
    /// and as soon as a probe a minute allows.
    pub fn hasten(&mut self, gates: &[GateKey], key: &K) {
        for name in gates {
            if let Some(gate) = self.shut.get_mut(name)
                && gate.prober.is_none()
            {
                gate.parked.push_front(key);
                let earliest = gate.probed.map(|probed| probed + PROBE_INTERVAL);
                gate.next_probe = earliest.map_or(gate.next_probe, |earliest| gate.next_probe.min(earliest));
            }
        }
    }

    /// Opens every gate whose scope begins so: what it was shut for is of the past. Who waited behind them.
    pub fn release(&mut self, prefix: &str) -> Vec<K> {
        let opened = self.shut.extract_if(|name, _| name.scope.starts_with(prefix));
        opened
            .flat_map(|(_, mut gate)| {
                gate.parked.take(usize::MAX).into_iter().chain(gate.prober.map(|(prober, _)| prober))
            })
            .collect()
    }

    /// What the shut gates are shut for, one reason a gate.
    pub fn reasons(&self) -> impl Iterator<Item = Reason> {
        self.shut.values().map(|gate| gate.reason)
    }

    /// Whether the gate is shut.
    pub fn is_shut(&self, name: &GateKey) -> bool {
        self.shut.contains_key(name)
    }

    /// The object is gone, or has nothing to do behind a gate any more.
    pub fn forget(&mut self, key: &K) {
        for gate in self.shut.values_mut() {
            gate.leave(key);
        }
    }

    /// Chooses a prober for every gate that is due; they are to be woken.
    pub fn due(&mut self, now: Instant) -> Vec<K> {
        // A deserted gate is kept until its next probe, or each new object would be a probe of its own.
        self.shut.retain(|_, gate| {
            gate.drop_silent_prober(now);
            !gate.is_deserted() || gate.next_probe > now
        });
        let mut probers = Vec::new();
        for gate in self.shut.values_mut() {
            if gate.prober.is_none()
                && gate.next_probe <= now
                && let Some(key) = gate.parked.first()
            {
                gate.probe(&key, now);
                probers.push(key);
            }
        }
        probers
    }

    /// When [`Gates::due`] has something to do next.
    pub fn next_due(&self) -> Option<Instant> {
        self.shut
            .values()
            .filter(|gate| !gate.parked.is_empty())
            .map(|gate| gate.prober.as_ref().map_or(gate.next_probe, |(_, patience)| *patience))
            .min()
    }
}

impl<K: Clone + Eq + Hash> Gate<K> {
    fn new(reason: Reason, next_probe: Instant) -> Self {
        let (message, parked, prober, probed) = (String::new(), Line::default(), None, None);
        Self { reason, message, parked, prober, probed, next_probe, interval: PROBE_INTERVAL }
    }

    /// Whether `key` may pass: as the prober, or because one is wanted.
    fn admits(&mut self, key: &K, now: Instant) -> bool {
        self.drop_silent_prober(now);
        if self.prober.is_none() { self.next_probe <= now } else { self.is_probed_by(key) }
    }

    fn probe(&mut self, key: &K, now: Instant) {
        self.parked.remove(key);
        self.prober = Some((key.clone(), now + PROBER_PATIENCE));
    }

    fn leave(&mut self, key: &K) {
        self.parked.remove(key);
        if self.is_probed_by(key) {
            self.prober = None;
        }
    }

    fn is_probed_by(&self, key: &K) -> bool {
        self.prober.as_ref().is_some_and(|(prober, _)| prober == key)
    }

    fn concerns(&self, key: &K) -> bool {
        self.parked.contains(key) || self.is_probed_by(key)
    }

    fn is_deserted(&self) -> bool {
        self.prober.is_none() && self.parked.is_empty()
    }

    fn drop_silent_prober(&mut self, now: Instant) {
        if self.prober.as_ref().is_some_and(|(_, patience)| *patience <= now) {
            self.prober = None;
        }
    }
}
