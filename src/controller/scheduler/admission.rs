//! Admission of calls: decides whether an object may send its next call, records the effect of the answer on circuit
//! breakers, fences and usage, and ends the step.

use std::time::{Duration, Instant};

use super::apps::Fit;
use super::breakers::{BreakerEffect, Breakers, Prober, breakers_for, effect_of};
use super::{Scheduler, UsageQuery, Work};
use crate::budget::Pace;
use crate::controller::keys::{AccountKey, AppKey, BreakerKey, BudgetKey, Cause, GroupAtService, ObjectKey, Requeue};
use crate::controller::pass::{Blocked, Explanation, Pass, Preflight};
use crate::decide::{Priority, is_observed};
use crate::live::{Call, CallError, CreateOutcome, ErrorClass, Reply, Response};
use crate::resources::{LiveMessageGroup, Reason};

/// A call that an object is about to send.
#[derive(Debug, Clone, Copy)]
pub struct CallRequest<'a> {
    /// The version of the object that the pass works with.
    pub object: &'a LiveMessageGroup,
    pub call: &'a Call,
    /// The account that the call uses. Its credentials are available.
    pub account: &'a AccountKey,
    /// Whether a permit was granted. If so, the call can be sent immediately.
    pub has_permit: bool,
    /// The pace at which the account can send waiting calls of this operation.
    pub pace: Pace,
}

impl Scheduler {
    /// Takes the next object that waits for a permit of `budget`; `None` if no object waits, or while another call is
    /// verifying the credentials.
    pub fn grant(&mut self, budget: &BudgetKey) -> Option<Work> {
        if !self.breakers.may_grant(&budget.account) {
            return None;
        }
        let (key, priority) = self.queue.grant(budget)?;
        Some(self.work(key, priority))
    }

    /// Whether [`Scheduler::grant`] would return an object for a permit of `budget`.
    pub fn can_grant(&self, budget: &BudgetKey) -> bool {
        self.queue.awaiting_permit(budget) > 0 && self.breakers.may_grant(&budget.account)
    }

    /// Updates the record of an object that a worker has read. Returns whether a drift check contradicts its status;
    /// `None` if the watch has not delivered the object yet, or has delivered its deletion.
    pub fn loaded(&mut self, key: &ObjectKey, object: &LiveMessageGroup) -> Option<bool> {
        self.refresh(key, object).then(|| self.take_drift(key))
    }

    /// Checks whether an object may send its call now, without considering the rate limit.
    pub fn preflight(&mut self, key: &ObjectKey, request: CallRequest<'_>, now: Instant) -> Preflight {
        let record = self.record(key);
        if record.is_some_and(|record| record.is_newer_than(request.object)) {
            // The object has changed, so it is read again. It may need a different call, or may have lost its group.
            return Preflight::Delayed(Duration::ZERO);
        }
        let group = record.and_then(|record| record.group.clone());
        if let Some(wait) = self.fences.remaining(group.as_deref(), request.object, request.call, now) {
            return Preflight::Delayed(wait);
        }
        if let Some(blocked) = self.pass_breakers(key, request, now).or_else(|| self.reserve_place(key, request)) {
            return Preflight::Blocked(blocked);
        }
        let budget = BudgetKey { account: request.account.clone(), operation: request.call.operation() };
        if request.has_permit && !self.claim(key) {
            return Preflight::OwnerChanged;
        }
        // A permit cannot be used while another call is verifying the credentials.
        if request.has_permit && self.prove_credentials(key, request.account, now) {
            return Preflight::Cleared;
        }
        let wait = request.pace.time_for(self.queue.ahead(key, &budget));
        Preflight::NeedsPermit { budget, wait }
    }

    fn prove_credentials(&mut self, key: &ObjectKey, account: &AccountKey, now: Instant) -> bool {
        let may_send = self.breakers.may_send(account, &Prober::Object(key.clone()), now);
        if may_send && !self.breakers.is_proven(account) {
            self.add_probe(key, BreakerKey::Credentials(account.clone()));
        }
        may_send
    }

