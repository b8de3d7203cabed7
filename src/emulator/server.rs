//! The server of the emulator: sockets, connections and shutdown. It has its own thread and runtime, so that it works
//! even if the runtime of a test is paused or busy.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs as _};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admin;
use super::config::{Builder, Config};
use super::fault::FaultKind;
use super::log::{Record, RequestLog};
use super::reply::{Delivery, Exchange};
use super::service::Service;
use super::state::{Group, State};
use super::wire::{Connection, RawRequest};

/// The maximum time that a shutdown waits for in-flight requests.
const SHUTDOWN_GRACE_PERIOD: Duration = Duration::from_secs(10);

/// Starts emulators. Tests use [`Emulator::builder`]. [`Emulator::start`] accepts a complete [`Config`].
#[derive(Debug)]
pub struct Emulator;

impl Emulator {
    /// Creates a builder for an emulator on a free port of 127.0.0.1.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts an emulator. When this function returns, the emulator accepts connections.
    ///
    /// # Errors
    ///
    /// Returns an error if the emulator cannot listen on an address, open the request log or start its thread.
    pub fn start(config: Config) -> io::Result<Handle> {
        let log = Arc::new(RequestLog::new(config.records_kept, config.request_log.as_deref())?);
        let listener = bind(&config.listen)?;
        let address = listener.local_addr()?;
        let admin = config.admin_listen.as_deref().map(bind).transpose()?;
        let admin_address = admin.as_ref().map(TcpListener::local_addr).transpose()?;
        let metadata = config.metadata_listen.as_deref().map(bind).transpose()?;
        let metadata_address = metadata.as_ref().map(TcpListener::local_addr).transpose()?;
        let service = Arc::new(Service::new(&config));
        let stop = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let server =
            Server { service: service.clone(), log: log.clone(), stop: stop.clone(), tasks: TaskTracker::new() };
        let thread = std::thread::Builder::new().name("emulator".to_owned()).spawn(move || {
            let log = server.log.clone();
            if let Err(error) = runtime.block_on(server.run(listener, metadata, admin)) {
                tracing::error!(%error, "emulator stopped");
            }
            log.close();
        })?;
        Ok(Handle { address, admin_address, metadata_address, service, log, stop, thread: Some(thread) })
    }
}

fn bind(address: &str) -> io::Result<TcpListener> {
    let explain = |error: io::Error| {
        let hint = "use another address of this machine; port 0 selects a free port";
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}: {hint}"))
    };
    let addresses: Vec<SocketAddr> = address.to_socket_addrs().map_err(explain)?.collect();
    let listener = TcpListener::bind(addresses.as_slice()).map_err(explain)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A handle to a running emulator. The emulator stops when the handle is dropped.
#[derive(Debug)]
pub struct Handle {
    address: SocketAddr,
    admin_address: Option<SocketAddr>,
    metadata_address: Option<SocketAddr>,
    service: Arc<Service>,
    log: Arc<RequestLog>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// Returns the address that the API listens on, with the actual port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the address of the [admin API](super::admin), or `None` if the admin API is disabled.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// Returns the second address that the emulator listens on, if one is configured. It serves the same requests as
    /// the first address and is intended for clients of the metadata service.
    pub fn metadata_address(&self) -> Option<SocketAddr> {
        self.metadata_address
    }

    /// Returns the URL of the API: `http://ADDR:PORT`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the records in memory, oldest first. A record is added before its response is sent.
    pub fn request_log(&self) -> Vec<Record> {
        self.log.recent_records()
    }

    /// Removes the records from memory; a log file is unchanged.
    pub fn clear_request_log(&self) {
        self.log.clear();
    }

    /// Reads or changes the state directly, without the checks of the API. Requests wait until `f` returns.
    pub fn with_state<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.service.core().state)
    }

    /// Returns a copy of a live or deleted group, or `None` if the group does not exist.
    pub fn group(&self, app: &str, id: &str) -> Option<Group> {
        self.with_state(|state| state.app(app)?.group(id).cloned())
    }

    /// Adds an access key, or replaces the key with the same ID.
    pub fn put_key(&self, key: super::verify::AccessKey) {
        self.service.core().verifier.put_key(key);
    }

    /// Removes an access key. Later requests that use this key get `InvalidAccessKeyId.NotFound`.
    pub fn remove_key(&self, id: &str) {
        self.service.core().verifier.remove_key(id);
    }

    /// Sets the number of calls per second that each account can make to each operation; 0 for no limit.
    pub fn set_requests_per_second(&self, limit: usize) {
        self.service.core().limit.set_limit(limit);
    }

    /// Sets whether throttled calls count toward the limit of calls per second.
    pub fn set_count_refused(&self, count: bool) {
        self.service.core().limit.set_count_refused(count);
    }

    /// Replaces the fault rules.
    pub fn set_faults(&self, faults: Vec<super::fault::Fault>) {
        self.service.core().faults.set_rules(faults);
    }

    /// Sets the minimum time from the arrival of a request to its response.
    pub fn set_latency(&self, latency: Duration) {
        self.service.core().latency = latency;
    }

    /// Returns the clock of the emulator, which tests can move.
    pub fn clock(&self) -> &super::clock::Clock {
        self.service.clock()
    }

    /// Stops accepting connections, waits up to 10 s for in-flight requests, and writes the pending lines of the
    /// request log. Blocks until this is done, and then returns the final state.
    pub fn shutdown(mut self) -> State {
        self.stop_and_join();
        self.with_state(|state| state.clone())
    }

    fn stop_and_join(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop_and_join();
    }
}

