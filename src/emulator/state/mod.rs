//! The state of the Live API: apps and their groups. This module is pure: it performs no I/O and reads no clock, and
//! the caller passes the current time as an argument.

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

use super::error::ApiError;
use super::key::DEFAULT_ACCOUNT;
use super::operation::Operation;
use super::payload::Payload;
use super::request::Params;
use groups::Groups;

/// The time during which a deleted group can be recovered before it is purged: 30 days, as documented.
pub const RETENTION: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The default quota of live groups per app, as documented. Deleted groups do not count.
pub const GROUPS_PER_APP: usize = 5_000;

/// The data centers of the Live API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DataCenter {
    /// `cn-shanghai`, the default for an app.
    #[default]
    #[serde(rename = "cn-shanghai")]
    Shanghai,
    /// `ap-southeast-1`.
    #[serde(rename = "ap-southeast-1")]
    Singapore,
}

impl DataCenter {
    /// Returns the name that is used in requests and responses.
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
            .ok_or_else(|| "the data center must be cn-shanghai or ap-southeast-1".to_owned())
    }
}

/// The deletion of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deletion {
    /// `Deletatime`: when the group was deleted.
    pub at: Timestamp,
    /// `Deletor`: the `OperatorId` of the call, which can be empty.
    #[serde(default)]
    pub by: String,
}

/// A message group, live or deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Group {
    /// `GroupId`, 1 to 64 letters and digits.
    pub id: String,
    /// `GroupName`, at most 128 bytes; immutable.
    #[serde(default)]
    pub name: String,
    /// `GroupInfo`, at most 32,768 bytes.
    #[serde(default)]
    pub info: String,
    /// `CreatorId`; immutable.
    #[serde(default)]
    pub creator: String,
    /// `AdminList`, at most 3 user IDs.
    #[serde(default)]
    pub administrators: Vec<String>,
    /// `Createtime`; recovery does not change it.
    pub created: Timestamp,
    /// `None` for a live group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Deletion>,
}

impl Group {
    /// Creates a live group with empty optional fields.
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

/// An app: a container of message groups. The ID of a group is unique within its app.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct App {
    /// `AppId`, unique across accounts.
    pub id: String,
    /// The owning account; `None` if every account can use the app. Accounts other than the owning account cannot see
    /// the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// `AppName`, 2 to 16 characters or empty.
    #[serde(default)]
    pub name: String,
    /// The app's data center. A call that specifies another data center gets `ResourceNotExist`.
    #[serde(default)]
    pub data_center: DataCenter,
    /// `Disable`. Calls on the groups of a disabled app get `NoAuth`. The error is an assumption, because it is not
    /// documented.
    #[serde(default)]
    pub disabled: bool,
    /// `AuditType`: 0 for none, 1 for the built-in audit, 2 for an audit by the service at `audit_url`.
    #[serde(default)]
    pub audit_type: i64,
    /// `AuditUrl`, required for audit type 2.
    #[serde(default)]
    pub audit_url: String,
    /// `EventCallbackUrl`. The emulator stores it but sends no events.
    #[serde(default)]
    pub callback_url: String,
    /// `MsgLifeCycle`: 0 for 30 days, 1 for 90 days, 2 for 180 days.
    #[serde(default)]
    pub message_life_cycle: i64,
    /// `CreateTime`; immutable.
    pub created: Timestamp,
    /// `ModifyTime`: the time of the last change to the app's settings.
    pub modified: Timestamp,
    #[serde(default)]
    groups: Groups,
}

impl App {
    /// Creates an app with default settings that every account can see.
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

    /// Whether the keys of this account can see the app.
    pub fn is_visible_to(&self, account: &str) -> bool {
        self.account.as_deref().is_none_or(|owner| owner == account)
    }

    /// Returns the group with this ID, live or deleted, or `None` if the group does not exist or has been purged.
    pub fn group(&self, id: &str) -> Option<&Group> {
        self.groups.get(id)
    }

    /// Returns every group in the order of creation, including deleted groups.
    pub fn groups(&self) -> impl DoubleEndedIterator<Item = &Group> {
        self.groups.by_sequence.values()
    }

