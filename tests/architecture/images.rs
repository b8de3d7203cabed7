//! Tests that the Dockerfile and `make image` build the same image, and that the Dockerfile pins its base image.

const DOCKERFILE: &str = include_str!("../../Dockerfile");
const SCRIPT: &str = include_str!("../../tools/image");

/// Returns the base image of each stage in the Dockerfile.
fn bases() -> Vec<&'static str> {
    let stages = DOCKERFILE.lines().filter_map(|line| line.strip_prefix("FROM "));
    stages.map(|stage| stage.split_whitespace().next().unwrap()).collect()
}

#[test]
fn base_image_is_pinned_by_version_and_digest() {
    let [build, "scratch"] = bases()[..] else { panic!("a build stage and scratch, not {:?}", bases()) };
    let (name, digest) = build.split_once("@sha256:").expect("a digest");
    assert!(digest.len() == 64 && digest.bytes().all(|digit| digit.is_ascii_hexdigit()), "{digest}");
    let (_, tag) = name.rsplit_once(':').unwrap();
    let numbers: Vec<u32> = tag.split('-').next().unwrap().split('.').map(|number| number.parse().unwrap()).collect();
    let minimum: Vec<u32> = env!("CARGO_PKG_RUST_VERSION").split('.').map(|number| number.parse().unwrap()).collect();
    assert_eq!(numbers.len(), 3, "a complete version: {build}");
    assert!(numbers >= minimum, "{build} is older than rust-version");
}

#[test]
fn dockerfile_uses_no_other_image() {
    assert!(!DOCKERFILE.contains("# syntax="), "the frontend would be an image that nothing pins");
    assert!(!DOCKERFILE.contains(":latest"));
}

#[test]
fn dockerfile_and_make_image_build_the_same_image() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(DOCKERFILE.contains(&format!("ARG VERSION={version}\n")), "ARG VERSION must be {version}");
    let auditable = include_str!("../tools/build");
    let auditable = auditable.split("packages=(cargo-auditable)").nth(1).and_then(|rest| rest.split(['(', ')']).nth(1));
    let auditable = auditable.expect("the version of cargo-auditable");
    assert!(DOCKERFILE.contains(&format!("cargo-auditable@{auditable}\n")), "cargo-auditable {auditable}");
    for part in [
        "target-feature=+crt-static",
        "cargo auditable build --release --locked",
        "65532:65532",
        "/etc/ssl/certs/ca-certificates.crt",
        "/usr/local/bin/",
        "/usr/share/doc/",
        "8081",
        "org.opencontainers.image.version",
        "org.opencontainers.image.revision",
        env!("CARGO_PKG_DESCRIPTION"),
    ] {
        assert!(DOCKERFILE.contains(part), "Dockerfile without {part}");
        assert!(SCRIPT.contains(part), "tools/image without {part}");
    }
}
