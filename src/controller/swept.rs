//! When each app was swept last: for metrics, the sweeps themselves go by the wall clock.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::SystemTime;

use super::index::App;
use super::locked::locked;

/// When each app was swept last; one that never was, since it is known.
#[derive(Debug, Default)]
pub struct Swept(Mutex<HashMap<App, SystemTime>>);

impl Swept {
    /// These are the apps there are; others are forgotten.
    pub fn keep<'a>(&self, apps: impl Iterator<Item = &'a App>, now: SystemTime) {
        let mut swept = locked(&self.0);
        *swept = apps.map(|app| (app.clone(), swept.get(app).copied().unwrap_or(now))).collect();
    }

    /// A sweep has found out all there is to find out about an app.
    pub fn done(&self, app: &App, now: SystemTime) {
        if let Some(swept) = locked(&self.0).get_mut(app) {
            *swept = now;
        }
    }

    /// Of the app that was swept longest ago: when that was.
    pub fn oldest(&self) -> Option<SystemTime> {
        locked(&self.0).values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::controller::accounts::AccountKey;

    #[test]
    fn the_oldest_is_the_app_that_needs_a_sweep_most_and_one_that_is_gone_needs_none() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let [one, other] = ["one", "other"].map(|id| App::new(&AccountKey::Own, id));
        let (both, swept) = ([one.clone(), other.clone()], Swept::default());
        assert_eq!(swept.oldest(), None);
        swept.keep(both.iter(), at(100));
        swept.keep(both.iter(), at(200));
        assert_eq!(swept.oldest(), Some(at(100)), "known since then");
        swept.done(&one, at(700));
        assert_eq!(swept.oldest(), Some(at(100)));
        swept.done(&other, at(800));
        assert_eq!(swept.oldest(), Some(at(700)));
        swept.keep(both[1..].iter(), at(900));
        assert_eq!(swept.oldest(), Some(at(800)));
        swept.done(&one, at(1000));
        assert_eq!(swept.oldest(), Some(at(800)), "a sweep that ends after its app is gone brings nothing back");
    }
}
