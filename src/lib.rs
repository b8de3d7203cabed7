//! A Kubernetes operator that manages Alibaba Cloud Live interactive-messaging groups as custom resources.
//!
//! The modules are listed from top to bottom. Each module imports only modules that are listed below it.
//!
//! - [`cli`]: the command line, with one file for each subcommand.
//! - [`controller`]: the operator: watches, work queue, reconcile passes and status.
//! - [`emulator`]: a local server that emulates the Live API.
//! - [`decide`]: the pure functions that decide what a reconcile pass does.
//! - [`budget`]: the rate limit for calls to the Live API.
//! - [`live`]: the client of the Live API.
//! - [`resources`]: the custom resources.
//! - [`telemetry`]: logs, metrics and health endpoints.

pub mod budget;
pub mod cli;
pub mod controller;
pub mod decide;
pub mod emulator;
pub mod live;
pub mod resources;
pub mod telemetry;
