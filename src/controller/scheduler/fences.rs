//! Late-arrival fences: a call for a group waits until no earlier call for the same group can still arrive.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::budget::LATE_ARRIVAL;
use crate::controller::keys::GroupAtService;
use crate::live::Call;
use crate::resources::LiveMessageGroup;

/// Stores, for each group with a call that may still arrive, the time until which no other call for the group is sent.
#[derive(Debug)]
pub struct LateArrivals {
    /// The time until which a call from an earlier process can arrive.
    predecessor: Instant,
    until: HashMap<GroupAtService, Instant>,
}

impl LateArrivals {
    /// Creates the fences of a process that is starting now.
    pub fn new(now: Instant) -> Self {
        Self { predecessor: now + LATE_ARRIVAL, until: HashMap::new() }
    }

    /// Records that the answer to a call that changes this group was lost: the call may still arrive within
    /// [`LATE_ARRIVAL`].
    pub fn answer_lost(&mut self, group: GroupAtService, now: Instant) {
        self.until.retain(|_, until| *until > now);
        self.until.insert(group, now + LATE_ARRIVAL);
    }

    /// Returns how long `call` for `object` must wait; `None` if no earlier call can still arrive.
    pub fn remaining(
        &self,
        group: Option<&GroupAtService>,
        object: &LiveMessageGroup,
        call: &Call,
        now: Instant,
    ) -> Option<Duration> {
        let lost = group.and_then(|group| self.until.get(group)).copied();
        // Objects that were created after this process started are not exempt: their creation time comes from the
        // apiserver's clock, which may differ from the clock of this process.
        let predecessor = could_be_overtaken(object, call).then_some(self.predecessor);
        lost.max(predecessor).filter(|until| *until > now).map(|until| until - now)
    }
}

/// Whether a late call of an earlier process could undo `call`: a late create could undo a delete, and a late change
/// for an older generation could undo a change for a newer generation. No generation is older than generation 1.
fn could_be_overtaken(object: &LiveMessageGroup, call: &Call) -> bool {
    let edited = object.metadata.generation.unwrap_or_default() > 1;
    object.is_deleting() || (edited && matches!(call, Call::Modify(..)))
}
