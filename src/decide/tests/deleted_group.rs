//! Tests of groups that were deleted outside the operator, and of their recovery.

use rstest::rstest;
use serde_json::json;

use super::group::message;
use super::*;

#[test]
fn deleted_group_is_reported_and_its_record_removed() {
    let deleted = GroupSnapshot { deleted: true, ..snapshot() };
    let status = pass(&created(forced()), vec![Answer::Group(deleted)]).unwrap();
    assert_eq!(
        line(&status),
        "Ready=False/GroupDeleted Stalled=True/GroupDeleted Degraded=True/GroupDeleted observed=1"
    );
    assert_eq!((status.origin.clone(), status.create_time.clone()), (None, None));
    assert!(message(&status, ConditionType::Ready).contains("Edit spec.groupId"));
}

#[rstest]
#[case::recovered(
    vec![Answer::Blocked, Answer::Done, Answer::Group(snapshot())],
    "Ready=True/Recovered InSync=True/InSync origin=Recovered observed=1"
)]
#[case::nothing_to_recover(
    vec![Answer::Blocked, Answer::Refused(404, "ResourceNotExist"), Answer::Created],
    "Ready=True/Created InSync=True/InSync origin=Created observed=1"
)]
#[case::still_blocked(
    vec![Answer::Blocked, Answer::Refused(404, "ResourceNotExist"), Answer::Blocked],
    "Ready=False/GroupDeleted Stalled=True/GroupDeleted Degraded=True/GroupDeleted observed=1"
)]
#[case::recovered_and_lost(
    vec![Answer::Blocked, Answer::Done, Answer::Lost],
    "Ready=Unknown/Unreachable Reconciling=True/Unreachable origin=Recovered observed=1"
)]
#[case::nothing_to_recover_then_contradiction(
    vec![
        Answer::Blocked, Answer::Refused(404, "ResourceNotExist"), Answer::Exists,
        Answer::Refused(404, "ResourceNotExist"),
    ],
    "Ready=Unknown/ServiceError Reconciling=True/ServiceError observed=1"
)]
#[case::recovered_and_absent(
    vec![Answer::Blocked, Answer::Done, Answer::Refused(404, "ResourceNotExist")],
    "Ready=Unknown/ServiceError Reconciling=True/ServiceError observed=1"
)]
fn blocked_group_is_recovered_with_the_policy_recover(#[case] answers: Vec<Answer>, #[case] expected: &str) {
    assert_eq!(shown(&object(json!({"spec": {"deletedGroupPolicy": "Recover"}})), answers), expected);
}

#[test]
fn recovered_group_is_not_created() {
    let recovering = created(json!({"spec": {"deletedGroupPolicy": "Recover"}}));
    let deleted = GroupSnapshot { deleted: true, ..snapshot() };
    let answers = vec![Answer::Group(deleted), Answer::Done, Answer::Refused(404, "ResourceNotExist")];
    let expected = "Ready=Unknown/ServiceError Reconciling=True/ServiceError observed=1";
    assert_eq!(shown(&with(recovering, forced()), answers), expected);
}

#[rstest]
#[case::recover(
    json!({}),
    vec![Answer::Blocked],
    "was deleted, and the Live API blocks its ID until about 30 days after the deletion. Edit spec.groupId (every \
     field may be edited now), or set spec.deletedGroupPolicy to Recover."
)]
#[case::failed_recovery(
    json!({"deletedGroupPolicy": "Recover"}),
    vec![Answer::Blocked, Answer::Refused(404, "ResourceNotExist"), Answer::Blocked],
    "was deleted and could not be recovered, and the Live API blocks its ID until about 30 days after the deletion. \
     Edit spec.groupId (every field may be edited now), or request a reconcile pass with the annotation \
     live.alibabacloud.com/reconcile-requested-at when the ID is free."
)]
#[case::observer(
    json!({"managementPolicy": "Observe", "deletedGroupPolicy": "Recover"}),
    vec![Answer::Group(GroupSnapshot { deleted: true, ..snapshot() })],
    "or recover the group."
)]
fn deleted_group_message_names_the_remedies(
    #[case] spec: Value,
    #[case] answers: Vec<Answer>,
    #[case] ends_with: &str,
) {
    let object = object(json!({"spec": spec}));
    let (end, _) = play(&object, None, answers);
    let status = end.outcome().unwrap().status(&object, None, at(NOW)).unwrap();
    let message = message(&status, ConditionType::Ready);
    assert!(message.ends_with(ends_with), "{message}");
}
