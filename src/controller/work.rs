//! The queue as the tasks share it: its lock, and who is woken when.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, sleep_until};

use super::accounts::{AccountId, Slot};
use super::key::Key;
use super::locked::locked;
use super::queue::{Depths, Next, Queue};
use crate::decide::Lane;
use crate::live::Operation;

/// The operations of which objects wait for permits.
pub const OPERATIONS: [Operation; 5] =
    [Operation::Create, Operation::Describe, Operation::Modify, Operation::Delete, Operation::Recover];

/// The queue and its bells.
#[derive(Debug, Default)]
pub struct Work {
    queue: Mutex<Queue<Key, Slot>>,
    waiting: Notify,
    ready: Mutex<HashMap<Slot, Arc<Notify>>>,
    delayed: Notify,
}

impl Work {
    fn queue(&self) -> MutexGuard<'_, Queue<Key, Slot>> {
        locked(&self.queue)
    }

    fn bell(&self, slot: Slot) -> Arc<Notify> {
        let mut bells = locked(&self.ready);
        Arc::clone(bells.entry(slot).or_default())
    }

    /// An account is gone: who waited for one of its permits is decided again.
    pub fn end_account(&self, account: AccountId) {
        self.queue().close(|slot| slot.account == account);
        self.waiting.notify_one();
        locked(&self.ready).retain(|slot, _| slot.account != account);
    }

    /// See [`Queue::add`].
    pub fn add(&self, key: &Key, lane: Lane) {
        self.queue().add(key, lane);
        self.waiting.notify_one();
    }

    /// See [`Queue::wake`].
    pub fn wake(&self, key: &Key, lane: Lane) {
        self.queue().wake(key, lane);
        self.waiting.notify_one();
    }

    /// Brings an object forward that is in the queue; one that is not has nothing to do.
    pub fn nudge(&self, key: &Key) {
        let mut queue = self.queue();
        if queue.contains(key) {
            queue.wake(key, Lane::Change);
            drop(queue);
            self.waiting.notify_one();
        }
    }

    /// Decides every object again that waits for a permit.
    pub fn recheck(&self) {
        self.queue().recheck(|_| true);
        self.waiting.notify_one();
    }

    /// Waits for an object to work on.
    pub async fn next(&self) -> (Key, Lane) {
        loop {
            let bell = self.waiting.notified();
            let (next, more) = {
                let mut queue = self.queue();
                (queue.pop(), queue.waiting() > 0)
            };
            if more {
                self.waiting.notify_one();
            }
            if let Some(next) = next {
                return next;
            }
            bell.await;
        }
    }

    /// Waits until an object waits for a permit of `slot`.
    pub async fn someone_ready(&self, slot: Slot) {
        let bell = self.bell(slot);
        loop {
            let rung = bell.notified();
            if self.queue().ready(slot) > 0 {
                return;
            }
            rung.await;
        }
    }

    /// The best object that waits for a permit of `slot`.
    pub fn take_ready(&self, slot: Slot) -> Option<(Key, Lane)> {
        self.queue().pop_ready(slot)
    }

    /// How many wait for a permit of `slot`.
    pub fn ready(&self, slot: Slot) -> usize {
        self.queue().ready(slot)
    }

    /// See [`Queue::depths`].
    pub fn depths(&self) -> Depths<Slot> {
        self.queue().depths()
    }

    /// How many wait for a moment.
    pub fn delayed(&self) -> usize {
        self.queue().delayed()
    }

    /// See [`Queue::finish`].
    pub fn finish(&self, key: &Key, lane: Lane, next: Next<Slot>) {
        self.queue().finish(key, lane, next, Instant::now().into_std());
        match next {
            Next::Ready(slot) => self.bell(slot).notify_one(),
            Next::After(_) => self.delayed.notify_one(),
            Next::Done => {}
        }
        // Dirty, it went back to the workers whatever `next` says.
        self.waiting.notify_one();
    }

    /// Brings delayed objects back when their moment comes; never returns.
    pub async fn release_delayed(&self) {
        loop {
            let bell = self.delayed.notified();
            let (released, next) = {
                let mut queue = self.queue();
                (queue.release(Instant::now().into_std()), queue.next_release())
            };
            if released > 0 {
                self.waiting.notify_one();
            }
            bell_or(bell, next).await;
        }
    }
}

/// Waits for the bell, or for a moment where there is one.
pub async fn bell_or(bell: Notified<'_>, at: Option<std::time::Instant>) {
    match at {
        None => bell.await,
        Some(at) => {
            tokio::select! {
                () = bell => {}
                () = sleep_until(Instant::from_std(at)) => {}
            }
        }
    }
}
