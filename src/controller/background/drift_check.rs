//! The drift check: one paged list per app finds external changes and counts the groups of the app.
//!
//! The check time of an app is derived from a hash of the app and the wall clock. No state is stored, and a restart
//! neither skips nor adds a check. If the list of an app contradicts the status of an object, the operator calls
//! `DescribeLiveMessageGroup` for the group of this object.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use crate::controller::accounts::Account;
use crate::controller::context::Context;
use crate::controller::keys::{AppKey, BudgetKey};
use crate::controller::pass::Explanation;
use crate::controller::scheduler::{Recorded, RecordedState, UsageQuery};
use crate::controller::supervisor::Supervisor;
use crate::decide::Failure;
use crate::live::operation::ListRequest;
use crate::live::response::GroupPage;
use crate::live::{Call, CallError, ErrorClass, Operation, Reply};
use crate::telemetry::metrics::DriftCheckLabels;

/// The number of groups per page: the maximum that the API returns (source: ListLiveMessageGroupByPage, `PageSize`).
const PAGE_SIZE: u32 = 50;

/// The maximum pause between two pages of one check.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The number of attempts to fetch a page before the list fails.
const TRIES: u32 = 3;

/// The maximum interval between two searches for new apps.
const APPS_INTERVAL: Duration = Duration::from_secs(30);

/// A list in progress: the app, and the usage request that the list serves (`None` for a scheduled check).
type Task = (AppKey, Option<UsageQuery>);

/// The time from `now` until the check of this app is due: more than zero and at most `interval`.
fn until_due(app: &AppKey, interval: Duration, now: SystemTime) -> Duration {
    let mut hasher = DefaultHasher::new();
    app.hash(&mut hasher);
    let interval = interval.as_millis().max(1);
    let phase = u128::from(hasher.finish()) % interval;
    let into = (millis(now) + interval - phase) % interval;
    Duration::from_millis(u64::try_from(interval - into).unwrap_or(u64::MAX))
}

/// Whether the check of this app became due after `after` and no later than `until`.
fn was_due(app: &AppKey, interval: Duration, after: SystemTime, until: SystemTime) -> bool {
    until_due(app, interval, after).as_millis() <= millis(until).saturating_sub(millis(after))
}

fn millis(moment: SystemTime) -> u128 {
    moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis()
}

/// Checks every app once per interval, and handles usage requests at once; never returns. A shutdown ends all checks.
pub async fn run(context: Arc<Context>, interval: Duration, supervisor: Supervisor) {
    let checks = DriftChecks { context, interval, supervisor, in_progress: Arc::default() };
    tokio::join!(checks.serve_requests(), checks.run_schedule());
}

struct DriftChecks {
    context: Arc<Context>,
    interval: Duration,
    supervisor: Supervisor,
    in_progress: Arc<Mutex<HashSet<Task>>>,
}

impl DriftChecks {
    /// Lists the app of each usage request immediately, so that objects do not wait for the scheduled check.
    async fn serve_requests(&self) {
        loop {
            let notified = self.context.scheduler.usage.notified();
            for (app, query) in self.context.scheduler.with(|scheduler, _| scheduler.usage_requests()) {
                self.start(app, Some(query));
            }
            notified.await;
        }
    }

    /// Starts each check that is due, even if several are due at the same time or this task is late.
    async fn run_schedule(&self) {
        let longest = APPS_INTERVAL.min(self.interval);
        let mut looked = SystemTime::now();
        loop {
            let apps = |context: &Context| -> Vec<AppKey> {
                context.scheduler.with(|scheduler, _| scheduler.apps().map(|(app, _)| app.clone()).collect())
            };
            let next = apps(&self.context).iter().map(|app| until_due(app, self.interval, looked)).min();
            tokio::time::sleep(next.map_or(longest, |next| next.min(longest))).await;
            let now = SystemTime::now();
            self.context.scheduler.with(|scheduler, _| scheduler.retain_apps(now));
            for app in apps(&self.context) {
                if was_due(&app, self.interval, looked, now) {
                    self.start(app, None);
                }
            }
            looked = now;
        }
    }

