//! Processes requests without I/O: authenticates them, applies the rate limit, executes them and renders the responses.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::clock::Clock;
use super::config::{Config, Denial};
use super::error::ApiError;
use super::fault::{FaultInjector, FaultKind, FaultPlan};
use super::key::{AccessKey, DEFAULT_ACCOUNT};
use super::limit::RateLimit;
use super::metadata::{self, MetadataReply, MetadataService};
use super::operation::{LIVE_VERSION, Operation};
use super::payload::Format;
use super::reply::{
    self, Delivery, Exchange, Success, apply_fault, error_response, injected_error, operation_params, record,
    request_id,
};
use super::request::{Params, Request};
use super::state::{App, DataCenter, Deletion, Group, State};
use super::sts::Sts;
use super::verify::{Claims, Verifier};
use super::wire::{RawRequest, WireError};

/// The mutable state of the emulator. One lock protects it, so requests take effect one at a time.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) verifier: Verifier,
    pub(super) limit: RateLimit,
    pub(super) state: State,
    pub(super) faults: FaultInjector,
    pub(super) latency: Duration,
    pub(super) sts: Sts,
    metadata: MetadataService,
}

impl Core {
    /// Returns the temporary key of a named session and registers the key with the verifier. The key is reused until
    /// half of its lifetime has passed, unless it is removed or deactivated earlier.
    pub(super) fn session_key(&mut self, name: &str, account: &str, now: Timestamp) -> AccessKey {
        let verifier = &self.verifier;
        let is_usable = |key: &AccessKey| verifier.key(&key.id).is_some_and(|known| !known.inactive);
        let key = self.sts.session_key(name, account, metadata::ROLE_KEY_LIFETIME, now, is_usable);
        if self.verifier.key(&key.id).is_none() {
            self.verifier.put_key(key.clone());
        }
        key
    }

    fn metadata(&mut self, request: &Request, now: Timestamp) -> Result<String, ApiError> {
        Ok(match self.metadata.handle(request, now)? {
            MetadataReply::Text(text) => text,
            MetadataReply::Key(role) => {
                let key = self.session_key(&format!("role/{}", role.name), &role.account, now);
                format!("{:#}", metadata::credentials_json(&key, now))
            }
        })
    }
}

/// The emulated services: the Live API, STS and the ECS metadata service.
#[derive(Debug)]
pub(super) struct Service {
    core: Mutex<Core>,
    denials: Vec<Denial>,
    clock: Clock,
}

/// A decoded request with its claims, which are not verified yet.
#[derive(Debug)]
pub(super) struct IncomingRequest {
    request: Request,
    params: Params,
    claims: Claims,
    format: Format,
    host: String,
}

/// The time of a request according to three clocks.
#[derive(Debug, Clone, Copy)]
struct ClockReadings {
    /// The emulator's clock.
    now: Timestamp,
    /// The gateway's clock, which a fault can skew.
    gateway: Timestamp,
    /// The clients' clock, which is not affected when a test moves the emulator's clock. The emulator also accepts
    /// requests whose timestamp is valid according to this clock. If a fault skews the gateway's clock, this field has
    /// the same value as `gateway`, so that the fault takes effect.
    unadjusted: Timestamp,
}

impl IncomingRequest {
    fn operation(&self) -> Option<Operation> {
        let named = self.claims.action.as_deref().and_then(Operation::from_name);
        named.filter(|operation| (*operation == Operation::EcsMetadata) == MetadataService::serves(&self.request.path))
    }
}

