//! Mutants: variants of the operator with one wrong decision or one wrong driver step. Each mutant violates an
//! invariant, and each invariant detects a mutant.

use super::invariants::Invariant;
use super::world::{FULL, Policies};
use super::worlds::{DELETE, TWIN, absent, attacked, later_groups, one, only, print, two};
use super::{Explorer, Start};
use crate::controller::pass::explored::Decide;
use crate::decide::{Action, DeletionOutcome, Desired, Facts, Holder, PassOutcome, Remote, SyncState, decide, owns};
use crate::live::{Call, CreateOutcome, GroupRef};
use crate::resources::{DeletionPolicy, LiveMessageGroup, ManagementPolicy, Origin};

/// The defect in the explored operator.
#[derive(Debug, Clone, Copy)]
pub enum Mutation {
    /// No defect.
    None,
    /// A wrong decision function.
    Decides(Decide),
    /// The exception of [`Explorer::check_delete`] counts as a violation.
    WithoutTheException,
    CallsWhileALostCallMayArrive,
    CallsAfterALostClaim,
    WritesToAnotherObject,
    EndsWithARepeatedWrite,
    ForgetsAfterAFailedWrite,
    ForgetsARequeue,
    ReportsTheNewestGeneration,
    RepeatsWritesOfOlderGenerations,
    SkipsTheIntent,
    IgnoresTheAccount,
    TakesOutdatedCopies,
    MistakesChangesForOwnWrites,
}

impl Mutation {
    pub fn ignores_the_account(self) -> bool {
        matches!(self, Self::IgnoresTheAccount)
    }

    /// The decision function of the pass.
    pub fn decide(self) -> Decide {
        if let Self::Decides(mutant) = self { mutant } else { decide }
    }
}

const LATE: &[&str] = &["an edit of groupInfo", "calls, and the call is late"];

const UNHEARD: &[&str] = &["calls, and the answer is lost", "crashes", "a deletion"];

const IGNORED: &[&str] = &["calls, and the change is ignored"];

fn group(object: &LiveMessageGroup) -> GroupRef {
    Desired::of(object).unwrap().group
}

fn live(object: &LiveMessageGroup, facts: &Facts, origin: Origin) -> Action {
    Action::Write(PassOutcome::live(&Desired::of(object).unwrap(), origin, facts, None, Some(SyncState::Equal)))
}

/// Takes `AlreadyExists` as proof that the group matches the spec.
fn trusting(object: &LiveMessageGroup, facts: &Facts, other: Option<&Holder>) -> Action {
    match (decide(object, facts, other), facts.create_outcome()) {
        (Action::Call(Call::Describe(_)), Some(CreateOutcome::AlreadyExists)) => live(object, facts, Origin::Adopted),
        (action, _) => action,
    }
}

/// Deletes any live group with the object's group ID.
fn careless(object: &LiveMessageGroup, facts: &Facts, other: Option<&Holder>) -> Action {
    match (decide(object, facts, other), facts.remote()) {
        (Action::FinishDeletion(DeletionOutcome::Retained(_)), Remote::Live(_))
            if object.deletion_policy() == DeletionPolicy::Delete
                && object.management_policy() != ManagementPolicy::Observe =>
        {
            Action::Call(Call::Delete(group(object)))
        }
        (action, _) => action,
    }
}

/// Deletes a group although its last Describe call was made before the deletion was requested.
fn hurried(object: &LiveMessageGroup, facts: &Facts, other: Option<&Holder>) -> Action {
    match (decide(object, facts, other), facts.remote()) {
        (Action::Call(Call::Describe(name)), Remote::Live(seen))
            if object.is_deleting() && owns(object, seen, facts) =>
        {
            Action::Call(Call::Delete(name))
        }
        (action, _) => action,
    }
}

/// Accepts every difference between a group and its spec.
fn content(object: &LiveMessageGroup, facts: &Facts, other: Option<&Holder>) -> Action {
    match decide(object, facts, other) {
        Action::Call(Call::Modify(..)) => live(object, facts, object.origin().cloned().unwrap_or(Origin::Adopted)),
        action => action,
    }
}

/// Calls Describe for the group of a settled object.
fn curious(object: &LiveMessageGroup, facts: &Facts, other: Option<&Holder>) -> Action {
    match decide(object, facts, other) {
        Action::Nothing if !object.is_deleting() => Action::Call(Call::Describe(group(object))),
        action => action,
    }
}

/// Calls Describe again and again.
fn restless(object: &LiveMessageGroup, facts: &Facts, other: Option<&Holder>) -> Action {
    match (decide(object, facts, other), facts.remote()) {
        (Action::Write(_), Remote::Live(_)) => Action::Call(Call::Describe(group(object))),
        (action, _) => action,
    }
}

/// Ignores other objects.
fn alone(object: &LiveMessageGroup, facts: &Facts, _: Option<&Holder>) -> Action {
    decide(object, facts, None)
}

/// Creates groups even if the policy is Observe.
fn eager(object: &LiveMessageGroup, facts: &Facts, other: Option<&Holder>) -> Action {
    let mut object = object.clone();
    object.spec.management_policy = Some(ManagementPolicy::Manage);
    decide(&object, facts, other)
}

/// Repeats a change until the API applies it.
fn stubborn(object: &LiveMessageGroup, facts: &Facts, other: Option<&Holder>) -> Action {
    match (decide(object, facts, other), facts.remote()) {
        (Action::Write(_), Remote::Live(seen)) if object.management_policy() == ManagementPolicy::Manage => {
            let change = Desired::of(object).unwrap().difference(seen);
            if change.is_empty() {
                decide(object, facts, other)
            } else {
                Action::Call(Call::Modify(group(object), change))
            }
        }
        (action, _) => action,
    }
}

