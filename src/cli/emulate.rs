//! `live-message-operator emulate`.

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

/// Serve the Live API (version 2016-11-01) on loopback, with real state: for tests, demos and pipelines
///
/// Point any client of the Live API at it: this operator, the official SDKs, the command line client. Operations, by GET
/// or POST, with parameters in the query or in a form body:
///
///   CreateLiveMessageGroup  DescribeLiveMessageGroup  ModifyLiveMessageGroup  DeleteLiveMessageGroup
///   RecoverLiveMessageDeletedGroup  ListLiveMessageGroupByPage  ListLiveMessageGroups
///   CreateLiveMessageApp  DescribeLiveMessageApp  ListLiveMessageApps  ModifyLiveMessageAppAudit
///   ModifyLiveMessageAppCallback  ModifyLiveMessageAppDisable
///
/// and, at the same address, what hands out temporary keys: AssumeRoleWithOIDC (not signed; the token must be a JWT that
/// has not expired and whose audience contains sts.aliyuncs.com, its signature is not verified) and AssumeRole of STS,
/// version 2015-04-01, and the ECS metadata service under /latest/. Its requests are operation EcsMetadata in the request
/// log and in faults.
///
/// Signatures V3 (ACS3-HMAC-SHA256) and V1 (HMAC-SHA1) are verified: secret, time (within 15 minutes), nonce (used
/// once). Limits are those of the documents: 50 calls a second per account and operation, 5,000 live groups an app,
/// 3 administrators, 128 bytes of GroupName, 32,768 bytes of GroupInfo. A deleted group is kept 30 days and can be
/// recovered. State is in memory and gone at the end, unless --state names a file.
///
/// When it is ready it prints one line, `listening on http://ADDR:PORT`, to stdout, and after it nothing but a line for
/// the admin and for the metadata address, each only where its port was 0. SIGTERM or SIGINT ends it: requests under way
/// are answered, the request log is complete, the exit code is 0. An empty environment variable counts as absent.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_long_help = EXAMPLES)]
pub struct Args {
    /// Address and port to listen on. Port 0 takes a free one; the line on stdout tells which.
    #[arg(long, value_name = "ADDR:PORT", env = "LMO_EMULATE_LISTEN", default_value = "127.0.0.1:8787")]
    listen: String,