    /// Returns the circuit breaker that blocks the call, if any.
    fn pass_breakers(&mut self, key: &ObjectKey, request: CallRequest<'_>, now: Instant) -> Option<Blocked> {
        let mut breakers = breakers_for(request.call, request.account);
        // If the permission for one of the object's later calls is missing, the earlier calls would be wasted.
        // Therefore, the breaker of that permission also blocks the earlier calls. After an edit, this check does not
        // apply, because the object may need different calls.
        if is_observed(request.object) {
            breakers.extend(
                self.permissions_ahead(key).into_iter().filter(|ahead| !breakers.contains(ahead)).collect::<Vec<_>>(),
            );
        }
        if request.object.reconcile_is_requested() {
            self.breakers.expedite(&breakers, key);
            self.queue.wakeups.timer = true;
        }
        match self.breakers.admit(&breakers, key, now) {
            Ok(probes) => {
                self.release_probes(key, now, |_, probe| !breakers.contains(probe));
                probes.into_iter().for_each(|probe| self.add_probe(key, probe));
                None
            }
            Err(breaker) => {
                let explanation = self.breakers.failure(&breaker).cloned();
                Some(Blocked { on: Cause::Breaker(breaker), explanation })
            }
        }
    }

    /// The open permission breakers that block the object, or that the object is probing.
    fn permissions_ahead(&self, key: &ObjectKey) -> Vec<BreakerKey> {
        let probes =
            self.objects.get(key).and_then(|state| state.held.as_ref()).into_iter().flat_map(|held| &held.probes);
        let blocked = match self.queue.blocked_before(key) {
            Some(Cause::Breaker(breaker)) => Some(breaker),
            _ => None,
        };
        let is_open = |breaker: &&BreakerKey| {
            matches!(breaker, BreakerKey::Permission(..)) && self.breakers.failure(breaker).is_some()
        };
        probes.chain(blocked).filter(is_open).cloned().collect()
    }

    /// If the call creates a group, reserves a place for the group in its app. Returns the cause that blocks the call
    /// if no place is free or the usage is unknown.
    fn reserve_place(&mut self, key: &ObjectKey, request: CallRequest<'_>) -> Option<Blocked> {
        let Call::Create(group, _) = request.call else { return None };
        let app = AppKey::new(request.account, &group.app_id);
        let state = self.apps.entry(app.clone()).or_default();
        let (query, explanation) = match state.try_reserve(key, &group.group_id, self.max_groups) {
            Fit::Fits => {
                if let Some(object) = self.objects.get_mut(key) {
                    object.held_mut().reservation = Some(app);
                }
                return None;
            }
            Fit::Unknown(query) => (Some(query), None),
            Fit::Full { used, limit } => {
                // A user who forces a reconcile may have just deleted groups, so the groups are counted now instead of
                // at the next drift check.
                let query = request.object.reconcile_is_requested().then_some(UsageQuery::Count);
                let message = format!(
                    "App {:?} has {used} of {limit} groups. Delete groups that are not needed; the operator then \
                     creates this group after the next drift check. If Alibaba Cloud has raised the quota, set \
                     --max-groups-per-app.",
                    group.app_id
                );
                (query, Some(Explanation { reason: Reason::QuotaExceeded, message, failure: None }))
            }
        };
        if let Some(query) = query {
            self.request_usage(&app, query);
        }
        Some(Blocked { on: Cause::Quota(app), explanation })
    }

    /// Updates the breakers, the fences and the usage of the app according to the result of an object's call.
    pub fn record_answer(
        &mut self,
        key: &ObjectKey,
        call: &Call,
        account: &AccountKey,
        result: &Result<Response<Reply>, CallError>,
        now: Instant,
    ) {
        self.record_groups(key, call, account, result, now);
        let class = match result {
            Ok(_) => None,
            // The call is repeated, and the result of the repeated call counts.
            Err(CallError::Resent(..)) => return,
            // The request was not sent.
            Err(CallError::Unsendable(_)) => Some(ErrorClass::Unreachable),
            Err(error) => Some(error.class()),
        };
        let prober = Prober::Object(key.clone());
        for breaker in breakers_for(call, account) {
            self.learn_from(&breaker, &prober, class, now);
        }
    }

