use serde_json::{Value, json};

use super::*;

fn group(metadata: Value, spec: Value, status: Value) -> LiveMessageGroup {
    serde_json::from_value(json!({
        "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveMessageGroup",
        "metadata": metadata, "spec": spec, "status": status,
    }))
    .unwrap()
}

#[test]
fn group_id_defaults_to_the_name() {
    let named = group(json!({"name": "room1"}), json!({"appId": "demo", "groupId": null}), Value::Null);
    assert_eq!(named.group_id(), Some("room1"));
    let explicit = group(json!({"name": "room-1"}), json!({"appId": "demo", "groupId": "Room1"}), Value::Null);
    assert_eq!(explicit.group_id(), Some("Room1"));
}

#[test]
fn absent_and_empty_fields_differ() {
    let absent = group(json!({"name": "a"}), json!({"appId": "demo"}), Value::Null);
    assert_eq!((absent.spec.group_info.clone(), absent.spec.administrators.clone()), (None, None));
    assert_eq!(serde_json::to_value(&absent.spec).unwrap(), json!({"appId": "demo"}));
    let empty = json!({"appId": "demo", "groupInfo": "", "administrators": []});
    assert_eq!(serde_json::to_value(group(json!({}), empty.clone(), Value::Null).spec).unwrap(), empty);
}

#[test]
fn values_of_another_version_are_kept() {
    let status = json!({
        "origin": "Imported",
        "createTime": "some day",
        "tomorrow": 1,
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "Teleported", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    });
    let group = group(json!({"name": "a"}), json!({"appId": "demo", "tomorrow": 1}), status);
    assert_eq!(group.origin(), Some(&Origin::Other("Imported".into())));
    assert_eq!(group.ready_reason(), None);
    assert!(group.condition(ConditionType::Ready).is_some());
    let status = group.status.unwrap();
    assert_eq!(status.created_at(), None);
    assert_eq!(serde_json::to_value(&status).unwrap()["origin"], "Imported");
}

#[test]
fn create_time_keeps_its_milliseconds() {
    let status = LiveMessageGroupStatus { create_time: Some("2026-11-23T01:02:03.004Z".into()), ..Default::default() };
    assert_eq!(status.created_at().unwrap().subsec_millisecond(), 4);
}

#[test]
fn empty_status_has_no_fields() {
    assert_eq!(serde_json::to_value(LiveMessageGroupStatus::default()).unwrap(), json!({}));
}

#[test]
fn reconcile_is_requested_until_it_is_handled() {
    let long = "x".repeat(300);
    for (annotation, handled, is_requested) in [
        (None, None, false),
        (Some(""), None, false),
        (Some("1"), None, true),
        (Some("1"), Some("1"), false),
        (Some("2"), Some("1"), true),
        (Some(long.as_str()), Some(&long[..256]), false),
    ] {
        let metadata = json!({"annotations": annotation.map(|a| json!({RECONCILE_REQUESTED_AT_ANNOTATION: a}))});
        let group = group(metadata, json!({"appId": "demo"}), json!({"lastHandledReconcileAt": handled}));
        assert_eq!(group.reconcile_is_requested(), is_requested, "{annotation:?} {handled:?}");
    }
}

#[test]
fn only_the_value_true_pauses() {
    for (value, paused) in [("true", true), ("True", false), ("false", false), ("", false)] {
        let metadata = json!({"annotations": {PAUSED_ANNOTATION: value}});
        assert_eq!(group(metadata, json!({"appId": "demo"}), Value::Null).is_paused(), paused, "{value:?}");
    }
}
