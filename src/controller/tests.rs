//! The controller over an apiserver that answers as a test says, without a socket: what a real one never does.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::accounts::AccountId;
use super::key::Key;
use super::pass::Pass;
use super::*;
use crate::live::credentials::{Chain, CredentialSource, Issued, Provider, Refusal, Surroundings};
use crate::live::loopback::install_tls;
use crate::live::{ClientOptions, Credentials, Endpoint, Operation};
use crate::resources::LiveMessageGroup;
use crate::telemetry::metrics::Calls;

/// A client whose requests are answered so: by a status and a document.
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

/// A reconciler over such a client, with credentials of the operator's own and a Live API that nobody answers for.
pub(super) fn reconciler(client: Client) -> Arc<Reconciler> {
    reconciler_with(client, CredentialSource::fixed(Credentials::new("id", "secret", None)))
}

fn reconciler_with(client: Client, credentials: CredentialSource) -> Arc<Reconciler> {
    install_tls();
    let endpoint = Endpoint::parse("http://127.0.0.1:9", true).unwrap();
    let live = crate::live::Client::new(endpoint.clone(), ClientOptions::default()).unwrap();
    let account = Account::new(live, credentials, Rate::Unlimited);
    let options = ClientOptions::default();
    let common = Common {
        surroundings: Surroundings::new(|_| None, None, options.http.clone(), true),
        options,
        endpoint,
        allow_http: true,
        rate: Rate::Unlimited,
        number: None,
        calls: Calls::default(),
    };
    let (accounts, _) = Accounts::new(account, common, client.clone());
    let limits = Limits { groups_per_app: GROUPS_PER_APP, release_after: Duration::from_secs(600) };
    let events = Events::start(client.clone());
    Arc::new(Reconciler::new(Objects::new(client), accounts, events, Arc::default(), limits))
}

const PANICS: &str = "controller_runtime_reconcile_panics_total{controller=\"livemessagegroup\"}";

/// What a scrape shows for this name, labels included.
pub(super) fn shown(reconciler: &Reconciler, name: &str) -> Option<f64> {
    let text = reconciler.metrics.render(true).unwrap();
    let line =
        text.lines().find_map(|line| line.strip_prefix("live_message_operator_").unwrap_or(line).strip_prefix(name));
    line.and_then(|value| value.trim().parse().ok())
}

/// An object that no call is made for: its name is no group id.
fn object(name: &str) -> Value {
    json!({
        "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveMessageGroup",
        "metadata": {"namespace": "ns", "name": name, "uid": name, "generation": 1, "resourceVersion": "1"},
        "spec": {"appId": "demo"},
    })
}

#[tokio::test(start_paused = true)]
async fn a_reconcile_that_panics_is_counted_and_neither_the_others_nor_its_next_try_suffer() {
    let written: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
    let (log, reads) = (Arc::clone(&written), Arc::new(AtomicUsize::new(0)));
    let client = apiserver(move |method, path, _| {
        let (log, reads) = (Arc::clone(&log), Arc::clone(&reads));
        async move {
            let name = path.split('/').nth(7).unwrap_or_default().to_owned();
            if method == Method::PATCH && path.ends_with("/status") {
                log.lock().unwrap().insert(name.clone(), Instant::now());
            }
            // Polled by the step itself: a defect deep below it.
            assert!(name != "bad-one" || reads.fetch_add(1, Ordering::Relaxed) > 0, "the first look at bad-one fails");
            (200, object(&name))
        }
    });
    let reconciler = reconciler(client);
    let keys = ["bad-one", "good-one"].map(|name| {
        let object: LiveMessageGroup = serde_json::from_value(object(name)).unwrap();
        let key = Key::of(&object.metadata).unwrap();
        reconciler.index().observe(&key, &object, 0);
        reconciler.work.add(&key, Lane::Change);
        key
    });
    let start = Instant::now();
    let at = |key: &Key| written.lock().unwrap().get(key.name()).map(|at| at.duration_since(start));
    tokio::spawn(work_on(Arc::clone(&reconciler), TaskTracker::new()));
    let releasing = Arc::clone(&reconciler);
    tokio::spawn(async move { releasing.work.release_delayed().await });

    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!((at(&keys[0]), at(&keys[1])), (None, Some(Duration::ZERO)), "the one worker went on with the other one");
    let results = |result: &str| {
        format!("controller_runtime_reconcile_total{{controller=\"livemessagegroup\",result=\"{result}\"}}")
    };
    assert_eq!(shown(&reconciler, PANICS), Some(1.0));
    assert_eq!(shown(&reconciler, &results("error")), Some(1.0));
    assert_eq!(shown(&reconciler, &results("success")), Some(1.0));

    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(at(&keys[0]), Some(Duration::from_secs(60)), "and was looked at again");
    assert_eq!(shown(&reconciler, PANICS), Some(1.0));
}

