use super::*;
use crate::emulator::payload::Value;

/// A state with the app `demo`, and the current time.
struct Fixture {
    state: State,
    now: Timestamp,
}

impl Fixture {
    fn new() -> Self {
        Self::with_limit(GROUPS_PER_APP)
    }

    fn with_limit(limit: usize) -> Self {
        let now = "2026-01-02T03:04:05.678Z".parse().unwrap();
        let mut state = State::with_groups_per_app(limit);
        state.put_app(App::new("demo", DataCenter::Shanghai, now));
        Self { state, now }
    }

    fn call(&mut self, operation: Operation, params: &[(&str, &str)]) -> Result<Payload, ApiError> {
        self.state.handle(operation, &params.iter().copied().collect(), self.now)
    }

    /// Calls an operation on a group of `demo`.
    fn call_group(&mut self, operation: Operation, group: &str, more: &[(&str, &str)]) -> Result<Payload, ApiError> {
        self.call(operation, &[&[("AppId", "demo"), ("GroupId", group)], more].concat())
    }

    fn create(&mut self, group: &str) -> Result<(bool, bool), ApiError> {
        let payload = self.call_group(Operation::CreateGroup, group, &[])?;
        Ok((is_true(&payload, "AlreadyExists"), is_true(&payload, "AlreadyDelete")))
    }

    fn delete(&mut self, group: &str) {
        self.call_group(Operation::DeleteGroup, group, &[("OperatorId", "op1")]).unwrap();
    }

    fn advance(&mut self, time: SignedDuration) {
        self.now += time;
    }

    fn demo(&self) -> &App {
        self.state.app("demo").unwrap()
    }
}

fn is_true(payload: &Payload, name: &str) -> bool {
    payload.get(name) == Some(&Value::Bool(true))
}

fn code<T: fmt::Debug>(outcome: Result<T, ApiError>) -> String {
    outcome.unwrap_err().code.into_owned()
}

fn ids(payload: &Payload) -> Vec<String> {
    let Some(Value::List(list)) = payload.get("GroupList") else { panic!("no list") };
    let id = |entry: &Value| match entry {
        Value::Object(fields) => match fields.get("GroupId") {
            Some(Value::Text(id)) => id.clone(),
            _ => panic!("no id"),
        },
        _ => panic!("no object"),
    };
    list.iter().map(id).collect()
}

