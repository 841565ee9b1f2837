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
    let mut most = HEAD_BYTES;
    for hit in hits {
        most += hit_bytes(hit.path.as_str(), &hit.addr, hit.other.as_ref(), hit.member.as_deref());
    }
    let mut room = room_for(out, most);
    room = put(room, b"\0\0\0\0\x81\xa3HIT\x82\xa3req");
    room = number(room, (*req).into());
    room = put(room, b"\xa4hits");
    room = array(room, hits.len());
    for SourceRecord { path, size, root, collection, node, addr, other, unreached, http, member } in hits {
        let names = (other.is_some(), *unreached, *http);
        let fields = 0x84 + u8::from(*collection) + optional(node.as_ref(), names, member.as_deref());
        room = content(put(room, &[fields, 0xa1, b'p']), path.as_str(), *size, root, *collection);
        if let Some(NodeId(node)) = node {
            room = put_two::<4, 16, 20>(room, b"\xa1n\xc4\x10", node);
        }
        room = addresses(room, addr, other.as_ref(), (*unreached, *http));
        if let Some(member) = member {
            room = put_member(room, member);
        }
    }
    let left = room.len();
    out.truncate(out.len() - left);
}

fn pack_done(done: &Done, out: &mut Vec<u8>) {
    let Done { req, hits, reached, pruned, complete, cut, ms } = done;
    let mut room = room_for(out, DONE_BYTES);
    room =
        put(room, if *pruned == 0 { b"\0\0\0\0\x81\xa4DONE\x86\xa3req" } else { b"\0\0\0\0\x81\xa4DONE\x87\xa3req" });
    room = number(room, (*req).into());
    room = put(room, b"\xa4hits");
    room = number(room, (*hits).into());
    room = put(room, b"\xa7reached");
    room = number(room, (*reached).into());
    if *pruned > 0 {
        room = put(room, b"\xa6pruned");
        room = number(room, (*pruned).into());
    }
    if *complete && cut.is_none() {
        room = put(room, b"\xa8complete\xc3\xa3cut\x80\xa2ms");
    } else {
        room = put(room, if *complete { b"\xa8complete\xc3\xa3cut" } else { b"\xa8complete\xc2\xa3cut" });
        let left = room.len();
        out.truncate(out.len() - left);
        encode_into(out, cut);
        room = put(room_for(out, DONE_BYTES), b"\xa2ms");
    }
    room = number(room, (*ms).into());
    let left = room.len();
    out.truncate(out.len() - left);
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
    let mut room = room_for(out, HEAD_BYTES + hit_bytes(path.as_str(), addr, other, member));
    room = put(room, b"\x81\xa3HIT");
    room = put(room, &[0x85 + optional(node, (other.is_some(), unreached, http), member)]);
    room = put_two::<5, 16, 21>(room, b"\xa2id\xc4\x10", &id.0);
    room = put(room, b"\xa3ttl");
    room = number(room, ttl.into());
    room = put(room, b"\xa1n");
    room = number(room, n.into());
    room = put(room, if *collection { b"\xa1f\x84\xa1p" } else { b"\xa1f\x83\xa1p" });
    room = content(room, path.as_str(), *size, root, *collection);
    if let Some(NodeId(node)) = node {
        room = put_two::<7, 16, 23>(room, b"\xa4node\xc4\x10", node);
    }
    room = addresses(room, addr, other, (unreached, http));
    if let Some(member) = member {
        room = put_member(room, member);
    }
    let left = room.len();
    out.truncate(out.len() - left);
}

/// How many optional fields of a source are there.
#[inline(always)]
fn optional(node: Option<&NodeId>, (other, unreached, http): (bool, bool, bool), member: Option<&Membership>) -> u8 {
    let names = u8::from(other) + u8::from(unreached) + u8::from(http);
    names + u8::from(node.is_some()) + u8::from(member.is_some())
}

fn length(n: usize) -> u32 {
    u32::try_from(n).expect("lists and texts are capped far below")
}

/// What comes before the hits, or before the file of a HIT of a link, has at most this many bytes.
const HEAD_BYTES: usize = 48;
/// A DONE without its cuts has at most this many bytes.
const DONE_BYTES: usize = 80;

/// The most bytes of one hit.
#[inline(always)]
fn hit_bytes(path: &str, addr: &HostPort, other: Option<&HostPort>, member: Option<&Membership>) -> usize {
    /// All but texts: at most 111, and 8 for the last write of an address.
    const FIXED_BYTES: usize = 120;
    let other = other.map_or(0, |other| other.host().len());
    FIXED_BYTES + path.len() + addr.host().len() + other + member.map_or(0, member_bytes)
}

#[cold]
fn member_bytes(member: &Membership) -> usize {
    /// All but the name of the zone.
    const FIXED_BYTES: usize = 32;
    FIXED_BYTES + member.zone.as_ref().map_or(0, String::len)
}

/// Room for this many bytes at the end of a buffer, so that the buffer grows once for many small
/// writes. Each of the functions below writes to the front of it and returns the rest: two
/// registers, and one comparison for each write. To write more is a mistake, and panics.
#[inline(always)]
fn room_for(out: &mut Vec<u8>, most: usize) -> &mut [u8] {
    /// To copy these is less work than to resize the buffer.
    static ZEROS: [u8; 512] = [0; 512];
    let at = out.len();
    match ZEROS.get(..most) {
        Some(zeros) => out.extend_from_slice(zeros),
        None => out.resize(at + most, 0),
    }
    &mut out[at..]
}

