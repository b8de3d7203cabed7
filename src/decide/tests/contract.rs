//! Every row of the status contract: an answer, and the whole status it leads to.

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::decide::{FailureDomain, Retry, record_before, triage, unreadable_status};
use crate::live::Operation;
use crate::resources::Reason;

#[rstest]
#[case::created(vec![Answer::Created], "Ready=True/Created InSync=True/InSync origin=Created observed=1")]
#[case::exists(
    vec![Answer::Exists, Answer::Group(snapshot())],
    "Ready=True/AlreadyExists InSync=True/InSync origin=Adopted observed=1"
)]
#[case::blocked(vec![Answer::Blocked], "Ready=False/GroupDeleted Stalled=True/GroupDeleted Degraded=True/GroupDeleted observed=1")]
#[case::deleted_meanwhile(
    vec![Answer::Exists, Answer::Group(GroupSnapshot { deleted: true, ..snapshot() })],
    "Ready=False/GroupDeleted Stalled=True/GroupDeleted Degraded=True/GroupDeleted observed=1"
)]
#[case::gone_meanwhile(
    vec![Answer::Exists, Answer::Refused(404, "ResourceNotExist")],
    "Ready=Unknown/ServiceError Reconciling=True/ServiceError observed=1"
)]
fn an_answer_to_a_new_object(#[case] answers: Vec<Answer>, #[case] status: &str) {
    assert_eq!(shown(&object(json!({})), answers), status);
}

/// A refusal that a person must act on: `Ready=False` whatever was before.
#[rstest]
#[case(400, "InputInvalid", Reason::InvalidInput, Retry::Never)]
#[case(400, "MissingGroupId", Reason::InvalidInput, Retry::Never)]
#[case(400, "InvalidParameter.Info", Reason::InvalidInput, Retry::Never)]
#[case(400, "ErrorTooManyGroups", Reason::QuotaExceeded, Retry::OnBreaker(FailureDomain::Quota))]
#[case(403, "NoAuth", Reason::NotAuthorized, Retry::OnBreaker(FailureDomain::Authorization(Operation::Create)))]
#[case(403, "Forbidden.RAM", Reason::NotAuthorized, Retry::OnBreaker(FailureDomain::Authorization(Operation::Create)))]
#[case(400, "SignatureDoesNotMatch", Reason::CredentialsRejected, Retry::OnBreaker(FailureDomain::Credentials))]
#[case(404, "InvalidAccessKeyId.NotFound", Reason::CredentialsRejected, Retry::OnBreaker(FailureDomain::Credentials))]
#[case(400, "InvalidSecurityToken.Expired", Reason::CredentialsRejected, Retry::OnBreaker(FailureDomain::Credentials))]
#[case(418, "NobodyKnows", Reason::Rejected, Retry::Slow)]
#[case(404, "", Reason::Rejected, Retry::Slow)]
fn a_refusal_stalls(#[case] status: u16, #[case] code: &'static str, #[case] reason: Reason, #[case] retry: Retry) {
    let new = object(json!({}));
    let stuck = format!("Ready=False/{reason} Stalled=True/{reason}");
    let answers = vec![Answer::Refused(status, code)];
    assert_eq!(shown(&new, answers.clone()), format!("{stuck} observed=1"));
    assert_eq!(shown(&created(forced()), answers.clone()), format!("{stuck} origin=Created observed=1"));
    let after_edit = created(edited(json!({"groupInfo": "v2"})));
    assert_eq!(shown(&after_edit, answers.clone()), format!("{stuck} origin=Created observed=2"));
    let End::Failed(failure, _) = play(&new, None, answers.clone()).0 else { panic!("it failed") };
    assert_eq!(failure.retry, retry);
    // Only what a person alone can change is not tried again after a restart.
    let lane = triage(&after(new, answers, json!({})));
    assert_eq!(lane.is_none(), retry == Retry::Never);
}

