//! Tests the call rate across takeovers. The processes of [`simulation`] crash, freeze, restart, and lose the
//! connection to the apiserver.

mod events;
mod simulation;

use std::time::Duration;

use super::settings::ElectionSettings;
use crate::budget::{DOCUMENTED_LIMIT, TAKEOVER_DELAY, busiest_second, simulated_hours};
use simulation::{Outcome, Rules, simulate};

const LIMIT: usize = DOCUMENTED_LIMIT as usize;

const HOUR: Duration = Duration::from_secs(3600);

/// The rules of the operator.
fn rules() -> Rules {
    let settings = ElectionSettings::default();
    Rules { settings, takeover_delay: TAKEOVER_DELAY, counts_from_answer: false, checks_before_sending: true }
}

/// Runs several simulations. Returns the largest number of arrivals in any second, and the number of calls that
/// processes sent without holding the Lease.
fn worst(rules: Rules) -> (usize, usize) {
    let outcomes: Vec<Outcome> = (0..4).map(|seed| simulate(rules, HOUR / 2, seed)).collect();
    let busiest = outcomes.iter().map(|outcome| busiest_second(&outcome.arrived)).max().unwrap();
    (busiest, outcomes.iter().map(|outcome| outcome.sent_without_lease).sum())
}

#[test]
fn takeovers_never_exceed_the_limit() {
    let (mut calls, mut takeovers) = (0, 0);
    let hours = simulated_hours(5).as_secs() / HOUR.as_secs();
    for seed in 0..hours {
        let outcome = simulate(rules(), HOUR, seed);
        let busiest = busiest_second(&outcome.arrived);
        assert!(busiest <= LIMIT, "seed {seed}: {busiest} calls in one second");
        assert_eq!(outcome.sent_without_lease, 0, "seed {seed}");
        calls += outcome.arrived.len();
        takeovers += outcome.takeovers;
    }
    println!("simulated {calls} calls and {takeovers} takeovers in {hours} hours");
    let hours = usize::try_from(hours).unwrap();
    assert!(calls > 80_000 * hours && takeovers > 60 * hours, "{calls} calls, {takeovers} takeovers");
}

/// Settings that leave no safety margin: the last calls of a leader arrive when its lease expires.
fn shortest() -> ElectionSettings {
    let [lease_duration, renew_deadline, retry_period] = [8, 3, 1].map(Duration::from_secs);
    ElectionSettings { lease_duration, renew_deadline, retry_period }.check().unwrap()
}

#[test]
fn shortest_valid_lease_never_exceeds_the_limit() {
    let (busiest, without_lease) = worst(Rules { settings: shortest(), ..rules() });
    assert!(busiest <= LIMIT && without_lease == 0, "{busiest} calls in one second, {without_lease} without the Lease");
}

#[test]
fn lease_shorter_than_late_calls_exceeds_the_limit() {
    let lease_duration = Duration::from_secs(14);
    let settings = ElectionSettings { lease_duration, ..ElectionSettings::default() };
    assert!(settings.check().is_err());
    let (busiest, _) = worst(Rules { settings, ..rules() });
    println!("{busiest} calls in one second");
    assert!(busiest > LIMIT, "only {busiest} calls in one second");
}

#[test]
fn deadline_that_counts_from_the_answer_exceeds_the_limit() {
    let (busiest, _) = worst(Rules { counts_from_answer: true, ..rules() });
    println!("{busiest} calls in one second");
    assert!(busiest > LIMIT, "only {busiest} calls in one second");
}

#[test]
fn successor_that_does_not_wait_exceeds_the_limit() {
    let (busiest, _) = worst(Rules { settings: shortest(), takeover_delay: Duration::ZERO, ..rules() });
    println!("{busiest} calls in one second");
    assert!(busiest > LIMIT, "only {busiest} calls in one second");
}

#[test]
fn process_that_does_not_check_sends_without_the_lease() {
    let (_, without_lease) = worst(Rules { checks_before_sending: false, ..rules() });
    assert!(without_lease > 0);
}
