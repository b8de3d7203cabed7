//! Computes the status that records the outcome of a pass.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::super::{Facts, records_group_of_spec};
use super::{Live, NotLive, OriginChange, RecordUpdate, SyncState};
use crate::live::{GroupSnapshot, Operation};
use crate::resources::{
    AccountRecord, ConditionStatus, ConditionType, CreateIntent, LastFailure, LiveMessageGroup, LiveMessageGroupStatus,
    NextActor, Origin, ReadyEffect, Reason, get_condition, remove_condition, set_condition,
};

/// Builds the new status, starting from the recorded one.
pub(super) struct Writer<'a> {
    object: &'a LiveMessageGroup,
    status: LiveMessageGroupStatus,
    generation: i64,
    /// Whether this generation was applied before: the recorded status has `Ready=True` for this generation.
    applied: bool,
    requested_at: Option<&'a str>,
    now: Timestamp,
}

impl<'a> Writer<'a> {
    pub(super) fn of(
        object: &'a LiveMessageGroup,
        mut status: LiveMessageGroupStatus,
        requested_at: Option<&'a str>,
        now: Timestamp,
    ) -> Self {
        let generation = object.metadata.generation.unwrap_or_default();
        let same = records_group_of_spec(object);
        if !same {
            // The status describes a different group than the spec, so its recorded values do not apply.
            status.origin = None;
            status.create_time = None;
            status.last_request_id = None;
            status.create_intent = None;
            status.account = None;
        }
        let ready = object.condition(ConditionType::Ready).map(ConditionStatus::of);
        let applied = same && status.observed_generation == Some(generation) && ready == Some(ConditionStatus::True);
        Self { object, status, generation, applied, requested_at, now }
    }

    fn set(&mut self, kind: ConditionType, status: ConditionStatus, reason: Reason, message: &str) {
        set_condition(&mut self.status.conditions, kind, status, reason, message, self.generation, self.now);
    }

    fn set_if(&mut self, holds: bool, kind: ConditionType, reason: Reason, message: &str) {
        if holds {
            self.set(kind, ConditionStatus::True, reason, message);
        } else {
            remove_condition(&mut self.status.conditions, kind);
        }
    }

    /// Records which group the status describes.
    fn identify(&mut self) {
        let spec = &self.object.spec;
        self.status.app_id = Some(spec.app_id.clone());
        self.status.group_id = self.object.group_id().map(str::to_owned);
        self.status.data_center = spec.data_center.map(|data_center| data_center.as_str().to_owned());
    }

    fn learn(&mut self, learned: &RecordUpdate) {
        match &learned.origin {
            OriginChange::Keep => {}
            OriginChange::Clear => {
                self.status.origin = None;
                self.status.create_time = None;
                self.status.create_intent = None;
            }
            OriginChange::Set(origin) => {
                // This also closes the create intent. An open intent could wrongly prove the ownership of a later group
                // with this ID.
                let interval = (learned.sent_at, learned.answered_at);
                self.own(origin, learned.account.as_ref(), interval, Some(learned.create_time));
                self.identify();
            }
        }
        self.remove_disproved(&learned.disproved_intents);
        if learned.request_id.is_some() {
            self.status.last_request_id = bounded(learned.request_id.as_deref());
        }
    }

    /// Removes disproved bodies from an open intent, and the intent itself if no body remains.
    fn remove_disproved(&mut self, disproved_intents: &[String]) {
        if let Some(intent) = self.status.create_intent.as_mut().filter(|intent| intent.is_open()) {
            intent.sent.retain(|sent| !disproved_intents.contains(sent));
            if intent.sent.is_empty() {
                self.status.create_intent = None;
            }
        }
        if self.status.origin.is_none() && self.status.create_intent.is_none() {
            self.status.account = None;
        }
    }

    /// Completes the status of a pass that handled the current generation.
    fn observed(mut self) -> LiveMessageGroupStatus {
        self.status.observed_generation = Some(self.generation);
        self.identify();
        remove_condition(&mut self.status.conditions, ConditionType::Paused);
        self.status
    }

    fn acknowledge(&mut self) {
        if let Some(handled) = self.requested_at.filter(|requested_at| !requested_at.is_empty()) {
            self.status.last_handled_reconcile_at = Some(handled.to_owned());
        }
    }

    pub(super) fn live(mut self, live: &Live) -> LiveMessageGroupStatus {
        self.set(ConditionType::Ready, ConditionStatus::True, live.reason, &live.message);
        for kind in [ConditionType::Reconciling, ConditionType::Stalled, ConditionType::Degraded] {
            remove_condition(&mut self.status.conditions, kind);
        }
        self.status.last_failure = None;
        if let Some(sync) = &live.sync {
            self.sync(sync);
        } else {
            remove_condition(&mut self.status.conditions, ConditionType::InSync);
        }
        if let Some(origin) = &live.origin {
            self.own(origin, live.account.as_ref(), (live.sent_at, live.answered_at), live.create_time);
        } else if let Some(create_time) = live.create_time.filter(|_| self.status.origin.is_none()) {
            // If an origin is recorded, the recorded create time proves ownership. A pass with managementPolicy Observe
            // must not overwrite it.
            self.status.create_time = create_time.map(|time| time.to_string());
        }
        self.remove_disproved(&live.disproved_intents);
        if live.request_id.is_some() {
            self.status.last_request_id = bounded(live.request_id.as_deref());
        }
        self.acknowledge();
        self.observed()
    }

