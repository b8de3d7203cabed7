//! Patterns for the namespaces that may use the operator's own credentials.

use std::fmt;
use std::str::FromStr;

/// A pattern for namespace names, in which `*` matches any number of characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespacePattern(String);

/// The error for a string that is not a [`NamespacePattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("use the name of a namespace, or a pattern such as team-* (`*` matches any number of characters)")]
pub struct InvalidNamespacePattern;

impl FromStr for NamespacePattern {
    type Err = InvalidNamespacePattern;

    fn from_str(text: &str) -> Result<Self, InvalidNamespacePattern> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'*');
        let is_valid = (1..=63).contains(&text.len()) && text.bytes().all(fits);
        is_valid.then(|| Self(text.to_owned())).ok_or(InvalidNamespacePattern)
    }
}

impl NamespacePattern {
    /// Whether the pattern matches this namespace.
    pub fn matches(&self, namespace: &str) -> bool {
        let mut parts = self.0.split('*');
        let (first, last) = (parts.next().unwrap_or_default(), parts.next_back());
        let Some(last) = last else { return namespace == first };
        let Some(mut rest) = namespace.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else {
            return false;
        };
        for part in parts {
            let Some((_, after)) = rest.split_once(part) else { return false };
            rest = after;
        }
        true
    }
}

impl fmt::Display for NamespacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("*", "anything", true)]
    #[case("team-a", "team-a", true)]
    #[case("team-a", "team-ab", false)]
    #[case("team-*", "team-a", true)]
    #[case("team-*", "team-", true)]
    #[case("team-*", "my-team-a", false)]
    #[case("*-live", "shop-live", true)]
    #[case("*-live", "shop-live2", false)]
    #[case("a*a", "a", false)]
    #[case("a*a", "aa", true)]
    #[case("team-*-live-*", "team-a-live-b", true)]
    #[case("team-*-live-*", "team-a-b", false)]
    #[case("a*b*b", "ab", false)]
    #[case("**", "x", true)]
    fn star_stands_for_any_characters(#[case] pattern: &str, #[case] namespace: &str, #[case] expected: bool) {
        assert_eq!(pattern.parse::<NamespacePattern>().unwrap().matches(namespace), expected);
    }

    #[test]
    fn invalid_patterns_are_refused() {
        for text in ["", "Team", "a b", "a.b", "team-?", &"a".repeat(64)] {
            assert_eq!(text.parse::<NamespacePattern>(), Err(InvalidNamespacePattern), "{text:?}");
        }
    }
}
