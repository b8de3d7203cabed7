//! Runs a long scenario and compares all its calls and writes with the golden log `tests/golden/story.log`.
//! `UPDATE_GOLDEN=1 make integration FILTER=golden_story` updates the golden log.

mod chapters;
mod record;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use kube::api::{Patch, PatchParams};
use live_message_operator::resources::LiveMessageGroup;
use serde_json::{Value, json};

use crate::support::{ControlPlane, EmulatorOptions, Result, repository};
use crate::world::{APP, PATIENCE, World, app};
use record::Cursor;

const GOLDEN: &str = "tests/golden/story.log";

/// A step ends when the operator has made no call and no write for this long.
const QUIET: Duration = Duration::from_millis(1200);

/// The maximum wait for the expected calls and writes of a step.
const LATE: Duration = Duration::from_secs(20);

/// The wait in each step of an update of the golden log. An update has no expected calls or writes to wait for.
const LATE_IN_AN_UPDATE: Duration = Duration::from_secs(2);

/// The first argument disables drift checks. The second one causes one drift check per second.
const INTERVALS: [&str; 2] = ["--drift-check-interval=168h", "--drift-check-interval=1s"];

#[tokio::test]
async fn golden_story() -> Result<()> {
    let control_plane = ControlPlane::start_audited()?;
    control_plane.apply_crds()?;
    let mut story = Story::begin(&control_plane).await?;
    story.edits().await?;
    story.existing_groups().await?;
    story.pauses().await?;
    story.deletions().await?;
    story.conflict().await?;
    story.other_policies().await?;
    story.external_changes().await?;
    story.failures().await?;
    story.settled_objects().await?;
    compare(&story.text)
}

/// The world of the scenario and the log of its requests.
struct Story<'c> {
    world: World<'c>,
    /// The last applied manifest of each object.
    manifests: BTreeMap<String, Value>,
    /// The last group ID of each object.
    groups: BTreeMap<String, String>,
    cursor: Cursor,
    steps: usize,
    text: String,
    /// The golden log. It is empty in an update.
    golden: String,
}

impl<'c> Story<'c> {
    async fn begin(control_plane: &'c ControlPlane) -> Result<Self> {
        let groups = ["demo/hall", "demo/yard", "demo/lost:deleted", "small/first"].map(String::from).to_vec();
        let mut world = World::on(control_plane, EmulatorOptions { groups, ..app() }, &[]).await?;
        world.options.args.push(INTERVALS[0].into());
        let cursor = Cursor { writes: control_plane.audit_log()?.len(), ..Cursor::default() };
        let (manifests, groups) = (BTreeMap::new(), BTreeMap::new());
        let golden = if updating() { String::new() } else { std::fs::read_to_string(repository().join(GOLDEN))? };
        let mut story = Self { world, manifests, groups, cursor, steps: 0, text: String::new(), golden };
        story.start().await?;
        Ok(story)
    }

    async fn start(&mut self) -> Result<()> {
        self.world.start()?;
        self.world
            .until("the operator to start to reconcile", PATIENCE, async || {
                Ok(self.world.log().contains("listed; starting to reconcile"))
            })
            .await
    }

    async fn restart(&mut self) -> Result<()> {
        self.world.stop()?;
        self.start().await
    }

    /// Applies a manifest with these annotations by server-side apply, as a CI pipeline does.
    async fn apply_with(&mut self, name: &str, spec: Value, annotations: Value) -> Result<()> {
        let mut merged = json!({"appId": APP});
        if let (Some(merged), Some(spec)) = (merged.as_object_mut(), spec.as_object()) {
            merged.extend(spec.clone());
        }
        let group = merged["groupId"].as_str().unwrap_or(name).to_owned();
        self.groups.insert(name.to_owned(), group);
        let object = json!({
            "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveMessageGroup",
            "metadata": {"name": name, "annotations": annotations}, "spec": merged
        });
        self.manifests.insert(name.to_owned(), object);
        self.apply_again(name).await
    }

    async fn apply_again(&self, name: &str) -> Result<()> {
        let params = PatchParams::apply("pipeline").force();
        self.world.api.patch(name, &params, &Patch::Apply(&self.manifests[name])).await.map(drop).map_err(Into::into)
    }

