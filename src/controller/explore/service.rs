//! The Live API of an explored world, with network and service faults.

use super::Explorer;
use super::accounts::At;
use super::events::{HOSTILE, SILENT};
use super::world::{Fields, Group, Late, Shown, State, Stored, World, number_in};
use crate::live::error::{ApiError, Delivery};
use crate::live::{Call, CallError, CreateOutcome, Reply};

/// The answer to a call as the operator receives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    Created,
    Exists,
    Blocked,
    Group(Group),
    Done,
    NotFound,
    Quota,
    Invalid,
    Throttled,
    /// The operator's clock is wrong: the call is repeated immediately, and no status is written.
    Skewed,
    /// The service failed. The call may have had an effect.
    ServerError,
    Lost,
}

impl Answer {
    pub fn is_answer(self) -> bool {
        !matches!(self, Self::Lost | Self::ServerError | Self::Throttled | Self::Skewed)
    }

    pub fn result(self, id: u8) -> Result<Reply, CallError> {
        let refused = |status, code: &str| {
            let (code, message) = (Some(code.to_owned()), "no".to_owned());
            Err(CallError::Api(ApiError {
                status,
                code,
                message,
                request_id: None,
                retry_after: None,
                body_complete: true,
            }))
        };
        match self {
            Self::Created => Ok(Reply::Created(CreateOutcome::Created)),
            Self::Exists => Ok(Reply::Created(CreateOutcome::AlreadyExists)),
            Self::Blocked => Ok(Reply::Created(CreateOutcome::AlreadyDelete)),
            Self::Group(group) => Ok(Reply::Group(group.snapshot(id))),
            Self::Done => Ok(Reply::Done),
            Self::NotFound => refused(404, "ResourceNotExist"),
            Self::Quota => refused(400, "ErrorTooManyGroups"),
            Self::Invalid => refused(400, "InputInvalid"),
            Self::Skewed => refused(400, "InvalidTimeStamp.Expired"),
            Self::Throttled => refused(400, "Throttling.User"),
            Self::ServerError => refused(500, "ServerError"),
            Self::Lost => Err(CallError::Transport { delivery: Delivery::Unknown, message: "no answer".to_owned() }),
        }
    }
}

impl World {
    /// Executes a call for object `uid`. Afterwards, other objects with the same group may have drifted.
    fn serve(&mut self, call: &Call, uid: u8) -> Answer {
        let before = self.groups;
        let answer = self.apply(call, uid);
        if self.groups != before {
            self.drift(|stored, _| stored.uid != uid);
        }
        answer
    }

    fn apply(&mut self, call: &Call, uid: u8) -> Answer {
        let (Call::Create(name, _)
        | Call::Describe(name)
        | Call::Modify(name, _)
        | Call::Delete(name)
        | Call::Recover(name)) = call
        else {
            return Answer::ServerError;
        };
        let group = &mut self.groups[usize::from(number_in(&name.group_id))];
        match (call, group.state) {
            (Call::Create(_, fields), State::Absent) => {
                self.clock += 1;
                let fields = Fields {
                    name: of(fields.group_name.as_deref()),
                    info: of(fields.group_info.as_deref()),
                    admins: of(fields.administrators.as_ref().and_then(|people| people.first().map(String::as_str))),
                };
                *group = Group { state: State::Live, fields, maker: uid, born: self.clock, ..Group::ABSENT };
                Answer::Created
            }
            (Call::Create(..), State::Live) => Answer::Exists,
            (Call::Create(..), State::Deleted) => Answer::Blocked,
            (_, State::Absent) => Answer::NotFound,
            (Call::Describe(_), _) => Answer::Group(*group),
            (Call::Modify(_, change), State::Live) => {
                let Fields { info, admins, .. } = &mut group.fields;
                *info = change.group_info.as_deref().map_or(*info, number_in);
                *admins =
                    change.administrators.as_ref().map_or(*admins, |people| of(people.first().map(String::as_str)));
                Answer::Done
            }
            (Call::Delete(_), State::Live) => {
                group.state = State::Deleted;
                Answer::Done
            }
            (Call::Recover(_), _) => {
                group.state = State::Live;
                Answer::Done
            }
            (_, State::Deleted) => Answer::NotFound,
            (Call::ListByPage(_), _) => Answer::ServerError,
        }
    }
}

impl Explorer {
    /// Returns every possible result of a call.
    pub fn answers(
        &mut self,
        world: World,
        call: &Call,
        number: u32,
        uid: u8,
        at: At,
    ) -> Vec<(World, Answer, &'static str)> {
        if at == At::Hostile {
            let mut answers = vec![(world, Answer::Lost, SILENT)];
            if let Some(cheaper) = world.cheaper() {
                answers.extend(hostile_answers(&world, call).into_iter().map(|answer| (cheaper, answer, HOSTILE)));
            }
            return answers;
        }
        let mut served = world;
        let answer = self.deliver(&mut served, call, uid);
        let mut ends = vec![(served, answer, "calls")];
        let Some(cheaper) = world.cheaper() else { return ends };
        let served = World { left: cheaper.left, ..served };
        ends.push((served, Answer::Lost, "calls, and the answer is lost"));
        ends.push((cheaper, Answer::Lost, "calls, and the call is lost"));
        ends.push((cheaper, Answer::ServerError, "calls, and the service fails"));
        if served.groups != cheaper.groups {
            ends.push((served, Answer::ServerError, "calls, and the service fails after it applies the call"));
        }
        ends.push((cheaper, Answer::Throttled, "calls, and is throttled"));
        ends.push((cheaper, Answer::Skewed, "calls, and its clock is wrong"));
        ends.push((cheaper, Answer::NotFound, "calls, and the app is not there"));
        if matches!(call, Call::Create(..)) {
            ends.push((cheaper, Answer::Quota, "calls, and the app is full"));
        }
        if matches!(call, Call::Create(..) | Call::Modify(..)) {
            ends.push((cheaper, Answer::Invalid, "calls, and a value is refused"));
        }
        if matches!(call, Call::Modify(..)) {
            ends.push((cheaper, Answer::Done, "calls, and the change is ignored"));
        }
        if call.is_mutating()
            && let Some(id) = target(call)
            && cheaper.late[id].is_none()
        {
            let mut late = cheaper;
            late.late[id] = Some(Late { call: number, uid });
            ends.push((late, Answer::Lost, "calls, and the call is late"));
        }
        ends
    }

