//! Runs electors with random failures.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;

use super::fake::{Mode, Shared, client, start};

/// The processes start, stop, crash and lose the connection to the apiserver at random. At most one of them leads at
/// any time.
#[tokio::test(start_paused = true)]
async fn random_schedules_have_at_most_one_leader() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let server = Shared::default();
        let network = Arc::new(Mutex::new(fastrand::Rng::with_seed(seed + 1000)));
        let delays = move || {
            let mut random = network.lock();
            // One request in ten can be so slow that the process stops waiting for the answer.
            let longest = if random.u8(0..10) == 0 { 9_000 } else { 400 };
            (random.u64(0..longest), random.u64(0..longest))
        };
        let (mut processes, mut terms) = (Vec::new(), 0);
        let mut led = false;
        for step in 0..2_000 {
            while processes.len() < 2 {
                processes.push(start(client(&server, delays.clone()), &format!("{step}-{}", processes.len())));
            }
            sleep(Duration::from_millis(random.u64(1..400))).await;
            let leaders = processes.iter().filter(|process| process.may_send()).count();
            assert!(leaders <= 1, "seed {seed}, step {step}");
            terms += usize::from(leaders == 1 && !led);
            led = leaders == 1;
            match random.u8(0..100) {
                0 => {
                    // A killed process can no longer send anything, so it does not count as a leader.
                    processes.swap_remove(random.usize(0..2)).task.abort();
                }
                1 => processes[random.usize(0..2)].may_release.cancel(),
                2 => server.lock().mode = [Mode::Silent, Mode::LosesAnswers, Mode::Fails(500)][random.usize(0..3)],
                3..8 => server.lock().mode = Mode::Answers,
                _ => {}
            }
            processes.retain(|process| !process.task.is_finished());
        }
        assert!(terms >= 3, "seed {seed}: {terms} terms");
    }
}