    /// An access key that may call, and the number of the account it belongs to (digits). Limits are shared by the keys
    /// of an account, as are the apps that belong to it; all keys without an account share one, 1000000000000000.
    /// Repeatable; in the variable, separated by spaces.
    #[arg(
        long = "access-key",
        value_name = "ID:SECRET[@ACCOUNT]",
        env = "LMO_EMULATE_ACCESS_KEY",
        hide_env_values = true,
        value_delimiter = ' ',
        default_value = "testAccessKeyId:testAccessKeySecret"
    )]
    access_keys: Vec<AccessKey>,

    /// Makes an access key a temporary one (STS): its requests must carry this token. After EXPIRY (RFC 3339, like
    /// 2026-01-02T03:04:05Z) they get InvalidSecurityToken.Expired. Repeatable; in the variable, separated by spaces.
    #[arg(
        long = "security-token",
        value_name = "ID:TOKEN[@EXPIRY]",
        env = "LMO_EMULATE_SECURITY_TOKEN",
        hide_env_values = true,
        value_delimiter = ' '
    )]
    security_tokens: Vec<TokenSpec>,

    /// Refuses every call of an access key, or its calls on one app, with 403 NoAuth. Repeatable; in the variable,
    /// separated by spaces.
    #[arg(long = "deny", value_name = "ID[/APPID]", env = "LMO_EMULATE_DENY", value_delimiter = ' ')]
    denials: Vec<Denial>,

    /// An app that exists from the start, in cn-shanghai or ap-southeast-1 [without @: cn-shanghai]. It exists for every
    /// account, or only for the keys of ACCOUNT. Further apps are made with CreateLiveMessageApp; they belong to the
    /// account of the key. Repeatable; in the variable, separated by spaces.
    #[arg(long = "app", value_name = "[ACCOUNT/]APPID[@DATACENTER]", env = "LMO_EMULATE_APP", value_delimiter = ' ')]
    apps: Vec<AppSpec>,

    /// A group that exists from the start; with `:deleted` it was deleted just now. If no --app names its app, the app is
    /// made in cn-shanghai. Repeatable; in the variable, separated by spaces.
    #[arg(long = "group", value_name = "APPID/GROUPID[:deleted]", env = "LMO_EMULATE_GROUP", value_delimiter = ' ')]
    groups: Vec<GroupSpec>,

    /// Appends one line of JSON for every request to this file, refused ones included: time, accessKeyId, operation,
    /// params, signature (V1 or V3), status, code, requestId, durationMs. A line is in the file before its answer is
    /// sent. Neither secrets, signatures nor tokens are in it.
    #[arg(long, value_name = "FILE", env = "LMO_EMULATE_REQUEST_LOG")]
    request_log: Option<PathBuf>,

    /// Calls admitted in any second per account and operation; more get 400 Throttling.User. 0 for no limit.
    #[arg(long, value_name = "N", env = "LMO_EMULATE_REQUESTS_PER_SECOND", default_value_t = 50)]
    requests_per_second: usize,

    /// Lets refused calls count in that second too: a caller that does not slow down is refused until it does. The
    /// documents do not tell what the real gateway does; without this, refused calls do not count.
    #[arg(long, env = "LMO_EMULATE_COUNT_REFUSED", value_parser = clap::builder::BoolishValueParser::new())]
    count_refused: bool,

    /// A role that STS lets be assumed, by AssumeRoleWithOIDC or AssumeRole. Its keys belong to the account in the ARN.
    /// Repeatable; in the variable, separated by spaces. Without it every role can be assumed.
    #[arg(
        long = "oidc-role",
        value_name = "acs:ram::ACCOUNT:role/NAME",
        env = "LMO_EMULATE_OIDC_ROLE",
        value_delimiter = ' '
    )]
    roles: Vec<RoleArn>,

    /// The longest life of a temporary key, to see them expire in a test. Without it DurationSeconds of the call (900 to
    /// 3600, 3600 by default), and 6 hours for those of the metadata service and of the admin address.
    #[arg(
        long,
        value_name = "N",
        env = "LMO_EMULATE_STS_DURATION_SECONDS",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    sts_duration_seconds: Option<u64>,

    /// The RAM role of the ECS instance: the metadata service has its keys. Without it, it has none.
    #[arg(long, value_name = "NAME[@ACCOUNT]", env = "LMO_EMULATE_ECS_ROLE")]
    ecs_role: Option<EcsRole>,

    /// Versions of the ECS metadata service: `v1` knows no tokens (PUT /latest/api/token is 404), `v2` wants one (403
    /// without), `any` takes both.
    #[arg(long, value_name = "VERSIONS", env = "LMO_EMULATE_IMDS", default_value = "any")]
    imds: Imds,

    /// A second address and port to listen on, for clients that look for the metadata service at an address of its own.
    /// Both addresses answer the same. Port 0 takes a free one; then a line `metadata on http://ADDR:PORT` on stdout,
    /// after the others, tells which.
    #[arg(long, value_name = "ADDR:PORT", env = "LMO_EMULATE_METADATA_LISTEN")]
    metadata_listen: Option<String>,

    /// Live groups an app may have; more get 400 ErrorTooManyGroups. Deleted ones do not count. 0 for no limit.
    #[arg(long, value_name = "N", env = "LMO_EMULATE_GROUPS_PER_APP", default_value_t = 5_000)]
    groups_per_app: usize,

    /// Milliseconds from the arrival of a request to its answer, at least. A request takes effect when it arrives.
    #[arg(long, value_name = "MS", env = "LMO_EMULATE_LATENCY_MS", default_value_t = 0)]
    latency_ms: u64,

    /// Something that goes wrong: OPERATION:KIND[=VALUE][,share=PERCENT%][,times=N]. Repeatable; in the variable,
    /// separated by spaces. OPERATION is a name, or * for all of the Live API. KIND is one of
    ///
    ///   error=STATUS/CODE        an error of the API; no effect on the state. STATUS/ can be left out where the
    ///                            documents tell it: ServerError, InternalError, ServiceUnavailable, Throttling,
    ///                            Throttling.User, Throttling.Api, InputInvalid, ErrorTooManyGroups, NoAuth,
    ///                            ResourceNotExist, InvalidTimeStamp.Expired, SignatureDoesNotMatch,
    ///                            InvalidAccessKeyId.NotFound, InvalidAccessKeyId.Inactive
    ///   throttle[=MS]            Throttling.User, with x-acs-retry-after: MS; no effect
    ///   html[=STATUS]            a proxy's page, 502 by default; no effect
    ///   reset-before             the connection is reset; no effect
    ///   reset-after              the call is carried out, then the connection is reset
    ///   reset-late=MS            the connection is reset, the call is carried out up to MS later
    ///   error-after=STATUS/CODE  the call is carried out, the answer is an error
    ///   empty                    the call is carried out, the answer is 200 without a body
    ///   truncated                the call is carried out, half of the answer is sent
    ///   slow=MS                  the call is carried out at once, the answer waits
    ///   late=MS                  the call waits, then it is carried out and answered
    ///   clock=SECONDS            the gateway's clock is wrong: signatures expire, Date is off
    ///   mixed[=MS]               one of all of the above, drawn evenly: 500 and 503, throttling with and without
    ///                            x-acs-retry-after, resets, delays of up to MS (1000), a clock one hour off. Only what
    ///                            passes by itself: no NoAuth, no ErrorTooManyGroups
    ///   pass                     nothing goes wrong, whatever later rules say
    ///
    /// Of rules that exclude each other the first one drawn counts, the others are not used up; delays add up. So rules
    /// with times=N make a fixed sequence: 'X:error=ServerError,times=1' 'X:pass,times=2' 'X:reset-after,times=1'.
    #[arg(long = "fault", value_name = "RULE", env = "LMO_EMULATE_FAULT", value_delimiter = ' ', verbatim_doc_comment)]
    faults: Vec<Fault>,

    /// Makes the draws of faults repeatable: the same calls in the same order meet the same faults.
    #[arg(long, value_name = "N", env = "LMO_EMULATE_SEED")]
    seed: Option<u64>,

    /// Starts with the apps and groups of this file, if there is one, and writes them there at the end, as JSON. What
    /// --app and --group name and the file does not have is added.
    #[arg(long, value_name = "FILE", env = "LMO_EMULATE_STATE")]
    state: Option<PathBuf>,

    /// Address and port to steer the emulator at while it runs: JSON over HTTP, without authentication. Off by default.
    /// Port 0 takes a free one; then a second line on stdout, `admin on http://ADDR:PORT`, tells which.
    ///
    ///   GET PUT DELETE /faults            ["RULE", …]; PUT also {"rules": ["RULE", …], "seed": N}
    ///   GET PUT /limits                   requestsPerSecond, countRefused, groupsPerApp, latencyMs
    ///   GET PUT POST /clock               {"now": TIME}; to change it {"advanceSeconds": N} or {"now": TIME}
    ///   GET PUT /state                    every app and group, as --state has them
    ///   GET DELETE /requests              the last 10,000; ?operation=NAME for those of one operation
    ///   GET /keys                         the access keys, without secrets
    ///   GET PUT DELETE /keys/ID           PUT takes secret, account, token, expires, active
    ///   GET PUT DELETE /groups/APP/GROUP  a change by hand: name, info, creator, administrators, created,
    ///                                     deleted (true, false); DELETE purges without a trace
    ///   GET /credentials                  a temporary key, for ALIBABA_CLOUD_CREDENTIALS_URI; ?account=NUMBER
    ///
    /// PUT replaces faults and state, changes of the others what is given, and answers as GET does. Clients need not
    /// follow the clock when it is moved: requests and OIDC tokens dated by the machine's clock stay good.
    #[arg(long, value_name = "ADDR:PORT", env = "LMO_EMULATE_ADMIN_LISTEN", verbatim_doc_comment)]
    admin_listen: Option<String>,
}

