//! A stored LiveMessageGroup, which this version may be unable to read.

use std::borrow::Cow;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::{LiveMessageGroup, LiveMessageGroupStatus, group};

/// A LiveMessageGroup as the apiserver stores it. Its deserialization fails only without readable metadata: one
/// unreadable object must not hide the other objects of a list.
#[derive(Clone, Debug)]
pub enum StoredGroup {
    /// This version can read the object.
    Readable(Box<LiveMessageGroup>),
    /// This version cannot read the object, for example because a newer version wrote it.
    Unreadable(Box<UnreadableGroup>),
}

/// The readable parts of an object that this version cannot read.
#[derive(Clone, Debug, Default)]
pub struct UnreadableGroup {
    /// The metadata of the object.
    pub metadata: ObjectMeta,
    /// The status without the fields that cannot be read.
    pub status: LiveMessageGroupStatus,
    /// Why the object cannot be read.
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

impl<'de> Deserialize<'de> for StoredGroup {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Value::deserialize(deserializer)?;
        let error = match LiveMessageGroup::deserialize(&object) {
            Ok(object) => return Ok(Self::Readable(Box::new(object))),
            Err(error) => error.to_string(),
        };
        let metadata = ObjectMeta::deserialize(&object["metadata"]).map_err(D::Error::custom)?;
        let status = readable_part(&object["status"]);
        Ok(Self::Unreadable(Box::new(UnreadableGroup { metadata, status, error })))
    }
}

/// The fields of a status that this version can read.
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
    fn readable_object_is_read_as_before() {
        let stored = json!({"metadata": {"name": "room"}, "spec": {"appId": "demo"},
            "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveMessageGroup"});
        let expected: LiveMessageGroup = serde_json::from_value(stored.clone()).unwrap();
        let Ok(StoredGroup::Readable(object)) = serde_json::from_value(stored) else { panic!("it is unreadable") };
        assert_eq!(*object, expected);
        assert!(serde_json::from_value::<StoredGroup>(json!({"spec": {}, "metadata": []})).is_err());
    }
}
