use serde_json::{Value, json};

use super::*;
use crate::live::{Call, GroupChange, GroupFields, GroupRef, Reply};

const CREATED: &str = "Created";
const FAILING: &str = "ServiceError";

/// An object of this generation whose status is of `observed`, with these conditions (type, status, reason).
fn object(generation: i64, observed: i64, origin: Option<&str>, conditions: &[[&str; 3]]) -> LiveMessageGroup {
    let condition = |[kind, status, reason]: &[&str; 3]| {
        json!({"type": kind, "status": status, "reason": reason, "message": format!("because {reason}"),
            "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let conditions: Vec<Value> = conditions.iter().map(condition).collect();
    serde_json::from_value(json!({
        "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveMessageGroup",
        "metadata": {"namespace": "ns", "name": "room", "uid": "u1", "generation": generation},
        "spec": {"appId": "demo"},
        "status": {"observedGeneration": observed, "origin": origin, "conditions": conditions}
    }))
    .unwrap()
}

fn new() -> LiveMessageGroup {
    object(1, -1, None, &[["Ready", "Unknown", "Pending"]])
}

fn live(generation: i64) -> LiveMessageGroup {
    object(generation, generation, Some(CREATED), &[["Ready", "True", CREATED]])
}

/// Live, and a look at it fails.
fn failing(reason: &str) -> LiveMessageGroup {
    object(1, 1, Some(CREATED), &[["Ready", "True", CREATED], ["Reconciling", "True", reason]])
}

fn group() -> GroupRef {
    GroupRef { app_id: "demo".into(), group_id: "room".into(), data_center: None }
}

fn after(call: Call, reply: Reply) -> Facts {
    let mut facts = Facts::default();
    facts.absorb(&call, 1, Ok((reply, Some("id-1".into())))).unwrap();
    facts
}

fn created(outcome: CreateOutcome) -> Facts {
    after(Call::Create(group(), GroupFields::default()), Reply::Created(outcome))
}

fn modified() -> Facts {
    after(Call::Modify(group(), GroupChange::default()), Reply::Done)
}

/// Reasons and notes of the events, in order.
fn told(before: &LiveMessageGroup, now: &LiveMessageGroup, facts: &Facts, reason: Reason) -> Vec<String> {
    let tellings = tellings((before, now), facts, reason, &mut Vec::new(), is_applied(before));
    tellings.into_iter().map(|telling| format!("{}: {}", telling.reason, telling.note)).collect()
}

#[test]
fn what_was_done_is_told_with_its_request() {
    let adopted = object(1, 1, Some("Adopted"), &[["Ready", "True", "AlreadyExists"]]);
    let exists = created(CreateOutcome::AlreadyExists);
    let made = || created(CreateOutcome::Created);
    let recovered = object(1, 1, Some("Recovered"), &[["Ready", "True", "Recovered"]]);
    let recover = after(Call::Recover(group()), Reply::Done);
    let edited = object(2, 1, Some(CREATED), &[["Ready", "True", CREATED]]);
    let cases = [
        (new(), live(1), made(), "Created: group room of app demo was created (RequestId id-1)"),
        (new(), adopted, exists, "AlreadyExists: group room of app demo existed already and was adopted"),
        (new(), recovered, recover, "Recovered: group room of app demo was recovered (RequestId id-1)"),
        (edited, live(2), modified(), "Modified: group room of app demo was changed as the spec says (RequestId id-1)"),
        (
            live(1),
            live(1),
            modified(),
            "DriftCorrected: group room of app demo was changed elsewhere and is as the spec says again (RequestId id-1)",
        ),
        (
            live(1),
            live(1),
            made(),
            "DriftCorrected: group room of app demo was gone and is there again (RequestId id-1)",
        ),
    ];
    for (before, now, facts, event) in cases {
        let reason = now.ready_reason().unwrap();
        assert_eq!(told(&before, &now, &facts, reason), [event]);
    }
    assert_eq!(told(&live(1), &live(1), &Facts::default(), Reason::Created), [""; 0], "a look that finds nothing");
}

#[test]
fn an_origin_is_told_where_it_is_recorded_and_not_again() {
    let failed = object(1, 1, Some(CREATED), &[["Ready", "Unknown", FAILING], ["Reconciling", "True", FAILING]]);
    let both = told(&new(), &failed, &created(CreateOutcome::Created), Reason::ServiceError);
    assert_eq!(both.len(), 2, "{both:?}");
    assert!(both[0].starts_with("Created: ") && both[1].starts_with("ServiceError: "), "{both:?}");
    assert_eq!(told(&failed, &live(1), &Facts::default(), Reason::Created), ["Ready: because Created"]);
    assert_eq!(told(&failed, &live(1), &modified(), Reason::Created).len(), 1, "the change alone");
    let paused = object(1, -1, Some(CREATED), &[["Ready", "Unknown", "Pending"], ["Paused", "True", "Paused"]]);
    assert_eq!(told(&new(), &paused, &created(CreateOutcome::Created), Reason::Paused).len(), 1);
    // Recorded before the change of an adopted group is sent.
    let judged = object(1, 1, Some("Adopted"), &[["Ready", "Unknown", "Applying"]]);
    let adopts = || created(CreateOutcome::AlreadyExists);
    assert_eq!(told(&new(), &judged, &adopts(), Reason::Applying).len(), 1);
    let adopted = object(1, 1, Some("Adopted"), &[["Ready", "True", "AlreadyExists"]]);
    let mut facts = adopts();
    let change = Call::Modify(group(), GroupChange::default());
    facts.absorb(&change, 1, Ok((Reply::Done, None))).unwrap();
    assert_eq!(told(&judged, &adopted, &facts, Reason::AlreadyExists), [""; 0]);
}

#[test]
fn a_fault_is_told_once_and_again_after_a_success() {
    let nothing = Facts::default();
    let fault = told(&live(1), &failing(FAILING), &nothing, Reason::ServiceError);
    assert_eq!(fault, ["ServiceError: because ServiceError"]);
    assert_eq!(told(&failing(FAILING), &failing(FAILING), &nothing, Reason::ServiceError), [""; 0]);
    // Two that take turns are told once each.
    let mut known = Vec::new();
    let mut before = live(1);
    for (reason, new) in [("ServiceError", 1), ("Unreachable", 1), ("ServiceError", 0), ("Unreachable", 0)] {
        let now = failing(reason);
        assert_eq!(
            tellings((&before, &now), &nothing, reason.parse().unwrap(), &mut known, false).len(),
            new,
            "{reason}"
        );
        before = now;
    }
    assert_eq!(told(&before, &live(1), &nothing, Reason::Created), ["Ready: because Created"]);
    for going_on in [Reason::Queued, Reason::Applying] {
        assert_eq!(told(&live(1), &failing(going_on.as_str()), &nothing, going_on), [""; 0]);
    }
}

#[test]
fn what_cannot_be_made_so_is_told_once() {
    let differs = |generation, reason| {
        let conditions = [["Ready", "True", CREATED], ["InSync", "False", reason]];
        object(generation, generation, Some(CREATED), &conditions)
    };
    let immutable = |generation| differs(generation, "ImmutableFieldsDiffer");
    let nothing = Facts::default();
    let once = told(&live(1), &immutable(1), &nothing, Reason::Created);
    assert_eq!(once, ["ImmutableFieldsDiffer: because ImmutableFieldsDiffer"]);
    assert_eq!(told(&immutable(1), &immutable(2), &nothing, Reason::Created), [""; 0]);
    let edited = object(2, 1, Some(CREATED), &[["Ready", "True", CREATED]]);
    let not_taken = told(&edited, &differs(2, "ChangeNotTaken"), &modified(), Reason::Created);
    assert_eq!(not_taken, ["ChangeNotTaken: because ChangeNotTaken"], "not that it was changed");
}

#[test]
fn what_was_done_is_told_of_the_group_it_was_done_to_though_the_spec_names_another_by_now() {
    let mut now = live(2);
    now.spec.group_id = Some("another".into());
    let notes = told(&new(), &now, &created(CreateOutcome::Created), Reason::Created);
    assert_eq!(notes, ["Created: group room of app demo was created (RequestId id-1)"]);
}

#[test]
fn a_group_that_is_there_again_is_told_so_though_ready_was_taken_back_before_its_create() {
    let before = object(1, 1, None, &[["Ready", "Unknown", "Applying"], ["Reconciling", "True", "Applying"]]);
    let told = |applied: bool| {
        let facts = created(CreateOutcome::Created);
        let tellings = tellings((&before, &live(1)), &facts, Reason::Created, &mut Vec::new(), applied);
        tellings.into_iter().map(|telling| telling.reason).collect::<Vec<_>>()
    };
    assert_eq!((told(true), told(false)), (vec!["DriftCorrected"], vec!["Created"]));
}
