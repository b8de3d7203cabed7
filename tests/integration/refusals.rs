//! The table of the status contract: what the API answers, and what the object says of it.

use std::time::Duration;

use live_message_operator::decide::finalizer_is_wrong;
use live_message_operator::resources::{ConditionType, LiveMessageGroup};
use serde_json::json;

use crate::support::{EmulatorOptions, Error, Result};
use crate::world::{APP, PATIENCE, World, app, condition, is};

const CREATE: &str = "CreateLiveMessageGroup";
const DESCRIBE: &str = "DescribeLiveMessageGroup";
const MODIFY: &str = "ModifyLiveMessageGroup";

/// `Ready`, and which one of `Reconciling` and `Stalled` is true; both tell the same reason.
fn assert_told(object: &LiveMessageGroup, ready: [&str; 2], going_on: bool, reason: &str) {
    let (on, off) = if going_on {
        (ConditionType::Reconciling, ConditionType::Stalled)
    } else {
        (ConditionType::Stalled, ConditionType::Reconciling)
    };
    assert_eq!(condition(object, ConditionType::Ready), ready, "{object:?}");
    assert_eq!(condition(object, on), ["True", reason], "{object:?}");
    assert_eq!(condition(object, off), ["", ""], "{object:?}");
    assert_eq!(condition(object, ConditionType::Degraded), ["", ""], "{object:?}");
}

fn message(object: &LiveMessageGroup) -> &str {
    object.condition(ConditionType::Ready).map_or("", |condition| &condition.message)
}

#[tokio::test]
async fn failures_that_pass_are_tried_again_and_written_once() -> Result<()> {
    let rows = [
        ("error=500/ServerError", "ServiceError", "Created"),
        ("error=503/ServiceUnavailable", "ServiceError", "Created"),
        ("html=502", "ServiceError", "Created"),
        // These two took effect, and nobody was told.
        ("empty", "ServiceError", "AlreadyExists"),
        ("reset-after", "Unreachable", "AlreadyExists"),
    ];
    let stories = rows.map(|(fault, reason, after)| async move {
        passing(fault, reason, after).await.map_err(|error| Error::new(format!("{fault}: {error}")))
    });
    futures::future::try_join_all(stories).await.map(drop)
}

async fn passing(fault: &str, reason: &str, after: &str) -> Result<()> {
    let mut world = World::with(app()).await?;
    world.start()?;
    world.create("settled", json!({})).await?;
    world.ready("settled", "True", "Created").await?;
    world.emulator.faults(&[&format!("*:{fault}")])?;

    // What was applied stays Ready, and says that a look at it failed.
    let force = json!({"metadata": {"annotations": {"live.alibabacloud.com/reconcile-requested-at": "now"}}});
    world.patch("settled", force).await?;
    world.create("new", json!({})).await?;
    let new = world.ready("new", "Unknown", reason).await?;
    assert_told(&new, ["Unknown", reason], true, reason);
    let settled = world
        .find("the failed look to be told", PATIENCE, async || {
            let settled = world.api.get("settled").await?;
            Ok(Some(settled).filter(|settled| condition(settled, ConditionType::Reconciling)[0] == "True"))
        })
        .await?;
    assert_told(&settled, ["True", "Created"], true, reason);
    assert_eq!(settled.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_deref()), None);

    let tries = world.calls(CREATE, "new")? + 3;
    let tried = async || Ok(world.calls(CREATE, "new")? >= tries);
    world.until("three more tries", PATIENCE, tried).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    for (name, before) in [("new", &new), ("settled", &settled)] {
        let object = world.api.get(name).await?;
        assert_eq!(object.metadata.resource_version, before.metadata.resource_version, "{:?}", object.status);
    }

    world.emulator.faults(&[])?;
    world.ready("new", "True", after).await?;
    world
        .until("the look to be repeated", PATIENCE, async || {
            let settled = world.api.get("settled").await?;
            Ok(condition(&settled, ConditionType::Reconciling) == ["", ""]
                && settled.status.and_then(|status| status.last_handled_reconcile_at).as_deref() == Some("now"))
        })
        .await
}

#[tokio::test]
async fn refusals_that_a_person_must_mend_are_told_and_not_repeated() -> Result<()> {
    refused_for_good("Retain").await
}

#[tokio::test]
async fn nor_are_those_before_which_an_attempt_was_recorded() -> Result<()> {
    // These write twice: the first write's event is no reason for another try.
    refused_for_good("Delete").await
}

