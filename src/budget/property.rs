//! Tests the limit of [`Window`] with a simulated network, and with processes that stall or are killed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::window::{
    AcquireResult, DOCUMENTED_LIMIT, LATE_ARRIVAL, PermitOutcome, START_DELAY, TAKEOVER_DELAY, Window,
};

const CALLS: usize = 200_000;
const TIMEOUT_US: u64 = 10_000_000;
const LATE_ARRIVAL_US: u64 = LATE_ARRIVAL.as_micros() as u64;

/// A rate limiter for the simulated caller.
trait Limiter {
    fn try_acquire(&mut self, now: Instant) -> AcquireResult;
    fn return_permit(&mut self, outcome: PermitOutcome, now: Instant);
}

impl Limiter for Window {
    fn try_acquire(&mut self, now: Instant) -> AcquireResult {
        Self::try_acquire(self, now)
    }
    fn return_permit(&mut self, outcome: PermitOutcome, now: Instant) {
        Self::return_permit(self, outcome, now);
    }
}

/// A limiter that enforces the pace of the window, but does not limit the number of permits in use.
struct PaceOnly {
    next: Instant,
}

impl Limiter for PaceOnly {
    fn try_acquire(&mut self, now: Instant) -> AcquireResult {
        if now < self.next {
            return AcquireResult::NotBefore(self.next);
        }
        self.next = now + Duration::from_millis(20);
        AcquireResult::Now
    }
    fn return_permit(&mut self, _: PermitOutcome, _: Instant) {}
}

/// A faulty window that counts lost calls as answered.
struct Trusting(Window);

impl Limiter for Trusting {
    fn try_acquire(&mut self, now: Instant) -> AcquireResult {
        self.0.try_acquire(now)
    }
    fn return_permit(&mut self, outcome: PermitOutcome, now: Instant) {
        let answered = outcome == PermitOutcome::Lost;
        self.0.return_permit(if answered { PermitOutcome::Answered } else { outcome }, now);
    }
}

#[derive(Debug, Clone, Copy)]
struct Conditions {
    /// The longest usual one-way delay in microseconds. One call in twenty takes up to 50 times as long.
    delay_us: u64,
    /// Percentage of calls whose answer is lost.
    lost: u32,
    /// Percentage of calls whose connection is never established.
    never_sent: u32,
    /// Percentage of calls that a gateway answers with a 5xx error. Such a call can still arrive at the receiver.
    failed: u32,
    /// How often the process stalls after a grant, per 1,000 grants.
    stalls: u32,
    /// How often the process is killed after a grant, per 100,000 grants. Its successor starts within 2 s.
    kills: u32,
}

/// The outcomes of simulated calls.
const OUTCOMES: [PermitOutcome; 3] = [PermitOutcome::NotSent, PermitOutcome::Answered, PermitOutcome::Lost];

/// Creates the limiter of a process that starts at the given time.
type Start<'a> = &'a dyn Fn(Instant) -> Box<dyn Limiter>;

/// Sends calls through limiters and records when they arrive. Times are in microseconds.
struct Simulation {
    start: Instant,
    random: fastrand::Rng,
    conditions: Conditions,
    now: u64,
    /// The calls that have not ended. Each entry contains the time at which the call ends, the index of its outcome in
    /// [`OUTCOMES`], and the index of its arrival in `arrived` (`None` if the request is never sent).
    out: BinaryHeap<Reverse<(u64, usize, Option<usize>)>>,
    arrived: Vec<u64>,
}

/// Sends `calls` calls and returns their sorted arrival times at the receiver, in microseconds.
fn arrivals(process: Start<'_>, conditions: Conditions, calls: usize, seed: u64) -> Vec<u64> {
    let (start, random) = (Instant::now(), fastrand::Rng::with_seed(seed));
    let (out, arrived) = (BinaryHeap::new(), Vec::with_capacity(calls));
    let mut simulation = Simulation { start, random, conditions, now: 0, out, arrived };
    let mut limiter = process(start);
    for _ in 0..calls {
        simulation.await_grant(&mut *limiter);
        // A stall after the grant of the permit delays this request and all later ones.
        if simulation.random.u32(0..1000) < conditions.stalls {
            simulation.now += simulation.random.u64(0..8_000_000);
        }
        simulation.send();
        if simulation.random.u32(0..100_000) < conditions.kills {
            simulation.kill();
            limiter = process(simulation.at(simulation.now));
        }
    }
    simulation.arrived.sort_unstable();
    simulation.arrived
}

impl Simulation {
    fn at(&self, us: u64) -> Instant {
        self.start + Duration::from_micros(us)
    }

    /// The next time after `now` at which a call ends.
    fn next_end(&self) -> Option<u64> {
        self.out.peek().map(|Reverse((end, ..))| (*end).max(self.now + 1))
    }

    fn await_grant(&mut self, limiter: &mut dyn Limiter) {
        loop {
            while let Some(Reverse((end, outcome, _))) = self.out.peek().copied().filter(|next| next.0.0 <= self.now) {
                self.out.pop();
                // A stalled process notices a returned permit only after the stall.
                limiter.return_permit(OUTCOMES[outcome], self.at(self.now.max(end)));
            }
            self.now = match limiter.try_acquire(self.at(self.now)) {
                AcquireResult::Now => return,
                AcquireResult::NotBefore(moment) => {
                    let due = u64::try_from((moment - self.start).as_micros()).unwrap().max(self.now + 1);
                    self.next_end().map_or(due, |end| due.min(end))
                }
                AcquireResult::AfterReturn => self.next_end().unwrap(),
            };
        }
    }

    fn delay(&mut self) -> u64 {
        let typical = self.random.u64(0..=self.conditions.delay_us);
        if self.random.u32(0..20) == 0 { typical * self.random.u64(1..=50) } else { typical }
    }

