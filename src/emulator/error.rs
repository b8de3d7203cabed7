//! The errors the API answers with.

use std::borrow::Cow;

/// An error as the API reports it: HTTP status, code and message.
///
/// The codes and statuses are those of the public documents: the error tables of the operations (`InputInvalid`,
/// `ErrorTooManyGroups`, `NoAuth`, `ResourceNotExist`, `ServerError`) and the gateway's common error codes (the rest).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code} (HTTP {status}): {message}")]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The code, the only part a client should decide by.
    pub code: Cow<'static, str>,
    /// For people.
    pub message: String,
}

impl ApiError {
    /// Any error.
    pub fn new(status: u16, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }

    /// 400 `InputInvalid`: the value of a parameter is not allowed. The message names the parameter.
    pub fn input_invalid(parameter: &str, why: impl std::fmt::Display) -> Self {
        Self::new(400, "InputInvalid", format!("{parameter}: {why}."))
    }

    /// 404 `ResourceNotExist`: no such app or group, or the app is in another data center.
    pub fn resource_not_exist(what: impl std::fmt::Display) -> Self {
        Self::new(404, "ResourceNotExist", format!("{what} does not exist."))
    }

    /// 400 `ErrorTooManyGroups`: the app has as many live groups as it may have.
    pub fn too_many_groups(limit: usize) -> Self {
        Self::new(400, "ErrorTooManyGroups", format!("the app already has {limit} groups."))
    }

    /// 403 `NoAuth`.
    pub fn no_auth(why: impl std::fmt::Display) -> Self {
        Self::new(403, "NoAuth", format!("{why}."))
    }

    /// 400 `Throttling.User`: more calls in a second than the account may make of one operation.
    pub fn throttling_user() -> Self {
        Self::new(400, "Throttling.User", "Request was denied due to user flow control.")
    }

    /// 400 `Missing<Parameter>`: a parameter every request needs is absent or empty.
    pub fn missing(parameter: &str) -> Self {
        Self::new(400, format!("Missing{parameter}"), format!("{parameter} is mandatory for this action."))
    }

    /// 404 `InvalidApi.NotFound`: no such operation.
    pub fn api_not_found() -> Self {
        Self::new(404, "InvalidApi.NotFound", "Specified api is not found, please check your url and method.")
    }
}
