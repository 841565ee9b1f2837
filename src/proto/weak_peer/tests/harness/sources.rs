//! Sources: weak peers that hold the content, some of which misbehave.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::content::{cv, md5_of};
use super::{End, Happening, LATENCY, World, addr};
use crate::config::{MANIFEST_PAGE_CVS, PIECE_BYTES};
use crate::proto::disk::Edge;
use crate::proto::weak_peer::download::manifest::edge_of;
use crate::proto::{ConnId, Digests, HashPlan, Input, PayloadId, Verify, pieces_of};
use crate::wire::Message;
use crate::wire::ids::Cv;
use crate::wire::message::{Chunk, Cvs, Error, ErrorCode, SourceRecord};
use crate::wire::swarm::{FEATURE_SWARM, Has, Turn};

/// The behavior of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto::weak_peer::tests) enum Manner {
    Honest,
    /// Flips a bit of every piece, and sends the MD5 of the flipped bytes.
    Lies,
    /// This many of its first chunks are damaged on the way.
    Damaged(u32),
    /// Sends correct bytes with a wrong MD5.
    WrongMd5,
    /// Sends a manifest that merges to another root.
    WrongManifest,
    /// Sends pieces, but never the manifest.
    NoManifest,
    /// Sends this many pieces and then nothing.
    StallsAfter(u32),
    /// Sends half of a piece, and then nothing.
    StopsHalfway,
    NotFound,
    /// Answers with another range.
    OtherRange,
    /// Refuses every connection with BUSY.
    Busy,
    /// Refuses every connection with another ERROR.
    Refuses,
    /// Sends one byte of each payload every 1.9 s.
    Drips,
    /// Sends all of a payload except its last eighth.
    StopsAtTheEnd,
    /// Sends a header and closes.
    ClosesAfterHeader,
    /// Answers each request for a chunk with a page of the manifest.
    PageForChunk,
    /// Answers every request with an ERROR after which it may be asked again.
    Fails,
    /// Accepts connections, and sends only what a test makes it send.
    Silent,
    /// Sends WELCOME only after 3 s.
    Late,
    /// Its address drops all packets.
    Nowhere,
    /// Sends a manifest of two values that merges to the root: inner nodes of four pieces.
    Shorter,
    /// States a size that is one byte too large.
    Longer,
    /// States 2^40 bytes. Sends one page of the manifest at once, and another one every 2 s, but no
    /// piece.
    Endless,
    /// States this size. Sends pages of the manifest at its rate, but no piece.
    Pages(u64),
    /// Has the feature of swarms, and does not answer FOLLOW.
    Unheard,
    /// Has the feature of swarms and all pieces, and gives no turn.
    NoTurns,
    /// Has the feature of swarms and all pieces, and gives 100 turns for each that is requested.
    TurnFlood,
    /// Has the feature of swarms and only the first eight pieces, and gives each turn at once
    /// without advice.
    Part,
    /// Has the feature of swarms, and no piece.
    Empty,
    /// Has the feature of swarms and all pieces, and refuses FOLLOW with BUSY.
    Crowded,
    /// Has the feature of swarms and the manifest but no piece, and refuses FOLLOW with BUSY.
    CrowdedEmpty,
    /// Has the feature of swarms, announces the first four pieces after a while, and sends nothing.
    Boasts,
    /// Has the feature of swarms, states a size that is one byte too large, and proves it with a
    /// right edge that has this byte.
    FalseEdge,
}

impl Manner {
    fn knows_swarms(self) -> bool {
        let plain = matches!(self, Manner::Unheard | Manner::NoTurns | Manner::Part | Manner::Empty | Manner::Crowded);
        plain || matches!(self, Manner::CrowdedEmpty | Manner::Boasts | Manner::FalseEdge | Manner::TurnFlood)
    }
}

