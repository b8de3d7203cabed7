//! A failed call: the reason users see, and when to try again.

use crate::live::{Call, CallError, ErrorClass, Operation};
use crate::resources::Reason;

/// When to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Not before the spec changes.
    Never,
    /// At once.
    AtOnce,
    /// After a delay that doubles with every failure, with jitter, up to a bound.
    Backoff,
    /// After minutes: nobody has told us what the refusal means.
    Slowly,
    /// When a probe has found the common cause gone.
    Behind(GateKind),
}

/// A cause that many objects share: one of them probes it, the others wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GateKind {
    /// The account's credentials.
    Credentials,
    /// The account's permission for this operation on this app.
    Authorization(Operation),
    /// The existence of the app.
    App,
    /// The app's free places.
    Quota,
}

/// Why a pass could not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The reason of the conditions.
    pub reason: Reason,
    /// Their message: what happened and what to do, without anything that changes from one pass to the next.
    pub message: String,
    /// When to try again.
    pub retry: Retry,
}

impl Failure {
    /// A failure of `call`.
    pub fn of(call: &Call, error: &CallError) -> Self {
        let class = error.class();
        let (reason, retry) = match class {
            ErrorClass::InvalidInput => (Reason::InvalidInput, Retry::Never),
            ErrorClass::QuotaExceeded => (Reason::QuotaExceeded, Retry::Behind(GateKind::Quota)),
            ErrorClass::NotAuthorized => {
                (Reason::NotAuthorized, Retry::Behind(GateKind::Authorization(call.operation())))
            }
            ErrorClass::NotFound => (Reason::AppNotFound, Retry::Behind(GateKind::App)),
            ErrorClass::CredentialsRejected => (Reason::CredentialsRejected, Retry::Behind(GateKind::Credentials)),
            ErrorClass::ClockSkew => (Reason::ClockSkew, Retry::AtOnce),
            // Nothing was sent, and the next step waits where their coming is noticed.
            ErrorClass::CredentialsMissing => (Reason::CredentialsMissing, Retry::AtOnce),
            ErrorClass::Resent | ErrorClass::NonceUsed => (Reason::ServiceError, Retry::AtOnce),
            ErrorClass::Throttled => (Reason::Throttled, Retry::AtOnce),
            ErrorClass::ServiceError => (Reason::ServiceError, Retry::Backoff),
            ErrorClass::Unreachable => (Reason::Unreachable, Retry::Backoff),
            ErrorClass::Rejected => (Reason::Rejected, Retry::Slowly),
        };
        Self { reason, message: message(call, error, class), retry }
    }

    /// The same failure, of a call that was made with somebody else's credentials than the operator's own.
    pub fn with_credentials_of(self, whose: &str) -> Self {
        Self { message: self.message.replace(OWN, whose), ..self }
    }

    /// Answers that cannot both be true.
    pub fn contradiction() -> Self {
        Self {
            reason: Reason::ServiceError,
            message: "the Live API contradicts itself about this group; the operator tries again".to_owned(),
            retry: Retry::Backoff,
        }
    }
}

/// How messages name the operator's own credentials.
const OWN: &str = "the operator's credentials";

fn message(call: &Call, error: &CallError, class: ErrorClass) -> String {
    let operation = call.operation();
    let code = error.code();
    let (app, data_center) = app_of(call);
    match class {
        // The service's own message holds the signed text, with a time and a nonce.
        ErrorClass::CredentialsRejected => {
            format!("Alibaba Cloud rejected {OWN} ({code}): renew the access key or its token")
        }
        ErrorClass::ClockSkew => {
            format!("the request's time was refused ({code}): the operator's clock and the service's differ")
        }
        ErrorClass::Throttled => format!("the Live API asked for fewer calls ({code})"),
        ErrorClass::NotFound => match data_center {
            None => format!("app {app:?} does not exist in this account: create it, or correct spec.appId"),
            Some(center) => format!(
                "app {app:?} does not exist in this account, or not in data center {center}: create it, or correct \
                 spec.appId or spec.dataCenter"
            ),
        },
        ErrorClass::QuotaExceeded => {
            format!("app {app:?} holds as many groups as it may ({code}): delete groups, or ask for a higher quota")
        }
        ErrorClass::NotAuthorized => {
            format!("{OWN} may not call live:{operation} for app {app:?} ({code}): grant it in RAM")
        }
        ErrorClass::InvalidInput => {
            format!("{operation} refuses a value of the spec, correct it: {}", without_request_id(error))
        }
        _ => format!("{operation}: {}", without_request_id(error)),
    }
}

/// The error as shown, its request id taken out: a message that changed with every try would be a write with every
/// try.
fn without_request_id(error: &CallError) -> String {
    let shown = error.to_string();
    match error.request_id().filter(|id| !id.is_empty()) {
        Some(id) => shown.replace(id, "…"),
        None => shown,
    }
}

/// The app a call names, and the data center where the spec does.
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
    fn an_app_that_is_not_there_is_told_by_what_the_spec_says_of_it() {
        let answer = ApiError {
            status: 404,
            code: Some("ResourceNotExist".into()),
            message: String::new(),
            request_id: None,
            retry_after: None,
            body_complete: true,
        };
        let told = |data_center: Option<&str>| {
            let data_center = data_center.map(str::to_owned);
            let call = Call::Describe(GroupRef { app_id: "demo".into(), group_id: "g".into(), data_center });
            Failure::of(&call, &CallError::Api(answer.clone())).message
        };
        let plain = "app \"demo\" does not exist in this account: create it, or correct spec.appId";
        assert_eq!(told(None), plain);
        assert!(
            told(Some("ap-southeast-1"))
                .contains("ap-southeast-1: create it, or correct spec.appId or spec.dataCenter")
        );
    }

    #[test]
    fn what_the_client_has_changed_is_tried_at_once_and_so_is_what_it_did_not_send() {
        let call = Call::Recover(GroupRef { app_id: "demo".into(), group_id: "g".into(), data_center: None });
        let answer = ApiError {
            status: 400,
            code: Some("MissingAppId".into()),
            message: String::new(),
            request_id: None,
            retry_after: None,
            body_complete: true,
        };
        for again in [RetryHint::AsQuery, RetryHint::NewCredentials] {
            assert_eq!(Failure::of(&call, &CallError::Resent(again, answer.clone())).retry, Retry::AtOnce);
        }
        let missing = Failure::of(&call, &CallError::NoCredentials("none".into()));
        assert_eq!((missing.reason, missing.retry), (Reason::CredentialsMissing, Retry::AtOnce));
        let unsendable = Failure::of(&call, &CallError::Unsendable("too long".into()));
        assert_eq!((unsendable.reason, unsendable.retry), (Reason::InvalidInput, Retry::Never));
        assert!(unsendable.message.contains("too long"));
    }
}
