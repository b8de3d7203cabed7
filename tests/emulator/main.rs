//! The emulator over real sockets, and its command as a process.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on is to stop")]

mod accounts;
mod admin;
mod binary;
mod chain;
mod client;
mod errors;
mod faults;
mod http;
mod operations;
mod sts;
mod vectors;

use live_message_operator::emulator::{Builder, Emulator};

/// An emulator with the app `demo` and the key of [`client::Client`].
fn emulator() -> Builder {
    Emulator::builder().access_key("testid", "testsecret").app("demo")
}
