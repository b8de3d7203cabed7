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

use super::{Misuse, Outcome, cluster};
use crate::controller::{self, Account, Common, Config, Limits, Progress, Rate};
use crate::live::credentials::{Chain, CredentialSource, ProviderEnv, ROLE_ARN};
use crate::live::{CaBundle, Client, ClientOptions, Endpoint, HttpOptions, endpoint};
use crate::resources::account_of_arn;
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

    /// The number of the Alibaba Cloud account that the operator's own credentials belong to: LiveAccounts of the same
    /// number share its calls a second. Absent = the number in ALIBABA_CLOUD_ROLE_ARN, if that is set.
    #[arg(long, env = "LMO_ACCOUNT_ID", value_name = "NUMBER", value_parser = parse_number)]
    account_id: Option<String>,

    /// How often each app is swept: one paged list finds groups that were changed or deleted elsewhere. A number of
    /// seconds, or with a unit: 90s, 10m, 1h.
    #[arg(long, env = "LMO_SWEEP_INTERVAL", value_name = "DURATION", default_value = "10m", value_parser = parse_interval)]
    sweep_interval: Duration,

    /// How many groups an app may hold: objects that cannot fit wait without a call. To be given where Alibaba Cloud has
    /// raised the quota.
    #[arg(long, env = "LMO_GROUPS_PER_APP", value_name = "N", default_value_t = controller::GROUPS_PER_APP,
        value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    groups_per_app: u64,

    /// In a namespace that is being deleted, an object whose group could not be deleted for this long, for want of usable
    /// credentials or because the call was refused, is let go; the group stays: 90s, 10m, 1h.
    #[arg(long, env = "LMO_RELEASE_AFTER", value_name = "DURATION", default_value = "10m", value_parser = parse_interval)]
    release_after: Duration,

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
    #[arg(long = "namespace", env = "LMO_NAMESPACE", value_name = "NS", value_delimiter = ',', value_parser = parse_namespace)]
    namespaces: Vec<String>,

    /// Format of the log on stderr; its level is set by RUST_LOG (default info).
    #[arg(long, env = "LMO_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,

    /// Where /healthz, /readyz and /metrics are served (port 0 = a free one). Absent = 0.0.0.0:8081, or nowhere if that is
    /// taken.
    #[arg(long, env = "LMO_PROBE_LISTEN", value_name = "ADDR:PORT", value_parser = parse_address)]
    probe_listen: Option<SocketAddr>,
}

impl Args {
    /// The endpoint, with all that can be wrong with several arguments together.
    fn checked_endpoint(&self) -> Result<Endpoint, Misuse> {
        let endpoint = Endpoint::parse(&self.endpoint, self.allow_http).map_err(|error| Misuse(error.to_string()))?;
        if self.requests_per_second == Rate::Unlimited && endpoint.host() == endpoint::DEFAULT_HOST {
            let only = "--requests-per-second unlimited is for benchmarks against the emulator only";
            return Err(Misuse(format!(
                "{only}: give a number from 1 to 50, or the emulator's address with --endpoint"
            )));
        }
        if self.connect_timeout > self.request_timeout {
            let (part, whole) = (self.connect_timeout, self.request_timeout);
            return Err(Misuse(format!(
                "--connect-timeout {part:?} is longer than --request-timeout {whole:?}, of which it is a part: \
                 shorten the one, or lengthen the other"
            )));
        }
        Ok(endpoint)
    }
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

fn parse_number(text: &str) -> Result<String, String> {
    let fits = (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.to_owned()).ok_or_else(|| "give the account's number: up to 32 digits".to_owned())
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

/// The name of a namespace. An empty one would mean all of them.
fn parse_namespace(text: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = (1..=63).contains(&text.len())
        && text.starts_with(inner)
        && text.ends_with(inner)
        && text.chars().all(|c| inner(c) || c == '-');
    let name = fits.then(|| text.to_owned());
    name.ok_or_else(|| "give the name of a namespace: up to 63 lower-case letters, digits and '-'".to_owned())
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "give an IP address and a port, like 0.0.0.0:8081 or 127.0.0.1:0".to_owned())
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
    let endpoint = args.checked_endpoint()?;
    let http = HttpOptions {
        connect_timeout: args.connect_timeout,
        request_timeout: args.request_timeout,
        ca_bundle: args.ca_bundle.as_deref().map(CaBundle::read).transpose()?,
    };
    let lookup = |name: &str| std::env::var(name).ok();
    let provider_env = ProviderEnv::new(lookup, std::env::home_dir(), http.clone(), args.allow_http);
    let credentials = CredentialSource::new(Chain::default_chain(&provider_env));
    let options = ClientOptions { http, form_above: args.form_above };
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
    let common = Common {
        options: options.clone(),
        endpoint: endpoint.clone(),
        allow_http: args.allow_http,
        number: args.account_id.or_else(|| account_of_arn(&lookup(ROLE_ARN)?).map(str::to_owned)),
        provider_env,
        rate: args.requests_per_second,
        calls: metrics.calls.clone(),
    };
    let live = Client::new(endpoint, options)?;
    let mut config = cluster::find().await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        apiserver = %config.cluster_url,
        endpoint = %live.endpoint(),
        rate = ?args.requests_per_second,
        namespaces = if args.namespaces.is_empty() { "all".to_owned() } else { args.namespaces.join(",") },
        "starting"
    );
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
    controller::run(Config {
        client,
        account,
        common,
        namespaces: args.namespaces,
        sweep_interval: args.sweep_interval,
        limits: Limits { groups_per_app: args.groups_per_app, release_after: args.release_after },
        metrics,
        progress,
        stop,
    })
    .await;
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
        Err(error) => Err(format!(
            "cannot listen on {address} for the probes: {error}: give another --probe-listen (port 0 = a free one)"
        )),
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
    fn an_accounts_number_is_made_of_digits() {
        assert_eq!(parse_number("1234567890123456"), Ok("1234567890123456".to_owned()));
        for bad in ["", "acs:ram::42:root", "12 34", "١٢", &"1".repeat(33)] {
            assert!(parse_number(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_namespace_is_named_and_never_empty() {
        for good in ["a", "team-a", "0", &"x".repeat(63)] {
            assert_eq!(parse_namespace(good).as_deref(), Ok(good));
        }
        for bad in ["", "-a", "a-", "Team", "a_b", "a.b", "a b", &"x".repeat(64)] {
            assert!(parse_namespace(bad).is_err(), "{bad}");
        }
    }

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