#[cold]
#[inline(never)]
fn no_room() -> ! {
    panic!("a message has more bytes than the room for it")
}

/// Always inline: the length of a constant is known only in its caller.
#[inline(always)]
fn put<'a, const N: usize>(room: &'a mut [u8], bytes: &[u8; N]) -> &'a mut [u8] {
    let Some((place, rest)) = room.split_first_chunk_mut() else { no_room() };
    *place = *bytes;
    rest
}

/// Two constants of bytes, with one comparison for both.
#[inline(always)]
fn put_two<'a, const A: usize, const B: usize, const BOTH: usize>(
    room: &'a mut [u8],
    first: &[u8; A],
    second: &[u8; B],
) -> &'a mut [u8] {
    const { assert!(A + B == BOTH) };
    let Some((place, rest)) = room.split_first_chunk_mut::<BOTH>() else { no_room() };
    place[..A].copy_from_slice(first);
    place[A..].copy_from_slice(second);
    rest
}

#[inline(always)]
fn put_bytes<'a>(room: &'a mut [u8], bytes: &[u8]) -> &'a mut [u8] {
    let Some((place, rest)) = room.split_at_mut_checked(bytes.len()) else { no_room() };
    place.copy_from_slice(bytes);
    rest
}

/// Always inline: most numbers have one byte, or two after their head.
#[inline(always)]
fn number(room: &mut [u8], n: u64) -> &mut [u8] {
    let [low, high, ..] = n.to_le_bytes();
    if n < 0x80 {
        put(room, &[low])
    } else if (0x100..0x1_0000).contains(&n) {
        put(room, &[0xcd, high, low])
    } else {
        long_number(room, n)
    }
}

fn long_number(room: &mut [u8], n: u64) -> &mut [u8] {
    if let Ok(byte) = u8::try_from(n) {
        put(room, &[0xcc, byte])
    } else if let Ok(four) = u32::try_from(n) {
        put_two::<1, 4, 5>(room, &[0xce], &four.to_be_bytes())
    } else {
        put_two::<1, 8, 9>(room, &[0xcf], &n.to_be_bytes())
    }
}

/// The head of an array of this length.
#[inline(always)]
fn array(room: &mut [u8], elements: usize) -> &mut [u8] {
    match u8::try_from(elements) {
        Ok(few @ ..0x10) => put(room, &[0x90 | few]),
        Ok(_) | Err(_) => long_head(room, |left| _ = write_array_len(left, length(elements)).expect(TAKEN)),
    }
}

/// The head of a text of this length.
#[inline(always)]
fn text(room: &mut [u8], bytes: usize) -> &mut [u8] {
    match u8::try_from(bytes) {
        Ok(short @ ..0x20) => put(room, &[0xa0 | short]),
        Ok(byte) => put(room, &[0xd9, byte]),
        Err(_) => long_head(room, |left| _ = write_str_len(left, length(bytes)).expect(TAKEN)),
    }
}

/// A head that is rare, by the library.
#[cold]
fn long_head(mut room: &mut [u8], write: impl FnOnce(&mut &mut [u8])) -> &mut [u8] {
    write(&mut room);
    room
}

/// The value of the field `p`, and the fields `s`, `r` and `c`.
fn content<'a>(room: &'a mut [u8], path: &str, size: u64, root: &Root, collection: bool) -> &'a mut [u8] {
    let room = put_bytes(text(room, path.len()), path.as_bytes());
    let room = number(put(room, b"\xa1s"), size);
    let room = put_two::<4, 32, 36>(room, b"\xa1r\xc4\x20", &root.0);
    if collection { put(room, b"\xa1c\xc3") } else { room }
}

/// The field `m` of a hit, which is rare.
#[cold]
fn put_member<'a>(room: &'a mut [u8], member: &Membership) -> &'a mut [u8] {
    let mut bytes = b"\xa1m".to_vec();
    encode_into(&mut bytes, member);
    put_bytes(room, &bytes)
}

/// The fields `a`, `b`, `u` and `http` of a hit.
#[inline(always)]
fn addresses<'a>(
    room: &'a mut [u8],
    addr: &HostPort,
    other: Option<&HostPort>,
    (unreached, http): (bool, bool),
) -> &'a mut [u8] {
    let mut room = host_port(put(room, b"\xa1a"), addr);
    if let Some(other) = other {
        room = host_port(put(room, b"\xa1b"), other);
    }
    if unreached {
        room = put(room, b"\xa1u\xc3");
    }
    if http {
        room = put(room, b"\xa4http\xc3");
    }
    room
}

/// The same text as `HostPort` displays.
fn host_port<'a>(room: &'a mut [u8], addr: &HostPort) -> &'a mut [u8] {
    let (host, mut port) = (addr.host().as_bytes(), addr.port());
    // The colon and the digits, the first one in the lowest byte.
    let (mut tail, mut length) = (0, 1);
    while port > 0 || length == 1 {
        tail = (tail << 8) | u64::from(b'0' + u8::try_from(port % 10).expect("a digit"));
        length += 1;
        port /= 10;
    }
    tail = (tail << 8) | u64::from(b':');
    let room = if addr.is_bracketed() {
        let room = put(text(room, host.len() + length + 2), b"[");
        put(put_bytes(room, host), b"]")
    } else {
        put_bytes(text(room, host.len() + length), host)
    };
    // A few bytes more than it has: one write of a constant length.
    let Some(place) = room.first_chunk_mut() else { no_room() };
    *place = tail.to_le_bytes();
    &mut room[length..]
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
