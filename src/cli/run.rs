//! `live-message-operator run`.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::client::ClientBuilder;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Outcome;
use crate::controller::{self, Account, Common, Config, Progress, Rate};
use crate::live::credentials::{Chain, CredentialSource, Surroundings};
use crate::live::{CaBundle, Client, ClientOptions, Endpoint, HttpOptions, endpoint};
use crate::telemetry::{LogFormat, Metrics, serve, start_logs};

/// Where the probes and the metrics are served unless the user says otherwise.
const DEFAULT_PROBES: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8081);

/// Arguments of `run`.
///
/// The cluster is found by the usual rules: KUBECONFIG or ~/.kube/config, in a pod its ServiceAccount.
///
/// The credentials of the Live API are looked for where the official SDKs look, in their order: ALIBABA_CLOUD_ACCESS_KEY_ID,
/// ALIBABA_CLOUD_ACCESS_KEY_SECRET and, for a temporary key, ALIBABA_CLOUD_SECURITY_TOKEN; RRSA on ACK
/// (ALIBABA_CLOUD_ROLE_ARN, ALIBABA_CLOUD_OIDC_PROVIDER_ARN, ALIBABA_CLOUD_OIDC_TOKEN_FILE); ~/.aliyun/config.json;
/// ~/.alibabacloud/credentials.ini; the ECS instance's RAM role; ALIBABA_CLOUD_CREDENTIALS_URI. Proxies are taken from
/// HTTPS_PROXY and NO_PROXY.
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
    #[arg(long, env = "LMO_SWEEP_INTERVAL", value_name = "DURATION", default_value = "10m", value_parser = parse_interval)]
    sweep_interval: Duration,

    /// How long a connection to the Live API or STS may take, TLS included: 3s, 500ms.
    #[arg(long, env = "LMO_CONNECT_TIMEOUT", value_name = "TIME", default_value = "3s", value_parser = parse_timeout)]
    connect_timeout: Duration,

    /// How long a whole call may take, connecting included.
    #[arg(long, env = "LMO_REQUEST_TIMEOUT", value_name = "TIME", default_value = "10s", value_parser = parse_timeout)]
    request_timeout: Duration,

    /// Calls whose query would be longer than this many bytes send their parameters in a form body.
    #[arg(long, env = "LMO_FORM_ABOVE", value_name = "BYTES", default_value_t = 8192)]
    form_above: usize,

    /// PEM certificates to trust besides the machine's own, for the Live API and STS: those of a proxy that looks into
    /// TLS, for example.
    #[arg(long, env = "LMO_CA_BUNDLE", value_name = "FILE")]
    ca_bundle: Option<PathBuf>,

    /// Watch this namespace only; repeatable (in the environment: a list with commas). Absent = all namespaces.
    #[arg(long = "namespace", env = "LMO_NAMESPACE", value_name = "NS", value_delimiter = ',')]
    namespaces: Vec<String>,

    /// Format of the log on stderr; its level is set by RUST_LOG (default info).
    #[arg(long, env = "LMO_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,

    /// Where /healthz, /readyz and /metrics are served (port 0 = a free one). Absent = 0.0.0.0:8081, or nowhere if that is
    /// taken.
    #[arg(long, env = "LMO_PROBE_LISTEN", value_name = "ADDR:PORT")]
    probe_listen: Option<SocketAddr>,
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

/// `90s`, `10m`, `1h`, or a number of seconds; 1 s to 168 h.
fn parse_interval(text: &str) -> Result<Duration, String> {
    duration(text, Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3600))
        .ok_or_else(|| "give a time like 90s, 10m or 1h, at most 168h".to_owned())
}

/// `3s`, `500ms`, or a number of seconds; 1 ms to 5 minutes.
fn parse_timeout(text: &str) -> Result<Duration, String> {
    duration(text, Duration::from_millis(1)..=Duration::from_secs(300))
        .ok_or_else(|| "give a time like 3s or 500ms, at most 5m".to_owned())
}

