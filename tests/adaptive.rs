//! The adaptive rate beside a neighbour that takes half of the limit, in virtual time: the settings in use keep what the
//! bench of the same simulation found. Real time is too noisy for a test; `make bench` and the tests of the throughput
//! print what it comes to.

#[path = "../benches/simulation.rs"]
mod simulation;

use live_message_operator::budget::Settings;

#[test]
fn a_neighbour_costs_few_refusals_and_is_outlived_within_ten_seconds() {
    // Half a millisecond to 60 ms one way; the further away, the more calls are out when a refusal is heard.
    for (delay, refused) in simulation::DELAYS.into_iter().zip([0.02, 0.02, 0.0225, 0.0225]) {
        let worst = simulation::worst(Settings::default(), false, &[delay]);
        println!("{} ms: {worst:?}", delay as f64 / 1000.0);
        assert!(worst.throttled_share < refused, "{worst:?}");
        assert!(worst.rate > 22.0, "{worst:?}");
        assert!(worst.back_after <= 10.0, "{worst:?}");
    }
}

#[test]
fn where_refused_calls_count_too_it_is_lived_with_all_the_same() {
    let worst = simulation::worst(Settings::default(), true, &simulation::DELAYS);
    println!("{worst:?}");
    assert!(worst.throttled_share < 0.1 && worst.rate > 15.0 && worst.back_after <= 12.0, "{worst:?}");
}
