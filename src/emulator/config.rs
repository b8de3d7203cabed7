//! What an emulator is started with.

use std::path::PathBuf;
use std::time::Duration;

use super::clock::Clock;
use super::fault::Fault;
use super::key::AccessKey;
use super::metadata::{EcsRole, Imds};
pub use super::spec::{AppSpec, Denial, GroupSpec, TokenSpec};
use super::state::{DataCenter, GROUPS_PER_APP, State};
use super::sts::RoleArn;

/// The default of [`Config::requests_per_second`]: the documented limit.
pub const REQUESTS_PER_SECOND: usize = 50;

/// Everything an emulator can be told at its start. [`Config::default`] listens on a free port of 127.0.0.1 and knows
/// no key and no app.
#[derive(Debug, Clone)]
pub struct Config {
    /// `ADDR:PORT`; port 0 takes a free one.
    pub listen: String,
    /// The keys that may call.
    pub access_keys: Vec<AccessKey>,
    /// What they may not do: 403 `NoAuth`.
    pub denials: Vec<Denial>,
    /// The apps that exist.
    pub apps: Vec<AppSpec>,
    /// The groups that exist.
    pub groups: Vec<GroupSpec>,
    /// The file the request log is appended to.
    pub request_log: Option<PathBuf>,
    /// How many records of the request log are kept in memory; 0 for none.
    pub records_kept: usize,
    /// Calls a second per account and operation; 0 for no limit.
    pub requests_per_second: usize,
    /// Whether calls refused by this limit count in it too.
    pub count_refused: bool,
    /// Live groups an app may have; 0 for no limit.
    pub groups_per_app: usize,
    /// The roles STS lets be assumed; every role when there are none.
    pub roles: Vec<RoleArn>,
    /// The longest life of a temporary key; what STS and the metadata service say when `None`.
    pub longest_session: Option<Duration>,
    /// The role the ECS metadata service has keys of.
    pub ecs_role: Option<EcsRole>,
    /// Whether the metadata service has, or wants, tokens.
    pub imds: Imds,
    /// `ADDR:PORT` of a second address; it answers as the first one does.
    pub metadata_listen: Option<String>,
    /// What every answer waits.
    pub latency: Duration,
    /// Where the time comes from.
    pub clock: Clock,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Makes the draws of the faults repeatable.
    pub seed: Option<u64>,
    /// What the emulator starts with; apps and groups above that are not in it are added.
    pub state: Option<State>,
    /// `ADDR:PORT` of the address to steer the emulator at; none by default.
    pub admin_listen: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:0".to_owned(),
            access_keys: Vec::new(),
            denials: Vec::new(),
            apps: Vec::new(),
            groups: Vec::new(),
            request_log: None,
            records_kept: 100_000,
            requests_per_second: REQUESTS_PER_SECOND,
            count_refused: false,
            groups_per_app: GROUPS_PER_APP,
            roles: Vec::new(),
            longest_session: None,
            ecs_role: None,
            imds: Imds::Any,
            metadata_listen: None,
            latency: Duration::ZERO,
            clock: Clock::system(),
            faults: Vec::new(),
            seed: None,
            state: None,
            admin_listen: None,
        }
    }
}

/// Makes a [`Config`] step by step, for tests.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    config: Config,
}