/// When an object is let go, counted from a start of the operator, whose deletion is said to have waited for its
/// LiveAccount for so long.
async fn let_go_after(waited: Duration) -> Duration {
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
    let reconciler = reconciler(apiserver(move |method, path, body| {
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
    let key = Key::of(&of.metadata).unwrap();
    reconciler.index().observe(&key, &of, 0);
    reconciler.work.add(&key, Lane::Change);
    let start = Instant::now();
    let working = tokio::spawn(work_on(Arc::clone(&reconciler), TaskTracker::new()));
    let delays = tokio::spawn(async move { reconciler.work.release_delayed().await });
    released.notified().await;
    working.abort();
    delays.abort();
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_restarts_goes_on_counting_how_long_a_deletion_has_no_credentials() {
    let minutes = |count: u64| Duration::from_secs(60 * count);
    for (waited, expected) in [(minutes(0), minutes(10)), (minutes(11), minutes(1)), (minutes(1000), minutes(1))] {
        let after = let_go_after(waited).await;
        // Two seconds pass in which it is not missing yet.
        let expected = expected..=expected + Duration::from_secs(4);
        assert!(expected.contains(&after), "{waited:?}: {after:?}");
    }
}

/// Gives a key for five seconds, then none, then one again.
#[derive(Debug, Default)]
struct Fading(AtomicUsize);

impl Provider for Fading {
    fn name(&self) -> &'static str {
        "fading"
    }

    fn issue(&self) -> BoxFuture<'_, Result<Issued, Refusal>> {
        let issued = Issued {
            lifetime: Some(Duration::from_secs(5)),
            ..Issued::lasting(Credentials::new("id", "secret", None))
        };
        let none = self.0.fetch_add(1, Ordering::Relaxed) == 1;
        let issued = if none { Err(Refusal::Failed("none for a moment".to_owned())) } else { Ok(issued) };
        Box::pin(std::future::ready(issued))
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_no_credentials_at_the_moment_of_sending_goes_on_when_they_are_there() {
    let mut new = object("room");
    json_patch::merge(&mut new, &json!({"spec": {"groupId": "room", "deletionPolicy": "Delete"}}));
    new["metadata"]["finalizers"] = json!([crate::resources::FINALIZER]);
    let stored = Arc::new(Mutex::new(new.clone()));
    let client = apiserver(move |method, path, body| {
        let stored = Arc::clone(&stored);
        async move {
            if method == Method::PATCH && path.ends_with("/status") {
                let status = body.as_array().and_then(|body| body.last()).map(|last| last["value"].clone());
                if status.as_ref().is_some_and(|status| !status["attempt"].is_null()) {
                    // The attempt is recorded, and by then the key is good no longer.
                    tokio::time::sleep(Duration::from_secs(8)).await;
                }
                stored.lock().unwrap()["status"] = status.unwrap_or_default();
            }
            (200, stored.lock().unwrap().clone())
        }
    });
    let reconciler = reconciler_with(client, CredentialSource::new(Chain::of(vec![Box::new(Fading::default())])));
    let account = reconciler.accounts.by_id(AccountId::OWN).unwrap();
    account.loaded().await;
    reconciler.places().counted("demo", 0, Some(HashSet::new()));
    let of: LiveMessageGroup = serde_json::from_value(new).unwrap();
    let key = Key::of(&of.metadata).unwrap();
    reconciler.index().observe(&key, &of, 0);
    // It has failed for a while: its next try would be half a minute away.
    let mut pass = Pass::over(&of);
    pass.failures = 10;
    reconciler.keep_pass(&key, pass);
    reconciler.work.add(&key, Lane::Change);
    let (key, lane) = reconciler.work.next().await;
    let (operation, start) = (Operation::Create, Instant::now());
    let permits = account.permit(operation).await;
    let granted = Granted { account: Arc::clone(&account), operation, permits, proven: false };
    Arc::clone(&reconciler).run(key, lane, Some(granted)).await;
    assert_eq!(start.elapsed(), Duration::from_secs(8));
    assert_eq!(shown(&reconciler, "reconcile_failures_total{reason=\"CredentialsMissing\"}"), Some(1.0));

    tokio::spawn(work_on(Arc::clone(&reconciler), TaskTracker::new()));
    tokio::spawn(liveaccounts::end_loads(Arc::clone(&reconciler)));
    let releasing = Arc::clone(&reconciler);
    tokio::spawn(async move { releasing.work.release_delayed().await });
    reconciler.work.someone_ready(Slot { account: AccountId::OWN, operation }).await;
    assert!(start.elapsed() < Duration::from_secs(11), "it waits for a permit again after {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_object_that_may_not_be_read_is_not_asked_for_over_and_over() {
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reads);
    let reconciler = reconciler(apiserver(move |_, path, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403,
            "reason": "Forbidden", "message": format!("{path} is forbidden")});
        std::future::ready((403, status))
    }));
    let of: LiveMessageGroup = serde_json::from_value(object("room")).unwrap();
    let key = Key::of(&of.metadata).unwrap();
    reconciler.index().observe(&key, &of, 0);
    // A sweep has found its group changed.
    reconciler.suspect(&key, reconciler.index().expects(&key));
    tokio::spawn(work_on(Arc::clone(&reconciler), TaskTracker::new()));
    tokio::spawn(async move { reconciler.work.release_delayed().await });
    tokio::time::sleep(Duration::from_secs(600)).await;
    let reads = reads.load(Ordering::Relaxed);
    assert!((15..=28).contains(&reads), "{reads} in ten minutes");
}
