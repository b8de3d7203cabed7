//! The server: sockets, connections, shutdown. It runs on a thread and a runtime of its own, so that a test's paused
//! clock or busy executor does not reach it.

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

/// How long requests under way at a shutdown may still take.
const GRACE: Duration = Duration::from_secs(10);

/// Starts emulators.
#[derive(Debug)]
pub struct Emulator;

impl Emulator {
    /// For tests: an emulator on a free port of 127.0.0.1, step by step.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts an emulator. When this returns, it accepts connections.
    ///
    /// # Errors
    ///
    /// When it cannot listen on the address, or open the request log.
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
                tracing::error!(%error, "the emulator stopped");
            }
            log.close();
        })?;
        Ok(Handle { address, admin_address, metadata_address, service, log, stop, thread: Some(thread) })
    }
}

fn bind(address: &str) -> io::Result<TcpListener> {
    let explain = |error: io::Error| {
        let hint = "give another address of this machine, with port 0 for a free port";
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}: {hint}"))
    };
    let addresses: Vec<SocketAddr> = address.to_socket_addrs().map_err(explain)?.collect();
    let listener = TcpListener::bind(addresses.as_slice()).map_err(explain)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A running emulator. It stops when this is dropped.
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
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it can be steered, if anywhere; see [`super::admin`].
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// The second address, if there is one: for clients that look for the metadata service there.
    pub fn metadata_address(&self) -> Option<SocketAddr> {
        self.metadata_address
    }

    /// `http://ADDR:PORT`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The newest records of the request log, oldest first. The record of a request is there before its answer.
    pub fn request_log(&self) -> Vec<Record> {
        self.log.recent_records()
    }

    /// Empties the memory of the request log.
    pub fn clear_request_log(&self) {
        self.log.clear();
    }

    /// Looks at the state, or changes it behind the clients' back. No request is served meanwhile.
    pub fn with_state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.service.core().state)
    }

    /// A copy of a group, live or deleted.
    pub fn group(&self, app: &str, id: &str) -> Option<Group> {
        self.with_state(|state| state.app(app)?.group(id).cloned())
    }

    /// Adds an access key, or replaces the one with its id: a rotation.
    pub fn put_key(&self, key: super::verify::AccessKey) {
        self.service.core().verifier.put_key(key);
    }

    /// Forgets an access key.
    pub fn remove_key(&self, id: &str) {
        self.service.core().verifier.remove_key(id);
    }

    /// Changes the calls a second per account and operation; 0 for no limit.
    pub fn set_requests_per_second(&self, limit: usize) {
        self.service.core().limit.set_limit(limit);
    }

    /// Lets calls refused by this limit count in it too, or no longer.
    pub fn set_count_refused(&self, count: bool) {
        self.service.core().limit.set_count_refused(count);
    }

    /// Puts other faults in force.
    pub fn set_faults(&self, faults: Vec<super::fault::Fault>) {
        self.service.core().faults.set_rules(faults);
    }

    /// Changes what every answer waits.
    pub fn set_latency(&self, latency: Duration) {
        self.service.core().latency = latency;
    }

    /// The emulator's clock.
    pub fn clock(&self) -> &super::clock::Clock {
        self.service.clock()
    }

    /// Stops: no new connection, requests under way are answered (at most 10 s), every line of the request log is
    /// written. Blocks until then, and hands out the state as it was left.
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

/// Accepts connections until the stop.
async fn accept<F: Future<Output = ()> + Send + 'static>(
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
            // Out of file descriptors, or a connection gone before it was accepted: go on after a breath.
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
    /// Connections, and requests that take effect after theirs.
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
                accept(&metadata, &server.stop, &server.tasks, serve).await;
            });
        }
        if let Some(admin) = admin {
            let admin = tokio::net::TcpListener::from_std(admin)?;
            let server = self.clone();
            self.tasks.spawn(async move {
                let serve = |stream| server.clone().serve_admin(stream);
                accept(&admin, &server.stop, &server.tasks, serve).await;
            });
        }
        let listener = tokio::net::TcpListener::from_std(listener)?;
        accept(&listener, &self.stop, &self.tasks, |stream| self.clone().serve(stream)).await;
        drop(listener);
        self.tasks.close();
        let _ = tokio::time::timeout(GRACE, self.tasks.wait()).await;
        Ok(())
    }

    /// Serves one connection at the admin address.
    async fn serve_admin(self, stream: TcpStream) {
        let mut connection = Connection::new(stream);
        loop {
            let request = tokio::select! {
                request = async { if connection.wait().await { Some(connection.read().await) } else { None } } => request,
                () = self.stop.cancelled() => return,
            };
            let Some(Ok(request)) = request else { return };
            let keep_alive = request.keep_alive;
            let response = admin::answer(&self.service, &self.log, request);
            let bytes = response.bytes(Timestamp::now(), keep_alive);
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
            let more = tokio::select! {
                biased;
                more = connection.wait() => more,
                () = self.stop.cancelled() => false,
            };
            if !more {
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
                    // A body sent in answer to HEAD would be taken for the next answer.
                    let reusable = request.keep_alive && request.method != "HEAD";
                    let keep_alive = reusable && !self.stop.is_cancelled();
                    let Some(exchange) = self.take_effect(request, arrived).await else {
                        let _ = connection.into_stream().set_zero_linger();
                        return;
                    };
                    let reset = exchange.delivery == Delivery::Reset;
                    if !self.deliver(&mut connection, exchange, arrived, keep_alive).await {
                        if reset {
                            let _ = connection.into_stream().set_zero_linger();
                        }
                        return;
                    }
                }
                Err(error) => {
                    let exchange = self.service.answer_unreadable(error);
                    self.deliver(&mut connection, exchange, arrived, false).await;
                    connection.close_gently().await;
                    return;
                }
            }
        }
    }

    /// The answer to a request that took effect; `None` when the connection is to be reset first.
    async fn take_effect(&self, request: RawRequest, arrived: Instant) -> Option<Exchange> {
        let (incoming, plan) = match self.service.receive(request) {
            Ok(received) => received,
            Err(refusal) => return Some(*refusal),
        };
        if !plan.late.is_zero() {
            tokio::time::sleep(plan.late).await;
        }
        let Some(FaultKind::ResetLate(ms)) = plan.kind else {
            return Some(self.service.answer(incoming, plan));
        };
        let server = self.clone();
        self.tasks.spawn(async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            let mut record = server.service.answer(incoming, plan).record;
            record.duration_ms = elapsed_ms(arrived);
            server.log.add(record).await;
        });
        None
    }

    /// Waits the latency, logs and answers; whether the connection can be used again.
    async fn deliver(
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
        let bytes = response.bytes(date, keep_alive);
        let sent = match delivery {
            Delivery::Whole => bytes.as_slice(),
            Delivery::Truncated => &bytes[..bytes.len() - response.body.len().div_ceil(2)],
            Delivery::Reset => return false,
        };
        connection.write(sent).await && keep_alive
    }
}
