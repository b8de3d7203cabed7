//! Tests of failures of the Live API, and of the status that the operator reports for them.

use std::time::Duration;

use live_message_operator::decide::finalizer_is_wrong;
use live_message_operator::resources::{ConditionType, LiveMessageGroup};
use serde_json::json;

use crate::support::{EmulatorOptions, Error, Result};
use crate::world::{APP, PATIENCE, World, app, condition, is};

const CREATE: &str = "CreateLiveMessageGroup";
const DESCRIBE: &str = "DescribeLiveMessageGroup";
const MODIFY: &str = "ModifyLiveMessageGroup";

/// Asserts the status and reason of `Ready`. Also asserts that `Reconciling` is true with this reason if the operator
/// retries, and that `Stalled` is true with this reason if it does not.
fn assert_reported(object: &LiveMessageGroup, ready: [&str; 2], has_retries: bool, reason: &str) {
    let (present, absent) = if has_retries {
        (ConditionType::Reconciling, ConditionType::Stalled)
    } else {
        (ConditionType::Stalled, ConditionType::Reconciling)
    };
    assert_eq!(condition(object, ConditionType::Ready), ready, "{object:?}");
    assert_eq!(condition(object, present), ["True", reason], "{object:?}");
    assert_eq!(condition(object, absent), ["", ""], "{object:?}");
    assert_eq!(condition(object, ConditionType::Degraded), ["", ""], "{object:?}");
}

fn message(object: &LiveMessageGroup) -> &str {
    object.condition(ConditionType::Ready).map_or("", |condition| &condition.message)
}

#[tokio::test]
async fn transient_failures_are_retried_and_written_once() -> Result<()> {
    let rows = [
        ("error=500/ServerError", "ServiceError", "Created"),
        ("error=503/ServiceUnavailable", "ServiceError", "Created"),
        ("html=502", "ServiceError", "Created"),
        // With these two faults, the call takes effect, but its response is lost.
        ("empty", "ServiceError", "AlreadyExists"),
        ("reset-after", "Unreachable", "AlreadyExists"),
    ];
    let runs = rows.map(|(fault, reason, after)| async move {
        transient_failure(fault, reason, after).await.map_err(|error| Error::new(format!("{fault}: {error}")))
    });
    futures::future::try_join_all(runs).await.map(drop)
}

async fn transient_failure(fault: &str, reason: &str, after: &str) -> Result<()> {
    let mut world = World::with(app()).await?;
    world.start()?;
    world.create("settled", json!({})).await?;
    world.ready("settled", "True", "Created").await?;
    world.emulator.faults(&[&format!("*:{fault}")])?;

    // A settled object stays ready and reports that the forced reconcile failed.
    let force = json!({"metadata": {"annotations": {"live.alibabacloud.com/reconcile-requested-at": "now"}}});
    world.patch("settled", force).await?;
    world.create("new", json!({})).await?;
    let new = world.ready("new", "Unknown", reason).await?;
    assert_reported(&new, ["Unknown", reason], true, reason);
    let settled = world
        .find("the failed reconcile to be reported", PATIENCE, async || {
            let settled = world.api.get("settled").await?;
            Ok(Some(settled).filter(|settled| condition(settled, ConditionType::Reconciling)[0] == "True"))
        })
        .await?;
    assert_reported(&settled, ["True", "Created"], true, reason);
    assert_eq!(settled.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_deref()), None);

    let expected = world.calls(CREATE, "new")? + 3;
    let retried = async || Ok(world.calls(CREATE, "new")? >= expected);
    world.until("three more creates", PATIENCE, retried).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    for (name, before) in [("new", &new), ("settled", &settled)] {
        let object = world.api.get(name).await?;
        assert_eq!(object.metadata.resource_version, before.metadata.resource_version, "{:?}", object.status);
    }

    world.emulator.faults(&[])?;
    world.ready("new", "True", after).await?;
    world
        .until("the reconcile to be repeated", PATIENCE, async || {
            let settled = world.api.get("settled").await?;
            Ok(condition(&settled, ConditionType::Reconciling) == ["", ""]
                && settled.status.and_then(|status| status.last_handled_reconcile_at).as_deref() == Some("now"))
        })
        .await
}

#[tokio::test]
async fn permanent_failures_are_reported_and_not_retried() -> Result<()> {
    permanent_failures("Retain").await
}

#[tokio::test]
async fn permanent_failures_after_an_intent_are_not_retried() -> Result<()> {
    // These passes write the status twice. The watch event for the first write must not cause a retry.
    permanent_failures("Delete").await
}

