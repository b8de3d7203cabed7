//! The state of the small world, small enough to be compared and kept by the hundred thousand: what is large (a status,
//! facts, a verdict, a call) is kept once in the [`Library`] and named by a number.

use std::collections::HashMap;
use std::fmt::Debug;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use crate::decide::{Facts, Verdict};
use crate::live::{Call, GroupSnapshot};
use crate::resources::{
    DeletedGroupPolicy, DeletionPolicy, FINALIZER, LiveMessageGroup, LiveMessageGroupStatus, ManagementPolicy,
    PAUSED_ANNOTATION, RECONCILE_REQUESTED_AT_ANNOTATION,
};

/// Who made a group that was not made by an object.
pub const FOREIGN: u8 = 0;

/// What a foreign group holds.
pub const THEIRS: u8 = 9;

/// The whole world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct World {
    pub slots: [Slot; 2],
    /// By id: an object names one of the two.
    pub groups: [Group; 2],
    /// A call whose answer was lost and that has not arrived yet, by id.
    pub late: [Option<Late>; 2],
    /// The service's clock: it moves when a group is made and when an attempt is recorded.
    pub clock: u8,
    /// How many more things may go wrong or be done by a person.
    pub left: u8,
}

/// A name in the cluster, the object under it, and what the operator keeps of it in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Slot {
    pub last_uid: u8,
    pub stored: Option<Stored>,
    /// As it was before the last thing a person did to it: what a read may have shown.
    pub before: Option<Option<Stored>>,
    pub queued: bool,
    pub pass: Option<Pass>,
    pub record: Option<Record>,
    /// A sweep has found its record contradicted.
    pub suspect: bool,
    /// Was told that its create made the group, and nothing was lost or seen since that would end that.
    pub told: bool,
    /// Was told that the group is gone, and not that there is a new one.
    pub gone: bool,
    /// Something was done to its group since what is recorded of it.
    pub drifted: bool,
    /// The last forced reconcile that an answer followed.
    pub looked: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stored {
    pub uid: u8,
    pub generation: u8,
    pub id: u8,
    pub info: u8,
    pub paused: bool,
    pub force: u8,
    pub finalizer: bool,
    pub deleting: bool,
    pub status: u16,
}

impl Stored {
    /// A new object.
    pub fn new(uid: u8, status: u16) -> Self {
        let (paused, finalizer, deleting) = (false, false, false);
        Self { uid, generation: 1, id: 0, info: 1, paused, force: 0, finalizer, deleting, status }
    }
}

/// The controller's pass, and what the invariants count in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pass {
    pub uid: u8,
    pub id: u8,
    pub facts: u16,
    pub asked: u8,
    /// Generation, verdict, and whether nothing follows.
    pub unwritten: Option<(u8, u16, bool)>,
    pub suspects: bool,
    /// It knows the group as it is.
    pub knows: bool,
    pub creates: u8,
    pub modifies: (u8, u8),
    pub shown: Shown,
}

/// What the last answer of a pass showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shown {
    Nothing,
    /// A live group, and who made it.
    Live(u8),
    /// None, or a deleted one.
    Gone,
}

