//! The settings of the adaptive rate, found by simulation: another caller takes a part of the limit for a minute.
//!
//! `cargo bench --bench adaptive` prints, for a grid of settings and several kinds of neighbours and round trips, the
//! worst throttled share of our calls, our worst rate while the neighbour calls, and the longest time to be back above
//! 48 calls a second after it has stopped. Everything runs in virtual time.

use std::time::Duration;

use live_message_operator::budget::Settings;

mod simulation;

use simulation::{DELAYS, worst};

fn main() {
    println!("worst of 40 runs each: throttled %, our rate /s, seconds until we are back above 48/s");
    println!("drop  plateau s  power | refused calls do not count   | refused calls count");
    for drop in [0.15, 0.2, 0.25, 0.3, 0.35] {
        for plateau in [3000, 3250, 3500, 3750] {
            for power in [3, 5] {
                print(Settings { drop, plateau: Duration::from_millis(plateau), power, ..Settings::default() });
            }
        }
    }
    println!("the settings in use:");
    print(Settings::default());
}

fn print(settings: Settings) {
    let shown = |refused_count| {
        let worst = worst(settings, refused_count, &DELAYS);
        format!("{:8.2} {:8.2} {:8.2}", worst.throttled_share * 100.0, worst.rate, worst.back_after)
    };
    println!(
        "{:4.2} {:10.1} {:6} | {}   | {}",
        settings.drop,
        settings.plateau.as_secs_f64(),
        settings.power,
        shown(false),
        shown(true)
    );
}
