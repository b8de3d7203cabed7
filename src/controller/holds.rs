//! Holds: no call for a group overtakes an earlier one that may arrive yet.
//!
//! Pure: time is told by the caller.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::budget::LATE_ARRIVAL;
use crate::decide::Identity;
use crate::live::Call;
use crate::resources::LiveMessageGroup;

/// Until when no call for a group may be sent.
#[derive(Debug)]
pub struct Holds {
    /// When this process began, by its own clock and by everybody's.
    began: (Instant, jiff::Timestamp),
    until: HashMap<Identity, Instant>,
}

impl Holds {
    /// Of a process that begins now.
    pub fn new(now: Instant, timestamp: jiff::Timestamp) -> Self {
        Self { began: (now, timestamp), until: HashMap::new() }
    }

    /// The answer to a call for this group was lost: it may arrive within [`LATE_ARRIVAL`].
    pub fn lost(&mut self, group: Identity, now: Instant) {
        self.until.insert(group, now + LATE_ARRIVAL);
    }

    /// How long `call` has to wait, made for an object that names `group`; `None` where nothing can be on its way.
    pub fn wait(
        &mut self,
        group: Option<&Identity>,
        object: &LiveMessageGroup,
        call: &Call,
        now: Instant,
    ) -> Option<Duration> {
        self.until.retain(|_, until| *until > now);
        let lost = group.and_then(|group| self.until.get(group)).copied();
        let before = (self.is_older(object) && could_be_overtaken(object, call)).then_some(self.began.0 + LATE_ARRIVAL);
        lost.max(before).filter(|until| *until > now).map(|until| until - now)
    }

    /// Whether the object was there before this process: an earlier one may have been killed with a call for it out.
    /// Creation times are of whole seconds, rounded down.
    fn is_older(&self, object: &LiveMessageGroup) -> bool {
        object.metadata.creation_timestamp.as_ref().is_none_or(|created| created.0 <= self.began.1)
    }
}

/// Whether a call of an earlier process that arrives after `call` could undo it: a create comes after a delete, or a
/// change of an older generation after that of a newer one. Before the first edit every change is the same.
fn could_be_overtaken(object: &LiveMessageGroup, call: &Call) -> bool {
    let edited = object.metadata.generation.unwrap_or_default() > 1;
    object.is_deleting() || (edited && matches!(call, Call::Modify(..)))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::live::{GroupChange, GroupRef};
    use crate::resources::LiveMessageGroupSpec;

    const SECOND: Duration = Duration::from_secs(1);

    fn identity() -> Identity {
        Identity { app_id: "demo".to_owned(), group_id: "room".to_owned() }
    }

    fn group() -> GroupRef {
        GroupRef { app_id: "demo".to_owned(), group_id: "room".to_owned(), data_center: None }
    }

    fn modify() -> Call {
        Call::Modify(group(), GroupChange::default())
    }

    /// An object that was made so many seconds after the process began.
    fn object(seconds: i64, generation: i64) -> LiveMessageGroup {
        let mut object = LiveMessageGroup::new("room", LiveMessageGroupSpec::default());
        object.metadata.generation = Some(generation);
        object.metadata.creation_timestamp = Some(Time(jiff::Timestamp::from_second(1_000 + seconds).unwrap()));
        object
    }

    fn holds(now: Instant) -> Holds {
        Holds::new(now, jiff::Timestamp::from_second(1_000).unwrap())
    }

    #[test]
    fn after_a_lost_answer_every_call_for_the_group_waits() {
        let now = Instant::now();
        let mut holds = holds(now);
        let new = object(1, 1);
        holds.lost(identity(), now);
        for call in [Call::Describe(group()), modify(), Call::Delete(group())] {
            assert_eq!(holds.wait(Some(&identity()), &new, &call, now + SECOND), Some(LATE_ARRIVAL - SECOND));
            let other = Identity { group_id: "other".to_owned(), ..identity() };
            assert_eq!(holds.wait(Some(&other), &new, &call, now + SECOND), None);
        }
        assert_eq!(holds.wait(Some(&identity()), &new, &modify(), now + LATE_ARRIVAL), None);
    }

    #[test]
    fn what_an_earlier_process_may_have_sent_is_not_overtaken() {
        let now = Instant::now();
        let mut holds = holds(now);
        let mut wait = |object: &LiveMessageGroup, call: &Call| holds.wait(None, object, call, now + SECOND);
        let whole = Some(LATE_ARRIVAL - SECOND);
        assert_eq!(wait(&object(-60, 2), &modify()), whole, "the change of generation 1 may come after it");
        assert_eq!(wait(&object(-60, 1), &modify()), None, "every change is the same");
        assert_eq!(wait(&object(1, 2), &modify()), None, "made since: nobody else called for it");
        assert_eq!(wait(&object(0, 2), &modify()), whole, "made in the very second");
        let mut undated = object(1, 2);
        undated.metadata.creation_timestamp = None;
        assert_eq!(wait(&undated, &modify()), whole, "who knows");
        assert_eq!(wait(&object(-60, 2), &Call::Describe(group())), None, "a look changes nothing");
        let mut deleted = object(-60, 1);
        deleted.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::from_second(1_000).unwrap()));
        for call in [Call::Describe(group()), Call::Delete(group())] {
            assert_eq!(wait(&deleted, &call), whole, "a create may come after it");
        }
        assert_eq!(holds.wait(None, &deleted, &modify(), now + LATE_ARRIVAL), None);
    }
}
