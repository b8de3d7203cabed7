//! Tests that the commands in the documents use only existing files and chart values.

use super::markdown::Document;
use super::{path, read};

/// The directories of this repository that the commands refer to.
const DIRECTORIES: &[&str] = &["charts/", "crds/", "examples/", "tests/", "tools/", "docs/"];

/// Returns the commands in the shell code blocks of a document. If a line ends with a backslash, joins it with the next
/// line.
fn commands(document: &str) -> Vec<String> {
    let source = read(document);
    let shell = |language: &str| matches!(language, "sh" | "console" | "bash");
    let mut commands = Vec::new();
    for code in Document::parse(&source).code.iter().filter(|code| shell(code.language)) {
        let text = code.lines.join("\n").replace("\\\n", " ");
        commands.extend(text.lines().map(|line| line.trim_start_matches("$ ").to_owned()));
    }
    commands
}

fn documents() -> Vec<String> {
    let files = std::fs::read_dir(path("docs")).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let pages = files.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}"));
    pages.chain(["README.md", "SECURITY.md", "CONTRIBUTING.md", "examples/README.md"].map(str::to_owned)).collect()
}

#[test]
fn commands_name_existing_files() {
    let mut found = 0;
    for document in documents() {
        for command in commands(&document) {
            for word in command.split_whitespace() {
                let file = word.rsplit('=').next().unwrap();
                if DIRECTORIES.iter().any(|directory| file.starts_with(directory)) {
                    assert!(path(file).exists(), "{document}: {file} does not exist: {command}");
                    found += 1;
                }
            }
        }
    }
    assert!(found > 10, "the search finds only {found} files");
}

/// Returns the chart values that a command sets with `--set` and similar flags.
fn set_values(command: &str) -> Vec<String> {
    let mut words = command.split_whitespace();
    let mut keys = Vec::new();
    while let Some(word) = words.next() {
        let Some(rest) = word.strip_prefix("--set") else { continue };
        let (flag, value) = rest.split_once('=').unwrap_or((rest, ""));
        let value = if value.is_empty() { words.next().unwrap_or_default() } else { value };
        if ["", "-string", "-json", "-literal"].contains(&flag) {
            keys.extend(value.trim_matches('\'').split_once('=').map(|(key, _)| key.to_owned()));
        }
    }
    keys
}

#[test]
fn commands_set_existing_chart_values() {
    let values: serde_json::Value = serde_yaml::from_str(&read("charts/live-message-operator/values.yaml")).unwrap();
    let mut found = 0;
    for document in documents() {
        for command in commands(&document).iter().filter(|command| command.contains("charts/live-message-operator")) {
            for key in set_values(command) {
                let pointer = format!("/{}", key.replace('.', "/"));
                assert!(values.pointer(&pointer).is_some(), "{document}: the chart has no value {key}: {command}");
                found += 1;
            }
        }
    }
    assert!(found > 5, "the search finds only {found} values");
}

#[test]
fn set_values_are_found_in_every_form() {
    let command = "helm install x charts/y --set a.b=1 --set-string=c=2 --set-json 'd=[1]' --wait";
    assert_eq!(set_values(command), ["a.b", "c", "d"]);
}
