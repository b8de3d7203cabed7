//! The controller of the small world: the order of `controller::reconcile`, without waiting, with the real decisions.

use super::index::{observe_gone, other_of, release};
use super::service::Told;
use super::world::{Pass, Policies, Shown, State, Stored, World, moment};
use super::{Explorer, Options};
use crate::decide::{Action, Facts, Holder, Lane, Release, Retry, Verdict, record_before};
use crate::live::Call;
use crate::resources::Reason;

/// A decision, small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Nothing,
    Call(u16),
    Finalizer(bool),
    Release,
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
        if let Some((generation, verdict, done)) = pass.unwritten.take() {
            if generation == read.generation {
                // Something may have come meanwhile that did not change the generation: one more look follows.
                let done = done && !self.options.looks_again;
                return self.conclude(world, i, read, pass, verdict, done, "writes again");
            }
            if !self.library.facts.get(pass.facts).has_effect() {
                pass = Pass { asked: pass.asked, ..self.pass_over(&read) };
            }
        }
        if self.library.facts.get(pass.facts).is_empty() {
            pass.asked = read.force;
        }
        if std::mem::take(&mut world.slots[i].suspect) {
            let mut facts = self.library.facts.get(pass.facts).clone();
            facts.suspect();
            pass.suspects = true;
            pass.facts = self.library.facts.number(facts);
        }
        self.go_on(world, i, read, pass, false, "looks");
    }

    fn pass_over(&mut self, read: &Stored) -> Pass {
        let facts = self.library.facts.number(Facts::default());
        let (uid, id) = (read.uid, read.id);
        Pass {
            uid,
            id,
            facts,
            asked: 0,
            unwritten: None,
            suspects: false,
            knows: false,
            creates: 0,
            modifies: (0, 0),
            shown: Shown::Nothing,
        }
    }

    fn act(&mut self, read: &Stored, facts: u16, other: Option<u8>) -> Act {
        if let Some(act) = self.memo.acts.get(&(*read, facts, other)) {
            return *act;
        }
        let object = self.library.object(read, self.options.policies);
        let known = self.library.facts.get(facts).clone();
        let holder = other.map(|uid| Holder { name: format!("ns/{uid}") });
        let act = match (self.options.decide)(&object, &known, holder.as_ref()) {
            Action::Nothing => Act::Nothing,
            Action::Call(call) => Act::Call(self.library.calls.number(call)),
            Action::AddFinalizer => Act::Finalizer(true),
            Action::DropFinalizer => Act::Finalizer(false),
            Action::Release(release) => {
                self.must(release != Release::Abandoned, || "nobody gave the group up".to_owned());
                Act::Release
            }
            Action::Write(verdict) => Act::Write(self.library.verdicts.number(verdict)),
            Action::Fail(failure) => {
                let verdict = self.library.verdicts.number(Verdict::failed(&failure, &known));
                Act::Fail(verdict, failure.retry == Retry::Never)
            }
        };
        self.memo.acts.insert((*read, facts, other), act);
        act
    }

    /// Decides, and acts on it; `called` when this step has made its call: for the next one the object is read again.
    fn go_on(&mut self, mut world: World, i: usize, mut read: Stored, pass: Pass, called: bool, label: &'static str) {
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
            Act::Release => {
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
            Act::Call(_) if called || world.late[usize::from(pass.id)].is_some() => {
                world.slots[i].pass = Some(pass);
                world.slots[i].queued = true;
                self.emit(world, label);
            }
            Act::Call(call) => self.call(world, i, read, pass, call),
        }
    }

    fn not_written(&mut self, mut world: World, i: usize, pass: Pass) {
        release(&mut world, i);
        world.slots[i].pass = Some(pass);
        world.slots[i].queued = true;
        self.emit(world, "fails to write before the call");
    }

    fn call(&mut self, mut world: World, i: usize, mut read: Stored, mut pass: Pass, number: u16) {
        let call = self.library.calls.get(number).clone();
        self.check_call(&world, i, &read, &pass, &call);
        if let Some(cheaper) = world.cheaper() {
            let facts = self.library.facts.get(pass.facts);
            let waiting = Verdict::waiting(Reason::NotAuthorized, "a gate is shut".to_owned(), facts);
            let waiting = self.library.verdicts.number(waiting);
            self.conclude(cheaper, i, read, pass, waiting, false, "waits behind a gate");
        }
        if let Some(record) = &mut world.slots[i].record {
            record.in_flight = true;
        }
        let object = self.library.object(&read, self.options.policies);
        let known = self.library.facts.get(pass.facts).clone();
        if let Some((status, fresh)) = record_before(&object, &known, &call, moment(world.clock + 1), moment(0)) {
            if world.slots[i].stored != Some(read) {
                return self.not_written(world, i, pass);
            }
            if let Some(cheaper) = world.cheaper() {
                self.not_written(cheaper, i, pass);
            }
            let before = read;
            read.status = self.library.statuses.number(status);
            self.check_write(&world, i, &before, &read, &pass);
            world.slots[i].stored = Some(read);
            world.clock += 1;
            self.crash(world, "crashes after recording what the call rests on");
            let mut facts = known;
            facts.attempted(fresh);
            pass.facts = self.library.facts.number(facts);
        }
        pass.asked = read.force;
        pass.creates += u8::from(matches!(call, Call::Create(..)));
        for (world, told, label) in self.answers(world, &call, number, read.uid) {
            self.answered(world, i, read, pass, number, told, label);
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn answered(
        &mut self,
        mut world: World,
        i: usize,
        read: Stored,
        mut pass: Pass,
        call: u16,
        told: Told,
        label: &'static str,
    ) {
        let slot = &mut world.slots[i];
        let group = world.groups[usize::from(pass.id)];
        if told.is_answer() && slot.stored.is_some_and(|stored| stored.uid == read.uid) {
            slot.looked = slot.looked.max(read.force);
        }
        // An answer for a group that the object names no longer is nothing that its record could keep.
        let named = slot.stored.is_some_and(|stored| stored.uid == read.uid && stored.id == pass.id);
        match told {
            Told::Created => {
                (slot.told, slot.gone) = (named, false);
                (pass.knows, pass.shown) = (true, Shown::Live(read.uid));
            }
            Told::Group(seen) if seen.is_live() => {
                let own = seen.maker == read.uid;
                (slot.told, slot.gone) = (slot.told && own, slot.gone && !own);
                (pass.knows, pass.shown) = (true, Shown::Live(seen.maker));
            }
            // That a create finds no app tells nothing of a group.
            Told::NotFound if matches!(self.library.calls.get(call), Call::Create(..)) => {}
            Told::Group(_) | Told::Blocked | Told::NotFound => {
                (slot.told, slot.gone, pass.shown) = (false, named, Shown::Gone);
                // The service may have told an untruth.
                pass.knows = told != Told::NotFound || group.state == State::Absent;
                slot.drifted |= !pass.knows;
            }
            Told::Done => match self.library.calls.get(call) {
                Call::Recover(_) => slot.gone = false,
                Call::Modify(..) if pass.modifies.0 == read.generation => pass.modifies.1 += 1,
                Call::Modify(..) => pass.modifies = (read.generation, 1),
                _ => {}
            },
            _ => {}
        }
        let key = (pass.facts, call, read.generation, told, world.clock);
        let (facts, failure) = if let Some(known) = self.memo.absorbed.get(&key) {
            *known
        } else {
            let absorbed = self.absorb(&pass, call, &read, told, world.clock);
            self.memo.absorbed.insert(key, absorbed);
            absorbed
        };
        pass.facts = facts;
        match failure {
            Some((verdict, done)) => {
                // A failure ends the pass, though its facts live until they are written.
                (pass.creates, pass.modifies) = (0, (0, 0));
                self.conclude(world, i, read, pass, verdict, done, label);
            }
            None => self.go_on(world, i, read, pass, true, label),
        }
    }

    fn absorb(&mut self, pass: &Pass, call: u16, read: &Stored, told: Told, clock: u8) -> (u16, Option<(u16, bool)>) {
        let call = self.library.calls.get(call).clone();
        let mut facts = self.library.facts.get(pass.facts).clone();
        facts.answered(moment(clock));
        let result = told.result(pass.id);
        let request = Some("request".to_owned());
        let result = result.as_ref().map(|reply| (reply.clone(), request));
        let failure = facts.absorb(&call, i64::from(read.generation), result).err();
        let failure = failure.map(|failure| {
            let verdict = Verdict::failed(&failure, &facts);
            (self.library.verdicts.number(verdict), failure.retry == Retry::Never)
        });
        (self.library.facts.number(facts), failure)
    }

    #[allow(clippy::too_many_arguments)]
    fn conclude(
        &mut self,
        mut world: World,
        i: usize,
        read: Stored,
        pass: Pass,
        verdict: u16,
        mut done: bool,
        label: &'static str,
    ) {
        let key = (verdict, read, pass.asked);
        let status = if let Some(known) = self.memo.statuses.get(&key) {
            *known
        } else {
            let asked = (pass.asked > 0).then(|| pass.asked.to_string());
            let object = self.library.object(&read, self.options.policies);
            let status = self.library.verdicts.get(verdict).status(&object, asked.as_deref(), moment(0));
            let status = status.map(|status| self.library.statuses.number(status));
            self.memo.statuses.insert(key, status);
            status
        };
        if let Some(status) = status {
            if world.slots[i].stored.is_none_or(|stored| stored.uid != read.uid) {
                // Another object of that name, or none: the status is tied to the uid.
                world.slots[i].queued |= world.slots[i].stored.is_some();
                world.slots[i].pass = None;
                release(&mut world, i);
                return self.emit(world, "finds another object in its place");
            }
            if let Some(cheaper) = world.cheaper() {
                self.write_fails(cheaper, i, &read, pass, (verdict, done), None);
                self.write_fails(cheaper, i, &read, pass, (verdict, done), Some(status));
            }
            self.crash(world, "crashes before writing");
            self.write(&mut world, i, &read, status, &pass);
            let stored = world.slots[i].stored.unwrap();
            done &= !self.brief(&stored).finalizer_is_wrong;
        }
        // A pause writes nothing of what was seen.
        let recorded = !matches!(self.library.verdicts.get(verdict), Verdict::Paused(_) | Verdict::Resumed);
        let slot = &mut world.slots[i];
        slot.queued |= !done;
        slot.drifted &= !(pass.knows && recorded);
        let fresh = self.pass_over(&read);
        world.slots[i].pass = (!done).then_some(Pass { asked: pass.asked, ..fresh });
        release(&mut world, i);
        self.emit(world, label);
    }

    fn write_fails(
        &mut self,
        mut world: World,
        i: usize,
        read: &Stored,
        mut pass: Pass,
        end: (u16, bool),
        late: Option<u16>,
    ) {
        if let Some(status) = late {
            self.write(&mut world, i, read, status, &pass);
        }
        let lasting = !matches!(self.library.verdicts.get(end.0), Verdict::Paused(_) | Verdict::Resumed);
        pass.unwritten = lasting.then_some((read.generation, end.0, end.1));
        if !self.options.keeps_facts {
            pass = self.pass_over(read);
        }
        world.slots[i].pass = Some(pass);
        world.slots[i].queued = true;
        self.emit(world, if late.is_some() { "writes and hears no answer" } else { "fails to write" });
    }

    fn write(&mut self, world: &mut World, i: usize, read: &Stored, status: u16, pass: &Pass) {
        let before = world.slots[i].stored.unwrap();
        let after = Stored { status, ..before };
        let written = Stored { status, ..*read };
        self.check_write(world, i, read, &written, pass);
        world.slots[i].stored = Some(after);
        self.observe(world, i, &after);
        // The event of the write: a change marks the entry dirty, anything less is left to the pass that goes on.
        world.slots[i].queued |= self.brief(&after).lane == Some(Lane::Change);
    }

    /// The process ends at this point, and a new one begins. It takes longer than a lost call does to arrive.
    pub fn crash(&mut self, world: World, label: &'static str) {
        let Some(mut world) = world.cheaper() else { return };
        for i in 0..2 {
            let slot = &mut world.slots[i];
            (slot.pass, slot.before, slot.record, slot.queued, slot.suspect) = (None, None, None, false, false);
            (slot.told, slot.gone) = (false, false);
        }
        for i in 0..2 {
            if let Some(stored) = world.slots[i].stored {
                self.observe(&mut world, i, &stored);
                world.slots[i].queued = self.brief(&stored).lane.is_some();
            }
        }
        for id in 0..2 {
            if let Some(late) = world.late[id].take() {
                let mut landed = world;
                self.land(&mut landed, late);
                self.emit(landed, label);
            }
        }
        self.emit(world, label);
    }
}

/// What an exploration is about, unless it is about something else.
pub fn real(policies: Policies) -> Options {
    Options { decide: crate::decide::decide, keeps_facts: true, looks_again: true, policies }
}
