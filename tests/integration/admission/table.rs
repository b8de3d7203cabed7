//! The table of admission rules, with examples.

use serde_json::{Value, json};

/// An admission rule, with accepted and refused specs.
pub struct Rule {
    pub kind: &'static str,
    /// A description for the test output.
    pub name: &'static str,
    /// Part of the refusal message. For a CEL rule, it is the start of the rule's message in the CRD.
    pub says: &'static str,
    pub accepted: Vec<Value>,
    pub refused: Vec<Value>,
}

const GROUP: &str = "LiveMessageGroup";
const ACCOUNT: &str = "LiveAccount";

pub fn rules() -> Vec<Rule> {
    let mut rules = groups();
    rules.extend(accounts());
    rules
}

#[expect(clippy::too_many_lines, reason = "a table of rules")]
fn accounts() -> Vec<Rule> {
    let of = |credentials: Value| json!({"credentials": credentials});
    let secret = |name: &str| json!({"secretRef": {"name": name}});
    let with = |field: &str, value: Value| json!({"credentials": {"secretRef": {"name": "a"}}, field: value});
    let all = |field: &str, values: &[Value]| values.iter().map(|v| with(field, v.clone())).collect::<Vec<_>>();
    let oidc = |field: &str, value: Value| {
        let mut oidc = json!({
            "roleArn": "acs:ram::42:role/live", "oidcProviderArn": "acs:ram::42:oidc-provider/ack",
            "serviceAccountRef": {"name": "default"}
        });
        oidc[field] = value;
        of(json!({"oidc": oidc}))
    };
    let valid_oidc = || oidc("roleArn", json!("acs:ram::42:role/live"));
    let names = [json!({"name": "a"}), json!({"name": "a-b.c9"}), json!({"name": "x".repeat(253)})];
    let invalid_names = [json!({"name": "../b"}), json!({"name": "a/b"}), json!({"name": ".."}), json!({"name": "A"})];
    vec![
        Rule {
            kind: ACCOUNT,
            name: "credentials are required",
            says: "spec.credentials: Required value",
            accepted: vec![of(secret("a"))],
            refused: vec![json!({})],
        },
        Rule {
            kind: ACCOUNT,
            name: "credentials have exactly one source",
            says: "spec.credentials must have exactly one of secretRef and oidc",
            accepted: vec![of(secret("a")), valid_oidc()],
            refused: vec![of(json!({})), {
                let mut both = valid_oidc();
                both["credentials"]["secretRef"] = json!({"name": "a"});
                both
            }],
        },
        Rule {
            kind: ACCOUNT,
            name: "secretRef names a Secret",
            says: "spec.credentials.secretRef.name must be the name of a Secret in this namespace",
            accepted: names.iter().map(|name| of(json!({"secretRef": name}))).collect(),
            refused: invalid_names.iter().map(|name| of(json!({"secretRef": name}))).collect(),
        },
        Rule {
            kind: ACCOUNT,
            name: "secretRef cannot name another namespace",
            says: "unknown field \"spec.credentials.secretRef.namespace\"",
            accepted: vec![of(secret("a"))],
            refused: vec![of(json!({"secretRef": {"name": "a", "namespace": "kube-system"}}))],
        },
        Rule {
            kind: ACCOUNT,
            name: "serviceAccountRef names a ServiceAccount",
            says: "spec.credentials.oidc.serviceAccountRef.name must be the name of a ServiceAccount",
            accepted: names.iter().map(|name| oidc("serviceAccountRef", name.clone())).collect(),
            refused: invalid_names.iter().map(|name| oidc("serviceAccountRef", name.clone())).collect(),
        },
        Rule {
            kind: ACCOUNT,
            name: "roleArn is a RAM role",
            says: "spec.credentials.oidc.roleArn must be acs:ram::ACCOUNT_ID:role/NAME",
            accepted: vec![valid_oidc()],
            refused: ["role", "acs:ram::x:role/a", "acs:ram::1:user/a", "acs:ram::1:role/"]
                .map(|arn| oidc("roleArn", json!(arn)))
                .to_vec(),
        },
        Rule {
            kind: ACCOUNT,
            name: "oidcProviderArn is a RAM OIDC provider",
            says: "spec.credentials.oidc.oidcProviderArn must be acs:ram::ACCOUNT_ID:oidc-provider/NAME",
            accepted: vec![valid_oidc()],
            refused: vec![oidc("oidcProviderArn", json!("acs:ram::1:role/a"))],
        },
        Rule {
            kind: ACCOUNT,
            name: "accountId has only digits",
            says: "spec.accountId must be the ID of an Alibaba Cloud account (digits)",
            accepted: all("accountId", &[json!("1234567890123456"), Value::Null]),
            refused: all("accountId", &[json!(""), json!("12a"), json!("-1")]),
        },
        Rule {
            kind: ACCOUNT,
            name: "endpoint is a host",
            says: "spec.endpoint must be https://HOST[:PORT]",
            accepted: all(
                "endpoint",
                &[json!("live.aliyuncs.com"), json!("https://[::1]:8443/"), json!("http://emulator:8080"), Value::Null],
            ),
            refused: all("endpoint", &[json!(""), json!("https://a/b"), json!("https://u:p@a"), json!("ftp://a")]),
        },
        Rule {
            kind: ACCOUNT,
            name: "requestsPerSecond is 1 to 50",
            says: "spec.requestsPerSecond in body should be",
            accepted: all("requestsPerSecond", &[json!(1), json!(50), Value::Null]),
            refused: all("requestsPerSecond", &[json!(0), json!(51)]),
        },
    ]
}

