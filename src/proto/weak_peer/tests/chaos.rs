//! Super peers, sources and strangers may send anything in any order, and the disk may answer late.
//! The peer must not panic, and every command must end with exactly one `done`.

use std::time::Duration;

use super::harness::{Manner, World, addr, file};
use crate::proto::disk::ServeFailure;
use crate::proto::{
    ClientEvent, ClientId, CloseReason, Command, Digests, DiskDone, DownloadId, Entropy, Event, Input, Scope, command,
};
use crate::sim::Random;
use crate::wire::ids::{Md5, NodeId};
use crate::wire::message::{
    Ack, Bye, Cancel, Chunk, Cvs, Done, Error, ErrorCode, Files, Get, Hello, Hit, Info, ListedFile, Manifest, Ping,
    Ready,
};
use crate::wire::{Cut, Message, QueryKind, Search, SharePath, WireError};

struct Dice(Random);

impl Dice {
    fn below(&mut self, below: u64) -> u64 {
        (self.0.next_u64() >> 20) % below
    }

    fn small(&mut self) -> u32 {
        u32::try_from(self.below(12)).unwrap()
    }
}

fn message(dice: &mut Dice, world: &World) -> Message {
    let req = dice.small();
    let root = world.content.root;
    let offset = dice.below(6) << 20;
    match dice.below(20) {
        0 => Message::Ready(Ready::default()),
        1 => Message::Ack(Ack { seq: dice.below(5), files: 1 }),
        2 => Message::Pong(Ping { n: req }),
        3 => Message::Ping(Ping { n: req }),
        4 => Message::Hit(Hit { req, hits: vec![world.record("x", 100 + u16::try_from(dice.below(4)).unwrap())] }),
        5 => Message::Done(Done { req, hits: 1, reached: 1, pruned: 0, complete: true, cut: Cut::NONE, ms: 1 }),
        6 => {
            let path = SharePath::new("a").unwrap();
            let files = vec![ListedFile { path, size: 1, root, collection: false, holders: 1, partial: 0 }];
            Message::Files(Files { req, files, next: (dice.below(2) == 0).then(|| dice.below(4)) })
        }
        7 => Message::Info(Info { req, ..Info::default() }),
        8 => Message::Bye(Bye { why: "\u{1b}[2J".into() }),
        9 | 10 => {
            let code = ErrorCode(u16::try_from(dice.below(15)).unwrap());
            Message::Error(Error::new(code, "x", (dice.below(3) > 0).then_some(req)))
        }
        11 | 12 => Message::Get(Get { req, root, offset, length: 1 << 20, bare: offset == 0 }),
        13 => Message::Manifest(Manifest { req, root, first: dice.small() }),
        14 => Message::Cancel(Cancel { req }),
        15 | 16 => Message::Chunk(Chunk { req, offset, length: 1 << 20, md5: (offset == 0).then_some(Md5([0; 16])) }),
        17 => Message::Cvs(Cvs { req, size: world.content.size(), first: 0, cvs: vec![0; 32 * 4], ..Cvs::default() }),
        18 => Message::Unknown("NOPE".into()),
        _ => {
            let (version, node) = ([u8::try_from(dice.below(3)).unwrap(), 0], NodeId([9; 16]));
            Message::Hello(Hello { version, node, boot: 1, features: vec![], agent: String::new() })
        }
    }
}

fn command(dice: &mut Dice, world: &World) -> Command {
    let what = if dice.below(2) == 0 { world.content.root.to_string() } else { "file.bin".into() };
    match dice.below(5) {
        0 => Command::List { partial: false },
        1 => Command::Status,
        2 => {
            let search = Search::new(what, QueryKind::Words);
            Command::Query { search, scope: Scope::default() }
        }
        _ => {
            let out = Some(format!("/tmp/{}", dice.below(3)).into());
            let from = (dice.below(6) == 0).then(|| addr(100));
            Command::Get(command::Get { from, out, ..command::Get::of(what) })
        }
    }
}

fn stray(dice: &mut Dice, world: &mut World) {
    let Some(conn) = world.any_conn(dice.below(1000)) else { return };
    let req = dice.small();
    let download = DownloadId(dice.below(4));
    let input = match dice.below(12) {
        0..=5 => Input::Message { conn, message: message(dice, world) },
        6 => Input::Malformed { conn, error: WireError::TooDeep },
        7 if dice.below(20) == 0 => Input::Crowded { excess: dice.below(3) as usize },
        7 => Input::PayloadSent { conn, req },
        8 => Input::PayloadProgress { conn, req, received: req << 16 },
        9 => {
            let payload = world.stray_payload();
            let digests = Digests { md5: Some(Md5([0; 16])), blake3: Some([0; 32]) };
            Input::PayloadReceived { conn, req, payload, digests }
        }
        10 => Input::Disk(DiskDone::ChunkReady { conn, req, result: Err(ServeFailure::Changed) }),
        _ => Input::Disk(DiskDone::PieceWritten { download, piece: req, result: Ok(()) }),
    };
    world.input(input);
}

#[test]
fn nothing_that_arrives_makes_it_panic_or_forget_a_command() {
    let mut ended = 0;
    for seed in 1..=60 {
        let mut dice = Dice(Random::new(seed));
        let mut world = World::new(2, (1 << 20) + 5);
        world.lenient = true;
        world.source(Manner::Honest, 20 << 20).source(Manner::Honest, 1 << 20).source(Manner::Lies, 5 << 20);
        let mut clients = 0;
        for _ in 0..60 {
            match dice.below(12) {
                0 => {
                    world.accept();
                }
                1 | 2 => {
                    clients += 1;
                    let command = command(&mut dice, &world);
                    world.input(Input::Command { client: ClientId(100 + clients), command });
                }
                3 => {
                    let name = format!("f{}", dice.below(9));
                    let removed = format!("f{}", dice.below(9));
                    world.share(&[file(&name, 1)], &[&removed]);
                }
                4 => {
                    if let Some(conn) = world.any_conn(dice.below(1000)) {
                        world.drop_conn(conn, CloseReason::Failed);
                    }
                }
                5 | 6 => {
                    world.run_for(Duration::from_millis(dice.below(3000)));
                }
                _ => stray(&mut dice, &mut world),
            }
            world.run_for(Duration::from_millis(dice.below(4)));
        }
        world.run_for(Duration::from_secs(300));
        for client in 101..=100 + clients {
            let done = |event: &&Event| matches!(event, Event::Client { client: ClientId(id), event: ClientEvent::Done(_) } if *id == client);
            let times = world.events.iter().map(|(_, event)| event).filter(done).count();
            assert_eq!(times, 1, "seed {seed}: client {client} got {times} ends");
            ended += 1;
        }
        world.input(Input::Shutdown);
    }
    assert!(ended > 200, "{ended}");
}
