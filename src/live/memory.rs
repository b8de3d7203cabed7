//! Limits the total memory that the clients of the process use for response bodies.
//!
//! If a response does not fit into the free memory, it waits. If another client holds more bytes than the waiting
//! client would, the client that holds the most bytes must end its longest response. As a result, each of `n` clients
//! can use 1/n of the memory, however slowly the endpoints of the other clients respond.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// The memory for all response bodies. It is derived from the chart's limit of 256 MiB:
///
/// | use | MiB |
/// | --- | --- |
/// | bodies | 24 |
/// | read-ahead of the connections, at most twice the delivered bytes (the read size doubles, up to 400 KiB) | 48 |
/// | text of the responses that are being decoded, at most the size of the bodies | 24 |
/// | everything else, measured after 3,731 edits of 300 accounts | 114 |
///
/// The memory for bodies is enough for three clients that each receive the longest response (8 MiB, see `Limits`).
const TOTAL: usize = 24 * 1024 * 1024;

/// A client receives only one response larger than this at a time. Otherwise, several responses could each hold a part
/// of the memory and wait for the rest.
const SMALL: usize = 64 * 1024;

/// The memory that clients share.
#[derive(Debug)]
pub struct ResponseMemory {
    ledger: Mutex<Ledger>,
    freed: Notify,
}

impl ResponseMemory {
    /// Creates response memory with a size of `bytes`.
    pub fn new(bytes: usize) -> Arc<Self> {
        let ledger = Ledger { free: bytes, ..Ledger::default() };
        Arc::new(Self { ledger: Mutex::new(ledger), freed: Notify::new() })
    }

    /// Returns the memory that all clients of this process share, 24 MiB.
    pub fn of_process() -> Arc<Self> {
        static MEMORY: LazyLock<Arc<ResponseMemory>> = LazyLock::new(|| ResponseMemory::new(TOTAL));
        Arc::clone(&MEMORY)
    }
}

/// The bytes that each response holds.
#[derive(Debug, Default)]
struct Ledger {
    free: usize,
    responses: HashMap<u64, Entry>,
    /// The bytes that each client holds, excluding the bytes of responses that must end. These sums are stored, because
    /// it would be slow to compute them for every wait.
    held: HashMap<u64, usize>,
    /// The bytes of responses that must end.
    ending: usize,
    /// The last ID that was assigned to a response or a client.
    last_id: u64,
}

#[derive(Debug)]
struct Entry {
    client: u64,
    bytes: usize,
    is_ended: bool,
    end: Arc<Notify>,
}

impl Ledger {
    fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Takes `bytes` for a response. If too few bytes are free, the method returns `false`. If necessary, it also
    /// ends responses of other clients that hold more bytes.
    fn take(&mut self, id: u64, bytes: usize) -> bool {
        if bytes <= self.free {
            let Some(entry) = self.responses.get_mut(&id) else { return false };
            entry.bytes += bytes;
            // The bytes of a response that must end do not count toward the total of its client.
            if entry.is_ended {
                self.ending += bytes;
            } else {
                *self.held.entry(entry.client).or_default() += bytes;
            }
            self.free -= bytes;
            return true;
        }
        while self.free + self.ending < bytes
            && let Some(victim) = self.victim(id, bytes)
        {
            self.end(victim);
        }
        false
    }

    /// Selects a response to end, to free `bytes` for the response `id`. Of all other clients, takes the one that holds
    /// the most bytes, and returns its longest response that is not ending yet. Returns `None` if no other client holds
    /// more bytes than the client of `id` would hold after taking `bytes`.
    fn victim(&self, id: u64, bytes: usize) -> Option<u64> {
        let client = self.responses.get(&id)?.client;
        let would_hold = self.held.get(&client).copied().unwrap_or_default() + bytes;
        let others = self.held.iter().filter(|(other, held)| **other != client && **held > would_hold);
        let (largest, _) = others.max_by_key(|(_, held)| **held)?;
        let of_largest = self.responses.iter().filter(|(_, entry)| entry.client == *largest && !entry.is_ended);
        of_largest.max_by_key(|(_, entry)| entry.bytes).map(|(id, _)| *id)
    }

