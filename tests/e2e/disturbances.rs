//! Disturbs the operator, for example by killing the leader, and checks that it still creates all groups.

use std::thread;
use std::time::Duration;

use crate::cluster::{BURST, Cluster, NAME};
use crate::container::Container;
use crate::support::{Error, Result, wait_for};

/// The delay between the creation of the objects and a disturbance. By then, some groups exist and others do not.
const BEGUN: Duration = Duration::from_secs(1);

/// Creates a burst of groups, disturbs the operator, and waits until all groups and both replicas are ready.
fn during_a_burst(cluster: &Cluster, burst: &str, disturb: impl FnOnce() -> Result<()>) -> Result<()> {
    cluster.apply_groups(burst, "")?;
    thread::sleep(BEGUN);
    disturb()?;
    cluster.wait_until_ready(burst)?;
    cluster.wait_until_complete()
}

fn expect_another_leader(cluster: &Cluster, former: &str) -> Result<()> {
    let leader = cluster.leader()?;
    if leader.name == former { Err(Error::new(format!("{former} still leads"))) } else { Ok(()) }
}

pub fn delete_leader(cluster: &Cluster) -> Result<()> {
    let leader = cluster.leader()?.name;
    during_a_burst(cluster, "deleted", || cluster.operator(&["delete", "pod", &leader, "--wait=false"]).map(drop))?;
    expect_another_leader(cluster, &leader)
}

/// Kills the leader's process, so that the leader cannot release the Lease.
pub fn kill_leader(cluster: &Cluster) -> Result<()> {
    let leader = cluster.leader()?;
    during_a_burst(cluster, "killed", || Container::of(&leader)?.kill())
}

pub fn restart(cluster: &Cluster) -> Result<()> {
    let leader = cluster.leader()?.name;
    during_a_burst(cluster, "restarted", || {
        cluster.operator(&["rollout", "restart", &format!("deployment/{NAME}")])?;
        cluster.operator(&["rollout", "status", &format!("deployment/{NAME}"), "--timeout=90s"]).map(drop)
    })?;
    expect_another_leader(cluster, &leader)
}

/// Drains the only node. The PodDisruptionBudget protects one replica from eviction until the other one is ready again.
pub fn drain(cluster: &Cluster) -> Result<()> {
    let node = cluster.kubectl.run(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"])?;
    during_a_burst(cluster, "drained", || {
        let operator = format!("app.kubernetes.io/name={NAME}");
        let kubectl = &cluster.kubectl;
        thread::scope(|scope| {
            let args = ["drain", &node, "--delete-emptydir-data", "--timeout=90s", "--pod-selector", &operator];
            let drain = scope.spawn(move || kubectl.run(&args));
            let one_waits = wait_for("an evicted replica that waits for a node", Duration::from_secs(30), || {
                let pods = cluster.pods()?;
                Ok(pods.iter().any(|pod| pod.is_pending).then_some(pods))
            });
            let kept = one_waits.map(|pods| pods.iter().filter(|pod| pod.is_ready).count());
            let uncordoned = kubectl.run(&["uncordon", &node]);
            drain.join().map_err(|_| Error::new("the drain panicked"))??;
            uncordoned?;
            if kept? == 1 { Ok(()) } else { Err(Error::new("the drained node keeps no ready replica")) }
        })
    })
}

/// Lowers the memory limit of the leader's container to slightly more than it uses, and creates objects of 30 KB.
pub fn exceed_memory(cluster: &Cluster) -> Result<()> {
    let leader = cluster.leader()?;
    Container::of(&leader)?.limit_memory()?;
    cluster.apply_groups("large", &"x".repeat(30_000))?;
    wait_for("a container that was killed for its memory", Duration::from_secs(60), || {
        let killed = cluster.pods()?.into_iter().any(|pod| pod.last_end.as_deref() == Some("OOMKilled"));
        Ok(killed.then_some(()))
    })?;
    cluster.wait_until_ready("large")?;
    cluster.wait_until_complete()
}

pub fn upgrade(cluster: &Cluster) -> Result<()> {
    during_a_burst(cluster, "upgraded", || cluster.deploy_operator("upgrade", &cluster.images.second, &[]))?;
    let image = "jsonpath={.spec.template.spec.containers[0].image}";
    let image = cluster.operator(&["get", "deployment", NAME, "-o", image])?;
    if image == cluster.images.second {
        Ok(())
    } else {
        Err(Error::new(format!("the Deployment has the image {image}")))
    }
}

/// Upgrades to an image that does not exist. Both replicas keep running.
pub fn failed_upgrade(cluster: &Cluster) -> Result<()> {
    if cluster.deploy_operator("upgrade", "localhost/live-message-operator:missing", &["--timeout", "10s"]).is_ok() {
        return Err(Error::new("the upgrade to an image that does not exist succeeded"));
    }
    let ready = cluster.pods()?.iter().filter(|pod| pod.is_ready).count();
    if ready != 2 {
        return Err(Error::new(format!("{ready} of 2 replicas are ready after a failed upgrade")));
    }
    cluster.helm(&["rollback", NAME, "--wait", "--timeout", "90s"])?;
    during_a_burst(cluster, "rolledback", || Ok(()))
}

/// Reinstalls the release. The CRDs and the objects remain in the cluster. The new operator reads the state of each
/// group from the object's status instead of calling the Live API.
pub fn reinstall(cluster: &Cluster) -> Result<()> {
    cluster.helm(&["uninstall", NAME, "--wait"])?;
    let left = cluster.groups(&["get", "lmg", "-l", "burst=rolledback", "-o", "name"])?;
    if left.lines().count() != BURST {
        return Err(Error::new("objects were deleted with the release"));
    }
    cluster.deploy_operator("install", &cluster.images.first, &[])?;
    cluster.create_groups("reinstalled")
}
