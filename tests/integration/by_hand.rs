//! The Live API as a person uses it beside the operator: with the library's own client.

use live_message_operator::live::{
    Call, Client, ClientOptions, Credentials, Endpoint, GroupChange, GroupRef, GroupSnapshot, Reply,
};

use crate::support::{Error, Result};
use crate::world::{APP, World};

/// Calls of a person who has the right credentials.
pub struct ByHand {
    client: Client,
    credentials: Credentials,
}

impl ByHand {
    /// At this world's emulator.
    pub fn at(world: &World<'_>) -> Result<Self> {
        let client = Client::new(Endpoint::parse(world.emulator.url(), true)?, ClientOptions::default())?;
        let (id, secret) = &world.emulator_options.access_keys[0];
        Ok(Self { client, credentials: Credentials::new(id, secret, None) })
    }

    /// Makes a call.
    pub async fn call(&self, call: Call) -> Result<Reply> {
        Ok(self.client.send(&call, &self.credentials).await?.value)
    }

    /// How a group looks.
    pub async fn describe(&self, id: &str) -> Result<GroupSnapshot> {
        match self.call(Call::Describe(group(id))).await? {
            Reply::Group(group) => Ok(group),
            other => Err(Error::new(format!("no group: {other:?}"))),
        }
    }

    /// Changes a group's info.
    pub async fn set_info(&self, id: &str, info: &str) -> Result<()> {
        let change = GroupChange { group_info: Some(info.to_owned()), administrators: None };
        self.call(Call::Modify(group(id), change)).await.map(drop)
    }
}

/// A group of the app that every world has.
pub fn group(id: &str) -> GroupRef {
    GroupRef { app_id: APP.to_owned(), group_id: id.to_owned(), data_center: None }
}
