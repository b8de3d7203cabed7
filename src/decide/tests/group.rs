//! Tests of adopted, changed and absent groups.

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::live::{GroupChange, GroupFields, GroupRef};
use crate::resources::Reason;

const ADOPTED: &str = "Ready=True/AlreadyExists InSync=True/InSync origin=Adopted observed=1";

fn info(text: &str) -> GroupSnapshot {
    GroupSnapshot { group_info: text.into(), ..snapshot() }
}

pub fn message(status: &LiveMessageGroupStatus, kind: ConditionType) -> &str {
    &status.condition(kind).unwrap().message
}

#[test]
fn adopted_group_is_changed_before_it_is_ready() {
    let answers = vec![Answer::Exists, Answer::Group(info("theirs")), Answer::Done, Answer::Group(info("v1"))];
    let new = object(json!({}));
    let (_, calls) = play(&new, None, answers.clone());
    assert_eq!(operations(&calls), [Operation::Create, Operation::Describe, Operation::Modify, Operation::Describe]);
    let Call::Modify(_, change) = &calls[2] else { panic!("{calls:?}") };
    assert_eq!(change, &GroupChange { group_info: Some("v1".into()), administrators: None });
    let status = pass(&new, answers).unwrap();
    assert_eq!(line(&status), ADOPTED);
    assert_eq!(status.last_request_id.as_deref(), Some("request-2"), "the last request that changed something");
    assert_eq!(status.created_at(), Some(at(NOW - 60)));
    assert_eq!((status.app_id.as_deref(), status.group_id.as_deref()), (Some("demo"), Some("room1")));
    let in_data_center = object(json!({"spec": {"dataCenter": "ap-southeast-1"}}));
    assert_eq!(pass(&in_data_center, vec![Answer::Created]).unwrap().data_center.as_deref(), Some("ap-southeast-1"));
}

#[test]
fn describe_keeps_the_last_request_id() {
    let requested = created(forced());
    let status = pass(&requested, vec![Answer::Group(snapshot())]).unwrap();
    assert_eq!(status.last_request_id.as_deref(), Some("request-0"));
    let (new, mut facts) = (object(json!({})), Facts::default());
    let Action::Call(create) = decide(&new, &facts, None) else { panic!("expected a create") };
    facts.record(&create, 1, Ok((Reply::Created(CreateOutcome::Created), None)), None).unwrap();
    let Action::Write(outcome) = decide(&new, &facts, None) else { panic!("expected the end of the pass") };
    assert_eq!(outcome.status(&new, None, at(NOW)).unwrap().last_request_id, None, "the response had none");
}

#[test]
fn condition_in_sync_is_absent_without_synchronization() {
    for (policy, expected) in [
        ("CreateOnly", "Ready=True/Created origin=Created observed=2"),
        ("Observe", "Ready=True/Observed origin=Created observed=2"),
    ] {
        let switched = created(edited(json!({"managementPolicy": policy})));
        assert_eq!(shown(&switched, vec![Answer::Group(info("theirs"))]), expected);
    }
}

#[test]
fn only_fields_of_the_spec_are_sent_and_compared() {
    let bare = object(json!({"spec": {"groupName": null, "groupInfo": null}}));
    let (_, calls) = play(&bare, None, vec![Answer::Exists, Answer::Group(info("theirs"))]);
    let Call::Create(_, fields) = &calls[0] else { panic!("{calls:?}") };
    assert_eq!(fields, &GroupFields::default());
    let cleared = object(json!({"spec": {"groupInfo": "", "administrators": []}}));
    let admins = GroupSnapshot { administrators: vec!["a".into()], ..snapshot() };
    let (_, calls) = play(&cleared, None, vec![Answer::Exists, Answer::Group(admins), Answer::Lost]);
    let Call::Modify(_, change) = &calls[2] else { panic!("{calls:?}") };
    assert_eq!(change, &GroupChange { group_info: Some(String::new()), administrators: Some(vec![]) });
}

#[rstest]
#[case(&["a", "b"], &["b", "a"], true)]
#[case(&["a"], &["a", "a"], true)]
#[case(&[], &[], true)]
#[case(&["a", "b"], &["a"], false)]
#[case(&["a"], &["a", "b"], false)]
#[case(&["a"], &["A"], false)]
fn administrators_are_a_set(#[case] wanted: &[&str], #[case] shown: &[&str], #[case] equal: bool) {
    let object = object(json!({"spec": {"administrators": wanted}}));
    let group = GroupSnapshot { administrators: shown.iter().map(|id| (*id).to_owned()).collect(), ..snapshot() };
    let mut answers = vec![Answer::Exists, Answer::Group(group)];
    if !equal {
        answers.push(Answer::Lost);
    }
    assert_eq!(play(&object, None, answers).1.len(), if equal { 2 } else { 3 });
}

