//! Tests of the controller with an in-memory apiserver. Each test defines the responses.

mod credentials;
mod interleavings;
mod memory;
mod objects;
mod unreadable;

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accounts::GrantedPermit;
use super::keys::{AppKey, ObjectKey};
use super::scheduler::{RecordedState, Seen};
use super::*;
use crate::budget::START_DELAY;
use crate::live::credentials::{Chain, CredentialSource, Issued, Provider, ProviderEnv, ProviderError};
use crate::live::loopback::install_tls;
use crate::live::{ClientOptions, Credentials, Endpoint, EndpointPolicy, HttpOptions, Operation};
use crate::resources::{LiveMessageGroup, LiveMessageGroupStatus};
use crate::telemetry::LogFormat;
use crate::telemetry::metrics::Calls;

/// Creates a client of an in-memory apiserver. `answer` returns the status code and the body of each response.
pub(super) fn apiserver<F>(answer: impl Fn(Method, String, Value) -> F + Clone + Send + 'static) -> Client
where
    F: Future<Output = (u16, Value)> + Send + 'static,
{
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = answer.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let body = serde_json::from_slice(&body).unwrap_or_default();
            let (status, document) = answer(head.method, head.uri.path().to_owned(), body).await;
            let answer = Response::builder().status(status).body(Body::from(document.to_string().into_bytes()));
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(answer?)
        }
    });
    Client::new(service, "default")
}

/// A context that uses `client`. The operator has credentials, and the Live API is unreachable.
fn context(client: Client) -> Arc<Context> {
    context_with(client, CredentialSource::fixed(Credentials::new("id", "secret", None)))
}

/// Returns the operator's own account with these credentials, and the settings that all LiveAccounts share. The Live
/// API is unreachable.
fn account_with(credentials: CredentialSource) -> (Account, AccountDefaults) {
    install_tls();
    let endpoint = Endpoint::parse("http://127.0.0.1:9", true).unwrap();
    let live = crate::live::Client::new(endpoint.clone(), ClientOptions::default()).unwrap();
    let account = Account::new(live, credentials, Rate::Unlimited);
    let defaults = AccountDefaults {
        provider_env: ProviderEnv::new(|_| None, None, HttpOptions::default(), true),
        endpoints: EndpointPolicy { own: endpoint, hosts: Vec::new(), allow_http: true },
        rate: Rate::Unlimited,
        number: None,
        calls: Calls::default(),
    };
    (account, defaults)
}

fn limits() -> Limits {
    Limits {
        metric_namespaces: 0,
        max_groups_per_app: DEFAULT_MAX_GROUPS,
        finalizer_timeout: Duration::from_secs(600),
        unreachable_finalizer_timeout: Duration::from_secs(3600),
    }
}

fn context_with(client: Client, credentials: CredentialSource) -> Arc<Context> {
    let (account, defaults) = account_with(credentials);
    let (accounts, events_of_accounts) = Accounts::new(account, defaults, client.clone());
    let limits = limits();
    let (events, sending) = EventSender::new(client.clone(), Leadership::always());
    tokio::spawn(sending);
    let context = Arc::new(Context::new(
        ApiStore::new(client.into(), Leadership::always()),
        accounts,
        events,
        Arc::default(),
        limits,
    ));
    let own = AccountState { service: "live.aliyuncs.com".into(), is_usable: true, namespaces: None };
    context.scheduler.with(|scheduler, _| scheduler.account_changed(&AccountKey::Operator, Some(own)));
    tokio::spawn(account_status::watch_loads(Arc::clone(&context), events_of_accounts.loads));
    context
}

/// The settings of a controller that watches all namespaces and uses no leader election.
fn config(client: Client) -> Config {
    let (account, defaults) = account_with(CredentialSource::fixed(Credentials::new("id", "secret", None)));
    Config {
        connections: client.into(),
        account,
        defaults,
        operator_namespaces: vec!["*".parse().unwrap()],
        namespaces: Vec::new(),
        drift_check_interval: Duration::from_secs(600),
        limits: limits(),
        metrics: Arc::default(),
        readiness: Arc::default(),
        elector: None,
        supervisor: Supervisor::new(CancellationToken::new()),
    }
}

