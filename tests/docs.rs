//! What the documents say of the code is so: reasons, fields, options, make targets and links.
//!
//! `UPDATE_DOCS=1 cargo test --test docs` writes the generated parts anew.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use clap::CommandFactory as _;
use live_message_operator::cli::Cli;
use live_message_operator::resources::{NextActor, ReadyEffect, Reason, crds};
use live_message_operator::telemetry::Metrics;

const DOCUMENTS: &[&str] = &[
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "docs/emulator.md",
    "docs/design.md",
    "docs/status.md",
    "docs/metrics.md",
    "examples/README.md",
];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Holds the part of a document between `<!-- NAME:begin -->` and `<!-- NAME:end -->` to what is generated.
fn holds_generated(document: &str, name: &str, generated: &str) {
    /// Two parts of one document may be written at once.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
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
    panic!("the part {name} of {document} is stale: UPDATE_DOCS=1 cargo test --test docs writes it anew");
}

#[test]
fn every_reason_is_explained() {
    let mut table =
        String::from("| reason | `Ready` | who acts | what it means, and what to do |\n| --- | --- | --- | --- |\n");
    for reason in Reason::ALL {
        let ready = match reason.ready() {
            ReadyEffect::True => "True",
            ReadyEffect::False => "False",
            ReadyEffect::Unknown => "Unknown",
            ReadyEffect::Unchanged => "as before",
        };
        let who = match reason.next_actor() {
            NextActor::None => "nobody".to_owned(),
            NextActor::Operator => "the operator".to_owned(),
            NextActor::User => "you".to_owned(),
            NextActor::UserAfter(grace) => format!("you, after {} minutes", grace.as_secs() / 60),
        };
        table.push_str(&format!("| `{reason}` | {ready} | {who} | {} |\n", reason.doc()));
    }
    holds_generated("README.md", "reasons", &table);
}

#[test]
fn every_metric_is_explained() {
    let mut table = String::from("| metric | type | labels | description |\n| --- | --- | --- | --- |\n");
    for metric in Metrics::default().described() {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        table += &format!("| `{}` | {} | {} | {}. |\n", metric.name, metric.kind, labels.join(", "), metric.help);
    }
    holds_generated("docs/metrics.md", "metrics", &table);
}

#[test]
fn every_alert_is_that_of_the_chart() {
    let rules: serde_json::Value =
        serde_yaml::from_str(&read("charts/live-message-operator/files/rules/alerts.yaml")).unwrap();
    let mut table = String::from("| alert | summary | expression | for |\n| --- | --- | --- | --- |\n");
    for rule in rules["groups"][0]["rules"].as_array().unwrap() {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let [name, expression, lasting] = ["alert", "expr", "for"].map(|key| text(&rule[key]));
        let [summary, description] = ["summary", "description"].map(|key| text(&rule["annotations"][key]));
        let severity = text(&rule["labels"]["severity"]);
        assert!(["critical", "warning", "info"].contains(&&*severity) && !description.is_empty(), "{name}");
        table += &format!("| `{name}` | {summary} | `{}` | {lasting} |\n", expression.replace('|', "\\|"));
    }
    holds_generated("docs/metrics.md", "alerts", &table);
}

/// A panel or an alert of a metric that is called otherwise by now never fires.
#[test]
fn every_metric_that_is_named_exists() {
    const PREFIXES: [&str; 5] =
        ["live_message_operator_", "controller_runtime_", "workqueue_", "rest_client_", "process_"];
    let metrics = Metrics::default();
    let mut named = 0;
    for document in DOCUMENTS {
        let text = read(document);
        for (at, _) in PREFIXES.iter().flat_map(|prefix| text.match_indices(prefix)) {
            let rest = &text[at..];
            let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
            if rest[end..].starts_with('*') {
                continue;
            }
            let name = rest[..end].to_owned();
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let known = metrics.described().iter().find(|metric| metric.name == name || Some(&*metric.name) == family);
            let known = known.unwrap_or_else(|| panic!("{document}: there is no metric {name}"));
            // What is selected by.
            for pair in
                rest[end..].strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default().split(',')
            {
                let Some((label, _)) = pair.split_once('=') else { continue };
                assert!(known.labels.contains(&label), "{document}: {name} has no label {label}");
            }
            named += 1;
        }
    }
    assert!(named > 2 * metrics.described().len() / 2, "the search finds too little: {named}");
}

/// The names in the first column of the tables of a document, where they stand in backquotes.
fn rows(document: &str) -> BTreeSet<String> {
    let text = read(document);
    let cells = text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    cells.map(str::to_owned).collect()
}

#[test]
fn every_field_and_column_is_in_the_readme() {
    let rows = rows("README.md");
    for crd in crds() {
        for version in &crd.spec.versions {
            let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref()).unwrap();
            for part in ["spec", "status"] {
                for field in schema.properties.as_ref().unwrap()[part].properties.as_ref().unwrap().keys() {
                    assert!(rows.contains(field), "README.md has no row for {part}.{field}");
                }
            }
            for column in version.additional_printer_columns.iter().flatten() {
                let name = column.name.to_uppercase();
                assert!(rows.contains(&name), "README.md has no row for the column {name}");
            }
        }
    }
}

#[test]
fn every_option_of_run_is_in_the_readme() {
    let (cli, text) = (Cli::command(), read("README.md"));
    for argument in cli.find_subcommand("run").unwrap().get_arguments() {
        let (Some(option), Some(variable)) = (argument.get_long(), argument.get_env()) else { continue };
        let row = text
            .lines()
            .find(|line| line.starts_with(&format!("| `--{option}`")) || line.starts_with(&format!("| `--{option} ")));
        let row = row.unwrap_or_else(|| panic!("README.md has no row for --{option}"));
        let defaults = argument.get_default_values().iter().map(|value| value.to_str().unwrap());
        for word in defaults.chain(variable.to_str()) {
            assert!(row.contains(&format!("`{word}`")), "--{option}: {word:?}");
        }
    }
}

#[test]
fn the_options_of_the_emulator_are_those_of_its_help() {
    let cli = Cli::command();
    let mut table = String::from("| option | variable | default | what it does |\n| --- | --- | --- | --- |\n");
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
            holds_generated("docs/emulator.md", "faults", &format!("```text\n{}\n```\n", kinds.trim_end()));
        }
    }
    holds_generated("docs/emulator.md", "options", &table);

    let text = read("docs/emulator.md");
    for operation in live_message_operator::emulator::Operation::ALL {
        assert!(text.contains(&format!("`{}`", operation.name())), "{}", operation.name());
    }
}

#[test]
fn links_lead_somewhere() {
    for document in DOCUMENTS {
        let text = read(document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") || link.starts_with('#') {
                continue;
            }
            let target = path(document).parent().unwrap().join(link.split('#').next().unwrap());
            assert!(target.exists(), "{document}: the link {link} leads nowhere");
        }
    }
}

#[test]
fn every_make_target_that_is_named_exists() {
    let makefile = read("Makefile");
    for document in DOCUMENTS {
        let text = read(document);
        let inline = text.split("`make ").skip(1);
        let lines = text.lines().filter_map(|line| line.trim_start().trim_start_matches("$ ").strip_prefix("make "));
        for rest in inline.chain(lines) {
            let target: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            let exists = makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
            assert!(exists, "{document}: make {target}");
        }
    }
}
