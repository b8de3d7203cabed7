//! Tests that the operator adapts its call rate while another client uses half of the limit. The tests run the
//! simulation in `benches/simulation.rs` in virtual time, because results in real time vary too much for strict bounds.

#[path = "../benches/simulation.rs"]
mod simulation;

use live_message_operator::budget::Settings;

#[test]
fn rate_adapts_to_another_client_and_recovers_in_10_s() {
    // With a longer delay, more calls are in flight when the first call is throttled, so the bound is higher.
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
