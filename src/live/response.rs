//! Decodes responses leniently, because the documentation and its samples differ in spelling and nesting.

use std::fmt;
use std::mem::take;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::Operation;
use super::document::Document;
use super::error::{ApiError, CallError};
use super::lenient::{Ids, Scalar, any_case};

/// The maximum size of a `GroupInfo` in bytes: twice the limit of the service. The size is limited because a group
/// stays in memory while its object waits.
const MAX_INFO: usize = 64 * 1024;

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
    /// `Delete`: the group is deleted and its ID cannot be reused.
    pub deleted: bool,
    /// `Createtime`. Its unit is not documented, so it is derived from the magnitude of the value.
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

/// The result of a successful Create call.
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
    /// The response to a Create call.
    Created(CreateOutcome),
    /// The response to a Describe call.
    Group(GroupSnapshot),
    /// The response to a List call.
    Page(GroupPage),
    /// The response to a Modify, Delete or Recover call, which has no content.
    Done,
}

/// A successful response and its request ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response<T> {
    /// The decoded content.
    pub value: T,
    /// The request ID, for support tickets.
    pub request_id: Option<String>,
    /// The HTTP status.
    pub status: u16,
}

/// The members of a Create response.
#[derive(Default, Deserialize)]
#[serde(default)]
struct CreateBody {
    #[serde(rename = "requestid")]
    request_id: Scalar,
    #[serde(rename = "groupid")]
    group_id: Scalar,
    #[serde(rename = "alreadyexists")]
    already_exists: Scalar,
    #[serde(rename = "alreadydelete")]
    already_delete: Scalar,
}

/// The members of a Describe response. Each entry in a List response has the same members.
#[derive(Default, Deserialize)]
#[serde(default)]
struct GroupBody {
    #[serde(rename = "requestid")]
    request_id: Scalar,
    #[serde(rename = "groupid")]
    group_id: Scalar,
    #[serde(rename = "groupname")]
    group_name: Scalar,
    #[serde(rename = "groupinfo")]
    group_info: Scalar,
    #[serde(rename = "creatorid")]
    creator_id: Scalar,
    #[serde(rename = "adminlist")]
    administrators: Ids,
    delete: Scalar,
    #[serde(rename = "createtime")]
    create_time: Scalar,
    /// The groups, if this entry is a wrapper around a list of groups.
    #[serde(rename = "groups", alias = "grouplist")]
    wrapped: Option<Groups>,
}

/// The members of a List response.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ListBody {
    #[serde(rename = "requestid")]
    request_id: Scalar,
    #[serde(rename = "grouplist")]
    groups: Groups,
    #[serde(rename = "totalcount")]
    total: Scalar,
}

/// The members of a response without content.
#[derive(Default, Deserialize)]
#[serde(default)]
struct EmptyBody {
    #[serde(rename = "requestid")]
    request_id: Scalar,
}

/// The members of an error.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ErrorBody {
    #[serde(rename = "requestid")]
    request_id: Scalar,
    code: Scalar,
    message: Scalar,
}

/// The groups in a list. In JSON, they are an array: `[{…}]`. In XML, the list element is either repeated for each
/// group or contains a `Groups` element for each group. XML is first converted to JSON: a list element that is not
/// repeated becomes `{…}`, and `Groups` elements become `{"Groups": [{…}]}`.
#[derive(Default)]
struct Groups(Vec<GroupBody>);

impl<'de> Deserialize<'de> for Groups {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Nested;

        impl<'de> Visitor<'de> for Nested {
            type Value = Groups;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("groups")
            }

            fn visit_unit<E>(self) -> Result<Groups, E> {
                Ok(Groups::default())
            }

