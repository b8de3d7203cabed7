//! The allowed imports between the top-level modules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::paths::{self, NamedPath};

/// The import rules of a top-level module.
struct Rules {
    name: &'static str,
    /// The modules of the library that the module can import.
    allowed: &'static [&'static str],
    /// The crates and external modules that the module must not use.
    never: &'static [&'static str],
}

/// I/O, clocks, async runtimes and clients, which a pure module must not use.
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

/// The async runtime, the HTTP libraries and the client parts of `kube`. The other items of `kube` are allowed, for
/// example the `CustomResource` derive macro.
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

/// The rules of all modules, from top to bottom.
const MODULES: &[Rules] = &[
    Rules { name: "cli", allowed: &["controller", "emulator", "live", "resources", "telemetry"], never: &[] },
    Rules {
        name: "controller",
        allowed: &["decide", "budget", "live", "resources", "telemetry"],
        never: &["reqwest", "axum", "clap", "prometheus_client"],
    },
    Rules { name: "emulator", allowed: &["live"], never: KUBERNETES },
    Rules { name: "decide", allowed: &["live", "resources"], never: IMPURE },
    Rules { name: "budget", allowed: &[], never: KUBERNETES },
    Rules { name: "live", allowed: &[], never: KUBERNETES },
    Rules { name: "resources", allowed: &[], never: CLIENTS },
    Rules { name: "telemetry", allowed: &[], never: KUBERNETES },
];

/// The types of `live` that `decide` can use: plain data, which cannot send or sign calls and contains no secrets.
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

/// Returns a message for each path in `paths` that the rules forbid.
fn violations(rules: &Rules, paths: &[NamedPath]) -> Vec<String> {
    let mut found = Vec::new();
    for path in paths {
        let text = path.join("::");
        if path[0] != "crate" {
            if rules.never.iter().any(|name| text == *name || text.starts_with(&format!("{name}::"))) {
                found.push(format!("{} must not use {text}", rules.name));
            }
            continue;
        }
        let Some(other) = path.get(1).filter(|other| *other != rules.name) else { continue };
        if !rules.allowed.contains(&other.as_str()) {
            found.push(format!("{} must not import {text}", rules.name));
        } else if rules.name == "decide"
            && other == "live"
            && !path.get(2).is_some_and(|name| PLAIN_LIVE.contains(&name.as_str()))
        {
            found.push(format!("decide must use only plain types of live, not {text}"));
        }
    }
    found
}

fn rules_of(name: &str) -> &'static Rules {
    MODULES
        .iter()
        .find(|rules| rules.name == name)
        .unwrap_or_else(|| panic!("the module {name} has no rules: add them to MODULES"))
}

/// Reads every file under `src/` except `lib.rs` and `main.rs`. Returns its path, its module and its source.
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
fn modules_import_only_allowed_modules() {
    let sources = sources();
    let found: Vec<String> = sources
        .iter()
        .flat_map(|(file, module, source)| {
            let found = violations(rules_of(&module[0]), &named_in(module, source));
            found.into_iter().map(move |what| format!("{file}: {what}"))
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));

    let modules: BTreeSet<&str> = sources.iter().map(|(_, module, _)| module[0].as_str()).collect();
    let known: BTreeSet<&str> = MODULES.iter().map(|rules| rules.name).collect();
    assert_eq!(modules, known, "the rules and the modules under src/ differ");
}

/// Maps each module to the sibling modules that it imports.
type Edges = BTreeMap<String, BTreeSet<String>>;

/// Finds the imports between the children of the module `of`. A child is a file or a folder. Tests and the module's
/// `mod.rs` are excluded.
fn edges(of: &[&str], sources: &[(String, Vec<String>, String)]) -> Edges {
    let mut edges = Edges::new();
    for (_, module, source) in sources {
        let Some(child) = module.get(of.len()).filter(|_| module.iter().zip(of).all(|(one, other)| one == other))
        else {
            continue;
        };
        if !module.iter().any(|part| part == "tests") {
            let named = named_in(module, source).into_iter().filter_map(|path| {
                let (krate, path) = path.split_first()?;
                let is_of =
                    krate == "crate" && path.iter().zip(of).filter(|(one, other)| one == other).count() == of.len();
                path.get(of.len()).filter(|other| is_of && *other != child).cloned()
            });
            edges.entry(child.clone()).or_default().extend(named);
        }
    }
    edges
}

/// Finds import cycles. Repeatedly removes a module that imports none of the remaining modules. Each module that cannot
/// be removed is part of a cycle or depends on a cycle.
fn cycles(mut edges: Edges) -> Edges {
    while let Some(bottom) =
        edges.iter().find(|(_, others)| others.iter().all(|other| !edges.contains_key(other))).map(|(n, _)| n.clone())
    {
        edges.remove(&bottom);
    }
    edges
}