impl Service {
    pub(super) fn new(config: &Config) -> Self {
        let now = config.clock.now();
        let mut state = config.state.clone().unwrap_or_default();
        state.set_groups_per_app(config.groups_per_app);
        for app in config.apps.iter().filter(|app| config.state.as_ref().is_none_or(|old| old.app(&app.id).is_none())) {
            let mut new_app = App::new(&app.id, app.data_center, now);
            new_app.account.clone_from(&app.account);
            state.put_app(new_app);
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
            faults: FaultInjector::new(config.faults.clone(), config.seed),
            latency: config.latency,
            sts: Sts::new(config.roles.clone(), config.longest_session),
            metadata: MetadataService::new(config.imds, config.ecs_role.clone()),
        };
        Self { core: Mutex::new(core), denials: config.denials.clone(), clock: config.clock.clone() }
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decodes a request and selects its faults.
    ///
    /// # Errors
    ///
    /// Returns the error response to a request that cannot be decoded.
    pub(super) fn receive(&self, raw: RawRequest) -> Result<(IncomingRequest, FaultPlan), Box<Exchange>> {
        let RawRequest { method, target, headers, body, .. } = raw;
        let host = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host = host.map(|(_, value)| value.clone()).unwrap_or_default();
        let request = match Request::new(&method, &target, headers, body) {
            Ok(request) => request,
            Err(error) => return Err(Box::new(self.reject(&error, &host))),
        };
        let mut claims = Claims::from_request(&request);
        let mut params = request.params();
        if MetadataService::serves(&request.path) {
            claims = Claims { action: Some(Operation::EcsMetadata.name().to_owned()), ..Claims::default() };
            params = [("Method", &request.method), ("Path", &request.path)].into_iter().collect();
        }
        let incoming = IncomingRequest { format: claims.format(&request), params, request, claims, host };
        let plan = self.core().faults.draw(incoming.operation());
        Ok((incoming, plan))
    }

    /// Returns the error response to bytes that are not a valid HTTP request.
    pub(super) fn reject_malformed(&self, error: WireError) -> Exchange {
        self.reject(&ApiError::new(error.status, error.code, error.message), "")
    }

    fn reject(&self, error: &ApiError, host: &str) -> Exchange {
        let request_id = request_id();
        let response = error_response(Format::Json, &request_id, host, error);
        let code = Some(error.code.to_string());
        let record = record(self.clock.now(), Claims::default(), BTreeMap::new(), response.status, code, request_id);
        Exchange { response, record, delivery: Delivery::Whole, wait: self.core().latency, date_error: 0 }
    }

    /// Executes a request and renders its response.
    pub(super) fn handle(&self, incoming: IncomingRequest, plan: FaultPlan) -> Exchange {
        let date_error = match plan.kind {
            Some(FaultKind::Clock(seconds)) => seconds,
            _ => 0,
        };
        // The clock is read under the lock, so that the rate limit receives times in ascending order.
        let mut core = self.core();
        let now = self.clock.now();
        let gateway = now.checked_add(SignedDuration::from_secs(date_error)).unwrap_or(now);
        let unadjusted = if date_error == 0 { self.clock.unadjusted() } else { gateway };
        let outcome = self.execute(&mut core, &incoming, &plan, ClockReadings { now, gateway, unadjusted });
        let wait = core.latency + plan.slow;
        drop(core);
        let request_id = request_id();
        let operation = incoming.operation();
        let IncomingRequest { params, claims, format, host, .. } = incoming;
        let mut response = reply::response(format, &request_id, &host, operation, &outcome);
        let mut code = outcome.err().map(|error| error.code.into_owned());
        let delivery = apply_fault(&mut response, &mut code, plan.kind.as_ref());
        let status = if delivery == Delivery::Reset { 0 } else { response.status };
        let params_to_log = operation_params(&params, &claims);
        let record = record(now, claims, params_to_log, status, code, request_id);
        Exchange { response, record, delivery, wait, date_error }
    }

    fn execute(
        &self,
        core: &mut Core,
        incoming: &IncomingRequest,
        plan: &FaultPlan,
        readings: ClockReadings,
    ) -> Result<Success, ApiError> {
        let now = readings.now;
        let (operation, caller) = match incoming.operation() {
            Some(Operation::EcsMetadata) => (Operation::EcsMetadata, None),
            operation => authenticate(core, incoming, operation, readings)?,
        };
        let account =
            caller.as_deref().and_then(|id| core.verifier.key(id)).map_or(DEFAULT_ACCOUNT, AccessKey::account);
        let account = account.to_owned();
        if operation.is_live() && !core.limit.admit(&account, operation, now) {
            return Err(ApiError::throttling_user());
        }
        match &plan.kind {
            Some(FaultKind::Throttle(_)) => return Err(ApiError::throttling_user()),
            Some(kind) if kind.prevents_effect() => return Err(injected_error(kind)),
            _ => {}
        }
        let success = match operation {
            Operation::EcsMetadata => Success::Text(core.metadata(&incoming.request, now)?),
            Operation::AssumeRole | Operation::AssumeRoleWithOidc => {
                let (key, payload) = core.sts.assume(operation, &incoming.params, now, readings.unadjusted)?;
                core.verifier.put_key(key);
                Success::Fields(operation, payload)
            }
            _ => {
                self.check_denials(caller.as_deref().unwrap_or_default(), &incoming.params)?;
                Success::Fields(operation, core.state.handle_for(&account, operation, &incoming.params, now)?)
            }
        };
        match &plan.kind {
            Some(kind @ FaultKind::ErrorAfter(..)) => Err(injected_error(kind)),
            _ => Ok(success),
        }
    }

    fn check_denials(&self, caller: &str, params: &Params) -> Result<(), ApiError> {
        let app = params.get("AppId");
        let denies =
            |denial: &&Denial| denial.access_key_id == caller && (denial.app.is_none() || denial.app.as_deref() == app);
        match self.denials.iter().find(denies) {
            Some(_) => Err(ApiError::no_auth(format_args!("the access key {caller} has no permission"))),
            None => Ok(()),
        }
    }
}

/// Verifies the method, the signature, the path and the API version. Returns the operation and the access key ID. The
/// access key ID is `None` if the operation does not require a signature.
fn authenticate(
    core: &mut Core,
    incoming: &IncomingRequest,
    operation: Option<Operation>,
    readings: ClockReadings,
) -> Result<(Operation, Option<String>), ApiError> {
    let IncomingRequest { request, claims, .. } = incoming;
    if !matches!(request.method.as_str(), "GET" | "POST") {
        let message = format!("This http method {} is not supported.", request.method);
        return Err(ApiError::new(400, "UnsupportedHTTPMethod", message));
    }
    let caller = match operation {
        Some(Operation::AssumeRoleWithOidc) => None,
        _ => Some(match core.verifier.verify(request, readings.gateway) {
            // The timestamp may be valid according to the clients' clock. An expired key cannot pass the second check,
            // because the verifier checks the expiry of the key first and returns a different error for it.
            Err(error) if error.code == "InvalidTimeStamp.Expired" && readings.unadjusted != readings.gateway => {
                core.verifier.verify(request, readings.unadjusted)?
            }
            verified => verified?,
        }),
    };
    if request.path != "/" {
        return Err(ApiError::api_not_found());
    }
    let version = operation.map_or(LIVE_VERSION, Operation::version);
    if claims.version.as_deref() != Some(version) {
        let message = format!("Specified parameter Version is not valid: it must be {version}.");
        return Err(ApiError::new(400, "InvalidVersion", message));
    }
    Ok((operation.ok_or_else(ApiError::api_not_found)?, caller))
}
