//! Runs the production pass and the production scheduler, and caches their results.

use std::sync::Arc;
use std::time::Duration;

use super::Explorer;
use super::access::{NOW, Returned, drift_check, observe_own_write, own_write, preflight};
use super::accounts::{At, accounts, team};
use super::mutants::Mutation;
use super::service::Answer;
use super::world::{APP, Group, Stored, Work, World, id_text, key_of, moment};
use crate::controller::keys::{AccountKey, BreakerKey, BudgetKey, Cause, GroupAtService, GroupKey, Requeue};
use crate::controller::pass::explored::DECIDE;
use crate::controller::pass::{
    Blocked, Effect, Explanation, Input, NoCredentials, Pass, Preflight, Report, StepContext, WriteFailure,
};
use crate::controller::scheduler::explored::{Known, Place};
use crate::controller::scheduler::{Scheduler, Seen};
use crate::decide::{Holder, Priority};
use crate::live::{Operation, Response};
use crate::resources::Reason;

const FINALIZER_TIMEOUT: Duration = Duration::from_secs(600);

/// The next effect of a pass, in compact form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    Load,
    /// Reads the object from the apiserver, even if a cached copy exists.
    Read,
    CheckNamespace,
    SetFinalizer(bool),
    ReleaseFinalizer,
    Preflight(u32),
    PersistIntent(u32),
    Send(u32),
    WriteStatus(u32),
    Finish(Rest),
}

/// The requeue after a step, in compact form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rest {
    Done,
    /// A retry, or a wait that ends without an event.
    Later,
    /// A wait for the owner of the group.
    ForOwner,
}

/// The input of a pass, in compact form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fed {
    Start,
    Gone,
    Read { object: Stored, has_drifted: bool, is_copy: bool },
    NamespaceTerminates,
    Patched(Stored),
    PatchFailed { is_gone: bool },
    Cleared,
    NeedsPermit { is_long: bool },
    Delayed,
    OwnerChanged,
    NoCredentials,
    BreakerOpen,
    Answer { answer: Answer, id: u8, progress: Option<Stored> },
    Written(Stored),
    WriteFailed { is_gone: bool },
}

/// The part of the world that a pass can see during a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Context {
    /// The index of the other object, if that object owns the group or will take it over.
    owner: Option<usize>,
    owner_has_origin: bool,
    clock: u8,
    timed_out: bool,
    at: At,
}

/// The result of a step.
#[derive(Debug, Clone, Copy)]
pub struct Moved {
    pub pass: u32,
    pub step: Step,
    pub has_failed: bool,
}

/// An access to a scheduler on behalf of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// The watch delivered the object. The flag is `true` if the object was in the first list of the watch.
    Observe(Stored, bool),
    /// The watch delivered the version of the object that the operator wrote last.
    ObserveOwnWrite(Stored),
    /// The operator wrote the object.
    Refresh(Stored),
    /// A worker read the object.
    Load(Stored),
    /// A worker took the cached copy of the object.
    TakeCopy,
    Remove,
    /// Asks whether another object owns the group or will take it over.
    Owner,
    /// A call is about to be sent.
    Preflight {
        read: Stored,
        call: u32,
        has_permit: bool,
        is_lost: bool,
        is_fenced: bool,
    },
    Finish {
        rest: Rest,
        is_kept: bool,
        holds_claim: bool,
    },
    /// The endpoint of the LiveAccount changes.
    Rerouted,
    /// A drift check listed the group.
    DriftCheck(Group),
}

impl Explorer {
    /// Advances the pass of an object by one input.
    pub fn feed(&mut self, world: &mut World, p: usize, i: usize, fed: Fed) -> Moved {
        let owner = self.access(world, p, i, Access::Owner);
        let owner_has_origin = owner == Returned::OwnedByOther { has_origin: true };
        let owner = matches!(owner, Returned::OwnedByOther { .. }).then_some(1 - i);
        let is_timed = matches!(fed, Fed::Cleared | Fed::Patched(_) | Fed::Answer { .. });
        // Each new intent gets its own timestamp.
        let clock = if is_timed { world.clock + u8::from(matches!(fed, Fed::Cleared)) } else { 0 };
        let context =
            Context { owner, owner_has_origin, clock, timed_out: world.objects[i].timed_out, at: world.work(p, i).at };
        let key = (world.work(p, i).pass, fed, context);
        let moved = match self.memo.moves.get(&key) {
            Some(moved) => *moved,
            None => {
                let moved = self.advance(key.0, fed, context);
                self.memo.moves.insert(key, moved);
                moved
            }
        };
        world.work(p, i).pass = moved.pass;
        moved
    }