    /// Records the origin and the create time of the group. If the create time is not known, records the interval in
    /// which the group was created. See [`Live`] for the meaning of `create_time`.
    fn own(
        &mut self,
        origin: &Origin,
        account: Option<&AccountRecord>,
        interval: (Option<Timestamp>, Option<Timestamp>),
        create_time: Option<Option<Timestamp>>,
    ) {
        self.status.origin = Some(origin.clone());
        self.status.account = account.cloned();
        self.close_intent(origin, interval);
        if let Some(create_time) = create_time {
            self.status.create_time = create_time.map(|time| time.to_string());
        }
        if self.status.create_time.is_some() {
            // The create time identifies the group from now on.
            self.status.create_intent = None;
        }
    }

    fn close_intent(&mut self, origin: &Origin, (sent_at, answered_at): (Option<Timestamp>, Option<Timestamp>)) {
        let intent = self.status.create_intent.take().filter(|_| *origin == Origin::Created);
        let answered_at = answered_at.map(|at| at.to_string());
        self.status.create_intent = match (intent, sent_at, answered_at) {
            // An open intent is closed if its create was answered, and removed otherwise. If the intent stayed open, it
            // could later wrongly prove the ownership of a new group.
            (Some(intent), _, answered_at) if intent.is_open() => {
                answered_at.map(|at| CreateIntent { answered_at: Some(at), ..intent })
            }
            // No intent is open. The interval distinguishes the group from a later one that another client creates.
            (_, Some(sent_at), Some(answered_at)) if *origin == Origin::Created => {
                let started_at = sent_at.to_string();
                Some(CreateIntent { started_at, answered_at: Some(answered_at), sent: Vec::new() })
            }
            (intent, ..) => intent,
        };
    }

    fn sync(&mut self, sync: &SyncState) {
        let (status, reason, message) = match sync {
            SyncState::Equal => (ConditionStatus::True, Reason::InSync, "The group matches the spec.".to_owned()),
            SyncState::ImmutableDiffer(fields) => (
                ConditionStatus::False,
                Reason::ImmutableFieldsDiffer,
                format!(
                    "The group differs from the spec in {}, which the Live API cannot change. Create a new object with \
                     the values of the group, or accept the difference.",
                    fields.join(" and ")
                ),
            ),
            SyncState::Ignored(fields) => (
                ConditionStatus::False,
                Reason::UpdateIgnored,
                format!(
                    "The Live API accepted the change to {} twice, but the group still shows the old value. The \
                     operator tries again when the spec changes or a reconcile pass is requested.",
                    fields.join(" and ")
                ),
            ),
        };
        self.set(ConditionType::InSync, status, reason, &message);
        if let SyncState::Ignored(fields) = sync {
            let modify = Operation::Modify.as_str();
            let fields = fields.iter().map(|field| (*field).to_owned()).collect();
            self.status.last_failure = Some(LastFailure { fields, ..LastFailure::new(Some(modify), reason.as_str()) });
        }
    }

    /// Records a failed call. Ignored fields remain recorded while the condition InSync reports them.
    fn record_failure(&mut self, failure: Option<&LastFailure>) {
        let is_ignored = |sync: &Condition| sync.reason == Reason::UpdateIgnored.as_str();
        let ignored = get_condition(&self.status.conditions, ConditionType::InSync).is_some_and(is_ignored);
        let before = self.status.last_failure.take();
        self.status.last_failure = match (failure, ignored) {
            (None, true) => before,
            (failure, _) => failure.map(|failure| {
                let fields = before.filter(|_| ignored).map(|before| before.fields).unwrap_or_default();
                LastFailure { fields, ..failure.clone() }
            }),
        };
    }

