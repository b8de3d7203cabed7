//! The `status` of a `LiveMessageGroup`: the observed state of the group.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::resources::{ConditionType, get_condition, schema};

/// The observed state of the group. Only the operator writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveMessageGroupStatus {
    /// The generation of the spec (metadata.generation) that was last reconciled, successfully or not. The value is
    /// -1 until the first reconcile pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The conditions of the object. Ready is always present. Reconciling, Stalled, Degraded and Paused are present
    /// only while they are true. To wait until the object is ready, run: kubectl wait --for=condition=Ready lmg/NAME
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// The ID of the group that this status describes: spec.groupId, or metadata.name if that is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub group_id: Option<String>,

    /// The app of the group that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub app_id: Option<String>,

    /// The data center of the group, as specified in spec.dataCenter. Absent if spec.dataCenter is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub data_center: Option<String>,

    /// How this object came to manage the group: Created (the operator created the group for this object), Adopted (the
    /// group already existed) or Recovered (the group had been deleted, and the operator recovered it). Absent while
    /// there is no group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::origin")]
    pub origin: Option<Origin>,

    /// The account that was used to create, adopt or recover the group. If the object now uses another account or
    /// another API service, the operator treats the origin as Adopted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountRecord>,

    /// The creation time of the group, according to the clock of the Live API (RFC 3339, UTC). Absent if no
    /// response of the Live API has included the creation time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::date_time")]
    pub create_time: Option<String>,

    /// The interval in which the group was created. It is recorded if createTime is not known, and distinguishes the
    /// group from a later group with the same ID. With deletionPolicy Delete, the operator records the start of the
    /// interval before it sends the create. This record proves that this object created the group, even if the response
    /// is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_intent: Option<CreateIntent>,

    /// The last failed call. Absent after a successful reconcile pass, unless the Live API ignored a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailure>,

    /// The request ID of the last call that changed the group. Quote it in a ticket to Alibaba Cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub last_request_id: Option<String>,

    /// The last handled value of the annotation live.alibabacloud.com/reconcile-requested-at (its first 256
    /// characters).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,
}

/// An account, and the API service that was called with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountRecord {
    /// The API service that was used, for example live.aliyuncs.com. All hosts of the Live API count as the same service.
    #[schemars(length(max = 300))]
    pub service: String,

    /// The name of the LiveAccount. Absent for the operator's own credentials.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub name: String,

    /// The uid of the LiveAccount. Absent for the operator's own credentials.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 128))]
    pub uid: String,
}

/// A failed call. The record contains the data that later reconcile passes need, even after a restart of the operator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastFailure {
    /// The operation of the Live API, for example ModifyLiveMessageGroup. Absent if the failure does not depend on the
    /// operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub operation: Option<String>,

    /// The error code of the Live API, for example Forbidden.RAM, or the kind of failure if there was no response.
    #[schemars(length(max = 128))]
    pub code: String,

    /// The fields for which the Live API accepted a change but did not apply it, for example groupInfo.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2), inner(length(max = 64)))]
    pub fields: Vec<String>,
}

impl LastFailure {
    /// Records a failed call. `code` is cut to the 128 characters that the CRD allows.
    pub fn new(operation: Option<&str>, code: &str) -> Self {
        let code = code.chars().take(128).collect();
        Self { operation: operation.map(str::to_owned), code, fields: Vec::new() }
    }
}

/// A create that was sent or is about to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateIntent {
    /// The time when the first create was sent, according to the clock of the Live API (RFC 3339, UTC).
    #[schemars(schema_with = "schema::date_time")]
    pub started_at: String,

    /// The time when the Live API responded. Absent if the response is pending or was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::date_time")]
    pub answered_at: Option<String>,

    /// A digest of each body that was sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 64)))]
    pub sent: Vec<String>,
}

impl CreateIntent {
    /// Whether the response is pending or lost.
    pub fn is_open(&self) -> bool {
        self.answered_at.is_none()
    }
}

/// How an object came to manage its group.
///
/// Unknown values are preserved, so that this version can read an object that a newer operator wrote, and write the
/// value back unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Origin {
    /// The operator created the group for this object.
    Created,
    /// The group already existed.
    Adopted,
    /// The group was deleted and recovered.
    Recovered,
    /// A value that another version of the operator wrote.
    Other(String),
}

impl Origin {
    /// The value of `status.origin`.
    pub fn as_str(&self) -> &str {
        match self {
            Origin::Created => "Created",
            Origin::Adopted => "Adopted",
            Origin::Recovered => "Recovered",
            Origin::Other(word) => word,
        }
    }
}

impl From<String> for Origin {
    fn from(word: String) -> Self {
        match word.as_str() {
            "Created" => Origin::Created,
            "Adopted" => Origin::Adopted,
            "Recovered" => Origin::Recovered,
            _ => Origin::Other(word),
        }
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.as_str().to_owned()
    }
}

impl LiveMessageGroupStatus {
    /// `createTime` as a point in time; `None` if it is absent or not valid.
    pub fn created_at(&self) -> Option<Timestamp> {
        self.create_time.as_deref()?.parse().ok()
    }

    /// The recorded condition of this type.
    pub fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        get_condition(&self.conditions, kind)
    }
}
