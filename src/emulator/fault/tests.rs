use super::*;

#[test]
fn rules_round_trip_through_text() {
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
        "*:reset-late=1500",
        "*:mixed=200,share=30%",
        "ModifyLiveMessageGroup:pass,times=2",
    ] {
        assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
    }
    let error = |text: &str| text.parse::<Fault>().unwrap().kind;
    assert_eq!(error("*:error=NoAuth"), FaultKind::Error(403, "NoAuth".to_owned()));
    assert_eq!(error("*:error=ErrorTooManyGroups"), FaultKind::Error(400, "ErrorTooManyGroups".to_owned()));
    assert_eq!(error("*:error=418/Any.Code"), FaultKind::Error(418, "Any.Code".to_owned()));
    assert_eq!("*:html".parse::<Fault>().unwrap().kind, FaultKind::Html(502));
    for bad in [
        "slow=1",
        "*:slow",
        "*:none",
        "Create:slow=1",
        "*:error=200/OK",
        "*:error=Unknown",
        "*:pass=1",
        "*:slow=1,share=5",
        "*:empty,x=1",
    ] {
        assert!(bad.parse::<Fault>().is_err(), "{bad}");
    }
}

#[test]
fn draws_respect_operation_share_and_times() {
    let rules = ["CreateLiveMessageGroup:empty,times=2", "*:slow=10,share=25%", "*:slow=5,share=0%"];
    let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    let mut faults = FaultInjector::new(rules, Some(7));
    let draws: Vec<FaultPlan> = (0..4000).map(|_| faults.draw(Some(Operation::CreateGroup))).collect();
    assert_eq!(draws.iter().filter(|plan| plan.kind == Some(FaultKind::Empty)).count(), 2);
    let slow = draws.iter().filter(|plan| plan.slow == Duration::from_millis(10)).count();
    assert!((900..1100).contains(&slow), "{slow}");
    assert!(draws.iter().all(|plan| plan.slow <= Duration::from_millis(10)));
    assert_eq!(faults.draw(Some(Operation::DeleteGroup)).kind, None);
    assert_eq!(faults.rules()[0].times, Some(0));
}

#[test]
fn first_of_two_exclusive_rules_applies() {
    let rules = ["*:empty,times=1", "*:truncated,times=1"].map(|rule| rule.parse().unwrap()).to_vec();
    let mut faults = FaultInjector::new(rules, None);
    assert_eq!(faults.draw(None).kind, Some(FaultKind::Empty));
    assert_eq!(faults.draw(None).kind, Some(FaultKind::Truncated));
    assert_eq!(faults.draw(None), FaultPlan::default());
}

#[test]
fn rules_with_times_form_a_sequence() {
    let rules = ["*:error=ServerError,times=1", "*:pass,times=2", "*:reset-after,times=1", "*:slow=5"];
    let mut faults = FaultInjector::new(rules.map(|rule| rule.parse().unwrap()).to_vec(), None);
    let draws: Vec<FaultPlan> = (0..5).map(|_| faults.draw(None)).collect();
    let kinds: Vec<_> = draws.iter().map(|plan| plan.kind.clone()).collect();
    let error = FaultKind::Error(500, "ServerError".to_owned());
    let pass = || Some(FaultKind::Pass);
    assert_eq!(kinds, [Some(error), pass(), pass(), Some(FaultKind::ResetAfter), None]);
    // `pass` also skips the delays of later rules.
    assert_eq!(draws.iter().map(|plan| plan.slow.as_millis()).collect::<Vec<_>>(), [5, 0, 0, 5, 5]);
}

#[test]
fn mixed_covers_every_kind_and_depends_on_its_seed() {
    let draws = |seed| -> Vec<FaultPlan> {
        let mut faults = FaultInjector::new(vec!["*:mixed=100,share=30%".parse().unwrap()], Some(seed));
        (0..3000).map(|_| faults.draw(Some(Operation::CreateGroup))).collect()
    };
    let plans = draws(1);
    assert_eq!(plans, draws(1));
    assert_ne!(plans, draws(2));
    let faulty: Vec<&FaultPlan> = plans.iter().filter(|plan| **plan != FaultPlan::default()).collect();
    // About 900 plans (30% of 3,000) contain a fault. A random delay of 0 ms counts as no fault.
    assert!((820..980).contains(&faulty.len()), "{}", faulty.len());
    let names: std::collections::BTreeSet<String> =
        faulty.iter().filter_map(|plan| plan.kind.as_ref()).map(kind_name).collect();
    assert_eq!(names.len(), 13, "{names:?}");
    assert!(faulty.iter().any(|plan| !plan.slow.is_zero()) && faulty.iter().any(|plan| !plan.late.is_zero()));
    assert!(faulty.iter().all(|plan| plan.slow.as_millis() <= 100 && plan.late.as_millis() <= 100));
}

/// Returns the syntax of a kind, without the delay.
fn kind_name(kind: &FaultKind) -> String {
    match kind {
        FaultKind::ResetLate(_) => "reset-late".to_owned(),
        FaultKind::Throttle(Some(_)) => "throttle=".to_owned(),
        kind => kind.to_string(),
    }
}
