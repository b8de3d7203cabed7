//! The parts of the schemas that derive attributes cannot express.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::DataCenter;
use super::condition::MESSAGE_MAX_CHARS;
use super::policy::{DeletedGroupPolicy, DeletionPolicy, ManagementPolicy};

/// The maximum number of conditions. The operator writes six types, and other writers may add more. The bound keeps the
/// CEL rules within their cost limit.
const CONDITIONS_MAX: usize = 16;

/// The schema of a list of `metav1.Condition`. The bounds are those of `metav1.Condition`, and the apiserver merges the
/// list by the field `type`.
pub(super) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": CONDITIONS_MAX,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {
                    "type": "string",
                    "maxLength": 316,
                    "description": "Ready, Reconciling, Stalled, Degraded, InSync or Paused."
                },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether the condition is true." },
                "reason": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "description": "A stable, machine-readable reason for the status, in CamelCase."
                },
                "message": {
                    "type": "string",
                    "maxLength": MESSAGE_MAX_CHARS,
                    "description": "What happened, and what to do."
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                    "description": "The generation of the spec that this condition describes."
                },
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": "The time when the status of the condition last changed."
                }
            }
        }
    })
}

/// The schema of `spec.dataCenter`. If the schema were derived, the description of the type would replace the
/// description of the field.
///
/// Unlike the other optional fields, this field is not `nullable`. If the field were nullable, the apiserver would
/// refuse null, even if the enum listed null. Because the field is not nullable, the apiserver drops null. The only
/// exception is a server-side apply, in which the apiserver refuses null.
pub(super) fn data_center(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<_> = DataCenter::ALL.iter().map(|d| d.as_str()).collect();
    json_schema!({ "type": "string", "enum": names })
}

fn enumeration(values: impl Iterator<Item = &'static str>) -> Schema {
    json_schema!({ "type": "string", "enum": values.collect::<Vec<_>>() })
}

/// The schema of `spec.managementPolicy`. See [`data_center`] for why the field is not `nullable`.
pub(super) fn management_policy(_: &mut SchemaGenerator) -> Schema {
    enumeration(ManagementPolicy::ALL.iter().map(|policy| policy.as_str()))
}

pub(super) fn deletion_policy(_: &mut SchemaGenerator) -> Schema {
    enumeration(DeletionPolicy::ALL.iter().map(|policy| policy.as_str()))
}

pub(super) fn deleted_group_policy(_: &mut SchemaGenerator) -> Schema {
    enumeration(DeletedGroupPolicy::ALL.iter().map(|policy| policy.as_str()))
}

pub(super) fn origin(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": ["Created", "Adopted", "Recovered"] })
}

/// The schema of a time in RFC 3339 format.
pub(super) fn date_time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time" })
}

fn name_of(what: &str) -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "maxLength": 253, "description": what })
}

fn reference(what: &str, description: &str) -> Schema {
    let name = name_of(what);
    json_schema!({
        "type": "object", "required": ["name"], "properties": { "name": name }, "description": description
    })
}

/// The schema of `spec.accountRef`. If the schema were derived, the description of the field would be lost.
pub(super) fn account_ref(_: &mut SchemaGenerator) -> Schema {
    reference(
        "The name of a LiveAccount in this namespace.",
        "The LiveAccount whose credentials the operator uses for this group. Defaults to the operator's own credentials. It may be changed at any time. Example: {name: team-a}",
    )
}

/// The schema of `spec.credentials.secretRef` of a LiveAccount.
pub(super) fn secret_ref(_: &mut SchemaGenerator) -> Schema {
    reference(
        "The name of a Secret in this namespace.",
        "The Secret in this namespace that contains the access key. The keys of the Secret are accessKeyId, \
         accessKeySecret and, for temporary credentials, securityToken. The operator gets the Secret by name every few \
         minutes, and again if the access key is rejected. Example: {name: live-credentials}",
    )
}

/// The schema of `spec.credentials.oidc` of a LiveAccount.
pub(super) fn oidc(_: &mut SchemaGenerator) -> Schema {
    let account = reference(
        "The name of a ServiceAccount in this namespace.",
        "The ServiceAccount whose token the operator sends to STS. The audience of the token is sts.aliyuncs.com.",
    );
    let arn = |what: &str| json_schema!({ "type": "string", "minLength": 1, "maxLength": 512, "description": what });
    let (role, provider) = (
        arn("The role to assume: acs:ram::ACCOUNT_ID:role/NAME."),
        arn("The OIDC provider of this cluster in RAM: acs:ram::ACCOUNT_ID:oidc-provider/NAME."),
    );
    json_schema!({
        "type": "object",
        "required": ["roleArn", "oidcProviderArn", "serviceAccountRef"],
        "properties": { "roleArn": role, "oidcProviderArn": provider, "serviceAccountRef": account },
        "description": "A RAM role that the operator assumes with a token of a ServiceAccount in this namespace (RRSA)."
    })
}
