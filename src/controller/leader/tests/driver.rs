//! Tests of the elector with an in-memory apiserver and a paused clock.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use kube::Client;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{ElectionSettings, Elector, Leadership, LeaseLost, Term, identity, name};
use crate::budget::{START_DELAY, TAKEOVER_DELAY};
use crate::controller::tests::apiserver;
use crate::telemetry::Metrics;

/// How the apiserver treats a request.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
enum Mode {
    #[default]
    Answers,
    /// Requests have no effect and get no answer.
    Silent,
    /// Writes take effect, and get no answer.
    LosesAnswers,
    /// Every request fails with this status.
    Fails(u16),
    /// The namespace does not exist.
    NoNamespace,
}

#[derive(Debug, Default)]
struct Server {
    mode: Mode,
    /// The stored Lease.
    lease: Option<Value>,
    version: u64,
    /// Methods of the requests.
    log: Vec<Method>,
}

type Shared = Arc<Mutex<Server>>;

fn status(code: u16, reason: &str) -> (u16, Value) {
    let message = format!("the request failed: {reason}");
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": message}),
    )
}

impl Server {
    fn apply(&mut self, method: &Method, mut body: Value) -> (u16, Value) {
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

    fn holder(&self) -> &str {
        self.lease.as_ref().map_or("", |lease| lease["spec"]["holderIdentity"].as_str().unwrap())
    }
}

/// A client of `server`. `delays` returns the milliseconds before and after a request takes effect.
fn client(server: &Shared, delays: impl Fn() -> (u64, u64) + Clone + Send + 'static) -> Client {
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
struct Process {
    leadership: Leadership,
    may_release: CancellationToken,
    task: JoinHandle<Result<(), LeaseLost>>,
    metrics: Arc<Metrics>,
}

fn start(client: Client, id: &str) -> Process {
    let (metrics, may_release) = (Arc::<Metrics>::default(), CancellationToken::new());
    let (elector, leadership) =
        Elector::new(client, name(), id.to_owned(), ElectionSettings::default(), Arc::clone(&metrics));
    Process { leadership, may_release: may_release.clone(), task: tokio::spawn(elector.run(may_release)), metrics }
}

fn at_once() -> (u64, u64) {
    (0, 0)
}

impl Process {
    fn may_send(&self) -> bool {
        self.leadership.may_send(Instant::now())
    }

    fn is_reported_as_leader(&self) -> bool {
        let text = self.metrics.render(true).unwrap();
        let value =
            text.lines().find_map(|line| line.strip_prefix("leader_election_master_status{name=\"operator\"} "));
        value.unwrap() == "1.0"
    }

    /// Waits until the process leads; at most an hour.
    async fn leads(&self) -> Term {
        timeout(Duration::from_secs(3600), self.leadership.acquired()).await.expect("the process becomes leader")
    }

    /// Waits until the process is deposed; at most an hour.
    async fn is_deposed(self) {
        timeout(Duration::from_secs(3600), self.leadership.deposed()).await.expect("the process is deposed");
        assert!(!self.may_send());
        let error = self.task.await.unwrap().unwrap_err();
        assert_eq!((&*error.namespace, &*error.name), ("lmo", "operator"));
        let text = self.metrics.render(true).unwrap();
        assert!(text.contains("leader_election_master_status{name=\"operator\"} 0.0"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn first_process_leads_and_renews_without_reading() {
    let server = Shared::default();
    let process = start(client(&server, at_once), "one");
    assert!(!process.may_send() && !process.is_reported_as_leader());
    let started = Instant::now();
    let term = process.leads().await;
    assert_eq!(term.acquired, started);
    assert_eq!(term.first_permit_at, started + TAKEOVER_DELAY);
    sleep(Duration::from_secs(3600) + Duration::from_millis(1)).await;
    assert!(process.may_send() && process.is_reported_as_leader());
    let log = server.lock().log.clone();
    assert_eq!(log[..3], [Method::GET, Method::POST, Method::PUT]);
    assert!(log[2..].iter().all(|method| method == Method::PUT));
    assert_eq!(log.len(), 2 + 1800);
}

#[tokio::test(start_paused = true)]
async fn standby_takes_over_when_the_lease_expires() {
    let server = Shared::default();
    let one = start(client(&server, at_once), "one");
    one.leads().await;
    let two = start(client(&server, at_once), "two");
    sleep(Duration::from_millis(20_500)).await;
    assert!(!two.may_send());
    // Killed half a second after a renewal.
    one.task.abort();
    let killed = Instant::now();
    let term = two.leads().await;
    assert!(two.may_send() && !one.may_send());
    let waited = (term.acquired - killed).as_secs_f64();
    // The standby read the last renewal up to 2.4 s later.
    assert!((14.5..=16.9).contains(&waited), "{waited}");
    let server = server.lock();
    assert_eq!((server.holder(), &server.lease.as_ref().unwrap()["spec"]["leaseTransitions"]), ("two", &json!(1)));
}

#[tokio::test(start_paused = true)]
async fn silent_apiserver_deposes_at_the_deadline() {
    let server = Shared::default();
    let process = start(client(&server, at_once), "one");
    let term = process.leads().await;
    sleep(Duration::from_secs(3)).await;
    server.lock().mode = Mode::Silent;
    // The last renewal was sent 2 s after the first one.
    let deadline = term.acquired + Duration::from_secs(12);
    sleep(Duration::from_millis(8_999)).await;
    assert!(process.may_send());
    process.is_deposed().await;
    assert_eq!(Instant::now(), deadline);
}

#[tokio::test(start_paused = true)]
async fn handle_ends_at_the_deadline_without_its_elector() {
    let server = Shared::default();
    let process = start(client(&server, at_once), "one");
    let term = process.leads().await;
    process.task.abort();
    timeout(Duration::from_secs(60), process.leadership.deposed()).await.unwrap();
    assert_eq!(Instant::now(), term.acquired + Duration::from_secs(10));
    assert!(!process.may_send());
}

#[tokio::test(start_paused = true)]
async fn leader_survives_an_outage_shorter_than_the_deadline() {
    let server = Shared::default();
    let process = start(client(&server, at_once), "one");
    process.leads().await;
    for mode in [Mode::Silent, Mode::LosesAnswers, Mode::Fails(403), Mode::Fails(500)] {
        server.lock().mode = mode;
        sleep(Duration::from_secs(6)).await;
        server.lock().mode = Mode::Answers;
        sleep(Duration::from_secs(6)).await;
        assert!(process.may_send() && process.is_reported_as_leader(), "{mode:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn lost_answer_to_the_first_write_is_found_by_reading() {
    let server = Shared::default();
    server.lock().mode = Mode::LosesAnswers;
    let process = start(client(&server, at_once), "one");
    sleep(Duration::from_secs(4)).await;
    assert_eq!(server.lock().holder(), "one");
    assert!(!process.may_send(), "it does not know");
    server.lock().mode = Mode::Answers;
    process.leads().await;
    assert!(process.may_send() && process.is_reported_as_leader());
    assert_eq!(server.lock().lease.as_ref().unwrap()["spec"]["leaseTransitions"], 0);
}

#[tokio::test(start_paused = true)]
async fn conflict_with_another_holder_deposes_at_once() {
    let server = Shared::default();
    let process = start(client(&server, at_once), "one");
    process.leads().await;
    sleep(Duration::from_secs(1)).await;
    {
        let mut server = server.lock();
        let mut lease = server.lease.clone().unwrap();
        lease["spec"]["holderIdentity"] = json!("intruder");
        assert_eq!(server.apply(&Method::PUT, lease).0, 200);
    }
    let changed = Instant::now();
    process.is_deposed().await;
    assert_eq!(changed.elapsed(), Duration::from_secs(1), "at the next renewal");
    assert_eq!(server.lock().holder(), "intruder");
}

#[tokio::test(start_paused = true)]
async fn conflict_with_an_edit_of_metadata_is_read_again() {
    let server = Shared::default();
    let process = start(client(&server, at_once), "one");
    process.leads().await;
    sleep(Duration::from_secs(1)).await;
    {
        let mut server = server.lock();
        let mut lease = server.lease.clone().unwrap();
        lease["metadata"]["labels"] = json!({"team": "live"});
        assert_eq!(server.apply(&Method::PUT, lease).0, 200);
        server.log.clear();
    }
    sleep(Duration::from_millis(1_500)).await;
    assert!(process.may_send());
    let server = server.lock();
    assert_eq!(server.log, [Method::PUT, Method::GET, Method::PUT]);
    assert_eq!(server.lease.as_ref().unwrap()["metadata"]["labels"]["team"], "live");
}

#[tokio::test(start_paused = true)]
async fn deleted_lease_stays_with_its_leader() {
    let server = Shared::default();
    let one = start(client(&server, at_once), "one");
    one.leads().await;
    let two = start(client(&server, at_once), "two");
    for _ in 0..20 {
        sleep(Duration::from_millis(4_700)).await;
        server.lock().lease = None;
    }
    sleep(Duration::from_secs(5)).await;
    assert!(one.may_send() && !two.may_send());
    assert_eq!(server.lock().holder(), "one");
}

#[tokio::test(start_paused = true)]
async fn shutdown_releases_the_lease_to_the_standby() {
    let server = Shared::default();
    let one = start(client(&server, at_once), "one");
    one.leads().await;
    let two = start(client(&server, at_once), "two");
    sleep(Duration::from_secs(9)).await;
    let stopped = Instant::now();
    one.may_release.cancel();
    assert_eq!(one.task.await.unwrap(), Ok(()));
    assert!(!one.leadership.may_send(Instant::now()));
    assert_eq!(server.lock().holder(), "");
    assert_eq!(server.lock().lease.as_ref().unwrap()["spec"]["leaseDurationSeconds"], 1);
    let never = timeout(Duration::from_secs(60), one.leadership.deposed()).await;
    assert!(never.is_err(), "a released lease is not a lost one");
    let term = two.leads().await;
    assert!(term.acquired - stopped <= Duration::from_millis(2_400), "{:?}", term.acquired - stopped);
}

#[tokio::test(start_paused = true)]
async fn standby_that_stops_does_not_touch_the_lease() {
    let server = Shared::default();
    let one = start(client(&server, at_once), "one");
    one.leads().await;
    let two = start(client(&server, at_once), "two");
    sleep(Duration::from_secs(9)).await;
    let before = server.lock().lease.clone();
    two.may_release.cancel();
    assert_eq!(two.task.await.unwrap(), Ok(()));
    assert_eq!(server.lock().lease, before);
}

#[tokio::test(start_paused = true)]
async fn process_gives_up_before_it_sends_the_release() {
    let server = Shared::default();
    let process = start(client(&server, || (100, 100)), "one");
    process.leads().await;
    process.may_release.cancel();
    sleep(Duration::from_millis(50)).await;
    assert_eq!(server.lock().holder(), "one");
    assert!(!process.may_send() && !process.is_reported_as_leader());
    sleep(Duration::from_millis(100)).await;
    assert_eq!(server.lock().holder(), "");
}

#[tokio::test(start_paused = true)]
async fn refusals_are_retried_until_the_permission_exists() {
    for mode in [Mode::Fails(403), Mode::NoNamespace, Mode::Silent] {
        let server = Shared::default();
        server.lock().mode = mode;
        let process = start(client(&server, at_once), "one");
        sleep(Duration::from_secs(60)).await;
        let requests = server.lock().log.len();
        assert!((7..=60).contains(&requests), "{mode:?}: {requests} requests");
        server.lock().mode = Mode::Answers;
        timeout(Duration::from_secs(8), process.leadership.acquired()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn process_without_election_leads_from_the_start() {
    let leadership = Leadership::always();
    let term = leadership.acquired().await;
    assert_eq!(term.first_permit_at - term.acquired, START_DELAY);
    assert!(leadership.may_send(Instant::now() + Duration::from_secs(86_400)));
    assert!(timeout(Duration::from_secs(86_400), leadership.deposed()).await.is_err());
}

#[test]
fn identities_of_one_pod_differ() {
    let [one, two] = [(); 2].map(|()| identity("operator-0"));
    assert!(one.starts_with("operator-0_") && one.len() == "operator-0_".len() + 16, "{one}");
    assert_ne!(one, two);
}

/// Processes that start, stop, crash and lose their apiserver at random never lead at the same time.
#[tokio::test(start_paused = true)]
async fn random_schedules_have_at_most_one_leader() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let server = Shared::default();
        let network = Arc::new(Mutex::new(fastrand::Rng::with_seed(seed + 1000)));
        let delays = move || {
            let mut random = network.lock();
            // One request in ten is so slow that its sender gives up.
            let longest = if random.u8(0..10) == 0 { 9_000 } else { 400 };
            (random.u64(0..longest), random.u64(0..longest))
        };
        let (mut processes, mut terms) = (Vec::new(), 0);
        let mut led = false;
        for step in 0..2_000 {
            while processes.len() < 2 {
                processes.push(start(client(&server, delays.clone()), &format!("{step}-{}", processes.len())));
            }
            sleep(Duration::from_millis(random.u64(1..400))).await;
            let leaders = processes.iter().filter(|process| process.may_send()).count();
            assert!(leaders <= 1, "seed {seed}, step {step}");
            terms += usize::from(leaders == 1 && !led);
            led = leaders == 1;
            match random.u8(0..100) {
                0 => {
                    let process = processes.swap_remove(random.usize(0..2));
                    process.task.abort();
                    // A killed process has no handle that could lead.
                }
                1 => processes[random.usize(0..2)].may_release.cancel(),
                2 => server.lock().mode = [Mode::Silent, Mode::LosesAnswers, Mode::Fails(500)][random.usize(0..3)],
                3..8 => server.lock().mode = Mode::Answers,
                _ => {}
            }
            processes.retain(|process| !process.task.is_finished());
        }
        assert!(terms >= 3, "seed {seed}: {terms} terms");
    }
}
