//! Faults: what a gateway, a proxy or a network does to a share of the requests.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::operation::Operation;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// `error=STATUS/CODE`: an error of the API; the request has no effect.
    Error(u16, String),
    /// `error-after=STATUS/CODE`: the same, but the request took effect.
    ErrorAfter(u16, String),
    /// `throttle` or `throttle=MS`: 400 `Throttling.User`, with `x-acs-retry-after: MS` when given. No effect.
    Throttle(Option<u64>),
    /// `reset-before`: the connection is reset, the request has no effect.
    ResetBefore,
    /// `reset-after`: the connection is reset after the request took effect.
    ResetAfter,
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
}

impl FaultKind {
    /// Whether the request must have no effect.
    pub fn prevents(&self) -> bool {
        matches!(self, Self::Error(..) | Self::Throttle(_) | Self::ResetBefore | Self::Html(_))
    }
}

/// A rule: which requests, how many of them, and what goes wrong.
///
/// Written as `OPERATION:KIND[=VALUE][,share=PERCENT%][,times=N]`; the operation is a name or `*`.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// `None`: every operation.
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
        let (status, code) = value?.split_once('/')?;
        let status: u16 = status.parse().ok().filter(|status| (400..600).contains(status))?;
        Some((status, code.to_owned())).filter(|(_, code)| !code.is_empty())
    };
    match (name, value) {
        ("error", _) => error().map(|(status, code)| FaultKind::Error(status, code)),
        ("error-after", _) => error().map(|(status, code)| FaultKind::ErrorAfter(status, code)),
        ("throttle", None) => Some(FaultKind::Throttle(None)),
        ("throttle", Some(ms)) => ms.parse().ok().map(|ms| FaultKind::Throttle(Some(ms))),
        ("reset-before", None) => Some(FaultKind::ResetBefore),
        ("reset-after", None) => Some(FaultKind::ResetAfter),
        ("slow", Some(ms)) => ms.parse().ok().map(FaultKind::Slow),
        ("late", Some(ms)) => ms.parse().ok().map(FaultKind::Late),
        ("html", None) => Some(FaultKind::Html(502)),
        ("html", Some(status)) => status.parse().ok().filter(|status| (200..600).contains(status)).map(FaultKind::Html),
        ("empty", None) => Some(FaultKind::Empty),
        ("truncated", None) => Some(FaultKind::Truncated),
        ("clock", Some(seconds)) => seconds.parse().ok().map(FaultKind::Clock),
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
            Self::Slow(ms) => write!(f, "slow={ms}"),
            Self::Late(ms) => write!(f, "late={ms}"),
            Self::Html(status) => write!(f, "html={status}"),
            Self::Empty => f.write_str("empty"),
            Self::Truncated => f.write_str("truncated"),
            Self::Clock(seconds) => write!(f, "clock={seconds}"),
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

    /// Other rules from now on.
    pub fn set_rules(&mut self, rules: Vec<Fault>) {
        self.rules = rules;
    }

    /// Draws for one request. Every rule that fits is drawn once, in order; delays add up.
    pub fn draw(&mut self, operation: Option<Operation>) -> Plan {
        let mut plan = Plan::default();
        for rule in &mut self.rules {
            let fits = rule.operation.is_none() || rule.operation == operation;
            if !fits || rule.times == Some(0) || self.dice.f64() >= rule.share {
                continue;
            }
            match &rule.kind {
                FaultKind::Slow(ms) => plan.slow += Duration::from_millis(*ms),
                FaultKind::Late(ms) => plan.late += Duration::from_millis(*ms),
                kind if plan.kind.is_none() => plan.kind = Some(kind.clone()),
                // Overruled, and not used up.
                _ => continue,
            }
            rule.times = rule.times.map(|times| times - 1);
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_written_as_they_are_read() {
        for text in [
            "*:error=503/ServiceUnavailable",
            "CreateLiveMessageGroup:error-after=500/ServerError,share=5%",
            "*:throttle,times=3",
            "*:throttle=200",
            "ModifyLiveMessageGroup:reset-before,share=12.5%,times=1",
            "*:reset-after",
            "*:slow=500",
            "*:late=500",
            "*:html=502",
            "*:empty",
            "*:truncated",
            "*:clock=-1800",
        ] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        assert_eq!("*:html".parse::<Fault>().unwrap().kind, FaultKind::Html(502));
        for bad in ["slow=1", "*:slow", "*:none", "Create:slow=1", "*:error=200/OK", "*:slow=1,share=5", "*:empty,x=1"]
        {
            assert!(bad.parse::<Fault>().is_err(), "{bad}");
        }
    }

    #[test]
    fn draws_follow_operation_share_and_times() {
        let rules = ["CreateLiveMessageGroup:empty,times=2", "*:slow=10,share=25%", "*:slow=5,share=0%"];
        let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        let mut faults = Faults::new(rules, Some(7));
        let draws: Vec<Plan> = (0..4000).map(|_| faults.draw(Some(Operation::CreateGroup))).collect();
        assert_eq!(draws.iter().filter(|plan| plan.kind == Some(FaultKind::Empty)).count(), 2);
        let slow = draws.iter().filter(|plan| plan.slow == Duration::from_millis(10)).count();
        assert!((900..1100).contains(&slow), "{slow}");
        assert!(draws.iter().all(|plan| plan.slow <= Duration::from_millis(10)));
        assert_eq!(faults.draw(Some(Operation::DeleteGroup)).kind, None);
        assert_eq!(faults.rules()[0].times, Some(0));
    }

    #[test]
    fn the_first_of_two_that_exclude_each_other_wins() {
        let rules = ["*:empty,times=1", "*:truncated,times=1"].map(|rule| rule.parse().unwrap()).to_vec();
        let mut faults = Faults::new(rules, None);
        assert_eq!(faults.draw(None).kind, Some(FaultKind::Empty));
        assert_eq!(faults.draw(None).kind, Some(FaultKind::Truncated));
        assert_eq!(faults.draw(None), Plan::default());
    }
}
