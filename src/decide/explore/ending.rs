//! How a pass of the small world's controller goes on after an answer, and how it ends: `controller::outcome`.

use super::Explorer;
use super::index::{has_lost, release};
use super::service::Told;
use super::world::{Pass, Shown, State, Stored, World, moment};
use crate::decide::{PassOutcome, Priority, Retry};
use crate::live::Call;

impl Explorer {
    #[allow(clippy::too_many_arguments)]
    pub fn answered(
        &mut self,
        mut world: World,
        i: usize,
        read: Stored,
        mut pass: Pass,
        (call, sent): (u16, u8),
        told: Told,
        label: &'static str,
    ) {
        let slot = &mut world.slots[i];
        let group = world.groups[usize::from(pass.id)];
        pass.shown = Shown::Nothing;
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
                // Nobody but the service can tell the one known exception from its own group.
                let twin = seen.twin_of == read.uid && slot.unheard & seen.body != 0;
                (pass.knows, pass.shown) = (true, Shown::Live(if twin { read.uid } else { seen.maker }));
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
        if pass.shown != Shown::Nothing {
            pass.seen = pass.shown;
        }
        let clocks = (sent, world.clock);
        let key = (pass.facts, call, read.generation, told, clocks);
        let (facts, failure) = if let Some(known) = self.memo.absorbed.get(&key) {
            *known
        } else {
            let absorbed = self.record(&pass, call, &read, told, clocks);
            self.memo.absorbed.insert(key, absorbed);
            absorbed
        };
        pass.facts = facts;
        match failure {
            // What is tried again at once keeps its pass, and nothing is written.
            Some(_) if told == Told::Skewed => {
                pass.creates -= u8::from(matches!(self.library.calls.get(call), Call::Create(..)));
                world.slots[i].pass = Some(pass);
                world.slots[i].queued = true;
                self.emit(world, label);
            }
            Some((verdict, done)) => {
                // A failure ends the pass, though its facts live until they are written.
                (pass.creates, pass.modifies) = (0, (0, 0));
                self.conclude(world, i, read, pass, verdict, done, label);
            }
            None => self.go_on(world, i, read, pass, true, label),
        }
    }

    fn record(
        &mut self,
        pass: &Pass,
        call: u16,
        read: &Stored,
        told: Told,
        (sent, clock): (u8, u8),
    ) -> (u16, Option<(u16, bool)>) {
        let call = self.library.calls.get(call).clone();
        let mut facts = self.library.facts.get(pass.facts).clone();
        facts.mark_sent(moment(sent));
        facts.mark_answered(moment(clock));
        let result = told.result(pass.id);
        let request = Some("request".to_owned());
        let result = result.as_ref().map(|reply| (reply.clone(), request));
        let failure = facts.record(&call, i64::from(read.generation), result, None).err();
        let failure = failure.map(|failure| {
            let verdict = PassOutcome::failed(&failure, &facts);
            (self.library.verdicts.number(verdict), failure.retry == Retry::Never)
        });
        (self.library.facts.number(facts), failure)
    }

    #[allow(clippy::too_many_arguments)]
    pub fn conclude(
        &mut self,
        mut world: World,
        i: usize,
        read: Stored,
        pass: Pass,
        verdict: u16,
        mut done: bool,
        label: &'static str,
    ) {
        let now = world.slots[i].stored.filter(|_| !self.options.tells_of_what_was_read);
        let key = (verdict, read, pass.asked, now);
        let status = if let Some(known) = self.memo.statuses.get(&key) {
            *known
        } else {
            let asked = (pass.asked > 0).then(|| pass.asked.to_string());
            let mut object = self.library.object(&read);
            if !self.options.tells_of_what_was_read {
                object.metadata.generation = world.slots[i].stored.map(|now| i64::from(now.generation));
            }
            let status = self.library.verdicts.get(verdict).status(&object, asked.as_deref(), moment(0));
            let status = status.map(|status| self.library.statuses.number(status));
            self.memo.statuses.insert(key, status);
            status
        };
        if let Some(status) = status {
            if world.slots[i].stored.is_none_or(|stored| stored.uid != read.uid && self.options.ties_to_uid) {
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
        let recorded = !matches!(self.library.verdicts.get(verdict), PassOutcome::Paused(_) | PassOutcome::Resumed);
        let slot = &mut world.slots[i];
        slot.queued |= !done;
        slot.drifted &= !(pass.knows && recorded);
        let fresh = self.recorded(&read, &pass);
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
        let lasting = !matches!(self.library.verdicts.get(end.0), PassOutcome::Paused(_) | PassOutcome::Resumed);
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
        if !self.brief(&after).attempts {
            world.slots[i].sent = 0;
            let twins = world.groups.iter().filter(|group| group.twin_of == after.uid);
            let bodies = twins.fold(0, |bodies, group| bodies | group.body);
            world.slots[i].unheard &= bodies;
        }
        self.observe(world, i, &after);
        // The event of the write: a change marks the entry dirty, anything less is left to the pass that goes on.
        world.slots[i].queued |= self.brief(&after).lane == Some(Priority::Change);
    }

    /// The process ends at this point, and a new one begins. It takes longer than a lost call does to arrive.
    pub fn crash(&mut self, world: World, label: &'static str) {
        let Some(mut world) = world.cheaper() else { return };
        for i in 0..2 {
            let slot = &mut world.slots[i];
            (slot.pass, slot.before, slot.record, slot.queued, slot.suspect) = (None, None, None, false, false);
            (slot.told, slot.gone, slot.given_up) = (false, false, false);
        }
        for i in 0..2 {
            if let Some(stored) = world.slots[i].stored {
                // What was sent under an open attempt was never heard of.
                world.slots[i].unheard |= world.slots[i].sent;
                self.observe(&mut world, i, &stored);
                world.slots[i].queued |= self.brief(&stored).lane.is_some();
            }
        }
        for i in 0..2 {
            world.slots[i].queued |= has_lost(&world, i);
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
