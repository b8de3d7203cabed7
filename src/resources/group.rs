//! `LiveMessageGroup`: one message group of Alibaba Cloud Live.
//!
//! `kubectl explain` shows the doc comments of the fields. The admission rules are in [`rules`].

mod status;
#[cfg(test)]
mod tests;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::policy::{DeletedGroupPolicy, DeletionPolicy, ManagementPolicy};
use super::{
    ABANDON_ANNOTATION, ConditionType, FINALIZER, NameRef, PAUSED_ANNOTATION, RECONCILE_REQUESTED_AT_ANNOTATION, Reason,
};
use super::{rules, schema};
pub use status::{AccountRecord, CreateIntent, LastFailure, LiveMessageGroupStatus, Origin};

/// The maximum length of `status.lastHandledReconcileAt`, in characters.
pub(super) const RECONCILE_AT_MAX_CHARS: usize = 256;

/// The desired state of the group. The operator manages only the fields that are present.
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
    doc = "A message group of Alibaba Cloud Live interactive messaging. The operator creates the group in its app and keeps it in sync with the spec.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        description = "Whether the group matches the spec",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        description = "The reason for the status of the Ready condition",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(
        name = "Group-ID",
        type_ = "string",
        description = "The ID of the group in the Live API",
        json_path = ".status.groupId"
    ),
    printcolumn(name = "Age", type_ = "date", description = "The age of the object, not of the group", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "App",
        type_ = "string",
        description = "The app that contains the group",
        json_path = ".spec.appId",
        priority = 1
    ),
    printcolumn(
        name = "Origin",
        type_ = "string",
        description = "How the object came to manage the group",
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
    /// The ID of the app that contains the group: 1 to 64 characters, as the Live console or ListLiveMessageApps shows
    /// it. The app must exist; the operator does not create apps. Immutable while the group exists or is being created.
    /// Example: a1b2c3d4e5
    #[schemars(length(max = 64))]
    pub app_id: String,

    /// The ID of the group in its app: 1 to 64 letters and digits. Defaults to metadata.name, which must then consist
    /// of letters and digits only. Immutable while the group exists or is being created.
    /// Example: room42
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub group_id: Option<String>,

    /// The data center of the group. It must be the data center of the app. Defaults to the app's data center.
    /// Immutable while the group exists or is being created.
    /// Example: cn-shanghai
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::data_center")]
    pub data_center: Option<DataCenter>,

    /// The display name of the group: 1 to 128 bytes of UTF-8 (a Chinese character takes 3 bytes, an emoji 4). Defaults
    /// to no name. The Live API cannot change it. Immutable while the group exists or is being created.
    /// Example: Product launch
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub group_name: Option<String>,

    /// The user ID of the creator of the group: 1 to 64 letters and digits. Defaults to none. The Live API cannot
    /// change it. Immutable while the group exists or is being created.
    /// Example: host1
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub creator_id: Option<String>,

    /// Free text for the clients of the group (an announcement, or JSON): at most 32768 bytes of UTF-8. A change is
    /// applied to the group. The empty string removes the text. If the field is absent, the operator does not manage
    /// the text.
    /// Example: {"topic":"launch"}
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32768))]
    pub group_info: Option<String>,

    /// The user IDs of the administrators of the group: up to 3 different IDs of 1 to 64 letters and digits, in any
    /// order. A change replaces the whole list. The empty list removes all administrators. If the field is absent, the
    /// operator does not manage the administrators.
    /// Example: ["host1", "moderator1"]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 3), inner(length(max = 64)))]
    pub administrators: Option<Vec<String>>,

    /// The LiveAccount in this namespace whose credentials the operator uses for this group. Defaults to the operator's
    /// own credentials. It may be changed at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::account_ref")]
    pub account_ref: Option<NameRef>,

    /// What the operator may do to the group: Manage (create or adopt it, and keep groupInfo and administrators in sync with
    /// the spec), CreateOnly (create or adopt it, recreate it if it no longer exists, never modify it) or Observe (never
    /// create, modify, recover or delete it). Defaults to Manage. It may be changed at any time.
    /// Example: Observe
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::management_policy")]
    pub management_policy: Option<ManagementPolicy>,

    /// What happens to the group when this object is deleted: Retain (the group is retained) or Delete (the group is
    /// deleted if this object created it; an adopted or recovered group is retained). Defaults to Retain, because
    /// deleting a group closes a live room for all its users and blocks its ID for about 30 days. The field may be
    /// changed at any time. The operator reads it when the object is deleted. Example: Delete
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::deletion_policy")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// What happens if the group has been deleted in the Live API: Report (the object becomes Degraded with the reason
    /// GroupDeleted) or Recover (the operator recovers the group, which is possible until about 30 days after the
    /// deletion). Defaults to Report. It may be changed at any time. Example: Recover
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
    /// Returns the effective group ID: `spec.groupId`, or `metadata.name` if `spec.groupId` is absent. Returns `None`
    /// only if the object has no name. Every object that an apiserver returns has a name.
    pub fn group_id(&self) -> Option<&str> {
        self.spec.group_id.as_deref().or(self.metadata.name.as_deref())
    }

    /// Returns the resourceVersion as a number. A newer version of an object has a higher number. Every apiserver that
    /// stores its objects in etcd uses numbers. Since version 1.35, Kubernetes documents that clients may compare them.
    /// Returns `None` if the resourceVersion is not a number.
    pub fn revision(&self) -> Option<u64> {
        self.metadata.resource_version.as_deref()?.parse().ok()
    }

    /// The recorded condition of this type.
    pub fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        self.status.as_ref()?.condition(kind)
    }

    /// Returns the reason of the recorded `Ready` condition. Returns `None` if the condition is absent, or if this
    /// version of the operator does not know the reason.
    pub fn ready_reason(&self) -> Option<Reason> {
        self.condition(ConditionType::Ready)?.reason.parse().ok()
    }

    /// Whether the Live API ignored a change to this field in this generation. The operator does not send the change
    /// again until the spec changes or a reconcile pass is requested.
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

    /// Whether the object is paused: the value of the annotation is exactly `true`.
    pub fn is_paused(&self) -> bool {
        self.annotation(PAUSED_ANNOTATION) == Some("true")
    }

    /// The value of the annotation that requests a reconcile pass, truncated to 256 characters, which is the limit of
    /// `status.lastHandledReconcileAt`.
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

    /// The recorded create intent.
    pub fn create_intent(&self) -> Option<&CreateIntent> {
        self.status.as_ref()?.create_intent.as_ref()
    }

    /// Whether the object has the operator's finalizer.
    pub fn has_finalizer(&self) -> bool {
        has_finalizer(&self.metadata)
    }

    /// Whether the object is being deleted.
    pub fn is_deleting(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Whether a deletion retains the group and removes the finalizer: the value of the annotation is exactly `true`.
    pub fn is_abandoned(&self) -> bool {
        is_abandoned(&self.metadata)
    }

    /// Whether a reconcile pass has been requested but not yet acknowledged. An empty value of the annotation does not
    /// request a reconcile pass.
    pub fn reconcile_is_requested(&self) -> bool {
        let handled = self.status.as_ref().and_then(|s| s.last_handled_reconcile_at.as_deref());
        self.reconcile_requested_at().is_some_and(|requested| !requested.is_empty() && Some(requested) != handled)
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        annotation(&self.metadata, key)
    }
}

fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// See [`LiveMessageGroup::has_finalizer`].
pub(super) fn has_finalizer(metadata: &ObjectMeta) -> bool {
    metadata.finalizers.iter().flatten().any(|name| name == FINALIZER)
}

/// See [`LiveMessageGroup::is_abandoned`].
pub(super) fn is_abandoned(metadata: &ObjectMeta) -> bool {
    annotation(metadata, ABANDON_ANNOTATION) == Some("true")
}
