//! The custom resources, their admission rules, their status, and the reasons of their conditions.
//!
//! The module defines the API that users write and read. It imports no other module of the crate. Its invariant:
//! admission bounds the size and the number of all values in a spec.

mod account;
mod condition;
mod crd;
mod group;
mod policy;
mod reason;
mod rules;
mod schema;
mod stored;
mod uid;

pub use account::{
    AccountCredentials, AccountQueue, LiveAccount, LiveAccountSpec, LiveAccountStatus, NameRef, OidcCredentials,
    account_of_arn,
};
pub use condition::{ConditionStatus, ConditionType, get_condition, remove_condition, set_condition};
pub use crd::{crd_files, crds, crds_yaml};
pub use group::{
    AccountRecord, CreateIntent, DataCenter, LastFailure, LiveMessageGroup, LiveMessageGroupSpec,
    LiveMessageGroupStatus, Origin,
};
pub use policy::{DeletedGroupPolicy, DeletionPolicy, ManagementPolicy};
pub use reason::{NextActor, ReadyEffect, Reason, UnknownReason};
pub use stored::{StoredGroup, UnreadableGroup, UsedMetadata};
pub use uid::Uid;

/// The API group of every resource of this operator.
pub const API_GROUP: &str = "live.alibabacloud.com";

/// The annotation that pauses an object. While its value is `"true"`, the operator makes calls for the object only if
/// the object is being deleted.
pub const PAUSED_ANNOTATION: &str = "live.alibabacloud.com/paused";

/// The annotation that abandons the group of an object. While its value is `"true"`, a deletion of the object retains
/// the group, and the finalizer is removed immediately.
pub const ABANDON_ANNOTATION: &str = "live.alibabacloud.com/abandon";

/// The field manager of the operator's writes.
pub const FIELD_MANAGER: &str = "live-message-operator";

/// The finalizer of objects whose deletion may delete their group.
pub const FINALIZER: &str = "live.alibabacloud.com/group";

/// The annotation that requests a reconcile pass. A value that differs from `status.lastHandledReconcileAt` forces one
/// reconcile pass. The value can be any text except the empty string. Users usually set it to the current time.
pub const RECONCILE_REQUESTED_AT_ANNOTATION: &str = "live.alibabacloud.com/reconcile-requested-at";
