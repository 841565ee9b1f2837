//! HIT and DONE, encoded by hand.
//!
//! A super peer sends hundreds of thousands of them in a second. By `rmp-serde` one HIT with its
//! DONE takes 3,226 instructions, by hand 776, and a query in all some 5,100 (callgrind,
//! examples/hot_path). The names of fields are copied together with the bytes before them. The
//! result has the same bytes as that of `rmp-serde`; tests compare them.

use rmp::encode::{write_array_len, write_str_len, write_uint};

use super::addr::HostPort;
use super::codec::encode_into;
use super::ids::{NodeId, QueryId, Root};
use super::message::{Done, Hit, Message, SourceRecord};
use super::record::{Cut, FileRecord};
use super::swarm::Membership;

const TAKEN: &str = "writing to a Vec cannot fail";

/// Appends a HIT or a DONE of a session; returns false for any other kind.
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
    /// Room for one hit with a name of usual length.
    const HIT_BYTES: usize = 160;
    let Hit { req, hits } = hit;
    out.reserve(HIT_BYTES * hits.len());
    out.extend_from_slice(b"\x81\xa3HIT\x82\xa3req");
    number(out, (*req).into());
    out.extend_from_slice(b"\xa4hits");
    array(out, hits.len());
    for SourceRecord { path, size, root, collection, node, addr, other, unreached, http, member } in hits {
        let present = [*collection, node.is_some(), other.is_some(), *unreached, *http, member.is_some()];
        out.push(0x84 + count(present));
        content(out, path.as_str(), *size, root, *collection);
        if let Some(node) = node {
            out.extend_from_slice(b"\xa1n\xc4\x10");
            out.extend_from_slice(&node.0);
        }
        addresses(out, addr, other.as_ref(), (*unreached, *http));
        membership(out, member.as_deref());
    }
}

fn pack_done(done: &Done, out: &mut Vec<u8>) {
    let Done { req, hits, reached, pruned, complete, cut, ms } = done;
    out.extend_from_slice(if *pruned == 0 { b"\x81\xa4DONE\x86\xa3req" } else { b"\x81\xa4DONE\x87\xa3req" });
    number(out, (*req).into());
    out.extend_from_slice(b"\xa4hits");
    number(out, (*hits).into());
    out.extend_from_slice(b"\xa7reached");
    number(out, (*reached).into());
    if *pruned > 0 {
        out.extend_from_slice(b"\xa6pruned");
        number(out, (*pruned).into());
    }
    out.extend_from_slice(if *complete { b"\xa8complete\xc3\xa3cut" } else { b"\xa8complete\xc2\xa3cut" });
    cuts(out, cut);
    out.extend_from_slice(b"\xa2ms");
    number(out, (*ms).into());
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
    out.extend_from_slice(b"\x81\xa3HIT");
    out.push(0x85 + count([node.is_some(), other.is_some(), unreached, http, member.is_some()]));
    out.extend_from_slice(b"\xa2id\xc4\x10");
    out.extend_from_slice(&id.0);
    out.extend_from_slice(b"\xa3ttl");
    number(out, ttl.into());
    out.extend_from_slice(b"\xa1n");
    number(out, n.into());
    out.extend_from_slice(if *collection { b"\xa1f\x84" } else { b"\xa1f\x83" });
    content(out, path.as_str(), *size, root, *collection);
    if let Some(node) = node {
        out.extend_from_slice(b"\xa4node\xc4\x10");
        out.extend_from_slice(&node.0);
    }
    addresses(out, addr, other, (unreached, http));
    membership(out, member);
}

/// How many optional fields are there.
fn count<const N: usize>(present: [bool; N]) -> u8 {
    present.into_iter().map(u8::from).sum()
}

fn membership(out: &mut Vec<u8>, member: Option<&Membership>) {
    if let Some(member) = member {
        out.extend_from_slice(b"\xa1m");
        encode_into(out, member);
    }
}

/// The fields `a`, `b`, `u` and `http` of a hit.
fn addresses(out: &mut Vec<u8>, addr: &HostPort, other: Option<&HostPort>, (unreached, http): (bool, bool)) {
    out.extend_from_slice(b"\xa1a");
    host_port(out, addr);
    if let Some(other) = other {
        out.extend_from_slice(b"\xa1b");
        host_port(out, other);
    }
    if unreached {
        out.extend_from_slice(b"\xa1u\xc3");
    }
    if http {
        out.extend_from_slice(b"\xa4http\xc3");
    }
}

fn length(n: usize) -> u32 {
    u32::try_from(n).expect("lists and texts are capped far below")
}

#[inline]
fn number(out: &mut Vec<u8>, n: u64) {
    match u8::try_from(n) {
        Ok(small @ ..0x80) => out.push(small),
        Ok(_) | Err(_) => long_number(out, n),
    }
}

fn long_number(out: &mut Vec<u8>, n: u64) {
    if let Ok(byte) = u8::try_from(n) {
        out.extend_from_slice(&[0xcc, byte]);
    } else if let Ok(two) = u16::try_from(n) {
        let [high, low] = two.to_be_bytes();
        out.extend_from_slice(&[0xcd, high, low]);
    } else {
        write_uint(out, n).expect(TAKEN);
    }
}

/// The head of an array of this length.
fn array(out: &mut Vec<u8>, elements: usize) {
    match u8::try_from(elements) {
        Ok(few @ ..0x10) => out.push(0x90 | few),
        Ok(_) | Err(_) => _ = write_array_len(out, length(elements)).expect(TAKEN),
    }
}

/// The head of a text of this length.
fn text(out: &mut Vec<u8>, bytes: usize) {
    match u8::try_from(bytes) {
        Ok(short @ ..0x20) => out.push(0xa0 | short),
        Ok(byte) => out.extend_from_slice(&[0xd9, byte]),
        Err(_) => _ = write_str_len(out, length(bytes)).expect(TAKEN),
    }
}

fn content(out: &mut Vec<u8>, path: &str, size: u64, root: &Root, collection: bool) {
    out.extend_from_slice(b"\xa1p");
    text(out, path.len());
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(b"\xa1s");
    number(out, size);
    out.extend_from_slice(b"\xa1r\xc4\x20");
    out.extend_from_slice(&root.0);
    if collection {
        out.extend_from_slice(b"\xa1c\xc3");
    }
}

fn cuts(out: &mut Vec<u8>, cut: &Cut) {
    if cut.is_none() {
        out.push(0x80);
    } else {
        encode_into(out, cut);
    }
}

/// The same text as `HostPort` displays.
fn host_port(out: &mut Vec<u8>, addr: &HostPort) {
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
    if host.contains(&b':') {
        text(out, host.len() + tail.len() + 2);
        out.push(b'[');
        out.extend_from_slice(host);
        out.push(b']');
    } else {
        text(out, host.len() + tail.len());
        out.extend_from_slice(host);
    }
    out.extend_from_slice(tail);
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;
    use crate::wire::SharePath;
    use crate::wire::link::{LinkHit, LinkMessage};

    fn check_same(message: &impl Serialize, by_hand: impl FnOnce(&mut Vec<u8>) -> bool) {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        assert!(by_hand(&mut ours));
        encode_into(&mut theirs, message);
        assert_eq!(ours, theirs);
    }

    fn check_session(message: &Message) {
        check_same(message, |out| pack(message, out));
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
