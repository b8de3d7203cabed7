//! What the steps of a pass share: the objects, the queue, and what is known of all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::accounts::Accounts;
use super::events::Events;
use super::gates::Gates;
use super::holds::Holds;
use super::index::Index;
use super::key::Key;
use super::locked::locked;
use super::mark::Expected;
use super::objects::Objects;
use super::pass::Pass;
use super::places::Places;
use super::swept::Swept;
use super::wanted::Wanted;
use super::work::Work;
use crate::decide::Lane;
use crate::telemetry::Metrics;

/// Bounds that the user sets.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many groups an app may hold.
    pub groups_per_app: u64,
    /// After which time an object is let go whose group cannot be deleted, in a namespace that goes away.
    pub release_after: Duration,
}

/// All that the steps share.
pub struct Reconciler {
    /// The objects.
    pub objects: Objects,
    /// The accounts that are called.
    pub accounts: Accounts,
    /// The queue.
    pub work: Work,
    /// Where transitions are told.
    pub events: Events,
    /// Where what happens is counted.
    pub metrics: Arc<Metrics>,
    index: Mutex<Index>,
    gates: Mutex<Gates<Key>>,
    /// Rung when a gate shut.
    pub gate_bell: tokio::sync::Notify,
    passes: Mutex<HashMap<Key, Pass>>,
    /// Groups for which an earlier call may arrive yet.
    holds: Mutex<Holds>,
    places: Mutex<Places<Key>>,
    /// Objects whose record a sweep found contradicted, and what the record said.
    suspects: Mutex<HashMap<Key, Expected>>,
    /// Counts and lists that objects wait for.
    pub wanted: Wanted,
    /// When the apps were swept.
    pub swept: Swept,
    /// After which time an object is let go whose group cannot be deleted, in a namespace that goes away.
    pub(super) release_after: Duration,
}

impl Reconciler {
    /// A reconciler with nothing to do.
    pub fn new(objects: Objects, accounts: Accounts, events: Events, metrics: Arc<Metrics>, limits: Limits) -> Self {
        Self {
            objects,
            accounts,
            work: Work::default(),
            events,
            metrics,
            index: Mutex::default(),
            gates: Mutex::default(),
            gate_bell: tokio::sync::Notify::new(),
            passes: Mutex::default(),
            holds: Mutex::new(Holds::new(Instant::now().into_std(), jiff::Timestamp::now())),
            places: Mutex::new(Places::new(limits.groups_per_app)),
            suspects: Mutex::default(),
            wanted: Wanted::default(),
            swept: Swept::default(),
            release_after: limits.release_after,
        }
    }

    /// The index of all objects.
    pub fn index(&self) -> MutexGuard<'_, Index> {
        locked(&self.index)
    }

    /// The gates.
    pub fn gates(&self) -> MutexGuard<'_, Gates<Key>> {
        locked(&self.gates)
    }

    /// Groups for which an earlier call may arrive yet.
    pub(super) fn holds(&self) -> MutexGuard<'_, Holds> {
        locked(&self.holds)
    }

    /// The places of the apps.
    pub fn places(&self) -> MutexGuard<'_, Places<Key>> {
        locked(&self.places)
    }

    /// A list contradicts what the record of this object says: it is looked at, after everything that users wait for.
    pub fn suspect(&self, key: &Key, contradicted: Expected) {
        locked(&self.suspects).insert(key.clone(), contradicted);
        self.work.add(key, Lane::Sweep);
    }

    /// How many objects are to be looked at because of a list.
    pub fn suspects(&self) -> usize {
        locked(&self.suspects).len()
    }

    /// Looks again at objects: their group changed hands, or what they waited for has come.
    pub fn wake_all(&self, keys: impl IntoIterator<Item = Key>) {
        for key in keys {
            self.work.wake(&key, Lane::Change);
        }
    }

    /// The object is gone: everything known of it goes too.
    pub fn forget(&self, key: &Key) {
        let peers = self.index().remove(key);
        self.rest(key);
        self.accounts.leave(key);
        locked(&self.suspects).remove(key);
        self.wake_all(peers);
    }

    /// The object has nothing more to do: no place is kept for it and it waits behind no gate; where it was the prober of
    /// one, another one is.
    pub(super) fn rest(&self, key: &Key) {
        self.places().forget(key);
        self.gates().forget(key);
        self.gate_bell.notify_one();
    }

    /// What a list contradicted of this object, once.
    pub(super) fn take_suspect(&self, key: &Key) -> Option<Expected> {
        locked(&self.suspects).remove(key)
    }

    /// The pass that was kept of this object.
    pub(super) fn taken_pass(&self, key: &Key) -> Option<Pass> {
        locked(&self.passes).remove(key)
    }

    pub(super) fn keep_pass(&self, key: &Key, pass: Pass) {
        locked(&self.passes).insert(key.clone(), pass);
    }

    pub(super) fn change_pass<T>(&self, key: &Key, change: impl FnOnce(&mut Pass) -> T) -> Option<T> {
        locked(&self.passes).get_mut(key).map(change)
    }

    pub(super) fn release(&self, key: &Key) {
        let peers = self.index().release(key);
        self.wake_all(peers);
    }
}
