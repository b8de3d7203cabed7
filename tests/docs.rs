//! Tests that the documentation matches the code: reasons, fields, flags, metrics, make targets and links.
//!
//! `UPDATE_DOCS=1 cargo test --test docs` updates the generated parts.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use clap::CommandFactory as _;
use live_message_operator::cli::Cli;
use live_message_operator::resources::{NextActor, ReadyEffect, Reason, crds};
use live_message_operator::telemetry::Metrics;

/// The documents outside `docs/`.
const TOP_LEVEL: &[&str] =
    &["README.md", "README.zh-CN.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "examples/README.md"];

/// Prefixes of the metrics that the operator exports.
const METRIC_PREFIXES: &[&str] =
    &["live_message_operator_", "controller_runtime_", "leader_election_", "workqueue_", "rest_client_", "process_"];

/// Files that use metrics, in addition to the documents.
const METRIC_USERS: &[&str] = &[
    "charts/live-message-operator/files/rules/alerts.yaml",
    "charts/live-message-operator/files/dashboards/live-message-operator.json",
];

/// Labels that Prometheus adds.
const SCRAPE_LABELS: &[&str] = &["cluster", "namespace", "job", "pod", "instance"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Returns the paths of all documents of the project.
fn documents() -> Vec<String> {
    let files = std::fs::read_dir(path("docs")).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let pages: BTreeSet<String> =
        files.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}")).collect();
    assert!(pages.len() > 10, "the search finds too few documents: {pages:?}");
    TOP_LEVEL.iter().map(|name| (*name).to_owned()).chain(pages).collect()
}

/// Compares the part of a document between `<!-- NAME:begin -->` and `<!-- NAME:end -->` with the generated text.
fn assert_generated(document: &str, name: &str, generated: &str) {
    /// Serializes updates, because two tests can update the same document.
    static WRITER: Mutex<()> = Mutex::new(());
    let _writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
    let text = read(document);
    let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("<!-- {name}:end -->"));
    let from = text.find(&begin).unwrap_or_else(|| panic!("{document} has no {begin}")) + begin.len();
    let to = from + text[from..].find(&end).unwrap_or_else(|| panic!("{document} has no {end}"));
    if text[from..to] == *generated {
        return;
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path(document), format!("{}{generated}{}", &text[..from], &text[to..])).unwrap();
        return;
    }
    panic!("the part {name} of {document} is stale: run UPDATE_DOCS=1 cargo test --test docs");
}

#[test]
fn every_reason_is_explained() {
    let mut table = String::from("| reason | `Ready` | next actor | meaning and remedy |\n| --- | --- | --- | --- |\n");
    for reason in Reason::ALL {
        let ready = match reason.ready() {
            ReadyEffect::True => "True",
            ReadyEffect::False => "False",
            ReadyEffect::Unknown => "Unknown",
            ReadyEffect::Unchanged => "unchanged",
        };
        let actor = match reason.next_actor() {
            NextActor::None => "–".to_owned(),
            NextActor::Operator => "the operator".to_owned(),
            NextActor::User => "you".to_owned(),
            NextActor::UserAfter(grace) => format!("you, after {} minutes", grace.as_secs() / 60),
        };
        table.push_str(&format!("| `{reason}` | {ready} | {actor} | {} |\n", reason.doc()));
    }
    assert_generated("docs/reference.md", "reasons", &table);
}

#[test]
fn every_metric_is_explained() {
    let mut table = String::from("| metric | type | labels | description |\n| --- | --- | --- | --- |\n");
    for metric in Metrics::default().described() {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        table += &format!("| `{}` | {} | {} | {}. |\n", metric.name, metric.kind, labels.join(", "), metric.help);
    }
    assert_generated("docs/metrics.md", "metrics", &table);
}