#[test]
fn group_can_be_created_described_and_modified() {
    let mut fixture = Fixture::new();
    let fields = [
        ("GroupName", "name"),
        ("GroupInfo", "info"),
        ("CreatorId", "uid1"),
        ("Administrators", "uid1,uid2"),
        ("DataCenter", "cn-shanghai"),
    ];
    let payload = fixture.call_group(Operation::CreateGroup, "g1", &fields).unwrap();
    let expected = Payload::new().with("GroupId", "g1").with("AlreadyExists", false).with("AlreadyDelete", false);
    assert_eq!(payload, expected);

    let payload = fixture.call_group(Operation::DescribeGroup, "g1", &[]).unwrap();
    let expected = Payload::new()
        .with("GroupId", "g1")
        .with("CreatorId", "uid1")
        .with("AdminList", &["uid1".to_owned(), "uid2".to_owned()][..])
        .with("Createtime", 1_767_323_045)
        .with("GroupName", "name")
        .with("GroupInfo", "info")
        .with("Delete", false)
        .with("TotalTimes", 0)
        .with("OnlineUserCounts", 0)
        .with("MsgAmount", Value::Object(Payload::new()))
        .with("SuperLargeGroup", false);
    assert_eq!(payload, expected);

    let modify = |fixture: &mut Fixture, params: &[(&str, &str)]| {
        assert_eq!(fixture.call_group(Operation::ModifyGroup, "g1", params).unwrap(), Payload::new());
        let group = fixture.demo().group("g1").unwrap();
        (group.administrators.join(","), group.info.clone())
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let values = [("AdminList", "uid3"), ("GroupInfo", "new")];
    // A value without its flag is ignored.
    assert_eq!(modify(&mut fixture, &values), pair("uid1,uid2", "info"));
    let off = [("ModifyAdmin", "False"), ("ModifyInfo", "false")];
    assert_eq!(modify(&mut fixture, &[values, off].concat()), pair("uid1,uid2", "info"));
    for flag in ["true", "True", "TRUE", "1"] {
        let with = |value: &'static str| [("ModifyAdmin", flag), ("AdminList", value)];
        assert_eq!(modify(&mut fixture, &with("uid3")).0, "uid3");
        assert_eq!(modify(&mut fixture, &with("")).0, "");
    }
    assert_eq!(modify(&mut fixture, &[("ModifyInfo", "true"), ("GroupInfo", "new")]), pair("", "new"));
    assert_eq!(modify(&mut fixture, &[("ModifyInfo", "true"), ("GroupInfo", "")]), pair("", ""));
    assert_eq!(code(fixture.call_group(Operation::ModifyGroup, "g1", &[("ModifyInfo", "yes")])), "InputInvalid");
}

#[test]
fn create_never_overwrites() {
    let mut fixture = Fixture::new();
    fixture.call_group(Operation::CreateGroup, "g1", &[("GroupInfo", "first")]).unwrap();
    let payload = fixture.call_group(Operation::CreateGroup, "g1", &[("GroupInfo", "second")]).unwrap();
    assert!(is_true(&payload, "AlreadyExists") && !is_true(&payload, "AlreadyDelete"));
    assert_eq!(fixture.demo().group("g1").unwrap().info, "first");
}

#[test]
fn deleted_group_reserves_its_id_for_30_days() {
    let mut fixture = Fixture::new();
    fixture.create("g1").unwrap();
    fixture.advance(SignedDuration::from_secs(10));
    fixture.delete("g1");
    let deleted_at = fixture.now;
    fixture.advance(RETENTION - SignedDuration::from_millis(1));
    // A second deletion changes nothing.
    fixture.call_group(Operation::DeleteGroup, "g1", &[("OperatorId", "op2")]).unwrap();
    assert_eq!(fixture.create("g1").unwrap(), (true, true));
    let payload = fixture.call_group(Operation::DescribeGroup, "g1", &[]).unwrap();
    assert!(is_true(&payload, "Delete"));
    assert_eq!(payload.get("Deletatime"), Some(&Value::Int(deleted_at.as_second())));
    assert_eq!(payload.get("Deletor"), Some(&Value::from("op1")));
    assert_eq!(payload.get("MsgAmount"), None);
    assert_eq!(code(fixture.call_group(Operation::ModifyGroup, "g1", &[])), "ResourceNotExist");

    fixture.advance(SignedDuration::from_millis(1));
    assert_eq!(code(fixture.call_group(Operation::DescribeGroup, "g1", &[])), "ResourceNotExist");
    assert_eq!(code(fixture.call_group(Operation::RecoverGroup, "g1", &[])), "ResourceNotExist");
    assert_eq!(fixture.create("g1").unwrap(), (false, false));
}

#[test]
fn recovered_group_is_unchanged() {
    let mut fixture = Fixture::new();
    fixture.call_group(Operation::CreateGroup, "g1", &[("GroupInfo", "info")]).unwrap();
    let before = fixture.demo().group("g1").unwrap().clone();
    fixture.advance(SignedDuration::from_hours(1));
    fixture.delete("g1");
    fixture.advance(SignedDuration::from_hours(29 * 24));
    let payload = fixture.call_group(Operation::RecoverGroup, "g1", &[]).unwrap();
    assert_eq!(payload, Payload::new().with("GroupId", "g1"));
    assert_eq!(fixture.demo().group("g1"), Some(&before));
    // Recovering a live group changes nothing. A recovered group is not purged.
    fixture.call_group(Operation::RecoverGroup, "g1", &[]).unwrap();
    fixture.advance(SignedDuration::from_hours(10 * 24));
    assert_eq!(fixture.create("g1").unwrap(), (true, false));
}

#[test]
fn unknown_group_allows_only_deletion() {
    let mut fixture = Fixture::new();
    let payload = fixture.call_group(Operation::DeleteGroup, "g1", &[]).unwrap();
    assert_eq!(payload, Payload::new().with("GroupId", "g1"));
    for operation in [Operation::DescribeGroup, Operation::ModifyGroup, Operation::RecoverGroup] {
        let error = fixture.call_group(operation, "g1", &[]).unwrap_err();
        assert_eq!((error.status, error.code.as_ref()), (404, "ResourceNotExist"));
    }
}

#[test]
fn quota_counts_live_groups() {
    let mut fixture = Fixture::with_limit(2);
    fixture.create("g1").unwrap();
    fixture.create("g2").unwrap();
    let error = fixture.create("g3").unwrap_err();
    assert_eq!((error.status, error.code.as_ref()), (400, "ErrorTooManyGroups"));
    assert_eq!(fixture.create("g2").unwrap(), (true, false), "the quota does not apply to an existing ID");
    fixture.delete("g1");
    fixture.create("g3").unwrap();
    assert_eq!(code(fixture.call_group(Operation::RecoverGroup, "g1", &[])), "ErrorTooManyGroups");
    fixture.delete("g3");
    fixture.call_group(Operation::RecoverGroup, "g1", &[]).unwrap();
    assert_eq!(fixture.demo().live_groups(), 2);
}

#[test]
fn lengths_are_bytes_and_limits_are_inclusive() {
    let mut fixture = Fixture::new();
    let long_id = "a".repeat(64);
    for (name, longest) in [("GroupName", 128), ("GroupInfo", 32_768)] {
        let (fits, too_long) = ("群".repeat(longest / 3) + &"x".repeat(longest % 3), "x".repeat(longest + 1));
        fixture.call_group(Operation::CreateGroup, &long_id, &[(name, &fits)]).unwrap();
        let error = fixture.call_group(Operation::CreateGroup, "g2", &[(name, &too_long)]).unwrap_err();
        assert_eq!((error.status, error.code.as_ref()), (400, "InputInvalid"));
        assert!(error.message.starts_with(name), "{}", error.message);
        let wide = "群".repeat(longest / 3 + 1);
        assert_eq!(code(fixture.call_group(Operation::CreateGroup, "g2", &[(name, &wide)])), "InputInvalid");
    }
    let too_long = "a".repeat(65);
    for bad in ["", too_long.as_str(), "a-b", "a b", "群"] {
        let error = fixture.call_group(Operation::CreateGroup, bad, &[]).unwrap_err();
        assert!(error.code == "InputInvalid" && error.message.starts_with("GroupId"), "{bad}: {error}");
    }
    assert_eq!(code(fixture.call_group(Operation::CreateGroup, "g2", &[("CreatorId", "a.b")])), "InputInvalid");
    assert_eq!(code(fixture.call_group(Operation::DeleteGroup, "g2", &[("OperatorId", "a.b")])), "InputInvalid");
}

#[test]
fn administrators_have_two_wire_formats() {
    let parse = |params: &[(&str, &str)]| {
        check::administrators(&params.iter().copied().collect(), "AdminList").map(|list| list.join(","))
    };
    assert_eq!(parse(&[("AdminList", "a,b,c")]).unwrap(), "a,b,c");
    assert_eq!(parse(&[("AdminList.2", "b"), ("AdminList.1", "a"), ("AdminList.10", "c")]).unwrap(), "a,b,c");
    assert_eq!(parse(&[("AdminList", "")]).unwrap(), "");
    assert_eq!(parse(&[]).unwrap(), "");
    assert_eq!(parse(&[("Administrators", "a")]).unwrap(), "");
    for bad in [
        &[("AdminList", "a,b,c,d")][..],
        &[("AdminList", "a,,b")],
        &[("AdminList", "a,a")],
        &[("AdminList", "a b")],
        &[("AdminList", "[\"a\"]")],
        &[("AdminList", "a"), ("AdminList.1", "b")],
        &[("AdminList.x", "a")],
        &[("AdminList.1", "")],
    ] {
        assert_eq!(code(parse(bad)), "InputInvalid", "{bad:?}");
    }
}

#[test]
fn data_center_must_match_the_app() {
    let mut fixture = Fixture::new();
    fixture.create("g1").unwrap();
    let with =
        |fixture: &mut Fixture, center| fixture.call_group(Operation::DescribeGroup, "g1", &[("DataCenter", center)]);
    assert!(with(&mut fixture, "cn-shanghai").is_ok());
    assert!(with(&mut fixture, "").is_ok());
    assert_eq!(code(with(&mut fixture, "ap-southeast-1")), "ResourceNotExist");
    assert_eq!(code(with(&mut fixture, "eu-central-1")), "InputInvalid");
    let other = [("AppId", "other"), ("GroupId", "g1")];
    assert_eq!(code(fixture.call(Operation::DescribeGroup, &other)), "ResourceNotExist");
    assert_eq!(code(fixture.call(Operation::DescribeGroup, &[("GroupId", "g1")])), "InputInvalid");
}

#[test]
fn groups_are_listed_by_page_number() {
    let mut fixture = Fixture::new();
    for i in 0..45 {
        fixture.create(&format!("g{i:02}")).unwrap();
    }
    for i in 0..5 {
        fixture.delete(&format!("g{i:02}"));
    }
    let mut list = |params: &[(&str, &str)]| {
        fixture.call(Operation::ListGroupsByPage, &[&[("AppId", "demo"), ("SortType", "1")], params].concat())
    };
    let first = list(&[]).unwrap();
    assert_eq!(first.get("TotalCount"), Some(&Value::Int(45)));
    assert_eq!((first.get("PageNumber"), first.get("PageSize")), (Some(&Value::Int(1)), Some(&Value::Int(20))));
    assert_eq!(ids(&first).len(), 20);
    let last = list(&[("PageNumber", "3"), ("GroupStatus", "1"), ("PageSize", "19")]).unwrap();
    assert_eq!((last.get("TotalCount"), ids(&last)), (Some(&Value::Int(40)), vec!["g43".into(), "g44".into()]));
    assert_eq!(ids(&list(&[("GroupStatus", "2")]).unwrap()), ["g00", "g01", "g02", "g03", "g04"]);
    assert!(ids(&list(&[("PageNumber", "10000"), ("PageSize", "50")]).unwrap()).is_empty());
    for bad in
        [("PageNumber", "0"), ("PageNumber", "10001"), ("PageSize", "51"), ("PageSize", "x"), ("GroupStatus", "3")]
    {
        assert_eq!(code(list(&[bad])), "InputInvalid", "{bad:?}");
    }
    let down = [("AppId", "demo"), ("SortType", "2"), ("PageSize", "2")];
    assert_eq!(ids(&fixture.call(Operation::ListGroupsByPage, &down).unwrap()), ["g44", "g43"]);
    assert_eq!(code(fixture.call(Operation::ListGroupsByPage, &[("AppId", "demo")])), "InputInvalid");
}

#[test]
fn groups_are_listed_by_token() {
    let mut fixture = Fixture::with_limit(0);
    let all: Vec<String> = (0..250).map(|i| format!("g{i:03}")).collect();
    all.iter().for_each(|id| {
        fixture.create(id).unwrap();
    });
    for (sort, expected) in [("1", all.clone()), ("2", all.iter().rev().cloned().collect())] {
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let params = [("AppId", "demo"), ("SortType", sort), ("NextPageToken", token.as_str())];
            let page = fixture.call(Operation::ListGroups, &params).unwrap();
            seen.extend(ids(&page));
            token = match page.get("NextpageToken") {
                Some(Value::Text(next)) => next.clone(),
                _ => break assert!(!is_true(&page, "Hasmore")),
            };
            assert!(is_true(&page, "Hasmore"));
        }
        assert_eq!(seen, expected);
    }
}

