//! Tests of the proof that an object created its group. A deletion requires this proof.

use serde_json::json;

use super::*;
use crate::decide::{DeletionOutcome, Priority, record_before, triage};
use crate::live::GroupFields;

/// An object with deletionPolicy Delete and a finalizer.
pub(super) fn deleting_policy(change: Value) -> LiveMessageGroup {
    let policy = json!({
        "metadata": {"finalizers": ["live.alibabacloud.com/group"]},
        "spec": {"deletionPolicy": "Delete"},
    });
    with(object(policy), change)
}

/// The object after a create intent was recorded at `second`.
pub(super) fn with_intent(object: LiveMessageGroup, facts: &Facts, second: i64) -> LiveMessageGroup {
    let Action::Call(create) = decide(&object, facts, None) else { panic!("expected a create") };
    let (status, _) = record_before(&object, facts, &create, at(second), at(second)).unwrap();
    LiveMessageGroup { status: Some(status), ..object }
}

/// Records that the answer to the next call is `given` and arrives at `second`. Returns the call.
pub(super) fn take(facts: &mut Facts, object: &LiveMessageGroup, second: i64, given: &Answer) -> Call {
    let Action::Call(call) = decide(object, facts, None) else { panic!("expected a call") };
    let result = answer(&call, given);
    facts.mark_answered(Some(at(second)));
    facts
        .record(&call, object.metadata.generation.unwrap(), result.as_ref().map(|reply| (reply.clone(), None)), None)
        .unwrap();
    call
}

pub(super) fn found(info: &str, created: i64) -> Answer {
    Answer::Group(GroupSnapshot { group_info: info.into(), create_time: Some(at(created)), ..snapshot() })
}

pub(super) fn end(object: &LiveMessageGroup, facts: &Facts) -> LiveMessageGroupStatus {
    let Action::Write(outcome) = decide(object, facts, None) else { panic!("expected the end of the pass") };
    outcome.status(object, None, at(NOW)).unwrap_or_else(|| object.status.clone().unwrap())
}

/// Returns the status that is recorded if the Describe call after the create is throttled.
pub(super) fn without_description(object: &LiveMessageGroup, facts: &Facts) -> LiveMessageGroupStatus {
    let waiting = PassOutcome::waiting(crate::resources::Reason::Throttled, "wait".into(), facts);
    waiting.status(object, None, at(NOW)).unwrap()
}

pub(super) fn in_deletion(object: LiveMessageGroup, status: LiveMessageGroupStatus) -> LiveMessageGroup {
    let deletion = json!({"metadata": {"generation": 2, "deletionTimestamp": "2027-01-01T00:00:00Z"}});
    with(LiveMessageGroup { status: Some(status), ..object }, deletion)
}

#[test]
fn adopted_group_stays_adopted_after_a_change() {
    let object = with_intent(deleting_policy(json!({})), &Facts::default(), 100);
    // The answer to the create was lost, and another client has created the group with a different groupInfo.
    let mut facts = Facts::default();
    take(&mut facts, &object, 200, &Answer::Exists);
    take(&mut facts, &object, 201, &found("theirs", 150));
    let Action::Call(modify) = decide(&object, &facts, None) else { panic!("expected a change") };
    let (status, body) = record_before(&object, &facts, &modify, at(202), at(202)).unwrap();
    assert_eq!((status.origin.as_ref().unwrap().as_str(), &status.create_intent, body), ("Adopted", &None, None));
    assert_eq!(status.created_at(), Some(at(150)));
    // The change makes the group equal to the recorded body. Only the recorded origin shows that the group was adopted.
    let object = LiveMessageGroup { status: Some(status), ..object };
    take(&mut facts, &object, 203, &Answer::Done);
    take(&mut facts, &object, 204, &found("v1", 150));
    assert_eq!(line(&end(&object, &facts)), "Ready=True/AlreadyExists InSync=True/InSync origin=Adopted observed=1");
}

