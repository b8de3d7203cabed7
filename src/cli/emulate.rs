//! The command `live-message-operator emulate`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio::signal::unix::{SignalKind, signal};

use super::CommandResult;
use crate::emulator::admin::RECORDS_KEPT;
use crate::emulator::config::{AppSpec, Denial, GroupSpec, TokenSpec};
use crate::emulator::{AccessKey, Clock, Config, EcsRole, Emulator, Fault, Imds, RoleArn, State};

/// Run an emulator of the Live API (version 2016-11-01) on loopback, for tests, demos and pipelines
///
/// Any client of the Live API can use the emulator: this operator, the official SDKs or the Alibaba Cloud CLI. The
/// emulator supports these operations by GET or POST, with parameters in the query string or in a form body:
///
///   CreateLiveMessageGroup  DescribeLiveMessageGroup  ModifyLiveMessageGroup  DeleteLiveMessageGroup
///   RecoverLiveMessageDeletedGroup  ListLiveMessageGroupByPage  ListLiveMessageGroups
///   CreateLiveMessageApp  DescribeLiveMessageApp  ListLiveMessageApps  ModifyLiveMessageAppAudit
///   ModifyLiveMessageAppCallback  ModifyLiveMessageAppDisable
///
/// At the same address, the emulator issues temporary credentials. STS (version 2015-04-01) supports AssumeRole and
/// AssumeRoleWithOIDC. An AssumeRoleWithOIDC request is not signed. Its token must be an unexpired JWT whose audience
/// contains sts.aliyuncs.com. The emulator does not verify the signature of the token. The ECS metadata service is
/// under /latest/. In the request log and in faults, its operation is named EcsMetadata.
///
/// The emulator verifies V3 (ACS3-HMAC-SHA256) and V1 (HMAC-SHA1) signatures. It rejects a request if the secret is
/// wrong, the time differs by more than 15 minutes, or the nonce has already been used. It applies the documented
/// limits: 50 calls per second for each account and operation, 5,000 live groups per app, 3 administrators per group,
/// 128 bytes for GroupName and 32,768 bytes for GroupInfo. A deleted group can be recovered for 30 days. State is kept
/// in memory and lost at exit, unless --state names a file.
///
/// When the emulator is ready, it prints `listening on http://ADDR:PORT` to stdout. If the port of --admin-listen or
/// --metadata-listen is 0, another line reports the selected address. On SIGTERM or SIGINT, the emulator completes the
/// requests in flight, finishes the request log, and exits with code 0. An empty environment variable counts as unset.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_long_help = EXAMPLES)]
pub struct Args {
    /// Address and port to listen on. Port 0 selects a free port. The line `listening on http://ADDR:PORT` on stdout
    /// reports the port.
    #[arg(long, value_name = "ADDR:PORT", env = "LMO_EMULATE_LISTEN", default_value = "127.0.0.1:8787")]
    listen: String,

