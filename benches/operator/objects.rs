//! Creates thousands of LiveMessageGroups and watches them.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use live_message_operator::resources::LiveMessageGroup;
use serde_json::{Value, json};

use crate::support::{Error, Result};

/// The apps of the emulator. The objects are distributed among them, as in a real account.
pub const APPS: [&str; 3] = ["demo1", "demo2", "demo3"];

/// The maximum number of concurrent requests to the apiserver.
const CONCURRENCY: usize = 16;

/// How long [`one_by_one`] waits after an object is ready before it creates the next one.
const PAUSE: Duration = Duration::from_millis(50);

/// How long [`create_spaced`] waits after it creates an object.
const SPACE: Duration = Duration::from_millis(200);

/// Creates objects without a status.
pub async fn create_new(client: &Client, namespace: &str, count: usize) -> Result<()> {
    let api = Api::<LiveMessageGroup>::namespaced(client.clone(), namespace);
    each(count, async |number| create(&api, number, json!({"groupName": format!("Room {number}")})).await).await
}

/// Creates objects whose status matches their spec, so that the operator makes no call for them.
pub async fn create_settled(client: &Client, namespace: &str, count: usize) -> Result<()> {
    create_with_status(client, namespace, count, |number| {
        let message = format!("Group {} of app {} is live.", name(number), app(number));
        json!({
            "observedGeneration": 1,
            "conditions": [
                condition("Ready", "True", "Created", &message),
                condition("InSync", "True", "InSync", "The group has every field that the spec sets."),
            ],
            "groupId": name(number), "appId": app(number), "origin": "Created",
            "lastRequestId": "A8C7B033-B339-1A58-B0E0-7B9197BA0000",
        })
    })
    .await
}

/// Creates objects whose status says that an earlier call failed. The operator retries them with a lower priority than
/// new objects.
pub async fn create_failed(client: &Client, namespace: &str, count: usize) -> Result<()> {
    create_with_status(client, namespace, count, |_| {
        let failed = condition("Ready", "False", "ServiceError", "The Live API failed.");
        json!({"observedGeneration": 1, "conditions": [failed]})
    })
    .await
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": 1,
        "lastTransitionTime": "2026-01-02T03:04:05Z"})
}

async fn create_with_status(
    client: &Client,
    namespace: &str,
    count: usize,
    status: impl Fn(usize) -> Value,
) -> Result<()> {
    let api = Api::<LiveMessageGroup>::namespaced(client.clone(), namespace);
    let info = "x".repeat(2048);
    each(count, async |number| {
        create(&api, number, json!({"groupName": format!("Room {number}"), "groupInfo": info})).await?;
        let status = json!({"status": status(number)});
        api.patch_status(&name(number), &PatchParams::default(), &Patch::Merge(&status)).await?;
        Ok(())
    })
    .await
}

/// Creates objects, and pauses after each one. Returns the time at which the creation of each object began. The keys
/// are group IDs.
pub async fn create_spaced(
    client: &Client,
    namespace: &str,
    numbers: Range<usize>,
) -> Result<BTreeMap<String, Timestamp>> {
    let api = Api::<LiveMessageGroup>::namespaced(client.clone(), namespace);
    let mut begun = BTreeMap::new();
    for number in numbers {
        begun.insert(name(number), Timestamp::now());
        create(&api, number, json!({"groupName": format!("Room {number}")})).await?;
        tokio::time::sleep(SPACE).await;
    }
    Ok(begun)
}

/// Creates objects one after another, and returns the time from each creation until the object is ready, in seconds.
pub async fn one_by_one(client: &Client, namespace: &str, count: usize) -> Result<Vec<f64>> {
    let api = Api::<LiveMessageGroup>::namespaced(client.clone(), namespace);
    let mut watching = std::pin::pin!(watch(client, namespace));
    let mut times = Vec::new();
    // The first object is not counted, because its time includes starting the watch and opening connections.
    for number in 0..=count {
        let begin = Instant::now();
        create(&api, number, json!({"groupName": format!("Room {number}")})).await?;
        let ready = async {
            while let Some(ready) = watching.try_next().await? {
                if ready == name(number) {
                    return Ok(());
                }
            }
            Err(Error::new("the watch ended"))
        };
        let ready = tokio::time::timeout(Duration::from_secs(30), ready).await;
        ready.map_err(|_| Error::new(format!("object {number} is not ready after 30 s")))??;
        times.push(begin.elapsed().as_secs_f64());
        tokio::time::sleep(PAUSE).await;
    }
    Ok(times.split_off(1))
}

async fn each(count: usize, work: impl AsyncFn(usize) -> Result<()>) -> Result<()> {
    futures::stream::iter(0..count).map(|number| work(number)).buffer_unordered(CONCURRENCY).try_collect().await
}

async fn create(api: &Api<LiveMessageGroup>, number: usize, mut spec: Value) -> Result<()> {
    spec["appId"] = app(number).into();
    let object: LiveMessageGroup = serde_json::from_value(json!({
        "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveMessageGroup",
        "metadata": {"name": name(number)}, "spec": spec,
    }))?;
    api.create(&PostParams::default(), &object).await?;
    Ok(())
}

fn name(number: usize) -> String {
    format!("room{number}")
}

fn app(number: usize) -> &'static str {
    APPS[number % APPS.len()]
}

/// Watches the objects and yields the name of each one that is ready.
pub fn watch(client: &Client, namespace: &str) -> impl Stream<Item = Result<String>> + use<> {
    let api = Api::<LiveMessageGroup>::namespaced(client.clone(), namespace);
    watcher(api, watcher::Config::default()).applied_objects().map_err(Error::from).try_filter_map(|object| {
        let ready = object.ready_reason().is_some_and(|reason| reason.as_str() == "Created");
        async move { Ok(object.metadata.name.filter(|_| ready)) }
    })
}

/// Waits until `count` objects are ready, and returns the time until each is ready, in seconds.
pub async fn all_ready(watching: impl Stream<Item = Result<String>>, count: usize) -> Result<Vec<f64>> {
    let begin = Instant::now();
    let mut watching = std::pin::pin!(watching);
    let mut names = HashSet::new();
    let mut times = Vec::new();
    let all = async {
        while names.len() < count {
            let name = watching.next().await.unwrap_or_else(|| Err(Error::new("the watch ended")))?;
            if names.insert(name) {
                times.push(begin.elapsed().as_secs_f64());
            }
        }
        Ok::<(), Error>(())
    };
    let done = tokio::time::timeout(Duration::from_secs(300), all).await;
    done.map_err(|_| Error::new(format!("{} of {count} objects are ready after 300 s", names.len())))??;
    Ok(times)
}
