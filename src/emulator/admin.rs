//! The admin API, which controls a running emulator. It serves JSON over HTTP on a separate address, without
//! authentication.
//!
//! | request | purpose |
//! | --- | --- |
//! | `GET /` | the time, the limits, the fault rules, and the number of apps, keys and requests |
//! | `GET`, `PUT`, `DELETE /faults` | the fault rules, an array of strings such as `"*:slow=500,share=10%"`; see below |
//! | `GET`, `PUT /limits` | `requestsPerSecond`, `countRefused`, `groupsPerApp`, `latencyMs`; `PUT` sets the given fields |
//! | `GET`, `PUT`, `POST /clock` | the time, `{"now": RFC 3339}`; `{"advanceSeconds": N}` moves the clock forward |
//! | `GET`, `PUT /state` | all apps and groups; `PUT` replaces them, for example with the saved response to a `GET` |
//! | `GET`, `DELETE /requests` | the newest 10,000 records of the request log; `?operation=NAME` selects one operation |
//! | `GET /keys` | the access keys without their secrets |
//! | `GET`, `PUT`, `DELETE /keys/ID` | an access key; `PUT` sets `secret`, `account`, `token`, `expires`, `active` |
//! | `GET`, `PUT`, `DELETE /groups/APP/GROUP` | a group, to simulate external changes; see below |
//! | `GET /credentials` | a temporary key, for `ALIBABA_CLOUD_CREDENTIALS_URI`; `?account=ID` selects the account |
//!
//! `PUT /faults` accepts the array, or `{"rules": […], "seed": N}` to also set the seed of the random numbers.
//!
//! `PUT /groups/…` creates the group if it does not exist, and sets the given fields. The fields are `name`, `info`,
//! `creator`, `administrators`, `created` and `deleted` (`true`, `false`, or `{"at", "by"}`). Their values are not
//! subject to the checks and limits of the Live API. `DELETE` purges the group immediately; the Live API purges a group
//! 30 days after its deletion.
//!
//! A `PUT` returns the same response as a `GET` of the same path. A `DELETE` of an object returns the deleted object.
//! The status of an error is 400 for an invalid body, 404 for an unknown path or object, and 405 for an unsupported
//! method. The body of an error is `{"error": MESSAGE}`.

mod objects;

use std::time::Duration;

use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};

use super::fault::Fault;
use super::log::RequestLog;
use super::request::{Params, Request};
use super::service::{Core, Service};
use super::state::State;
use super::wire::{RawRequest, Response};

/// The maximum number of records that `GET /requests` returns.
pub const RECORDS_KEPT: usize = 10_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Limits {
    requests_per_second: Option<usize>,
    count_refused: Option<bool>,
    groups_per_app: Option<usize>,
    latency_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FaultChange {
    Rules(Vec<String>),
    Seeded(SeededRules),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeededRules {
    rules: Vec<String>,
    seed: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, untagged)]
enum ClockChange {
    Advance {
        #[serde(rename = "advanceSeconds")]
        seconds: u64,
    },
    Set {
        now: Timestamp,
    },
}

/// An error response of the admin API.
#[derive(Debug)]
struct AdminError {
    status: u16,
    message: String,
}

impl AdminError {
    fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, message)
    }
}

/// Handles one request to the admin API.
pub(super) fn respond(service: &Service, log: &RequestLog, request: RawRequest) -> Response {
    let (status, body) = match handle(service, log, request) {
        Ok(body) => (200, body),
        Err(AdminError { status, message }) => (status, json!({ "error": message })),
    };
    let body = format!("{body}\n").into_bytes();
    Response { status, content_type: "application/json;charset=utf-8", headers: Vec::new(), body }
}