    /// Access key that clients can use, and the ID of its account (digits). The keys of an account share its limits and
    /// its apps. Keys without an account share the account 1000000000000000. To specify several keys, repeat the flag,
    /// or separate the values with spaces in the environment variable.
    #[arg(
        long = "access-key",
        value_name = "ID:SECRET[@ACCOUNT]",
        env = "LMO_EMULATE_ACCESS_KEY",
        hide_env_values = true,
        value_delimiter = ' ',
        default_value = "testAccessKeyId:testAccessKeySecret"
    )]
    access_keys: Vec<AccessKey>,

    /// Make an access key temporary (STS): requests with this key must contain this token. After EXPIRY (RFC 3339, such
    /// as 2026-01-02T03:04:05Z), these requests get InvalidSecurityToken.Expired. To specify several tokens, repeat the
    /// flag, or separate the values with spaces in the environment variable.
    #[arg(
        long = "security-token",
        value_name = "ID:TOKEN[@EXPIRY]",
        env = "LMO_EMULATE_SECURITY_TOKEN",
        hide_env_values = true,
        value_delimiter = ' '
    )]
    security_tokens: Vec<TokenSpec>,

    /// Reject all calls with an access key, or only its calls to one app, with 403 NoAuth. To specify several rules,
    /// repeat the flag, or separate the values with spaces in the environment variable.
    #[arg(long = "deny", value_name = "ID[/APPID]", env = "LMO_EMULATE_DENY", value_delimiter = ' ')]
    denials: Vec<Denial>,

    /// App that exists at startup, in cn-shanghai (the default) or ap-southeast-1. The app belongs to ACCOUNT, or to
    /// all accounts if ACCOUNT is omitted. An app that CreateLiveMessageApp creates belongs to the account of the
    /// access key. To specify several apps, repeat the flag, or separate the values with spaces in the environment
    /// variable.
    #[arg(long = "app", value_name = "[ACCOUNT/]APPID[@DATACENTER]", env = "LMO_EMULATE_APP", value_delimiter = ' ')]
    apps: Vec<AppSpec>,

    /// Group that exists at startup; with `:deleted`, a group that was just deleted. If no --app names its app, the app
    /// is created in cn-shanghai. To specify several groups, repeat the flag, or separate the values with spaces in the
    /// environment variable.
    #[arg(long = "group", value_name = "APPID/GROUPID[:deleted]", env = "LMO_EMULATE_GROUP", value_delimiter = ' ')]
    groups: Vec<GroupSpec>,

    /// File to which one line of JSON is appended for each request, including rejected requests. The fields are time,
    /// accessKeyId, operation, params, signature (V1 or V3), status, code, requestId and durationMs. Each line is
    /// written before the response is sent. The file contains no secrets, signatures or tokens.
    #[arg(long, value_name = "FILE", env = "LMO_EMULATE_REQUEST_LOG")]
    request_log: Option<PathBuf>,

    /// Maximum calls in any second for each account and operation; further calls get 400 Throttling.User. 0 disables
    /// the limit.
    #[arg(long, value_name = "N", env = "LMO_EMULATE_REQUESTS_PER_SECOND", default_value_t = 50)]
    requests_per_second: usize,

    /// Also count throttled calls against --requests-per-second, so that a client stays throttled until it slows down.
    /// Whether the real gateway counts them is not documented.
    #[arg(long, env = "LMO_EMULATE_COUNT_REFUSED", value_parser = clap::builder::BoolishValueParser::new())]
    count_refused: bool,

    /// Role that clients can assume with AssumeRoleWithOIDC or AssumeRole. The temporary credentials of the role belong
    /// to the account in the ARN. Without this flag, clients can assume any role. To specify several roles, repeat the
    /// flag, or separate the values with spaces in the environment variable.
    #[arg(
        long = "oidc-role",
        value_name = "acs:ram::ACCOUNT:role/NAME",
        env = "LMO_EMULATE_OIDC_ROLE",
        value_delimiter = ' '
    )]
    roles: Vec<RoleArn>,

    /// Maximum lifetime of temporary credentials in seconds. Use it to test how clients handle expiry. By default,
    /// credentials from STS expire after the DurationSeconds of the call (900 to 3600, or 3600 if the call does not set
    /// it). Credentials from the metadata service and the admin API expire after 6 hours.
    #[arg(
        long,
        value_name = "N",
        env = "LMO_EMULATE_STS_DURATION_SECONDS",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    sts_duration_seconds: Option<u64>,

    /// RAM role of the emulated ECS instance. The metadata service returns credentials for this role. Without this
    /// flag, the metadata service returns no credentials.
    #[arg(long, value_name = "NAME[@ACCOUNT]", env = "LMO_EMULATE_ECS_ROLE")]
    ecs_role: Option<EcsRole>,

    /// Version of the ECS metadata service. With `v1`, it issues no tokens (PUT /latest/api/token returns 404). With
    /// `v2`, each request needs a token (requests without a token get 403). With `any`, the token is optional.
    #[arg(long, value_name = "VERSIONS", env = "LMO_EMULATE_IMDS", default_value = "any")]
    imds: Imds,

    /// Second address and port to listen on, for clients that expect the metadata service at a separate address. Both
    /// addresses serve the same requests. Port 0 selects a free port. The line `metadata on http://ADDR:PORT` on stdout
    /// reports the port.
    #[arg(long, value_name = "ADDR:PORT", env = "LMO_EMULATE_METADATA_LISTEN")]
    metadata_listen: Option<String>,

    /// Maximum live groups in an app; further creates get 400 ErrorTooManyGroups. Deleted groups do not count. 0
    /// disables the limit.
    #[arg(long, value_name = "N", env = "LMO_EMULATE_GROUPS_PER_APP", default_value_t = 5_000)]
    groups_per_app: usize,

    /// Minimum time in milliseconds from the arrival of a request to its response. A request takes effect when it
    /// arrives.
    #[arg(long, value_name = "MS", env = "LMO_EMULATE_LATENCY_MS", default_value_t = 0)]
    latency_ms: u64,

    /// Fault to inject: OPERATION:KIND[=VALUE][,share=PERCENT%][,times=N]. To specify several faults, repeat the flag,
    /// or separate the values with spaces in the environment variable. OPERATION is the name of an operation, or * for
    /// all operations of the Live API. KIND is one of
    ///
    ///   error=STATUS/CODE        an API error without effect on the state. STATUS/ is optional for these codes:
    ///                            ServerError, InternalError, ServiceUnavailable, Throttling,
    ///                            Throttling.User, Throttling.Api, InputInvalid, ErrorTooManyGroups, NoAuth,
    ///                            ResourceNotExist, InvalidTimeStamp.Expired, SignatureDoesNotMatch,
    ///                            InvalidAccessKeyId.NotFound, InvalidAccessKeyId.Inactive
    ///   throttle[=MS]            Throttling.User, with x-acs-retry-after: MS; no effect on the state
    ///   html[=STATUS]            the error page of a proxy, 502 by default; no effect on the state
    ///   reset-before             the connection is reset; no effect on the state
    ///   reset-after              the call is executed, then the connection is reset
    ///   reset-late=MS            the connection is reset, and the call is executed up to MS later
    ///   error-after=STATUS/CODE  the call is executed, but the response is an error
    ///   empty                    the call is executed, but the response is 200 without a body
    ///   truncated                the call is executed, but only half of the response is sent
    ///   slow=MS                  the call is executed immediately, but the response is delayed
    ///   late=MS                  the call is delayed, then executed
    ///   clock=SECONDS            the clock of the gateway is SECONDS ahead: signatures expire, and Date is wrong
    ///   mixed[=MS]               a random fault, each kind with the same probability: an error (500 or 503),
    ///                            throttling with or without x-acs-retry-after, an error page, a reset, a delay of up
    ///                            to MS (1000 by default), an empty or truncated response, or a clock that is one hour
    ///                            ahead. All these faults are transient: NoAuth and ErrorTooManyGroups are excluded
    ///   pass                     no fault, regardless of later rules
    ///
    /// If several rules apply to a call, the delays of slow and late are added together. Of the rules with other
    /// faults, only the first one takes effect, and the times=N of the others does not change. Rules with times=N
    /// therefore take effect one after the other:
    /// 'X:error=ServerError,times=1' 'X:pass,times=2' 'X:reset-after,times=1'.
    #[arg(long = "fault", value_name = "RULE", env = "LMO_EMULATE_FAULT", value_delimiter = ' ', verbatim_doc_comment)]
    faults: Vec<Fault>,

    /// Seed of the random faults: the same calls in the same order get the same faults.
    #[arg(long, value_name = "N", env = "LMO_EMULATE_SEED")]
    seed: Option<u64>,

    /// JSON file with apps and groups. The emulator reads the file at startup, if it exists, and writes it at exit.
    /// Apps and groups from --app and --group are added if the file does not contain them.
    #[arg(long, value_name = "FILE", env = "LMO_EMULATE_STATE")]
    state: Option<PathBuf>,

    /// Address and port of the admin API, which controls the running emulator with JSON over HTTP, without
    /// authentication. The admin API is disabled by default. Port 0 selects a free port. The line
    /// `admin on http://ADDR:PORT` on stdout reports the port.
    ///
    ///   GET PUT DELETE /faults            ["RULE", …]; PUT also {"rules": ["RULE", …], "seed": N}
    ///   GET PUT /limits                   requestsPerSecond, countRefused, groupsPerApp, latencyMs
    ///   GET PUT POST /clock               {"now": TIME}; to change it, send {"advanceSeconds": N} or {"now": TIME}
    ///   GET PUT /state                    every app and group, as in the file of --state
    ///   GET DELETE /requests              the last 10,000 requests; ?operation=NAME selects an operation
    ///   GET /keys                         the access keys, without secrets
    ///   GET PUT DELETE /keys/ID           PUT accepts secret, account, token, expires, active
    ///   GET PUT DELETE /groups/APP/GROUP  a group, for external changes: PUT accepts name, info, creator,
    ///                                     administrators, created, deleted (true or false); DELETE removes the
    ///                                     group completely
    ///   GET /credentials                  temporary credentials, for ALIBABA_CLOUD_CREDENTIALS_URI; ?account=ID
    ///                                     selects the account
    ///
    /// PUT replaces all faults or the complete state. For other resources, PUT updates only the given fields. PUT
    /// returns the same response as GET. After the clock is changed, the emulator still accepts requests and OIDC
    /// tokens with the time of the machine.
    #[arg(long, value_name = "ADDR:PORT", env = "LMO_EMULATE_ADMIN_LISTEN", verbatim_doc_comment)]
    admin_listen: Option<String>,
}

