//! The keys of objects, accounts, apps, budgets and circuit breakers, and the causes that block objects.
//!
//! This module imports no other module of the controller. Each kind of key has its own type, so that keys of different
//! kinds cannot be confused.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::api::ObjectMeta;

use crate::decide::FailureDomain;
pub use crate::decide::GroupKey;
use crate::live::{Operation, Service};
use crate::resources::{AccountRecord, LiveMessageGroup};

/// The namespace and the name of an object, stored as `namespace/name`. Clones share the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(Arc<str>);

impl ObjectKey {
    /// The key of an object; `None` if the metadata has no name or no namespace. The apiserver always sets both.
    pub fn of(metadata: &ObjectMeta) -> Option<Self> {
        let (namespace, name) = (metadata.namespace.as_deref()?, metadata.name.as_deref()?);
        Some(Self::new(namespace, name))
    }

    pub fn new(namespace: &str, name: &str) -> Self {
        Self(format!("{namespace}/{name}").into())
    }

    pub fn namespace(&self) -> &str {
        self.0.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(_, name)| name)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The account whose credentials a call uses.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AccountKey {
    /// The operator's own credentials.
    Operator,
    /// The credentials of this LiveAccount.
    LiveAccount(ObjectKey),
}

impl AccountKey {
    /// The metric label of the operator's own account. It never equals the label of a LiveAccount, which contains a
    /// slash.
    pub const OPERATOR_LABEL: &'static str = "operator";

    /// The account of `object`: the LiveAccount in `spec.accountRef`, or the operator's own account.
    pub fn of(object: &LiveMessageGroup) -> Self {
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        match &object.spec.account_ref {
            Some(account) => Self::LiveAccount(ObjectKey::new(namespace, &account.name)),
            None => Self::Operator,
        }
    }

    /// The account that the status of an object in `namespace` records.
    pub fn recorded(namespace: &str, record: &AccountRecord) -> Self {
        if record.name.is_empty() {
            return Self::Operator;
        }
        Self::LiveAccount(ObjectKey::new(namespace, &record.name))
    }

    /// The name of the LiveAccount; `None` for the operator's own credentials.
    pub fn live_account_name(&self) -> Option<&str> {
        match self {
            Self::Operator => None,
            Self::LiveAccount(key) => Some(key.name()),
        }
    }

    /// The value of the metric label `account`.
    pub fn label(&self) -> String {
        match self {
            Self::Operator => Self::OPERATOR_LABEL.to_owned(),
            Self::LiveAccount(key) => key.to_string(),
        }
    }
}

impl fmt::Display for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.write_str(Self::OPERATOR_LABEL),
            Self::LiveAccount(key) => key.fmt(f),
        }
    }
}

/// An app of one account. Permissions and usage are tracked per account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppKey {
    pub account: AccountKey,
    /// `spec.appId`.
    pub app_id: Arc<str>,
}

impl AppKey {
    pub fn new(account: &AccountKey, app_id: &str) -> Self {
        Self { account: account.clone(), app_id: app_id.into() }
    }
}

impl fmt::Display for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.account {
            AccountKey::Operator => f.write_str(&self.app_id),
            AccountKey::LiveAccount(key) => write!(f, "{key}/{}", self.app_id),
        }
    }
}

/// The key of a rate limit. The Live API limits the calls per account and operation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BudgetKey {
    pub account: AccountKey,
    pub operation: Operation,
}

/// The key of a circuit breaker: the kind of failure, and the account or app that it affects.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BreakerKey {
    /// The service rejects the credentials of an account, or has not accepted them yet.
    Credentials(AccountKey),
    /// The account does not have permission for an operation on an app.
    Permission(AppKey, Operation),
    /// The app does not exist in this data center. `None` means the app's own data center.
    App(AppKey, Option<Arc<str>>),
    /// The app has the maximum number of groups in this data center. `None` means the app's own data center.
    Quota(AppKey, Option<Arc<str>>),
}

impl BreakerKey {
    /// The circuit breaker for a failure in `domain` that affects this app. Only the domains `App` and `Quota` use
    /// `data_center`.
    pub fn new(domain: FailureDomain, app: AppKey, data_center: Option<&str>) -> Self {
        match domain {
            FailureDomain::Credentials => Self::Credentials(app.account),
            FailureDomain::Authorization(operation) => Self::Permission(app, operation),
            FailureDomain::App => Self::App(app, data_center.map(Arc::from)),
            FailureDomain::Quota => Self::Quota(app, data_center.map(Arc::from)),
        }
    }

    pub fn domain(&self) -> FailureDomain {
        match self {
            Self::Credentials(_) => FailureDomain::Credentials,
            Self::Permission(_, operation) => FailureDomain::Authorization(*operation),
            Self::App(..) => FailureDomain::App,
            Self::Quota(..) => FailureDomain::Quota,
        }
    }

    /// The account that the failed call used.
    pub fn account(&self) -> &AccountKey {
        match self {
            Self::Credentials(account) => account,
            Self::Permission(app, _) | Self::App(app, _) | Self::Quota(app, _) => &app.account,
        }
    }
}

/// A group at a service. Objects that reference the same group at the same service compete for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupAtService {
    /// The service of the object's account. If it is `None`, the service is unknown, and the object does not compete
    /// with other objects.
    pub service: Option<Service>,
    /// The group.
    pub group: GroupKey,
}

/// The reason why a blocked object cannot make its next call. If there are several, it is the first one found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// The account has no usable credentials.
    Account(AccountKey),
    /// Another object owns the group.
    Owner(Arc<GroupAtService>),
    /// A circuit breaker is open, and this object is not its probe.
    Breaker(BreakerKey),
    /// The usage of the app is not known, or the app is full.
    Quota(AppKey),
}

/// When to reconcile an object again after its reconcile pass ends or pauses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requeue {
    /// Nothing is left to do.
    Done,
    /// The object is reconciled again after this delay.
    After(Duration),
    /// The object waits for a permit of this budget.
    Permit(BudgetKey),
    /// The object waits until the cause ends and the scheduler unblocks the object, or until the deadline.
    Blocked {
        on: Cause,
        /// The time at which the object is reconciled even if the cause persists; `None` if there is no deadline.
        deadline: Option<Instant>,
    },
}

impl Requeue {
    /// A [`Requeue::Blocked`] without a deadline.
    pub fn blocked(on: Cause) -> Self {
        Self::Blocked { on, deadline: None }
    }
}
