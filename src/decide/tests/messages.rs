//! What messages tell a user to do.

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::decide::{FailureDomain, Retry};

fn failure(answer: Answer) -> Failure {
    let End::Failed(failure, _) = play(&object(json!({})), None, vec![answer]).0 else { panic!("it failed") };
    failure
}

#[rstest]
#[case(400, "SignatureDoesNotMatch", "renew the access key")]
#[case(400, "InvalidTimeStamp.Expired", "clock")]
#[case(400, "Throttling.User", "slows down and retries")]
#[case(404, "ResourceNotExist", "correct spec.appId")]
#[case(400, "ErrorTooManyGroups", "request a higher quota")]
#[case(403, "NoAuth", "may not call live:CreateLiveMessageGroup for app \"demo\"")]
#[case(400, "InputInvalid", "refuses a value of the spec, correct the spec")]
fn a_refusal_says_what_to_do(#[case] status: u16, #[case] code: &'static str, #[case] what: &str) {
    let message = failure(Answer::Refused(status, code)).message;
    assert!(message.contains(what), "{message}");
}

#[test]
fn refusal_names_the_credentials() {
    let object = object(json!({}));
    let Action::Call(call) = decide(&object, &Facts::default(), None) else { panic!("it is created") };
    for (account, credentials) in
        [(None, "the operator's credentials"), (Some("team"), "the credentials of LiveAccount team")]
    {
        let failure = Failure::of(&call, &refused(403, "NoAuth", ""), account);
        assert!(failure.message.starts_with(&format!("{credentials} may not call")), "{}", failure.message);
        assert_eq!(failure.record.operation.as_deref(), Some("CreateLiveMessageGroup"));
        assert_eq!(failure.record.code, "NoAuth");
    }
}

#[test]
fn an_answer_without_a_request_id_is_told_as_it_is() {
    let object = object(json!({}));
    let Action::Call(call) = decide(&object, &Facts::default(), None) else { panic!("it is created") };
    let failure = Failure::of(&call, &refused(400, "InputInvalid", ""), None);
    assert!(!failure.message.contains('\u{2026}'), "{}", failure.message);
}

#[test]
fn an_app_that_is_not_there_is_probed_by_one_and_a_contradiction_tried_again_soon() {
    assert_eq!(failure(Answer::Refused(404, "ResourceNotExist")).retry, Retry::OnBreaker(FailureDomain::App));
    assert_eq!(Failure::contradiction().retry, Retry::Backoff);
}

#[test]
fn one_that_lost_its_group_in_this_very_pass_is_told_the_way_out_that_is_left() {
    let holder = Holder { name: "ns/first".into() };
    let told = |object: &LiveMessageGroup, facts: &Facts| {
        let Action::Write(verdict) = decide(object, facts, Some(&holder)) else { panic!("it is in conflict") };
        let status = verdict.status(object, None, at(NOW)).unwrap();
        status.condition(ConditionType::Ready).unwrap().message.clone()
    };
    let learned = |object: &LiveMessageGroup, answer_: &Answer| {
        let mut facts = Facts::default();
        let Action::Call(call) = decide(object, &facts, None) else { panic!("a call is next") };
        let told = answer(&call, answer_);
        facts.record(&call, 1, told.as_ref().map(|reply| (reply.clone(), None)), None).unwrap();
        facts
    };
    let new = object(json!({}));
    assert!(told(&new, &learned(&new, &Answer::Created)).ends_with("to Observe"), "it has just had one");
    let asked = created(forced());
    let gone = learned(&asked, &Answer::Refused(404, "ResourceNotExist"));
    assert!(told(&asked, &gone).ends_with("(every field may be edited now)"), "its group is no more");
}
