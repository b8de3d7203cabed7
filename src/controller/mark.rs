//! What is kept of an object to tell whether a list of its app's groups contradicts its record.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::decide::MUTABLE;
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
    /// Whether the group differs from the spec in these fields, and is left so.
    gave_up: [bool; 2],
}

impl Mark {
    /// The mark of an object; `recorded` when its status tells about the group its spec names.
    pub fn of(object: &LiveMessageGroup, recorded: bool) -> Self {
        let ready = object.condition(ConditionType::Ready).map(ConditionStatus::of);
        let expected = match object.ready_reason() {
            _ if !recorded || object.is_paused() || object.is_deleting() => Expected::Nothing,
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
            gave_up: MUTABLE.map(|field| managed && object.has_given_up(field)),
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
                group.deleted || [info, list] != self.gave_up
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The mark of a settled object whose spec names both fields, otherwise as `change` says.
    fn mark(change: Value) -> Mark {
        Mark::of(&object(change), true)
    }

    fn object(change: Value) -> LiveMessageGroup {
        let mut object = json!({
            "metadata": {"name": "room"},
            "spec": {"appId": "demo", "groupInfo": "v1", "administrators": ["a", "b"]},
            "status": ready("True", "Created"),
        });
        json_patch::merge(&mut object, &change);
        serde_json::from_value(object).unwrap()
    }

    fn ready(status: &str, reason: &str) -> Value {
        json!({"conditions": [condition("Ready", status, reason)]})
    }

    fn condition(kind: &str, status: &str, reason: &str) -> Value {
        let time = "2026-01-01T00:00:00Z";
        json!({"type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": time})
    }

    fn group(info: &str, administrators: &[&str], deleted: bool) -> GroupSnapshot {
        let administrators = administrators.iter().map(|id| (*id).to_owned()).collect();
        GroupSnapshot { group_info: info.into(), administrators, deleted, ..GroupSnapshot::default() }
    }

    fn as_the_spec_says() -> GroupSnapshot {
        group("v1", &["b", "a", "a"], false)
    }

    #[test]
    fn what_a_list_is_to_show_is_what_the_status_tells() {
        let expected = |status: &str, reason: &str| mark(json!({"status": ready(status, reason)})).expected;
        for reason in ["Created", "AlreadyExists", "Recovered", "Observed"] {
            assert_eq!(expected("True", reason), Expected::Live, "{reason}");
        }
        for reason in ["GroupDeleted", "GroupNotFound"] {
            assert_eq!(expected("False", reason), Expected::Gone, "{reason}");
        }
        for (status, reason) in [("Unknown", "Unreachable"), ("False", "NotAuthorized"), ("False", "Conflict")] {
            assert_eq!(expected(status, reason), Expected::Nothing, "{reason}");
        }
        let pause = json!({"metadata": {"annotations": {"live.alibabacloud.com/paused": "true"}}});
        assert_eq!(mark(pause).expected, Expected::Nothing);
        assert_eq!(Mark::of(&object(json!({})), false).expected, Expected::Nothing, "told of another group");
    }

    #[test]
    fn a_live_group_is_to_be_there_with_the_fields_of_the_spec() {
        let managed = mark(json!({}));
        assert!(!managed.is_contradicted_by(&as_the_spec_says()), "administrators are a set");
        for other in [group("v2", &["a", "b"], false), group("v1", &["a"], false), group("v1", &["a", "b"], true)] {
            assert!(managed.is_contradicted_by(&other), "{other:?}");
        }
        let bare = mark(json!({"spec": {"groupInfo": null, "administrators": null}}));
        assert!(!bare.is_contradicted_by(&group("v2", &["c"], false)), "what the spec does not name is not managed");
        assert!(bare.is_contradicted_by(&group("v2", &["c"], true)));
    }

    #[test]
    fn fields_that_are_not_kept_in_sync_contradict_nothing() {
        let given_up = given_up("the change of groupInfo and administrators was not taken");
        let [create_only, observe] =
            ["CreateOnly", "Observe"].map(|policy| json!({"spec": {"managementPolicy": policy}}));
        for change in [given_up, create_only, observe] {
            let mark = mark(change);
            assert!(!mark.is_contradicted_by(&group("v2", &["c"], false)), "{mark:?}");
            assert!(mark.is_contradicted_by(&group("v1", &["a", "b"], true)), "{mark:?}");
        }
        let differs = json!({"status": {"conditions": [
            condition("Ready", "True", "Created"), condition("InSync", "False", "ImmutableFieldsDiffer"),
        ]}});
        assert!(mark(differs).is_contradicted_by(&group("v2", &["a", "b"], false)), "these are still kept");
    }

    /// A change that the service did not take, told in these words.
    fn given_up(message: &str) -> Value {
        let mut sync = condition("InSync", "False", "ChangeNotTaken");
        sync["message"] = json!(message);
        json!({"status": {"conditions": [condition("Ready", "True", "Created"), sync]}})
    }

    #[test]
    fn a_field_that_was_given_up_is_to_be_as_it_was_and_the_other_one_as_the_spec_says() {
        let mark = mark(given_up("the change of groupInfo was not taken"));
        assert!(!mark.is_contradicted_by(&group("v0", &["a", "b"], false)));
        assert!(mark.is_contradicted_by(&group("v0", &["c"], false)), "the other one is kept");
        assert!(mark.is_contradicted_by(&group("v1", &["a", "b"], false)), "it was taken after all");
        assert!(mark.is_contradicted_by(&group("v1", &["c"], false)));
    }

    #[test]
    fn an_object_that_is_being_deleted_expects_nothing_of_a_list() {
        let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]}});
        assert_eq!(mark(going).expected, Expected::Nothing);
    }

    #[test]
    fn a_group_that_is_gone_is_contradicted_by_a_live_one_alone_and_an_object_at_work_by_none() {
        let gone = mark(json!({"status": ready("False", "GroupDeleted")}));
        assert!(gone.is_contradicted_by(&as_the_spec_says()));
        assert!(!gone.is_contradicted_by(&group("v1", &["a", "b"], true)));
        let at_work = mark(json!({"status": ready("Unknown", "Unreachable")}));
        for deleted in [false, true] {
            assert!(!at_work.is_contradicted_by(&group("v2", &[], deleted)));
        }
    }
}
