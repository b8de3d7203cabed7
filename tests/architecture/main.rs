//! The architecture of the code: which modules import which, and the TLS provider.

#![allow(clippy::unwrap_used)]

mod directions;
mod paths;
mod tls;
