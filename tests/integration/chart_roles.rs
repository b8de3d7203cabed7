//! The permissions that the chart adds to the roles of users.

use std::time::Duration;

use serde_json::{Value, json};

use crate::chart::{of_kind, render};
use crate::support::{Context as _, ControlPlane, Result, shared_control_plane, wait_for};

/// Whether a user has a permission in a namespace. `what` is a verb and a resource, such as `create liveaccounts`.
fn user_may(control_plane: &ControlPlane, user: &str, namespace: &str, what: &str) -> Result<bool> {
    let (verb, resource) = what.split_once(' ').context(what)?;
    let attributes =
        json!({"group": "live.alibabacloud.com", "resource": resource, "verb": verb, "namespace": namespace});
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": { "user": user, "resourceAttributes": attributes },
    });
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let answer = control_plane.kubectl_with_input(&["create", "--raw", path, "-f", "-"], &review.to_string())?;
    let answer: Value = serde_json::from_str(&answer)?;
    answer["status"]["allowed"].as_bool().context(answer)
}

#[test]
fn view_edit_and_admin_get_their_permissions() -> Result<()> {
    let control_plane = shared_control_plane()?;
    let namespace = control_plane.namespace()?;
    let roles = render(&format!("roles-{namespace}"), &namespace, &["--set", "crds.enabled=false"])?;
    for role in of_kind(&roles, "ClusterRole") {
        control_plane.kubectl_with_input(&["apply", "-f", "-"], &role.to_string())?;
    }
    let reads = ["get", "list", "watch"];
    let writes = ["create", "update", "patch", "delete", "deletecollection"];
    let (groups, accounts) = ("livemessagegroups", "liveaccounts");
    for (role, may_write) in [("view", &[][..]), ("edit", &[groups]), ("admin", &[groups, accounts])] {
        let user = format!("{role}-{namespace}");
        let binding = ["create", "rolebinding", &user, "--clusterrole", role, "--user", &user, "-n", &namespace];
        control_plane.kubectl(&binding)?;
        let may = |what: &str| user_may(control_plane, &user, &namespace, what);
        // kube-controller-manager copies the permissions to the ClusterRole.
        wait_for("the permissions to have an effect", Duration::from_secs(90), || {
            let last = may_write.last().map_or_else(|| "list liveaccounts".to_owned(), |kind| format!("create {kind}"));
            Ok(may(&last)?.then_some(()))
        })?;
        for kind in [groups, accounts] {
            for verb in reads {
                assert!(may(&format!("{verb} {kind}"))?, "{role}: {verb} {kind}");
            }
            for verb in writes {
                let expected = may_write.contains(&kind);
                assert_eq!(may(&format!("{verb} {kind}"))?, expected, "{role}: {verb} {kind}");
            }
            // Only the operator writes the status.
            assert!(!may(&format!("patch {kind}/status"))?, "{role}");
        }
    }
    Ok(())
}

#[test]
fn roles_of_users_can_be_disabled() -> Result<()> {
    let objects = render("chart", "default", &["--set", "rbac.aggregate=false"])?;
    let names: Vec<&Value> =
        of_kind(&objects, "ClusterRole").into_iter().map(|role| &role["metadata"]["name"]).collect();
    assert_eq!(names, ["chart-live-message-operator"]);
    Ok(())
}
