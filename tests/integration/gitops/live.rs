//! Situations that the real operator reaches with the emulator. Each scene stops its operator at the end, so that the
//! objects keep their status.

use live_message_operator::resources::{ConditionType, PAUSED_ANNOTATION, RECONCILE_REQUESTED_AT_ANNOTATION};
use serde_json::{Value, json};

use super::table::Situation;
use crate::support::{ACCESS_KEY, EmulatorOptions, Result};
use crate::world::{PATIENCE, World, app, condition};

/// The title of the initial situation of every object.
pub const FRESH: &str = "just applied, the operator has not seen it";

/// Returns the title, the spec and the final `Ready` condition of each settled situation. `appId` and `groupId` have
/// defaults.
fn settled() -> Vec<(&'static str, Value, [&'static str; 2])> {
    vec![
        ("group created", json!({}), ["True", "Created"]),
        ("group existed, adopted", json!({"groupId": "lobby"}), ["True", "AlreadyExists"]),
        ("adopted, a field that cannot change differs", json!({"groupId": "hall", "groupName": "Hall"}), ADOPTED),
        ("group existed, CreateOnly", json!({"groupId": "yard", "managementPolicy": "CreateOnly"}), ADOPTED),
        ("group recovered", json!({"groupId": "lost", "deletedGroupPolicy": "Recover"}), ["True", "Recovered"]),
        ("group found, Observe", json!({"groupId": "lobby", "managementPolicy": "Observe"}), ["True", "Observed"]),
        (
            "group missing, Observe",
            json!({"groupId": "none", "managementPolicy": "Observe"}),
            ["False", "GroupNotFound"],
        ),
        ("the ID belongs to a deleted group", json!({"groupId": "gone"}), ["False", "GroupDeleted"]),
        ("the app does not exist", json!({"appId": "nowhere"}), ["False", "AppNotFound"]),
        ("the app is full", json!({"appId": "full"}), ["False", "QuotaExceeded"]),
        ("no permission for the app", json!({"appId": "locked"}), ["False", "NotAuthorized"]),
        ("another object owns the group", json!({"groupId": "lobby"}), ["False", "Conflict"]),
    ]
}

const ADOPTED: [&str; 2] = ["True", "AlreadyExists"];
const CREATED: [&str; 2] = ["True", "Created"];

/// A world and the list to which its situations are added.
struct Scene<'a> {
    world: World<'static>,
    situations: &'a mut Vec<Situation>,
}

impl Scene<'_> {
    /// Creates the object of a situation and returns the name of the object.
    async fn add(&mut self, title: &str, spec: Value, metadata: Value) -> Result<String> {
        let situation = Situation::new(title, &self.world.namespace);
        let name = situation.create(&self.world.api, spec, metadata).await?;
        self.situations.push(situation);
        Ok(name)
    }

    /// Creates an object like [`Scene::add`], and waits until it has this `Ready` condition.
    async fn settle(&mut self, title: &str, spec: Value, [status, reason]: [&str; 2]) -> Result<String> {
        let name = self.add(title, spec, json!({})).await?;
        self.world.ready(&name, status, reason).await?;
        Ok(name)
    }

    async fn paused(&self, name: &str) -> Result<()> {
        let paused = async || Ok(condition(&self.world.api.get(name).await?, ConditionType::Paused)[0] == "True");
        self.world.until(&format!("{name} to be paused"), PATIENCE, paused).await
    }
}

/// Adds the situations in which the credentials are valid and the Live API is reachable.
pub async fn main_scene(situations: &mut Vec<Situation>) -> Result<World<'static>> {
    // The quota exceeds the number of groups that this test creates in the app `demo`.
    let quota = 20;
    let full = (0..quota).map(|number| format!("full/group{number}"));
    let world = World::with(EmulatorOptions {
        groups: ["demo/lobby", "demo/hall", "demo/yard", "demo/gone:deleted", "demo/lost:deleted", "locked/group"]
            .map(String::from)
            .into_iter()
            .chain(full)
            .collect(),
        args: vec![format!("--groups-per-app={quota}"), format!("--deny={}/locked", ACCESS_KEY.0)],
        ..app()
    })
    .await?;
    let mut scene = Scene { world, situations };
    scene.world.start()?;
    for (title, spec, ready) in settled() {
        scene.settle(title, spec, ready).await?;
    }
    let pause = json!({"annotations": {PAUSED_ANNOTATION: "true"}});

    let paused = scene.settle("paused", json!({}), CREATED).await?;
    let paused_and_edited = scene.settle("paused, then edited", json!({}), CREATED).await?;
    for name in [&paused, &paused_and_edited] {
        scene.world.patch(name, json!({"metadata": pause})).await?;
        scene.paused(name).await?;
    }
    scene.world.patch(&paused_and_edited, json!({"spec": {"groupInfo": "new"}})).await?;
    let from_the_start = scene.add("paused from the start", json!({}), pause).await?;
    scene.paused(&from_the_start).await?;

    let held = json!({"finalizers": ["example.com/hold"]});
    let deleted = scene.add("being deleted, another controller's finalizer remains", json!({}), held).await?;
    scene.world.ready(&deleted, "True", "Created").await?;
    scene.world.api.delete(&deleted, &Default::default()).await?;

    let edited = scene.settle("edited, the operator has not seen it", json!({}), CREATED).await?;
    scene.world.stop()?;
    scene.world.patch(&edited, json!({"spec": {"groupInfo": "new"}})).await?;
    scene.add(FRESH, json!({}), json!({})).await?;
    Ok(scene.world)
}

/// Adds the situations in which the Live API becomes unreachable.
pub async fn unreachable_scene(situations: &mut Vec<Situation>) -> Result<()> {
    let mut scene = Scene { world: World::new(&[]).await?, situations };
    scene.world.start()?;
    scene.settle("settled, the Live API is unreachable", json!({}), CREATED).await?;
    let edited = scene.settle("edited, the Live API is unreachable", json!({}), CREATED).await?;
    let deleted = json!({"deletionPolicy": "Delete"});
    let deleted = scene.settle("being deleted with its group, the Live API is unreachable", deleted, CREATED).await?;
    let forced = scene.settle("a reconcile pass is requested, the Live API is unreachable", json!({}), CREATED).await?;
    scene.world.emulator.process.sigkill()?;
    scene.world.patch(&edited, json!({"spec": {"groupInfo": "new"}})).await?;
    let request = json!({"metadata": {"annotations": {RECONCILE_REQUESTED_AT_ANNOTATION: "now"}}});
    scene.world.patch(&forced, request).await?;
    scene.world.api.delete(&deleted, &Default::default()).await?;
    let new = scene.add("new, the Live API is unreachable", json!({}), json!({})).await?;
    for name in [&new, &edited] {
        scene.world.ready(name, "Unknown", "Unreachable").await?;
    }
    for name in [&forced, &deleted] {
        let is_reported = async || {
            let object = scene.world.api.get(name).await?;
            Ok(condition(&object, ConditionType::Reconciling) == ["True", "Unreachable"])
        };
        scene.world.until(&format!("{name} to report a failed call"), PATIENCE, is_reported).await?;
    }
    scene.world.kill()
}

/// Adds the situation in which the access key secret is wrong.
pub async fn rejected_scene(situations: &mut Vec<Situation>) -> Result<()> {
    let mut scene = Scene { world: World::new(&[]).await?, situations };
    scene.world.options.access_key.1 = "another-secret".to_owned();
    scene.world.start()?;
    scene.settle("the credentials are rejected", json!({}), ["False", "CredentialsRejected"]).await?;
    scene.world.kill()
}
