//! What is kept of every object: a small record, never its spec. It tells which objects name one group, and which of
//! them holds it.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::accounts::AccountKey;
use super::key::Key;
use super::mark::{Expected, Mark};
use super::standing::Standing;
use crate::decide::{Claim, Holder, Identity, holder, is_refused, recorded_identity};
use crate::live::GroupSnapshot;
use crate::resources::{LiveMessageGroup, ManagementPolicy, Reason};

#[derive(Debug)]
struct Record {
    uid: Arc<str>,
    created: i64,
    generation: i64,
    identity: Option<Arc<Identity>>,
    /// Whose credentials it asks for.
    account: AccountKey,
    /// `status.origin`, for this very identity.
    origin: bool,
    /// No origin, and its own last answer was a refusal.
    refused: bool,
    /// A call of its is out, or its effect is not recorded yet.
    in_flight: bool,
    /// It only observes: it neither holds a group nor is in conflict.
    observes: bool,
    /// It is being deleted.
    deleting: bool,
    /// What a list of the app's groups is to show of this one.
    mark: Mark,
    /// How it stands, for metrics.
    standing: Standing,
    /// Its status says `Conflict`: to be looked at again when the holder changes.
    conflict: bool,
    /// The list in which it was last seen; see [`Index::sweep_unseen`].
    seen: u64,
}

impl Record {
    fn claim(&self) -> Claim<'_> {
        let (in_flight, proven, refused) = (self.in_flight, self.origin, self.refused);
        Claim { created: self.created, uid: &self.uid, in_flight, proven, refused }
    }

    fn app(&self) -> Option<App> {
        Some(App::new(&self.account, &self.identity.as_ref()?.app_id))
    }

    fn same_claim(&self, other: &Self) -> bool {
        (&self.uid, &self.identity, self.origin, self.refused, self.in_flight, self.observes, self.deleting)
            == (
                &other.uid,
                &other.identity,
                other.origin,
                other.refused,
                other.in_flight,
                other.observes,
                other.deleting,
            )
    }
}

/// An app, as an account sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct App {
    /// The account.
    pub account: AccountKey,
    /// The app's id.
    pub id: String,
}

impl App {
    /// An app of an account.
    pub fn new(account: &AccountKey, id: &str) -> Self {
        Self { account: account.clone(), id: id.to_owned() }
    }

    /// Its name among the apps of all accounts.
    pub fn scope(&self) -> String {
        self.account.scoped(&self.id)
    }
}

/// The records of all objects.
#[derive(Debug, Default)]
pub struct Index {
    records: HashMap<Key, Record>,
    /// How many records are of each app.
    apps: HashMap<App, usize>,
    groups: HashMap<Arc<Identity>, Vec<Key>>,
}

impl Index {
    /// Takes in an object as read just now; `list` is the number of the list it was seen in. Returns the objects that
    /// are to be looked at again, for what holds their group has changed.
    pub fn observe(&mut self, key: &Key, object: &LiveMessageGroup, list: u64) -> Vec<Key> {
        let metadata = &object.metadata;
        let identity = Identity::of(object);
        let same = identity.is_some() && recorded_identity(object) == identity;
        // Let go, whatever else still keeps it: there is nothing that the operator would do for it.
        let let_go = object.is_deleting() && !object.has_finalizer();
        let origin = same && !let_go && (object.origin().is_some() || object.attempt().is_some());
        let uid: Arc<str> = metadata.uid.as_deref().unwrap_or_default().into();
        let before = self.records.get(key);
        let list = list.max(before.map_or(0, |before| before.seen));
        // What was known of another object of that name, or of another group, counts for nothing.
        let before = before.filter(|before| before.uid == uid && before.identity.as_deref() == identity.as_ref());
        let record = Record {
            created: metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
            generation: metadata.generation.unwrap_or_default(),
            origin,
            refused: is_refused(object, before.is_some_and(|before| before.refused)) || object.is_deleting(),
            observes: object.management_policy() == ManagementPolicy::Observe,
            deleting: object.is_deleting(),
            mark: Mark::of(object, same),
            standing: Standing::of(object),
            in_flight: before.is_some_and(|before| before.in_flight),
            conflict: object.ready_reason() == Some(Reason::Conflict),
            seen: list,
            identity: identity.map(Arc::new),
            account: AccountKey::of(object),
            uid,
        };
        self.replace(key, record)
    }

    /// Takes in an object that the watch has shown, as it was read or written just now. `None` where the watch has not
    /// shown this very object: taken in all the same, one that is gone would hold its group for ever.
    pub fn refresh(&mut self, key: &Key, object: &LiveMessageGroup) -> Option<Vec<Key>> {
        let known = self.records.get(key).map(|record| &*record.uid);
        (known.is_some() && known == object.metadata.uid.as_deref()).then(|| self.observe(key, object, 0))
    }