const EXAMPLES: &str = r#"Examples:
  An app, a key and a free port:
    live-message-operator emulate --listen 127.0.0.1:0 --app demo --access-key testid:testsecret

  An existing group and a deleted group:
    live-message-operator emulate --app demo --group demo/lobby --group demo/oldroom:deleted

  A slow region without a rate limit, with a request log:
    live-message-operator emulate --app demo@ap-southeast-1 --latency-ms 200 --requests-per-second 0 \
      --request-log requests.jsonl

  One create in ten is executed but its response is lost; the first three deletions get the error page of a proxy:
    live-message-operator emulate --app demo --fault CreateLiveMessageGroup:reset-after,share=10% \
      --fault DeleteLiveMessageGroup:html,times=3

  Three calls in ten get a random transient fault, the same calls in every run:
    live-message-operator emulate --app demo --fault '*:mixed,share=30%' --seed 1

  RRSA without a cluster, with access keys that live 30 seconds. In the client, set ALIBABA_CLOUD_STS_ENDPOINT and
  the Live API endpoint to the address of the emulator:
    live-message-operator emulate --app demo --oidc-role acs:ram::1234567890123456:role/operator \
      --sts-duration-seconds 30

  Two keys that share the limit of an account, a key of another account, and an app of the first account:
    live-message-operator emulate --access-key 'a:s1@11 b:s2@11 c:s3@22' --app 11/demo --app shared --count-refused

  An ECS instance with a role, and with the hardened metadata service:
    live-message-operator emulate --app demo --ecs-role operator --imds v2

  Advance the clock by 30 days, revoke a key, change a group externally, and list requests:
    live-message-operator emulate --app demo --group demo/lobby --admin-listen 127.0.0.1:8788
    curl -X POST -d '{"advanceSeconds": 2592000}' http://127.0.0.1:8788/clock
    curl -X PUT -d '{"active": false}' http://127.0.0.1:8788/keys/testAccessKeyId
    curl -X PUT -d '{"info": "by hand"}' http://127.0.0.1:8788/groups/demo/lobby
    curl 'http://127.0.0.1:8788/requests?operation=ModifyLiveMessageGroup'

  In a pipeline, with environment variables:
    LMO_EMULATE_APP='demo stage' LMO_EMULATE_ACCESS_KEY=testid:testsecret live-message-operator emulate"#;

