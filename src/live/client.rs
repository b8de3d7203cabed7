//! Sending calls: one permit, one request on the wire. Redirects and hidden retries are off.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use jiff::Timestamp;
use reqwest::header::ACCEPT;
use serde_json::Value;

use super::access_key::Credentials;
use super::endpoint::Endpoint;
use super::error::{ApiError, CallError, ErrorClass, RetryHint};
use super::http::HttpOptions;
use super::operation::Call;
use super::request::{Method, Placement, RpcRequest, SignedRequest, nonce};
use super::response::{self, Reply, Response};
use super::service_clock::ServiceClock;
use super::transport::{self, Exchange};

/// A URL must be shorter than this: a URI of Rust's `http` crate ends there.
const MAX_URL_BYTES: usize = 65_534;

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Time-outs and trust.
    pub http: HttpOptions,
    /// Above this many bytes of query the parameters travel in a form body. Default 8 KiB: proxies refuse longer
    /// request lines. Whatever is given here, no query is sent that makes the URL 65,534 bytes or longer.
    pub form_above: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { http: HttpOptions::default(), form_above: 8 * 1024 }
    }
}

/// A client of one endpoint. Connections are reused; one whose request timed out is dropped.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    endpoint: Endpoint,
    form_above: usize,
    /// The endpoint has refused parameters in a body. The service's documents promise only the query.
    query_only: AtomicBool,
    clock: ServiceClock,
}

impl Client {
    /// A client of `endpoint`.
    ///
    /// # Errors
    /// When the TLS client cannot be built (no CA certificates on this machine, for example).
    pub fn new(endpoint: Endpoint, options: ClientOptions) -> Result<Self, reqwest::Error> {
        Ok(Self {
            http: options.http.client()?,
            endpoint,
            form_above: options.form_above,
            query_only: AtomicBool::new(false),
            clock: ServiceClock::default(),
        })
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends a typed call and decodes its answer.
    ///
    /// # Errors
    /// [`CallError`]; see [`CallError::class`] for what to do about it.
    pub async fn send(&self, call: &Call, credentials: &Credentials) -> Result<Response<Reply>, CallError> {
        let answer = self.call(call.request(), credentials).await?;
        let decoded = match call {
            Call::Create(..) => response::created(&answer.value),
            Call::Describe(..) => response::described(&answer.value),
            Call::ListByPage(..) => response::listed(&answer.value),
            Call::Modify(..) | Call::Delete(..) | Call::Recover(..) => Ok(Reply::Done),
        };
        match decoded {
            Ok(value) => Ok(Response { value, request_id: answer.request_id }),
            Err(what) => Err(transport::unreadable(200, &what, answer.request_id)),
        }
    }

    /// Sends any RPC request: signed now, once, in the query or, above [`ClientOptions::form_above`], in a form body.
    ///
    /// An endpoint that does not find the parameters in a body (`Missing…`) is remembered: this call fails with
    /// [`CallError::Resent`], and the next one travels in the query.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call(&self, mut request: RpcRequest, credentials: &Credentials) -> Result<Response<Value>, CallError> {
        self.choose_placement(&mut request)?;
        let trial = self.clock.take_trial();
        let signed = request.sign(self.endpoint.host(), credentials, &self.clock.date(trial), &nonce());
        let started = SystemTime::now();
        let Exchange { outcome, server_time } = self.transmit(signed).await;
        self.clock.observe_date(server_time);
        let error = match outcome {
            Ok(answer) => {
                self.clock.keep(trial);
                return Ok(answer);
            }
            Err(error) => transport::without_secrets(error, credentials),
        };
        match error.class() {
            ErrorClass::ClockSkew => self.clock.try_next(server_time, started),
            // Nobody has looked at the request's time.
            ErrorClass::Unreachable | ErrorClass::ServiceError => {}
            _ => self.clock.keep(trial),
        }
        match error {
            CallError::Api(answer) if request.placement == Placement::Form && answer.names_missing_parameter() => {
                Err(self.body_not_read(&request, answer))
            }
            error => Err(error),
        }
    }

    /// Chooses between query and body.
    fn choose_placement(&self, request: &mut RpcRequest) -> Result<(), CallError> {
        if request.method != Method::Post {
            return Ok(());
        }
        let query = request.encoded_params();
        let too_long = self.too_long_as_query(&query);
        if query.len() <= self.form_above && too_long.is_none() {
            return Ok(());
        }
        if !self.query_only.load(Ordering::Relaxed) {
            request.placement = Placement::Form;
            return Ok(());
        }
        too_long.map_or(Ok(()), |why| Err(CallError::Unsendable(why)))
    }

    fn too_long_as_query(&self, query: &str) -> Option<String> {
        let length = self.endpoint.url(query).len();
        (length >= MAX_URL_BYTES).then(|| {
            format!(
                "the endpoint reads no parameters from a body, and in the query they make a URL of {length} bytes: \
                 it must be shorter than {MAX_URL_BYTES}"
            )
        })
    }

    /// The body was refused: from now on the query is used, and this request says whether that helps it.
    fn body_not_read(&self, request: &RpcRequest, mut answer: ApiError) -> CallError {
        if !self.query_only.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                endpoint = %self.endpoint,
                code = answer.code.as_deref().unwrap_or_default(),
                "the endpoint reads no parameters from a body: large requests travel in the query from now on"
            );
        }
        match self.too_long_as_query(&request.encoded_params()) {
            None => CallError::Resent(RetryHint::AsQuery, answer),
            Some(why) => {
                answer.message = why;
                CallError::Api(answer)
            }
        }
    }

    /// Now, by the service's clock as its last answer told it; this machine's before the first answer.
    pub fn server_now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn transmit(&self, signed: SignedRequest) -> Exchange {
        let url = self.endpoint.url(&signed.query);
        let method = match signed.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
        };
        let mut request = self.http.request(method, url).header(ACCEPT, "application/json").body(signed.body);
        for (name, value) in &signed.headers {
            request = request.header(name, value);
        }
        transport::exchange(request).await
    }
}

#[cfg(test)]
mod network;
#[cfg(test)]
mod tests;
