//! What can go wrong with a call, classified by the service's code first and by the HTTP status last.

use std::time::Duration;

/// The class of a failed call: what the caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// A parameter is refused: permanent until it changes.
    InvalidInput,
    /// The app holds as many groups as it may (5,000).
    QuotaExceeded,
    /// The account may not call this operation, or not for this app.
    NotAuthorized,
    /// The app or the group does not exist: which one depends on the operation.
    NotFound,
    /// The access key, its secret or its token is refused.
    CredentialsRejected,
    /// The request's time is more than 15 minutes off.
    ClockSkew,
    /// The request's nonce was seen before: to be sent again at once, with a new one.
    NonceUsed,
    /// Too many calls.
    Throttled,
    /// The service failed, or its answer cannot be read.
    ServiceError,
    /// No complete answer: time-out, connection refused or reset, TLS, DNS.
    Unreachable,
    /// Refused for a reason not known here.
    Rejected,
    /// There are no credentials to sign with.
    CredentialsMissing,
    /// To be sent again at once: the client has changed what the refusal was about.
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

    /// Its name: one of few words, whatever the service says.
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

/// What was changed after a refusal, so that the same call may go through the next time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryHint {
    /// The parameters were not found in the body: they travel in the query.
    AsQuery,
    /// The credentials were rejected, and others were loaded.
    NewCredentials,
}

/// An answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// The service's code; absent where the body has none (a proxy's page, an empty body).
    pub code: Option<String>,
    /// The service's message, or what is wrong with the body.
    pub message: String,
    /// For support tickets.
    pub request_id: Option<String>,
    /// How long the service asks to wait (`x-acs-retry-after`, or the older `x-ratelimit-user-api`).
    pub retry_after: Option<Duration>,
    /// Whether the body is one: it neither broke off nor was empty, too long, or no JSON in spite of its type. What the
    /// service said in another one is not known.
    pub body_complete: bool,
}

/// How a call without a complete answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The connection was never made: the request cannot have arrived.
    NeverSent,
    /// The request may have arrived, or may arrive yet.
    Unknown,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The service, or something in its place, answered.
    #[error("{}", shown(.0))]
    Api(ApiError),
    /// There was no complete answer.
    #[error("{message}")]
    Transport {
        /// Whether the request may have arrived.
        delivery: Delivery,
        /// What happened, without addresses of one moment (ports, times): it is shown in conditions.
        message: String,
    },
    /// The service refused the request, and the next one will be another: see [`RetryHint`].
    #[error("{}: {}", shown(.1), match .0 {
        RetryHint::AsQuery => "the parameters are sent in the query instead",
        RetryHint::NewCredentials => "other credentials were loaded",
    })]
    Resent(RetryHint, ApiError),
    /// The request cannot be put on the wire at all; nothing was sent.
    #[error("{0}")]
    Unsendable(String),
    /// There are no credentials; nothing was sent. The message names what was tried.
    #[error("{0}")]
    NoCredentials(String),
}

impl ApiError {
    /// The same, of a body that is none.
    pub(super) fn broken(self) -> Self {
        Self { body_complete: false, ..self }
    }

    /// The class.
    pub fn class(&self) -> ErrorClass {
        match classify(self.status, self.code.as_deref()) {
            // The code that would have told is lost.
            ErrorClass::Rejected if !self.body_complete && self.status >= 400 => ErrorClass::ServiceError,
            class => class,
        }
    }

    /// Whether the service did not find a parameter (`MissingAppId`, …).
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
    /// The class.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Api(error) => error.class(),
            Self::Transport { .. } => ErrorClass::Unreachable,
            Self::Resent(..) => ErrorClass::Resent,
            Self::Unsendable(_) => ErrorClass::InvalidInput,
            Self::NoCredentials(_) => ErrorClass::CredentialsMissing,
        }
    }

    /// The request's id, where the service told it.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Api(error) | Self::Resent(_, error) => error.request_id.as_deref(),
            Self::Transport { .. } | Self::Unsendable(_) | Self::NoCredentials(_) => None,
        }
    }

    /// Whether a request was put on the wire and may have arrived.
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Self::Api(_) | Self::Resent(..) => true,
            Self::Transport { delivery, .. } => *delivery == Delivery::Unknown,
            Self::Unsendable(_) | Self::NoCredentials(_) => false,
        }
    }

    /// The service's code, for logs. It may be any text: what is counted is the [class](Self::class).
    pub fn code(&self) -> &str {
        match self {
            Self::Api(error) | Self::Resent(_, error) => error.code.as_deref().unwrap_or("NoCode"),
            Self::Transport { .. } => "Unreachable",
            Self::Unsendable(_) => "Unsendable",
            Self::NoCredentials(_) => "NoCredentials",
        }
    }
}

/// Classifies a refusal: the code decides, the status only where the code is unknown or absent. A 404 alone does not
/// mean that a group is missing.
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

fn classify_code(code: &str) -> Option<ErrorClass> {
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
    fn the_code_decides_and_the_status_only_where_there_is_none(
        #[case] status: u16,
        #[case] code: Option<&str>,
        #[case] class: ErrorClass,
    ) {
        assert_eq!(classify(status, code), class);
    }

    fn refused(code: Option<&str>) -> ApiError {
        let code = code.map(str::to_owned);
        ApiError { status: 400, code, message: String::new(), request_id: None, retry_after: None, body_complete: true }
    }

    #[test]
    fn a_parameter_is_missing_where_the_code_names_one() {
        for code in ["MissingAppId", "MissingParameter"] {
            assert!(refused(Some(code)).names_missing_parameter(), "{code}");
        }
        for code in [None, Some("InputInvalid"), Some("MissingSecurityToken"), Some("ServerError")] {
            assert!(!refused(code).names_missing_parameter(), "{code:?}");
        }
    }

    #[test]
    fn a_log_names_every_failure_by_a_word() {
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
