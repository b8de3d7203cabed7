//! The work queue: one entry per object, never two workers on one object.
//!
//! An object waits in one of four places: for a worker (*waiting*), for a moment (*delayed*), for a permit of an
//! operation (*ready*), or it is being worked on (*active*). In the first and the third it stands in a lane, first in
//! first out; a lane only rises while it waits. Pure: time is told by the caller.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

use crate::decide::Lane;

/// Of this many that are served, one is taken from a lower lane that has any, the lowest and the middle one in turn:
/// so that no lane starves.
const SHARE: u64 = 10;

/// What becomes of an entry whose worker is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next<S> {
    /// Nothing more to do.
    Done,
    /// Again after a delay.
    After(Duration),
    /// Again when a permit of this slot is granted.
    Ready(S),
}

/// How many objects are in which place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Depths<S> {
    /// Waiting for a worker, by lane.
    pub waiting: [usize; 3],
    /// Waiting for a moment.
    pub delayed: usize,
    /// Waiting for a permit, by its slot.
    pub ready: Vec<(S, usize)>,
    /// Being worked on.
    pub active: usize,
}

#[derive(Debug, Clone, Copy)]
enum Place<S> {
    Waiting { seq: u64, kept: Option<(S, Lane, u64)> },
    Delayed { until: Instant, seq: u64 },
    Ready { slot: S, seq: u64 },
    Active { dirty: Option<Lane>, kept: Option<(S, Lane, u64)> },
}

#[derive(Debug, Clone, Copy)]
struct Entry<S> {
    lane: Lane,
    place: Place<S>,
}

/// Keys in lanes, first in first out.
#[derive(Debug)]
struct Lanes<K> {
    lanes: [BTreeMap<u64, K>; 3],
    served: u64,
}

impl<K> Default for Lanes<K> {
    fn default() -> Self {
        Self { lanes: [BTreeMap::new(), BTreeMap::new(), BTreeMap::new()], served: 0 }
    }
}

impl<K> Lanes<K> {
    fn insert(&mut self, lane: Lane, seq: u64, key: K) {
        self.lanes[lane as usize].insert(seq, key);
    }

    fn remove(&mut self, lane: Lane, seq: u64) {
        self.lanes[lane as usize].remove(&seq);
    }

    fn len(&self) -> usize {
        self.lanes.iter().map(BTreeMap::len).sum()
    }

    fn pop(&mut self) -> Option<K> {
        self.served += 1;
        let order: [usize; 3] = match (self.served.is_multiple_of(SHARE), (self.served / SHARE).is_multiple_of(2)) {
            (false, _) => [2, 1, 0],
            (true, false) => [0, 1, 2],
            (true, true) => [1, 0, 2],
        };
        order.into_iter().find_map(|lane| self.lanes[lane].pop_first().map(|(_, key)| key))
    }
}

/// The queue of keys `K`, with ready queues by slot `S`.
#[derive(Debug)]
pub struct Queue<K, S> {
    entries: HashMap<K, Entry<S>>,
    waiting: Lanes<K>,
    ready: HashMap<S, Lanes<K>>,
    delayed: BTreeSet<(Instant, u64, K)>,
    seq: u64,
}

impl<K: Clone + Eq + Hash + Ord, S: Copy + Eq + Hash> Default for Queue<K, S> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            waiting: Lanes::default(),
            ready: HashMap::new(),
            delayed: BTreeSet::new(),
            seq: 0,
        }
    }
}

impl<K: Clone + Eq + Hash + Ord, S: Copy + Eq + Hash> Queue<K, S> {
    /// An object has work. A change brings a delayed one forward and marks an active one dirty; any other lane leaves
    /// these two as they are, for their own pass is going on. One that waits for a permit is decided again.
    pub fn add(&mut self, key: &K, lane: Lane) {
        self.put(key, lane, lane == Lane::Change);
    }

    /// What an object waited for has come: it is brought forward whatever its lane.
    pub fn wake(&mut self, key: &K, lane: Lane) {
        self.put(key, lane, true);
    }

    fn put(&mut self, key: &K, lane: Lane, urgent: bool) {
        self.seq += 1;
        let seq = self.seq;
        let Some(entry) = self.entries.get_mut(key) else {
            self.entries.insert(key.clone(), Entry { lane, place: Place::Waiting { seq, kept: None } });
            self.waiting.insert(lane, seq, key.clone());
            return;
        };
        let before = entry.lane;
        let raised = before.max(lane);
        match entry.place {
            Place::Active { ref mut dirty, .. } => {
                if urgent {
                    *dirty = Some(dirty.map_or(lane, |already| already.max(lane)));
                }
                return;
            }
            Place::Delayed { until, seq: at } => {
                if !urgent {
                    return;
                }
                self.delayed.remove(&(until, at, key.clone()));
                entry.place = Place::Waiting { seq, kept: None };
            }
            Place::Waiting { seq: at, kept } => {
                if raised == before {
                    return;
                }
                self.waiting.remove(before, at);
                entry.place = Place::Waiting { seq, kept };
            }
            Place::Ready { slot, seq: at } => {
                if let Some(lanes) = self.ready.get_mut(&slot) {
                    lanes.remove(before, at);
                }
                entry.place = Place::Waiting { seq, kept: Some((slot, before, at)) };
            }
        }
        entry.lane = raised;
        self.waiting.insert(raised, seq, key.clone());
    }