const EXAMPLES: &str = r#"Examples:
  An app, a key, and a port of the system's choice:
    live-message-operator emulate --listen 127.0.0.1:0 --app demo --access-key testid:testsecret

  What a cluster met before: a group someone made by hand, and one someone deleted:
    live-message-operator emulate --app demo --group demo/lobby --group demo/oldroom:deleted

  A slow region without a rate limit, every request on record:
    live-message-operator emulate --app demo@ap-southeast-1 --latency-ms 200 --requests-per-second 0 \
      --request-log requests.jsonl

  One create in ten is carried out and its answer lost; the first three deletions meet a broken gateway:
    live-message-operator emulate --app demo --fault CreateLiveMessageGroup:reset-after,share=10% \
      --fault DeleteLiveMessageGroup:html,times=3

  Three calls in ten meet a fault of any kind that passes, the same ones in every run:
    live-message-operator emulate --app demo --fault '*:mixed,share=30%' --seed 1

  RRSA without a cluster: any client with ALIBABA_CLOUD_STS_ENDPOINT and the endpoint of the Live API set to this
  address; keys that live 30 seconds:
    live-message-operator emulate --app demo --oidc-role acs:ram::1234567890123456:role/operator \
      --sts-duration-seconds 30

  Two keys of one account, which share its 50 calls a second, a key of another, and an app that only the first has:
    live-message-operator emulate --access-key 'a:s1@11 b:s2@11 c:s3@22' --app 11/demo --app shared --count-refused

  An ECS instance with a role, and with the hardened metadata service:
    live-message-operator emulate --app demo --ecs-role operator --imds v2

  Thirty days later, a key revoked, a group changed by hand, and what was asked for:
    live-message-operator emulate --app demo --group demo/lobby --admin-listen 127.0.0.1:8788
    curl -X POST -d '{"advanceSeconds": 2592000}' http://127.0.0.1:8788/clock
    curl -X PUT -d '{"active": false}' http://127.0.0.1:8788/keys/testAccessKeyId
    curl -X PUT -d '{"info": "by hand"}' http://127.0.0.1:8788/groups/demo/lobby
    curl 'http://127.0.0.1:8788/requests?operation=ModifyLiveMessageGroup'

  In a pipeline, by environment:
    LMO_EMULATE_APP='demo stage' LMO_EMULATE_ACCESS_KEY=testid:testsecret live-message-operator emulate"#;

