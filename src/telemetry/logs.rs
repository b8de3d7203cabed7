//! Logs on stderr. `RUST_LOG` sets the level (default `info`).

use std::io::IsTerminal as _;

use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, filter, fmt};

/// Silences the messages that the kube library logs for each failed request and list. The operator logs each failure
/// once, with advice.
const QUIET: &str = "kube_runtime::watcher=error,kube_client::client::builder=off";

/// The log target under which the kube library quotes whole response bodies, for example a Secret that cannot be
/// decoded. No value of `RUST_LOG` enables it.
const QUOTES_BODIES: &str = "kube_client::client";

/// Format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Human-readable lines.
    Text,
    /// One JSON object per line.
    Json,
}

/// Converts `RUST_LOG` to filter directives. Leaves `debug`, `trace` and explicit directives unchanged.
fn directives(requested: &str) -> String {
    match requested.trim().to_ascii_lowercase().as_str() {
        "" => format!("info,{QUIET}"),
        level @ ("error" | "warn" | "info") => format!("{level},{QUIET}"),
        _ => requested.to_owned(),
    }
}

/// Starts logging. If `RUST_LOG` is invalid, logs a warning and uses `info`.
pub fn start_logs(format: LogFormat) {
    let requested = std::env::var("RUST_LOG").unwrap_or_default();
    let (filter, invalid) = match EnvFilter::try_new(directives(&requested)) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(directives("")), Some(error)),
    };
    let colors = std::io::stderr().is_terminal();
    let started = subscriber(format, filter, colors, std::io::stderr).try_init();
    if let Err(error) = started {
        eprintln!("cannot start logging: {error}");
    }
    if let Some(error) = invalid {
        tracing::warn!(
            %error,
            "RUST_LOG is invalid, so the log level is info: set RUST_LOG to a level, such as warn, \
             or to filter directives"
        );
    }
}

/// Creates a subscriber that writes the lines that `filter` permits, except the lines that can quote response bodies.
pub(crate) fn subscriber(
    format: LogFormat,
    filter: EnvFilter,
    colors: bool,
    writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    let layer = fmt::layer().with_ansi(colors).with_writer(writer);
    let layer = match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    let quotes_no_body = filter::filter_fn(|metadata| metadata.target() != QUOTES_BODIES);
    tracing_subscriber::registry().with(filter).with(layer.with_filter(quotes_no_body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_silences_the_library_and_directives_are_unchanged() {
        for (requested, level) in [("", "info"), ("info", "info"), ("WARN", "warn"), ("error", "error")] {
            assert_eq!(directives(requested), format!("{level},{QUIET}"));
            assert!(EnvFilter::try_new(directives(requested)).is_ok());
        }
        for requested in ["debug", "trace", "info,kube_client=debug"] {
            assert_eq!(directives(requested), requested);
        }
    }
}
