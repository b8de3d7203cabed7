//! The CustomResourceDefinitions. They are derived from the Rust types. This module adds the parts that derive
//! attributes cannot express.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;
use serde_json::json;

use super::{ConditionStatus, ConditionType, LiveAccount, LiveMessageGroup, Reason};

/// Every CustomResourceDefinition of the operator, in a stable order.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![complete(LiveAccount::crd()), complete(LiveMessageGroup::crd())]
}

/// Returns [`crds`] as one stream of YAML documents. Each document starts with `---`. The command
/// `live-message-operator crd` prints this stream.
///
/// # Errors
///
/// Returns an error if a definition cannot be serialized as YAML. A unit test ensures that this does not happen in this
/// version of the operator.
pub fn crds_yaml() -> Result<String, serde_yaml::ser::Error> {
    Ok(crd_files()?.into_iter().map(|(_, yaml)| yaml).collect())
}

/// Returns [`crds`] as files. Each pair contains the name of a file (`<plural>.<group>.yaml`) and its content, which is
/// one YAML document that starts with `---`.
///
/// # Errors
///
/// Same as [`crds_yaml`].
pub fn crd_files() -> Result<Vec<(String, String)>, serde_yaml::ser::Error> {
    let file = |crd: CustomResourceDefinition| {
        let yaml = serde_yaml::to_string(&crd)?;
        Ok((format!("{}.{}.yaml", crd.spec.names.plural, crd.spec.group), format!("---\n{yaml}")))
    };
    crds().into_iter().map(file).collect()
}

fn complete(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let Some(root) = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()) else { continue };
        unfold_descriptions(root);
        if let Some(status) = root.properties.as_mut().and_then(|p| p.get_mut("status")) {
            // If the status were nullable, the apiserver would store null instead of the default.
            status.nullable = None;
            status.default = Some(JSON(initial_status()));
        }
    }
    crd
}

/// The default status. An object has this status until the operator writes the status for the first time.
///
/// Without a default status, kstatus (Flux, `helm --wait`) and `kubectl wait` would count a new object as a success.
/// The condition has its own `observedGeneration`, because `kubectl wait` checks that value before
/// `status.observedGeneration`. The schema of `metav1.Condition` does not allow a negative value. The value is
/// therefore 0, which is less than every real generation.
fn initial_status() -> serde_json::Value {
    json!({
        "observedGeneration": -1,
        "conditions": [{
            "type": ConditionType::Ready.as_str(),
            "status": ConditionStatus::Unknown.as_str(),
            "reason": Reason::Pending.as_str(),
            "message": "Waiting for the operator",
            "observedGeneration": 0,
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        }],
    })
}

/// Removes the line breaks of doc comments from descriptions, because clients such as kubectl wrap the text.
fn unfold_descriptions(schema: &mut JSONSchemaProps) {
    if let Some(text) = &mut schema.description {
        *text = text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n");
    }
    schema.properties.iter_mut().flat_map(|p| p.values_mut()).for_each(unfold_descriptions);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        unfold_descriptions(items);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use serde_json::Value;

    use super::*;

    #[test]
    fn committed_files_match_this_version() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
        let committed: BTreeMap<String, String> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(path).unwrap())
            })
            .collect();
        let generated: BTreeMap<String, String> = crd_files().unwrap().into_iter().collect();
        assert!(committed == generated, "crds/ is stale: regenerate it with `make crds` and commit the result");
    }

    #[test]
    fn yaml_equals_the_definition() {
        for (crd, (_, yaml)) in crds().iter().zip(crd_files().unwrap()) {
            let read: Value = serde_yaml::from_str(&yaml).unwrap();
            assert_eq!(whole_numbers(read), whole_numbers(serde_json::to_value(crd).unwrap()));
        }
    }

    /// Makes `0.0` and `0` equal, because the conversion to or from YAML can change a `minimum` from one to the other.
    fn whole_numbers(value: Value) -> Value {
        match value {
            Value::Number(n) => n.as_f64().map_or(Value::Null, Value::from),
            Value::Array(items) => items.into_iter().map(whole_numbers).collect(),
            Value::Object(map) => map.into_iter().map(|(k, v)| (k, whole_numbers(v))).collect(),
            other => other,
        }
    }

    #[test]
    fn fields_have_descriptions_and_bounds() {
        fn check(path: &str, schema: &JSONSchemaProps) {
            let described = path.ends_with("[]") || schema.description.as_ref().is_some_and(|d| !d.is_empty());
            assert!(described, "{path} has no description");
            match schema.type_.as_deref() {
                Some("string") => assert!(
                    schema.max_length.is_some() || schema.enum_.is_some() || schema.format.is_some(),
                    "{path} has no maxLength"
                ),
                Some("array") => assert!(schema.max_items.is_some(), "{path} has no maxItems"),
                Some("integer") => assert_eq!(schema.format.as_deref(), Some("int64"), "{path}"),
                _ => {}
            }
            for (name, property) in schema.properties.iter().flatten() {
                check(&format!("{path}.{name}"), property);
            }
            if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
                check(&format!("{path}[]"), items);
            }
        }
        for crd in crds() {
            for version in &crd.spec.versions {
                check("", version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap());
            }
        }
    }

    #[test]
    fn only_spec_and_root_have_rules() {
        fn check(path: &str, schema: &JSONSchemaProps) {
            for (name, property) in schema.properties.iter().flatten() {
                let path = format!("{path}.{name}");
                let allowed = path == ".spec" || property.x_kubernetes_validations.is_none();
                assert!(allowed, "{path}: a refusal would print its value");
                check(&path, property);
            }
        }
        for crd in crds() {
            for version in &crd.spec.versions {
                check("", version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap());
            }
        }
    }

    #[test]
    fn initial_status_is_valid() {
        let status: crate::resources::LiveMessageGroupStatus = serde_json::from_value(initial_status()).unwrap();
        assert_eq!(serde_json::to_value(&status).unwrap(), initial_status());
    }
}
