//! Simulates an operator and another client that share the limit of an account, in virtual time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use live_message_operator::budget::{AcquireResult, PermitOutcome, START_DELAY, Settings, Window};

const SECOND: u64 = 1_000_000;
/// The simulated one-way delays, in microseconds.
pub const DELAYS: [u64; 4] = [500, 5_000, 25_000, 60_000];
/// The time at which the other client starts, in microseconds. The client makes calls until [`UNTIL`].
const FROM: u64 = 20 * SECOND;
const UNTIL: u64 = FROM + 60 * SECOND;
const END: u64 = UNTIL + 30 * SECOND;

/// The simulated service, which accepts at most 50 calls in any interval of one second.
struct Service {
    accepted: VecDeque<u64>,
    rejected_count: bool,
}

impl Service {
    fn call(&mut self, at: u64) -> bool {
        while self.accepted.front().is_some_and(|first| at - first >= SECOND) {
            self.accepted.pop_front();
        }
        let free = self.accepted.len() < 50;
        if free || self.rejected_count {
            self.accepted.push_back(at);
        }
        free
    }
}

#[derive(Clone, Copy, Debug)]
struct Scene {
    /// The average one-way delay, in microseconds. Each call and each response has a random delay between 50% and 150%
    /// of this average.
    delay: u64,
    /// Whether the other client sends its 25 calls in a burst at the start of each second.
    burst: bool,
    rejected_count: bool,
}

#[derive(Debug, Default, Clone, Copy)]
pub struct Outcome {
    /// The share of the operator's calls that were rejected while the other client made calls.
    pub throttled_share: f64,
    /// The operator's accepted calls per second while the other client made calls, except for the first five seconds.
    pub rate: f64,
    /// The time until the operator makes 48 calls per second again, in seconds. If the round trip does not allow this
    /// rate, a lower rate is sufficient.
    pub back_after: f64,
}

fn other_client(scene: Scene, random: &mut fastrand::Rng) -> VecDeque<u64> {
    let mut calls = VecDeque::new();
    for second in FROM / SECOND..UNTIL / SECOND {
        for call in 0..25 {
            let offset = if scene.burst { call * 1000 } else { call * 40_000 + random.u64(0..5_000) };
            calls.push_back(second * SECOND + offset);
        }
    }
    calls
}

/// The arrival of a call at the service, or of its response at the operator.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    Accepted,
    Refused,
}

fn simulate(settings: Settings, scene: Scene, seed: u64) -> Outcome {
    let mut random = fastrand::Rng::with_seed(seed);
    let start = Instant::now();
    let at = |us: u64| start + Duration::from_micros(us);
    let mut window = Window::with(50, settings, start + START_DELAY);
    let mut service = Service { accepted: VecDeque::new(), rejected_count: scene.rejected_count };
    let mut others = other_client(scene, &mut random);
    let mut events: BinaryHeap<Reverse<(u64, Event)>> = BinaryHeap::new();
    let (mut now, mut calls, mut refused) = (0, 0_u32, 0_u32);
    let mut accepted = Vec::new();
    while now < END {
        // Process the events and the calls of both clients in chronological order.
        let due = events.peek().map_or(u64::MAX, |Reverse((time, _))| *time);
        let other = others.front().copied().unwrap_or(u64::MAX);
        let wanted = match window.try_acquire(at(now)) {
            AcquireResult::Now => {
                let delay = random.u64(scene.delay / 2..=scene.delay * 3 / 2);
                events.push(Reverse((now + delay, Event::Arrival)));
                continue;
            }
            AcquireResult::NotBefore(moment) => {
                u64::try_from((moment - start).as_micros()).unwrap_or(u64::MAX).max(now + 1)
            }
            AcquireResult::AfterReturn => u64::MAX,
        };
        let next = wanted.min(due).min(other);
        now = next.max(now);
        if other <= now {
            others.pop_front();
            service.call(other);
            continue;
        }
        if due <= now
            && let Some(Reverse((time, event))) = events.pop()
        {
            let back = time + random.u64(scene.delay / 2..=scene.delay * 3 / 2);
            match event {
                Event::Arrival => {
                    let taken = service.call(time);
                    if (FROM..UNTIL).contains(&time) {
                        calls += 1;
                        refused += u32::from(!taken);
                    }
                    if taken {
                        accepted.push(time);
                    }
                    events.push(Reverse((back, if taken { Event::Accepted } else { Event::Refused })));
                }
                Event::Accepted => window.return_permit(PermitOutcome::Answered, at(time)),
                Event::Refused => window.return_permit(PermitOutcome::Throttled(None), at(time)),
            }
        }
    }
    let meanwhile = accepted.iter().filter(|time| (FROM + 5 * SECOND..UNTIL).contains(time)).count();
    Outcome {
        throttled_share: f64::from(refused) / f64::from(calls.max(1)),
        rate: meanwhile as f64 / 55.0,
        back_after: back_after(&accepted, scene),
    }
}

/// Returns the time from the end of the other client's calls until the operator has made 48 calls within one second, in
/// seconds. If the round trip does not allow 48 calls, a lower number is sufficient.
fn back_after(accepted: &[u64], scene: Scene) -> f64 {
    let round_trip = 2.0 * scene.delay as f64 / SECOND as f64;
    let wanted = (48.0_f64).min(50.0 / (1.0 + round_trip) - 1.5) as usize;
    let after: Vec<u64> = accepted.iter().copied().filter(|time| *time >= UNTIL).collect();
    let full = (0..after.len()).find(|i| i + 1 >= wanted && after[*i] - after[i + 1 - wanted] <= SECOND);
    full.map_or(f64::INFINITY, |i| (after[i] - UNTIL) as f64 / SECOND as f64)
}

/// Returns the worst value of each result over all runs. For each delay, there are five runs in which the other client
/// spaces its calls evenly, and five runs in which it sends bursts. Each of the five uses a different seed.
pub fn worst(settings: Settings, rejected_count: bool, delays: &[u64]) -> Outcome {
    let mut worst = Outcome { throttled_share: 0.0, rate: f64::INFINITY, back_after: 0.0 };
    for delay in delays.iter().copied() {
        for burst in [false, true] {
            for seed in 0..5 {
                let one = simulate(settings, Scene { delay, burst, rejected_count }, seed);
                worst.throttled_share = worst.throttled_share.max(one.throttled_share);
                worst.rate = worst.rate.min(one.rate);
                worst.back_after = worst.back_after.max(one.back_after);
            }
        }
    }
    worst
}
