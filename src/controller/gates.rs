//! Gates: a cause of failure that many objects share is probed by one of them while the others wait.
//!
//! A gate shuts when a call fails for such a cause and opens when a call shows it gone. Pure: time is told by the
//! caller.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use super::line::Line;
use crate::decide::GateKind;
use crate::resources::Reason;

/// The first distance between two probes. "At most one a minute" for credentials and permissions.
const PROBE_INTERVAL: Duration = Duration::from_secs(60);

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
    /// Asks whether `key` may make a call that stands behind `gates`; parks it where it may not.
    pub fn pass(&mut self, gates: &[GateKey], key: &K, now: Instant) -> Passage {
        for name in gates {
            let Some(gate) = self.shut.get_mut(name) else { continue };
            gate.drop_silent_prober(now);
            match &gate.prober {
                Some((prober, _)) if prober == key => continue,
                None if gate.next_probe <= now => {
                    gate.parked.leave(key);
                    gate.prober = Some((key.clone(), now + PROBER_PATIENCE));
                }
                _ => {
                    gate.parked.join(key);
                    return Passage::Shut(gate.reason, gate.message.clone());
                }
            }
        }
        Passage::Free
    }

    /// A call of `key` failed for this gate's cause: the gate is shut, and `key` waits behind it. Whether it was open.
    pub fn shut(&mut self, name: GateKey, key: &K, reason: Reason, message: &str, now: Instant) -> bool {
        let lasting = matches!(name.kind, GateKind::App | GateKind::Quota);
        let was_open = !self.shut.contains_key(&name);
        let gate = self.shut.entry(name).or_insert_with(|| Gate {
            reason,
            message: message.to_owned(),
            parked: Line::default(),
            prober: None,
            next_probe: now,
            interval: PROBE_INTERVAL,
        });
        gate.reason = reason;
        message.clone_into(&mut gate.message);
        let probed = gate.prober.as_ref().is_some_and(|(prober, _)| prober == key);
        if was_open || probed {
            gate.prober = None;
            gate.next_probe = now + gate.interval;
            if lasting {
                gate.interval = (gate.interval * 2).min(LONGEST_INTERVAL);
            }
        }
        gate.parked.join(key);
        was_open
    }

    /// A recorded status tells that this gate was shut when the process ended: it is probed at once, by one object.
    pub fn remember(&mut self, name: GateKey, key: &K, reason: Reason, message: &str, now: Instant) {
        self.shut(name.clone(), key, reason, message, now);
        if let Some(gate) = self.shut.get_mut(&name)
            && gate.prober.is_none()
        {
            gate.next_probe = now;
            gate.interval = PROBE_INTERVAL;
        }
    }

    /// A call of `key` has shown that the cause is gone; who may go on. Of an app's free places one success shows one:
    /// that gate stays and lets the next one probe at once.
    pub fn open(&mut self, name: &GateKey, key: &K, now: Instant) -> Vec<K> {
        if name.kind == GateKind::Quota {
            let Some(gate) = self.shut.get_mut(name) else { return Vec::new() };
            gate.parked.leave(key);
            gate.prober = None;
            gate.next_probe = now;
            gate.interval = PROBE_INTERVAL;
            if gate.parked.is_empty() {
                self.shut.remove(name);
            }
            return Vec::new();
        }
        self.shut.remove(name).map_or_else(Vec::new, |gate| gate.parked.into_all())
    }

    /// A probe told nothing about the cause (time-out, throttling): the next one may be sent soon.
    pub fn inconclusive(&mut self, name: &GateKey, key: &K, now: Instant) {
        if let Some(gate) = self.shut.get_mut(name)
            && gate.prober.as_ref().is_some_and(|(prober, _)| prober == key)
        {
            gate.prober = None;
            gate.next_probe = now + PROBE_INTERVAL;
            gate.parked.join(key);
        }
    }

    /// Whether the gate is shut.
    pub fn is_shut(&self, name: &GateKey) -> bool {
        self.shut.contains_key(name)
    }

    /// The object is gone, or has nothing to do behind a gate any more.
    pub fn forget(&mut self, key: &K) {
        self.shut.retain(|_, gate| {
            gate.parked.leave(key);
            if gate.prober.as_ref().is_some_and(|(prober, _)| prober == key) {
                gate.prober = None;
            }
            !gate.parked.is_empty() || gate.prober.is_some()
        });
    }

    /// Chooses a prober for every gate that is due; they are to be woken.
    pub fn due(&mut self, now: Instant) -> Vec<K> {
        let mut probers = Vec::new();
        for gate in self.shut.values_mut() {
            gate.drop_silent_prober(now);
            if gate.prober.is_none()
                && gate.next_probe <= now
                && let Some(key) = gate.parked.pop()
            {
                gate.prober = Some((key.clone(), now + PROBER_PATIENCE));
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

impl<K> Gate<K> {
    fn drop_silent_prober(&mut self, now: Instant) {
        if self.prober.as_ref().is_some_and(|(_, patience)| *patience <= now) {
            self.prober = None;
        }
    }
}
