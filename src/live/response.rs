//! Decoding answers, leniently: the documents and the service's samples disagree in spelling and nesting.

use jiff::Timestamp;
use serde_json::Value;

use super::error::{ApiError, CallError};

/// A group as the service tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupSnapshot {
    /// `GroupId`.
    pub group_id: String,
    /// `GroupName`, empty where the service tells none.
    pub group_name: String,
    /// `GroupInfo`, empty where the service tells none.
    pub group_info: String,
    /// `CreatorId`, empty where the service tells none.
    pub creator_id: String,
    /// `AdminList`, flattened.
    pub administrators: Vec<String>,
    /// `Delete`: the group is deleted and its id blocked.
    pub deleted: bool,
    /// `Createtime`; its unit is undocumented and told by its magnitude.
    pub create_time: Option<Timestamp>,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupPage {
    /// The page's groups.
    pub groups: Vec<GroupSnapshot>,
    /// How many groups the filter matches in all.
    pub total: u64,
}

/// What a successful create found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateOutcome {
    /// There is a new group.
    Created,
    /// There was a live group of this id; nothing of it was changed.
    AlreadyExists,
    /// The id belongs to a deleted group and cannot be used.
    AlreadyDelete,
}

/// A decoded success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Of a create.
    Created(CreateOutcome),
    /// Of a describe.
    Group(GroupSnapshot),
    /// Of a list.
    Page(GroupPage),
    /// Of a modify, delete or recover.
    Done,
}

/// A success, and the request's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response<T> {
    /// The decoded content.
    pub value: T,
    /// For support tickets.
    pub request_id: Option<String>,
}

/// A value by its name: as documented, else whatever its case (`Hasmore`, `HasMore`).
pub(super) fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let object = value.as_object()?;
    object.get(name).or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v))
}

fn text(value: &Value, name: &str) -> Option<String> {
    scalar(field(value, name)?)
}

/// A text, also where the service has written what it holds as a number or a boolean.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn boolean(value: &Value, name: &str) -> Option<bool> {
    match field(value, name)? {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" | "" => Some(false),
            _ => None,
        },
        Value::Number(number) => number.as_i64().map(|n| n != 0),
        _ => None,
    }
}

fn integer(value: &Value, name: &str) -> Option<i64> {
    match field(value, name)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Ids of a list however it is nested: `["a","b"]`, `[["a","b"]]`, `["[\"a\",\"b\"]"]`, `"a,b"`, `"[a, b]"`, `[1,2]`,
/// `{"AdminList": ["a"]}` (XML). A text is taken apart and not read as JSON: a number may not hold all digits of an id.
fn ids(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            let parts = text.split(|c: char| c.is_whitespace() || matches!(c, '[' | ']' | '"' | '\'' | '\\' | ','));
            out.extend(parts.filter(|part| !part.is_empty()).map(str::to_owned));
        }
        Value::Array(items) => items.iter().for_each(|item| ids(item, out)),
        Value::Object(fields) => fields.values().for_each(|item| ids(item, out)),
        other => out.extend(scalar(other)),
    }
}

/// Seconds, milliseconds, microseconds or nanoseconds, told by the magnitude: every unit covers the years 1973 to 5138
/// before the next one begins.
pub fn parse_epoch(number: i64) -> Option<Timestamp> {
    let time = match number {
        ..=0 => return None,
        1..=99_999_999_999 => Timestamp::from_second(number),
        100_000_000_000..=99_999_999_999_999 => Timestamp::from_millisecond(number),
        100_000_000_000_000..=99_999_999_999_999_999 => Timestamp::from_microsecond(number),
        _ => Timestamp::from_nanosecond(i128::from(number)),
    };
    time.ok()
}

