//! A deterministic fuzzer for tests. It mutates seeds, and adds an input to the seeds if its outcome is new.
//!
//! `FUZZ_RUNS` sets the number of executions per target. By default, `make fuzz` runs a million executions per target,
//! with optimization and overflow checks enabled.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use fastrand::Rng;

/// The number of executions per target in `make test`.
const RUNS: usize = 3_000;

/// The maximum sizes of an input and of a kept seed, in bytes. Seeds are shorter, because short inputs are processed
/// faster.
const LONGEST: usize = 128 * 1024;
const LONGEST_SEED: usize = 4 * 1024;

/// The maximum number of seeds.
const MOST_SEEDS: usize = 5_000;

/// The memory limit of an execution, in bytes, is `MEMORY` plus `MEMORY_PER_BYTE` for each byte of input.
const MEMORY: u64 = 1024 * 1024;
const MEMORY_PER_BYTE: u64 = 64;

/// A fuzz target, with the initial seeds and the words from which inputs are made.
pub struct Target<'a> {
    pub name: &'a str,
    pub seeds: Vec<Vec<u8>>,
    /// Texts that are meaningful to the parser. Mutations insert them.
    pub words: &'a [&'a str],
}

impl Target<'_> {
    /// Runs `parse` on mutated seeds. Different outcomes indicate different code paths.
    ///
    /// # Panics
    /// Panics if an execution panics or takes too much memory. The message contains the input.
    pub fn run<T: Debug>(&self, parse: impl Fn(&[u8]) -> T) {
        let runs = std::env::var("FUZZ_RUNS").ok().map_or(RUNS, |runs| runs.parse().unwrap());
        let (mut rng, mut seeds, mut seen) = (Rng::with_seed(1), self.seeds.clone(), HashSet::new());
        let started = Instant::now();
        for run in 0..runs {
            let input = if run < self.seeds.len() { self.seeds[run].clone() } else { self.mutated(&seeds, &mut rng) };
            let outcome = execute(&parse, &input);
            if seen.insert(outcome) && input.len() <= LONGEST_SEED && seeds.len() < MOST_SEEDS {
                seeds.push(input);
            }
        }
        let (name, kept, took) = (self.name, seeds.len() - self.seeds.len(), started.elapsed());
        // The test harness captures `println!` unless the test fails.
        writeln!(std::io::stdout(), "\nfuzz {name}: {runs} executions, {kept} inputs kept, {took:.1?}").unwrap();
    }

    fn mutated(&self, seeds: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
        let mut input = seeds[rng.usize(..seeds.len())].clone();
        for _ in 0..rng.usize(1..=6) {
            self.mutate(&mut input, &seeds[rng.usize(..seeds.len())], rng);
        }
        input.truncate(LONGEST);
        input
    }

    fn mutate(&self, input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
        let at = rng.usize(..=input.len());
        let end = (at + rng.usize(..=32)).min(input.len());
        match rng.u8(..10) {
            0 if at < input.len() => input[at] ^= 1 << rng.u8(..8),
            1 if at < input.len() => input[at] = rng.u8(..),
            2 => drop(input.drain(at..end)),
            3 => input.truncate(at),
            4 => insert(input, at, &[rng.u8(..)]),
            5 => drop(input.splice(at..end, self.word(rng).bytes())),
            6 => {
                let from = rng.usize(..=other.len());
                let to = rng.usize(from..=other.len());
                drop(input.splice(at..end, other[from..to].iter().copied()));
            }
            7 => {
                let copy = input[at..end].to_vec();
                insert(input, at, &copy);
            }
            // Repeats a part of the input or a word, sometimes thousands of times to test the depth and length limits.
            8 => {
                let times = if rng.u8(..16) == 0 { rng.usize(..5_000) } else { rng.usize(..8) };
                let copy = if rng.bool() { input[at..end].to_vec() } else { self.word(rng).as_bytes().to_vec() };
                insert(input, at, &copy.repeat(times));
            }
            _ => insert(input, at, self.word(rng).as_bytes()),
        }
    }

    fn word(&self, rng: &mut Rng) -> &str {
        const NUMBERS: [&str; 8] =
            ["0", "-1", "9223372036854775808", "18446744073709551616", "1e999", "0.1", "\u{feff}", "\0"];
        let word = rng.usize(..self.words.len() + NUMBERS.len());
        self.words.get(word).copied().unwrap_or_else(|| NUMBERS[word - self.words.len()])
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    drop(input.splice(at..at, bytes.iter().copied()));
}

/// Runs `parse` once. Returns a hash of the outcome's debug text without its digits, so that outcomes that differ only
/// in numbers count as the same outcome.
fn execute<T: Debug>(parse: &impl Fn(&[u8]) -> T, input: &[u8]) -> u64 {
    let mut outcome = None;
    let allocated = allocation_counter::measure(|| outcome = catch_unwind(AssertUnwindSafe(|| parse(input))).ok());
    let shown = || input[..input.len().min(4_000)].escape_ascii().to_string();
    let outcome =
        outcome.unwrap_or_else(|| panic!("the target panicked on an input of {} bytes: {}", input.len(), shown()));
    let limit = MEMORY + MEMORY_PER_BYTE * input.len() as u64;
    assert!(allocated.bytes_max <= limit, "{} bytes take {}: {}", input.len(), allocated.bytes_max, shown());
    let mut hasher = DefaultHasher::new();
    let text = format!("{outcome:?}");
    text.chars().filter(|c| !c.is_ascii_digit()).take(2_000).collect::<String>().hash(&mut hasher);
    hasher.finish()
}

#[test]
#[should_panic(expected = "the target panicked on")]
fn panic_of_a_target_is_found() {
    let target = Target { name: "panic", seeds: vec![b"abc".to_vec()], words: &["magic"] };
    target.run(|input| assert!(!input.windows(5).any(|part| part == b"magic")));
}

#[test]
#[should_panic(expected = "bytes take")]
fn memory_of_a_target_is_bounded() {
    let target = Target { name: "memory", seeds: vec![b"abc".to_vec()], words: &["[[[[[[["] };
    target.run(|input| vec![0_u8; 1000 * input.iter().filter(|byte| **byte == b'[').count()].len());
}
