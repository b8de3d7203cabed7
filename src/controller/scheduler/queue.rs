//! The work queue: the only place where an object waits. An object has at most one entry and at most one worker.
//!
//! An entry waits for a worker, the end of a delay, a permit of a budget, or the end of a [`Cause`]. While a worker
//! processes the object, the entry is active. If several objects wait for the same thing, [`FairQueue`] defines their
//! order. The queue is pure: the caller passes the time.

mod depths;
#[cfg(test)]
pub mod explored;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

pub use depths::{Depths, Moment};

use super::fair_queue::{FairQueue, Position};
use crate::controller::keys::{BudgetKey, Cause, ObjectKey, Requeue};
use crate::decide::Priority;

/// A permit or the end of a cause. Several objects can wait for it at the same time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Wait {
    Permit(BudgetKey),
    Cause(Cause),
}

/// The position that an object had among the waiting objects before it was woken. If the object waits for the same
/// permit or cause again with the same priority, it returns to this position.
#[derive(Debug, Clone)]
struct Kept {
    on: Wait,
    priority: Priority,
    position: Position,
}

#[derive(Debug)]
enum State {
    /// Waits for a worker.
    Ready { position: Position, kept: Option<Kept> },
    /// Waits for a delay to end.
    Delayed { until: Instant },
    /// Waits for a permit, or for a cause to end; a blocked object may have a deadline.
    Waiting { on: Wait, position: Position, deadline: Option<Instant> },
    /// A worker processes the object. If the object changes during this time, `dirty` is the priority of the next run.
    Active { dirty: Option<Priority>, kept: Option<Kept> },
}

#[derive(Debug)]
struct Entry {
    priority: Priority,
    /// The time when the object became runnable. Since then, it has waited only for a worker or a permit.
    since: Moment,
    state: State,
}

/// The tasks to notify about changes since the last [`Scheduler::take_wakeups`](super::Scheduler::take_wakeups).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wakeups {
    /// Whether an object waits for a worker.
    pub workers: bool,
    /// The budgets whose waiting objects may be granted a permit.
    pub budgets: Vec<BudgetKey>,
    /// Whether the next deadline may have become earlier.
    pub timer: bool,
    /// Whether an object waits for an account, or the state of an account's credentials changed.
    pub accounts: bool,
    /// Whether the usage of an app is requested.
    pub usage: bool,
}

#[derive(Debug, Default)]
pub struct Queue {
    entries: HashMap<ObjectKey, Entry>,
    ready: FairQueue,
    waiting: HashMap<Wait, FairQueue>,
    /// The times when delays end, and the deadlines of blocked objects.
    deadlines: BTreeSet<(Instant, ObjectKey)>,
    delayed: usize,
    active: usize,
    sequence: u64,
    /// The current time.
    pub now: Moment,
    /// The tasks to notify.
    pub wakeups: Wakeups,
}

impl Queue {
    /// Queues an object that has work. [`Priority::Change`] ends a delay or a block and marks an active object dirty. A
    /// lower priority does not, because a retry of the object is already scheduled. An object that waits for a permit
    /// is always processed again, because it may no longer need the call.
    pub fn add(&mut self, key: &ObjectKey, priority: Priority) {
        let urgent = match self.entries.get(key).map(|entry| &entry.state) {
            Some(State::Waiting { on: Wait::Permit(_), .. } | State::Ready { .. }) | None => true,
            Some(State::Delayed { .. } | State::Waiting { .. } | State::Active { .. }) => priority == Priority::Change,
        };
        if urgent {
            self.wake(key, priority);
        }
    }

    /// Ends any wait of the object. It is processed again as soon as a worker is free, or after the current step if it
    /// is active.
    pub fn wake(&mut self, key: &ObjectKey, priority: Priority) {
        self.wakeups.workers = true;
        let Some(entry) = self.entries.get_mut(key) else {
            return self.make_ready(key.clone(), priority, None);
        };
        if let State::Active { dirty, .. } = &mut entry.state {
            *dirty = Some(dirty.map_or(priority, |before| before.max(priority)));
            return;
        }
        if matches!(entry.state, State::Ready { .. }) && priority <= entry.priority {
            return;
        }
        let priority = priority.max(entry.priority);
        let kept = self.detach(key);
        self.make_ready(key.clone(), priority, kept);
    }

