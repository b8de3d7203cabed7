//! The command `live-message-operator run`.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::election::ElectionArgs;
use super::tenants::TenantArgs;
use super::{CommandResult, UsageError, cluster};
use crate::controller::{self, Account, AccountDefaults, Config, Connections, Limits, Rate, Readiness, Supervisor};
use crate::live::credentials::{Chain, CredentialSource, ProviderEnv, ROLE_ARN};
use crate::live::{CaBundle, Client, ClientOptions, Endpoint, HttpOptions, endpoint};
use crate::resources::account_of_arn;
use crate::telemetry::{LogFormat, Metrics, serve, start_logs};

/// The default of `--health-bind-address`.
const DEFAULT_HEALTH_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8081);

/// Arguments of `run`.
///
/// The operator connects to the cluster in the kubeconfig (KUBECONFIG or ~/.kube/config). In a pod, it uses the
/// ServiceAccount of the pod.
///
/// Credentials for the Live API are read from the same sources as in the official SDKs, in the same order:
/// ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and, for temporary credentials,
/// ALIBABA_CLOUD_SECURITY_TOKEN; RRSA on ACK (ALIBABA_CLOUD_ROLE_ARN, ALIBABA_CLOUD_OIDC_PROVIDER_ARN,
/// ALIBABA_CLOUD_OIDC_TOKEN_FILE); ~/.aliyun/config.json; ~/.alibabacloud/credentials.ini; the RAM role of the ECS
/// instance; ALIBABA_CLOUD_CREDENTIALS_URI. HTTPS_PROXY and NO_PROXY configure the use of a proxy.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address of the Live API, https://HOST[:PORT]. For tests, use the address of an emulator.
    #[arg(long, env = "LMO_ENDPOINT", value_name = "URL", default_value = endpoint::DEFAULT_ENDPOINT)]
    endpoint: String,

    /// Allow an http:// endpoint. Use it only with an emulator: requests are not encrypted.
    #[arg(long, env = "LMO_ALLOW_HTTP")]
    allow_http: bool,

    #[command(flatten)]
    tenants: TenantArgs,

    #[command(flatten)]
    election: ElectionArgs,

    /// Maximum calls per second to each operation, from 1 to 50 (the documented limit of an account). `unlimited` is
    /// accepted only for an emulator.
    #[arg(long, env = "LMO_REQUESTS_PER_SECOND", value_name = "N", default_value = "50", value_parser = parse_rate)]
    requests_per_second: Rate,

    /// ID of the Alibaba Cloud account that the operator's own credentials belong to. LiveAccounts with the same
    /// account ID share one request budget with the operator. Defaults to the account ID in ALIBABA_CLOUD_ROLE_ARN, if
    /// that variable is set.
    #[arg(long, env = "LMO_ACCOUNT_ID", value_name = "ACCOUNT_ID", value_parser = parse_account_id)]
    account_id: Option<String>,

    /// Interval between drift checks of an app. A drift check lists the groups of the app and finds groups that were
    /// changed or deleted outside of Kubernetes. Specify a number of seconds, or a duration such as 90s, 10m or 1h.
    #[arg(long, env = "LMO_DRIFT_CHECK_INTERVAL", value_name = "DURATION", default_value = "10m",
        value_parser = parse_interval)]
    drift_check_interval: Duration,

    /// Maximum number of groups in an app. If an app already holds this number of groups, the operator creates no
    /// more groups in it. Raise the number if Alibaba Cloud has raised the quota of your apps.
    #[arg(long, env = "LMO_MAX_GROUPS_PER_APP", value_name = "N", default_value_t = controller::DEFAULT_MAX_GROUPS,
        value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    max_groups_per_app: u64,

    /// How long the operator tries to delete the group of an object in a terminating namespace, if credentials are
    /// unavailable or the Live API refuses the deletion. After this time, the operator removes the finalizer of the
    /// object and retains the group. Specify a number of seconds, or a duration such as 90s, 10m or 1h.
    #[arg(long, env = "LMO_FINALIZER_TIMEOUT", value_name = "DURATION", default_value = "10m",
        value_parser = parse_interval)]
    finalizer_timeout: Duration,

    /// Same as --finalizer-timeout, but applies while the Live API or the endpoint of the LiveAccount cannot be
    /// reached. This timeout starts again from zero when the operator restarts.
    #[arg(long, env = "LMO_UNREACHABLE_FINALIZER_TIMEOUT", value_name = "DURATION", default_value = "1h",
        value_parser = parse_interval)]
    unreachable_finalizer_timeout: Duration,

    /// Timeout for connecting to the Live API or STS, including the TLS handshake. Specify a number of seconds, or a
    /// duration such as 3s or 500ms.
    #[arg(long, env = "LMO_CONNECT_TIMEOUT", value_name = "DURATION", default_value = "3s", value_parser = parse_timeout)]
    connect_timeout: Duration,

    /// Timeout for a call to the Live API or STS, including the time to connect.
    #[arg(long, env = "LMO_REQUEST_TIMEOUT", value_name = "DURATION", default_value = "10s",
        value_parser = parse_timeout)]
    request_timeout: Duration,

    /// Maximum length of the query string of a call. If the parameters of a call are longer, the call sends them in a
    /// form body.
    #[arg(long, env = "LMO_FORM_BODY_THRESHOLD", value_name = "BYTES", default_value_t = 8192)]
    form_body_threshold: usize,

    /// PEM file of CA certificates to trust for the Live API and STS, in addition to the CA certificates of the system.
    /// Use it for a proxy that terminates TLS.
    #[arg(long, env = "LMO_CA_BUNDLE", value_name = "FILE")]
    ca_bundle: Option<PathBuf>,

    /// Namespace to watch. To specify several namespaces, repeat the flag, or separate the values with commas in the
    /// environment variable. Defaults to all namespaces.
    #[arg(long = "watch-namespace", env = "LMO_WATCH_NAMESPACE", value_name = "NAMESPACE", value_delimiter = ',',
        value_parser = parse_namespace)]
    watch_namespaces: Vec<String>,

    /// Format of the log on stderr. RUST_LOG sets the level (default: info).
    #[arg(long, env = "LMO_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,

    /// Maximum number of namespaces that the metric live_message_operator_namespace_groups reports separately, from 0
    /// to 1000. The objects of all other namespaces are counted together. 0 disables the metric.
    #[arg(long, env = "LMO_METRIC_NAMESPACES", value_name = "N", default_value_t = 0,
        value_parser = parse_namespace_count)]
    metric_namespaces: usize,

    /// Address and port of the endpoints /healthz, /livez, /readyz and /metrics. Port 0 selects a free port. Defaults
    /// to 0.0.0.0:8081. If the default port is in use, the operator runs without these endpoints.
    #[arg(long, env = "LMO_HEALTH_BIND_ADDRESS", value_name = "ADDR:PORT", value_parser = parse_address)]
    health_bind_address: Option<SocketAddr>,
}

