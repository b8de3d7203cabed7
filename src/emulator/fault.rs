//! Injects the failures of a gateway, a proxy or a network into a share of the requests.
//!
//! The rules are evaluated in order for every request. The delays of `slow` and `late` rules are added together. Of the
//! matching rules of all other kinds, only the first one applies, and the `times` of the others do not change. Rules
//! with `times` are therefore used up one after another. For example, the rules `error=ServerError,times=1`,
//! `pass,times=2` and `reset-after,times=1` for one operation cause an error, two calls without a fault, and a lost
//! response. After that, they cause no more faults.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::operation::Operation;

/// The default upper bound of the delays of `mixed`, in milliseconds.
const MIXED_MS: u64 = 1000;

/// The failure that a rule injects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// `error=STATUS/CODE`: an error of the API; the request has no effect. `STATUS/` is optional for documented codes.
    Error(u16, String),
    /// `error-after=STATUS/CODE`: an error of the API after the request took effect.
    ErrorAfter(u16, String),
    /// `throttle` or `throttle=MS`: 400 `Throttling.User`; the request has no effect. If MS is given, the response has
    /// the header `x-acs-retry-after: MS`.
    Throttle(Option<u64>),
    /// `reset-before`: the connection is reset; the request has no effect.
    ResetBefore,
    /// `reset-after`: the connection is reset after the request took effect.
    ResetAfter,
    /// `reset-late=MS`: the connection is reset; the request takes effect up to MS milliseconds later.
    ResetLate(u64),
    /// `slow=MS`: the request takes effect immediately; its response is delayed by MS milliseconds.
    Slow(u64),
    /// `late=MS`: the effect of the request and its response are delayed by MS milliseconds.
    Late(u64),
    /// `html` or `html=STATUS`: the HTML error page of a proxy, 502 by default; the request has no effect.
    Html(u16),
    /// `empty`: a 200 response without a body, after the request took effect.
    Empty,
    /// `truncated`: after the request took effect, half of the response body is sent and the connection is closed.
    Truncated,
    /// `clock=SECONDS`: the clock of the gateway is SECONDS ahead. The gateway uses this clock to check the timestamps
    /// of signatures and to set the `Date` header.
    Clock(i64),
    /// `mixed` or `mixed=MS`: one of the kinds above at random, with delays up to MS milliseconds (1,000 by default).
    /// The failures are always transient, never `NoAuth` or `ErrorTooManyGroups`.
    Mixed(u64),
    /// `pass`: no fault; the rules after this one are skipped.
    Pass,
}

/// Returns the kinds that [`FaultKind::Mixed`] selects from. `max_ms` limits their delays. All of these failures are
/// transient, so retries succeed. Errors that require manual intervention (`NoAuth`, `ErrorTooManyGroups`) are
/// excluded.
fn mixed_kinds(max_ms: u64) -> [FaultKind; 15] {
    let error = |status, code: &str| FaultKind::Error(status, code.to_owned());
    [
        error(500, "ServerError"),
        error(500, "InternalError"),
        error(503, "ServiceUnavailable"),
        FaultKind::ErrorAfter(500, "ServerError".to_owned()),
        FaultKind::Throttle(None),
        FaultKind::Throttle(Some(max_ms.min(1000))),
        FaultKind::ResetBefore,
        FaultKind::ResetAfter,
        FaultKind::ResetLate(max_ms),
        FaultKind::Slow(max_ms),
        FaultKind::Late(max_ms),
        FaultKind::Html(502),
        FaultKind::Empty,
        FaultKind::Truncated,
        FaultKind::Clock(3600),
    ]
}

impl FaultKind {
    /// Whether the fault prevents the request from taking effect.
    pub fn prevents_effect(&self) -> bool {
        matches!(self, Self::Error(..) | Self::Throttle(_) | Self::ResetBefore | Self::Html(_))
    }
}

/// A fault rule. It defines which requests it applies to, how often it applies, and which failure it injects.
///
/// Syntax: `OPERATION:KIND[=VALUE][,share=PERCENT%][,times=N]`. The operation is a name, or `*` for every operation of
/// the Live API. `*` does not include the operations of STS and `EcsMetadata`, so rules for these operations must
/// specify the name.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// The operation that the rule applies to. If it is `None`, the rule applies to every operation of the Live API and
    /// to requests without a known operation.
    pub operation: Option<Operation>,
    /// The failure.
    pub kind: FaultKind,
    /// The probability, from 0 to 1, that the rule applies to a matching request.
    pub share: f64,
    /// The remaining number of times that the rule applies; `None` for no limit.
    pub times: Option<u64>,
}

