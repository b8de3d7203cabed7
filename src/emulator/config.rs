//! The configuration of an emulator, and a builder for tests.

use std::path::PathBuf;
use std::time::Duration;

use super::clock::Clock;
use super::fault::Fault;
use super::key::AccessKey;
use super::metadata::{EcsRole, Imds};
pub use super::spec::{AppSpec, Denial, GroupSpec, TokenSpec};
use super::state::{DataCenter, GROUPS_PER_APP, State};
use super::sts::RoleArn;

/// The default of [`Config::requests_per_second`]: the documented limit of the API.
pub const REQUESTS_PER_SECOND: usize = 50;

/// The settings of an emulator. With [`Config::default`], it listens on a free port of 127.0.0.1 and has no access keys
/// or apps.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to listen on, `ADDR:PORT`; port 0 selects a free port.
    pub listen: String,
    /// The access keys that requests can be signed with.
    pub access_keys: Vec<AccessKey>,
    /// The calls that the access keys are not permitted to make. A denied call gets 403 `NoAuth`.
    pub denials: Vec<Denial>,
    /// The apps that exist at startup.
    pub apps: Vec<AppSpec>,
    /// The groups that exist at startup.
    pub groups: Vec<GroupSpec>,
    /// The file that the request log is appended to.
    pub request_log: Option<PathBuf>,
    /// The maximum number of records that the request log keeps in memory. It discards the oldest ones first.
    pub records_kept: usize,
    /// The number of calls per second that each account can make to each operation; 0 for no limit.
    pub requests_per_second: usize,
    /// Whether a throttled call counts toward `requests_per_second`.
    pub count_refused: bool,
    /// The quota of live groups per app; 0 for no limit.
    pub groups_per_app: usize,
    /// The roles that clients can assume through STS. If the list is empty, they can assume every role.
    pub roles: Vec<RoleArn>,
    /// The maximum lifetime of a temporary key. If it is `None`, keys have the lifetime that STS or the metadata
    /// service defines.
    pub longest_session: Option<Duration>,
    /// The RAM role of the emulated ECS instance; `None` if the instance has no role. The metadata service issues keys
    /// for this role.
    pub ecs_role: Option<EcsRole>,
    /// The versions of the metadata service that are enabled.
    pub imds: Imds,
    /// A second address to listen on, `ADDR:PORT`. It serves the same requests as the first.
    pub metadata_listen: Option<String>,
    /// The minimum time from the arrival of a request to its response.
    pub latency: Duration,
    /// The source of time.
    pub clock: Clock,
    /// The fault rules.
    pub faults: Vec<Fault>,
    /// The seed of the fault rules' random numbers. Runs with the same seed and the same calls have the same faults.
    pub seed: Option<u64>,
    /// The initial state. Entries of `apps` and `groups` that the state does not contain are added to it.
    pub state: Option<State>,
    /// The address of the admin API, `ADDR:PORT`; see [`super::admin`]. If it is `None`, the admin API is disabled.
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

/// Builds a [`Config`] step by step, for tests.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    config: Config,
}

