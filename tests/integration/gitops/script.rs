//! Creates objects in situations that require a fault or a long time. The operator's own code computes each status from
//! scripted responses, and the test writes the status to the status subresource.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use kube::api::{Api, Patch, PatchParams};
use live_message_operator::decide::{Action, Desired, Facts, PassOutcome, decide, record_before, unreadable_status};
use live_message_operator::live::error::ApiError;
use live_message_operator::live::{Call, CallError, CreateOutcome, GroupSnapshot, Reply};
use live_message_operator::resources::{
    LiveMessageGroup, LiveMessageGroupStatus, PAUSED_ANNOTATION, RECONCILE_REQUESTED_AT_ANNOTATION, Reason,
};
use serde_json::{Value, json};

use super::table::Situation;
use crate::support::{Context as _, Error, Result};
use crate::world::World;

/// A step of a script.
enum Step {
    /// The user applies this merge patch.
    Edit(Value),
    /// The operator runs one reconcile pass, and its calls get these responses.
    Pass(Vec<Answer>),
    /// The operator reports this reason and makes no call. The number is the time since the start of the script, in
    /// seconds.
    Reports(Reason, i64),
    /// The operator records a create intent before it sends the create.
    RecordsIntent,
    /// The operator cannot parse the object.
    Unreadable,
}

type Answer = Result<Reply, CallError>;

fn scripts() -> Vec<(&'static str, Vec<Step>)> {
    use Step::{Edit, Pass, RecordsIntent, Reports, Unreadable};
    let created = || Pass(vec![Ok(Reply::Created(CreateOutcome::Created))]);
    let edit = || Edit(json!({"spec": {"groupInfo": "new"}}));
    let force = || Edit(json!({"metadata": {"annotations": {RECONCILE_REQUESTED_AT_ANNOTATION: "now"}}}));
    let pause = || Edit(json!({"metadata": {"annotations": {PAUSED_ANNOTATION: "true"}}}));
    let delete = || Edit(json!({"spec": {"deletionPolicy": "Delete"}}));
    let unchanged = || Ok(Reply::Group(GroupSnapshot::default()));
    let done = || Ok(Reply::Done);
    vec![
        (
            "the Live API accepted an edit and shows the old value",
            vec![created(), edit(), Pass(vec![unchanged(), done(), unchanged(), done(), unchanged()])],
        ),
        ("the Live API refuses a value", vec![Pass(refused(400, "InputInvalid"))]),
        ("the Live API refuses a call for an unknown reason", vec![Pass(refused(400, "SomethingNew"))]),
        ("the stored object cannot be read", vec![Unreadable]),
        ("edited, the stored object cannot be read", vec![created(), edit(), Unreadable]),
        ("new, queued behind other objects", vec![Reports(Reason::Queued, 0)]),
        ("edited, queued behind other objects", vec![created(), edit(), Reports(Reason::Queued, 0)]),
        ("edited, the call is in flight", vec![created(), edit(), Reports(Reason::Applying, 0)]),
        ("new with deletionPolicy Delete, the call is in flight", vec![delete(), RecordsIntent]),
        ("the group no longer exists, its create is in flight", vec![created(), delete(), RecordsIntent]),
        ("new, throttled", vec![Pass(refused(400, "Throttling.User"))]),
        ("edited, throttled", vec![created(), edit(), Pass(refused(400, "Throttling.User"))]),
        ("new, the service fails", vec![Pass(refused(503, "ServiceUnavailable"))]),
        ("edited, the service fails", vec![created(), edit(), Pass(refused(503, "ServiceUnavailable"))]),
        (
            "a reconcile pass is requested, the service fails",
            vec![created(), force(), Pass(refused(500, "ServerError"))],
        ),
        (
            "paused while the operator retried",
            vec![created(), force(), Pass(refused(500, "ServerError")), pause(), Pass(vec![])],
        ),
        (
            "paused while manual intervention was required",
            vec![Pass(refused(400, "InputInvalid")), pause(), Pass(vec![])],
        ),
        ("the clocks differ", vec![Pass(refused(400, "InvalidTimeStamp.Expired"))]),
        ("the credentials are missing, first 2 minutes", vec![missing(0), missing(119)]),
        ("the credentials are missing, later", vec![missing(0), missing(60), missing(120)]),
        (
            "the app was full, now the credentials are missing",
            vec![Pass(refused(400, "ErrorTooManyGroups")), missing(3600), missing(3660)],
        ),
    ]
}