    fn end(&mut self, id: u64) {
        let Some(entry) = self.responses.get_mut(&id).filter(|entry| !entry.is_ended) else { return };
        entry.is_ended = true;
        entry.end.notify_one();
        self.ending += entry.bytes;
        let (client, bytes) = (entry.client, entry.bytes);
        self.release(client, bytes);
    }

    fn remove(&mut self, id: u64) {
        let Some(entry) = self.responses.remove(&id) else { return };
        self.free += entry.bytes;
        if entry.is_ended {
            self.ending -= entry.bytes;
        } else {
            self.release(entry.client, entry.bytes);
        }
    }

    fn release(&mut self, client: u64, bytes: usize) {
        if let Some(held) = self.held.get_mut(&client) {
            *held -= bytes;
            if *held == 0 {
                self.held.remove(&client);
            }
        }
    }
}

/// The part of the memory that one client holds.
#[derive(Debug)]
pub(super) struct Share {
    memory: Arc<ResponseMemory>,
    id: u64,
    large: Arc<Semaphore>,
}

impl Share {
    pub(super) fn new(memory: Arc<ResponseMemory>) -> Arc<Self> {
        let id = memory.ledger.lock().new_id();
        Arc::new(Self { memory, id, large: Arc::new(Semaphore::new(1)) })
    }

    /// Creates a share of the same memory for another client.
    pub(super) fn of_another_client(&self) -> Arc<Self> {
        Self::new(Arc::clone(&self.memory))
    }
}

/// The bytes that one response holds until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    share: Arc<Share>,
    id: u64,
    bytes: usize,
    /// Notified when this response must be ended early to release the memory that it holds.
    end: Arc<Notify>,
    /// The time at which this response stops waiting for bytes.
    deadline: Instant,
    /// The permit to receive more than [`SMALL`] bytes. Each client has only one such permit.
    turn: Option<OwnedSemaphorePermit>,
}

impl Held {
    pub(super) fn of(share: &Arc<Share>, deadline: Instant) -> Self {
        let end = Arc::new(Notify::new());
        let mut ledger = share.memory.ledger.lock();
        let id = ledger.new_id();
        let entry = Entry { client: share.id, bytes: 0, is_ended: false, end: Arc::clone(&end) };
        ledger.responses.insert(id, entry);
        drop(ledger);
        Self { share: Arc::clone(share), id, bytes: 0, end, deadline, turn: None }
    }

    /// Waits until `bytes` are free, and takes them. Returns `false` if the deadline has passed or the response must
    /// end.
    pub(super) async fn take(&mut self, bytes: usize) -> bool {
        let (end, deadline) = (Arc::clone(&self.end), self.deadline);
        tokio::select! {
            biased;
            () = end.notified() => false,
            taken = timeout_at(deadline, self.wait_for(bytes)) => taken.is_ok(),
        }
    }

    /// Runs `step`. Returns `None` if the response must end before `step` completes.
    pub(super) async fn unless_ended<T>(&self, step: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.end.notified() => None,
            output = step => Some(output),
        }
    }

    async fn wait_for(&mut self, bytes: usize) {
        if self.turn.is_none() && self.bytes.saturating_add(bytes) > SMALL {
            self.turn = Arc::clone(&self.share.large).acquire_owned().await.ok();
        }
        loop {
            let mut freed = std::pin::pin!(self.share.memory.freed.notified());
            // Register for notifications now, because bytes can be freed between the attempt and the wait.
            freed.as_mut().enable();
            if self.share.memory.ledger.lock().take(self.id, bytes) {
                break;
            }
            freed.await;
        }
        self.bytes += bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.share.memory.ledger.lock().remove(self.id);
        self.share.memory.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
