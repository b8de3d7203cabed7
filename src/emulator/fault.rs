//! Faults: what a gateway, a proxy or a network does to a share of the requests.
//!
//! Rules are drawn in their order. Of those that exclude each other the first one drawn counts, and the others are not
//! used up: so rules with `times` make a fixed sequence. `error=ServerError,times=1`, `pass,times=2`,
//! `reset-after,times=1` for one operation mean an error, two calls without a fault, a lost answer, and no fault since.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::operation::Operation;

/// The longest delay of `mixed`, in milliseconds, when it names none.
const MIXED_MS: u64 = 1000;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// `error=STATUS/CODE`: an error of the API; the request has no effect. Codes the documents give a status need none.
    Error(u16, String),
    /// `error-after=STATUS/CODE`: the same, but the request took effect.
    ErrorAfter(u16, String),
    /// `throttle` or `throttle=MS`: 400 `Throttling.User`, with `x-acs-retry-after: MS` when given. No effect.
    Throttle(Option<u64>),
    /// `reset-before`: the connection is reset, the request has no effect.
    ResetBefore,
    /// `reset-after`: the connection is reset after the request took effect.
    ResetAfter,
    /// `reset-late=MS`: the connection is reset, the request takes effect afterwards, up to so many milliseconds later.
    ResetLate(u64),
    /// `slow=MS`: the request takes effect when it arrives, its answer waits.
    Slow(u64),
    /// `late=MS`: the request waits, then takes effect and is answered.
    Late(u64),
    /// `html` or `html=STATUS`: a page of HTML as a proxy answers, 502 by default. No effect.
    Html(u16),
    /// `empty`: 200 without a body, after the request took effect.
    Empty,
    /// `truncated`: half of the answer, then the end of the connection, after the request took effect.
    Truncated,
    /// `clock=SECONDS`: the gateway's clock is wrong by so much, in the check of the signature's time and in `Date`.
    Clock(i64),
    /// `mixed` or `mixed=MS`: one of all of the above, drawn evenly; delays are up to so many milliseconds, 1,000 by
    /// default. No `NoAuth` and no `ErrorTooManyGroups`: only faults that pass.
    Mixed(u64),
    /// `pass`: nothing goes wrong, whatever the rules after this one say.
    Pass,
}

/// What [`FaultKind::Mixed`] draws from: faults a client gets over by trying again, whatever it called. Errors that stay
/// until someone acts (`NoAuth`, `ErrorTooManyGroups`) are not among them.
fn mixture(most: u64) -> [FaultKind; 15] {
    let error = |status, code: &str| FaultKind::Error(status, code.to_owned());
    [
        error(500, "ServerError"),
        error(500, "InternalError"),
        error(503, "ServiceUnavailable"),
        FaultKind::ErrorAfter(500, "ServerError".to_owned()),
        FaultKind::Throttle(None),
        FaultKind::Throttle(Some(most.min(1000))),
        FaultKind::ResetBefore,
        FaultKind::ResetAfter,
        FaultKind::ResetLate(most),
        FaultKind::Slow(most),
        FaultKind::Late(most),
        FaultKind::Html(502),
        FaultKind::Empty,
        FaultKind::Truncated,
        FaultKind::Clock(3600),
    ]
}

impl FaultKind {
    /// Whether the request must have no effect.
    pub fn prevents(&self) -> bool {
        matches!(self, Self::Error(..) | Self::Throttle(_) | Self::ResetBefore | Self::Html(_))
    }
}

/// A rule: which requests, how many of them, and what goes wrong.
///
/// Written as `OPERATION:KIND[=VALUE][,share=PERCENT%][,times=N]`; the operation is a name or `*`, which stands for all
/// of the Live API. Those of STS and `EcsMetadata` are meant only when named.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// `None`: every operation of the Live API, and requests for none.
    pub operation: Option<Operation>,
    /// What goes wrong.
    pub kind: FaultKind,
    /// Which share of the requests, 0 to 1.
    pub share: f64,
    /// How often at most.
    pub times: Option<u64>,
}

