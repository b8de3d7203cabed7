//! What a pass has learned.

use jiff::Timestamp;

use super::Failure;
use super::ownership::{TOLERANCE, digest_of_fields};
use crate::live::{Call, CallError, CreateOutcome, ErrorClass, GroupFields, GroupSnapshot, Reply};

/// The state of the group according to the last answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Remote {
    /// Nothing, or nothing that still holds.
    #[default]
    Unknown,
    /// It is live, and this is how it looks.
    Live(GroupSnapshot),
    /// There is none.
    Absent,
    /// It is deleted and its id blocked.
    Deleted,
}

/// What a pass has learned, kept from its first call until its status is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
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
    disproved_intents: Vec<String>,
    suspect: bool,
    answered_at: Option<Timestamp>,
    remote: Remote,
    described_for: Option<i64>,
    modifies: Option<(i64, u8)>,
    last_write: Option<String>,
    ended: bool,
}

impl Facts {
    /// Whether nothing has been learned of the group.
    pub fn is_empty(&self) -> bool {
        Self { disproved_intents: Vec::new(), ..self.clone() } == Self::default()
    }

    /// The state of the group according to the last answer.
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Whether the group was described for this generation.
    pub fn is_described_for(&self, generation: i64) -> bool {
        self.described_for == Some(generation)
    }

    /// What this pass's create found.
    pub fn create_outcome(&self) -> Option<CreateOutcome> {
        self.created.as_ref().map(|(outcome, _)| *outcome)
    }

    /// Whether the group was seen absent or deleted and not created since: its recorded origin holds no longer, for
    /// a group that exists later is another one.
    pub fn group_ended(&self) -> bool {
        self.ended
    }

    /// Whether the last answer was that the group was created with just these fields.
    pub fn created_as(&self, fields: &GroupFields) -> bool {
        self.just_created && matches!(&self.created, Some((_, sent)) if sent == fields)
    }

    /// Whether this pass may create: once, and once more where a recovery found nothing to recover; after a recovery
    /// that brought the group back, a group that is not there is a contradiction.
    pub fn may_create(&self) -> bool {
        match self.recovered {
            None => self.creates == 0,
            Some(false) => self.creates <= 1,
            Some(true) => false,
        }
    }

    /// What this pass's recovery did: brought the group back, or found none.
    pub fn recovered(&self) -> Option<bool> {
        self.recovered
    }

    /// Whether this pass deleted the group.
    pub fn has_deleted(&self) -> bool {
        self.deleted
    }

    /// Whether the finalizer is to be removed without deleting the group.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// Retains the group although its deletion was requested.
    pub fn abandon(&mut self) {
        self.abandoned = true;
    }

    /// A list of the app's groups contradicts the record: the pass is to look.
    pub fn mark_drift(&mut self) {
        self.suspect = true;
    }

    /// Whether this pass has changed the group.
    pub fn has_modified(&self) -> bool {
        self.modifies.is_some()
    }

    /// The digests of recorded bodies that certainly created no group: this process recorded them, and every create with
    /// them was answered without creating one. Only a create whose answer was lost can have created a group.
    pub fn disproved_intents(&self) -> &[String] {
        &self.disproved_intents
    }

    /// A body is being recorded before its create is sent. To be told before the write: where that has an effect but no
    /// answer, nothing was sent all the same.
    pub fn intent_recorded(&mut self, body: Option<String>) {
        self.disproved_intents.extend(body.filter(|body| !self.disproved_intents.contains(body)));
    }

    /// What is left when everything learned has been recorded.
    pub fn recorded(self) -> Self {
        Self { disproved_intents: self.disproved_intents, ..Self::default() }
    }

    /// When the create of this pass was answered, on the service's clock; without a create, its last call.
    pub fn answered_at(&self) -> Option<Timestamp> {
        self.create_answered_at.or(self.answered_at)
    }

    /// The create time of the group, as it was last described after this pass's create.
    pub fn create_time(&self) -> Option<Timestamp> {
        self.create_time
    }

    /// When the create was sent that made the group.
    pub fn created_after(&self) -> Option<Timestamp> {
        self.create_sent_at.filter(|_| self.create_outcome() == Some(CreateOutcome::Created))
    }

    /// A call is sent at this moment of the service's clock.
    pub fn mark_sent(&mut self, at: Timestamp) {
        self.sent_at = Some(at);
    }

    /// An answer came at this moment of the service's clock.
    pub fn mark_answered(&mut self, at: Timestamp) {
        self.answered_at = Some(at);
    }

    /// How often the change of this generation has been sent.
    pub fn modifies_of(&self, generation: i64) -> u8 {
        self.modifies.filter(|(of, _)| *of == generation).map_or(0, |(_, count)| count)
    }

    /// The id of the last request that changed something.
    pub fn last_write(&self) -> Option<&str> {
        self.last_write.as_deref()
    }

    /// Whether the pass has an effect to record: losing the facts would lose an origin.
    pub fn has_effect(&self) -> bool {
        self.last_write.is_some()
    }

    /// Records the answer to a call for `generation`, made with the credentials of the LiveAccount `account` (`None`: the
    /// operator's own).
    ///
    /// # Errors
    /// The failure that ends the pass, where the answer is one.
    pub fn record(
        &mut self,
        call: &Call,
        generation: i64,
        result: Result<(Reply, Option<String>), &CallError>,
        account: Option<&str>,
    ) -> Result<(), Failure> {
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
            (Call::Describe(_) | Call::Modify(..) | Call::Delete(_), Err(error))
                if error.class() == ErrorClass::NotFound =>
            {
                self.described_for = Some(generation);
                self.set_remote(Remote::Absent);
                Ok(())
            }
            (_, Ok(_)) => Err(Failure::contradiction()),
            (_, Err(error)) => {
                // What was seen before the failure may not hold by the time of the next try.
                self.remote = Remote::Unknown;
                if let Call::Create(_, fields) = call
                    && !was_refused(error)
                {
                    let lost = digest_of_fields(fields);
                    self.disproved_intents.retain(|disproved_intents| *disproved_intents != lost);
                }
                Err(Failure::of(call, error, account))
            }
        }
    }

    /// A group whose create time is later than the answer to this pass's create is another one.
    fn check_create_time(&mut self, group: &GroupSnapshot) {
        if let (Some((outcome, _)), Some(answered), Some(made)) =
            (&mut self.created, self.create_answered_at, group.create_time)
            && answered.duration_until(made) > TOLERANCE
        {
            *outcome = CreateOutcome::AlreadyExists;
        }
    }

    fn set_remote(&mut self, remote: Remote) {
        self.ended |= matches!(remote, Remote::Absent | Remote::Deleted);
        self.remote = remote;
    }

    /// Records a response to `CreateLiveMessageGroup`; only `Created` is a write.
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

/// Whether a failed call has certainly changed nothing.
fn was_refused(error: &CallError) -> bool {
    let unclear = matches!(error.class(), ErrorClass::ServiceError | ErrorClass::NonceUsed);
    !error.may_have_arrived() || !(unclear || error.class() == ErrorClass::Unreachable)
}
