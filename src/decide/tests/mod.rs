//! Tests of whole passes. The fixtures run a pass with a list of answers and format the final status as one line.

mod accounts;
mod annotations;
mod contract;
mod create_time;
mod deleted_group;
mod deletion;
mod finalizer;
mod group;
mod messages;
mod ownership;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Action, Facts, Failure, Holder, PassOutcome, decide};
use crate::live::error::{ApiError, Delivery};
use crate::live::{Call, CallError, CreateOutcome, GroupSnapshot, Operation, Reply};
use crate::resources::{ConditionType, LiveMessageGroup, LiveMessageGroupStatus};

/// The time of every pass, unless a test sets another one.
const NOW: i64 = 1_800_000_000;

/// An answer of the Live API.
#[derive(Debug, Clone)]
enum Answer {
    Created,
    Exists,
    Blocked,
    Group(GroupSnapshot),
    Done,
    Refused(u16, &'static str),
    Lost,
}

/// Returns an object with the defaults that the apiserver sets, and with `change` merged into it.
fn object(change: Value) -> LiveMessageGroup {
    let mut object = json!({
        "apiVersion": "live.alibabacloud.com/v1alpha1",
        "kind": "LiveMessageGroup",
        "metadata": {"namespace": "ns", "name": "room", "uid": "u1", "generation": 1},
        "spec": {"appId": "demo", "groupId": "room1", "groupName": "Room", "groupInfo": "v1"},
        "status": {"observedGeneration": -1, "conditions": [{
            "type": "Ready", "status": "Unknown", "reason": "Pending", "message": "",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        }]},
    });
    json_patch::merge(&mut object, &change);
    serde_json::from_value(object).unwrap()
}

/// An object whose group was created, with `change` merged into it afterwards.
fn created(change: Value) -> LiveMessageGroup {
    after(object(json!({})), vec![Answer::Created], change)
}

/// The object after a pass, with `change` merged into it afterwards.
fn after(object: LiveMessageGroup, answers: Vec<Answer>, change: Value) -> LiveMessageGroup {
    let status = pass(&object, answers).unwrap();
    with(LiveMessageGroup { status: Some(status), ..object }, change)
}

fn with(object: LiveMessageGroup, change: Value) -> LiveMessageGroup {
    let mut value = serde_json::to_value(object).unwrap();
    json_patch::merge(&mut value, &change);
    serde_json::from_value(value).unwrap()
}

fn edited(change: Value) -> Value {
    json!({"metadata": {"generation": 2}, "spec": change})
}

fn forced() -> Value {
    json!({"metadata": {"annotations": {"live.alibabacloud.com/reconcile-requested-at": "again"}}})
}

/// The group that matches the spec of [`object`].
fn snapshot() -> GroupSnapshot {
    GroupSnapshot {
        group_id: "room1".into(),
        group_name: "Room".into(),
        group_info: "v1".into(),
        create_time: Some(at(NOW - 60)),
        ..GroupSnapshot::default()
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Converts an answer to the result of the call.
fn answer(call: &Call, answer: &Answer) -> Result<Reply, CallError> {
    let reply = match (call, answer) {
        (Call::Create(..), Answer::Created) => Reply::Created(CreateOutcome::Created),
        (Call::Create(..), Answer::Exists) => Reply::Created(CreateOutcome::AlreadyExists),
        (Call::Create(..), Answer::Blocked) => Reply::Created(CreateOutcome::AlreadyDelete),
        (Call::Describe(_), Answer::Group(group)) => Reply::Group(group.clone()),
        (Call::Modify(..) | Call::Recover(_) | Call::Delete(_), Answer::Done) => Reply::Done,
        (_, Answer::Refused(status, code)) => return Err(refused(*status, code, "request-1")),
        (_, Answer::Lost) => {
            return Err(CallError::Transport { delivery: Delivery::Unknown, message: "no answer within 10 s".into() });
        }
        (call, answer) => panic!("{call:?} cannot have the answer {answer:?}"),
    };
    Ok(reply)
}

/// A refusal whose message contains its request ID, like the refusals of the Live API.
fn refused(status: u16, code: &str, request: &str) -> CallError {
    CallError::Api(ApiError {
        status,
        code: (!code.is_empty()).then(|| code.to_owned()),
        message: format!("what the service says. RequestId: {request}"),
        request_id: Some(request.to_owned()),
        retry_after: None,
        body_complete: true,
    })
}

/// The end of a pass.
#[derive(Debug)]
enum End {
    Nothing,
    Status(PassOutcome),
    Failed(Failure, PassOutcome),
}

/// Runs a pass, which must use every answer. Returns the end and the calls of the pass.
fn play(object: &LiveMessageGroup, holder: Option<&Holder>, answers: Vec<Answer>) -> (End, Vec<Call>) {
    let (mut facts, mut calls, mut answers) = (Facts::default(), Vec::new(), answers.into_iter());
    let generation = object.metadata.generation.unwrap();
    let end = loop {
        let call = match decide(object, &facts, holder) {
            Action::Nothing => break End::Nothing,
            Action::Write(outcome) => break End::Status(outcome),
            Action::Fail(failure) => {
                let outcome = PassOutcome::failed(&failure, &facts);
                break End::Failed(failure, outcome);
            }
            Action::Call(call) => call,
            step => panic!("{step:?} for an object whose group is never deleted"),
        };
        let result = answer(&call, &answers.next().unwrap_or_else(|| panic!("no answer for {call:?}")));
        let request = Some(format!("request-{}", calls.len()));
        let recorded = facts.record(&call, generation, result.as_ref().map(|reply| (reply.clone(), request)), None);
        calls.push(call);
        if let Err(failure) = recorded {
            let outcome = PassOutcome::failed(&failure, &facts);
            break End::Failed(failure, outcome);
        }
    };
    assert_eq!(answers.len(), 0, "unused answers after {calls:?}");
    (end, calls)
}

impl End {
    fn outcome(&self) -> Option<&PassOutcome> {
        match self {
            Self::Nothing => None,
            Self::Status(outcome) | Self::Failed(_, outcome) => Some(outcome),
        }
    }
}

/// Runs a pass. Returns the status at the end of the pass if this status differs from the recorded status.
fn pass(object: &LiveMessageGroup, answers: Vec<Answer>) -> Option<LiveMessageGroupStatus> {
    play(object, None, answers).0.outcome()?.status(object, object.reconcile_requested_at(), at(NOW))
}

/// Runs a pass. Returns the status at the end of the pass as one line.
fn shown(object: &LiveMessageGroup, answers: Vec<Answer>) -> String {
    pass(object, answers).map_or_else(|| "unchanged".to_owned(), |status| line(&status))
}

/// Formats a status as one line that contains its conditions, its origin and its observed generation.
fn line(status: &LiveMessageGroupStatus) -> String {
    let conditions = status
        .conditions
        .iter()
        .map(|condition| format!("{}={}/{}", condition.type_, condition.status, condition.reason));
    let origin = status.origin.as_ref().map(|origin| format!("origin={}", origin.as_str()));
    let observed = status.observed_generation.map(|generation| format!("observed={generation}"));
    conditions.chain(origin).chain(observed).collect::<Vec<_>>().join(" ")
}

fn operations(calls: &[Call]) -> Vec<Operation> {
    calls.iter().map(Call::operation).collect()
}

fn condition_time(status: &LiveMessageGroupStatus, kind: ConditionType) -> Option<i64> {
    Some(status.condition(kind)?.last_transition_time.0.as_second())
}