/// Accepts connections until `stop` is cancelled, and serves each in a task.
async fn accept_connections<F: Future<Output = ()> + Send + 'static>(
    listener: &tokio::net::TcpListener,
    stop: &CancellationToken,
    connections: &TaskTracker,
    serve: impl Fn(TcpStream) -> F,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(serve(stream));
            }
            // The process has no free file descriptor, or the client closed the connection before it was accepted. Both
            // causes are temporary, so retry after a short delay.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[derive(Debug, Clone)]
struct Server {
    service: Arc<Service>,
    log: Arc<RequestLog>,
    stop: CancellationToken,
    /// The tasks that accept connections, serve a connection, or execute a request after its connection was reset.
    tasks: TaskTracker,
}

impl Server {
    async fn run(
        self,
        listener: TcpListener,
        metadata: Option<TcpListener>,
        admin: Option<TcpListener>,
    ) -> io::Result<()> {
        if let Some(metadata) = metadata {
            let metadata = tokio::net::TcpListener::from_std(metadata)?;
            let server = self.clone();
            self.tasks.spawn(async move {
                let serve = |stream| server.clone().serve(stream);
                accept_connections(&metadata, &server.stop, &server.tasks, serve).await;
            });
        }
        if let Some(admin) = admin {
            let admin = tokio::net::TcpListener::from_std(admin)?;
            let server = self.clone();
            self.tasks.spawn(async move {
                let serve = |stream| server.clone().serve_admin(stream);
                accept_connections(&admin, &server.stop, &server.tasks, serve).await;
            });
        }
        let listener = tokio::net::TcpListener::from_std(listener)?;
        accept_connections(&listener, &self.stop, &self.tasks, |stream| self.clone().serve(stream)).await;
        drop(listener);
        self.tasks.close();
        let _ = tokio::time::timeout(SHUTDOWN_GRACE_PERIOD, self.tasks.wait()).await;
        Ok(())
    }

    /// Serves one connection at the admin address until either side ends it.
    async fn serve_admin(self, stream: TcpStream) {
        let mut connection = Connection::new(stream);
        loop {
            let request = tokio::select! {
                request = async { if connection.wait_for_request().await { Some(connection.read().await) } else { None } } => request,
                () = self.stop.cancelled() => return,
            };
            let Some(Ok(request)) = request else { return };
            let keep_alive = request.keep_alive;
            let response = admin::respond(&self.service, &self.log, request);
            let bytes = response.to_bytes(Timestamp::now(), keep_alive);
            if !connection.write(&bytes).await || !keep_alive {
                return;
            }
        }
    }

    /// Serves one connection until either side ends it.
    async fn serve(self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let mut connection = Connection::new(stream);
        loop {
            let has_request = tokio::select! {
                biased;
                has_request = connection.wait_for_request() => has_request,
                () = self.stop.cancelled() => false,
            };
            if !has_request {
                return;
            }
            let request = tokio::select! {
                biased;
                request = connection.read() => request,
                () = self.stop.cancelled() => return,
            };
            let arrived = Instant::now();
            match request {
                Ok(request) => {
                    // Close the connection after a HEAD request. The response has a body, and the client would read it
                    // as the start of the next response.
                    let reusable = request.keep_alive && request.method != "HEAD";
                    let keep_alive = reusable && !self.stop.is_cancelled();
                    let Some(exchange) = self.handle_request(request, arrived).await else {
                        let _ = connection.into_stream().set_zero_linger();
                        return;
                    };
                    let reset = exchange.delivery == Delivery::Reset;
                    if !self.send_response(&mut connection, exchange, arrived, keep_alive).await {
                        if reset {
                            let _ = connection.into_stream().set_zero_linger();
                        }
                        return;
                    }
                }
                Err(error) => {
                    let exchange = self.service.reject_malformed(error);
                    self.send_response(&mut connection, exchange, arrived, false).await;
                    connection.close_gracefully().await;
                    return;
                }
            }
        }
    }

    /// Applies a request and returns its response. Returns `None` if the connection must be reset before the request
    /// takes effect.
    async fn handle_request(&self, request: RawRequest, arrived: Instant) -> Option<Exchange> {
        let (incoming, plan) = match self.service.receive(request) {
            Ok(received) => received,
            Err(rejection) => return Some(*rejection),
        };
        if !plan.late.is_zero() {
            tokio::time::sleep(plan.late).await;
        }
        let Some(FaultKind::ResetLate(ms)) = plan.kind else {
            return Some(self.service.handle(incoming, plan));
        };
        let server = self.clone();
        self.tasks.spawn(async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            let mut record = server.service.handle(incoming, plan).record;
            record.duration_ms = elapsed_ms(arrived);
            server.log.add(record).await;
        });
        None
    }

    /// Waits until the latency has passed, logs the record and sends the response. Returns whether the connection stays
    /// open.
    async fn send_response(
        &self,
        connection: &mut Connection<TcpStream>,
        exchange: Exchange,
        arrived: Instant,
        keep_alive: bool,
    ) -> bool {
        let Exchange { response, mut record, delivery, wait, date_error } = exchange;
        if !wait.is_zero() {
            tokio::time::sleep_until((arrived + wait).into()).await;
        }
        record.duration_ms = elapsed_ms(arrived);
        self.log.add(record).await;
        let now = self.service.clock().now();
        let date = now.checked_add(SignedDuration::from_secs(date_error)).unwrap_or(now);
        let keep_alive = keep_alive && delivery == Delivery::Whole;
        let bytes = response.to_bytes(date, keep_alive);
        let sent = match delivery {
            Delivery::Whole => bytes.as_slice(),
            Delivery::Truncated => &bytes[..bytes.len() - response.body.len().div_ceil(2)],
            Delivery::Reset => return false,
        };
        connection.write(sent).await && keep_alive
    }
}