async fn permanent_failures(policy: &str) -> Result<()> {
    // Each row has its own app, because a failure can block all objects of an app. Rows with such failures come last,
    // so that the test ends before the first probe, which is due after a minute.
    let rows = [
        ("error=400/InputInvalid", "InvalidInput", "InputInvalid"),
        ("error=400/MissingParameter", "InvalidInput", "MissingParameter"),
        ("error=418/SomethingNew", "Rejected", "SomethingNew"),
        ("html=403", "Rejected", "proxy"),
        ("error=403/NoAuth", "NotAuthorized", "live:CreateLiveMessageGroup"),
        ("error=403/Forbidden.RAM", "NotAuthorized", "RAM"),
        ("error=400/ErrorTooManyGroups", "QuotaExceeded", "higher quota"),
        ("error=404/ResourceNotExist", "AppNotFound", "does not exist"),
    ];
    let apps = (0..rows.len()).map(|row| format!("app{row}")).collect();
    let mut world = World::with(EmulatorOptions { apps, ..app() }).await?;
    world.start()?;
    let mut names = Vec::new();
    for (row, (fault, reason, says)) in rows.iter().enumerate() {
        world.emulator.faults(&[&format!("*:{fault}")])?;
        let name = format!("g{row}");
        world.create(&name, json!({"appId": format!("app{row}"), "deletionPolicy": policy})).await?;
        let object = world.ready(&name, "False", reason).await?;
        assert_reported(&object, ["False", reason], false, reason);
        assert!(message(&object).contains(*says), "{}", message(&object));
        names.push(name);
    }
    // If a refusal means that the group does not exist, the finalizer is removed shortly after the status is written.
    let settled = async || {
        let objects = futures::future::try_join_all(names.iter().map(|name| world.api.get(name))).await?;
        let settled = !objects.iter().any(|object| is(object, "InvalidInput") && finalizer_is_wrong(object));
        Ok(settled.then_some(objects))
    };
    let objects = world.find("the finalizers to be removed", PATIENCE, settled).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    for object in &objects {
        let name = object.metadata.name.as_deref().unwrap();
        let now = world.api.get(name).await?;
        assert_eq!(now.metadata.resource_version, object.metadata.resource_version, "{:?}", now.status);
        assert_eq!(world.calls(CREATE, name)?, 1, "{name}");
    }

    // If the spec causes the failure, the operator retries only after an edit. Other failures are also retried
    // after a restart.
    world.emulator.faults(&[])?;
    world.patch("g0", json!({"spec": {"groupName": "corrected"}})).await?;
    world.ready("g0", "True", "Created").await?;
    world.stop()?;
    world.start()?;
    for (row, (_, reason, _)) in rows.iter().enumerate().skip(1) {
        let name = format!("g{row}");
        if *reason == "InvalidInput" {
            assert_eq!(world.calls(CREATE, &name)?, 1, "an invalid spec is not retried without an edit");
        } else {
            world.ready(&name, "True", "Created").await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn immediately_resolved_failures_are_not_reported() -> Result<()> {
    for (faults, calls) in [
        ("error=400/SignatureNonceUsed,times=1", 2),
        ("clock=3600", 2),
        ("clock=-3600", 2),
        ("throttle=300,times=2", 3),
    ] {
        let mut world = World::with(app()).await?;
        world.emulator.faults(&[&format!("{CREATE}:{faults}")])?;
        world.create("room", json!({})).await?;
        world.start()?;
        let mut seen = Vec::new();
        let end = std::time::Instant::now() + Duration::from_secs(PATIENCE);
        while seen.last() != Some(&"Created".to_owned()) && std::time::Instant::now() < end {
            let reason = condition(&world.api.get("room").await?, ConditionType::Ready)[1].to_owned();
            if seen.last() != Some(&reason) {
                seen.push(reason);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        seen.retain(|reason| reason != "Throttled");
        assert_eq!(seen, ["Pending", "Created"], "{faults}\n{}", world.log());
        assert_eq!(world.called(CREATE)?.len(), calls, "{faults}");
    }
    Ok(())
}

#[tokio::test]
async fn objects_wait_for_the_service_and_for_credentials() -> Result<()> {
    let mut world = World::with(app()).await?;
    world.emulator.process.sigkill()?;
    world.start()?;
    world.create("room", json!({})).await?;
    let room = world.ready("room", "Unknown", "Unreachable").await?;
    assert_reported(&room, ["Unknown", "Unreachable"], true, "Unreachable");
    assert!(message(&room).contains("refused"), "{}", message(&room));
    world.replace_emulator(app())?;
    world.ready("room", "True", "Created").await?;

    world.stop()?;
    let right = std::mem::take(&mut world.options.access_key);
    world.start()?;
    world.create("second", json!({})).await?;
    let second = world.ready("second", "False", "CredentialsMissing").await?;
    assert_reported(&second, ["False", "CredentialsMissing"], true, "CredentialsMissing");
    assert!(message(&second).contains("ALIBABA_CLOUD_ACCESS_KEY_ID"), "{}", message(&second));
    let room = world.api.get("room").await?;
    assert_eq!(condition(&room, ConditionType::Ready), ["True", "Created"], "no pending work needs credentials");
    world.stop()?;
    world.options.access_key = right;
    world.start()?;
    world.ready("second", "True", "Created").await?;
    Ok(())
}

/// This test takes more than one minute, because the operator sends one probe per minute.
#[tokio::test]
async fn shared_cause_is_probed_by_one_object_per_minute() -> Result<()> {
    let (app, quota, permission) =
        tokio::join!(app_is_created_later(), quota_is_raised_later(), permission_for_one_operation_is_missing());
    app.and(quota).and(permission)
}

async fn permission_for_one_operation_is_missing() -> Result<()> {
    const GROUPS: usize = 40;
    let groups = (0..GROUPS).map(|number| format!("{APP}/there{number:02}")).collect();
    let mut world = World::with(EmulatorOptions { groups, ..app() }).await?;
    world.emulator.faults(&["ModifyLiveMessageGroup:error=NoAuth"])?;
    world.start()?;
    for number in 0..GROUPS {
        world.create(&format!("there{number:02}"), json!({"groupInfo": "new"})).await?;
    }
    world.count_of("NotAuthorized", GROUPS, PATIENCE).await?;
    // An object that does not need the forbidden operation is not blocked.
    world.create("new", json!({})).await?;
    world.ready("new", "True", "Created").await?;
    let calls = |operation: &str| Ok::<_, Error>(world.called(operation)?.len());
    let (creates, describes, refused) = (calls(CREATE)?, calls(DESCRIBE)?, calls(MODIFY)?);
    println!("{refused} changes were in flight when the first one was refused");
    assert!(refused <= GROUPS, "a refused change is retried: {refused} calls");
    world.until("the probe", 150, async || Ok(calls(MODIFY)? > refused)).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let now = (calls(CREATE)?, calls(DESCRIBE)?, calls(MODIFY)?);
    assert_eq!(now, (creates + 1, describes + 1, refused + 1), "one of {GROUPS} objects sends a probe");
    Ok(())
}

async fn app_is_created_later() -> Result<()> {
    let mut world = World::with(app()).await?;
    world.start()?;
    for name in ["one", "two", "three"] {
        world.create(name, json!({"appId": "later"})).await?;
    }
    for object in world.count_of("AppNotFound", 3, PATIENCE).await? {
        assert_reported(&object, ["False", "AppNotFound"], false, "AppNotFound");
        assert!(message(&object).contains("\"later\""), "{}", message(&object));
    }
    // The first refusal opens the circuit breaker. The operator sends a call every 20 ms, so other calls may already be
    // in flight. These calls are refused too.
    let refused = world.called(CREATE)?.len();
    assert!(refused <= 3, "{refused} creates");
    let mut state = world.emulator.get("/state")?;
    let mut later = state["apps"][0].clone();
    later["id"] = json!("later");
    state["apps"].as_array_mut().unwrap().push(later);
    world.emulator.set("/state", &state)?;
    world.count_of("Created", 3, 150).await?;
    assert_eq!(world.called(CREATE)?.len(), refused + 3, "one more create for each object");
    Ok(())
}

async fn quota_is_raised_later() -> Result<()> {
    let mut world = World::with(EmulatorOptions { args: vec!["--groups-per-app=2".into()], ..app() }).await?;
    world.start()?;
    for name in ["one", "two"] {
        world.create(name, json!({})).await?;
        world.ready(name, "True", "Created").await?;
    }
    for name in ["three", "four", "five"] {
        world.create(name, json!({})).await?;
    }
    let objects = world.count_of("QuotaExceeded", 3, PATIENCE).await?;
    let full: Vec<_> = objects.iter().filter(|object| is(object, "QuotaExceeded")).collect();
    assert_eq!((objects.len(), full.len()), (5, 3));
    for object in &full {
        assert_reported(object, ["False", "QuotaExceeded"], false, "QuotaExceeded");
        assert!(message(object).contains(APP), "{}", message(object));
    }
    let creates = world.called(CREATE)?.len();
    assert!(creates <= 5, "{creates} creates");
    world.emulator.set("/limits", &json!({"groupsPerApp": 5}))?;
    world.count_of("Created", 5, 150).await?;
    assert_eq!(world.called(CREATE)?.len(), creates + 3);
    Ok(())
}
