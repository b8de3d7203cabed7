//! Storage for the large values of the explored worlds. Each value is stored once and identified by a number.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Debug, Write as _};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::world::{APP, Stored, id_text, moment, name_of, people, text};
use crate::controller::pass::Pass;
use crate::controller::scheduler::explored::Known;
use crate::live::Call;
use crate::resources::{
    ABANDON_ANNOTATION, FINALIZER, LiveMessageGroup, LiveMessageGroupSpec, LiveMessageGroupStatus, NameRef,
    PAUSED_ANNOTATION, RECONCILE_REQUESTED_AT_ANNOTATION,
};

/// The stored values, by type.
#[derive(Default)]
pub struct Library {
    pub statuses: Shelf<LiveMessageGroupStatus>,
    pub calls: Shelf<Call>,
    /// Passes. Number 0 is a pass that has not begun.
    pub passes: Shelf<Pass>,
    /// The states that schedulers keep for an object. Number 0 is the empty state.
    pub known: Shelf<Known>,
}

impl Library {
    /// Creates a library that contains the values with number 0.
    pub fn new() -> Self {
        let mut library = Self::default();
        library.passes.number(Pass::new());
        library.known.number(Known::default());
        library
    }
}

impl Library {
    /// Builds the object as the apiserver returns it.
    pub fn object(&self, stored: &Stored) -> LiveMessageGroup {
        let mut object = LiveMessageGroup::new(name_of(stored.uid), LiveMessageGroupSpec::default());
        let metadata = &mut object.metadata;
        metadata.namespace = Some("ns".to_owned());
        metadata.uid = Some(stored.uid.to_string());
        metadata.creation_timestamp = Some(Time(Timestamp::from_second(i64::from(stored.uid)).unwrap()));
        metadata.generation = Some(i64::from(stored.generation));
        metadata.finalizers = stored.finalizer.then(|| vec![FINALIZER.to_owned()]);
        metadata.deletion_timestamp = stored.deleting.then(|| Time(moment(0)));
        let mut annotations = BTreeMap::new();
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
        object.spec.account_ref = stored.has_account.then(|| NameRef { name: "team".to_owned() });
        object.spec.app_id = APP.to_owned();
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
    pub fn first_status(&mut self) -> u32 {
        let status = json!({"observedGeneration": -1, "conditions": [{
            "type": "Ready", "status": "Unknown", "reason": "Pending", "message": "",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        }]});
        self.statuses.number(serde_json::from_value(status).unwrap())
    }
}

/// Numbered values without duplicates. Values count as equal if their `Debug` texts have the same 128-bit hash.
pub struct Shelf<T> {
    values: Vec<T>,
    numbers: HashMap<(u64, u64), u32, Fast>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { values: Vec::new(), numbers: HashMap::default() }
    }
}

impl<T: Debug> Shelf<T> {
    pub fn number(&mut self, value: T) -> u32 {
        let next = u32::try_from(self.values.len()).unwrap();
        *self.numbers.entry(hash_of(&value)).or_insert_with(|| {
            self.values.push(value);
            next
        })
    }

    pub fn get(&self, number: u32) -> &T {
        &self.values[number as usize]
    }
}

/// Assigns a number to each distinct value. For small types that implement `Copy`.
pub struct Index<T> {
    values: Vec<T>,
    numbers: HashMap<T, u32, Fast>,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { values: Vec::new(), numbers: HashMap::default() }
    }
}

impl<T: Copy + Eq + Hash> Index<T> {
    pub fn number(&mut self, value: T) -> u32 {
        let next = u32::try_from(self.values.len()).unwrap();
        *self.numbers.entry(value).or_insert_with(|| {
            self.values.push(value);
            next
        })
    }

    pub fn get(&self, number: u32) -> T {
        self.values[number as usize]
    }
}

struct HashedText(DefaultHasher, DefaultHasher);

impl fmt::Write for HashedText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        self.1.write(text.as_bytes());
        Ok(())
    }
}

fn hash_of(value: &impl Debug) -> (u64, u64) {
    let mut text = HashedText(DefaultHasher::new(), DefaultHasher::new());
    text.1.write_u8(1);
    write!(text, "{value:?}").unwrap();
    (text.0.finish(), text.1.finish())
}

/// A fast hasher for the explorer's own numbers, which need no protection against deliberate collisions.
#[derive(Default)]
pub struct FastHasher(u64);

/// Builds [`FastHasher`]s.
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

    fn write_u64(&mut self, value: u64) {
        self.add(value);
    }

    fn write_isize(&mut self, value: isize) {
        self.add(value.cast_unsigned() as u64);
    }
}
