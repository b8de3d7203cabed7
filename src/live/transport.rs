//! Sends HTTP requests and interprets their responses and failures.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap};
use tokio::time::Instant;

use super::Operation;
use super::access_key::Credentials;
use super::bounded::Limits;
use super::document::Document;
use super::error::{ApiError, CallError, Delivery};
use super::memory::{Held, Share};
use super::response::{self, Decoded, ErrorBody, Reply, Response};

/// The outcome of a request, and the service's time if the response has a `Date` header.
pub(super) struct Exchange {
    pub outcome: Result<Response<Reply>, CallError>,
    pub server_time: Option<SystemTime>,
}

/// Sends a request and decodes the response to `operation`. The memory for the body is taken from `share`. If too
/// little memory is free, the function waits for memory until `deadline` at the latest.
pub(super) async fn exchange(
    request: reqwest::RequestBuilder,
    operation: Operation,
    share: &Arc<Share>,
    deadline: Instant,
) -> Exchange {
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Exchange { outcome: Err(transport(&error)), server_time: None },
    };
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let server_time = headers.get(DATE).and_then(|value| value.to_str().ok()).and_then(httpdate);
    let limits = if is_success(status) { Limits::of(operation) } else { Limits::ERROR };
    // Holds the memory of the body until the body is decoded.
    let mut held = Held::of(share, deadline);
    let body = read(response, limits.bytes, Some(&mut held)).await;
    let outcome =
        interpret(status, &headers, body, operation, limits).map_err(|error| with_retry_after(error, &headers));
    Exchange { outcome, server_time }
}

/// Redacts and shortens an error. The service's message can quote the canonical request, which can contain the
/// security token.
pub(super) fn without_secrets(error: CallError, credentials: &Credentials) -> CallError {
    match error {
        CallError::Api(mut answer) => {
            answer.message = response::bounded(&credentials.redact(&answer.message));
            answer.code = answer.code.map(|code| credentials.redact(&code));
            CallError::Api(answer)
        }
        other => other,
    }
}

/// A response body. If the body is not read to the end, the connection is not reused.
pub(super) enum Body {
    Whole(Vec<u8>),
    TooLong,
    Broken,
    /// No memory for the body became available in time.
    NoMemory,
}

/// Reads a body of up to `limit` bytes, counted after decompression. `held` accounts for the memory of the body. If it
/// is `None`, the memory is not counted.
pub(super) async fn read(mut response: reqwest::Response, limit: usize, mut held: Option<&mut Held>) -> Body {
    let mut body = Vec::new();
    loop {
        let chunk = match &held {
            Some(held) => held.unless_ended(response.chunk()).await,
            None => Some(response.chunk().await),
        };
        let chunk = match chunk {
            None => return Body::NoMemory,
            Some(Ok(Some(chunk))) if body.len() + chunk.len() > limit => return Body::TooLong,
            Some(Ok(Some(chunk))) => chunk,
            Some(Ok(None)) => return Body::Whole(body),
            Some(Err(_)) => return Body::Broken,
        };
        if let Some(held) = &mut held
            && !held.take(chunk.len()).await
        {
            return Body::NoMemory;
        }
        // Reserve the exact size, because a growing vector would take up to twice the granted memory.
        body.reserve_exact(chunk.len());
        body.extend_from_slice(&chunk);
    }
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

fn interpret(
    status: u16,
    headers: &HeaderMap,
    body: Body,
    operation: Operation,
    limits: Limits,
) -> Result<Response<Reply>, CallError> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let request_id = Some(header("x-acs-request-id").to_owned()).filter(|id| !id.is_empty());
    let bytes = match body {
        Body::Whole(bytes) => bytes,
        Body::TooLong => {
            return Err(broken(status, &format!("the response exceeds {} bytes", limits.bytes), request_id));
        }
        // The response has a status, so the request arrived and the answer is not lost. The status determines the class
        // of the error.
        Body::Broken => return Err(broken(status, "the response is truncated", request_id)),
        Body::NoMemory => {
            return Err(broken(
                status,
                "the response was not read completely, because other responses use all the memory for response bodies",
                request_id,
            ));
        }
    };
    let content_type = header(CONTENT_TYPE.as_str()).to_ascii_lowercase();
    let document = Document { bytes: &bytes, is_xml: content_type.contains("xml"), values: limits.values };
    let unknown = |request_id| {
        let what = describe_body(&content_type, &bytes);
        let is_page = !bytes.is_empty() && !content_type.contains("json");
        if is_page { unreadable(status, &what, request_id) } else { broken(status, &what, request_id) }
    };
    if !is_success(status) {
        let Some(body) = document.read::<ErrorBody>() else { return Err(unknown(request_id)) };
        let without_code = || unreadable(status, "the response has no error code", request_id);
        return Err(body.into_error(status).unwrap_or_else(without_code));
    }
    match response::decode(operation, document) {
        None => Err(unknown(request_id)),
        Some(Decoded { reply: Ok(value), request_id: id }) => {
            Ok(Response { value, request_id: id.or(request_id), status })
        }
        Some(Decoded { reply: Err(what), request_id: id }) => Err(unreadable(status, &what, id.or(request_id))),
    }
}