fn handle(service: &Service, log: &RequestLog, request: RawRequest) -> Result<Value, AdminError> {
    let RawRequest { method, target, headers, body, .. } = request;
    let request =
        Request::new(&method, &target, headers, body).map_err(|error| AdminError::bad_request(error.message))?;
    let now = service.clock().now();
    let decode = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
    let path: Vec<String> = request.path.split('/').skip(1).map(decode).collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match (method.as_str(), path.as_slice()) {
        ("PUT", ["faults" | "limits" | "clock" | "state"]) | ("POST", ["clock"]) => {
            update(service, path[0], &request.body)?;
        }
        ("DELETE", ["faults"]) => service.core().faults.set_rules(Vec::new()),
        ("DELETE", ["requests"]) => log.clear(),
        ("PUT", ["keys", id]) => objects::put_key(&mut service.core(), id, parse(&request.body)?)?,
        ("DELETE", ["keys", id]) => return objects::delete_key(&mut service.core(), id),
        ("PUT", ["groups", app, id]) => objects::put_group(&mut service.core(), app, id, parse(&request.body)?, now)?,
        ("DELETE", ["groups", app, id]) => return objects::purge_group(&mut service.core(), app, id),
        ("GET", _) => {}
        _ => {
            view(service, log, &path, &request.query)?;
            return Err(AdminError::new(405, "this path does not support the method"));
        }
    }
    view(service, log, &path, &request.query)
}

fn view(service: &Service, log: &RequestLog, path: &[&str], query: &Params) -> Result<Value, AdminError> {
    let now = service.clock().now();
    let mut core = service.core();
    let to_error = |error: serde_json::Error| AdminError::new(500, error.to_string());
    match path {
        [""] => Ok(json!({
            "now": now,
            "limits": limits(&core),
            "faults": fault_rules(&core),
            "apps": core.state.apps().count(),
            "keys": core.verifier.keys().count(),
            "requests": log.len(),
        })),
        ["faults"] => Ok(fault_rules(&core)),
        ["limits"] => Ok(limits(&core)),
        ["clock"] => Ok(json!({ "now": now })),
        ["state"] => serde_json::to_value(&core.state).map_err(to_error),
        ["requests"] => serde_json::to_value(log.records_for(query.get("operation"))).map_err(to_error),
        ["keys"] => Ok(objects::keys(&core)),
        ["keys", id] => objects::key(&core, id),
        ["groups", app, id] => objects::group(&core, app, id),
        ["credentials"] => objects::credentials(&mut core, query.get("account"), now),
        _ => {
            let paths = "/ /faults /limits /clock /state /requests /keys /keys/ID /groups/APP/GROUP /credentials";
            Err(AdminError::not_found(format!("unknown path; use one of: {paths}")))
        }
    }
}

fn fault_rules(core: &Core) -> Value {
    core.faults.rules().iter().map(ToString::to_string).collect()
}

fn limits(core: &Core) -> Value {
    json!({
        "requestsPerSecond": core.limit.limit(),
        "countRefused": core.limit.counts_refused(),
        "groupsPerApp": core.state.groups_per_app(),
        "latencyMs": u64::try_from(core.latency.as_millis()).unwrap_or(u64::MAX),
    })
}

fn update(service: &Service, resource: &str, body: &[u8]) -> Result<(), AdminError> {
    match resource {
        "faults" => {
            let SeededRules { rules, seed } = match parse(body)? {
                FaultChange::Rules(rules) => SeededRules { rules, seed: None },
                FaultChange::Seeded(seeded) => seeded,
            };
            let rules: Result<Vec<Fault>, String> = rules.iter().map(|rule| rule.parse()).collect();
            let rules = rules.map_err(AdminError::bad_request)?;
            let faults = &mut service.core().faults;
            faults.set_rules(rules);
            seed.into_iter().for_each(|seed| faults.set_seed(seed));
        }
        "limits" => {
            let limits: Limits = parse(body)?;
            let mut core = service.core();
            if let Some(limit) = limits.requests_per_second {
                core.limit.set_limit(limit);
            }
            if let Some(count) = limits.count_refused {
                core.limit.set_count_refused(count);
            }
            if let Some(limit) = limits.groups_per_app {
                core.state.set_groups_per_app(limit);
            }
            core.latency = limits.latency_ms.map_or(core.latency, Duration::from_millis);
        }
        "clock" => match parse(body)? {
            ClockChange::Advance { seconds } => service.clock().advance(Duration::from_secs(seconds)),
            ClockChange::Set { now } => service.clock().set(now),
        },
        _ => {
            let state: State = parse(body)?;
            service.core().state.replace_apps(state);
        }
    }
    Ok(())
}

fn parse<T: for<'b> Deserialize<'b>>(body: &[u8]) -> Result<T, AdminError> {
    serde_json::from_slice(body).map_err(|error| AdminError::bad_request(error.to_string()))
}