/// Records every group as created by the object.
fn greedy(object: &LiveMessageGroup, facts: &Facts, other: Option<&Holder>) -> Action {
    match (decide(object, facts, other), facts.remote(), facts.create_outcome()) {
        (Action::Write(_), Remote::Live(_), Some(CreateOutcome::AlreadyExists)) => live(object, facts, Origin::Created),
        (action, ..) => action,
    }
}

/// Retains every group.
fn lax(object: &LiveMessageGroup, facts: &Facts, other: Option<&Holder>) -> Action {
    match decide(object, facts, other) {
        Action::Call(Call::Delete(_)) => {
            Action::FinishDeletion(DeletionOutcome::Retained("every group is retained".to_owned()))
        }
        action => action,
    }
}

/// Deletes a group only if it is recorded as created. Retains the group if the answer to its create was lost.
fn forgetful(object: &LiveMessageGroup, facts: &Facts, other: Option<&Holder>) -> Action {
    match decide(object, facts, other) {
        Action::Call(Call::Delete(_)) if object.origin().is_none() && !facts.has_created() => {
            Action::FinishDeletion(DeletionOutcome::Retained("nothing is recorded".to_owned()))
        }
        action => action,
    }
}

struct Mutant {
    name: &'static str,
    mutation: Mutation,
    starts: Vec<Start>,
    breaks: Invariant,
}

fn mutant(name: &'static str, mutation: Mutation, starts: Vec<Start>, breaks: Invariant) -> Mutant {
    Mutant { name, mutation, starts, breaks }
}

fn decides(name: &'static str, decide: Decide, starts: Vec<Start>, breaks: Invariant) -> Mutant {
    mutant(name, Mutation::Decides(decide), starts, breaks)
}

fn mutants() -> Vec<Mutant> {
    use Invariant::*;
    let default = Policies::default();
    let observe = Policies { management: ManagementPolicy::Observe, ..default };
    let manage = |left| one(left, &[default], FULL);
    let delete = |left| absent(one(left, &[DELETE], FULL));
    let observed = |left| two(left, &[(observe, default)]);
    let pair = |left| two(left, &[(default, default)]);
    vec![
        decides("deletes any group with its group ID", careless, delete(2), OnlyOwn),
        mutant(
            "counts the known exception as a violation",
            Mutation::WithoutTheException,
            only(delete(3), TWIN),
            OnlyOwn,
        ),
        decides("deletes what it described before the deletion", hurried, later_groups(), OnlyOwn),
        decides("accepts every difference", content, manage(1), NoChangeLost),
        mutant(
            "calls while a lost call may arrive",
            Mutation::CallsWhileALostCallMayArrive,
            only(manage(3), LATE),
            NoChangeLost,
        ),
        mutant(
            "repeats a write for an older generation",
            Mutation::RepeatsWritesOfOlderGenerations,
            manage(2),
            ReadyWasSeen,
        ),
        decides("describes a settled group", curious, manage(1), QuietWhenSettled),
        decides("describes without end", restless, manage(0), Ends),
        decides("trusts AlreadyExists", trusting, manage(1), ReadyWasSeen),
        mutant("writes to a recreated object", Mutation::WritesToAnotherObject, manage(2), InheritsNothing),
        mutant("ends with a repeated write", Mutation::EndsWithARepeatedWrite, manage(2), NoneForgotten),
        mutant("forgets a requeue", Mutation::ForgetsARequeue, manage(1), NoneForgotten),
        decides("ignores other objects", alone, pair(1), Ends),
        mutant("calls after a lost claim", Mutation::CallsAfterALostClaim, observed(1), OneOwner),
        decides("creates with policy Observe", eager, one(1, &[observe], FULL), Allowed),
        decides("repeats a change until it is applied", stubborn, only(manage(2), IGNORED), Counted),
        decides("records every group as created", greedy, manage(1), TrueOrigin),
        mutant("forgets after a failed write", Mutation::ForgetsAfterAFailedWrite, manage(2), TrueOrigin),
        mutant("reports the newest generation", Mutation::ReportsTheNewestGeneration, manage(2), TrueStatus),
        decides("retains every group", lax, delete(2), Released),
        decides("retains a group if the answer to its create was lost", forgetful, only(delete(3), UNHEARD), Released),
        mutant("ignores the account that created a group", Mutation::IgnoresTheAccount, attacked(5), OnlyOwn),
        mutant("takes copies that are older than its writes", Mutation::TakesOutdatedCopies, manage(3), Counted),
        mutant("mistakes changes for its own writes", Mutation::MistakesChangesForOwnWrites, manage(1), NoneForgotten),
        mutant("skips the intent", Mutation::SkipsTheIntent, delete(0), Recorded),
    ]
}

#[test]
fn every_invariant_detects_a_mutant() {
    let mut caught = Vec::new();
    for Mutant { name, mutation, starts, breaks } in mutants() {
        let (broken, history) = Explorer::new(mutation).explore(&starts).broken.unwrap_or_else(|| panic!("{name}"));
        assert_eq!(broken, breaks, "{name}: {history}");
        print(&format!("  {name}: caught\n"));
        caught.push(breaks);
    }
    for invariant in Invariant::ALL {
        assert!(caught.contains(invariant), "{invariant:?} cannot fail");
    }
    let (mutants, invariants) = (caught.len(), Invariant::ALL.len());
    print(&format!("\ncaught {mutants} mutants; each of the {invariants} invariants caught at least one\n"));
}