#[test]
fn alerts_match_the_chart() {
    let rules: serde_json::Value =
        serde_yaml::from_str(&read("charts/live-message-operator/files/rules/alerts.yaml")).unwrap();
    let sections = anchors("docs/troubleshooting.md");
    let mut table = String::from("| alert | severity | for | summary |\n| --- | --- | --- | --- |\n");
    for rule in rules["groups"][0]["rules"].as_array().unwrap() {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let [name, duration] = ["alert", "for"].map(|key| text(&rule[key]));
        let [summary, description, runbook] =
            ["summary", "description", "runbook_url"].map(|key| text(&rule["annotations"][key]));
        let severity = text(&rule["labels"]["severity"]);
        assert!(["critical", "warning", "info"].contains(&&*severity), "{name}: {severity}");
        assert!(!summary.is_empty() && !description.is_empty(), "{name}");
        let section = name.to_lowercase();
        assert_eq!(runbook, format!("docs/troubleshooting.md#{section}"), "{name}");
        assert!(sections.contains(&section), "docs/troubleshooting.md has no section {name}");
        table += &format!("| [{name}](troubleshooting.md#{section}) | {severity} | {duration} | {summary} |\n");
    }
    assert_generated("docs/metrics.md", "alerts", &table);
}

/// Without this test, an alert or a dashboard panel could still use the old name of a renamed metric. The alert would
/// never fire, and the panel would stay empty.
#[test]
fn named_metrics_exist() {
    let metrics = Metrics::default();
    let mut named = 0;
    for document in documents().into_iter().chain(METRIC_USERS.iter().map(|name| (*name).to_owned())) {
        let text = read(&document);
        for (start, prefix) in METRIC_PREFIXES.iter().flat_map(|prefix| text.match_indices(prefix)) {
            let rest = &text[start + prefix.len()..];
            let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
            // Skip a prefix without a name, because it stands for a group of metrics.
            if end == 0 {
                continue;
            }
            let name = format!("{prefix}{}", &rest[..end]);
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let known = metrics.described().iter().find(|metric| metric.name == name || Some(&*metric.name) == family);
            let known = known.unwrap_or_else(|| panic!("{document}: there is no metric {name}"));
            let selector = rest[end..].strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default();
            for (label, _) in selector.split(',').filter_map(|pair| pair.split_once('=')) {
                let label = label.trim_end_matches('!');
                let is_known = known.labels.contains(&label) || SCRAPE_LABELS.contains(&label);
                assert!(is_known, "{document}: {name} has no label {label}");
            }
            named += 1;
        }
    }
    assert!(named > 2 * metrics.described().len() / 2, "the search found only {named} metric names");
}

/// Returns the section of the API reference about a kind.
fn section(kind: &str) -> String {
    let text = read("docs/reference.md");
    let heading = format!("\n## {kind}\n");
    let (_, rest) = text.split_once(&heading).unwrap_or_else(|| panic!("docs/reference.md has no heading {kind}"));
    rest.split("\n## ").next().unwrap().to_owned()
}

/// Returns the names in backquotes in the first column of all tables.
fn rows(text: &str) -> BTreeSet<String> {
    let cells = text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    cells.map(str::to_owned).collect()
}

#[test]
fn every_field_and_column_is_in_the_reference() {
    for crd in crds() {
        let kind = &crd.spec.names.kind;
        let rows = rows(&section(kind));
        for version in &crd.spec.versions {
            let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref()).unwrap();
            for part in ["spec", "status"] {
                for field in schema.properties.as_ref().unwrap()[part].properties.as_ref().unwrap().keys() {
                    assert!(rows.contains(field), "docs/reference.md, {kind}: no row for {part}.{field}");
                }
            }
            for column in version.additional_printer_columns.iter().flatten() {
                let name = column.name.to_uppercase();
                assert!(rows.contains(&name), "docs/reference.md, {kind}: no row for the column {name}");
            }
        }
    }
}

#[test]
fn every_flag_of_run_is_documented() {
    let (cli, text) = (Cli::command(), read("docs/configuration.md"));
    for argument in cli.find_subcommand("run").unwrap().get_arguments() {
        let (Some(option), Some(variable)) = (argument.get_long(), argument.get_env()) else { continue };
        let row = text
            .lines()
            .find(|line| line.starts_with(&format!("| `--{option}`")) || line.starts_with(&format!("| `--{option} ")));
        let row = row.unwrap_or_else(|| panic!("docs/configuration.md has no row for --{option}"));
        let defaults = argument.get_default_values().iter().map(|value| value.to_str().unwrap());
        for word in defaults.chain(variable.to_str()) {
            assert!(row.contains(&format!("`{word}`")), "--{option}: {word:?}");
        }
    }
}

