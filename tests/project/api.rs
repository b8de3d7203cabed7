//! Generates docs/api.md from the CRDs.

use std::fmt::Write as _;

use live_message_operator::resources::crds;
use serde_json::Value;

use super::{path, read};

const DOCUMENT: &str = "docs/api.md";

const INTRODUCTION: &str = "# API fields

Generated from the CRDs: `UPDATE_DOCS=1 cargo test --test project`. [API reference](reference.md) explains the behavior.
`kubectl explain lmg.spec` and `kubectl explain lacc.spec` print the same descriptions.
";

/// Appends a table row for each field below `schema` to `rows`, and the validation rules to `rules`.
fn describe(schema: &Value, at: &str, rows: &mut String, rules: &mut String) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let place = [at, rule["fieldPath"].as_str().unwrap_or_default()].concat();
        let place = if place.is_empty() { "(object)" } else { place.trim_start_matches('.') };
        let message = rule["message"].as_str().expect("a validation rule without a message");
        writeln!(rules, "- `{place}`: {message}").unwrap();
    }
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let field_path = format!("{at}.{name}");
        let path = field_path.trim_start_matches('.');
        // Every Kubernetes object has these fields.
        if ["apiVersion", "kind", "metadata"].contains(&path) {
            continue;
        }
        let description = field["description"].as_str().unwrap_or_else(|| panic!("{path} has no description"));
        let description = description.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
        let constraints = constraints(field, required.contains(&Value::from(name.as_str())));
        writeln!(rows, "| `{path}` | {} | {constraints} | {description} |", type_name(field)).unwrap();
        describe(field, &field_path, rows, rules);
        describe(&field["items"], &format!("{field_path}[]"), rows, rules);
    }
}

fn type_name(field: &Value) -> String {
    let name = field["type"].as_str().unwrap_or("any");
    match (name, field["format"].as_str(), field["items"]["type"].as_str()) {
        ("array", _, Some(item)) => format!("list of {item}"),
        ("string", Some("date-time"), _) => "time".to_owned(),
        _ => name.to_owned(),
    }
}

fn constraints(field: &Value, required: bool) -> String {
    let mut parts = Vec::new();
    if required {
        parts.push("required".to_owned());
    }
    if let Some(values) = field["enum"].as_array() {
        let values: Vec<String> = values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect();
        parts.push(format!("one of {}", values.join(", ")));
    }
    for (key, text) in [
        ("minLength", "minimum length {}"),
        ("maxLength", "maximum length {}"),
        ("minimum", "minimum {}"),
        ("maximum", "maximum {}"),
        ("maxItems", "at most {} items"),
        ("pattern", "matches `{}`"),
    ] {
        if let Some(limit) = field.get(key).filter(|limit| !limit.is_null()) {
            let limit = limit.as_str().map_or_else(|| limit.to_string(), |text| text.replace('|', "\\|"));
            parts.push(text.replace("{}", limit.trim_end_matches(".0")));
        }
    }
    parts.join("; ")
}

fn reference() -> String {
    let mut text = INTRODUCTION.to_owned();
    for crd in crds() {
        let names = &crd.spec.names;
        for version in &crd.spec.versions {
            let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
            let schema = serde_json::to_value(schema.unwrap()).unwrap();
            let (mut rows, mut rules) = (String::new(), String::new());
            describe(&schema, "", &mut rows, &mut rules);
            let short_names = names.short_names.as_ref().unwrap().join(", ");
            let description = schema["description"].as_str().unwrap();
            write!(
                text,
                "\n## {}\n\n`{}/{}`, short name `{short_names}`. {description}\n\n\
                 | field | type | constraints | description |\n| --- | --- | --- | --- |\n{rows}\n\
                 The apiserver also enforces these rules:\n\n{rules}",
                names.kind, crd.spec.group, version.name
            )
            .unwrap();
        }
    }
    text
}

#[test]
fn api_fields_match_the_crds() {
    let generated = reference();
    assert!(generated.contains("| `spec.groupInfo` |") && generated.contains("| `spec.credentials.secretRef.name` |"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path(DOCUMENT), &generated).unwrap();
    }
    assert!(read(DOCUMENT) == generated, "{DOCUMENT} is stale: run UPDATE_DOCS=1 cargo test --test project");
}
