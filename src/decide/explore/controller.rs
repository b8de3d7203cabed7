//! The controller of the small world: the order of `controller::reconcile`, without waiting, with the real decisions.
//! How a pass ends stands in [`super::ending`].

use super::index::{observe_gone, other_of, release};
use super::service::{Told, target};
use super::world::{Group, Pass, Shown, State, Stored, World, moment};
use super::{Explorer, Recorded};
use crate::decide::{Action, Facts, Holder, PassOutcome, Retry, record_before};
use crate::live::Call;
use crate::resources::{ConditionStatus, Reason};

/// A decision, small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Nothing,
    Call(u16),
    Finalizer(bool),
    Release(u16),
    Write(u16),
    /// The verdict, and whether nothing follows.
    Fail(u16, bool),
}

impl Explorer {
    /// One step of the object in slot `i`, which reads as `read`.
    pub fn step(&mut self, mut world: World, i: usize, read: Option<Stored>) {
        let slot = &mut world.slots[i];
        // Whatever happened after the read made an event, and the event brings the object back.
        slot.queued = slot.before.take().is_some() && read != slot.stored;
        let Some(read) = read else {
            slot.pass = None;
            observe_gone(&mut world, i);
            return self.emit(world, "finds nothing");
        };
        if world.slots[i].record.is_none_or(|record| record.uid != read.uid) {
            // The watch has shown its end, or another one: the event brings that one back.
            return self.emit(world, "reads what is gone");
        }
        self.observe(&mut world, i, &read);
        let known = world.slots[i].pass.take().filter(|pass| pass.uid == read.uid && pass.id == read.id);
        let mut pass = known.unwrap_or_else(|| self.pass_over(&read));
        pass.stuck = false;
        if let Some((generation, verdict, done)) = pass.unwritten.take() {
            if generation == read.generation {
                // Something may have come meanwhile that did not change the generation: one more look follows.
                let done = done && !self.options.looks_again;
                return self.conclude(world, i, read, pass, verdict, done, "writes again");
            }
            if !self.library.facts.get(pass.facts).has_effect() {
                pass = Pass { asked: pass.asked, ..self.recorded(&read, &pass) };
            }
        }
        if read.deleting && world.slots[i].given_up {
            self.change(&mut pass, Facts::abandon);
        }
        if self.library.facts.get(pass.facts).is_empty() {
            pass.asked = read.force;
        }
        if std::mem::take(&mut world.slots[i].suspect) {
            pass.suspects = true;
            self.change(&mut pass, Facts::mark_drift);
        }
        self.go_on(world, i, read, pass, false, "looks");
    }

    /// The same step over an object that is gone, or another one by now, while the watch has not shown it yet.
    pub fn step_behind(&mut self, world: World, i: usize, read: Stored) {
        let mut behind = world;
        behind.slots[i].record = None;
        self.observe(&mut behind, i, &read);
        let from = self.next.len();
        self.step(behind, i, Some(read));
        let after = self.next.split_off(from);
        for (mut after, label) in after {
            let now = world.slots[i];
            let slot = &mut after.slots[i];
            // What is known of the new one is known of the new one.
            (slot.told, slot.gone, slot.looked) = (now.told, now.gone, now.looked);
            (slot.called, slot.sent, slot.unheard) = (now.called, now.sent, now.unheard);
            match slot.stored {
                Some(stored) => {
                    slot.queued = true;
                    self.observe(&mut after, i, &stored);
                }
                None => observe_gone(&mut after, i),
            }
            self.next.push((after, label));
        }
    }

    fn change(&mut self, pass: &mut Pass, change: impl FnOnce(&mut Facts)) {
        let mut facts = self.library.facts.get(pass.facts).clone();
        change(&mut facts);
        pass.facts = self.library.facts.number(facts);
    }

    /// The pass when what it has learned is recorded.
    pub fn recorded(&mut self, read: &Stored, pass: &Pass) -> Pass {
        let facts = self.library.facts.get(pass.facts).clone();
        Pass { facts: self.library.facts.number(facts.recorded()), ..self.pass_over(read) }
    }

