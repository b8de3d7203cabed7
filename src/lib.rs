//! A Kubernetes operator that makes Alibaba Cloud Live interactive-messaging groups declarative.
//!
//! The map, in the order of the imports (`cli` at the top; nothing imports upwards):
//!
//! - [`cli`] - a file per command: run, emulate, crd.
//! - [`controller`] - watch, queue, reconcile, status.
//! - [`emulator`] - the Live API on loopback.
//! - [`decide`] - the pure core.
//! - [`budget`] - when a call may go out.
//! - [`live`] - the client of the Live API.
//! - [`resources`] - what users write.
//! - [`telemetry`] - logs, metrics, probes.

pub mod budget;
pub mod cli;
pub mod controller;
pub mod decide;
pub mod emulator;
pub mod live;
pub mod resources;
pub mod telemetry;
