//! Records: the part of each object that the scheduler keeps. It does not include the spec.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::num::NonZero;
use std::sync::Arc;

use crate::controller::keys::{AccountKey, AppKey, GroupAtService};
use crate::decide::{Claim, GroupKey, MUTABLE, group_in, is_refused, records_group_of_spec};
use crate::live::{GroupSnapshot, Service};
use crate::resources::{
    ConditionStatus, ConditionType, DataCenter, LiveMessageGroup, ManagementPolicy, Reason, Uid, UnreadableGroup,
};

/// The data that the scheduler keeps for an object.
#[derive(Debug, Clone)]
pub struct Record {
    pub uid: Uid,
    /// `metadata.creationTimestamp` in seconds since 1970.
    pub created: i64,
    pub generation: i64,
    /// The group in the spec, with the service of the account. If the object cannot be read, this is the group that its
    /// status records. `None` if there is no such group.
    pub group: Option<Arc<GroupAtService>>,
    /// The service for which the status records an origin or a create intent; `None` if the status records neither.
    pub recorded_at: Option<Service>,
    /// The account that the spec references. If the object cannot be read, this is the account that its status records.
    pub account: AccountKey,
    /// Whether the status records an origin for the group in the spec.
    has_origin: bool,
    /// Whether the status records no origin and no create intent, and the object's last call failed for a cause that
    /// does not end automatically.
    pub is_refused: bool,
    pub is_paused: bool,
    /// Whether a call is in flight, or the effect of a call is not recorded yet.
    pub in_flight: bool,
    /// Whether the management policy is `Observe`. Such an object neither owns a group nor conflicts.
    pub observes: bool,
    pub is_deleting: bool,
    /// Whether the reason of `Ready` is `Conflict`.
    pub is_conflict: bool,
    /// The data that a drift check compares with a list of the app's groups.
    pub fingerprint: Fingerprint,
    /// A compact summary of the conditions, for the metrics.
    pub summary: ConditionSummary,
    /// The number of the list that last contained the object.
    pub seen_in: u64,
}

impl Record {
    /// Creates the record of an object that was just read; `before` is the record that it replaces. `service` is the
    /// service that the object may call; `None` if the object cannot call any service.
    pub fn of(object: &LiveMessageGroup, before: Option<&Self>, list: u64, service: Option<&Service>) -> Self {
        let metadata = &object.metadata;
        let group = GroupKey::of(object);
        let is_same = records_group_of_spec(object);
        // Once the operator's finalizer is removed, the object no longer has a recorded claim to its group, even if
        // another finalizer still exists.
        let is_released = object.is_deleting() && !object.has_finalizer();
        let has_origin = is_same && !is_released && object.origin().is_some();
        let has_record = is_same && !is_released && (object.origin().is_some() || object.create_intent().is_some());
        let recorded_at = recorded_service(object, service).filter(|_| has_record);
        // An object whose account was deleted keeps its group.
        let service = service.or(recorded_at.as_ref());
        let is_proven = recorded_at.is_some() && recorded_at.as_ref() == service;
        let group = group.map(|group| GroupAtService { service: service.cloned(), group });
        let uid = Uid::from(metadata.uid.as_deref().unwrap_or_default());
        let seen_in = list.max(before.map_or(0, |before| before.seen_in));
        // The previous record is used only if it belongs to the same object and the same group.
        let before = before.filter(|before| before.uid == uid && before.group.as_deref() == group.as_ref());
        Self {
            created: metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
            generation: metadata.generation.unwrap_or_default(),
            has_origin,
            recorded_at,
            is_refused: is_refused(object, is_proven, before.is_some_and(|before| before.is_refused)),
            is_paused: object.is_paused(),
            in_flight: before.is_some_and(|before| before.in_flight),
            observes: object.management_policy() == ManagementPolicy::Observe,
            is_deleting: object.is_deleting(),
            is_conflict: object.ready_reason() == Some(Reason::Conflict),
            fingerprint: Fingerprint::of(object, is_same),
            summary: ConditionSummary::of(object),
            group: before.and_then(|before| before.group.clone()).or_else(|| group.map(Arc::new)),
            account: AccountKey::of(object),
            seen_in,
            uid,
        }
    }