impl Args {
    /// Parses the endpoint, and checks the arguments that depend on each other.
    fn checked_endpoint(&self) -> Result<Endpoint, UsageError> {
        let endpoint =
            Endpoint::parse(&self.endpoint, self.allow_http).map_err(|error| UsageError(error.to_string()))?;
        if self.requests_per_second == Rate::Unlimited && endpoint.host() == endpoint::DEFAULT_HOST {
            return Err(UsageError(
                "--requests-per-second unlimited is accepted only for an emulator: use a number from 1 to 50, or set \
                 --endpoint to the address of the emulator"
                    .to_owned(),
            ));
        }
        if self.connect_timeout > self.request_timeout {
            let (connect, request) = (self.connect_timeout, self.request_timeout);
            return Err(UsageError(format!(
                "--connect-timeout {connect:?} is longer than --request-timeout {request:?}, but the request timeout \
                 includes the time to connect: shorten --connect-timeout or lengthen --request-timeout"
            )));
        }
        Ok(endpoint)
    }

    fn http_options(&self) -> Result<HttpOptions, Box<dyn std::error::Error + Send + Sync>> {
        Ok(HttpOptions {
            connect_timeout: self.connect_timeout,
            request_timeout: self.request_timeout,
            ca_bundle: self.ca_bundle.as_deref().map(CaBundle::read).transpose()?,
        })
    }
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    if text == "unlimited" {
        return Ok(Rate::Unlimited);
    }
    match text.parse() {
        Ok(calls @ 1..=50) => Ok(Rate::PerSecond(calls)),
        _ => Err("use an integer from 1 to 50, or `unlimited` (only for an emulator)".to_owned()),
    }
}