    pub fn pass_over(&mut self, read: &Stored) -> Pass {
        let facts = self.library.facts.number(Facts::default());
        let (uid, id) = (read.uid, read.id);
        Pass {
            uid,
            id,
            facts,
            asked: 0,
            unwritten: None,
            stuck: false,
            suspects: false,
            knows: false,
            creates: 0,
            modifies: (0, 0),
            shown: Shown::Nothing,
            seen: Shown::Nothing,
        }
    }

    fn act(&mut self, read: &Stored, facts: u16, other: Option<u8>) -> Act {
        if let Some(act) = self.memo.acts.get(&(*read, facts, other)) {
            return *act;
        }
        let object = self.library.object(read);
        let known = self.library.facts.get(facts).clone();
        let holder = other.map(|uid| Holder { name: format!("ns/{uid}") });
        let act = match (self.options.decide)(&object, &known, holder.as_ref()) {
            Action::Nothing => Act::Nothing,
            Action::Call(call) => Act::Call(self.library.calls.number(call)),
            Action::AddFinalizer => Act::Finalizer(true),
            Action::DropFinalizer => Act::Finalizer(false),
            Action::FinishDeletion(release) => Act::Release(self.library.releases.number(release)),
            Action::Write(verdict) => Act::Write(self.library.verdicts.number(verdict)),
            Action::Fail(failure) => {
                let verdict = self.library.verdicts.number(PassOutcome::failed(&failure, &known));
                Act::Fail(verdict, failure.retry == Retry::Never)
            }
        };
        self.memo.acts.insert((*read, facts, other), act);
        act
    }

    /// Decides, and acts on it; `called` when this step has made its call: for the next one the object is read again.
    pub fn go_on(
        &mut self,
        mut world: World,
        i: usize,
        mut read: Stored,
        pass: Pass,
        called: bool,
        label: &'static str,
    ) {
        let other = other_of(&world, i);
        match self.act(&read, pass.facts, other) {
            Act::Nothing => {
                release(&mut world, i);
                self.emit(world, label);
            }
            Act::Write(verdict) => self.conclude(world, i, read, pass, verdict, true, label),
            Act::Fail(verdict, done) => self.conclude(world, i, read, pass, verdict, done, label),
            Act::Finalizer(wanted) => {
                // The patch tests the resourceVersion.
                if world.slots[i].stored != Some(read) {
                    return self.not_written(world, i, pass);
                }
                if let Some(cheaper) = world.cheaper() {
                    self.not_written(cheaper, i, pass);
                }
                read.finalizer = wanted;
                world.slots[i].stored = Some(read);
                self.crash(world, "crashes after a change of the finalizer");
                self.go_on(world, i, read, pass, called, label);
            }
            Act::Release(release) => {
                let release = self.library.releases.get(release).clone();
                self.check_release(&world, i, &read, &release);
                let slot = &mut world.slots[i];
                if slot.stored != Some(read) {
                    return self.not_written(world, i, pass);
                }
                if let Some(cheaper) = world.cheaper() {
                    self.not_written(cheaper, i, pass);
                }
                world.slots[i].stored = None;
                observe_gone(&mut world, i);
                self.emit(world, "lets the object go");
            }
            Act::Call(_) if called || (self.options.waits_for_late && world.late[usize::from(pass.id)].is_some()) => {
                world.slots[i].pass = Some(pass);
                world.slots[i].queued = true;
                self.emit(world, label);
            }
            Act::Call(call) => self.call(world, i, read, pass, call),
        }
    }

    fn not_written(&mut self, mut world: World, i: usize, pass: Pass) {
        let gone = world.slots[i].stored.is_none_or(|stored| stored.uid != pass.uid);
        if gone || !self.library.facts.get(pass.facts).has_effect() {
            release(&mut world, i);
        }
        world.slots[i].pass = Some(Pass { stuck: true, ..pass });
        world.slots[i].queued = true;
        self.emit(world, "fails to write before the call");
    }