    /// Adds an object to the queue as blocked on `cause`, so that it does not wait for a worker first. Does nothing if
    /// the object is already in the queue.
    pub fn block(&mut self, key: &ObjectKey, priority: Priority, cause: Cause) {
        if !self.entries.contains_key(key) {
            self.wait(key, priority, Wait::Cause(cause), None, None);
        }
    }

    /// Takes the next object for a worker; the object is active until [`Queue::finish`].
    pub fn pop(&mut self) -> Option<(ObjectKey, Priority)> {
        let turn = self.next_sequence();
        let key = self.ready.pop(turn)?;
        let entry = self.entries.get_mut(&key)?;
        let kept = if let State::Ready { kept, .. } = &mut entry.state { kept.take() } else { None };
        entry.state = State::Active { dirty: None, kept };
        self.active += 1;
        Some((key, entry.priority))
    }

    /// Takes the next object that waits for a permit of `budget`; the object is active until [`Queue::finish`].
    pub fn grant(&mut self, budget: &BudgetKey) -> Option<(ObjectKey, Priority)> {
        let key = self.pop_waiting(&Wait::Permit(budget.clone()))?;
        let entry = self.entries.get_mut(&key)?;
        entry.state = State::Active { dirty: None, kept: None };
        self.active += 1;
        Some((key, entry.priority))
    }

    /// Ends the work on an active object. If the object changed while it was active, it becomes ready immediately
    /// instead of waiting as `requeue` requests.
    pub fn finish(&mut self, key: &ObjectKey, priority: Priority, requeue: &Requeue, now: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let State::Active { dirty, kept } = &mut entry.state else { return };
        let (dirty, kept) = (dirty.take(), kept.take());
        self.active -= 1;
        if let Some(dirty) = dirty {
            if *requeue == Requeue::Done {
                entry.since = self.now;
            }
            // An unfinished pass keeps its priority if a less urgent event marked the object dirty.
            let priority = if *requeue == Requeue::Done { dirty } else { dirty.max(priority) };
            let mut kept = kept.filter(|kept| wait_of(requeue).as_ref() == Some(&kept.on));
            if let (None, Requeue::Permit(budget)) = (&kept, requeue) {
                // The object keeps its place among the objects that wait for a permit. The change may be only the
                // operator's own status write, which reports that the object waits: the watch can deliver this write
                // before its response arrives.
                let position = Position::last(self.next_sequence());
                kept = Some(Kept { on: Wait::Permit(budget.clone()), priority, position });
            }
            return self.make_ready(key.clone(), priority, kept);
        }
        match requeue {
            Requeue::Done => drop(self.entries.remove(key)),
            Requeue::After(delay) => {
                let until = now + *delay;
                let entry = Entry { priority, since: self.now, state: State::Delayed { until } };
                self.entries.insert(key.clone(), entry);
                self.delayed += 1;
                self.set_deadline(key, until);
            }
            Requeue::Permit(budget) => self.wait(key, priority, Wait::Permit(budget.clone()), None, kept),
            Requeue::Blocked { on, deadline } => {
                self.wait(key, priority, Wait::Cause(on.clone()), *deadline, kept);
            }
        }
    }

    /// Makes at most `count` objects that are blocked on `cause` ready again, and returns them in queue order.
    pub fn unblock(&mut self, cause: &Cause, count: usize) -> Vec<ObjectKey> {
        let on = Wait::Cause(cause.clone());
        let mut released = Vec::new();
        while released.len() < count
            && let Some(key) = self.pop_waiting(&on)
        {
            let Some(entry) = self.entries.remove(&key) else { break };
            if let State::Waiting { deadline: Some(deadline), .. } = entry.state {
                self.deadlines.remove(&(deadline, key.clone()));
            }
            self.make_ready(key.clone(), entry.priority, None);
            released.push(key);
        }
        released
    }