    fn start(&self, app: AppKey, query: Option<UsageQuery>) {
        let check = Check { context: Arc::clone(&self.context), app: app.clone(), query, interval: self.interval };
        let (context, stop) = (Arc::clone(&self.context), self.supervisor.stop.clone());
        start(&self.supervisor.tasks, &self.in_progress, (app, query), async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = check.run() => {}
            }
            // A new request may have arrived after the list ended.
            context.scheduler.usage.notify_one();
        });
    }
}

/// Runs `work` in the background, unless the same task is still in progress. A shutdown waits for `tasks`.
fn start(
    tasks: &TaskTracker,
    in_progress: &Arc<Mutex<HashSet<Task>>>,
    task: Task,
    work: impl Future<Output = ()> + Send + 'static,
) {
    if in_progress.lock().insert(task.clone()) {
        let guard = InProgressGuard { task, in_progress: Arc::clone(in_progress) };
        tasks.spawn(async move {
            let _guard = guard;
            work.await;
        });
    }
}

/// Marks a task as finished when it ends or panics, so that the app can be checked again.
struct InProgressGuard {
    task: Task,
    in_progress: Arc<Mutex<HashSet<Task>>>,
}

impl Drop for InProgressGuard {
    fn drop(&mut self) {
        self.in_progress.lock().remove(&self.task);
    }
}

/// One run that lists the groups of an app.
struct Check {
    context: Arc<Context>,
    app: AppKey,
    /// The usage request that the list serves; `None` for a scheduled check.
    query: Option<UsageQuery>,
    interval: Duration,
}

/// The groups of an app, or only their number if the app was not listed completely.
enum Listed {
    Complete { total: u64, ids: HashSet<Box<str>> },
    Counted { total: u64 },
}

/// The reason why a list ended early.
enum ListError {
    /// No call can be made with the account.
    NoCredentials,
    Call(CallError),
    /// The service lists more groups than an app can have.
    TooLong {
        max_groups: u64,
    },
}

/// The number of groups after which a list is aborted, so that an endpoint with endless pages cannot fill the memory.
/// It is twice the configured maximum, because the quota may have been raised.
fn max_listed(max_groups: u64) -> u64 {
    max_groups.saturating_mul(2)
}

/// Whether a list is longer than [`max_listed`] allows. `ids` IDs and `number` pages have been read so far.
fn is_too_long(ids: usize, number: u32, max_groups: u64) -> bool {
    let max = max_listed(max_groups);
    ids as u64 > max || u64::from(number) > max.div_ceil(u64::from(PAGE_SIZE)) + 1
}

impl Check {
    /// Lists the groups of the app. Starts again if the account is replaced while the pages are read.
    async fn run(&self) {
        while !self.try_run().await {}
    }

    /// Lists the app once. Returns `false` if the account was replaced while the pages were read, because the pages may
    /// then belong to different apps.
    async fn try_run(&self) -> bool {
        let (scheduler, app) = (&self.context.scheduler, &self.app);
        if self.query.is_none() && !scheduler.with(|scheduler, _| scheduler.is_worth_checking(app)) {
            scheduler.with(|scheduler, _| scheduler.drift_check_completed(app, SystemTime::now()));
            return true;
        }
        let account = self.context.accounts.find(&app.account, false).ok();
        let is_rejected = || scheduler.with(|scheduler, _| scheduler.credentials_failure(&app.account).is_some());
        // A scheduled check must not probe rejected credentials. Only a list for a usage request may do so.
        let is_skipped = self.query.is_none() && is_rejected();
        // The app is listed only if the namespace of at least one of its objects may use the account.
        let may_list = !is_skipped && scheduler.with(|scheduler, _| scheduler.has_permitted_object(app));
        let Some(account) = account.filter(|account| !account.source_removed() && may_list) else {
            self.count_result("skipped");
            scheduler.with(|scheduler, _| scheduler.usage_postponed(app));
            return true;
        };
        let recorded = scheduler.with(|scheduler, _| {
            scheduler.usage_query_begins(app);
            scheduler.recorded_in(app)
        });
        let listed = self.list(&account, recorded.len()).await;
        let is_replaced = self.context.accounts.find(&app.account, false).is_ok_and(|now| !Arc::ptr_eq(&now, &account));
        if !is_replaced {
            self.record(&recorded, listed);
        }
        scheduler.with(|scheduler, _| scheduler.usage_query_ends(app));
        !is_replaced
    }

