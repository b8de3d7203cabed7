//! Tests that the demo has the permissions of the chart, and that it downloads or compiles its control plane.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use sha2::{Digest as _, Sha512};

use crate::support::{DEMO, DEMO_IN_A_NAMESPACE, Helm, Result, Scratch, envtest, repository};

#[test]
fn demo_has_the_permissions_of_the_chart() -> Result<()> {
    let helm = Helm::new()?;
    for demo in [DEMO, DEMO_IN_A_NAMESPACE] {
        let how = "UPDATE_GOLDEN=1 make integration FILTER=demo_has_the_permissions";
        let rbac: Value = serde_json::from_str(&demo.installation.rbac(&helm)?)?;
        let rbac = format!("# Generated from the chart: {how}\n{}", serde_yaml::to_string(&rbac)?);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(repository().join(demo.file), &rbac)?;
        }
        assert!(demo.rbac()? == rbac, "{} differs from the chart, update it: {how}", demo.file);
    }
    Ok(())
}

/// Simulates a machine whose cache contains no control plane and whose `go` command cannot compile anything.
struct Machine {
    dir: Scratch,
}

impl Machine {
    fn new() -> Result<Self> {
        let dir = Scratch::new("first-run")?;
        for folder in ["cache/tools", "bin"] {
            fs::create_dir_all(dir.join(folder))?;
        }
        // Link only the compiled setup-envtest, so that the test does not find a control plane in the real cache.
        let (compiled, copy) = (envtest()?, dir.join("cache/tools/envtest"));
        fs::create_dir(&copy)?;
        std::os::unix::fs::symlink(&compiled, copy.join(compiled.file_name().unwrap()))?;
        let go = dir.write("bin/go", "#!/bin/sh\n[ \"$1\" = env ] && echo go1.26.8\n")?;
        fs::set_permissions(go, fs::Permissions::from_mode(0o755))?;
        Ok(Self { dir })
    }

    /// Runs the script of `make demo` with a `cargo` command that does nothing.
    fn build(&self, index: &str, variables: &[(&str, &str)]) -> Result<Output> {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut script = Command::new(repository().join("tests/tools/demo"));
        script.env("PATH", format!("{}:{path}", self.dir.join("bin").display()));
        script.env("CARGO", "true").env("LMO_CACHE_DIR", self.dir.join("cache")).env("LMO_ENVTEST_INDEX", index);
        for variable in ["CI", "LMO_OFFLINE", "KUBEBUILDER_ASSETS", "DEMO_CONTEXT"] {
            script.env_remove(variable);
        }
        Ok(script.envs(variables.iter().copied()).output()?)
    }
}

/// Serves a setup-envtest index and its only archive. Returns the URL of the index.
fn serve_archive(dir: &Path) -> Result<String> {
    let files = dir.join("controller-tools/envtest");
    fs::create_dir_all(&files)?;
    for program in ["etcd", "kube-apiserver", "kubectl"] {
        fs::write(files.join(program), "#!/bin/sh\n")?;
        fs::set_permissions(files.join(program), fs::Permissions::from_mode(0o755))?;
    }
    let mut tar = Command::new("tar");
    let archive = tar.args(["--create", "--gzip", "--directory"]).arg(dir).arg("controller-tools").output()?.stdout;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let mut index = "releases:\n  v1.36.2:\n".to_owned();
    for platform in ["linux-amd64", "linux-arm64", "darwin-arm64"] {
        let hash = hex::encode(Sha512::digest(&archive));
        index +=
            &format!("    envtest-v1.36.2-{platform}.tar.gz:\n      hash: {hash}\n      selfLink: {url}/archive\n");
    }
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(std::result::Result::ok) {
            let mut request = String::new();
            let _ = BufReader::new(&stream).read_line(&mut request);
            let body = if request.contains("/archive") { &archive[..] } else { index.as_bytes() };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = (&stream).write_all(&[head.as_bytes(), body].concat());
        }
    });
    Ok(format!("{url}/index"))
}

#[test]
fn demo_downloads_the_control_plane_once() -> Result<()> {
    let machine = Machine::new()?;
    let index = serve_archive(&machine.dir.join("served"))?;
    let first = machine.build(&index, &[])?;
    let folder = String::from_utf8(first.stdout)?;
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    assert!(Path::new(folder.trim_end()).join("kube-apiserver").is_file(), "{folder:?}");
    let second = machine.build("http://127.0.0.1:1", &[])?;
    assert_eq!(String::from_utf8(second.stdout)?, folder, "{}", String::from_utf8_lossy(&second.stderr));
    Ok(())
}

#[test]
fn demo_compiles_if_the_download_is_not_possible() -> Result<()> {
    let machine = Machine::new()?;
    let unreachable = "http://127.0.0.1:1/index";
    for (variables, tried) in [(&[][..], true), (&[("CI", "true")], false), (&[("LMO_OFFLINE", "1")], false)] {
        let output = machine.build(unreachable, variables)?;
        let log = String::from_utf8(output.stderr)?;
        assert_eq!(log.contains("cannot download the control plane"), tried, "{variables:?}: {log}");
        assert!(log.contains("building kube-apiserver 1.36.3 failed") && !output.status.success(), "{log}");
    }
    Ok(())
}