    fn send(&mut self) {
        let Conditions { lost, never_sent, failed, .. } = self.conditions;
        let (kind, there, back) = (self.random.u32(0..100), self.delay(), self.delay());
        if kind < never_sent {
            return self.out.push(Reverse((self.now + there, 0, None)));
        }
        let (end, outcome) = if kind < never_sent + lost || there + back > TIMEOUT_US {
            (if self.random.bool() { TIMEOUT_US } else { self.random.u64(0..TIMEOUT_US) }, 2)
        } else {
            (there + back, if kind < never_sent + lost + failed { 2 } else { 1 })
        };
        let end = self.now + end;
        let arrival = if outcome == 2 { self.random.u64(self.now..=end + LATE_ARRIVAL_US) } else { self.now + there };
        self.out.push(Reverse((end, outcome, Some(self.arrived.len()))));
        self.arrived.push(arrival);
    }

    /// Ends the process. Its calls are abandoned, and those that have not arrived yet arrive late.
    fn kill(&mut self) {
        for Reverse((_, _, call)) in std::mem::take(&mut self.out) {
            if let Some(arrival) = call.map(|call| &mut self.arrived[call]).filter(|arrival| **arrival > self.now) {
                *arrival = self.now + LATE_ARRIVAL_US - self.random.u64(0..1_000_000);
            }
        }
        self.now += self.random.u64(0..2_000_000);
    }
}

/// The largest number of arrivals in any half-open interval of one second.
pub fn busiest_second(arrived: &[u64]) -> usize {
    let mut first = 0;
    let mut most = 0;
    for last in 0..arrived.len() {
        while arrived[last] - arrived[first] >= 1_000_000 {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most
}

/// Returns how long a simulation runs in virtual time. The environment variable `LMO_SIMULATED_HOURS` overrides
/// `default`.
pub fn simulated_hours(default: u32) -> Duration {
    let hours = std::env::var("LMO_SIMULATED_HOURS").ok().map(|hours| hours.parse().expect("a number of hours"));
    Duration::from_secs(3600) * hours.unwrap_or(default)
}

const CALM: Conditions = Conditions { delay_us: 2_000, lost: 0, never_sent: 0, failed: 0, stalls: 0, kills: 0 };

const CONDITIONS: [Conditions; 8] = [
    CALM,
    Conditions { delay_us: 60_000, ..CALM },
    Conditions { delay_us: 60_000, lost: 5, never_sent: 5, stalls: 2, ..CALM },
    Conditions { delay_us: 400_000, lost: 1, stalls: 1, ..CALM },
    Conditions { delay_us: 5_000, lost: 30, never_sent: 10, stalls: 5, ..CALM },
    Conditions { delay_us: 20_000, lost: 1, never_sent: 1, stalls: 20, ..CALM },
    Conditions { delay_us: 400_000, kills: 500, ..CALM },
    Conditions { delay_us: 60_000, lost: 2, never_sent: 1, failed: 10, stalls: 1, kills: 100 },
];

/// Creates the window of a process that starts at `now`.
fn window(now: Instant) -> Box<dyn Limiter> {
    Box::new(Window::new(DOCUMENTED_LIMIT, now + START_DELAY))
}

#[test]
fn no_second_at_the_receiver_exceeds_the_limit() {
    let mut total = 0;
    for (run, conditions) in CONDITIONS.into_iter().enumerate() {
        let arrived = arrivals(&window, conditions, CALLS, run as u64);
        let most = busiest_second(&arrived);
        total += CALLS;
        println!("{conditions:?}: {} calls arrived, busiest second {most}", arrived.len());
        assert!(most <= DOCUMENTED_LIMIT as usize, "{most} in one second, {conditions:?}");
    }
    assert!(total >= 1_000_000);
    println!("simulated {total} calls");
}

#[test]
fn pace_without_window_exceeds_the_limit() {
    let process = |start| -> Box<dyn Limiter> { Box::new(PaceOnly { next: start }) };
    for (run, conditions) in CONDITIONS.into_iter().enumerate().skip(1) {
        let arrived = arrivals(&process, conditions, 20_000, run as u64);
        let most = busiest_second(&arrived);
        assert!(most > DOCUMENTED_LIMIT as usize, "only {most} in one second, {conditions:?}");
    }
}

#[test]
fn successor_without_a_lease_that_waits_1_s_exceeds_the_limit() {
    let process = |now: Instant| -> Box<dyn Limiter> { Box::new(Window::new(DOCUMENTED_LIMIT, now + TAKEOVER_DELAY)) };
    let most = busiest_second(&arrivals(&process, CONDITIONS[6], 20_000, 1));
    assert!(most > DOCUMENTED_LIMIT as usize, "only {most} in one second");
}

#[test]
fn limiter_that_trusts_failed_calls_exceeds_the_limit() {
    let conditions = Conditions { delay_us: 5_000, failed: 50, ..CALM };
    let process =
        |now: Instant| -> Box<dyn Limiter> { Box::new(Trusting(Window::new(DOCUMENTED_LIMIT, now + START_DELAY))) };
    let most = busiest_second(&arrivals(&process, conditions, 20_000, 1));
    assert!(most > DOCUMENTED_LIMIT as usize, "only {most} in one second");
}

#[test]
fn short_round_trip_keeps_the_rate_close_to_the_limit() {
    let arrived = arrivals(&window, CALM, 10_000, 7);
    let seconds = (arrived[arrived.len() - 1] - arrived[0]) as f64 / 1e6;
    let rate = arrived.len() as f64 / seconds;
    assert!(rate > 49.0 && rate <= 50.0, "{rate}");
}
