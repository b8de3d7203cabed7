//! The adaptive rate beside a neighbor that uses half of the limit, in virtual time. The default settings must keep the
//! results of the benchmark of the same simulation. Real time is too noisy for a test; `make bench` and the throughput
//! tests print its results.

#[path = "../benches/simulation.rs"]
mod simulation;

use live_message_operator::budget::Settings;

#[test]
fn rate_beside_a_neighbor_adapts_and_recovers_in_10_s() {
    // One way takes 0.5 to 60 ms. The longer the delay, the more calls are in flight when a call is throttled.
    for (delay, max_throttled) in simulation::DELAYS.into_iter().zip([0.02, 0.02, 0.0225, 0.0225]) {
        let worst = simulation::worst(Settings::default(), false, &[delay]);
        println!("{} ms: {worst:?}", delay as f64 / 1000.0);
        assert!(worst.throttled_share < max_throttled, "{worst:?}");
        assert!(worst.rate > 22.0, "{worst:?}");
        assert!(worst.back_after <= 10.0, "{worst:?}");
    }
}

#[test]
fn rate_adapts_when_throttled_calls_count() {
    let worst = simulation::worst(Settings::default(), true, &simulation::DELAYS);
    println!("{worst:?}");
    assert!(worst.throttled_share < 0.1 && worst.rate > 15.0 && worst.back_after <= 12.0, "{worst:?}");
}