pub(in crate::proto::weak_peer::tests) struct Source {
    pub(in crate::proto::weak_peer::tests) manner: Manner,
    pub(in crate::proto::weak_peer::tests) alive: bool,
    /// Bytes per second.
    pub(in crate::proto::weak_peer::tests) rate: u64,
    pub(in crate::proto::weak_peer::tests) conn: Option<ConnId>,
    pub(super) queue: VecDeque<(u32, u64, u32)>,
    pub(super) busy: bool,
    /// Offsets that were sent, in order.
    pub(in crate::proto::weak_peer::tests) served: Vec<u64>,
    pub(in crate::proto::weak_peer::tests) gets: Vec<u64>,
    pub(in crate::proto::weak_peer::tests) manifests: u32,
    pub(in crate::proto::weak_peer::tests) dials: u32,
    /// Requests that were answered with wrong bytes.
    pub(super) wrong: BTreeSet<u32>,
    /// The number of correct pieces that the peer has received.
    pub(super) right: u32,
    /// The request whose piece is on its way, unless the peer has received or canceled it.
    pub(super) sending: Option<u32>,
}

impl World {
    /// A source at the next of the ports 100, 101, …, which every super peer reports.
    pub(in crate::proto::weak_peer::tests) fn source(&mut self, manner: Manner, rate: u64) -> &mut World {
        let port = 100 + u16::try_from(self.sources.len()).unwrap();
        let source = Source {
            manner,
            alive: true,
            rate,
            conn: None,
            queue: VecDeque::new(),
            busy: false,
            served: vec![],
            gets: vec![],
            manifests: 0,
            dials: 0,
            wrong: BTreeSet::new(),
            right: 0,
            sending: None,
        };
        self.sources.push((addr(port), source));
        let record = self.record("dir/file.bin", port);
        self.hit(record);
        self
    }

    /// A hit that every super peer sends.
    pub(in crate::proto::weak_peer::tests) fn hit(&mut self, record: SourceRecord) {
        for (_, super_peer) in &mut self.supers {
            super_peer.hits.push(record.clone());
        }
    }

    pub(in crate::proto::weak_peer::tests) fn source_says(&mut self, index: usize, message: Message) {
        let conn = self.sources[index].1.conn.unwrap();
        self.say(LATENCY, conn, message);
    }

    pub(in crate::proto::weak_peer::tests) fn kill_source(&mut self, index: usize) {
        let source = &mut self.sources[index].1;
        source.alive = false;
        source.queue.clear();
        source.busy = false;
        if let Some(conn) = source.conn.take() {
            self.hang_up(conn);
        }
    }

