//! Logs, metrics and health endpoints.

mod logs;
pub mod metrics;
mod serve;

#[cfg(test)]
pub(crate) use logs::subscriber;
pub use logs::{LogFormat, start_logs};
pub use metrics::Metrics;
pub use serve::serve;
