//! The status contract as GitOps tools see it: every situation an object can be in, read from the real apiserver and
//! judged by the real kstatus, by Argo CD's health check in a real Lua, and by the real `kubectl wait`.
//!
//! The tables that come out stand in tests/golden/ and in docs/status.md. A situation is one line: in `live` where the
//! operator brings it about against the emulator, in `script` where that takes a fault or a long time; those of
//! LiveAccounts are in `account`.

mod account;
mod examples;
mod helm_wait;
mod live;
mod script;
mod table;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use live_message_operator::resources::Reason;

use crate::support::{Error, Result, repository};
use table::{Row, Situation};

/// The names of the tables: of their files, and of the lines of the page that they stand between.
const GROUPS: &str = "status-contract";
const ACCOUNTS: &str = "account-status";
const PAGE: &str = "docs/status.md";

#[tokio::test]
async fn the_golden_table() -> Result<()> {
    let mut situations: Vec<Situation> = Vec::new();
    let main = live::main_scene(&mut situations).await?;
    live::unreachable_scene(&mut situations).await?;
    live::rejected_scene(&mut situations).await?;
    script::write_all(&main, &mut situations).await?;

    let rows = table::judge(main.control_plane, &situations)?;
    let broken: Vec<String> = rows.iter().flat_map(Row::broken_rules).collect();
    assert!(broken.is_empty(), "the status contract is broken:\n{}", broken.join("\n"));
    every_reason_has_a_row(&rows);

    let fresh = rows.iter().find(|row| row.situation == live::FRESH).expect("a fresh object is among them");
    assert_eq!((fresh.kstatus.status.as_str(), fresh.argo.status.as_str()), ("InProgress", "Progressing"));
    assert!(!fresh.met, "kubectl wait takes an object for ready that nobody has looked at");
    compare(GROUPS, &table::markdown(rows))
}

#[tokio::test]
async fn the_golden_table_of_accounts() -> Result<()> {
    let mut situations: Vec<Situation> = Vec::new();
    let control_plane = account::main_scene(&mut situations).await?;
    account::strict_scene(&mut situations).await?;

    let rows = table::judge(control_plane, &situations)?;
    let broken: Vec<String> = rows.iter().flat_map(Row::broken_rules).collect();
    assert!(broken.is_empty(), "the status contract is broken:\n{}", broken.join("\n"));
    let shown: BTreeSet<&str> = rows.iter().flat_map(Row::reasons).collect();
    let of_accounts = ["Available", "CredentialsMissing", "CredentialsRejected", "InvalidInput", "Pending"];
    assert_eq!(shown, BTreeSet::from(of_accounts));
    compare(ACCOUNTS, &table::markdown(rows))
}

/// Whoever adds a reason adds a situation.
fn every_reason_has_a_row(rows: &[Row]) {
    let shown: BTreeSet<&str> = rows.iter().flat_map(Row::reasons).collect();
    // Of LiveAccounts, which the table is not about.
    let own = Reason::ALL.iter().filter(|reason| **reason != Reason::Available).map(|reason| reason.as_str());
    let missing: Vec<&str> = own.filter(|reason| !shown.contains(reason)).collect();
    assert!(missing.is_empty(), "reasons without a situation (add a line to script.rs): {missing:?}");
}

fn compare(name: &str, table: &str) -> Result<()> {
    /// Both tables are written into one page.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let golden = format!("tests/golden/{name}.md");
    let marks = ["begin", "end"].map(|which| format!("<!-- {name}:{which} -->\n"));
    let (file, page) = (repository().join(&golden), repository().join(PAGE));
    let text = std::fs::read_to_string(&page)?;
    let framed = |table: &str| format!("{}\n{table}\n{}", marks[0], marks[1]);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let found = text.split_once(&marks[0]).and_then(|(head, rest)| Some((head, rest.split_once(&marks[1])?.1)));
        let (head, tail) = found.ok_or_else(|| Error::new(format!("{PAGE} lacks the lines {marks:?}")))?;
        std::fs::write(&page, format!("{head}{}{tail}", framed(table)))?;
        std::fs::write(&file, table)?;
        return Ok(());
    }
    let how = "where the new one is right, UPDATE_GOLDEN=1 writes it into both files: \
               UPDATE_GOLDEN=1 make integration FILTER=golden_table";
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    println!("{table}");
    assert!(expected == table, "{golden} has another table; {how}\n\n{}", difference(&expected, table));
    assert!(text.contains(&framed(table)), "{PAGE} has another table than {golden}; {how}");
    Ok(())
}

/// The lines that only one of the two has.
fn difference(old: &str, new: &str) -> String {
    let only = |sign: &str, of: &str, other: &str| -> String {
        let others: BTreeSet<&str> = other.lines().collect();
        of.lines().filter(|line| !others.contains(line)).map(|line| format!("{sign} {line}\n")).collect()
    };
    only("-", old, new) + &only("+", new, old)
}
