//! Tests that the diagrams contain the reasons that the operator reports.

use std::collections::BTreeSet;
use std::str::FromStr as _;

use live_message_operator::resources::{ReadyEffect, Reason};

use super::markdown::Document;
use super::read;

/// Returns the lines of the first diagram of this type in a document.
fn diagram(document: &str, kind: &str) -> Vec<String> {
    let source = read(document);
    let code = Document::parse(&source).code;
    let found = code.iter().find(|code| code.language == "mermaid" && code.lines[0].starts_with(kind));
    let found = found.unwrap_or_else(|| panic!("{document} has no diagram {kind}"));
    found.lines.iter().skip(1).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn states_in_the_life_of_a_group_are_reasons() {
    let mut states = BTreeSet::new();
    for line in diagram("docs/concepts.md", "stateDiagram-v2") {
        let (from, rest) = line.split_once(" --> ").unwrap_or_else(|| panic!("not a transition: {line}"));
        let (to, _) = rest.split_once(" : ").unwrap_or_else(|| panic!("a transition without a cause: {line}"));
        states.extend([from.to_owned(), to.to_owned()]);
    }
    assert!(states.remove("[*]"), "the diagram has no start");
    for state in &states {
        assert!(Reason::from_str(state).is_ok(), "{state} is not a reason");
    }
    let settled = [Reason::Created, Reason::AlreadyExists, Reason::Recovered, Reason::GroupDeleted];
    assert!(settled.iter().all(|reason| states.contains(reason.as_str())), "{states:?}");
}

#[test]
fn troubleshooting_chart_leads_from_every_failure() {
    let mut named = BTreeSet::new();
    for line in diagram("docs/troubleshooting.md", "flowchart") {
        let Some(label) = line.split("-- ").nth(1).and_then(|rest| rest.split(" -->").next()) else { continue };
        let known = label.trim_matches('"').split(", ").filter_map(|word| Reason::from_str(word).ok());
        named.extend(known.map(Reason::as_str));
    }
    for reason in Reason::ALL {
        // The chart must contain every reason that sets Ready to False, and Pending. The other reasons are optional.
        if reason.ready() == ReadyEffect::False || *reason == Reason::Pending {
            assert!(named.contains(reason.as_str()), "no arrow for {reason}");
        }
    }
}
