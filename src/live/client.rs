//! Sends calls. Each call is one HTTP request, because the redirects and retries of the HTTP client are disabled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use reqwest::header::ACCEPT;
use tokio::time::Instant;

use super::access_key::Credentials;
use super::endpoint::Endpoint;
use super::error::{ApiError, CallError, ErrorClass, RetryHint};
use super::http::{HttpClientError, HttpOptions};
use super::memory::{ResponseMemory, Share};
use super::operation::{Call, Operation};
use super::request::{Method, Placement, RpcRequest, SignedRequest, nonce};
use super::response::{Reply, Response};
use super::service_clock::ServiceClock;
use super::transport::{self, Exchange};

/// URLs must be shorter than this, because the `http` crate limits the length of a URI.
const MAX_URL_BYTES: usize = 65_534;

/// Options of a [`Client`].
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Timeouts and trusted certificates.
    pub http: HttpOptions,
    /// If the query is longer than this many bytes, the parameters are sent in a form body instead, unless the endpoint
    /// has already refused a form body. Defaults to 8 KiB, because proxies reject longer request lines. URLs of 65,534
    /// bytes or more are never sent.
    pub form_body_threshold: usize,
    /// The memory for response bodies. Defaults to the memory that all clients of the process share.
    pub memory: Arc<ResponseMemory>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { http: HttpOptions::default(), form_body_threshold: 8 * 1024, memory: ResponseMemory::of_process() }
    }
}

/// A client for one endpoint. It reuses connections, except those on which a request timed out.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    endpoint: Endpoint,
    form_body_threshold: usize,
    /// Whether the endpoint has refused parameters in a form body. An endpoint may do so, because the documentation of
    /// the Live API specifies parameters only in the query.
    query_only: AtomicBool,
    clock: ServiceClock,
    share: Arc<Share>,
    timeout: Duration,
}

impl Client {
    /// Creates a client for `endpoint`.
    ///
    /// # Errors
    /// Returns an error if the TLS client cannot be built, for example because the machine has no CA certificates.
    pub fn new(endpoint: Endpoint, options: ClientOptions) -> Result<Self, HttpClientError> {
        Ok(Self {
            http: options.http.client()?,
            endpoint,
            form_body_threshold: options.form_body_threshold,
            query_only: AtomicBool::new(false),
            clock: ServiceClock::default(),
            share: Share::new(options.memory),
            timeout: options.http.request_timeout,
        })
    }

    /// Creates a client for another endpoint, with the same options as this client. Both clients share one HTTP client,
    /// because its trusted certificates take 100 KiB of memory. A connection is used only for requests to its own
    /// scheme, host and port, and carries no user state: each request is signed, and cookies are disabled.
    #[must_use]
    pub fn for_endpoint(&self, endpoint: Endpoint) -> Self {
        Self {
            http: self.http.clone(),
            endpoint,
            form_body_threshold: self.form_body_threshold,
            query_only: AtomicBool::new(false),
            clock: ServiceClock::default(),
            share: self.share.of_another_client(),
            timeout: self.timeout,
        }
    }

    /// Returns the endpoint of this client.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Signs and sends a call, and decodes its response. The parameters of a POST are sent in the query, or in a form
    /// body if they exceed [`ClientOptions::form_body_threshold`].
    ///
    /// If the endpoint reports that parameters in a form body are missing (error code `Missing…`), this call fails with
    /// [`CallError::Resent`], and all later calls use the query.
    ///
    /// # Errors
    /// Returns a [`CallError`]. Its [class](CallError::class) determines how the caller reacts.
    pub async fn send(&self, call: &Call, credentials: &Credentials) -> Result<Response<Reply>, CallError> {
        let mut request = call.request();
        self.choose_placement(&mut request)?;
        let trial = self.clock.take_trial();
        let signed = request.sign(self.endpoint.host(), credentials, &self.clock.date(trial), &nonce());
        let started = SystemTime::now();
        let Exchange { outcome, server_time } = self.transmit(signed, call.operation()).await;
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
            // In these cases, the service may not have checked the time of the request.
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

    fn choose_placement(&self, request: &mut RpcRequest) -> Result<(), CallError> {
        if request.method != Method::Post {
            return Ok(());
        }
        let query = request.encoded_params();
        let too_long = self.too_long_as_query(&query);
        if query.len() <= self.form_body_threshold && too_long.is_none() {
            return Ok(());
        }
        if !self.query_only.load(Ordering::Relaxed) {
            request.placement = Placement::Form;
            return Ok(());
        }
        too_long.map_or(Ok(()), |why| Err(CallError::Unsendable(why)))
    }

    fn too_long_as_query(&self, query: &str) -> Option<String> {
        let length = self.endpoint.url(query).as_str().len();
        (length >= MAX_URL_BYTES).then(|| {
            format!(
                "the endpoint ignores parameters in the request body, and the URL with the parameters is too long \
                 ({length} bytes): shorten the parameters until the URL has fewer than {MAX_URL_BYTES} bytes"
            )
        })
    }

    /// Switches to the query for all later requests. The returned error indicates whether this request fits into a
    /// query.
    fn body_not_read(&self, request: &RpcRequest, mut answer: ApiError) -> CallError {
        if !self.query_only.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                endpoint = %self.endpoint,
                code = answer.code.as_deref().unwrap_or_default(),
                "endpoint ignores parameters in the request body; sending them in the query"
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

    /// Returns the current time on the service's clock, estimated from the last response of the service. Before the
    /// first response, this is the local time. Returns `None` if the service's clock differs from the local clock by
    /// more than 15 minutes, because such a difference is not credible.
    pub fn server_now(&self) -> Option<Timestamp> {
        self.clock.now()
    }

    async fn transmit(&self, signed: SignedRequest, operation: Operation) -> Exchange {
        let url = self.endpoint.url(&signed.query);
        let method = match signed.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
        };
        let mut request = self.http.request(method, url).header(ACCEPT, "application/json").body(signed.body);
        for (name, value) in &signed.headers {
            request = request.header(name, value);
        }
        // The wait for memory needs its own deadline, because the timeout of the HTTP client does not limit it.
        transport::exchange(request, operation, &self.share, Instant::now() + self.timeout).await
    }
}

#[cfg(test)]
mod network;
#[cfg(test)]
mod tests;