impl Builder {
    /// Listens there instead of on a free port of 127.0.0.1.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.config.listen = address.into();
        self
    }

    /// A permanent key.
    pub fn access_key(self, id: &str, secret: &str) -> Self {
        self.key(AccessKey::new(id, secret))
    }

    /// Any key, temporary ones too.
    pub fn key(mut self, key: AccessKey) -> Self {
        self.config.access_keys.push(key);
        self
    }

    /// Every call of this key gets `NoAuth`, or every call on one app.
    pub fn deny(mut self, access_key_id: &str, app: Option<&str>) -> Self {
        let access_key_id = access_key_id.to_owned();
        self.config.denials.push(Denial { access_key_id, app: app.map(str::to_owned) });
        self
    }

    /// An app in `cn-shanghai`.
    pub fn app(self, id: &str) -> Self {
        self.app_in(id, DataCenter::Shanghai)
    }

    /// An app in a data center.
    pub fn app_in(mut self, id: &str, data_center: DataCenter) -> Self {
        self.config.apps.push(AppSpec { account: None, id: id.to_owned(), data_center });
        self
    }

    /// An app in `cn-shanghai` that exists for the keys of one account only.
    pub fn app_of(mut self, account: &str, id: &str) -> Self {
        let account = Some(account.to_owned());
        self.config.apps.push(AppSpec { account, id: id.to_owned(), data_center: DataCenter::Shanghai });
        self
    }

    /// A live group.
    pub fn group(mut self, app: &str, id: &str) -> Self {
        self.config.groups.push(GroupSpec { app: app.to_owned(), id: id.to_owned(), deleted: false });
        self
    }

    /// A deleted group.
    pub fn deleted_group(mut self, app: &str, id: &str) -> Self {
        self.config.groups.push(GroupSpec { app: app.to_owned(), id: id.to_owned(), deleted: true });
        self
    }

    /// Appends the request log to a file.
    pub fn request_log(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.request_log = Some(path.into());
        self
    }

    /// Calls a second per account and operation; 0 for no limit.
    pub fn requests_per_second(mut self, limit: usize) -> Self {
        self.config.requests_per_second = limit;
        self
    }

    /// Calls refused by this limit count in it too.
    pub fn count_refused(mut self) -> Self {
        self.config.count_refused = true;
        self
    }

    /// Live groups an app may have; 0 for no limit.
    pub fn groups_per_app(mut self, limit: usize) -> Self {
        self.config.groups_per_app = limit;
        self
    }

    /// A role STS lets be assumed; without any, every role is.
    pub fn role(mut self, role: RoleArn) -> Self {
        self.config.roles.push(role);
        self
    }

    /// The longest life of a temporary key.
    pub fn longest_session(mut self, lifetime: Duration) -> Self {
        self.config.longest_session = Some(lifetime);
        self
    }

    /// The role the ECS metadata service has keys of.
    pub fn ecs_role(mut self, role: EcsRole) -> Self {
        self.config.ecs_role = Some(role);
        self
    }

    /// Whether the metadata service has, or wants, tokens.
    pub fn imds(mut self, imds: Imds) -> Self {
        self.config.imds = imds;
        self
    }

    /// A second address that answers as the first one does.
    pub fn metadata_listen(mut self, address: impl Into<String>) -> Self {
        self.config.metadata_listen = Some(address.into());
        self
    }

    /// What every answer waits.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.config.latency = latency;
        self
    }

    /// Another clock than the machine's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.config.clock = clock;
        self
    }

    /// Something goes wrong; see [`Fault`] for the form.
    pub fn fault(mut self, fault: Fault) -> Self {
        self.config.faults.push(fault);
        self
    }

    /// Makes the draws of the faults repeatable.
    pub fn seed(mut self, seed: u64) -> Self {
        self.config.seed = Some(seed);
        self
    }

    /// What the emulator starts with.
    pub fn state(mut self, state: State) -> Self {
        self.config.state = Some(state);
        self
    }

    /// An address to steer the emulator at.
    pub fn admin_listen(mut self, address: impl Into<String>) -> Self {
        self.config.admin_listen = Some(address.into());
        self
    }

    /// The configuration.
    pub fn build(self) -> Config {
        self.config
    }

    /// Starts an emulator.
    ///
    /// # Errors
    ///
    /// As [`super::Emulator::start`].
    pub fn start(self) -> std::io::Result<super::Handle> {
        super::Emulator::start(self.config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let config = Builder::default().access_key("id", "topsecret").build();
        assert!(!format!("{config:?}").contains("topsecret"));
    }
}
