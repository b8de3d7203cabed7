//! The address to steer an emulator at, at run time: JSON over HTTP, unauthenticated, never meant to be reachable from
//! where the API is.
//!
//! | request | what |
//! | --- | --- |
//! | `GET /` | the time, the limits, the faults, how many apps and requests |
//! | `GET`, `PUT`, `DELETE /faults` | the rules in force, as an array of strings like `"*:slow=500,share=10%"`; `PUT` takes the array, or `{"rules": […], "seed": N}` |
//! | `GET`, `PUT /limits` | `requestsPerSecond`, `countRefused`, `groupsPerApp`, `latencyMs`; `PUT` changes those given |
//! | `GET`, `PUT /clock` | `{"now"}`; `PUT` takes `{"advanceSeconds": N}` or `{"now": RFC 3339}` |
//! | `GET`, `PUT /state` | every app and group, to save and to load |
//! | `GET`, `DELETE /requests` | the newest records of the request log, 10,000 at most |
//!
//! A `PUT` answers as the `GET` of the same path. What cannot be read is 400 `{"error"}`, an unknown path 404, another
//! method 405.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::fault::Fault;
use super::log::RequestLog;
use super::service::Service;
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
pub(super) fn answer(service: &Service, log: &RequestLog, request: &RawRequest) -> Response {
    let path = request.target.split('?').next().unwrap_or_default();
    let outcome = match (request.method.as_str(), path) {
        ("GET", _) => read(service, log, path),
        ("PUT", "/faults" | "/limits" | "/clock" | "/state") => {
            write(service, path, &request.body).and_then(|()| read(service, log, path))
        }
        ("DELETE", "/faults") => {
            service.core().faults.set_rules(Vec::new());
            read(service, log, path)
        }
        ("DELETE", "/requests") => {
            log.clear();
            read(service, log, path)
        }
        _ => read(service, log, path).and_then(|_| Err((405, "no such method here".to_owned()))),
    };
    let (status, body) = match outcome {
        Ok(body) => (200, body),
        Err((status, error)) => (status, json!({ "error": error })),
    };
    let body = format!("{body}\n").into_bytes();
    Response { status, content_type: "application/json;charset=utf-8", headers: Vec::new(), body }
}

fn read(service: &Service, log: &RequestLog, path: &str) -> Result<Value, Refusal> {
    let now = service.clock().now();
    let core = service.core();
    let faults = || Value::from(core.faults.rules().iter().map(ToString::to_string).collect::<Vec<_>>());
    let latency = u64::try_from(core.latency.as_millis()).unwrap_or(u64::MAX);
    let limits = || {
        json!({
            "requestsPerSecond": core.limit.limit(),
            "countRefused": core.limit.counts_refused(),
            "groupsPerApp": core.state.groups_per_app(),
            "latencyMs": latency,
        })
    };
    let failed = |error: serde_json::Error| (500, error.to_string());
    match path {
        "/" => Ok(json!({
            "now": now,
            "limits": limits(),
            "faults": faults(),
            "apps": core.state.apps().count(),
            "requests": log.recent_records().len(),
        })),
        "/faults" => Ok(faults()),
        "/limits" => Ok(limits()),
        "/clock" => Ok(json!({ "now": now })),
        "/state" => serde_json::to_value(&core.state).map_err(failed),
        "/requests" => serde_json::to_value(log.recent_records()).map_err(failed),
        _ => Err((404, "paths: / /faults /limits /clock /state /requests".to_owned())),
    }
}

fn write(service: &Service, path: &str, body: &[u8]) -> Result<(), Refusal> {
    match path {
        "/faults" => {
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
        "/limits" => {
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
        "/clock" => match parse(body)? {
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