#[test]
fn immutable_differences_are_named_without_further_calls() {
    let theirs = GroupSnapshot { group_name: "Theirs".into(), creator_id: "them".into(), ..snapshot() };
    let new = object(json!({"spec": {"creatorId": "us"}}));
    let adopted = after(new, vec![Answer::Exists, Answer::Group(theirs.clone())], json!({}));
    let status = adopted.status.clone().unwrap();
    assert_eq!(line(&status), "Ready=True/AlreadyExists InSync=False/ImmutableFieldsDiffer origin=Adopted observed=1");
    assert!(message(&status, ConditionType::InSync).contains("groupName and creatorId"), "{status:?}");
    assert_eq!(shown(&adopted, vec![]), "unchanged");
    // A change to a mutable field is still applied.
    let edited = with(adopted, edited(json!({"groupInfo": "v2"})));
    let changed = GroupSnapshot { group_info: "v2".into(), ..theirs.clone() };
    assert_eq!(
        shown(&edited, vec![Answer::Group(theirs), Answer::Done, Answer::Group(changed)]),
        "Ready=True/AlreadyExists InSync=False/ImmutableFieldsDiffer origin=Adopted observed=2"
    );
}

#[test]
fn ignored_change_is_sent_twice_until_the_spec_changes() {
    let edit = created(edited(json!({"groupInfo": "v2", "administrators": ["a"]})));
    let half = GroupSnapshot { administrators: vec!["a".into()], ..snapshot() };
    let answers = vec![
        Answer::Group(snapshot()),
        Answer::Done,
        Answer::Group(half.clone()),
        Answer::Done,
        Answer::Group(half.clone()),
    ];
    let ignored = after(edit, answers, json!({}));
    let status = ignored.status.clone().unwrap();
    assert_eq!(line(&status), "Ready=True/Created InSync=False/UpdateIgnored origin=Created observed=2");
    let message = message(&status, ConditionType::InSync);
    assert!(message.contains("groupInfo") && !message.contains("administrators"), "{message}");
    assert_eq!(shown(&ignored, vec![]), "unchanged");
    // After a drift check that contradicts the status, the next step is a Describe call.
    let mut drifted = Facts::default();
    drifted.mark_drift();
    assert!(matches!(decide(&ignored, &drifted, None), Action::Call(Call::Describe(_))));
    let describe = |group: GroupSnapshot| {
        let mut facts = drifted.clone();
        let call = Call::Describe(GroupRef { app_id: "demo".into(), group_id: "room".into(), data_center: None });
        facts.record(&call, 2, Ok((Reply::Group(group), None)), None).unwrap();
        let Action::Write(outcome) = decide(&ignored, &facts, None) else { panic!("expected no further change") };
        outcome.status(&ignored, None, at(0))
    };
    assert_eq!(describe(half.clone()).map(|status| line(&status)), None);
    // Drift in the other field is corrected, and only that field is sent.
    let mut facts = drifted.clone();
    let changed = GroupSnapshot { administrators: vec!["theirs".to_owned()], ..half.clone() };
    learn(&mut facts, &ignored, &[Answer::Group(changed)]);
    let Action::Call(Call::Modify(_, change)) = decide(&ignored, &facts, None) else { panic!("expected a change") };
    assert_eq!((change.group_info, change.administrators.is_some()), (None, true));
    let late = describe(GroupSnapshot { group_info: "v2".into(), ..half.clone() });
    let in_sync = "Ready=True/Created InSync=True/InSync origin=Created observed=2";
    assert_eq!(late.map(|status| line(&status)).as_deref(), Some(in_sync));
    let edited_again = with(ignored.clone(), json!({"metadata": {"generation": 3}, "spec": {"groupInfo": "v3"}}));
    let applied = GroupSnapshot { group_info: "v3".into(), ..half.clone() };
    assert_eq!(
        shown(&edited_again, vec![Answer::Group(half), Answer::Done, Answer::Group(applied)]),
        "Ready=True/Created InSync=True/InSync origin=Created observed=3"
    );
}

/// Records one of `answers`, in order, for each call that the object needs.
fn learn(facts: &mut Facts, object: &LiveMessageGroup, answers: &[Answer]) {
    for given in answers {
        let Action::Call(call) = decide(object, facts, None) else { panic!("expected a call") };
        let result = answer(&call, given);
        let generation = object.metadata.generation.unwrap();
        facts.record(&call, generation, result.as_ref().map(|reply| (reply.clone(), None)), None).unwrap();
    }
}

