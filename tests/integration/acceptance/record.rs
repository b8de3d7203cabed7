//! Formats the lines of a step: calls to the Live API from the emulator's request log, and writes to Kubernetes from
//! the apiserver's audit log. Omits times, UIDs and request IDs.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::support::{Context as _, Request, Result};

const LIST: &str = "ListLiveMessageGroupByPage";

/// A line of the log. Lines are sorted by their fields, in the order of declaration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// The group ID, or an empty string for list calls. Objects are reconciled concurrently, so only the lines of one
    /// group have a stable order in time.
    group: String,
    /// Whether the line is an event. A separate task sends the events, so they can arrive early or late. They are
    /// therefore sorted after the other lines of their group.
    is_event: bool,
    at: Timestamp,
    text: String,
}

/// The positions in both logs, and how far the emulator's clock was advanced.
#[derive(Debug, Default)]
pub struct Cursor {
    pub calls: usize,
    pub writes: usize,
    pub moved: SignedDuration,
}

/// Formats a call. `moved` is how far the emulator's clock was advanced.
pub fn call(request: &Request, moved: SignedDuration) -> Result<Line> {
    let time = request.arrived()?;
    let params: Vec<String> = request.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let code = request.code.as_deref().map(|code| format!(" {code}")).unwrap_or_default();
    let text = format!("call   {} {} -> {}{code}", request.operation, params.join(" "), request.status);
    let group = request.param("GroupId").unwrap_or_default().to_owned();
    Ok(Line { group, is_event: false, at: time.checked_sub(moved)?, text })
}

/// Formats a write from the audit log. `group_of` returns the group ID of an object.
pub fn write(audit: &Value, group_of: impl Fn(&str) -> String) -> Result<Line> {
    let text = |pointer: &str| audit.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let at = text("/requestReceivedTimestamp").parse().context(audit)?;
    let code = audit["responseStatus"]["code"].as_u64().context("the response has no code")?;
    let object = &audit["responseObject"];
    let is_event = text("/objectRef/resource") == "events";
    let subject = if is_event { object["regarding"]["name"].as_str() } else { audit["objectRef"]["name"].as_str() };
    let subject = subject.unwrap_or_default();
    let what = if code >= 300 {
        object["message"].as_str().unwrap_or_default().to_owned()
    } else if is_event {
        format!("{} {}", text("/responseObject/type"), text("/responseObject/reason"))
    } else if text("/objectRef/subresource") == "status" {
        status(&object["status"])
    } else {
        format!("finalizers {}", object["metadata"].get("finalizers").unwrap_or(&Value::Null))
    };
    let kind = match (text("/objectRef/resource"), text("/objectRef/subresource")) {
        ("livemessagegroups", "status") => "status".to_owned(),
        ("livemessagegroups", "") => "object".to_owned(),
        ("events", "") => "event ".to_owned(),
        (resource, subresource) => format!("{} {resource}/{subresource}", text("/verb")),
    };
    let refused = if code >= 300 { format!(" {code}") } else { String::new() };
    let line = format!("{kind} {subject}{refused}: {what}");
    Ok(Line { group: group_of(subject), is_event, at, text: line })
}

/// Formats a status: the conditions as `Type=Status/Reason`, and the recorded fields of the group.
fn status(status: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut parts: Vec<String> = conditions
        .map(|one| format!("{}={}/{}", word(&one["type"]), word(&one["status"]), word(&one["reason"])))
        .collect();
    parts.push(format!("observed={}", status["observedGeneration"]));
    for field in ["groupId", "origin", "lastHandledReconcileAt"] {
        parts.extend(status[field].as_str().map(|value| format!("{field}={value}")));
    }
    parts.extend(status["createTime"].as_str().map(|_| "createTime".to_owned()));
    if let Some(intent) = status["createIntent"].as_object() {
        let open = !intent.contains_key("answeredAt");
        parts.push(if open { "createIntent=open" } else { "createIntent=answered" }.to_owned());
    }
    parts.join(" ")
}

/// Whether the line is a status that the operator writes only if a call is slow. A status with an open create intent
/// does not count, because the operator always writes it.
fn is_slowness(line: &Line) -> bool {
    line.text.starts_with("status ")
        && line.text.contains("=Unknown/Applying ")
        && !line.text.contains("createIntent=open")
}

/// Joins the lines of a step in a stable order. Repeated list calls appear only once.
pub fn in_order(mut lines: Vec<Line>) -> String {
    lines.retain(|line| !is_slowness(line));
    lines.sort();
    let mut texts: Vec<&str> = Vec::new();
    for line in &lines {
        if line.text.contains(LIST) && texts.contains(&line.text.as_str()) {
            continue;
        }
        texts.push(&line.text);
    }
    texts.iter().map(|text| format!("{text}\n")).collect()
}
