//! Errors of calls, classified by the service's error code, or by the HTTP status if the code is unknown or absent.

use std::time::Duration;

/// The class of a failed call, which determines how the caller reacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// A parameter is invalid. The error is permanent until the parameter changes.
    InvalidInput,
    /// The app has the maximum number of groups (5,000).
    QuotaExceeded,
    /// The account lacks permission for this operation or for this app.
    NotAuthorized,
    /// The app or the group does not exist. The operation determines which one.
    NotFound,
    /// The service rejected the access key, its secret or its security token.
    CredentialsRejected,
    /// The time of the request differs from the service's clock by more than 15 minutes.
    ClockSkew,
    /// The nonce of the request was used before. The request can be sent again immediately, with a new nonce.
    NonceUsed,
    /// The rate limit is exceeded.
    Throttled,
    /// The service failed, or its response cannot be read.
    ServiceError,
    /// There was no response, because of a timeout, a refused or reset connection, or a TLS or DNS error.
    Unreachable,
    /// The service refused the call for an unknown reason.
    Rejected,
    /// No credentials are available to sign the call.
    CredentialsMissing,
    /// The service refused the call, and the client has corrected the cause. The call can be sent again immediately.
    Resent,
}

impl ErrorClass {
    /// Every class.
    pub const ALL: [Self; 13] = [
        Self::InvalidInput,
        Self::QuotaExceeded,
        Self::NotAuthorized,
        Self::NotFound,
        Self::CredentialsRejected,
        Self::ClockSkew,
        Self::NonceUsed,
        Self::Throttled,
        Self::ServiceError,
        Self::Unreachable,
        Self::Rejected,
        Self::CredentialsMissing,
        Self::Resent,
    ];

    /// Returns the name of the class, suitable for a metric label because the set of names is fixed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidInput => "InvalidInput",
            Self::QuotaExceeded => "QuotaExceeded",
            Self::NotAuthorized => "NotAuthorized",
            Self::NotFound => "NotFound",
            Self::CredentialsRejected => "CredentialsRejected",
            Self::ClockSkew => "ClockSkew",
            Self::NonceUsed => "NonceUsed",
            Self::Throttled => "Throttled",
            Self::ServiceError => "ServiceError",
            Self::Unreachable => "Unreachable",
            Self::Rejected => "Rejected",
            Self::CredentialsMissing => "CredentialsMissing",
            Self::Resent => "Resent",
        }
    }
}

/// A change that the client has made after a refusal, so that a retry can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryHint {
    /// The service did not find the parameters in the form body. They are now sent in the query.
    AsQuery,
    /// The credentials were rejected. Different ones were loaded.
    NewCredentials,
}

/// An error response or an unexpected response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The service's error code. `None` if the body does not contain an error code, for example because the body is
    /// empty, or because a proxy returned an error page.
    pub code: Option<String>,
    /// The service's message, or a description of an unexpected body.
    pub message: String,
    /// The request ID, for support tickets; `None` if the response contains no request ID.
    pub request_id: Option<String>,
    /// The delay that the service requests (`x-acs-retry-after`, or the older `x-ratelimit-user-api`), at most 60 s.
    pub retry_after: Option<Duration>,
    /// `false` if the body is empty, is malformed JSON, or was not read completely (for example, because it is too
    /// long). The error code is then unknown.
    pub body_complete: bool,
}

/// Whether a request that got no response may have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The connection was never established: the request cannot have arrived.
    NeverSent,
    /// The request may have arrived, or may still arrive.
    Unknown,
}

/// The failure of a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The service, or a proxy in its place, answered with an error or an unexpected response.
    #[error("{}", shown(.0))]
    Api(ApiError),
    /// There was no response.
    #[error("{message}")]
    Transport {
        /// Whether the request may have arrived.
        delivery: Delivery,
        /// The cause. Conditions show this message, so it contains no ports, times or other values that vary by call.
        message: String,
    },
    /// The service refused the request, and the client will send a retry in a different way: see [`RetryHint`].
    #[error("{}: {}", shown(.1), match .0 {
        RetryHint::AsQuery => "the operator now sends the parameters in the query instead of the request body",
        RetryHint::NewCredentials => "different credentials were loaded",
    })]
    Resent(RetryHint, ApiError),
    /// The request is too long to be sent. Nothing was sent.
    #[error("{0}")]
    Unsendable(String),
    /// No credentials are available. Nothing was sent. The message lists the providers that were tried.
    #[error("{0}")]
    NoCredentials(String),
}

impl ApiError {
    pub(super) fn broken(self) -> Self {
        Self { body_complete: false, ..self }
    }

    /// Returns the class of this error, determined by the error code, or by the HTTP status if the code is unknown or
    /// absent.
    pub fn class(&self) -> ErrorClass {
        match classify(self.status, self.code.as_deref()) {
            // The error code may be in the part of the body that is missing.
            ErrorClass::Rejected if !self.body_complete && self.status >= 400 => ErrorClass::ServiceError,
            class => class,
        }
    }

