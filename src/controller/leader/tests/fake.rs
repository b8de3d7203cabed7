//! An in-memory apiserver that stores one Lease, and simulated processes that compete for the Lease.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use kube::Client;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{ElectionSettings, Elector, Leadership, LeaseLost, Term, name};
use crate::controller::tests::apiserver;
use crate::telemetry::Metrics;

/// How the apiserver treats a request.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Mode {
    #[default]
    Answers,
    /// Requests have no effect and get no answer.
    Silent,
    /// Writes take effect, but get no answer.
    LosesAnswers,
    /// Every request fails with this status.
    Fails(u16),
    /// The namespace does not exist.
    NoNamespace,
}

#[derive(Debug, Default)]
pub struct Server {
    pub mode: Mode,
    /// The stored Lease.
    pub lease: Option<Value>,
    version: u64,
    /// The methods of the received requests.
    pub log: Vec<Method>,
}

pub type Shared = Arc<Mutex<Server>>;

fn status(code: u16, reason: &str) -> (u16, Value) {
    let message = format!("the request failed: {reason}");
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": message}),
    )
}

impl Server {
    pub fn apply(&mut self, method: &Method, mut body: Value) -> (u16, Value) {
        let stored = self.lease.as_ref().map(|lease| lease["metadata"]["resourceVersion"].clone());
        match (method.as_str(), stored) {
            ("POST", _) if self.mode == Mode::NoNamespace => return status(404, "NotFound"),
            ("GET", _) => return self.lease.clone().map_or_else(|| status(404, "NotFound"), |lease| (200, lease)),
            ("POST", Some(_)) => return status(409, "AlreadyExists"),
            ("PUT", None) => return status(404, "NotFound"),
            ("PUT", Some(version)) if body["metadata"]["resourceVersion"] != version => return status(409, "Conflict"),
            ("POST", None) => assert!(body["metadata"]["resourceVersion"].is_null()),
            ("PUT", Some(_)) => {}
            _ => unreachable!("{method}"),
        }
        self.version += 1;
        body["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.lease = Some(body.clone());
        (200, body)
    }

    pub fn holder(&self) -> &str {
        self.lease.as_ref().map_or("", |lease| lease["spec"]["holderIdentity"].as_str().unwrap())
    }
}

/// Creates a client of `server`. `delays` returns two delays in milliseconds: the time until a request takes effect,
/// and the time from then until the answer arrives.
pub fn client(server: &Shared, delays: impl Fn() -> (u64, u64) + Clone + Send + 'static) -> Client {
    let server = Arc::clone(server);
    apiserver(move |method, path, body| {
        let (server, (there, back)) = (Arc::clone(&server), delays());
        async move {
            assert!(path.starts_with("/apis/coordination.k8s.io/v1/namespaces/lmo/leases"), "{path}");
            sleep(Duration::from_millis(there)).await;
            let mode = {
                let mut server = server.lock();
                server.log.push(method.clone());
                server.mode
            };
            let answer = match mode {
                Mode::Silent => std::future::pending().await,
                Mode::Fails(code) => status(code, "Forbidden"),
                Mode::Answers | Mode::LosesAnswers | Mode::NoNamespace => server.lock().apply(&method, body),
            };
            if mode == Mode::LosesAnswers && method != Method::GET {
                return std::future::pending().await;
            }
            sleep(Duration::from_millis(back)).await;
            answer
        }
    })
}

/// A running elector.
pub struct Process {
    pub leadership: Leadership,
    pub may_release: CancellationToken,
    pub task: JoinHandle<Result<(), LeaseLost>>,
    metrics: Arc<Metrics>,
}

pub fn start(client: Client, id: &str) -> Process {
    let (metrics, may_release) = (Arc::<Metrics>::default(), CancellationToken::new());
    let (elector, leadership) =
        Elector::new(client, name(), id.to_owned(), ElectionSettings::default(), Arc::clone(&metrics));
    Process { leadership, may_release: may_release.clone(), task: tokio::spawn(elector.run(may_release)), metrics }
}

pub fn at_once() -> (u64, u64) {
    (0, 0)
}

impl Process {
    pub fn may_send(&self) -> bool {
        self.leadership.may_send(Instant::now())
    }

    pub fn is_reported_as_leader(&self) -> bool {
        let text = self.metrics.render(true).unwrap();
        let value =
            text.lines().find_map(|line| line.strip_prefix("leader_election_master_status{name=\"operator\"} "));
        value.unwrap() == "1.0"
    }

    /// Waits until the process leads, but not longer than an hour.
    pub async fn leads(&self) -> Term {
        timeout(Duration::from_secs(3600), self.leadership.acquired()).await.expect("the process becomes leader")
    }

    /// Waits until the process is deposed, but not longer than an hour.
    pub async fn ends_deposed(self) {
        timeout(Duration::from_secs(3600), self.leadership.deposed()).await.expect("the process is deposed");
        assert!(!self.may_send());
        let error = self.task.await.unwrap().unwrap_err();
        assert_eq!((&*error.namespace, &*error.name), ("lmo", "operator"));
        let text = self.metrics.render(true).unwrap();
        assert!(text.contains("leader_election_master_status{name=\"operator\"} 0.0"), "{text}");
    }
}
