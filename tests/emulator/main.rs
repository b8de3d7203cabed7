//! Tests of the emulator over real sockets, and of the `emulate` command as a process.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed precondition fails the test")]

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

/// Configures an emulator with the app `demo` and the access key of [`client::Client`].
fn emulator() -> Builder {
    Emulator::builder().access_key("testid", "testsecret").app("demo")
}
