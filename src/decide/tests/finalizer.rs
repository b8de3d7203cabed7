//! A finalizer exactly while a deletion may delete a group, kept in step with the spec.

use serde_json::json;

use super::ownership::{attempted, deleting_policy};
use super::*;
use crate::decide::{Priority, finalizer_is_wrong, triage};

/// An object whose group it created, settled, with a finalizer where `has` says so.
fn settled(deletion_policy: &str, has: bool) -> LiveMessageGroup {
    let finalizers = has.then(|| json!(["live.alibabacloud.com/group"]));
    created(json!({"metadata": {"finalizers": finalizers}, "spec": {"deletionPolicy": deletion_policy}}))
}

fn step(object: &LiveMessageGroup) -> Action {
    decide(object, &Facts::default(), None)
}

#[test]
fn it_comes_before_the_create() {
    let new = object(json!({"spec": {"deletionPolicy": "Delete"}}));
    assert_eq!(step(&new), Action::AddFinalizer);
    assert!(matches!(step(&deleting_policy(json!({}))), Action::Call(Call::Create(..))));
    assert!(matches!(step(&object(json!({}))), Action::Call(Call::Create(..))), "its group is never deleted");
    let only_observes = json!({"spec": {"deletionPolicy": "Delete", "managementPolicy": "Observe"}});
    assert!(matches!(step(&object(only_observes)), Action::Call(Call::Describe(_))));
}

#[test]
fn that_of_a_settled_object_is_mended_without_a_call() {
    for (policy, has, expected) in [("Retain", true, Action::DropFinalizer), ("Delete", false, Action::AddFinalizer)] {
        let object = settled(policy, has);
        assert!(finalizer_is_wrong(&object));
        assert_eq!((triage(&object), step(&object)), (Some(Priority::Retry), expected.clone()));
        // A pause does not hold it up.
        let pause = json!({"metadata": {"annotations": {"live.alibabacloud.com/paused": "true"}}});
        let paused = after(with(settled(policy, !has), pause), vec![], json!({}));
        let paused = with(paused, json!({"metadata": {"finalizers": object.metadata.finalizers}}));
        assert_eq!((triage(&paused), step(&paused)), (Some(Priority::Change), expected));
    }
    for (policy, has) in [("Retain", false), ("Delete", true)] {
        let object = settled(policy, has);
        assert_eq!((triage(&object), step(&object)), (None, Action::Nothing));
    }
}

#[test]
fn an_attempt_wants_one_and_an_adopted_group_none() {
    let attempted = attempted(deleting_policy(json!({})), &Facts::default(), 100);
    assert!(!finalizer_is_wrong(&attempted));
    assert!(finalizer_is_wrong(&with(attempted, json!({"metadata": {"finalizers": null}}))));
    let adopted = with(settled("Delete", true), json!({"status": {"origin": "Adopted", "createIntent": null}}));
    assert!(finalizer_is_wrong(&adopted));
    let going = json!({"metadata": {"deletionTimestamp": "2027-01-01T00:00:00Z"}});
    assert!(!finalizer_is_wrong(&with(adopted, going)), "a deletion decides what becomes of it");
}