    /// The next object for a worker; it is active until [`Queue::finish`].
    pub fn pop(&mut self) -> Option<(K, Lane)> {
        let key = self.waiting.pop()?;
        let entry = self.entries.get_mut(&key)?;
        let kept = if let Place::Waiting { kept, .. } = entry.place { kept } else { None };
        entry.place = Place::Active { dirty: None, kept };
        Some((key, entry.lane))
    }

    /// The best object that waits for a permit of `slot`; it is active until [`Queue::finish`].
    pub fn pop_ready(&mut self, slot: S) -> Option<(K, Lane)> {
        let key = self.ready.get_mut(&slot)?.pop()?;
        let entry = self.entries.get_mut(&key)?;
        entry.place = Place::Active { dirty: None, kept: None };
        Some((key, entry.lane))
    }

    /// A worker is done with an active object, which goes on in `lane`. Dirty, it waits for a worker again.
    pub fn finish(&mut self, key: &K, lane: Lane, next: Next<S>, now: Instant) {
        self.seq += 1;
        let seq = self.seq;
        let Some(entry) = self.entries.get_mut(key) else { return };
        let Place::Active { dirty, kept } = entry.place else { return };
        if let Some(dirty) = dirty {
            // A pass that is not at its end goes on, and not in a lesser lane because something lesser woke it.
            let dirty = if matches!(next, Next::Done) { dirty } else { dirty.max(lane) };
            entry.lane = dirty;
            entry.place = Place::Waiting { seq, kept: kept.filter(|_| matches!(next, Next::Ready(_))) };
            self.waiting.insert(dirty, seq, key.clone());
            return;
        }
        match next {
            Next::Done => {
                self.entries.remove(key);
            }
            Next::After(delay) => {
                let until = now + delay;
                *entry = Entry { lane, place: Place::Delayed { until, seq } };
                self.delayed.insert((until, seq, key.clone()));
            }
            Next::Ready(slot) => {
                // Decided again to the same end: it keeps its place.
                let seq = match kept {
                    Some((before, in_lane, at)) if before == slot && in_lane == lane => at,
                    _ => seq,
                };
                *entry = Entry { lane, place: Place::Ready { slot, seq } };
                self.ready.entry(slot).or_default().insert(lane, seq, key.clone());
            }
        }
    }

    /// Every object that waits for a permit is decided again: what it waits for may have become pointless.
    pub fn recheck(&mut self, concerns: impl Fn(S) -> bool) {
        let waiting: Vec<(K, Lane)> = self
            .entries
            .iter()
            .filter(|(_, entry)| matches!(entry.place, Place::Ready { slot, .. } if concerns(slot)))
            .map(|(key, entry)| (key.clone(), entry.lane))
            .collect();
        for (key, lane) in waiting {
            self.add(&key, lane);
        }
    }

    /// There will be no more permits of these slots: who waits for one is decided again.
    pub fn close(&mut self, concerns: impl Fn(S) -> bool) {
        self.recheck(&concerns);
        self.ready.retain(|slot, _| !concerns(*slot));
    }

    /// Lets the delayed ones whose moment has come wait for a worker; how many they were.
    pub fn release(&mut self, now: Instant) -> usize {
        let mut released = 0;
        while self.delayed.first().is_some_and(|(until, ..)| *until <= now) {
            let Some((_, _, key)) = self.delayed.pop_first() else { break };
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            // It begins to wait now: behind those that waited while it was delayed.
            self.seq += 1;
            entry.place = Place::Waiting { seq: self.seq, kept: None };
            self.waiting.insert(entry.lane, self.seq, key);
            released += 1;
        }
        released
    }

    /// How many wait for a moment.
    pub fn delayed(&self) -> usize {
        self.delayed.len()
    }

    /// When the next delayed one is due.
    pub fn next_release(&self) -> Option<Instant> {
        self.delayed.first().map(|(until, ..)| *until)
    }

    /// Whether the object is in the queue, in whatever place.
    pub fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    /// How many wait for a worker.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many are in which place.
    pub fn depths(&self) -> Depths<S> {
        let waiting = self.waiting.lanes.each_ref().map(BTreeMap::len);
        let ready: Vec<(S, usize)> = self.ready.iter().map(|(slot, lanes)| (*slot, lanes.len())).collect();
        let delayed = self.delayed.len();
        let resting = waiting.iter().sum::<usize>() + delayed + ready.iter().map(|(_, count)| count).sum::<usize>();
        Depths { waiting, delayed, ready, active: self.entries.len().saturating_sub(resting) }
    }

    /// How many wait for a permit of `slot`.
    pub fn ready(&self, slot: S) -> usize {
        self.ready.get(&slot).map_or(0, Lanes::len)
    }
}