impl Fault {
    /// Creates a rule that applies to every request that matches `operation`; see [`Fault::operation`].
    pub fn new(operation: Option<Operation>, kind: FaultKind) -> Self {
        Self { operation, kind, share: 1.0, times: None }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let explain = |what: &str| {
            format!(
                "{what}; expected OPERATION:KIND[=VALUE][,share=PERCENT%][,times=N], such as '*:slow=500,share=10%'"
            )
        };
        let (operation, rest) = text.split_once(':').ok_or_else(|| explain("missing ':'"))?;
        let operation = match operation {
            "*" => None,
            name => Some(Operation::from_name(name).ok_or_else(|| explain("unknown operation"))?),
        };
        let mut parts = rest.split(',');
        let kind = parts.next().and_then(parse_kind).ok_or_else(|| explain("unknown fault kind or invalid value"))?;
        let mut fault = Self::new(operation, kind);
        for part in parts {
            match part.split_once('=') {
                Some(("share", share)) => fault.share = parse_share(share).ok_or_else(|| explain("invalid share"))?,
                Some(("times", times)) => fault.times = Some(times.parse().map_err(|_| explain("invalid times"))?),
                _ => return Err(explain("unknown option")),
            }
        }
        Ok(fault)
    }
}

/// Parses `PERCENT%` into a value from 0 to 1.
fn parse_share(text: &str) -> Option<f64> {
    let percent: f64 = text.strip_suffix('%')?.parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
}

fn parse_kind(text: &str) -> Option<FaultKind> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let error = || {
        let Some((status, code)) = value?.split_once('/') else {
            return Some((documented_status(value?)?, value?.to_owned()));
        };
        let status: u16 = status.parse().ok().filter(|status| (300..600).contains(status))?;
        Some((status, code.to_owned())).filter(|(_, code)| !code.is_empty())
    };
    match (name, value) {
        ("error", _) => error().map(|(status, code)| FaultKind::Error(status, code)),
        ("error-after", _) => error().map(|(status, code)| FaultKind::ErrorAfter(status, code)),
        ("throttle", None) => Some(FaultKind::Throttle(None)),
        ("throttle", Some(ms)) => ms.parse().ok().map(|ms| FaultKind::Throttle(Some(ms))),
        ("reset-before", None) => Some(FaultKind::ResetBefore),
        ("reset-after", None) => Some(FaultKind::ResetAfter),
        ("reset-late", Some(ms)) => ms.parse().ok().map(FaultKind::ResetLate),
        ("slow", Some(ms)) => ms.parse().ok().map(FaultKind::Slow),
        ("late", Some(ms)) => ms.parse().ok().map(FaultKind::Late),
        ("html", None) => Some(FaultKind::Html(502)),
        ("html", Some(status)) => status.parse().ok().filter(|status| (200..600).contains(status)).map(FaultKind::Html),
        ("empty", None) => Some(FaultKind::Empty),
        ("truncated", None) => Some(FaultKind::Truncated),
        ("clock", Some(seconds)) => seconds.parse().ok().map(FaultKind::Clock),
        ("mixed", None) => Some(FaultKind::Mixed(MIXED_MS)),
        ("mixed", Some(ms)) => ms.parse().ok().map(FaultKind::Mixed),
        ("pass", None) => Some(FaultKind::Pass),
        _ => None,
    }
}