/// A time with a unit, or a number of seconds, within bounds.
fn duration(text: &str, bounds: RangeInclusive<Duration>) -> Option<Duration> {
    let seconds = text.parse::<u32>().ok().map(|seconds| Duration::from_secs(seconds.into()));
    let time = seconds.or_else(|| Duration::try_from(text.parse::<jiff::SignedDuration>().ok()?).ok());
    time.filter(|time| bounds.contains(time))
}

/// Runs the operator until SIGTERM or SIGINT.
pub async fn run(args: Args) -> Outcome {
    start_logs(args.log_format);
    let endpoint = Endpoint::parse(&args.endpoint, args.allow_http)?;
    if args.requests_per_second == Rate::Unlimited && endpoint.host() == endpoint::DEFAULT_HOST {
        return Err("--requests-per-second unlimited is for benchmarks against the emulator only".into());
    }
    let http = HttpOptions {
        connect_timeout: args.connect_timeout,
        request_timeout: args.request_timeout,
        ca_bundle: args.ca_bundle.as_deref().map(CaBundle::read).transpose()?,
    };
    let lookup = |name: &str| std::env::var(name).ok();
    let surroundings = Surroundings::new(lookup, std::env::home_dir(), http.clone(), args.allow_http);
    let credentials = CredentialSource::new(Chain::official(&surroundings));
    let options = ClientOptions { http, form_above: args.form_above };
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
    let common = Common {
        options: options.clone(),
        endpoint: endpoint.clone(),
        allow_http: args.allow_http,
        surroundings,
        rate: args.requests_per_second,
        calls: metrics.calls.clone(),
    };
    let live = Client::new(endpoint, options)?;
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
    let client = ClientBuilder::try_from(config)?.with_layer(&metrics.count_requests()).build();
    let stop = CancellationToken::new();
    let progress = Arc::new(Progress::default());
    if let Some(listener) = probe_listener(args.probe_listen).await? {
        tracing::info!(address = %listener.local_addr()?, "serving /healthz, /readyz and /metrics");
        let (watched, metrics) = (Arc::clone(&progress), Arc::clone(&metrics));
        tokio::spawn(serve(listener, metrics, move || watched.waits_for().map_or(Ok(()), Err)));
    }
    tokio::spawn(stop_on_signal(stop.clone())?);
    // Loaded before the first object asks, so that the log tells at once what is missing.
    let early = credentials.clone();
    tokio::spawn(async move { early.current().await.is_ok() });
    let account = Account::new(live, credentials, args.requests_per_second).counted_by(&metrics.calls);
    let (namespaces, sweep_interval) = (args.namespaces, args.sweep_interval);
    controller::run(Config { client, account, common, namespaces, sweep_interval, metrics, progress, stop }).await;
    tracing::info!("stopped");
    Ok(())
}

/// Listens for the kubelet and for Prometheus; without an address of the user's own, a second operator on one machine does
/// without.
async fn probe_listener(asked: Option<SocketAddr>) -> Result<Option<TcpListener>, String> {
    let address = asked.unwrap_or(DEFAULT_PROBES);
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if asked.is_none() && error.kind() == ErrorKind::AddrInUse => {
            tracing::warn!(%address, "another program listens there: neither probes nor metrics are served; see --probe-listen");
            Ok(None)
        }
        Err(error) => Err(format!("cannot listen on {address} for the probes: {error}")),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_out_is_a_time_or_a_number_of_seconds() {
        assert_eq!(parse_timeout("3s"), Ok(Duration::from_secs(3)));
        assert_eq!(parse_timeout("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_timeout("10"), Ok(Duration::from_secs(10)));
        for bad in ["", "0", "0s", "-3s", "6m", "soon"] {
            assert!(parse_timeout(bad).is_err(), "{bad}");
        }
    }
}
