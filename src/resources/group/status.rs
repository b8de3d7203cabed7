//! `status` of a `LiveMessageGroup`: what the operator knows of the group.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::resources::{ConditionType, get_condition, schema};

/// What the operator knows of the group. Written by the operator only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveMessageGroupStatus {
    /// The generation of the spec (metadata.generation) that was acted on last, with or without success.
    /// -1 until the operator has seen the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// How the object stands. Ready is always present; Reconciling, Stalled, Degraded and Paused only while they
    /// hold. Wait for it with: kubectl wait --for=condition=Ready lmg/NAME
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// The id of the group that this status tells about: spec.groupId, or metadata.name where that is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub group_id: Option<String>,

    /// The app of the group that this status tells about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub app_id: Option<String>,

    /// The data center of the group, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub data_center: Option<String>,

    /// How the group came to be managed by this object: Created (by the operator for this object), Adopted (it
    /// was there before) or Recovered (it had been deleted and was brought back). Absent while there is no group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::origin")]
    pub origin: Option<Origin>,

    /// When the group was created, by the Live API's clock (RFC 3339, UTC). Present only when a call that was
    /// made anyway told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::date_time")]
    pub create_time: Option<String>,

    /// Between which moments the group was created, as long as its createTime is not known: it tells it from one that
    /// is made later under its id. With deletionPolicy Delete it is recorded before the create is sent, and proves
    /// whether a group was created by this object even when the answer was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_intent: Option<CreateIntent>,

    /// The last failed call. Absent after a pass that succeeded, unless the Live API ignored a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailure>,

    /// The RequestId of the last call that changed something in the Live API: name it in a ticket to Alibaba
    /// Cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub last_request_id: Option<String>,

    /// The value of the annotation live.alibabacloud.com/reconcile-requested-at that was handled last (its first
    /// 256 characters).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,
}

/// A failed call: what later decisions need to know of it, also after a restart of the operator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastFailure {
    /// The operation of the Live API, for example ModifyLiveMessageGroup. Absent if the failure does not depend on the
    /// operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub operation: Option<String>,

    /// The error code of the Live API, for example Forbidden.RAM, or the kind of failure if there was no answer.
    #[schemars(length(max = 128))]
    pub code: String,

    /// The fields whose change the Live API accepted but did not apply, for example groupInfo.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2), inner(length(max = 64)))]
    pub fields: Vec<String>,
}

impl LastFailure {
    /// A failed call; `code` is cut to the length that the CRD allows.
    pub fn new(operation: Option<&str>, code: &str) -> Self {
        let code = code.chars().take(128).collect();
        Self { operation: operation.map(str::to_owned), code, fields: Vec::new() }
    }
}

/// A recorded create.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateIntent {
    /// When the first create was sent, by the Live API's clock (RFC 3339, UTC).
    #[schemars(schema_with = "schema::date_time")]
    pub started_at: String,

    /// When it was answered; absent while the answer is open or lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::date_time")]
    pub answered_at: Option<String>,

    /// A digest of each body that was sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 64)))]
    pub sent: Vec<String>,
}

impl CreateIntent {
    /// Whether its answer is not known.
    pub fn is_open(&self) -> bool {
        self.answered_at.is_none()
    }
}

/// How a group came to be managed by its object.
///
/// A word this version does not know is kept as it is: an object written by a newer operator must neither fail to
/// parse nor lose its word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Origin {
    /// Created by the operator for this object.
    Created,
    /// It was there before.
    Adopted,
    /// It had been deleted and was brought back.
    Recovered,
    /// A word of another version.
    Other(String),
}

impl Origin {
    /// The word written into `status.origin`.
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
    /// `createTime` as a point in time; `None` when absent or unreadable.
    pub fn created_at(&self) -> Option<Timestamp> {
        self.create_time.as_deref()?.parse().ok()
    }

    /// The recorded condition of this type.
    pub fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        get_condition(&self.conditions, kind)
    }
}
