//! The admission rules of `LiveMessageGroup`, each tried on a real apiserver: what is accepted, what is refused, and in
//! which words. `cargo test --test integration admission -- --show-output` prints every refusal.
//!
//! A new rule is one entry in [`table`]; a rule of the CRD without an entry fails a test.

mod table;

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use live_message_operator::resources::crds;
use serde_json::{Value, json};

use table::rules;

use crate::support::{ControlPlane, Result, shared_control_plane, wait_for};

/// The longest refusal: a screenful. The value that is refused may have 32 KB.
const REFUSAL_MAX_BYTES: usize = 1_500;

#[test]
fn every_rule_about_an_object_accepts_and_refuses() -> Result<()> {
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
fn a_name_that_is_no_group_id_needs_one() -> Result<()> {
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
            test.refused("a fitting name", &create, &group(name, &spec), &[NAME_SAYS])?;
        }
    }
    Ok(())
}

const NAME_SAYS: &str =
    "metadata.name is not a valid group ID (1 to 64 letters and digits): set spec.groupId, or rename";

/// The fields of the identity and those that the Live API cannot change: name, value, another value.
const FIXED: [(&str, &str, &str); 5] = [
    ("appId", "demo", "demo2"),
    ("groupId", "room1", "room2"),
    ("dataCenter", "cn-shanghai", "ap-southeast-1"),
    ("groupName", "Room", "Hall"),
    ("creatorId", "user1", "user2"),
];

fn fixed_says(field: &str) -> String {
    format!("spec.{field} can be neither changed, added nor removed while the group may exist: restore the old value")
}

#[test]
fn fixed_fields_are_neither_changed_nor_added_nor_removed() -> Result<()> {
    let test = Test::new()?;
    let full: Value = FIXED.iter().map(|(field, value, _)| ((*field).to_owned(), json!(value))).collect();
    test.create("full", &full)?;
    test.create("room3", &json!({"appId": "demo"}))?;
    for name in ["full", "room3"] {
        test.set_ready(name, "Created", Some("Created"))?;
    }
    for (field, value, other) in FIXED {
        test.edit_refused("changed", "full", &json!({field: other}), &[fixed_says(field)])?;
        test.edit("full", &json!({field: value}))?;
        if field == "appId" {
            test.edit_refused("removed", "full", &json!({field: null}), &["spec.appId: Required value"])?;
        } else {
            test.edit_refused("removed", "full", &json!({field: null}), &[fixed_says(field)])?;
            test.edit_refused("added", "room3", &json!({field: value}), &[fixed_says(field)])?;
        }
    }
    // Giving the id that metadata.name has meant all along adds the field none the less.
    test.edit_refused("added", "room3", &json!({"groupId": "room3"}), &[fixed_says("groupId")])
}

