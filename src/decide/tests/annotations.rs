//! Tests of the annotations `paused` and `reconcile-requested-at`.

use serde_json::json;

use super::*;
use crate::decide::{Priority, triage};

fn paused() -> Value {
    json!({"metadata": {"annotations": {"live.alibabacloud.com/paused": "true"}}})
}

fn resumed() -> Value {
    json!({"metadata": {"annotations": {"live.alibabacloud.com/paused": null}}})
}

fn has_paused(object: &LiveMessageGroup) -> bool {
    object.condition(ConditionType::Paused).is_some()
}

fn handled(object: &LiveMessageGroup) -> Option<&str> {
    object.status.as_ref()?.last_handled_reconcile_at.as_deref()
}

#[test]
fn pause_sets_only_the_condition_paused() {
    let settled = created(paused());
    assert_eq!(triage(&settled), Some(Priority::Change));
    let settled = after(settled, vec![], json!({}));
    assert_eq!(
        line(settled.status.as_ref().unwrap()),
        "Ready=True/Created InSync=True/InSync Paused=True/Paused origin=Created observed=1"
    );
    assert_eq!((triage(&settled), shown(&settled, vec![])), (None, "unchanged".to_owned()));
    // An edit during the pause has no effect.
    let edited = with(settled, edited(json!({"groupInfo": "v2"})));
    assert_eq!(triage(&edited), None);
    assert_eq!(line(&after(edited.clone(), vec![], json!({})).status.unwrap()), line(&edited.status.unwrap()));
}

#[test]
fn resumed_live_group_is_described_once() {
    let settled = after(created(paused()), vec![], resumed());
    assert_eq!(triage(&settled), Some(Priority::Change));
    let described = "Ready=True/Created InSync=True/InSync origin=Created observed=1";
    assert_eq!(shown(&settled, vec![Answer::Group(snapshot())]), described);
    let drifted = GroupSnapshot { group_info: "by hand".into(), ..snapshot() };
    assert_eq!(shown(&settled, vec![Answer::Group(drifted), Answer::Done, Answer::Group(snapshot())]), described);
    // A failed Describe call is retried.
    let failed = after(settled.clone(), vec![Answer::Lost], json!({}));
    assert_eq!(triage(&failed), Some(Priority::Retry));

    let edited = with(settled, edited(json!({"groupInfo": "v2"})));
    let (_, calls) = play(
        &edited,
        None,
        vec![
            Answer::Group(snapshot()),
            Answer::Done,
            Answer::Group(GroupSnapshot { group_info: "v2".into(), ..snapshot() }),
        ],
    );
    assert_eq!(operations(&calls), [Operation::Describe, Operation::Modify, Operation::Describe]);

    let new = after(object(paused()), vec![], resumed());
    assert_eq!(line(new.status.as_ref().unwrap()), "Ready=Unknown/Pending Paused=True/Paused observed=-1");
    assert_eq!(shown(&new, vec![Answer::Created]), "Ready=True/Created InSync=True/InSync origin=Created observed=1");
}

#[test]
fn resumed_object_without_pending_work_makes_no_call() {
    let deleted = after(object(json!({})), vec![Answer::Blocked], paused());
    let observing = with(object(json!({})), json!({"spec": {"managementPolicy": "Observe"}}));
    let observing = after(observing, vec![Answer::Group(snapshot())], paused());
    let edited = created(edited(json!({"groupInfo": "v2"})));
    let group = || Answer::Group(snapshot());
    let ignored = after(edited, vec![group(), Answer::Done, group(), Answer::Done, group()], paused());
    for object in [deleted, observing, ignored] {
        let before = line(object.status.as_ref().unwrap());
        let waiting = after(object, vec![], resumed());
        assert!(has_paused(&waiting) && triage(&waiting) == Some(Priority::Change));
        let settled = after(waiting, vec![], json!({}));
        assert_eq!((has_paused(&settled), line(settled.status.as_ref().unwrap())), (false, before));
    }
}

#[test]
fn paused_object_records_earlier_calls_and_makes_none() {
    // The create is answered, but the status is not written. Then the spec is edited, and the object is paused.
    let new = object(json!({}));
    let mut facts = Facts::default();
    let Action::Call(call) = decide(&new, &facts, None) else { panic!("expected a create") };
    let reply = Reply::Created(CreateOutcome::Created);
    facts.record(&call, 1, Ok((reply, Some("request-1".into()))), None).unwrap();
    let paused = with(with(new, edited(json!({"groupInfo": "v2"}))), paused());
    let Action::Write(outcome) = decide(&paused, &facts, None) else { panic!("expected no call") };
    let status = outcome.status(&paused, paused.reconcile_requested_at(), at(NOW)).unwrap();
    assert_eq!(line(&status), "Ready=Unknown/Pending Paused=True/Paused origin=Created observed=-1");
    assert_eq!(status.last_request_id.as_deref(), Some("request-1"));
    // After the pause, the status proves that this object created the group.
    let resumed = with(LiveMessageGroup { status: Some(status), ..paused }, resumed());
    let group = || Answer::Group(snapshot());
    let (end, calls) = play(&resumed, None, vec![group(), Answer::Lost]);
    assert_eq!(operations(&calls), [Operation::Describe, Operation::Modify]);
    let status = end.outcome().unwrap().status(&resumed, resumed.reconcile_requested_at(), at(NOW)).unwrap();
    assert_eq!(line(&status), "Ready=Unknown/Unreachable Reconciling=True/Unreachable origin=Created observed=2");
}

