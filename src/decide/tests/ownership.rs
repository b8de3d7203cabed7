//! Whose group it is: what a deletion rests on.

use serde_json::json;

use super::*;
use crate::decide::{DeletionOutcome, Priority, record_before, retained_at_once, triage};
use crate::live::GroupFields;

/// An object that deletes its group, with a finalizer.
pub(super) fn deleting_policy(change: Value) -> LiveMessageGroup {
    let policy = json!({
        "metadata": {"finalizers": ["live.alibabacloud.com/group"]},
        "spec": {"deletionPolicy": "Delete"},
    });
    with(object(policy), change)
}

/// The object after an attempt was recorded at `second`.
pub(super) fn attempted(object: LiveMessageGroup, facts: &Facts, second: i64) -> LiveMessageGroup {
    let Action::Call(create) = decide(&object, facts, None) else { panic!("it is created") };
    let (status, _) = record_before(&object, facts, &create, at(second), at(second)).unwrap();
    LiveMessageGroup { status: Some(status), ..object }
}

pub(super) fn take(facts: &mut Facts, object: &LiveMessageGroup, second: i64, told: &Answer) -> Call {
    let Action::Call(call) = decide(object, facts, None) else { panic!("a call is next") };
    let told = answer(&call, told);
    facts.mark_answered(at(second));
    facts
        .record(&call, object.metadata.generation.unwrap(), told.as_ref().map(|reply| (reply.clone(), None)), None)
        .unwrap();
    call
}

pub(super) fn found(info: &str, created: i64) -> Answer {
    Answer::Group(GroupSnapshot { group_info: info.into(), create_time: Some(at(created)), ..snapshot() })
}

pub(super) fn end(object: &LiveMessageGroup, facts: &Facts) -> LiveMessageGroupStatus {
    let Action::Write(verdict) = decide(object, facts, None) else { panic!("the pass is at its end") };
    verdict.status(object, None, at(NOW)).unwrap_or_else(|| object.status.clone().unwrap())
}

pub(super) fn in_deletion(object: LiveMessageGroup, status: LiveMessageGroupStatus) -> LiveMessageGroup {
    let going = json!({"metadata": {"generation": 2, "deletionTimestamp": "2027-01-01T00:00:00Z"}});
    with(LiveMessageGroup { status: Some(status), ..object }, going)
}

#[test]
fn a_foreign_group_does_not_become_ones_own_by_being_changed() {
    let object = attempted(deleting_policy(json!({})), &Facts::default(), 100);
    // The answer was lost; somebody else made the group meanwhile, with an info of their own.
    let mut facts = Facts::default();
    take(&mut facts, &object, 200, &Answer::Exists);
    take(&mut facts, &object, 201, &found("theirs", 150));
    let Action::Call(modify) = decide(&object, &facts, None) else { panic!("it is changed") };
    let (status, body) = record_before(&object, &facts, &modify, at(202), at(202)).unwrap();
    assert_eq!((status.origin.as_ref().unwrap().as_str(), &status.create_intent, body), ("Adopted", &None, None));
    assert_eq!(status.created_at(), Some(at(150)));
    // From here on the group is just as it was sent: what is recorded tells.
    let object = LiveMessageGroup { status: Some(status), ..object };
    take(&mut facts, &object, 203, &Answer::Done);
    take(&mut facts, &object, 204, &found("v1", 150));
    assert_eq!(line(&end(&object, &facts)), "Ready=True/AlreadyExists InSync=True/InSync origin=Adopted observed=1");
}

#[test]
fn a_lost_create_is_ones_own_where_the_group_is_as_it_was_sent() {
    for (second, own) in [(98, false), (99, true), (100, true), (201, true), (202, false)] {
        let object = attempted(deleting_policy(json!({})), &Facts::default(), 100);
        let mut facts = Facts::default();
        take(&mut facts, &object, 200, &Answer::Exists);
        take(&mut facts, &object, 201, &found("v1", second));
        let status = end(&object, &facts);
        assert_eq!(status.origin.as_ref().unwrap().as_str(), if own { "Created" } else { "Adopted" }, "{second}");
        assert_eq!(status.create_intent, None);
    }
}