    fn advance(&mut self, number: u32, fed: Fed, context: Context) -> Moved {
        let mut pass = self.library.passes.get(number).clone();
        let input = self.input(&mut pass, fed);
        let late = if context.timed_out { 2 * FINALIZER_TIMEOUT } else { Duration::ZERO };
        let context = StepContext {
            now: *NOW + late,
            wall: moment(0),
            service: Some(moment(context.clock)),
            account: Some(Arc::new(if self.mutation.ignores_the_account() { At::Own } else { context.at }.record())),
            group: Some(Arc::new(GroupAtService {
                service: None,
                group: GroupKey { app_id: APP.into(), group_id: id_text(0).into() },
            })),
            owner: context
                .owner
                .map(|other| Holder { name: key_of(other).to_string(), has_origin: context.owner_has_origin }),
            delayed: 0,
            jitter: 1.0,
            finalizer_timeout: FINALIZER_TIMEOUT,
            unreachable_finalizer_timeout: FINALIZER_TIMEOUT,
        };
        DECIDE.set(self.mutation.decide());
        let effect = pass.next(input, &context);
        DECIDE.set(crate::decide::decide);
        let has_failed = pass.take_reports().iter().any(|report| matches!(report, Report::Failed(_)));
        let step = match effect {
            Effect::Load => Step::Load,
            Effect::Read => Step::Read,
            Effect::CheckNamespace => Step::CheckNamespace,
            Effect::SetFinalizer(wanted) => Step::SetFinalizer(wanted),
            Effect::ReleaseFinalizer => Step::ReleaseFinalizer,
            Effect::Preflight(call) => Step::Preflight(self.library.calls.number(call)),
            Effect::PersistIntent(status) => Step::PersistIntent(self.library.statuses.number(*status)),
            Effect::Send(call) => Step::Send(self.library.calls.number(call)),
            Effect::WriteStatus(status) => Step::WriteStatus(self.library.statuses.number(*status)),
            Effect::Finish(finish) => {
                drop(pass.take_object());
                pass = pass.without_delays(*NOW);
                Step::Finish(match finish.requeue {
                    Requeue::Done => Rest::Done,
                    Requeue::Blocked { on: Cause::Owner(_), .. } => Rest::ForOwner,
                    Requeue::After(_) | Requeue::Permit(_) | Requeue::Blocked { .. } => Rest::Later,
                })
            }
        };
        Moved { pass: self.library.passes.number(pass), step, has_failed }
    }

    fn input(&self, pass: &mut Pass, fed: Fed) -> Input {
        let object = |stored: &Stored| Box::new(self.library.object(stored));
        let failure = |is_gone| if is_gone { WriteFailure::Gone } else { WriteFailure::Failed };
        let budget = || BudgetKey { account: AccountKey::Operator, operation: Operation::Create };
        match fed {
            Fed::Start => Input::Start,
            Fed::Gone => Input::Gone,
            Fed::Read { object: stored, has_drifted, is_copy } => {
                if matches!(self.mutation, Mutation::RepeatsWritesOfOlderGenerations) {
                    pass.set_pending_generation(i64::from(stored.generation));
                }
                Input::Read { object: object(&stored), has_drifted, is_copy }
            }
            Fed::NamespaceTerminates => Input::Namespace { is_terminating: true },
            Fed::Patched(stored) => Input::Patched(Ok(object(&stored))),
            Fed::PatchFailed { is_gone } => Input::Patched(Err(failure(is_gone))),
            Fed::Cleared => Input::Preflight(Preflight::Cleared),
            Fed::NeedsPermit { is_long } => {
                let wait = Duration::from_secs(if is_long { 60 } else { 0 });
                Input::Preflight(Preflight::NeedsPermit { budget: budget(), wait })
            }
            Fed::Delayed => Input::Preflight(Preflight::Delayed(Duration::from_secs(1))),
            Fed::OwnerChanged => Input::Preflight(Preflight::OwnerChanged),
            Fed::NoCredentials => Input::Preflight(Preflight::NoCredentials(NoCredentials {
                account: AccountKey::Operator,
                why: Some("there are none".to_owned()),
                retry_after: None,
            })),
            Fed::BreakerOpen => {
                let (reason, message) = (Reason::NotAuthorized, "the circuit breaker is open".to_owned());
                Input::Preflight(Preflight::Blocked(Blocked {
                    on: Cause::Breaker(BreakerKey::Credentials(AccountKey::Operator)),
                    explanation: Some(Explanation { reason, message, failure: None }),
                }))
            }
            Fed::Answer { answer, id, progress } => Input::Answer {
                result: answer.result(id).map(|value| Response {
                    value,
                    request_id: Some("request".to_owned()),
                    status: 200,
                }),
                progress: progress.as_ref().map(object),
            },
            Fed::Written(stored) => Input::StatusWritten(Ok(object(&stored))),
            Fed::WriteFailed { is_gone } => Input::StatusWritten(Err(failure(is_gone))),
        }
    }

