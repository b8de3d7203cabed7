//! The events of the simulation, in chronological order.

use k8s_openapi::api::coordination::v1::Lease;

use crate::budget::PermitOutcome;
use crate::controller::leader::election::Write;

#[derive(Debug)]
pub enum Request {
    Read,
    Write(Box<Write>),
}

#[derive(Debug)]
pub enum Answer {
    Read(Option<Box<Lease>>),
    Written(Box<Lease>),
    Conflict,
}

#[derive(Debug)]
pub enum Event {
    /// A process starts an attempt to acquire or renew the Lease.
    Attempt,
    /// A request of an attempt arrives at the apiserver.
    Arrives { id: u64, request: Request },
    /// A request is answered, or times out if `answer` is `None`.
    Answered { id: u64, answer: Option<Answer> },
    /// The renew deadline of a process may have passed.
    Deadline,
    /// A process asks for a permit.
    Permit,
    /// A process sends a call, some time after it got the permit.
    Send,
    /// A call ends, and its permit is returned.
    Ended { call: Option<usize>, outcome: PermitOutcome },
    /// A process releases the Lease, after its last calls have arrived.
    Release,
    /// A process crashes, freezes, loses its connection to the apiserver, or shuts down.
    Failure,
}

/// An event for one incarnation of a process.
#[derive(Debug)]
pub struct Entry {
    pub at: u64,
    pub order: u64,
    pub process: usize,
    pub incarnation: u64,
    pub event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}
