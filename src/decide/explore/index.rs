//! The index of the small world: which of two objects holds a group, as `controller::index` tells it.

use super::Explorer;
use super::world::{Record, Stored, World};
use crate::decide::{Claim, holder};
use crate::resources::Reason;

impl Explorer {
    /// The index takes in an object.
    pub fn observe(&mut self, world: &mut World, i: usize, object: &Stored) {
        let brief = self.brief(object);
        let before = world.slots[i].record;
        let known = before.filter(|record| record.uid == object.uid && record.id == object.id);
        let refused =
            if known.is_some_and(|record| record.refused) { brief.refused_after_refusal } else { brief.refused };
        let record = Record {
            uid: object.uid,
            id: object.id,
            proven: brief.proven,
            refused: refused || object.deleting,
            in_flight: known.is_some_and(|record| record.in_flight),
            observes: object.observes(),
            deleting: object.deleting,
            conflict: brief.reason == Some(Reason::Conflict),
        };
        world.slots[i].record = Some(record);
        if before.is_none_or(|before| Record { conflict: record.conflict, ..before } != record) {
            wake_peer(world, i, before.map(|before| before.id));
            wake_peer(world, i, Some(record.id));
        }
    }
}

/// The object is gone: so is its record.
pub fn observe_gone(world: &mut World, i: usize) {
    let before = world.slots[i].record.take();
    wake_peer(world, i, before.map(|before| before.id));
}

/// The call's effect is recorded, or there was none.
pub fn release(world: &mut World, i: usize) {
    let Some(record) = &mut world.slots[i].record else { return };
    let id = record.id;
    if std::mem::take(&mut record.in_flight) {
        wake_peer(world, i, Some(id));
    }
}

fn wake_peer(world: &mut World, i: usize, id: Option<u8>) {
    let lost = has_lost(world, 1 - i);
    let peer = &mut world.slots[1 - i];
    peer.queued |= peer.record.is_some_and(|record| (record.conflict || lost) && Some(record.id) == id);
}

/// Whether the other object holds this one's group, and its status does not say so.
pub fn has_lost(world: &World, i: usize) -> bool {
    world.slots[i].record.is_some_and(|record| !record.deleting && !record.conflict) && other_of(world, i).is_some()
}

/// The uid of the other object, as the index tells it.
pub fn other_of(world: &World, i: usize) -> Option<u8> {
    let (own, other) = (world.slots[i].record?, world.slots[1 - i].record?);
    if own.id != other.id || own.observes || (other.observes && !other.in_flight) {
        return None;
    }
    if own.deleting {
        return (!other.deleting && !other.observes).then_some(other.uid);
    }
    let text = [own.uid.to_string(), other.uid.to_string()];
    let claim = |record: &Record, uid| Claim {
        created: i64::from(record.uid),
        uid,
        in_flight: record.in_flight,
        proven: record.proven,
        refused: record.refused,
    };
    let held = holder(&[claim(&own, &text[0]), claim(&other, &text[1])])?;
    (held == 1).then_some(other.uid)
}