    pub(super) fn source_hears(&mut self, index: usize, conn: ConnId, message: Message) {
        if matches!(message, Message::Get(_) | Message::Manifest(_)) {
            self.asked_first.get_or_insert(index);
        }
        let mut welcome = self.welcome_of(&self.sources[index].0);
        let source = &mut self.sources[index].1;
        match message {
            _ if source.manner == Manner::Silent => {}
            Message::Hello(_) if source.manner == Manner::Busy => {
                let busy = Error::new(ErrorCode::BUSY, "full", None);
                self.say(LATENCY, conn, Message::Error(busy));
            }
            Message::Hello(_) if source.manner == Manner::Refuses => {
                let failed = Error::new(ErrorCode::INTERNAL, "failed", None);
                self.say(LATENCY, conn, Message::Error(failed));
            }
            Message::Get(get) if source.manner == Manner::PageForChunk => {
                source.gets.push(get.offset);
                let cvs = self.content.cvs.iter().flat_map(|cv| cv.0).collect();
                let answer = Cvs { req: get.req, size: self.content.size(), first: 0, cvs, ..Cvs::default() };
                self.say(LATENCY, conn, Message::Cvs(answer));
            }
            Message::Get(get) if source.manner == Manner::Endless => source.gets.push(get.offset),
            Message::Manifest(page) if source.manner == Manner::Endless => {
                source.manifests += 1;
                let cvs = vec![1; MANIFEST_PAGE_CVS * Cv::LEN];
                let answer = Cvs { req: page.req, size: 1 << 40, first: page.first, cvs, ..Cvs::default() };
                let wait = if page.first == 0 { LATENCY } else { Duration::from_millis(1950) };
                self.say(wait, conn, Message::Cvs(answer));
            }
            Message::Get(get) if matches!(source.manner, Manner::Pages(_)) => source.gets.push(get.offset),
            Message::Manifest(page) if matches!(source.manner, Manner::Pages(_)) => {
                let Manner::Pages(size) = source.manner else { return };
                source.manifests += 1;
                let left = pieces_of(size).saturating_sub(u64::from(page.first));
                let cvs = vec![1; left.min(MANIFEST_PAGE_CVS as u64) as usize * Cv::LEN];
                let wait = Duration::from_micros(cvs.len() as u64 * 1_000_000 / source.rate);
                let answer = Cvs { req: page.req, size, first: page.first, cvs, ..Cvs::default() };
                self.say(wait, conn, Message::Cvs(answer));
            }
            Message::Hello(_) if source.manner == Manner::Late => {
                self.say(Duration::from_secs(3), conn, Message::Welcome(welcome));
            }
            Message::Hello(_) => {
                welcome.features.extend(source.manner.knows_swarms().then(|| FEATURE_SWARM.to_owned()));
                self.say(LATENCY, conn, Message::Welcome(welcome));
            }
            Message::Follow(follow) => {
                let req = follow.req;
                let manner = source.manner;
                if manner == Manner::Boasts {
                    let boast = Has { req, add: vec![0, 1, 2, 3], ..Has::default() };
                    self.say(Duration::from_millis(150), conn, Message::Has(boast));
                }
                let answer = match manner {
                    Manner::NoTurns | Manner::FalseEdge | Manner::TurnFlood => {
                        Message::Has(Has { req, full: true, manifest: true, ..Has::default() })
                    }
                    Manner::Part => Message::Has(Has { req, bits: vec![0xff], ..Has::default() }),
                    Manner::Empty | Manner::Boasts => Message::Has(Has { req, ..Has::default() }),
                    Manner::Crowded | Manner::CrowdedEmpty => {
                        Message::Error(Error::new(ErrorCode::BUSY, "too many", Some(req)))
                    }
                    _ => return,
                };
                self.say(LATENCY, conn, answer);
            }
            Message::Want(want) if matches!(source.manner, Manner::Part | Manner::TurnFlood) => {
                let factor = if source.manner == Manner::TurnFlood { 100 } else { 1 };
                for _ in 0..factor * u32::from(want.n) {
                    self.say(LATENCY, conn, Message::Turn(Turn { req: want.req, next: vec![] }));
                }
            }
            Message::Get(get) if source.manner == Manner::Boasts => source.gets.push(get.offset),
            Message::Manifest(page) if matches!(source.manner, Manner::Empty | Manner::Boasts) => {
                let error = Error::new(ErrorCode::NOT_FOUND, "not here", Some(page.req));
                self.say(LATENCY, conn, Message::Error(error));
            }
            Message::Get(get) => {
                source.gets.push(get.offset);
                let open = source.queue.len() + usize::from(source.sending.is_some());
                assert!(open == 0 || source.right > 0 || self.lenient, "two pieces of a source that proved nothing");
                if source.manner == Manner::Fails || get.offset + u64::from(get.length) > self.content.size() + 1 {
                    let code = if source.manner == Manner::Fails { ErrorCode::BUSY } else { ErrorCode::BAD_REQUEST };
                    let error = Error::new(code, "no", Some(get.req));
                    return self.say(LATENCY, conn, Message::Error(error));
                }
                source.queue.push_back((get.req, get.offset, get.length));
                if !source.busy {
                    self.later(LATENCY, Happening::Next(index, conn));
                }
            }
            Message::Cancel(cancel) => {
                source.queue.retain(|(req, _, _)| *req != cancel.req);
                source.sending.take_if(|req| *req == cancel.req);
            }
            Message::Manifest(page) => {
                source.manifests += 1;
                let first = page.first as usize;
                let last = self.content.cvs.len().min(first + MANIFEST_PAGE_CVS);
                let mut cvs: Vec<u8> = self.content.cvs[first..last].iter().flat_map(|cv| cv.0).collect();
                let mut size = self.content.size();
                let mut edge = Edge::default();
                match source.manner {
                    Manner::FalseEdge => {
                        let last = (size - 1) / PIECE_BYTES * PIECE_BYTES;
                        edge = edge_of(&self.content.bytes[last as usize..], size).expect("several pieces");
                        edge.tail.push(0);
                        size += 1;
                    }
                    Manner::WrongManifest if !cvs.is_empty() => cvs[0] ^= 1,
                    Manner::Shorter => (size, cvs) = self.content.shorter(),
                    Manner::Longer => size += 1,
                    _ => {}
                }
                if !matches!(source.manner, Manner::StallsAfter(0) | Manner::NoManifest) {
                    let Edge { tail, left } = edge;
                    let answer = Cvs { req: page.req, size, first: page.first, cvs, tail, left };
                    self.say(LATENCY, conn, Message::Cvs(answer));
                }
            }
            _ => {}
        }
    }

