//! The steps of the scenario, grouped by topic.

use live_message_operator::live::Call;
use live_message_operator::resources::{ConditionType, LiveMessageGroup};
use serde_json::{Value, json};

use super::Story;
use crate::by_hand::{ByHand, group};
use crate::support::Result;
use crate::world::{PATIENCE, condition, is};

const CREATED: [&str; 2] = ["True", "Created"];
const ADOPTED: [&str; 2] = ["True", "AlreadyExists"];
const RECOVERED: [&str; 2] = ["True", "Recovered"];
const DELETED: [&str; 2] = ["False", "GroupDeleted"];

fn is_paused(object: &LiveMessageGroup) -> bool {
    condition(object, ConditionType::Paused)[0] == "True"
}

fn annotation(name: &str, value: &str) -> Value {
    json!({format!("live.alibabacloud.com/{name}"): value})
}

impl Story<'_> {
    pub(super) async fn edits(&mut self) -> Result<()> {
        self.apply("created", "room", json!({"groupInfo": "v1"}), CREATED).await?;
        self.apply("edited", "room", json!({"groupInfo": "v2"}), CREATED).await?;
        let spec = json!({"groupInfo": "v2", "administrators": ["host1", "host2"]});
        self.apply("administrators added", "room", spec.clone(), CREATED).await?;
        let spec = json!({"groupInfo": "v2", "administrators": ["host2", "host1"]});
        self.apply("administrators in another order", "room", spec.clone(), CREATED).await?;
        self.world.patch("room", json!({"metadata": {"labels": {"team": "events"}}})).await?;
        self.end_step("a label added").await?;
        self.force("room", spec).await?;
        self.end_step("a reconcile pass requested").await
    }

    async fn force(&mut self, name: &str, spec: Value) -> Result<()> {
        let value = format!("request{}", self.steps);
        self.apply_with(name, spec, annotation("reconcile-requested-at", &value)).await?;
        let handled = async || {
            let status = self.world.api.get(name).await?.status;
            Ok(status.and_then(|status| status.last_handled_reconcile_at).as_deref() == Some(value.as_str()))
        };
        self.world.until("the request to be acknowledged", PATIENCE, handled).await
    }

    pub(super) async fn existing_groups(&mut self) -> Result<()> {
        self.apply("adopted as it is", "as-is", json!({"groupId": "hall"}), ADOPTED).await?;
        let spec = json!({"groupId": "hall", "groupInfo": "ours"});
        self.apply("the adopted group edited", "as-is", spec, ADOPTED).await?;
        let spec = json!({"groupInfo": "ours", "groupName": "Yard"});
        self.apply("adopted, a field that cannot change differs", "yard", spec, ADOPTED).await?;
        self.apply("a deleted ID", "lost", json!({"groupInfo": "new"}), DELETED).await?;
        let spec = json!({"groupInfo": "new", "deletedGroupPolicy": "Recover"});
        self.apply("recovered by its policy", "lost", spec, RECOVERED).await
    }

    pub(super) async fn pauses(&mut self) -> Result<()> {
        let paused = annotation("paused", "true");
        let spec = json!({"groupInfo": "v1"});
        self.apply("another object created", "door", spec.clone(), CREATED).await?;
        self.pause("door", spec.clone(), &paused).await?;
        self.end_step("paused").await?;
        self.apply_with("door", spec.clone(), json!({})).await?;
        self.resumed("door").await?;
        self.end_step("resumed").await?;
        self.pause("door", spec, &paused).await?;
        self.end_step("paused again").await?;
        let spec = json!({"groupInfo": "v2"});
        self.apply_with("door", spec.clone(), paused.clone()).await?;
        self.end_step("edited while paused").await?;
        self.apply("resumed after the edit", "door", spec.clone(), CREATED).await?;
        self.pause("door", spec.clone(), &paused).await?;
        ByHand::at(&self.world)?.set_info("door", "theirs").await?;
        self.end_step("changed externally while paused").await?;
        self.apply_with("door", spec, json!({})).await?;
        self.resumed("door").await?;
        self.end_step("resumed after the external change").await
    }

    async fn pause(&mut self, name: &str, spec: Value, annotations: &Value) -> Result<()> {
        self.apply_with(name, spec, annotations.clone()).await?;
        self.world
            .until("the pause to be reported", PATIENCE, async || Ok(is_paused(&self.world.api.get(name).await?)))
            .await
    }

    async fn resumed(&self, name: &str) -> Result<()> {
        let is_resumed = async || Ok(!is_paused(&self.world.api.get(name).await?));
        self.world.until("the pause to end", PATIENCE, is_resumed).await
    }

    pub(super) async fn deletions(&mut self) -> Result<()> {
        self.apply("an object whose group is to be retained", "kept", json!({}), CREATED).await?;
        self.delete("deleted with the default policy, Retain", "kept").await?;
        self.apply("recreated under the old name", "kept", json!({}), ADOPTED).await?;
        self.apply("policy Delete for an adopted group", "kept", json!({"deletionPolicy": "Delete"}), ADOPTED).await?;
        self.delete("deleted: an adopted group is retained", "kept").await?;
        self.apply("an object whose group is to be deleted", "temp", json!({}), CREATED).await?;
        self.apply("switched to Delete", "temp", json!({"deletionPolicy": "Delete"}), CREATED).await?;
        self.delete("deleted with its group", "temp").await?;
        self.apply("the deleted ID requested again", "temp", json!({}), DELETED).await?;
        let spec = json!({"groupId": "temp2"});
        self.apply("the remedy: another groupId", "temp", spec, CREATED).await?;
        let spec = json!({"deletionPolicy": "Delete"});
        self.apply("policy Delete from the start", "brief", spec, CREATED).await?;
        self.apply("switched to Retain", "brief", json!({}), CREATED).await
    }

    pub(super) async fn conflict(&mut self) -> Result<()> {
        let spec = json!({"groupId": "shared", "deletionPolicy": "Delete"});
        self.apply("the owner", "owner", spec, CREATED).await?;
        let spec = json!({"groupId": "shared"});
        self.apply("a second object of the same group", "heir", spec, ["False", "Conflict"]).await?;
        self.world.delete("owner").await?;
        self.manifests.remove("owner");
        self.world.ready("heir", "True", "AlreadyExists").await?;
        self.end_step("handed over").await
    }

    pub(super) async fn other_policies(&mut self) -> Result<()> {
        let observe = |id: &str| json!({"groupId": id, "managementPolicy": "Observe"});
        self.apply("Observe", "watcher", observe("room"), ["True", "Observed"]).await?;
        self.apply("Observe, no group", "nothing", observe("none"), ["False", "GroupNotFound"]).await?;
        let once = |info: &str| json!({"managementPolicy": "CreateOnly", "groupInfo": info});
        self.apply("CreateOnly", "once", once("v1"), CREATED).await?;
        self.apply("CreateOnly, edited", "once", once("v2"), CREATED).await?;
        self.delete("Observe, deleted", "watcher").await?;
        self.delete("Observe without a group, deleted", "nothing").await
    }

    pub(super) async fn external_changes(&mut self) -> Result<()> {
        let hand = ByHand::at(&self.world)?;
        hand.set_info("room", "theirs").await?;
        self.end_step("changed externally").await?;
        let before = self.world.api.get("room").await?.status.and_then(|status| status.last_request_id);
        let again =
            |object: &LiveMessageGroup| object.status.as_ref().is_some_and(|status| status.last_request_id != before);
        self.drift_check("the drift check corrects it", "room", again).await?;
        hand.call(Call::Delete(group("room"))).await?;
        self.end_step("deleted externally").await?;
        self.drift_check("the drift check reports it", "room", |object| is(object, "GroupDeleted")).await?;
        self.days_pass(31)?;
        self.end_step("thirty-one days pass").await?;
        self.force("room", json!({"groupInfo": "v3"})).await?;
        self.world.ready("room", "True", "Created").await?;
        self.end_step("edited when its ID is free again").await?;
        let path = "/groups/demo/room";
        self.world.emulator.delete(path)?;
        let before = self.world.api.get("room").await?.status.and_then(|status| status.last_request_id);
        let again =
            |object: &LiveMessageGroup| object.status.as_ref().is_some_and(|status| status.last_request_id != before);
        self.drift_check("purged without a trace, the drift check recreates it", "room", again).await
    }

    pub(super) async fn failures(&mut self) -> Result<()> {
        self.world.emulator.faults(&["CreateLiveMessageGroup:error=ServerError,times=3"])?;
        self.apply("the service fails three times", "shaky", json!({}), CREATED).await?;
        self.world.emulator.faults(&["ModifyLiveMessageGroup:error=ServerError,times=1"])?;
        self.apply("and once more", "shaky", json!({"groupInfo": "v2"}), CREATED).await?;
        self.apply("an app that does not exist", "astray", json!({"appId": "none"}), ["False", "AppNotFound"]).await?;
        self.apply("corrected", "astray", json!({}), CREATED).await?;
        self.world.emulator.set("/limits", &json!({"groupsPerApp": 1}))?;
        let spec = json!({"appId": "small", "groupId": "second"});
        self.apply("the app is full", "squeezed", spec, ["False", "QuotaExceeded"]).await?;
        self.world.emulator.set("/limits", &json!({"groupsPerApp": 2}))?;
        self.restart().await?;
        self.world.ready("squeezed", "True", "Created").await?;
        self.end_step("the quota was raised, and the operator restarted").await
    }

    pub(super) async fn settled_objects(&mut self) -> Result<()> {
        let start = self.text.len();
        let names: Vec<String> = self.manifests.keys().cloned().collect();
        for name in &names {
            self.apply_again(name).await?;
        }
        self.end_step("the same manifests applied again").await?;
        self.restart().await?;
        self.end_step("the operator restarted").await?;
        self.world.kill()?;
        self.start().await?;
        self.end_step("the operator killed and started").await?;
        let nothing = self.text[start..].lines().all(|line| line.is_empty() || line.starts_with("##"));
        assert!(nothing, "settled objects cause calls or writes\n{}", &self.text[start..]);
        Ok(())
    }
}
