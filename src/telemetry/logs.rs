//! Logs go to stderr; their level by `RUST_LOG` (default `info`).

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// The library warns of every list that is refused, in full; the operator tells it once.
const DEFAULT: &str = "info,kube_runtime::watcher=error";

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging. A malformed `RUST_LOG` is said, and `info` taken.
pub fn start_logs(format: LogFormat) {
    let asked = std::env::var("RUST_LOG").unwrap_or_default();
    let parsed = if asked.is_empty() { None } else { Some(EnvFilter::try_new(&asked)) };
    let (filter, mistake) = match parsed {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(DEFAULT), Some(error)),
        None => (EnvFilter::new(DEFAULT), None),
    };
    let colours = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if let Err(error) = started {
        eprintln!("logging could not be started: {error}");
    }
    if let Some(error) = mistake {
        tracing::warn!(%error, "RUST_LOG cannot be read: logging at level info");
    }
}
