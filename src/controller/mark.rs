//! What is kept of an object to tell whether a list of its app's groups contradicts its record.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::live::GroupSnapshot;
use crate::resources::{ConditionStatus, ConditionType, LiveMessageGroup, ManagementPolicy, Reason};

/// What the record says of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expected {
    /// Nothing that a list could contradict: the object has work of its own to do.
    #[default]
    Nothing,
    /// It is live.
    Live,
    /// It is deleted, or there is none.
    Gone,
}

/// A few words instead of a spec: hashes of the fields that are kept in sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// What the record says of the group.
    pub expected: Expected,
    /// The data center the spec names.
    pub data_center: Option<&'static str>,
    info: Option<u64>,
    administrators: Option<u64>,
    /// The group differs from the spec, and is left so.
    gave_up: bool,
}

impl Mark {
    /// The mark of an object; `recorded` when its status tells about the group its spec names.
    pub fn of(object: &LiveMessageGroup, recorded: bool) -> Self {
        let ready = object.condition(ConditionType::Ready).map(ConditionStatus::of);
        let expected = match object.ready_reason() {
            _ if !recorded || object.is_paused() => Expected::Nothing,
            Some(Reason::GroupDeleted | Reason::GroupNotFound) => Expected::Gone,
            _ if ready == Some(ConditionStatus::True) => Expected::Live,
            _ => Expected::Nothing,
        };
        let managed = object.management_policy() == ManagementPolicy::Manage;
        let info = object.spec.group_info.as_ref().filter(|_| managed);
        let administrators = object.spec.administrators.as_ref().filter(|_| managed);
        Self {
            expected,
            data_center: object.spec.data_center.map(|center| center.as_str()),
            info: info.map(|info| hash_of(&[info.as_str()])),
            administrators: administrators.map(|list| hash_of_set(list)),
            gave_up: managed && object.has_given_up(),
        }
    }

    /// Whether a listed, live group contradicts the record.
    pub fn is_contradicted_by(&self, group: &GroupSnapshot) -> bool {
        match self.expected {
            Expected::Nothing => false,
            Expected::Gone => !group.deleted,
            Expected::Live => {
                let info = self.info.is_some_and(|info| info != hash_of(&[group.group_info.as_str()]));
                let list = self.administrators.is_some_and(|list| list != hash_of_set(&group.administrators));
                // What was given up may have been taken later, or done by somebody else.
                group.deleted || (info || list) != self.gave_up
            }
        }
    }
}

fn hash_of(parts: &[&str]) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

fn hash_of_set(list: &[String]) -> u64 {
    let mut list: Vec<&str> = list.iter().map(String::as_str).collect();
    list.sort_unstable();
    list.dedup();
    hash_of(&list)
}
