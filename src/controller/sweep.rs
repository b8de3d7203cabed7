//! The sweep: one paged list per app finds what changed behind the operator's back, and counts the app's places.
//!
//! Its phase is a hash of the app on the wall clock, so that it needs no memory: a restart neither skips a sweep nor
//! adds one. Only what a list contradicts is described.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::accounts::Account;
use super::causes::gate_of;
use super::index::App;
use super::locked::locked;
use super::mark::Expected;
use super::reconciler::Reconciler;
use super::wanted::Want;
use crate::decide::GateKind;
use crate::live::operation::{GroupStatus, ListPage};
use crate::live::response::GroupPage;
use crate::live::{Call, CallError, ErrorClass, Operation, Reply};
use crate::telemetry::metrics::DriftCheckLabels;

/// Groups a page, the most the API lists.
const PAGE_SIZE: u32 = 50;

/// Pages of one sweep are no further apart than this, however long the interval.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A page is asked for this often before the sweep is given up until the next one.
const TRIES: u32 = 3;

/// What is under way: sweeps (`None`) and what somebody waits for, each of an app. By what it is for: a sweep spreads its
/// pages over minutes, and who waits for a count does not wait for those.
type UnderWay = HashSet<Task>;
type Task = (App, Option<Want>);

/// How long until this app's sweep is due, from this moment of the wall clock on: more than nothing, at most `interval`.
fn until_due(app: &str, interval: Duration, now: SystemTime) -> Duration {
    let mut hasher = DefaultHasher::new();
    app.hash(&mut hasher);
    let interval = interval.as_millis().max(1);
    let phase = u128::from(hasher.finish()) % interval;
    let into = (millis(now) + interval - phase) % interval;
    Duration::from_millis(u64::try_from(interval - into).unwrap_or(u64::MAX))
}

/// Whether this app's sweep was due after one moment, and not after another.
fn was_due(app: &str, interval: Duration, after: SystemTime, until: SystemTime) -> bool {
    until_due(app, interval, after).as_millis() <= millis(until).saturating_sub(millis(after))
}

fn millis(moment: SystemTime) -> u128 {
    moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis()
}

/// Sweeps every app once an interval, and answers what is wanted at once; never returns.
pub async fn run(reconciler: Arc<Reconciler>, interval: Duration) {
    let sweeps = Sweeps { reconciler, interval, under_way: Arc::default() };
    tokio::join!(sweeps.answer(), sweeps.keep_turns());
}

struct Sweeps {
    reconciler: Arc<Reconciler>,
    interval: Duration,
    under_way: Arc<Mutex<UnderWay>>,
}

impl Sweeps {
    /// Lets nobody wait for a turn who asks for a count or a list.
    async fn answer(&self) {
        loop {
            for (app, want) in self.reconciler.wanted.next().await {
                self.start(app, Some(want));
            }
        }
    }

    /// Starts each app's sweep when it is due, also where several are at once or this task was late.
    async fn keep_turns(&self) {
        // New apps come without a bell: look again now and then.
        let patience = Duration::from_secs(30).min(self.interval);
        let mut looked = SystemTime::now();
        loop {
            let next = self.reconciler.index().apps().map(|app| until_due(&app.scope(), self.interval, looked)).min();
            tokio::time::sleep(next.map_or(patience, |next| next.min(patience))).await;
            let now = SystemTime::now();
            let due: Vec<App> = {
                let index = self.reconciler.index();
                self.reconciler.swept.keep(index.apps(), now);
                // Beside the index: who begins to wait for a count is not forgotten with an app that seemed to be gone.
                self.reconciler.places().keep(&index.apps().map(App::scope).collect());
                let due = index.apps().filter(|app| was_due(&app.scope(), self.interval, looked, now));
                due.cloned().collect()
            };
            for app in due {
                tracing::debug!(app = app.scope(), "sweep");
                self.start(app, None);
            }
            looked = now;
        }
    }

    fn start(&self, app: App, want: Option<Want>) {
        let (reconciler, interval, of) = (Arc::clone(&self.reconciler), self.interval, app.clone());
        begin(&self.under_way, (app, want), async move { sweep(&reconciler, &of, want, interval).await });
    }
}

/// Begins a task, unless it is under way.
fn begin(under_way: &Arc<Mutex<UnderWay>>, task: Task, work: impl Future<Output = ()> + Send + 'static) {
    if locked(under_way).insert(task.clone()) {
        // Were it to count as under way after a panic, the app would never be swept again.
        let ended = Ended { task, under_way: Arc::clone(under_way) };
        tokio::spawn(async move {
            let _ended = ended;
            work.await;
        });
    }
}

/// Says that a task is under way no more, however it ends.
struct Ended {
    task: Task,
    under_way: Arc<Mutex<UnderWay>>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        locked(&self.under_way).remove(&self.task);
    }
}

/// Lists an app, from the beginning where its account became another one meanwhile.
async fn sweep(reconciler: &Reconciler, app: &App, want: Option<Want>, interval: Duration) {
    while !is_swept(reconciler, app, want, interval).await {}
}