fn snapshot(value: &Value) -> GroupSnapshot {
    let mut administrators = Vec::new();
    if let Some(list) = field(value, "AdminList") {
        ids(list, &mut administrators);
    }
    GroupSnapshot {
        group_id: text(value, "GroupId").unwrap_or_default(),
        group_name: text(value, "GroupName").unwrap_or_default(),
        group_info: text(value, "GroupInfo").unwrap_or_default(),
        creator_id: text(value, "CreatorId").unwrap_or_default(),
        administrators,
        deleted: boolean(value, "Delete").unwrap_or(false),
        create_time: integer(value, "Createtime").and_then(parse_epoch),
    }
}

/// Decodes the answer of a create. `AlreadyDelete` wins: it comes together with `AlreadyExists`.
///
/// # Errors
/// What is missing, where the answer tells neither.
pub(super) fn created(value: &Value) -> Result<Reply, String> {
    let outcome = match (boolean(value, "AlreadyExists"), boolean(value, "AlreadyDelete")) {
        (_, Some(true)) => CreateOutcome::AlreadyDelete,
        (Some(true), _) => CreateOutcome::AlreadyExists,
        (None, None) if text(value, "GroupId").is_none_or(|id| id.is_empty()) => {
            return Err("the answer has none of GroupId, AlreadyExists, AlreadyDelete".to_owned());
        }
        _ => CreateOutcome::Created,
    };
    Ok(Reply::Created(outcome))
}

/// Decodes the answer of a describe.
///
/// # Errors
/// When it does not name a group: taking such an answer for an empty group would overwrite the real one.
pub(super) fn described(value: &Value) -> Result<Reply, String> {
    let group = snapshot(value);
    if group.group_id.is_empty() {
        return Err("the answer has no GroupId".to_owned());
    }
    Ok(Reply::Group(group))
}

/// Decodes the answer of a list.
///
/// # Errors
/// When it has neither groups nor a total.
pub(super) fn listed(value: &Value) -> Result<Reply, String> {
    let list = field(value, "GroupList");
    let items = match list {
        Some(Value::Array(items)) => items.iter().collect::<Vec<_>>(),
        // XML repeats an inner element: `{"GroupList": {"GroupList": [...]}}`, a single one is no list at all.
        Some(Value::Object(inner)) => inner
            .values()
            .flat_map(|v| match v {
                Value::Array(items) => items.iter().collect::<Vec<_>>(),
                single => vec![single],
            })
            .collect(),
        _ => Vec::new(),
    };
    let Some(total) = integer(value, "TotalCount").and_then(|n| u64::try_from(n).ok()) else {
        return Err("the answer has no TotalCount".to_owned());
    };
    Ok(Reply::Page(GroupPage { groups: items.into_iter().map(snapshot).collect(), total }))
}

/// The request's id of any answer.
pub(super) fn request_id(value: &Value) -> Option<String> {
    text(value, "RequestId").filter(|id| is_word(id))
}

/// Whether a text is one word of printable ASCII. An endpoint may answer anything, and codes and ids are shown as they
/// are, on terminals and in lines of a log.
fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The error an answer tells, or `None` where it tells no code. The message is as the service wrote it: see [`bounded`].
pub(super) fn api_error(status: u16, value: &Value) -> Option<CallError> {
    // A code is a word; whatever else stands there is not to become a label of a metric.
    let code = text(value, "Code").filter(|code| (1..=100).contains(&code.len()) && is_word(code))?;
    let message = text(value, "Message").unwrap_or_default();
    Some(CallError::Api(ApiError {
        status,
        code: Some(code),
        message,
        request_id: request_id(value),
        retry_after: None,
        body_complete: true,
    }))
}

/// Whether it shows nothing, and changes the order in which a text is shown or hides a part of it.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A text fit for a condition: 500 characters, one line, nothing that steers a terminal or the direction of a text.
pub(super) fn bounded(text: &str) -> String {
    let apart = |c: char| c.is_whitespace() || c.is_control() || is_invisible(c);
    let words = text.split(apart).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(500) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests;
