//! One step of a pass: read the object, decide, act, write the status.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::account::Account;
use super::accounts::{AccountKey, Accounts, Permits, Slot};
use super::causes::{Says, gates_of, group_of, says};
use super::events::{Events, Kind};
use super::gates::Gates;
use super::index::Index;
use super::key::Key;
use super::mark::Expected;
use super::objects::{Found, Objects};
use super::pass::Pass;
use super::permission::Permission;
use super::places::{GROUPS_PER_APP, Places};
use super::queue::Next;
use super::sweep::Wanted;
use super::work::Work;
use crate::budget::LATE_ARRIVAL;
use crate::decide::{Action, Facts, Identity, Lane, Verdict, decide, unreadable_status};
use crate::live::error::Delivery;
use crate::live::{Answer, Call, CallError, CreateOutcome, ErrorClass, Operation, Reply};
use crate::resources::{ConditionStatus, ConditionType, LiveMessageGroup, Reason};

/// A change that is not through after this long is told in the status: `Ready` of an older generation must not stand
/// there as if nothing were open.
const PATIENCE: Duration = Duration::from_secs(2);

/// An object behind a gate is woken by it; this is only the net below.
pub(super) const PARKED: Duration = Duration::from_secs(3600);

/// After a panic.
const AFTER_PANIC: Duration = Duration::from_secs(60);

/// All that the steps share.
pub struct Reconciler {
    /// The objects.
    pub objects: Objects,
    /// The accounts that are called.
    pub accounts: Accounts,
    /// The queue.
    pub work: Work,
    /// Where transitions are told.
    pub events: Events,
    index: Mutex<Index>,
    gates: Mutex<Gates<Key>>,
    /// Rung when a gate shut.
    pub gate_bell: tokio::sync::Notify,
    pub(super) passes: Mutex<HashMap<Key, Pass>>,
    /// Until when no call for a group may be sent: an earlier one may arrive yet.
    pub(super) holds: Mutex<HashMap<Identity, Instant>>,
    places: Mutex<Places<Key>>,
    /// Objects whose record a sweep found contradicted, and what the record said.
    suspects: Mutex<HashMap<Key, Expected>>,
    /// Counts and lists that objects wait for.
    pub wanted: Wanted,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panic leaves behind is whole: no lock is held across more than one step of its content.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reconciler {
    /// A reconciler with nothing to do.
    pub fn new(objects: Objects, accounts: Accounts, events: Events) -> Self {
        Self {
            objects,
            accounts,
            work: Work::default(),
            events,
            index: Mutex::default(),
            gates: Mutex::default(),
            gate_bell: tokio::sync::Notify::new(),
            passes: Mutex::default(),
            holds: Mutex::default(),
            places: Mutex::new(Places::new(GROUPS_PER_APP)),
            suspects: Mutex::default(),
            wanted: Wanted::default(),
        }
    }

    /// The index of all objects.
    pub fn index(&self) -> MutexGuard<'_, Index> {
        locked(&self.index)
    }

