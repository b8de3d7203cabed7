//! Credentials from the official environment variables.

use futures::future::BoxFuture;

use super::{Credentials, Issued, Provider, Refusal, Surroundings};

const ID: &str = "ALIBABA_CLOUD_ACCESS_KEY_ID";
const SECRET: &str = "ALIBABA_CLOUD_ACCESS_KEY_SECRET";
const TOKEN: &str = "ALIBABA_CLOUD_SECURITY_TOKEN";

/// `ALIBABA_CLOUD_ACCESS_KEY_ID`, `ALIBABA_CLOUD_ACCESS_KEY_SECRET` and, for a temporary key,
/// `ALIBABA_CLOUD_SECURITY_TOKEN`.
#[derive(Debug)]
pub(super) struct Environment(pub Surroundings);

impl Provider for Environment {
    fn name(&self) -> &'static str {
        "environment"
    }

    fn issue(&self) -> BoxFuture<'_, Result<Issued, Refusal>> {
        Box::pin(std::future::ready(read(&self.0)))
    }
}

fn read(surroundings: &Surroundings) -> Result<Issued, Refusal> {
    let token = surroundings.value(TOKEN);
    match (surroundings.value(ID), surroundings.value(SECRET)) {
        (Some(id), Some(secret)) => Ok(Issued::lasting(Credentials::new(&id, &secret, token.as_deref()))),
        (None, None) => Err(Refusal::NotConfigured(format!("{ID} and {SECRET} are not set"))),
        (None, Some(_)) => Err(Refusal::Failed(format!("{SECRET} is set and {ID} is not"))),
        (Some(_), None) => Err(Refusal::Failed(format!("{ID} is set and {SECRET} is not"))),
    }
}