#[test]
fn lost_create_is_identified_by_body_and_time() {
    for (second, own) in [(69, false), (70, true), (100, true), (230, true), (231, false)] {
        let object = with_intent(deleting_policy(json!({})), &Facts::default(), 100);
        let mut facts = Facts::default();
        take(&mut facts, &object, 200, &Answer::Exists);
        take(&mut facts, &object, 201, &found("v1", second));
        let status = end(&object, &facts);
        assert_eq!(status.origin.as_ref().unwrap().as_str(), if own { "Created" } else { "Adopted" }, "{second}");
        assert_eq!(status.create_intent, None);
    }
}

#[test]
fn group_recreated_by_another_client_is_adopted() {
    let mut object = with_intent(deleting_policy(json!({})), &Facts::default(), 100);
    let mut facts = Facts::default();
    take(&mut facts, &object, 101, &Answer::Created);
    object.status = Some(without_description(&object, &facts));
    // The first pass identifies the group by the interval of the create. Later passes identify it by its create time.
    for second in [100, 100, 300] {
        let requested = with(object.clone(), forced());
        let mut facts = Facts::default();
        take(&mut facts, &requested, 301, &found("v1", second));
        let status = end(&requested, &facts);
        let own = second == 100;
        assert_eq!(status.origin.as_ref().unwrap().as_str(), if own { "Created" } else { "Adopted" });
        let deleting = in_deletion(object.clone(), status.clone());
        if own {
            let call = take(&mut Facts::default(), &deleting, 302, &found("v1", second));
            assert!(matches!(call, Call::Describe(_)));
            object.status = Some(status);
        } else {
            let Action::FinishDeletion(outcome) = decide(&deleting, &Facts::default(), None) else {
                panic!("expected a retained group")
            };
            assert!(matches!(outcome, DeletionOutcome::Retained(_)), "{outcome:?}");
        }
    }
}

#[test]
fn group_younger_than_the_answer_is_adopted() {
    for (second, origin) in [(130, "Created"), (131, "Adopted"), (150, "Adopted")] {
        let mut object = object(json!({}));
        let mut facts = Facts::default();
        take(&mut facts, &object, 100, &Answer::Created);
        // The status could not be written, the spec was edited, and another client recreated the group.
        object = with(object, edited(json!({"groupInfo": "theirs"})));
        take(&mut facts, &object, 200, &found("theirs", second));
        assert_eq!(end(&object, &facts).origin.unwrap().as_str(), origin, "{second}");
    }
}

#[test]
fn observing_does_not_change_the_origin() {
    let mut facts = Facts::default();
    let mut object = with_intent(deleting_policy(json!({})), &facts, 100);
    take(&mut facts, &object, 101, &Answer::Created);
    take(&mut facts, &object, 102, &found("v1", 100));
    let status = end(&object, &facts);
    object = with(LiveMessageGroup { status: Some(status), ..object }, edited(json!({"managementPolicy": "Observe"})));
    let mut facts = Facts::default();
    take(&mut facts, &object, 300, &found("v1", 250));
    let status = end(&object, &facts);
    assert_eq!((status.created_at(), line(&status).contains("origin=Created")), (Some(at(100)), true));
}

#[test]
fn new_intent_removes_the_previous_record() {
    let mut facts = Facts::default();
    let mut object = with_intent(deleting_policy(json!({})), &facts, 100);
    take(&mut facts, &object, 101, &Answer::Created);
    object.status = Some(without_description(&object, &facts));
    object = with(object, forced());
    let mut facts = Facts::default();
    take(&mut facts, &object, 300, &Answer::Refused(404, "ResourceNotExist"));
    let object = with_intent(object, &facts, 301);
    assert_eq!(
        (object.origin(), object.create_intent().unwrap().started_at.as_str()),
        (None, at(301).to_string().as_str())
    );
}