async fn refused_for_good(policy: &str) -> Result<()> {
    // An app of its own for each: apps, and permissions in them, are probed once a minute; those rows are the last, so
    // that the end comes before.
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
        assert_told(&object, ["False", reason], false, reason);
        assert!(message(&object).contains(*says), "{}", message(&object));
        names.push(name);
    }
    // A refusal that proves that there is no group, and ends the pass, lets go of the finalizer just after it is told.
    let settled = async || {
        let told = futures::future::try_join_all(names.iter().map(|name| world.api.get(name))).await?;
        let settled = !told.iter().any(|object| is(object, "InvalidInput") && finalizer_is_wrong(object));
        Ok(settled.then_some(told))
    };
    let told = world.find("the finalizers to be let go", PATIENCE, settled).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    for object in &told {
        let name = object.metadata.name.as_deref().unwrap();
        let now = world.api.get(name).await?;
        assert_eq!(now.metadata.resource_version, object.metadata.resource_version, "{:?}", now.status);
        assert_eq!(world.calls(CREATE, name)?, 1, "{name}");
    }

    // An edit is a new reason to try, where the spec is at fault; a restart where something else is.
    world.emulator.faults(&[])?;
    world.patch("g0", json!({"spec": {"groupName": "corrected"}})).await?;
    world.ready("g0", "True", "Created").await?;
    world.stop()?;
    world.start()?;
    for (row, (_, reason, _)) in rows.iter().enumerate().skip(1) {
        let name = format!("g{row}");
        if *reason == "InvalidInput" {
            assert_eq!(world.calls(CREATE, &name)?, 1, "an invalid spec is not tried again without an edit");
        } else {
            world.ready(&name, "True", "Created").await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_mends_itself_at_once_is_not_told_at_all() -> Result<()> {
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
async fn without_the_service_or_without_credentials_objects_wait() -> Result<()> {
    let mut world = World::with(app()).await?;
    world.emulator.process.sigkill()?;
    world.start()?;
    world.create("room", json!({})).await?;
    let room = world.ready("room", "Unknown", "Unreachable").await?;
    assert_told(&room, ["Unknown", "Unreachable"], true, "Unreachable");
    assert!(message(&room).contains("refused"), "{}", message(&room));
    world.replace_emulator(app())?;
    world.ready("room", "True", "Created").await?;

    world.stop()?;
    let right = std::mem::take(&mut world.options.access_key);
    world.start()?;
    world.create("second", json!({})).await?;
    let second = world.ready("second", "False", "CredentialsMissing").await?;
    assert_told(&second, ["False", "CredentialsMissing"], true, "CredentialsMissing");
    assert!(message(&second).contains("ALIBABA_CLOUD_ACCESS_KEY_ID"), "{}", message(&second));
    let room = world.api.get("room").await?;
    assert_eq!(condition(&room, ConditionType::Ready), ["True", "Created"], "it has no work that needs them");
    world.stop()?;
    world.options.access_key = right;
    world.start()?;
    world.ready("second", "True", "Created").await?;
    Ok(())
}

/// Takes a minute: that is how often a cause that many share is probed.
#[tokio::test]
async fn what_many_wait_for_is_probed_by_one_a_minute() -> Result<()> {
    let (app, quota, permission) =
        tokio::join!(an_app_that_comes_later(), a_place_that_comes_free(), a_permission_of_one_operation());
    app.and(quota).and(permission)
}

async fn a_permission_of_one_operation() -> Result<()> {
    const GROUPS: usize = 40;
    let groups = (0..GROUPS).map(|number| format!("{APP}/there{number:02}")).collect();
    let mut world = World::with(EmulatorOptions { groups, ..app() }).await?;
    world.emulator.faults(&["ModifyLiveMessageGroup:error=NoAuth"])?;
    world.start()?;
    for number in 0..GROUPS {
        world.create(&format!("there{number:02}"), json!({"groupInfo": "new"})).await?;
    }
    world.count_of("NotAuthorized", GROUPS, PATIENCE).await?;
    // Whoever needs other permissions only is not held up.
    world.create("new", json!({})).await?;
    world.ready("new", "True", "Created").await?;
    let calls = |operation: &str| Ok::<_, Error>(world.called(operation)?.len());
    let (creates, describes, refused) = (calls(CREATE)?, calls(DESCRIBE)?, calls(MODIFY)?);
    println!("{refused} changes were out when the first one was refused");
    assert!(refused <= GROUPS, "none is tried again: {refused}");
    world.until("the probe", 150, async || Ok(calls(MODIFY)? > refused)).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let now = (calls(CREATE)?, calls(DESCRIBE)?, calls(MODIFY)?);
    assert_eq!(now, (creates + 1, describes + 1, refused + 1), "one of {GROUPS} tries, and what it has to ask before");
    Ok(())
}

async fn an_app_that_comes_later() -> Result<()> {
    let mut world = World::with(app()).await?;
    world.start()?;
    for name in ["one", "two", "three"] {
        world.create(name, json!({"appId": "later"})).await?;
    }
    for object in world.count_of("AppNotFound", 3, PATIENCE).await? {
        assert_told(&object, ["False", "AppNotFound"], false, "AppNotFound");
        assert!(message(&object).contains("\"later\""), "{}", message(&object));
    }
    // The first refusal shuts the gate; what is out by then, a grant every 20 ms, is refused too.
    let refused = world.called(CREATE)?.len();
    assert!(refused <= 3, "{refused} creates");
    let mut state = world.emulator.get("/state")?;
    let mut later = state["apps"][0].clone();
    later["id"] = json!("later");
    state["apps"].as_array_mut().unwrap().push(later);
    world.emulator.set("/state", &state)?;
    world.count_of("Created", 3, 150).await?;
    assert_eq!(world.called(CREATE)?.len(), refused + 3, "one more for each");
    Ok(())
}

async fn a_place_that_comes_free() -> Result<()> {
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
        assert_told(object, ["False", "QuotaExceeded"], false, "QuotaExceeded");
        assert!(message(object).contains(APP), "{}", message(object));
    }
    let creates = world.called(CREATE)?.len();
    assert!(creates <= 5, "{creates} creates");
    world.emulator.set("/limits", &json!({"groupsPerApp": 5}))?;
    world.count_of("Created", 5, 150).await?;
    assert_eq!(world.called(CREATE)?.len(), creates + 3);
    Ok(())
}
