//! The address to steer an emulator at, at run time: JSON over HTTP, unauthenticated, never meant to be reachable from
//! where the API is.
//!
//! | request | what |
//! | --- | --- |
//! | `GET /` | the time, the limits, the faults, how many apps, keys and requests |
//! | `GET`, `PUT`, `DELETE /faults` | the rules in force, an array of strings like `"*:slow=500,share=10%"`; see below |
//! | `GET`, `PUT /limits` | `requestsPerSecond`, `countRefused`, `groupsPerApp`, `latencyMs`; `PUT` changes those given |
//! | `GET`, `PUT`, `POST /clock` | `{"now"}`; to change it `{"advanceSeconds": N}` or `{"now": RFC 3339}` |
//! | `GET`, `PUT /state` | every app and group, to save and to load |
//! | `GET`, `DELETE /requests` | the newest of the request log, 10,000 at most; `?operation=NAME`: of one operation |
//! | `GET /keys` | the access keys, without their secrets |
//! | `GET`, `PUT`, `DELETE /keys/ID` | one; `PUT` changes `secret`, `account`, `token`, `expires`, `active` |
//! | `GET`, `PUT`, `DELETE /groups/APP/GROUP` | a group, changed behind everybody's back; see below |
//! | `GET /credentials` | a temporary key, for `ALIBABA_CLOUD_CREDENTIALS_URI`; `?account=NUMBER` |
//!
//! `PUT /faults` takes the array, or `{"rules": […], "seed": N}` to start the draws over as well. `PUT /groups/…` makes the
//! group or changes what is given of `name`, `info`, `creator`, `administrators`, `created`, `deleted` (`true`, `false`, or
//! `{"at", "by"}`), without the checks and limits of the API; `DELETE` takes it away without a trace, as the 30 days do.
//!
//! A `PUT` answers as the `GET` of the same path, a `DELETE` of one object with what it was. What cannot be read is 400
//! `{"error"}`, an unknown path or object 404, another method 405.

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

/// How many records are kept for `GET /requests`.
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

/// An HTTP status and what went wrong.
type Refusal = (u16, String);

/// Answers one request at the admin address.
pub(super) fn answer(service: &Service, log: &RequestLog, request: RawRequest) -> Response {
    let (status, body) = match outcome(service, log, request) {
        Ok(body) => (200, body),
        Err((status, error)) => (status, json!({ "error": error })),
    };
    let body = format!("{body}\n").into_bytes();
    Response { status, content_type: "application/json;charset=utf-8", headers: Vec::new(), body }
}

fn outcome(service: &Service, log: &RequestLog, request: RawRequest) -> Result<Value, Refusal> {
    let RawRequest { method, target, headers, body, .. } = request;
    let request = Request::new(&method, &target, headers, body).map_err(|error| (400, error.message))?;
    let now = service.clock().now();
    let decode = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
    let path: Vec<String> = request.path.split('/').skip(1).map(decode).collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match (method.as_str(), path.as_slice()) {
        ("PUT", ["faults" | "limits" | "clock" | "state"]) | ("POST", ["clock"]) => {
            write(service, path[0], &request.body)?;
        }
        ("DELETE", ["faults"]) => service.core().faults.set_rules(Vec::new()),
        ("DELETE", ["requests"]) => log.clear(),
        ("PUT", ["keys", id]) => objects::put_key(&mut service.core(), id, parse(&request.body)?)?,
        ("DELETE", ["keys", id]) => return objects::delete_key(&mut service.core(), id),
        ("PUT", ["groups", app, id]) => objects::put_group(&mut service.core(), app, id, parse(&request.body)?, now)?,
        ("DELETE", ["groups", app, id]) => return objects::purge_group(&mut service.core(), app, id),
        ("GET", _) => {}
        _ => {
            read(service, log, &path, &request.query)?;
            return Err((405, "no such method here".to_owned()));
        }
    }
    read(service, log, &path, &request.query)
}

fn read(service: &Service, log: &RequestLog, path: &[&str], query: &Params) -> Result<Value, Refusal> {
    let now = service.clock().now();
    let mut core = service.core();
    let failed = |error: serde_json::Error| (500, error.to_string());
    match path {
        [""] => Ok(json!({
            "now": now,
            "limits": limits(&core),
            "faults": faults(&core),
            "apps": core.state.apps().count(),
            "keys": core.verifier.keys().count(),
            "requests": log.len(),
        })),
        ["faults"] => Ok(faults(&core)),
        ["limits"] => Ok(limits(&core)),
        ["clock"] => Ok(json!({ "now": now })),
        ["state"] => serde_json::to_value(&core.state).map_err(failed),
        ["requests"] => serde_json::to_value(log.records_of(query.get("operation"))).map_err(failed),
        ["keys"] => Ok(objects::keys(&core)),
        ["keys", id] => objects::key(&core, id),
        ["groups", app, id] => objects::group(&core, app, id),
        ["credentials"] => objects::credentials(&mut core, query.get("account"), now),
        _ => {
            let paths = "/ /faults /limits /clock /state /requests /keys /keys/ID /groups/APP/GROUP /credentials";
            Err((404, format!("paths: {paths}")))
        }
    }
}

fn faults(core: &Core) -> Value {
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

fn write(service: &Service, what: &str, body: &[u8]) -> Result<(), Refusal> {
    match what {
        "faults" => {
            let SeededRules { rules, seed } = match parse(body)? {
                FaultChange::Rules(rules) => SeededRules { rules, seed: None },
                FaultChange::Seeded(seeded) => seeded,
            };
            let rules: Result<Vec<Fault>, String> = rules.iter().map(|rule| rule.parse()).collect();
            let rules = rules.map_err(|error| (400, error))?;
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

fn parse<T: for<'b> Deserialize<'b>>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| (400, error.to_string()))
}