/// Lists an app, unless there is no need to. Not so where its account became another one before the end: what was listed
/// is that of another app.
async fn is_swept(reconciler: &Reconciler, app: &App, want: Option<Want>, interval: Duration) -> bool {
    if want.is_none() && !reconciler.index().has_recorded(app) && !reconciler.places().is_waited_for(&app.scope()) {
        // Nothing that a list could tell anybody.
        reconciler.swept.done(app, SystemTime::now());
        return true;
    }
    let gate = gate_of(GateKind::Credentials, &app.account, &app.id, None);
    let account = reconciler.accounts.get(&app.account, false).ok().filter(|account| !account.is_withdrawn());
    let Some(account) = account else {
        // Who asks for an account that is not there says so itself.
        ended(reconciler, want, "skipped");
        let woken = reconciler.places().uncountable(&app.scope());
        reconciler.wake_all(woken);
        return true;
    };
    if want.is_none() && (reconciler.gates().is_shut(&gate) || account.proof().was_just_rejected()) {
        // One probe a minute is the only call while the credentials are refused.
        ended(reconciler, want, "skipped");
        return true;
    }
    let recorded = reconciler.index().recorded_in(app);
    let listed = list(reconciler, &account, app, want, interval, recorded.len()).await;
    if reconciler.accounts.get(&app.account, false).is_ok_and(|now| !Arc::ptr_eq(&now, &account)) {
        return false;
    }
    match listed {
        Ok(Listed::Whole { total, ids }) => {
            // What is recorded as gone and is not listed is gone.
            let live = recorded.iter().filter(|(_, _, expected)| *expected == Expected::Live);
            for (id, key, _) in live.filter(|(id, ..)| !ids.contains(id)) {
                tracing::info!(object = %key, group = id, "the sweep does not find the group");
                reconciler.metrics.drifted();
                reconciler.suspect(key, Expected::Live);
            }
            let woken = reconciler.places().counted(&app.scope(), total, Some(ids));
            reconciler.wake_all(woken);
            reconciler.swept.done(app, SystemTime::now());
            ended(reconciler, want, "success");
        }
        Ok(Listed::Counted { total }) => {
            let woken = reconciler.places().counted(&app.scope(), total, None);
            reconciler.wake_all(woken);
            if want.is_none() {
                // Fewer objects than pages: each is described instead, also what is recorded as gone, for it may be back.
                recorded.iter().for_each(|(_, key, expected)| reconciler.suspect(key, *expected));
                reconciler.swept.done(app, SystemTime::now());
                ended(reconciler, want, "success");
            }
        }
        Err(error) => {
            tracing::warn!(app = app.scope(), %error, "the sweep failed; settled objects stay as they are");
            ended(reconciler, want, "failure");
            let woken = reconciler.places().uncountable(&app.scope());
            reconciler.wake_all(woken);
        }
    }
    true
}

/// Counts a sweep; what somebody waits for is none.
fn ended(reconciler: &Reconciler, want: Option<Want>, result: &'static str) {
    if want.is_none() {
        reconciler.metrics.drift_checks.get_or_create(&DriftCheckLabels { result }).inc();
    }
}

enum Listed {
    Whole { total: u64, ids: HashSet<String> },
    Counted { total: u64 },
}

async fn list(
    reconciler: &Reconciler,
    account: &Account,
    app: &App,
    want: Option<Want>,
    interval: Duration,
    objects: usize,
) -> Result<Listed, CallError> {
    let data_center = reconciler.index().data_center_of(app);
    let mut ids = HashSet::new();
    let mut number = 1;
    loop {
        let of = ListPage {
            app_id: app.id.clone(),
            data_center: data_center.map(str::to_owned),
            status: GroupStatus::Existing,
            page_number: number,
            page_size: PAGE_SIZE,
        };
        let page = page(account, Call::ListByPage(of), want.is_some()).await?;
        let pages = page.total.div_ceil(u64::from(PAGE_SIZE));
        for group in &page.groups {
            let suspects = reconciler.index().contradicted_by(app, group);
            for (key, recorded) in &suspects {
                reconciler.metrics.drifted();
                reconciler.suspect(key, *recorded);
            }
            ids.insert(group.group_id.clone());
        }
        if u64::from(number) >= pages || page.groups.is_empty() {
            return Ok(Listed::Whole { total: page.total, ids });
        }
        let enough = match want {
            Some(want) => want == Want::Count,
            None => (objects as u64) < pages,
        };
        if enough && number == 1 {
            return Ok(Listed::Counted { total: page.total });
        }
        if want.is_none() {
            let pages = u32::try_from(pages).unwrap_or(u32::MAX);
            tokio::time::sleep((interval / 2 / pages).min(LONGEST_PAUSE)).await;
        }
        number += 1;
    }
}

async fn page(account: &Account, call: Call, urgent: bool) -> Result<GroupPage, CallError> {
    let mut tries = 0;
    loop {
        let turn = account.proof().turn().await;
        let permit = account.permit(Operation::ListByPage).await;
        let answer = account.send(&call, permit).await;
        // Nobody waits for a list that is only to be repeated.
        drop(turn);
        match answer {
            Ok(answer) => match answer.value {
                Reply::Page(page) => return Ok(page),
                other => tracing::error!(?other, "a list was answered by something else"),
            },
            Err(error) => {
                tries += 1;
                let passing = matches!(
                    error.class(),
                    ErrorClass::Throttled | ErrorClass::ServiceError | ErrorClass::Unreachable | ErrorClass::NonceUsed
                );
                if error.class() == ErrorClass::TryAgain && tries < TRIES {
                    continue;
                }
                // Somebody waits for it: the service itself will tell what is wrong, to the object.
                if urgent || !passing || tries == TRIES {
                    return Err(error);
                }
            }
        }
        tokio::time::sleep(Duration::from_secs(1) * 2_u32.pow(tries)).await;
    }
}

#[cfg(test)]
mod tests;