    /// Records the result of a list.
    fn record(&self, recorded: &[Recorded], listed: Result<Listed, ListError>) {
        let (scheduler, app) = (&self.context.scheduler, &self.app);
        match listed {
            Ok(Listed::Complete { total, ids }) => {
                // A missing group is drift only if the status of its object records it as live.
                let live = recorded.iter().filter(|recorded| recorded.state == RecordedState::Live);
                for missing in live.filter(|recorded| !ids.contains(&*recorded.group_id)) {
                    let (object, group) = (&missing.object, &missing.group_id);
                    tracing::info!(%object, group, "the drift check did not find the group");
                    self.context.metrics.drifted();
                    scheduler.with(|scheduler, _| scheduler.mark_drift(&missing.object, RecordedState::Live));
                }
                scheduler.with(|scheduler, _| scheduler.usage_known(app, total, Some(ids)));
                self.completed();
            }
            Ok(Listed::Counted { total }) => {
                scheduler.with(|scheduler, _| scheduler.usage_known(app, total, None));
                if self.query.is_none() {
                    // The list has more pages than the app has objects, so one Describe call per object needs fewer
                    // calls, even though this includes groups that do not exist according to the status.
                    for recorded in recorded {
                        scheduler.with(|scheduler, _| scheduler.mark_drift(&recorded.object, recorded.state));
                    }
                    self.completed();
                }
            }
            Err(ListError::NoCredentials) => {
                self.count_result("skipped");
                scheduler.with(|scheduler, _| scheduler.usage_postponed(app));
            }
            Err(ListError::TooLong { max_groups }) => {
                let hint = "if Alibaba Cloud has raised the quota of the app, set --max-groups-per-app";
                tracing::warn!(
                    %app,
                    max_groups,
                    hint,
                    "the drift check was aborted because the app has too many groups; settled objects keep their status"
                );
                self.failed();
            }
            Err(ListError::Call(error)) => {
                tracing::warn!(app = %app, %error, "the drift check failed; settled objects keep their status");
                self.failed();
            }
        }
    }

    fn completed(&self) {
        self.context.scheduler.with(|scheduler, _| scheduler.drift_check_completed(&self.app, SystemTime::now()));
        self.count_result("success");
    }

    fn failed(&self) {
        self.context.scheduler.with(|scheduler, _| scheduler.usage_unavailable(&self.app));
        self.count_result("failure");
    }

    /// Counts the result of a scheduled check in the metrics.
    fn count_result(&self, result: &'static str) {
        if self.query.is_none() {
            self.context.metrics.drift_checks.get_or_create(&DriftCheckLabels { result }).inc();
        }
    }