impl Fault {
    /// Every request of an operation, or of all, without an end.
    pub fn new(operation: Option<Operation>, kind: FaultKind) -> Self {
        Self { operation, kind, share: 1.0, times: None }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let explain = |what: &str| {
            format!("{what}; expected OPERATION:KIND[=VALUE][,share=PERCENT%][,times=N], like '*:slow=500,share=10%'")
        };
        let (operation, rest) = text.split_once(':').ok_or_else(|| explain("no ':'"))?;
        let operation = match operation {
            "*" => None,
            name => Some(Operation::from_name(name).ok_or_else(|| explain("no such operation"))?),
        };
        let mut parts = rest.split(',');
        let kind = parts.next().and_then(kind).ok_or_else(|| explain("no such fault, or a bad value"))?;
        let mut fault = Self::new(operation, kind);
        for part in parts {
            match part.split_once('=') {
                Some(("share", share)) => fault.share = percent(share).ok_or_else(|| explain("bad share"))?,
                Some(("times", times)) => fault.times = Some(times.parse().map_err(|_| explain("bad times"))?),
                _ => return Err(explain("neither share= nor times=")),
            }
        }
        Ok(fault)
    }
}

fn percent(text: &str) -> Option<f64> {
    let percent: f64 = text.strip_suffix('%')?.parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
}

fn kind(text: &str) -> Option<FaultKind> {
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

/// The status the documents give a code.
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

/// What is in store for one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Before it takes effect.
    pub late: Duration,
    /// Before it is answered.
    pub slow: Duration,
    /// Of all drawn faults that exclude each other the first one.
    pub kind: Option<FaultKind>,
}

/// The rules in force, and the dice.
#[derive(Debug)]
pub struct Faults {
    rules: Vec<Fault>,
    dice: fastrand::Rng,
}

impl Faults {
    /// Rules; with the same seed the same draws.
    pub fn new(rules: Vec<Fault>, seed: Option<u64>) -> Self {
        Self { rules, dice: seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed) }
    }

    /// The rules in force; `times` is what is left of it.
    pub fn rules(&self) -> &[Fault] {
        &self.rules
    }

    /// Starts the draws over, in the order this number stands for.
    pub fn set_seed(&mut self, seed: u64) {
        self.dice.seed(seed);
    }

    /// Other rules from now on.
    pub fn set_rules(&mut self, rules: Vec<Fault>) {
        self.rules = rules;
    }

    /// Draws for one request. Every rule that fits is drawn once, in order; delays add up.
    pub fn draw(&mut self, operation: Option<Operation>) -> Plan {
        let mut plan = Plan::default();
        for rule in &mut self.rules {
            let fits = match rule.operation {
                None => operation.is_none_or(Operation::is_live),
                named => named == operation,
            };
            if !fits || rule.times == Some(0) || self.dice.f64() >= rule.share {
                continue;
            }
            match settle(&rule.kind, &mut self.dice) {
                FaultKind::Slow(ms) => plan.slow += Duration::from_millis(ms),
                FaultKind::Late(ms) => plan.late += Duration::from_millis(ms),
                kind if plan.kind.is_none() => plan.kind = Some(kind),
                // Overruled, and not used up.
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

/// What is left to chance in a fault is drawn: the kind of a mixed one and its delay, the lateness after a reset.
fn settle(kind: &FaultKind, dice: &mut fastrand::Rng) -> FaultKind {
    match kind {
        FaultKind::ResetLate(most) => FaultKind::ResetLate(dice.u64(0..=*most)),
        FaultKind::Mixed(most) => {
            let most = dice.u64(0..=*most);
            let kinds = mixture(most);
            kinds[dice.usize(0..kinds.len())].clone()
        }
        kind => kind.clone(),
    }
}

#[cfg(test)]
mod tests;
