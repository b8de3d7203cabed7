//! Counts the objects of each namespace for metrics. Only a limited number of namespaces is counted separately,
//! because a user who can create namespaces could otherwise create an unlimited number of time series.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::controller::context::Context;
use crate::controller::scheduler::ConditionSummary;
use crate::resources::{ConditionStatus, Reason};
use crate::telemetry::metrics::{NamespaceLabels, State};

/// The label of objects whose namespace is not counted separately. It cannot be the name of a namespace, because it
/// contains parentheses.
const OTHER: &str = "(other)";

/// The number of objects by status and reason of `Ready`.
type Counts = HashMap<(ConditionStatus, Option<Reason>), usize>;

/// Sets the gauges for the largest namespaces, up to `most` of them, and combined gauges for all other namespaces. If
/// `most` is 0, no gauge is set.
pub fn collect(context: &Context, state: &State, most: usize) {
    if most == 0 {
        return;
    }
    for (namespace, counts) in context.scheduler.with(|scheduler, _| largest(scheduler.conditions(), most)) {
        for ((ready, reason), count) in counts {
            let (object_namespace, reason) = (namespace.clone(), reason.map_or("Other", Reason::as_str));
            let labels = NamespaceLabels { object_namespace, ready: ready.as_str(), reason };
            state.namespace_groups.set(&labels, count as f64);
        }
    }
}

/// Returns the counts of the largest namespaces, up to `most` of them, and the combined counts of all other namespaces.
fn largest<'a>(objects: impl Iterator<Item = (&'a str, ConditionSummary)>, most: usize) -> Vec<(String, Counts)> {
    let mut all: HashMap<&str, Counts> = HashMap::new();
    for (namespace, summary) in objects {
        *all.entry(namespace).or_default().entry((summary.ready, summary.reason)).or_default() += 1;
    }
    let mut all: Vec<(&str, Counts)> = all.into_iter().collect();
    all.sort_unstable_by_key(|(name, counts)| (Reverse(counts.values().sum::<usize>()), *name));
    let mut other = Counts::new();
    for (what, count) in all.drain(most.min(all.len())..).flat_map(|(_, counts)| counts) {
        *other.entry(what).or_default() += count;
    }
    if !other.is_empty() {
        all.push((OTHER, other));
    }
    all.into_iter().map(|(name, counts)| (name.to_owned(), counts)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(ready: ConditionStatus, reason: Reason) -> ConditionSummary {
        ConditionSummary { ready, reason: Some(reason), counted: Default::default() }
    }

    #[test]
    fn small_namespaces_are_counted_together() {
        let created = summary(ConditionStatus::True, Reason::Created);
        let lost = summary(ConditionStatus::False, Reason::AppNotFound);
        let objects = [("a", created), ("b", created), ("b", lost), ("c", created), ("c", created), ("d", lost)];
        let of = |most| {
            let largest = largest(objects.into_iter(), most).into_iter();
            let counts = |counts: &Counts, of: &ConditionSummary| counts.get(&(of.ready, of.reason)).copied();
            largest.map(|(name, of)| (name, counts(&of, &created), counts(&of, &lost))).collect::<Vec<_>>()
        };
        let name = str::to_owned;
        assert_eq!(
            of(2),
            [(name("b"), Some(1), Some(1)), (name("c"), Some(2), None), (name(OTHER), Some(1), Some(1)),]
        );
        assert_eq!(of(4).len(), 4, "no series for the others if there are none");
        assert_eq!(of(100), of(4));
    }
}
