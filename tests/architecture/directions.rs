//! Which room may import which.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::paths::{self, NamedPath};

/// What a room may import.
struct Room {
    name: &'static str,
    /// The other rooms.
    rooms: &'static [&'static str],
    /// Crates and modules outside the library that must not be named: what the room must know nothing of.
    never: &'static [&'static str],
}

/// No I/O, no clock, no async, no client: what makes a room pure.
const IMPURE: &[&str] = &[
    "tokio",
    "tokio_util",
    "futures",
    "reqwest",
    "axum",
    "kube",
    "prometheus_client",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
];

/// The types of an object are those of kube; its clients are not for every room.
const CLIENTS: &[&str] = &[
    "tokio",
    "tokio_util",
    "reqwest",
    "axum",
    "kube::Client",
    "kube::Api",
    "kube::api",
    "kube::client",
    "kube::runtime",
];

const KUBERNETES: &[&str] = &["kube", "k8s_openapi"];

/// From the top to the bottom.
const ROOMS: &[Room] = &[
    Room { name: "cli", rooms: &["controller", "emulator", "live", "resources", "telemetry"], never: &[] },
    Room {
        name: "controller",
        rooms: &["decide", "budget", "live", "resources", "telemetry"],
        never: &["reqwest", "axum", "clap", "prometheus_client"],
    },
    Room { name: "emulator", rooms: &["live"], never: KUBERNETES },
    Room { name: "decide", rooms: &["live", "resources"], never: IMPURE },
    Room { name: "budget", rooms: &[], never: KUBERNETES },
    Room { name: "live", rooms: &[], never: KUBERNETES },
    Room { name: "resources", rooms: &[], never: CLIENTS },
    Room { name: "telemetry", rooms: &[], never: KUBERNETES },
];

/// Of `live`, `decide` may name the plain types: nothing that sends, signs, or holds a secret.
const PLAIN_LIVE: &[&str] = &[
    "Call",
    "CallError",
    "CreateOutcome",
    "ErrorClass",
    "GroupChange",
    "GroupFields",
    "GroupRef",
    "GroupSnapshot",
    "Operation",
    "Reply",
    "error",
    "operation",
    "response",
];

/// What is wrong with the paths of one file of the room `room`.
fn violations(room: &Room, paths: &[NamedPath]) -> Vec<String> {
    let mut found = Vec::new();
    for path in paths {
        let text = path.join("::");
        if path[0] != "crate" {
            if room.never.iter().any(|name| text == *name || text.starts_with(&format!("{name}::"))) {
                found.push(format!("{} must know nothing of {text}", room.name));
            }
            continue;
        }
        let Some(other) = path.get(1).filter(|other| *other != room.name) else { continue };
        if !room.rooms.contains(&other.as_str()) {
            found.push(format!("{} must not import {text}", room.name));
        } else if room.name == "decide"
            && other == "live"
            && !path.get(2).is_some_and(|name| PLAIN_LIVE.contains(&name.as_str()))
        {
            found.push(format!("decide may use plain types of live only, not {text}"));
        }
    }
    found
}

fn room(name: &str) -> &'static Room {
    ROOMS.iter().find(|room| room.name == name).unwrap_or_else(|| panic!("the room {name} has no rules: add them"))
}

/// Every file under `src/` but `lib.rs` and `main.rs`, with the path of its module.
fn sources() -> Vec<(String, Vec<String>, String)> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<(String, Vec<String>, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(root).unwrap().with_extension("");
                let mut module: Vec<String> = relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
                if module.last().is_some_and(|last| last == "mod") {
                    module.pop();
                }
                if module != ["lib"] && module != ["main"] {
                    found.push((path.display().to_string(), module, std::fs::read_to_string(&path).unwrap()));
                }
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    found
}

fn named_in(module: &[String], source: &str) -> Vec<NamedPath> {
    let module: Vec<&str> = module.iter().map(String::as_str).collect();
    paths::of(source, &module)
}

#[test]
fn every_room_imports_only_what_it_may() {
    let sources = sources();
    let found: Vec<String> = sources
        .iter()
        .flat_map(|(file, module, source)| {
            let found = violations(room(&module[0]), &named_in(module, source));
            found.into_iter().map(move |what| format!("{file}: {what}"))
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));

    let rooms: BTreeSet<&str> = sources.iter().map(|(_, module, _)| module[0].as_str()).collect();
    let known: BTreeSet<&str> = ROOMS.iter().map(|room| room.name).collect();
    assert_eq!(rooms, known, "the rules and the rooms under src/ differ");
}

#[test]
fn there_is_no_circle() {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, module, source) in sources() {
        let others = edges.entry(module[0].clone()).or_default();
        let named = named_in(&module, &source).into_iter().filter(|path| path[0] == "crate");
        others.extend(named.filter_map(|path| path.get(1).cloned()).filter(|other| *other != module[0]));
    }
    // A room that imports nothing that is left goes; what cannot go is a circle.
    while let Some(bottom) =
        edges.iter().find(|(_, others)| others.iter().all(|other| !edges.contains_key(other))).map(|(n, _)| n.clone())
    {
        edges.remove(&bottom);
    }
    assert!(edges.is_empty(), "a circle: {edges:?}");
}

#[test]
fn the_binary_knows_the_command_line_only() {
    let main = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs")).unwrap();
    let ours: Vec<NamedPath> = paths::of(&main, &[]).into_iter().filter(|path| path[0] == "crate").collect();
    assert!(!ours.is_empty() && ours.iter().all(|path| path[1] == "cli"), "{ours:?}");
}

#[test]
fn violations_are_found() {
    let bad = |name: &str, module: &[&str], source: &str| violations(room(name), &paths::of(source, module));
    assert_eq!(bad("live", &["live", "client"], "use super::super::decide::Lane;").len(), 1);
    assert_eq!(bad("live", &["live"], "use super::{budget, resources::Reason};").len(), 2);
    assert_eq!(bad("budget", &["budget"], "fn f() -> crate::live::Operation { todo!() }").len(), 1);
    assert_eq!(bad("resources", &["resources", "x"], "use crate::{decide::Lane, *};").len(), 2);
    assert_eq!(bad("emulator", &["emulator"], "use kube::Client; use crate::controller;").len(), 2);
    assert_eq!(bad("decide", &["decide"], "use crate::live::{Call, Client, credentials::{self}, *};").len(), 3);
    assert_eq!(bad("decide", &["decide"], "use crate::live;").len(), 1);
    assert_eq!(bad("decide", &["decide"], "async fn f() { tokio::time::sleep(x).await }").len(), 1);
    assert_eq!(bad("controller", &["controller"], "use crate::{cli, emulator::Emulator};").len(), 2);
    let good = "use super::signature; use crate::live::request; mod tests { use super::*; use crate::live::xml; }";
    assert_eq!(bad("live", &["live", "client"], good), Vec::<String>::new());
}
