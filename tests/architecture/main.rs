//! Tests of the architecture: imports between modules, the TLS provider, and the fields of log lines.

#![allow(clippy::unwrap_used)]

mod advisories;
mod directions;
mod images;
mod logs;
mod paths;
mod tls;
