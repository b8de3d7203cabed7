//! The uid of an object.

/// The `metadata.uid` of an object. The apiserver uses UUIDs. This type stores a UUID in 16 bytes, because its text
/// would take 36 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uid(Form);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    Uuid([u8; 16]),
    Other(Box<str>),
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        Self(uuid(text).map_or_else(|| Form::Other(text.into()), Form::Uuid))
    }
}

/// Returns the bytes of a UUID, or `None` if `text` does not have the usual form of a UUID (lower-case hex with
/// hyphens). Different texts therefore never result in the same bytes.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let is_usual = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    };
    if text.len() != 36 || !text.bytes().enumerate().all(is_usual) {
        return None;
    }
    let mut bytes = [0; 16];
    let mut rest = &mut bytes[..];
    // The UUID is parsed in parts, because removing the hyphens would allocate a string for each event.
    for part in text.split('-') {
        let (decoded, remaining) = rest.split_at_mut(part.len() / 2);
        hex::decode_to_slice(part, decoded).ok()?;
        rest = remaining;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_equal_and_ordered_like_their_texts() {
        let texts = [
            "",
            "0f2a9c3e-0b1d-4c58-9e7f-00000000000a",
            "6f2a9c3e-0b1d-4c58-9e7f-000000000001",
            "6f2a9c3e-0b1d-4c58-9e7f-000000000002",
            "a",
        ];
        for (one, left) in texts.iter().enumerate() {
            for (other, right) in texts.iter().enumerate() {
                assert_eq!(Uid::from(*left) == Uid::from(*right), one == other, "{left} {right}");
                if left.len() == right.len() {
                    assert_eq!(Uid::from(*left).cmp(&Uid::from(*right)), left.cmp(right), "{left} {right}");
                }
            }
        }
    }

    #[test]
    fn only_the_usual_form_of_a_uuid_is_shortened() {
        let usual = "6f2a9c3e-0b1d-4c58-9e7f-00000000000a";
        assert!(uuid(usual).is_some());
        for other in [&usual.to_uppercase(), &usual.replace('-', "0"), &usual[1..], "6f2a9c3e0b1d4c589e7f00000000000a"]
        {
            assert_eq!(uuid(other), None, "{other}");
        }
    }
}