#[test]
fn a_group_made_anew_by_somebody_else_is_another_one() {
    let mut object = attempted(deleting_policy(json!({})), &Facts::default(), 100);
    let mut facts = Facts::default();
    take(&mut facts, &object, 101, &Answer::Created);
    object.status = Some(end(&object, &facts));
    // Known by the interval of its create alone, and by its create time once that was told.
    for second in [100, 100, 300] {
        let asked = with(object.clone(), forced());
        let mut facts = Facts::default();
        take(&mut facts, &asked, 301, &found("v1", second));
        let status = end(&asked, &facts);
        let own = second == 100;
        assert_eq!(status.origin.as_ref().unwrap().as_str(), if own { "Created" } else { "Adopted" });
        let gone = in_deletion(object.clone(), status.clone());
        if own {
            let call = take(&mut Facts::default(), &gone, 302, &found("v1", second));
            assert!(matches!(call, Call::Describe(_)));
            object.status = Some(status);
        } else {
            let Action::FinishDeletion(release) = decide(&gone, &Facts::default(), None) else { panic!("it stays") };
            assert!(matches!(release, DeletionOutcome::Retained(_)), "{release:?}");
        }
    }
}

#[test]
fn what_is_described_after_ones_own_create_may_be_a_later_one() {
    for (second, origin) in [(101, "Created"), (102, "Adopted"), (150, "Adopted")] {
        let mut object = object(json!({}));
        let mut facts = Facts::default();
        take(&mut facts, &object, 100, &Answer::Created);
        // The status could not be written; the spec was edited; somebody made the group anew.
        object = with(object, edited(json!({"groupInfo": "theirs"})));
        take(&mut facts, &object, 200, &found("theirs", second));
        assert_eq!(end(&object, &facts).origin.unwrap().as_str(), origin, "{second}");
    }
}

#[test]
fn to_look_does_not_change_whose_group_it_is() {
    let mut facts = Facts::default();
    let mut object = attempted(deleting_policy(json!({})), &facts, 100);
    take(&mut facts, &object, 101, &Answer::Created);
    let mut status = end(&object, &facts);
    (status.create_time, status.create_intent) = (Some(at(100).to_string()), None);
    object = with(LiveMessageGroup { status: Some(status), ..object }, edited(json!({"managementPolicy": "Observe"})));
    let mut facts = Facts::default();
    take(&mut facts, &object, 300, &found("v1", 250));
    let status = end(&object, &facts);
    assert_eq!((status.created_at(), line(&status).contains("origin=Created")), (Some(at(100)), true));
}

#[test]
fn a_new_attempt_ends_the_record_of_the_life_before() {
    let mut facts = Facts::default();
    let mut object = attempted(deleting_policy(json!({})), &facts, 100);
    take(&mut facts, &object, 101, &Answer::Created);
    object.status = Some(end(&object, &facts));
    object = with(object, forced());
    let mut facts = Facts::default();
    take(&mut facts, &object, 300, &Answer::Refused(404, "ResourceNotExist"));
    let object = attempted(object, &facts, 301);
    assert_eq!(
        (object.origin(), object.create_intent().unwrap().started_at.as_str()),
        (None, at(301).to_string().as_str())
    );
}

#[test]
fn every_body_of_a_lost_create_is_remembered() {
    let mut object = attempted(deleting_policy(json!({})), &Facts::default(), 100);
    let Action::Call(Call::Create(group, fields)) = decide(&object, &Facts::default(), None) else { panic!("created") };
    let before = |object: &LiveMessageGroup, fields: &GroupFields| {
        let create = Call::Create(group.clone(), fields.clone());
        record_before(object, &Facts::default(), &create, at(200), at(200))
    };
    assert_eq!(before(&object, &fields), None, "it is recorded already");
    for change in 0..20 {
        let fields = GroupFields { group_info: Some(change.to_string()), ..fields.clone() };
        object.status = before(&object, &fields).map(|(status, _)| status);
        let attempt = object.create_intent().unwrap();
        assert_eq!(attempt.started_at, at(100).to_string(), "the first one's time stays");
        assert!(attempt.sent.len() == (change + 2).min(8) && before(&object, &fields).is_none());
    }
    assert_eq!(
        record_before(&super::object(json!({})), &Facts::default(), &Call::Describe(group.clone()), at(1), at(1)),
        None
    );
}

