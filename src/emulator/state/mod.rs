//! The state behind the API: apps and their groups. Pure: no I/O, no clock; the time is an argument.

mod app;
mod check;
mod group;
mod groups;
mod list;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::error::ApiError;
use super::key::DEFAULT_ACCOUNT;
use super::operation::Operation;
use super::request::Params;
use groups::Groups;

/// How long a deleted group is kept and can be recovered: 30 days.
pub const RETENTION: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The default of [`State::with_groups_per_app`]: 5,000 live groups; deleted ones do not count.
pub const GROUPS_PER_APP: usize = 5_000;

/// The data centers that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DataCenter {
    /// `cn-shanghai`, the default of an app.
    #[default]
    #[serde(rename = "cn-shanghai")]
    Shanghai,
    /// `ap-southeast-1`.
    #[serde(rename = "ap-southeast-1")]
    Singapore,
}

impl DataCenter {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shanghai => "cn-shanghai",
            Self::Singapore => "ap-southeast-1",
        }
    }
}

impl fmt::Display for DataCenter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DataCenter {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        [Self::Shanghai, Self::Singapore]
            .into_iter()
            .find(|center| center.name() == name)
            .ok_or_else(|| "a data center is cn-shanghai or ap-southeast-1".to_owned())
    }
}

/// When and by whom a group was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deletion {
    /// `Deletatime`.
    pub at: Timestamp,
    /// `Deletor`: the `OperatorId` of the call, empty when it had none.
    #[serde(default)]
    pub by: String,
}

/// A message group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Group {
    /// `GroupId`.
    pub id: String,
    /// `GroupName`, at most 128 bytes; never changes.
    #[serde(default)]
    pub name: String,
    /// `GroupInfo`, at most 32,768 bytes.
    #[serde(default)]
    pub info: String,
    /// `CreatorId`; never changes.
    #[serde(default)]
    pub creator: String,
    /// `AdminList`, at most 3.
    #[serde(default)]
    pub administrators: Vec<String>,
    /// `Createtime`; recovery does not change it.
    pub created: Timestamp,
    /// `None` while the group lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Deletion>,
}

impl Group {
    /// A live group with nothing but an id.
    pub fn new(id: impl Into<String>, created: Timestamp) -> Self {
        Self {
            id: id.into(),
            name: String::new(),
            info: String::new(),
            creator: String::new(),
            administrators: Vec::new(),
            created,
            deleted: None,
        }
    }
}

/// An app, the namespace of groups.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct App {
    /// `AppId`.
    pub id: String,
    /// The account it belongs to. It does not exist for the keys of another; `None`: it exists for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// `AppName`.
    #[serde(default)]
    pub name: String,
    /// Where the app lives; a call that names another data center does not find it.
    #[serde(default)]
    pub data_center: DataCenter,
    /// `Disable`. Calls on the groups of a disabled app are refused with `NoAuth` (an assumption: the documents do not
    /// say what a disabled app answers).
    #[serde(default)]
    pub disabled: bool,
    /// `AuditType`: 0 none, 1 built in, 2 by `audit_url`.
    #[serde(default)]
    pub audit_type: i64,
    /// `AuditUrl`.
    #[serde(default)]
    pub audit_url: String,
    /// `EventCallbackUrl`.
    #[serde(default)]
    pub callback_url: String,
    /// `MsgLifeCycle`: 0, 1, 2 for 30, 90, 180 days.
    #[serde(default)]
    pub message_life_cycle: i64,
    /// `CreateTime`.
    pub created: Timestamp,
    /// `ModifyTime`.
    pub modified: Timestamp,
    #[serde(default)]
    groups: Groups,
}

impl App {
    /// An app as `--app` makes it.
    pub fn new(id: impl Into<String>, data_center: DataCenter, now: Timestamp) -> Self {
        Self {
            id: id.into(),
            account: None,
            name: String::new(),
            data_center,
            disabled: false,
            audit_type: 0,
            audit_url: String::new(),
            callback_url: String::new(),
            message_life_cycle: 0,
            created: now,
            modified: now,
            groups: Groups::default(),
        }
    }

    /// Whether it exists for the keys of this account.
    pub fn is_visible_to(&self, account: &str) -> bool {
        self.account.as_deref().is_none_or(|owner| owner == account)
    }

    /// A group, live or deleted and not yet purged.
    pub fn group(&self, id: &str) -> Option<&Group> {
        self.groups.get(id)
    }

    /// Every group in the order of creation, deleted ones included.
    pub fn groups(&self) -> impl DoubleEndedIterator<Item = &Group> {
        self.groups.by_number.values()
    }

    /// How many groups live: what the quota counts.
    pub fn live_groups(&self) -> usize {
        self.groups.live()
    }

    /// Puts a group in place, new or instead of the one with its id: what someone else did behind a client's back.
    pub fn put_group(&mut self, group: Group) {
        self.groups.put(group);
    }

