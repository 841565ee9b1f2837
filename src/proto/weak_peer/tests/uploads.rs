//! Serving chunks: order, reading ahead, caps and deadlines.

use std::time::Duration;

use super::harness::{Super, World};
use crate::config::{
    CHUNK_IDLE_MAX, FOLLOWER_KEPT_MIN, FOLLOWERS_MAX, LOGIN_DEADLINE, RATE_WINDOW, TURNS_OF_ONE_MAX, UPLOAD_AHEAD,
    UPLOAD_AHEAD_BYTES, UPLOAD_REQUESTS_MAX, UPLOAD_SENDING_BYTES, UPLOADS_MAX,
};
use crate::proto::disk::{Page, ServeFailure};
use crate::proto::{ClientEvent, Command, ConnId, DiskDone, DiskWork, Input, Output};
use crate::wire::ids::{Md5, NodeId, Root};
use crate::wire::message::{Cancel, Error, ErrorCode, Get, Hello, Manifest, Ping};
use crate::wire::swarm::{FEATURE_SWARM, Follow, Want};
use crate::wire::{FileRecord, Message, SharePath, WireError};

const ROOT: Root = Root([3; 32]);

fn open(world: &mut World) -> ConnId {
    let conn = world.accept();
    let hello = Hello { version: [1, 3], node: NodeId([8; 16]), boot: 1, features: vec![], agent: String::new() };
    world.input(Input::Message { conn, message: Message::Hello(hello) });
    assert!(matches!(world.outputs.pop(), Some(Output::Send { message: Message::Welcome(_), .. })));
    conn
}

/// A connection that has read so much that the most chunks are prepared for it.
fn open_reader(world: &mut World) -> ConnId {
    let conn = open(world);
    take(world, conn, 1001..=1000 + UPLOAD_AHEAD as u32);
    world.outputs.clear();
    world.disk.clear();
    conn
}

fn get(world: &mut World, conn: ConnId, req: u32) {
    let message = Message::Get(Get { req, root: ROOT, offset: u64::from(req) << 20, length: 1 << 20, bare: false });
    world.input(Input::Message { conn, message });
}

fn ready(world: &mut World, conn: ConnId, req: u32, result: Result<Md5, ServeFailure>) {
    let result = result.map(Some);
    world.input(Input::Disk(DiskDone::ChunkReady { conn, req, result }));
}

/// Requests whose bytes the driver was asked to send.
fn sent(world: &World) -> Vec<u32> {
    let req = |output: &Output| match output {
        Output::SendPayload { req, .. } => Some(*req),
        _ => None,
    };
    world.outputs.iter().filter_map(req).collect()
}

/// Requests that the disk was asked to prepare.
fn prepared(world: &World) -> Vec<u32> {
    let req = |work: &DiskWork| match work {
        DiskWork::PrepareChunk { req, .. } | DiskWork::ReadManifest { req, .. } => Some(*req),
        _ => None,
    };
    world.disk.iter().filter_map(req).collect()
}

fn error_of(output: Option<&Output>) -> Option<(ErrorCode, Option<u32>)> {
    match output {
        Some(Output::Send { message: Message::Error(error), .. }) => Some((error.code, error.req)),
        _ => None,
    }
}

#[test]
fn a_chunk_is_announced_with_its_md5_and_then_sent() {
    let mut world = World::new(1, 1);
    let conn = open(&mut world);
    get(&mut world, conn, 4);
    ready(&mut world, conn, 4, Ok(Md5([5; 16])));
    let [Output::Send { message: Message::Chunk(chunk), .. }, payload] = &world.outputs[..] else {
        panic!("{:?}", world.outputs)
    };
    assert_eq!((chunk.req, chunk.offset, chunk.length, chunk.md5), (4, 4 << 20, 1 << 20, Some(Md5([5; 16]))));
    assert_eq!(*payload, Output::SendPayload { conn, req: 4, offset: 4 << 20, length: 1 << 20 });
}

