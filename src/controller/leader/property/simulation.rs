//! Simulates processes that share a Lease and send calls as fast as their budgets permit. Times are in microseconds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;

use super::events::{Answer, Entry, Event, Request};
use crate::budget::{AcquireResult, DOCUMENTED_LIMIT, LATE_ARRIVAL, PermitOutcome, Window};
use crate::controller::leader::ElectionSettings;
use crate::controller::leader::election::{Election, LeaseName, Role, Write};

const PROCESSES: usize = 3;
const SECOND: u64 = 1_000_000;
const LATE_ARRIVAL_US: u64 = LATE_ARRIVAL.as_micros() as u64;
const CALL_TIMEOUT: u64 = 10 * SECOND;
/// The longest one-way delay of a call that is not lost.
const LONGEST_DELAY: u64 = SECOND / 50;

/// The rules of a simulated operator. Some tests disable one rule to show that it is necessary.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub settings: ElectionSettings,
    /// How long a new leader waits before its first call.
    pub takeover_delay: Duration,
    /// Whether the renew deadline counts from the time when the renewal was answered, instead of the time when it was
    /// sent.
    pub counts_from_answer: bool,
    /// Whether a process checks its leadership before each call.
    pub checks_before_sending: bool,
}

/// The result of a simulation.
#[derive(Debug)]
pub struct Outcome {
    /// The sorted times at which calls arrived at the Live API.
    pub arrived: Vec<u64>,
    /// The number of calls that processes sent while they did not hold the stored Lease.
    pub sent_without_lease: usize,
    /// How often a process acquired the Lease.
    pub takeovers: usize,
}

/// An attempt in progress.
#[derive(Debug, Clone, Copy, Default)]
struct Attempt {
    started: u64,
    has_read: bool,
    /// The ID of the request that has no answer yet, and the time at which it was sent.
    id: u64,
    sent: u64,
}

struct Process {
    incarnation: u64,
    election: Election,
    attempt: Attempt,
    /// `Some` once the process leads.
    window: Option<Window>,
    waits_for_return: bool,
    is_stopping: bool,
    frozen_until: u64,
    /// Until this time, the process and the apiserver cannot reach each other.
    cut_until: u64,
    /// The calls without an answer, as indexes into `arrived`.
    out: Vec<usize>,
}

struct Simulation {
    rules: Rules,
    start: Instant,
    random: fastrand::Rng,
    now: u64,
    order: u64,
    events: BinaryHeap<Reverse<Entry>>,
    processes: Vec<Process>,
    stored: Option<Lease>,
    version: u64,
    outcome: Outcome,
}

/// Runs processes with these rules for `length`.
pub fn simulate(rules: Rules, length: Duration, seed: u64) -> Outcome {
    let outcome = Outcome { arrived: Vec::new(), sent_without_lease: 0, takeovers: 0 };
    let (random, start) = (fastrand::Rng::with_seed(seed), Instant::now());
    let (events, processes) = (BinaryHeap::new(), (0..PROCESSES).map(|slot| process(rules, slot, 0)).collect());
    let mut simulation =
        Simulation { rules, start, random, now: 0, order: 0, events, processes, stored: None, version: 0, outcome };
    for slot in 0..PROCESSES {
        simulation.push(slot, 0, Event::Attempt);
        simulation.fail_later(slot);
    }
    let end = u64::try_from(length.as_micros()).unwrap();
    while let Some(Reverse(mut entry)) = simulation.events.pop().filter(|entry| entry.0.at < end) {
        let process = &simulation.processes[entry.process];
        let is_outside = matches!(entry.event, Event::Arrives { .. });
        if entry.incarnation != process.incarnation && !is_outside {
            continue;
        }
        if entry.at < process.frozen_until && !is_outside {
            // When a frozen process continues, it handles the delayed events in their original order.
            entry.at = process.frozen_until;
            simulation.events.push(Reverse(entry));
            continue;
        }
        simulation.now = entry.at;
        simulation.handle(entry.process, entry.event);
    }
    simulation.outcome.arrived.sort_unstable();
    simulation.outcome
}

