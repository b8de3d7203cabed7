//! The facts that a reconcile pass gathers about its group.

use jiff::Timestamp;

use super::Failure;
use super::ownership::{TOLERANCE, digest_of_fields};
use crate::live::{Call, CallError, CreateOutcome, ErrorClass, GroupFields, GroupSnapshot, Reply};
use crate::resources::{AccountRecord, LiveMessageGroup};

/// The state of the group according to the last answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Remote {
    /// The state is not known, or the last answer is outdated.
    #[default]
    Unknown,
    /// The group exists, with these fields.
    Live(GroupSnapshot),
    /// The group does not exist.
    Absent,
    /// The group is deleted, and its ID is blocked.
    Deleted,
}

/// The facts that a pass has gathered. They are kept from the first call of the pass until the status is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    account: Option<AccountRecord>,
    created: Option<(CreateOutcome, GroupFields)>,
    just_created: bool,
    sent_at: Option<Timestamp>,
    create_sent_at: Option<Timestamp>,
    create_answered_at: Option<Timestamp>,
    create_time: Option<Timestamp>,
    creates: u8,
    recovered: Option<bool>,
    deleted: bool,
    abandoned: bool,
    forbidden: bool,
    disproved_intents: Vec<String>,
    drifted: bool,
    answered_at: Option<Timestamp>,
    remote: Remote,
    described_for: Option<i64>,
    modifies: Option<(i64, u8)>,
    last_write: Option<String>,
    ended: bool,
}

impl Facts {
    /// Whether the pass has gathered no facts. The account and disproved intents do not count: they outlive a pass.
    pub fn is_empty(&self) -> bool {
        Self { disproved_intents: Vec::new(), account: None, ..self.clone() } == Self::default()
    }

    /// The account that this pass uses for its calls. It is `None` until the account is known. Until then, the pass
    /// cannot make calls.
    pub fn account(&self) -> Option<&AccountRecord> {
        self.account.as_ref()
    }

    /// Sets the account for the following calls. The caller must first discard all facts that were gathered with
    /// another account.
    pub fn set_account(&mut self, account: Option<AccountRecord>) {
        self.account = account;
    }

    /// Whether the record in the object's status applies to the account of this pass.
    pub fn is_at_recorded_account(&self, object: &LiveMessageGroup) -> bool {
        let recorded = object.status.as_ref().and_then(|status| status.account.as_ref());
        self.account.is_none() || self.account.as_ref() == recorded
    }

    /// The state of the group according to the last answer.
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Whether the state of the group was read for this generation.
    pub fn is_described_for(&self, generation: i64) -> bool {
        self.described_for == Some(generation)
    }

    /// The outcome that the Live API reported for this pass's create. `None` if the Live API has not reported an
    /// outcome.
    pub fn create_outcome(&self) -> Option<CreateOutcome> {
        self.created.as_ref().map(|(outcome, _)| *outcome)
    }

    /// Whether an answer showed that the group was absent or deleted, and the group has not been created or recovered
    /// since. The recorded origin then no longer applies: a later group with the same ID is a different one.
    pub fn group_ended(&self) -> bool {
        self.ended
    }

    /// Whether the last call created the group with exactly these fields.
    pub fn created_as(&self, fields: &GroupFields) -> bool {
        self.just_created && matches!(&self.created, Some((_, sent)) if sent == fields)
    }

    /// Whether this pass may send a create. It may send one create, and a second one if a recovery found no group.
    /// After a successful recovery it may not send a create, because an absent group would contradict the recovery.
    pub fn may_create(&self) -> bool {
        match self.recovered {
            None => self.creates == 0,
            Some(false) => self.creates <= 1,
            Some(true) => false,
        }
    }

    /// Whether the recovery in this pass succeeded. `Some(false)` means that the recovery found no group. `None` means
    /// that this pass has not completed a recovery.
    pub fn recovered(&self) -> Option<bool> {
        self.recovered
    }

