//! What leaves the emulator for a request: the answer, what a fault makes of it, and its line in the request log.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::answer::{self, Answer, Format};
use super::error::ApiError;
use super::fault::FaultKind;
use super::log::Record;
use super::operation::{Operation, STS_VERSION};
use super::request::Params;
use super::verify::{Claims, SignatureVersion};
use super::wire::Response;

/// How an answer leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    Whole,
    /// Half of it.
    Truncated,
    /// Not at all: the connection is reset.
    Reset,
}

/// A request's answer and its line in the request log, which lacks the duration.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) response: Response,
    pub(super) record: Record,
    pub(super) delivery: Delivery,
    /// From the arrival to the answer, at least.
    pub(super) wait: Duration,
    /// By how many seconds the header `Date` is wrong.
    pub(super) date_error: i64,
}

/// What a request achieved.
#[derive(Debug)]
pub(super) enum Success {
    /// An operation, with the fields of its answer.
    Fields(Operation, Answer),
    /// A text of the metadata service.
    Text(String),
}

/// The error a fault stands for. Where it replaces the answer altogether, nobody sees it but the request log.
pub(super) fn injected(kind: &FaultKind) -> ApiError {
    match kind {
        FaultKind::Error(status, code) | FaultKind::ErrorAfter(status, code) => {
            ApiError::new(*status, code.clone(), "A fault of the emulator.")
        }
        FaultKind::Html(status) => ApiError::new(*status, "Fault.Html", "A fault of the emulator."),
        _ => ApiError::new(500, "Fault.Reset", "A fault of the emulator."),
    }
}

/// Does to an answer what a fault does on the way.
pub(super) fn distort(response: &mut Response, code: &mut Option<String>, kind: Option<&FaultKind>) -> Delivery {
    match kind {
        Some(FaultKind::ResetBefore | FaultKind::ResetAfter | FaultKind::ResetLate(_)) => return Delivery::Reset,
        Some(FaultKind::Truncated) => return Delivery::Truncated,
        Some(FaultKind::Throttle(Some(ms))) if code.as_deref() == Some("Throttling.User") => {
            response.headers.push(("x-acs-retry-after", ms.to_string()));
        }
        Some(FaultKind::Empty) => response.body.clear(),
        Some(FaultKind::Html(status)) => {
            *code = Some(injected(&FaultKind::Html(*status)).code.into_owned());
            response.status = *status;
            response.content_type = "text/html";
            response.body = page(*status);
        }
        _ => {}
    }
    Delivery::Whole
}

fn page(status: u16) -> Vec<u8> {
    format!("<html><head><title>{status}</title></head><body>{status}</body></html>").into()
}

/// The answer to a request, before anything happens to it on the way.
pub(super) fn response(
    format: Format,
    request_id: &str,
    host: &str,
    operation: Option<Operation>,
    outcome: &Result<Success, ApiError>,
) -> Response {
    let (content_type, body) = match outcome {
        Ok(Success::Fields(operation, fields)) => {
            (format.content_type(), answer::render(format, operation.name(), request_id, fields).into_bytes())
        }
        Ok(Success::Text(text)) => ("text/plain", text.clone().into_bytes()),
        Err(error) if operation == Some(Operation::EcsMetadata) => ("text/html", page(error.status)),
        Err(error) => return error_response(format, request_id, host, error),
    };
    let status = outcome.as_ref().err().map_or(200, |error| error.status);
    Response { status, content_type, headers: Vec::new(), body }
}

pub(super) fn error_response(format: Format, request_id: &str, host: &str, error: &ApiError) -> Response {
    let body = answer::render_error(format, request_id, host, error).into_bytes();
    Response { status: error.status, content_type: format.content_type(), headers: Vec::new(), body }
}

/// The parameters of the operation, for the log: without those that every request has where they are not in the headers,
/// and without secrets.
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
    let mut logged = BTreeMap::new();
    for (name, value) in params.iter().filter(|(name, _)| !common(name)) {
        logged.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    logged
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

/// A random UUID (version 4) in upper case.
pub(super) fn request_id() -> String {
    let bits = fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032X}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_random_uuids_in_upper_case() {
        let id = request_id();
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'4');
        assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'A' | b'B'));
        assert!(id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F' | b'-')));
        assert_ne!(id, request_id());
    }

    #[test]
    fn the_log_shows_neither_signature_nor_token() {
        let params = [("AppId", "demo"), ("SecurityToken", "x"), ("Signature", "y"), ("OIDCToken", "z")];
        let params: Params = params.into_iter().collect();
        let v1 = Claims { signature: Some(SignatureVersion::V1), ..Claims::default() };
        let logged = operation_params(&params, &v1);
        assert_eq!(logged.into_keys().collect::<Vec<_>>(), ["AppId"]);
    }
}