    /// Suspends all further calls of an account whose credentials the service rejected, except those of the object
    /// `key`, until the credentials are reloaded. Then one call verifies them before the other calls are sent.
    pub fn suspend_credentials(&mut self, key: &ObjectKey, account: &AccountKey, now: Instant) {
        self.breakers.suspend(account, &Prober::Object(key.clone()), now);
        self.add_probe(key, BreakerKey::Credentials(account.clone()));
    }

    /// Updates the late-arrival fences and the usage of the app.
    fn record_groups(
        &mut self,
        key: &ObjectKey,
        call: &Call,
        account: &AccountKey,
        result: &Result<Response<Reply>, CallError>,
        now: Instant,
    ) {
        let Some(group) = call.group() else { return };
        if result.as_ref().is_err_and(CallError::is_undecided) && call.is_mutating() {
            let service = self.accounts.get(account).map(|account| account.service.clone());
            self.fences.answer_lost(GroupAtService { service, group: group.into() }, now);
        }
        let app = AppKey::new(account, &group.app_id);
        let Some(state) = self.apps.get_mut(&app) else { return };
        match (call, result) {
            (Call::Create(..), _) => {
                let is_new = matches!(result, Ok(answer) if answer.value == Reply::Created(CreateOutcome::Created));
                state.on_create(key, &group.group_id, is_new);
                if let Some(object) = self.objects.get_mut(key) {
                    object.take_reservation();
                }
                // The place of a failed create is free again.
                self.fill_free_places(&app);
            }
            (Call::Delete(_), Ok(_)) => {
                state.on_delete(&group.group_id);
                self.fill_free_places(&app);
            }
            _ => {}
        }
    }

    /// Applies the effect of a call's result to one breaker.
    pub(super) fn learn_from(
        &mut self,
        breaker: &BreakerKey,
        prober: &Prober,
        class: Option<ErrorClass>,
        now: Instant,
    ) {
        match effect_of(breaker.domain(), class) {
            BreakerEffect::Trip => {}
            BreakerEffect::Inconclusive => self.breakers.inconclusive(breaker, prober, now),
            BreakerEffect::Close => {
                let cause = Cause::Breaker(breaker.clone());
                let has_blocked = self.queue.blocked(&cause) > 0;
                if self.breakers.close(breaker, has_blocked, now) {
                    self.unblock(&cause);
                    if let BreakerKey::Credentials(account) = breaker {
                        self.ring_budgets(account);
                    }
                }
            }
        }
        self.queue.wakeups.timer = true;
    }

    /// Opens a breaker after a pass failed for a cause that other objects share.
    pub fn trip_breaker(&mut self, key: &ObjectKey, breaker: &BreakerKey, failure: Explanation, now: Instant) {
        self.trip(breaker, &Prober::Object(key.clone()), failure, now);
    }

    pub(super) fn trip(&mut self, breaker: &BreakerKey, prober: &Prober, failure: Explanation, now: Instant) {
        if self.breakers.trip(breaker, prober, failure, now) {
            // The waiting objects report the cause instead of failing one after the other.
            let account = breaker.account();
            self.queue.recheck(|budget| budget.account == *account);
            self.queue.wakeups.accounts = true;
        }
        self.queue.wakeups.timer = true;
    }

    /// Ends the step of an active object, and queues the object according to `requeue`. Returns the pass if the object
    /// was deleted during the step.
    pub fn finish(
        &mut self,
        key: &ObjectKey,
        priority: Priority,
        requeue: Requeue,
        pass: Option<Box<Pass>>,
        now: Instant,
    ) -> Option<Box<Pass>> {
        // An object with the policy `Observe` does not claim a group.
        let has_claimed = self.record(key).is_some_and(|record| record.in_flight);
        self.set_in_flight(key, has_claimed && pass.as_ref().is_some_and(|pass| pass.holds_claim()));
        match &requeue {
            Requeue::Done | Requeue::Blocked { .. } => self.release_waits(key, now),
            Requeue::After(_) | Requeue::Permit(_) => self.release_unproven(key, now),
        }
        let requeue = if self.still_holds(key, &requeue) { requeue } else { Requeue::After(Duration::ZERO) };
        let Some(state) = self.objects.get_mut(key) else {
            self.queue.finish_forgotten(key);
            return pass;
        };
        state.pass = pass;
        let left = state.left.take();
        let is_due = |left: &Priority| match requeue {
            Requeue::Done => true,
            Requeue::After(_) | Requeue::Blocked { .. } => *left == Priority::Change,
            Requeue::Permit(_) => false,
        };
        if let Some(left) = left.filter(is_due) {
            self.queue.wake(key, left);
        }
        self.queue.finish(key, priority, &requeue, now);
        self.forget_copy_if_idle(key);
        None
    }

