//! Sending calls: one permit, one request on the wire. Redirects and hidden retries are off.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use reqwest::header::{ACCEPT, CONTENT_TYPE, DATE, HeaderMap};
use serde_json::Value;

use super::credentials::Credentials;
use super::endpoint::Endpoint;
use super::error::{ApiError, CallError, Delivery, ErrorClass};
use super::operation::Call;
use super::request::{Method, Placement, RpcRequest, SignedRequest};
use super::response::{self, Reply};
use super::xml;

/// Answers are read up to this size: a page of 50 groups of 32 KB each is 1.6 MB before its escapes.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// To connect, TLS included. Default 3 s.
    pub connect_timeout: Duration,
    /// The whole request, connecting included. Default 10 s.
    pub request_timeout: Duration,
    /// Above this many bytes of query the parameters travel in a form body. Default 8 KiB: proxies refuse longer
    /// request lines, and a URI of Rust's `http` crate ends at 65,534 bytes.
    pub form_above: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(3), request_timeout: Duration::from_secs(10), form_above: 8 * 1024 }
    }
}

/// A success, and the request's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// The decoded content.
    pub value: T,
    /// For support tickets.
    pub request_id: Option<String>,
}

/// A client of one endpoint. Connections are reused; one whose request timed out is dropped.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    endpoint: Endpoint,
    options: ClientOptions,
    /// Milliseconds the service's clock is ahead of this machine's; 0 until the service refused a request's time.
    clock_offset_ms: AtomicI64,
    /// Milliseconds the `Date` of the last answer was ahead of this machine's clock; 0 within its resolution.
    server_ahead_ms: AtomicI64,
}

impl Client {
    /// A client of `endpoint`.
    ///
    /// # Errors
    /// When the TLS client cannot be built (no CA certificates on this machine, for example).
    pub fn new(endpoint: Endpoint, options: ClientOptions) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("live-message-operator/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(options.connect_timeout)
            .timeout(options.request_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .http1_only()
            .build()?;
        Ok(Self { http, endpoint, options, clock_offset_ms: AtomicI64::new(0), server_ahead_ms: AtomicI64::new(0) })
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends a typed call and decodes its answer.
    ///
    /// # Errors
    /// [`CallError`]; see [`CallError::class`] for what to do about it.
    pub async fn send(&self, call: &Call, credentials: &Credentials) -> Result<Answer<Reply>, CallError> {
        let answer = self.call(call.request(), credentials).await?;
        let decoded = match call {
            Call::Create(..) => response::created(&answer.value),
            Call::Describe(..) => response::described(&answer.value),
            Call::ListByPage(..) => response::listed(&answer.value),
            Call::Modify(..) | Call::Delete(..) | Call::Recover(..) => Ok(Reply::Done),
        };
        match decoded {
            Ok(value) => Ok(Answer { value, request_id: answer.request_id }),
            Err(what) => Err(unreadable(200, &what, answer.request_id)),
        }
    }

    /// Sends any RPC request: signed now, once, in the query or, above [`ClientOptions::form_above`], in a form body.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call(&self, mut request: RpcRequest, credentials: &Credentials) -> Result<Answer<Value>, CallError> {
        if request.method == Method::Post && request.encoded_params().len() > self.options.form_above {
            request.placement = Placement::Form;
        }
        let signed = request.sign(self.endpoint.host(), credentials, &self.date(), &nonce());
        let started = SystemTime::now();
        let result = self.transmit(signed).await;
        if let Err(error) = &result
            && error.error.class() == ErrorClass::ClockSkew
        {
            self.correct_clock(error.server_time, started);
        }
        result.map_err(|failure| failure.error)
    }

    /// Now, by the service's clock as its last answer told it; this machine's before the first answer.
    pub fn server_now(&self) -> Timestamp {
        let ahead = jiff::SignedDuration::from_millis(self.server_ahead_ms.load(Ordering::Relaxed));
        Timestamp::now().checked_add(ahead).unwrap_or_else(|_| Timestamp::now())
    }

    fn observe_date(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|value| value.to_str().ok()).and_then(httpdate);
        if let Some(ahead) = date.map(|date| milliseconds_ahead(date, SystemTime::now())) {
            // The header counts whole seconds, and the answer took its way.
            let ahead = if ahead.abs() < 2_000 { 0 } else { ahead };
            self.server_ahead_ms.store(ahead, Ordering::Relaxed);
        }
    }

