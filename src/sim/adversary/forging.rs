//! A source with a forged manifest: other values, fewer or more values, another size, the right
//! edge of a content that is one byte longer, or inner nodes of the tree in the place of leaves.
//! Such inner nodes merge to the correct root.

use super::hands::Hands;
use super::source::{Goods, Way};
use crate::config::PIECE_BYTES;
use crate::proto::ConnId;
use crate::proto::disk::Edge;
use crate::sim::random::Random;
use crate::wire::Message;
use crate::wire::message::{Cvs, Get, Manifest};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Forgery {
    Value,
    Shorter,
    Longer,
    Size,
    /// A size that is one byte too large, and the right edge with this byte.
    Edge,
    /// The two values below the root, sent as the manifest of a content of two pieces.
    Nodes,
}

/// The source that forges.
#[derive(Debug)]
pub(in crate::sim) struct Forging(Forgery);

impl Forging {
    pub(in crate::sim) fn new(random: &mut Random) -> Forging {
        let all = [Forgery::Value, Forgery::Shorter, Forgery::Longer, Forgery::Size, Forgery::Edge, Forgery::Nodes];
        Forging(*random.pick(&all))
    }

    /// `edge` is the true right edge, if there is one.
    fn forge(&self, page: &mut Cvs, edge: Option<Edge>) {
        match self.0 {
            Forgery::Value => page.cvs.iter_mut().take(1).for_each(|byte| *byte ^= 1),
            Forgery::Shorter => page.cvs.truncate(page.cvs.len().saturating_sub(32)),
            Forgery::Longer => page.cvs.extend([7; 32]),
            Forgery::Size => page.size += 1,
            Forgery::Edge => {
                page.size += 1;
                if let Some(Edge { mut tail, left }) = edge {
                    tail.push(0);
                    (page.tail, page.left) = (tail, left);
                }
            }
            Forgery::Nodes => {
                let cvs: Vec<[u8; 32]> = page.cvs.as_chunks::<32>().0.to_vec();
                if let [first, second, rest @ ..] = cvs.as_slice()
                    && !rest.is_empty()
                {
                    let merge = blake3::hazmat::merge_subtrees_non_root;
                    let node = merge(first, second, blake3::hazmat::Mode::Hash);
                    page.cvs = [node, rest[0]].concat();
                    page.size = 2 * PIECE_BYTES;
                }
            }
        }
    }
}

impl Way for Forging {
    fn name(&self) -> &'static str {
        "forged_manifest"
    }

    fn on_manifest(&mut self, conn: ConnId, ask: &Manifest, goods: Goods, hands: &mut Hands<'_>) {
        let mut page = hands.page(ask, goods.right);
        let edge = hands.contents.edge(goods.right);
        self.forge(&mut page, edge);
        hands.struck(self.name());
        hands.send(conn, Message::Cvs(page));
    }

    fn on_get(&mut self, conn: ConnId, get: &Get, goods: Goods, hands: &mut Hands<'_>) {
        hands.chunk(conn, get, goods.right, None);
    }
}
