//! What the two annotations ask for.

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
fn a_pause_is_told_and_changes_nothing_else() {
    let settled = created(paused());
    assert_eq!(triage(&settled), Some(Priority::Change));
    let settled = after(settled, vec![], json!({}));
    assert_eq!(
        line(settled.status.as_ref().unwrap()),
        "Ready=True/Created InSync=True/InSync Paused=True/Paused origin=Created observed=1"
    );
    assert_eq!((triage(&settled), shown(&settled, vec![])), (None, "unchanged".to_owned()));
    // An edit waits for the end of the pause.
    let edited = with(settled, edited(json!({"groupInfo": "v2"})));
    assert_eq!(triage(&edited), None);
    assert_eq!(line(&after(edited.clone(), vec![], json!({})).status.unwrap()), line(&edited.status.unwrap()));
}

#[test]
fn at_the_end_of_a_pause_a_live_group_is_looked_at_once() {
    let settled = after(created(paused()), vec![], resumed());
    assert_eq!(triage(&settled), Some(Priority::Change));
    let looked = "Ready=True/Created InSync=True/InSync origin=Created observed=1";
    assert_eq!(shown(&settled, vec![Answer::Group(snapshot())]), looked);
    let by_hand = GroupSnapshot { group_info: "by hand".into(), ..snapshot() };
    assert_eq!(shown(&settled, vec![Answer::Group(by_hand), Answer::Done, Answer::Group(snapshot())]), looked);
    // A look that fails is owed still.
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
fn the_end_of_a_pause_costs_no_call_where_nothing_is_kept_or_only_a_person_can_go_on() {
    let deleted = after(object(json!({})), vec![Answer::Blocked], paused());
    let observing = with(object(json!({})), json!({"spec": {"managementPolicy": "Observe"}}));
    let observing = after(observing, vec![Answer::Group(snapshot())], paused());
    let edited = created(edited(json!({"groupInfo": "v2"})));
    let group = || Answer::Group(snapshot());
    let left = after(edited, vec![group(), Answer::Done, group(), Answer::Done, group()], paused());
    for object in [deleted, observing, left] {
        let before = line(object.status.as_ref().unwrap());
        let waiting = after(object, vec![], resumed());
        assert!(has_paused(&waiting) && triage(&waiting) == Some(Priority::Change));
        let went_on = after(waiting, vec![], json!({}));
        assert_eq!((has_paused(&went_on), line(went_on.status.as_ref().unwrap())), (false, before));
    }
}

#[test]
fn a_pause_records_what_was_done_before_it_and_makes_no_further_call() {
    // The create is answered, its status not written; meanwhile the spec is edited and the object paused.
    let new = object(json!({}));
    let mut facts = Facts::default();
    let Action::Call(call) = decide(&new, &facts, None) else { panic!("it is created") };
    let reply = Reply::Created(CreateOutcome::Created);
    facts.record(&call, 1, Ok((reply, Some("request-1".into()))), None).unwrap();
    let paused = with(with(new, edited(json!({"groupInfo": "v2"}))), paused());
    let Action::Write(verdict) = decide(&paused, &facts, None) else { panic!("no call while it is paused") };
    let status = verdict.status(&paused, paused.reconcile_requested_at(), at(NOW)).unwrap();
    assert_eq!(line(&status), "Ready=Unknown/Pending Paused=True/Paused origin=Created observed=-1");
    assert_eq!(status.last_request_id.as_deref(), Some("request-1"));
    // The record holds: the group is known as this object's own when it goes on.
    let resumed = with(LiveMessageGroup { status: Some(status), ..paused }, resumed());
    let group = || Answer::Group(snapshot());
    let (end, calls) = play(&resumed, None, vec![group(), Answer::Lost]);
    assert_eq!(operations(&calls), [Operation::Describe, Operation::Modify]);
    let status = end.verdict().unwrap().status(&resumed, resumed.reconcile_requested_at(), at(NOW)).unwrap();
    assert_eq!(line(&status), "Ready=Unknown/Unreachable Reconciling=True/Unreachable origin=Created observed=2");
}

#[test]
fn a_paused_object_does_not_go_on_and_goes_on_after_the_pause() {
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
fn a_forced_reconcile_looks_and_is_acknowledged_once() {
    let asked = created(forced());
    assert_eq!(triage(&asked), Some(Priority::Change));
    let (_, calls) = play(&asked, None, vec![Answer::Group(snapshot())]);
    assert_eq!(operations(&calls), [Operation::Describe]);
    let done = after(asked, vec![Answer::Group(snapshot())], json!({}));
    assert_eq!((handled(&done), triage(&done)), (Some("again"), None));
    assert_eq!(shown(&done, vec![]), "unchanged");
}

#[test]
fn a_forced_reconcile_undoes_a_hand_edit() {
    let by_hand = GroupSnapshot { group_info: "by hand".into(), ..snapshot() };
    let answers = vec![Answer::Group(by_hand), Answer::Done, Answer::Group(snapshot())];
    assert_eq!(handled(&after(created(forced()), answers, json!({}))), Some("again"));
}

#[test]
fn a_forced_reconcile_that_goes_on_is_not_acknowledged_yet() {
    let going_on = after(created(forced()), vec![Answer::Lost], json!({}));
    assert_eq!(handled(&going_on), None);
    let stuck = after(created(forced()), vec![Answer::Refused(403, "NoAuth")], json!({}));
    assert_eq!(handled(&stuck), Some("again"));
}

#[test]
fn a_forced_reconcile_tries_what_only_a_person_could_go_on_with() {
    let deleted = after(object(json!({})), vec![Answer::Blocked], forced());
    assert_eq!(triage(&deleted), Some(Priority::Change));
    let still = after(deleted.clone(), vec![Answer::Blocked], json!({}));
    assert_eq!((handled(&still), triage(&still)), (Some("again"), None));
    // Recovered by hand in the console: alive again is adopted.
    let alive = vec![Answer::Exists, Answer::Group(snapshot())];
    assert_eq!(shown(&deleted, alive), "Ready=True/AlreadyExists InSync=True/InSync origin=Adopted observed=1");
    let refused = after(object(json!({})), vec![Answer::Refused(400, "InputInvalid")], forced());
    assert_eq!(
        shown(&refused, vec![Answer::Created]),
        "Ready=True/Created InSync=True/InSync origin=Created observed=1"
    );
}

#[test]
fn an_outcome_acknowledges_only_what_was_asked_before_it() {
    let settled = created(edited(json!({"groupInfo": "v2"})));
    let v2 = GroupSnapshot { group_info: "v2".into(), ..snapshot() };
    let (end, _) = play(&settled, None, vec![Answer::Group(snapshot()), Answer::Done, Answer::Group(v2)]);
    // The write of this outcome is repeated after the user asked for another look.
    let asked = with(settled, forced());
    let status = end.verdict().unwrap().status(&asked, None, at(NOW)).unwrap();
    assert_eq!(status.last_handled_reconcile_at, None);
    let status = end.verdict().unwrap().status(&asked, Some(""), at(NOW)).unwrap();
    assert_eq!(status.last_handled_reconcile_at, None, "an empty annotation asks for nothing");
}