    /// The request's time, on the service's clock as far as it is known.
    fn date(&self) -> String {
        let offset = jiff::SignedDuration::from_millis(self.clock_offset_ms.load(Ordering::Relaxed));
        let now = Timestamp::now().checked_add(offset).unwrap_or_else(|_| Timestamp::now());
        now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    fn correct_clock(&self, server_time: Option<SystemTime>, sent_at: SystemTime) {
        let Some(server) = server_time else { return };
        let offset = milliseconds_ahead(server, sent_at);
        let before = self.clock_offset_ms.swap(offset, Ordering::Relaxed);
        if before.abs_diff(offset) > 60_000 {
            tracing::warn!(
                offset_seconds = offset / 1000,
                "this machine's clock differs from the service's: requests are dated by the service's from now on"
            );
        }
    }

    async fn transmit(&self, signed: SignedRequest) -> Result<Answer<Value>, Failure> {
        let url = self.endpoint.url(&signed.query);
        let method = match signed.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
        };
        let mut request = self.http.request(method, url).header(ACCEPT, "application/json").body(signed.body);
        for (name, value) in &signed.headers {
            request = request.header(name, value);
        }
        let response = request.send().await.map_err(|error| transport(&error))?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        self.observe_date(&headers);
        let body = read(response).await;
        interpret(status, &headers, body)
    }
}

struct Failure {
    error: CallError,
    server_time: Option<SystemTime>,
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self { error, server_time: None }
    }
}

fn milliseconds_ahead(server: SystemTime, here: SystemTime) -> i64 {
    match server.duration_since(here) {
        Ok(ahead) => i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX),
        Err(behind) => -i64::try_from(behind.duration().as_millis()).unwrap_or(i64::MAX),
    }
}

/// Unique for every request: 128 random bits.
fn nonce() -> String {
    format!("{:032x}", fastrand::u128(..))
}

enum Body {
    Whole(Vec<u8>),
    TooLong,
    Broken(reqwest::Error),
}

async fn read(mut response: reqwest::Response) -> Body {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > MAX_ANSWER_BYTES => return Body::TooLong,
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Body::Whole(body),
            Err(error) => return Body::Broken(error),
        }
    }
}

fn interpret(status: u16, headers: &HeaderMap, body: Body) -> Result<Answer<Value>, Failure> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let server_time = httpdate(header(DATE.as_str()));
    let failed = |error| Err(Failure { error, server_time });
    let request_id = Some(header("x-acs-request-id").to_owned()).filter(|id| !id.is_empty());
    let bytes = match body {
        Body::Whole(bytes) => bytes,
        Body::TooLong => {
            return failed(unreadable(status, &format!("the answer is over {MAX_ANSWER_BYTES} bytes"), request_id));
        }
        Body::Broken(error) => return failed(transport(&error)),
    };
    let content_type = header(CONTENT_TYPE.as_str()).to_ascii_lowercase();
    let decoded = if content_type.contains("xml") { xml::to_json(&bytes) } else { serde_json::from_slice(&bytes).ok() };
    let Some(value) = decoded.filter(Value::is_object) else {
        return failed(with_retry_after(
            unreadable(status, &describe_body(&content_type, &bytes), request_id),
            headers,
        ));
    };
    if let Some(error) = response::api_error(status, &value).filter(|_| !(200..300).contains(&status)) {
        return failed(with_retry_after(error, headers));
    }
    if !(200..300).contains(&status) {
        return failed(with_retry_after(unreadable(status, "the answer tells no error code", request_id), headers));
    }
    let request_id = response::request_id(&value).or(request_id);
    Ok(Answer { value, request_id })
}

fn unreadable(status: u16, what: &str, request_id: Option<String>) -> CallError {
    CallError::Api(ApiError { status, code: None, message: what.to_owned(), request_id, retry_after: None })
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
fn transport(error: &reqwest::Error) -> CallError {
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

impl From<&reqwest::Error> for CallError {
    fn from(error: &reqwest::Error) -> Self {
        transport(error)
    }
}

/// The `Date` header: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn httpdate(text: &str) -> Option<SystemTime> {
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

    fn read_as(status: u16, kind: &str, body: &str) -> Result<Answer<Value>, CallError> {
        interpret(status, &headers(&[("content-type", kind)]), Body::Whole(body.as_bytes().to_vec()))
            .map_err(|failure| failure.error)
    }

    #[test]
    fn a_proxys_page_is_classified_by_its_status() {
        assert_eq!(read_as(502, "text/html", "<html>").unwrap_err().class(), ErrorClass::ServiceError);
        assert_eq!(read_as(200, "text/html", "<html>").unwrap_err().class(), ErrorClass::ServiceError);
        assert_eq!(read_as(403, "text/html", "<html>").unwrap_err().class(), ErrorClass::Rejected);
        assert_eq!(read_as(200, "application/json", "").unwrap_err().class(), ErrorClass::ServiceError);
        assert_eq!(read_as(200, "application/json", "{\"GroupId\": ").unwrap_err().class(), ErrorClass::ServiceError);
    }

    #[test]
    fn errors_are_read_in_json_of_either_case_and_in_xml() {
        let json = read_as(404, "application/json", r#"{"code":"ResourceNotExist","message":"no","requestId":"r"}"#);
        assert_eq!(json.unwrap_err().class(), ErrorClass::NotFound);
        let xml = "<Error><RequestId>r</RequestId><Code>NoAuth</Code><Message>no</Message></Error>";
        let error = read_as(403, "text/xml;charset=utf-8", xml).unwrap_err();
        assert_eq!((error.class(), error.request_id()), (ErrorClass::NotAuthorized, Some("r")));
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