    /// Creates the record of an object that this version of the operator cannot read. The object keeps its claim to the
    /// group in its status, because the object may become readable after an update. `account` is the account that the
    /// status records. `service` is the service of that account; `None` if the object cannot call any service.
    pub fn unreadable(
        object: &UnreadableGroup,
        before: Option<&Self>,
        list: u64,
        account: AccountKey,
        service: Option<&Service>,
    ) -> Self {
        let (metadata, status) = (&object.metadata, &object.status);
        let is_deleting = metadata.deletion_timestamp.is_some();
        let has_record = status.origin.is_some() || status.create_intent.is_some();
        let is_owner = has_record && (!is_deleting || object.is_finalizing());
        let recorded_at = status.account.as_ref().filter(|_| is_owner).map(|account| account.service.as_str().into());
        let recorded = recorded_at.as_ref().and_then(|_| group_in(status));
        let service = service.or(recorded_at.as_ref());
        let group = recorded.map(|group| GroupAtService { service: service.cloned(), group });
        let uid = Uid::from(metadata.uid.as_deref().unwrap_or_default());
        let before = before.filter(|before| before.uid == uid && before.group.as_deref() == group.as_ref());
        Self {
            uid,
            created: metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
            generation: metadata.generation.unwrap_or_default(),
            is_refused: group.is_none(),
            in_flight: group.is_some() && before.is_some_and(|before| before.in_flight),
            group: group.map(Arc::new),
            account,
            has_origin: status.origin.is_some(),
            recorded_at,
            is_paused: false,
            observes: false,
            is_deleting,
            is_conflict: false,
            fingerprint: Fingerprint::default(),
            summary: ConditionSummary::unreadable(),
            seen_in: list,
        }
    }

    /// Whether this is the record of the object, and not of another object with the same name.
    pub fn is_of(&self, object: &LiveMessageGroup) -> bool {
        object.metadata.uid.as_deref().map(Uid::from).as_ref() == Some(&self.uid)
    }

    /// Whether the object has been edited or replaced since it was read.
    pub fn is_newer_than(&self, read: &LiveMessageGroup) -> bool {
        !self.is_of(read) || self.generation > read.metadata.generation.unwrap_or_default()
    }

    /// The object's claim to its group.
    pub fn claim(&self) -> Claim {
        Claim {
            created: self.created,
            uid: self.uid.clone(),
            in_flight: self.in_flight,
            proven: self.is_proven(),
            may_call: self.may_call() && !self.is_deleting,
        }
    }

    /// Whether the status records an origin or a create intent for the group in the spec. The recorded service must
    /// also be the service of the account.
    pub fn is_proven(&self) -> bool {
        let service = self.group.as_ref().and_then(|group| group.service.as_ref());
        self.recorded_at.is_some() && self.recorded_at.as_ref() == service
    }

    /// Whether the status records an origin for the group in the spec. The recorded service must also be the service of
    /// the account.
    pub fn has_origin(&self) -> bool {
        self.has_origin && self.is_proven()
    }

    /// Whether the object may be able to call the Live API, regardless of the state of its account.
    pub fn may_call(&self) -> bool {
        !self.is_refused && (!self.is_paused || self.is_proven())
    }

    /// Replaces the account and the app ID of the record with the equal values in `app`, so that they share memory.
    pub fn share(&mut self, app: &AppKey) {
        self.account = app.account.clone();
        // A group that was taken from the previous record already shares the app ID, and `get_mut` returns `None`.
        if let Some(group) = self.group.as_mut().and_then(Arc::get_mut) {
            group.group.app_id = Arc::clone(&app.app_id);
        }
    }

    /// Sets the service of the account.
    pub fn set_service(&mut self, service: &Service) {
        if let Some(group) = &mut self.group {
            Arc::make_mut(group).service = Some(service.clone());
        }
    }

    /// Whether the object competes for its group.
    pub fn is_rival(&self) -> bool {
        // A call that was sent before a switch to Observe still counts until its effect is recorded.
        !self.observes || self.in_flight
    }
}

/// The service that the status records. If both services are equal, the result shares the memory of `service`.
fn recorded_service(object: &LiveMessageGroup, service: Option<&Service>) -> Option<Service> {
    let recorded = &object.status.as_ref()?.account.as_ref()?.service;
    Some(service.filter(|service| service.as_str() == recorded).cloned().unwrap_or_else(|| recorded.as_str().into()))
}

/// The state of the group according to the object's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RecordedState {
    /// Drift checks ignore the object, for example because it is paused or has pending work.
    #[default]
    None,
    Live,
    /// The group is deleted or does not exist.
    Gone,
}

