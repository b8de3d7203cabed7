//! Logs and probes.

mod logs;
mod probes;

pub use logs::{LogFormat, start_logs};
pub use probes::serve_probes;
