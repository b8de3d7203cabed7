//! How long a scrape locks the scheduler.

use super::*;

#[tokio::test]
async fn scrape_of_20_000_objects_does_not_hold_up_reconciles() {
    let context = context(apiserver(|_, _, _| std::future::pending::<(u16, Value)>()));
    for number in 0..20_000_u64 {
        // The worst case: every object has an app of its own.
        let mut object = object(&format!("room{number}"));
        object["spec"]["appId"] = json!(format!("app{number}"));
        observe(&context, &serde_json::from_value(object).unwrap());
        let app = AppKey::new(&AccountKey::Operator, &format!("app{number}"));
        context.scheduler.with(|scheduler, _| scheduler.usage_known(&app, number, None));
    }
    state_metrics::register_collector(&context, Duration::from_secs(600), &Arc::default());
    let (scraped, is_done) = (Arc::clone(&context), Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let done = Arc::clone(&is_done);
    let scrapes = std::thread::spawn(move || {
        let started = std::time::Instant::now();
        for _ in 0..10 {
            scraped.metrics.render(true).unwrap();
        }
        done.store(true, Ordering::SeqCst);
        started.elapsed() / 10
    });
    let (mut waits, mut longest) = (0, Duration::ZERO);
    while !is_done.load(Ordering::SeqCst) {
        let started = std::time::Instant::now();
        context.scheduler.with(|_, _| ());
        longest = longest.max(started.elapsed());
        waits += 1;
    }
    let scrape = scrapes.join().unwrap();
    println!("scrape {scrape:?}, longest wait for the lock {longest:?} of {waits}");
    assert!(longest < Duration::from_millis(100));
}
