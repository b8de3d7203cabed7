//! Limits the size, the depth and the number of values of response bodies. The limits protect the operator from
//! endpoints that tenants specify in LiveAccounts.

use super::Operation;

/// The maximum nesting depth of a response.
pub(super) const MAX_DEPTH: usize = 32;

#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The maximum size in bytes, after decompression.
    pub bytes: usize,
    /// The maximum total number of objects, lists, strings and numbers.
    pub values: usize,
}

impl Limits {
    /// The limits for an error response or a response without content.
    pub(super) const ERROR: Self = Self { bytes: 64 * 1024, values: 1_000 };

    /// Returns the limits for the response to `operation`.
    pub(super) fn of(operation: Operation) -> Self {
        match operation {
            // A page contains up to 50 groups of 32 KB each. A character outside the BMP takes 4 bytes in UTF-8, but up
            // to 12 in JSON.
            Operation::ListByPage => Self { bytes: 8 * 1024 * 1024, values: 3_000 },
            Operation::Describe => Self { bytes: 256 * 1024, values: 1_000 },
            _ => Self::ERROR,
        }
    }
}

/// Whether JSON is nested at most [`MAX_DEPTH`] levels deep and has at most `values` values. An empty object or list
/// counts as two values. The check allocates no memory and does not detect malformed JSON.
pub(super) fn json_fits(bytes: &[u8], values: usize) -> bool {
    let (mut depth, mut count) = (0_usize, 1_usize);
    let (mut in_string, mut is_escaped) = (false, false);
    for byte in bytes {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                count += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' => count += 1,
            _ => {}
        }
        if depth > MAX_DEPTH || count > values {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_and_number_of_values_are_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(json_fits(nested(MAX_DEPTH).as_bytes(), 100));
        assert!(!json_fits(nested(MAX_DEPTH + 1).as_bytes(), 100));
        assert!(!json_fits(nested(1_000_000).as_bytes(), usize::MAX));
        assert!(json_fits(b"[1,2,3]", 4));
        assert!(!json_fits(b"[1,2,3]", 3));
        assert!(!json_fits(br#"{"a":{},"b":{}}"#, 2));
    }

    #[test]
    fn brackets_and_commas_in_strings_are_not_counted() {
        let text = format!(r#"{{"a":"{}\"[,{{","b":"\\"}}"#, "[,{".repeat(100));
        assert!(json_fits(text.as_bytes(), 3), "{text}");
        assert!(!json_fits(br#"["\\",[[1]]]"#, 4), "a string ends after an escaped backslash");
    }
}