/// A failure that passes by itself: `Ready` stays while this very generation was applied, else it is unknown.
#[rstest]
#[case(Answer::Refused(400, "InvalidTimeStamp.Expired"), Reason::ClockSkew, Retry::Immediate)]
#[case(Answer::Refused(400, "SignatureNonceUsed"), Reason::ServiceError, Retry::Immediate)]
#[case(Answer::Refused(400, "Throttling.User"), Reason::Throttled, Retry::Immediate)]
#[case(Answer::Refused(503, "Throttling"), Reason::Throttled, Retry::Immediate)]
#[case(Answer::Refused(500, "ServerError"), Reason::ServiceError, Retry::Backoff)]
#[case(Answer::Refused(500, "InternalError"), Reason::ServiceError, Retry::Backoff)]
#[case(Answer::Refused(503, "ServiceUnavailable"), Reason::ServiceError, Retry::Backoff)]
#[case(Answer::Refused(502, ""), Reason::ServiceError, Retry::Backoff)]
#[case(Answer::Refused(200, ""), Reason::ServiceError, Retry::Backoff)]
#[case(Answer::Lost, Reason::Unreachable, Retry::Backoff)]
fn a_failure_that_passes_keeps_an_applied_generation(
    #[case] answer: Answer,
    #[case] reason: Reason,
    #[case] retry: Retry,
) {
    let new = object(json!({}));
    let going_on = format!("Ready=Unknown/{reason} Reconciling=True/{reason}");
    assert_eq!(shown(&new, vec![answer.clone()]), format!("{going_on} observed=1"));
    assert_eq!(
        shown(&created(forced()), vec![answer.clone()]),
        format!("Ready=True/Created Reconciling=True/{reason} InSync=True/InSync origin=Created observed=1")
    );
    let after_edit = created(edited(json!({"groupInfo": "v2"})));
    assert_eq!(shown(&after_edit, vec![answer.clone()]), format!("{going_on} origin=Created observed=2"));
    let refused = after(object(json!({})), vec![Answer::Refused(403, "NoAuth")], json!({}));
    assert_eq!(shown(&refused, vec![answer.clone()]), format!("{going_on} observed=1"), "it was never applied");
    let later = vec![Answer::Group(snapshot()), answer.clone()];
    assert_eq!(shown(&after_edit, later), format!("{going_on} origin=Created observed=2"));
    let End::Failed(failure, _) = play(&new, None, vec![answer.clone()]).0 else { panic!("it failed") };
    assert_eq!(failure.retry, retry);
    assert!(triage(&after(new, vec![answer], json!({}))).is_some(), "it is tried again after a restart");
}

#[test]
fn not_existing_means_the_app_on_create_and_the_group_afterwards() {
    let none = Answer::Refused(404, "ResourceNotExist");
    let stuck = "Ready=False/AppNotFound Stalled=True/AppNotFound observed=1";
    assert_eq!(shown(&object(json!({})), vec![none.clone()]), stuck);
    let (end, calls) = play(&created(forced()), None, vec![none.clone(), Answer::Created]);
    assert_eq!(operations(&calls), [Operation::Describe, Operation::Create]);
    assert_eq!(end.verdict().unwrap().reason(), Reason::Created);
    let after_edit = created(edited(json!({"groupInfo": "v2"})));
    let (end, calls) = play(
        &after_edit,
        None,
        vec![Answer::Group(snapshot()), none, Answer::Exists, Answer::Group(snapshot()), Answer::Lost],
    );
    assert_eq!(
        operations(&calls),
        [Operation::Describe, Operation::Modify, Operation::Create, Operation::Describe, Operation::Modify]
    );
    assert_eq!(end.verdict().unwrap().reason(), Reason::Unreachable);
}

#[test]
fn another_holder_means_conflict_and_no_call() {
    let new = object(json!({}));
    let holder = Holder { name: "ns/first".into() };
    let (end, calls) = play(&new, Some(&holder), vec![]);
    let status = end.verdict().unwrap().status(&new, new.reconcile_requested_at(), at(NOW)).unwrap();
    assert_eq!((line(&status).as_str(), calls.len()), ("Ready=False/Conflict Stalled=True/Conflict observed=1", 0));
    assert!(status.condition(ConditionType::Ready).unwrap().message.contains("ns/first"));
    // When the holder goes, it is tried like a new one.
    let waiting = with(LiveMessageGroup { status: Some(status), ..new }, json!({}));
    assert_eq!(
        play(&waiting, Some(&holder), vec![]).0.verdict().unwrap().status(
            &waiting,
            waiting.reconcile_requested_at(),
            at(NOW)
        ),
        None
    );
    assert_eq!(
        shown(&waiting, vec![Answer::Created]),
        "Ready=True/Created InSync=True/InSync origin=Created observed=1"
    );
}

