//! Tests of the messages, which state the cause and what to do.

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::decide::{FailureDomain, Retry};

fn failure(answer: Answer) -> Failure {
    let End::Failed(failure, _) = play(&object(json!({})), None, vec![answer]).0 else { panic!("expected a failure") };
    failure
}

#[rstest]
#[case(400, "SignatureDoesNotMatch", "Renew the access key")]
#[case(400, "InvalidTimeStamp.Expired", "clock")]
#[case(400, "Throttling.User", "slows down and retries")]
#[case(404, "ResourceNotExist", "correct spec.appId")]
#[case(400, "ErrorTooManyGroups", "request a higher quota")]
#[case(403, "NoAuth", "to call live:CreateLiveMessageGroup for app \"demo\"")]
#[case(400, "InputInvalid", "refused a value of the spec. Correct the spec: InputInvalid")]
fn refusal_message_says_what_to_do(#[case] status: u16, #[case] code: &'static str, #[case] advice: &str) {
    let message = failure(Answer::Refused(status, code)).message;
    assert!(message.contains(advice), "{message}");
}

#[test]
fn refusal_names_the_credentials() {
    let object = object(json!({}));
    let Action::Call(call) = decide(&object, &Facts::default(), None) else { panic!("expected a create") };
    for (account, credentials) in
        [(None, "the operator's credentials"), (Some("team"), "the credentials of LiveAccount team")]
    {
        let failure = Failure::of(&call, &refused(403, "NoAuth", ""), account);
        let fact = format!("Alibaba Cloud does not allow {credentials} to call live:");
        assert!(failure.message.starts_with(&fact), "{}", failure.message);
        assert_eq!(failure.record.operation.as_deref(), Some("CreateLiveMessageGroup"));
        assert_eq!(failure.record.code, "NoAuth");
    }
}

#[test]
fn message_without_a_request_id_is_unchanged() {
    let object = object(json!({}));
    let Action::Call(call) = decide(&object, &Facts::default(), None) else { panic!("expected a create") };
    let failure = Failure::of(&call, &refused(400, "InputInvalid", ""), None);
    assert!(!failure.message.contains('\u{2026}'), "{}", failure.message);
}

#[test]
fn missing_app_uses_a_breaker_and_contradiction_a_backoff() {
    assert_eq!(failure(Answer::Refused(404, "ResourceNotExist")).retry, Retry::OnBreaker(FailureDomain::App));
    assert_eq!(Failure::contradiction().retry, Retry::Backoff);
}

#[test]
fn conflict_message_reflects_the_facts_of_the_pass() {
    let holder = Holder { name: "ns/first".into(), has_origin: true };
    let message = |object: &LiveMessageGroup, facts: &Facts| {
        let Action::Write(outcome) = decide(object, facts, Some(&holder)) else { panic!("expected a conflict") };
        let status = outcome.status(object, None, at(NOW)).unwrap();
        status.condition(ConditionType::Ready).unwrap().message.clone()
    };
    let facts_after = |object: &LiveMessageGroup, given: &Answer| {
        let mut facts = Facts::default();
        let Action::Call(call) = decide(object, &facts, None) else { panic!("expected a call") };
        let result = answer(&call, given);
        facts.record(&call, 1, result.as_ref().map(|reply| (reply.clone(), None)), None).unwrap();
        facts
    };
    let new = object(json!({}));
    assert!(message(&new, &facts_after(&new, &Answer::Created)).ends_with("to Observe."), "it has had a group");
    let requested = created(forced());
    let absent = facts_after(&requested, &Answer::Refused(404, "ResourceNotExist"));
    assert!(message(&requested, &absent).ends_with("(every field may be edited now)."), "its group is gone");
}
