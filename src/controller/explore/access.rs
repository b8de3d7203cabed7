//! Functions that access a scheduler on behalf of an object.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use super::world::{APP, Group, State, key_of, number_in};
use crate::budget::Pace;
use crate::controller::keys::{AccountKey, AppKey, ObjectKey};
use crate::controller::pass::Preflight;
use crate::controller::scheduler::{CallRequest, RecordedState, Scheduler, Seen};
use crate::live::Call;
use crate::resources::LiveMessageGroup;

pub static NOW: LazyLock<Instant> = LazyLock::new(|| Instant::now() + Duration::from_secs(86_400));

/// The resourceVersion of the operator's last write.
const OWN_WRITE: u64 = 7;

/// The result of an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returned {
    Nothing,
    /// The object was loaded; `true` if it has drifted.
    Loaded(bool),
    /// Another object owns the group or, if this object is being deleted, will take over the group.
    OwnedByOther {
        has_origin: bool,
    },
    Cleared,
    Delayed,
    OwnerChanged,
}

pub fn preflight(
    scheduler: &mut Scheduler,
    key: &ObjectKey,
    object: &LiveMessageGroup,
    call: &Call,
    has_permit: bool,
) -> Returned {
    let account = AccountKey::of(object);
    let request = CallRequest { object, call, account: &account, has_permit, pace: Pace::default() };
    match scheduler.preflight(key, request, *NOW) {
        Preflight::Cleared | Preflight::NeedsPermit { .. } => Returned::Cleared,
        Preflight::Delayed(_) => Returned::Delayed,
        Preflight::OwnerChanged => Returned::OwnerChanged,
        other => panic!("the exploration has no account or quota that blocks a call: {other:?}"),
    }
}

pub fn observe_own_write(scheduler: &mut Scheduler, key: &ObjectKey, object: LiveMessageGroup) {
    scheduler.set_written(key, OWN_WRITE);
    scheduler.observe(key, &own_write(object), Seen { list: 0, is_initial: false }, *NOW);
}

/// Returns the object with the resourceVersion of the operator's last write.
pub fn own_write(mut object: LiveMessageGroup) -> LiveMessageGroup {
    object.metadata.resource_version = Some(OWN_WRITE.to_string());
    object
}

/// Compares the record of an object with its group, as a drift check does.
pub fn drift_check(scheduler: &mut Scheduler, i: usize, group: &Group) {
    let key = key_of(i);
    let Some(record) = scheduler.known(&key).record else { return };
    let app = AppKey::new(&AccountKey::Operator, APP);
    let id = record.group.as_ref().map_or(0, |group| number_in(&group.group.group_id));
    let contradicted = if group.state == State::Absent {
        let state = record.fingerprint.state;
        (state == RecordedState::Live).then_some(state)
    } else {
        let mut found = scheduler.contradicted_by(&app, &group.snapshot(id)).into_iter();
        found.find(|(found, _)| *found == key).map(|(_, state)| state)
    };
    if let Some(state) = contradicted {
        scheduler.mark_drift(&key, state);
    }
}
