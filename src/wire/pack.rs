//! HIT and DONE, encoded by hand.
//!
//! A super peer sends hundreds of thousands of them in a second, so they are not left to
//! `rmp-serde` (`examples/hot_path` counts what a query costs). The names of fields are copied
//! together with the bytes before them. The result has the same bytes as that of `rmp-serde`; tests
//! compare them.

use rmp::encode::{write_array_len, write_str_len};

use super::addr::HostPort;
use super::codec::encode_into;
use super::ids::{NodeId, QueryId, Root};
use super::message::{Done, Hit, Message, SourceRecord};
use super::record::FileRecord;
use super::swarm::Membership;

const TAKEN: &str = "there is room";

/// Appends a HIT or a DONE of a session, after four bytes for the length of its frame, which are
/// left zero. Returns false for any other kind.
pub(super) fn pack(message: &Message, out: &mut Vec<u8>) -> bool {
    if let Message::Hit(hit) = message {
        pack_hit(hit, out);
    } else if let Message::Done(done) = message {
        pack_done(done, out);
    } else {
        return false;
    }
    true
}

fn pack_hit(hit: &Hit, out: &mut Vec<u8>) {
    let Hit { req, hits } = hit;
    let bytes = |hit: &SourceRecord| hit_bytes(hit.path.as_str(), &hit.addr, hit.other.as_ref());
    let mut room = Room::at_end(out, HEAD_BYTES + hits.iter().map(bytes).sum::<usize>());
    room.put(b"\0\0\0\0\x81\xa3HIT\x82\xa3req");
    room.number((*req).into());
    room.put(b"\xa4hits");
    room.array(hits.len());
    for SourceRecord { path, size, root, collection, node, addr, other, unreached, http, member } in hits {
        let names = (other.is_some(), *unreached, *http);
        room.put(&[0x84 + u8::from(*collection) + optional(node.as_ref(), names, member.as_deref())]);
        room.content(path.as_str(), *size, root, *collection);
        if let Some(node) = node {
            room.put(b"\xa1n\xc4\x10");
            room.put(&node.0);
        }
        room.addresses(addr, other.as_ref(), (*unreached, *http));
        if let Some(member) = member {
            room.member(member);
        }
    }
    room.end();
}

fn pack_done(done: &Done, out: &mut Vec<u8>) {
    let Done { req, hits, reached, pruned, complete, cut, ms } = done;
    let mut room = Room::at_end(out, DONE_BYTES);
    let head = if *pruned == 0 { b"\0\0\0\0\x81\xa4DONE\x86\xa3req" } else { b"\0\0\0\0\x81\xa4DONE\x87\xa3req" };
    room.put(head);
    room.number((*req).into());
    room.put(b"\xa4hits");
    room.number((*hits).into());
    room.put(b"\xa7reached");
    room.number((*reached).into());
    if *pruned > 0 {
        room.put(b"\xa6pruned");
        room.number((*pruned).into());
    }
    room.put(if *complete { b"\xa8complete\xc3\xa3cut" } else { b"\xa8complete\xc2\xa3cut" });
    let mut room = if cut.is_none() {
        room.put(b"\x80\xa2ms");
        room
    } else {
        room.end();
        encode_into(out, cut);
        let mut room = Room::at_end(out, DONE_BYTES);
        room.put(b"\xa2ms");
        room
    };
    room.number((*ms).into());
    room.end();
}

/// Appends a HIT of a link.
pub(super) fn pack_link_hit(
    (id, ttl, n): (&QueryId, u8, u32),
    file: &FileRecord,
    node: Option<&NodeId>,
    (addr, other, unreached, http): (&HostPort, Option<&HostPort>, bool, bool),
    member: Option<&Membership>,
    out: &mut Vec<u8>,
) {
    let FileRecord { path, size, root, collection } = file;
    let mut room = Room::at_end(out, HEAD_BYTES + hit_bytes(path.as_str(), addr, other));
    room.put(b"\x81\xa3HIT");
    room.put(&[0x85 + optional(node, (other.is_some(), unreached, http), member)]);
    room.put(b"\xa2id\xc4\x10");
    room.put(&id.0);
    room.put(b"\xa3ttl");
    room.number(ttl.into());
    room.put(b"\xa1n");
    room.number(n.into());
    room.put(if *collection { b"\xa1f\x84" } else { b"\xa1f\x83" });
    room.content(path.as_str(), *size, root, *collection);
    if let Some(node) = node {
        room.put(b"\xa4node\xc4\x10");
        room.put(&node.0);
    }
    room.addresses(addr, other, (unreached, http));
    if let Some(member) = member {
        room.member(member);
    }
    room.end();
}