    fn call(&mut self, mut world: World, i: usize, mut read: Stored, mut pass: Pass, number: u16) {
        let call = self.library.calls.get(number).clone();
        self.check_call(&world, i, &read, &pass, &call);
        if let Some(cheaper) = world.cheaper() {
            let facts = self.library.facts.get(pass.facts);
            let waiting = PassOutcome::waiting(Reason::NotAuthorized, "a gate is shut".to_owned(), facts);
            let waiting = self.library.verdicts.number(waiting);
            self.conclude(cheaper, i, read, pass, waiting, false, "waits behind a gate");
        }
        if let Some(record) = world.slots[i].record.as_mut().filter(|record| !record.observes) {
            record.in_flight = true;
        }
        if let Some((status, body)) = self.record_before(&read, pass.facts, number, world.clock) {
            if world.slots[i].stored != Some(read) {
                return self.not_written(world, i, pass);
            }
            self.change(&mut pass, |facts| facts.intent_recorded(body));
            if let Some(cheaper) = world.cheaper() {
                self.not_written(cheaper, i, pass);
            }
            let before = read;
            read.status = status;
            let fresh = !self.brief(&before).attempts || self.library.facts.get(pass.facts).group_ended();
            let slot = &mut world.slots[i];
            if fresh {
                (slot.sent, slot.unheard) = (0, 0);
            }
            slot.called = true;
            slot.sent |= if matches!(call, Call::Create(..)) { read.fields.bit() } else { 0 };
            self.check_write(&world, i, &before, &read, &pass);
            world.slots[i].stored = Some(read);
            world.clock += 1;
            self.observe(&mut world, i, &read);
            self.crash(world, "crashes after recording what the call rests on");
            if let Some(cheaper) = world.cheaper() {
                self.not_written(cheaper, i, pass);
                self.race(cheaper, i, read, pass, number);
            }
        }
        pass.asked = read.force;
        pass.creates += u8::from(matches!(call, Call::Create(..)));
        world.slots[i].called = true;
        if let Some((slower, told)) = self.tell_progress(&world, i, &read) {
            self.send(slower, i, told, pass, number);
        }
        self.send(world, i, read, pass, number);
    }

    /// Somebody makes the very group between the record of an attempt and its create.
    fn race(&mut self, mut world: World, i: usize, read: Stored, mut pass: Pass, number: u16) {
        let Some(id) = target(self.library.calls.get(number)) else { return };
        if world.groups[id].state == State::Absent {
            world.clock += 1;
            world.groups[id] =
                Group { born: world.clock, twin_of: read.uid, body: read.fields.bit(), ..Group::foreign(read.fields) };
            world.drift(|stored, _| usize::from(stored.id) == id);
            pass.asked = read.force;
            pass.creates += 1;
            self.send(world, i, read, pass, number);
        }
    }

    fn send(&mut self, world: World, i: usize, read: Stored, pass: Pass, number: u16) {
        let sent = world.clock;
        let call = self.library.calls.get(number).clone();
        for (mut world, told, label) in self.answers(world, &call, number, read.uid) {
            let unheard = matches!(call, Call::Create(..)) && matches!(told, Told::Lost | Told::ServerError);
            world.slots[i].unheard |= if unheard { world.slots[i].sent & read.fields.bit() } else { 0 };
            self.answered(world, i, read, pass, (number, sent), told, label);
        }
    }

    /// Where a call takes its time and the status still says Ready=True for an older generation, that is told.
    fn tell_progress(&mut self, world: &World, i: usize, read: &Stored) -> Option<(World, Stored)> {
        let brief = self.brief(read);
        let stale = brief.observed != i64::from(read.generation) && brief.ready == ConditionStatus::True;
        let mut world = world.cheaper().filter(|_| stale)?;
        let waiting = PassOutcome::waiting(Reason::Applying, "it takes its time".to_owned(), &Facts::default());
        let status = waiting.status(&self.library.object(read), None, moment(0))?;
        let told = Stored { status: self.library.statuses.number(status), ..*read };
        if let Some(stored) = &mut world.slots[i].stored
            && stored.uid == read.uid
        {
            stored.status = told.status;
            let after = *stored;
            self.observe(&mut world, i, &after);
        }
        Some((world, told))
    }

    fn record_before(&mut self, read: &Stored, facts: u16, call: u16, clock: u8) -> Option<Recorded> {
        if let Some(known) = self.memo.records.get(&(*read, facts, call, clock)) {
            return known.clone();
        }
        let (known, sent) = (self.library.facts.get(facts).clone(), self.library.calls.get(call).clone());
        let record = record_before(&self.library.object(read), &known, &sent, moment(clock + 1), moment(0));
        let record = record.map(|(status, body)| (self.library.statuses.number(status), body));
        self.memo.records.insert((*read, facts, call, clock), record.clone());
        record
    }
}
