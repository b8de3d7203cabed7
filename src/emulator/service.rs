//! From a request to its answer: authenticate, limit, carry out, render. No socket in here.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::answer::{self, Answer, Format};
use super::clock::Clock;
use super::config::{Config, Denial};
use super::error::ApiError;
use super::fault::{FaultKind, Faults, Plan};
use super::key::{AccessKey, DEFAULT_ACCOUNT};
use super::limit::RateLimit;
use super::log::Record;
use super::operation::Operation;
use super::request::{Params, Request};
use super::state::{App, DataCenter, Deletion, Group, State};
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
    pub(super) faults: Faults,
    pub(super) latency: Duration,
}

/// The emulated API.
#[derive(Debug)]
pub(super) struct Service {
    core: Mutex<Core>,
    denials: Vec<Denial>,
    clock: Clock,
}

/// A request, decoded, and what it says of itself.
#[derive(Debug)]
pub(super) struct Incoming {
    request: Request,
    params: Params,
    claims: Claims,
    format: Format,
    host: String,
}

impl Incoming {
    fn operation(&self) -> Option<Operation> {
        self.claims.action.as_deref().and_then(Operation::from_name)
    }
}

/// How an answer leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    Whole,
    /// Half of it.
    Truncated,
    /// Not at all: the connection is reset.
    Reset,
}

/// A request's answer and its line in the request log, which lacks the duration.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) response: Response,
    pub(super) record: Record,
    pub(super) delivery: Delivery,
    /// From the arrival to the answer, at least.
    pub(super) wait: Duration,
    /// By how many seconds the header `Date` is wrong.
    pub(super) date_error: i64,
}