#[test]
fn one_in_conflict_keeps_no_finalizer_without_a_group() {
    let holder = Holder { name: "ns/first".into() };
    let object = deleting_policy(json!({}));
    assert_eq!(decide(&object, &Facts::default(), Some(&holder)), Action::DropFinalizer);
    let dropped = with(object, json!({"metadata": {"finalizers": null}}));
    assert!(matches!(decide(&dropped, &Facts::default(), Some(&holder)), Action::Write(_)));
    assert!(triage(&dropped).is_some());
}

#[test]
fn a_deletion_that_has_failed_waits_for_its_time_unless_somebody_asks() {
    let object = attempted(deleting_policy(json!({})), &Facts::default(), 100);
    let status = object.status.clone().unwrap();
    let going = in_deletion(object, status);
    assert_eq!(triage(&going), Some(Priority::Change));
    let failed = pass(&going, vec![Answer::Refused(500, "ServerError")]).unwrap();
    let tried = LiveMessageGroup { status: Some(failed), ..going };
    assert_eq!(triage(&tried), Some(Priority::Retry), "the status it wrote is no news");
    let abandon = json!({"metadata": {"annotations": {"live.alibabacloud.com/abandon": "true"}}});
    for asks in [abandon, forced(), json!({"metadata": {"generation": 3}})] {
        assert_eq!(triage(&with(tried.clone(), asks)), Some(Priority::Change));
    }
    let gone = with(tried, json!({"metadata": {"finalizers": null}}));
    assert_eq!(triage(&gone), None);
}

#[test]
fn the_attempt_ends_with_its_answer_whatever_the_pass_comes_to() {
    let object = attempted(deleting_policy(json!({})), &Facts::default(), 100);
    let mut facts = Facts::default();
    take(&mut facts, &object, 101, &Answer::Created);
    let waiting = PassOutcome::waiting(crate::resources::Reason::NotAuthorized, "wait".into(), &facts);
    let status = waiting.status(&object, None, at(NOW)).unwrap();
    assert_eq!(status.create_intent.as_ref().unwrap().answered_at, Some(at(101).to_string()));
    // A group that somebody made after that is another one.
    for (second, own) in [(101, true), (150, false)] {
        let gone = in_deletion(object.clone(), status.clone());
        let mut facts = Facts::default();
        take(&mut facts, &gone, 200, &found("v1", second));
        let deleted = matches!(decide(&gone, &facts, None), Action::Call(Call::Delete(_)));
        assert_eq!(deleted, own, "{second}");
    }
}

#[test]
fn a_create_time_that_was_told_outlives_the_failure_of_the_pass() {
    let mut facts = Facts::default();
    let object = object(json!({}));
    take(&mut facts, &object, 101, &Answer::Created);
    let edited = with(object, edited(json!({"groupInfo": "v2"})));
    take(&mut facts, &edited, 102, &found("v1", 100));
    let waiting = PassOutcome::waiting(crate::resources::Reason::NotAuthorized, "wait".into(), &facts);
    assert_eq!(waiting.status(&edited, None, at(NOW)).unwrap().created_at(), Some(at(100)));
}

#[test]
fn what_was_made_before_a_switch_to_observe_is_recorded() {
    let mut facts = Facts::default();
    take(&mut facts, &object(json!({})), 101, &Answer::Created);
    // The status could not be written before the switch.
    let observer = with(object(json!({})), edited(json!({"managementPolicy": "Observe"})));
    take(&mut facts, &observer, 102, &found("v1", 100));
    assert_eq!(line(&end(&observer, &facts)), "Ready=True/Observed origin=Created observed=2");
    // Without an effect there is nothing to record.
    let mut facts = Facts::default();
    take(&mut facts, &observer, 102, &found("v1", 100));
    assert_eq!(line(&end(&observer, &facts)), "Ready=True/Observed observed=2");
}

