//! `LiveMessageGroup`: one message group of Alibaba Cloud Live.
//!
//! The doc comments of the fields are what `kubectl explain` shows; the admission rules stand in [`rules`].

mod status;
#[cfg(test)]
mod tests;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::policy::{DeletedGroupPolicy, DeletionPolicy, ManagementPolicy};
use super::{
    ABANDON_ANNOTATION, ConditionType, FINALIZER, NameRef, PAUSED_ANNOTATION, RECONCILE_REQUESTED_AT_ANNOTATION, Reason,
};
use super::{rules, schema};
pub use status::{CreateIntent, LastFailure, LiveMessageGroupStatus, Origin};

/// The longest value of `status.lastHandledReconcileAt`, in characters.
pub(super) const RECONCILE_AT_MAX_CHARS: usize = 256;

/// What the group should be. Only the fields present here are managed; a field left out stays as the Live API has it.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "live.alibabacloud.com",
    version = "v1alpha1",
    kind = "LiveMessageGroup",
    plural = "livemessagegroups",
    shortname = "lmg",
    category = "alibabacloud",
    namespaced,
    status = "LiveMessageGroupStatus",
    derive = "PartialEq",
    doc = "One message group of Alibaba Cloud Live (interactive messaging): the operator creates it in its app and keeps it as the spec says.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        description = "Whether the group is as the spec says",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        description = "Why, in one word",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(
        name = "Group-ID",
        type_ = "string",
        description = "The id of the group in the Live API",
        json_path = ".status.groupId"
    ),
    printcolumn(name = "Age", type_ = "date", description = "Since the object was made, not the group", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "App",
        type_ = "string",
        description = "The app that holds the group",
        json_path = ".spec.appId",
        priority = 1
    ),
    printcolumn(
        name = "Origin",
        type_ = "string",
        description = "How the group came to be managed by this object",
        json_path = ".status.origin",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        description = "What happened, and what to do",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    ),
    selectable = ".spec.appId",
    selectable = ".spec.groupId",
    validation = rules::group_id_or_name(),
    validation = rules::fixed("appId"),
    validation = rules::fixed("groupId"),
    validation = rules::fixed("dataCenter"),
    validation = rules::fixed("groupName"),
    validation = rules::fixed("creatorId")
)]
#[x_kube(
    validation = rules::app_id(),
    validation = rules::group_id(),
    validation = rules::group_name(),
    validation = rules::creator_id(),
    validation = rules::group_info(),
    validation = rules::administrators(),
    validation = rules::administrators_differ(),
    validation = rules::account_ref()
)]
#[serde(rename_all = "camelCase")]
pub struct LiveMessageGroupSpec {
    /// The app that holds the group: its AppId, 1 to 64 characters, as the Live console or ListLiveMessageApps
    /// shows it. The app must exist; the operator does not create apps.
    /// Part of the group's identity: it cannot be changed once the group may exist.
    #[schemars(length(max = 64))]
    pub app_id: String,

    /// The id of the group in its app: 1 to 64 letters and digits. Left out, metadata.name is the id and must
    /// itself be letters and digits only (so without "-" and ".").
    /// Part of the group's identity: it can be neither changed, added nor removed once the group may exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub group_id: Option<String>,

    /// The data center of the group. It must be the app's own; left out, the app's is taken.
    /// Part of the group's identity: it can be neither changed, added nor removed once the group may exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::data_center")]
    pub data_center: Option<DataCenter>,

    /// The display name of the group: 1 to 128 bytes of UTF-8 (a Chinese character takes 3 bytes, an emoji 4).
    /// Left out, the group is created without a name.
    /// The Live API cannot change it: it can be neither changed, added nor removed once the group may exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub group_name: Option<String>,

    /// The user id of the group's creator: 1 to 64 letters and digits. Left out, none is recorded.
    /// The Live API cannot change it: it can be neither changed, added nor removed once the group may exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub creator_id: Option<String>,

    /// Free text for the clients of the group (an announcement, or JSON): at most 32768 bytes of UTF-8.
    /// It may be changed at any time and is then modified in the group. The empty text clears it; left out, it is
    /// not managed and stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32768))]
    pub group_info: Option<String>,

    /// The user ids of the group's administrators: up to 3 different ids of 1 to 64 letters and digits each, in
    /// any order. It may be changed at any time and then replaces the group's whole list. The empty list removes
    /// all administrators; left out, they are not managed and stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 3), inner(length(max = 64)))]
    pub administrators: Option<Vec<String>>,

    /// The LiveAccount of this namespace whose credentials the calls are made with. Left out, they are the operator's
    /// own. May be changed at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::account_ref")]
    pub account_ref: Option<NameRef>,

    /// What the operator may do to the group: Manage (create or adopt it, and keep groupInfo and administrators as
    /// they are here), CreateOnly (create or adopt it, create it again when it is gone, never modify it) or Observe
    /// (only look: nothing is created, modified, recovered or deleted). Left out, it is Manage. May be changed at
    /// any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::management_policy")]
    pub management_policy: Option<ManagementPolicy>,