#[tokio::test(start_paused = true)]
async fn task_that_panics_ends_the_controller_by_its_name() {
    for (what, name) in [("livemessagegroups", "LiveMessageGroups"), ("liveaccounts", "LiveAccounts")] {
        let client = apiserver(move |_, path, _| async move {
            // The assertion panics inside the task of the watch, deep in the call stack.
            assert!(!path.ends_with(what), "injected");
            (200, json!({"metadata": {"resourceVersion": "1"}, "items": []}))
        });
        let config = Config { namespaces: vec!["team".to_owned()], ..config(client) };
        let error = tokio::time::timeout(Duration::from_secs(60), run(config)).await.unwrap().unwrap_err();
        let failure = TaskFailure { name: format!("watch of {name} in team").into(), has_panicked: true };
        assert!(matches!(&error, RunError::Task(task) if *task == failure), "{error:?}");
    }
}

/// Observes an object as the watch does.
fn observe(context: &Context, object: &LiveMessageGroup) -> ObjectKey {
    let key = ObjectKey::of(&object.metadata).unwrap();
    let seen = Seen { list: 0, is_initial: false };
    context.scheduler.with(|scheduler, now| scheduler.observe(&key, object, seen, now));
    key
}

/// Starts one worker and the timer.
fn start(context: &Arc<Context>) -> [JoinHandle<()>; 2] {
    let timed = Arc::clone(context);
    let worker = tokio::spawn(reconcile::work(Arc::clone(context), TaskTracker::new()));
    [worker, tokio::spawn(async move { timed.scheduler.run_timer().await })]
}

/// The value of a metric; `name` includes its labels.
fn metric_value(context: &Context, name: &str) -> Option<f64> {
    let text = context.metrics.render(true).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.trim().parse().ok())
}

/// An object without `spec.groupId`. If its name contains a hyphen, the name is not a valid group ID, so no call is
/// made.
fn object(name: &str) -> Value {
    json!({
        "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveMessageGroup",
        "metadata": {"namespace": "ns", "name": name, "uid": name, "generation": 1, "resourceVersion": "1"},
        "spec": {"appId": "demo"},
    })
}

#[tokio::test(start_paused = true)]
async fn panic_in_a_reconcile_affects_one_object() {
    let written: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
    let (log, reads) = (Arc::clone(&written), Arc::new(AtomicUsize::new(0)));
    let client = apiserver(move |method, path, _| {
        let (log, reads) = (Arc::clone(&log), Arc::clone(&reads));
        async move {
            let name = path.split('/').nth(7).unwrap_or_default().to_owned();
            if method == Method::PATCH && path.ends_with("/status") {
                log.lock().unwrap().insert(name.clone(), Instant::now());
            }
            // The assertion panics inside the step, as a defect in the step would.
            assert!(name != "bad-one" || reads.fetch_add(1, Ordering::Relaxed) > 0, "the first read of bad-one panics");
            (200, object(&name))
        }
    });
    let context = context(client);
    let keys = ["bad-one", "good-one"].map(|name| {
        let object: LiveMessageGroup = serde_json::from_value(object(name)).unwrap();
        observe(&context, &object)
    });
    let start_of_test = Instant::now();
    let at = |key: &ObjectKey| written.lock().unwrap().get(key.name()).map(|at| at.duration_since(start_of_test));
    start(&context);

    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(
        (at(&keys[0]), at(&keys[1])),
        (None, Some(Duration::ZERO)),
        "the worker continues with the other object"
    );
    assert_eq!(
        metric_value(&context, "controller_runtime_reconcile_panics_total{controller=\"livemessagegroup\"}"),
        Some(1.0)
    );
    assert_eq!(
        metric_value(&context, "controller_runtime_reconcile_total{controller=\"livemessagegroup\",result=\"error\"}"),
        Some(1.0)
    );
    assert_eq!(
        metric_value(
            &context,
            "controller_runtime_reconcile_total{controller=\"livemessagegroup\",result=\"success\"}"
        ),
        Some(1.0)
    );

    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(at(&keys[0]), Some(Duration::from_secs(60)), "it is reconciled again");
    assert_eq!(
        metric_value(&context, "controller_runtime_reconcile_panics_total{controller=\"livemessagegroup\"}"),
        Some(1.0)
    );
}