/// What the index keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Record {
    pub uid: u8,
    pub id: u8,
    pub proven: bool,
    pub refused: bool,
    pub in_flight: bool,
    pub deleting: bool,
    pub conflict: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Group {
    pub state: State,
    pub info: u8,
    pub named_right: bool,
    /// The uid of the object whose create made it.
    pub maker: u8,
    pub born: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    Absent,
    Live,
    Deleted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Late {
    pub call: u16,
    pub uid: u8,
}

impl Group {
    pub const ABSENT: Self = Self { state: State::Absent, info: 0, named_right: true, maker: FOREIGN, born: 0 };

    pub fn foreign(info: u8, named_right: bool) -> Self {
        Self { state: State::Live, info, named_right, ..Self::ABSENT }
    }

    pub fn snapshot(&self, id: u8) -> GroupSnapshot {
        GroupSnapshot {
            group_id: id_text(id),
            group_name: if self.named_right { "Room".into() } else { "Theirs".into() },
            group_info: info_text(self.info),
            deleted: self.state == State::Deleted,
            create_time: Some(moment(self.born)),
            ..GroupSnapshot::default()
        }
    }
}

/// What all objects of an exploration have in common.
#[derive(Debug, Clone, Copy, Default)]
pub struct Policies {
    pub management: ManagementPolicy,
    pub deletion: DeletionPolicy,
    pub deleted: DeletedGroupPolicy,
}

/// Where the large things are kept.
#[derive(Default)]
pub struct Library {
    pub statuses: Shelf<LiveMessageGroupStatus>,
    pub facts: Shelf<Facts>,
    pub verdicts: Shelf<Verdict>,
    pub calls: Shelf<Call>,
}

/// Values by number, equal ones once.
pub struct Shelf<T> {
    values: Vec<T>,
    numbers: HashMap<String, u16>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { values: Vec::new(), numbers: HashMap::new() }
    }
}

impl<T: Debug> Shelf<T> {
    pub fn number(&mut self, value: T) -> u16 {
        let next = u16::try_from(self.values.len()).unwrap();
        *self.numbers.entry(format!("{value:?}")).or_insert_with(|| {
            self.values.push(value);
            next
        })
    }

    pub fn get(&self, number: u16) -> &T {
        &self.values[usize::from(number)]
    }
}

impl Library {
    /// The object as the controller reads it.
    pub fn object(&self, stored: &Stored, policies: Policies) -> LiveMessageGroup {
        let mut object = LiveMessageGroup::new(name_of(stored.uid), crate::resources::LiveMessageGroupSpec::default());
        let metadata = &mut object.metadata;
        metadata.namespace = Some("ns".to_owned());
        metadata.uid = Some(stored.uid.to_string());
        metadata.generation = Some(i64::from(stored.generation));
        metadata.finalizers = stored.finalizer.then(|| vec![FINALIZER.to_owned()]);
        metadata.deletion_timestamp = stored.deleting.then(|| Time(moment(0)));
        let mut annotations = std::collections::BTreeMap::new();
        if stored.paused {
            annotations.insert(PAUSED_ANNOTATION.to_owned(), "true".to_owned());
        }
        if stored.force > 0 {
            annotations.insert(RECONCILE_REQUESTED_AT_ANNOTATION.to_owned(), stored.force.to_string());
        }
        metadata.annotations = Some(annotations);
        object.spec.app_id = "demo".to_owned();
        object.spec.group_id = Some(id_text(stored.id));
        object.spec.group_name = Some("Room".to_owned());
        object.spec.group_info = Some(info_text(stored.info));
        object.spec.management_policy = Some(policies.management);
        object.spec.deletion_policy = Some(policies.deletion);
        object.spec.deleted_group_policy = Some(policies.deleted);
        object.status = Some(self.statuses.get(stored.status).clone());
        object
    }

    /// The status that the CRD's default gives a new object.
    pub fn first_status(&mut self) -> u16 {
        let status = json!({"observedGeneration": -1, "conditions": [{
            "type": "Ready", "status": "Unknown", "reason": "Pending", "message": "",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        }]});
        self.statuses.number(serde_json::from_value(status).unwrap())
    }
}

/// Uids 1, 3, 5, … are of the first name, 2, 4, … of the second; a smaller one is older.
pub fn name_of(uid: u8) -> &'static str {
    if uid.is_multiple_of(2) { "second" } else { "first" }
}

pub fn id_text(id: u8) -> String {
    format!("room{id}")
}

pub fn info_text(info: u8) -> String {
    format!("v{info}")
}

pub fn number_in(text: &str) -> u8 {
    text.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or_default()
}

/// A moment of the service's clock.
pub fn moment(clock: u8) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + 10 * i64::from(clock)).unwrap()
}