    /// Whether the object must still be blocked. The cause may have ended while the status was being written.
    fn still_holds(&self, key: &ObjectKey, requeue: &Requeue) -> bool {
        let Requeue::Blocked { on, .. } = requeue else { return true };
        match on {
            // The account status task checks the account again when an object starts to wait for it.
            Cause::Account(_) => true,
            Cause::Owner(_) => self.other_claimant(key).is_some(),
            Cause::Breaker(breaker) => self.breakers.failure(breaker).is_some(),
            Cause::Quota(app) => self.waits_for_quota(app),
        }
    }

    /// Releases the object's probes and its reservation, which a blocked or finished object must not keep.
    pub(super) fn release_waits(&mut self, key: &ObjectKey, now: Instant) {
        self.release_probes(key, now, |_, _| true);
        let reservation = self.objects.get_mut(key).and_then(|state| state.take_reservation());
        if let Some(app) = reservation
            && let Some(state) = self.apps.get_mut(&app)
        {
            state.release(key);
            self.fill_free_places(&app);
        }
    }

    /// Releases the object's probes of unverified credentials, so that the next call of any object can verify them.
    fn release_unproven(&mut self, key: &ObjectKey, now: Instant) {
        self.release_probes(key, now, |breakers, probe| breakers.failure(probe).is_none());
    }

    fn release_probes(&mut self, key: &ObjectKey, now: Instant, is_released: impl Fn(&Breakers, &BreakerKey) -> bool) {
        let Some(state) = self.objects.get_mut(key) else { return };
        let Some(held) = &mut state.held else { return };
        let released: Vec<BreakerKey> =
            held.probes.extract_if(.., |probe| is_released(&self.breakers, probe)).collect();
        state.drop_if_nothing_held();
        for probe in released {
            self.breakers.release_probe(&probe, &Prober::Object(key.clone()), now);
            if let BreakerKey::Credentials(account) = &probe {
                self.ring_budgets(account);
            }
            self.queue.wakeups.timer = true;
        }
    }

    fn add_probe(&mut self, key: &ObjectKey, probe: BreakerKey) {
        let Some(state) = self.objects.get_mut(key) else { return };
        let probes = &mut state.held_mut().probes;
        if !probes.contains(&probe) {
            probes.push(probe);
        }
    }

    /// Makes objects ready if their delay or deadline has passed, and starts the probes that are due.
    pub fn tick(&mut self, now: Instant) {
        self.queue.expire(now);
        let queue = &self.queue;
        let due = self.breakers.due_probes(now, |breaker| queue.blocked(&Cause::Breaker(breaker.clone())) > 0);
        for (breaker, expedited) in due {
            let cause = Cause::Breaker(breaker.clone());
            let expedited = expedited.filter(|key| self.queue.unblock_object(&cause, key));
            if let Some(key) = expedited.or_else(|| self.queue.unblock(&cause, 1).pop()) {
                self.breakers.start_probe(&breaker, &key, now);
                self.add_probe(&key, breaker);
            }
        }
    }

    /// When [`Scheduler::tick`] must run next; `None` if there is no deadline and no scheduled probe.
    pub fn next_deadline(&self) -> Option<Instant> {
        let queue = &self.queue;
        let probe = self.breakers.next_due(|breaker| queue.blocked(&Cause::Breaker(breaker.clone())) > 0);
        self.queue.next_deadline().into_iter().chain(probe).min()
    }
}