    async fn list(&self, account: &Arc<Account>, objects: usize) -> Result<Listed, ListError> {
        let (data_center, max_groups) =
            self.context.scheduler.with(|scheduler, _| (scheduler.data_center_of(&self.app), scheduler.max_groups()));
        let mut ids = HashSet::new();
        let mut number = 1;
        loop {
            let request = ListRequest {
                app_id: self.app.app_id.to_string(),
                data_center: data_center.map(str::to_owned),
                page_number: number,
                page_size: PAGE_SIZE,
            };
            let GroupPage { groups, total } = self.fetch_page(account, &Call::ListByPage(request)).await?;
            let total = total.min(max_listed(max_groups).saturating_add(1));
            let pages = total.div_ceil(u64::from(PAGE_SIZE));
            for group in &groups {
                self.context.scheduler.with(|scheduler, _| {
                    for (key, recorded) in scheduler.contradicted_by(&self.app, group) {
                        self.context.metrics.drifted();
                        scheduler.mark_drift(&key, recorded);
                    }
                });
                ids.insert(group.group_id.as_str().into());
            }
            if u64::from(number) >= pages || groups.is_empty() {
                return Ok(Listed::Complete { total, ids });
            }
            // A page can take up several megabytes of memory, so it is dropped before the pause.
            drop(groups);
            if is_too_long(ids.len(), number, max_groups) {
                return Err(ListError::TooLong { max_groups });
            }
            let is_enough = match self.query {
                Some(query) => query == UsageQuery::Count,
                None => (objects as u64) < pages,
            };
            if is_enough && number == 1 {
                return Ok(Listed::Counted { total });
            }
            if self.query.is_none() {
                let pages = u32::try_from(pages).unwrap_or(u32::MAX);
                tokio::time::sleep((self.interval / 2 / pages).min(LONGEST_PAUSE)).await;
            }
            number += 1;
        }
    }

    async fn fetch_page(&self, account: &Arc<Account>, call: &Call) -> Result<GroupPage, ListError> {
        let mut tries = 0;
        loop {
            match self.send(account, call).await? {
                Ok(Reply::Page(page)) => return Ok(page),
                Ok(other) => tracing::error!(?other, "unexpected response to a list call"),
                Err(error) => {
                    tries += 1;
                    if error.class() == ErrorClass::Resent && tries < TRIES {
                        continue;
                    }
                    let is_passing = matches!(
                        error.class(),
                        ErrorClass::Throttled
                            | ErrorClass::ServiceError
                            | ErrorClass::Unreachable
                            | ErrorClass::NonceUsed
                    );
                    // A list for a usage request fails without a further delay, because objects wait for the list.
                    // These objects then make their own calls, which report the failure.
                    if self.query.is_some() || !is_passing || tries == TRIES {
                        return Err(ListError::Call(error));
                    }
                }
            }
            tokio::time::sleep(Duration::from_secs(1) * 2_u32.pow(tries)).await;
        }
    }

    /// Sends one list call. If another call is testing the credentials of the account, first waits for its result.
    async fn send(&self, account: &Arc<Account>, call: &Call) -> Result<Result<Reply, CallError>, ListError> {
        let (scheduler, app) = (&self.context.scheduler, &self.app);
        let permit = account.permit(Operation::ListByPage).await;
        let budget = BudgetKey { account: app.account.clone(), operation: Operation::ListByPage };
        let is_allowed = scheduler
            .wait_for(&budget, |scheduler, now| {
                let may_list = scheduler.may_list(app, now);
                (may_list || scheduler.credentials_failure(&app.account).is_some()).then_some(may_list)
            })
            .await;
        if !is_allowed {
            return Err(ListError::NoCredentials);
        }
        let sent = account.send(call, permit).await;
        if sent.is_rejected() {
            scheduler.with(|scheduler, now| scheduler.suspend_credentials_for_list(app, now));
        }
        let result = account.reload_if_rejected(sent).await;
        let class = result.as_ref().err().map(CallError::class);
        let rejected = result.as_ref().err().filter(|error| error.class() == ErrorClass::CredentialsRejected);
        let rejected = rejected.map(|error| {
            let Failure { reason, message, record, .. } = Failure::of(call, error, app.account.live_account_name());
            Explanation { reason, message, failure: Some(record) }
        });
        scheduler.with(|scheduler, now| scheduler.list_answered(app, class, rejected, now));
        match result {
            Err(CallError::NoCredentials(_)) => Err(ListError::NoCredentials),
            result => Ok(result.map(|answer| answer.value)),
        }
    }
}

#[cfg(test)]
mod tests;