fn identity(slot: usize, incarnation: u64) -> String {
    format!("{slot}-{incarnation}")
}

fn process(rules: Rules, slot: usize, incarnation: u64) -> Process {
    let name = LeaseName { namespace: String::new(), name: String::new() };
    Process {
        incarnation,
        election: Election::new(identity(slot, incarnation), name, rules.settings),
        attempt: Attempt::default(),
        window: None,
        waits_for_return: false,
        is_stopping: false,
        frozen_until: 0,
        cut_until: 0,
        out: Vec::new(),
    }
}

impl Simulation {
    fn at(&self, us: u64) -> Instant {
        self.start + Duration::from_micros(us)
    }

    fn push(&mut self, slot: usize, at: u64, event: Event) {
        self.order += 1;
        let incarnation = self.processes[slot].incarnation;
        self.events.push(Reverse(Entry { at, order: self.order, process: slot, incarnation, event }));
    }

    /// Adds an event at `at`, rounded up to a microsecond, because a timer never fires early.
    fn push_at(&mut self, slot: usize, at: Instant, event: Event) {
        let us = u64::try_from(at.saturating_duration_since(self.start).as_nanos().div_ceil(1000)).unwrap();
        self.push(slot, us.max(self.now), event);
    }

    fn handle(&mut self, slot: usize, event: Event) {
        match event {
            Event::Attempt => self.attempt(slot),
            Event::Arrives { id, request } => self.arrives(slot, id, request),
            Event::Answered { id, answer } => {
                if id == self.processes[slot].attempt.id {
                    self.answered(slot, answer);
                }
            }
            Event::Deadline => {
                if self.role(slot) == Role::Deposed && self.rules.checks_before_sending {
                    self.exit(slot);
                }
            }
            Event::Permit => self.take_permit(slot),
            Event::Send => self.send(slot),
            Event::Ended { call, outcome } => {
                let now = self.at(self.now);
                let process = &mut self.processes[slot];
                let is_open = call.is_none_or(|call| process.out.contains(&call));
                process.out.retain(|out| Some(*out) != call);
                // If the process abandoned the call, the call may arrive after this event, so it counts as lost.
                let outcome = if is_open { outcome } else { PermitOutcome::Lost };
                process.window.as_mut().unwrap().return_permit(outcome, now);
                if std::mem::take(&mut process.waits_for_return) {
                    self.push(slot, self.now, Event::Permit);
                }
            }
            Event::Release => {
                let (now, wall) = (self.at(self.now), self.wall());
                if let Some(lease) = self.processes[slot].election.release(now, wall) {
                    let at = self.now + self.random.u64(0..SECOND);
                    let request = Request::Write(Box::new(Write { lease, is_new: false }));
                    self.push(slot, at, Event::Arrives { id: 0, request });
                }
                self.exit(slot);
            }
            Event::Failure => self.failure(slot),
        }
    }

    fn role(&mut self, slot: usize) -> Role {
        let now = self.at(self.now);
        self.processes[slot].election.role(now)
    }

    /// Returns a random wall-clock time, because the clocks of machines differ.
    fn wall(&mut self) -> Timestamp {
        Timestamp::from_second(self.random.i64(0..4_000_000_000)).unwrap()
    }

    fn attempt(&mut self, slot: usize) {
        self.processes[slot].attempt = Attempt { started: self.now, ..Attempt::default() };
        self.claim_or(slot, Some(Request::Read));
    }

    /// Writes the Lease if the process may claim it. Otherwise sends `other`, or ends the attempt if `other` is `None`.
    fn claim_or(&mut self, slot: usize, other: Option<Request>) {
        let (now, wall) = (self.at(self.now), self.wall());
        let write = self.processes[slot].election.claim(now, wall).map(|write| Request::Write(Box::new(write)));
        match write.or(other) {
            Some(request) => self.request(slot, request),
            None => self.end_attempt(slot),
        }
    }