#[test]
fn intent_records_the_last_eight_bodies() {
    let mut object = with_intent(deleting_policy(json!({})), &Facts::default(), 100);
    let Action::Call(Call::Create(group, fields)) = decide(&object, &Facts::default(), None) else {
        panic!("expected a create")
    };
    let before = |object: &LiveMessageGroup, fields: &GroupFields| {
        let create = Call::Create(group.clone(), fields.clone());
        record_before(object, &Facts::default(), &create, at(200), at(200))
    };
    assert_eq!(before(&object, &fields), None, "already recorded");
    for change in 0..20 {
        let fields = GroupFields { group_info: Some(change.to_string()), ..fields.clone() };
        object.status = before(&object, &fields).map(|(status, _)| status);
        let intent = object.create_intent().unwrap();
        assert_eq!(intent.started_at, at(100).to_string(), "the time of the first body is kept");
        assert!(intent.sent.len() == (change + 2).min(8) && before(&object, &fields).is_none());
    }
    assert_eq!(
        record_before(&super::object(json!({})), &Facts::default(), &Call::Describe(group.clone()), at(1), at(1)),
        None
    );
}

#[test]
fn object_in_conflict_without_a_group_has_no_finalizer() {
    let holder = Holder { name: "ns/first".into(), has_origin: true };
    let object = deleting_policy(json!({}));
    assert_eq!(decide(&object, &Facts::default(), Some(&holder)), Action::DropFinalizer);
    let dropped = with(object, json!({"metadata": {"finalizers": null}}));
    assert!(matches!(decide(&dropped, &Facts::default(), Some(&holder)), Action::Write(_)));
    assert!(triage(&dropped).is_some());
}

#[test]
fn failed_deletion_is_a_retry_until_a_user_changes_it() {
    let object = with_intent(deleting_policy(json!({})), &Facts::default(), 100);
    let status = object.status.clone().unwrap();
    let deleting = in_deletion(object, status);
    assert_eq!(triage(&deleting), Some(Priority::Change));
    let failed = pass(&deleting, vec![Answer::Refused(500, "ServerError")]).unwrap();
    let tried = LiveMessageGroup { status: Some(failed), ..deleting };
    assert_eq!(triage(&tried), Some(Priority::Retry), "a status write is not a change");
    let abandon = json!({"metadata": {"annotations": {"live.alibabacloud.com/abandon": "true"}}});
    for change in [abandon, forced(), json!({"metadata": {"generation": 3}})] {
        assert_eq!(triage(&with(tried.clone(), change)), Some(Priority::Change));
    }
    let without_finalizer = with(tried, json!({"metadata": {"finalizers": null}}));
    assert_eq!(triage(&without_finalizer), None);
}

#[test]
fn answer_closes_the_intent_of_a_waiting_object() {
    let object = with_intent(deleting_policy(json!({})), &Facts::default(), 100);
    let mut facts = Facts::default();
    take(&mut facts, &object, 101, &Answer::Created);
    let waiting = PassOutcome::waiting(crate::resources::Reason::NotAuthorized, "wait".into(), &facts);
    let status = waiting.status(&object, None, at(NOW)).unwrap();
    assert_eq!(status.create_intent.as_ref().unwrap().answered_at, Some(at(101).to_string()));
    // A group that was created after the answer is a different group.
    for (second, own) in [(101, true), (150, false)] {
        let deleting = in_deletion(object.clone(), status.clone());
        let mut facts = Facts::default();
        take(&mut facts, &deleting, 200, &found("v1", second));
        let deleted = matches!(decide(&deleting, &facts, None), Action::Call(Call::Delete(_)));
        assert_eq!(deleted, own, "{second}");
    }
}

#[test]
fn waiting_object_records_the_create_time() {
    let mut facts = Facts::default();
    let object = object(json!({}));
    take(&mut facts, &object, 101, &Answer::Created);
    let edited = with(object, edited(json!({"groupInfo": "v2"})));
    take(&mut facts, &edited, 102, &found("v1", 100));
    let waiting = PassOutcome::waiting(crate::resources::Reason::NotAuthorized, "wait".into(), &facts);
    assert_eq!(waiting.status(&edited, None, at(NOW)).unwrap().created_at(), Some(at(100)));
}