#[test]
fn missing_credentials_are_a_fault_only_after_two_minutes() {
    let missing =
        PassOutcome::waiting(Reason::CredentialsMissing, "Secret ns/live does not exist".into(), &Facts::default());
    let mut waiting = object(json!({}));
    let mut seen = Vec::new();
    for seconds in [0, 60, 119, 120, 600] {
        let status = missing.status(&waiting, waiting.reconcile_requested_at(), at(NOW + seconds));
        seen.push(status.as_ref().map_or_else(|| "unchanged".to_owned(), line));
        waiting.status = status.or(waiting.status);
    }
    let going_on = "Ready=False/CredentialsMissing Reconciling=True/CredentialsMissing observed=1";
    let stuck = "Ready=False/CredentialsMissing Stalled=True/CredentialsMissing observed=1";
    assert_eq!(seen, [going_on, "unchanged", "unchanged", stuck, "unchanged"]);
}

#[test]
fn the_two_minutes_begin_with_the_reason_and_not_with_an_older_failure() {
    let missing =
        PassOutcome::waiting(Reason::CredentialsMissing, "Secret ns/live does not exist".into(), &Facts::default());
    let refused = after(object(json!({})), vec![Answer::Refused(403, "NoAuth")], json!({}));
    // Ready is False since the one, Reconciling True since the other.
    let unreachable = after(object(json!({})), vec![Answer::Lost], json!({}));
    for mut waiting in [refused, unreachable] {
        for (seconds, late) in [(3600, false), (3660, false), (3720, true)] {
            let status = missing.status(&waiting, waiting.reconcile_requested_at(), at(NOW + seconds));
            waiting.status = status.or(waiting.status);
            assert_eq!(waiting.condition(ConditionType::Stalled).is_some(), late, "after {seconds} s");
        }
    }
}

#[test]
fn an_object_of_before_the_admission_rules_is_told_what_to_do() {
    let spec = json!({"metadata": {"name": "room-1"}, "spec": {"groupId": null}});
    let (end, calls) = play(&object(spec), None, vec![]);
    assert_eq!((end.verdict().unwrap().reason(), calls.len()), (Reason::InvalidInput, 0));
    let message = format!("{end:?}");
    assert!(message.contains("spec.groupId") && message.contains("room-1"), "{message}");
}

/// Two failures of one kind differ in their request id only; the second one is no new status.
#[rstest]
#[case(400, "InputInvalid")]
#[case(400, "ErrorTooManyGroups")]
#[case(403, "NoAuth")]
#[case(404, "ResourceNotExist")]
#[case(400, "SignatureDoesNotMatch")]
#[case(400, "InvalidTimeStamp.Expired")]
#[case(400, "Throttling.User")]
#[case(500, "ServerError")]
#[case(502, "")]
#[case(418, "NobodyKnows")]
fn a_failure_like_the_last_one_is_no_new_status(#[case] status: u16, #[case] code: &str) {
    let mut object = object(json!({}));
    let Action::Call(call) = decide(&object, &Facts::default(), None) else { panic!("it is created") };
    let mut fail = |request: &str, now: i64| {
        let failure = Facts::default().record(&call, 1, Err(&refused(status, code, request)), None).unwrap_err();
        assert!(!failure.message.contains(request), "{}", failure.message);
        let status =
            PassOutcome::failed(&failure, &Facts::default()).status(&object, object.reconcile_requested_at(), at(now));
        object.status = status.clone().or(object.status.take());
        status
    };
    assert!(fail("5DE7E1B2-0001", NOW).is_some());
    assert_eq!(fail("5DE7E1B2-0002", NOW + 60), None);
}

