//! The rules about one object: a new one is one entry.

use serde_json::{Value, json};

/// A rule about one object.
pub struct Rule {
    /// The rule, for the output.
    pub name: &'static str,
    /// Part of the refusal; for a CEL rule, of its message in the CRD.
    pub says: &'static str,
    /// Specs that pass.
    pub accepted: Vec<Value>,
    /// Specs that do not.
    pub refused: Vec<Value>,
}

/// Every rule about one object.
pub fn rules() -> Vec<Rule> {
    let with = |field: &str, value: Value| json!({"appId": "demo", field: value});
    let all = |field: &str, values: &[Value]| values.iter().map(|v| with(field, v.clone())).collect::<Vec<_>>();
    let ids = [json!("A"), json!("x".repeat(64)), Value::Null];
    let no_ids = [json!(""), json!("a_b"), json!("a-b"), json!("群"), json!("a b")];
    vec![
        Rule {
            name: "appId is required",
            says: "spec.appId: Required value",
            accepted: vec![json!({"appId": "demo"})],
            refused: vec![json!({}), json!({"groupId": "a"})],
        },
        Rule {
            name: "appId is not empty",
            says: "spec.appId in body should be at least 1 chars long",
            accepted: vec![json!({"appId": "a"})],
            refused: vec![json!({"appId": ""})],
        },
        Rule {
            name: "appId has at most 64 characters",
            says: "spec.appId: Too long: may not be more than 64",
            accepted: vec![json!({"appId": "a".repeat(64)})],
            refused: vec![json!({"appId": "a".repeat(65)}), json!({"appId": "a".repeat(40_000)})],
        },
        Rule {
            name: "appId holds nothing that gets lost in a log or a path",
            says: "spec.appId must not hold spaces, control characters or slashes: copy the AppId",
            accepted: vec![json!({"appId": "0b7e-4_x.y:z@~+"}), json!({"appId": "应用"})],
            refused: [" a", "a b", "a\n", "a\u{a0}b", "a\u{200b}b", "a\u{7}b", "a/b", "a\\b"]
                .map(|id| json!({"appId": id}))
                .to_vec(),
        },
        Rule {
            name: "groupId is 1 to 64 letters and digits",
            says: "spec.groupId must be 1 to 64 letters and digits: remove",
            accepted: all("groupId", &ids),
            refused: all("groupId", &no_ids),
        },
        Rule {
            name: "groupId has at most 64 characters",
            says: "spec.groupId: Too long: may not be more than 64",
            accepted: all("groupId", &ids),
            refused: all("groupId", &[json!("a".repeat(65)), json!("a".repeat(40_000))]),
        },
        Rule {
            name: "dataCenter is one of two",
            says: r#"supported values: "cn-shanghai", "ap-southeast-1""#,
            accepted: all("dataCenter", &[json!("cn-shanghai"), json!("ap-southeast-1"), Value::Null]),
            refused: all("dataCenter", &[json!("cn-beijing"), json!("")]),
        },
        Rule {
            name: "groupName is 1 to 128 bytes",
            says: "spec.groupName must be 1 to 128 bytes of UTF-8",
            accepted: all("groupName", &[json!("a".repeat(128)), json!("群".repeat(42)), json!(" \"'\n"), Value::Null]),
            refused: all("groupName", &[json!(""), json!("群".repeat(43)), json!("😀".repeat(33))]),
        },
        Rule {
            name: "groupName has at most 128 characters",
            says: "spec.groupName: Too long: may not be more than 128",
            accepted: all("groupName", &[json!("a".repeat(128))]),
            refused: all("groupName", &[json!("a".repeat(129)), json!("a".repeat(40_000))]),
        },
        Rule {
            name: "creatorId is 1 to 64 letters and digits",
            says: "spec.creatorId must be 1 to 64 letters and digits: remove",
            accepted: all("creatorId", &ids),
            refused: all("creatorId", &no_ids),
        },
        Rule {
            name: "creatorId has at most 64 characters",
            says: "spec.creatorId: Too long: may not be more than 64",
            accepted: all("creatorId", &ids),
            refused: all("creatorId", &[json!("a".repeat(65))]),
        },
        Rule {
            name: "groupInfo is at most 32768 bytes",
            says: "spec.groupInfo must be at most 32768 bytes of UTF-8",
            accepted: all("groupInfo", &[json!("群".repeat(10_922)), json!(""), json!("{\"a\":\n1}"), Value::Null]),
            refused: all("groupInfo", &[json!("群".repeat(10_923)), json!("😀".repeat(32_768))]),
        },
        Rule {
            name: "groupInfo has at most 32768 characters",
            says: "spec.groupInfo: Too long: may not be more than 32768",
            accepted: all("groupInfo", &[json!("a".repeat(32_768))]),
            refused: all("groupInfo", &[json!("a".repeat(32_769))]),
        },
        Rule {
            name: "administrators are at most 3",
            says: "spec.administrators: Too many: 4: must have at most 3 items",
            accepted: all("administrators", &[json!(["c", "b", "a"]), json!([]), Value::Null]),
            refused: all("administrators", &[json!(["a", "b", "c", "d"])]),
        },
        Rule {
            name: "administrators are ids",
            says: "every id of spec.administrators must be 1 to 64 letters and digits",
            accepted: all("administrators", &[json!(["A1", "x".repeat(64)])]),
            refused: all("administrators", &[json!(["a", "b-c"]), json!(["a", ""]), json!(["群"])]),
        },
        Rule {
            name: "an administrator has at most 64 characters",
            says: "spec.administrators[0]: Too long: may not be more than 64",
            accepted: all("administrators", &[json!(["a".repeat(64)])]),
            refused: all("administrators", &[json!(["a".repeat(65)]), json!(["a".repeat(40_000)])]),
        },
        Rule {
            name: "administrators differ",
            says: "spec.administrators names an id twice: name each id once",
            accepted: all("administrators", &[json!(["a", "A", "b"])]),
            refused: all("administrators", &[json!(["a", "a"]), json!(["a", "b", "a"])]),
        },
    ]
}