    /// Applies an access to the scheduler of a process.
    pub fn access(&mut self, world: &mut World, p: usize, i: usize, access: Access) -> Returned {
        let known = world.processes[p].work.map(|work: Work| work.known);
        let key = (known, i, access, world.is_rerouted);
        let (known, returned) = match self.memo.accesses.get(&key) {
            Some(after) => *after,
            None => {
                let after = self.schedule(known, i, access, world.is_rerouted);
                self.memo.accesses.insert(key, after);
                after
            }
        };
        for (work, known) in world.processes[p].work.iter_mut().zip(known) {
            work.known = known;
        }
        returned
    }

    fn schedule(&mut self, known: [u32; 2], i: usize, access: Access, is_rerouted: bool) -> ([u32; 2], Returned) {
        let objects = [0, 1].map(|i| (key_of(i), self.library.known.get(known[i]).clone()));
        let is_fenced = matches!(access, Access::Preflight { is_fenced: true, .. });
        let now = *NOW;
        let mut scheduler = Scheduler::restore(&objects, accounts(is_rerouted), APP, now, is_fenced);
        let key = key_of(i);
        let mut returned = Returned::Nothing;
        match access {
            Access::Observe(stored, is_initial) => {
                let seen = Seen { list: 0, is_initial };
                scheduler.observe(&key, &self.library.object(&stored), seen, now);
            }
            Access::ObserveOwnWrite(stored) => {
                observe_own_write(&mut scheduler, &key, self.library.object(&stored));
            }
            Access::Refresh(stored) => drop(scheduler.written(&key, &own_write(self.library.object(&stored)))),
            Access::Load(stored) => {
                if let Some(has_drifted) = scheduler.loaded(&key, &self.library.object(&stored)) {
                    returned = Returned::Loaded(has_drifted);
                }
            }
            Access::TakeCopy => returned = Returned::Loaded(scheduler.copy_taken(&key)),
            Access::Remove => drop(scheduler.remove(&key, now)),
            Access::Owner => {
                if let Some(Holder { has_origin, .. }) = scheduler.other_claimant(&key) {
                    returned = Returned::OwnedByOther { has_origin };
                }
            }
            Access::Preflight { read, call, has_permit, is_lost, .. } => {
                if is_lost {
                    scheduler.answer_lost(&key, now);
                }
                let (object, call) = (self.library.object(&read), self.library.calls.get(call));
                returned = preflight(&mut scheduler, &key, &object, call, has_permit);
            }
            Access::Finish { rest, is_kept, holds_claim } => {
                let requeue = match rest {
                    Rest::Done => Requeue::Done,
                    Rest::Later => Requeue::After(Duration::from_secs(1)),
                    Rest::ForOwner => {
                        scheduler.group_of(&key).map_or(Requeue::Done, |group| Requeue::blocked(Cause::Owner(group)))
                    }
                };
                let pass = is_kept.then(|| Box::new(if holds_claim { Pass::with_claim() } else { Pass::new() }));
                drop(scheduler.finish(&key, Priority::Retry, requeue, pass, now));
            }
            // `is_rerouted` is the state after the change.
            Access::Rerouted => {
                let (account, state) = team(is_rerouted);
                scheduler.account_changed(&account, Some(state));
            }
            Access::DriftCheck(group) => drift_check(&mut scheduler, i, &group),
        }
        let known = [0, 1].map(|i| self.library.known.number(scheduler.known(&key_of(i))));
        (known, returned)
    }

    /// Gives an object to a worker.
    pub fn take(&mut self, work: &mut Work) {
        let known = Known { place: Place::Active, has_pass: false, ..self.known(work).clone() };
        work.known = self.library.known.number(known);
    }

    /// The place of an object in the queue of a process.
    pub fn place(&self, work: &Work) -> Place {
        self.known(work).place
    }

    /// The state that the scheduler of a process keeps for an object.
    pub fn known(&self, work: &Work) -> &Known {
        self.library.known.get(work.known)
    }
}
