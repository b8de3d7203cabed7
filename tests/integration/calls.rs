//! Counts and selects the calls to one operation in the emulator's request log.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::support::{Emulator, Request, Result, busiest_second};

/// The calls of an operation in order of arrival.
pub struct Calls {
    requests: Vec<Request>,
    times: Vec<Timestamp>,
}

impl Calls {
    /// Reads the calls that the emulator has received so far.
    pub fn read(emulator: &Emulator, operation: &str) -> Result<Self> {
        let mut requests: Vec<Request> =
            emulator.requests()?.into_iter().filter(|request| request.operation == operation).collect();
        requests.sort_by(|a, b| a.time.cmp(&b.time));
        let times = requests.iter().map(Request::arrived).collect::<Result<_>>()?;
        Ok(Self { requests, times })
    }

    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Returns the largest number of calls in any interval of one second.
    pub fn busiest_second(&self) -> usize {
        busiest_second(&self.times)
    }

    /// Returns the time from the first to the last call, or zero if there are no calls.
    pub fn span(&self) -> Duration {
        match (self.times.first(), self.times.last()) {
            (Some(first), Some(last)) => Duration::from_secs_f64(seconds_from(*first, *last)),
            _ => Duration::ZERO,
        }
    }

    /// Returns the number of calls for each group ID.
    pub fn by_group(&self) -> BTreeMap<&str, usize> {
        let mut groups = BTreeMap::new();
        for request in &self.requests {
            *groups.entry(request.param("GroupId").unwrap_or_default()).or_default() += 1;
        }
        groups
    }

    /// Returns the time of the first call for this group ID, or `None` if there is no such call.
    pub fn first_of(&self, group: &str) -> Option<Timestamp> {
        let call = self.requests.iter().position(|request| request.param("GroupId") == Some(group))?;
        Some(self.times[call])
    }

    /// Keeps only the calls that arrived after `moment`.
    pub fn after(self, moment: Timestamp) -> Self {
        let (requests, times) = self.requests.into_iter().zip(self.times).filter(|(_, time)| *time > moment).unzip();
        Self { requests, times }
    }

    /// Selects the calls that were signed with this access key.
    pub fn of_key(&self, key: &str) -> Self {
        let of = self.requests.iter().zip(&self.times).filter(|(r, _)| r.access_key_id.as_deref() == Some(key));
        let (requests, times) = of.map(|(request, time)| (request.clone(), *time)).unzip();
        Self { requests, times }
    }

    /// Returns the error codes of the failed calls.
    pub fn codes(&self) -> Vec<&str> {
        self.requests.iter().filter_map(|request| request.code.as_deref()).collect()
    }

    pub fn last(&self) -> Option<&Request> {
        self.requests.last()
    }
}

fn seconds_from(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}