    /// Whether this pass deleted the group.
    pub fn has_deleted(&self) -> bool {
        self.deleted
    }

    /// Whether to remove the finalizer without deleting the group.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// Makes the deletion retain the group.
    pub fn abandon(&mut self) {
        self.abandoned = true;
    }

    /// Whether the object may not use the credentials of its account.
    pub fn credentials_are_forbidden(&self) -> bool {
        self.forbidden
    }

    /// Records that the object may not use the credentials of its account.
    pub fn forbid_credentials(&mut self) {
        self.forbidden = true;
    }

    /// Records that a drift check contradicts the status, so that the pass calls Describe.
    pub fn mark_drift(&mut self) {
        self.drifted = true;
    }

    /// Whether this pass has modified the group.
    pub fn has_modified(&self) -> bool {
        self.modifies.is_some()
    }

    /// The digests of the recorded bodies that are known not to have created a group. This process recorded these
    /// bodies. If it sent a create with one of them, the create did not arrive, was refused, or found an existing
    /// group.
    pub fn disproved_intents(&self) -> &[String] {
        &self.disproved_intents
    }

    /// Adds the digest of a body to the disproved intents. Call this before the digest is written to the status. The
    /// intent is disproved even if the answer to that write is lost, because no create has been sent yet.
    pub fn intent_recorded(&mut self, body: Option<String>) {
        self.disproved_intents.extend(body.filter(|body| !self.disproved_intents.contains(body)));
    }

    /// Returns the facts that are kept after the status is written.
    pub fn recorded(self) -> Self {
        Self { disproved_intents: self.disproved_intents, account: self.account, ..Self::default() }
    }

    /// The time when this pass's create was answered, according to the Live API's clock. If the pass has no answer to a
    /// create, this is the time when its last call was answered.
    pub fn answered_at(&self) -> Option<Timestamp> {
        self.create_answered_at.or(self.answered_at)
    }

    /// The create time of the group from the last successful Describe response. After a create, it is `None` until the
    /// next successful Describe response.
    pub fn create_time(&self) -> Option<Timestamp> {
        self.create_time
    }

    /// The time when the create was sent, if this pass created the group.
    pub fn created_after(&self) -> Option<Timestamp> {
        self.create_sent_at.filter(|_| self.has_created())
    }

    /// Whether this pass created the group.
    pub fn has_created(&self) -> bool {
        self.create_outcome() == Some(CreateOutcome::Created)
    }

    /// Records the time when a call is sent, according to the Live API's clock. `at` is `None` if that clock differs
    /// too much from the local clock.
    pub fn mark_sent(&mut self, at: Option<Timestamp>) {
        self.sent_at = at;
    }

    /// Records the time when an answer arrived, according to the Live API's clock. `at` is `None` if that clock differs
    /// too much from the local clock.
    pub fn mark_answered(&mut self, at: Option<Timestamp>) {
        self.answered_at = at;
    }

    /// The number of changes that this pass has sent for this generation.
    pub fn modifies_of(&self, generation: i64) -> u8 {
        self.modifies.filter(|(of, _)| *of == generation).map_or(0, |(_, count)| count)
    }

    /// The ID of the last request that changed something. It is empty if the response contained no request ID.
    pub fn last_write(&self) -> Option<&str> {
        self.last_write.as_deref()
    }

    /// Whether a call of this pass changed something. The status must record the change; otherwise the origin of the
    /// group is lost.
    pub fn has_effect(&self) -> bool {
        self.last_write.is_some()
    }

