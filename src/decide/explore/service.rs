//! The Live API of the small world, and everything that goes wrong on the way to it and back.

use super::Explorer;
use super::world::{Fields, Group, Late, Pass, State, Stored, World, number_in};
use crate::live::error::{ApiError, Delivery};
use crate::live::{Call, CallError, CreateOutcome, Reply};

/// What the operator hears of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Told {
    Created,
    Exists,
    Blocked,
    Group(Group),
    Done,
    NotFound,
    Quota,
    Invalid,
    Throttled,
    /// The operator's clock is wrong: what is tried again at once, without a status.
    Skewed,
    /// Whether it had an effect is not known.
    ServerError,
    /// No answer.
    Lost,
}

impl Group {
    pub fn is_live(&self) -> bool {
        self.state == State::Live
    }
}

impl Told {
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
    /// The same world with one thing less that may happen to it.
    pub fn cheaper(mut self) -> Option<Self> {
        self.left = self.left.checked_sub(1)?;
        Some(self)
    }

    /// What the service makes of a call of the object `uid`.
    fn serve(&mut self, call: &Call, uid: u8) -> Told {
        let before = self.groups;
        let told = self.take(call, uid);
        if self.groups != before {
            self.drift(|stored, _| stored.uid != uid);
        }
        told
    }

    /// What these objects know of their group may not be so any more.
    pub fn drift(&mut self, whose: impl Fn(&Stored, Option<&Pass>) -> bool) {
        for slot in &mut self.slots {
            if slot.stored.is_some_and(|stored| whose(&stored, slot.pass.as_ref())) {
                slot.drifted = true;
                slot.pass = slot.pass.map(|pass| Pass { knows: false, ..pass });
            }
        }
    }

    fn take(&mut self, call: &Call, uid: u8) -> Told {
        let (Call::Create(name, _)
        | Call::Describe(name)
        | Call::Modify(name, _)
        | Call::Delete(name)
        | Call::Recover(name)) = call
        else {
            return Told::ServerError;
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
                Told::Created
            }
            (Call::Create(..), State::Live) => Told::Exists,
            (Call::Create(..), State::Deleted) => Told::Blocked,
            (_, State::Absent) => Told::NotFound,
            (Call::Describe(_), _) => Told::Group(*group),
            (Call::Modify(_, change), State::Live) => {
                let Fields { info, admins, .. } = &mut group.fields;
                *info = change.group_info.as_deref().map_or(*info, number_in);
                *admins =
                    change.administrators.as_ref().map_or(*admins, |people| of(people.first().map(String::as_str)));
                Told::Done
            }
            (Call::Delete(..), State::Live) => {
                group.state = State::Deleted;
                Told::Done
            }
            (Call::Recover(_), _) => {
                group.state = State::Live;
                Told::Done
            }
            (_, State::Deleted) => Told::NotFound,
            (Call::ListByPage(_), _) => Told::ServerError,
        }
    }
}

impl Explorer {
    /// Every way in which a call can end, but for a crash.
    pub fn answers(&mut self, world: World, call: &Call, number: u16, uid: u8) -> Vec<(World, Told, &'static str)> {
        let mut served = world;
        let told = self.deliver(&mut served, call, uid);
        let mut ends = vec![(served, told, "calls")];
        self.crash(served, "crashes after the call");
        let Some(cheaper) = world.cheaper() else { return ends };
        let served = World { left: cheaper.left, ..served };
        ends.push((served, Told::Lost, "calls, and the answer is lost"));
        ends.push((cheaper, Told::Lost, "calls, and the call is lost"));
        ends.push((cheaper, Told::ServerError, "calls, and the service fails"));
        if served.groups != cheaper.groups {
            ends.push((served, Told::ServerError, "calls, and the service fails after the effect"));
        }
        ends.push((cheaper, Told::Throttled, "calls, and is throttled"));
        ends.push((cheaper, Told::Skewed, "calls, and its clock is wrong"));
        ends.push((cheaper, Told::NotFound, "calls, and the app is not there"));
        if matches!(call, Call::Create(..)) {
            ends.push((cheaper, Told::Quota, "calls, and the app is full"));
        }
        if matches!(call, Call::Create(..) | Call::Modify(..)) {
            ends.push((cheaper, Told::Invalid, "calls, and a value is refused"));
        }
        if matches!(call, Call::Modify(..)) {
            ends.push((cheaper, Told::Done, "calls, and the change is not taken"));
        }
        if call.is_mutating()
            && let Some(id) = target(call)
        {
            let mut late = cheaper;
            late.late[id] = Some(Late { call: number, uid });
            ends.push((late, Told::Lost, "calls, and the call is late"));
        }
        ends
    }

    /// A late call arrives.
    pub fn land(&mut self, world: &mut World, late: Late) {
        let call = self.library.calls.get(late.call).clone();
        self.deliver(world, &call, late.uid);
    }

    fn deliver(&mut self, world: &mut World, call: &Call, uid: u8) -> Told {
        self.check_effect(world, call, uid);
        world.serve(call, uid)
    }
}

/// The id of the group that a call is about.
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

/// The number in a text of the small world; 0 is the empty one.
fn of(text: Option<&str>) -> u8 {
    text.map_or(0, number_in)
}