/// Returns the documented HTTP status of an error code, or `None` if the code is not documented.
fn documented_status(code: &str) -> Option<u16> {
    match code {
        "InputInvalid" | "ErrorTooManyGroups" => Some(400),
        "Throttling" | "Throttling.User" | "Throttling.Api" => Some(400),
        "InvalidTimeStamp.Expired" | "InvalidAccessKeyId.Inactive" | "SignatureDoesNotMatch" => Some(400),
        "NoAuth" => Some(403),
        "ResourceNotExist" | "InvalidAccessKeyId.NotFound" => Some(404),
        "ServerError" | "InternalError" => Some(500),
        "ServiceUnavailable" => Some(503),
        _ => None,
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(status, code) => write!(f, "error={status}/{code}"),
            Self::ErrorAfter(status, code) => write!(f, "error-after={status}/{code}"),
            Self::Throttle(None) => f.write_str("throttle"),
            Self::Throttle(Some(ms)) => write!(f, "throttle={ms}"),
            Self::ResetBefore => f.write_str("reset-before"),
            Self::ResetAfter => f.write_str("reset-after"),
            Self::ResetLate(ms) => write!(f, "reset-late={ms}"),
            Self::Slow(ms) => write!(f, "slow={ms}"),
            Self::Late(ms) => write!(f, "late={ms}"),
            Self::Html(status) => write!(f, "html={status}"),
            Self::Empty => f.write_str("empty"),
            Self::Truncated => f.write_str("truncated"),
            Self::Clock(seconds) => write!(f, "clock={seconds}"),
            Self::Mixed(ms) => write!(f, "mixed={ms}"),
            Self::Pass => f.write_str("pass"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.operation.map_or("*", Operation::name), self.kind)?;
        if self.share < 1.0 {
            write!(f, ",share={}%", self.share * 100.0)?;
        }
        match self.times {
            Some(times) => write!(f, ",times={times}"),
            None => Ok(()),
        }
    }
}

/// The faults of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// The delay before the request takes effect.
    pub late: Duration,
    /// The delay between the effect of the request and its response.
    pub slow: Duration,
    /// The failure to inject in addition to the delays. If several rules match, this is the failure of the first one.
    pub kind: Option<FaultKind>,
}

/// Selects the faults of each request from the active rules.
#[derive(Debug)]
pub struct FaultInjector {
    rules: Vec<Fault>,
    rng: fastrand::Rng,
}

impl FaultInjector {
    /// Creates an injector with these rules. The same seed produces the same sequence of faults.
    pub fn new(rules: Vec<Fault>, seed: Option<u64>) -> Self {
        Self { rules, rng: seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed) }
    }

    /// Returns the active rules. In each rule, `times` is the remaining count.
    pub fn rules(&self) -> &[Fault] {
        &self.rules
    }

    /// Sets the seed of the random numbers, which restarts their sequence.
    pub fn set_seed(&mut self, seed: u64) {
        self.rng.seed(seed);
    }

    /// Replaces the rules, including their remaining counts.
    pub fn set_rules(&mut self, rules: Vec<Fault>) {
        self.rules = rules;
    }

    /// Selects the faults of one request. The rules for `operation` are evaluated in order, and their delays are added
    /// together. If a `pass` rule applies, the rules after it are not evaluated.
    pub fn draw(&mut self, operation: Option<Operation>) -> FaultPlan {
        let mut plan = FaultPlan::default();
        for rule in &mut self.rules {
            let applies = match rule.operation {
                None => operation.is_none_or(Operation::is_live),
                named => named == operation,
            };
            if !applies || rule.times == Some(0) || self.rng.f64() >= rule.share {
                continue;
            }
            match resolve(&rule.kind, &mut self.rng) {
                FaultKind::Slow(ms) => plan.slow += Duration::from_millis(ms),
                FaultKind::Late(ms) => plan.late += Duration::from_millis(ms),
                kind if plan.kind.is_none() => plan.kind = Some(kind),
                // An earlier rule applies, so the count of this rule does not change.
                _ => continue,
            }
            rule.times = rule.times.map(|times| times - 1);
            if plan.kind == Some(FaultKind::Pass) {
                break;
            }
        }
        plan
    }
}

/// Resolves the random parts of a kind: the delay of `reset-late`, and the kind and the delay of `mixed`.
fn resolve(kind: &FaultKind, rng: &mut fastrand::Rng) -> FaultKind {
    match kind {
        FaultKind::ResetLate(max_ms) => FaultKind::ResetLate(rng.u64(0..=*max_ms)),
        FaultKind::Mixed(max_ms) => {
            let kinds = mixed_kinds(rng.u64(0..=*max_ms));
            kinds[rng.usize(0..kinds.len())].clone()
        }
        kind => kind.clone(),
    }
}

#[cfg(test)]
mod tests;
