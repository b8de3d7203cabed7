//! Tests of the status contract, which defines the complete status after each answer.

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
fn answer_determines_the_status_of_a_new_object(#[case] answers: Vec<Answer>, #[case] status: &str) {
    assert_eq!(shown(&object(json!({})), answers), status);
}

/// A refusal that requires manual intervention sets `Ready=False`, regardless of the previous status.
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
fn refusal_sets_ready_false_and_stalled(
    #[case] status: u16,
    #[case] code: &'static str,
    #[case] reason: Reason,
    #[case] retry: Retry,
) {
    let new = object(json!({}));
    let stalled = format!("Ready=False/{reason} Stalled=True/{reason}");
    let answers = vec![Answer::Refused(status, code)];
    assert_eq!(shown(&new, answers.clone()), format!("{stalled} observed=1"));
    assert_eq!(shown(&created(forced()), answers.clone()), format!("{stalled} origin=Created observed=1"));
    let after_edit = created(edited(json!({"groupInfo": "v2"})));
    assert_eq!(shown(&after_edit, answers.clone()), format!("{stalled} origin=Created observed=2"));
    let End::Failed(failure, _) = play(&new, None, answers.clone()).0 else { panic!("expected a failure") };
    assert_eq!(failure.retry, retry);
    // After a restart, a refused call is retried unless its failure has `Retry::Never`.
    let priority = triage(&after(new, answers, json!({})));
    assert_eq!(priority.is_none(), retry == Retry::Never);
}

/// A temporary failure keeps `Ready` if the generation was applied before. Otherwise `Ready` becomes unknown.
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
fn temporary_failure_keeps_ready_of_an_applied_generation(
    #[case] answer: Answer,
    #[case] reason: Reason,
    #[case] retry: Retry,
) {
    let new = object(json!({}));
    let retrying = format!("Ready=Unknown/{reason} Reconciling=True/{reason}");
    assert_eq!(shown(&new, vec![answer.clone()]), format!("{retrying} observed=1"));
    assert_eq!(
        shown(&created(forced()), vec![answer.clone()]),
        format!("Ready=True/Created Reconciling=True/{reason} InSync=True/InSync origin=Created observed=1")
    );
    let after_edit = created(edited(json!({"groupInfo": "v2"})));
    assert_eq!(shown(&after_edit, vec![answer.clone()]), format!("{retrying} origin=Created observed=2"));
    let refused = after(object(json!({})), vec![Answer::Refused(403, "NoAuth")], json!({}));
    assert_eq!(
        shown(&refused, vec![answer.clone()]),
        format!("{retrying} observed=1"),
        "the generation was never applied"
    );
    let later = vec![Answer::Group(snapshot()), answer.clone()];
    assert_eq!(shown(&after_edit, later), format!("{retrying} origin=Created observed=2"));
    let End::Failed(failure, _) = play(&new, None, vec![answer.clone()]).0 else { panic!("expected a failure") };
    assert_eq!(failure.retry, retry);
    assert!(triage(&after(new, vec![answer], json!({}))).is_some(), "retried after a restart");
}

#[test]
fn not_found_means_the_app_on_create_else_the_group() {
    let not_found = Answer::Refused(404, "ResourceNotExist");
    let stalled = "Ready=False/AppNotFound Stalled=True/AppNotFound observed=1";
    assert_eq!(shown(&object(json!({})), vec![not_found.clone()]), stalled);
    let (end, calls) = play(&created(forced()), None, vec![not_found.clone(), Answer::Created]);
    assert_eq!(operations(&calls), [Operation::Describe, Operation::Create]);
    assert_eq!(end.outcome().unwrap().reason(), Reason::Created);
    let after_edit = created(edited(json!({"groupInfo": "v2"})));
    let (end, calls) = play(
        &after_edit,
        None,
        vec![Answer::Group(snapshot()), not_found, Answer::Exists, Answer::Group(snapshot()), Answer::Lost],
    );
    assert_eq!(
        operations(&calls),
        [Operation::Describe, Operation::Modify, Operation::Create, Operation::Describe, Operation::Modify]
    );
    assert_eq!(end.outcome().unwrap().reason(), Reason::Unreachable);
}