impl Builder {
    /// Sets the address to listen on, `ADDR:PORT`. Defaults to a free port of 127.0.0.1.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.config.listen = address.into();
        self
    }

    /// Adds a permanent key.
    pub fn access_key(self, id: &str, secret: &str) -> Self {
        self.key(AccessKey::new(id, secret))
    }

    /// Adds a key, permanent or temporary.
    pub fn key(mut self, key: AccessKey) -> Self {
        self.config.access_keys.push(key);
        self
    }

    /// Denies the Live API calls of this key. If `app` is given, only the calls for this app are denied. A denied call
    /// gets 403 `NoAuth`.
    pub fn deny(mut self, access_key_id: &str, app: Option<&str>) -> Self {
        let access_key_id = access_key_id.to_owned();
        self.config.denials.push(Denial { access_key_id, app: app.map(str::to_owned) });
        self
    }

    /// Adds an app in `cn-shanghai`.
    pub fn app(self, id: &str) -> Self {
        self.app_in(id, DataCenter::Shanghai)
    }

    /// Adds an app in a data center.
    pub fn app_in(mut self, id: &str, data_center: DataCenter) -> Self {
        self.config.apps.push(AppSpec { account: None, id: id.to_owned(), data_center });
        self
    }

    /// Adds an app in `cn-shanghai` that only the keys of one account can see.
    pub fn app_of(mut self, account: &str, id: &str) -> Self {
        let account = Some(account.to_owned());
        self.config.apps.push(AppSpec { account, id: id.to_owned(), data_center: DataCenter::Shanghai });
        self
    }

    /// Adds a live group.
    pub fn group(mut self, app: &str, id: &str) -> Self {
        self.config.groups.push(GroupSpec { app: app.to_owned(), id: id.to_owned(), deleted: false });
        self
    }

    /// Adds a deleted group. Its deletion time is the time when the emulator starts.
    pub fn deleted_group(mut self, app: &str, id: &str) -> Self {
        self.config.groups.push(GroupSpec { app: app.to_owned(), id: id.to_owned(), deleted: true });
        self
    }

    /// Appends the request log to a file, in addition to the records in memory.
    pub fn request_log(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.request_log = Some(path.into());
        self
    }

    /// Sets the number of calls per second that each account can make to each operation; 0 for no limit.
    pub fn requests_per_second(mut self, limit: usize) -> Self {
        self.config.requests_per_second = limit;
        self
    }

    /// Counts throttled calls toward the limit of [`Builder::requests_per_second`].
    pub fn count_refused(mut self) -> Self {
        self.config.count_refused = true;
        self
    }

    /// Sets the quota of live groups per app; 0 for no limit.
    pub fn groups_per_app(mut self, limit: usize) -> Self {
        self.config.groups_per_app = limit;
        self
    }

    /// Adds a role that clients can assume through STS. If no role is added, clients can assume every role.
    pub fn role(mut self, role: RoleArn) -> Self {
        self.config.roles.push(role);
        self
    }

    /// Sets the maximum lifetime of a temporary key.
    pub fn longest_session(mut self, lifetime: Duration) -> Self {
        self.config.longest_session = Some(lifetime);
        self
    }

    /// Sets the RAM role of the emulated ECS instance. The metadata service issues keys for this role.
    pub fn ecs_role(mut self, role: EcsRole) -> Self {
        self.config.ecs_role = Some(role);
        self
    }

    /// Sets the enabled versions of the metadata service.
    pub fn imds(mut self, imds: Imds) -> Self {
        self.config.imds = imds;
        self
    }

    /// Adds a second address that serves the same requests as the first.
    pub fn metadata_listen(mut self, address: impl Into<String>) -> Self {
        self.config.metadata_listen = Some(address.into());
        self
    }

    /// Sets the minimum time from the arrival of a request to its response.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.config.latency = latency;
        self
    }

    /// Replaces the system clock.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.config.clock = clock;
        self
    }

    /// Adds a fault rule; see [`Fault`] for its syntax.
    pub fn fault(mut self, fault: Fault) -> Self {
        self.config.faults.push(fault);
        self
    }

    /// Sets the seed of the fault rules' random numbers, so that the faults are repeatable.
    pub fn seed(mut self, seed: u64) -> Self {
        self.config.seed = Some(seed);
        self
    }

    /// Sets the initial state.
    pub fn state(mut self, state: State) -> Self {
        self.config.state = Some(state);
        self
    }

    /// Sets the address of the admin API, `ADDR:PORT`; see [`super::admin`].
    pub fn admin_listen(mut self, address: impl Into<String>) -> Self {
        self.config.admin_listen = Some(address.into());
        self
    }

    /// Returns the configuration without starting an emulator.
    pub fn build(self) -> Config {
        self.config
    }

    /// Starts an emulator with this configuration.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`super::Emulator::start`].
    pub fn start(self) -> std::io::Result<super::Handle> {
        super::Emulator::start(self.config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_secrets() {
        let config = Builder::default().access_key("id", "topsecret").build();
        assert!(!format!("{config:?}").contains("topsecret"));
    }
}