#[test]
fn emulator_options_match_its_help() {
    let cli = Cli::command();
    let mut table = String::from("| option | variable | default | description |\n| --- | --- | --- | --- |\n");
    for argument in cli.find_subcommand("emulate").unwrap().get_arguments() {
        let (Some(option), Some(variable)) = (argument.get_long(), argument.get_env()) else { continue };
        let values: Vec<&str> =
            argument.get_value_names().unwrap_or_default().iter().map(|name| name.as_str()).collect();
        let default = argument.get_default_values().first().and_then(|value| value.to_str());
        let default = default.map_or_else(|| "none".to_owned(), |default| format!("`{default}`"));
        let help = argument.get_help().unwrap().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ").replace("KIND is one of", "KIND: see below");
        let values =
            if argument.get_action().takes_values() { format!(" {}", values.join(" ")) } else { String::new() };
        let variable = variable.to_str().unwrap();
        table.push_str(&format!("| `--{option}{values}` | `{variable}` | {default} | {help} |\n"));
        if option == "fault" {
            let help = argument.get_long_help().unwrap().to_string();
            let (_, kinds) = help.split_once("KIND is one of\n\n").unwrap();
            assert_generated("docs/emulator.md", "faults", &format!("```text\n{}\n```\n", kinds.trim_end()));
        }
    }
    assert_generated("docs/emulator.md", "options", &table);

    let text = read("docs/emulator.md");
    for operation in live_message_operator::emulator::Operation::ALL {
        assert!(text.contains(&format!("`{}`", operation.name())), "{}", operation.name());
    }
}

/// Returns the anchors that GitHub generates for the headings of a document.
fn anchors(document: &str) -> BTreeSet<String> {
    let mut in_code = false;
    let mut anchors = BTreeSet::new();
    for line in read(document).lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        let heading = line.trim_start_matches('#');
        if in_code || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        anchors.insert(kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect());
    }
    anchors
}

#[test]
fn relative_links_resolve() {
    let mut found = 0;
    for document in documents() {
        let text = read(&document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") {
                continue;
            }
            let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
            let folder = Path::new(&document).parent().unwrap();
            let target = if file.is_empty() { PathBuf::from(&document) } else { folder.join(file) };
            let target = target.to_str().unwrap();
            assert!(path(target).exists(), "{document}: the link {link} does not resolve");
            if let Some(anchor) = anchor {
                assert!(anchors(target).contains(anchor), "{document}: the link {link} names a missing heading");
            }
            found += 1;
        }
    }
    assert!(found > 100, "the search finds too few links: {found}");
}

/// Returns the `make` targets in a document. They are in backquotes, or at the start of a line in a code block.
fn make_targets(document: &str) -> BTreeSet<String> {
    let text = read(document);
    let inline = text.split("`make ").skip(1);
    let lines = text.lines().filter_map(|line| line.trim_start().trim_start_matches("$ ").strip_prefix("make "));
    inline
        .chain(lines)
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-').collect())
        .collect()
}

#[test]
fn named_make_targets_exist() {
    let makefile = read("Makefile");
    for document in documents() {
        for target in make_targets(&document) {
            let exists = makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
            assert!(exists, "{document}: make {target}");
        }
    }
}

#[test]
fn readme_is_short_and_names_two_commands() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 200, "README.md has {lines} lines, more than 200: move details to docs/");
    assert_eq!(make_targets("README.md"), BTreeSet::from(["demo".to_owned(), "test".to_owned()]));
}

#[test]
fn every_document_is_in_the_index() {
    let index = read("docs/README.md");
    for page in documents().iter().filter_map(|document| document.strip_prefix("docs/")) {
        assert!(page == "README.md" || index.contains(&format!("]({page})")), "docs/README.md does not list {page}");
    }
}