fn parse_account_id(text: &str) -> Result<String, String> {
    let fits = (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.to_owned()).ok_or_else(|| "use the ID of an Alibaba Cloud account: up to 32 digits".to_owned())
}

/// Parses `90s`, `10m`, `1h` or a number of seconds, from 1 s to 168 h.
pub(super) fn parse_interval(text: &str) -> Result<Duration, String> {
    parse_duration(text, Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3600))
        .ok_or_else(|| "use a duration such as 90s, 10m or 1h, at most 168h".to_owned())
}

/// Parses `3s`, `500ms` or a number of seconds, from 1 ms to 5 min.
fn parse_timeout(text: &str) -> Result<Duration, String> {
    parse_duration(text, Duration::from_millis(1)..=Duration::from_secs(300))
        .ok_or_else(|| "use a duration such as 3s or 500ms, at most 5m".to_owned())
}

/// Parses the name of a namespace. An empty name is invalid, because it would select all namespaces.
pub(super) fn parse_namespace(text: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = (1..=63).contains(&text.len())
        && text.starts_with(inner)
        && text.ends_with(inner)
        && text.chars().all(|c| inner(c) || c == '-');
    let name = fits.then(|| text.to_owned());
    name.ok_or_else(|| "use the name of a namespace: at most 63 lowercase letters, digits and '-'".to_owned())
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "use an IP address and a port, such as 0.0.0.0:8081 or 127.0.0.1:0".to_owned())
}

/// Parses a duration with a unit, or a number of seconds. Returns `None` if the text is not a duration, or if the
/// duration is outside `bounds`.
fn parse_duration(text: &str, bounds: RangeInclusive<Duration>) -> Option<Duration> {
    let seconds = text.parse::<u32>().ok().map(|seconds| Duration::from_secs(seconds.into()));
    let time = seconds.or_else(|| Duration::try_from(text.parse::<jiff::SignedDuration>().ok()?).ok());
    time.filter(|time| bounds.contains(time))
}

/// Runs the operator until SIGTERM or SIGINT.
pub async fn run(args: Args) -> CommandResult {
    start_logs(args.log_format);
    let endpoint = args.checked_endpoint()?;
    let election = args.election.settings()?;
    let http = args.http_options()?;
    let lookup = |name: &str| std::env::var(name).ok();
    let provider_env = ProviderEnv::new(lookup, std::env::home_dir(), http.clone(), args.allow_http);
    let credentials = CredentialSource::new(Chain::default_chain(&provider_env));
    let options = ClientOptions { http, form_body_threshold: args.form_body_threshold, ..ClientOptions::default() };
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
    let defaults = AccountDefaults {
        endpoints: args.tenants.endpoint_policy(endpoint.clone()),
        number: args.account_id.clone().or_else(|| account_of_arn(&lookup(ROLE_ARN)?).map(str::to_owned)),
        provider_env,
        rate: args.requests_per_second,
        calls: metrics.calls.clone(),
    };
    let live = Client::new(endpoint, options)?;
    let cluster = cluster::find().await?;
    log_start(&args, &cluster, &live);
    let connections = Connections::new(&cluster, controller::longest_watch(), &metrics)?;
    let supervisor = Supervisor::new(CancellationToken::new());
    let readiness = Arc::new(Readiness::default());
    serve_health(args.health_bind_address, &metrics, &readiness, &supervisor).await?;
    supervisor.spawn_to_the_end("wait for a signal", stop_on_signal(supervisor.stop.clone())?);
    // Load the credentials before the first object needs them, so that the log reports missing credentials at startup.
    let early = credentials.clone();
    tokio::spawn(async move { early.current().await.is_ok() });
    let (elector, leadership) =
        args.election.elector(election, connections.requests.client.clone(), &cluster.default_namespace, &metrics);
    let account = Account::new(live, credentials, args.requests_per_second);
    let account = account.counted_by(&metrics.calls).led_by(&leadership);
    controller::run(Config {
        connections,
        account,
        defaults,
        namespaces: args.watch_namespaces,
        operator_namespaces: args.tenants.operator_namespaces(),
        drift_check_interval: args.drift_check_interval,
        limits: Limits {
            max_groups_per_app: args.max_groups_per_app,
            finalizer_timeout: args.finalizer_timeout,
            unreachable_finalizer_timeout: args.unreachable_finalizer_timeout,
            metric_namespaces: args.metric_namespaces,
        },
        metrics,
        readiness,
        elector,
        supervisor,
    })
    .await?;
    tracing::info!("stopped");
    Ok(())
}