    /// Records the answer to a call for `generation`. The call used the credentials of the LiveAccount `account`;
    /// `None` stands for the operator's own credentials.
    ///
    /// # Errors
    /// Returns the failure that ends the pass: the call failed, or the answer does not belong to the call.
    pub fn record(
        &mut self,
        call: &Call,
        generation: i64,
        result: Result<(Reply, Option<String>), &CallError>,
        account: Option<&str>,
    ) -> Result<(), Failure> {
        let was_just_created = self.just_created;
        self.just_created = matches!(result, Ok((Reply::Created(CreateOutcome::Created), _)));
        match (call, result) {
            (Call::Create(_, fields), Ok((Reply::Created(outcome), request_id))) => {
                self.record_create(outcome, fields, request_id);
                Ok(())
            }
            (Call::Recover(_), Ok((_, request_id))) => {
                self.remote = Remote::Unknown;
                self.ended = false;
                self.recovered = Some(true);
                self.record_write(request_id);
                Ok(())
            }
            (Call::Recover(_), Err(error)) if error.class() == ErrorClass::NotFound => {
                self.set_remote(Remote::Absent);
                self.recovered = Some(false);
                Ok(())
            }
            (Call::Delete(_), Ok((_, request_id))) => {
                self.set_remote(Remote::Deleted);
                self.deleted = true;
                self.record_write(request_id);
                Ok(())
            }
            (Call::Describe(_), Ok((Reply::Group(group), _))) => {
                self.check_create_time(&group);
                self.described_for = Some(generation);
                self.create_time = group.create_time;
                self.set_remote(if group.deleted { Remote::Deleted } else { Remote::Live(group) });
                Ok(())
            }
            (Call::Modify(..), Ok((_, request_id))) => {
                self.remote = Remote::Unknown;
                self.modifies = Some((generation, self.modifies_of(generation) + 1));
                self.record_write(request_id);
                Ok(())
            }
            // The group was just created, so a replica of the service may have returned old data. If the group counted
            // as absent, its origin would be lost.
            (Call::Describe(_), Err(error)) if was_just_created && error.class() == ErrorClass::NotFound => {
                Err(Failure::contradiction())
            }
            (Call::Describe(_) | Call::Modify(..) | Call::Delete(_), Err(error))
                if error.class() == ErrorClass::NotFound =>
            {
                self.described_for = Some(generation);
                self.set_remote(Remote::Absent);
                Ok(())
            }
            (_, Ok(_)) => Err(Failure::contradiction()),
            (_, Err(error)) => {
                // The state that was read before the failure may be outdated when the call is retried.
                self.remote = Remote::Unknown;
                if let Call::Create(_, fields) = call
                    && error.is_undecided()
                {
                    let lost = digest_of_fields(fields);
                    self.disproved_intents.retain(|digest| *digest != lost);
                }
                Err(Failure::of(call, error, account))
            }
        }
    }

    /// Detects that another client has recreated the group. In that case, the create time of the group is later than
    /// the answer to this pass's create.
    fn check_create_time(&mut self, group: &GroupSnapshot) {
        if let (Some((outcome, _)), Some(answered), Some(created_at)) =
            (&mut self.created, self.create_answered_at, group.create_time)
            && answered.duration_until(created_at) > TOLERANCE
        {
            *outcome = CreateOutcome::AlreadyExists;
        }
    }

    fn set_remote(&mut self, remote: Remote) {
        self.ended |= matches!(remote, Remote::Absent | Remote::Deleted);
        self.remote = remote;
    }

    /// Records a response to `CreateLiveMessageGroup`. Only the outcome `Created` counts as a write.
    fn record_create(&mut self, outcome: CreateOutcome, fields: &GroupFields, request_id: Option<String>) {
        self.set_remote(if outcome == CreateOutcome::AlreadyDelete { Remote::Deleted } else { Remote::Unknown });
        if outcome == CreateOutcome::Created {
            self.disproved_intents.clear();
            self.ended = false;
            self.record_write(request_id);
        }
        self.created = Some((outcome, fields.clone()));
        (self.create_sent_at, self.create_answered_at) = (self.sent_at, self.answered_at);
        self.create_time = None;
        self.creates += 1;
    }

    fn record_write(&mut self, request_id: Option<String>) {
        self.last_write = Some(request_id.unwrap_or_default());
    }
}