#[test]
fn apps_can_be_created_changed_and_listed() {
    let mut fixture = Fixture::new();
    fixture.advance(SignedDuration::from_secs(1));
    let params = [("AppName", "testApp"), ("DataCenter", "ap-southeast-1"), ("MsgLifeCycle", "1")];
    let payload = fixture.call(Operation::CreateApp, &params).unwrap();
    let Some(Value::Text(id)) = payload.get("AppId").cloned() else { panic!("no id") };
    assert_eq!(fixture.state.app(&id).unwrap().data_center, DataCenter::Singapore);
    let group = [("AppId", id.as_str()), ("GroupId", "g1")];
    fixture.call(Operation::CreateGroup, &group).unwrap();

    let audit = [("AppId", id.as_str()), ("AuditType", "2"), ("AuditUrl", "https://example.com/audit")];
    fixture.call(Operation::ModifyAppAudit, &audit).unwrap();
    fixture.call(Operation::ModifyAppDisable, &[("AppId", &id), ("Disable", "true")]).unwrap();
    let app = fixture.call(Operation::DescribeApp, &[("AppId", &id)]).unwrap();
    assert_eq!((app.get("AuditType"), app.get("MsgLifeCycle")), (Some(&Value::Int(2)), Some(&Value::Int(1))));
    assert!(is_true(&app, "Disable"));
    assert_eq!(code(fixture.call(Operation::DescribeGroup, &group)), "NoAuth");

    let list = fixture.call(Operation::ListApps, &[("SortType", "1")]).unwrap();
    let Some(Value::List(apps)) = list.get("AppList") else { panic!("no list") };
    let Value::Object(second) = &apps[1] else { panic!("no object") };
    assert_eq!((apps.len(), second.get("Disable")), (2, Some(&Value::from("true"))));

    for bad in [
        ("AppName", "x"),
        ("AuditType", "2"),
        ("AuditUrl", "ftp://example.com"),
        ("EventCallbackUrl", "http://192.168.0.1/"),
        ("EventCallbackUrl", "http://example.com:8080/"),
    ] {
        assert_eq!(code(fixture.call(Operation::CreateApp, &[bad])), "InputInvalid", "{bad:?}");
    }
}
