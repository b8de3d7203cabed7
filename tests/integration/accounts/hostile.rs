//! Tests that LiveAccounts with hostile endpoints do not affect objects without a LiveAccount. The environment
//! variables LMO_HOSTILE_SECONDS=600 and LMO_HONEST_OBJECTS=1000 make the test longer.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::world::setting;

/// The resident memory that the operator may use in the test, in MiB. The memory limit in the chart is 256 MiB.
const MEMORY: u64 = 128;

/// The number of LiveAccounts with a hostile endpoint, and the number of objects that use each of them.
const HOSTILE: [usize; 2] = [12, 5];

/// Sends response `number` of a hostile endpoint. The eight kinds of response repeat in order.
fn respond(stream: &mut TcpStream, number: usize) -> std::io::Result<()> {
    let mut send = |kind: &str, date: &str, body: &str| {
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nDate: {date}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        )?;
        stream.write_all(body.as_bytes())
    };
    let (json, xml) = ("application/json", "text/xml");
    let (past, future) = ("Mon, 01 Jan 1990 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT");
    match number % 8 {
        0 => send(xml, past, &format!("{}{}", "<a>".repeat(60_000), "</a>".repeat(60_000))),
        1 => send(json, future, &format!("{}{}", "[".repeat(500_000), "]".repeat(500_000))),
        2 => send(json, past, &format!("[{}{{}}]", "{},".repeat(5_000_000))),
        3 => send(xml, future, &format!("<r>{}</r>", "<a/>".repeat(4_000_000))),
        4 => {
            let group = format!(r#"{{"GroupId":"g{number}","GroupName":"","GroupInfo":"","CreatorId":""}}"#);
            let page = vec![group; 50].join(",");
            send(json, past, &format!(r#"{{"TotalCount":{},"GroupList":[{page}]}}"#, 1_000_000 + number))
        }
        5 => send(json, past, r#"{"GroupId":"one","AlreadyExists":false,"AlreadyDelete":false,"RequestId":"r"}"#),
        6 => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8000000\r\n\r\n")?;
            for _ in 0..200 {
                stream.write_all(&[b' '; 40_000])?;
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok(())
        }
        _ => {
            for byte in "HTTP/1.1 200 OK\r\n".bytes().cycle() {
                stream.write_all(&[byte])?;
                std::thread::sleep(Duration::from_millis(100));
            }
            Ok(())
        }
    }
}

/// Starts a hostile endpoint. Returns its URL and a counter of the requests that it receives.
fn hostile_endpoint() -> Result<(String, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let received = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&received);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let number = counter.fetch_add(1, Ordering::Relaxed);
            std::thread::spawn(move || {
                let mut stream = stream;
                let Ok(clone) = stream.try_clone() else { return };
                let is_header = |line: &std::io::Result<String>| line.as_ref().is_ok_and(|line| !line.is_empty());
                BufReader::new(clone).lines().take_while(is_header).for_each(drop);
                // Ignore errors, because the operator closes the connection if a response is too long.
                let _ = respond(&mut stream, number);
            });
        }
    });
    Ok((url, received))
}

/// The peak resident memory of the operator, in MiB.
fn peak_memory(world: &World<'_>) -> Result<u64> {
    let pid = world.operator.as_ref().map(|operator| operator.process.pid()).unwrap_or_default();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}

#[tokio::test]
async fn hostile_endpoints_do_not_affect_honest_objects() -> Result<()> {
    let (seconds, objects) = (setting("LMO_HOSTILE_SECONDS", 30)?, setting("LMO_HONEST_OBJECTS", 100)?);
    let mut world = world(&[(KEY, SECRET)]).await?;
    world.options.args.extend(LOOPBACK.map(str::to_owned));
    world.options.args.push("--drift-check-interval=2s".to_owned());
    let mut received = Vec::new();
    for number in 0..HOSTILE[0] {
        let (url, counter) = hostile_endpoint()?;
        received.push(counter);
        let name = format!("hostile{number}");
        secret(&world, &name, (KEY, SECRET))?;
        account(&world, &name, json!({"endpoint": url}))?;
        create_many(&world, &format!("{name}x"), HOSTILE[1], &name, &json!({})).await?;
    }
    world.start()?;
    let attacked = Instant::now();
    world.create_many("honest", objects).await?;
    world
        .until("all honest objects to be created", 60 + objects as u64 / 10, async || {
            let all = world.list().await?;
            let honest = all.iter().filter(|object| object.name_any().starts_with("honest"));
            let created = honest.filter(|object| condition(object, ConditionType::Ready)[1] == "Created").count();
            Ok(created == objects)
        })
        .await?;
    println!("{objects} honest objects were created {:?} after the first attack", attacked.elapsed());
    let mut slowest = Duration::ZERO;
    let mut edits = 0;
    while attacked.elapsed() < Duration::from_secs(seconds) {
        edits += 1;
        let text = format!("edit {edits}");
        let started = Instant::now();
        world.patch("honest000", json!({"spec": {"groupInfo": text}})).await?;
        world
            .until("an edit to be applied", 30, async || {
                let object = world.api.get("honest000").await?;
                let observed = object.status.as_ref().and_then(|status| status.observed_generation);
                Ok(observed == object.metadata.generation && condition(&object, ConditionType::Ready)[0] == "True")
            })
            .await?;
        slowest = slowest.max(started.elapsed());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let requests: usize = received.iter().map(|counter| counter.load(Ordering::Relaxed)).sum();
    let peak = peak_memory(&world)?;
    println!("{requests} hostile responses in {seconds} s: peak memory {peak} MiB, {edits} edits, slowest {slowest:?}");
    assert!(requests > HOSTILE[0], "the endpoints were not called");
    assert!(peak < MEMORY, "{peak} MiB");
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    assert!(world.operator.as_mut().is_some_and(|operator| operator.process.exited().is_ok_and(|exit| exit.is_none())));
    Ok(())
}
