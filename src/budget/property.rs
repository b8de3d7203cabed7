//! Tests the limit of [`Window`] with a simulated network and a process that stalls.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::window::{AcquireResult, DOCUMENTED_LIMIT, LATE_ARRIVAL, PermitOutcome, Window};

const CALLS: usize = 200_000;
const TIMEOUT_US: u64 = 10_000_000;

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

/// A limiter with the pace of the window but without its permits.
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

#[derive(Debug, Clone, Copy)]
struct Conditions {
    /// The longest usual one-way delay in microseconds. One call in twenty takes up to 50 times as long.
    delay_us: u64,
    /// Percentage of calls whose answer is lost.
    lost: u32,
    /// Percentage of calls whose connection is never established.
    never_sent: u32,
    /// How often the process stalls after a grant, per 1,000 grants.
    stalls: u32,
}

/// Sends `calls` calls through `limiter` and returns their sorted arrival times at the receiver, in microseconds.
fn arrivals(limiter: &mut dyn Limiter, start: Instant, conditions: Conditions, calls: usize, seed: u64) -> Vec<u64> {
    let mut random = fastrand::Rng::with_seed(seed);
    let at = |us: u64| start + Duration::from_micros(us);
    let mut now = 0_u64;
    let mut returns: BinaryHeap<Reverse<(u64, u8)>> = BinaryHeap::new();
    let mut arrived = Vec::with_capacity(calls);
    let mut made = 0;
    let delay = |random: &mut fastrand::Rng| {
        let typical = random.u64(0..=conditions.delay_us);
        if random.u32(0..20) == 0 { typical * random.u64(1..=50) } else { typical }
    };
    while made < calls {
        while let Some(Reverse((due, outcome))) = returns.peek().copied().filter(|Reverse((due, _))| *due <= now) {
            returns.pop();
            let outcome = [PermitOutcome::NotSent, PermitOutcome::Answered, PermitOutcome::Lost][usize::from(outcome)];
            // A stalled process notices a returned permit only after the stall.
            limiter.return_permit(outcome, at(now.max(due)));
        }
        match limiter.try_acquire(at(now)) {
            AcquireResult::Now => {}
            AcquireResult::NotBefore(moment) => {
                let due = u64::try_from((moment - start).as_micros()).unwrap().max(now + 1);
                now = returns.peek().map_or(due, |Reverse((back, _))| due.min((*back).max(now + 1)));
                continue;
            }
            AcquireResult::AfterReturn => {
                let Reverse((back, _)) = *returns.peek().unwrap();
                now = back.max(now + 1);
                continue;
            }
        }
        made += 1;
        // A stall between grant and sending delays this request and everything after it.
        if random.u32(0..1000) < conditions.stalls {
            now += random.u64(0..8_000_000);
        }
        let kind = random.u32(0..100);
        if kind < conditions.never_sent {
            returns.push(Reverse((now + delay(&mut random), 0)));
            continue;
        }
        let there = delay(&mut random);
        let back = delay(&mut random);
        if kind < conditions.never_sent + conditions.lost || there + back > TIMEOUT_US {
            let given_up = now + if random.bool() { TIMEOUT_US } else { random.u64(0..TIMEOUT_US) };
            let latest = given_up + u64::try_from(LATE_ARRIVAL.as_micros()).unwrap();
            arrived.push(random.u64(now..=latest));
            returns.push(Reverse((given_up, 2)));
        } else {
            arrived.push(now + there);
            returns.push(Reverse((now + there + back, 1)));
        }
    }
    arrived.sort_unstable();
    arrived
}

/// The largest number of arrivals in any half-open interval of one second.
fn busiest_second(arrived: &[u64]) -> usize {
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

const CONDITIONS: [Conditions; 6] = [
    Conditions { delay_us: 2_000, lost: 0, never_sent: 0, stalls: 0 },
    Conditions { delay_us: 60_000, lost: 0, never_sent: 0, stalls: 0 },
    Conditions { delay_us: 60_000, lost: 5, never_sent: 5, stalls: 2 },
    Conditions { delay_us: 400_000, lost: 1, never_sent: 0, stalls: 1 },
    Conditions { delay_us: 5_000, lost: 30, never_sent: 10, stalls: 5 },
    Conditions { delay_us: 20_000, lost: 1, never_sent: 1, stalls: 20 },
];

#[test]
fn no_second_at_the_receiver_exceeds_the_limit() {
    let start = Instant::now();
    let mut total = 0;
    for (run, conditions) in CONDITIONS.into_iter().enumerate() {
        let mut window = Window::new(DOCUMENTED_LIMIT, start);
        let arrived = arrivals(&mut window, start, conditions, CALLS, run as u64);
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
    let start = Instant::now();
    for (run, conditions) in CONDITIONS.into_iter().enumerate().skip(1) {
        let arrived = arrivals(&mut PaceOnly { next: start }, start, conditions, 20_000, run as u64);
        let most = busiest_second(&arrived);
        assert!(most > DOCUMENTED_LIMIT as usize, "only {most} in one second, {conditions:?}");
    }
}

#[test]
fn short_round_trip_keeps_the_rate_close_to_the_limit() {
    let start = Instant::now();
    let mut window = Window::new(DOCUMENTED_LIMIT, start);
    let arrived = arrivals(&mut window, start, CONDITIONS[0], 10_000, 7);
    let seconds = (arrived[arrived.len() - 1] - arrived[0]) as f64 / 1e6;
    let rate = arrived.len() as f64 / seconds;
    assert!(rate > 49.0 && rate <= 50.0, "{rate}");
}
