//! Tests the admission rules of the CRDs on a real apiserver: the accepted and refused objects, and the refusal
//! messages. `cargo test --test integration admission -- --show-output` prints each refusal.
//!
//! Add an entry to [`table`] for each new rule. A CRD rule without an entry fails a test.

mod table;

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use live_message_operator::resources::crds;
use serde_json::{Value, json};

use table::rules;

use crate::support::{ControlPlane, Result, shared_control_plane, wait_for};

/// The maximum size of a refusal message. It must fit on a screen, even if the refused value is 32 KB long.
const REFUSAL_MAX_BYTES: usize = 1_500;

#[test]
fn every_rule_accepts_and_refuses_its_examples() -> Result<()> {
    let test = Test::new()?;
    let create = ["create", "--dry-run=server", "--output=name", "--filename=-"];
    for rule in rules() {
        for spec in &rule.accepted {
            test.run(&create, &object(rule.kind, "room", spec)).inspect_err(|_| eprintln!("rule: {}", rule.name))?;
        }
        for spec in &rule.refused {
            test.refused(rule.name, &create, &object(rule.kind, "room", spec), &[rule.says])?;
        }
    }
    Ok(())
}

#[test]
fn name_that_is_not_a_group_id_requires_group_id() -> Result<()> {
    let test = Test::new()?;
    let create = ["create", "--dry-run=server", "--output=name", "--filename=-"];
    let long = "a".repeat(64);
    for (name, spec) in [
        ("room1", json!({"appId": "demo"})),
        (&long, json!({"appId": "demo"})),
        ("room-1", json!({"appId": "demo", "groupId": "room1"})),
        ("room.1", json!({"appId": "demo", "groupId": "room1"})),
    ] {
        test.run(&create, &group(name, &spec))?;
    }
    let longer = "a".repeat(65);
    for name in ["room-1", "room.1", &longer] {
        for spec in [json!({"appId": "demo"}), json!({"appId": "demo", "groupId": null})] {
            test.refused("name is a group ID", &create, &group(name, &spec), &[INVALID_NAME])?;
        }
    }
    Ok(())
}

const INVALID_NAME: &str =
    "metadata.name is not a valid group ID (1 to 64 letters and digits). Set spec.groupId, or rename";

/// The immutable fields, each with its name, a value and a different value.
const IMMUTABLE_FIELDS: [(&str, &str, &str); 5] = [
    ("appId", "demo", "demo2"),
    ("groupId", "room1", "room2"),
    ("dataCenter", "cn-shanghai", "ap-southeast-1"),
    ("groupName", "Room", "Hall"),
    ("creatorId", "user1", "user2"),
];

fn immutable_refusal(field: &str) -> String {
    format!("spec.{field} is immutable while the group may exist. Restore the previous value")
}

#[test]
fn immutable_fields_cannot_be_changed_added_or_removed() -> Result<()> {
    let test = Test::new()?;
    let full: Value = IMMUTABLE_FIELDS.iter().map(|(field, value, _)| ((*field).to_owned(), json!(value))).collect();
    test.create("full", &full)?;
    test.create("room3", &json!({"appId": "demo"}))?;
    for name in ["full", "room3"] {
        test.set_ready(name, "Created", Some("Created"))?;
    }
    for (field, value, other) in IMMUTABLE_FIELDS {
        test.edit_refused("changed", "full", &json!({field: other}), &[immutable_refusal(field)])?;
        test.edit("full", &json!({field: value}))?;
        if field == "appId" {
            test.edit_refused("removed", "full", &json!({field: null}), &["spec.appId: Required value"])?;
        } else {
            test.edit_refused("removed", "full", &json!({field: null}), &[immutable_refusal(field)])?;
            test.edit_refused("added", "room3", &json!({field: value}), &[immutable_refusal(field)])?;
        }
    }
    // Adding a groupId is refused even if it equals metadata.name.
    test.edit_refused("added", "room3", &json!({"groupId": "room3"}), &[immutable_refusal("groupId")])
}

#[test]
fn mutable_fields_can_change_at_any_time() -> Result<()> {
    let test = Test::new()?;
    test.create("room", &json!({"appId": "demo"}))?;
    test.set_ready("room", "Created", Some("Created"))?;
    for (field, values) in [
        ("groupInfo", [json!("a"), json!("b"), json!(""), Value::Null]),
        ("administrators", [json!(["a"]), json!(["b", "a"]), json!([]), Value::Null]),
    ] {
        for value in values {
            test.edit("room", &json!({field: value}))?;
        }
    }
    Ok(())
}

