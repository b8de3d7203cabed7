//! Tests of the chart with several replicas: leader election and the permissions for it, updates, drains and probes.

use std::fs;
use std::time::Duration;

use live_message_operator::telemetry::Metrics;
use serde_json::{Value, json};

use crate::chart::{assert_selects, matrix, of_kind, render};
use crate::support::{CHART, Context as _, Result, may, repository, shared_control_plane, wait_for};

fn deployment(flags: &[&str]) -> Result<Value> {
    let objects = render("chart", "default", flags)?;
    Ok(of_kind(&objects, "Deployment").first().context("a Deployment")?["spec"].clone())
}

#[test]
fn default_update_keeps_a_standby() -> Result<()> {
    let default = deployment(&[])?;
    assert_eq!(default["replicas"], 2);
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}});
    assert_eq!(default["strategy"], strategy);
    let recreated = deployment(&["--set", "replicaCount=1,updateStrategy.type=Recreate"])?;
    assert_eq!((&recreated["replicas"], &recreated["strategy"]), (&json!(1), &json!({"type": "Recreate"})));
    Ok(())
}

#[test]
fn leader_election_uses_the_lease_that_the_role_permits() -> Result<()> {
    for (name, values) in matrix()? {
        let objects = render("chart", "home", &["--values", &values])?;
        let container = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0];
        let args: Vec<&str> = container["args"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let given = |option: &str| args.iter().find_map(|arg| arg.strip_prefix(option));
        assert!(args.contains(&"--leader-elect"), "{name}: {args:?}");
        assert_eq!(given("--leader-elect-resource-namespace="), Some("home"), "{name}");
        let identity = json!({"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}});
        assert!(container["env"].as_array().is_some_and(|env| env.contains(&identity)), "{name}");

        let lease = given("--leader-elect-resource-name=").context(&name)?;
        let roles = of_kind(&objects, "Role").into_iter().filter(|role| role["rules"][0]["resources"][0] == "leases");
        let roles: Vec<&Value> = roles.collect();
        let created = !of_kind(&objects, "RoleBinding").is_empty();
        assert_eq!(roles.len(), usize::from(created), "{name}");
        for role in roles {
            assert_eq!(role["metadata"]["namespace"], "home", "{name}");
            assert_eq!(role["rules"][0]["resourceNames"], json!([lease]), "{name}");
        }
    }
    Ok(())
}

#[test]
fn operator_may_only_use_its_own_lease() -> Result<()> {
    let control_plane = shared_control_plane()?;
    control_plane.apply_crds()?;
    let (home, watched) = (control_plane.namespace()?, control_plane.namespace()?);
    let operator = control_plane.operator_kubeconfig(&home, &[&watched])?;
    let operator = control_plane.kubectl_program().with_kubeconfig(operator);
    wait_for("the Role to have an effect", Duration::from_secs(90), || {
        Ok(may(&operator, "create", "coordination.k8s.io/leases", &home)?.then_some(()))
    })?;
    let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{home}/leases");
    // The name of the release is the name of the Lease.
    let (own, other) = (format!("{leases}/lmo-{home}"), format!("{leases}/other"));
    for name in [&format!("lmo-{home}"), "other"] {
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}});
        operator.run_with_input(&["create", "--raw", &leases, "-f", "-"], &lease.to_string())?;
    }
    let lease = operator.run(&["get", "--raw", &own])?;
    operator.run_with_input(&["replace", "--raw", &own, "-f", "-"], &lease)?;

    let elsewhere = format!("/apis/coordination.k8s.io/v1/namespaces/{watched}/leases");
    for (args, input) in [
        (["get", "--raw", &other], ""),
        (["replace", "--raw", &other], &*lease.replace(&format!("\"lmo-{home}\""), "\"other\"")),
        (["get", "--raw", &leases], ""),
        (["delete", "--raw", &own], ""),
        (["get", "--raw", &elsewhere], ""),
        (["create", "--raw", &elsewhere], &lease),
    ] {
        let file: &[&str] = if input.is_empty() { &[] } else { &["-f", "-"] };
        let refusal = operator.refused(&[&args[..], file].concat(), input)?;
        assert!(refusal.contains("Forbidden") || refusal.contains("forbidden"), "{args:?}: {refusal}");
    }
    Ok(())
}

