use super::*;
use crate::emulator::answer::Value;

/// A state with the app `demo`, and a clock.
struct Bench {
    state: State,
    now: Timestamp,
}

impl Bench {
    fn new() -> Self {
        Self::with_limit(GROUPS_PER_APP)
    }

    fn with_limit(limit: usize) -> Self {
        let now = "2026-01-02T03:04:05.678Z".parse().unwrap();
        let mut state = State::with_groups_per_app(limit);
        state.put_app(App::new("demo", DataCenter::Shanghai, now));
        Self { state, now }
    }

    fn call(&mut self, operation: Operation, params: &[(&str, &str)]) -> Result<Answer, ApiError> {
        self.state.handle(operation, &params.iter().copied().collect(), self.now)
    }

    /// A call on a group of `demo`.
    fn on(&mut self, operation: Operation, group: &str, more: &[(&str, &str)]) -> Result<Answer, ApiError> {
        self.call(operation, &[&[("AppId", "demo"), ("GroupId", group)], more].concat())
    }

    fn create(&mut self, group: &str) -> Result<(bool, bool), ApiError> {
        let answer = self.on(Operation::CreateGroup, group, &[])?;
        Ok((truth(&answer, "AlreadyExists"), truth(&answer, "AlreadyDelete")))
    }

    fn delete(&mut self, group: &str) {
        self.on(Operation::DeleteGroup, group, &[("OperatorId", "op1")]).unwrap();
    }

    fn pass(&mut self, time: SignedDuration) {
        self.now += time;
    }

    fn demo(&self) -> &App {
        self.state.app("demo").unwrap()
    }
}

fn truth(answer: &Answer, name: &str) -> bool {
    answer.get(name) == Some(&Value::Bool(true))
}

fn code<T: fmt::Debug>(outcome: Result<T, ApiError>) -> String {
    outcome.unwrap_err().code.into_owned()
}

