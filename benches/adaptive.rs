//! Compares settings of the adaptive rate in a simulation. Another client uses part of the limit for one minute.
//!
//! `cargo bench --bench adaptive` prints one line for each combination of settings: the throttled share of the
//! operator's calls, the operator's rate while the other client makes calls, and the time until this rate exceeds 48
//! calls per second again. Each value is the worst of several runs, which differ in the call pattern of the other
//! client and in the round trip. The simulation uses virtual time.

use std::time::Duration;

use live_message_operator::budget::Settings;

mod simulation;

use simulation::{DELAYS, worst};

fn main() {
    println!(
        "worst of 40 runs each: throttled calls in %, calls per second, seconds until the rate exceeds 48/s again"
    );
    println!("drop  plateau s  power | rejected calls do not count  | rejected calls count");
    for drop in [0.15, 0.2, 0.25, 0.3, 0.35] {
        for plateau in [3000, 3250, 3500, 3750] {
            for power in [3, 5] {
                print(Settings { drop, plateau: Duration::from_millis(plateau), power, ..Settings::default() });
            }
        }
    }
    println!("default settings:");
    print(Settings::default());
}

fn print(settings: Settings) {
    let columns = |rejected_count| {
        let worst = worst(settings, rejected_count, &DELAYS);
        format!("{:8.2} {:8.2} {:8.2}", worst.throttled_share * 100.0, worst.rate, worst.back_after)
    };
    println!(
        "{:4.2} {:10.1} {:6} | {}   | {}",
        settings.drop,
        settings.plateau.as_secs_f64(),
        settings.power,
        columns(false),
        columns(true)
    );
}
