//! The rules for honest members of a swarm: they announce only pieces on their disks, and their
//! downloads follow the rules. They are checked while the world is watched.

use std::collections::BTreeSet;

use super::World;
use crate::proto::ConnId;
use crate::sim::content::ContentId;
use crate::wire::Message;

impl World {
    /// The pieces of a content that a node can serve: all pieces of a file, or the written pieces
    /// of open part files.
    #[must_use]
    pub fn pieces_held(&self, node: usize, content: ContentId) -> BTreeSet<u32> {
        let pieces = self.nodes[node].disk.pieces_of(self.contents.root(content), &self.contents);
        if self.is_running(node) { pieces } else { BTreeSet::new() }
    }

    pub(super) fn check_downloads(&self, node: usize) {
        if let (Some(_), Some(peer)) = (&self.shadow, self.weak_peer(node)) {
            peer.check_downloads();
        }
    }

    /// Notes which content is followed on a connection to a weak peer.
    pub(super) fn watch_follow(&mut self, node: usize, conn: ConnId, message: &Message) {
        if let (Some(_), Message::Follow(follow)) = (&self.shadow, message) {
            self.follows.insert((node, conn), follow.root);
        }
    }

    /// Checks that a weak peer announces a piece only once the piece is on its disk.
    pub(super) fn watch_has(&self, node: usize, conn: ConnId, message: &Message) {
        let Message::Has(has) = message else { return };
        let Some(root) = self.follows.get(&(node, conn)).filter(|_| self.weak_peer(node).is_some()) else { return };
        let bits = (has.from..).zip(has.bits.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1)));
        let announced = bits.filter(|(_, is_set)| *is_set).map(|(piece, _)| piece).chain(has.add.iter().copied());
        let held = self.nodes[node].disk.pieces_of(*root, &self.contents);
        let missing: Vec<u32> = announced.filter(|piece| !held.contains(piece)).collect();
        assert!(missing.is_empty(), "{node} announces {missing:?} and has {held:?}");
    }
}
