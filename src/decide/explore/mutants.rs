//! Wrong decisions and wrong controllers, each caught by the invariant that it breaks: no invariant is one that cannot
//! fail.

use std::io::Write as _;

use super::invariants::Invariant;
use super::world::{FULL, Policies};
use super::worlds::{DELETE, absent, lives, one, only, two};
use super::{Explorer, Options, REAL, Start};
use crate::decide::ownership::owns;
use crate::decide::{
    Action, CreateOutcome, DeletionOutcome, Desired, Facts, Holder, Origin, PassOutcome, Remote, SyncState, decide,
};
use crate::live::{Call, GroupRef};
use crate::resources::{LiveMessageGroup, ManagementPolicy};

const LATE: &[&str] = &["an edit of groupInfo", "calls, and the call is late"];

const UNTAKEN: &[&str] = &["calls, and the change is not taken"];

type Decide = fn(&LiveMessageGroup, &Facts, Option<&Holder>) -> Action;

fn group(object: &LiveMessageGroup) -> GroupRef {
    Desired::of(object).unwrap().group
}

fn live(object: &LiveMessageGroup, facts: &Facts, origin: Origin) -> Action {
    Action::Write(PassOutcome::live(&Desired::of(object).unwrap(), origin, facts, None, Some(SyncState::Equal)))
}

/// Takes a create's AlreadyExists for a proof that the group is as the spec says.
fn trusting(object: &LiveMessageGroup, facts: &Facts, other: Option<&Holder>) -> Action {
    match (decide(object, facts, other), facts.create_outcome()) {
        (Action::Call(Call::Describe(_)), Some(CreateOutcome::AlreadyExists)) => live(object, facts, Origin::Adopted),
        (action, _) => action,
    }
}

/// Deletes whatever is alive under its id.
fn careless(object: &LiveMessageGroup, facts: &Facts, other: Option<&Holder>) -> Action {
    match decide(object, facts, other) {
        Action::FinishDeletion(DeletionOutcome::Retained(why)) if why.contains("create time differs") => {
            Action::Call(Call::Delete(group(object)))
        }
        action => action,
    }
}

/// Deletes what was described before the deletion was asked for.
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

/// Is content with what it finds.
fn content(object: &LiveMessageGroup, facts: &Facts, other: Option<&Holder>) -> Action {
    match decide(object, facts, other) {
        Action::Call(Call::Modify(..)) => live(object, facts, object.origin().cloned().unwrap_or(Origin::Adopted)),
        action => action,
    }
}

/// Looks at what is settled.
fn curious(object: &LiveMessageGroup, facts: &Facts, other: Option<&Holder>) -> Action {
    match decide(object, facts, other) {
        Action::Nothing if !object.is_deleting() => Action::Call(Call::Describe(group(object))),
        action => action,
    }
}

/// Never comes to an end.
fn restless(object: &LiveMessageGroup, facts: &Facts, other: Option<&Holder>) -> Action {
    match (decide(object, facts, other), facts.remote()) {
        (Action::Write(_), Remote::Live(_)) => Action::Call(Call::Describe(group(object))),
        (action, _) => action,
    }
}

/// Does not see the others.
fn alone(object: &LiveMessageGroup, facts: &Facts, _: Option<&Holder>) -> Action {
    decide(object, facts, None)
}

/// Creates where it was told to look only.
fn eager(object: &LiveMessageGroup, facts: &Facts, other: Option<&Holder>) -> Action {
    let mut object = object.clone();
    object.spec.management_policy = Some(ManagementPolicy::Manage);
    decide(&object, facts, other)
}

/// Changes a group until the change is taken.
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

/// Calls its own whatever it finds.
fn greedy(object: &LiveMessageGroup, facts: &Facts, other: Option<&Holder>) -> Action {
    match (decide(object, facts, other), facts.remote(), facts.create_outcome()) {
        (Action::Write(_), Remote::Live(_), Some(CreateOutcome::AlreadyExists)) => live(object, facts, Origin::Created),
        (action, ..) => action,
    }
}