    fn request(&mut self, slot: usize, request: Request) {
        let now = self.at(self.now);
        self.order += 1;
        let (id, process) = (self.order, &mut self.processes[slot]);
        process.attempt = Attempt { id, sent: self.now, ..process.attempt };
        let timeout = process.election.request_timeout(now);
        self.push_at(slot, now + timeout, Event::Answered { id, answer: None });
        if self.now >= self.processes[slot].cut_until {
            let delay = self.apiserver_delay();
            self.push(slot, self.now + delay, Event::Arrives { id, request });
        }
    }

    fn apiserver_delay(&mut self) -> u64 {
        let longest = if self.random.u8(0..10) == 0 { 5 * SECOND } else { SECOND / 20 };
        self.random.u64(0..longest)
    }

    /// Executes a request at the apiserver, even if the process no longer waits for the answer or is no longer running.
    fn arrives(&mut self, slot: usize, id: u64, request: Request) {
        let stored = self.stored.as_ref().map(|lease| lease.metadata.resource_version.clone());
        let answer = match request {
            Request::Read => Answer::Read(self.stored.clone().map(Box::new)),
            Request::Write(write) => {
                let Write { lease, is_new } = *write;
                let may_write =
                    if is_new { stored.is_none() } else { stored == Some(lease.metadata.resource_version.clone()) };
                if may_write { Answer::Written(Box::new(self.store(lease))) } else { Answer::Conflict }
            }
        };
        if self.now >= self.processes[slot].cut_until {
            let delay = self.apiserver_delay();
            self.push(slot, self.now + delay, Event::Answered { id, answer: Some(answer) });
        }
    }

    fn store(&mut self, mut lease: Lease) -> Lease {
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        self.stored = Some(lease.clone());
        lease
    }

    fn answered(&mut self, slot: usize, answer: Option<Answer>) {
        let now = self.at(self.now);
        let process = &mut self.processes[slot];
        let has_read = std::mem::replace(&mut process.attempt.has_read, true);
        match answer {
            Some(Answer::Read(lease)) => {
                process.election.observe(lease.map(|lease| *lease), now);
                return self.claim_or(slot, None);
            }
            Some(Answer::Conflict) if !has_read => return self.request(slot, Request::Read),
            Some(Answer::Written(lease)) => {
                let sent = if self.rules.counts_from_answer { self.now } else { process.attempt.sent };
                let sent = self.start + Duration::from_micros(sent);
                process.election.written(*lease, sent, now);
            }
            Some(Answer::Conflict) | None => {}
        }
        self.end_attempt(slot);
    }

    fn end_attempt(&mut self, slot: usize) {
        let (now, started) = (self.at(self.now), self.at(self.processes[slot].attempt.started));
        self.processes[slot].attempt.id = 0;
        match self.role(slot) {
            Role::Leader { acquired, until } => {
                self.push_at(slot, until, Event::Deadline);
                if self.processes[slot].window.is_none() {
                    let first_permit_at = acquired + self.rules.takeover_delay;
                    self.processes[slot].window = Some(Window::new(DOCUMENTED_LIMIT, first_permit_at));
                    self.outcome.takeovers += 1;
                    self.push(slot, self.now, Event::Permit);
                }
            }
            Role::Standby => {}
            Role::Deposed if self.rules.checks_before_sending => return self.exit(slot),
            Role::Deposed => {}
        }
        let random = self.random.f64();
        let next = self.processes[slot].election.next_attempt(started, now, random);
        self.push_at(slot, next, Event::Attempt);
    }

    fn take_permit(&mut self, slot: usize) {
        let now = self.at(self.now);
        let process = &mut self.processes[slot];
        if process.is_stopping {
            return;
        }
        match process.window.as_mut().unwrap().try_acquire(now) {
            AcquireResult::Now => {
                // In rare cases, the process is busy between the permit and the call.
                let pause = if self.random.u16(0..1000) == 0 { self.random.u64(0..8 * SECOND) } else { 0 };
                self.push(slot, self.now + pause, Event::Send);
                self.push(slot, self.now, Event::Permit);
            }
            AcquireResult::NotBefore(at) => self.push_at(slot, at, Event::Permit),
            AcquireResult::AfterReturn => process.waits_for_return = true,
        }
    }

