//! Tests the JSON log of the operator. Every line is valid JSON, and the log has one line for each call and for each
//! transition of `Ready`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};

use crate::support::{Context as _, Result};
use crate::world::{PATIENCE, World};

/// A JSON value without duplicate keys.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(all.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some((key, Unique(value))) = entries.next_entry::<String, Unique>()? {
            if all.insert(key.clone(), value).is_some() {
                return Err(A::Error::custom(format!("the key {key} occurs twice")));
            }
        }
        Ok(all.into())
    }
}

fn parse(log: &str) -> Result<Vec<Value>> {
    // The last line may be incomplete.
    let complete = log.rfind('\n').map_or("", |end| &log[..end]);
    complete.lines().map(|line| Ok(serde_json::from_str::<Unique>(line).context(line)?.0)).collect()
}

fn is_call(line: &Value) -> bool {
    line["message"] == "call answered" || line["message"] == "call failed"
}

#[test]
fn duplicate_key_in_a_line_is_found() {
    assert!(parse("{\"message\":\"a\",\"span\":{\"b\":[1,null,{\"c\":true}]}}\n").is_ok());
    for twice in ["{\"message\":\"a\",\"message\":\"b\"}", "{\"span\":{\"a\":1,\"a\":2}}", "[{\"a\":1,\"a\":1}]"] {
        assert!(parse(&format!("{twice}\n")).is_err(), "{twice}");
    }
}

#[tokio::test]
async fn json_log_has_one_line_per_call_and_per_transition() -> Result<()> {
    let mut world = World::new(&[]).await?;
    world.options.args.extend(["--log-format=json".to_owned(), "--drift-check-interval=3s".to_owned()]);
    world.options.env = vec![("RUST_LOG".into(), "info,live_message_operator=debug".into())];
    world.start()?;
    world.create("room", json!({"deletionPolicy": "Delete"})).await?;
    world.ready("room", "True", "Created").await?;
    world.patch("room", json!({"spec": {"groupInfo": "new"}})).await?;
    world.ready("room", "True", "Created").await?;
    world.create("lost", json!({"appId": "no"})).await?;
    world.ready("lost", "False", "AppNotFound").await?;
    world.delete("room").await?;
    let listed = async || Ok(world.emulator.calls("ListLiveMessageGroupByPage")? > 1);
    world.until("a drift check", PATIENCE, listed).await?;

    let logged = async || {
        let (calls, log) = (world.emulator.requests()?, parse(&world.log())?);
        Ok(Some(log.clone()).filter(|_| log.iter().filter(|line| is_call(line)).count() >= calls.len()))
    };
    let log = world.find("every call to be logged", PATIENCE, logged).await?;
    for request in world.emulator.requests()? {
        let of = |line: &&Value| is_call(line) && line["request_id"] == request.request_id.as_str();
        let lines: Vec<&Value> = log.iter().filter(of).collect();
        // A call of a later drift check may not be logged yet.
        let Some(line) = lines.first() else { continue };
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(line["level"], "DEBUG");
        assert_eq!((&line["operation"], &line["account"]), (&json!(request.operation), &json!("operator")));
        assert_eq!(line["code"], request.code.as_deref().unwrap_or("OK"), "{line}");
        assert_eq!(line["status"], request.status, "{line}");
        assert!(line["took_ms"].is_u64(), "{line}");
        if let Some(group) = request.param("GroupId") {
            assert_eq!((&line["app"], &line["group"]), (&json!(request.param("AppId")), &json!(group)));
            assert_eq!(line["span"]["object"], format!("{}/{group}", world.namespace));
        }
    }
    for (object, last) in [("room", ("True", "Created")), ("lost", ("False", "AppNotFound"))] {
        let name = format!("{}/{object}", world.namespace);
        let of = |line: &&Value| line["message"] == "Ready changed" && line["span"]["object"] == name.as_str();
        let lines: Vec<&Value> = log.iter().filter(of).collect();
        assert!(lines.iter().all(|line| line["level"] == "INFO" && line["text"].is_string()), "{lines:?}");
        // A new object has the condition Ready=Unknown.
        let mut former = json!("Unknown");
        for line in &lines {
            assert_eq!(line["former"], former, "{object}: {lines:?}");
            former = line["status"].clone();
        }
        let shown: Vec<(&Value, &Value)> = lines.iter().map(|line| (&line["status"], &line["reason"])).collect();
        assert!(shown.windows(2).all(|pair| pair[0] != pair[1]), "{object}: {shown:?}");
        assert!(shown.contains(&(&json!(last.0), &json!(last.1))), "{object}: {shown:?}");
    }
    Ok(())
}
