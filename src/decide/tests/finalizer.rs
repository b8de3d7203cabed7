//! Tests of the finalizer, which an object has only while its deletion may delete a group.

use serde_json::json;

use super::ownership::{deleting_policy, with_intent};
use super::*;
use crate::decide::{Priority, finalizer_is_wrong, triage};

/// A settled object that created its group, with or without a finalizer.
fn settled(deletion_policy: &str, has_finalizer: bool) -> LiveMessageGroup {
    let finalizers = has_finalizer.then(|| json!(["live.alibabacloud.com/group"]));
    created(json!({"metadata": {"finalizers": finalizers}, "spec": {"deletionPolicy": deletion_policy}}))
}

fn step(object: &LiveMessageGroup) -> Action {
    decide(object, &Facts::default(), None)
}

#[test]
fn finalizer_is_added_before_the_create() {
    let new = object(json!({"spec": {"deletionPolicy": "Delete"}}));
    assert_eq!(step(&new), Action::AddFinalizer);
    assert!(matches!(step(&deleting_policy(json!({}))), Action::Call(Call::Create(..))));
    assert!(matches!(step(&object(json!({}))), Action::Call(Call::Create(..))), "deletionPolicy is Retain");
    let only_observes = json!({"spec": {"deletionPolicy": "Delete", "managementPolicy": "Observe"}});
    assert!(matches!(step(&object(only_observes)), Action::Call(Call::Describe(_))));
}

#[test]
fn finalizer_of_a_settled_object_is_corrected_without_a_call() {
    for (policy, has_finalizer, expected) in
        [("Retain", true, Action::DropFinalizer), ("Delete", false, Action::AddFinalizer)]
    {
        let object = settled(policy, has_finalizer);
        assert!(finalizer_is_wrong(&object));
        assert_eq!((triage(&object), step(&object)), (Some(Priority::Retry), expected.clone()));
        // A pause does not delay the correction.
        let pause = json!({"metadata": {"annotations": {"live.alibabacloud.com/paused": "true"}}});
        let paused = after(with(settled(policy, !has_finalizer), pause), vec![], json!({}));
        let paused = with(paused, json!({"metadata": {"finalizers": object.metadata.finalizers}}));
        assert_eq!((triage(&paused), step(&paused)), (Some(Priority::Change), expected));
    }
    for (policy, has_finalizer) in [("Retain", false), ("Delete", true)] {
        let object = settled(policy, has_finalizer);
        assert_eq!((triage(&object), step(&object)), (None, Action::Nothing));
    }
}

#[test]
fn create_intent_needs_a_finalizer_adopted_group_does_not() {
    let creating = with_intent(deleting_policy(json!({})), &Facts::default(), 100);
    assert!(!finalizer_is_wrong(&creating));
    assert!(finalizer_is_wrong(&with(creating, json!({"metadata": {"finalizers": null}}))));
    let adopted = with(settled("Delete", true), json!({"status": {"origin": "Adopted", "createIntent": null}}));
    assert!(finalizer_is_wrong(&adopted));
    let deleting = json!({"metadata": {"deletionTimestamp": "2027-01-01T00:00:00Z"}});
    assert!(!finalizer_is_wrong(&with(adopted, deleting)), "the deletion removes it");
}