#[test]
fn disruption_budget_never_blocks_a_drain() -> Result<()> {
    for (flags, count) in [
        (&[][..], 1),
        (&["--set", "replicaCount=5"], 1),
        (&["--set", "replicaCount=1"], 0),
        (&["--set", "podDisruptionBudget.enabled=false"], 0),
    ] {
        let objects = render("chart", "default", flags)?;
        let budgets = of_kind(&objects, "PodDisruptionBudget");
        assert_eq!(budgets.len(), count, "{flags:?}");
        for budget in budgets {
            // A pod that is not ready must not block a drain either.
            let spec = &budget["spec"];
            assert_eq!(
                (&spec["maxUnavailable"], &spec["unhealthyPodEvictionPolicy"]),
                (&json!(1), &json!("AlwaysAllow"))
            );
            let labels = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["metadata"]["labels"];
            assert_selects(&spec["selector"]["matchLabels"], labels);
        }
    }
    Ok(())
}

#[test]
fn pods_spread_over_nodes_and_zones_if_possible() -> Result<()> {
    let deployment = deployment(&[])?;
    let pod = &deployment["template"];
    let constraints = pod["spec"]["topologySpreadConstraints"].as_array().context("constraints")?;
    let keys: Vec<&Value> = constraints.iter().map(|constraint| &constraint["topologyKey"]).collect();
    assert_eq!(keys, ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]);
    for constraint in constraints {
        assert_eq!(constraint["whenUnsatisfiable"], "ScheduleAnyway");
        assert_eq!(constraint["matchLabelKeys"], json!(["pod-template-hash"]), "an update does not count old pods");
        assert_selects(&constraint["labelSelector"]["matchLabels"], &pod["metadata"]["labels"]);
    }
    Ok(())
}

#[test]
fn no_probe_restarts_a_pod_that_is_not_ready() -> Result<()> {
    let deployment = deployment(&[])?;
    let container = &deployment["template"]["spec"]["containers"][0];
    let path = |probe: &str| container[probe]["httpGet"]["path"].clone();
    assert_eq!(["startupProbe", "livenessProbe", "readinessProbe"].map(path), ["/healthz", "/livez", "/readyz"]);
    assert_eq!(container["startupProbe"]["periodSeconds"], 1, "a longer period delays readiness");
    assert_eq!(container["terminationMessagePolicy"], "FallbackToLogsOnError");
    Ok(())
}

#[test]
fn grace_period_exceeds_the_drain_of_the_operator() -> Result<()> {
    let source = fs::read_to_string(repository().join("src/controller/mod.rs"))?;
    let drain = source.split("const DRAIN: Duration = Duration::from_secs(").nth(1).context("the constant DRAIN")?;
    let drain: u64 = drain.split(')').next().context("its value")?.parse()?;
    let grace = &deployment(&[])?["template"]["spec"]["terminationGracePeriodSeconds"];
    assert!(grace.as_u64() >= Some(drain + 5), "{grace} s for a drain of {drain} s and the end of the process");
    Ok(())
}

/// After a takeover, another pod exports the gauges. For a short time, Prometheus then has the values of both pods.
#[test]
fn alerts_on_gauges_aggregate_over_the_pods() -> Result<()> {
    let rules = fs::read_to_string(repository().join(CHART).join("files/rules/alerts.yaml"))?;
    let rules: Value = serde_yaml::from_str(&rules)?;
    let metrics = Metrics::default();
    let mut found = 0;
    for rule in rules["groups"][0]["rules"].as_array().context("rules")? {
        let expression = rule["expr"].as_str().context("an expression")?;
        for gauge in metrics.described().iter().filter(|metric| metric.kind == "gauge") {
            for (start, name) in expression.match_indices(&*gauge.name) {
                let (before, after) = (&expression[..start], &expression[start + name.len()..]);
                let is_longer_name = after.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
                if is_longer_name || before.ends_with("and on (cluster, namespace, job, instance) ") {
                    continue;
                }
                let before = before.strip_suffix("max_over_time(").unwrap_or(before);
                let function = before.trim_end().strip_suffix('(').map(str::trim_end).unwrap_or_default();
                let by_release = function.strip_suffix(')').and_then(|function| function.rsplit_once("max by ("));
                let by_release = by_release.is_some_and(|(_, labels)| labels.starts_with("cluster, namespace, job"));
                let is_aggregated = by_release || function.ends_with("max") || function.ends_with("absent");
                assert!(is_aggregated, "{}: {name} has a series for each pod in {expression}", rule["alert"]);
                found += 1;
            }
        }
    }
    assert!(found > 8, "the search finds too few gauges: {found}");
    Ok(())
}