#[test]
fn object_in_conflict_makes_no_call() {
    let new = object(json!({}));
    let holder = Holder { name: "ns/first".into(), has_origin: true };
    let (end, calls) = play(&new, Some(&holder), vec![]);
    let status = end.outcome().unwrap().status(&new, new.reconcile_requested_at(), at(NOW)).unwrap();
    assert_eq!((line(&status).as_str(), calls.len()), ("Ready=False/Conflict Stalled=True/Conflict observed=1", 0));
    assert!(status.condition(ConditionType::Ready).unwrap().message.contains("ns/first"));
    // The status does not change while there is an owner. Without an owner, the object is reconciled like a new object.
    let waiting = with(LiveMessageGroup { status: Some(status), ..new }, json!({}));
    assert_eq!(
        play(&waiting, Some(&holder), vec![]).0.outcome().unwrap().status(
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
fn missing_credentials_stall_after_two_minutes() {
    let missing =
        PassOutcome::waiting(Reason::CredentialsMissing, "Secret ns/live does not exist".into(), &Facts::default());
    let mut waiting = object(json!({}));
    let mut seen = Vec::new();
    for seconds in [0, 60, 119, 120, 600] {
        let status = missing.status(&waiting, waiting.reconcile_requested_at(), at(NOW + seconds));
        seen.push(status.as_ref().map_or_else(|| "unchanged".to_owned(), line));
        waiting.status = status.or(waiting.status);
    }
    let retrying = "Ready=False/CredentialsMissing Reconciling=True/CredentialsMissing observed=1";
    let stalled = "Ready=False/CredentialsMissing Stalled=True/CredentialsMissing observed=1";
    assert_eq!(seen, [retrying, "unchanged", "unchanged", stalled, "unchanged"]);
}

#[test]
fn grace_period_starts_when_credentials_are_first_missing() {
    let missing =
        PassOutcome::waiting(Reason::CredentialsMissing, "Secret ns/live does not exist".into(), &Facts::default());
    let refused = after(object(json!({})), vec![Answer::Refused(403, "NoAuth")], json!({}));
    // `refused` already has Ready=False, and `unreachable` already has Reconciling=True.
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
fn invalid_stored_object_reports_what_to_do() {
    let spec = json!({"metadata": {"name": "room-1"}, "spec": {"groupId": null}});
    let (end, calls) = play(&object(spec), None, vec![]);
    assert_eq!((end.outcome().unwrap().reason(), calls.len()), (Reason::InvalidInput, 0));
    let message = format!("{end:?}");
    assert!(message.contains("spec.groupId") && message.contains("room-1"), "{message}");
}

/// A repeated failure does not change the status if only its request ID is different.
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
fn repeated_failure_does_not_change_the_status(#[case] status: u16, #[case] code: &str) {
    let mut object = object(json!({}));
    let Action::Call(call) = decide(&object, &Facts::default(), None) else { panic!("expected a create") };
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
fn transition_times_change_only_with_the_status() {
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
        object.status = end.outcome().unwrap().status(&object, object.reconcile_requested_at(), now).or(object.status);
        let status = object.status.as_ref().unwrap();
        times.push(
            [ConditionType::Ready, ConditionType::Reconciling, ConditionType::Stalled]
                .map(|kind| condition_time(status, kind).map(|time| (time - NOW) / 60)),
        );
    }
    // Ready has been Unknown since 1970. It becomes False at minute 2 and True at minute 4.
    let since_1970 = Some(-NOW / 60);
    assert_eq!(
        times,
        [
            [since_1970, Some(0), None],
            [since_1970, Some(0), None],
            [Some(2), None, Some(2)],
            [Some(2), None, Some(2)],
            [Some(4), None, None],
        ]
    );
}

#[test]
fn settled_object_has_no_next_step() {
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
    let deleting = object(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    assert!(matches!(play(&deleting, None, vec![]).0, End::Nothing));
    assert_eq!(triage(&deleting), None);
}

#[test]
fn next_write_removes_conditions_of_an_older_generation() {
    let edited = created(edited(json!({"groupInfo": "v2", "deletionPolicy": "Delete"})));
    let status = edited.status.clone().unwrap();
    assert!(status.condition(ConditionType::InSync).is_some());
    let unreadable = unreadable_status(status, 2, "not to be read".into(), at(NOW)).unwrap();
    assert_eq!(line(&unreadable), "Ready=False/InvalidSpec Stalled=True/InvalidSpec origin=Created observed=2");
    let again = unreadable_status(unreadable, 2, "not to be read".into(), at(NOW + 60));
    assert_eq!(again, None, "an unchanged status is not written");
    let mut facts = Facts::default();
    let Action::Call(describe) = decide(&edited, &facts, None) else { panic!("expected a description") };
    facts.record(&describe, 2, Err(&refused(404, "ResourceNotExist", "request-1")), None).unwrap();
    let edited = with(edited, json!({"metadata": {"finalizers": ["live.alibabacloud.com/group"]}}));
    let Action::Call(create) = decide(&edited, &facts, None) else { panic!("expected a create") };
    let (creating, _) = record_before(&edited, &facts, &create, at(NOW), at(NOW)).unwrap();
    assert_eq!(line(&creating), "Ready=Unknown/Applying Reconciling=True/Applying observed=2");
    let blocked = after(object(json!({})), vec![Answer::Blocked], forced());
    let delete =
        json!({"metadata": {"finalizers": ["live.alibabacloud.com/group"]}, "spec": {"deletionPolicy": "Delete"}});
    let blocked = with(blocked, delete);
    let Action::Call(create) = decide(&blocked, &Facts::default(), None) else { panic!("expected a create") };
    let (creating, _) = record_before(&blocked, &Facts::default(), &create, at(NOW), at(NOW)).unwrap();
    assert_eq!(line(&creating), "Ready=Unknown/Applying Reconciling=True/Applying observed=1");
}
