//! A stored LiveMessageGroup, which this version of the operator may be unable to read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{LiveMessageGroup, LiveMessageGroupSpec, LiveMessageGroupStatus, group};

/// The prefix of the operator's annotations.
const ANNOTATION_PREFIX: &str = "live.alibabacloud.com/";

/// A LiveMessageGroup as the apiserver stores it. Deserialization fails only if the metadata cannot be read, because
/// one unreadable object must not hide the other objects of a list.
#[derive(Clone, Debug)]
pub enum StoredGroup {
    /// This version of the operator can read the object.
    Readable(Box<LiveMessageGroup>),
    /// This version of the operator cannot read the object, for example because a newer version wrote it.
    Unreadable(Box<UnreadableGroup>),
}

/// The readable parts of an object that this version of the operator cannot read.
#[derive(Clone, Debug, Default)]
pub struct UnreadableGroup {
    /// The metadata of the object.
    pub metadata: ObjectMeta,
    /// The status without the fields that cannot be read.
    pub status: LiveMessageGroupStatus,
    /// The reason why the object cannot be read.
    pub error: String,
}

impl UnreadableGroup {
    /// Whether the object is being deleted and has the operator's finalizer.
    pub fn is_finalizing(&self) -> bool {
        self.metadata.deletion_timestamp.is_some() && group::has_finalizer(&self.metadata)
    }

    /// See [`LiveMessageGroup::is_abandoned`].
    pub fn is_abandoned(&self) -> bool {
        group::is_abandoned(&self.metadata)
    }
}

/// The parts of an object that the operator uses. The other parts are skipped during decoding, because managedFields
/// and the annotations that other programs set make up most of an object.
#[derive(Deserialize)]
struct UsedParts {
    metadata: UsedMetadata,
    spec: LiveMessageGroupSpec,
    #[serde(default)]
    status: Option<LiveMessageGroupStatus>,
}

/// The metadata that the operator uses.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct UsedMetadata {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    uid: Option<String>,
    #[serde(default)]
    resource_version: Option<String>,
    #[serde(default)]
    generation: Option<i64>,
    #[serde(default)]
    creation_timestamp: Option<Time>,
    #[serde(default)]
    deletion_timestamp: Option<Time>,
    #[serde(default)]
    finalizers: Option<Vec<String>>,
    #[serde(default)]
    annotations: Option<OwnAnnotations>,
}

impl From<UsedMetadata> for ObjectMeta {
    fn from(used: UsedMetadata) -> Self {
        Self {
            name: used.name,
            namespace: used.namespace,
            uid: used.uid,
            resource_version: used.resource_version,
            generation: used.generation,
            creation_timestamp: used.creation_timestamp,
            deletion_timestamp: used.deletion_timestamp,
            finalizers: used.finalizers,
            annotations: used.annotations.map(|annotations| annotations.0),
            ..Self::default()
        }
    }
}

/// The annotations that have the operator's prefix.
struct OwnAnnotations(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for OwnAnnotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OwnAnnotationsVisitor)
    }
}

struct OwnAnnotationsVisitor;

impl<'de> Visitor<'de> for OwnAnnotationsVisitor {
    type Value = OwnAnnotations;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("annotations")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OwnAnnotations, A::Error> {
        let mut own = BTreeMap::new();
        while let Some(name) = map.next_key::<Cow<'_, str>>()? {
            if name.starts_with(ANNOTATION_PREFIX) {
                own.insert(name.into_owned(), map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(OwnAnnotations(own))
    }
}

impl<'de> Deserialize<'de> for StoredGroup {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Box::<RawValue>::deserialize(deserializer)?;
        let error = match serde_json::from_str(object.get()) {
            Ok(UsedParts { metadata, spec, status }) => {
                return Ok(Self::Readable(Box::new(LiveMessageGroup { metadata: metadata.into(), spec, status })));
            }
            Err(error) => error.to_string(),
        };
        let object: Value = serde_json::from_str(object.get()).map_err(D::Error::custom)?;
        let metadata = UsedMetadata::deserialize(&object["metadata"]).map_err(D::Error::custom)?;
        if metadata.name.is_none() {
            return Err(D::Error::missing_field("metadata.name"));
        }
        let status = readable_part(&object["status"]);
        Ok(Self::Unreadable(Box::new(UnreadableGroup { metadata: metadata.into(), status, error })))
    }
}

/// Returns the fields of a status that this version of the operator can read.
fn readable_part(status: &Value) -> LiveMessageGroupStatus {
    let is_readable =
        |(name, value): &(&String, &Value)| LiveMessageGroupStatus::deserialize(json!({ *name: value })).is_ok();
    let fields = status.as_object().into_iter().flatten().filter(is_readable);
    let readable: Value = fields.map(|(name, value)| (name.clone(), value.clone())).collect();
    LiveMessageGroupStatus::deserialize(readable).unwrap_or_default()
}

impl Resource for StoredGroup {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(of: &()) -> Cow<'_, str> {
        LiveMessageGroup::kind(of)
    }

