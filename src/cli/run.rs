//! `live-message-operator run`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Outcome;
use crate::controller::{self, Account, Config, Progress, Rate};
use crate::live::credentials::from_environment;
use crate::live::{Client, ClientOptions, Endpoint, endpoint};
use crate::telemetry::{LogFormat, serve_probes, start_logs};

/// Arguments of `run`.
///
/// The cluster is found by the usual rules: KUBECONFIG or ~/.kube/config, in a pod its ServiceAccount. The credentials
/// of the Live API come from ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and, for a temporary key,
/// ALIBABA_CLOUD_SECURITY_TOKEN.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address of the Live API, https://HOST[:PORT]; point it at an emulator for tests.
    #[arg(long, env = "LMO_ENDPOINT", value_name = "URL", default_value = endpoint::DEFAULT_ENDPOINT)]
    endpoint: String,

    /// Allow an endpoint of plain http: an emulator on loopback, never the service.
    #[arg(long, env = "LMO_ALLOW_HTTP")]
    allow_http: bool,

    /// Calls a second to each operation, 1 to 50 (the account's documented limit). `unlimited` is for benchmarks
    /// against the emulator only.
    #[arg(long, env = "LMO_REQUESTS_PER_SECOND", value_name = "N", default_value = "50", value_parser = parse_rate)]
    requests_per_second: Rate,

    /// How often each app is swept: one paged list finds groups that were changed or deleted elsewhere. A number of
    /// seconds, or with a unit: 90s, 10m, 1h.
    #[arg(long, env = "LMO_SWEEP_INTERVAL", value_name = "DURATION", default_value = "10m", value_parser = parse_duration)]
    sweep_interval: Duration,

    /// Watch this namespace only; repeatable (in the environment: a list with commas). Absent = all namespaces.
    #[arg(long = "namespace", env = "LMO_NAMESPACE", value_name = "NS", value_delimiter = ',')]
    namespaces: Vec<String>,

    /// Format of the log on stderr; its level is set by RUST_LOG (default info).
    #[arg(long, env = "LMO_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,

    /// Where /healthz and /readyz are served (port 0 = a free one).
    #[arg(long, env = "LMO_PROBE_LISTEN", value_name = "ADDR:PORT", default_value = "0.0.0.0:8081")]
    probe_listen: SocketAddr,
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    if text == "unlimited" {
        return Ok(Rate::Unlimited);
    }
    match text.parse() {
        Ok(calls @ 1..=50) => Ok(Rate::PerSecond(calls)),
        _ => Err("give a whole number from 1 to 50, or `unlimited` (against the emulator only)".to_owned()),
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let seconds = match unit {
        "" | "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        _ => None,
    };
    let duration = seconds.zip(number.parse::<u64>().ok()).and_then(|(unit, number)| number.checked_mul(unit));
    match duration.filter(|seconds| (1..=7 * 24 * 3600).contains(seconds)) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err("give whole seconds, minutes or hours, 1s to 168h: 90s, 10m, 1h".to_owned()),
    }
}

/// Runs the operator until SIGTERM or SIGINT.
pub async fn run(args: Args) -> Outcome {
    start_logs(args.log_format);
    let endpoint = Endpoint::parse(&args.endpoint, args.allow_http)?;
    if args.requests_per_second == Rate::Unlimited && endpoint.host() == endpoint::DEFAULT_HOST {
        return Err("--requests-per-second unlimited is for benchmarks against the emulator only".into());
    }
    let live = Client::new(endpoint, ClientOptions::default())?;
    let credentials = from_environment(|name| std::env::var(name).ok());
    if let Err(error) = &credentials {
        tracing::error!(%error, "objects will wait with the reason CredentialsMissing until the operator is restarted");
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        endpoint = %live.endpoint(),
        rate = ?args.requests_per_second,
        namespaces = if args.namespaces.is_empty() { "all".to_owned() } else { args.namespaces.join(",") },
        "starting"
    );
    let mut config = kube::Config::infer().await?;
    config.connect_timeout = Some(Duration::from_secs(5));
    // The queue repeats; a hidden repetition would stretch one call to minutes.
    config.default_retry = false;
    let client = kube::Client::try_from(config)?;
    let stop = CancellationToken::new();
    let progress = Arc::new(Progress::default());
    let listener = tokio::net::TcpListener::bind(args.probe_listen)
        .await
        .map_err(|error| format!("cannot listen on {} for the probes: {error}", args.probe_listen))?;
    tracing::info!(address = %listener.local_addr()?, "serving /healthz and /readyz");
    let watched = Arc::clone(&progress);
    tokio::spawn(serve_probes(listener, move || {
        if watched.is_listed() {
            return Ok(());
        }
        Err(watched.trouble().unwrap_or_else(|| "listing LiveMessageGroups".to_owned()))
    }));
    tokio::spawn(stop_on_signal(stop.clone())?);
    let account = Account::new(live, credentials, args.requests_per_second);
    let (namespaces, sweep_interval) = (args.namespaces, args.sweep_interval);
    controller::run(Config { client, account, namespaces, sweep_interval, progress, stop }).await;
    tracing::info!("stopped");
    Ok(())
}

/// The future that waits for SIGTERM or SIGINT.
fn stop_on_signal(stop: CancellationToken) -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: what is under way is ended first");
        stop.cancel();
    })
}