fn missing(second: i64) -> Step {
    Step::Reports(Reason::CredentialsMissing, second)
}

fn refused(status: u16, code: &str) -> Vec<Answer> {
    vec![Err(CallError::Api(ApiError {
        status,
        code: Some(code.to_owned()),
        message: format!("The request {REQUEST_ID} was refused."),
        request_id: Some(REQUEST_ID.to_owned()),
        retry_after: None,
        body_complete: true,
    }))]
}

const REQUEST_ID: &str = "9D2B4C6E-0000-4000-8000-0123456789AB";

/// Runs every script, each with its own object.
pub async fn write_all(world: &World<'_>, situations: &mut Vec<Situation>) -> Result<()> {
    for (title, steps) in scripts() {
        let situation = Situation::new(title, &world.namespace);
        let name = situation.create(&world.api, json!({}), json!({})).await?;
        let start = Timestamp::now();
        for step in steps {
            play(&world.api, &name, step, start).await.context(title)?;
        }
        situations.push(situation);
    }
    Ok(())
}

async fn play(api: &Api<LiveMessageGroup>, name: &str, step: Step, start: Timestamp) -> Result<()> {
    let object = api.get(name).await?;
    let status = match step {
        Step::Edit(edit) => {
            return Ok(api.patch(name, &PatchParams::default(), &Patch::Merge(&edit)).await.map(drop)?);
        }
        Step::Pass(answers) => pass(&object, answers.into(), start)?,
        Step::Reports(reason, second) => {
            let outcome = PassOutcome::waiting(reason, reason.doc().to_owned(), &Facts::default());
            outcome.status(&object, None, start + SignedDuration::from_secs(second))
        }
        Step::RecordsIntent => {
            let desired = Desired::of(&object).map_err(Error::new)?;
            let create = Call::Create(desired.group, desired.fields);
            let recorded = record_before(&object, &Facts::default(), &create, start, start);
            Some(recorded.context("the create has no intent")?.0)
        }
        Step::Unreadable => {
            let generation = object.metadata.generation.unwrap_or_default();
            let message =
                "the stored object cannot be read, correct it or update the operator: a field of another version"
                    .to_owned();
            unreadable_status(object.status.unwrap_or_default(), generation, message, start)
        }
    };
    // `None` means that the status does not change.
    let Some(status) = status else { return Ok(()) };
    let operations = serde_json::from_value(json!([{"op": "add", "path": "/status", "value": status}]))?;
    api.patch_status(name, &PatchParams::default(), &Patch::Json::<()>(operations)).await?;
    Ok(())
}

/// Runs one reconcile pass over an object, answers its calls with these responses, and returns the status to write.
fn pass(
    object: &LiveMessageGroup,
    mut answers: VecDeque<Answer>,
    now: Timestamp,
) -> Result<Option<LiveMessageGroupStatus>> {
    let generation = object.metadata.generation.unwrap_or_default();
    let (mut facts, requested_at) = (Facts::default(), object.reconcile_requested_at());
    loop {
        let failure = match decide(object, &facts, None) {
            Action::Write(outcome) => return Ok(outcome.status(object, requested_at, now)),
            Action::Fail(failure) => failure,
            Action::Call(call) => {
                let answer = answers.pop_front().context(format_args!("no answer to {call:?}"))?;
                let answer = answer.as_ref().map(|reply| (reply.clone(), Some(REQUEST_ID.to_owned())));
                match facts.record(&call, generation, answer, None) {
                    Ok(()) => continue,
                    Err(failure) => failure,
                }
            }
            other => return Err(Error::new(format!("no script for {other:?}"))),
        };
        return Ok(PassOutcome::failed(&failure, &facts).status(object, requested_at, now));
    }
}
