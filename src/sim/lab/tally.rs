//! The counts of a laboratory during a measurement.

use crate::config::TTL_MAX;
use crate::wire::LinkMessage;

/// The kinds of messages between super peers, those of queries first.
pub const KINDS: [&str; 9] = ["QUERY", "HIT", "DONE", "PENDING", "CANCEL", "HELLO", "TREE", "DIGEST", "DIGESTED"];
/// How many of [`KINDS`] belong to queries. The others are upkeep.
pub const KINDS_OF_QUERIES: usize = 5;

/// The place of a message in [`KINDS`].
pub(super) fn kind(message: &LinkMessage) -> usize {
    match message {
        LinkMessage::Query(_) => 0,
        LinkMessage::Hit(_) => 1,
        LinkMessage::Done(_) => 2,
        LinkMessage::Pending(_) => 3,
        LinkMessage::Cancel(_) => 4,
        LinkMessage::Hello(_) | LinkMessage::Unknown(_) => 5,
        LinkMessage::Tree(_) => 6,
        LinkMessage::Digest(_) => 7,
        LinkMessage::Digested(_) => 8,
    }
}

/// The counts of one shard.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// Messages sent, by kind.
    pub(super) messages: [u64; KINDS.len()],
    /// Their bytes. The header of a datagram counts for its first message.
    pub(super) bytes: [u64; KINDS.len()],
    /// DONEs that answered a copy as a duplicate.
    pub(super) duplicates: u64,
    /// QUERYs that were sent again.
    pub(super) repeats: u64,
    /// Datagrams that were lost.
    pub(super) lost: u64,
    /// First copies of a query, by the hops that they took.
    pub(super) hops: Vec<u64>,
    /// Messages of any kind that were handled, including those of sessions.
    pub(super) handled: u64,
}

impl Tally {
    pub(super) fn new() -> Tally {
        Tally {
            messages: [0; KINDS.len()],
            bytes: [0; KINDS.len()],
            duplicates: 0,
            repeats: 0,
            lost: 0,
            hops: vec![0; usize::from(TTL_MAX) + 2],
            handled: 0,
        }
    }

    pub(super) fn sent(&mut self, kind: usize, message: &LinkMessage, bytes: usize) {
        self.messages[kind] += 1;
        self.bytes[kind] += bytes as u64;
        if let LinkMessage::Done(done) = message {
            self.duplicates += u64::from(done.dup);
        } else if let LinkMessage::Query(query) = message {
            self.repeats += u64::from(query.have.is_some());
        }
    }

    /// Counts first copies, by the hops that they took.
    pub(super) fn searched(&mut self, hops: u8, times: u64) {
        let place = usize::from(hops).min(self.hops.len() - 1);
        self.hops[place] += times;
    }

    pub(super) fn add(&mut self, other: &Tally) {
        let Tally { messages, bytes, duplicates, repeats, lost, hops, handled } = other;
        for (mine, theirs) in
            [(&mut self.messages[..], &messages[..]), (&mut self.bytes[..], bytes), (&mut self.hops[..], hops)]
        {
            mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine += theirs);
        }
        self.duplicates += duplicates;
        self.repeats += repeats;
        self.lost += lost;
        self.handled += handled;
    }
}
