//! Decodes responses leniently: the documentation and its samples differ in spelling and nesting.

use jiff::Timestamp;
use serde_json::Value;

use super::error::{ApiError, CallError};

/// A group as the service reports it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupSnapshot {
    /// `GroupId`.
    pub group_id: String,
    /// `GroupName`; empty if absent.
    pub group_name: String,
    /// `GroupInfo`; empty if absent.
    pub group_info: String,
    /// `CreatorId`; empty if absent.
    pub creator_id: String,
    /// `AdminList`, flattened.
    pub administrators: Vec<String>,
    /// `Delete`: the group is deleted and its ID is blocked.
    pub deleted: bool,
    /// `Createtime`. Its unit is undocumented and derived from its magnitude.
    pub create_time: Option<Timestamp>,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupPage {
    /// The groups of this page.
    pub groups: Vec<GroupSnapshot>,
    /// The number of groups on all pages.
    pub total: u64,
}

/// The result of a successful create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateOutcome {
    /// The group was created.
    Created,
    /// A group with this ID exists. It is unchanged.
    AlreadyExists,
    /// The ID belongs to a deleted group and cannot be used.
    AlreadyDelete,
}

/// A decoded successful response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The response to a create.
    Created(CreateOutcome),
    /// The response to a describe.
    Group(GroupSnapshot),
    /// The response to a list.
    Page(GroupPage),
    /// The response to a modify, delete or recover, which has no content.
    Done,
}

/// A successful response and its request ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response<T> {
    /// The decoded content.
    pub value: T,
    /// The request ID, for support tickets.
    pub request_id: Option<String>,
}

/// The member `name`, or else a member whose name differs only in case (`Hasmore`, `HasMore`).
pub(super) fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let object = value.as_object()?;
    object.get(name).or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v))
}

fn text(value: &Value, name: &str) -> Option<String> {
    scalar(field(value, name)?)
}

/// A string, or the text of a number or boolean.
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

/// Collects the IDs of a list in any nesting: `["a","b"]`, `[["a","b"]]`, `["[\"a\",\"b\"]"]`, `"a,b"`, `"[a, b]"`,
/// `[1,2]`, `{"AdminList": ["a"]}` (XML). A string is split and not parsed as JSON, because a number could lose digits.
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

/// Converts a positive number of seconds, milliseconds, microseconds or nanoseconds to a time. The magnitude determines
/// the unit: each unit covers the years 1973 to 2262.
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

/// Decodes the response to a create. `AlreadyDelete` takes precedence over `AlreadyExists`, because a response can
/// contain both.
///
/// # Errors
/// The response has neither field and no group ID.
pub(super) fn created(value: &Value) -> Result<Reply, String> {
    let outcome = match (boolean(value, "AlreadyExists"), boolean(value, "AlreadyDelete")) {
        (_, Some(true)) => CreateOutcome::AlreadyDelete,
        (Some(true), _) => CreateOutcome::AlreadyExists,
        (None, None) if text(value, "GroupId").is_none_or(|id| id.is_empty()) => {
            return Err("the response contains none of GroupId, AlreadyExists and AlreadyDelete".to_owned());
        }
        _ => CreateOutcome::Created,
    };
    Ok(Reply::Created(outcome))
}

/// Decodes the response to a describe.
///
/// # Errors
/// The response names no group. Treating it as an empty group would overwrite the real one.
pub(super) fn described(value: &Value) -> Result<Reply, String> {
    let group = snapshot(value);
    if group.group_id.is_empty() {
        return Err("the response has no GroupId".to_owned());
    }
    Ok(Reply::Group(group))
}

/// Decodes the response to a list.
///
/// # Errors
/// The response has no total.
pub(super) fn listed(value: &Value) -> Result<Reply, String> {
    let list = field(value, "GroupList");
    let items = match list {
        Some(Value::Array(items)) => items.iter().collect::<Vec<_>>(),
        // In XML the list is an element with repeated inner elements: `{"GroupList": {"GroupList": [...]}}`. A single
        // inner element is not decoded as a list.
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
        return Err("the response has no TotalCount".to_owned());
    };
    Ok(Reply::Page(GroupPage { groups: items.into_iter().map(snapshot).collect(), total }))
}

/// The request ID of a response, if it is one word.
pub(super) fn request_id(value: &Value) -> Option<String> {
    text(value, "RequestId").filter(|id| is_word(id))
}

/// Whether a text is one word of printable ASCII. An endpoint can return any text, and terminals and logs show codes
/// and IDs unchanged.
fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The error of a response, or `None` if it has no error code. The message is not bounded yet: see [`bounded`].
pub(super) fn api_error(status: u16, value: &Value) -> Option<CallError> {
    // Logs and conditions show the code, so only a short word is accepted.
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

/// Whether a character is invisible. Such characters can change the direction of a text or hide a part of it.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Makes a text suitable for a condition: one line of at most 500 characters, without control and direction characters.
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