/// Starts the operator with an object that is being deleted. The status of the object says that its LiveAccount has
/// been missing for the duration `waited`. Returns how long the operator then takes to remove the finalizer.
async fn released_after(waited: Duration) -> Duration {
    let ago = |ago: Duration| (jiff::Timestamp::now() - ago).to_string();
    let mut deleted = object("room");
    let condition = |kind: &str, status: &str| {
        json!({"type": kind, "status": status, "reason": "CredentialsMissing", "observedGeneration": 2,
            "message": "there is no LiveAccount team in namespace ns: create it, or correct spec.accountRef",
            "lastTransitionTime": ago(waited)})
    };
    json_patch::merge(
        &mut deleted,
        &json!({
            "metadata": {"generation": 2, "deletionTimestamp": ago(waited + Duration::from_secs(120)),
                "finalizers": [crate::resources::FINALIZER]},
            "spec": {"groupId": "room", "deletionPolicy": "Delete", "accountRef": {"name": "team"}},
            "status": {"observedGeneration": 2, "appId": "demo", "groupId": "room", "origin": "Created",
                "conditions": [condition("Ready", "False"), condition("Stalled", "True")]},
        }),
    );
    let (stored, released) = (deleted.clone(), Arc::new(Notify::new()));
    let releasing = Arc::clone(&released);
    let context = context(apiserver(move |method, path, body| {
        let answer = match path.as_str() {
            "/api/v1/namespaces/ns" => {
                json!({"kind": "Namespace", "metadata": {"name": "ns", "deletionTimestamp": "2026-01-01T00:00:00Z"}})
            }
            _ => stored.clone(),
        };
        if method == Method::PATCH && body[2]["path"] == "/metadata/finalizers" {
            releasing.notify_one();
        }
        std::future::ready((200, answer))
    }));
    let of: LiveMessageGroup = serde_json::from_value(deleted).unwrap();
    observe(&context, &of);
    let started = Instant::now();
    let tasks = start(&context);
    released.notified().await;
    tasks.into_iter().for_each(|task| task.abort());
    started.elapsed()
}

#[tokio::test(start_paused = true)]
async fn restart_keeps_the_waiting_time_of_a_deletion() {
    let minutes = |count: u64| Duration::from_secs(60 * count);
    for (waited, expected) in [(minutes(0), minutes(10)), (minutes(11), minutes(1)), (minutes(1000), minutes(1))] {
        let after = released_after(waited).await;
        // A missing LiveAccount is not reported during the first two seconds.
        let expected = expected..=expected + Duration::from_secs(4);
        assert!(expected.contains(&after), "{waited:?}: {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn forbidden_object_is_read_rarely() {
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reads);
    let context = context(apiserver(move |_, path, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403,
            "reason": "Forbidden", "message": format!("{path} is forbidden")});
        std::future::ready((403, status))
    }));
    let of: LiveMessageGroup = serde_json::from_value(object("room")).unwrap();
    let key = observe(&context, &of);
    context.scheduler.with(|scheduler, _| scheduler.mark_drift(&key, RecordedState::None));
    start(&context);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let reads = reads.load(Ordering::Relaxed);
    assert!((15..=28).contains(&reads), "{reads} in ten minutes");
}

/// A writer that stores the log output.
#[derive(Clone, Default)]
pub(super) struct Log(pub(super) Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn process_that_does_not_lead_writes_nothing() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let client = apiserver(move |_, _, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        std::future::ready((200, object("room")))
    });
    let api = ApiStore::new(client.into(), Leadership::leading_until(Some(Instant::now())));
    let of: LiveMessageGroup = serde_json::from_value(object("room")).unwrap();
    let key = ObjectKey::of(&of.metadata).unwrap();
    let finalizer = api.set_finalizer(&key, &of, true).await;
    let status = api.write_status(&key, &of, &LiveMessageGroupStatus::default()).await;
    assert!(matches!((&finalizer, &status), (Err(api::ApiError::NotLeader), Err(api::ApiError::NotLeader))));
    assert_eq!(requests.load(Ordering::Relaxed), 0);
}