/// Hashes of a spec's mutable fields, for the comparison with a listed group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fingerprint {
    /// The state of the group according to the object's status.
    pub state: RecordedState,
    /// `spec.dataCenter`; `None` for the app's own data center.
    pub data_center: Option<DataCenter>,
    info: Option<NonZero<u64>>,
    administrators: Option<NonZero<u64>>,
    /// For each mutable field, whether the Live API ignored the last change to the field, so that the group differs
    /// from the spec.
    ignored_fields: [bool; 2],
}

impl Fingerprint {
    /// Creates the fingerprint of an object. `is_recorded` is true if the status refers to the group in the spec.
    pub fn of(object: &LiveMessageGroup, is_recorded: bool) -> Self {
        let ready = object.condition(ConditionType::Ready).map(ConditionStatus::of);
        let state = match object.ready_reason() {
            _ if !is_recorded || object.is_paused() || object.is_deleting() => RecordedState::None,
            Some(Reason::GroupDeleted | Reason::GroupNotFound) => RecordedState::Gone,
            _ if ready == Some(ConditionStatus::True) => RecordedState::Live,
            _ => RecordedState::None,
        };
        let is_managed = object.management_policy() == ManagementPolicy::Manage;
        let info = object.spec.group_info.as_ref().filter(|_| is_managed);
        let administrators = object.spec.administrators.as_ref().filter(|_| is_managed);
        Self {
            state,
            data_center: object.spec.data_center,
            info: info.map(|info| hash_of(&[info.as_str()])),
            administrators: administrators.map(|list| hash_of_set(list)),
            ignored_fields: MUTABLE.map(|field| is_managed && object.is_ignored(field)),
        }
    }

    /// Whether a listed group contradicts the record.
    pub fn is_contradicted_by(&self, group: &GroupSnapshot) -> bool {
        match self.state {
            RecordedState::None => false,
            RecordedState::Gone => !group.deleted,
            RecordedState::Live => {
                let info = self.info.is_some_and(|info| info != hash_of(&[group.group_info.as_str()]));
                let list = self.administrators.is_some_and(|list| list != hash_of_set(&group.administrators));
                // An ignored change may have been applied late, or by another client.
                group.deleted || [info, list] != self.ignored_fields
            }
        }
    }
}

fn hash_of(parts: &[&str]) -> NonZero<u64> {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    NonZero::new(hasher.finish()).unwrap_or(NonZero::<u64>::MIN)
}

fn hash_of_set(list: &[String]) -> NonZero<u64> {
    let mut list: Vec<&str> = list.iter().map(String::as_str).collect();
    list.sort_unstable();
    list.dedup();
    hash_of(&list)
}

/// The conditions that are counted in addition to `Ready`, each with the status that is counted.
pub const COUNTED: [(ConditionType, ConditionStatus); 5] = [
    (ConditionType::Reconciling, ConditionStatus::True),
    (ConditionType::Stalled, ConditionStatus::True),
    (ConditionType::Degraded, ConditionStatus::True),
    (ConditionType::Paused, ConditionStatus::True),
    (ConditionType::InSync, ConditionStatus::False),
];

/// The conditions of an object in compact form, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConditionSummary {
    pub ready: ConditionStatus,
    /// The reason of `Ready`; `None` if this version of the operator does not know the reason.
    pub reason: Option<Reason>,
    /// For each entry of [`COUNTED`], whether the object has the condition with that status.
    pub counted: [bool; COUNTED.len()],
}

impl ConditionSummary {
    pub fn of(object: &LiveMessageGroup) -> Self {
        let status = |kind| object.condition(kind).map(ConditionStatus::of);
        let ready = object.condition(ConditionType::Ready);
        Self {
            ready: status(ConditionType::Ready).unwrap_or(ConditionStatus::Unknown),
            reason: ready.map_or(Some(Reason::Pending), |ready| ready.reason.parse().ok()),
            counted: COUNTED.map(|(kind, counted)| status(kind) == Some(counted)),
        }
    }

    /// The summary of an object that cannot be read. The operator is about to write these conditions to its status.
    pub fn unreadable() -> Self {
        let counted = COUNTED.map(|(kind, _)| kind == ConditionType::Stalled);
        Self { ready: ConditionStatus::False, reason: Some(Reason::InvalidSpec), counted }
    }
}
