//! RFC 3986 percent-encoding, which both signature versions require.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

/// Everything except `A-Z a-z 0-9 - _ . ~` is encoded: a space becomes `%20`, and `*` becomes `%2A`. Hex digits are
/// upper case.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Percent-encodes one name or value.
pub fn percent_encode(text: &str) -> String {
    percent_encoded(text).collect()
}

/// Percent-encodes one name or value, as an iterator of string slices.
fn percent_encoded(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, UNRESERVED)
}

/// Returns the canonical query of `params`: `name=value` pairs, sorted by the bytes of the names and joined by `&`. A
/// parameter with an empty value is written as `name=`. Both queries and form bodies have this format.
pub fn canonical_query<K: AsRef<str>, V: AsRef<str>>(params: impl IntoIterator<Item = (K, V)>) -> String {
    let mut pairs: Vec<(K, V)> = params.into_iter().collect();
    pairs.sort_by(|a, b| (a.0.as_ref(), a.1.as_ref()).cmp(&(b.0.as_ref(), b.1.as_ref())));
    let mut out = String::new();
    for (name, value) in &pairs {
        if !out.is_empty() {
            out.push('&');
        }
        out.extend(percent_encoded(name.as_ref()));
        out.push('=');
        out.extend(percent_encoded(value.as_ref()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_unreserved_characters_are_encoded() {
        assert_eq!(percent_encode("aZ09-_.~"), "aZ09-_.~");
        assert_eq!(percent_encode(" *+/&=%"), "%20%2A%2B%2F%26%3D%25");
        assert_eq!(percent_encode("群"), "%E7%BE%A4");
    }

    #[test]
    fn query_is_sorted_and_keeps_empty_values() {
        assert_eq!(canonical_query([("b", "2"), ("a", "1 1"), ("c", "")]), "a=1%201&b=2&c=");
    }
}
