//! The Live API on loopback: message groups and their apps with real state, signatures, limits and errors, for tests,
//! demos and pipelines.
//!
//! It was written after the public documents and the official SDKs; no call was ever made to Alibaba Cloud. Where the
//! documents are silent, the choice made is told at the item that makes it.
//!
//! A request goes through [`wire`] (HTTP), [`request`] (parameters), [`verify`] (who calls), [`limit`] (how often),
//! [`state`] (what it does), [`answer`] (JSON or XML) and [`log`]. Everything but `wire`, `log` and [`server`] is pure:
//! the time is an argument.

pub mod answer;
pub mod clock;
pub mod error;
pub mod limit;
pub mod operation;
pub mod request;
pub mod state;
pub mod verify;
pub mod wire;
