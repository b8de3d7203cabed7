//! The status contract as GitOps tools see it: every situation an object can be in, read from the real apiserver and
//! judged by the real kstatus, by Argo CD's health check in a real Lua, and by the real `kubectl wait`.
//!
//! The table that comes out stands in tests/golden/status-contract.md and in docs/status.md. A situation is one line: in
//! `live` where the operator brings it about against the emulator, in `script` where that takes a fault or a long time.

mod examples;
mod helm_wait;
mod live;
mod script;
mod table;

use std::collections::BTreeSet;

use live_message_operator::resources::Reason;

use crate::support::{Error, Result, repository};
use table::{Row, Situation};

const GOLDEN: &str = "tests/golden/status-contract.md";
const PAGE: &str = "docs/status.md";
/// Between these lines of the page stands the table.
const MARKS: [&str; 2] = ["<!-- status-contract:begin -->\n", "<!-- status-contract:end -->\n"];

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
    compare(&table::markdown(rows))
}

/// Whoever adds a reason adds a situation.
fn every_reason_has_a_row(rows: &[Row]) {
    let shown: BTreeSet<&str> = rows.iter().flat_map(Row::reasons).collect();
    // Of LiveAccounts, which the table is not about.
    let own = Reason::ALL.iter().filter(|reason| **reason != Reason::Available).map(|reason| reason.as_str());
    let missing: Vec<&str> = own.filter(|reason| !shown.contains(reason)).collect();
    assert!(missing.is_empty(), "reasons without a situation (add a line to script.rs): {missing:?}");
}

fn compare(table: &str) -> Result<()> {
    let (golden, page) = (repository().join(GOLDEN), repository().join(PAGE));
    let text = std::fs::read_to_string(&page)?;
    let framed = |table: &str| format!("{}\n{table}\n{}", MARKS[0], MARKS[1]);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let found = text.split_once(MARKS[0]).and_then(|(head, rest)| Some((head, rest.split_once(MARKS[1])?.1)));
        let (head, tail) = found.ok_or_else(|| Error::new(format!("{PAGE} lacks the lines {MARKS:?}")))?;
        std::fs::write(&page, format!("{head}{}{tail}", framed(table)))?;
        std::fs::write(&golden, table)?;
        return Ok(());
    }
    let how = "where the new one is right, UPDATE_GOLDEN=1 writes it into both files: \
               UPDATE_GOLDEN=1 make integration FILTER=golden_table";
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    println!("{table}");
    assert!(expected == table, "{GOLDEN} has another table; {how}\n\n{}", difference(&expected, table));
    assert!(text.contains(&framed(table)), "{PAGE} has another table than {GOLDEN}; {how}");
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
