//! The driver of the exploration. It executes each step of a pass with every possible result.

use super::Explorer;
use super::access::Returned;
use super::invariants::Invariant;
use super::machine::{Access, Fed, Rest, Step};
use super::mutants::Mutation;
use super::service::{Answer, note_answer, target};
use super::world::{Process, Stored, Trail, Work, World, moment};
use crate::controller::scheduler::explored::Place;
use crate::live::Call;

/// More inputs than a pass ever needs between two requests.
const MAX_INPUTS: usize = 8;

impl Explorer {
    /// Gives the object to a worker. The worker takes the cached copy, or reads the object from the apiserver. The copy
    /// may be outdated while the watch is behind.
    pub fn begin(&mut self, mut world: World, p: usize, i: usize) {
        self.take(world.work(p, i));
        world.work(p, i).has_called = false;
        let takes_copy = self.feed(&mut world, p, i, Fed::Start).step == Step::Load;
        let Work { copy, is_behind, .. } = *world.work(p, i);
        match (world.objects[i].stored.filter(|_| !is_behind), copy, world.cheaper()) {
            (Some(stored), ..) if takes_copy => return self.take_copy(world, p, i, stored, "takes a copy"),
            (None, Some(copy), Some(cheaper)) if takes_copy => self.take_copy(cheaper, p, i, copy, "takes an old copy"),
            _ => {}
        }
        self.read(world, p, i, "reads");
    }

    fn take_copy(&mut self, mut world: World, p: usize, i: usize, copy: Stored, label: &'static str) {
        let has_drifted = self.access(&mut world, p, i, Access::TakeCopy) == Returned::Loaded(true);
        self.loaded(world, p, i, Fed::Read { object: copy, has_drifted, is_copy: true }, label);
    }

    /// Reads the object.
    fn read(&mut self, mut world: World, p: usize, i: usize, label: &'static str) {
        let Some(stored) = world.objects[i].stored else {
            self.access(&mut world, p, i, Access::Remove);
            return self.go_on(world, p, i, None, Fed::Gone, "finds nothing");
        };
        let Returned::Loaded(has_drifted) = self.access(&mut world, p, i, Access::Load(stored)) else {
            return self.finish(world, p, i, None, Rest::Done, "reads an object that the watch has not delivered yet");
        };
        let work = world.work(p, i);
        work.copy = work.is_behind.then_some(stored);
        self.loaded(world, p, i, Fed::Read { object: stored, has_drifted, is_copy: false }, label);
    }

    fn loaded(&mut self, mut world: World, p: usize, i: usize, fed: Fed, label: &'static str) {
        let Fed::Read { object, has_drifted, .. } = fed else { return };
        world.work(p, i).at = world.account_of(&object);
        let pass = self.library.passes.get(world.work(p, i).pass);
        let (pending, has_effect) = (pass.pending_generation(), pass.facts().has_effect());
        let trail = &mut world.work(p, i).trail;
        if (trail.uid, trail.id) != (object.uid, object.id) {
            *trail = Trail { uid: object.uid, id: object.id, ..Trail::default() };
        } else if !has_effect && pending.is_some_and(|generation| generation != i64::from(object.generation)) {
            // Observations for an older generation are discarded.
            *trail = trail.of_next_pass();
        }
        (trail.is_stuck, trail.repeats_write) = (false, pending.is_some());
        trail.suspects |= has_drifted;
        self.go_on(world, p, i, Some(object), fed, label);
    }

