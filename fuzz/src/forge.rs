//! Messages and records with fields drawn from few values, so that they often refer to each other.

use sprat::wire::link::{
    LinkDigest, LinkDigested, LinkDone, LinkHello, LinkHit, LinkQuery, LinkRef, LinkTree, TreeName, TreeStep,
};
use sprat::wire::message::{
    Enroll, Enrolled, Mode, Revoked, RevokedKey,
    Ack, Bye, Cancel, Chunk, Cvs, Done, Error, ErrorCode, Files, Get, Hello, Hit, Info, List, ListedFile, Login,
    Manifest, Ping, Query, Reach, Ready, Register, SourceRecord, Status, Subscribe, Update, Welcome,
};
use sprat::wire::swarm::{FEATURE_SWARM, Follow, Gateway, Has, Join, Leave, Member, Peers, Turn, Want};
use sprat::wire::{
    KeyBytes,
    Cut, FileRecord, HostPort, LinkMessage, Md5, Message, NodeId, Policy, QueryId, QueryKind, Root, Search, SharePath,
    WireError, frame,
};

use crate::Dice;

const EDGES: [u32; 8] = [0, 1, 2, 3, 7, 999, 1000, u32::MAX];
const WIDE: [u64; 8] = [0, 1, 2, 1 << 20, (3 << 20) + 5, u32::MAX as u64, 1 << 40, u64::MAX];
const PATHS: [&str; 8] = ["a", "b", "x/a", "a b.txt", "\u{1b}[2J", "a/..b", "Ä.flac", "file.bin"];
const PATTERNS: [&str; 8] = ["a", "b", "a*", "*", "zz", "[", "a b", "?"];

const POLICIES: [Policy; 5] = [Policy::Flood, Policy::Digest, Policy::Ring, Policy::Tree, Policy::Unknown];

pub fn edge(dice: &mut Dice<'_>) -> u32 {
    dice.pick(&EDGES)
}

pub fn path(dice: &mut Dice<'_>) -> SharePath {
    let known = dice.pick(&PATHS);
    let drawn = if dice.one_in(6) { String::from_utf8_lossy(dice.bytes(60)).into_owned() } else { known.into() };
    SharePath::new(&drawn).or_else(|| SharePath::new(known)).expect("it is allowed")
}

pub fn root(dice: &mut Dice<'_>) -> Root {
    Root([dice.below(4) as u8; 32])
}

pub fn file(dice: &mut Dice<'_>) -> FileRecord {
    FileRecord { path: path(dice), size: dice.pick(&WIDE), root: root(dice), collection: dice.one_in(9) }
}

fn files(dice: &mut Dice<'_>) -> Vec<FileRecord> {
    (0..dice.below(5)).map(|_| file(dice)).collect()
}

pub fn search(dice: &mut Dice<'_>) -> Search {
    let kind = dice.pick(&[
        QueryKind::Words,
        QueryKind::Exact,
        QueryKind::Glob,
        QueryKind::Root,
        QueryKind::Range,
        QueryKind::Path,
        QueryKind::Below,
        QueryKind::Unknown,
    ]);
    let pattern = match kind {
        QueryKind::Root => root(dice).to_string(),
        QueryKind::Range => dice.pick(&["-", "00-01", "0101-", "01-00", "x"]).to_owned(),
        _ => dice.pick(&PATTERNS).to_owned(),
    };
    let some = |dice: &mut Dice<'_>| dice.one_in(5).then(|| dice.pick(&WIDE));
    let (min, max) = (some(dice), some(dice));
    Search { pattern, kind, min, max, limit: dice.one_in(4).then(|| edge(dice)), within: within(dice).map(Into::into), partial: false, user: dice.one_in(8).then(|| "ann".to_owned().into()) }
}

fn within(dice: &mut Dice<'_>) -> Option<String> {
    dice.one_in(5).then(|| dice.pick(&["-", "00-01", "01-", "x"]).to_owned())
}

fn node_id(dice: &mut Dice<'_>) -> NodeId {
    NodeId([dice.below(3) as u8; 16])
}

pub fn addr(dice: &mut Dice<'_>) -> HostPort {
    HostPort::new(dice.pick(&["192.0.2.9", "2001:db8::1", "host.example"]), 100 + dice.below(4) as u16)
        .expect("literal")
}

fn cut(dice: &mut Dice<'_>) -> Cut {
    if dice.one_in(3) { Cut { ttl: edge(dice), cap: edge(dice), shed: edge(dice), ..Cut::NONE } } else { Cut::NONE }
}

fn text(dice: &mut Dice<'_>) -> String {
    if dice.one_in(4) { String::from_utf8_lossy(dice.bytes(80)).into_owned() } else { "why".into() }
}

