//! Tests that a group is identified by its create time, which must equal the recorded create time or lie within the
//! interval of the create intent.

use serde_json::json;

use super::ownership::{deleting_policy, end, found, in_deletion, take, with_intent};
use super::*;
use crate::resources::Origin;

#[test]
fn group_of_a_delete_policy_is_described_after_its_create() {
    // The clock of the gateway is 10 s behind the clock of the service, or 10 s ahead.
    for second in [90, 100, 110] {
        let object = with_intent(deleting_policy(json!({})), &Facts::default(), 100);
        let mut facts = Facts::default();
        take(&mut facts, &object, 101, &Answer::Created);
        let call = take(&mut facts, &object, 101, &found("v1", second));
        assert!(matches!(call, Call::Describe(_)));
        let status = end(&object, &facts);
        assert_eq!((status.origin.clone(), status.created_at()), (Some(Origin::Created), Some(at(second))));
        let deleting = in_deletion(object, status);
        let mut facts = Facts::default();
        take(&mut facts, &deleting, 200, &found("v1", second));
        assert!(matches!(decide(&deleting, &facts, None), Action::Call(Call::Delete(_))), "{second}");
    }
}

#[test]
fn group_that_is_not_visible_after_its_create_keeps_its_origin() {
    let object = with_intent(deleting_policy(json!({})), &Facts::default(), 100);
    let mut facts = Facts::default();
    take(&mut facts, &object, 101, &Answer::Created);
    let Action::Call(describe) = decide(&object, &facts, None) else { panic!("expected a description") };
    let absent = answer(&describe, &Answer::Refused(404, "ResourceNotExist")).unwrap_err();
    let failure = facts.record(&describe, 1, Err(&absent), None).unwrap_err();
    let status = PassOutcome::failed(&failure, &facts).status(&object, None, at(NOW)).unwrap();
    assert_eq!(status.origin, Some(Origin::Created));
}

#[test]
fn intent_with_an_answer_before_its_start_proves_nothing() {
    let intent = |answered: i64| {
        json!({"status": {"appId": "demo", "groupId": "room1", "origin": "Created", "createIntent": {
            "startedAt": at(100).to_string(), "answeredAt": at(answered).to_string()}}})
    };
    for (answered, own) in [(100, true), (75, true), (65, false)] {
        let object = deleting_policy(intent(answered));
        let deleting = in_deletion(object.clone(), object.status.unwrap());
        let mut facts = Facts::default();
        take(&mut facts, &deleting, 200, &found("v1", 90));
        let deleted = matches!(decide(&deleting, &facts, None), Action::Call(Call::Delete(_)));
        assert_eq!(deleted, own, "{answered}");
    }
}
