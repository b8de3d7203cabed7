use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

fn of<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_str(&value.to_string()).unwrap()
}

fn ids(value: Value) -> Vec<String> {
    of::<Ids>(value).0
}

#[test]
fn scalars_are_decoded_from_any_type() {
    for (value, expected) in [
        (json!(true), Some(true)),
        (json!("True"), Some(true)),
        (json!(" 1 "), Some(true)),
        (json!(1), Some(true)),
        (json!(false), Some(false)),
        (json!("FALSE"), Some(false)),
        (json!("0"), Some(false)),
        (json!(""), Some(false)),
        (json!(0), Some(false)),
        (json!("perhaps"), None),
        (json!([]), None),
    ] {
        assert_eq!(of::<Scalar>(value.clone()).boolean(), expected, "{value}");
    }
    for (value, expected) in [(json!(7), Some(7)), (json!(" 7 "), Some(7)), (json!("x"), None), (json!(true), None)] {
        assert_eq!(of::<Scalar>(value.clone()).integer(), expected, "{value}");
    }
    for (value, expected) in [
        (json!("x\u{e9}"), Some("x\u{e9}")),
        (json!(-7), Some("-7")),
        (json!(u64::MAX), Some("18446744073709551615")),
        (json!(1.5), Some("1.5")),
        (json!(true), Some("true")),
        (json!(null), None),
        (json!({"a": [1, {}]}), None),
    ] {
        assert_eq!(of::<Scalar>(value.clone()).text().as_deref(), expected, "{value}");
    }
}

#[test]
fn ids_are_decoded_in_any_nesting() {
    for list in [
        json!(["a", "b"]),
        json!([["a", "b"]]),
        json!(["[\"a\",\"b\"]"]),
        json!("a,b"),
        json!({"x": ["a", "b"]}),
        json!([{"x": "a"}, null, {"x": ["b"]}]),
    ] {
        assert_eq!(ids(list), ["a", "b"]);
    }
    for empty in [json!([]), json!(["[]"]), json!(""), json!(null), json!({})] {
        assert!(ids(empty).is_empty());
    }
}

#[test]
fn numeric_ids_are_decoded_in_any_nesting() {
    let digits = "12345678901234567890123";
    for list in [
        json!([1001, 1002]),
        json!([[1001, 1002]]),
        json!(["[1001,1002]"]),
        json!("[1001, 1002]"),
        json!({"x": [1001, "1002"]}),
    ] {
        assert_eq!(ids(list), ["1001", "1002"]);
    }
    assert_eq!(ids(json!([format!("[{digits}]")])), [digits]);
    assert_eq!(ids(json!(json!([json!(["1001", "1002"]).to_string()]).to_string())), ["1001", "1002"]);
    assert_eq!(ids(json!([-1, true, 0.5])), ["-1", "true", "0.5"]);
}

#[test]
fn number_of_ids_is_bounded() {
    assert_eq!(ids(json!("a,".repeat(MAX_IDS))).len(), MAX_IDS);
    assert!(serde_json::from_str::<Ids>(&json!("a,".repeat(MAX_IDS + 1)).to_string()).is_err());
    assert!(serde_json::from_str::<Ids>(&json!([["a,".repeat(MAX_IDS)], 1]).to_string()).is_err());
}

#[test]
fn first_of_several_spellings_counts() {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Body {
        code: Scalar,
    }
    for text in [r#"{"CODE":"a","x":[1],"code":"b","Code":{}}"#, r#"{"x":1,"X":2,"Code":"a"}"#] {
        let AnyCase(body) = serde_json::from_str::<AnyCase<Body>>(text).unwrap();
        assert_eq!(body.code.text().as_deref(), Some("a"), "{text}");
    }
    for text in ["[]", "1", "\"code\"", "null"] {
        assert!(serde_json::from_str::<AnyCase<Body>>(text).is_err(), "{text}");
    }
}
