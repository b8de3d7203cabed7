//! Prints each step with its start time and its duration.

use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::support::Result;

/// The steps so far.
pub struct Timeline {
    start: Instant,
    steps: usize,
}

impl Timeline {
    pub fn start() -> Self {
        println!("\n{:>8}  {:>8}  step", "start", "took");
        Self { start: Instant::now(), steps: 0 }
    }

    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Runs a step. Prints the step's line at the end, because the line contains the duration.
    pub fn step<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let began = self.elapsed();
        let outcome = work();
        self.steps += 1;
        let took = self.elapsed().saturating_sub(began);
        let failed = if outcome.is_ok() { "" } else { "FAILED: " };
        println!("{:>6.1} s  {:>6.1} s  {failed}{name}", began.as_secs_f64(), took.as_secs_f64());
        std::io::stdout().flush()?;
        outcome
    }
}