#[test]
fn the_other_fields_may_change_at_any_time() -> Result<()> {
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
fn the_way_out_is_open_exactly_while_nothing_of_the_object_lives() -> Result<()> {
    let test = Test::new()?;
    let edit: Value = FIXED.iter().map(|(field, _, other)| ((*field).to_owned(), json!(other))).collect();
    let every_field = FIXED.map(|(field, ..)| fixed_says(field));
    test.create("fresh", &json!({"appId": "demo"}))?;
    test.edit_refused("not looked at yet", "fresh", &edit, &every_field)?;
    let origins = [None, Some("Adopted")];
    let reasons = ["GroupDeleted", "AppNotFound", "InvalidInput", "Conflict"];
    let others = ["Pending", "Created", "NotAuthorized", "QuotaExceeded", "Throttled", "Rejected", "GroupNotFound"];
    for (number, reason) in reasons.into_iter().chain(others).enumerate() {
        for origin in origins {
            let name = format!("room{number}{}", origin.unwrap_or("none").to_lowercase());
            test.create(&name, &json!({"appId": "demo", "groupInfo": "kept"}))?;
            test.set_ready(&name, reason, origin)?;
            let open = reason == "GroupDeleted" || (reasons.contains(&reason) && origin.is_none());
            if open {
                test.edit(&name, &edit)?;
                // And back again: the reason stands until the operator has looked.
                test.edit(&name, &json!({"groupId": null, "groupName": null, "dataCenter": null, "creatorId": null}))?;
            } else {
                test.edit_refused(&format!("{reason} {origin:?}"), &name, &edit, &every_field)?;
            }
        }
    }
    Ok(())
}

#[test]
fn the_way_out_still_keeps_the_other_rules() -> Result<()> {
    let test = Test::new()?;
    test.create("room-1", &json!({"appId": "demo", "groupId": "room1"}))?;
    test.set_ready("room-1", "GroupDeleted", None)?;
    let says = "spec.groupId must be 1 to 64 letters and digits";
    test.edit_refused("an id", "room-1", &json!({"groupId": "a_b"}), &[says])?;
    test.edit_refused("a name", "room-1", &json!({"groupId": null}), &[NAME_SAYS])?;
    test.edit("room-1", &json!({"groupId": "room2"}))
}

#[test]
fn an_explicit_null_counts_as_absent() -> Result<()> {
    let test = Test::new()?;
    let some = json!({
        "appId": "demo", "groupId": null, "groupName": null, "creatorId": null, "groupInfo": null, "administrators": null,
    });
    let mut all = some.clone();
    all["dataCenter"] = Value::Null;
    test.create("room", &all)?;
    test.run(&["apply", "--filename=-"], &group("applied", &all))?;
    let server_side = ["apply", "--server-side", "--filename=-"];
    test.run(&server_side, &group("serverside", &some))?;
    // The one null that is refused: server-side apply with a null for an enum.
    test.refused("null", &server_side, &group("serverside", &all), &["spec.dataCenter: Unsupported value"])?;
    for name in ["room", "applied", "serverside"] {
        test.set_ready(name, "Created", Some("Created"))?;
        test.edit(name, &all)?;
        test.edit_refused("null to a value", name, &json!({"groupName": "a"}), &[fixed_says("groupName")])?;
    }
    Ok(())
}

#[test]
fn every_rule_of_the_definition_has_been_tried() {
    let mut tried: Vec<String> = rules().iter().map(|rule| rule.says.to_owned()).collect();
    tried.extend(FIXED.map(|(field, ..)| fixed_says(field)));
    tried.push(NAME_SAYS.to_owned());
    for crd in crds() {
        for version in &crd.spec.versions {
            let schema = version.schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref());
            for message in schema.map(messages).unwrap_or_default() {
                assert!(tried.iter().any(|says| message.starts_with(says.as_str())), "never tried: {message}");
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
fn a_fresh_object_is_pending_from_its_first_answer_on() -> Result<()> {
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
    // Whoever wipes the status gets it again, not an object without one.
    test.run(&["patch", "lmg", "room", "--subresource=status", "--type=merge", "--patch", r#"{"status":null}"#], "")?;
    let answer = test.run(&["get", "lmg", "room", "--output=json"], "")?;
    assert_eq!(serde_json::from_str::<Value>(&answer)?["status"], expected);
    Ok(())
}

#[test]
fn wait_is_not_met_by_a_generation_that_was_not_acted_on() -> Result<()> {
    let test = Test::new()?;
    test.create("room", &json!({"appId": "demo"}))?;
    test.set_ready("room", "Created", Some("Created"))?;
    let wait = |timeout| ["wait", "--for=condition=Ready", timeout, "lmg/room"];
    test.run(&wait("--timeout=60s"), "")?;
    test.edit("room", &json!({"groupInfo": "new"}))?;
    test.refused("kubectl wait", &wait("--timeout=3s"), "", &["timed out waiting for the condition"])
}

#[test]
fn columns_and_selectors() -> Result<()> {
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
fn the_definition_is_accepted_without_a_warning() -> Result<()> {
    let test = Test::new()?;
    let yaml = live_message_operator::resources::crds_yaml()?;
    // Under another group, so that it is created and not compared with what is there.
    let fresh = yaml.replace("live.alibabacloud.com", "warnings.example.com");
    let warnings = |yaml: &str| -> Result<String> {
        let create = ["create", "--dry-run=server", "--filename=-"];
        let output = test.control_plane.kubectl_program().output(&create, yaml)?;
        let said = String::from_utf8(output.stderr)?;
        assert!(output.status.success(), "{said}");
        Ok(said)
    };
    assert_eq!(warnings(&fresh)?, "");
    let control = warnings(&fresh.replacen("format: int64", "format: uint32", 1))?;
    assert!(control.contains("Warning: "), "this test would not see a warning: {control:?}");
    Ok(())
}

#[test]
fn every_field_is_explained() -> Result<()> {
    let test = Test::new()?;
    for crd in crds() {
        for version in &crd.spec.versions {
            let schema = version.schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref());
            for part in ["spec", "status"] {
                let fields = schema.and_then(|s| s.properties.as_ref()?.get(part)?.properties.as_ref());
                for (name, field) in fields.into_iter().flatten() {
                    let path = format!("{}.{part}.{name}", crd.spec.names.plural);
                    // The description of a definition that was just made is published a moment later.
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
fn a_status_of_another_shape_is_refused() -> Result<()> {
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

/// The manifest of a group.
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

/// A condition as the operator would write it for the first generation.
fn condition(kind: &str, reason: &str) -> Value {
    let status = if reason == "Created" { "True" } else { "False" };
    json!({
        "type": kind, "status": status, "reason": reason, "message": "a test", "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

/// kubectl in a namespace of its own.
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

    /// Expects a refusal that says all of this, and shows nobody a 32 KB value.
    fn refused(&self, rule: &str, args: &[&str], input: &str, says: &[impl AsRef<str>]) -> Result<()> {
        let args = [&["--namespace", &self.namespace], args].concat();
        let said = self.control_plane.kubectl_program().refused(&args, input)?;
        println!("{rule}: {said}");
        for says in says.iter().map(AsRef::as_ref) {
            assert!(said.contains(says), "{rule}: refused, but not in these words: {says}\n{said}");
        }
        assert!(said.len() <= REFUSAL_MAX_BYTES, "{rule}: {} bytes on the user's terminal", said.len());
        Ok(())
    }

    fn create(&self, name: &str, spec: &Value) -> Result<()> {
        self.run(&["create", "--filename=-"], &group(name, spec)).map(drop)
    }

    /// Writes a status as the operator would.
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
