//! Addresses that a download may dial and has not dialed. If there are too many to remember, a
//! random sample is kept. So false addresses cannot be certain to displace the others, even in
//! large numbers. It dials nothing.

use crate::config::{PIECE_BYTES, PIECES_MAX, SOURCES_KNOWN_MAX};
use crate::proto::weak_peer::contact::Contact;
use crate::proto::weak_peer::context::Context;
use crate::proto::{EMPTY_ROOT, pieces_of};
use crate::wire::Root;

/// A source that a hit names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proto::weak_peer) struct Candidate {
    /// Its addresses.
    pub(in crate::proto::weak_peer) at: Contact,
    /// The size of the content that its hits claim. None if hits contradict each other, or if a
    /// super peer names the source as a member of a swarm.
    pub(in crate::proto::weak_peer) size: Option<u64>,
}

/// A random sample of all candidates that were offered and not taken (Vitter 1985, algorithm R).
#[derive(Clone, Debug, Default)]
pub(in crate::proto::weak_peer) struct Pool {
    list: Vec<Candidate>,
    /// How many candidates were offered from which `list` is the sample.
    offered: usize,
}

impl Pool {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Candidate> {
        self.list.iter()
    }

    /// Adds a candidate, or adds the claims of a hit to a known candidate. A member of a swarm
    /// comes without a size; then the sizes that hits claim for it are ignored.
    pub(in crate::proto::weak_peer) fn offer(&mut self, cx: &mut Context, at: Contact, size: Option<u64>) {
        if let Some(known) = self.list.iter_mut().find(|candidate| candidate.at.is_same(&at)) {
            known.size = known.size.filter(|claim| size == Some(*claim));
            if let Some(more) = known.at.merge(at) {
                self.offer(cx, more.into(), size);
            }
            return;
        }
        let candidate = Candidate { at, size };
        self.offered = self.offered.saturating_add(1);
        if self.list.len() < SOURCES_KNOWN_MAX {
            self.list.push(candidate);
        } else if let Some(place) = self.list.get_mut(cx.draw(self.offered)) {
            *place = candidate;
        }
    }

    /// Adds a candidate, if the list has room.
    pub(in crate::proto::weak_peer) fn add(&mut self, at: Contact, size: u64) {
        if self.list.len() < SOURCES_KNOWN_MAX {
            self.offered = self.offered.saturating_add(1);
            self.list.push(Candidate { at, size: Some(size) });
        }
    }

    /// Takes a random candidate among those that fit. A candidate that its super peer could not
    /// dial is taken only if there is no other.
    pub(super) fn take(&mut self, cx: &mut Context, fits: impl Fn(&Context, &Candidate) -> bool) -> Option<Candidate> {
        let first = cx.draw(self.list.len());
        let places = || (first..self.list.len()).chain(0..first);
        let mut fitting = places().filter(|place| fits(cx, &self.list[*place]));
        let place = fitting.find(|place| !self.list[*place].at.unreached);
        let place = place.or_else(|| places().find(|place| fits(cx, &self.list[*place])))?;
        self.offered = self.offered.saturating_sub(1);
        Some(self.list.swap_remove(place))
    }

    /// A search begins. It will offer again the candidates that are not in the sample.
    pub(super) fn recount(&mut self) {
        self.offered = self.list.len();
    }

    /// Drops candidates whose hits claim another size than the proven one.
    pub(super) fn keep_size(&mut self, size: u64) {
        self.list.retain(|candidate| candidate.size.is_none_or(|claim| claim == size));
        self.recount();
    }
}

/// Whether a content with this root can have this size.
pub(in crate::proto::weak_peer) fn is_possible(root: Root, size: u64) -> bool {
    (size == 0) == (root == EMPTY_ROOT) && pieces_of(size) <= PIECES_MAX
}

const _: () = assert!(PIECES_MAX.checked_mul(PIECE_BYTES).is_some());
