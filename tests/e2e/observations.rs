//! Reads logs, metrics and status as a user does, with kubectl.

use serde_json::Value;

use crate::cluster::{Cluster, GROUPS, NAME, NAMESPACE};
use crate::support::{Context as _, Error, Result};

pub fn check(cluster: &Cluster) -> Result<()> {
    logs(cluster)?;
    metrics(cluster)?;
    objects(cluster)
}

/// Checks that each line of the log is a JSON object that contains a time, a level and a message.
fn logs(cluster: &Cluster) -> Result<()> {
    let leader = cluster.leader()?.name;
    let log = cluster.operator(&["logs", &leader])?;
    for line in log.lines() {
        let parsed: Value = serde_json::from_str(line).context(format_args!("log line {line}"))?;
        for field in ["timestamp", "level", "message"] {
            if parsed[field].as_str().is_none_or(str::is_empty) && parsed["fields"][field].is_null() {
                return Err(Error::new(format!("a log line without {field}: {line}")));
            }
        }
    }
    if log.is_empty() { Err(Error::new(format!("{leader} has an empty log"))) } else { Ok(()) }
}

/// Checks that each replica serves metrics, that exactly one replica is the leader, and that the leader counts the
/// groups.
fn metrics(cluster: &Cluster) -> Result<()> {
    let mut leaders = Vec::new();
    for pod in cluster.pods()? {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{}:8081/proxy/metrics", pod.name);
        let text = cluster.kubectl.run(&["get", "--raw", &path])?;
        let value = |series: &str| text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<f64>().ok());
        if value(&format!("leader_election_master_status{{name=\"{NAME}\"}}")) == Some(1.0) {
            leaders.push(text.contains("live_message_operator_groups{ready=\"True\""));
        }
    }
    if leaders == [true] { Ok(()) } else { Err(Error::new(format!("metrics of the leaders: {leaders:?}"))) }
}

/// Checks that `kubectl get` and `kubectl describe` print the state and the reason.
fn objects(cluster: &Cluster) -> Result<()> {
    let table = cluster.groups(&["get", "lmg", "calm0"])?;
    let description = cluster.groups(&["describe", "lmg", "calm0"])?;
    for (text, expected) in
        [(&table, "True"), (&table, "Created"), (&description, "Conditions:"), (&description, "Created")]
    {
        if !text.contains(expected) {
            return Err(Error::new(format!("no {expected} for {GROUPS}/calm0 in\n{text}")));
        }
    }
    Ok(())
}