/// How many optional fields of a source are there.
#[inline]
fn optional(node: Option<&NodeId>, (other, unreached, http): (bool, bool, bool), member: Option<&Membership>) -> u8 {
    let names = u8::from(other) + u8::from(unreached) + u8::from(http);
    names + u8::from(node.is_some()) + u8::from(member.is_some())
}

fn length(n: usize) -> u32 {
    u32::try_from(n).expect("lists and texts are capped far below")
}

/// What comes before the hits, or before the file of a HIT of a link, has at most this many bytes.
const HEAD_BYTES: usize = 64;
/// A DONE without its cuts has at most this many bytes.
const DONE_BYTES: usize = 96;

/// The most bytes of one hit, without what it says of a swarm.
fn hit_bytes(path: &str, addr: &HostPort, other: Option<&HostPort>) -> usize {
    /// All but texts.
    const FIXED_BYTES: usize = 160;
    FIXED_BYTES + path.len() + addr.host().len() + other.map_or(0, |other| other.host().len())
}

/// Room at the end of a buffer, which is written from front to back. So the buffer grows once for
/// many small writes.
struct Room<'a> {
    out: &'a mut Vec<u8>,
    at: usize,
}

impl Room<'_> {
    /// Room for this many bytes; to write more is a mistake, and panics.
    fn at_end(out: &mut Vec<u8>, most: usize) -> Room<'_> {
        let at = out.len();
        out.resize(at + most, 0);
        Room { out, at }
    }

    /// Gives back what was not used.
    fn end(self) {
        self.out.truncate(self.at);
    }

    /// Always inline: the length of a constant is known only in its caller.
    #[inline(always)]
    fn put<const N: usize>(&mut self, bytes: &[u8; N]) {
        self.out[self.at..self.at + N].copy_from_slice(bytes);
        self.at += N;
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// Always inline: most numbers are small, and each of those is a single byte.
    #[inline(always)]
    fn number(&mut self, n: u64) {
        match u8::try_from(n) {
            Ok(small @ ..0x80) => self.put(&[small]),
            Ok(_) | Err(_) => self.long_number(n),
        }
    }

    fn long_number(&mut self, n: u64) {
        if let Ok(byte) = u8::try_from(n) {
            self.put(&[0xcc, byte]);
        } else if let Ok(two) = u16::try_from(n) {
            let [high, low] = two.to_be_bytes();
            self.put(&[0xcd, high, low]);
        } else if let Ok(four) = u32::try_from(n) {
            self.put(&[0xce]);
            self.put(&four.to_be_bytes());
        } else {
            self.put(&[0xcf]);
            self.put(&n.to_be_bytes());
        }
    }

    /// The head of an array of this length.
    fn array(&mut self, elements: usize) {
        match u8::try_from(elements) {
            Ok(few @ ..0x10) => self.put(&[0x90 | few]),
            Ok(_) | Err(_) => self.head(|out| _ = write_array_len(out, length(elements)).expect(TAKEN)),
        }
    }

    /// The head of a text of this length.
    #[inline]
    fn text(&mut self, bytes: usize) {
        match u8::try_from(bytes) {
            Ok(short @ ..0x20) => self.put(&[0xa0 | short]),
            Ok(byte) => self.put(&[0xd9, byte]),
            Err(_) => self.head(|out| _ = write_str_len(out, length(bytes)).expect(TAKEN)),
        }
    }

    /// A head that is rare, by the library.
    #[cold]
    fn head(&mut self, write: impl FnOnce(&mut &mut [u8])) {
        let mut left = &mut self.out[self.at..];
        let before = left.len();
        write(&mut left);
        self.at += before - left.len();
    }

    fn content(&mut self, path: &str, size: u64, root: &Root, collection: bool) {
        self.put(b"\xa1p");
        self.text(path.len());
        self.bytes(path.as_bytes());
        self.put(b"\xa1s");
        self.number(size);
        self.put(b"\xa1r\xc4\x20");
        self.put(&root.0);
        if collection {
            self.put(b"\xa1c\xc3");
        }
    }

    /// The field `m` of a hit, which is rare.
    #[cold]
    fn member(&mut self, member: &Membership) {
        let mut bytes = b"\xa1m".to_vec();
        encode_into(&mut bytes, member);
        // The room has no place for it, so as much is added at its end.
        self.out.resize(self.out.len() + bytes.len(), 0);
        self.bytes(&bytes);
    }

    /// The fields `a`, `b`, `u` and `http` of a hit.
    fn addresses(&mut self, addr: &HostPort, other: Option<&HostPort>, (unreached, http): (bool, bool)) {
        self.put(b"\xa1a");
        self.host_port(addr);
        if let Some(other) = other {
            self.put(b"\xa1b");
            self.host_port(other);
        }
        if unreached {
            self.put(b"\xa1u\xc3");
        }
        if http {
            self.put(b"\xa4http\xc3");
        }
    }

    /// The same text as `HostPort` displays.
    fn host_port(&mut self, addr: &HostPort) {
        let (host, mut port) = (addr.host().as_bytes(), addr.port());
        let mut tail = [b':'; 6];
        let mut first = tail.len();
        while port > 0 || first == tail.len() {
            first -= 1;
            tail[first] = b'0' + u8::try_from(port % 10).expect("a digit");
            port /= 10;
        }
        // The colon is there.
        let tail = &tail[first - 1..];
        if addr.is_bracketed() {
            self.text(host.len() + tail.len() + 2);
            self.put(b"[");
            self.bytes(host);
            self.put(b"]");
        } else {
            self.text(host.len() + tail.len());
            self.bytes(host);
        }
        self.bytes(tail);
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;
    use crate::wire::SharePath;
    use crate::wire::link::{LinkHit, LinkMessage};
    use crate::wire::record::Cut;

    fn check_same(message: &impl Serialize, by_hand: impl FnOnce(&mut Vec<u8>) -> bool) {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        assert!(by_hand(&mut ours));
        encode_into(&mut theirs, message);
        assert_eq!(ours, theirs);
    }

    fn check_session(message: &Message) {
        check_same(message, |out| {
            let taken = pack(message, out);
            assert_eq!(out.drain(..4).as_slice(), [0; 4], "for the length");
            taken
        });
    }

    fn addrs() -> impl Iterator<Item = HostPort> {
        let hosts = ["h", "127.0.0.1", "::1", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"].map(str::to_owned);
        let hosts = hosts.into_iter().chain(["x".repeat(100)]);
        hosts.flat_map(|host| [0, 9, 10, 4777, 65_535].map(|port| HostPort::new(&host, port).unwrap()))
    }

    #[test]
    fn hits_are_packed_as_serde_packs_them() {
        let lengths = [1, 31, 32, 255, 256, 700].into_iter().cycle();
        for (n, (addr, length)) in (0_u32..).zip(addrs().zip(lengths)) {
            let (path, size) = (SharePath::new(&"p".repeat(length)).unwrap(), (1 << (n * 2)) - 1);
            let root = Root([u8::try_from(n).unwrap(); 32]);
            let (collection, node) = (n % 3 == 0, (n % 2 == 0).then_some(NodeId([n as u8; 16])));
            let other = (n % 5 < 3).then(|| HostPort::new("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", 9).unwrap());
            let (unreached, http) = (n % 7 < 4, n % 11 < 5);
            let zone = (n % 6 == 0).then(|| "z".repeat(32));
            let member = (n % 3 < 2).then(|| Box::new(Membership { partial: n % 2 == 0, zone }));
            let (path_too, addr_too, other_too, member_too) =
                (path.clone(), addr.clone(), other.clone(), member.clone());
            let hit = SourceRecord {
                path: path_too,
                size,
                root,
                collection,
                node,
                addr: addr_too,
                other: other_too,
                unreached,
                http,
                member: member_too,
            };
            let hits = Hit { req: 1 << n, hits: vec![hit; n as usize] };
            let file = FileRecord { path, size, root, collection };
            let (id, ttl, n) = (QueryId([9; 16]), u8::MAX, u32::MAX >> n);
            let link = LinkHit { id, ttl, n, file, node, addr, other, unreached, http, member };
            check_session(&Message::Hit(hits));
            let message = LinkMessage::Hit(link.clone());
            check_same(&message, |out| {
                let names = (&link.addr, link.other.as_ref(), link.unreached, link.http);
                let member = link.member.as_deref();
                pack_link_hit((&link.id, link.ttl, link.n), &link.file, link.node.as_ref(), names, member, out);
                true
            });
        }
    }

    #[test]
    fn dones_are_packed_as_serde_packs_them() {
        for n in 0..32 {
            let some = |bit: u32| u32::from(n >> bit & 1 == 1) << n;
            let cut = Cut { ttl: some(0), loss: some(1), down: some(2), cap: some(3), stale: some(4), ..Cut::NONE };
            let complete = cut.is_none();
            let done = Done { req: n, hits: 1 << n, reached: u32::MAX >> n, pruned: some(1), complete, cut, ms: n };
            check_session(&Message::Done(done));
        }
    }
}