impl Args {
    fn config(self) -> Result<Config, String> {
        let mut access_keys = self.access_keys;
        for TokenSpec { id, token, expires } in self.security_tokens {
            let key = access_keys.iter_mut().find(|key| key.id == id);
            let key = key.ok_or_else(|| format!("--security-token: no --access-key has the id {id}"))?;
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

/// The state a file holds; `None` when there is no file yet.
fn load(path: &Path) -> Result<Option<State>, String> {
    let explain = |error: &dyn std::fmt::Display| format!("--state {}: {error}", path.display());
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| explain(&error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(explain(&error)),
    }
}

/// Replaces the file in one step: an end in between leaves the old one.
fn save(path: &Path, state: &State) -> std::io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".unfinished");
    std::fs::write(&unfinished, serde_json::to_vec_pretty(state)?)?;
    std::fs::rename(&unfinished, path)
}

/// The line that tells which port the system chose, if it was left to it.
fn chosen(name: &str, asked: Option<String>, address: Option<SocketAddr>) -> String {
    match (asked, address) {
        (Some(asked), Some(address)) if asked.ends_with(":0") => format!("{name} on http://{address}\n"),
        _ => String::new(),
    }
}

/// Runs the command.
pub async fn run(args: Args) -> CommandResult {
    // Before the line that says it is ready: a signal after that line must not kill.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let state_file = args.state.clone();
    let (admin, metadata) = (args.admin_listen.clone(), args.metadata_listen.clone());
    let emulator = Emulator::start(args.config()?)?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on {}", emulator.base_url())?;
    stdout.flush()?;
    // Whoever reads the first line only may have closed the pipe by now.
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
