//! Counts the requests that the apiserver has served.

use std::ops::Sub;

use crate::support::{Context as _, ControlPlane, Result};

/// The numbers of requests that an operator sends. The benchmark sends no requests of these kinds while it measures an
/// operator.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Requests {
    /// GET requests for one LiveMessageGroup.
    pub gets: f64,
    /// PATCH requests for a LiveMessageGroup or its status.
    pub patches: f64,
    /// POST requests that create an event.
    pub events: f64,
}

impl Requests {
    /// Reads how many requests the apiserver has served since it started.
    pub fn read(control_plane: &ControlPlane) -> Result<Self> {
        Self::parse(&control_plane.kubectl(&["get", "--raw=/metrics"])?)
    }

    fn parse(metrics: &str) -> Result<Self> {
        let mut requests = Self::default();
        for line in metrics.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
            let (labels, value) = line.rsplit_once(' ').context(format_args!("not a metric: {line}"))?;
            let value: f64 = value.parse().context(line)?;
            let is = |label: &str, expected: &str| labels.contains(&format!("{label}=\"{expected}\""));
            if is("resource", "livemessagegroups") && is("verb", "GET") {
                requests.gets += value;
            } else if is("resource", "livemessagegroups") && is("verb", "PATCH") {
                requests.patches += value;
            } else if is("resource", "events") && is("verb", "POST") {
                requests.events += value;
            }
        }
        Ok(requests)
    }
}

impl Sub for Requests {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            gets: self.gets - before.gets,
            patches: self.patches - before.patches,
            events: self.events - before.events,
        }
    }
}