fn log_start(args: &Args, cluster: &kube::Config, live: &Client) {
    let namespaces = &args.watch_namespaces;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        apiserver = %cluster.cluster_url,
        endpoint = %live.endpoint(),
        requests_per_second = %args.requests_per_second,
        namespaces = if namespaces.is_empty() { "all".to_owned() } else { namespaces.join(",") },
        "starting"
    );
}

async fn serve_health(
    requested: Option<SocketAddr>,
    metrics: &Arc<Metrics>,
    readiness: &Arc<Readiness>,
    supervisor: &Supervisor,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let Some(listener) = health_listener(requested).await? else { return Ok(()) };
    tracing::info!(address = %listener.local_addr()?, "serving /healthz, /livez, /readyz and /metrics");
    let readiness = Arc::clone(readiness);
    let supervised = supervisor.clone();
    let live = move || supervised.live();
    let ready = move || readiness.waits_for().map_or(Ok(()), Err);
    supervisor.spawn_to_the_end("health endpoints", serve(listener, Arc::clone(metrics), live, ready));
    Ok(())
}

/// Binds the health endpoints. Returns `None` if the user specified no address and the default address is in use, so
/// that a second operator can start on the same machine.
async fn health_listener(requested: Option<SocketAddr>) -> Result<Option<TcpListener>, String> {
    let address = requested.unwrap_or(DEFAULT_HEALTH_ADDRESS);
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if requested.is_none() && error.kind() == ErrorKind::AddrInUse => {
            tracing::warn!(
                %address,
                "the address is in use; the health endpoints and /metrics are not served: set --health-bind-address"
            );
            Ok(None)
        }
        Err(error) => Err(format!(
            "cannot listen on {address} for the health endpoints: {error}: set --health-bind-address to another \
             address (port 0 selects a free port)"
        )),
    }
}

fn stop_on_signal(stop: CancellationToken) -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping after the calls in flight are complete");
        stop.cancel();
    })
}

fn parse_namespace_count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count <= 1000).ok_or_else(|| "use a number from 0 to 1000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_id_consists_of_digits() {
        assert_eq!(parse_account_id("1234567890123456"), Ok("1234567890123456".to_owned()));
        for invalid in ["", "acs:ram::42:root", "12 34", "١٢", &"1".repeat(33)] {
            assert!(parse_account_id(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn namespace_is_a_dns_label_and_not_empty() {
        for valid in ["a", "team-a", "0", &"x".repeat(63)] {
            assert_eq!(parse_namespace(valid).as_deref(), Ok(valid));
        }
        for invalid in ["", "-a", "a-", "Team", "a_b", "a.b", "a b", &"x".repeat(64)] {
            assert!(parse_namespace(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn timeout_is_a_duration_or_a_number_of_seconds() {
        assert_eq!(parse_timeout("3s"), Ok(Duration::from_secs(3)));
        assert_eq!(parse_timeout("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_timeout("10"), Ok(Duration::from_secs(10)));
        for invalid in ["", "0", "0s", "-3s", "6m", "soon"] {
            assert!(parse_timeout(invalid).is_err(), "{invalid}");
        }
    }
}