    pub(super) fn not_live(mut self, outcome: &NotLive) -> LiveMessageGroupStatus {
        let (reason, message) = (outcome.reason, outcome.message.as_str());
        let ready = match reason.ready() {
            ReadyEffect::True => Some(ConditionStatus::True),
            ReadyEffect::False => Some(ConditionStatus::False),
            ReadyEffect::Unknown => Some(ConditionStatus::Unknown),
            // If the group no longer exists, the generation is no longer applied.
            ReadyEffect::Unchanged => {
                (!self.applied || outcome.learned.origin == OriginChange::Clear).then_some(ConditionStatus::Unknown)
            }
        };
        if let Some(ready) = ready {
            self.set(ConditionType::Ready, ready, reason, message);
            remove_condition(&mut self.status.conditions, ConditionType::InSync);
        }
        let (is_reconciling, is_stalled) = match reason.next_actor() {
            NextActor::None => (false, false),
            NextActor::Operator => (true, false),
            NextActor::User => (false, true),
            NextActor::UserAfter(grace) => {
                let late = self.is_late(reason, grace);
                (!late, late)
            }
        };
        self.set_if(is_reconciling, ConditionType::Reconciling, reason, message);
        self.set_if(is_stalled, ConditionType::Stalled, reason, message);
        if ready.is_some() {
            self.set_if(reason.degraded(), ConditionType::Degraded, reason, message);
        }
        self.record_failure(outcome.failure.as_ref());
        self.learn(&outcome.learned);
        if is_stalled {
            self.acknowledge();
        }
        self.observed()
    }

    /// Whether Ready and Reconciling have had `reason` for at least `grace`, or Stalled already has this reason. The
    /// later of the two transition times counts, because a transition time does not change if only the reason changes.
    fn is_late(&self, reason: Reason, grace: Duration) -> bool {
        let since = |kind| {
            let condition = self.object.condition(kind).filter(|condition| condition.reason == reason.as_str());
            condition.map(|condition| condition.last_transition_time.0)
        };
        let first = since(ConditionType::Reconciling).zip(since(ConditionType::Ready)).map(|(a, b)| a.max(b));
        since(ConditionType::Stalled).is_some()
            || first.is_some_and(|first| self.now.duration_since(first).as_secs() >= grace.as_secs().cast_signed())
    }

    pub(super) fn paused(mut self, learned: &RecordUpdate) -> LiveMessageGroupStatus {
        self.learn(learned);
        // The operator does not reconcile the object until the pause ends. Pending work remains visible in Ready, in
        // observedGeneration and in the annotation that requests a reconcile pass.
        remove_condition(&mut self.status.conditions, ConditionType::Reconciling);
        self.set(
            ConditionType::Paused,
            ConditionStatus::True,
            Reason::Paused,
            "The annotation live.alibabacloud.com/paused is \"true\". Remove it to resume.",
        );
        self.status
    }

    pub(super) fn resumed(mut self) -> LiveMessageGroupStatus {
        remove_condition(&mut self.status.conditions, ConditionType::Paused);
        self.status
    }
}

/// Returns the status that records the origin of an existing group and closes the open create intent.
pub fn ownership_status(
    object: &LiveMessageGroup,
    origin: &Origin,
    group: &GroupSnapshot,
    facts: &Facts,
    now: Timestamp,
) -> LiveMessageGroupStatus {
    let mut writer = Writer::of(object, object.status.clone().unwrap_or_default(), None, now);
    writer.own(origin, facts.account(), (None, facts.answered_at()), Some(group.create_time));
    writer.status
}

/// Returns the status that records a create intent before the create is sent.
pub fn intent_status(
    object: &LiveMessageGroup,
    facts: &Facts,
    intent: CreateIntent,
    now: Timestamp,
) -> LiveMessageGroupStatus {
    let mut writer = Writer::of(object, object.status.clone().unwrap_or_default(), None, now);
    writer.learn(&RecordUpdate::by(facts));
    let message = "The group is being created.";
    writer.set(ConditionType::Ready, ConditionStatus::Unknown, Reason::Applying, message);
    writer.set(ConditionType::Reconciling, ConditionStatus::True, Reason::Applying, message);
    for kind in [ConditionType::Stalled, ConditionType::Degraded, ConditionType::InSync] {
        remove_condition(&mut writer.status.conditions, kind);
    }
    writer.status.last_failure = None;
    writer.status.create_intent = Some(intent);
    writer.status.account = facts.account().cloned();
    writer.observed()
}

/// Truncates a request ID to the 128 characters that the CRD allows. Returns `None` if the ID is empty.
fn bounded(request_id: Option<&str>) -> Option<String> {
    request_id.filter(|id| !id.is_empty()).map(|id| id.chars().take(128).collect())
}

/// Returns the status of an object that cannot be parsed, or `None` if this status is already recorded. `status` is the
/// part of the recorded status that can be parsed.
pub fn unreadable_status(
    status: LiveMessageGroupStatus,
    generation: i64,
    message: String,
    now: Timestamp,
) -> Option<LiveMessageGroupStatus> {
    let mut after = status.clone();
    after.observed_generation = Some(generation);
    let conditions = &mut after.conditions;
    // The other conditions describe an older generation.
    for kind in ConditionType::ALL {
        if !matches!(kind, ConditionType::Ready | ConditionType::Stalled) {
            remove_condition(conditions, *kind);
        }
    }
    for (kind, value) in
        [(ConditionType::Ready, ConditionStatus::False), (ConditionType::Stalled, ConditionStatus::True)]
    {
        set_condition(conditions, kind, value, Reason::InvalidSpec, message.clone(), generation, now);
    }
    (after != status).then_some(after)
}
