//! Tests the release script in a copy of the repository, with a stand-in for `make image`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::support::{Context as _, Error, Result, Scratch, documents, helm_tools, repository};

/// The files that the script reads.
const FILES: &[&str] =
    &["Cargo.toml", "CHANGELOG.md", "charts", "tools/release", "tests/tools/common.sh", ".gitignore"];

/// Writes an OCI archive and an SBOM, as `make image` does. This archive contains only an index.
const MAKE: &str = r#"#!/bin/sh
mkdir -p "$IMAGE_OUTPUT/index" && cd "$IMAGE_OUTPUT/index"
echo '{"manifests": [{"digest": "sha256:1111111111111111111111111111111111111111111111111111111111111111"}]}' > index.json
tar -cf ../live-message-operator.tar index.json && cd .. && rm -r index
echo "{\"image\": \"$IMAGE\"}" > live-message-operator.cdx.json
"#;

struct Copy {
    dir: Scratch,
}

impl Copy {
    /// Copies the files of the repository, turns the changelog's Unreleased section into a section for the current
    /// version, and commits the copy.
    fn new() -> Result<Self> {
        let copy = Self { dir: Scratch::new("release")? };
        fs::create_dir_all(copy.dir.join("tools"))?;
        fs::create_dir_all(copy.dir.join("tests/tools"))?;
        fs::create_dir_all(copy.dir.join("bin"))?;
        for file in FILES {
            let status = Command::new("cp").arg("-R").arg(repository().join(file)).arg(copy.dir.join(file)).status()?;
            assert!(status.success(), "cp {file}");
        }
        let make = copy.dir.write("bin/make", MAKE)?;
        fs::set_permissions(make, fs::Permissions::from_mode(0o755))?;
        copy.edit("CHANGELOG.md", "## [Unreleased]", &format!("## [{}] - 2026-01-31", env!("CARGO_PKG_VERSION")))?;
        copy.git(&["init", "--quiet"])?;
        copy.commit()?;
        Ok(copy)
    }

    fn git(&self, args: &[&str]) -> Result<()> {
        let identity = ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"];
        let status = Command::new("git").current_dir(self.dir.path()).args(identity).args(args).status()?;
        if status.success() { Ok(()) } else { Err(Error::new(format!("git {args:?}: {status}"))) }
    }

    fn commit(&self) -> Result<()> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message=test"])
    }

    fn edit(&self, file: &str, from: &str, to: &str) -> Result<()> {
        let path = self.dir.join(file);
        let text = fs::read_to_string(&path).context(file)?;
        assert!(text.contains(from), "{file} does not contain {from}");
        Ok(fs::write(path, text.replacen(from, to, 1))?)
    }

    /// Runs the script for a version. Returns stdout, or stderr as the error.
    fn release(&self, version: &str) -> Result<String> {
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new(self.dir.join("tools/release"))
            .env("PATH", format!("{}:{path}", self.dir.join("bin").display()))
            .env("HELM", helm_tools()?.join("helm"))
            .envs([("VERSION", version), ("REGISTRY", "registry.test/team"), ("SOURCE", "https://example.test/repo")])
            .output()?;
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout)?);
        }
        Err(Error::new(String::from_utf8(output.stderr)?))
    }

    fn output(&self, file: &str) -> PathBuf {
        self.dir.join("target/release-files").join(file)
    }
}

#[test]
fn release_script_requires_a_consistent_version() -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let copy = Copy::new()?;
    let refusal = |version: &str| copy.release(version).unwrap_err().to_string();
    assert!(refusal("1.0").contains("VERSION must be a version"));
    assert!(refusal("99.0.0").contains("Cargo.toml has the version"));
    copy.edit("CHANGELOG.md", &format!("## [{version}]"), "## [Unreleased]")?;
    assert!(refusal(version).contains("changes that are not committed"));
    copy.commit()?;
    assert!(refusal(version).contains("CHANGELOG.md has no section"));
    copy.edit("charts/live-message-operator/Chart.yaml", "appVersion: ", "appVersion: 9")?;
    copy.commit()?;
    assert!(refusal(version).contains("appVersion"));
    Ok(())
}

#[test]
fn release_contains_every_file_and_only_prints_the_rest() -> Result<()> {
    let copy = Copy::new()?;
    let version = env!("CARGO_PKG_VERSION");
    let printed = copy.release(&format!("v{version}"))?;
    let image = "registry.test/team/live-message-operator";
    let chart = format!("live-message-operator-{version}.tgz");
    let digest = format!("sha256:{}", "1".repeat(64));
    for command in [
        format!(
            "skopeo copy --preserve-digests oci-archive:target/release-files/live-message-operator.tar docker://{image}:{version}"
        ),
        format!("cosign sign --yes {image}@{digest}"),
        format!("helm push target/release-files/{chart} oci://registry.test/team/charts"),
        format!("gh release create v{version}"),
    ] {
        assert!(printed.contains(&command), "{command} is missing in:\n{printed}");
    }

    // The manifest installs the CRDs, and it refers to the image by digest.
    let manifest = documents(&fs::read_to_string(copy.output("install.yaml"))?)?;
    let of_kind = |kind: &'static str| manifest.iter().filter(move |object| object["kind"] == kind);
    assert_eq!(of_kind("CustomResourceDefinition").count(), 2);
    assert_eq!(of_kind("Namespace").count(), 1);
    let deployment = of_kind("Deployment").next().context("install.yaml has no Deployment")?;
    let found = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(found, &format!("{image}@{digest}"));

    // The packaged chart installs the released image, even if no values are set.
    let packaged = copy.output(&chart);
    let rendered = Command::new(helm_tools()?.join("helm")).args(["template", "x"]).arg(packaged).output()?;
    let rendered = String::from_utf8(rendered.stdout)?;
    assert!(rendered.contains(&format!("image: \"{image}:{version}\"")), "{rendered}");

    // The checksums and the provenance list the same files with the correct digests.
    let sums = fs::read_to_string(copy.output("SHA256SUMS"))?;
    let provenance: Value = serde_json::from_str(&fs::read_to_string(copy.output("provenance.intoto.json"))?)?;
    let subjects = provenance["subject"].as_array().context("no subjects")?;
    assert_eq!(provenance["predicateType"], "https://slsa.dev/provenance/v1");
    let files = ["install.yaml", &*chart, "live-message-operator.tar", "live-message-operator.cdx.json"];
    assert_eq!((sums.lines().count(), subjects.len()), (files.len(), files.len()), "{sums}");
    for file in files {
        let sum = hex::encode(Sha256::digest(fs::read(copy.output(file))?));
        assert!(sums.contains(&format!("{sum}  {file}")), "{sums}");
        let expected = serde_json::json!({ "name": file, "digest": { "sha256": sum } });
        assert!(subjects.contains(&expected), "{file}: {provenance}");
    }
    Ok(())
}