#[test]
fn edit_during_a_pass_resets_the_modify_count() {
    let edit = created(edited(json!({"groupInfo": "v2"})));
    let (mut facts, group) = (Facts::default(), || Answer::Group(snapshot()));
    learn(&mut facts, &edit, &[group(), Answer::Done, group(), Answer::Done, group()]);
    assert!(matches!(decide(&edit, &facts, None), Action::Write(_)));
    let again = with(edit, json!({"metadata": {"generation": 3}, "spec": {"groupInfo": "v3"}}));
    learn(&mut facts, &again, &[Answer::Done, group(), Answer::Done, group()]);
    assert!(matches!(decide(&again, &facts, None), Action::Write(_)));
}

#[test]
fn recreated_group_is_recorded_while_its_object_waits() {
    let none = || Answer::Refused(404, "ResourceNotExist");
    let edit = created(edited(json!({"groupInfo": "v2"})));
    let mut facts = Facts::default();
    learn(&mut facts, &edit, &[Answer::Group(snapshot()), none(), Answer::Created]);
    let waiting = PassOutcome::waiting(Reason::NotAuthorized, "wait".into(), &facts);
    let status = waiting.status(&edit, None, at(NOW)).unwrap();
    assert_eq!(line(&status), "Ready=False/NotAuthorized Stalled=True/NotAuthorized origin=Created observed=2");
    assert_eq!(status.create_time, None, "the create time of the previous group does not apply");
}

#[test]
fn drifted_group_is_described_and_corrected() {
    let (settled, mut facts) = (created(json!({})), Facts::default());
    assert_eq!(decide(&settled, &facts, None), Action::Nothing);
    facts.mark_drift();
    learn(&mut facts, &settled, &[Answer::Group(info("by hand")), Answer::Done, Answer::Group(snapshot())]);
    assert!(matches!(decide(&settled, &facts, None), Action::Write(_)));
}

#[test]
fn absent_group_is_recreated() {
    let not_found = Answer::Refused(404, "ResourceNotExist");
    let requested = created(forced());
    let recreated = pass(&requested, vec![not_found.clone(), Answer::Created]).unwrap();
    assert_eq!(line(&recreated), "Ready=True/Created InSync=True/InSync origin=Created observed=1");
    assert_eq!(recreated.create_time, None, "the create time of the new group is not known");
    // If another client recreates the group first, the old origin does not apply.
    let adopted = pass(&requested, vec![not_found, Answer::Exists, Answer::Group(snapshot())]).unwrap();
    assert_eq!(line(&adopted), ADOPTED);
}

/// A pass that finds no group removes the origin, regardless of the outcome of the pass.
#[rstest]
#[case(Answer::Lost, "Ready=Unknown/Unreachable Reconciling=True/Unreachable observed=1")]
#[case(Answer::Refused(500, "ServerError"), "Ready=Unknown/ServiceError Reconciling=True/ServiceError observed=1")]
#[case(Answer::Refused(400, "ErrorTooManyGroups"), "Ready=False/QuotaExceeded Stalled=True/QuotaExceeded observed=1")]
// In the next two cases, the user can edit every field of the spec, because the object has no group.
#[case(Answer::Refused(404, "ResourceNotExist"), "Ready=False/AppNotFound Stalled=True/AppNotFound observed=1")]
#[case(Answer::Blocked, "Ready=False/GroupDeleted Stalled=True/GroupDeleted Degraded=True/GroupDeleted observed=1")]
fn origin_is_removed_with_the_group(#[case] answer: Answer, #[case] expected: &str) {
    let not_found = Answer::Refused(404, "ResourceNotExist");
    let requested = created(forced());
    assert_eq!(shown(&requested, vec![not_found, answer]), expected);
}

#[test]
fn waiting_object_records_what_the_pass_did() {
    let new = object(json!({}));
    let mut facts = Facts::default();
    let Action::Call(create) = decide(&new, &facts, None) else { panic!("expected a create") };
    let reply = Reply::Created(CreateOutcome::Created);
    facts.record(&create, 1, Ok((reply, Some("request-1".into()))), None).unwrap();
    let waiting = PassOutcome::waiting(Reason::NotAuthorized, "wait".into(), &facts);
    let status = waiting.status(&new, new.reconcile_requested_at(), at(NOW)).unwrap();
    assert_eq!(line(&status), "Ready=False/NotAuthorized Stalled=True/NotAuthorized origin=Created observed=1");
    assert_eq!(status.last_request_id.as_deref(), Some("request-1"));
}