    fn group(of: &()) -> Cow<'_, str> {
        LiveMessageGroup::group(of)
    }

    fn version(of: &()) -> Cow<'_, str> {
        LiveMessageGroup::version(of)
    }

    fn plural(of: &()) -> Cow<'_, str> {
        LiveMessageGroup::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Readable(object) => &object.metadata,
            Self::Unreadable(object) => &object.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Readable(object) => &mut object.metadata,
            Self::Unreadable(object) => &mut object.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::{ABANDON_ANNOTATION, FINALIZER, Origin};

    #[test]
    fn unreadable_object_keeps_its_metadata_and_readable_status() {
        let stored = json!({
            "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveMessageGroup",
            "metadata": {"name": "room", "uid": "u", "finalizers": [FINALIZER],
                "deletionTimestamp": "2026-01-01T00:00:00Z", "annotations": {ABANDON_ANNOTATION: "true"}},
            "spec": {"appId": ["of", "a", "newer", "version"]},
            "status": {"appId": "demo", "groupId": "one", "origin": "Created", "conditions": "unknown to this version",
                "account": {"service": "live.aliyuncs.com"}},
        });
        let Ok(StoredGroup::Unreadable(object)) = serde_json::from_value(stored) else { panic!("it is readable") };
        assert_eq!(
            (object.metadata.uid.as_deref(), object.is_finalizing(), object.is_abandoned()),
            (Some("u"), true, true)
        );
        let status = &object.status;
        assert_eq!((status.app_id.as_deref(), &status.origin), (Some("demo"), &Some(Origin::Created)));
        assert_eq!(status.account.as_ref().map(|account| &*account.service), Some("live.aliyuncs.com"));
        assert!(status.conditions.is_empty() && object.error.contains("invalid type"), "{}", object.error);
    }

    #[test]
    fn unused_metadata_is_skipped() {
        let (paused, applied) =
            (crate::resources::PAUSED_ANNOTATION, "kubectl.kubernetes.io/last-applied-configuration");
        let stored = json!({"metadata": {"name": "room", "finalizers": ["other", FINALIZER], "labels": {"a": "b"},
            "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
            "annotations": {paused: "true", applied: "{}"}}, "spec": {"appId": "demo"}});
        let Ok(StoredGroup::Readable(object)) = serde_json::from_value(stored) else { panic!("it is unreadable") };
        let metadata = &object.metadata;
        assert!(object.is_paused() && metadata.managed_fields.is_none() && metadata.labels.is_none());
        assert_eq!(metadata.annotations.as_ref().map(BTreeMap::len), Some(1));
        assert_eq!(metadata.finalizers.as_deref(), Some(&["other".to_owned(), FINALIZER.to_owned()][..]));
    }

    #[test]
    fn readable_object_is_read_as_before() {
        let stored = json!({"metadata": {"name": "room"}, "spec": {"appId": "demo"},
            "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveMessageGroup"});
        let expected: LiveMessageGroup = serde_json::from_value(stored.clone()).unwrap();
        let Ok(StoredGroup::Readable(object)) = serde_json::from_value(stored) else { panic!("it is unreadable") };
        assert_eq!(*object, expected);
        assert!(serde_json::from_value::<StoredGroup>(json!({"spec": {}, "metadata": []})).is_err());
    }
}