    /// Takes a group away without a trace, as the API does 30 days after a deletion.
    pub fn purge_group(&mut self, id: &str) -> Option<Group> {
        self.groups.remove(id)
    }
}

/// Every app and every group, and the operations on them.
///
/// Saved as JSON it is `{"apps": [{"id", "created", "modified", "groups": [{"id", "created", …}], …}]}` with the groups
/// in the order of creation and times as RFC 3339; what a field leaves out has its default.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub struct State {
    apps: BTreeMap<String, App>,
    groups_per_app: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    apps: Vec<App>,
}

impl From<Saved> for State {
    fn from(saved: Saved) -> Self {
        let mut state = Self::default();
        saved.apps.into_iter().for_each(|app| state.put_app(app));
        state
    }
}

impl From<State> for Saved {
    fn from(state: State) -> Self {
        Self { apps: state.apps.into_values().collect() }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::with_groups_per_app(GROUPS_PER_APP)
    }
}

impl State {
    /// No app yet; `limit` live groups in each, 0 means no limit.
    pub fn with_groups_per_app(limit: usize) -> Self {
        let mut state = Self { apps: BTreeMap::new(), groups_per_app: 0 };
        state.set_groups_per_app(limit);
        state
    }

    /// How many live groups an app may have; 0 means no limit.
    pub fn groups_per_app(&self) -> usize {
        if self.groups_per_app == usize::MAX { 0 } else { self.groups_per_app }
    }

    /// Changes the limit; an app that has more groups keeps them.
    pub fn set_groups_per_app(&mut self, limit: usize) {
        self.groups_per_app = if limit == 0 { usize::MAX } else { limit };
    }

    /// Takes the apps and groups of another state; the limit stays.
    pub fn replace_apps(&mut self, other: Self) {
        self.apps = other.apps;
    }

    /// Adds an app, or replaces the one with its id and all its groups.
    pub fn put_app(&mut self, app: App) {
        self.apps.insert(app.id.clone(), app);
    }

    /// An app.
    pub fn app(&self, id: &str) -> Option<&App> {
        self.apps.get(id)
    }

    /// An app, to change it behind a client's back.
    pub fn app_mut(&mut self, id: &str) -> Option<&mut App> {
        self.apps.get_mut(id)
    }

    /// Every app, by id.
    pub fn apps(&self) -> impl Iterator<Item = &App> {
        self.apps.values()
    }

    /// Carries out one operation, called with a key of [`DEFAULT_ACCOUNT`].
    ///
    /// # Errors
    ///
    /// As [`Self::handle_for`].
    pub fn handle(&mut self, operation: Operation, params: &Params, now: Timestamp) -> Result<Answer, ApiError> {
        self.handle_for(DEFAULT_ACCOUNT, operation, params, now)
    }

    /// Carries out one operation for an account.
    ///
    /// # Errors
    ///
    /// The product's own errors: `InputInvalid` (checked first), `ResourceNotExist`, `NoAuth`, `ErrorTooManyGroups`.
    /// `InvalidApi.NotFound` for an operation of another product.
    pub fn handle_for(
        &mut self,
        account: &str,
        operation: Operation,
        params: &Params,
        now: Timestamp,
    ) -> Result<Answer, ApiError> {
        let named = params.get("AppId").and_then(|id| self.apps.get(id));
        let names_one = !matches!(operation, Operation::CreateApp | Operation::ListApps);
        if names_one && named.is_some_and(|app| !app.is_visible_to(account)) {
            // What belongs to others is answered as what does not exist.
            return Self::default().handle_for(account, operation, params, now);
        }
        match operation {
            Operation::CreateGroup => self.create_group(params, now),
            Operation::DescribeGroup => self.describe_group(params, now),
            Operation::ModifyGroup => self.modify_group(params, now),
            Operation::DeleteGroup => self.delete_group(params, now),
            Operation::RecoverGroup => self.recover_group(params, now),
            Operation::ListGroupsByPage => self.list_groups_by_page(params, now),
            Operation::ListGroups => self.list_groups(params, now),
            Operation::CreateApp => self.create_app(account, params, now),
            Operation::DescribeApp => self.describe_app(params),
            Operation::ListApps => self.list_apps(account, params),
            Operation::ModifyAppAudit => self.modify_app_audit(params, now),
            Operation::ModifyAppCallback => self.modify_app_callback(params, now),
            Operation::ModifyAppDisable => self.modify_app_disable(params, now),
            Operation::AssumeRole | Operation::AssumeRoleWithOidc | Operation::EcsMetadata => {
                Err(ApiError::api_not_found())
            }
        }
    }
}

/// A time as the API writes it: seconds since 1970 (the documents of Describe and of both lists give the unit).
fn epoch(time: Timestamp) -> i64 {
    time.as_second()
}

#[cfg(test)]
mod tests;
