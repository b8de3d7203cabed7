//! The architecture of the code: which modules import which, the TLS provider, and the fields of log lines.

#![allow(clippy::unwrap_used)]

mod directions;
mod logs;
mod paths;
mod tls;
