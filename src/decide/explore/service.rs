//! The Live API of the small world, the people around it, and everything that goes wrong.

use super::Explorer;
use super::index::observe_gone;
use super::world::{FOREIGN, Group, Late, Pass, State, Stored, THEIRS, World, number_in};
use crate::live::error::{ApiError, Delivery};
use crate::live::{Call, CallError, CreateOutcome, Reply};
use crate::resources::Reason;

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
    Throttled,
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
        !matches!(self, Self::Lost | Self::ServerError | Self::Throttled)
    }

    pub fn result(self, id: u8) -> Result<Reply, CallError> {
        let refused = |status, code: &str| {
            let (code, message) = (Some(code.to_owned()), "no".to_owned());
            Err(CallError::Api(ApiError { status, code, message, request_id: None, retry_after: None, whole: true }))
        };
        match self {
            Self::Created => Ok(Reply::Created(CreateOutcome::Created)),
            Self::Exists => Ok(Reply::Created(CreateOutcome::AlreadyExists)),
            Self::Blocked => Ok(Reply::Created(CreateOutcome::AlreadyDelete)),
            Self::Group(group) => Ok(Reply::Group(group.snapshot(id))),
            Self::Done => Ok(Reply::Done),
            Self::NotFound => refused(404, "ResourceNotExist"),
            Self::Quota => refused(400, "ErrorTooManyGroups"),
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
    fn drift(&mut self, whose: impl Fn(&Stored, Option<&Pass>) -> bool) {
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
        | Call::Delete(name, _)
        | Call::Recover(name)) = call
        else {
            return Told::ServerError;
        };
        let group = &mut self.groups[usize::from(number_in(&name.group_id))];
        match (call, group.state) {
            (Call::Create(_, fields), State::Absent) => {
                self.clock += 1;
                let info = fields.group_info.as_deref().map_or(0, number_in);
                *group = Group { state: State::Live, info, maker: uid, born: self.clock, ..Group::ABSENT };
                Told::Created
            }
            (Call::Create(..), State::Live) => Told::Exists,
            (Call::Create(..), State::Deleted) => Told::Blocked,
            (_, State::Absent) => Told::NotFound,
            (Call::Describe(_), _) => Told::Group(*group),
            (Call::Modify(_, change), State::Live) => {
                group.info = change.group_info.as_deref().map_or(group.info, number_in);
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
        let told = served.serve(call, uid);
        let mut ends = vec![(served, told, "calls")];
        self.crash(served, "crashes after the call");
        let Some(cheaper) = world.cheaper() else { return ends };
        let served = World { left: cheaper.left, ..served };
        ends.push((served, Told::Lost, "calls, and the answer is lost"));
        ends.push((cheaper, Told::Lost, "calls, and the call is lost"));
        ends.push((cheaper, Told::ServerError, "calls, and the service fails"));
        ends.push((cheaper, Told::Throttled, "calls, and is throttled"));
        ends.push((cheaper, Told::NotFound, "calls, and the app is not there"));
        if matches!(call, Call::Create(..)) {
            ends.push((cheaper, Told::Quota, "calls, and the app is full"));
        }
        if matches!(call, Call::Modify(..)) {
            ends.push((cheaper, Told::Done, "calls, and the change is not taken"));
        }
        if call.writes()
            && let Some(id) = world.id_of(call)
        {
            let mut late = cheaper;
            late.late[id] = Some(Late { call: number, uid });
            ends.push((late, Told::Lost, "calls, and the call is late"));
        }
        ends
    }

    /// A late call arrives.
    pub fn land(&self, world: &mut World, late: Late) {
        let call = self.library.calls.get(late.call).clone();
        world.serve(&call, late.uid);
    }

    /// What may happen without the operator.
    pub fn happen(&mut self, world: World) {
        for id in 0..2 {
            if let Some(late) = world.late[id] {
                let mut gone = world;
                gone.late[id] = None;
                self.emit(gone, "a late call never arrives");
                self.land(&mut gone, late);
                self.emit(gone, "a late call arrives");
            }
        }
        let Some(cheaper) = world.cheaper() else { return };
        self.crash(world, "crashes");
        for i in 0..2 {
            let mut swept = cheaper;
            let slot = &mut swept.slots[i];
            if slot.drifted && !slot.queued && slot.stored.is_some_and(|stored| !stored.deleting) {
                (slot.queued, slot.suspect) = (true, true);
                self.emit(swept, "a sweep");
            }
        }
        for id in 0..2 {
            if id == 0 || world.slots.iter().any(|slot| slot.stored.is_some_and(|stored| usize::from(stored.id) == id))
            {
                self.outside(cheaper, id);
            }
        }
        for i in 0..2 {
            match world.slots[i].stored {
                Some(stored) => self.person(cheaper, i, stored),
                None => self.again(cheaper, i),
            }
        }
    }

    /// Somebody works on the group past the operator.
    fn outside(&mut self, world: World, id: usize) {
        let group = world.groups[id];
        let mut change = |to: Group, label| {
            let mut world = world;
            if to.born > world.clock || (to.state == State::Live && group.state == State::Absent) {
                world.clock += 1;
            }
            world.drift(|stored, pass| {
                usize::from(stored.id) == id || pass.is_some_and(|pass| usize::from(pass.id) == id)
            });
            world.groups[id] = Group { born: if group.state == State::Absent { world.clock } else { to.born }, ..to };
            self.emit(world, label);
        };
        match group.state {
            State::Live => {
                change(Group { info: THEIRS, ..group }, "somebody edits the group");
                change(Group { state: State::Deleted, ..group }, "somebody deletes the group");
                let anew = Group { born: world.clock + 1, maker: FOREIGN, ..Group::foreign(THEIRS, true) };
                change(anew, "somebody deletes the group, and somebody makes it anew");
            }
            State::Deleted => {
                change(Group { state: State::Live, ..group }, "somebody recovers the group");
                change(Group::ABSENT, "the deleted group is removed");
            }
            State::Absent => {
                change(Group { maker: FOREIGN, ..Group::foreign(THEIRS, true) }, "somebody creates the group")
            }
        }
    }

    /// Somebody works on an object.
    fn person(&mut self, world: World, i: usize, stored: Stored) {
        if stored.deleting {
            return;
        }
        let edit = Stored { generation: stored.generation + 1, ..stored };
        self.touch(world, i, Stored { info: 3 - stored.info, ..edit }, "an edit of groupInfo");
        let brief = self.brief(&stored);
        let way_out = match brief.reason {
            Some(Reason::GroupDeleted) => true,
            Some(Reason::AppNotFound | Reason::InvalidInput | Reason::Conflict) => !brief.has_record,
            _ => false,
        };
        if way_out {
            self.touch(world, i, Stored { id: 1 - stored.id, ..edit }, "an edit of the identity");
        }
        self.touch(world, i, Stored { force: stored.force + 1, ..stored }, "a forced reconcile");
        self.touch(world, i, Stored { paused: !stored.paused, ..stored }, "a pause, or its end");
        if stored.finalizer {
            self.touch(world, i, Stored { deleting: true, ..edit }, "a deletion");
            return;
        }
        let mut gone = world;
        gone.slots[i].before = Some(Some(stored));
        gone.slots[i].stored = None;
        observe_gone(&mut gone, i);
        self.emit(gone, "a deletion at once");
    }

    fn touch(&mut self, mut world: World, i: usize, stored: Stored, label: &'static str) {
        let slot = &mut world.slots[i];
        let before = slot.stored;
        slot.before = Some(before);
        slot.stored = Some(stored);
        if before.is_some_and(|before| before.id != stored.id || before.uid != stored.uid) {
            (slot.told, slot.gone) = (false, false);
        }
        self.observe(&mut world, i, &stored);
        world.slots[i].queued |= self.brief(&stored).lane.is_some();
        self.emit(world, label);
    }

    /// An object is made, perhaps under the name of one that is gone.
    fn again(&mut self, mut world: World, i: usize) {
        let slot = &mut world.slots[i];
        // Once more under each name is enough, and never under a name that was not used.
        if !(1..=2).contains(&slot.last_uid) {
            return;
        }
        slot.last_uid += 2;
        (slot.told, slot.gone, slot.looked) = (false, false, 0);
        let stored = Stored::new(slot.last_uid, self.library.first_status());
        self.touch(world, i, stored, "a new object");
    }
}

impl World {
    fn id_of(&self, call: &Call) -> Option<usize> {
        match call {
            Call::Create(name, _) | Call::Modify(name, _) | Call::Delete(name, _) | Call::Recover(name) => {
                Some(usize::from(number_in(&name.group_id)))
            }
            Call::Describe(_) | Call::ListByPage(_) => None,
        }
    }
}
