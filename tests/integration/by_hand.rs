//! A client with which tests call the Live API directly, for example to make external changes.

use live_message_operator::live::{
    Call, Client, ClientOptions, Credentials, Endpoint, GroupChange, GroupRef, GroupSnapshot, Reply,
};

use crate::support::{Error, Result};
use crate::world::{APP, World};

/// A Live API client with valid credentials.
pub struct ByHand {
    client: Client,
    credentials: Credentials,
}

impl ByHand {
    /// Creates a client that calls the emulator of this world. It signs calls with the emulator's first access key.
    pub fn at(world: &World<'_>) -> Result<Self> {
        let client = Client::new(Endpoint::parse(world.emulator.url(), true)?, ClientOptions::default())?;
        let (id, secret) = &world.emulator_options.access_keys[0];
        Ok(Self { client, credentials: Credentials::new(id, secret, None) })
    }

    /// Sends a call without retries.
    pub async fn call(&self, call: Call) -> Result<Reply> {
        Ok(self.client.send(&call, &self.credentials).await?.value)
    }

    pub async fn describe(&self, id: &str) -> Result<GroupSnapshot> {
        match self.call(Call::Describe(group(id))).await? {
            Reply::Group(group) => Ok(group),
            other => Err(Error::new(format!("not a group: {other:?}"))),
        }
    }

    pub async fn set_info(&self, id: &str, info: &str) -> Result<()> {
        let change = GroupChange { group_info: Some(info.to_owned()), administrators: None };
        self.call(Call::Modify(group(id), change)).await.map(drop)
    }
}

/// Returns a reference to a group in [`APP`].
pub fn group(id: &str) -> GroupRef {
    GroupRef { app_id: APP.to_owned(), group_id: id.to_owned(), data_center: None }
}