/// Any message of a session or a chunk connection. `req` is a number that may be in use.
pub fn message(dice: &mut Dice<'_>, req: u32, seq: u64) -> Message {
    let version = if dice.one_in(20) { [2, 0] } else { [1, 0] };
    let node = NodeId([dice.below(3) as u8; 16]);
    let some = |dice: &mut Dice<'_>| dice.one_in(3).then(|| u64::from(edge(dice)));
    match dice.below(35) {
        0 => Message::Hello(Hello { version, node, boot: dice.any(), features: features(dice), agent: text(dice) }),
        1 => {
            let (ping, frame) = (dice.pick(&[30_000, 0, 1, 1000, u32::MAX]), edge(dice));
            let addr = addr(dice);
            let mode = dice.pick(&[Mode::Open, Mode::Open, Mode::Login, Mode::Unknown]);
            let rotation = dice.one_in(4).then(|| dice.bytes(100).to_vec());
            Message::Welcome(Welcome {
                version, node, boot: dice.any(), features: features(dice), ping, frame, addr, mode, rotation
            })
        }
        2 => {
            let mode = dice.pick(&[Mode::Open, Mode::Open, Mode::Login, Mode::Unknown]);
            Message::Login(Login { mode, credential: dice.one_in(9).then(|| dice.bytes(9).to_vec()) })
        }
        3 => Message::Ready(Ready { operators: (0..dice.below(3)).map(|_| KeyBytes(root(dice).0)).collect(), credential: dice.one_in(4).then(|| dice.bytes(60).to_vec()) }),
        23 => Message::Enroll(Enroll { user: text(dice), token: dice.bytes(20).to_vec() }),
        24 => Message::Enrolled(Enrolled { credential: dice.bytes(100).to_vec() }),
        25 => {
            let list = (0..dice.below(4)).map(|_| RevokedKey { key: KeyBytes(root(dice).0), at: dice.pick(&WIDE) }).collect();
            Message::Revoked(Revoked { list })
        }
        26..=32 => swarm_message(dice, req),
        4 => {
            let port = dice.pick(&[4778, 1, 0]);
            let host = dice.one_in(6).then(|| dice.pick(&["peer.example", "-", "", "::1"]).to_owned());
            let more_addr = dice.one_in(6).then(|| dice.pick(&["2001:db8::9", "192.0.2.9", "::", "x"]).to_owned());
            let http = dice.one_in(2);
            Message::Register(Register { seq, port, host, more_addr, http, files: files(dice), more: dice.one_in(4) })
        }
        5 => Message::Update(Update { seq, add: files(dice), del: (0..dice.below(4)).map(|_| path(dice)).collect() }),
        6 => Message::Ack(Ack { seq, files: dice.any() }),
        7 | 8 => {
            let (ttl, budget) = (some(dice).map(|ttl| ttl as u8), some(dice).map(|budget| budget as u32));
            {
                let policy = dice.one_in(3).then(|| dice.pick(&POLICIES));
                Message::Query(Query { req, find: search(dice), ttl, budget, policy })
            }
        }
        9 => {
            let record = |dice: &mut Dice<'_>| SourceRecord {
                path: path(dice),
                size: dice.pick(&WIDE),
                root: root(dice),
                collection: dice.one_in(9),
                node: dice.one_in(2).then(|| node_id(dice)),
                addr: addr(dice),
                other: dice.one_in(3).then(|| addr(dice)),
                unreached: dice.one_in(3),
                http: dice.one_in(3), member: None,
            };
            Message::Hit(Hit { req, hits: (0..dice.below(5)).map(|_| record(dice)).collect() })
        }
        10 => {
            let (hits, reached, complete, ms) = (edge(dice), edge(dice), dice.any(), edge(dice));
            Message::Done(Done { req, hits, reached, pruned: edge(dice), complete, cut: cut(dice), ms })
        }
        11 => Message::List(List { req, after: some(dice), partial: false }),
        12 => {
            let listed = |dice: &mut Dice<'_>| ListedFile {
                path: path(dice),
                size: dice.pick(&WIDE),
                root: root(dice),
                collection: dice.one_in(4),
                holders: edge(dice), partial: 0,
            };
            Message::Files(Files { req, files: (0..dice.below(4)).map(|_| listed(dice)).collect(), next: some(dice) })
        }
        13 => match dice.one_in(3) {
            true => Message::Subscribe(Subscribe { req, find: search(dice) }),
            false => Message::Status(Status { req }),
        },
        14 => Message::Info(Info { req, agent: text(dice), counts: [("sessions".into(), dice.any())].into(), ..Info::default() }),
        15 => Message::Ping(Ping { n: req }),
        16 => match dice.one_in(2) {
            true => Message::Pong(Ping { n: req }),
            false => Message::Reach(Reach { ok: dice.one_in(2), addr: addr(dice), why: dice.one_in(2).then(|| "why".to_owned()) }),
        },
        17 => Message::Bye(Bye { why: text(dice) }),
        18 => {
            let code = ErrorCode(dice.below(16) as u16);
            Message::Error(Error::new(code, text(dice), (!dice.one_in(4)).then_some(req)))
        }
        19 => Message::Get(Get {
            req,
            root: root(dice),
            offset: dice.pick(&WIDE),
            length: length(dice),
            bare: dice.any(),
        }),
        20 => {
            let (offset, length) = (dice.pick(&WIDE), length(dice));
            Message::Chunk(Chunk {
                req,
                offset,
                length,
                md5: (!dice.one_in(3)).then(|| Md5([dice.below(2) as u8; 16])),
            })
        }
        21 => Message::Manifest(Manifest { req, root: root(dice), first: edge(dice) }),
        22 => {
            let (size, first) = (dice.pick(&WIDE), edge(dice));
            let cvs = vec![dice.any(); dice.pick(&[0, 31, 32, 96, 128, 32 * 1024])];
            Message::Cvs(Cvs { req, size, first, cvs, ..Cvs::default() })
        }
        _ if dice.one_in(4) => Message::Unknown("NEW".into()),
        _ => Message::Cancel(Cancel { req }),
    }
}

