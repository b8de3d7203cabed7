//! What is told of a pass by events: what it has done, and what has gone wrong. Pure: each transition once, told by the
//! write that records it.

#[cfg(test)]
mod tests;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::events::Kind;
use crate::decide::Facts;
use crate::live::CreateOutcome;
use crate::resources::{ConditionStatus, ConditionType, LiveMessageGroup, Origin, Ready, Reason};

/// An event to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telling {
    /// Who hears of it.
    pub kind: Kind,
    /// Its reason.
    pub reason: &'static str,
    /// Its note.
    pub note: String,
}

/// What is to be told where a pass that has learned `facts` ends with `reason`: of the object as it was, and as it is now.
/// `told` are the faults that were told of since the pass began; `applied` whether this very generation was applied when
/// it did.
pub fn tellings(
    (before, after): (&LiveMessageGroup, &LiveMessageGroup),
    facts: &Facts,
    reason: Reason,
    told: &mut Vec<Reason>,
    applied: bool,
) -> Vec<Telling> {
    let done = deed((before, after), facts, applied);
    let state = state(before, after, reason, done.is_some(), told);
    done.into_iter().chain(state).chain(out_of_sync(before, after)).collect()
}

/// What was done to the group.
fn deed((before, after): (&LiveMessageGroup, &LiveMessageGroup), facts: &Facts, applied: bool) -> Option<Telling> {
    let made = facts.create_outcome() == Some(CreateOutcome::Created) || facts.recovered() == Some(true);
    let made = made && !facts.has_ended();
    let origin = after.origin().filter(|origin| made || before.origin() != Some(*origin));
    let (reason, what) = match origin {
        Some(Origin::Created) if applied => ("DriftCorrected", "was gone and is there again"),
        Some(Origin::Created) => ("Created", "was created"),
        Some(Origin::Recovered) => ("Recovered", "was recovered"),
        Some(Origin::Adopted | Origin::Other(_)) => ("AlreadyExists", "existed already and was adopted"),
        // Told with the origin, when that was recorded.
        None if facts.create_outcome().is_some() || facts.recovered().is_some() => return None,
        None if !facts.has_modified() || gave_up(after) => return None,
        None if applied => ("DriftCorrected", "was changed elsewhere and is as the spec says again"),
        None => ("Modified", "was changed as the spec says"),
    };
    // As the pass has read it: by now the spec may name another group.
    let app = &before.spec.app_id;
    let mut note = format!("group {} of app {app} {what}", before.group_id().unwrap_or_default());
    if let Some(id) = facts.last_write().filter(|id| !id.is_empty()) {
        note += &format!(" (RequestId {id})");
    }
    Some(Telling { kind: Kind::Normal, reason, note })
}

/// A fault that was not there before, or the end of one that nothing else tells.
fn state(
    before: &LiveMessageGroup,
    after: &LiveMessageGroup,
    reason: Reason,
    done: bool,
    told: &mut Vec<Reason>,
) -> Option<Telling> {
    let was = standing(before).map_or("", |condition| condition.reason.as_str());
    let now = standing(after)?;
    if was == now.reason {
        return None;
    }
    if is_fault(reason) {
        let new = !told.contains(&reason);
        if new {
            told.push(reason);
        }
        let note = now.message.clone();
        return new.then_some(Telling { kind: Kind::Warning, reason: reason.as_str(), note });
    }
    let over = was.parse().is_ok_and(is_fault);
    let reason = match reason {
        Reason::Observed => reason.as_str(),
        _ if reason.ready() == Ready::True && over && !done => ConditionType::Ready.as_str(),
        _ => return None,
    };
    Some(Telling { kind: Kind::Normal, reason, note: now.message.clone() })
}

/// Fields that cannot be made as the spec says.
fn out_of_sync(before: &LiveMessageGroup, after: &LiveMessageGroup) -> Option<Telling> {
    let differs = |object| failed_sync(object).and_then(|sync| sync.reason.parse::<Reason>().ok());
    let reason = differs(after).filter(|reason| differs(before) != Some(*reason))?;
    let note = failed_sync(after)?.message.clone();
    Some(Telling { kind: Kind::Warning, reason: reason.as_str(), note })
}

fn failed_sync(object: &LiveMessageGroup) -> Option<&Condition> {
    object.condition(ConditionType::InSync).filter(|sync| ConditionStatus::of(sync) == ConditionStatus::False)
}

fn gave_up(object: &LiveMessageGroup) -> bool {
    failed_sync(object).is_some_and(|sync| sync.reason == Reason::ChangeNotTaken.as_str())
}

/// The condition that says how the object stands: what the operator is going on with, else `Ready`.
fn standing(object: &LiveMessageGroup) -> Option<&Condition> {
    object.condition(ConditionType::Reconciling).or(object.condition(ConditionType::Ready))
}

fn is_fault(reason: Reason) -> bool {
    let going_on = matches!(reason, Reason::Pending | Reason::Paused | Reason::Queued | Reason::Applying);
    reason.ready() != Ready::True && !going_on
}

/// Whether this very generation was applied before.
pub fn is_applied(object: &LiveMessageGroup) -> bool {
    let observed = object.status.as_ref().and_then(|status| status.observed_generation);
    let ready = object.condition(ConditionType::Ready).map(ConditionStatus::of);
    observed == object.metadata.generation && ready == Some(ConditionStatus::True)
}
