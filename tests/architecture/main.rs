//! What the shape of the code promises: who imports whom, and what is compiled in.

#![allow(clippy::unwrap_used)]

mod directions;
mod paths;
mod tls;