    /// Returns the number of live groups, which the quota limits.
    pub fn live_groups(&self) -> usize {
        self.groups.live_count()
    }

    /// Adds a group, or replaces the group with the same ID. This method bypasses the checks of the API, so tests can
    /// simulate an external change with it.
    pub fn put_group(&mut self, group: Group) {
        self.groups.put(group);
    }

    /// Removes a group completely, as the API does 30 days after its deletion.
    pub fn purge_group(&mut self, id: &str) -> Option<Group> {
        self.groups.remove(id)
    }
}

/// All apps and groups. Executes the operations of the Live API.
///
/// The JSON form is `{"apps": [{"id", "created", "modified", "groups": [{"id", "created", …}], …}]}`. Groups are in the
/// order of creation, and times are in RFC 3339 format. Absent fields have their default values.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "SavedState", into = "SavedState")]
pub struct State {
    apps: BTreeMap<String, App>,
    groups_per_app: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedState {
    apps: Vec<App>,
}

impl From<SavedState> for State {
    fn from(saved: SavedState) -> Self {
        let mut state = Self::default();
        saved.apps.into_iter().for_each(|app| state.put_app(app));
        state
    }
}

impl From<State> for SavedState {
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
    /// Creates a state that contains no apps. `limit` is the quota of live groups per app; 0 means no limit.
    pub fn with_groups_per_app(limit: usize) -> Self {
        let mut state = Self { apps: BTreeMap::new(), groups_per_app: 0 };
        state.set_groups_per_app(limit);
        state
    }

    /// Returns the quota of live groups per app; 0 means no limit.
    pub fn groups_per_app(&self) -> usize {
        if self.groups_per_app == usize::MAX { 0 } else { self.groups_per_app }
    }

    /// Changes the quota. An app above the quota keeps its groups.
    pub fn set_groups_per_app(&mut self, limit: usize) {
        self.groups_per_app = if limit == 0 { usize::MAX } else { limit };
    }

    /// Replaces all apps and groups with the apps and groups of another state. The quota does not change.
    pub fn replace_apps(&mut self, other: Self) {
        self.apps = other.apps;
    }

    /// Adds an app, or replaces the app with the same ID including its groups.
    pub fn put_app(&mut self, app: App) {
        self.apps.insert(app.id.clone(), app);
    }

    /// Returns the app with this ID, regardless of its account.
    pub fn app(&self, id: &str) -> Option<&App> {
        self.apps.get(id)
    }

    /// Returns mutable access to the app with this ID. Changes to the app bypass the checks of the API.
    pub fn app_mut(&mut self, id: &str) -> Option<&mut App> {
        self.apps.get_mut(id)
    }

    /// Returns every app, ordered by ID.
    pub fn apps(&self) -> impl Iterator<Item = &App> {
        self.apps.values()
    }

    /// Executes an operation for [`DEFAULT_ACCOUNT`].
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`Self::handle_for`].
    pub fn handle(&mut self, operation: Operation, params: &Params, now: Timestamp) -> Result<Payload, ApiError> {
        self.handle_for(DEFAULT_ACCOUNT, operation, params, now)
    }

    /// Executes an operation for an account.
    ///
    /// # Errors
    ///
    /// Returns an error of the Live API: `InputInvalid` (checked first), `ResourceNotExist`, `NoAuth` or
    /// `ErrorTooManyGroups`. Returns `InvalidApi.NotFound` for an operation of STS or of the metadata service.
    pub fn handle_for(
        &mut self,
        account: &str,
        operation: Operation,
        params: &Params,
        now: Timestamp,
    ) -> Result<Payload, ApiError> {
        let app = params.get("AppId").and_then(|id| self.apps.get(id));
        let requires_app = !matches!(operation, Operation::CreateApp | Operation::ListApps);
        if requires_app && app.is_some_and(|app| !app.is_visible_to(account)) {
            // Return the same errors as for an app that does not exist.
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

/// Converts a time to the format of the API: seconds since 1970, as documented for Describe and both list operations.
fn epoch_seconds(time: Timestamp) -> i64 {
    time.as_second()
}

#[cfg(test)]
mod tests;