#[test]
fn transition_times_move_only_when_the_status_flips() {
    let mut object = object(json!({}));
    let mut times = Vec::new();
    let script = [
        vec![Answer::Refused(500, "ServerError")],
        vec![Answer::Lost],
        vec![Answer::Refused(403, "NoAuth")],
        vec![Answer::Refused(400, "ErrorTooManyGroups")],
        vec![Answer::Created],
    ];
    for (minute, answers) in script.into_iter().enumerate() {
        let (end, _) = play(&object, None, answers);
        let now = at(NOW + 60 * i64::try_from(minute).unwrap());
        object.status = end.verdict().unwrap().status(&object, object.reconcile_requested_at(), now).or(object.status);
        let status = object.status.as_ref().unwrap();
        times.push(
            [ConditionType::Ready, ConditionType::Reconciling, ConditionType::Stalled]
                .map(|kind| condition_time(status, kind).map(|time| (time - NOW) / 60)),
        );
    }
    // Ready was Unknown since 1970 and stays so; then False at minute 2, True at minute 4.
    let since_ever = Some(-NOW / 60);
    assert_eq!(
        times,
        [
            [since_ever, Some(0), None],
            [since_ever, Some(0), None],
            [Some(2), None, Some(2)],
            [Some(2), None, Some(2)],
            [Some(4), None, None],
        ]
    );
}

#[test]
fn settled_objects_decide_nothing() {
    let settled = [
        created(json!({})),
        after(object(json!({})), vec![Answer::Exists, Answer::Group(snapshot())], json!({})),
        after(object(json!({})), vec![Answer::Blocked], json!({})),
        after(object(json!({})), vec![Answer::Refused(400, "InputInvalid")], json!({})),
    ];
    for object in settled {
        assert!(matches!(play(&object, None, vec![]).0, End::Nothing), "{:?}", object.status);
        assert_eq!(triage(&object), None);
    }
    let going_away = object(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    assert!(matches!(play(&going_away, None, vec![]).0, End::Nothing));
    assert_eq!(triage(&going_away), None);
}

#[test]
fn what_is_told_of_an_older_generation_goes_with_the_next_write() {
    let edited = created(edited(json!({"groupInfo": "v2", "deletionPolicy": "Delete"})));
    let status = edited.status.clone().unwrap();
    assert!(status.condition(ConditionType::InSync).is_some());
    let unreadable = unreadable_status(status, 2, "not to be read".into(), at(NOW)).unwrap();
    assert_eq!(line(&unreadable), "Ready=False/InvalidSpec Stalled=True/InvalidSpec origin=Created observed=2");
    let again = unreadable_status(unreadable, 2, "not to be read".into(), at(NOW + 60));
    assert_eq!(again, None, "nothing is written twice");
    let mut facts = Facts::default();
    let Action::Call(look) = decide(&edited, &facts, None) else { panic!("it is looked at") };
    facts.record(&look, 2, Err(&refused(404, "ResourceNotExist", "request-1")), None).unwrap();
    let edited = with(edited, json!({"metadata": {"finalizers": ["live.alibabacloud.com/group"]}}));
    let Action::Call(create) = decide(&edited, &facts, None) else { panic!("it is created again") };
    let (attempting, _) = record_before(&edited, &facts, &create, at(NOW), at(NOW)).unwrap();
    assert_eq!(line(&attempting), "Ready=Unknown/Applying Reconciling=True/Applying observed=2");
    let blocked = after(object(json!({})), vec![Answer::Blocked], forced());
    let delete =
        json!({"metadata": {"finalizers": ["live.alibabacloud.com/group"]}, "spec": {"deletionPolicy": "Delete"}});
    let blocked = with(blocked, delete);
    let Action::Call(create) = decide(&blocked, &Facts::default(), None) else { panic!("it is tried again") };
    let (attempting, _) = record_before(&blocked, &Facts::default(), &create, at(NOW), at(NOW)).unwrap();
    assert_eq!(line(&attempting), "Ready=Unknown/Applying Reconciling=True/Applying observed=1");
}