    /// Gives an input to a pass, and advances the pass until its next request or its end.
    fn go_on(&mut self, mut world: World, p: usize, i: usize, read: Option<Stored>, mut fed: Fed, label: &'static str) {
        for _ in 0..MAX_INPUTS {
            let moved = self.feed(&mut world, p, i, fed);
            if moved.has_failed {
                self.note_failure(&mut world, p, i, fed, moved.step);
            }
            let (Some(object), step) = (read, moved.step) else {
                return self.finish(world, p, i, read, Rest::Done, label);
            };
            match step {
                Step::Finish(rest) => return self.finish(world, p, i, read, rest, label),
                Step::CheckNamespace => fed = Fed::NamespaceTerminates,
                // Only another object can change the result of the preflight. If there is no other object, the
                // preflight runs immediately.
                Step::Preflight(call) if self.known(world.work(p, 1 - i)).record.is_none() => {
                    return self.preflight(world, p, i, object, call, label);
                }
                step => {
                    if step == Step::ReleaseFinalizer {
                        self.check_release(&world, p, i, &object);
                    }
                    world.clock += u8::from(matches!(step, Step::PersistIntent(_)));
                    world.work(p, i).step = Some((step, object));
                    return self.emit(world, label);
                }
            }
        }
        self.must(Invariant::Ends, false, || "a step without end".to_owned());
    }

    fn preflight(&mut self, mut world: World, p: usize, i: usize, read: Stored, call: u32, label: &'static str) {
        if let Some(cheaper) = world.cheaper() {
            self.go_on(cheaper, p, i, Some(read), Fed::NoCredentials, "has no credentials");
            self.go_on(cheaper, p, i, Some(read), Fed::BreakerOpen, "finds the circuit breaker open");
            self.go_on(cheaper, p, i, Some(read), Fed::NeedsPermit { is_long: true }, "waits long for a permit");
        }
        world.work(p, i).at = world.account_of(&read);
        let process = world.processes[p];
        let has_permit = !process.work[i].has_called;
        let is_patient = !matches!(self.mutation, Mutation::CallsWhileALostCallMayArrive);
        let is_lost = is_patient && process.lost[usize::from(read.id)];
        let is_fenced = is_patient && process.is_fenced;
        let access = Access::Preflight { read, call, has_permit, is_lost, is_fenced };
        let fed = match self.access(&mut world, p, i, access) {
            Returned::Delayed => Fed::Delayed,
            Returned::OwnerChanged if !matches!(self.mutation, Mutation::CallsAfterALostClaim) => Fed::OwnerChanged,
            _ if has_permit => Fed::Cleared,
            _ => Fed::NeedsPermit { is_long: false },
        };
        self.go_on(world, p, i, Some(read), fed, label);
    }

    /// Resets the counts of creates and changes after a failed step. If the service refused a call because of a wrong
    /// clock and the pass repeats the call, the count of creates is reduced by one instead.
    fn note_failure(&mut self, world: &mut World, p: usize, i: usize, fed: Fed, step: Step) {
        let trail = &mut world.work(p, i).trail;
        if matches!(step, Step::Finish(_)) && matches!(fed, Fed::Answer { answer: Answer::Skewed, .. }) {
            trail.creates = trail.creates.saturating_sub(1);
        } else {
            (trail.creates, trail.modifies) = (0, (0, 0));
        }
    }

    /// Returns the object to the scheduler.
    fn finish(&mut self, mut world: World, p: usize, i: usize, read: Option<Stored>, rest: Rest, label: &'static str) {
        let forgets = matches!(self.mutation, Mutation::ForgetsARequeue)
            || (matches!(self.mutation, Mutation::EndsWithARepeatedWrite) && world.work(p, i).trail.repeats_write);
        let rest = if rest == Rest::Later && forgets { Rest::Done } else { rest };
        let number = world.work(p, i).pass;
        let pass = self.library.passes.get(number);
        let is_kept = rest != Rest::Done && pass.is_begun();
        let holds_claim = is_kept && pass.holds_claim();
        let is_recorded = !is_kept || (pass.facts().is_empty() && pass.pending_generation().is_none());
        self.access(&mut world, p, i, Access::Finish { rest, is_kept, holds_claim });
        let is_gone = self.known(world.work(p, i)).record.is_none();
        let work = world.work(p, i);
        (work.step, work.has_called) = (None, false);
        work.pass = if is_kept && !is_gone { number } else { 0 };
        if is_recorded {
            let knows = work.trail.knows;
            work.trail = work.trail.of_next_pass();
            world.objects[i].drifted &= !knows || read.is_none_or(|read| read.paused);
        }
        self.emit(world, label);
    }