    fn send(&mut self, slot: usize) {
        let is_leader = matches!(self.role(slot), Role::Leader { .. });
        if self.processes[slot].is_stopping || (self.rules.checks_before_sending && !is_leader) {
            return self.push(slot, self.now, Event::Ended { call: None, outcome: PermitOutcome::NotSent });
        }
        let holder = self.stored.as_ref().and_then(|lease| lease.spec.as_ref()?.holder_identity.clone());
        let own = identity(slot, self.processes[slot].incarnation);
        self.outcome.sent_without_lease += usize::from(holder != Some(own));
        let call = self.outcome.arrived.len();
        // A network failure often affects both the apiserver and the Live API.
        let lost = if self.now < self.processes[slot].cut_until { 50 } else { 2 };
        let (end, arrival, outcome) = if self.random.u8(0..100) < lost {
            let end = self.now + if self.random.bool() { CALL_TIMEOUT } else { self.random.u64(0..CALL_TIMEOUT) };
            let arrival = if self.random.bool() { self.late(end) } else { self.random.u64(self.now..=end) };
            (end, arrival, PermitOutcome::Lost)
        } else {
            let [there, back] = [(); 2].map(|()| self.random.u64(0..LONGEST_DELAY));
            (self.now + there + back, self.now + there, PermitOutcome::Answered)
        };
        self.outcome.arrived.push(arrival);
        self.processes[slot].out.push(call);
        self.push(slot, end, Event::Ended { call: Some(call), outcome });
    }

    /// Drops the connections of a process to the Live API. The calls that it has already sent arrive within
    /// [`LATE_ARRIVAL`].
    fn abandon_calls(&mut self, slot: usize) {
        for call in std::mem::take(&mut self.processes[slot].out) {
            if self.outcome.arrived[call] > self.now {
                self.outcome.arrived[call] = self.late(self.now);
            }
        }
    }

    /// The arrival time of a call whose process stopped waiting for the answer at `end`. Simulates the worst case, in
    /// which the call arrives almost as late as possible.
    fn late(&mut self, end: u64) -> u64 {
        end + LATE_ARRIVAL_US - self.random.u64(0..SECOND / 20)
    }

    /// Ends a process. It restarts within two seconds, with a new identity.
    fn exit(&mut self, slot: usize) {
        self.abandon_calls(slot);
        self.processes[slot] = process(self.rules, slot, self.processes[slot].incarnation + 1);
        let restart = self.now + self.random.u64(0..2 * SECOND);
        self.push(slot, restart, Event::Attempt);
        self.fail_later(slot);
    }

    fn fail_later(&mut self, slot: usize) {
        let at = self.now + self.random.u64(SECOND..90 * SECOND);
        self.push(slot, at, Event::Failure);
    }

    fn failure(&mut self, slot: usize) {
        let until = self.now + self.random.u64(0..40 * SECOND);
        match self.random.u8(0..4) {
            0 => return self.exit(slot),
            1 => {
                // While the process is frozen, the kernel still sends the data that the process has written. It also
                // receives the answers to some of the calls that arrive soon. The other calls are abandoned.
                let (arrived, soon) = (&self.outcome.arrived, self.now + LONGEST_DELAY);
                let is_answered = |call: &mut usize| self.random.bool() && arrived[*call] < soon;
                let answered = self.processes[slot].out.extract_if(.., is_answered).collect();
                self.abandon_calls(slot);
                self.processes[slot].out = answered;
                self.processes[slot].frozen_until = until;
            }
            2 => self.processes[slot].cut_until = until,
            _ => {
                self.processes[slot].is_stopping = true;
                self.abandon_calls(slot);
                return self.push(slot, self.now + LATE_ARRIVAL_US, Event::Release);
            }
        }
        self.fail_later(slot);
    }
}
