//! Tests that `make test` reports whether it has checked the dependencies for known vulnerabilities.

use std::path::Path;
use std::process::Command;

/// Returns the summary that `tests/tools/deny` prints if the last check had the given result. `None` means that no
/// check has run.
fn summary(result: Option<&str>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("advisories");
    if let Some(result) = result {
        std::fs::write(&file, result).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/deny");
    let output = Command::new(script).arg("summary").env("LMO_ADVISORIES", file).output().unwrap();
    assert!(output.status.success());
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[test]
fn summary_warns_unless_vulnerabilities_were_checked() {
    assert_eq!(summary(Some("checked\n")), "dependencies: no known vulnerabilities\n");
    for result in [None, Some("unchecked\n"), Some("")] {
        assert!(summary(result).contains("WARNING: the dependencies were NOT checked"), "{result:?}");
    }
}

#[test]
fn make_test_checks_dependencies_and_prints_the_summary() {
    let makefile = include_str!("../../Makefile");
    let recipe = makefile.split("\ntest: ").nth(1).unwrap().split("\n\n").next().unwrap();
    assert!(recipe.contains(" deny\n") && recipe.ends_with("tests/tools/deny summary"), "{recipe}");
}
