//! The admission rules of the custom resources, in CEL. The apiserver evaluates them, so that no webhook is needed.
//!
//! Each rule is attached to `spec` or to the root, and specifies its field in `fieldPath`. If a rule were attached to
//! the field itself, a refusal would print the field's value: up to 32 KB of `groupInfo` on the user's terminal. Every
//! message says what to do. `tests/integration/admission.rs` tests each rule with accepted and refused values.

use kube::core::{Message, Rule};

use super::Reason;

/// The pattern of group IDs and user IDs. The Live API documents which characters these IDs may contain.
const ID: &str = "^[A-Za-z0-9]{1,64}$";

/// The Live API does not document which characters an app ID may contain. The rule refuses only white space, control
/// characters, format characters and slashes, because they are hard to see or ambiguous in a terminal, a log line or a
/// path. A stricter rule could refuse the ID of an existing app.
pub(super) fn app_id() -> Rule {
    on_field(
        "appId",
        r"self.appId != '' && !self.appId.matches('[\\s\\p{Z}\\p{C}/\\\\]')",
        "spec.appId must be an app ID without spaces, control characters or slashes. Copy the AppId from the Live console.",
    )
}

pub(super) fn group_id() -> Rule {
    on_field(
        "groupId",
        &format!("!has(self.groupId) || self.groupId.matches('{ID}')"),
        "spec.groupId must be 1 to 64 letters and digits. Remove other characters, or omit the field to use metadata.name.",
    )
}

pub(super) fn group_name() -> Rule {
    on_field(
        "groupName",
        "!has(self.groupName) || (self.groupName != '' && bytes(self.groupName).size() <= 128)",
        "spec.groupName must be 1 to 128 bytes of UTF-8 (a Chinese character takes 3). Shorten it, or omit the field for a group without a name.",
    )
}

pub(super) fn creator_id() -> Rule {
    on_field(
        "creatorId",
        &format!("!has(self.creatorId) || self.creatorId.matches('{ID}')"),
        "spec.creatorId must be 1 to 64 letters and digits. Remove other characters, or omit the field.",
    )
}

pub(super) fn group_info() -> Rule {
    on_field(
        "groupInfo",
        "!has(self.groupInfo) || bytes(self.groupInfo).size() <= 32768",
        "spec.groupInfo must be at most 32768 bytes of UTF-8 (a Chinese character takes 3). Shorten it.",
    )
}

pub(super) fn administrators() -> Rule {
    on_field(
        "administrators",
        &format!("!has(self.administrators) || self.administrators.all(id, id.matches('{ID}'))"),
        "Each ID in spec.administrators must be 1 to 64 letters and digits. Remove other characters.",
    )
}

pub(super) fn administrators_differ() -> Rule {
    on_field(
        "administrators",
        "!has(self.administrators) || self.administrators.all(id, self.administrators.exists_one(other, other == id))",
        "spec.administrators contains an ID twice. List each ID once.",
    )
}

/// `metadata.name` may contain `-` and `.`, but a group ID may not.
pub(super) fn group_id_or_name() -> Rule {
    Rule::new(format!("has(self.spec.groupId) || self.metadata.name.matches('{ID}')"))
        .message(
            "metadata.name is not a valid group ID (1 to 64 letters and digits). Set spec.groupId, or rename the object.",
        )
        .field_path(".spec.groupId")
}

/// Returns the rule for a field that identifies the group or that the Live API cannot change. The field can be changed,
/// added or removed only while no group of this object can exist.
///
/// No group can exist while the reason of `Ready` is `GroupDeleted`. Also, no group can exist while the reason is
/// `AppNotFound`, `InvalidInput` or `Conflict` and the status contains neither an origin nor a create intent.
pub(super) fn fixed(field: &str) -> Rule {
    let refused = [Reason::AppNotFound, Reason::InvalidInput, Reason::Conflict].map(|r| format!("'{r}'")).join(", ");
    let gone = Reason::GroupDeleted;
    Rule::new(format!(
        "(has(self.spec.{field}) == has(oldSelf.spec.{field}) \
         && (!has(self.spec.{field}) || self.spec.{field} == oldSelf.spec.{field})) \
         || (has(oldSelf.status) && has(oldSelf.status.conditions) \
         && oldSelf.status.conditions.exists(c, c.type == 'Ready' && (c.reason == '{gone}' \
         || (c.reason in [{refused}] && !has(oldSelf.status.origin) && !has(oldSelf.status.createIntent)))))"
    ))
    .message(Message::Message(format!(
        "spec.{field} is immutable while the group may exist. Restore the previous value, or create a new object for \
         another group."
    )))
    .field_path(format!(".spec.{field}"))
}

/// The pattern of object names in Kubernetes. A name becomes part of a URL path.
const NAME: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

pub(super) fn account_ref() -> Rule {
    on_field(
        "accountRef",
        &format!("!has(self.accountRef) || self.accountRef.name.matches('{NAME}')"),
        "spec.accountRef.name must be the name of a LiveAccount in this namespace (lowercase letters, digits, '-' and '.').",
    )
}

pub(super) fn one_source() -> Rule {
    on_field(
        "credentials",
        "has(self.credentials.secretRef) != has(self.credentials.oidc)",
        "spec.credentials must have exactly one of secretRef and oidc. Remove one, or add one.",
    )
}

pub(super) fn object_name(field: &str, path: &str) -> Rule {
    on_field(
        "credentials",
        &format!("!has({path}) || {path}.name.matches('{NAME}')"),
        &format!(
            "spec.credentials.{field}.name must be the name of a Secret in this namespace (lowercase letters, digits, '-' and '.')."
        ),
    )
}

pub(super) fn service_account_name() -> Rule {
    on_field(
        "credentials",
        &format!("!has(self.credentials.oidc) || self.credentials.oidc.serviceAccountRef.name.matches('{NAME}')"),
        "spec.credentials.oidc.serviceAccountRef.name must be the name of a ServiceAccount in this namespace (lowercase letters, digits, '-' and '.').",
    )
}

pub(super) fn arn(field: &str, kind: &str) -> Rule {
    on_field(
        "credentials",
        &format!(
            r"!has(self.credentials.oidc) || self.credentials.oidc.{field}.matches('^acs:ram::[0-9]{{1,32}}:{kind}/[^\\s]+$')"
        ),
        &format!(
            "spec.credentials.oidc.{field} must be acs:ram::ACCOUNT_ID:{kind}/NAME. Copy it from the RAM console."
        ),
    )
}

pub(super) fn account_id() -> Rule {
    on_field(
        "accountId",
        "!has(self.accountId) || self.accountId.matches('^[0-9]{1,32}$')",
        "spec.accountId must be the ID of an Alibaba Cloud account (digits). Copy it from the console, or omit the field.",
    )
}

pub(super) fn endpoint() -> Rule {
    on_field(
        "endpoint",
        r"!has(self.endpoint) || self.endpoint.matches('^(https?://)?[A-Za-z0-9.\\[\\]:-]+/?$')",
        "spec.endpoint must be https://HOST[:PORT]. Remove the path, the query and the user, or omit the field.",
    )
}

fn on_field(field: &str, rule: &str, message: &str) -> Rule {
    Rule::new(rule).message(Message::Message(message.to_owned())).field_path(format!(".{field}"))
}
