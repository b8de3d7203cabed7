//! The state of the small world, small enough to be compared and kept by the hundred thousand: what is large (a status,
//! facts, a verdict, a call) is kept once in the [`Library`] and named by a number.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{BuildHasherDefault, Hasher};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use crate::decide::{DeletionOutcome, Facts, PassOutcome};
use crate::live::{Call, GroupSnapshot};
use crate::resources::{
    ABANDON_ANNOTATION, DeletedGroupPolicy, DeletionPolicy, FINALIZER, LiveMessageGroup, LiveMessageGroupStatus,
    ManagementPolicy, PAUSED_ANNOTATION, RECONCILE_REQUESTED_AT_ANNOTATION,
};

/// Who made a group that was not made by an object.
pub const FOREIGN: u8 = 0;

/// What a foreign group holds.
pub const THEIRS: u8 = 9;

/// The fields of a group, or of a spec; 0 is an empty or an absent one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fields {
    /// `groupName`: what the API cannot change.
    pub name: u8,
    /// `groupInfo`.
    pub info: u8,
    /// `administrators`: what is compared as a set.
    pub admins: u8,
}

/// A spec that names every field but one, and one that names only that.
pub const FULL: Fields = Fields { name: 1, info: 1, admins: 0 };
pub const SPARE: Fields = Fields { name: 0, info: 0, admins: 1 };

impl Fields {
    /// One bit for each spec of the small world, none for what no object asks for.
    pub fn bit(self) -> u32 {
        if self.info == THEIRS { 0 } else { 1 << (self.name + 3 * (self.info + 3 * self.admins)) }
    }
}

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
    /// Its credentials have been unusable for ten minutes in a namespace that goes away.
    pub given_up: bool,
    /// A call of this very object was sent, or recorded to be.
    pub called: bool,
    /// What the creates under its open attempt sent, a bit for each body.
    pub sent: u32,
    /// Those of them of which nobody heard what became.
    pub unheard: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stored {
    pub uid: u8,
    pub generation: u8,
    pub id: u8,
    pub fields: Fields,
    pub policies: Policies,
    pub paused: bool,
    pub abandoned: bool,
    pub force: u8,
    pub finalizer: bool,
    pub deleting: bool,
    pub status: u16,
}

impl Stored {
    /// A new object.
    pub fn new(uid: u8, (policies, fields): (Policies, Fields), status: u16) -> Self {
        let (paused, abandoned, finalizer, deleting) = (false, false, false, false);
        Self { uid, generation: 1, id: 0, fields, policies, paused, abandoned, force: 0, finalizer, deleting, status }
    }

    pub fn observes(&self) -> bool {
        self.policies.management == ManagementPolicy::Observe
    }

    pub fn deletes(&self) -> bool {
        self.policies.deletion == DeletionPolicy::Delete && !self.observes()
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
    /// A write before its call has failed: it may wait like this for long.
    pub stuck: bool,
    pub suspects: bool,
    /// It knows the group as it is.
    pub knows: bool,
    pub creates: u8,
    pub modifies: (u8, u8),
    /// What the last answer showed.
    pub shown: Shown,
    /// What the last answer showed that showed anything.
    pub seen: Shown,
}

/// What an answer showed.
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
    pub observes: bool,
    pub deleting: bool,
    pub conflict: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Group {
    pub state: State,
    pub fields: Fields,
    /// The uid of the object whose create made it.
    pub maker: u8,
    pub born: u8,
    /// Made by somebody else while an attempt of this object was open, and with which fields: where a create that sent just
    /// these goes unheard, nobody but the service can tell the two apart.
    pub twin_of: u8,
    pub body: u32,
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
    pub const ABSENT: Self = Self {
        state: State::Absent,
        fields: Fields { name: 0, info: 0, admins: 0 },
        maker: FOREIGN,
        born: 0,
        twin_of: FOREIGN,
        body: 0,
    };

    pub fn foreign(fields: Fields) -> Self {
        Self { state: State::Live, fields, ..Self::ABSENT }
    }

    pub fn snapshot(&self, id: u8) -> GroupSnapshot {
        let Fields { name, info, admins } = self.fields;
        GroupSnapshot {
            group_id: id_text(id),
            group_name: text("Room", name).unwrap_or_default(),
            group_info: text("v", info).unwrap_or_default(),
            // The other way round than they were sent: they are a set.
            administrators: people(admins).map(|people| people.into_iter().rev().collect()).unwrap_or_default(),
            deleted: self.state == State::Deleted,
            create_time: Some(moment(self.born)),
            ..GroupSnapshot::default()
        }
    }
}

/// The three policies of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Policies {
    pub management: ManagementPolicy,
    pub deletion: DeletionPolicy,
    pub deleted: DeletedGroupPolicy,
}

impl Policies {
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for management in ManagementPolicy::ALL {
            for deletion in DeletionPolicy::ALL {
                for deleted in DeletedGroupPolicy::ALL {
                    all.push(Self { management: *management, deletion: *deletion, deleted: *deleted });
                }
            }
        }
        all
    }
}

/// A hash of the explorer's own numbers: nobody chooses them to collide, and most of the time goes into it.
#[derive(Default)]
pub struct FastHasher(u64);

pub type Fast = BuildHasherDefault<FastHasher>;

impl FastHasher {
    fn add(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for FastHasher {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.add(u64::from(value));
    }

    fn write_u16(&mut self, value: u16) {
        self.add(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.add(u64::from(value));
    }

    fn write_isize(&mut self, value: isize) {
        self.add(value.cast_unsigned() as u64);
    }
}

/// Where the large things are kept.
#[derive(Default)]
pub struct Library {
    pub statuses: Shelf<LiveMessageGroupStatus>,
    pub facts: Shelf<Facts>,
    pub verdicts: Shelf<PassOutcome>,
    pub calls: Shelf<Call>,
    pub releases: Shelf<DeletionOutcome>,
}

/// Values by number, equal ones once.
pub struct Shelf<T> {
    values: Vec<T>,
    numbers: HashMap<String, u16, Fast>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { values: Vec::new(), numbers: HashMap::default() }
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
    pub fn object(&self, stored: &Stored) -> LiveMessageGroup {
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
        if stored.abandoned {
            annotations.insert(ABANDON_ANNOTATION.to_owned(), "true".to_owned());
        }
        metadata.annotations = Some(annotations);
        object.spec.app_id = "demo".to_owned();
        object.spec.group_id = Some(id_text(stored.id));
        object.spec.group_name = text("Room", stored.fields.name);
        object.spec.group_info = text("v", stored.fields.info);
        object.spec.administrators = people(stored.fields.admins);
        object.spec.management_policy = Some(stored.policies.management);
        object.spec.deletion_policy = Some(stored.policies.deletion);
        object.spec.deleted_group_policy = Some(stored.policies.deleted);
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

fn text(word: &str, number: u8) -> Option<String> {
    (number > 0).then(|| format!("{word}{number}"))
}

fn people(number: u8) -> Option<Vec<String>> {
    (number > 0).then(|| vec![format!("ann{number}"), format!("bob{number}")])
}

pub fn number_in(text: &str) -> u8 {
    text.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or_default()
}

/// A moment of the service's clock.
pub fn moment(clock: u8) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + 10 * i64::from(clock)).unwrap()
}