#[expect(clippy::too_many_lines, reason = "a table of rules")]
fn groups() -> Vec<Rule> {
    let with = |field: &str, value: Value| json!({"appId": "demo", field: value});
    let all = |field: &str, values: &[Value]| values.iter().map(|v| with(field, v.clone())).collect::<Vec<_>>();
    let valid_ids = [json!("A"), json!("x".repeat(64)), Value::Null];
    let invalid_ids = [json!(""), json!("a_b"), json!("a-b"), json!("群"), json!("a b")];
    vec![
        Rule {
            kind: GROUP,
            name: "appId is required",
            says: "spec.appId: Required value",
            accepted: vec![json!({"appId": "demo"})],
            refused: vec![json!({}), json!({"groupId": "a"})],
        },
        Rule {
            kind: GROUP,
            name: "appId is not empty",
            says: "spec.appId must be an app ID without spaces, control characters or slashes. Copy the AppId",
            accepted: vec![json!({"appId": "a"})],
            refused: vec![json!({"appId": ""})],
        },
        Rule {
            kind: GROUP,
            name: "appId has at most 64 characters",
            says: "spec.appId: Too long: may not be more than 64",
            accepted: vec![json!({"appId": "a".repeat(64)})],
            refused: vec![json!({"appId": "a".repeat(65)}), json!({"appId": "a".repeat(40_000)})],
        },
        Rule {
            kind: GROUP,
            name: "appId has no spaces, control characters or slashes",
            says: "spec.appId must be an app ID without spaces, control characters or slashes. Copy the AppId",
            accepted: vec![json!({"appId": "0b7e-4_x.y:z@~+"}), json!({"appId": "应用"})],
            refused: [" a", "a b", "a\n", "a\u{a0}b", "a\u{200b}b", "a\u{7}b", "a/b", "a\\b"]
                .map(|id| json!({"appId": id}))
                .to_vec(),
        },
        Rule {
            kind: GROUP,
            name: "groupId is 1 to 64 letters and digits",
            says: "spec.groupId must be 1 to 64 letters and digits. Remove",
            accepted: all("groupId", &valid_ids),
            refused: all("groupId", &invalid_ids),
        },
        Rule {
            kind: GROUP,
            name: "groupId has at most 64 characters",
            says: "spec.groupId: Too long: may not be more than 64",
            accepted: all("groupId", &valid_ids),
            refused: all("groupId", &[json!("a".repeat(65)), json!("a".repeat(40_000))]),
        },
        Rule {
            kind: GROUP,
            name: "dataCenter is a supported one",
            says: r#"supported values: "cn-shanghai", "ap-southeast-1""#,
            accepted: all("dataCenter", &[json!("cn-shanghai"), json!("ap-southeast-1"), Value::Null]),
            refused: all("dataCenter", &[json!("cn-beijing"), json!("")]),
        },
        Rule {
            kind: GROUP,
            name: "groupName is 1 to 128 bytes",
            says: "spec.groupName must be 1 to 128 bytes of UTF-8",
            accepted: all("groupName", &[json!("a".repeat(128)), json!("群".repeat(42)), json!(" \"'\n"), Value::Null]),
            refused: all("groupName", &[json!(""), json!("群".repeat(43)), json!("😀".repeat(33))]),
        },
        Rule {
            kind: GROUP,
            name: "groupName has at most 128 characters",
            says: "spec.groupName: Too long: may not be more than 128",
            accepted: all("groupName", &[json!("a".repeat(128))]),
            refused: all("groupName", &[json!("a".repeat(129)), json!("a".repeat(40_000))]),
        },
        Rule {
            kind: GROUP,
            name: "creatorId is 1 to 64 letters and digits",
            says: "spec.creatorId must be 1 to 64 letters and digits. Remove",
            accepted: all("creatorId", &valid_ids),
            refused: all("creatorId", &invalid_ids),
        },
        Rule {
            kind: GROUP,
            name: "creatorId has at most 64 characters",
            says: "spec.creatorId: Too long: may not be more than 64",
            accepted: all("creatorId", &valid_ids),
            refused: all("creatorId", &[json!("a".repeat(65))]),
        },
        Rule {
            kind: GROUP,
            name: "groupInfo is at most 32768 bytes",
            says: "spec.groupInfo must be at most 32768 bytes of UTF-8",
            accepted: all("groupInfo", &[json!("群".repeat(10_922)), json!(""), json!("{\"a\":\n1}"), Value::Null]),
            refused: all("groupInfo", &[json!("群".repeat(10_923)), json!("😀".repeat(32_768))]),
        },
        Rule {
            kind: GROUP,
            name: "groupInfo has at most 32768 characters",
            says: "spec.groupInfo: Too long: may not be more than 32768",
            accepted: all("groupInfo", &[json!("a".repeat(32_768))]),
            refused: all("groupInfo", &[json!("a".repeat(32_769))]),
        },
        Rule {
            kind: GROUP,
            name: "administrators has at most 3 items",
            says: "spec.administrators: Too many: 4: must have at most 3 items",
            accepted: all("administrators", &[json!(["c", "b", "a"]), json!([]), Value::Null]),
            refused: all("administrators", &[json!(["a", "b", "c", "d"])]),
        },
        Rule {
            kind: GROUP,
            name: "administrators are IDs",
            says: "Each ID in spec.administrators must be 1 to 64 letters and digits",
            accepted: all("administrators", &[json!(["A1", "x".repeat(64)])]),
            refused: all("administrators", &[json!(["a", "b-c"]), json!(["a", ""]), json!(["群"])]),
        },
        Rule {
            kind: GROUP,
            name: "an administrator has at most 64 characters",
            says: "spec.administrators[0]: Too long: may not be more than 64",
            accepted: all("administrators", &[json!(["a".repeat(64)])]),
            refused: all("administrators", &[json!(["a".repeat(65)]), json!(["a".repeat(40_000)])]),
        },
        Rule {
            kind: GROUP,
            name: "administrators are unique",
            says: "spec.administrators contains an ID twice. List each ID once",
            accepted: all("administrators", &[json!(["a", "A", "b"])]),
            refused: all("administrators", &[json!(["a", "a"]), json!(["a", "b", "a"])]),
        },
        Rule {
            kind: GROUP,
            name: "accountRef names a LiveAccount",
            says: "spec.accountRef.name must be the name of a LiveAccount in this namespace",
            accepted: all("accountRef", &[json!({"name": "team-a"}), Value::Null]),
            refused: all("accountRef", &[json!({"name": "a/b"}), json!({"name": "Team"})]),
        },
    ]
}