    /// Whether the service reports that a parameter is missing (`MissingAppId`, …).
    pub fn names_missing_parameter(&self) -> bool {
        self.code.as_deref().is_some_and(|code| code.starts_with("Missing")) && self.class() == ErrorClass::InvalidInput
    }
}

fn shown(error: &ApiError) -> String {
    match &error.code {
        Some(code) => format!("{code} (HTTP {}): {}", error.status, error.message),
        None => format!("HTTP {}: {}", error.status, error.message),
    }
}

impl CallError {
    /// Returns the class of this error, which determines how the caller reacts.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Api(error) => error.class(),
            Self::Transport { .. } => ErrorClass::Unreachable,
            Self::Resent(..) => ErrorClass::Resent,
            Self::Unsendable(_) => ErrorClass::InvalidInput,
            Self::NoCredentials(_) => ErrorClass::CredentialsMissing,
        }
    }

    /// Returns the request ID, or `None` if there was no response or the response contained no request ID.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Api(error) | Self::Resent(_, error) => error.request_id.as_deref(),
            Self::Transport { .. } | Self::Unsendable(_) | Self::NoCredentials(_) => None,
        }
    }

    /// Returns the HTTP status, or `None` if there was no response.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Api(error) | Self::Resent(_, error) => Some(error.status),
            Self::Transport { .. } | Self::Unsendable(_) | Self::NoCredentials(_) => None,
        }
    }

    /// Whether a request was sent and may have arrived. `false` means that the call had no effect.
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Self::Api(_) | Self::Resent(..) => true,
            Self::Transport { delivery, .. } => *delivery == Delivery::Unknown,
            Self::Unsendable(_) | Self::NoCredentials(_) => false,
        }
    }

    /// Whether the effect of the call is unknown, because the answer was lost or the service or a gateway failed. A
    /// gateway that reported a timeout can still deliver the call. A used nonce can mean that the request was delivered
    /// twice and that the first delivery had an effect.
    pub fn is_undecided(&self) -> bool {
        match self {
            Self::Api(error) => matches!(error.class(), ErrorClass::ServiceError | ErrorClass::NonceUsed),
            Self::Transport { delivery, .. } => *delivery == Delivery::Unknown,
            Self::Resent(..) | Self::Unsendable(_) | Self::NoCredentials(_) => false,
        }
    }

    /// Returns the service's error code, or a fixed word if there is no error code. The code can be any text. It can be
    /// used in logs, but metrics must use the [class](Self::class).
    pub fn code(&self) -> &str {
        match self {
            Self::Api(error) | Self::Resent(_, error) => error.code.as_deref().unwrap_or("NoCode"),
            Self::Transport { .. } => "Unreachable",
            Self::Unsendable(_) => "Unsendable",
            Self::NoCredentials(_) => "NoCredentials",
        }
    }
}

/// Classifies a refusal by its error code, or by its status if the code is unknown or absent. A 404 alone does not mean
/// that a group is missing.
pub fn classify(status: u16, code: Option<&str>) -> ErrorClass {
    if let Some(class) = code.and_then(classify_code) {
        return class;
    }
    match status {
        429 => ErrorClass::Throttled,
        200..=299 | 408 | 500.. => ErrorClass::ServiceError,
        _ => ErrorClass::Rejected,
    }
}

