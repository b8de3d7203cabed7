//! The desired group of an object, in the form that the Live API expects.

use std::sync::Arc;

use crate::live::{GroupChange, GroupFields, GroupRef, GroupSnapshot};
use crate::resources::{LiveMessageGroup, LiveMessageGroupStatus};

/// The identity of a group. If two objects have equal keys, they reference the same group. The data center is not part
/// of the key, because an app has only one data center.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKey {
    /// The ID of the app. Objects of the same app can share the string.
    pub app_id: Arc<str>,
    /// The ID of the group in its app.
    pub group_id: Box<str>,
}

/// The desired group of an object: its identity and its managed fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The identity of the group, in the form that calls use.
    pub group: GroupRef,
    /// The fields that are present in the spec. The operator does not manage absent fields.
    pub fields: GroupFields,
}

impl GroupKey {
    /// Returns the identity of the group in the spec, or `None` if the group ID is not valid. Unlike [`Desired::of`],
    /// this function does not copy the other fields of the spec, because it runs for every observed object.
    pub fn of(object: &LiveMessageGroup) -> Option<Self> {
        let group_id = object.group_id().filter(|id| is_id(id))?;
        Some(Self { app_id: object.spec.app_id.as_str().into(), group_id: group_id.into() })
    }
}

impl From<&GroupRef> for GroupKey {
    fn from(group: &GroupRef) -> Self {
        Self { app_id: group.app_id.as_str().into(), group_id: group.group_id.as_str().into() }
    }
}

impl Desired {
    /// Returns the desired group, which is defined by the object's spec.
    ///
    /// # Errors
    /// Returns an error if the group ID is not valid. This is possible if the object was stored before the admission
    /// rules existed. The error text says what to do.
    pub fn of(object: &LiveMessageGroup) -> Result<Self, String> {
        let spec = &object.spec;
        let group_id = object.group_id().unwrap_or_default();
        if !is_id(group_id) {
            return Err(format!(
                "{group_id:?} is not a valid group ID (1 to 64 letters and digits). Set spec.groupId, or recreate the \
                 object with a different name."
            ));
        }
        Ok(Self {
            group: GroupRef {
                app_id: spec.app_id.clone(),
                group_id: group_id.to_owned(),
                data_center: spec.data_center.map(|data_center| data_center.as_str().to_owned()),
            },
            fields: GroupFields {
                group_name: spec.group_name.clone(),
                group_info: spec.group_info.clone(),
                creator_id: spec.creator_id.clone(),
                administrators: spec.administrators.clone(),
            },
        })
    }

    /// Compares the mutable fields of the spec with the group, and returns the desired values of those that differ.
    /// Administrators are compared as a set.
    pub fn difference(&self, group: &GroupSnapshot) -> GroupChange {
        let info = self.fields.group_info.as_ref().filter(|wanted| **wanted != group.group_info);
        let admins = self.fields.administrators.as_ref().filter(|wanted| !same_set(wanted, &group.administrators));
        GroupChange { group_info: info.cloned(), administrators: admins.cloned() }
    }

    /// Returns the names of the fields that differ from the spec and that the Live API cannot change.
    pub fn immutable_difference(&self, group: &GroupSnapshot) -> Vec<&'static str> {
        let differs = |wanted: &Option<String>, is: &str| wanted.as_ref().is_some_and(|wanted| wanted != is);
        let name = differs(&self.fields.group_name, &group.group_name).then_some("groupName");
        let creator = differs(&self.fields.creator_id, &group.creator_id).then_some("creatorId");
        name.into_iter().chain(creator).collect()
    }
}

/// Returns the group that the object's status records, or `None` if the status records no group.
pub fn recorded_group(object: &LiveMessageGroup) -> Option<GroupKey> {
    group_in(object.status.as_ref()?)
}

/// Returns the group that a status records, or `None` if the status records no group.
pub fn group_in(status: &LiveMessageGroupStatus) -> Option<GroupKey> {
    Some(GroupKey { app_id: status.app_id.as_deref()?.into(), group_id: status.group_id.as_deref()?.into() })
}

/// Whether the status records the group in the spec.
pub fn records_group_of_spec(object: &LiveMessageGroup) -> bool {
    let Some(status) = &object.status else { return false };
    let named = object.group_id().filter(|id| is_id(id));
    named.is_some() && status.group_id.as_deref() == named && status.app_id.as_ref() == Some(&object.spec.app_id)
}

fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn same_set(a: &[String], b: &[String]) -> bool {
    let sorted = |list: &[String]| {
        let mut list = list.to_vec();
        list.sort();
        list.dedup();
        list
    };
    sorted(a) == sorted(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_id_is_1_to_64_letters_and_digits() {
        let named = |id: &str| {
            let mut object = LiveMessageGroup::new("room", crate::resources::LiveMessageGroupSpec::default());
            object.spec.group_id = Some(id.to_owned());
            assert_eq!(GroupKey::of(&object).is_some(), Desired::of(&object).is_ok(), "{id}");
            GroupKey::of(&object).map(|identity| identity.group_id.to_string())
        };
        for id in ["a", "Z9", &"a".repeat(64)] {
            assert_eq!(named(id).as_deref(), Some(id));
        }
        for id in ["", "a-b", "a b", "\u{e9}", &"a".repeat(65)] {
            assert_eq!(named(id), None, "{id}");
        }
    }
}