    /// Takes in an object that cannot be read. Whether its generation is new to the index, and the objects that are to be
    /// looked at again.
    pub fn observe_unreadable(&mut self, key: &Key, uid: &str, generation: i64, list: u64) -> (bool, Vec<Key>) {
        let before = self.records.get(key);
        let known = before.is_some_and(|before| &*before.uid == uid && before.generation == generation);
        let record = Record {
            uid: uid.into(),
            created: 0,
            generation,
            identity: None,
            account: AccountKey::Own,
            origin: false,
            refused: true,
            in_flight: false,
            observes: false,
            deleting: false,
            mark: Mark::default(),
            standing: Standing::unreadable(),
            conflict: false,
            seen: list,
        };
        (!known, self.replace(key, record))
    }

    fn replace(&mut self, key: &Key, record: Record) -> Vec<Key> {
        let changed = self.records.get(key).is_none_or(|before| !before.same_claim(&record));
        if !changed {
            self.put(key, Some(record));
            return Vec::new();
        }
        let mut peers = self.leave(key);
        if let Some(identity) = &record.identity {
            let members = self.groups.entry(Arc::clone(identity)).or_default();
            if !members.contains(key) {
                members.push(key.clone());
            }
            peers.extend(members.iter().filter(|member| *member != key).cloned());
        }
        self.put(key, Some(record));
        self.to_be_told(peers)
    }

    /// Puts a record into the place of the object's former one, or takes that out.
    fn put(&mut self, key: &Key, record: Option<Record>) {
        let app = record.as_ref().and_then(Record::app);
        let before = match record {
            Some(record) => self.records.insert(key.clone(), record),
            None => self.records.remove(key),
        };
        let former = before.as_ref().and_then(Record::app);
        if former == app {
            return;
        }
        if let Some(app) = app {
            *self.apps.entry(app).or_default() += 1;
        }
        if let Some(former) = former
            && let Entry::Occupied(mut count) = self.apps.entry(former)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// The object is gone. Returns the objects that are to be looked at again.
    pub fn remove(&mut self, key: &Key) -> Vec<Key> {
        let peers = self.leave(key);
        self.put(key, None);
        self.to_be_told(peers)
    }

    /// Takes the object out of its group; the others in it.
    fn leave(&mut self, key: &Key) -> Vec<Key> {
        let Some(identity) = self.records.get(key).and_then(|record| record.identity.clone()) else {
            return Vec::new();
        };
        let Some(members) = self.groups.get_mut(&identity) else { return Vec::new() };
        members.retain(|member| member != key);
        let others = members.clone();
        if others.is_empty() {
            self.groups.remove(&identity);
        }
        others
    }

    /// Of the others of a group whose holder may have changed, those that wait for it, and those that do not know yet that
    /// they lost it.
    fn to_be_told(&self, mut peers: Vec<Key>) -> Vec<Key> {
        peers.retain(|peer| self.records.get(peer).is_some_and(|record| record.conflict) || self.has_lost(peer));
        peers.sort();
        peers.dedup();
        peers
    }

    /// Removes what belongs to `namespace` (all, where absent) and was not seen in list number `list`: it was deleted
    /// while nobody watched. Returns what was removed, and the objects that are to be looked at again.
    pub fn sweep_unseen(&mut self, namespace: Option<&str>, list: u64) -> (Vec<Key>, Vec<Key>) {
        let gone: Vec<Key> = self
            .records
            .iter()
            .filter(|(key, record)| record.seen < list && namespace.is_none_or(|name| key.namespace() == name))
            .map(|(key, _)| key.clone())
            .collect();
        let peers = gone.iter().flat_map(|key| self.remove(key)).collect();
        (gone, peers)
    }

    /// The other object that names this one's group, if there is one: the one that holds it, or, for an object that is
    /// being deleted, one that would take it over.
    pub fn other_of(&self, key: &Key) -> Option<Holder> {
        let record = self.records.get(key)?;
        let members = self.groups.get(record.identity.as_ref()?)?;
        if members.len() < 2 || record.observes {
            return None;
        }
        let known = || members.iter().filter_map(|key| Some((key, self.records.get(key)?)));
        if record.deleting {
            let heirs: Vec<(&Key, &Record)> =
                known().filter(|(other, record)| *other != key && !record.observes && !record.deleting).collect();
            let claims: Vec<Claim<'_>> = heirs.iter().map(|(_, record)| record.claim()).collect();
            // Where all were refused, nobody holds it yet: any of them may be the next.
            let heir = heirs.get(holder(&claims).unwrap_or_default());
            return heir.map(|(key, _)| Holder { name: key.to_string() });
        }
        // What was sent before a switch to Observe still is: nobody else calls until its effect is recorded.
        let rivals: Vec<(&Key, &Record)> = known().filter(|(_, record)| !record.observes || record.in_flight).collect();
        let claims: Vec<Claim<'_>> = rivals.iter().map(|(_, record)| record.claim()).collect();
        let (name, _) = rivals[holder(&claims)?];
        (name != key).then(|| Holder { name: name.to_string() })
    }

    /// Whether another object holds this one's group and its status does not say so: an object that observed for a while
    /// comes back with its older record.
    pub fn has_lost(&self, key: &Key) -> bool {
        let managed = self.records.get(key).is_some_and(|record| !record.deleting && !record.conflict);
        managed && self.other_of(key).is_some()
    }

    /// Claims the object's group for a call that is about to be sent; the holder, where another one was faster.
    ///
    /// # Errors
    /// The other object.
    pub fn claim(&mut self, key: &Key) -> Result<(), Holder> {
        if let Some(other) = self.other_of(key) {
            return Err(other);
        }
        if let Some(record) = self.records.get_mut(key).filter(|record| !record.observes) {
            record.in_flight = true;
        }
        Ok(())
    }

    /// The call's effect is recorded, or there was none. Returns the objects that are to be looked at again.
    pub fn release(&mut self, key: &Key) -> Vec<Key> {
        let Some(record) = self.records.get_mut(key) else { return Vec::new() };
        if !std::mem::take(&mut record.in_flight) {
            return Vec::new();
        }
        let identity = record.identity.clone();
        let members = identity.and_then(|identity| self.groups.get(&identity));
        let peers = members.map_or_else(Vec::new, |members| members.iter().filter(|m| *m != key).cloned().collect());
        self.to_be_told(peers)
    }

    /// The apps that objects name, each with the account they ask for.
    pub fn apps(&self) -> impl Iterator<Item = &App> {
        self.apps.keys()
    }

    /// How many objects ask for each LiveAccount.
    pub fn by_account(&self) -> HashMap<Key, i64> {
        let mut counts = HashMap::new();
        for record in self.records.values() {
            if let AccountKey::Named(key) = &record.account {
                *counts.entry(key.clone()).or_default() += 1;
            }
        }
        counts
    }

    /// The data center that the objects of this app name. One whose group is live has named the right one, or rightly
    /// none; another one may be wrong about it.
    pub fn data_center_of(&self, app: &App) -> Option<&'static str> {
        let marks = self.of_app(app).map(|(_, record)| record.mark);
        marks.max_by_key(|mark| (mark.expected == Expected::Live, mark.data_center))?.data_center
    }

