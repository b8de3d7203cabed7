//! The places of an app: how many groups it holds and may hold, so that an object that cannot fit is parked before any
//! call. Pure.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use super::line::Line;

/// Groups an app may hold unless its quota was raised, deleted ones not counted (source: the limits of
/// CreateLiveMessageGroup).
pub const GROUPS_PER_APP: u64 = 5_000;

/// Whether a create fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It does, and its place is kept for it; or its group is there already and needs none.
    Fits,
    /// It does not: so many groups of so many.
    Full {
        /// Groups the app holds, those on their way counted.
        used: u64,
        /// Groups it may hold.
        limit: u64,
    },
    /// Nobody has counted yet; the object waits for the count.
    Unknown,
    /// Almost full: which groups are there must be listed first; the object waits for the list.
    Unlisted,
}

#[derive(Debug)]
struct App<K> {
    used: Option<u64>,
    /// The service has told the number.
    counted: bool,
    /// The ids of the groups that are there, as the last whole list told.
    listed: Option<HashSet<String>>,
    reserved: HashSet<K>,
    waiting: Line<K>,
}

impl<K> Default for App<K> {
    fn default() -> Self {
        Self { used: None, counted: false, listed: None, reserved: HashSet::new(), waiting: Line::default() }
    }
}

impl<K> App<K> {
    /// Groups that the app holds, those on their way counted.
    fn taken(&self) -> Option<u64> {
        Some(self.used? + self.reserved.len() as u64)
    }

    /// How many more fit; `None` where nobody has counted. An app that holds more than it may has a higher limit than is
    /// known here: the service itself will refuse.
    fn free(&self, limit: u64) -> Option<u64> {
        let taken = self.taken()?;
        Some(if self.used > Some(limit) { u64::MAX } else { limit.saturating_sub(taken) })
    }
}

/// The places of all apps.
#[derive(Debug)]
pub struct Places<K> {
    limit: u64,
    apps: HashMap<String, App<K>>,
}

impl<K: Clone + Eq + Hash> Places<K> {
    /// Nothing is known yet; every app may hold `limit` groups.
    pub fn new(limit: u64) -> Self {
        Self { limit, apps: HashMap::new() }
    }

    /// Groups an app may hold.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Asks whether a create of this group fits; keeps a place for it, or lets it wait.
    pub fn fit(&mut self, app: &str, group: &str, key: &K) -> Fit {
        let limit = self.limit;
        let app = self.apps.entry(app.to_owned()).or_default();
        if app.reserved.contains(key) {
            return Fit::Fits;
        }
        let (Some(taken), Some(free)) = (app.taken(), app.free(limit)) else {
            app.waiting.push(key);
            return Fit::Unknown;
        };
        if free > 0 {
            app.waiting.remove(key);
            app.reserved.insert(key.clone());
            return Fit::Fits;
        }
        match &app.listed {
            Some(listed) if listed.contains(group) => Fit::Fits,
            Some(_) => {
                app.waiting.push(key);
                Fit::Full { used: taken, limit }
            }
            None => {
                app.waiting.push(key);
                Fit::Unlisted
            }
        }
    }

    /// A create of this object has ended: there is one group more, or not.
    pub fn created(&mut self, app: &str, group: &str, key: &K, new: bool) {
        let Some(app) = self.apps.get_mut(app) else { return };
        app.reserved.remove(key);
        if new {
            app.used = app.used.map(|used| used + 1);
            if let Some(listed) = &mut app.listed {
                listed.insert(group.to_owned());
            }
        }
    }

    /// The object is gone, or has no use for a place any more.
    pub fn forget(&mut self, key: &K) {
        for app in self.apps.values_mut() {
            app.reserved.remove(key);
            app.waiting.remove(key);
        }
    }

    /// There are only these apps: what is known of others is forgotten.
    pub fn keep(&mut self, apps: &HashSet<String>) {
        self.apps.retain(|app, _| apps.contains(app));
    }

    /// Forgets the apps whose name begins so: they may be others by now. Who waited for a place in one of them.
    pub fn release(&mut self, prefix: &str) -> Vec<K> {
        let released = self.apps.extract_if(|app, _| app.starts_with(prefix));
        released.flat_map(|(_, mut app)| app.waiting.take(usize::MAX)).collect()
    }

    /// Whether anybody waits for a place in this app.
    pub fn is_waited_for(&self, app: &str) -> bool {
        self.apps.get(app).is_some_and(|app| !app.waiting.is_empty())
    }

    /// Somebody has counted the groups of an app, and listed them where `listed` is there. Returns who is to ask again:
    /// as many as fit, or everybody where nobody had known.
    pub fn counted(&mut self, app: &str, used: u64, listed: Option<HashSet<String>>) -> Vec<K> {
        let limit = self.limit;
        let app = self.apps.entry(app.to_owned()).or_default();
        let news = app.used.is_none() || (app.listed.is_none() && listed.is_some());
        app.used = Some(used);
        app.counted = true;
        if listed.is_some() {
            app.listed = listed;
        }
        let free = app.free(limit).and_then(|free| usize::try_from(free).ok());
        let wake = if news { app.waiting.len() } else { free.unwrap_or(usize::MAX) };
        app.waiting.take(wake)
    }