/// Returns the class of an error code, or `None` if the code is unknown.
pub(super) fn classify_code(code: &str) -> Option<ErrorClass> {
    const CREDENTIALS: [&str; 6] = [
        "SignatureDoesNotMatch",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidAccessKeySecret",
        "InvalidSecurityToken",
        "MissingSecurityToken",
    ];
    let is = |prefix: &str| code == prefix || code.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
    if code.contains("Throttling") {
        return Some(ErrorClass::Throttled);
    }
    if CREDENTIALS.iter().any(|prefix| is(prefix)) {
        return Some(ErrorClass::CredentialsRejected);
    }
    let class = match code {
        "ErrorTooManyGroups" => ErrorClass::QuotaExceeded,
        "ResourceNotExist" => ErrorClass::NotFound,
        "SignatureNonceUsed" => ErrorClass::NonceUsed,
        "ServerError" | "InternalError" | "ServiceUnavailable" => ErrorClass::ServiceError,
        _ if is("InvalidTimeStamp") => ErrorClass::ClockSkew,
        _ if is("NoAuth") || is("Forbidden") || is("NoPermission") => ErrorClass::NotAuthorized,
        _ if is("InputInvalid") || code.starts_with("Missing") || code.starts_with("InvalidParameter") => {
            ErrorClass::InvalidInput
        }
        _ => return None,
    };
    Some(class)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(400, Some("InputInvalid"), ErrorClass::InvalidInput)]
    #[case(400, Some("MissingAppId"), ErrorClass::InvalidInput)]
    #[case(400, Some("InvalidParameter.Format"), ErrorClass::InvalidInput)]
    #[case(400, Some("ErrorTooManyGroups"), ErrorClass::QuotaExceeded)]
    #[case(403, Some("NoAuth"), ErrorClass::NotAuthorized)]
    #[case(403, Some("Forbidden.RAM"), ErrorClass::NotAuthorized)]
    #[case(404, Some("ResourceNotExist"), ErrorClass::NotFound)]
    #[case(404, Some("InvalidApi.NotFound"), ErrorClass::Rejected)]
    #[case(404, None, ErrorClass::Rejected)]
    #[case(400, Some("SignatureDoesNotMatch"), ErrorClass::CredentialsRejected)]
    #[case(404, Some("InvalidAccessKeyId.NotFound"), ErrorClass::CredentialsRejected)]
    #[case(400, Some("InvalidSecurityToken.Expired"), ErrorClass::CredentialsRejected)]
    #[case(400, Some("InvalidTimeStamp.Expired"), ErrorClass::ClockSkew)]
    #[case(400, Some("SignatureNonceUsed"), ErrorClass::NonceUsed)]
    #[case(400, Some("Throttling.User"), ErrorClass::Throttled)]
    #[case(503, Some("Rejected.Throttling"), ErrorClass::Throttled)]
    #[case(429, None, ErrorClass::Throttled)]
    #[case(500, Some("ServerError"), ErrorClass::ServiceError)]
    #[case(502, None, ErrorClass::ServiceError)]
    #[case(200, None, ErrorClass::ServiceError)]
    #[case(418, Some("SomethingNew"), ErrorClass::Rejected)]
    #[case(408, None, ErrorClass::ServiceError)]
    #[case(400, Some("ServerError"), ErrorClass::ServiceError)]
    #[case(400, Some("InternalError"), ErrorClass::ServiceError)]
    #[case(400, Some("ServiceUnavailable"), ErrorClass::ServiceError)]
    #[case(403, Some("NoPermission"), ErrorClass::NotAuthorized)]
    #[case(599, Some("SomethingNew"), ErrorClass::ServiceError)]
    fn code_takes_precedence_over_status(#[case] status: u16, #[case] code: Option<&str>, #[case] class: ErrorClass) {
        assert_eq!(classify(status, code), class);
    }

    fn refused(code: Option<&str>) -> ApiError {
        let code = code.map(str::to_owned);
        ApiError { status: 400, code, message: String::new(), request_id: None, retry_after: None, body_complete: true }
    }

    #[test]
    fn missing_parameter_is_recognized_by_its_code() {
        for code in ["MissingAppId", "MissingParameter"] {
            assert!(refused(Some(code)).names_missing_parameter(), "{code}");
        }
        for code in [None, Some("InputInvalid"), Some("MissingSecurityToken"), Some("ServerError")] {
            assert!(!refused(code).names_missing_parameter(), "{code:?}");
        }
    }

    #[rstest]
    #[case(502, None, true, true)]
    #[case(503, None, true, true)]
    #[case(504, None, true, true)]
    #[case(500, Some("ServerError"), true, true)]
    #[case(400, Some("SignatureNonceUsed"), true, true)]
    #[case::truncated_success(200, None, false, true)]
    #[case::truncated_refusal(400, None, false, true)]
    #[case(400, Some("InputInvalid"), true, false)]
    #[case(503, Some("Throttling"), true, false)]
    #[case(403, None, true, false)]
    fn failure_of_a_gateway_decides_nothing(
        #[case] status: u16,
        #[case] code: Option<&str>,
        #[case] body_complete: bool,
        #[case] is_undecided: bool,
    ) {
        let error = CallError::Api(ApiError { status, body_complete, ..refused(code) });
        assert_eq!(error.is_undecided(), is_undecided);
    }

    #[test]
    fn only_a_sent_request_is_undecided_without_a_response() {
        for (delivery, is_undecided) in [(Delivery::NeverSent, false), (Delivery::Unknown, true)] {
            assert_eq!(CallError::Transport { delivery, message: String::new() }.is_undecided(), is_undecided);
        }
    }

    #[test]
    fn every_error_has_a_code_for_logs() {
        let transport = CallError::Transport { delivery: Delivery::Unknown, message: "time-out".into() };
        for (error, word) in [
            (CallError::Api(refused(Some("NoAuth"))), "NoAuth"),
            (CallError::Resent(RetryHint::AsQuery, refused(Some("MissingAppId"))), "MissingAppId"),
            (CallError::Api(refused(None)), "NoCode"),
            (transport, "Unreachable"),
            (CallError::Unsendable("long".into()), "Unsendable"),
            (CallError::NoCredentials("none".into()), "NoCredentials"),
        ] {
            assert_eq!(error.code(), word);
        }
    }
}
