//! Credentials from the official environment variables.

use super::{Credentials, CredentialsError};

const ID: &str = "ALIBABA_CLOUD_ACCESS_KEY_ID";
const SECRET: &str = "ALIBABA_CLOUD_ACCESS_KEY_SECRET";
const TOKEN: &str = "ALIBABA_CLOUD_SECURITY_TOKEN";

/// Reads `ALIBABA_CLOUD_ACCESS_KEY_ID`, `ALIBABA_CLOUD_ACCESS_KEY_SECRET` and, where set,
/// `ALIBABA_CLOUD_SECURITY_TOKEN` through `lookup`; an empty value counts as absent.
///
/// # Errors
/// [`CredentialsError::Missing`] when neither of the first two is set, [`CredentialsError::Incomplete`] when one is.
pub fn from_environment(lookup: impl Fn(&str) -> Option<String>) -> Result<Credentials, CredentialsError> {
    let value = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
    match (value(ID), value(SECRET)) {
        (Some(id), Some(secret)) => Ok(Credentials::new(&id, &secret, value(TOKEN).as_deref())),
        (None, None) => Err(CredentialsError::Missing),
        (None, Some(_)) => Err(CredentialsError::Incomplete(ID)),
        (Some(_), None) => Err(CredentialsError::Incomplete(SECRET)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<Credentials, CredentialsError> {
        from_environment(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn the_pair_is_enough_and_the_token_is_taken_along() {
        assert_eq!(from(&[(ID, "a"), (SECRET, "b")]).unwrap().security_token(), None);
        assert_eq!(from(&[(ID, "a"), (SECRET, "b"), (TOKEN, "t")]).unwrap().security_token(), Some("t"));
    }

    #[test]
    fn half_a_pair_names_the_missing_half() {
        assert_eq!(from(&[]).unwrap_err(), CredentialsError::Missing);
        assert_eq!(from(&[(ID, "a"), (SECRET, " ")]).unwrap_err(), CredentialsError::Incomplete(SECRET));
        assert_eq!(from(&[(SECRET, "b")]).unwrap_err(), CredentialsError::Incomplete(ID));
    }
}