#[test]
fn immutable_fields_are_editable_while_no_group_can_exist() -> Result<()> {
    let test = Test::new()?;
    let edit: Value = IMMUTABLE_FIELDS.iter().map(|(field, _, other)| ((*field).to_owned(), json!(other))).collect();
    let every_field = IMMUTABLE_FIELDS.map(|(field, ..)| immutable_refusal(field));
    test.create("fresh", &json!({"appId": "demo"}))?;
    test.edit_refused("before the first pass", "fresh", &edit, &every_field)?;
    let origins = [None, Some("Adopted")];
    let reasons = ["GroupDeleted", "AppNotFound", "InvalidInput", "Conflict"];
    let others = ["Pending", "Created", "NotAuthorized", "QuotaExceeded", "Throttled", "Rejected", "GroupNotFound"];
    for (number, reason) in reasons.into_iter().chain(others).enumerate() {
        for origin in origins {
            let name = format!("room{number}{}", origin.unwrap_or("none").to_lowercase());
            test.create(&name, &json!({"appId": "demo", "groupInfo": "kept"}))?;
            test.set_ready(&name, reason, origin)?;
            let is_editable = reason == "GroupDeleted" || (reasons.contains(&reason) && origin.is_none());
            if is_editable {
                test.edit(&name, &edit)?;
                // A second edit is accepted too, because the reason does not change until the next reconcile pass.
                test.edit(&name, &json!({"groupId": null, "groupName": null, "dataCenter": null, "creatorId": null}))?;
            } else {
                test.edit_refused(&format!("{reason} {origin:?}"), &name, &edit, &every_field)?;
            }
        }
    }
    Ok(())
}

#[test]
fn editable_identity_still_obeys_the_other_rules() -> Result<()> {
    let test = Test::new()?;
    test.create("room-1", &json!({"appId": "demo", "groupId": "room1"}))?;
    test.set_ready("room-1", "GroupDeleted", None)?;
    let says = "spec.groupId must be 1 to 64 letters and digits";
    test.edit_refused("an id", "room-1", &json!({"groupId": "a_b"}), &[says])?;
    test.edit_refused("a name", "room-1", &json!({"groupId": null}), &[INVALID_NAME])?;
    test.edit("room-1", &json!({"groupId": "room2"}))
}

#[test]
fn explicit_null_counts_as_absent() -> Result<()> {
    let test = Test::new()?;
    let some = json!({
        "appId": "demo", "groupId": null, "groupName": null, "creatorId": null, "groupInfo": null,
        "administrators": null,
    });
    let mut all = some.clone();
    all["dataCenter"] = Value::Null;
    test.create("room", &all)?;
    test.run(&["apply", "--filename=-"], &group("applied", &all))?;
    let server_side = ["apply", "--server-side", "--filename=-"];
    test.run(&server_side, &group("serverside", &some))?;
    // Null is accepted in every field, except in an enum field of a server-side apply.
    test.refused("null", &server_side, &group("serverside", &all), &["spec.dataCenter: Unsupported value"])?;
    for name in ["room", "applied", "serverside"] {
        test.set_ready(name, "Created", Some("Created"))?;
        test.edit(name, &all)?;
        test.edit_refused("null to a value", name, &json!({"groupName": "a"}), &[immutable_refusal("groupName")])?;
    }
    Ok(())
}

#[test]
fn every_rule_of_the_crds_is_tested() {
    let mut tested: Vec<String> = rules().iter().map(|rule| rule.says.to_owned()).collect();
    tested.extend(IMMUTABLE_FIELDS.map(|(field, ..)| immutable_refusal(field)));
    tested.push(INVALID_NAME.to_owned());
    for crd in crds() {
        for version in &crd.spec.versions {
            let schema = version.schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref());
            for message in schema.map(messages).unwrap_or_default() {
                assert!(
                    tested.iter().any(|says| message.starts_with(says.as_str())),
                    "no test for the rule: {message}"
                );
            }
        }
    }
}

fn messages(schema: &JSONSchemaProps) -> BTreeSet<String> {
    let own = schema.x_kubernetes_validations.iter().flatten();
    let mut found: BTreeSet<String> = own.map(|rule| rule.message.clone().unwrap_or_default()).collect();
    found.extend(schema.properties.iter().flatten().flat_map(|(_, property)| messages(property)));
    found
}