    /// The objects of this app that have recorded how their group is, by its id.
    pub fn recorded_in(&self, app: &App) -> Vec<(String, Key, Expected)> {
        self.of_app(app)
            .filter(|(_, record)| record.mark.expected != Expected::Nothing)
            .filter_map(|(key, record)| {
                Some((record.identity.as_ref()?.group_id.clone(), key.clone(), record.mark.expected))
            })
            .collect()
    }

    /// Whether any object of this app has a record that a list could contradict.
    pub fn has_recorded(&self, app: &App) -> bool {
        self.of_app(app).any(|(_, record)| record.mark.expected != Expected::Nothing)
    }

    /// What the record of this object says of its group.
    pub fn expects(&self, key: &Key) -> Expected {
        self.records.get(key).map_or(Expected::Nothing, |record| record.mark.expected)
    }

    /// The objects that a listed group contradicts, and what they have recorded: that it is gone, or another one than it
    /// shows.
    pub fn contradicted_by(&self, app: &App, group: &GroupSnapshot) -> Vec<(Key, Expected)> {
        let identity = Identity { app_id: app.id.clone(), group_id: group.group_id.clone() };
        let members = self.groups.get(&identity);
        let suspects = members.into_iter().flatten().filter_map(|key| {
            let record = self.records.get(key)?;
            let contradicted = record.account == app.account && record.mark.is_contradicted_by(group);
            contradicted.then(|| (key.clone(), record.mark.expected))
        });
        suspects.collect()
    }

    fn of_app<'a>(&'a self, app: &'a App) -> impl Iterator<Item = (&'a Key, &'a Record)> {
        let of = move |record: &Record| {
            record.account == app.account && record.identity.as_ref().is_some_and(|identity| identity.app_id == app.id)
        };
        self.records.iter().filter(move |(_, record)| of(record))
    }

    /// How many objects stand how.
    pub fn standings(&self) -> HashMap<Standing, usize> {
        let mut counts = HashMap::new();
        for record in self.records.values() {
            *counts.entry(record.standing).or_default() += 1;
        }
        counts
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }
}
