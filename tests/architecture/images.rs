//! Tests that the base images of the Dockerfile are pinned by version.

/// The default values of the arguments of the Dockerfile whose names end with `_IMAGE`.
fn images() -> Vec<&'static str> {
    let lines = include_str!("../../Dockerfile").lines();
    let arguments = lines.filter_map(|line| line.strip_prefix("ARG ")?.split_once('='));
    arguments.filter(|(name, _)| name.ends_with("_IMAGE")).map(|(_, image)| image).collect()
}

#[test]
fn base_images_are_pinned_by_version() {
    let stages = include_str!("../../Dockerfile").lines().filter_map(|line| line.strip_prefix("FROM "));
    for stage in stages {
        assert!(stage.starts_with("${") && stage.contains("_IMAGE}"), "not set by an argument: {stage}");
    }
    let [build, runtime] = images()[..] else { panic!("two images, not {:?}", images()) };
    let (_, tag) = build.rsplit_once(':').unwrap();
    let (version, debian) = tag.split_once('-').unwrap();
    let numbers: Vec<u32> = version.split('.').map(|number| number.parse().unwrap()).collect();
    let minimum: Vec<u32> = env!("CARGO_PKG_RUST_VERSION").split('.').map(|number| number.parse().unwrap()).collect();
    assert_eq!(numbers.len(), 3, "a complete version: {build}");
    assert!(numbers >= minimum, "{build} is older than rust-version");
    // The binary is linked with the glibc of the build image.
    assert_eq!((debian, runtime), ("bookworm", "gcr.io/distroless/cc-debian12:nonroot"));
}

#[test]
fn dockerfile_uses_no_other_image() {
    let text = include_str!("../../Dockerfile");
    assert!(!text.contains("# syntax="), "the frontend would be an image that nothing pins");
    assert!(!text.contains(":latest"));
}
