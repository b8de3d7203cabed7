//! Tests the status contract for GitOps tools. The test cases are *situations*: each has a title and an object in a
//! particular state. The test reads the objects of all situations from the apiserver and evaluates them with kstatus,
//! with the health expressions for Flux, with Argo CD's health check in its Lua interpreter, and with `kubectl wait`.
//!
//! The resulting tables are in `tests/golden/` and in `docs/status.md`. Three modules define the situations. `live`
//! defines the situations that the operator reaches with the emulator, `script` defines the situations that require a
//! fault or a long time, and `account` defines the situations of LiveAccounts. A *scene* is a group of situations that
//! share one operator.
//!
//! The other modules test the examples for GitOps tools. For example, `schemas` validates the manifests, and
//! `flux_runs` applies them with the real kustomize-controller.

mod account;
mod examples;
mod flux;
mod flux_runs;
mod helm_wait;
mod kustomize;
mod live;
mod objects;
mod schemas;
mod script;
mod sops;
mod table;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use live_message_operator::resources::Reason;

use crate::support::{Context as _, Error, Result, documents, repository};
use serde_json::Value;
use table::{Row, Situation};

/// The names of the tables, of their golden files and of their markers in `docs/status.md`.
const GROUPS: &str = "status-contract";
const ACCOUNTS: &str = "account-status";
const PAGE: &str = "docs/status.md";

/// Returns the path of a file in `examples/gitops`.
fn example(path: &str) -> PathBuf {
    repository().join("examples/gitops").join(path)
}

/// Reads the objects in a file in `examples/gitops`.
fn manifests(path: &str) -> Result<Vec<Value>> {
    documents(&std::fs::read_to_string(example(path)).context(path)?)
}

#[tokio::test]
async fn golden_table_of_groups() -> Result<()> {
    let mut situations: Vec<Situation> = Vec::new();
    let main = live::main_scene(&mut situations).await?;
    live::unreachable_scene(&mut situations).await?;
    live::rejected_scene(&mut situations).await?;
    script::write_all(&main, &mut situations).await?;

    let rows = table::evaluate(main.control_plane, &situations)?;
    let broken: Vec<String> = rows.iter().flat_map(Row::broken_rules).collect();
    assert!(broken.is_empty(), "the status contract is broken:\n{}", broken.join("\n"));
    assert_every_reason_has_a_row(&rows);

    let fresh = rows.iter().find(|row| row.situation == live::FRESH).expect("the table has a fresh object");
    assert_eq!((fresh.kstatus.status.as_str(), fresh.argo.status.as_str()), ("InProgress", "Progressing"));
    assert!(!fresh.met, "kubectl wait accepts an object that the operator has not seen");
    compare(GROUPS, &table::markdown(rows))
}

#[tokio::test]
async fn golden_table_of_accounts() -> Result<()> {
    let mut situations: Vec<Situation> = Vec::new();
    let control_plane = account::main_scene(&mut situations).await?;
    account::strict_scene(&mut situations).await?;

    let rows = table::evaluate(control_plane, &situations)?;
    let broken: Vec<String> = rows.iter().flat_map(Row::broken_rules).collect();
    assert!(broken.is_empty(), "the status contract is broken:\n{}", broken.join("\n"));
    let shown: BTreeSet<&str> = rows.iter().flat_map(Row::reasons).collect();
    let of_accounts = ["Available", "CredentialsMissing", "CredentialsRejected", "InvalidInput", "Pending"];
    assert_eq!(shown, BTreeSet::from(of_accounts));
    compare(ACCOUNTS, &table::markdown(rows))
}

fn assert_every_reason_has_a_row(rows: &[Row]) {
    let shown: BTreeSet<&str> = rows.iter().flat_map(Row::reasons).collect();
    // Only LiveAccounts have the reason `Available`.
    let own = Reason::ALL.iter().filter(|reason| **reason != Reason::Available).map(|reason| reason.as_str());
    let missing: Vec<&str> = own.filter(|reason| !shown.contains(reason)).collect();
    assert!(missing.is_empty(), "reasons without a situation (add a line to script.rs): {missing:?}");
}

fn compare(name: &str, table: &str) -> Result<()> {
    /// Serializes updates, because both tables are on the same page.
    static WRITER: Mutex<()> = Mutex::new(());
    let _writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
    let golden = format!("tests/golden/{name}.md");
    let marks = ["begin", "end"].map(|which| format!("<!-- {name}:{which} -->\n"));
    let (file, page) = (repository().join(&golden), repository().join(PAGE));
    let text = std::fs::read_to_string(&page)?;
    let framed = |table: &str| format!("{}\n{table}\n{}", marks[0], marks[1]);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let found = text.split_once(&marks[0]).and_then(|(head, rest)| Some((head, rest.split_once(&marks[1])?.1)));
        let (head, tail) = found.ok_or_else(|| Error::new(format!("{PAGE} does not have the lines {marks:?}")))?;
        std::fs::write(&page, format!("{head}{}{tail}", framed(table)))?;
        std::fs::write(&file, table)?;
        return Ok(());
    }
    let how = "if the new table is correct, update both files: UPDATE_GOLDEN=1 make integration FILTER=golden_table";
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    println!("{table}");
    assert!(expected == table, "{golden} differs; {how}\n\n{}", difference(&expected, table));
    assert!(text.contains(&framed(table)), "{PAGE} differs from {golden}; {how}");
    Ok(())
}

/// Returns the lines that only one of the tables contains.
fn difference(old: &str, new: &str) -> String {
    let only = |sign: &str, of: &str, other: &str| -> String {
        let others: BTreeSet<&str> = other.lines().collect();
        of.lines().filter(|line| !others.contains(line)).map(|line| format!("{sign} {line}\n")).collect()
    };
    only("-", old, new) + &only("+", new, old)
}