#[test]
fn a_group_made_without_a_recorded_attempt_is_known_by_the_moments_of_its_create() {
    let mut facts = Facts::default();
    let mut object = object(json!({}));
    facts.mark_sent(at(100));
    take(&mut facts, &object, 101, &Answer::Created);
    object.status = Some(end(&object, &facts));
    let attempt = object.create_intent().unwrap();
    assert_eq!(
        (attempt.started_at.clone(), attempt.answered_at.clone()),
        (at(100).to_string(), Some(at(101).to_string()))
    );
    // A deletion is asked for later: what was made after that is another group.
    let deletes = with(object, edited(json!({"deletionPolicy": "Delete"})));
    for (second, origin) in [(100, "Created"), (500, "Adopted")] {
        let mut facts = Facts::default();
        take(&mut facts, &deletes, 600, &found("v1", second));
        assert_eq!(end(&deletes, &facts).origin.unwrap().as_str(), origin, "{second}");
    }
}

#[test]
fn only_a_body_whose_create_went_unheard_proves_anything() {
    let throttled = || Answer::Refused(400, "Throttling.User");
    let never_sent = CallError::Transport { delivery: Delivery::NeverSent, message: "refused".into() };
    let told: Vec<(Result<Reply, CallError>, &str)> = vec![
        (answer_of(&throttled()), "Adopted"),
        (answer_of(&Answer::Refused(400, "InvalidTimeStamp.Expired")), "Adopted"),
        (Err(never_sent), "Adopted"),
        (answer_of(&Answer::Lost), "Created"),
        (answer_of(&Answer::Refused(500, "ServerError")), "Created"),
        (answer_of(&Answer::Refused(400, "SignatureNonceUsed")), "Created"),
    ];
    for (told, origin) in told {
        let (object, mut facts) = attempting();
        let Action::Call(create) = decide(&object, &facts, None) else { panic!("it is created") };
        let told = told.map(|reply| (reply, None));
        facts.record(&create, 1, told.as_ref().cloned(), None).unwrap_err();
        let mut facts = facts.recorded();
        // Somebody makes the very group.
        take(&mut facts, &object, 200, &Answer::Exists);
        take(&mut facts, &object, 201, &found("v1", 150));
        assert_eq!(end(&object, &facts).origin.unwrap().as_str(), origin, "{told:?}");
    }
}