#[test]
fn imports_have_no_cycles() {
    let sources = sources();
    for of in [
        &[][..],
        &["controller"],
        &["controller", "accounts"],
        &["controller", "background"],
        &["controller", "leader"],
        &["controller", "pass"],
        &["controller", "reconcile"],
        &["controller", "scheduler"],
        &["controller", "watch"],
        &["live"],
        &["live", "credentials"],
    ] {
        let edges = edges(of, &sources);
        assert!(edges.len() > 2, "{of:?}: {edges:?}");
        let cycles = cycles(edges);
        assert!(cycles.is_empty(), "an import cycle in {of:?}: {cycles:?}");
    }
}

/// Tests that the scheduler, the reconcile pass and the rules of the leader election use no I/O and no clock.
#[test]
fn scheduler_pass_and_election_are_pure() {
    let mut checked = 0;
    for (file, module, source) in sources() {
        let is_pure = module[0] == "controller"
            && (module.get(1).is_some_and(|name| ["keys", "pass", "scheduler"].contains(&name.as_str()))
                || module[1..] == ["leader", "election"])
            && !module.iter().any(|part| part == "tests");
        if !is_pure {
            continue;
        }
        checked += 1;
        for path in named_in(&module, &source) {
            let text = path.join("::");
            // The kube types are allowed, because the custom resources use them.
            let forbidden =
                IMPURE.iter().filter(|name| **name != "kube").chain(["kube::Client", "kube::client"].iter());
            for name in forbidden {
                assert!(text != *name && !text.starts_with(&format!("{name}::")), "{file} must not use {text}");
            }
        }
    }
    assert!(checked > 10, "{checked} files");
}

#[test]
fn controller_files_do_not_import_its_mod_rs() {
    let sources = sources();
    let children: BTreeSet<String> = edges(&["controller"], &sources).into_keys().chain(["tests".to_owned()]).collect();
    for (file, module, source) in sources.iter().filter(|(_, module, _)| module[0] == "controller" && module.len() > 1)
    {
        for path in
            named_in(module, source).iter().filter(|path| path.len() > 2 && path[..2] == ["crate", "controller"])
        {
            assert!(
                children.contains(&path[2]) || module[1] == "tests",
                "{file}: {path:?} is defined in controller/mod.rs"
            );
        }
    }
}

#[test]
fn cycles_are_found() {
    let source = |module: &[&str], text: &str| {
        (module.join("/"), module.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>(), text.to_owned())
    };
    let mut sources = vec![
        source(&["room"], "pub use top::run; use super::other::X;"),
        source(&["room", "top"], "use super::middle::M; use super::folder::F;"),
        source(&["room", "middle"], "use crate::room::folder::F; use crate::other::top::X;"),
        source(&["room", "folder", "inner"], "use super::F; use crate::other::Y;"),
        source(&["room", "folder", "tests"], "use crate::room::top::T;"),
    ];
    assert_eq!(cycles(edges(&["room"], &sources)), Edges::new());
    sources.push(source(&["room", "folder"], "fn f() { super::middle::g() }"));
    let names: Vec<String> = cycles(edges(&["room"], &sources)).into_keys().collect();
    assert_eq!(names, ["folder", "middle", "top"]);
}

#[test]
fn binary_imports_only_the_cli() {
    let main = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs")).unwrap();
    let ours: Vec<NamedPath> = paths::of(&main, &[]).into_iter().filter(|path| path[0] == "crate").collect();
    assert!(!ours.is_empty() && ours.iter().all(|path| path[1] == "cli"), "{ours:?}");
}

#[test]
fn forbidden_imports_are_found() {
    let bad = |name: &str, module: &[&str], source: &str| violations(rules_of(name), &paths::of(source, module));
    assert_eq!(bad("live", &["live", "client"], "use super::super::decide::Priority;").len(), 1);
    assert_eq!(bad("live", &["live"], "use super::{budget, resources::Reason};").len(), 2);
    assert_eq!(bad("budget", &["budget"], "fn f() -> crate::live::Operation { todo!() }").len(), 1);
    assert_eq!(bad("resources", &["resources", "x"], "use crate::{decide::Priority, *};").len(), 2);
    assert_eq!(bad("emulator", &["emulator"], "use kube::Client; use crate::controller;").len(), 2);
    assert_eq!(bad("decide", &["decide"], "use crate::live::{Call, Client, credentials::{self}, *};").len(), 3);
    assert_eq!(bad("decide", &["decide"], "use crate::live;").len(), 1);
    assert_eq!(bad("decide", &["decide"], "async fn f() { tokio::time::sleep(x).await }").len(), 1);
    assert_eq!(bad("controller", &["controller"], "use crate::{cli, emulator::Emulator};").len(), 2);
    let good = "use super::signature; use crate::live::request; mod tests { use super::*; use crate::live::xml; }";
    assert_eq!(bad("live", &["live", "client"], good), Vec::<String>::new());
}