    /// Executes the next step of a worker.
    pub fn execute(&mut self, world: World, p: usize, i: usize) {
        let Some((step, read)) = world.processes[p].work[i].step else { return };
        match step {
            Step::Read => self.read(world, p, i, "reads again"),
            Step::Preflight(call) => self.preflight(world, p, i, read, call, "may call"),
            Step::SetFinalizer(finalizer) => {
                self.patch(world, world, p, i, read, Some(Stored { finalizer, ..read }), "changes the finalizer");
            }
            Step::PersistIntent(status) => self.persist_intent(world, p, i, read, status),
            Step::ReleaseFinalizer => self.patch(world, world, p, i, read, None, "removes the finalizer"),
            Step::Send(call) => self.send(world, p, i, read, call),
            Step::WriteStatus(status) => self.write_status(world, p, i, read, status),
            step => panic!("{step:?} is executed at once"),
        }
    }

    /// Executes a patch that tests the resourceVersion. `noted` is `world` with updated data for the invariants, and it
    /// replaces `world` if the patch takes effect. `after` is `None` if the patch removes the last finalizer, because
    /// the apiserver then deletes the object.
    #[expect(clippy::too_many_arguments, reason = "the place, and the object before and after")]
    fn patch(
        &mut self,
        world: World,
        mut noted: World,
        p: usize,
        i: usize,
        read: Stored,
        after: Option<Stored>,
        label: &'static str,
    ) {
        if !self.is_current(&world, p, i, read) {
            return;
        }
        if let (Some(cheaper), Some(mut unheard)) = (world.cheaper(), noted.cheaper()) {
            self.not_patched(cheaper, p, i, read, false);
            self.store(&mut unheard, p, i, after, false);
            self.not_patched(unheard, p, i, read, false);
        }
        self.store(&mut noted, p, i, after, true);
        let answer = after.unwrap_or(read);
        self.go_on(noted, p, i, Some(answer), Fed::Patched(answer), label);
    }

    /// Whether the stored object is still the version that was read. If it is not, the patch fails.
    fn is_current(&mut self, world: &World, p: usize, i: usize, read: Stored) -> bool {
        let stored = world.objects[i].stored;
        if stored != Some(read) {
            self.not_patched(*world, p, i, read, stored.is_none_or(|stored| stored.uid != read.uid));
        }
        stored == Some(read)
    }

    fn not_patched(&mut self, mut world: World, p: usize, i: usize, read: Stored, is_gone: bool) {
        world.work(p, i).trail.is_stuck = true;
        self.go_on(world, p, i, Some(read), Fed::PatchFailed { is_gone }, "fails to write before the call");
    }

    fn persist_intent(&mut self, world: World, p: usize, i: usize, read: Stored, status: u32) {
        if matches!(self.mutation, Mutation::SkipsTheIntent) {
            return self.go_on(world, p, i, Some(read), Fed::Patched(read), "skips the intent");
        }
        let after = Stored { status, ..read };
        self.check_write(&world, p, i, &read, &after);
        let pass = self.library.passes.get(world.processes[p].work[i].pass);
        let (has_ended, creates) = (pass.facts().group_ended(), pass.intends_to_create());
        let mut noted = world;
        let object = &mut noted.objects[i];
        if has_ended || !self.brief(&read).has_open_intent {
            (object.sent, object.unheard) = (0, 0);
        }
        object.called = true;
        object.sent |= if creates { read.fields.bit() } else { 0 };
        self.patch(world, noted, p, i, read, Some(after), "records the intent");
    }