#[test]
fn a_body_that_was_never_sent_before_proves_nothing() {
    for (info, origin) in [("v1", "Created"), ("v2", "Adopted")] {
        // The create of v1 was sent by a process that ended; then the spec was edited.
        let (object, _) = attempting();
        let object = with(object, edited(json!({"groupInfo": "v2"})));
        let mut facts = Facts::default();
        let Action::Call(create) = decide(&object, &facts, None) else { panic!("it is created") };
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
fn an_attempt_of_which_nothing_came_ends_with_the_pass() {
    let (object, facts) = attempting();
    let paused = with(object.clone(), json!({"metadata": {"annotations": {"live.alibabacloud.com/paused": "true"}}}));
    assert_eq!(end(&paused, &facts).create_intent, None);
    // One that may have made a group stays.
    assert!(end(&paused, &Facts::default()).create_intent.is_some());
    // While the operator goes on by itself it stays too: the next try is under it.
    let waiting = PassOutcome::waiting(crate::resources::Reason::Throttled, "wait".into(), &facts);
    assert!(waiting.status(&object, None, at(NOW)).unwrap().create_intent.is_some());
    let stuck = PassOutcome::waiting(crate::resources::Reason::NotAuthorized, "wait".into(), &facts);
    assert_eq!(stuck.status(&object, None, at(NOW)).unwrap().create_intent, None);
}

#[test]
fn a_create_that_was_answered_proves_the_group_though_somebody_has_edited_it() {
    let (object, mut facts) = attempting();
    facts.mark_sent(at(100));
    take(&mut facts, &object, 101, &Answer::Created);
    // The status could not be written.
    let gone = in_deletion(object.clone(), object.status.clone().unwrap());
    take(&mut facts, &gone, 200, &found("theirs", 100));
    assert!(matches!(decide(&gone, &facts, None), Action::Call(Call::Delete(_))));
}

#[test]
fn a_deletion_looks_at_the_group_itself() {
    let mut facts = Facts::default();
    let mut object = attempted(deleting_policy(json!({})), &facts, 100);
    take(&mut facts, &object, 101, &Answer::Created);
    object.status = Some(end(&object, &facts));
    let edited = with(object.clone(), edited(json!({"groupInfo": "v2"})));
    let mut facts = Facts::default();
    take(&mut facts, &edited, 200, &found("v1", 100));
    take(&mut facts, &edited, 201, &Answer::Done);
    take(&mut facts, &edited, 202, &found("v2", 100));
    // The status could not be written for long; the group may be another one by now.
    let gone = with(edited, json!({"metadata": {"generation": 3, "deletionTimestamp": "2027-01-01T00:00:00Z"}}));
    let call = take(&mut facts, &gone, 300, &found("v2", 250));
    assert!(matches!(call, Call::Describe(_)));
    assert!(matches!(decide(&gone, &facts, None), Action::FinishDeletion(DeletionOutcome::Retained(_))));
}

#[test]
fn a_create_shows_the_group_only_while_its_answer_is_the_last() {
    let (mut facts, object) = (Facts::default(), object(json!({})));
    let create = take(&mut facts, &object, 101, &Answer::Created);
    assert!(matches!(decide(&object, &facts, None), Action::Write(_)));
    let Call::Create(name, _) = create else { panic!("it was created") };
    let lost = answer_of(&Answer::Lost).unwrap_err();
    facts.record(&Call::Describe(name), 2, Err(&lost), None).unwrap_err();
    assert!(matches!(decide(&object, &facts, None), Action::Call(Call::Describe(_))));
}

/// An object whose first create is about to be sent.
fn attempting() -> (LiveMessageGroup, Facts) {
    let (object, mut facts) = (deleting_policy(json!({})), Facts::default());
    let Action::Call(create) = decide(&object, &facts, None) else { panic!("it is created") };
    let (status, body) = record_before(&object, &facts, &create, at(100), at(100)).unwrap();
    facts.intent_recorded(body);
    (LiveMessageGroup { status: Some(status), ..object }, facts)
}

fn answer_of(told: &Answer) -> Result<Reply, CallError> {
    let name = crate::live::GroupRef { app_id: "demo".into(), group_id: "room1".into(), data_center: None };
    answer(&Call::Create(name, GroupFields::default()), told)
}

#[test]
fn a_record_that_fails_over_and_over_is_remembered_once() {
    let mut facts = Facts::default();
    for body in ["one", "one", "other", "one"] {
        facts.intent_recorded(Some(body.to_owned()));
    }
    assert_eq!(facts.disproved_intents(), ["one", "other"]);
}

#[test]
fn an_object_that_goes_without_a_deletion_is_told_why() {
    let why = |object: &LiveMessageGroup| match decide(object, &Facts::default(), None) {
        Action::FinishDeletion(DeletionOutcome::Retained(why)) => why,
        other => panic!("{other:?}"),
    };
    let going = json!({"metadata": {"generation": 2, "deletionTimestamp": "2027-01-01T00:00:00Z"}});
    let waiting = with(deleting_policy(json!({})), going.clone());
    assert!(why(&waiting).contains("does not record that this object created it"), "it still waited for its turn");
    let made = pass(&attempted(deleting_policy(json!({})), &Facts::default(), 100), vec![Answer::Created]);
    let made = LiveMessageGroup { status: made, ..deleting_policy(json!({})) };
    let observing = json!({"spec": {"managementPolicy": "Observe"}});
    assert!(why(&with(with(made.clone(), observing.clone()), going.clone())).contains("Observe"));
    let retained = with(with(made.clone(), json!({"spec": {"deletionPolicy": "Retain"}})), going);
    assert!(why(&retained).contains("deletionPolicy"));
    // Without a finalizer it is gone at once.
    assert!(retained_at_once(&with(made.clone(), observing)).unwrap().contains("Observe"));
    assert_eq!(retained_at_once(&with(made.clone(), json!({"spec": {"deletionPolicy": "Retain"}}))), None);
    assert_eq!(retained_at_once(&made), None);
    assert_eq!(
        retained_at_once(&object(json!({"spec": {"deletionPolicy": "Delete", "managementPolicy": "Observe"}}))),
        None
    );
}
