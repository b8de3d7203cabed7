//! What is kept in memory of a pass between its steps.

use std::time::Duration;

use tokio::time::Instant;

use super::accounts::Slot;
use super::queue::Next;
use crate::decide::{Facts, Identity, Lane, Verdict, triage_after};
use crate::resources::{LiveMessageGroup, Reason};

/// The delay after the first failure; it doubles with every further one.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// The longest delay while few objects fail, and however many do.
const LONGEST_DELAYS: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(300));

/// How many objects that fail together may try again in a second: an outage is no reason to spend the account's limit,
/// and one object in a row of bad luck none to wait for minutes.
const RETRIES_PER_SECOND: u32 = 10;

/// After minutes: for refusals that nobody knows the meaning of.
const SLOW_DELAY: Duration = Duration::from_secs(600);

/// An object behind a gate is woken by it; this is only the net below.
pub(super) const PARKED: Duration = Duration::from_secs(3600);

/// A pass: tied to one object (its uid) and one group.
#[derive(Debug, Clone)]
pub struct Pass {
    uid: String,
    identity: Option<Identity>,
    /// What the pass has learned.
    pub facts: Facts,
    /// The forced reconcile that was asked for before the pass's last look at the group.
    pub asked: Option<String>,
    /// Failures in a row.
    pub failures: u32,
    /// When a try that failed is repeated; `None` where the next one has begun.
    pub not_before: Option<Instant>,
    /// Repetitions at once in a row.
    pub at_once: u32,
    /// The faults that events have told of since the pass began: two that take turns are told once each.
    pub told: Vec<Reason>,
    /// Whether the object's very generation was applied when the pass began, as far as it has told of anything.
    pub applied: bool,
    /// Since when a deletion has been waiting for what only a person can bring: credentials, a permission.
    pub stuck_since: Option<Instant>,
    /// Since when its LiveAccount has had no credentials.
    pub without_since: Option<Instant>,
    /// A status that could not be written: for this generation, and what comes after it.
    pub unwritten: Option<Unwritten>,
}

/// An outcome whose write failed. Only the write is repeated, never the call.
#[derive(Debug, Clone)]
pub struct Unwritten {
    /// The generation it was decided for.
    pub generation: i64,
    /// The outcome.
    pub verdict: Verdict,
    /// What follows the write.
    pub next: Next<Slot>,
}

impl Pass {
    /// A new pass over an object.
    pub fn over(object: &LiveMessageGroup) -> Self {
        Self {
            uid: object.metadata.uid.clone().unwrap_or_default(),
            identity: Identity::of(object),
            facts: Facts::default(),
            asked: None,
            failures: 0,
            not_before: None,
            at_once: 0,
            told: Vec::new(),
            applied: false,
            stuck_since: None,
            without_since: None,
            unwritten: None,
        }
    }

    /// The pass after what it has learned was recorded: only its counters go on.
    pub fn recorded(self) -> Self {
        Self { facts: self.facts.recorded(), applied: false, unwritten: None, ..self }
    }

    /// Whether the pass is one over this very object and group.
    pub fn belongs_to(&self, object: &LiveMessageGroup) -> bool {
        object.metadata.uid.as_deref() == Some(&self.uid) && Identity::of(object) == self.identity
    }

    /// Takes in what the object asks for just now, before a look at its group.
    pub fn hear(&mut self, object: &LiveMessageGroup) {
        self.asked = object.reconcile_requested_at().map(str::to_owned);
    }

    /// The uid of the pass's object.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The group of the pass.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// How long an object that failed still has to wait, where nobody has changed it since: the event of an older version
    /// came late, or that of its own status, and brought it back.
    pub fn early(&mut self, object: &LiveMessageGroup, now: Instant) -> Option<Duration> {
        let until = self.not_before.take().filter(|until| *until > now)?;
        let unchanged = triage_after(object, self.asked.as_deref()) == Some(Lane::Retry);
        unchanged.then(|| {
            self.not_before = Some(until);
            until - now
        })
    }