#[test]
fn created_group_is_recorded_after_a_switch_to_observe() {
    let mut facts = Facts::default();
    take(&mut facts, &object(json!({})), 101, &Answer::Created);
    // The status could not be written before the switch.
    let observer = with(object(json!({})), edited(json!({"managementPolicy": "Observe"})));
    take(&mut facts, &observer, 102, &found("v1", 100));
    assert_eq!(line(&end(&observer, &facts)), "Ready=True/Observed origin=Created observed=2");
    // If the pass has changed nothing, no origin is recorded.
    let mut facts = Facts::default();
    take(&mut facts, &observer, 102, &found("v1", 100));
    assert_eq!(line(&end(&observer, &facts)), "Ready=True/Observed observed=2");
}

#[test]
fn create_without_an_intent_records_its_interval() {
    let mut facts = Facts::default();
    let mut object = object(json!({}));
    facts.mark_sent(Some(at(100)));
    take(&mut facts, &object, 101, &Answer::Created);
    object.status = Some(end(&object, &facts));
    let intent = object.create_intent().unwrap();
    assert_eq!(
        (intent.started_at.clone(), intent.answered_at.clone()),
        (at(100).to_string(), Some(at(101).to_string()))
    );
    // deletionPolicy is set to Delete later. A group that was created after the interval is a different group.
    let deletes = with(object, edited(json!({"deletionPolicy": "Delete"})));
    for (second, origin) in [(100, "Created"), (500, "Adopted")] {
        let mut facts = Facts::default();
        take(&mut facts, &deletes, 600, &found("v1", second));
        assert_eq!(end(&deletes, &facts).origin.unwrap().as_str(), origin, "{second}");
    }
}

#[test]
fn only_a_create_with_an_unclear_result_proves_ownership() {
    let throttled = || Answer::Refused(400, "Throttling.User");
    let never_sent = CallError::Transport { delivery: Delivery::NeverSent, message: "refused".into() };
    let cases: Vec<(Result<Reply, CallError>, &str)> = vec![
        (answer_of(&throttled()), "Adopted"),
        (answer_of(&Answer::Refused(400, "InvalidTimeStamp.Expired")), "Adopted"),
        (Err(never_sent), "Adopted"),
        (answer_of(&Answer::Lost), "Created"),
        (answer_of(&Answer::Refused(500, "ServerError")), "Created"),
        (answer_of(&Answer::Refused(400, "SignatureNonceUsed")), "Created"),
    ];
    for (result, origin) in cases {
        let (object, mut facts) = about_to_create();
        let Action::Call(create) = decide(&object, &facts, None) else { panic!("expected a create") };
        let result = result.map(|reply| (reply, None));
        facts.record(&create, 1, result.as_ref().cloned(), None).unwrap_err();
        let mut facts = facts.recorded();
        // The group exists, and its fields match the recorded request body.
        take(&mut facts, &object, 200, &Answer::Exists);
        take(&mut facts, &object, 201, &found("v1", 150));
        assert_eq!(end(&object, &facts).origin.unwrap().as_str(), origin, "{result:?}");
    }
}

#[test]
fn body_that_was_not_sent_before_proves_nothing() {
    for (info, origin) in [("v1", "Created"), ("v2", "Adopted")] {
        // A previous process sent the create of v1. Then the spec was edited.
        let (object, _) = about_to_create();
        let object = with(object, edited(json!({"groupInfo": "v2"})));
        let mut facts = Facts::default();
        let Action::Call(create) = decide(&object, &facts, None) else { panic!("expected a create") };
        let (status, body) = record_before(&object, &facts, &create, at(160), at(160)).unwrap();
        facts.intent_recorded(body);
        let object = LiveMessageGroup { status: Some(status), ..object };
        take(&mut facts, &object, 200, &Answer::Exists);
        take(&mut facts, &object, 201, &found(info, 150));
        let origins = match decide(&object, &facts, None) {
            Action::Call(call) => record_before(&object, &facts, &call, at(202), at(202)).unwrap().0.origin,
            _ => end(&object, &facts).origin,
        };
        assert_eq!(origins.unwrap().as_str(), origin, "{info}");
    }
}

