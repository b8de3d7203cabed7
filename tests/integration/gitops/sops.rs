//! Encrypts the example Secret with the real SOPS and a new age key.

use std::process::Command;

use serde_json::{Value, json};

use super::example;
use crate::support::{Context as _, Error, Result, Scratch, flux_tools};

/// The placeholder in the SOPS rules.
const RECIPIENT: &str = "age1REPLACE_WITH_YOUR_PUBLIC_KEY";

/// The encrypted Secret of the examples, and the age key that decrypts it.
pub struct EncryptedSecret {
    /// The encrypted Secret as YAML.
    pub yaml: String,
    age_key: String,
}

impl EncryptedSecret {
    /// Puts this namespace and this access key into the example Secret, and encrypts the Secret with the SOPS rules of
    /// the examples.
    pub fn create(namespace: &str, (id, secret): (&str, &str)) -> Result<Self> {
        let work_tree = Scratch::new("sops")?;
        run(&work_tree, "age-keygen", &["-o", "age.agekey"])?;
        let age_key = std::fs::read_to_string(work_tree.join("age.agekey"))?;
        let recipient = age_key.lines().find_map(|line| line.strip_prefix("# public key: "));
        let recipient = recipient.context("age-keygen printed no public key")?;
        let rules = std::fs::read_to_string(example("credentials/.sops.yaml"))?;
        assert!(rules.contains(RECIPIENT), "{rules}");
        work_tree.write(".sops.yaml", rules.replace(RECIPIENT, recipient))?;
        let plain = std::fs::read_to_string(example("credentials/secret.yaml"))?;
        let plain = plain.replace("YOUR_ID", id).replace("YOUR_SECRET", secret);
        // Set the namespace before the encryption, because the SOPS checksum covers it.
        let plain = plain.replace("namespace: live-message-operator", &format!("namespace: {namespace}"));
        work_tree.write("secret.yaml", plain)?;
        // This is the command in the example's comment.
        let yaml = run(&work_tree, "sops", &["encrypt", "secret.yaml"])?;
        assert!(!yaml.contains(secret), "the Secret is not encrypted:\n{yaml}");
        Ok(Self { yaml, age_key })
    }

    /// The Secret that contains the key. The example refers to this Secret.
    pub fn key(&self, namespace: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sops-age", "namespace": namespace},
            "stringData": {"age.agekey": self.age_key},
        })
    }
}

fn run(dir: &Scratch, program: &str, args: &[&str]) -> Result<String> {
    let path = flux_tools()?.join(program);
    let output = Command::new(&path).args(args).current_dir(dir.path()).env_clear().output().context(program)?;
    if !output.status.success() {
        return Err(Error::new(format!("{program}: {}", String::from_utf8_lossy(&output.stderr))));
    }
    Ok(String::from_utf8(output.stdout)?)
}
