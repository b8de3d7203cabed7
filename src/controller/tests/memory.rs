//! Tests how many bytes the operator allocates for LiveAccounts. All code runs on the thread of the test, so that
//! allocations of other tests are not counted.

use super::*;

const ACCOUNTS: usize = 100;

/// The limit for one LiveAccount with its dispatchers, budgets and credentials.
const BYTES_PER_ACCOUNT: i64 = 32 * 1024;

/// The limit for the budgets that a LiveAccount keeps after changes to its account ID.
const BYTES_OF_FORMER_BUDGETS: i64 = 32 * 1024;

/// The limit for the bytes that further edits of a LiveAccount add, and for the bytes that remain after a LiveAccount
/// is created and deleted again.
const REST: i64 = 256;

/// The time until all LiveAccounts are listed and checked.
const SETTLED: Duration = Duration::from_secs(60);

/// The LiveAccounts in the apiserver.
#[derive(Debug, Clone, Copy, Default)]
struct Stored {
    accounts: usize,
    generation: i64,
}

impl Stored {
    /// Returns the LiveAccounts as a list of the apiserver. Every second LiveAccount has its own endpoint.
    fn list(self) -> Value {
        let accounts = (0..self.accounts).map(|number| {
            let (name, generation) = (format!("team{number}"), self.generation);
            let mut account = json!({
                "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveAccount",
                "metadata": {"namespace": "ns", "name": name, "uid": name, "generation": generation},
                "spec": {"credentials": {"secretRef": {"name": format!("key{generation}")}},
                    "accountId": format!("{generation}{number:04}"), "requestsPerSecond": 10},
            });
            if number % 2 == 0 {
                account["spec"]["endpoint"] = json!(format!("https://{name}.example.com"));
            }
            // Annotations can take up to 256 KiB, but they slow down this test, so only the first generation has them.
            if generation == 1 {
                account["metadata"]["annotations"] = json!({"note": "x".repeat(40_000)});
            }
            account
        });
        json!({"metadata": {"resourceVersion": "1"}, "items": accounts.collect::<Vec<_>>()})
    }
}

/// An apiserver that returns every requested Secret. It answers a watch with a line that is not an event, so that the
/// operator lists the objects again.
fn listing(stored: &Arc<Mutex<Stored>>) -> Client {
    let stored = Arc::clone(stored);
    apiserver(move |method, path, body| {
        let document = match path.rsplit('/').next().unwrap_or_default() {
            "liveaccounts" => stored.lock().unwrap().list(),
            "livemessagegroups" => Stored::default().list(),
            name if name.starts_with("key") => {
                let data = json!({"accessKeyId": "SUQ=", "accessKeySecret": "c2VjcmV0"});
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data})
            }
            _ if method == Method::POST => body,
            _ => json!({"apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveAccount", "metadata": {}}),
        };
        std::future::ready((200, document))
    })
}

/// The settings of a controller with a rate limit. LiveAccounts may use their own endpoints.
fn limited(stored: &Arc<Mutex<Stored>>) -> Config {
    let mut config = Config { operator_namespaces: Vec::new(), ..config(listing(stored)) };
    config.defaults.rate = Rate::PerSecond(50);
    config.defaults.endpoints.hosts = vec!["*.example.com".parse().unwrap()];
    config
}

#[test]
fn memory_of_accounts_is_bounded_and_returned() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let stored: Arc<Mutex<Stored>> = Arc::default();
    let entered = runtime.enter();
    let running = runtime.spawn(run(limited(&stored)));
    drop(entered);
    // Changes the LiveAccounts in the apiserver, and returns the additional allocated bytes per LiveAccount.
    let grown = |accounts, generation| {
        *stored.lock().unwrap() = Stored { accounts, generation };
        let settled = || runtime.block_on(async { tokio::time::sleep(SETTLED).await });
        allocation_counter::measure(settled).bytes_current / i64::try_from(ACCOUNTS).unwrap()
    };
    grown(0, 0);
    let created = grown(ACCOUNTS, 1);
    assert!(created <= BYTES_PER_ACCOUNT, "a LiveAccount takes {created} bytes");
    // After each change to its account ID, a LiveAccount keeps its former budgets for a few minutes.
    let first_edits: i64 = (2..8).map(|generation| grown(ACCOUNTS, generation)).sum();
    assert!(first_edits <= BYTES_OF_FORMER_BUDGETS, "the first edits take {first_edits} bytes");
    let edits: i64 = (8..12).map(|generation| grown(ACCOUNTS, generation)).sum();
    assert!(edits <= REST, "further edits take {edits} bytes");
    let deleted = grown(0, 0);
    let rest = created + first_edits + edits + deleted;
    // The hash tables keep their capacity after their entries are removed.
    assert!(rest <= 32 * REST, "{rest} bytes of a deleted LiveAccount remain");
    let again = grown(ACCOUNTS, 1) + grown(0, 0);
    println!("bytes: {created} created, {first_edits} and {edits} edited, {rest} and {again} deleted");
    assert!(again <= REST, "{again} bytes remain of a LiveAccount that was created and deleted again");
    assert!(!running.is_finished());
}
