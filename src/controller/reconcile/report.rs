//! Publishes the reports of a pass as events, metrics and log lines, and opens circuit breakers.

use super::Reconcile;
use crate::controller::context::Context;
use crate::controller::keys::ObjectKey;
use crate::controller::pass::{EventDraft, EventType, Pass, Report};
use crate::decide::GroupKey;
use crate::telemetry::metrics::{ChangeLabels, OutcomeLabels, ReasonLabels};

/// The reasons of events that report a change to a group.
pub const CHANGES: [&str; 5] = ["Created", "AlreadyExists", "Recovered", "Modified", "DriftCorrected"];

impl Reconcile {
    pub(super) fn report(&mut self) {
        for report in self.pass.take_reports() {
            match report {
                Report::Event(event) => send_event(&self.context, event),
                Report::Failed(failure) => {
                    let reason = failure.reason.as_str();
                    self.context.metrics.failures.get_or_create(&ReasonLabels { reason }).inc();
                    tracing::info!(reason, text = failure.message, "the pass failed");
                }
                Report::Tripped { breaker, explanation } => self.context.scheduler.with(|scheduler, now| {
                    scheduler.trip_breaker(&self.key, &breaker, explanation, now);
                }),
                Report::Released { outcome } => {
                    if let Some(owner) = self.owner() {
                        tracing::info!(outcome, owner, "another object names the group");
                    }
                    self.context.metrics.released.get_or_create(&OutcomeLabels { outcome }).inc();
                }
                Report::Orphaned { group, event } => {
                    report_orphan(&self.context, &group);
                    if let Some(event) = event {
                        send_event(&self.context, event);
                    }
                }
            }
        }
    }
}

pub(super) fn send_event(context: &Context, event: EventDraft) {
    let EventDraft { action, event_type, reason, note, .. } = &event;
    if let Some(change) = CHANGES.into_iter().find(|change| change == reason) {
        context.metrics.changes.get_or_create(&ChangeLabels { change }).inc();
    }
    if *action == "Delete" {
        match event_type {
            EventType::Normal => tracing::info!(reason, note, "finalizer removed"),
            EventType::Warning => tracing::warn!(reason, note, "finalizer removed"),
        }
    }
    context.events.publish(event);
}

/// Reports the group of a deleted object if the pass created or changed the group and no status records this.
pub fn orphaned(context: &Context, key: &ObjectKey, pass: &Pass) {
    if let Some(group) = pass.unrecorded_group() {
        let _entered = tracing::info_span!("reconcile", object = %key).entered();
        report_orphan(context, group);
    }
}

fn report_orphan(context: &Context, group: &GroupKey) {
    let (app, group) = (&*group.app_id, &*group.group_id);
    context.metrics.orphaned();
    tracing::warn!(app, group, "a group was created or changed, but its object was deleted or now names another group");
}
