//! `LiveAccount`: the credentials and the budget of a namespace.
//!
//! `kubectl explain` shows the doc comments of the fields. The admission rules are in [`rules`].

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConditionType, get_condition, rules, schema};

/// The desired state of the LiveAccount: credentials, account ID, endpoint and call rate.
#[allow(clippy::duplicated_attributes, reason = "columns have types")]
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "live.alibabacloud.com",
    version = "v1alpha1",
    kind = "LiveAccount",
    plural = "liveaccounts",
    shortname = "lacc",
    category = "alibabacloud",
    namespaced,
    status = "LiveAccountStatus",
    derive = "PartialEq",
    doc = "Credentials and a budget for LiveMessageGroups in the same namespace. A LiveMessageGroup uses them if its \
           spec.accountRef names the LiveAccount.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        description = "Whether the operator can make calls with the account",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        description = "The reason for the status of the Ready condition",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(
        name = "Groups",
        type_ = "integer",
        description = "The number of LiveMessageGroups that reference the LiveAccount",
        json_path = ".status.groups"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        description = "The age of the object",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        description = "What happened, and what to do",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    )
)]
#[x_kube(
    validation = rules::one_source(),
    validation = rules::object_name("secretRef", "self.credentials.secretRef"),
    validation = rules::service_account_name(),
    validation = rules::arn("roleArn", "role"),
    validation = rules::arn("oidcProviderArn", "oidc-provider"),
    validation = rules::account_id(),
    validation = rules::endpoint()
)]
#[serde(rename_all = "camelCase")]
pub struct LiveAccountSpec {
    /// The source of the credentials: exactly one of secretRef and oidc. It may be changed at any time.
    pub credentials: AccountCredentials,

    /// The ID of the Alibaba Cloud account (digits). LiveAccounts with the same ID share the limit of 50 calls per
    /// second for each operation. With oidc, the ID defaults to the account ID in roleArn. With secretRef, there is no
    /// default: LiveAccounts without an account ID share the limit if they have the same access key ID.
    /// Example: 1234567890123456
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub account_id: Option<String>,

    /// The address of the Live API: https:// and a host, with a port if needed. Defaults to the operator's own
    /// endpoint, which is live.aliyuncs.com unless --endpoint sets another one. An http:// address requires the
    /// operator's flag --account-allow-http.
    /// Example: `https://live.ap-southeast-1.aliyuncs.com`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 262))]
    pub endpoint: Option<String>,

    /// The maximum number of calls per second that the operator sends to each operation for this LiveAccount: 1 to 50.
    /// Defaults to 50. The maximum does not apply to other LiveAccounts with the same account ID. Example: 20
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50))]
    pub requests_per_second: Option<i64>,
}

/// The source of credentials: exactly one of the fields is present.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountCredentials {
    /// The Secret in this namespace that contains the access key. The keys of the Secret are accessKeyId,
    /// accessKeySecret and, for temporary credentials, securityToken. The operator gets the Secret by name every few
    /// minutes, and again if the access key is rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::secret_ref")]
    pub secret_ref: Option<NameRef>,

    /// A RAM role that the operator assumes with a token of a ServiceAccount in this namespace (RRSA).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::oidc")]
    pub oidc: Option<OidcCredentials>,
}

/// The name of an object in the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameRef {
    /// `metadata.name` of the object.
    pub name: String,
}

/// A RAM role that trusts a ServiceAccount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OidcCredentials {
    /// The ARN of the role: `acs:ram::ACCOUNT_ID:role/NAME`.
    pub role_arn: String,
    /// The ARN of the cluster's OIDC provider: `acs:ram::ACCOUNT_ID:oidc-provider/NAME`.
    pub oidc_provider_arn: String,
    /// The ServiceAccount whose token the operator sends to STS.
    pub service_account_ref: NameRef,
}

/// The observed state of the account. Only the operator writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveAccountStatus {
    /// The generation of the spec (metadata.generation) that was last reconciled, successfully or not. The value is
    /// -1 until the first reconcile pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The conditions of the account. Ready is always present. It is True while the credentials exist and have not been
    /// rejected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// The number of LiveMessageGroups in this namespace that reference the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<i64>,

    /// The LiveMessageGroups that wait because of the rate limit of the account. Present if the last of them is
    /// expected to wait for at least 30 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<AccountQueue>,
}

/// The LiveMessageGroups that wait because of the rate limit of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountQueue {
    /// The number of waiting LiveMessageGroups. The operator updates the number at most every 30 s. Example: 3500
    pub waiting: i64,

    /// The time when the last waiting LiveMessageGroup is expected to be processed. Example: 2026-07-01T14:03:20Z
    #[schemars(schema_with = "schema::date_time")]
    pub expected_end: String,
}

impl LiveAccountSpec {
    /// Returns the account ID: `accountId`, or else the ID in the role's ARN. Returns `None` if the spec contains
    /// neither of them.
    pub fn number(&self) -> Option<&str> {
        let role = || account_of_arn(&self.credentials.oidc.as_ref()?.role_arn);
        self.account_id.as_deref().filter(|number| !number.is_empty()).or_else(role)
    }
}

/// Returns the account ID in an ARN, which has the form `acs:SERVICE:REGION:ACCOUNT_ID:RESOURCE`.
pub fn account_of_arn(arn: &str) -> Option<&str> {
    arn.split(':').nth(3).filter(|number| !number.is_empty())
}

impl LiveAccountStatus {
    /// The recorded condition of this type.
    pub fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        get_condition(&self.conditions, kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_id_defaults_to_that_of_the_role() {
        let oidc = OidcCredentials { role_arn: "acs:ram::42:role/live".into(), ..OidcCredentials::default() };
        let credentials = AccountCredentials { oidc: Some(oidc), secret_ref: None };
        let mut spec = LiveAccountSpec { credentials, ..LiveAccountSpec::default() };
        assert_eq!(spec.number(), Some("42"));
        spec.account_id = Some("7".into());
        assert_eq!(spec.number(), Some("7"));
        assert_eq!(LiveAccountSpec::default().number(), None);
    }
}