/// Any message of a swarm.
fn swarm_message(dice: &mut Dice<'_>, req: u32) -> Message {
    let root = root(dice);
    let zone = dice.one_in(3).then(|| dice.pick(&["a", "b"]).to_owned());
    let some = |dice: &mut Dice<'_>| -> Vec<u32> { (0..dice.below(4)).map(|_| edge(dice)).collect() };
    match dice.below(7) {
        0 => {
            let (size, path) = (dice.pick(&WIDE), dice.one_in(3).then(|| path(dice)));
            Message::Join(Join { req, root, size, path, full: dice.one_in(3), zone, short: dice.one_in(3) })
        }
        1 => Message::Leave(Leave { req }),
        2 => {
            let member = |dice: &mut Dice<'_>| Member {
                node: dice.one_in(2).then(|| node_id(dice)),
                addr: addr(dice),
                other: dice.one_in(3).then(|| addr(dice)),
                full: dice.one_in(2),
                out: dice.one_in(3),
                unreached: dice.one_in(3),
            };
            let peers = (0..dice.below(4)).map(|_| member(dice)).collect();
            let gateway = dice.one_in(3).then_some(Gateway { number: 1, of: 4 });
            Message::Peers(Peers { req, peers, n: edge(dice), full: edge(dice), gateway })
        }
        3 => Message::Follow(Follow { req, root, zone }),
        4 => {
            let (from, bits) = (dice.pick(&[0, 8, 3, 800, u32::MAX]), vec![dice.any(); dice.below(9)]);
            let (add, gone) = (some(dice), some(dice));
            Message::Has(Has { req, full: dice.one_in(3), from, bits, add, gone, manifest: dice.one_in(2), zone })
        }
        5 => Message::Want(Want { req, n: dice.pick(&[0, 1, 4, 255]), need: dice.one_in(3) }),
        _ => Message::Turn(Turn { req, next: some(dice) }),
    }
}

/// The features of a HELLO or WELCOME.
pub fn features(dice: &mut Dice<'_>) -> Vec<String> {
    dice.one_in(2).then(|| FEATURE_SWARM.to_owned()).into_iter().collect()
}

/// A frame with any body that the decoder accepts under this cap.
pub fn raw_frame(dice: &mut Dice<'_>, cap: usize) -> Result<Option<Message>, WireError> {
    let body = dice.bytes(400);
    let framed = [&(body.len() as u32).to_be_bytes(), body].concat();
    frame::decode(&framed, cap).map(|taken| taken.map(|(message, _)| message))
}

/// Files that are added and removed. The first message of a session is its complete list.
pub fn update(dice: &mut Dice<'_>, seq: u64) -> Message {
    let add = files(dice);
    match seq {
        1 => Message::Register(Register { seq, port: 4778, host: None, more_addr: None, http: false, files: add, more: false }),
        _ => Message::Update(Update { seq, add, del: (0..dice.below(3)).map(|_| path(dice)).collect() }),
    }
}

fn length(dice: &mut Dice<'_>) -> u32 {
    dice.pick(&[1 << 20, 5, 1, 0, (1 << 20) + 1, u32::MAX])
}