#[test]
fn new_object_is_pending_in_the_create_response() -> Result<()> {
    let test = Test::new()?;
    let answer = test.run(&["create", "--output=json", "--filename=-"], &group("room", &json!({"appId": "demo"})))?;
    let expected = json!({
        "observedGeneration": -1,
        "conditions": [{
            "type": "Ready", "status": "Unknown", "reason": "Pending", "message": "Waiting for the operator",
            "observedGeneration": 0, "lastTransitionTime": "1970-01-01T00:00:00Z",
        }],
    });
    assert_eq!(serde_json::from_str::<Value>(&answer)?["status"], expected);

    let wait = ["wait", "--for=condition=Ready", "--timeout=3s", "lmg/room"];
    test.refused("kubectl wait", &wait, "", &["timed out waiting for the condition"])?;
    // If a client removes the status, the default replaces it.
    test.run(&["patch", "lmg", "room", "--subresource=status", "--type=merge", "--patch", r#"{"status":null}"#], "")?;
    let answer = test.run(&["get", "lmg", "room", "--output=json"], "")?;
    assert_eq!(serde_json::from_str::<Value>(&answer)?["status"], expected);
    Ok(())
}

#[test]
fn kubectl_wait_ignores_ready_of_an_older_generation() -> Result<()> {
    let test = Test::new()?;
    test.create("room", &json!({"appId": "demo"}))?;
    test.set_ready("room", "Created", Some("Created"))?;
    let wait = |timeout| ["wait", "--for=condition=Ready", timeout, "lmg/room"];
    test.run(&wait("--timeout=60s"), "")?;
    test.edit("room", &json!({"groupInfo": "new"}))?;
    test.refused("kubectl wait", &wait("--timeout=3s"), "", &["timed out waiting for the condition"])
}

#[test]
fn kubectl_shows_columns_and_selects_by_field() -> Result<()> {
    let test = Test::new()?;
    test.create("room-1", &json!({"appId": "demo", "groupId": "room1"}))?;
    test.create("room2", &json!({"appId": "other"}))?;
    test.set_ready("room-1", "Created", Some("Created"))?;
    let words = |text: &str| text.lines().map(|l| l.split_whitespace().map(String::from).collect()).collect::<Vec<_>>();
    let narrow: Vec<Vec<String>> = words(&test.run(&["get", "lmg"], "")?);
    assert_eq!(narrow[0], ["NAME", "READY", "REASON", "GROUP-ID", "AGE"]);
    assert_eq!(narrow[1][..4], ["room-1", "True", "Created", "room1"]);
    let wide: Vec<Vec<String>> = words(&test.run(&["get", "alibabacloud", "--output=wide"], "")?);
    assert_eq!(wide[0], ["NAME", "READY", "REASON", "GROUP-ID", "AGE", "APP", "ORIGIN", "MESSAGE"]);
    for (selector, expected) in
        [("spec.appId=demo", "room-1"), ("spec.appId=other", "room2"), ("spec.groupId=room1", "room-1")]
    {
        let found = test.run(&["get", "lmg", "--field-selector", selector, "--output=name"], "")?;
        assert_eq!(found.trim(), format!("livemessagegroup.live.alibabacloud.com/{expected}"), "{selector}");
    }
    Ok(())
}

#[test]
fn crds_are_accepted_without_warnings() -> Result<()> {
    let test = Test::new()?;
    let yaml = live_message_operator::resources::crds_yaml()?;
    // Use another API group, so that the CRDs count as new and not as an update of the installed ones.
    let fresh = yaml.replace("live.alibabacloud.com", "warnings.example.com");
    let warnings = |yaml: &str| -> Result<String> {
        let create = ["create", "--dry-run=server", "--filename=-"];
        let output = test.control_plane.kubectl_program().output(&create, yaml)?;
        let stderr = String::from_utf8(output.stderr)?;
        assert!(output.status.success(), "{stderr}");
        Ok(stderr)
    };
    assert_eq!(warnings(&fresh)?, "");
    let control = warnings(&fresh.replacen("format: int64", "format: uint32", 1))?;
    assert!(control.contains("Warning: "), "the test does not detect warnings: {control:?}");
    Ok(())
}

#[test]
fn kubectl_explain_describes_every_field() -> Result<()> {
    let test = Test::new()?;
    for crd in crds() {
        for version in &crd.spec.versions {
            let schema = version.schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref());
            for part in ["spec", "status"] {
                let fields = schema.and_then(|s| s.properties.as_ref()?.get(part)?.properties.as_ref());
                for (name, field) in fields.into_iter().flatten() {
                    let path = format!("{}.{part}.{name}", crd.spec.names.plural);
                    // The apiserver publishes the schema of a new CRD after a delay.
                    let text = wait_for(&path, Duration::from_secs(60), || Ok(test.run(&["explain", &path], "").ok()))?;
                    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
                    let description = flat(field.description.as_deref().unwrap_or_default());
                    assert!(!description.is_empty() && flat(&text).contains(&description), "{path}:\n{text}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn invalid_status_is_refused() -> Result<()> {
    let test = Test::new()?;
    test.create("room", &json!({"appId": "demo"}))?;
    for (status, says) in [
        (json!({"origin": "Stolen"}), "status.origin: Unsupported value"),
        (json!({"createTime": "yesterday"}), "createTime in body must be of type date-time"),
        (json!({"lastRequestId": "x".repeat(129)}), "status.lastRequestId: Too long"),
        (json!({"conditions": (0..17).map(|n| condition(&format!("T{n}"), "R")).collect::<Vec<_>>()}), "Too many: 17"),
        (json!({"conditions": [condition("Ready", "A"), condition("Ready", "B")]}), "Duplicate value"),
    ] {
        let patch = json!({"status": status}).to_string();
        let args = ["patch", "lmg", "room", "--subresource=status", "--type=merge", "--patch", &patch];
        test.refused("status", &args, "", &[says])?;
    }
    Ok(())
}

/// The manifest of a LiveMessageGroup.
fn group(name: &str, spec: &Value) -> String {
    object("LiveMessageGroup", name, spec)
}

/// The manifest of an object of any kind.
fn object(kind: &str, name: &str, spec: &Value) -> String {
    json!({
        "apiVersion": "live.alibabacloud.com/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    })
    .to_string()
}

/// Returns a condition in the form that the operator writes for the first generation.
fn condition(kind: &str, reason: &str) -> Value {
    let status = if reason == "Created" { "True" } else { "False" };
    json!({
        "type": kind, "status": status, "reason": reason, "message": "a test", "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

/// The environment of one test: kubectl with its own namespace.
struct Test {
    control_plane: &'static ControlPlane,
    namespace: String,
}

impl Test {
    fn new() -> Result<Self> {
        let control_plane = shared_control_plane()?;
        control_plane.apply_crds()?;
        Ok(Self { control_plane, namespace: control_plane.namespace()? })
    }

    fn run(&self, args: &[&str], input: &str) -> Result<String> {
        self.control_plane.kubectl_with_input(&[&["--namespace", &self.namespace], args].concat(), input)
    }

    /// Expects a refusal. Its message must contain all texts in `says`, and must not exceed the maximum size.
    fn refused(&self, rule: &str, args: &[&str], input: &str, says: &[impl AsRef<str>]) -> Result<()> {
        let args = [&["--namespace", &self.namespace], args].concat();
        let refusal = self.control_plane.kubectl_program().refused(&args, input)?;
        println!("{rule}: {refusal}");
        for says in says.iter().map(AsRef::as_ref) {
            assert!(refusal.contains(says), "{rule}: the refusal does not contain: {says}\n{refusal}");
        }
        assert!(refusal.len() <= REFUSAL_MAX_BYTES, "{rule}: the refusal has {} bytes", refusal.len());
        Ok(())
    }

    fn create(&self, name: &str, spec: &Value) -> Result<()> {
        self.run(&["create", "--filename=-"], &group(name, spec)).map(drop)
    }

    /// Writes a status with this reason in the `Ready` condition, in the same form as the operator.
    fn set_ready(&self, name: &str, reason: &str, origin: Option<&str>) -> Result<()> {
        let group_id = name.replace('-', "");
        let status = json!({
            "observedGeneration": 1, "conditions": [condition("Ready", reason)], "groupId": group_id, "origin": origin,
        });
        let patch = json!({"status": status}).to_string();
        self.run(&["patch", "lmg", name, "--subresource=status", "--type=merge", "--patch", &patch], "").map(drop)
    }

    fn edit(&self, name: &str, spec: &Value) -> Result<()> {
        let patch = json!({"spec": spec}).to_string();
        self.run(&["patch", "lmg", name, "--type=merge", "--patch", &patch], "").map(drop)
    }

    fn edit_refused(&self, rule: &str, name: &str, spec: &Value, says: &[impl AsRef<str>]) -> Result<()> {
        let patch = json!({"spec": spec}).to_string();
        self.refused(rule, &["patch", "lmg", name, "--type=merge", "--patch", &patch], "", says)
    }
}
