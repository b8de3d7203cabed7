use super::*;

#[test]
fn names_follow_the_conventions() {
    let metrics = Metrics::default();
    for Described { name, kind, labels, help } in metrics.described() {
        assert!(Metrics::PREFIXES.iter().any(|prefix| name.starts_with(prefix)), "{name}");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        assert_eq!(*kind == "counter", name.ends_with("_total"), "{name}");
        assert!(["_milliseconds", "_ms", "_minutes", "_kb", "_percent"].iter().all(|unit| !name.ends_with(unit)));
        // The library adds a period to the help text.
        assert!(!help.ends_with('.') && !help.contains('\n'), "{name}: {help}");
        // Prometheus adds the first four labels and reserves the others.
        for label in *labels {
            assert!(!["instance", "job", "namespace", "pod", "le", "quantile"].contains(label), "{name}: {label}");
        }
    }
}

#[test]
fn transient_gauge_is_cleared_before_each_scrape() {
    let metrics = Metrics::new("1.2.3");
    let round = std::sync::atomic::AtomicU8::new(0);
    metrics.on_scrape(move |state| {
        if round.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 {
            state.groups.set(&GroupLabels { ready: "True", reason: "Created" }, 3.0);
            state.blocked.set(2.0);
        }
    });
    let first = metrics.render(false).unwrap();
    assert!(first.contains("live_message_operator_groups{ready=\"True\",reason=\"Created\"} 3.0\n"), "{first}");
    assert!(first.contains("live_message_operator_queue_blocked 2.0\n"), "{first}");
    assert!(first.contains("live_message_operator_ready 0.0\n"), "{first}");
    assert!(first.contains("live_message_operator_build_info{version=\"1.2.3\"} 1.0\n"), "{first}");
    assert!(first.ends_with("# EOF\n"));
    let second = metrics.render(true).unwrap();
    assert!(!second.contains("operator_groups{") && !second.contains("queue_blocked"), "{second}");
    assert!(second.contains("live_message_operator_ready 1.0\n"), "{second}");
}

#[test]
fn preregistered_counters_start_at_zero() {
    let metrics = Metrics::default();
    metrics.reconciles.preregister();
    metrics.calls.preregister("CreateLiveMessageGroup", ["OK", "Throttled"].into_iter());
    metrics.calls.ended("CreateLiveMessageGroup", "OK", Duration::from_millis(30));
    let text = metrics.render(true).unwrap();
    for line in [
        "controller_runtime_reconcile_panics_total{controller=\"livemessagegroup\"} 0",
        "controller_runtime_reconcile_total{controller=\"livemessagegroup\",result=\"requeue_after\"} 0",
        "live_message_operator_live_api_requests_total{operation=\"CreateLiveMessageGroup\",code=\"OK\"} 1",
        "live_message_operator_live_api_requests_total{operation=\"CreateLiveMessageGroup\",code=\"Throttled\"} 0",
        "live_message_operator_live_api_request_duration_seconds_bucket{le=\"0.05\",operation=\"CreateLiveMessageGroup\"} 1",
    ] {
        assert!(text.lines().any(|shown| shown == line), "no {line} in\n{text}");
    }
}