#[test]
fn disproved_intent_is_removed_at_the_end_of_the_pass() {
    let (object, facts) = about_to_create();
    let paused = with(object.clone(), json!({"metadata": {"annotations": {"live.alibabacloud.com/paused": "true"}}}));
    assert_eq!(end(&paused, &facts).create_intent, None);
    // An intent that may have created a group is kept.
    assert!(end(&paused, &Facts::default()).create_intent.is_some());
    // A disproved intent is kept while the operator retries automatically, because the next attempt uses it.
    let waiting = PassOutcome::waiting(crate::resources::Reason::Throttled, "wait".into(), &facts);
    assert!(waiting.status(&object, None, at(NOW)).unwrap().create_intent.is_some());
    let stalled = PassOutcome::waiting(crate::resources::Reason::NotAuthorized, "wait".into(), &facts);
    assert_eq!(stalled.status(&object, None, at(NOW)).unwrap().create_intent, None);
}

#[test]
fn answered_create_proves_an_edited_group() {
    let (object, mut facts) = about_to_create();
    facts.mark_sent(Some(at(100)));
    take(&mut facts, &object, 101, &Answer::Created);
    // The status could not be written.
    let deleting = in_deletion(object.clone(), object.status.clone().unwrap());
    take(&mut facts, &deleting, 200, &found("theirs", 100));
    assert!(matches!(decide(&deleting, &facts, None), Action::Call(Call::Delete(_))));
}

#[test]
fn deletion_describes_the_group_again() {
    let mut facts = Facts::default();
    let mut object = with_intent(deleting_policy(json!({})), &facts, 100);
    take(&mut facts, &object, 101, &Answer::Created);
    object.status = Some(without_description(&object, &facts));
    let edited = with(object.clone(), edited(json!({"groupInfo": "v2"})));
    let mut facts = Facts::default();
    take(&mut facts, &edited, 200, &found("v1", 100));
    take(&mut facts, &edited, 201, &Answer::Done);
    take(&mut facts, &edited, 202, &found("v2", 100));
    // The status could not be written for a long time, and the group may have been replaced.
    let deleting = with(edited, json!({"metadata": {"generation": 3, "deletionTimestamp": "2027-01-01T00:00:00Z"}}));
    let call = take(&mut facts, &deleting, 300, &found("v2", 250));
    assert!(matches!(call, Call::Describe(_)));
    assert!(matches!(decide(&deleting, &facts, None), Action::FinishDeletion(DeletionOutcome::Retained(_))));
}

#[test]
fn create_ends_the_pass_only_as_the_last_answer() {
    let (mut facts, object) = (Facts::default(), object(json!({})));
    let create = take(&mut facts, &object, 101, &Answer::Created);
    assert!(matches!(decide(&object, &facts, None), Action::Write(_)));
    let Call::Create(name, _) = create else { panic!("expected a create") };
    let lost = answer_of(&Answer::Lost).unwrap_err();
    facts.record(&Call::Describe(name), 2, Err(&lost), None).unwrap_err();
    assert!(matches!(decide(&object, &facts, None), Action::Call(Call::Describe(_))));
}

/// An object whose first create is about to be sent, and the facts of its pass.
fn about_to_create() -> (LiveMessageGroup, Facts) {
    let (object, mut facts) = (deleting_policy(json!({})), Facts::default());
    let Action::Call(create) = decide(&object, &facts, None) else { panic!("expected a create") };
    let (status, body) = record_before(&object, &facts, &create, at(100), at(100)).unwrap();
    facts.intent_recorded(body);
    (LiveMessageGroup { status: Some(status), ..object }, facts)
}

fn answer_of(given: &Answer) -> Result<Reply, CallError> {
    let name = crate::live::GroupRef { app_id: "demo".into(), group_id: "room1".into(), data_center: None };
    answer(&Call::Create(name, GroupFields::default()), given)
}

#[test]
fn repeated_intent_is_recorded_once() {
    let mut facts = Facts::default();
    for body in ["one", "one", "other", "one"] {
        facts.intent_recorded(Some(body.to_owned()));
    }
    assert_eq!(facts.disproved_intents(), ["one", "other"]);
}
