//! What the shape of the code promises: who imports whom, what is compiled in, and what is logged.

#![allow(clippy::unwrap_used)]

mod directions;
mod logs;
mod paths;
mod tls;
