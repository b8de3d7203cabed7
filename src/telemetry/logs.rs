//! Logs go to stderr; their level by `RUST_LOG` (default `info`).

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// The library tells of every request that fails and of every list that is refused, in full; the operator tells it once,
/// with what to do.
const QUIET: &str = "kube_runtime::watcher=error,kube_client::client::builder=off";

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The directives for what `RUST_LOG` says. What is more than a level of every day is taken as it stands.
fn directives(asked: &str) -> String {
    match asked.trim().to_ascii_lowercase().as_str() {
        "" => format!("info,{QUIET}"),
        level @ ("error" | "warn" | "info") => format!("{level},{QUIET}"),
        _ => asked.to_owned(),
    }
}

/// Starts logging. A malformed `RUST_LOG` is said, and `info` taken.
pub fn start_logs(format: LogFormat) {
    let asked = std::env::var("RUST_LOG").unwrap_or_default();
    let (filter, mistake) = match EnvFilter::try_new(directives(&asked)) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(directives("")), Some(error)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_leaves_out_what_the_operator_tells_itself_and_directives_are_taken_as_they_stand() {
        for (asked, level) in [("", "info"), ("info", "info"), ("WARN", "warn"), ("error", "error")] {
            assert_eq!(directives(asked), format!("{level},{QUIET}"));
            assert!(EnvFilter::try_new(directives(asked)).is_ok());
        }
        for asked in ["debug", "trace", "info,kube_client=debug"] {
            assert_eq!(directives(asked), asked);
        }
    }
}