    pub(super) fn serve_next(&mut self, index: usize, conn: ConnId) {
        let content = &self.content;
        let source = &mut self.sources[index].1;
        if source.busy || source.conn != Some(conn) {
            return;
        }
        let Some((req, mut offset, length)) = source.queue.pop_front() else { return };
        let served = u32::try_from(source.served.len()).unwrap();
        if matches!(source.manner, Manner::StallsAfter(n) if served >= n) {
            source.queue.clear();
            return;
        }
        if matches!(source.manner, Manner::NotFound | Manner::CrowdedEmpty) {
            let error = Error::new(ErrorCode::NOT_FOUND, "gone", Some(req));
            return self.say(LATENCY, conn, Message::Error(error));
        }
        source.busy = true;
        source.sending = Some(req);
        source.served.push(offset);
        let mut bytes = content.range(offset, length.min((content.size() - offset) as u32));
        bytes.resize(length as usize, 0);
        let right = md5_of(&bytes);
        if source.manner == Manner::Lies || matches!(source.manner, Manner::Damaged(n) if served < n) {
            bytes[0] ^= 0x10;
            source.wrong.insert(req);
        }
        let mut md5 = if source.manner == Manner::Lies { md5_of(&bytes) } else { right };
        if source.manner == Manner::WrongMd5 {
            md5.0[0] ^= 1;
        }
        self.chunks.insert((conn, req), bytes);
        if source.manner == Manner::OtherRange {
            offset += 1;
        }
        self.say(LATENCY, conn, Message::Chunk(Chunk { req, offset, length, md5: Some(md5) }));
    }

    pub(super) fn receive(&mut self, conn: ConnId, req: u32, length: u32, plan: HashPlan, verify: Verify) {
        let Some(End::Source(index)) = self.conns.get(&conn).copied() else { panic!("a payload from nowhere") };
        let bytes = match self.chunks.remove(&(conn, req)) {
            None if self.lenient => vec![0; length as usize],
            announced => announced.expect("only an announced chunk is received"),
        };
        assert!(bytes.len() == length as usize || self.lenient);
        let time = Duration::from_micros(u64::from(length) * 1_000_000 / self.sources[index].1.rate);
        let blake3 = match plan {
            HashPlan::Content => *blake3::hash(&bytes).as_bytes(),
            HashPlan::Piece { offset } => cv(&bytes, offset).0,
        };
        let digests = Digests {
            md5: (verify != Verify::Blake3).then(|| md5_of(&bytes)),
            blake3: (verify != Verify::Md5).then_some(blake3),
        };
        let manner = self.sources[index].1.manner;
        if manner == Manner::Drips {
            return (1..length.min(400)).for_each(|received| {
                let progress = Input::PayloadProgress { conn, req, received };
                self.later(Duration::from_millis(1900) * received, Happening::Input(progress));
            });
        }
        if manner == Manner::ClosesAfterHeader {
            return self.hang_up(conn);
        }
        // The bytes of a slow source come several times per second.
        let parts = u32::try_from(time.as_millis() / 200).unwrap().max(8);
        let sent = match manner {
            Manner::StopsHalfway => parts / 2 + 1,
            _ => parts,
        };
        let halfway = matches!(manner, Manner::StopsHalfway | Manner::StopsAtTheEnd);
        for part in 1..sent {
            let received = u32::try_from(u64::from(length) * u64::from(part) / u64::from(parts)).unwrap();
            let progress = Input::PayloadProgress { conn, req, received };
            self.later(time * part / parts, Happening::Input(progress));
        }
        if !halfway {
            let payload = PayloadId(self.next_payload);
            self.next_payload += 1;
            self.payloads.insert(payload, bytes);
            let progress = Input::PayloadProgress { conn, req, received: length };
            self.later(time, Happening::Input(progress));
            let received = Input::PayloadReceived { conn, req, payload, digests };
            self.later(time + self.hash_time, Happening::Input(received));
            self.later(time, Happening::Free(index, conn));
        }
    }
}
