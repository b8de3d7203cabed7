//! Checks the emulator's log, which contains every call that arrived.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::support::{Context as _, Error, Result, busiest_second, parse_request_log, repeated_creates};

/// The limit that the Live API sets for each operation.
const LIMIT: usize = 50;

/// Checks that the operator did not exceed the call rate, and that it did not repeat a create after the object became
/// ready. Returns a summary.
pub fn check(cluster: &Cluster) -> Result<String> {
    let log = cluster.call_log()?;
    let requests = parse_request_log(log.lines().filter(|line| line.starts_with('{')))?;
    let mut arrivals: BTreeMap<&str, Vec<Timestamp>> = BTreeMap::new();
    for request in &requests {
        arrivals.entry(&request.operation).or_default().push(request.arrived()?);
    }
    let mut lines = vec![format!("{:<32} {:>7} {:>18}", "operation", "calls", "most in a second")];
    for (operation, times) in &mut arrivals {
        times.sort();
        let peak = busiest_second(times);
        lines.push(format!("{operation:<32} {:>7} {peak:>18}", times.len()));
        if peak > LIMIT {
            return Err(Error::new(format!("{peak} calls of {operation} in one second")));
        }
    }
    let repeated = repeated_creates(&requests, &ready_times(cluster)?)?;
    lines.push(format!("creates repeated before their status was written: {repeated}"));
    let throttled =
        requests.iter().filter(|request| request.code.as_deref().is_some_and(|code| code.starts_with("Throttling")));
    lines.push(format!("throttled calls: {}", throttled.count()));
    Ok(lines.join("\n"))
}

/// Returns the time at which each existing object became ready. The keys are the names of the objects.
fn ready_times(cluster: &Cluster) -> Result<BTreeMap<String, Timestamp>> {
    let listed: Value = serde_json::from_str(&cluster.groups(&["get", "lmg", "-o", "json"])?)?;
    let mut times = BTreeMap::new();
    for object in listed["items"].as_array().into_iter().flatten() {
        let name = object["metadata"]["name"].as_str().context("an object without a name")?;
        let conditions = object["status"]["conditions"].as_array();
        let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
        let time = ready.and_then(|ready| ready["lastTransitionTime"].as_str()).context(name)?;
        times.insert(name.to_owned(), time.parse()?);
    }
    Ok(times)
}