/// Lets every object go at once.
fn lax(object: &LiveMessageGroup, facts: &Facts, other: Option<&Holder>) -> Action {
    match decide(object, facts, other) {
        Action::Call(Call::Delete(_)) => {
            Action::FinishDeletion(DeletionOutcome::Retained("to delete is too much work".to_owned()))
        }
        action => action,
    }
}

/// Deletes only what is recorded as created: not what an attempt made whose answer was lost.
fn forgetful(object: &LiveMessageGroup, facts: &Facts, other: Option<&Holder>) -> Action {
    match decide(object, facts, other) {
        Action::Call(Call::Delete(_)) if object.origin().is_none() && facts.created_after().is_none() => {
            Action::FinishDeletion(DeletionOutcome::Retained("nothing is recorded".to_owned()))
        }
        action => action,
    }
}

struct Mutant {
    name: &'static str,
    options: Options,
    starts: Vec<Start>,
    breaks: Invariant,
}

fn decides(name: &'static str, decide: Decide, starts: Vec<Start>, breaks: Invariant) -> Mutant {
    Mutant { name, options: Options { decide, ..REAL }, starts, breaks }
}

fn controls(name: &'static str, options: Options, starts: Vec<Start>, breaks: Invariant) -> Mutant {
    Mutant { name, options, starts, breaks }
}

fn mutants() -> Vec<Mutant> {
    use Invariant::*;
    let default = Policies::default();
    let observe = Policies { management: ManagementPolicy::Observe, ..default };
    let manage = |left| one(left, &[default], FULL);
    let delete = |left| absent(one(left, &[DELETE], FULL));
    let forgets = Options { keeps_facts: false, ..REAL };
    let hasty = Options { looks_again: false, ..REAL };
    let untied = Options { ties_to_uid: false, ..REAL };
    let newest = Options { tells_of_what_was_read: false, ..REAL };
    let impatient = Options { waits_for_late: false, ..REAL };
    let strict = Options { excuses: false, ..REAL };
    vec![
        decides("deletes whatever is alive under its id", careless, delete(4), OnlyOwn),
        controls("the one known exception, where it is not let pass", strict, delete(3), OnlyOwn),
        decides("deletes what it saw long ago", hurried, lives(), OnlyOwn),
        decides("is content with what it finds", content, manage(1), NoChangeLost),
        controls("calls while a lost call may arrive", impatient, only(manage(3), LATE), NoChangeLost),
        decides("looks at what is settled", curious, manage(1), QuietWhenSettled),
        decides("looks for ever", restless, manage(0), Ends),
        decides("trusts AlreadyExists", trusting, manage(1), ReadyWasSeen),
        controls("writes to another object of the name", untied, manage(2), InheritsNothing),
        controls("ends with a repeated write", hasty, manage(2), NobodyLeft),
        decides("does not see the others", alone, two(1, &[(default, default)]), OneHolder),
        decides("creates where it may only look", eager, one(1, &[observe], FULL), Allowed),
        decides("changes a group until the change is taken", stubborn, only(manage(2), UNTAKEN), Counted),
        decides("calls its own whatever it finds", greedy, manage(1), TrueOrigin),
        controls("forgets after a failed write", forgets, manage(2), TrueOrigin),
        controls("tells of the newest generation", newest, manage(2), TrueStatus),
        decides("lets every object go at once", lax, delete(2), LetGo),
        decides("leaves what an unheard create made", forgetful, delete(3), LetGo),
    ]
}

#[test]
fn every_invariant_catches_a_mutant() {
    let mut caught = Vec::new();
    for Mutant { name, options, starts, breaks } in mutants() {
        let (broken, history) = Explorer::new(options).explore(&starts).broken.unwrap_or_else(|| panic!("{name}"));
        assert_eq!(broken, breaks, "{name}: {history}");
        caught.push(breaks);
    }
    for invariant in Invariant::ALL {
        assert!(caught.contains(invariant), "{invariant:?} cannot fail");
    }
    // Not `println!`, which the test harness keeps to itself when all is well.
    let (mutants, invariants) = (caught.len(), Invariant::ALL.len());
    writeln!(
        std::io::stdout(),
        "\ncaught {mutants} mutants of the core and its controller, by all {invariants} invariants"
    )
    .unwrap();
}