#[test]
fn answers_keep_the_order_and_few_are_read_ahead() {
    let mut world = World::new(1, 1);
    let conn = open_reader(&mut world);
    (1..=6).for_each(|req| get(&mut world, conn, req));
    assert_eq!(prepared(&world), [1, 2, 3, 4, 5]);
    ready(&mut world, conn, 2, Ok(Md5([0; 16])));
    assert!(world.outputs.is_empty(), "the first comes first");
    ready(&mut world, conn, 1, Ok(Md5([0; 16])));
    assert_eq!(sent(&world), [1, 2]);
    assert_eq!(prepared(&world), [1, 2, 3, 4, 5]);
    world.input(Input::PayloadSent { conn, req: 1 });
    assert_eq!(prepared(&world), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn more_is_prepared_only_when_little_is_left_and_then_much() {
    let mut world = World::new(1, 1);
    let conn = open_reader(&mut world);
    (1..=30).for_each(|req| get(&mut world, conn, req));
    assert_eq!(prepared(&world).len(), 5);
    ready(&mut world, conn, 1, Ok(Md5([0; 16])));
    assert_eq!(prepared(&world).len(), 5);
    world.input(Input::PayloadSent { conn, req: 1 });
    assert_eq!(prepared(&world).len(), 1 + 16, "those beside the one that is gone");
}

#[test]
fn a_connection_gets_as_much_prepared_as_it_takes() {
    let mut world = World::new(1, 1);
    let conn = open(&mut world);
    (1..=UPLOAD_REQUESTS_MAX as u32).for_each(|req| get(&mut world, conn, req));
    assert_eq!(prepared(&world), [1], "it has taken nothing");
    ready(&mut world, conn, 1, Ok(Md5([0; 16])));
    assert_eq!((sent(&world), prepared(&world)), (vec![1], vec![1, 2]), "the next one is ready when the first is sent");
    ready(&mut world, conn, 2, Ok(Md5([0; 16])));
    world.run_for(Duration::from_secs(60));
    assert_eq!((sent(&world), prepared(&world)), (vec![1, 2], vec![1, 2]), "it does not read");
    world.input(Input::PayloadSent { conn, req: 1 });
    assert_eq!(prepared(&world), [1, 2, 3, 4]);
}

#[test]
fn short_chunks_and_pages_are_prepared_ahead_at_once() {
    let mut world = World::new(1, 1);
    let conn = open(&mut world);
    let page = Message::Manifest(Manifest { req: 9, root: ROOT, first: 0 });
    world.input(Input::Message { conn, message: page });
    get(&mut world, conn, 1);
    assert_eq!(prepared(&world), [9, 1], "a proof is a page and a chunk");
    let conn = open(&mut world);
    for req in 11..=16 {
        let message = Message::Get(Get { req, root: ROOT, offset: 0, length: 1000, bare: false });
        world.input(Input::Message { conn, message });
    }
    assert_eq!(prepared(&world)[2..], [11, 12, 13, 14, 15, 16]);
}

#[test]
fn short_chunks_are_prepared_and_sent_as_far_as_their_bytes_allow() {
    let mut world = World::new(1, 1);
    let conn = open_reader(&mut world);
    let length = u32::try_from(UPLOAD_AHEAD_BYTES / 40).unwrap();
    for req in 1..=UPLOAD_REQUESTS_MAX as u32 {
        let message = Message::Get(Get { req, root: ROOT, offset: 0, length, bare: false });
        world.input(Input::Message { conn, message });
    }
    assert_eq!(prepared(&world), (1..=40).collect::<Vec<u32>>());
    (1..=40).for_each(|req| ready(&mut world, conn, req, Ok(Md5([0; 16]))));
    let sending = u32::try_from(UPLOAD_SENDING_BYTES.div_ceil(u64::from(length))).unwrap();
    assert_eq!(sent(&world), (1..=sending).collect::<Vec<u32>>());
    world.input(Input::PayloadSent { conn, req: 1 });
    assert_eq!(sent(&world).last(), Some(&(sending + 1)));
    assert_eq!(prepared(&world).last(), Some(&41), "one more has room");
}

#[test]
fn few_chunks_are_sent_at_once_so_that_the_rest_can_be_canceled() {
    let mut world = World::new(1, 1);
    let conn = open_reader(&mut world);
    (1..=5).for_each(|req| get(&mut world, conn, req));
    (1..=5).for_each(|req| ready(&mut world, conn, req, Ok(Md5([0; 16]))));
    assert_eq!(sent(&world), [1, 2, 3]);
    world.input(Input::Message { conn, message: Message::Cancel(Cancel { req: 4 }) });
    assert!(world.outputs.contains(&Output::DropChunk { conn, req: 4 }));
    world.input(Input::PayloadSent { conn, req: 1 });
    assert_eq!(sent(&world), [1, 2, 3, 5]);
}

#[test]
fn an_error_comes_in_place_of_a_chunk() {
    for (failure, code) in [
        (ServeFailure::NotFound, ErrorCode::NOT_FOUND),
        (ServeFailure::Changed, ErrorCode::CHANGED),
        (ServeFailure::OutOfRange, ErrorCode::BAD_REQUEST),
    ] {
        let mut world = World::new(1, 1);
        let conn = open(&mut world);
        get(&mut world, conn, 9);
        ready(&mut world, conn, 9, Err(failure));
        assert_eq!(error_of(world.outputs.last()), Some((code, Some(9))));
    }
}

#[test]
fn a_manifest_page_is_read_and_sent() {
    let mut world = World::new(1, 1);
    let conn = open(&mut world);
    let message = Message::Manifest(Manifest { req: 2, root: ROOT, first: 1024 });
    world.input(Input::Message { conn, message });
    assert_eq!(prepared(&world), [2]);
    let result = Ok(Page { size: 77, cvs: vec![1; 64], ..Page::default() });
    world.input(Input::Disk(DiskDone::ManifestReady { conn, req: 2, first: 1024, result }));
    let Some(Output::Send { message: Message::Cvs(page), .. }) = world.outputs.last() else { panic!() };
    assert_eq!((page.req, page.size, page.first, page.cvs.len()), (2, 77, 1024, 64));
}

#[test]
fn a_canceled_request_is_forgotten_unless_it_was_begun() {
    let mut world = World::new(1, 1);
    let conn = open_reader(&mut world);
    (1..=7).for_each(|req| get(&mut world, conn, req));
    ready(&mut world, conn, 1, Ok(Md5([0; 16])));
    for req in [1, 4, 6] {
        world.input(Input::Message { conn, message: Message::Cancel(Cancel { req }) });
    }
    (2..=5).for_each(|req| ready(&mut world, conn, req, Ok(Md5([0; 16]))));
    assert!(world.outputs.contains(&Output::DropChunk { conn, req: 4 }));
    (1..=3).for_each(|req| world.input(Input::PayloadSent { conn, req }));
    assert_eq!(sent(&world), [1, 2, 3, 5]);
    assert_eq!(prepared(&world), [1, 2, 3, 4, 5, 7]);
}

#[test]
fn the_number_of_a_canceled_request_is_in_use_until_the_disk_has_answered() {
    let mut world = World::new(1, 1);
    let conn = open(&mut world);
    get(&mut world, conn, 1);
    world.input(Input::Message { conn, message: Message::Cancel(Cancel { req: 1 }) });
    ready(&mut world, conn, 1, Ok(Md5([0; 16])));
    get(&mut world, conn, 1);
    assert_eq!(prepared(&world), [1, 1]);
    world.input(Input::Message { conn, message: Message::Cancel(Cancel { req: 1 }) });
    get(&mut world, conn, 1);
    assert_eq!(world.outputs.first(), Some(&Output::DropChunk { conn, req: 1 }));
    assert_eq!(error_of(world.outputs.get(1)), Some((ErrorCode::BAD_REQUEST, None)));
}

#[test]
fn a_bare_request_is_prepared_and_answered_without_an_md5() {
    let mut world = World::new(1, 1);
    let conn = open(&mut world);
    let message = Message::Get(Get { req: 1, root: ROOT, offset: 0, length: 5, bare: true });
    world.input(Input::Message { conn, message });
    assert!(matches!(world.disk[..], [DiskWork::PrepareChunk { bare: true, .. }]));
    world.input(Input::Disk(DiskDone::ChunkReady { conn, req: 1, result: Ok(None) }));
    let Some(Output::Send { message: Message::Chunk(chunk), .. }) = world.outputs.first() else { panic!() };
    assert_eq!(chunk.md5, None);
}

#[test]
fn too_many_requests_are_refused_one_by_one() {
    let mut world = World::new(1, 1);
    let conn = open(&mut world);
    (0..=UPLOAD_REQUESTS_MAX as u32).for_each(|req| get(&mut world, conn, req));
    assert_eq!(error_of(world.outputs.last()), Some((ErrorCode::LIMIT, Some(UPLOAD_REQUESTS_MAX as u32))));
    assert_eq!(world.outputs.len(), 1);
}

#[test]
fn a_length_beyond_a_piece_or_of_nothing_is_refused() {
    let mut world = World::new(1, 1);
    let conn = open(&mut world);
    for length in [0, (1 << 20) + 1] {
        let message = Message::Get(Get { req: 1, root: ROOT, offset: 0, length, bare: false });
        world.input(Input::Message { conn, message });
        assert_eq!(error_of(world.outputs.last()), Some((ErrorCode::BAD_REQUEST, Some(1))));
    }
    assert!(prepared(&world).is_empty());
}

/// Connections that were closed, in order.
fn closed(world: &World) -> Vec<ConnId> {
    let conn = |output: &Output| match output {
        Output::Close { conn } => Some(*conn),
        _ => None,
    };
    world.outputs.iter().filter_map(conn).collect()
}

/// Reads this many chunks of 1 MiB.
fn take(world: &mut World, conn: ConnId, reqs: std::ops::RangeInclusive<u32>) {
    for req in reqs {
        get(world, conn, req);
        ready(world, conn, req, Ok(Md5([0; 16])));
        world.input(Input::PayloadSent { conn, req });
    }
}

#[test]
fn one_connection_too_many_takes_the_place_of_the_longest_idle_one() {
    let mut world = World::new(1, 1);
    let first = open(&mut world);
    let idle: Vec<ConnId> = (1..UPLOADS_MAX).map(|_| world.accept()).collect();
    // The bytes that were read of a chunk count. The wait for an answer does not count as idle.
    take(&mut world, first, 1..=1);
    world.run_for(Duration::from_secs(2));
    get(&mut world, first, 9);
    world.outputs.clear();
    for conn in &idle[..100] {
        world.accept();
        assert_eq!(world.outputs.len(), 2, "{:?}", world.outputs);
        assert_eq!(error_of(world.outputs.first()), Some((ErrorCode::BUSY, None)));
        assert_eq!(world.outputs.last(), Some(&Output::Close { conn: *conn }));
        world.outputs.clear();
    }
}

#[test]
fn a_connection_that_asks_for_a_byte_now_and_then_is_idle() {
    let mut world = World::new(1, 1);
    let drips = open(&mut world);
    let idle: Vec<ConnId> = (1..UPLOADS_MAX).map(|_| open(&mut world)).collect();
    for req in 1..4 {
        world.run_for(CHUNK_IDLE_MAX - Duration::from_secs(1));
        for conn in [drips].iter().chain(&idle) {
            let message = Message::Get(Get { req, root: ROOT, offset: 0, length: 1, bare: true });
            world.input(Input::Message { conn: *conn, message });
            ready(&mut world, *conn, req, Ok(Md5([0; 16])));
            world.input(Input::PayloadSent { conn: *conn, req });
        }
    }
    world.outputs.clear();
    world.accept();
    assert_eq!(closed(&world), [drips]);
}

#[test]
fn connections_that_take_their_bytes_are_not_closed_for_newcomers() {
    let mut world = World::new(1, 1);
    let honest: Vec<ConnId> = (0..UPLOADS_MAX).map(|_| open(&mut world)).collect();
    for conn in &honest {
        take(&mut world, *conn, 1..=6);
    }
    world.outputs.clear();
    world.run_for(Duration::from_secs(2));
    let late = world.accept();
    assert_eq!(error_of(world.outputs.first()), Some((ErrorCode::BUSY, None)));
    assert_eq!(closed(&world), [late], "the newcomer is refused");
    // A connection that no longer reads is idle after a while.
    for conn in &honest[1..] {
        take(&mut world, *conn, 7..=7);
    }
    world.run_for(Duration::from_secs(12));
    for conn in &honest[1..] {
        take(&mut world, *conn, 8..=8);
    }
    world.outputs.clear();
    world.accept();
    assert_eq!(closed(&world), [honest[0]]);
}

#[test]
fn a_crowd_of_one_host_does_not_displace_another_host() {
    let mut world = World::new(1, 1);
    let other = world.accept_from("[2001:db8::1]:5".parse().unwrap());
    let crowd: Vec<ConnId> = (1..UPLOADS_MAX).map(|_| world.accept()).collect();
    world.run_for(Duration::from_secs(2));
    world.outputs.clear();
    (0..3).for_each(|_| {
        world.accept();
    });
    assert_eq!(closed(&world), crowd[..3]);
    assert!(!closed(&world).contains(&other));
}

#[test]
fn idle_connections_are_closed_when_descriptors_are_short() {
    let mut world = World::new(1, 1);
    let idle: Vec<ConnId> = (0..4).map(|_| open(&mut world)).collect();
    take(&mut world, idle[0], 1..=6);
    world.outputs.clear();
    world.input(Input::Crowded { excess: 2 });
    assert_eq!(closed(&world), idle[1..3]);
    world.input(Input::Crowded { excess: 9 });
    assert_eq!(closed(&world), idle[1..], "one that takes its bytes stays");
}

#[test]
fn a_silent_connection_is_closed() {
    let mut world = World::new(1, 1);
    let silent = world.accept();
    let idle = open(&mut world);
    world.run_for(LOGIN_DEADLINE);
    assert_eq!(world.outputs.last(), Some(&Output::Close { conn: silent }));
    world.run_for(CHUNK_IDLE_MAX);
    assert_eq!(world.outputs.last(), Some(&Output::Close { conn: idle }));
}

#[test]
fn a_request_that_is_served_keeps_the_connection() {
    let mut world = World::new(1, 1);
    let conn = open(&mut world);
    get(&mut world, conn, 1);
    world.run_for(CHUNK_IDLE_MAX * 3);
    assert!(world.outputs.is_empty(), "{:?}", world.outputs);
    ready(&mut world, conn, 1, Ok(Md5([0; 16])));
    world.input(Input::PayloadSent { conn, req: 1 });
    world.run_for(CHUNK_IDLE_MAX - Duration::from_secs(1));
    assert_eq!(world.outputs.len(), 2);
    world.run_for(CHUNK_IDLE_MAX * 2);
    assert_eq!(world.outputs.last(), Some(&Output::Close { conn }));
}

#[test]
fn an_unknown_kind_before_hello_is_answered_and_the_connection_goes_on() {
    let mut world = World::new(1, 1);
    let conn = world.accept();
    world.outputs.clear();
    world.input(Input::Message { conn, message: Message::Unknown("NOPE".into()) });
    assert_eq!(world.outputs.len(), 1);
    assert_eq!(error_of(world.outputs.last()), Some((ErrorCode::UNKNOWN_KIND, None)));
    let error = Error::new(ErrorCode::INTERNAL, String::new(), None);
    world.input(Input::Message { conn, message: Message::Error(error) });
    assert_eq!(world.outputs.len(), 1, "an ERROR is never answered");
    // This gives no more time: without a HELLO the connection is closed at its deadline.
    world.run_for(LOGIN_DEADLINE);
    assert_eq!(error_of(world.outputs.get(1)), Some((ErrorCode::DEADLINE, None)));
    assert_eq!(world.outputs.last(), Some(&Output::Close { conn }));
}

#[test]
fn wrong_order_and_garbage_close_and_unknown_kinds_do_not() {
    let mut world = World::new(1, 1);
    let conn = world.accept();
    get(&mut world, conn, 1);
    assert_eq!(error_of(world.outputs.first()), Some((ErrorCode::ORDER, None)));
    assert_eq!(world.outputs.last(), Some(&Output::Close { conn }));

    let conn = open(&mut world);
    world.outputs.clear();
    world.input(Input::Message { conn, message: Message::Unknown("NOPE".into()) });
    assert_eq!(error_of(world.outputs.last()), Some((ErrorCode::UNKNOWN_KIND, None)));
    world.input(Input::Message { conn, message: Message::Ping(Ping { n: 1 }) });
    assert_eq!(world.outputs.last(), Some(&Output::Close { conn }));

    let conn = open(&mut world);
    world.outputs.clear();
    world.input(Input::Malformed { conn, error: WireError::TooDeep });
    assert_eq!(error_of(world.outputs.first()), Some((ErrorCode::MALFORMED, None)));
    assert_eq!(world.outputs.last(), Some(&Output::Close { conn }));

    world.command(Command::Status);
    let peer = world.client_events().into_iter().find_map(|event| match event {
        ClientEvent::Status { peer, .. } => Some(peer),
        _ => None,
    });
    let peer = peer.expect("a status");
    assert_eq!((peer["closed_order"], peer["closed_malformed"]), (2, 1));
}

#[test]
fn the_disk_is_not_woken_for_a_connection_that_sent_no_hello() {
    let mut world = World::new(1, 1);
    let conn = world.accept();
    let before = world.disk.last().cloned();
    world.input(Input::Closed { conn, why: crate::proto::CloseReason::Asked });
    assert_eq!(world.disk.last(), before.as_ref());
}

#[test]
fn a_closed_connection_is_forgotten_by_the_disk() {
    let mut world = World::new(1, 1);
    let conn = open(&mut world);
    get(&mut world, conn, 1);
    world.input(Input::Closed { conn, why: crate::proto::CloseReason::Remote });
    assert_eq!(world.disk.last(), Some(&DiskWork::ForgetConn { conn }));
    ready(&mut world, conn, 1, Ok(Md5([0; 16])));
    assert!(world.outputs.is_empty());
}

#[test]
fn a_status_reports_what_is_sent_by_name_and_peer() {
    let mut world = World::new(1, 1);
    let path = SharePath::new("a/song.ogg").unwrap();
    let file = FileRecord { path, size: 5 << 20, root: ROOT, collection: false };
    world.input(Input::Disk(DiskDone::Share { added: vec![file], removed: Vec::new() }));
    let uploads = |world: &mut World| {
        world.events.clear();
        world.command(Command::Status).run_for(Duration::from_millis(100));
        let status = world.client_events().into_iter().find_map(|event| match event {
            ClientEvent::Status { status, .. } => status,
            _ => None,
        });
        status.expect("a peer that serves").uploads
    };
    let (conn, idle) = (open(&mut world), open(&mut world));
    assert_eq!(uploads(&mut world), [], "{idle:?} asks for nothing");
    take(&mut world, conn, 0..=2);
    let [upload] = &uploads(&mut world)[..] else { panic!("one content is sent") };
    assert_eq!((upload.path.as_deref(), upload.size), (Some("a/song.ogg"), Some(5 << 20)));
    assert_eq!((upload.peers.len(), upload.peers[0].bytes), (1, 3 << 20));
    assert!(upload.rate > 0 && upload.rate == upload.peers[0].rate);
    world.run_for(2 * RATE_WINDOW);
    assert_eq!(uploads(&mut world), [], "it has asked for nothing lately");
}

#[test]
fn a_running_peer_reports_its_own_state_if_the_super_peer_does_not_answer() {
    let mut world = World::new(1, 1);
    world.run_until(|world| world.welcomed() == 1);
    world.supers[0].1.manner = Super::NoAnswers;
    world.command(Command::Status).run_for(Duration::from_secs(4));
    assert!(world.outcome().ok);
    let alone = |event: &ClientEvent| matches!(event, ClientEvent::Status { super_peer: None, status: Some(_), .. });
    assert!(world.client_events().iter().any(alone));
}

// ---- followers ----------------------------------------------------------------------------------

/// A connection that follows [`ROOT`]. `partial` says whether the disk has only a part of the
/// content.
fn follow(world: &mut World, req: u32, partial: bool) -> ConnId {
    follow_from(world, "192.0.2.77:5000", req, partial)
}

fn follow_from(world: &mut World, from: &str, req: u32, partial: bool) -> ConnId {
    let conn = world.accept_from(from.parse().unwrap());
    let features = vec![FEATURE_SWARM.to_owned()];
    let hello = Hello { version: [1, 3], node: NodeId([8; 16]), boot: 1, features, agent: String::new() };
    world.input(Input::Message { conn, message: Message::Hello(hello) });
    world.outputs.clear();
    world.input(Input::Message { conn, message: Message::Follow(Follow { req, root: ROOT, zone: None }) });
    let result = Ok(Page { size: 100 << 20, partial, ..Page::default() });
    world.input(Input::Disk(DiskDone::ManifestReady { conn, req, first: 0, result }));
    conn
}

fn want(world: &mut World, conn: ConnId, req: u32, n: u8) {
    world.input(Input::Message { conn, message: Message::Want(Want { req, n, need: true }) });
}

/// How many turns a connection has got.
fn turns(world: &World, of: ConnId) -> usize {
    let is_turn = |output: &&Output| matches!(output, Output::Send { conn, message: Message::Turn(_) } if *conn == of);
    world.outputs.iter().filter(is_turn).count()
}

#[test]
fn a_follower_that_takes_nothing_does_not_keep_all_turns() {
    let mut world = World::new(1, 1);
    let conn = follow(&mut world, 900, false);
    want(&mut world, conn, 900, 255);
    for req in 1..=60 {
        if turns(&world, conn) >= req as usize {
            get(&mut world, conn, req);
        }
        world.run_for(Duration::from_millis(500));
        want(&mut world, conn, 900, 255);
    }
    assert_eq!(turns(&world, conn), TURNS_OF_ONE_MAX);
    let other = follow(&mut world, 900, false);
    want(&mut world, other, 900, 2);
    assert_eq!(turns(&world, other), 1);
}

/// Uses a turn. The chunk is sent at once.
fn fetch(world: &mut World, conn: ConnId, req: u32) {
    get(world, conn, req);
    ready(world, conn, req, Ok(Md5([0; 16])));
    world.input(Input::PayloadSent { conn, req });
}

#[test]
fn a_follower_that_uses_no_turn_cannot_keep_it_by_asking_for_others() {
    let mut world = World::new(1, 1);
    let hog = follow_from(&mut world, "192.0.2.66:5000", 900, false);
    want(&mut world, hog, 900, 1);
    assert_eq!(turns(&world, hog), 1);
    let honest = follow(&mut world, 901, false);
    want(&mut world, honest, 901, 1);
    for _ in 0..4 {
        assert_eq!(turns(&world, honest), 0, "the line is that of the other one");
        world.run_for(Duration::from_millis(50));
        want(&mut world, hog, 900, 1);
    }
    world.run_for(Duration::from_millis(1));
    want(&mut world, hog, 900, 1);
    assert_eq!(turns(&world, honest), 1, "it has waited long enough");
}

#[test]
fn hosts_that_leave_turns_unused_do_not_hold_up_the_others() {
    let mut world = World::new(1, 1);
    let hogs: Vec<ConnId> =
        (0..20).map(|n| follow_from(&mut world, &format!("192.0.2.66:{}", 5000 + n), 900, false)).collect();
    hogs.iter().for_each(|hog| want(&mut world, *hog, 900, 255));
    let honest = follow(&mut world, 901, false);
    world.run_for(Duration::from_secs(10));
    let end = world.now + Duration::from_secs(10);
    let mut pieces = 0;
    while world.now < end {
        hogs.iter().for_each(|hog| want(&mut world, *hog, 900, 255));
        want(&mut world, honest, 901, 1);
        if turns(&world, honest) > pieces {
            pieces += 1;
            fetch(&mut world, honest, pieces as u32);
        }
        world.run_for(Duration::from_millis(10));
    }
    assert!(pieces > 500, "{pieces} of 1000");
}

/// The code of the last ERROR to this connection about its FOLLOW.
fn refused(world: &World, of: ConnId) -> Option<(ErrorCode, Option<u32>)> {
    let is_error =
        |output: &&Output| matches!(output, Output::Send { conn, message: Message::Error(_) } if *conn == of);
    error_of(world.outputs.iter().rev().find(is_error))
}

#[test]
fn followers_that_take_nothing_give_their_places_to_others() {
    let mut world = World::new(1, 1);
    let idle: Vec<ConnId> = (0..FOLLOWERS_MAX)
        .map(|n| follow_from(&mut world, &format!("192.0.2.{}:5000", if n < 4 { 60 } else { 61 + n }), 900, false))
        .collect();
    let early = follow(&mut world, 901, false);
    assert_eq!(refused(&world, early), Some((ErrorCode::BUSY, Some(901))), "all others have just come");
    world.run_for(FOLLOWER_KEPT_MIN);
    for (n, displaced) in idle[..3].iter().enumerate() {
        world.outputs.clear();
        want(&mut world, *displaced, 900, 1);
        let late = follow_from(&mut world, &format!("192.0.2.{}:5000", 100 + n), 902, false);
        assert_eq!(refused(&world, late), None);
        assert_eq!(refused(&world, *displaced), Some((ErrorCode::BUSY, Some(900))));
        want(&mut world, late, 902, 1);
        assert!(!world.outputs.iter().any(|output| matches!(output, Output::Close { .. })));
    }
}

#[test]
fn followers_that_take_pieces_keep_their_places() {
    let mut world = World::new(1, 1);
    for n in 0..FOLLOWERS_MAX {
        let conn = follow_from(&mut world, &format!("192.0.2.60:{}", 5000 + n), 900, false);
        fetch(&mut world, conn, 1);
    }
    world.run_for(FOLLOWER_KEPT_MIN);
    let late = follow(&mut world, 901, false);
    assert_eq!(refused(&world, late), Some((ErrorCode::BUSY, Some(901))));
    world.run_for(2 * RATE_WINDOW);
    let late = follow(&mut world, 902, false);
    assert_eq!(refused(&world, late), None);
}

#[test]
fn a_follower_keeps_its_place_while_it_takes_its_first_piece() {
    let mut world = World::new(1, 1);
    for n in 0..FOLLOWERS_MAX {
        let conn = follow_from(&mut world, &format!("192.0.2.60:{}", 5000 + n), 900, false);
        get(&mut world, conn, 1);
    }
    // A peer with 30 KiB/s takes this long for a piece.
    world.run_for(Duration::from_secs(30));
    let late = follow(&mut world, 901, false);
    assert_eq!(refused(&world, late), Some((ErrorCode::BUSY, Some(901))));
}

#[test]
fn a_part_that_is_not_served_is_not_announced_as_all() {
    let mut world = World::new(1, 1);
    let conn = follow(&mut world, 900, true);
    assert_eq!(error_of(world.outputs.last()), Some((ErrorCode::NOT_FOUND, Some(900))));
    want(&mut world, conn, 900, 2);
    assert_eq!(turns(&world, conn), 0);
}

#[test]
fn the_answer_to_a_follow_that_was_canceled_is_not_that_to_the_next_one() {
    let mut world = World::new(1, 1);
    let conn = follow(&mut world, 900, false);
    let send = |world: &mut World, message| world.input(Input::Message { conn, message });
    send(&mut world, Message::Cancel(Cancel { req: 900 }));
    world.outputs.clear();
    let other = Root([4; 32]);
    send(&mut world, Message::Follow(Follow { req: 901, root: ROOT, zone: None }));
    send(&mut world, Message::Cancel(Cancel { req: 901 }));
    send(&mut world, Message::Follow(Follow { req: 902, root: other, zone: None }));
    let result = Ok(Page { size: 100 << 20, ..Page::default() });
    world.input(Input::Disk(DiskDone::ManifestReady { conn, req: 901, first: 0, result }));
    assert!(world.outputs.is_empty(), "{:?}", world.outputs);
}