fn ids(answer: &Answer) -> Vec<String> {
    let Some(Value::List(list)) = answer.get("GroupList") else { panic!("no list") };
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
fn a_group_is_created_described_modified() {
    let mut bench = Bench::new();
    let fields = [
        ("GroupName", "name"),
        ("GroupInfo", "info"),
        ("CreatorId", "uid1"),
        ("Administrators", "uid1,uid2"),
        ("DataCenter", "cn-shanghai"),
    ];
    let answer = bench.on(Operation::CreateGroup, "g1", &fields).unwrap();
    let expected = Answer::new().with("GroupId", "g1").with("AlreadyExists", false).with("AlreadyDelete", false);
    assert_eq!(answer, expected);

    let answer = bench.on(Operation::DescribeGroup, "g1", &[]).unwrap();
    let expected = Answer::new()
        .with("GroupId", "g1")
        .with("CreatorId", "uid1")
        .with("AdminList", &["uid1".to_owned(), "uid2".to_owned()][..])
        .with("Createtime", 1_767_323_045)
        .with("GroupName", "name")
        .with("GroupInfo", "info")
        .with("Delete", false)
        .with("TotalTimes", 0)
        .with("OnlineUserCounts", 0)
        .with("MsgAmount", Value::Object(Answer::new()))
        .with("SuperLargeGroup", false);
    assert_eq!(answer, expected);

    let modify = |bench: &mut Bench, params: &[(&str, &str)]| {
        assert_eq!(bench.on(Operation::ModifyGroup, "g1", params).unwrap(), Answer::new());
        let group = bench.demo().group("g1").unwrap();
        (group.administrators.join(","), group.info.clone())
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let values = [("AdminList", "uid3"), ("GroupInfo", "new")];
    // Without its flag a value is ignored.
    assert_eq!(modify(&mut bench, &values), pair("uid1,uid2", "info"));
    let off = [("ModifyAdmin", "False"), ("ModifyInfo", "false")];
    assert_eq!(modify(&mut bench, &[values, off].concat()), pair("uid1,uid2", "info"));
    for truth in ["true", "True", "TRUE", "1"] {
        let with = |value: &'static str| [("ModifyAdmin", truth), ("AdminList", value)];
        assert_eq!(modify(&mut bench, &with("uid3")).0, "uid3");
        assert_eq!(modify(&mut bench, &with("")).0, "");
    }
    assert_eq!(modify(&mut bench, &[("ModifyInfo", "true"), ("GroupInfo", "new")]), pair("", "new"));
    assert_eq!(modify(&mut bench, &[("ModifyInfo", "true"), ("GroupInfo", "")]), pair("", ""));
    assert_eq!(code(bench.on(Operation::ModifyGroup, "g1", &[("ModifyInfo", "yes")])), "InputInvalid");
}

#[test]
fn create_never_overwrites() {
    let mut bench = Bench::new();
    bench.on(Operation::CreateGroup, "g1", &[("GroupInfo", "first")]).unwrap();
    let answer = bench.on(Operation::CreateGroup, "g1", &[("GroupInfo", "second")]).unwrap();
    assert!(truth(&answer, "AlreadyExists") && !truth(&answer, "AlreadyDelete"));
    assert_eq!(bench.demo().group("g1").unwrap().info, "first");
}

#[test]
fn a_deleted_group_keeps_its_id_for_30_days() {
    let mut bench = Bench::new();
    bench.create("g1").unwrap();
    bench.pass(SignedDuration::from_secs(10));
    bench.delete("g1");
    let deleted_at = bench.now;
    bench.pass(RETENTION - SignedDuration::from_millis(1));
    // A second deletion changes nothing.
    bench.on(Operation::DeleteGroup, "g1", &[("OperatorId", "op2")]).unwrap();
    assert_eq!(bench.create("g1").unwrap(), (true, true));
    let answer = bench.on(Operation::DescribeGroup, "g1", &[]).unwrap();
    assert!(truth(&answer, "Delete"));
    assert_eq!(answer.get("Deletatime"), Some(&Value::Int(deleted_at.as_second())));
    assert_eq!(answer.get("Deletor"), Some(&Value::from("op1")));
    assert_eq!(answer.get("MsgAmount"), None);
    assert_eq!(code(bench.on(Operation::ModifyGroup, "g1", &[])), "ResourceNotExist");

    bench.pass(SignedDuration::from_millis(1));
    assert_eq!(code(bench.on(Operation::DescribeGroup, "g1", &[])), "ResourceNotExist");
    assert_eq!(code(bench.on(Operation::RecoverGroup, "g1", &[])), "ResourceNotExist");
    assert_eq!(bench.create("g1").unwrap(), (false, false));
}

#[test]
fn a_deleted_group_can_be_recovered_as_it_was() {
    let mut bench = Bench::new();
    bench.on(Operation::CreateGroup, "g1", &[("GroupInfo", "info")]).unwrap();
    let before = bench.demo().group("g1").unwrap().clone();
    bench.pass(SignedDuration::from_hours(1));
    bench.delete("g1");
    bench.pass(SignedDuration::from_hours(29 * 24));
    let answer = bench.on(Operation::RecoverGroup, "g1", &[]).unwrap();
    assert_eq!(answer, Answer::new().with("GroupId", "g1"));
    assert_eq!(bench.demo().group("g1"), Some(&before));
    // Live: nothing to do. And the 30 days do not run on.
    bench.on(Operation::RecoverGroup, "g1", &[]).unwrap();
    bench.pass(SignedDuration::from_hours(10 * 24));
    assert_eq!(bench.create("g1").unwrap(), (true, false));
}

#[test]
fn what_never_existed_can_be_deleted_only() {
    let mut bench = Bench::new();
    let answer = bench.on(Operation::DeleteGroup, "g1", &[]).unwrap();
    assert_eq!(answer, Answer::new().with("GroupId", "g1"));
    for operation in [Operation::DescribeGroup, Operation::ModifyGroup, Operation::RecoverGroup] {
        let error = bench.on(operation, "g1", &[]).unwrap_err();
        assert_eq!((error.status, error.code.as_ref()), (404, "ResourceNotExist"));
    }
}

#[test]
fn the_quota_counts_live_groups() {
    let mut bench = Bench::with_limit(2);
    bench.create("g1").unwrap();
    bench.create("g2").unwrap();
    let error = bench.create("g3").unwrap_err();
    assert_eq!((error.status, error.code.as_ref()), (400, "ErrorTooManyGroups"));
    assert_eq!(bench.create("g2").unwrap(), (true, false), "an id that exists is no matter of quota");
    bench.delete("g1");
    bench.create("g3").unwrap();
    assert_eq!(code(bench.on(Operation::RecoverGroup, "g1", &[])), "ErrorTooManyGroups");
    bench.delete("g3");
    bench.on(Operation::RecoverGroup, "g1", &[]).unwrap();
    assert_eq!(bench.demo().live_groups(), 2);
}

#[test]
fn lengths_are_bytes_and_limits_are_inclusive() {
    let mut bench = Bench::new();
    let long_id = "a".repeat(64);
    for (name, longest) in [("GroupName", 128), ("GroupInfo", 32_768)] {
        let (fits, too_long) = ("群".repeat(longest / 3) + &"x".repeat(longest % 3), "x".repeat(longest + 1));
        bench.on(Operation::CreateGroup, &long_id, &[(name, &fits)]).unwrap();
        let error = bench.on(Operation::CreateGroup, "g2", &[(name, &too_long)]).unwrap_err();
        assert_eq!((error.status, error.code.as_ref()), (400, "InputInvalid"));
        assert!(error.message.starts_with(name), "{}", error.message);
        let wide = "群".repeat(longest / 3 + 1);
        assert_eq!(code(bench.on(Operation::CreateGroup, "g2", &[(name, &wide)])), "InputInvalid");
    }
    let too_long = "a".repeat(65);
    for bad in ["", too_long.as_str(), "a-b", "a b", "群"] {
        let error = bench.on(Operation::CreateGroup, bad, &[]).unwrap_err();
        assert!(error.code == "InputInvalid" && error.message.starts_with("GroupId"), "{bad}: {error}");
    }
    assert_eq!(code(bench.on(Operation::CreateGroup, "g2", &[("CreatorId", "a.b")])), "InputInvalid");
    assert_eq!(code(bench.on(Operation::DeleteGroup, "g2", &[("OperatorId", "a.b")])), "InputInvalid");
}

#[test]
fn administrators_come_in_two_formats() {
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
fn the_data_center_must_be_the_apps() {
    let mut bench = Bench::new();
    bench.create("g1").unwrap();
    let with = |bench: &mut Bench, center| bench.on(Operation::DescribeGroup, "g1", &[("DataCenter", center)]);
    assert!(with(&mut bench, "cn-shanghai").is_ok());
    assert!(with(&mut bench, "").is_ok());
    assert_eq!(code(with(&mut bench, "ap-southeast-1")), "ResourceNotExist");
    assert_eq!(code(with(&mut bench, "eu-central-1")), "InputInvalid");
    let other = [("AppId", "other"), ("GroupId", "g1")];
    assert_eq!(code(bench.call(Operation::DescribeGroup, &other)), "ResourceNotExist");
    assert_eq!(code(bench.call(Operation::DescribeGroup, &[("GroupId", "g1")])), "InputInvalid");
}

#[test]
fn pages_are_cut_by_number() {
    let mut bench = Bench::new();
    for i in 0..45 {
        bench.create(&format!("g{i:02}")).unwrap();
    }
    for i in 0..5 {
        bench.delete(&format!("g{i:02}"));
    }
    let mut list = |params: &[(&str, &str)]| {
        bench.call(Operation::ListGroupsByPage, &[&[("AppId", "demo"), ("SortType", "1")], params].concat())
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
    assert_eq!(ids(&bench.call(Operation::ListGroupsByPage, &down).unwrap()), ["g44", "g43"]);
    assert_eq!(code(bench.call(Operation::ListGroupsByPage, &[("AppId", "demo")])), "InputInvalid");
}

#[test]
fn pages_are_followed_by_token() {
    let mut bench = Bench::with_limit(0);
    let all: Vec<String> = (0..250).map(|i| format!("g{i:03}")).collect();
    all.iter().for_each(|id| {
        bench.create(id).unwrap();
    });
    for (sort, expected) in [("1", all.clone()), ("2", all.iter().rev().cloned().collect())] {
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let params = [("AppId", "demo"), ("SortType", sort), ("NextPageToken", token.as_str())];
            let page = bench.call(Operation::ListGroups, &params).unwrap();
            seen.extend(ids(&page));
            token = match page.get("NextpageToken") {
                Some(Value::Text(next)) => next.clone(),
                _ => break assert!(!truth(&page, "Hasmore")),
            };
            assert!(truth(&page, "Hasmore"));
        }
        assert_eq!(seen, expected);
    }
}

#[test]
fn apps_are_created_listed_changed() {
    let mut bench = Bench::new();
    bench.pass(SignedDuration::from_secs(1));
    let params = [("AppName", "testApp"), ("DataCenter", "ap-southeast-1"), ("MsgLifeCycle", "1")];
    let answer = bench.call(Operation::CreateApp, &params).unwrap();
    let Some(Value::Text(id)) = answer.get("AppId").cloned() else { panic!("no id") };
    assert_eq!(bench.state.app(&id).unwrap().data_center, DataCenter::Singapore);
    let group = [("AppId", id.as_str()), ("GroupId", "g1")];
    bench.call(Operation::CreateGroup, &group).unwrap();

    let audit = [("AppId", id.as_str()), ("AuditType", "2"), ("AuditUrl", "https://example.com/audit")];
    bench.call(Operation::ModifyAppAudit, &audit).unwrap();
    bench.call(Operation::ModifyAppDisable, &[("AppId", &id), ("Disable", "true")]).unwrap();
    let app = bench.call(Operation::DescribeApp, &[("AppId", &id)]).unwrap();
    assert_eq!((app.get("AuditType"), app.get("MsgLifeCycle")), (Some(&Value::Int(2)), Some(&Value::Int(1))));
    assert!(truth(&app, "Disable"));
    assert_eq!(code(bench.call(Operation::DescribeGroup, &group)), "NoAuth");

    let list = bench.call(Operation::ListApps, &[("SortType", "1")]).unwrap();
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
        assert_eq!(code(bench.call(Operation::CreateApp, &[bad])), "InputInvalid", "{bad:?}");
    }
}