    fn send(&mut self, mut world: World, p: usize, i: usize, read: Stored, number: u32) {
        let call = self.library.calls.get(number).clone();
        self.check_call(&world, p, i, &read, &call);
        let work = world.work(p, i);
        work.has_called = true;
        work.trail.creates += u8::from(matches!(call, Call::Create(..)));
        world.objects[i].called = true;
        if let Some((slower, reported)) = self.report_progress(&world, p, i, read) {
            self.send_with(slower, p, i, reported, number, Some(reported));
        }
        self.send_with(world, p, i, read, number, None);
    }

    /// Reports a slow call in the status, and returns the world and the object after this write. Returns `None` if the
    /// status needs no such report, if the object has changed since it was read, or if no event is left.
    fn report_progress(&mut self, world: &World, p: usize, i: usize, read: Stored) -> Option<(World, Stored)> {
        let mut world = world.cheaper()?;
        let pass = self.library.passes.get(world.work(p, i).pass);
        let status = pass.progress_status("the call takes long", moment(0))?;
        let status = self.library.statuses.number(*status);
        let stored = world.objects[i].stored.filter(|stored| *stored == read)?;
        let reported = Stored { status, ..stored };
        self.store(&mut world, p, i, Some(reported), true);
        Some((world, reported))
    }

    fn send_with(&mut self, world: World, p: usize, i: usize, read: Stored, number: u32, progress: Option<Stored>) {
        let call = self.library.calls.get(number).clone();
        for (mut world, answer, label) in self.answers(world, &call, number, read.uid, world.processes[p].work[i].at) {
            let is_unheard = matches!(call, Call::Create(..)) && matches!(answer, Answer::Lost | Answer::ServerError);
            let object = &mut world.objects[i];
            object.unheard |= if is_unheard { object.sent & read.fields.bit() } else { 0 };
            world.processes[p].lost[usize::from(read.id)] |=
                answer == Answer::Lost && world.late[usize::from(read.id)].is_some();
            note_answer(&mut world, p, i, read, &call, answer);
            let id = target(&call).map_or(read.id, |id| u8::try_from(id).unwrap());
            self.go_on(world, p, i, Some(read), Fed::Answer { answer, id, progress }, label);
        }
    }

    fn write_status(&mut self, mut world: World, p: usize, i: usize, read: Stored, mut status: u32) {
        let is_tested =
            !matches!(self.mutation, Mutation::WritesToAnotherObject | Mutation::ReportsTheNewestGeneration);
        let stored = world.objects[i].stored;
        let Some(stored) = stored.filter(|stored| *stored == read || !is_tested) else {
            let is_gone = stored.is_none_or(|stored| stored.uid != read.uid);
            return self.go_on(
                world,
                p,
                i,
                Some(read),
                Fed::WriteFailed { is_gone },
                "finds another object or version",
            );
        };
        if matches!(self.mutation, Mutation::ReportsTheNewestGeneration) {
            let mut newest = self.library.statuses.get(status).clone();
            newest.observed_generation = Some(i64::from(stored.generation));
            status = self.library.statuses.number(newest);
        }
        self.check_write(&world, p, i, &read, &Stored { status, ..read });
        let after = Stored { status, ..stored };
        if let Some(cheaper) = world.cheaper() {
            self.not_written(cheaper, p, i, read, "fails to write");
            let mut unheard = cheaper;
            self.note_write(&mut unheard, p, i, &after, false);
            self.store(&mut unheard, p, i, Some(after), false);
            self.not_written(unheard, p, i, read, "writes and hears no answer");
        }
        self.note_write(&mut world, p, i, &after, true);
        self.store(&mut world, p, i, Some(after), true);
        self.go_on(world, p, i, Some(read), Fed::Written(after), "writes the status");
    }