    /// The delay before the next try, after one more failure; `waiting` objects wait for theirs.
    pub fn backoff(&mut self, waiting: usize) -> Duration {
        let delay = FIRST_DELAY * 2_u32.saturating_pow(self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let together = Duration::from_secs(waiting as u64) / RETRIES_PER_SECOND;
        jittered(delay.min(together.clamp(LONGEST_DELAYS.0, LONGEST_DELAYS.1)))
    }
}

/// The delay before the next try of something that was refused for an unknown reason.
pub fn slowly() -> Duration {
    jittered(SLOW_DELAY)
}

/// Between 75 % and 125 % of a delay: what failed together does not come back together.
pub(super) fn jittered(delay: Duration) -> Duration {
    delay.mul_f64(0.75 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::FINALIZER;

    fn pass() -> Pass {
        Pass::over(&LiveMessageGroup::new("room", crate::resources::LiveMessageGroupSpec::default()))
    }

    fn within(delay: Duration, middle: Duration) -> bool {
        (middle.mul_f64(0.75)..=middle.mul_f64(1.25)).contains(&delay)
    }

    #[test]
    fn the_delay_doubles_up_to_a_bound_and_never_runs_over() {
        for seed in 0..50 {
            fastrand::seed(seed);
            let mut pass = pass();
            for middle in [1, 2, 4, 8, 16, 30, 30] {
                let delay = pass.backoff(7);
                assert!(within(delay, Duration::from_secs(middle)), "{delay:?} is not about {middle} s");
            }
            pass.failures = u32::MAX;
            assert!(within(pass.backoff(1_000), Duration::from_secs(100)), "a thousand try ten times a second");
            assert!(within(pass.backoff(100_000), LONGEST_DELAYS.1));
            assert!(within(slowly(), SLOW_DELAY));
        }
    }

    #[test]
    fn what_failed_together_does_not_come_back_together() {
        fastrand::seed(7);
        let delays: std::collections::BTreeSet<Duration> = (0..100).map(|_| pass().backoff(0)).collect();
        assert!(delays.len() > 90, "{}", delays.len());
        let spread = delays.last().unwrap().saturating_sub(*delays.first().unwrap());
        assert!(spread > Duration::from_millis(400), "{spread:?}");
    }

    #[test]
    fn a_recorded_pass_keeps_its_counters_and_nothing_else() {
        let mut pass = pass();
        pass.backoff(0);
        pass.at_once = 1;
        pass.facts.suspect();
        let recorded = pass.recorded();
        assert_eq!((recorded.failures, recorded.at_once, recorded.facts.is_empty()), (1, 1, true));
    }

    #[test]
    fn who_is_brought_back_early_waits_on_unless_somebody_has_changed_something() {
        let tried = |generation: i64, extra: serde_json::Value| -> LiveMessageGroup {
            let mut object = serde_json::json!({
                "metadata": {"name": "room", "generation": generation}, "spec": {"appId": "demo"},
                "status": {"observedGeneration": 1, "conditions": [{
                    "type": "Ready", "status": "False", "reason": "Rejected", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }]},
            });
            object["metadata"].as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            serde_json::from_value(object).unwrap()
        };
        let forced =
            |at: &str| serde_json::json!({"annotations": {"live.alibabacloud.com/reconcile-requested-at": at}});
        let deleted = |finalizer: &str| {
            let since = "2026-01-01T00:00:00Z";
            serde_json::json!({"deletionTimestamp": since, "finalizers": [finalizer]})
        };
        let (now, none) = (Instant::now(), serde_json::json!({}));
        let wait = Duration::from_secs(600);
        for (object, expected) in [
            (tried(1, none.clone()), Some(wait)),
            (tried(2, none.clone()), None),
            (tried(1, forced("now")), None),
            (tried(1, forced("before")), Some(wait)),
            (tried(2, forced("before")), None),
            (tried(1, deleted("a/b")), None),
            (tried(1, deleted(FINALIZER)), Some(wait)),
            (tried(2, deleted(FINALIZER)), None),
        ] {
            let mut pass = Pass { not_before: Some(now + wait), asked: Some("before".to_owned()), ..pass() };
            assert_eq!(pass.early(&object, now), expected);
            assert_eq!(pass.not_before.is_some(), expected.is_some(), "once let through, it is");
        }
        let mut due = Pass { not_before: Some(now), ..pass() };
        assert_eq!(due.early(&tried(1, none), now), None);
    }

    #[test]
    fn a_pass_is_one_over_one_object_and_one_group_and_hears_what_is_asked() {
        let object = |uid: &str, group: &str, asked: Option<&str>| -> LiveMessageGroup {
            let annotations =
                asked.map(|asked| serde_json::json!({"live.alibabacloud.com/reconcile-requested-at": asked}));
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": "room", "uid": uid, "annotations": annotations},
                "spec": {"appId": "demo", "groupId": group},
            }))
            .unwrap()
        };
        let first = object("u1", "one", None);
        let mut pass = Pass::over(&first);
        assert_eq!((pass.uid(), pass.identity()), ("u1", Identity::of(&first).as_ref()));
        assert!(pass.belongs_to(&object("u1", "one", Some("now"))));
        assert!(!pass.belongs_to(&object("u2", "one", None)), "another object of that name");
        assert!(!pass.belongs_to(&object("u1", "two", None)), "another group");
        pass.hear(&object("u1", "one", Some("now")));
        assert_eq!(pass.asked.as_deref(), Some("now"));
        pass.hear(&first);
        assert_eq!(pass.asked, None);
    }
}