            /// Accepts an empty XML element, which contains no groups.
            fn visit_str<E: Error>(self, text: &str) -> Result<Groups, E> {
                if text.trim().is_empty() { Ok(Groups::default()) } else { Err(E::custom("not a group")) }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Groups, A::Error> {
                let mut groups = Vec::new();
                while let Some(Groups(more)) = items.next_element()? {
                    groups.extend(more);
                }
                Ok(Groups(groups))
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Groups, A::Error> {
                let mut group: GroupBody = any_case(members)?;
                Ok(group.wrapped.take().unwrap_or_else(|| Groups(vec![group])))
            }
        }

        deserializer.deserialize_any(Nested)
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

impl GroupBody {
    /// # Errors
    /// Returns an error if the group info is longer than [`MAX_INFO`], or if the response has no group ID. A response
    /// without a group ID must not become an empty snapshot, because the operator would then overwrite the group.
    fn snapshot(self) -> Result<GroupSnapshot, String> {
        let text = |value: Scalar| value.text().unwrap_or_default();
        let group = GroupSnapshot {
            group_id: text(self.group_id),
            group_name: text(self.group_name),
            group_info: text(self.group_info),
            creator_id: text(self.creator_id),
            administrators: self.administrators.0,
            deleted: self.delete.boolean().unwrap_or(false),
            create_time: self.create_time.integer().and_then(parse_epoch),
        };
        if group.group_id.is_empty() {
            return Err("the response has no GroupId".to_owned());
        }
        if group.group_info.len() > MAX_INFO {
            return Err(format!("the response has a GroupInfo of more than {MAX_INFO} bytes"));
        }
        Ok(group)
    }
}

impl CreateBody {
    /// `AlreadyDelete` takes precedence, because the service also sets `AlreadyExists` for a deleted group.
    ///
    /// # Errors
    /// Returns an error if the response has no `AlreadyDelete`, `AlreadyExists` or group ID.
    fn outcome(self) -> Result<CreateOutcome, String> {
        match (self.already_exists.boolean(), self.already_delete.boolean()) {
            (_, Some(true)) => Ok(CreateOutcome::AlreadyDelete),
            (Some(true), _) => Ok(CreateOutcome::AlreadyExists),
            (None, None) if self.group_id.text().is_none_or(|id| id.is_empty()) => {
                Err("the response contains none of GroupId, AlreadyExists and AlreadyDelete".to_owned())
            }
            _ => Ok(CreateOutcome::Created),
        }
    }
}

impl ListBody {
    /// # Errors
    /// Returns an error if the response has no total, or if a group has no ID.
    fn page(self) -> Result<GroupPage, String> {
        let total = self.total.integer().and_then(|total| u64::try_from(total).ok());
        let total = total.ok_or_else(|| "the response has no TotalCount".to_owned())?;
        let groups = self.groups.0.into_iter().map(GroupBody::snapshot).collect::<Result<_, _>>()?;
        Ok(GroupPage { groups, total })
    }
}

/// A decoded response with a success status.
pub(super) struct Decoded {
    /// The content, or the reason why it is invalid.
    pub reply: Result<Reply, String>,
    pub request_id: Option<String>,
}

/// Decodes the response to `operation`. Returns `None` if the document is not a response of the Live API.
pub(super) fn decode(operation: Operation, document: Document<'_>) -> Option<Decoded> {
    let (reply, id) = match operation {
        Operation::Create => {
            let mut body: CreateBody = document.read()?;
            let id = take(&mut body.request_id);
            (body.outcome().map(Reply::Created), id)
        }
        Operation::Describe => {
            let mut body: GroupBody = document.read()?;
            let id = take(&mut body.request_id);
            (body.snapshot().map(Reply::Group), id)
        }
        Operation::ListByPage => {
            let mut body: ListBody = document.read()?;
            let id = take(&mut body.request_id);
            (body.page().map(Reply::Page), id)
        }
        Operation::Modify | Operation::Delete | Operation::Recover => {
            let body: EmptyBody = document.read()?;
            (Ok(Reply::Done), body.request_id)
        }
    };
    Some(Decoded { reply, request_id: request_id(id) })
}

/// Returns the request ID of a response, or `None` if it is not a single word.
fn request_id(value: Scalar) -> Option<String> {
    value.text().filter(|id| is_word(id))
}

/// Whether a text is a single word of printable ASCII. Codes and IDs must be checked, because an endpoint can return
/// any text, and logs and terminals show codes and IDs unchanged.
fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl ErrorBody {
    /// Returns the error, or `None` if the body has no valid error code. The message is not shortened here: see
    /// [`bounded`].
    pub(super) fn into_error(self, status: u16) -> Option<CallError> {
        // Logs and conditions show the code, so only a short word is accepted.
        let code = self.code.text().filter(|code| (1..=100).contains(&code.len()) && is_word(code))?;
        Some(CallError::Api(ApiError {
            status,
            code: Some(code),
            message: self.message.text().unwrap_or_default(),
            request_id: request_id(self.request_id),
            retry_after: None,
            body_complete: true,
        }))
    }
}

/// Whether a character is invisible. Invisible characters can change the direction of a text or hide a part of it.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Makes a text suitable for a condition. The result is one line of at most 500 characters, without control characters
/// or invisible characters.
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
mod fuzz;
#[cfg(test)]
mod tests;
