//! HTTP below the calls: what an answer, or the lack of one, means.

use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap};
use serde_json::Value;

use super::access_key::Credentials;
use super::error::{ApiError, CallError, Delivery};
use super::response::{self, Response};
use super::xml;

/// Answers are read up to this size: a page of 50 groups of 32 KB each is 1.6 MB before its escapes.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// What became of a request, and the service's time where its answer told it.
pub(super) struct Exchange {
    pub outcome: Result<Response<Value>, CallError>,
    pub server_time: Option<SystemTime>,
}

/// Sends a request and reads its answer.
pub(super) async fn exchange(request: reqwest::RequestBuilder) -> Exchange {
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Exchange { outcome: Err(transport(&error)), server_time: None },
    };
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let server_time = headers.get(DATE).and_then(|value| value.to_str().ok()).and_then(httpdate);
    let body = read(response, MAX_ANSWER_BYTES).await;
    Exchange { outcome: interpret(status, &headers, body), server_time }
}

/// The same error, its message fit to be shown: the service repeats the text it found signed, which holds the token.
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

/// A body as far as it was read. One that is not read to its end takes its connection with it.
pub(super) enum Body {
    Whole(Vec<u8>),
    TooLong,
    Broken,
}

/// Reads a body up to `limit` bytes, counted after decompression.
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

fn interpret(status: u16, headers: &HeaderMap, body: Body) -> Result<Response<Value>, CallError> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let request_id = Some(header("x-acs-request-id").to_owned()).filter(|id| !id.is_empty());
    let bytes = match body {
        Body::Whole(bytes) => bytes,
        Body::TooLong => {
            let what = format!("the answer is over {MAX_ANSWER_BYTES} bytes");
            return Err(with_retry_after(broken(status, &what, request_id), headers));
        }
        // The request arrived, or there were no status: this is no lost answer, and the status tells what it was.
        Body::Broken => {
            return Err(with_retry_after(broken(status, "the answer broke off", request_id), headers));
        }
    };
    let content_type = header(CONTENT_TYPE.as_str()).to_ascii_lowercase();
    let decoded = if content_type.contains("xml") { xml::to_json(&bytes) } else { serde_json::from_slice(&bytes).ok() };
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
        return Err(with_retry_after(unreadable(status, "the answer tells no error code", request_id), headers));
    }
    let request_id = response::request_id(&value).or(request_id);
    Ok(Response { value, request_id })
}

/// An answer in which no decoder finds what it looks for.
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

/// An answer that broke off, or has no end or no content: nobody can know what it would have told.
fn broken(status: u16, what: &str, request_id: Option<String>) -> CallError {
    match unreadable(status, what, request_id) {
        CallError::Api(error) => CallError::Api(error.broken()),
        other => other,
    }
}

/// What stands in place of an answer, without its content: a proxy's page may hold times and ids.
fn describe_body(content_type: &str, bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "the answer is empty".to_owned();
    }
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let kind = if kind.is_empty() { "no content type" } else { kind };
    format!("the answer ({kind}) is not one of the Live API; is a proxy in between?")
}

fn with_retry_after(error: CallError, headers: &HeaderMap) -> CallError {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let modern = header("x-acs-retry-after").and_then(|value| value.trim().parse::<u64>().ok());
    let older = ["x-ratelimit-user-api", "x-ratelimit-user"].into_iter().find_map(|name| {
        header(name)?.split(',').find_map(|part| part.trim().strip_prefix("TimeLeft:")?.trim().parse::<u64>().ok())
    });
    match error {
        CallError::Api(mut api) => {
            // Bounded: a wrong value must not stop an account for a day.
            api.retry_after = modern.or(older).map(|ms| Duration::from_millis(ms).min(Duration::from_secs(60)));
            CallError::Api(api)
        }
        other => other,
    }
}

/// A failed transport, told without addresses and ports.
pub(super) fn transport(error: &reqwest::Error) -> CallError {
    let delivery = if error.is_connect() { Delivery::NeverSent } else { Delivery::Unknown };
    let message = if error.is_timeout() && error.is_connect() {
        "connecting to the endpoint timed out".to_owned()
    } else if error.is_timeout() {
        "the endpoint did not answer in time".to_owned()
    } else {
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        let what = if error.is_connect() { "cannot connect to the endpoint" } else { "the connection broke" };
        format!("{what}: {}", response::bounded(&cause.to_string()))
    };
    CallError::Transport { delivery, message }
}

/// The time a `Date` header tells: `Sun, 06 Nov 1994 08:49:37 GMT`.
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
    fn the_time_to_wait_is_read_from_both_headers_and_bounded() {
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
    fn the_date_header_is_read() {
        let time = httpdate("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(), 784_111_777);
    }
}