    /// Runs a step that applies a manifest and waits for this `Ready` condition.
    async fn apply(&mut self, title: &str, name: &str, spec: Value, [status, reason]: [&str; 2]) -> Result<()> {
        self.apply_with(name, spec, json!({})).await?;
        self.world.ready(name, status, reason).await?;
        self.end_step(title).await
    }

    /// Runs a step that deletes an object.
    async fn delete(&mut self, title: &str, name: &str) -> Result<()> {
        self.world.delete(name).await?;
        self.manifests.remove(name);
        self.end_step(title).await
    }

    /// Runs a step with drift checks until `holds` returns `true` for this object.
    async fn drift_check(&mut self, title: &str, name: &str, holds: impl Fn(&LiveMessageGroup) -> bool) -> Result<()> {
        let last = self.world.options.args.len() - 1;
        self.world.options.args[last] = INTERVALS[1].into();
        self.restart().await?;
        self.world.until(title, PATIENCE, async || Ok(holds(&self.world.api.get(name).await?))).await?;
        self.quiet().await?;
        self.world.options.args[last] = INTERVALS[0].into();
        self.restart().await?;
        self.end_step(title).await
    }

    /// Advances the emulator's clock.
    fn days_pass(&mut self, days: i64) -> Result<()> {
        let passed = SignedDuration::from_hours(24 * days);
        self.cursor.moved += passed;
        self.world.emulator.set("/clock", &json!({"advanceSeconds": passed.as_secs()}))
    }

    /// Waits until there are no calls and no writes for [`QUIET`].
    async fn quiet(&self) -> Result<()> {
        let (mut last, mut since) = (0, Instant::now());
        while since.elapsed() < QUIET {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let calls = self.world.requests()?.len();
            let now = calls + self.world.control_plane.audit_log()?.len();
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        Ok(())
    }

    /// Ends a step. Appends its title, its calls and its writes to the log.
    async fn end_step(&mut self, title: &str) -> Result<()> {
        self.steps += 1;
        let heading = format!("## {}. {title}\n", self.steps);
        // Wait for the expected lines, because calls and writes can be late on a busy machine.
        let end = Instant::now() + if updating() { LATE_IN_AN_UPDATE } else { LATE };
        while Instant::now() < end && !self.golden.contains(&format!("{heading}{}\n", self.so_far()?.0)) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.quiet().await?;
        let (lines, cursor) = self.so_far()?;
        self.cursor = cursor;
        println!("{heading}{lines}");
        self.text += &format!("{heading}{lines}\n");
        Ok(())
    }

    /// The calls and writes of this step so far, and the new positions in the logs.
    fn so_far(&self) -> Result<(String, Cursor)> {
        let (calls, writes) = (self.world.emulator.requests()?, self.world.control_plane.audit_log()?);
        let moved = self.cursor.moved;
        let group_of = |name: &str| self.groups.get(name).cloned().unwrap_or_default();
        let mut lines = Vec::new();
        for request in &calls[self.cursor.calls..] {
            lines.push(record::call(request, moved)?);
        }
        for audit in &writes[self.cursor.writes..] {
            lines.push(record::write(audit, group_of)?);
        }
        Ok((record::in_order(lines), Cursor { calls: calls.len(), writes: writes.len(), moved }))
    }
}

fn updating() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

fn compare(text: &str) -> Result<()> {
    let path = repository().join(GOLDEN);
    if updating() {
        return Ok(std::fs::write(&path, text)?);
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == text,
        "the requests differ from {GOLDEN}; if the new ones are correct, update it: \
         UPDATE_GOLDEN=1 make integration FILTER=golden_story\n\n{}",
        difference(&expected, text)
    );
    Ok(())
}

/// Returns the old and the new version of each step that differs.
fn difference(old: &str, new: &str) -> String {
    let steps = |text: &str| -> Vec<(String, String)> {
        let split = |step: &str| step.split_once('\n').map(|(title, lines)| (title.to_owned(), lines.to_owned()));
        text.split("## ").filter_map(split).collect()
    };
    let (old, new) = (steps(old), steps(new));
    let mut shown = String::new();
    for at in 0..old.len().max(new.len()) {
        let (before, after) = (old.get(at), new.get(at));
        if before == after {
            continue;
        }
        for (sign, step) in [('-', before), ('+', after)] {
            let Some((title, lines)) = step else { continue };
            shown += &format!("{sign} ## {title}\n");
            lines.lines().filter(|line| !line.is_empty()).for_each(|line| shown += &format!("{sign} {line}\n"));
        }
    }
    shown
}