impl Service {
    pub(super) fn new(config: &Config) -> Self {
        let now = config.clock.now();
        let mut state = config.state.clone().unwrap_or_default();
        state.set_groups_per_app(config.groups_per_app);
        for app in config.apps.iter().filter(|app| config.state.as_ref().is_none_or(|old| old.app(&app.id).is_none())) {
            let mut made = App::new(&app.id, app.data_center, now);
            made.account.clone_from(&app.account);
            state.put_app(made);
        }
        for spec in &config.groups {
            if state.app(&spec.app).is_none() {
                state.put_app(App::new(&spec.app, DataCenter::default(), now));
            }
            let mut group = Group::new(&spec.id, now);
            group.deleted = spec.deleted.then(|| Deletion { at: now, by: String::new() });
            if let Some(app) = state.app_mut(&spec.app).filter(|app| app.group(&spec.id).is_none()) {
                app.put_group(group);
            }
        }
        let mut limit = RateLimit::new(config.requests_per_second);
        limit.set_count_refused(config.count_refused);
        let core = Core {
            verifier: Verifier::new(config.access_keys.iter().cloned()),
            limit,
            state,
            faults: Faults::new(config.faults.clone(), config.seed),
            latency: config.latency,
        };
        Self { core: Mutex::new(core), denials: config.denials.clone(), clock: config.clock.clone() }
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decodes a request, and draws what is in store for it.
    ///
    /// # Errors
    ///
    /// The answer to a request that cannot be decoded.
    pub(super) fn receive(&self, raw: RawRequest) -> Result<(Incoming, Plan), Box<Exchange>> {
        let RawRequest { method, target, headers, body, .. } = raw;
        let host = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host = host.map(|(_, value)| value.clone()).unwrap_or_default();
        let request = match Request::new(&method, &target, headers, body) {
            Ok(request) => request,
            Err(error) => return Err(Box::new(self.refuse_unread(&error, &host))),
        };
        let claims = Claims::of(&request);
        let incoming = Incoming { format: claims.format(&request), params: request.params(), request, claims, host };
        let plan = self.core().faults.draw(incoming.operation());
        Ok((incoming, plan))
    }

    /// Answers what could not be read as a request.
    pub(super) fn answer_unreadable(&self, error: WireError) -> Exchange {
        self.refuse_unread(&ApiError::new(error.status, error.code, error.message), "")
    }

    fn refuse_unread(&self, error: &ApiError, host: &str) -> Exchange {
        let request_id = request_id();
        let response = error_response(Format::Json, &request_id, host, error);
        let code = Some(error.code.to_string());
        let record = record(self.clock.now(), Claims::default(), BTreeMap::new(), response.status, code, request_id);
        Exchange { response, record, delivery: Delivery::Whole, wait: self.core().latency, date_error: 0 }
    }

    /// Lets a request take effect, and answers it.
    pub(super) fn answer(&self, incoming: Incoming, plan: Plan) -> Exchange {
        let date_error = match plan.kind {
            Some(FaultKind::Clock(seconds)) => seconds,
            _ => 0,
        };
        // The time is taken under the lock: what the rate limit sees never goes backwards.
        let mut core = self.core();
        let now = self.clock.now();
        let outcome = self.carry_out(&mut core, &incoming, &plan, date_error, now);
        let wait = core.latency + plan.slow;
        drop(core);
        let request_id = request_id();
        let Incoming { params, claims, format, host, .. } = incoming;
        let (mut response, mut code) = match outcome {
            Ok((operation, fields)) => {
                let body = answer::render(format, operation.name(), &request_id, &fields).into_bytes();
                (Response { status: 200, content_type: format.content_type(), headers: Vec::new(), body }, None)
            }
            Err(error) => (error_response(format, &request_id, &host, &error), Some(error.code.to_string())),
        };
        let delivery = distort(&mut response, &mut code, plan.kind.as_ref());
        let status = if delivery == Delivery::Reset { 0 } else { response.status };
        let logged = operation_params(&params, claims.signature);
        let record = record(now, claims, logged, status, code, request_id);
        Exchange { response, record, delivery, wait, date_error }
    }

    fn carry_out(
        &self,
        core: &mut Core,
        incoming: &Incoming,
        plan: &Plan,
        date_error: i64,
        now: Timestamp,
    ) -> Result<(Operation, Answer), ApiError> {
        let Incoming { request, params, claims, .. } = incoming;
        if !matches!(request.method.as_str(), "GET" | "POST") {
            let message = format!("This http method {} is not supported.", request.method);
            return Err(ApiError::new(400, "UnsupportedHTTPMethod", message));
        }
        let gateway_time = now.checked_add(SignedDuration::from_secs(date_error)).unwrap_or(now);
        let caller = core.verifier.verify(request, gateway_time)?;
        if request.path != "/" {
            return Err(ApiError::api_not_found());
        }
        if claims.version.as_deref() != Some(VERSION) {
            let message = format!("Specified parameter Version is not valid: it must be {VERSION}.");
            return Err(ApiError::new(400, "InvalidVersion", message));
        }
        let operation = incoming.operation().ok_or_else(ApiError::api_not_found)?;
        let account = core.verifier.key(&caller).map_or(DEFAULT_ACCOUNT, AccessKey::account).to_owned();
        if !core.limit.admit(&account, operation, now) {
            return Err(ApiError::throttling_user());
        }
        match &plan.kind {
            Some(FaultKind::Throttle(_)) => return Err(ApiError::throttling_user()),
            Some(kind) if kind.prevents() => return Err(injected(kind)),
            _ => {}
        }
        self.permit(&caller, params)?;
        let answer = core.state.handle_for(&account, operation, params, now)?;
        match &plan.kind {
            Some(kind @ FaultKind::ErrorAfter(..)) => Err(injected(kind)),
            _ => Ok((operation, answer)),
        }
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

/// The error a fault stands for. Where it replaces the answer altogether, nobody sees it but the request log.
fn injected(kind: &FaultKind) -> ApiError {
    match kind {
        FaultKind::Error(status, code) | FaultKind::ErrorAfter(status, code) => {
            ApiError::new(*status, code.clone(), "A fault of the emulator.")
        }
        FaultKind::Html(status) => ApiError::new(*status, "Fault.Html", "A fault of the emulator."),
        _ => ApiError::new(500, "Fault.Reset", "A fault of the emulator."),
    }
}

/// Does to an answer what a fault does on the way.
fn distort(response: &mut Response, code: &mut Option<String>, kind: Option<&FaultKind>) -> Delivery {
    match kind {
        Some(FaultKind::ResetBefore | FaultKind::ResetAfter | FaultKind::ResetLate(_)) => return Delivery::Reset,
        Some(FaultKind::Truncated) => return Delivery::Truncated,
        Some(FaultKind::Throttle(Some(ms))) if code.as_deref() == Some("Throttling.User") => {
            response.headers.push(("x-acs-retry-after", ms.to_string()));
        }
        Some(FaultKind::Empty) => response.body.clear(),
        Some(FaultKind::Html(status)) => {
            *code = Some(injected(&FaultKind::Html(*status)).code.into_owned());
            response.status = *status;
            response.content_type = "text/html";
            response.body = format!("<html><head><title>{status}</title></head><body>{status}</body></html>").into();
        }
        _ => {}
    }
    Delivery::Whole
}

fn error_response(format: Format, request_id: &str, host: &str, error: &ApiError) -> Response {
    let body = answer::render_error(format, request_id, host, error).into_bytes();
    Response { status: error.status, content_type: format.content_type(), headers: Vec::new(), body }
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
