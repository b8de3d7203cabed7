//! From a request to its answer: authenticate, limit, carry out, render. No socket in here.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::answer::Format;
use super::clock::Clock;
use super::config::{Config, Denial};
use super::error::ApiError;
use super::fault::{FaultKind, Faults, Plan};
use super::key::{AccessKey, DEFAULT_ACCOUNT};
use super::limit::RateLimit;
use super::metadata::{self, Asked, Metadata};
use super::operation::{LIVE_VERSION, Operation};
use super::reply::{
    self, Delivery, Exchange, Success, distort, error_response, injected, operation_params, record, request_id,
};
use super::request::{Params, Request};
use super::state::{App, DataCenter, Deletion, Group, State};
use super::sts::Sts;
use super::verify::{Claims, Verifier};
use super::wire::{RawRequest, WireError};

/// Everything that changes while the emulator runs, behind one lock: requests take effect one after the other.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) verifier: Verifier,
    pub(super) limit: RateLimit,
    pub(super) state: State,
    pub(super) faults: Faults,
    pub(super) latency: Duration,
    pub(super) sts: Sts,
    metadata: Metadata,
}

impl Core {
    /// A temporary key that the verifier knows, the same one until half of its time is over.
    pub(super) fn session(&mut self, name: &str, account: &str, now: Timestamp) -> AccessKey {
        let verifier = &self.verifier;
        let usable = |key: &AccessKey| verifier.key(&key.id).is_some_and(|known| !known.inactive);
        let key = self.sts.session(name, account, metadata::LIFETIME, now, usable);
        if self.verifier.key(&key.id).is_none() {
            self.verifier.put_key(key.clone());
        }
        key
    }

    fn metadata(&mut self, request: &Request, now: Timestamp) -> Result<String, ApiError> {
        Ok(match self.metadata.ask(request, now)? {
            Asked::Text(text) => text,
            Asked::Key(role) => {
                let key = self.session(&format!("role/{}", role.name), &role.account, now);
                format!("{:#}", metadata::key_json(&key, now))
            }
        })
    }
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

/// What time it is.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// By the emulator's clock.
    now: Timestamp,
    /// By the gateway's, which a fault can set wrong.
    gateway: Timestamp,
    /// By the clients', who do not notice when a test moves the emulator's clock: what they date by theirs is good, too.
    machine: Timestamp,
}

impl Incoming {
    fn operation(&self) -> Option<Operation> {
        let named = self.claims.action.as_deref().and_then(Operation::from_name);
        named.filter(|operation| (*operation == Operation::EcsMetadata) == Metadata::owns(&self.request.path))
    }
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
            sts: Sts::new(config.roles.clone(), config.longest_session),
            metadata: Metadata::new(config.imds, config.ecs_role.clone()),
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
        let mut claims = Claims::of(&request);
        let mut params = request.params();
        if Metadata::owns(&request.path) {
            claims = Claims { action: Some(Operation::EcsMetadata.name().to_owned()), ..Claims::default() };
            params = [("Method", &request.method), ("Path", &request.path)].into_iter().collect();
        }
        let incoming = Incoming { format: claims.format(&request), params, request, claims, host };
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
        let gateway = now.checked_add(SignedDuration::from_secs(date_error)).unwrap_or(now);
        let machine = if date_error == 0 { self.clock.machine() } else { gateway };
        let outcome = self.carry_out(&mut core, &incoming, &plan, Times { now, gateway, machine });
        let wait = core.latency + plan.slow;
        drop(core);
        let request_id = request_id();
        let operation = incoming.operation();
        let Incoming { params, claims, format, host, .. } = incoming;
        let mut response = reply::response(format, &request_id, &host, operation, &outcome);
        let mut code = outcome.err().map(|error| error.code.into_owned());
        let delivery = distort(&mut response, &mut code, plan.kind.as_ref());
        let status = if delivery == Delivery::Reset { 0 } else { response.status };
        let logged = operation_params(&params, &claims);
        let record = record(now, claims, logged, status, code, request_id);
        Exchange { response, record, delivery, wait, date_error }
    }

    fn carry_out(&self, core: &mut Core, incoming: &Incoming, plan: &Plan, times: Times) -> Result<Success, ApiError> {
        let now = times.now;
        let (operation, caller) = match incoming.operation() {
            Some(Operation::EcsMetadata) => (Operation::EcsMetadata, None),
            operation => authenticate(core, incoming, operation, times)?,
        };
        let account =
            caller.as_deref().and_then(|id| core.verifier.key(id)).map_or(DEFAULT_ACCOUNT, AccessKey::account);
        let account = account.to_owned();
        if operation.is_live() && !core.limit.admit(&account, operation, now) {
            return Err(ApiError::throttling_user());
        }
        match &plan.kind {
            Some(FaultKind::Throttle(_)) => return Err(ApiError::throttling_user()),
            Some(kind) if kind.prevents() => return Err(injected(kind)),
            _ => {}
        }
        let success = match operation {
            Operation::EcsMetadata => Success::Text(core.metadata(&incoming.request, now)?),
            Operation::AssumeRole | Operation::AssumeRoleWithOidc => {
                let (key, answer) = core.sts.assume(operation, &incoming.params, now, times.machine)?;
                core.verifier.put_key(key);
                Success::Fields(operation, answer)
            }
            _ => {
                self.permit(caller.as_deref().unwrap_or_default(), &incoming.params)?;
                Success::Fields(operation, core.state.handle_for(&account, operation, &incoming.params, now)?)
            }
        };
        match &plan.kind {
            Some(kind @ FaultKind::ErrorAfter(..)) => Err(injected(kind)),
            _ => Ok(success),
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

/// Which operation of which API is called, and with whose key: `None` for the one that is not signed.
fn authenticate(
    core: &mut Core,
    incoming: &Incoming,
    operation: Option<Operation>,
    times: Times,
) -> Result<(Operation, Option<String>), ApiError> {
    let Incoming { request, claims, .. } = incoming;
    if !matches!(request.method.as_str(), "GET" | "POST") {
        let message = format!("This http method {} is not supported.", request.method);
        return Err(ApiError::new(400, "UnsupportedHTTPMethod", message));
    }
    let caller = match operation {
        Some(Operation::AssumeRoleWithOidc) => None,
        _ => Some(match core.verifier.verify(request, times.gateway) {
            // Whether a key has expired is decided by now: that check comes before the one of the request's time.
            Err(error) if error.code == "InvalidTimeStamp.Expired" && times.machine != times.gateway => {
                core.verifier.verify(request, times.machine)?
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