    fn note_write(&mut self, world: &mut World, p: usize, i: usize, after: &Stored, is_heard: bool) {
        let is_pausing = self.library.passes.get(world.work(p, i).pass).is_pausing();
        let has_open_intent = self.brief(after).has_open_intent;
        let bodies = world.groups.iter().filter(|group| group.twin_of == after.uid);
        let twins = bodies.fold(0, |bodies, group| bodies | group.body);
        let object = &mut world.objects[i];
        if !has_open_intent {
            object.sent = 0;
            object.unheard &= twins;
        }
        if is_heard {
            object.drifted &= !world.processes[p].work[i].trail.knows || is_pausing;
            // The next pass calls Describe before it relies on the state of the group.
            world.processes[p].work[i].trail.knows = false;
        }
        for (other, process) in world.processes.iter_mut().enumerate() {
            if other != p {
                (process.work[i].trail.made, process.work[i].trail.gone) = (false, false);
            }
        }
    }

    fn not_written(&mut self, mut world: World, p: usize, i: usize, read: Stored, label: &'static str) {
        if matches!(self.mutation, Mutation::ForgetsAfterAFailedWrite) {
            world.work(p, i).pass = 0;
            return self.finish(world, p, i, Some(read), Rest::Later, label);
        }
        self.go_on(world, p, i, Some(read), Fed::WriteFailed { is_gone: false }, label);
    }

    /// Stores the object that process `p` wrote. The watch of `p` delivers the object immediately, unless the watch is
    /// behind. If `hears` is true, the scheduler of `p` records the response, and recognizes the write in the watch.
    fn store(&mut self, world: &mut World, p: usize, i: usize, after: Option<Stored>, hears: bool) {
        let was_behind = world.work(p, i).is_behind;
        world.store(i, after);
        if let (Some(after), true) = (after, hears) {
            self.access(world, p, i, Access::Refresh(after));
            if !matches!(self.mutation, Mutation::TakesOutdatedCopies) {
                world.work(p, i).copy = Some(after);
            }
        }
        if !was_behind {
            self.watch(world, p, i, hears);
        }
    }

    /// Delivers the current object to the watch of a process. `is_own` is true if the process wrote this version of the
    /// object.
    pub fn watch(&mut self, world: &mut World, p: usize, i: usize, is_own: bool) {
        let (before, now) = (world.work(p, i).shown, world.objects[i].stored);
        let uid = now.map(|now| now.uid);
        if before.is_some() && before != uid {
            self.access(world, p, i, Access::Remove);
            let work = world.work(p, i);
            work.pass = if work.step.is_some() { work.pass } else { 0 };
        }
        if let Some(now) = now {
            let is_own = is_own || matches!(self.mutation, Mutation::MistakesChangesForOwnWrites);
            let access = if is_own { Access::ObserveOwnWrite(now) } else { Access::Observe(now, false) };
            self.access(world, p, i, access);
        }
        let work = world.work(p, i);
        (work.shown, work.is_behind, work.copy) = (uid, false, None);
    }

    /// Starts a process, which lists the objects.
    pub fn start(&mut self, world: &mut World, p: usize) {
        let is_fenced = world.late != [None; 2];
        world.processes[p] = Process { runs: true, is_fenced, ..Process::default() };
        for i in 0..2 {
            if let Some(stored) = world.objects[i].stored {
                self.access(world, p, i, Access::Observe(stored, true));
                world.work(p, i).shown = Some(stored.uid);
            }
        }
    }

    /// Stops a process at any point in its work.
    pub fn stop(&mut self, world: &mut World, p: usize) {
        world.processes[p] = Process::default();
        for object in &mut world.objects {
            object.timed_out = false;
            // If a create intent is open, the answers to its creates are lost.
            object.unheard |= object.sent;
        }
    }

    /// Whether a process does nothing for an object until the next event.
    pub fn rests(&self, world: &World, p: usize, i: usize) -> bool {
        let work = &world.processes[p].work[i];
        !work.is_behind && matches!(self.place(work), Place::Idle | Place::BlockedOnOwner)
    }
}
