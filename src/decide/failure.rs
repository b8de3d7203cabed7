//! The failure of a pass: the reason that users see, and when to retry.

use crate::live::{Call, CallError, ErrorClass, Operation};
use crate::resources::{LastFailure, LiveMessageGroup, Reason};

/// When to retry after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Not before the spec changes or a reconcile pass is requested.
    Never,
    /// Immediately.
    Immediate,
    /// After a delay with jitter. The delay doubles with every failure, up to a maximum.
    Backoff,
    /// After several minutes, because the Live API rejected the call with an unknown error.
    Slow,
    /// When the circuit breaker of this cause permits it.
    OnBreaker(FailureDomain),
}

/// A cause of failure that many objects share. Each cause has a circuit breaker: one object probes it while the others
/// wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureDomain {
    /// Alibaba Cloud rejects the account's credentials.
    Credentials,
    /// The account may not call this operation for the app.
    Authorization(Operation),
    /// The app does not exist.
    App,
    /// The app has reached its quota of groups.
    Quota,
}

impl FailureDomain {
    /// Returns the shared cause that the status of this object records, or `None` if it records no such cause.
    pub fn recorded_in(object: &LiveMessageGroup) -> Option<Self> {
        match object.ready_reason()? {
            Reason::CredentialsRejected => Some(Self::Credentials),
            Reason::NotAuthorized => {
                let operation = object.status.as_ref()?.last_failure.as_ref()?.operation.as_deref()?;
                Operation::ALL.into_iter().find(|known| known.as_str() == operation).map(Self::Authorization)
            }
            Reason::AppNotFound => Some(Self::App),
            Reason::QuotaExceeded => Some(Self::Quota),
            _ => None,
        }
    }
}

/// Why a pass failed, and when to retry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The reason of the conditions.
    pub reason: Reason,
    /// The message of the conditions: what happened and what to do. It is the same for every retry with the same
    /// result.
    pub message: String,
    /// When to retry.
    pub retry: Retry,
    /// The content of `status.lastFailure`: the error code, and the operation if the cause depends on it.
    pub record: LastFailure,
}

impl Failure {
    /// Converts the error of a call to a failure. The call used the credentials of the LiveAccount `account`, or the
    /// operator's own credentials if `account` is `None`.
    pub fn of(call: &Call, error: &CallError, account: Option<&str>) -> Self {
        let class = error.class();
        let (reason, retry) = match class {
            ErrorClass::InvalidInput => (Reason::InvalidInput, Retry::Never),
            ErrorClass::QuotaExceeded => (Reason::QuotaExceeded, Retry::OnBreaker(FailureDomain::Quota)),
            ErrorClass::NotAuthorized => {
                (Reason::NotAuthorized, Retry::OnBreaker(FailureDomain::Authorization(call.operation())))
            }
            ErrorClass::NotFound => (Reason::AppNotFound, Retry::OnBreaker(FailureDomain::App)),
            ErrorClass::CredentialsRejected => {
                (Reason::CredentialsRejected, Retry::OnBreaker(FailureDomain::Credentials))
            }
            ErrorClass::ClockSkew => (Reason::ClockSkew, Retry::Immediate),
            // Nothing was sent. The preflight of the retry blocks the object until the credentials exist.
            ErrorClass::CredentialsMissing => (Reason::CredentialsMissing, Retry::Immediate),
            ErrorClass::Resent | ErrorClass::NonceUsed => (Reason::ServiceError, Retry::Immediate),
            ErrorClass::Throttled => (Reason::Throttled, Retry::Immediate),
            ErrorClass::ServiceError => (Reason::ServiceError, Retry::Backoff),
            ErrorClass::Unreachable => (Reason::Unreachable, Retry::Backoff),
            ErrorClass::Rejected => (Reason::Rejected, Retry::Slow),
        };
        // A cause that does not depend on the operation is recorded without it. Otherwise objects that share the cause
        // would write different statuses.
        let is_shared = matches!(
            class,
            ErrorClass::CredentialsRejected
                | ErrorClass::NotFound
                | ErrorClass::QuotaExceeded
                | ErrorClass::Throttled
                | ErrorClass::ClockSkew
        );
        let operation = (!is_shared).then(|| call.operation().as_str());
        let record = LastFailure::new(operation, error.code());
        Self { reason, message: message(call, error, account), retry, record }
    }

    /// Returns the failure of a pass in which the answers of the Live API contradict each other.
    pub fn contradiction() -> Self {
        Self {
            reason: Reason::ServiceError,
            message:
                "The Live API returned inconsistent responses about the group. The operator retries automatically."
                    .to_owned(),
            retry: Retry::Backoff,
            record: LastFailure::new(None, "Contradiction"),
        }
    }
}