#[test]
fn paused_object_makes_no_calls_and_retries_after_resume() {
    let failing = after(created(forced()), vec![Answer::Lost], paused());
    let waiting = after(failing, vec![], json!({}));
    assert_eq!(
        line(waiting.status.as_ref().unwrap()),
        "Ready=True/Created InSync=True/InSync Paused=True/Paused origin=Created observed=1"
    );
    assert_eq!(triage(&waiting), None);
    let (_, calls) = play(&with(waiting, resumed()), None, vec![Answer::Group(snapshot())]);
    assert_eq!(operations(&calls), [Operation::Describe]);

    let new = after(object(json!({})), vec![Answer::Lost], paused());
    let waiting = after(new, vec![], json!({}));
    assert_eq!(line(waiting.status.as_ref().unwrap()), "Ready=Unknown/Unreachable Paused=True/Paused observed=1");
    let (_, calls) = play(&with(waiting, resumed()), None, vec![Answer::Created]);
    assert_eq!(operations(&calls), [Operation::Create]);
}

#[test]
fn forced_reconcile_describes_and_is_acknowledged_once() {
    let requested = created(forced());
    assert_eq!(triage(&requested), Some(Priority::Change));
    let (_, calls) = play(&requested, None, vec![Answer::Group(snapshot())]);
    assert_eq!(operations(&calls), [Operation::Describe]);
    let done = after(requested, vec![Answer::Group(snapshot())], json!({}));
    assert_eq!((handled(&done), triage(&done)), (Some("again"), None));
    assert_eq!(shown(&done, vec![]), "unchanged");
}

#[test]
fn forced_reconcile_corrects_drift() {
    let drifted = GroupSnapshot { group_info: "by hand".into(), ..snapshot() };
    let answers = vec![Answer::Group(drifted), Answer::Done, Answer::Group(snapshot())];
    assert_eq!(handled(&after(created(forced()), answers, json!({}))), Some("again"));
}

#[test]
fn forced_reconcile_is_not_acknowledged_while_it_retries() {
    let retrying = after(created(forced()), vec![Answer::Lost], json!({}));
    assert_eq!(handled(&retrying), None);
    let stalled = after(created(forced()), vec![Answer::Refused(403, "NoAuth")], json!({}));
    assert_eq!(handled(&stalled), Some("again"));
}

#[test]
fn forced_reconcile_retries_final_refusals() {
    let deleted = after(object(json!({})), vec![Answer::Blocked], forced());
    assert_eq!(triage(&deleted), Some(Priority::Change));
    let still = after(deleted.clone(), vec![Answer::Blocked], json!({}));
    assert_eq!((handled(&still), triage(&still)), (Some("again"), None));
    // A group that was recovered in the console is adopted.
    let recovered = vec![Answer::Exists, Answer::Group(snapshot())];
    assert_eq!(shown(&deleted, recovered), "Ready=True/AlreadyExists InSync=True/InSync origin=Adopted observed=1");
    let refused = after(object(json!({})), vec![Answer::Refused(400, "InputInvalid")], forced());
    assert_eq!(
        shown(&refused, vec![Answer::Created]),
        "Ready=True/Created InSync=True/InSync origin=Created observed=1"
    );
}

#[test]
fn outcome_acknowledges_only_earlier_requests() {
    let settled = created(edited(json!({"groupInfo": "v2"})));
    let v2 = GroupSnapshot { group_info: "v2".into(), ..snapshot() };
    let (end, _) = play(&settled, None, vec![Answer::Group(snapshot()), Answer::Done, Answer::Group(v2)]);
    // The write of this outcome is retried after the user has requested a reconcile pass.
    let requested = with(settled, forced());
    let status = end.outcome().unwrap().status(&requested, None, at(NOW)).unwrap();
    assert_eq!(status.last_handled_reconcile_at, None);
    let status = end.outcome().unwrap().status(&requested, Some(""), at(NOW)).unwrap();
    assert_eq!(status.last_handled_reconcile_at, None, "an empty annotation requests nothing");
}
