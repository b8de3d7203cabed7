//! Evaluates the objects of all situations and formats the results as a table.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use live_message_operator::resources::{ConditionType, LiveMessageGroup, get_condition};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{example, manifests};
use crate::support::{Context as _, ControlPlane, Health, Result, argo_cd, flux_health, kstatus};
use crate::world::APP;

/// A kind of object: its short name, and its full name in kubectl output.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind(&'static str, &'static str);

pub const GROUP: Kind = Kind("lmg", "livemessagegroup.live.alibabacloud.com");
pub const ACCOUNT: Kind = Kind("lacc", "liveaccount.live.alibabacloud.com");

/// A situation, and the kind, namespace and name of its object.
pub struct Situation {
    kind: Kind,
    title: String,
    namespace: String,
    name: String,
}

impl Situation {
    /// Creates a situation with a LiveMessageGroup. The name of the object is derived from the title.
    pub fn new(title: &str, namespace: &str) -> Self {
        Self::of(GROUP, title, namespace)
    }

    /// Creates a situation with an object of the given kind.
    pub fn of(kind: Kind, title: &str, namespace: &str) -> Self {
        let words: Vec<&str> =
            title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let name = words.join("-").to_lowercase();
        Self { kind, title: title.to_owned(), namespace: namespace.to_owned(), name }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Creates the object and returns its name. `appId` defaults to [`APP`], and `groupId` is derived from the name.
    pub async fn create(&self, api: &Api<LiveMessageGroup>, spec: Value, metadata: Value) -> Result<String> {
        let group_id: String = self.name.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
        let mut object = json!({
            "apiVersion": "live.alibabacloud.com/v1alpha1", "kind": "LiveMessageGroup",
            "metadata": {"name": self.name}, "spec": {"appId": APP, "groupId": group_id},
        });
        for (field, more) in [("spec", spec), ("metadata", metadata)] {
            let (fields, more) = (object[field].as_object_mut().context(field)?, more.as_object().context(field)?);
            fields.extend(more.clone());
        }
        api.create(&PostParams::default(), &serde_json::from_value(object)?).await.context(&self.title)?;
        Ok(self.name.clone())
    }
}

/// A situation and the results of all tools.
pub struct Row {
    pub situation: String,
    pub kstatus: Health,
    /// The result of the health expressions in the Flux example.
    flux: Health,
    pub argo: Health,
    /// Whether `kubectl wait --for=condition=Ready` succeeds.
    pub met: bool,
    object: Seen,
}

/// The fields of an object that the status contract covers.
#[derive(Debug, Deserialize)]
struct Seen {
    metadata: ObjectMeta,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    observed_generation: Option<i64>,
    #[serde(default)]
    conditions: Vec<Condition>,
    last_request_id: Option<String>,
}

/// Reads the objects of all situations from the apiserver and evaluates them with all tools.
pub fn evaluate(control_plane: &ControlPlane, situations: &[Situation]) -> Result<Vec<Row>> {
    let mut stored: BTreeMap<(Kind, &str, String), Value> = BTreeMap::new();
    let mut met = String::new();
    let places: BTreeSet<(Kind, &str)> = situations.iter().map(|s| (s.kind, s.namespace.as_str())).collect();
    for (kind, namespace) in places {
        let list = control_plane.kubectl(&["get", kind.0, "--namespace", namespace, "--output=json"])?;
        for object in serde_json::from_str::<Value>(&list)?["items"].as_array().into_iter().flatten() {
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            stored.insert((kind, namespace, name), object.clone());
        }
        // With a timeout of 0, kubectl checks each object once, and fails after the last one if any is not ready.
        let wait = ["wait", "--for=condition=Ready", "--timeout=0", "--namespace", namespace, kind.0, "--all"];
        met += &String::from_utf8(control_plane.kubectl_program().output(&wait, "")?.stdout)?;
    }
    let object = |s: &Situation| stored.get(&(s.kind, s.namespace.as_str(), s.name.clone())).cloned().context(&s.title);
    let objects = situations.iter().map(object).collect::<Result<Vec<Value>>>()?;
    let kustomizations = manifests("flux/kustomizations.yaml")?;
    let expressions = kustomizations.iter().map(|object| &object["spec"]["healthCheckExprs"]);
    let expressions = expressions.into_iter().find(|list| list.is_array()).context("no healthCheckExprs")?;
    let flux = flux_health(expressions, &objects)?;
    let (kstatus, argo) = (kstatus(&objects)?, argo_cd(&example("argocd/health.lua"), &objects)?);
    let row = |(index, situation): (usize, &Situation)| {
        let line = format!("{}/{} condition met", situation.kind.1, situation.name);
        Ok(Row {
            situation: situation.title.clone(),
            kstatus: kstatus[index].clone(),
            flux: flux[index].clone(),
            argo: argo[index].clone(),
            met: met.lines().any(|printed| printed == line),
            object: serde_json::from_value(objects[index].clone()).context(&situation.title)?,
        })
    };
    situations.iter().enumerate().map(row).collect()
}

impl Row {
    fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        get_condition(&self.object.status.conditions, kind)
    }

