//! The reply to a request: the response, the fault applied to it, and the record for the request log.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::error::ApiError;
use super::fault::FaultKind;
use super::log::Record;
use super::operation::{Operation, STS_VERSION};
use super::payload::{self, Format, Payload};
use super::request::Params;
use super::verify::{Claims, SignatureVersion};
use super::wire::Response;

/// The part of a response that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    Whole,
    /// The head and half of the body are sent, and then the connection is closed.
    Truncated,
    /// No response is sent, and the connection is reset.
    Reset,
}

/// A response and its record. The duration in the record is set when the response is sent.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) response: Response,
    pub(super) record: Record,
    pub(super) delivery: Delivery,
    /// The minimum time from the arrival of the request to the response.
    pub(super) wait: Duration,
    /// The number of seconds by which the header `Date` is ahead of the emulator's clock.
    pub(super) date_error: i64,
}

/// The result of a successful request.
#[derive(Debug)]
pub(super) enum Success {
    /// The fields of an API response.
    Fields(Operation, Payload),
    /// The body of a metadata response.
    Text(String),
}

/// Returns the error that a fault injects. If the fault replaces the whole response, the error appears only in the
/// request log.
pub(super) fn injected_error(kind: &FaultKind) -> ApiError {
    match kind {
        FaultKind::Error(status, code) | FaultKind::ErrorAfter(status, code) => {
            ApiError::new(*status, code.clone(), "A fault of the emulator.")
        }
        FaultKind::Html(status) => ApiError::new(*status, "Fault.Html", "A fault of the emulator."),
        _ => ApiError::new(500, "Fault.Reset", "A fault of the emulator."),
    }
}

/// Applies a fault to a finished response and its error code, and returns how much of the response to send.
pub(super) fn apply_fault(response: &mut Response, code: &mut Option<String>, kind: Option<&FaultKind>) -> Delivery {
    match kind {
        Some(FaultKind::ResetBefore | FaultKind::ResetAfter | FaultKind::ResetLate(_)) => return Delivery::Reset,
        Some(FaultKind::Truncated) => return Delivery::Truncated,
        Some(FaultKind::Throttle(Some(ms))) if code.as_deref() == Some("Throttling.User") => {
            response.headers.push(("x-acs-retry-after", ms.to_string()));
        }
        Some(FaultKind::Empty) => response.body.clear(),
        Some(FaultKind::Html(status)) => {
            *code = Some(injected_error(&FaultKind::Html(*status)).code.into_owned());
            response.status = *status;
            response.content_type = "text/html";
            response.body = html_page(*status);
        }
        _ => {}
    }
    Delivery::Whole
}

fn html_page(status: u16) -> Vec<u8> {
    format!("<html><head><title>{status}</title></head><body>{status}</body></html>").into()
}

/// Renders the response to a request, before any fault is applied.
pub(super) fn response(
    format: Format,
    request_id: &str,
    host: &str,
    operation: Option<Operation>,
    outcome: &Result<Success, ApiError>,
) -> Response {
    let (content_type, body) = match outcome {
        Ok(Success::Fields(operation, fields)) => {
            (format.content_type(), payload::render(format, operation.name(), request_id, fields).into_bytes())
        }
        Ok(Success::Text(text)) => ("text/plain", text.clone().into_bytes()),
        Err(error) if operation == Some(Operation::EcsMetadata) => ("text/html", html_page(error.status)),
        Err(error) => return error_response(format, request_id, host, error),
    };
    let status = outcome.as_ref().err().map_or(200, |error| error.status);
    Response { status, content_type, headers: Vec::new(), body }
}

pub(super) fn error_response(format: Format, request_id: &str, host: &str, error: &ApiError) -> Response {
    let body = payload::render_error(format, request_id, host, error).into_bytes();
    Response { status: error.status, content_type: format.content_type(), headers: Vec::new(), body }
}

/// Returns the parameters of the operation for the request log, without common parameters and secrets.
pub(super) fn operation_params(params: &Params, claims: &Claims) -> BTreeMap<String, String> {
    const COMMON: [&str; 11] = [
        "AccessKeyId",
        "Action",
        "Format",
        "SecurityToken",
        "Signature",
        "SignatureMethod",
        "SignatureNonce",
        "SignatureType",
        "SignatureVersion",
        "Timestamp",
        "Version",
    ];
    let in_params = claims.signature == Some(SignatureVersion::V1) || claims.version.as_deref() == Some(STS_VERSION);
    let common = |name: &str| (in_params && COMMON.contains(&name)) || name == "OIDCToken";
    let mut params_to_log = BTreeMap::new();
    for (name, value) in params.iter().filter(|(name, _)| !common(name)) {
        params_to_log.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    params_to_log
}

pub(super) fn record(
    time: Timestamp,
    claims: Claims,
    params: BTreeMap<String, String>,
    status: u16,
    code: Option<String>,
    request_id: String,
) -> Record {
    let Claims { signature, access_key_id, action, .. } = claims;
    Record { time, access_key_id, operation: action, params, signature, status, code, request_id, duration_ms: 0 }
}

/// Returns a random UUID (version 4) in upper case.
pub(super) fn request_id() -> String {
    let bits = fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032X}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_random_upper_case_uuids() {
        let id = request_id();
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'4');
        assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'A' | b'B'));
        assert!(id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F' | b'-')));
        assert_ne!(id, request_id());
    }

    #[test]
    fn log_contains_neither_signature_nor_token() {
        let params = [("AppId", "demo"), ("SecurityToken", "x"), ("Signature", "y"), ("OIDCToken", "z")];
        let params: Params = params.into_iter().collect();
        let v1 = Claims { signature: Some(SignatureVersion::V1), ..Claims::default() };
        let params_to_log = operation_params(&params, &v1);
        assert_eq!(params_to_log.into_keys().collect::<Vec<_>>(), ["AppId"]);
    }
}
