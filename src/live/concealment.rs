//! Removes the responses of untrusted endpoints from the errors that are shown in conditions.

use super::error::{ApiError, CallError, Delivery, ErrorClass, classify_code};

/// The message for transport failures, service errors and unknown responses.
const NOT_UNDERSTOOD: &str = "the endpoint of the LiveAccount does not respond like the Live API: check \
                              spec.endpoint of the LiveAccount, or ask the administrator to look up the cause in the \
                              operator's log; the operator retries automatically";

/// The message for every other response that contains an error code of the Live API.
const REFUSED: &str =
    "the endpoint refused the call: ask the administrator to look up the response in the operator's log";

/// Removes the details of the response from an error. The error keeps its class if the response contains an error code
/// of the Live API. A transport failure, a service error and an unknown response all become the same error.
///
/// Conditions show errors. A user who can choose the endpoint could use the details to probe the operator's network.
pub fn conceal(error: CallError) -> CallError {
    let conceal_answer = |answer: ApiError, class| ApiError {
        code: Some(canonical_code(class).to_owned()),
        message: REFUSED.to_owned(),
        ..answer
    };
    match error {
        CallError::Transport { delivery, .. } => not_understood(delivery),
        CallError::Api(answer) => match answer.code.as_deref().and_then(classify_code) {
            None | Some(ErrorClass::ServiceError) => not_understood(Delivery::Unknown),
            Some(class) => CallError::Api(conceal_answer(answer, class)),
        },
        CallError::Resent(hint, answer) => {
            let class = answer.class();
            CallError::Resent(hint, conceal_answer(answer, class))
        }
        // The call was not sent, so the error contains no response.
        CallError::Unsendable(_) | CallError::NoCredentials(_) => error,
    }
}

fn not_understood(delivery: Delivery) -> CallError {
    CallError::Transport { delivery, message: NOT_UNDERSTOOD.to_owned() }
}

/// Returns a fixed error code for this class. The endpoint's own code is not shown, because the endpoint can append any
/// text to a known code.
fn canonical_code(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::InvalidInput => "InputInvalid",
        ErrorClass::QuotaExceeded => "ErrorTooManyGroups",
        ErrorClass::NotAuthorized => "NoAuth",
        ErrorClass::NotFound => "ResourceNotExist",
        ErrorClass::CredentialsRejected => "InvalidAccessKeyId",
        ErrorClass::ClockSkew => "InvalidTimeStamp",
        ErrorClass::NonceUsed => "SignatureNonceUsed",
        ErrorClass::Throttled => "Throttling",
        _ => "ServerError",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::error::RetryHint;

    fn answer(status: u16, code: Option<&str>) -> ApiError {
        ApiError {
            status,
            code: code.map(str::to_owned),
            message: "internal banner".into(),
            request_id: None,
            retry_after: None,
            body_complete: true,
        }
    }

    #[test]
    fn silence_and_foreign_answers_look_the_same() {
        let texts = ["connection refused", "time-out", "invalid certificate"];
        let silences = texts.map(|text| CallError::Transport { delivery: Delivery::Unknown, message: text.into() });
        let answers = [(404, None), (500, Some("ServerError")), (200, None), (429, None), (403, Some("PortalLogin"))];
        let answers = answers.map(|(status, code)| CallError::Api(answer(status, code)));
        let expected = CallError::Transport { delivery: Delivery::Unknown, message: NOT_UNDERSTOOD.into() };
        for error in silences.into_iter().chain(answers) {
            assert_eq!(conceal(error), expected);
        }
        let refused = CallError::Transport { delivery: Delivery::NeverSent, message: "connection refused".into() };
        assert_eq!(conceal(refused).to_string(), expected.to_string());
    }

    #[test]
    fn answer_of_the_api_keeps_its_class_alone() {
        for code in [
            "InputInvalid",
            "NoAuth",
            "Forbidden.banner",
            "ResourceNotExist",
            "InvalidAccessKeyId.banner",
            "ErrorTooManyGroups",
            "InvalidTimeStamp.banner",
            "SignatureNonceUsed",
            "Throttling.banner",
        ] {
            let error = CallError::Api(answer(400, Some(code)));
            let concealed = conceal(error.clone());
            assert_eq!(concealed.class(), error.class(), "{code}");
            assert!(!concealed.to_string().contains("banner") && !concealed.code().contains("banner"), "{concealed}");
        }
    }

    #[test]
    fn resent_call_keeps_its_hint_without_the_answer() {
        let error = CallError::Resent(RetryHint::NewCredentials, answer(403, Some("InvalidSecurityToken.banner")));
        let concealed = conceal(error);
        assert!(matches!(concealed, CallError::Resent(RetryHint::NewCredentials, _)));
        assert!(!concealed.to_string().contains("banner"), "{concealed}");
    }
}