    /// What happens to the group when this object is deleted: Retain (it stays) or Delete (it is deleted if this
    /// object created it; an adopted or recovered group stays all the same). Left out, it is Retain: deleting a group
    /// closes a live room for all its users and blocks its id for about 30 days. May be changed at any time and is
    /// read at the deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::deletion_policy")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// What happens when the group is found deleted in the Live API: Report (the object becomes Degraded, with the
    /// reason GroupDeleted) or Recover (the group is brought back, which the API allows for about 30 days). Left out,
    /// it is Report. May be changed at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::deleted_group_policy")]
    pub deleted_group_policy: Option<DeletedGroupPolicy>,
}

/// The data centers of the Live API's message groups (source: CreateLiveMessageGroup, parameter `DataCenter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DataCenter {
    /// Shanghai.
    #[serde(rename = "cn-shanghai")]
    CnShanghai,
    /// Singapore.
    #[serde(rename = "ap-southeast-1")]
    ApSoutheast1,
}

impl DataCenter {
    /// Every data center.
    pub const ALL: &'static [DataCenter] = &[DataCenter::CnShanghai, DataCenter::ApSoutheast1];

    /// The value of the API's `DataCenter` parameter.
    pub const fn as_str(self) -> &'static str {
        match self {
            DataCenter::CnShanghai => "cn-shanghai",
            DataCenter::ApSoutheast1 => "ap-southeast-1",
        }
    }
}

impl LiveMessageGroup {
    /// The effective group id: `spec.groupId`, or `metadata.name` where that is left out.
    /// `None` only for an object without a name, which no apiserver returns.
    pub fn group_id(&self) -> Option<&str> {
        self.spec.group_id.as_deref().or(self.metadata.name.as_deref())
    }

    /// The recorded condition of this type.
    pub fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        self.status.as_ref()?.condition(kind)
    }

    /// The reason of the recorded `Ready` condition; `None` when absent or not known to this version.
    pub fn ready_reason(&self) -> Option<Reason> {
        self.condition(ConditionType::Ready)?.reason.parse().ok()
    }

    /// Whether the Live API ignored a change of this field in this very generation: it is not sent again before the spec
    /// changes or a reconcile is requested.
    pub fn is_ignored(&self, field: &str) -> bool {
        let is_recorded = self.condition(ConditionType::InSync).is_some_and(|sync| {
            sync.reason == Reason::UpdateIgnored.as_str() && sync.observed_generation == self.metadata.generation
        });
        let failure = self.status.as_ref().and_then(|status| status.last_failure.as_ref());
        is_recorded && failure.is_some_and(|failure| failure.fields.iter().any(|ignored| ignored == field))
    }

    /// The recorded origin.
    pub fn origin(&self) -> Option<&Origin> {
        self.status.as_ref()?.origin.as_ref()
    }

    /// Whether the object is paused: the annotation's value is exactly `true`.
    pub fn is_paused(&self) -> bool {
        self.annotation(PAUSED_ANNOTATION) == Some("true")
    }

    /// The value of the force annotation, cut to the 256 characters that `status.lastHandledReconcileAt` holds.
    pub fn reconcile_requested_at(&self) -> Option<&str> {
        let value = self.annotation(RECONCILE_REQUESTED_AT_ANNOTATION)?;
        Some(value.char_indices().nth(RECONCILE_AT_MAX_CHARS).map_or(value, |(cut, _)| &value[..cut]))
    }

    /// `spec.managementPolicy`, or its default.
    pub fn management_policy(&self) -> ManagementPolicy {
        self.spec.management_policy.unwrap_or_default()
    }

    /// `spec.deletionPolicy`, or its default.
    pub fn deletion_policy(&self) -> DeletionPolicy {
        self.spec.deletion_policy.unwrap_or_default()
    }

    /// `spec.deletedGroupPolicy`, or its default.
    pub fn deleted_group_policy(&self) -> DeletedGroupPolicy {
        self.spec.deleted_group_policy.unwrap_or_default()
    }

    /// The recorded attempt.
    pub fn create_intent(&self) -> Option<&CreateIntent> {
        self.status.as_ref()?.create_intent.as_ref()
    }

    /// Whether the object carries the operator's finalizer.
    pub fn has_finalizer(&self) -> bool {
        self.metadata.finalizers.iter().flatten().any(|name| name == FINALIZER)
    }

    /// Whether the object is being deleted.
    pub fn is_deleting(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Whether a deletion is to give the group up: the annotation's value is exactly `true`.
    pub fn is_abandoned(&self) -> bool {
        self.annotation(ABANDON_ANNOTATION) == Some("true")
    }

    /// Whether a full reconcile was asked for that has not been acknowledged yet. The empty value asks for none.
    pub fn reconcile_is_requested(&self) -> bool {
        let handled = self.status.as_ref().and_then(|s| s.last_handled_reconcile_at.as_deref());
        self.reconcile_requested_at().is_some_and(|asked| !asked.is_empty() && Some(asked) != handled)
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }
}
