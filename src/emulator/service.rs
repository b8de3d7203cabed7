//! From a request to its answer: authenticate, limit, carry out, render. No socket in here.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::answer::{self, Answer, Format};
use super::config::{Config, Denial};
use super::error::ApiError;
use super::limit::RateLimit;
use super::log::Record;
use super::operation::Operation;
use super::request::{Params, Request};
use super::state::{App, Deletion, Group, State};
use super::verify::{Claims, SignatureVersion, Verifier};
use super::wire::{RawRequest, Response, WireError};

/// The version of the API.
const VERSION: &str = "2016-11-01";

/// Everything that changes while the emulator runs, behind one lock: requests take effect one after the other.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) verifier: Verifier,
    pub(super) limit: RateLimit,
    pub(super) state: State,
}

/// The emulated API.
#[derive(Debug)]
pub(super) struct Service {
    core: Mutex<Core>,
    denials: Vec<Denial>,
    config: Config,
}

/// A request's answer and its line in the request log, which lacks the duration.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) response: Response,
    pub(super) record: Record,
}

impl Service {
    pub(super) fn new(config: Config) -> Self {
        let now = config.clock.now();
        let mut state = State::with_groups_per_app(config.groups_per_app);
        for app in &config.apps {
            state.put_app(App::new(&app.id, app.data_center, now));
        }
        for spec in &config.groups {
            if state.app(&spec.app).is_none() {
                state.put_app(App::new(&spec.app, Default::default(), now));
            }
            let mut group = Group::new(&spec.id, now);
            group.deleted = spec.deleted.then(|| Deletion { at: now, by: String::new() });
            if let Some(app) = state.app_mut(&spec.app) {
                app.put_group(group);
            }
        }
        let verifier = Verifier::new(config.access_keys.iter().cloned());
        let limit = RateLimit::new(config.requests_per_second);
        let core = Mutex::new(Core { verifier, limit, state });
        Self { core, denials: config.denials.clone(), config }
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn now(&self) -> Timestamp {
        self.config.clock.now()
    }

    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a request.
    pub(super) fn answer(&self, raw: RawRequest) -> Exchange {
        let RawRequest { method, target, headers, body, .. } = raw;
        let host = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host = host.map(|(_, value)| value.clone()).unwrap_or_default();
        match Request::new(&method, &target, headers, body) {
            Ok(request) => self.answer_decoded(&request, &host),
            Err(error) => refusal(self.now(), Claims::default(), BTreeMap::new(), Format::Json, &host, &error),
        }
    }

    /// Answers what could not be read as a request.
    pub(super) fn answer_unreadable(&self, error: WireError) -> Exchange {
        let error = ApiError::new(error.status, error.code, error.message);
        refusal(self.now(), Claims::default(), BTreeMap::new(), Format::Json, "", &error)
    }

    fn answer_decoded(&self, request: &Request, host: &str) -> Exchange {
        let claims = Claims::of(request);
        let format = claims.format(request);
        let params = request.params();
        let logged = operation_params(&params, claims.signature);
        // The time is taken under the lock: what the rate limit sees never goes backwards.
        let mut core = self.core();
        let now = self.now();
        let outcome = self.carry_out(&mut core, request, &claims, &params, now);
        drop(core);
        match outcome {
            Ok((operation, fields)) => {
                let request_id = request_id();
                let body = answer::render(format, operation.name(), &request_id, &fields).into_bytes();
                let response = Response { status: 200, content_type: format.content_type(), headers: Vec::new(), body };
                Exchange { response, record: record(now, claims, logged, 200, None, request_id) }
            }
            Err(error) => refusal(now, claims, logged, format, host, &error),
        }
    }

    fn carry_out(
        &self,
        core: &mut Core,
        request: &Request,
        claims: &Claims,
        params: &Params,
        now: Timestamp,
    ) -> Result<(Operation, Answer), ApiError> {
        if !matches!(request.method.as_str(), "GET" | "POST") {
            let message = format!("This http method {} is not supported.", request.method);
            return Err(ApiError::new(400, "UnsupportedHTTPMethod", message));
        }
        let caller = core.verifier.verify(request, now)?;
        if request.path != "/" {
            return Err(ApiError::api_not_found());
        }
        if claims.version.as_deref() != Some(VERSION) {
            let message = format!("Specified parameter Version is not valid: it must be {VERSION}.");
            return Err(ApiError::new(400, "InvalidVersion", message));
        }
        let operation = claims.action.as_deref().and_then(Operation::from_name).ok_or_else(ApiError::api_not_found)?;
        if !core.limit.admit(&caller, operation, now) {
            return Err(ApiError::throttling_user());
        }
        self.permit(&caller, params)?;
        Ok((operation, core.state.handle(operation, params, now)?))
    }

    fn permit(&self, caller: &str, params: &Params) -> Result<(), ApiError> {
        let app = params.get("AppId");
        let denies =
            |denial: &&Denial| denial.access_key_id == caller && (denial.app.is_none() || denial.app.as_deref() == app);
        match self.denials.iter().find(denies) {
            Some(_) => Err(ApiError::no_auth(format_args!("the access key {caller} has no permission"))),
            None => Ok(()),
        }
    }
}

/// The parameters of the operation, for the log: without those of signature V1, of which one is a secret.
fn operation_params(params: &Params, signature: Option<SignatureVersion>) -> BTreeMap<String, String> {
    const COMMON: [&str; 11] = [
        "AccessKeyId",
        "Action",
        "Format",
        "SecurityToken",
        "Signature",
        "SignatureMethod",
        "SignatureNonce",
        "SignatureType",
        "SignatureVersion",
        "Timestamp",
        "Version",
    ];
    let common = |name: &str| signature == Some(SignatureVersion::V1) && COMMON.contains(&name);
    let mut logged = BTreeMap::new();
    for (name, value) in params.iter().filter(|(name, _)| !common(name)) {
        logged.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    logged
}

fn refusal(
    now: Timestamp,
    claims: Claims,
    params: BTreeMap<String, String>,
    format: Format,
    host: &str,
    error: &ApiError,
) -> Exchange {
    let request_id = request_id();
    let body = answer::render_error(format, &request_id, host, error).into_bytes();
    let response = Response { status: error.status, content_type: format.content_type(), headers: Vec::new(), body };
    Exchange { response, record: record(now, claims, params, error.status, Some(error.code.to_string()), request_id) }
}

fn record(
    time: Timestamp,
    claims: Claims,
    params: BTreeMap<String, String>,
    status: u16,
    code: Option<String>,
    request_id: String,
) -> Record {
    let Claims { signature, access_key_id, action, .. } = claims;
    Record { time, access_key_id, operation: action, params, signature, status, code, request_id, duration_ms: 0 }
}

/// A random UUID (version 4) in upper case.
fn request_id() -> String {
    let bits = fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032X}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_random_uuids_in_upper_case() {
        let id = request_id();
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'4');
        assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'A' | b'B'));
        assert!(id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F' | b'-')));
        assert_ne!(id, request_id());
    }

    #[test]
    fn the_log_shows_neither_signature_nor_token() {
        let params: Params = [("AppId", "demo"), ("SecurityToken", "x"), ("Signature", "y")].into_iter().collect();
        let logged = operation_params(&params, Some(SignatureVersion::V1));
        assert_eq!(logged.into_keys().collect::<Vec<_>>(), ["AppId"]);
    }
}