    fn conditions(&self) -> &[Condition] {
        &self.object.status.conditions
    }

    fn observed(&self) -> Option<i64> {
        self.object.status.observed_generation
    }

    /// Returns the reasons of the conditions.
    pub fn reasons(&self) -> impl Iterator<Item = &str> {
        self.conditions().iter().map(|condition| condition.reason.as_str())
    }

    /// Returns the rules of the contract that this object breaks.
    pub fn broken_rules(&self) -> Vec<String> {
        use ConditionType::{Degraded, Paused, Ready, Reconciling, Stalled};
        let holds = |kind| self.condition(kind).is_some();
        let (observed, generation) = (self.observed(), self.object.metadata.generation.unwrap_or_default());
        let seen = observed.is_some_and(|observed| observed > 0);
        // Paused is an exception, because an object can be paused before its generation is processed.
        let is_outdated = |c: &&Condition| seen && c.type_ != Paused.as_str() && c.observed_generation != observed;
        let request = self.object.status.last_request_id.as_deref().unwrap_or("no request");
        let stalled = self.condition(Stalled).map(|stalled| stalled.message.as_str());
        let rules = [
            (
                "Ready is always present, and first",
                self.conditions().first().is_some_and(|c| c.type_ == Ready.as_str()),
            ),
            ("never both Reconciling and Stalled", !(holds(Reconciling) && holds(Stalled))),
            (
                "Reconciling, Stalled, Degraded and Paused are present only while True",
                [Reconciling, Stalled, Degraded, Paused]
                    .iter()
                    .all(|k| self.condition(*k).is_none_or(|c| c.status == "True")),
            ),
            ("a paused object is not Reconciling", !(holds(Paused) && holds(Reconciling))),
            ("observedGeneration is always present, and never ahead", observed.is_some_and(|o| o <= generation)),
            ("every condition has the observed generation", !self.conditions().iter().any(|c| is_outdated(&c))),
            (
                "Ready=Unknown or False has Reconciling, Stalled or Paused",
                self.condition(Ready).is_none_or(|c| {
                    !seen || c.status == "True" || holds(Reconciling) || holds(Stalled) || holds(Paused)
                }),
            ),
            ("messages contain no request ID", !self.conditions().iter().any(|c| c.message.contains(request))),
            ("ready for kstatus is ready for kubectl wait", self.kstatus.status != "Current" || self.met),
            ("ready for Argo CD is ready for kubectl wait", self.argo.status != "Healthy" || self.met),
            (
                "the health expressions for Flux agree with kstatus, except during a deletion",
                self.kstatus.status == "Terminating" || self.flux.status == self.kstatus.status,
            ),
            (
                "kstatus and Argo CD fail for the same objects",
                holds(Paused) || (self.kstatus.status == "Failed") == (self.argo.status == "Degraded"),
            ),
            (
                "kstatus shows the message of Stalled",
                self.kstatus.status != "Failed" || stalled == Some(&self.kstatus.message),
            ),
            (
                "Argo CD shows the message of Stalled",
                self.argo.status != "Degraded" || stalled == Some(&self.argo.message),
            ),
        ];
        let broken = rules.into_iter().filter(|(_, kept)| !kept);
        broken.map(|(rule, _)| format!("{}: {rule}: {:?}", self.situation, self.object.status)).collect()
    }

    fn cells(&self) -> [String; 8] {
        let shown = |kind| self.condition(kind).map_or("–".to_owned(), |c| format!("{} {}", c.status, c.reason));
        let mut other: Vec<String> = Vec::new();
        if self.observed() != self.object.metadata.generation {
            other.push("generation not observed".to_owned());
        }
        let own = [ConditionType::Ready, ConditionType::Reconciling, ConditionType::Stalled].map(ConditionType::as_str);
        let others = self.conditions().iter().filter(|c| !own.contains(&c.type_.as_str()));
        // The table omits InSync=True.
        let others = others.filter(|c| (c.type_.as_str(), c.status.as_str()) != ("InSync", "True"));
        other.extend(others.map(|c| format!("{} {} {}", c.type_, c.status, c.reason)));
        [
            self.situation.clone(),
            shown(ConditionType::Ready),
            shown(ConditionType::Reconciling),
            shown(ConditionType::Stalled),
            if other.is_empty() { "–".to_owned() } else { other.join(", ") },
            self.kstatus.status.clone(),
            self.argo.status.clone(),
            if self.met { "met" } else { "not met" }.to_owned(),
        ]
    }
}

/// Formats the rows as a table and sorts them by the results of the tools. Rows with the same results keep their order.
pub fn markdown(mut rows: Vec<Row>) -> String {
    rows.sort_by_key(|row| (row.kstatus.status.clone(), row.argo.status.clone(), !row.met));
    let head = ["situation", "Ready", "Reconciling", "Stalled", "other", "kstatus", "Argo CD", "`kubectl wait`"];
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut table = line(&head.map(String::from)) + &line(&head.map(|_| "---".to_owned()));
    table.extend(rows.iter().map(|row| line(&row.cells())));
    table
}
