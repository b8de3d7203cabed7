//! Keeps copies of objects with pending work, so that a worker does not have to read these objects again. The copies
//! come from watch events and apiserver responses.

use std::collections::{HashMap, HashSet};

use crate::controller::keys::ObjectKey;
use crate::resources::LiveMessageGroup;

/// The maximum memory for all copies, in bytes. An object whose copy does not fit is read from the apiserver instead.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// The estimated memory of an object without its variable-length strings, in bytes.
const BASE_BYTES: usize = 4096;

#[derive(Debug, Default)]
pub struct Copies {
    objects: HashMap<ObjectKey, ObjectCopy>,
    bytes: usize,
    /// The resourceVersion of the first write by this process; `None` before that write. All writes by former leaders
    /// are older.
    first_write: Option<u64>,
    /// The namespaces whose watch has failed; `None` stands for the watch of all namespaces. Objects in these
    /// namespaces have no copies.
    failed: HashSet<Option<Box<str>>>,
}

#[derive(Debug)]
struct ObjectCopy {
    object: Box<LiveMessageGroup>,
    version: u64,
    bytes: usize,
}

impl Copies {
    /// Records the version of a write by this process. Only the first call has an effect.
    pub fn written(&mut self, version: u64) {
        self.first_write.get_or_insert(version);
    }

    /// Whether this version of an object includes all writes by former leaders. This is the case if the version is
    /// newer than the first write by this process, because the apiserver orders the versions across all objects of a
    /// kind.
    pub fn is_after_former_leader(&self, version: u64) -> bool {
        self.first_write.is_some_and(|first| version > first)
    }

    /// Replaces the copy of an object with this version of the object. Keeps no copy if the memory limit would be
    /// exceeded or if the object's watch has failed.
    pub fn keep(&mut self, key: &ObjectKey, object: Box<LiveMessageGroup>, version: u64) {
        self.forget(key);
        let bytes = bytes_of(&object);
        let has_failed = self.failed.iter().any(|scope| covers(scope.as_deref(), key));
        if !has_failed && self.bytes + bytes <= MAX_BYTES {
            self.bytes += bytes;
            self.objects.insert(key.clone(), ObjectCopy { object, version, bytes });
        }
    }

    /// Removes the copy of an object, and returns the copy with its version.
    pub fn take(&mut self, key: &ObjectKey) -> Option<(Box<LiveMessageGroup>, u64)> {
        let ObjectCopy { object, version, bytes } = self.objects.remove(key)?;
        self.bytes -= bytes;
        Some((object, version))
    }

    /// Removes the copy of an object.
    pub fn forget(&mut self, key: &ObjectKey) {
        drop(self.take(key));
    }

    /// Records whether the watch of `namespace` works; `None` stands for the watch of all namespaces. Without a working
    /// watch, copies become outdated.
    pub fn watch_changed(&mut self, namespace: Option<&str>, works: bool) {
        let scope = namespace.map(Box::from);
        if works {
            self.failed.remove(&scope);
        } else {
            self.failed.insert(scope);
            self.forget_all(namespace);
        }
    }

    /// Removes the copies of all objects in `namespace`, or in all namespaces if it is `None`.
    pub fn forget_all(&mut self, namespace: Option<&str>) {
        self.objects.retain(|key, copy| {
            let stays = !covers(namespace, key);
            self.bytes -= if stays { 0 } else { copy.bytes };
            stays
        });
    }

    /// Whether there is no copy.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.bytes == 0
    }
}

/// Whether a watch of `namespace`, or of all namespaces if it is `None`, covers the object.
fn covers(namespace: Option<&str>, key: &ObjectKey) -> bool {
    namespace.is_none_or(|name| key.namespace() == name)
}

/// The approximate memory of an object, in bytes.
fn bytes_of(object: &LiveMessageGroup) -> usize {
    let annotations = object.metadata.annotations.iter().flatten();
    let pairs = annotations.map(|(name, value)| name.len() + value.len());
    let conditions =
        object.status.iter().flat_map(|status| &status.conditions).map(|condition| condition.message.len());
    let info = object.spec.group_info.as_ref().map_or(0, String::len);
    BASE_BYTES + info + pairs.chain(conditions).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(info: &str) -> Box<LiveMessageGroup> {
        let object = serde_json::json!({
            "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveMessageGroup",
            "metadata": {"namespace": "ns", "name": "room", "uid": "u"},
            "spec": {"appId": "demo", "groupInfo": info},
        });
        Box::new(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn memory_of_copies_is_bounded() {
        let (mut copies, text) = (Copies::default(), "x".repeat(32_768));
        let key =
            |number: usize| ObjectKey::new(if number.is_multiple_of(2) { "even" } else { "odd" }, &number.to_string());
        for number in 0..2000 {
            copies.keep(&key(number), object(&text), 1);
        }
        let most = MAX_BYTES / (BASE_BYTES + text.len());
        assert_eq!(copies.objects.len(), most);
        copies.keep(&key(0), object(&"x".repeat(100_000)), 2);
        assert!(copies.take(&key(0)).is_none(), "the former copy is outdated, and the new one does not fit");
        copies.forget_all(Some("odd"));
        assert_eq!(copies.objects.len(), (most - 1) / 2);
        copies.forget_all(None);
        assert!(copies.is_empty());
    }
}
