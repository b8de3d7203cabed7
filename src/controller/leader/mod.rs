//! Leader election: only one replica of the operator makes calls.
//!
//! `election` contains the rules, and `lease` sends the requests. The rest of the operator uses [`Leadership`]. The
//! module imports no other module of the controller. Its invariant: [`Leadership::may_send`] is true in at most one
//! process at a time, and only until the renew deadline. The clock is monotonic, and on Linux it stops while the
//! machine is suspended, so nodes must not be suspended.

mod election;
mod lease;
#[cfg(test)]
mod property;
mod settings;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

pub use election::LeaseName;
use election::Role;
pub use lease::{Elector, LeaseLost, identity};
pub use settings::{ElectionSettings, InvalidElectionSettings};

use crate::budget::{START_DELAY, TAKEOVER_DELAY};

/// The period during which a process leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// When the process learned that it leads.
    pub acquired: Instant,
    /// When the first permit can be granted. A call before this time could arrive in the same second as the last calls
    /// of the previous process.
    pub first_permit_at: Instant,
    /// The renew deadline; `None` if leader election is disabled.
    until: Option<Instant>,
}

impl Term {
    fn includes(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Standby,
    Leader(Term),
    Deposed,
    /// The process has given up its leadership because it is stopping.
    Released,
}

/// Whether this process leads. Clones share the state.
#[derive(Debug, Clone)]
pub struct Leadership {
    state: Arc<watch::Sender<State>>,
}

impl Leadership {
    /// The leadership of a process that uses no leader election: it leads from now on, and is never deposed.
    pub fn always() -> Self {
        let acquired = Instant::now();
        Self::with(State::Leader(Term { acquired, first_permit_at: acquired + START_DELAY, until: None }))
    }

    /// The leadership of a process that waits for the Lease.
    fn standby() -> Self {
        Self::with(State::Standby)
    }

    /// The leadership of a process that leads until this time, and may make calls immediately.
    #[cfg(test)]
    pub fn leading_until(until: Option<Instant>) -> Self {
        let acquired = Instant::now();
        Self::with(State::Leader(Term { acquired, first_permit_at: acquired, until }))
    }

    fn with(state: State) -> Self {
        Self { state: Arc::new(watch::Sender::new(state)) }
    }

    /// Whether the process may send a call to the Live API or a write to the apiserver at `now`. Check this after every
    /// wait, immediately before sending.
    pub fn may_send(&self, now: Instant) -> bool {
        matches!(&*self.state.borrow(), State::Leader(term) if term.includes(now))
    }

    /// The time until the first permit is granted; zero if the process does not lead.
    pub fn until_first_permit(&self, now: Instant) -> Duration {
        match &*self.state.borrow() {
            State::Leader(term) => term.first_permit_at.saturating_duration_since(now),
            State::Standby | State::Deposed | State::Released => Duration::ZERO,
        }
    }

    /// Runs `work`. When the process no longer leads, drops `work` and returns `None`.
    pub async fn while_leading<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        // After a freeze of the process, the runtime may poll `work` before the deadline timer fires. Therefore, the
        // leadership is checked before each poll.
        let guarded = poll_fn(|context| {
            if self.may_send(Instant::now()) { work.as_mut().poll(context).map(Some) } else { Poll::Ready(None) }
        });
        tokio::select! {
            biased;
            () = self.deposed() => None,
            result = guarded => result,
        }
    }

    /// Waits until the process leads. Waits forever if the process was deposed or has given up its leadership.
    pub async fn acquired(&self) -> Term {
        let mut states = self.state.subscribe();
        loop {
            if let State::Leader(term) = *states.borrow_and_update() {
                return term;
            }
            if states.changed().await.is_err() {
                // This is not reached, because the sender lives as long as `self`.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until the process has lost its leadership: at the renew deadline, or earlier if another process holds the
    /// Lease. Waits forever if the process gives up its leadership itself.
    pub async fn deposed(&self) {
        let mut states = self.state.subscribe();
        loop {
            let deadline = match *states.borrow_and_update() {
                State::Deposed => return,
                State::Leader(term) => term.until,
                State::Standby | State::Released => None,
            };
            tokio::select! {
                _ = states.changed() => {}
                () = reached(deadline) => self.end_if_due(),
            }
        }
    }

    /// Records the role in the election. The end of a term is final, even if a renewal arrives later.
    fn update(&self, role: Role) {
        self.state.send_if_modified(|state| {
            let next = match (*state, role) {
                (State::Standby | State::Leader(_), Role::Deposed) => State::Deposed,
                (State::Leader(term), _) if !term.includes(Instant::now()) => State::Deposed,
                (State::Leader(term), Role::Leader { until, .. }) => {
                    State::Leader(Term { until: Some(Instant::from_std(until)), ..term })
                }
                (State::Standby, Role::Leader { acquired, until }) => {
                    let (acquired, until) = (Instant::from_std(acquired), Some(Instant::from_std(until)));
                    State::Leader(Term { acquired, first_permit_at: acquired + TAKEOVER_DELAY, until })
                }
                (unchanged, _) => unchanged,
            };
            std::mem::replace(state, next) != next
        });
    }

    fn end_if_due(&self) {
        self.state.send_if_modified(|state| {
            let is_due = matches!(state, State::Leader(term) if !term.includes(Instant::now()));
            if is_due {
                *state = State::Deposed;
            }
            is_due
        });
    }

    /// Gives up the leadership permanently. The state becomes `Released`, unless the process was already deposed.
    fn give_up(&self) {
        self.end_if_due();
        self.state.send_if_modified(|state| {
            let is_given_up = *state != State::Deposed;
            if is_given_up {
                *state = State::Released;
            }
            is_given_up
        });
    }
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
