//! Parameter validation. Every error is `InputInvalid`, and its message contains the name of the parameter.

use std::ops::RangeInclusive;

use crate::emulator::error::ApiError;
use crate::emulator::request::Params;
use crate::emulator::state::DataCenter;

/// The maximum length of a group ID and of a user ID.
pub(super) const MAX_ID_BYTES: usize = 64;
/// The maximum length of `GroupName`.
pub(super) const MAX_NAME_BYTES: usize = 128;
/// The maximum length of `GroupInfo`. The emulator interprets the documented "32 KB" as 32,768 bytes before encoding.
pub(super) const MAX_INFO_BYTES: usize = 32_768;
/// The maximum number of administrators of a group.
pub(super) const MAX_ADMINISTRATORS: usize = 3;

/// Returns a required parameter, which must be present and not empty.
pub(super) fn required<'p>(params: &'p Params, name: &str) -> Result<&'p str, ApiError> {
    match params.get(name) {
        Some(value) if !value.is_empty() => Ok(value),
        _ => Err(ApiError::input_invalid(name, "is required")),
    }
}

/// Returns the required parameter `GroupId`, which must match `[A-Za-z0-9]{1,64}`.
pub(super) fn group_id(params: &Params) -> Result<&str, ApiError> {
    let id = required(params, "GroupId")?;
    check_id("GroupId", id).map(|()| id)
}

/// Returns an optional user ID. An absent parameter is the same as an empty one.
pub(super) fn user_id(params: &Params, name: &str) -> Result<String, ApiError> {
    match params.get(name).unwrap_or_default() {
        "" => Ok(String::new()),
        id => check_id(name, id).map(|()| id.to_owned()),
    }
}

fn check_id(name: &str, id: &str) -> Result<(), ApiError> {
    if id.is_empty() || id.len() > MAX_ID_BYTES || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(ApiError::input_invalid(
            name,
            format_args!("must be 1 to {MAX_ID_BYTES} letters and digits (A-Za-z0-9)"),
        ));
    }
    Ok(())
}

/// Returns an optional text of at most `max_bytes` bytes of UTF-8.
pub(super) fn text(params: &Params, name: &str, max_bytes: usize) -> Result<String, ApiError> {
    let text = params.get(name).unwrap_or_default();
    if text.len() > max_bytes {
        let reason = format!("has {} bytes, more than the maximum of {max_bytes}", text.len());
        return Err(ApiError::input_invalid(name, reason));
    }
    Ok(text.to_owned())
}

/// Returns an optional boolean, `false` by default. The Python SDK sends `True`, and the other SDKs send `true`.
pub(super) fn flag(params: &Params, name: &str) -> Result<bool, ApiError> {
    match params.get(name).unwrap_or_default() {
        "true" | "True" | "TRUE" | "1" => Ok(true),
        "" | "false" | "False" | "FALSE" | "0" => Ok(false),
        _ => Err(ApiError::input_invalid(name, "must be true or false")),
    }
}

/// Returns a whole number in a range. An absent or empty parameter has the default value. If there is no default, the
/// parameter is required.
pub(super) fn number(
    params: &Params,
    name: &str,
    range: RangeInclusive<i64>,
    default: Option<i64>,
) -> Result<i64, ApiError> {
    match (params.get(name).unwrap_or_default(), default) {
        ("", Some(default)) => Ok(default),
        ("", None) => Err(ApiError::input_invalid(name, "is required")),
        (text, _) => {
            text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
                ApiError::input_invalid(name, format_args!("must be {} to {}", range.start(), range.end()))
            })
        }
    }
}

/// Returns the optional parameter `DataCenter`.
pub(super) fn data_center(params: &Params) -> Result<Option<DataCenter>, ApiError> {
    match params.get("DataCenter").unwrap_or_default() {
        "" => Ok(None),
        name => name.parse().map(Some).map_err(|reason| ApiError::input_invalid("DataCenter", reason)),
    }
}

/// Parses a list of administrators in one of two wire formats: `name=a,b` (current SDKs) or `name.1=a&name.2=b` (legacy
/// SDK and CLI). An absent or empty parameter means that there are no administrators. Rejects more than three IDs,
/// repeated IDs, and both formats in one request. The last two rules are assumptions, because they are not documented.
pub(super) fn administrators(params: &Params, name: &str) -> Result<Vec<String>, ApiError> {
    let joined = params.get(name).unwrap_or_default();
    let mut numbered: Vec<(u32, &str)> = Vec::new();
    for (key, value) in params.iter() {
        let Some(number) = key.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')) else { continue };
        let number = number.parse().map_err(|_| ApiError::input_invalid(key, "must end in a number, such as 1"))?;
        numbered.push((number, value));
    }
    if !joined.is_empty() && !numbered.is_empty() {
        return Err(ApiError::input_invalid(name, "is given in two formats"));
    }
    numbered.sort_by_key(|(number, _)| *number);
    let ids: Vec<&str> = match (joined, numbered.as_slice()) {
        ("", []) => Vec::new(),
        ("", numbered) => numbered.iter().map(|(_, id)| *id).collect(),
        (joined, _) => joined.split(',').collect(),
    };
    if ids.len() > MAX_ADMINISTRATORS {
        return Err(ApiError::input_invalid(name, format_args!("has more than {MAX_ADMINISTRATORS} entries")));
    }
    for (at, id) in ids.iter().enumerate() {
        check_id(name, id)?;
        if ids[..at].contains(id) {
            return Err(ApiError::input_invalid(name, format_args!("contains {id} twice")));
        }
    }
    Ok(ids.into_iter().map(str::to_owned).collect())
}

/// Returns an optional `http` or `https` URL. It must not contain a port or a private address.
pub(super) fn public_url(params: &Params, name: &str) -> Result<String, ApiError> {
    let url = params.get(name).unwrap_or_default();
    if url.is_empty() {
        return Ok(String::new());
    }
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    let private = host.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_private() || ip.is_loopback());
    if host.is_empty() || host.contains([':', '@']) || private || host == "localhost" {
        let reason = "must be an http or https URL of a public host, without a port";
        return Err(ApiError::input_invalid(name, reason));
    }
    Ok(url.to_owned())
}