#[test]
fn another_group_id_starts_a_new_record() {
    let deleted = GroupSnapshot { deleted: true, ..snapshot() };
    let lost = after(created(forced()), vec![Answer::Group(deleted)], json!({}));
    assert!(lost.status.as_ref().unwrap().last_request_id.is_some());
    let moved = with(lost, edited(json!({"groupId": "room2", "groupName": "Another"})));
    // The first pass for the new group removes the record of the old group, even if the pass fails.
    let failed = pass(&moved, vec![Answer::Refused(500, "ServerError")]).unwrap();
    assert_eq!(line(&failed), "Ready=Unknown/ServiceError Reconciling=True/ServiceError observed=2");
    assert_eq!((failed.group_id.as_deref(), failed.last_request_id.as_deref()), (Some("room2"), None));
    let status = pass(&moved, vec![Answer::Exists, Answer::Group(GroupSnapshot { create_time: None, ..snapshot() })]);
    let status = status.unwrap();
    assert_eq!((status.create_time.clone(), status.last_request_id.clone()), (None, None));
    assert!(line(&status).contains("origin=Adopted"));
    let created = pass(&moved, vec![Answer::Created]).unwrap();
    assert_eq!(line(&created), "Ready=True/Created InSync=True/InSync origin=Created observed=2");
}

#[test]
fn origin_of_another_group_does_not_apply() {
    let moved = created(edited(json!({"groupId": "room2"})));
    let (_, calls) = play(&moved, None, vec![Answer::Lost]);
    assert_eq!(operations(&calls), [Operation::Create]);
    assert_eq!(shown(&moved, vec![Answer::Lost]), "Ready=Unknown/Unreachable Reconciling=True/Unreachable observed=2");
}

#[rstest]
#[case::found(vec![Answer::Group(info("theirs"))], "Ready=True/Observed observed=1")]
#[case::none(
    vec![Answer::Refused(404, "ResourceNotExist")],
    "Ready=False/GroupNotFound Stalled=True/GroupNotFound observed=1"
)]
#[case::deleted(
    vec![Answer::Group(GroupSnapshot { deleted: true, ..snapshot() })],
    "Ready=False/GroupDeleted Stalled=True/GroupDeleted Degraded=True/GroupDeleted observed=1"
)]
fn observer_reports_the_state_of_the_group(#[case] answers: Vec<Answer>, #[case] expected: &str) {
    let observer = object(json!({"spec": {"managementPolicy": "Observe"}}));
    let (end, calls) = play(&observer, Some(&Holder { name: "ns/owner".into(), has_origin: true }), answers);
    assert_eq!(operations(&calls), [Operation::Describe]);
    let status = end.outcome().unwrap().status(&observer, None, at(NOW)).unwrap();
    assert_eq!(line(&status), expected);
    let live = status.condition(ConditionType::Ready).unwrap().status == "True";
    assert_eq!(status.created_at(), live.then(|| at(NOW - 60)), "the create time of a live group is recorded");
}

#[test]
fn create_only_adopts_a_different_group_unchanged() {
    let new = object(json!({"spec": {"managementPolicy": "CreateOnly"}}));
    let answers = vec![Answer::Exists, Answer::Group(info("theirs"))];
    assert_eq!(shown(&new, answers), "Ready=True/AlreadyExists origin=Adopted observed=1");
}

#[test]
fn conflict_message_names_only_permitted_edits() {
    let holder = Holder { name: "other/room".into(), has_origin: true };
    let ready_message = |object: &LiveMessageGroup| {
        let (end, _) = play(object, Some(&holder), vec![]);
        let status = end.outcome().unwrap().status(object, None, at(NOW)).unwrap();
        message(&status, ConditionType::Ready).to_owned()
    };
    assert!(
        ready_message(&object(json!({}))).ends_with("or edit the spec of this object (every field may be edited now).")
    );
    assert!(ready_message(&created(json!({}))).ends_with("or set spec.managementPolicy of this object to Observe."));
}

#[test]
fn refused_object_keeps_its_status_while_the_owner_tries() {
    let new = object(json!({}));
    let status = pass(&new, vec![Answer::Blocked]).unwrap();
    let refused = LiveMessageGroup { status: Some(status), ..new };
    assert_eq!(refused.ready_reason(), Some(Reason::GroupDeleted));
    let owner = |has_origin| Holder { name: "ns/owner".into(), has_origin };
    assert_eq!(decide(&refused, &Facts::default(), Some(&owner(false))), Action::Nothing);
    let Action::Write(outcome) = decide(&refused, &Facts::default(), Some(&owner(true))) else {
        panic!("expected a conflict: the owner has the group")
    };
    assert_eq!(outcome.reason(), Reason::Conflict);
    let edited = with(refused, edited(json!({"groupInfo": "v2"})));
    let Action::Write(outcome) = decide(&edited, &Facts::default(), Some(&owner(false))) else {
        panic!("expected a conflict after an edit")
    };
    assert_eq!(outcome.reason(), Reason::Conflict);
}
