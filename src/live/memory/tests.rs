use std::time::Duration;

use super::*;

const KIB: usize = 1024;

/// Checks that the sums match the responses, and returns the number of free bytes.
fn free(memory: &ResponseMemory) -> usize {
    let ledger = memory.ledger.lock();
    let sum = |is_ended| ledger.responses.values().filter(|e| e.is_ended == is_ended).map(|e| e.bytes).sum::<usize>();
    assert_eq!((ledger.held.values().sum::<usize>(), ledger.ending), (sum(false), sum(true)));
    ledger.free
}

fn held(share: &Arc<Share>) -> Held {
    Held::of(share, Instant::now() + Duration::from_secs(1))
}

fn new_client(memory: &Arc<ResponseMemory>) -> Arc<Share> {
    Share::new(Arc::clone(memory))
}

#[test]
fn longest_responses_of_three_clients_fit() {
    use crate::live::{Operation, bounded::Limits};
    let longest = Operation::ALL.map(|operation| Limits::of(operation).bytes).into_iter().max().unwrap();
    assert!(3 * longest <= TOTAL);
}

/// Starts a response that takes as many bytes as it can and never completes. It ends only when its bytes are needed.
async fn start_endless(memory: &Arc<ResponseMemory>) {
    let mut response = Held::of(&new_client(memory), Instant::now() + Duration::from_secs(3600));
    tokio::spawn(async move {
        while response.take(KIB).await {
            tokio::task::yield_now().await;
        }
    });
    tokio::task::yield_now().await;
}

#[tokio::test(start_paused = true)]
async fn endless_responses_leave_a_part_for_every_other_client() {
    for pause in [Duration::ZERO, Duration::from_millis(1)] {
        let memory = ResponseMemory::new(1024 * KIB);
        for _ in 0..20 {
            start_endless(&memory).await;
            tokio::time::sleep(pause).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(free(&memory) < 16 * KIB, "the memory is full");
        let started = Instant::now();
        let mut honest = Held::of(&new_client(&memory), started + Duration::from_secs(3600));
        for _ in 0..32 {
            assert!(honest.take(KIB).await);
        }
        assert!(started.elapsed().is_zero());
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(honest.take(KIB).await, "it is not ended itself");
    }
}

#[tokio::test(start_paused = true)]
async fn longest_response_of_the_largest_client_is_ended() {
    let memory = ResponseMemory::new(100);
    let (large, small, new) = (new_client(&memory), new_client(&memory), new_client(&memory));
    let (mut long, mut short, mut other, mut wanting) = (held(&large), held(&large), held(&small), held(&new));
    assert!(long.take(40).await && short.take(20).await && other.take(40).await);
    let wait = tokio::spawn(async move { wanting.take(30).await });
    assert_eq!(long.unless_ended(tokio::time::sleep(Duration::from_secs(1))).await, None);
    assert!(!wait.is_finished());
    drop(long);
    assert!(wait.await.unwrap());
    assert!(short.take(10).await && other.take(10).await, "the others continue");
}

#[tokio::test(start_paused = true)]
async fn response_of_an_equally_large_client_is_not_ended() {
    let memory = ResponseMemory::new(100);
    let (mut one, mut other) = (held(&new_client(&memory)), held(&new_client(&memory)));
    assert!(one.take(50).await && other.take(50).await);
    assert!(!one.take(1).await);
    assert_eq!(other.unless_ended(async { 1 }).await, Some(1));
}

#[tokio::test(start_paused = true)]
async fn waiting_response_continues_when_bytes_are_freed() {
    let memory = ResponseMemory::new(100);
    let share = new_client(&memory);
    let (mut first, mut second) = (held(&share), held(&share));
    assert!(first.take(80).await);
    let wait = tokio::spawn(async move { second.take(40).await });
    tokio::task::yield_now().await;
    drop(first);
    assert!(wait.await.unwrap());
    assert_eq!(free(&memory), 100);
}

#[tokio::test(start_paused = true)]
async fn wait_ends_at_the_deadline() {
    let memory = ResponseMemory::new(100);
    let share = new_client(&memory);
    let (mut first, mut second) = (held(&share), held(&share));
    assert!(first.take(80).await);
    let started = Instant::now();
    assert!(!second.take(40).await);
    assert_eq!(started.elapsed(), Duration::from_secs(1));
    drop(second);
    assert_eq!(free(&memory), 20, "the refused bytes are not counted");
}

#[tokio::test(start_paused = true)]
async fn large_responses_of_a_client_take_turns() {
    let share = new_client(&ResponseMemory::new(2048 * KIB));
    let (mut first, mut second, mut third, mut small) = (held(&share), held(&share), held(&share), held(&share));
    assert!(first.take(SMALL + 1).await);
    assert!(second.take(SMALL).await && small.take(SMALL).await);
    assert!(third.take(KIB).await);
    let wait = tokio::spawn(async move { second.take(1).await });
    tokio::task::yield_now().await;
    assert!(!wait.is_finished());
    drop(first);
    assert!(wait.await.unwrap());
}