fn credentials_of(account: Option<&str>) -> String {
    account.map_or_else(
        || "the operator's credentials".to_owned(),
        |name| format!("the credentials of LiveAccount {name}"),
    )
}

fn message(call: &Call, error: &CallError, account: Option<&str>) -> String {
    let (operation, code, credentials) = (call.operation(), error.code(), credentials_of(account));
    let (app, data_center) = app_of(call);
    match error.class() {
        // The message of the service is omitted, because it contains the signed text, whose time and nonce differ for
        // every call.
        ErrorClass::CredentialsRejected => {
            format!("Alibaba Cloud rejected {credentials} ({code}). Renew the access key or its security token.")
        }
        ErrorClass::ClockSkew => {
            format!(
                "The clock of the operator differs from the clock of the Live API ({code}). The operator compensates \
                 for the difference and retries. If this persists, fix the time synchronization of the node."
            )
        }
        ErrorClass::Throttled => {
            format!("The Live API throttles the account ({code}). The operator slows down and retries automatically.")
        }
        ErrorClass::NotFound => match data_center {
            None => format!("App {app:?} does not exist in this account. Create it, or correct spec.appId."),
            Some(center) => format!(
                "App {app:?} does not exist in data center {center} of this account. Create it, or correct spec.appId \
                 or spec.dataCenter."
            ),
        },
        ErrorClass::QuotaExceeded => {
            format!(
                "App {app:?} has as many groups as its quota allows ({code}). Delete groups that are not needed, or \
                 request a higher quota from Alibaba Cloud."
            )
        }
        ErrorClass::NotAuthorized => {
            format!(
                "Alibaba Cloud does not allow {credentials} to call live:{operation} for app {app:?} ({code}). Grant \
                 the action in RAM."
            )
        }
        ErrorClass::InvalidInput => {
            format!("{operation} refused a value of the spec. Correct the spec: {}", without_request_id(error))
        }
        ErrorClass::Rejected => {
            format!(
                "{operation} was refused for a reason that the operator does not know. Correct the cause: {}",
                without_request_id(error)
            )
        }
        _ => format!("{operation} failed: {}", without_request_id(error)),
    }
}

/// Returns the text of the error without the request ID. If the text contained the ID, every retry would change the
/// message in the status.
fn without_request_id(error: &CallError) -> String {
    let shown = error.to_string();
    match error.request_id().filter(|id| !id.is_empty()) {
        Some(id) => shown.replace(id, "…"),
        None => shown,
    }
}

/// Returns the app and, if the call specifies one, the data center.
fn app_of(call: &Call) -> (&str, Option<&str>) {
    match call {
        Call::Create(group, _)
        | Call::Describe(group)
        | Call::Modify(group, _)
        | Call::Delete(group)
        | Call::Recover(group) => (&group.app_id, group.data_center.as_deref()),
        Call::ListByPage(page) => (&page.app_id, page.data_center.as_deref()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::GroupRef;
    use crate::live::error::{ApiError, RetryHint};

    #[test]
    fn missing_app_message_names_the_data_center_of_the_spec() {
        let answer = ApiError {
            status: 404,
            code: Some("ResourceNotExist".into()),
            message: String::new(),
            request_id: None,
            retry_after: None,
            body_complete: true,
        };
        let message_for = |data_center: Option<&str>| {
            let data_center = data_center.map(str::to_owned);
            let call = Call::Describe(GroupRef { app_id: "demo".into(), group_id: "g".into(), data_center });
            Failure::of(&call, &CallError::Api(answer.clone()), None).message
        };
        let plain = "App \"demo\" does not exist in this account. Create it, or correct spec.appId.";
        assert_eq!(message_for(None), plain);
        assert!(
            message_for(Some("ap-southeast-1"))
                .contains("ap-southeast-1 of this account. Create it, or correct spec.appId or spec.dataCenter.")
        );
    }

    #[test]
    fn resent_and_unsent_calls_are_retried_at_once() {
        let call = Call::Recover(GroupRef { app_id: "demo".into(), group_id: "g".into(), data_center: None });
        let answer = ApiError {
            status: 400,
            code: Some("MissingAppId".into()),
            message: String::new(),
            request_id: None,
            retry_after: None,
            body_complete: true,
        };
        for hint in [RetryHint::AsQuery, RetryHint::NewCredentials] {
            assert_eq!(Failure::of(&call, &CallError::Resent(hint, answer.clone()), None).retry, Retry::Immediate);
        }
        let missing = Failure::of(&call, &CallError::NoCredentials("none".into()), None);
        assert_eq!((missing.reason, missing.retry), (Reason::CredentialsMissing, Retry::Immediate));
        let unsendable = Failure::of(&call, &CallError::Unsendable("too long".into()), None);
        assert_eq!((unsendable.reason, unsendable.retry), (Reason::InvalidInput, Retry::Never));
        assert!(unsendable.message.contains("too long"));
    }
}