impl Args {
    fn config(self) -> Result<Config, String> {
        let mut access_keys = self.access_keys;
        for TokenSpec { id, token, expires } in self.security_tokens {
            let key = access_keys.iter_mut().find(|key| key.id == id);
            let key = key.ok_or_else(|| format!("--security-token: no --access-key has the ID {id}: add one"))?;
            *key = key.clone().with_token(token.expose_secret(), expires);
        }
        Ok(Config {
            listen: self.listen,
            access_keys,
            denials: self.denials,
            apps: self.apps,
            groups: self.groups,
            request_log: self.request_log,
            records_kept: if self.admin_listen.is_some() { RECORDS_KEPT } else { 0 },
            requests_per_second: self.requests_per_second,
            count_refused: self.count_refused,
            groups_per_app: self.groups_per_app,
            roles: self.roles,
            longest_session: self.sts_duration_seconds.map(Duration::from_secs),
            ecs_role: self.ecs_role,
            imds: self.imds,
            metadata_listen: self.metadata_listen,
            latency: Duration::from_millis(self.latency_ms),
            clock: Clock::system(),
            faults: self.faults,
            seed: self.seed,
            state: self.state.as_deref().map(load).transpose()?.flatten(),
            admin_listen: self.admin_listen,
        })
    }
}

/// Loads the state from a file. Returns `None` if the file does not exist.
fn load(path: &Path) -> Result<Option<State>, String> {
    let explain = |error: &dyn std::fmt::Display| format!("--state {}: {error}", path.display());
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| explain(&error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(explain(&error)),
    }
}

/// Saves the state to a file, which is replaced atomically.
fn save(path: &Path, state: &State) -> std::io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".unfinished");
    std::fs::write(&unfinished, serde_json::to_vec_pretty(state)?)?;
    std::fs::rename(&unfinished, path)
}

/// Returns the line for stdout that reports the port selected for an address with port 0. Returns an empty string for
/// any other address.
fn chosen(name: &str, requested: Option<String>, address: Option<SocketAddr>) -> String {
    match (requested, address) {
        (Some(requested), Some(address)) if requested.ends_with(":0") => format!("{name} on http://{address}\n"),
        _ => String::new(),
    }
}

/// Runs the emulator until SIGTERM or SIGINT.
pub async fn run(args: Args) -> CommandResult {
    // Register the signal handlers before the emulator reports that it is listening. From then on, a signal stops the
    // emulator gracefully and does not kill the process.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let state_file = args.state.clone();
    let (admin, metadata) = (args.admin_listen.clone(), args.metadata_listen.clone());
    let emulator = Emulator::start(args.config()?)?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on {}", emulator.base_url())?;
    stdout.flush()?;
    // Errors are ignored, because the reader may close the pipe after the first line.
    let further =
        chosen("admin", admin, emulator.admin_address()) + &chosen("metadata", metadata, emulator.metadata_address());
    let _ = stdout.write_all(further.as_bytes()).and_then(|()| stdout.flush());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let state = tokio::task::spawn_blocking(move || emulator.shutdown()).await?;
    if let Some(path) = state_file {
        save(&path, &state).map_err(|error| format!("--state {}: {error}", path.display()))?;
    }
    Ok(())
}