/// Returns the error for a response that does not contain the expected content.
fn unreadable(status: u16, what: &str, request_id: Option<String>) -> CallError {
    CallError::Api(ApiError {
        status,
        code: None,
        message: what.to_owned(),
        request_id,
        retry_after: None,
        body_complete: true,
    })
}

/// Returns the error for a response whose body is truncated, too long, empty or malformed JSON. The error code in such
/// a body is unknown.
fn broken(status: u16, what: &str, request_id: Option<String>) -> CallError {
    match unreadable(status, what, request_id) {
        CallError::Api(error) => CallError::Api(error.broken()),
        other => other,
    }
}

/// Describes an unexpected body without quoting its content, because a proxy's error page can contain times and IDs.
fn describe_body(content_type: &str, bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "the response is empty".to_owned();
    }
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let kind = if kind.is_empty() { "no content type" } else { kind };
    format!("the response ({kind}) is not from the Live API: check the endpoint and any proxy in front of it")
}

fn with_retry_after(error: CallError, headers: &HeaderMap) -> CallError {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let modern = header("x-acs-retry-after").and_then(|value| value.trim().parse::<u64>().ok());
    let older = ["x-ratelimit-user-api", "x-ratelimit-user"].into_iter().find_map(|name| {
        header(name)?.split(',').find_map(|part| part.trim().strip_prefix("TimeLeft:")?.trim().parse::<u64>().ok())
    });
    match error {
        CallError::Api(mut api) => {
            // The delay is limited, so that a wrong value cannot stop an account for a day.
            api.retry_after = modern.or(older).map(|ms| Duration::from_millis(ms).min(Duration::from_secs(60)));
            CallError::Api(api)
        }
        other => other,
    }
}

/// Converts a transport error to a [`CallError`] whose message contains no addresses or ports.
pub(super) fn transport(error: &reqwest::Error) -> CallError {
    let delivery = if error.is_connect() { Delivery::NeverSent } else { Delivery::Unknown };
    let message = if error.is_timeout() && error.is_connect() {
        "connecting to the endpoint timed out".to_owned()
    } else if error.is_timeout() {
        "the endpoint did not respond in time".to_owned()
    } else {
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        let what = if error.is_connect() { "cannot connect to the endpoint" } else { "the connection was lost" };
        format!("{what}: {}", response::bounded(&cause.to_string()))
    };
    CallError::Transport { delivery, message }
}

/// Parses a `Date` header, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) fn httpdate(text: &str) -> Option<SystemTime> {
    let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(zoned.timestamp().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (n.parse().unwrap(), HeaderValue::from_str(v).unwrap())).collect()
    }

    #[test]
    fn retry_delay_is_read_from_both_headers_and_limited() {
        let wait = |pairs: &[(&'static str, &str)]| match with_retry_after(unreadable(429, "", None), &headers(pairs)) {
            CallError::Api(api) => api.retry_after,
            other => panic!("{other}"),
        };
        assert_eq!(wait(&[("x-acs-retry-after", "1500")]), Some(Duration::from_millis(1500)));
        assert_eq!(
            wait(&[("x-ratelimit-user-api", "Limit:50,Remain:0,TimeLeft:700")]),
            Some(Duration::from_millis(700))
        );
        assert_eq!(wait(&[("x-acs-retry-after", "86400000")]), Some(Duration::from_secs(60)));
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn date_header_is_parsed() {
        let time = httpdate("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(), 784_111_777);
    }
}
