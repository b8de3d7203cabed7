//! An in-process server that implements the Live API for tests, demos and pipelines. It supports message groups and
//! their apps: it keeps their state, verifies signatures, enforces limits and returns the errors of the API. It also
//! issues temporary keys through STS and the ECS metadata service.
//!
//! The emulator is based on the public documentation and the official SDKs. It was developed without calls to Alibaba
//! Cloud. Behavior that is not documented is marked as an assumption in the code.
//!
//! A request passes through [`wire`] (HTTP), [`request`] (parameters), [`verify`] (authentication), [`limit`] (rate
//! limit), [`state`] (the operation), [`payload`] (JSON or XML) and [`log`]. All of these modules except `wire` and
//! `log` are pure: the caller passes the current time as an argument. [`server`] contains the sockets and the runtime.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! let emulator = live_message_operator::emulator::Emulator::builder().access_key("id", "secret").app("demo").start()?;
//! println!("{}", emulator.base_url());
//! assert!(emulator.request_log().is_empty());
//! emulator.shutdown();
//! # Ok(())
//! # }
//! ```

pub mod admin;
pub mod clock;
pub mod config;
pub mod error;
pub mod fault;
pub mod key;
pub mod limit;
pub mod log;
pub mod metadata;
pub mod operation;
pub mod payload;
mod reply;
pub mod request;
pub mod server;
mod service;
pub mod signature_v1;
mod spec;
pub mod state;
pub mod sts;
pub mod verify;
pub mod wire;

pub use clock::Clock;
pub use config::{Builder, Config};
pub use error::ApiError;
pub use fault::{Fault, FaultKind};
pub use key::{AccessKey, DEFAULT_ACCOUNT};
pub use log::Record;
pub use metadata::{EcsRole, Imds};
pub use operation::Operation;
pub use server::{Emulator, Handle};
pub use state::{App, DataCenter, Deletion, Group, State};
pub use sts::RoleArn;
pub use verify::{SignatureVersion, Verifier};

/// Requests that the official SDKs send. `tests/vectors.rs` checks that each request is accepted, and that it is
/// rejected if any character is changed.
#[cfg(test)]
#[path = "../../tests/support/vector.rs"]
mod vector;
