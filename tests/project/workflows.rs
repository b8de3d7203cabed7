//! Tests that every command in a workflow is a make target or a script, so that developers can run the same commands.
//! Also tests that the workflows are safe: they pin actions by commit, have few permissions and set time limits.

use serde_json::Value;

use super::{path, read};

/// Returns the file name, the raw text and the parsed YAML of each workflow.
fn workflows() -> Vec<(String, String, Value)> {
    let files = std::fs::read_dir(path(".github/workflows")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let parse = |name: String| {
        let text = read(&format!(".github/workflows/{name}"));
        let content = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, text, content)
    };
    let workflows: Vec<_> = names.map(parse).collect();
    assert!(workflows.len() >= 5, "the search finds too few workflows");
    workflows
}

/// Returns the jobs of a workflow with their names.
fn jobs(workflow: &Value) -> impl Iterator<Item = (&String, &Value)> {
    workflow["jobs"].as_object().expect("a workflow has jobs").iter()
}

fn steps(job: &Value) -> impl Iterator<Item = &Value> {
    job["steps"].as_array().expect("a job has steps").iter()
}

#[test]
fn workflow_steps_are_make_targets_or_scripts() {
    let makefile = read("Makefile");
    let mut found = 0;
    for (name, _, workflow) in workflows() {
        for command in jobs(&workflow).flat_map(|(_, job)| steps(job)).filter_map(|step| step["run"].as_str()) {
            for line in command.lines().filter(|line| !line.trim().is_empty()) {
                let mut words = line.split_whitespace();
                let first = words.next().unwrap();
                let exists = match first {
                    "make" => {
                        let target = words.next().unwrap_or_default();
                        makefile.lines().any(|line| line.starts_with(&format!("{target}:")))
                    }
                    script => script.contains('/') && path(script).is_file(),
                };
                assert!(exists, "{name}: not a make target or a script: {line}");
                assert!(!line.contains("${{"), "{name}: pass expressions through env, not through the shell: {line}");
                found += 1;
            }
        }
    }
    assert!(found >= 5, "the search finds only {found} commands");
}

#[test]
fn workflow_actions_are_pinned_by_commit() {
    for (name, text, _) in workflows() {
        for line in text.lines() {
            let Some((_, action)) = line.split_once("uses: ") else { continue };
            let (_, pin) = action.split_once('@').unwrap_or_else(|| panic!("{name}: no version: {line}"));
            let (commit, version) = pin.split_once(" # v").unwrap_or_else(|| panic!("{name}: no comment: {line}"));
            assert!(
                commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit()),
                "{name}: not a commit: {line}"
            );
            assert_eq!(version.split('.').count(), 3, "{name}: not a full version: {line}");
        }
    }
}

#[test]
fn workflows_have_few_permissions_and_time_limits() {
    for (name, _, workflow) in workflows() {
        assert_eq!(workflow["permissions"], serde_json::json!({ "contents": "read" }), "{name}");
        assert!(workflow["concurrency"]["group"].is_string(), "{name}: no concurrency group");
        for (job_name, job) in jobs(&workflow) {
            assert!(job["timeout-minutes"].is_u64(), "{name}, {job_name}: no time limit");
            for step in steps(job).filter(|step| step["uses"].as_str().unwrap_or_default().contains("checkout@")) {
                assert_eq!(step["with"]["persist-credentials"], false, "{name}, {job_name}: the token stays on disk");
            }
        }
    }
}

#[test]
fn issue_form_asks_for_what_a_diagnosis_needs() {
    let form: Value = serde_yaml::from_str(&read(".github/ISSUE_TEMPLATE/bug.yml")).unwrap();
    let fields = form["body"].as_array().unwrap();
    let text = form["body"].to_string();
    for needed in ["kubectl get lmg NAME -o yaml", "RequestId", "Kubernetes", "logs"] {
        assert!(text.contains(needed), "the form does not ask for {needed}");
    }
    let required = fields.iter().filter(|field| field["validations"]["required"] == true);
    assert!(required.count() >= 4, "too few required fields");
}

#[test]
fn dependency_updates_cover_every_lock_file() {
    let config: Value = serde_yaml::from_str(&read(".github/dependabot.yml")).unwrap();
    let updates = config["updates"].as_array().unwrap();
    let covers = |ecosystem: &str, directory: &str| {
        let of = updates.iter().filter(|update| update["package-ecosystem"] == ecosystem);
        of.flat_map(|update| update["directories"].as_array().cloned().unwrap_or(vec![update["directory"].clone()]))
            .any(|covered| {
                let covered = covered.as_str().unwrap_or_default();
                covered == directory || covered.strip_suffix("/*").is_some_and(|parent| directory.starts_with(parent))
            })
    };
    for ecosystem in ["cargo", "github-actions", "docker"] {
        assert!(covers(ecosystem, "/"), "{ecosystem}");
    }
    let modules = std::fs::read_dir(path("tests/tools")).unwrap().map(|entry| entry.unwrap().path());
    for module in modules.filter(|folder| folder.join("go.mod").is_file()) {
        let directory = format!("/tests/tools/{}", module.file_name().unwrap().to_str().unwrap());
        assert!(covers("gomod", &directory), "{directory}");
    }
}