    /// Executes a call that arrives late.
    pub fn arrive(&mut self, world: &mut World, late: Late) {
        let call = self.library.calls.get(late.call).clone();
        if world.processes.iter().any(|process| process.is_fenced) {
            // A Describe call is sent even while calls of an earlier process may arrive. If such a call arrives later,
            // the status of an object that only observes the group may be outdated until the next drift check.
            world.drift(|stored, _| stored.observes());
        }
        self.deliver(world, &call, late.uid);
    }

    fn deliver(&mut self, world: &mut World, call: &Call, uid: u8) -> Answer {
        self.check_effect(world, call, uid);
        world.serve(call, uid)
    }
}

/// Returns every answer that a hostile service may give. The service knows the groups in the Live API.
fn hostile_answers(world: &World, call: &Call) -> Vec<Answer> {
    let group = target(call).map_or(Group::ABSENT, |id| world.groups[id]);
    let invented = Group { born: world.clock, ..Group::foreign(group.fields) };
    match call {
        Call::Create(..) => vec![Answer::Created, Answer::Exists, Answer::Blocked, Answer::NotFound],
        Call::Describe(_) => {
            let deleted = Group { state: State::Deleted, ..invented };
            vec![Answer::Group(group), Answer::Group(invented), Answer::Group(deleted), Answer::NotFound]
        }
        _ => vec![Answer::Done, Answer::NotFound],
    }
}

/// Records what an answer shows about a group, for the invariants.
pub fn note_answer(world: &mut World, p: usize, i: usize, read: Stored, call: &Call, answer: Answer) {
    let object = &mut world.objects[i];
    let group = world.groups[usize::from(read.id)];
    let trail = &mut world.processes[p].work[i].trail;
    let is_same = object.stored.is_some_and(|stored| stored.uid == read.uid);
    // An answer for a group that the object no longer references is not recorded.
    let is_named = object.stored.is_some_and(|stored| stored.uid == read.uid && stored.id == read.id);
    trail.shown = Shown::Nothing;
    let was_just_made = std::mem::take(&mut trail.just_made);
    if answer.is_answer() && is_same {
        object.looked = object.looked.max(read.force);
    }
    match answer {
        Answer::Created => {
            (trail.made, trail.gone, trail.just_made) = (is_named, false, true);
            (trail.knows, trail.shown) = (true, Shown::Live(read.uid));
        }
        Answer::Group(seen) if seen.is_live() => {
            let is_own = seen.maker == read.uid;
            (trail.made, trail.gone) = (trail.made && is_own, trail.gone && !is_own);
            // [`Explorer::check_delete`] describes one case in which only the service knows that another client created
            // the group. In this case, the group counts as the object's own.
            let is_twin = seen.twin_of == read.uid && object.unheard & seen.body != 0;
            (trail.knows, trail.shown) = (true, Shown::Live(if is_twin { read.uid } else { seen.maker }));
        }
        // A create that fails because the app does not exist reveals nothing about the group.
        Answer::NotFound if matches!(call, Call::Create(..)) => {}
        // A replica of the service may not return a newly created group yet.
        Answer::NotFound if was_just_made && matches!(call, Call::Describe(_)) => trail.knows = false,
        Answer::Group(_) | Answer::Blocked | Answer::NotFound => {
            (trail.made, trail.gone, trail.shown) = (false, is_named, Shown::Gone);
            // `NotFound` may be a false answer, so it is compared with the group in the Live API.
            trail.knows = answer != Answer::NotFound || group.state == State::Absent;
            object.drifted |= !trail.knows;
        }
        Answer::Done => match call {
            Call::Recover(_) => trail.gone = false,
            Call::Modify(..) if trail.modifies.0 == read.generation => trail.modifies.1 += 1,
            Call::Modify(..) => trail.modifies = (read.generation, 1),
            _ => {}
        },
        _ => {}
    }
    if trail.shown != Shown::Nothing {
        trail.seen = trail.shown;
    }
}

/// The ID of the group that a call is for; `None` if the call lists groups.
pub fn target(call: &Call) -> Option<usize> {
    match call {
        Call::Create(name, _)
        | Call::Modify(name, _)
        | Call::Delete(name)
        | Call::Recover(name)
        | Call::Describe(name) => Some(usize::from(number_in(&name.group_id))),
        Call::ListByPage(_) => None,
    }
}

/// The number in a text; 0 if there is no text.
fn of(text: Option<&str>) -> u8 {
    text.map_or(0, number_in)
}
