//! The errors of the API and of its gateway.

use std::borrow::Cow;

/// An error as the API reports it: HTTP status, code and message.
///
/// The codes and statuses are from the public documentation. `InputInvalid`, `ErrorTooManyGroups`, `NoAuth`,
/// `ResourceNotExist` and `ServerError` are listed in the error tables of the operations. All other codes are common
/// error codes of the gateway.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code} (HTTP {status}): {message}")]
pub struct ApiError {
    /// The HTTP status of the response.
    pub status: u16,
    /// The error code. Clients should not depend on the other fields.
    pub code: Cow<'static, str>,
    /// A human-readable text, whose format is not documented.
    pub message: String,
}

impl ApiError {
    /// Creates an error with any status, code and message. For the common errors, use the other constructors.
    pub fn new(status: u16, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }

    /// 400 `InputInvalid`: the value of a parameter is not valid. The message starts with the parameter's name.
    pub fn input_invalid(parameter: &str, reason: impl std::fmt::Display) -> Self {
        Self::new(400, "InputInvalid", format!("{parameter}: {reason}."))
    }

    /// 404 `ResourceNotExist`: the app or the group does not exist, or the app is in another data center.
    pub fn resource_not_exist(what: impl std::fmt::Display) -> Self {
        Self::new(404, "ResourceNotExist", format!("{what} does not exist."))
    }

    /// 400 `ErrorTooManyGroups`: the app has reached its quota of live groups.
    pub fn too_many_groups(limit: usize) -> Self {
        Self::new(400, "ErrorTooManyGroups", format!("the app already has {limit} groups."))
    }

    /// 403 `NoAuth`: the key lacks a permission, or the app is disabled.
    pub fn no_auth(reason: impl std::fmt::Display) -> Self {
        Self::new(403, "NoAuth", format!("{reason}."))
    }

    /// 400 `Throttling.User`: the account exceeded its limit of calls per second for one operation.
    pub fn throttling_user() -> Self {
        Self::new(400, "Throttling.User", "Request was denied due to user flow control.")
    }

    /// 400 `Missing<Parameter>`: a required common parameter is absent or empty.
    pub fn missing(parameter: &str) -> Self {
        Self::new(400, format!("Missing{parameter}"), format!("{parameter} is mandatory for this action."))
    }

    /// 404 `InvalidApi.NotFound`: the operation does not exist.
    pub fn api_not_found() -> Self {
        Self::new(404, "InvalidApi.NotFound", "Specified api is not found, please check your url and method.")
    }
}
