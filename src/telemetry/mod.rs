//! Logs, metrics and probes.

mod logs;
pub mod metrics;
mod serve;

pub use logs::{LogFormat, start_logs};
pub use metrics::Metrics;
pub use serve::serve;