    /// The gates.
    pub fn gates(&self) -> MutexGuard<'_, Gates<Key>> {
        locked(&self.gates)
    }

    /// The places of the apps.
    pub fn places(&self) -> MutexGuard<'_, Places<Key>> {
        locked(&self.places)
    }

    /// A list contradicts what the record of this object says: it is looked at, after everything that users wait for.
    pub fn suspect(&self, key: &Key, contradicted: Expected) {
        locked(&self.suspects).insert(key.clone(), contradicted);
        self.work.add(key, Lane::Sweep);
    }

    /// Looks again at objects whose group changed hands.
    pub fn wake_all(&self, keys: Vec<Key>) {
        for key in keys {
            self.work.wake(&key, Lane::Change);
        }
    }

    /// The object is gone: everything known of it goes too.
    pub fn forget(&self, key: &Key) {
        let peers = self.index().remove(key);
        self.leave_gates(key);
        self.places().forget(key);
        locked(&self.suspects).remove(key);
        self.wake_all(peers);
    }

    /// The object waits behind no gate any more; where it was the prober of one, another one is.
    pub(super) fn leave_gates(&self, key: &Key) {
        self.gates().forget(key);
        self.gate_bell.notify_one();
    }

    /// Works on an active object, and hands it back to the queue. A panic is one failed object.
    pub async fn run(self: Arc<Self>, key: Key, lane: Lane, permit: Option<Granted>) {
        let this = Arc::clone(&self);
        let of = key.clone();
        let step = tokio::spawn(async move { this.step(&of, lane, permit).await });
        let (lane, next) = step.await.unwrap_or_else(|error| {
            tracing::error!(object = %key, %error, "a reconcile panicked: this is a defect, please report it");
            (Lane::Retry, Next::After(AFTER_PANIC))
        });
        self.work.finish(&key, lane, next);
    }

    async fn step(&self, key: &Key, lane: Lane, permit: Option<Granted>) -> (Lane, Next<Slot>) {
        match self.objects.get(key).await {
            Ok(Found::Object(object)) => self.pass(key, *object, lane, permit).await,
            Ok(Found::Gone) => {
                self.end_of(key, None);
                self.forget(key);
                (lane, Next::Done)
            }
            Ok(Found::Unreadable { identity: (uid, generation), status, error }) => {
                let message = format!("the stored object cannot be read: {error}");
                tracing::warn!(object = %key, error, "a stored object cannot be read: the others go on");
                let now = jiff::Timestamp::now();
                if let Some(status) = unreadable_status(*status, generation, message, now)
                    && let Err(error) = self.objects.write_status(key, &uid, &status).await
                {
                    tracing::warn!(object = %key, %error, "its status could not be written");
                    return (Lane::Retry, Next::After(AFTER_PANIC));
                }
                (lane, Next::Done)
            }
            Err(error) => {
                tracing::warn!(object = %key, %error, "the object could not be read");
                let delay =
                    self.change_pass(key, |pass| pass.backoff(self.work.delayed())).unwrap_or(Duration::from_secs(2));
                (lane, Next::After(delay.min(Duration::from_secs(30))))
            }
        }
    }

    /// Goes on with the pass over an object that was read just now.
    async fn pass(
        &self,
        key: &Key,
        mut object: LiveMessageGroup,
        lane: Lane,
        mut granted: Option<Granted>,
    ) -> (Lane, Next<Slot>) {
        let Some(peers) = self.index().refresh(key, &object) else {
            // The watch has not shown this object yet, or has shown its end: its event brings it back, if any does.
            return (lane, Next::Done);
        };
        self.wake_all(peers);
        let mut pass = self.take_pass(key, &object);
        if let Some(unwritten) = pass.unwritten.take() {
            if object.metadata.generation == Some(unwritten.generation) {
                // What came meanwhile without a new generation (a forced reconcile, a pause) brought the object back
                // only to this write: one more look follows.
                let next =
                    if matches!(unwritten.next, Next::Done) { Next::After(Duration::ZERO) } else { unwritten.next };
                return self.conclude(key, &object, pass, unwritten.verdict, lane, next).await;
            }
            if !pass.facts.has_effect() {
                // A new generation asks anew: what was only seen for an older one answers it no longer.
                pass = pass.recorded();
            }
        }
        if object.is_deleting() && self.is_given_up(key, &pass).await {
            pass.facts.abandon();
        }
        if pass.facts.is_empty() {
            pass.hear(&object);
        }
        // A record that says something else by now was written after another look: the list is older.
        let contradicted = locked(&self.suspects).remove(key);
        if contradicted.is_some_and(|contradicted| self.index().expects(key) == contradicted) {
            pass.facts.suspect();
        }
        loop {
            let other = self.index().other_of(key);
            let call = match decide(&object, &pass.facts, other.as_ref()) {
                Action::Nothing => {
                    self.leave_gates(key);
                    self.release(key);
                    return (lane, Next::Done);
                }
                Action::Write(verdict) => return self.conclude(key, &object, pass, verdict, lane, Next::Done).await,
                action @ (Action::AddFinalizer | Action::DropFinalizer) => {
                    match self.objects.set_finalizer(key, &object, action == Action::AddFinalizer).await {
                        Ok(changed) => object = changed,
                        Err(error) => return self.not_written(key, pass, lane, &error),
                    }
                    continue;
                }
                Action::Release(release) => return self.let_go(key, &object, pass, &release, lane).await,
                Action::Fail(failure) => return self.failed(key, &object, pass, failure, lane).await,
                Action::Call(call) => call,
            };
            let account = match self.may_call(key, &object, &pass, &call).await {
                Permission::Granted(account) => account,
                Permission::Later(delay) => {
                    self.keep_pass(key, pass);
                    return (lane, Next::After(delay));
                }
                Permission::Full(message) => {
                    pass.asked = None;
                    let verdict = Verdict::waiting(Reason::QuotaExceeded, message, &pass.facts);
                    return self.conclude(key, &object, pass, verdict, lane, Next::After(PARKED)).await;
                }
                Permission::Waiting(verdict, next) => {
                    // Nobody has looked: a forced reconcile is still to come.
                    pass.asked = None;
                    return self.conclude(key, &object, pass, verdict, lane, next).await;
                }
            };
            let slot = Slot { account: account.id(), operation: call.operation() };
            let Some(permits) = granted.take().and_then(|granted| granted.for_call(&call, &account)) else {
                if self.work.ready(slot) > 100 {
                    self.tell_progress(key, &mut object, Reason::Queued, "the change waits for its turn").await;
                }
                self.keep_pass(key, pass);
                return (lane, Next::Ready(slot));
            };
            if self.index().claim(key).is_err() {
                continue;
            }
            if let Err(error) = self.record_first(key, &mut object, &mut pass, (&call, &account)).await {
                return self.not_written(key, pass, lane, &error);
            }
            pass.hear(&object);
            pass.facts.sending(account.server_now());
            let result = self.send(key, &mut object, (&call, &account), permits).await;
            self.learn(key, &call, account.key(), &result);
            pass.facts.answered(account.server_now());
            let generation = object.metadata.generation.unwrap_or_default();
            let absorbed = match &result {
                Ok(answer) => {
                    pass.facts.absorb(&call, generation, Ok((answer.value.clone(), answer.request_id.clone())))
                }
                Err(error) => pass.facts.absorb(&call, generation, Err(error)),
            };
            if let Err(failure) = absorbed {
                let failure = account.whose().iter().fold(failure, |failure, whose| failure.with_credentials_of(whose));
                return self.failed(key, &object, pass, failure, lane).await;
            }
        }
    }

    /// Sends a call; where the answer takes its time and an older generation's `Ready` stands in the status, tells so
    /// meanwhile.
    async fn send(
        &self,
        key: &Key,
        object: &mut LiveMessageGroup,
        (call, account): (&Call, &Account),
        permits: Permits,
    ) -> Result<Answer<Reply>, CallError> {
        let mut sending = Box::pin(account.send(call, permits));
        if let Ok(result) = timeout(PATIENCE, &mut sending).await {
            return result;
        }
        let message = format!("{} was sent and is not answered yet", call.operation());
        let (result, ()) = tokio::join!(sending, self.tell_progress(key, object, Reason::Applying, &message));
        result
    }

    /// Writes that a change is not through yet, where the status still says `Ready=True` for an older generation.
    async fn tell_progress(&self, key: &Key, object: &mut LiveMessageGroup, reason: Reason, message: &str) {
        let status = object.status.as_ref();
        let stale = status.and_then(|status| status.observed_generation) != object.metadata.generation
            && object.condition(ConditionType::Ready).map(ConditionStatus::of) == Some(ConditionStatus::True);
        if !stale {
            return;
        }
        let verdict = Verdict::waiting(reason, message.to_owned(), &Facts::default());
        let Some(status) = verdict.status(object, None, jiff::Timestamp::now()) else { return };
        let uid = object.metadata.uid.clone().unwrap_or_default();
        match self.objects.write_status(key, &uid, &status).await {
            // The generation stays the one the call is made for: a newer one is another pass.
            Ok(_) => object.status = Some(status),
            Err(error) => tracing::warn!(object = %key, %error, "the progress could not be written"),
        }
    }

    /// What a result tells beyond its own object: gates, and groups whose last call may arrive yet.
    fn learn(&self, key: &Key, call: &Call, account: &AccountKey, result: &Result<Answer<Reply>, CallError>) {
        let now = Instant::now();
        if let Err(CallError::Transport { delivery: Delivery::Unknown, .. }) = result
            && call.writes()
            && let Some(group) = group_of(call)
        {
            let identity = Identity { app_id: group.app_id.clone(), group_id: group.group_id.clone() };
            locked(&self.holds).insert(identity, now + LATE_ARRIVAL);
        }
        if let Call::Create(group, _) = call {
            let new = matches!(result, Ok(answer) if answer.value == Reply::Created(CreateOutcome::Created));
            self.places().created(&account.scoped(&group.app_id), &group.group_id, key, new);
        }
        let class = match result {
            Ok(_) => None,
            // The next call of this object tells: a prober stays one.
            Err(CallError::Again(..)) => return,
            // Nobody has judged it.
            Err(CallError::Unsendable(_)) => Some(ErrorClass::Unreachable),
            Err(error) => Some(error.class()),
        };
        let mut freed = Vec::new();
        {
            let mut gates = self.gates();
            for gate in gates_of(call, account) {
                match says(gate.kind, class) {
                    Says::Open => freed.extend(gates.open(&gate, key, now.into_std())),
                    Says::Nothing => gates.inconclusive(&gate, key, now.into_std()),
                    Says::Shut => {}
                }
            }
        }
        self.gate_bell.notify_one();
        for key in freed {
            self.work.wake(&key, Lane::Retry);
        }
    }

    /// The pass over this object; one over another object of that name, or for another group, ends here.
    fn take_pass(&self, key: &Key, object: &LiveMessageGroup) -> Pass {
        let pass = locked(&self.passes).remove(key);
        match pass {
            Some(pass) if pass.belongs_to(object) => pass,
            Some(pass) if object.metadata.uid.as_deref() != Some(pass.uid()) => {
                // Of an object of that name that is gone: this one's status and events tell nothing of it.
                self.end_of(key, Some(pass));
                Pass::over(object)
            }
            Some(pass) => {
                if pass.facts.has_effect()
                    && let Some(identity) = pass.identity()
                {
                    let note = format!(
                        "group {} of app {} was made or changed for an identity that the spec no longer names; it stays",
                        identity.group_id, identity.app_id
                    );
                    tracing::warn!(object = %key, note, "orphaned");
                    self.events.publish(object, Kind::Warning, "Orphaned", "Reconcile", &note);
                }
                Pass::over(object)
            }
            None => Pass::over(object),
        }
    }

    pub(super) fn keep_pass(&self, key: &Key, pass: Pass) {
        locked(&self.passes).insert(key.clone(), pass);
    }

    fn change_pass<T>(&self, key: &Key, change: impl FnOnce(&mut Pass) -> T) -> Option<T> {
        locked(&self.passes).get_mut(key).map(change)
    }

    pub(super) fn release(&self, key: &Key) {
        let peers = self.index().release(key);
        self.wake_all(peers);
    }
}

/// A permit for a call of this operation of this account.
pub(super) struct Granted {
    pub account: Arc<Account>,
    pub operation: Operation,
    pub permits: Permits,
}

impl Granted {
    /// The permits, where they are for this call; else they go back.
    fn for_call(self, call: &Call, account: &Arc<Account>) -> Option<Permits> {
        (self.operation == call.operation() && Arc::ptr_eq(&self.account, account)).then_some(self.permits)
    }
}