/// A step of a digest, or an answer to one.
pub fn digest(dice: &mut Dice<'_>) -> LinkMessage {
    let (epoch, step) = (dice.below(3) as u64, dice.pick(&[0, 1, 2, 3, 4, u64::MAX]));
    if dice.one_in(4) {
        return LinkMessage::Digested(LinkDigested { epoch, step });
    }
    let size = dice.one_in(2).then(|| dice.pick(&[10, 11, 13, 0, 9, 25, 26, 255]));
    let links = dice.one_in(2).then(|| dice.pick(&[0, 1, 3, u16::MAX]));
    let at = dice.pick(&[0, 0, 0, 128, 1024, 127, u32::MAX]);
    let fill: u8 = dice.pick(&[0, 1, 255]);
    let bits = vec![fill; dice.pick(&[0, 128, 256, 1024, 1, 1025])];
    // Keys of eight bytes, or malformed ones.
    let keys = if dice.one_in(3) { dice.bytes(72).to_vec() } else { vec![] };
    let bits = if keys.is_empty() { bits } else { vec![] };
    LinkMessage::Digest(LinkDigest { epoch, step, size, links, at, bits, keys, ok: dice.one_in(2) })
}

/// Any message between super peers. The boot ids are those that occur: ours, and one of the
/// neighbor.
pub fn link_message(dice: &mut Dice<'_>, ours: u64, theirs: u64, ids: &[QueryId]) -> LinkMessage {
    let id = match ids {
        [] => QueryId([dice.below(6) as u8; 16]),
        _ if dice.one_in(3) => QueryId([dice.below(6) as u8; 16]),
        ids => dice.pick(ids),
    };
    let ttl = dice.pick(&[0, 1, 2, 3, 6, 7, 63, 64, 65, 255]);
    let tree = |dice: &mut Dice<'_>| TreeName {
        root: NodeId([dice.pick(&[9, 0, 1]); 16]),
        boot: if dice.one_in(2) { ours } else { theirs },
        epoch: dice.below(4) as u64,
    };
    match dice.below(14) {
        0 => {
            let node = NodeId([dice.below(3) as u8; 16]);
            let boot = if dice.one_in(4) { dice.below(3) as u64 } else { theirs };
            let echo = if dice.one_in(8) { dice.below(2) as u64 } else { ours };
            let et = dice.one_in(2).then(|| dice.any());
            let tree = dice.one_in(2).then(|| tree(dice));
            let dg = dice.one_in(2).then(|| dice.pick(&[25, 10, 0, 255]));
            let de = dice.one_in(2).then(|| dice.below(3) as u64);
            LinkMessage::Hello(LinkHello {
                node,
                boot,
                echo,
                t: dice.any(),
                et,
                tree,
                whole: dice.one_in(2),
                dg,
                de,
                fold: dice.one_in(2).then(|| dice.pick(&[0, 1, 2])),
            })
        }
        1..=3 => {
            let have = dice.one_in(3).then(|| (0..dice.below(4)).map(|_| (edge(dice), edge(dice))).collect());
            let (hops, budget) = (edge(dice) as u8, dice.pick(&[0, 1, 50, 3000, u32::MAX]));
            let tree = dice.one_in(3).then(|| tree(dice));
            let (flood, again) = (dice.one_in(4), dice.one_in(4));
            LinkMessage::Query(LinkQuery { id, ttl, hops, budget, find: search(dice), have, flood, tree, again })
        }
        4 | 5 => LinkMessage::Hit(LinkHit {
            id,
            ttl,
            n: edge(dice),
            file: file(dice),
            node: dice.one_in(2).then(|| node_id(dice)),
            addr: addr(dice),
            other: dice.one_in(3).then(|| addr(dice)),
            unreached: dice.one_in(3),
            http: dice.one_in(3), member: None,
        }),
        6 | 7 => {
            let (hits, reached, pruned, uncut) = (edge(dice), edge(dice), edge(dice), dice.pick(&[0, 0, 1, u32::MAX]));
            LinkMessage::Done(LinkDone {
                id,
                ttl,
                hits,
                reached,
                pruned,
                cut: cut(dice),
                dup: dice.one_in(4),
                more: dice.any(),
                uncut,
                cut_tag: edge(dice).into(),
                uncut_tag: edge(dice).into(),
            })
        }
        8 => LinkMessage::Pending(LinkRef { id, ttl }),
        9 => {
            use TreeStep::{Grow, Held, Keep, Mine, Other, Unknown, Void, Wait, Whole};
            let step = dice.pick(&[Grow, Wait, Mine, Other, Keep, Held, Whole, Void, Unknown]);
            LinkMessage::Tree(LinkTree { tree: tree(dice), step, n: edge(dice) })
        }
        10..=12 => digest(dice),
        _ => LinkMessage::Cancel(LinkRef { id, ttl }),
    }
}