    /// A group of the app was deleted. Returns who is to ask again: who waited longest for the place.
    pub fn freed(&mut self, app: &str, group: &str) -> Vec<K> {
        let limit = self.limit;
        let Some(app) = self.apps.get_mut(app) else { return Vec::new() };
        if let Some(listed) = &mut app.listed {
            listed.remove(group);
        }
        app.used = app.used.map(|used| used.saturating_sub(1));
        app.waiting.take(usize::from(app.free(limit) > Some(0)))
    }

    /// How many groups an app holds, those on their way counted, where the service has told a number.
    pub fn held(&self, app: &str) -> Option<u64> {
        self.apps.get(app).filter(|app| app.counted)?.taken()
    }

    /// The app cannot be counted (no permission to list, for example): whoever waits goes on and lets the service
    /// refuse.
    pub fn uncountable(&mut self, app: &str) -> Vec<K> {
        let app = self.apps.entry(app.to_owned()).or_default();
        app.used.get_or_insert(0);
        app.listed.get_or_insert_default();
        app.waiting.take(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(groups: &[&str]) -> Option<HashSet<String>> {
        Some(groups.iter().map(|group| (*group).to_owned()).collect())
    }

    #[test]
    fn nobody_creates_before_the_app_is_counted() {
        let mut places = Places::new(2);
        assert_eq!(places.fit("app", "a", &1), Fit::Unknown);
        assert_eq!(places.counted("app", 0, None), [1]);
        assert_eq!(places.fit("app", "a", &1), Fit::Fits);
    }

    #[test]
    fn what_is_on_its_way_counts_and_what_does_not_fit_waits() {
        let mut places = Places::new(2);
        places.counted("app", 1, listed(&["there"]));
        assert_eq!(places.fit("app", "a", &1), Fit::Fits);
        assert_eq!(places.fit("app", "a", &1), Fit::Fits, "asked again it keeps its place");
        assert_eq!(places.held("app"), Some(2));
        assert_eq!(places.fit("app", "b", &2), Fit::Full { used: 2, limit: 2 });
        assert_eq!(places.fit("app", "there", &3), Fit::Fits, "its group needs no place");
        places.created("app", "a", &1, true);
        assert_eq!(places.fit("app", "b", &2), Fit::Full { used: 2, limit: 2 });
        assert_eq!(places.counted("app", 2, listed(&["there", "a"])), Vec::<i32>::new());
        assert_eq!(places.counted("app", 1, listed(&["a"])), [2]);
        assert_eq!(places.fit("app", "b", &2), Fit::Fits);
    }

    #[test]
    fn a_group_that_is_deleted_frees_its_place_for_who_waited_longest() {
        let mut places = Places::new(2);
        assert_eq!(places.freed("app", "a"), Vec::<i32>::new(), "nobody has counted");
        places.counted("app", 2, listed(&["a", "b"]));
        for (group, key) in [("c", 1), ("d", 2)] {
            assert_eq!(places.fit("app", group, &key), Fit::Full { used: 2, limit: 2 });
        }
        assert_eq!(places.freed("app", "a"), [1]);
        assert_eq!(places.fit("app", "c", &1), Fit::Fits);
        assert_eq!(places.fit("app", "a", &3), Fit::Full { used: 2, limit: 2 }, "it is there no longer");
    }

    #[test]
    fn a_full_app_is_listed_before_anybody_is_parked() {
        let mut places = Places::new(1);
        places.counted("app", 1, None);
        assert_eq!(places.fit("app", "there", &1), Fit::Unlisted);
        assert_eq!(places.counted("app", 1, listed(&["there"])), [1]);
        assert_eq!(places.fit("app", "there", &1), Fit::Fits);
    }

    #[test]
    fn an_app_that_holds_more_than_it_may_is_left_to_the_service() {
        let mut places = Places::new(1);
        places.counted("app", 1, listed(&["a"]));
        assert_eq!(places.fit("app", "b", &1), Fit::Full { used: 1, limit: 1 });
        assert_eq!(places.counted("app", 2, listed(&["a", "c"])), [1], "its quota was raised");
        assert_eq!(places.fit("app", "b", &1), Fit::Fits);
    }

    #[test]
    fn an_app_that_cannot_be_counted_holds_nobody_up() {
        let mut places = Places::new(1);
        assert_eq!(places.fit("app", "a", &1), Fit::Unknown);
        assert_eq!(places.uncountable("app"), [1]);
        assert_eq!(places.held("app"), None, "nobody has told a number");
        assert_eq!(places.fit("app", "a", &1), Fit::Fits);
    }

    #[test]
    fn an_app_that_nobody_names_any_more_is_counted_anew_when_somebody_does() {
        let mut places = Places::new(1);
        for app in ["one", "other"] {
            places.counted(app, 1, listed(&["a"]));
        }
        places.keep(&HashSet::from(["one".to_owned()]));
        assert_eq!(places.fit("one", "b", &1), Fit::Full { used: 1, limit: 1 });
        assert_eq!(places.fit("other", "b", &1), Fit::Unknown);
    }

    #[test]
    fn the_apps_of_an_account_that_became_another_one_are_counted_anew() {
        let mut places = Places::new(1);
        for app in ["ns/team|app", "ns/team2|app", "app"] {
            places.counted(app, 1, listed(&["a"]));
        }
        assert_eq!(places.fit("ns/team|app", "b", &1), Fit::Full { used: 1, limit: 1 });
        assert_eq!(places.release("ns/team|"), [1]);
        assert_eq!(places.fit("ns/team|app", "b", &1), Fit::Unknown);
        for app in ["ns/team2|app", "app"] {
            assert_eq!(places.fit(app, "b", &2), Fit::Full { used: 1, limit: 1 });
        }
    }

    #[test]
    fn an_object_that_is_gone_frees_its_place() {
        let mut places = Places::new(1);
        places.counted("app", 0, listed(&[]));
        assert_eq!(places.fit("app", "a", &1), Fit::Fits);
        places.forget(&1);
        assert_eq!(places.fit("app", "b", &2), Fit::Fits);
    }

    #[test]
    fn an_app_is_waited_for_while_somebody_waits() {
        let mut places = Places::new(1);
        assert!(!places.is_waited_for("app"));
        places.counted("app", 1, listed(&["there"]));
        assert_eq!(places.fit("app", "a", &1), Fit::Full { used: 1, limit: 1 });
        assert!(places.is_waited_for("app") && !places.is_waited_for("other"));
        places.forget(&1);
        assert!(!places.is_waited_for("app"));
        assert_eq!(places.freed("app", "there"), Vec::<i32>::new(), "who is gone is not woken");
        places.counted("app", 1, listed(&["there"]));
        assert_eq!(places.fit("app", "a", &1), Fit::Full { used: 1, limit: 1 });
        assert_eq!(places.fit("app", "b", &2), Fit::Full { used: 1, limit: 1 });
        assert_eq!(places.freed("app", "there"), [1]);
        assert_eq!(places.fit("app", "b", &2), Fit::Fits, "it was faster");
        assert!(!places.is_waited_for("app"));
        assert_eq!(places.limit(), 1);
    }

    #[test]
    fn what_was_made_since_the_list_is_there_and_what_failed_is_not() {
        let mut places = Places::new(2);
        places.counted("app", 1, listed(&["there"]));
        assert_eq!(places.fit("app", "a", &1), Fit::Fits);
        places.created("app", "a", &1, false);
        assert_eq!(places.held("app"), Some(1), "its place is free again");
        assert_eq!(places.fit("app", "b", &2), Fit::Fits);
        places.created("app", "b", &2, true);
        assert_eq!(places.held("app"), Some(2));
        assert_eq!(places.fit("app", "b", &3), Fit::Fits, "it needs no place");
        assert_eq!(places.fit("app", "a", &1), Fit::Full { used: 2, limit: 2 });
        // A count alone leaves the list as it was.
        assert_eq!(places.counted("app", 2, None), Vec::<i32>::new());
        assert_eq!(places.fit("app", "a", &1), Fit::Full { used: 2, limit: 2 });
        assert_eq!(places.freed("app", "b"), [1]);
        assert_eq!(places.fit("app", "a", &1), Fit::Fits);
        assert!(!places.is_waited_for("app"), "it has its place");
        assert_eq!(places.fit("app", "c", &4), Fit::Full { used: 2, limit: 2 });
        assert_eq!(places.counted("app", 3, None), [4], "more than it may: its quota was raised");
    }

    #[test]
    fn a_place_that_is_freed_where_none_is_left_wakes_nobody() {
        let mut places = Places::new(2);
        places.counted("app", 1, listed(&["there"]));
        assert_eq!(places.fit("app", "a", &1), Fit::Fits);
        assert_eq!(places.fit("app", "b", &2), Fit::Full { used: 2, limit: 2 });
        assert_eq!(places.counted("app", 2, listed(&["there", "other"])), Vec::<i32>::new());
        assert_eq!(places.freed("app", "there"), Vec::<i32>::new(), "it is the place of the one on its way");
    }

    #[test]
    fn everybody_who_waited_for_the_count_asks_again() {
        let mut places = Places::new(1);
        for key in [1, 2] {
            assert_eq!(places.fit("app", "a", &key), Fit::Unknown);
        }
        assert_eq!(places.counted("app", 1, None), [1, 2]);
        for key in [1, 2] {
            assert_eq!(places.fit("app", "a", &key), Fit::Unlisted);
        }
        assert_eq!(places.counted("app", 1, None), Vec::<i32>::new(), "they wait for the list");
        // An app that was counted and cannot be listed is left to the service, its count kept.
        assert_eq!(places.uncountable("app"), [1, 2]);
        assert_eq!(places.fit("app", "a", &1), Fit::Full { used: 1, limit: 1 });
    }
}
