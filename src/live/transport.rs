//! Sends HTTP requests and interprets their responses and failures.

use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap};
use serde_json::Value;

use super::access_key::Credentials;
use super::bounded::{self, Limits};
use super::error::{ApiError, CallError, Delivery};
use super::response::{self, Response};
use super::xml;

/// The outcome of a request, and the service's time if there was a response with a `Date`.
pub(super) struct Exchange {
    pub outcome: Result<Response<Value>, CallError>,
    pub server_time: Option<SystemTime>,
}

pub(super) async fn exchange(request: reqwest::RequestBuilder, limits: Limits) -> Exchange {
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Exchange { outcome: Err(transport(&error)), server_time: None },
    };
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let server_time = headers.get(DATE).and_then(|value| value.to_str().ok()).and_then(httpdate);
    let body = read(response, limits.bytes).await;
    Exchange { outcome: interpret(status, &headers, body, limits), server_time }
}

/// Redacts and shortens an error. The service's message can repeat the text to sign, which contains the token.
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

/// A response body. If it is not read to its end, its connection is not reused.
pub(super) enum Body {
    Whole(Vec<u8>),
    TooLong,
    Broken,
}

/// Reads a body of up to `limit` bytes, counted after decompression.
pub(super) async fn read(mut response: reqwest::Response, limit: usize) -> Body {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => return Body::TooLong,
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Body::Whole(body),
            Err(_) => return Body::Broken,
        }
    }
}

fn interpret(status: u16, headers: &HeaderMap, body: Body, limits: Limits) -> Result<Response<Value>, CallError> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let request_id = Some(header("x-acs-request-id").to_owned()).filter(|id| !id.is_empty());
    let bytes = match body {
        Body::Whole(bytes) => bytes,
        Body::TooLong => {
            let what = format!("the response exceeds {} bytes", limits.bytes);
            return Err(with_retry_after(broken(status, &what, request_id), headers));
        }
        // The request arrived, because there is a status. The status determines the class of the error.
        Body::Broken => {
            return Err(with_retry_after(broken(status, "the response is truncated", request_id), headers));
        }
    };
    let content_type = header(CONTENT_TYPE.as_str()).to_ascii_lowercase();
    let is_xml = content_type.contains("xml");
    let decoded = if is_xml { xml::to_json(&bytes, limits.values) } else { bounded::json(&bytes, limits.values) };
    let Some(value) = decoded.filter(Value::is_object) else {
        let what = describe_body(&content_type, &bytes);
        let page = !bytes.is_empty() && !content_type.contains("json");
        let error = if page { unreadable(status, &what, request_id) } else { broken(status, &what, request_id) };
        return Err(with_retry_after(error, headers));
    };
    if let Some(error) = response::api_error(status, &value).filter(|_| !(200..300).contains(&status)) {
        return Err(with_retry_after(error, headers));
    }
    if !(200..300).contains(&status) {
        return Err(with_retry_after(unreadable(status, "the response has no error code", request_id), headers));
    }
    let request_id = response::request_id(&value).or(request_id);
    Ok(Response { value, request_id })
}

/// The error for a response without the expected content.
pub(super) fn unreadable(status: u16, what: &str, request_id: Option<String>) -> CallError {
    CallError::Api(ApiError {
        status,
        code: None,
        message: what.to_owned(),
        request_id,
        retry_after: None,
        body_complete: true,
    })
}

/// The error for a response whose body is truncated, too long, empty or malformed JSON. Its error code is unknown.
fn broken(status: u16, what: &str, request_id: Option<String>) -> CallError {
    match unreadable(status, what, request_id) {
        CallError::Api(error) => CallError::Api(error.broken()),
        other => other,
    }
}

/// Describes an unexpected body without its content: the page of a proxy can contain times and IDs.
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

/// Converts a transport error. The message contains no addresses and ports.
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
