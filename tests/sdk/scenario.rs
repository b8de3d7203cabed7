//! Reads, validates and expands `scenario.json` for the runners. `README.md` describes the format of this file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::support::{Context as _, Error, Result, repository};

/// The scenario and the emulator configuration that it needs.
pub struct Scenario {
    /// The arguments of `emulate`.
    pub emulator: Vec<String>,
    groups: BTreeMap<String, usize>,
    steps: usize,
    /// The content of `scenario.json` after the expansion of `$repeat`. The runners read this content.
    pub expanded: Value,
}

/// The schema of the file. Unknown fields are errors, because a misspelled expectation would otherwise be ignored.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    emulator: Vec<String>,
    groups: BTreeMap<String, usize>,
    keys: BTreeMap<String, Key>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "read by the runners")]
struct Key {
    id: String,
    secret: String,
    token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(dead_code, reason = "read by the runners")]
struct Step {
    name: String,
    operation: String,
    params: BTreeMap<String, Value>,
    key: Option<String>,
    put: Option<BTreeMap<String, Value>>,
    timeout_ms: Option<u64>,
    ok: Option<BTreeMap<String, Value>>,
    error: Option<ApiError>,
    lost: Option<bool>,
    save: Option<BTreeMap<String, String>>,
    at_least_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(dead_code, reason = "read by the runners")]
struct ApiError {
    code: String,
    status: u16,
    retry_after_ms: Option<u64>,
}

/// The folder of this test.
pub fn folder() -> PathBuf {
    repository().join("tests/sdk")
}

impl Scenario {
    /// Reads and validates `scenario.json`.
    pub fn load() -> Result<Self> {
        let path = folder().join("scenario.json");
        let text = std::fs::read_to_string(&path).context(path.display())?;
        let expanded = expand(serde_json::from_str(&text).context(path.display())?);
        let File { emulator, groups, keys, steps } = File::deserialize(&expanded).context(path.display())?;
        let mut names = BTreeSet::new();
        for step in &steps {
            let invalid = |problem| Err(Error::new(format!("{}: the step {:?} {problem}", path.display(), step.name)));
            let expectations = [step.ok.is_some(), step.error.is_some(), step.lost == Some(true)];
            if expectations.into_iter().filter(|is_set| *is_set).count() != 1 {
                return invalid("must have one of ok, error, lost");
            }
            if !names.insert(&step.name) {
                return invalid("occurs twice");
            }
            if !keys.contains_key(step.key.as_deref().unwrap_or("main")) {
                return invalid("names an unknown key");
            }
        }
        Ok(Self { emulator, groups, steps: steps.len(), expanded })
    }

    /// The number of steps. Each step makes one call.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Returns the names of the groups that the emulator needs at startup, as `APPID/groupN`. `scenario.json` contains
    /// only the number of groups for each app.
    pub fn groups(&self) -> Vec<String> {
        let of_app = |(app, count): (&String, &usize)| (1..=*count).map(move |n| format!("{app}/group{n}")).collect();
        self.groups.iter().flat_map::<Vec<String>, _>(of_app).collect()
    }
}

/// Expands `{"$repeat": TEXT, "times": N, "then": TEXT}` anywhere in a value.
fn expand(value: Value) -> Value {
    match value {
        Value::Object(fields) => match (fields.get("$repeat"), fields.get("times").and_then(Value::as_u64)) {
            (Some(Value::String(text)), Some(times)) => {
                let then = fields.get("then").and_then(Value::as_str).unwrap_or_default();
                Value::from(text.repeat(usize::try_from(times).unwrap_or(0)) + then)
            }
            _ => fields.into_iter().map(|(name, value)| (name, expand(value))).collect(),
        },
        Value::Array(list) => list.into_iter().map(expand).collect(),
        other => other,
    }
}

#[test]
fn every_live_operation_has_a_step() -> Result<()> {
    let scenario = Scenario::load()?;
    let steps = scenario.expanded["steps"].as_array().context("no steps")?;
    let called: BTreeSet<&str> = steps.iter().filter_map(|step| step["operation"].as_str()).collect();
    // STS and the metadata service are excluded, because their SDKs are separate packages.
    for operation in live_message_operator::emulator::Operation::ALL.into_iter().filter(|one| one.is_live()) {
        assert!(called.contains(operation.name()), "no step calls {}", operation.name());
    }
    Ok(())
}
