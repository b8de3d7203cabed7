//! Keys: the identifiers of objects, accounts, apps, budgets, circuit breakers and causes of waiting.
//!
//! Imports nothing of the controller. Every key is a type of its own, so that keys of two kinds cannot be confused.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::api::ObjectMeta;

use crate::decide::FailureDomain;
pub use crate::decide::GroupKey;
use crate::live::Operation;
use crate::resources::LiveMessageGroup;

/// The namespace and the name of an object, as `namespace/name`. A clone copies a pointer.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(Arc<str>);

impl ObjectKey {
    /// The key of an object; `None` without a name or namespace, which an apiserver always returns.
    pub fn of(metadata: &ObjectMeta) -> Option<Self> {
        let (namespace, name) = (metadata.namespace.as_deref()?, metadata.name.as_deref()?);
        Some(Self::new(namespace, name))
    }

    /// The key of the object `name` in `namespace`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self(format!("{namespace}/{name}").into())
    }

    /// The namespace of the object.
    pub fn namespace(&self) -> &str {
        self.0.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// The name of the object within its namespace.
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
    /// The metric label of the operator's own account. The label of a LiveAccount contains a slash.
    pub const OPERATOR_LABEL: &'static str = "operator";

    /// The account that `object` names: a LiveAccount of its own namespace, or the operator's.
    pub fn of(object: &LiveMessageGroup) -> Self {
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        match &object.spec.account_ref {
            Some(account) => Self::LiveAccount(ObjectKey::new(namespace, &account.name)),
            None => Self::Operator,
        }
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

/// An app, as one account sees it: permissions and usage are recorded per account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppKey {
    /// The account.
    pub account: AccountKey,
    /// `spec.appId`.
    pub app_id: Arc<str>,
}

impl AppKey {
    /// The app `app_id` of `account`.
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

/// A rate limit: the Live API counts calls per account and operation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BudgetKey {
    /// The account.
    pub account: AccountKey,
    /// The operation.
    pub operation: Operation,
}

/// A circuit breaker: what failed, and for which account or app.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BreakerKey {
    /// The service rejects the credentials of an account, or has not accepted them yet.
    Credentials(AccountKey),
    /// The account lacks the permission for an operation on an app.
    Permission(AppKey, Operation),
    /// The app does not exist in this data center; `None` for the app's own data center.
    App(AppKey, Option<Arc<str>>),
    /// The service refused a group because the app holds the maximum number, in this data center; `None` for the app's
    /// own.
    Quota(AppKey, Option<Arc<str>>),
}

impl BreakerKey {
    /// The breaker of `domain` for an app of an account. Only the domains `App` and `Quota` use `data_center`.
    pub fn new(domain: FailureDomain, app: AppKey, data_center: Option<&str>) -> Self {
        match domain {
            FailureDomain::Credentials => Self::Credentials(app.account),
            FailureDomain::Authorization(operation) => Self::Permission(app, operation),
            FailureDomain::App => Self::App(app, data_center.map(Arc::from)),
            FailureDomain::Quota => Self::Quota(app, data_center.map(Arc::from)),
        }
    }

    /// The domain of the failure.
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

/// The first cause that prevents the next call of a blocked object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// The account has no usable credentials.
    Account(AccountKey),
    /// Another object owns the group.
    Owner(Arc<GroupKey>),
    /// A circuit breaker is open, and this object is not its probe.
    Breaker(BreakerKey),
    /// The usage of the app is not known, or the app is full.
    Quota(AppKey),
}

/// What happens to an object when its reconcile pass ends or pauses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requeue {
    /// Nothing is left to do.
    Done,
    /// The object is reconciled again after this delay.
    After(Duration),
    /// The object waits for a permit of this budget.
    Permit(BudgetKey),
    /// The object waits until the scheduler unblocks the cause, or until the deadline.
    Blocked {
        /// The cause.
        on: Cause,
        /// When it is reconciled again even if the cause persists; `None` to wait for the cause alone.
        deadline: Option<Instant>,
    },
}

impl Requeue {
    /// Blocked without a deadline.
    pub fn blocked(on: Cause) -> Self {
        Self::Blocked { on, deadline: None }
    }
}