    /// If the object is blocked on `cause`, makes it ready again and returns `true`.
    pub fn unblock_object(&mut self, cause: &Cause, key: &ObjectKey) -> bool {
        let blocked = self.blocked_on(key) == Some(cause);
        if blocked {
            self.wake(key, self.priority_of(key));
        }
        blocked
    }

    /// For each budget that satisfies `concerns`, makes all objects that wait for a permit of this budget ready again.
    pub fn recheck(&mut self, concerns: impl Fn(&BudgetKey) -> bool) {
        let waits = self.waiting.keys().filter(|wait| matches!(wait, Wait::Permit(budget) if concerns(budget)));
        for wait in waits.cloned().collect::<Vec<_>>() {
            for key in self.in_order(&wait) {
                self.wake(&key, self.priority_of(&key));
            }
        }
    }

    /// Makes objects ready again if their delay or deadline has passed.
    pub fn expire(&mut self, now: Instant) {
        while let Some((until, key)) = self.deadlines.first().cloned()
            && until <= now
        {
            let priority = self.priority_of(&key);
            let kept = self.detach(&key);
            self.make_ready(key, priority, kept);
        }
    }

    /// When [`Queue::expire`] must run next; `None` if no object has a delay or a deadline.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(until, _)| *until)
    }

    /// Removes an object. An active object stays until its worker calls [`Queue::finish_forgotten`].
    pub fn forget(&mut self, key: &ObjectKey) {
        if self.entries.get(key).is_some_and(|entry| !matches!(entry.state, State::Active { .. })) {
            self.detach(key);
            self.entries.remove(key);
        }
    }

    /// Removes an active object that was deleted while a worker processed it.
    pub fn finish_forgotten(&mut self, key: &ObjectKey) {
        if self.is_active(key) {
            self.entries.remove(key);
            self.active -= 1;
        }
    }

    /// Whether the object waits or is active.
    pub fn contains(&self, key: &ObjectKey) -> bool {
        self.entries.contains_key(key)
    }

    /// The cause that the object is blocked on; `None` if it is not blocked.
    pub fn blocked_on(&self, key: &ObjectKey) -> Option<&Cause> {
        match &self.entries.get(key)?.state {
            State::Waiting { on: Wait::Cause(cause), .. } => Some(cause),
            _ => None,
        }
    }

    /// The cause that an active object was blocked on before it was woken; `None` if it was not blocked or is not
    /// active.
    pub fn blocked_before(&self, key: &ObjectKey) -> Option<&Cause> {
        match &self.entries.get(key)?.state {
            State::Active { kept: Some(Kept { on: Wait::Cause(cause), .. }), .. } => Some(cause),
            _ => None,
        }
    }

    /// The number of objects that are blocked on `cause`.
    pub fn blocked(&self, cause: &Cause) -> usize {
        self.waiting.get(&Wait::Cause(cause.clone())).map_or(0, FairQueue::len)
    }

    /// The number of objects that wait for a permit of `budget`.
    pub fn awaiting_permit(&self, budget: &BudgetKey) -> usize {
        self.waiting.get(&Wait::Permit(budget.clone())).map_or(0, FairQueue::len)
    }

    /// Returns how many objects would get a permit of `budget` ahead of the active object `key` if it started to wait
    /// now. If any objects are already waiting for such a permit, the result also counts all other active objects,
    /// because most of them are about to wait too.
    pub fn ahead(&self, key: &ObjectKey, budget: &BudgetKey) -> usize {
        let Some(waiting) = self.waiting.get(&Wait::Permit(budget.clone())) else { return 0 };
        waiting.ahead(key.namespace(), self.priority_of(key)) + self.active.saturating_sub(1)
    }

    /// The number of objects that wait for a delay to end.
    pub fn delayed(&self) -> usize {
        self.delayed
    }

    /// Whether an object waits for a worker.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    fn priority_of(&self, key: &ObjectKey) -> Priority {
        self.entries.get(key).map_or(Priority::Retry, |entry| entry.priority)
    }

    fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn set_deadline(&mut self, key: &ObjectKey, until: Instant) {
        self.wakeups.timer |= self.deadlines.first().is_none_or(|(first, _)| until < *first);
        self.deadlines.insert((until, key.clone()));
    }

    fn make_ready(&mut self, key: ObjectKey, priority: Priority, kept: Option<Kept>) {
        let (position, since) = (Position::last(self.next_sequence()), self.runnable_since(&key));
        self.wakeups.workers = true;
        self.ready.insert(key.clone(), priority, position);
        self.entries.insert(key, Entry { priority, since, state: State::Ready { position, kept } });
    }

    fn wait(&mut self, key: &ObjectKey, priority: Priority, on: Wait, deadline: Option<Instant>, kept: Option<Kept>) {
        let last = Position::last(self.next_sequence());
        let kept = kept.filter(|kept| kept.on == on && kept.priority == priority);
        let position = kept.map_or(last, |kept| kept.position);
        match &on {
            Wait::Permit(budget) => self.wakeups.budgets.push(budget.clone()),
            Wait::Cause(Cause::Account(_)) => self.wakeups.accounts = true,
            // A probe becomes due only while objects are blocked on the breaker, so the next deadline may change now.
            Wait::Cause(Cause::Breaker(_)) => self.wakeups.timer = true,
            Wait::Cause(Cause::Owner(_) | Cause::Quota(_)) => {}
        }
        self.waiting.entry(on.clone()).or_default().insert(key.clone(), priority, position);
        if let Some(deadline) = deadline {
            self.set_deadline(key, deadline);
        }
        let since = self.runnable_since(key);
        self.entries.insert(key.clone(), Entry { priority, since, state: State::Waiting { on, position, deadline } });
    }

    fn pop_waiting(&mut self, wait: &Wait) -> Option<ObjectKey> {
        let turn = self.next_sequence();
        let objects = self.waiting.get_mut(wait)?;
        let key = objects.pop(turn);
        if objects.is_empty() {
            self.waiting.remove(wait);
        }
        key
    }

    /// Removes an object from the structure that it waits in. The caller must replace or remove the object's entry.
    /// Returns the object's position among the objects that wait for a permit or a cause, if it has or had one.
    fn detach(&mut self, key: &ObjectKey) -> Option<Kept> {
        let Entry { priority, state, .. } = self.entries.get_mut(key)?;
        let priority = *priority;
        match state {
            State::Ready { position, kept } => {
                self.ready.remove(key, priority, *position);
                kept.take()
            }
            State::Delayed { until } => {
                self.deadlines.remove(&(*until, key.clone()));
                self.delayed -= 1;
                None
            }
            State::Waiting { on, position, deadline } => {
                if let Some(deadline) = deadline {
                    self.deadlines.remove(&(*deadline, key.clone()));
                }
                let objects = self.waiting.get_mut(on)?;
                let position = objects.remove(key, priority, *position);
                if objects.is_empty() {
                    self.waiting.remove(on);
                }
                Some(Kept { on: on.clone(), priority, position })
            }
            State::Active { .. } => None,
        }
    }

    /// The objects that wait for the same permit or cause, in the order of [`FairQueue::in_order`].
    fn in_order(&self, wait: &Wait) -> Vec<ObjectKey> {
        self.waiting.get(wait).map_or_else(Vec::new, FairQueue::in_order)
    }
}

fn wait_of(requeue: &Requeue) -> Option<Wait> {
    match requeue {
        Requeue::Permit(budget) => Some(Wait::Permit(budget.clone())),
        Requeue::Blocked { on, .. } => Some(Wait::Cause(on.clone())),
        Requeue::Done | Requeue::After(_) => None,
    }
}
