//! What objects wait for of their apps: a count or a list of its groups.

use std::collections::HashMap;
use std::sync::Mutex;

use tokio::sync::Notify;

use super::index::App;
use super::locked::locked;

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Want {
    /// How many groups an app holds.
    Count,
    /// Which ones.
    List,
}

/// Counts and lists that objects wait for.
#[derive(Debug, Default)]
pub struct Wanted {
    apps: Mutex<HashMap<App, Want>>,
    bell: Notify,
}

impl Wanted {
    /// Asks for it; several askers are one.
    pub fn ask(&self, app: &App, want: Want) {
        let mut apps = locked(&self.apps);
        let asked = apps.entry(app.clone()).or_insert(want);
        *asked = want.max(*asked);
        drop(apps);
        self.bell.notify_one();
    }

    /// Waits until something is asked for, and takes all of it.
    pub async fn next(&self) -> HashMap<App, Want> {
        loop {
            let asked = std::mem::take(&mut *locked(&self.apps));
            if !asked.is_empty() {
                return asked;
            }
            self.bell.notified().await;
        }
    }
}
