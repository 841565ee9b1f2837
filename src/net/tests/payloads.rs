//! Chunks: parts of files that are sent, and raw bytes that are received.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::Arc;

use super::*;
use crate::config::{CHUNK_BUFFERS_MAX, CHUNK_BYTES_MAX, TURN_BYTES_WRITTEN, TURN_BYTES_WRITTEN_MIN};
use crate::proto::{HashPlan, Verify};
use crate::wire::Md5;
use crate::wire::message::Chunk;

pub(super) fn file_of(bytes: &[u8]) -> Arc<File> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Arc::new(file)
}

fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 + n / 251) as u8).collect()
}

fn chunk(length: usize) -> Message {
    Message::Chunk(Chunk { req: 9, offset: 0, length: u32::try_from(length).unwrap(), md5: Some(Md5([0; 16])) })
}

#[test]
fn file_extents_leave_in_order_between_frames() {
    let mut rig = Rig::new();
    let (mut client, conn) = rig.client();
    let content = noise(3 << 20);
    let file = file_of(&content);
    rig.net.send(conn, &ping(1));
    rig.net.send_file(conn, 1, file.clone(), 5, CHUNK_BYTES_MAX);
    rig.net.send(conn, &ping(2));
    rig.net.send(conn, &ping(3));
    rig.net.send_file(conn, 2, file.clone(), 1 << 20, CHUNK_BYTES_MAX);
    rig.net.send_file(conn, 3, file, 0, 1);
    rig.net.send(conn, &ping(4));
    let expected = content.clone();
    let reader = std::thread::spawn(move || {
        let extent = |client: &mut TcpStream, from: usize, length: usize| {
            let mut bytes = vec![0; length];
            client.read_exact(&mut bytes).unwrap();
            assert!(bytes == expected[from..from + length], "extent at {from}");
        };
        assert_eq!(read_message(&mut client), ping(1));
        extent(&mut client, 5, 1 << 20);
        assert_eq!(read_message(&mut client), ping(2));
        assert_eq!(read_message(&mut client), ping(3));
        extent(&mut client, 1 << 20, 1 << 20);
        extent(&mut client, 0, 1);
        assert_eq!(read_message(&mut client), ping(4));
    });
    let mut sent = Vec::new();
    let why = rig.until(|_, arrival| match arrival {
        Arrival::Input(Input::PayloadSent { req, .. }) => {
            sent.push(req);
            None
        }
        Arrival::Input(Input::Closed { why, .. }) => Some(why),
        other => panic!("unexpected: {other:?}"),
    });
    reader.join().unwrap();
    assert_eq!((sent, why), (vec![1, 2, 3], CloseReason::Remote));
}

#[test]
fn short_chunks_leave_in_order_between_frames_and_extents() {
    let mut rig = Rig::new();
    let (mut client, conn) = rig.client();
    let content = noise(1 << 20);
    let file = file_of(&content);
    // The chunk is more than the kernel accepts at once, and more than one write sends.
    let short = |n: u32| content[n as usize * 7..][..10_000 + n as usize].to_vec();
    let is_file = |n: u32| n % 100 == 50;
    for n in 1..=400 {
        rig.net.send(conn, &ping(n));
        if is_file(n) {
            rig.net.send_file(conn, n, file.clone(), u64::from(n), 100_000);
        } else {
            rig.net.send_bytes(conn, n, Box::new(short(n)));
        }
    }
    rig.net.send(conn, &ping(0));
    let expected: Vec<Vec<u8>> =
        (1..=400).map(|n| if is_file(n) { content[n as usize..][..100_000].to_vec() } else { short(n) }).collect();
    let reader = std::thread::spawn(move || {
        for (n, expected) in (1..).zip(expected) {
            assert_eq!(read_message(&mut client), ping(n));
            let mut bytes = vec![0; expected.len()];
            client.read_exact(&mut bytes).unwrap();
            assert!(bytes == expected, "chunk {n}");
        }
        assert_eq!(read_message(&mut client), ping(0));
    });
    let mut sent = Vec::new();
    let why = rig.until(|_, arrival| match arrival {
        Arrival::Input(Input::PayloadSent { req, .. }) => {
            sent.push(req);
            None
        }
        Arrival::Input(Input::Closed { why, .. }) => Some(why),
        other => panic!("unexpected: {other:?}"),
    });
    reader.join().unwrap();
    assert_eq!((sent, why), ((1..=400).collect(), CloseReason::Remote));
}

/// Bytes of files that each connection still has to write.
fn waiting(net: &Net, conns: &[ConnId]) -> Vec<usize> {
    conns.iter().map(|conn| net.conns.get(*conn).unwrap().send.file_bytes()).collect()
}

/// Serves some chunks to each of `count` connections at once. Returns the most bytes that one of
/// them wrote in a turn in which all had to share.
fn serve_all(count: usize) -> usize {
    const CHUNKS: u32 = 4;
    let mut rig = Rig::new();
    let (clients, conns): (Vec<TcpStream>, Vec<ConnId>) = (0..count).map(|_| rig.client()).unzip();
    let file = file_of(&noise(1 << 20));
    for conn in &conns {
        for req in 0..CHUNKS {
            rig.net.send_file(*conn, req, file.clone(), 0, CHUNK_BYTES_MAX);
        }
    }
    let mut readers = Vec::new();
    for mut client in clients {
        readers.push(std::thread::spawn(move || {
            client.read_exact(&mut vec![0; (CHUNKS * CHUNK_BYTES_MAX) as usize]).unwrap();
            client
        }));
    }
    let mut most = 0;
    while waiting(&rig.net, &conns).iter().any(|left| *left > 0) {
        assert!(rig.started.elapsed() < GUARD, "{:?} bytes are never written", waiting(&rig.net, &conns));
        rig.net.poll(Some(if rig.net.is_busy() { Duration::ZERO } else { Duration::from_millis(200) })).unwrap();
        rig.net.begin_turn(rig.now, 0);
        let before = waiting(&rig.net, &conns);
        while let Some(arrival) = rig.net.next() {
            assert!(matches!(arrival, Arrival::Input(Input::PayloadSent { .. })), "unexpected: {arrival:?}");
        }
        let due: Vec<bool> = conns.iter().map(|conn| rig.net.conns.get(*conn).unwrap().dirty).collect();
        let uploads = due.iter().filter(|due| **due).count();
        rig.net.flush(in_time);
        let budget = rig.net.conns.write_budget;
        let after = waiting(&rig.net, &conns);
        for (at, conn) in conns.iter().enumerate().filter(|(at, _)| due[*at] && before[*at] > 0) {
            let written = before[at] - after[at];
            assert!(written <= budget, "connection {at} of {count} wrote {written} bytes of {budget}");
            let blocked = !rig.net.conns.get(*conn).unwrap().writable;
            assert!(written > 0 || blocked, "connection {at} of {count} wrote nothing though its socket took more");
            most = if uploads == count { most.max(written) } else { most };
        }
        let share = (TURN_BYTES_WRITTEN / uploads.max(1)).max(TURN_BYTES_WRITTEN_MIN);
        assert_eq!(budget, share, "{uploads} had something to write");
        rig.net.end_turn(in_time);
    }
    for reader in readers {
        drop(reader.join().unwrap());
    }
    most
}

#[test]
fn uploads_share_the_bytes_of_a_turn_evenly() {
    for (count, share) in [(3, TURN_BYTES_WRITTEN / 3), (8, TURN_BYTES_WRITTEN_MIN), (40, TURN_BYTES_WRITTEN_MIN)] {
        let most = serve_all(count);
        assert!(0 < most && most <= share, "{most} bytes in a turn of {count} connections");
    }
}

#[test]
fn frames_of_others_are_written_before_files() {
    let mut rig = Rig::new();
    let file = file_of(&noise(1000));
    let (_clients, uploads): (Vec<TcpStream>, Vec<ConnId>) = (0..3).map(|_| rig.client()).unzip();
    let (mut client, session) = rig.client();
    for conn in &uploads {
        rig.net.send(*conn, &ping(0));
        rig.net.send_file(*conn, 1, file.clone(), 0, 1000);
    }
    rig.net.send(session, &ping(1));
    rig.net.flush(late());
    assert_eq!(read_message(&mut client), ping(1));
    assert_eq!(waiting(&rig.net, &uploads).iter().filter(|left| **left > 0).count(), 2);
}

#[test]
fn a_late_turn_writes_to_a_connection_that_takes_bytes_after_one_that_does_not() {
    let mut rig = Rig::new();
    let file = file_of(&noise(8 << 20));
    let (_unread, blocked) = rig.client();
    rig.net.send_file(blocked, 1, file.clone(), 0, 8 << 20);
    while rig.net.conns.get(blocked).unwrap().writable {
        rig.net.flush(in_time);
    }
    let (mut client, upload) = rig.client();
    rig.net.conns.mark_dirty(blocked);
    rig.net.send_file(upload, 1, file, 0, 1000);
    rig.net.flush(late());
    assert_eq!(waiting(&rig.net, &[upload]), [0]);
    client.read_exact(&mut [0; 1000]).unwrap();
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_ends_the_connection() {
    let mut rig = Rig::new();
    let (client, conn) = rig.client();
    let file = file_of(&noise(1000));
    rig.net.send_file(conn, 1, file, 0, 2000);
    assert_eq!(rig.until_closed(conn), CloseReason::Failed);
    drop(client);
}

fn receive(net: &mut Net, conn: ConnId, length: usize) {
    net.receive(conn, 9, u32::try_from(length).unwrap(), HashPlan::Content, Verify::Both);
}

#[test]
fn raw_bytes_are_taken_behind_a_chunk_and_frames_go_on_behind_them() {
    let mut rig = Rig::new();
    let (mut client, conn) = rig.client();
    let content = noise(1 << 20);
    let mut bytes = bytes_of(&[ping(1), chunk(content.len())]);
    bytes.extend_from_slice(&content);
    bytes.extend_from_slice(&bytes_of(&[ping(2)]));
    let writer = std::thread::spawn(move || {
        write(&mut client, &bytes);
        client
    });
    let mut got = None;
    let mut last_progress = 0;
    rig.until(|net, arrival| match arrival {
        Arrival::Input(Input::Message { message, .. }) if message == ping(2) => Some(()),
        Arrival::Input(Input::Message { message: Message::Chunk(_), .. }) => {
            receive(net, conn, content.len());
            None
        }
        Arrival::Input(Input::Message { .. }) => None,
        Arrival::Input(Input::PayloadProgress { req: 9, received, .. }) => {
            assert!(received > last_progress && received < CHUNK_BYTES_MAX);
            last_progress = received;
            None
        }
        Arrival::Payload { req: 9, bytes, .. } => {
            got = Some(bytes);
            None
        }
        other => panic!("unexpected: {other:?}"),
    });
    assert!(got.unwrap() == content);
    drop(writer.join().unwrap());
}

#[test]
fn nothing_is_read_after_a_chunk_until_the_machine_says_how() {
    let mut rig = Rig::new();
    let (mut client, conn) = rig.client();
    let mut bytes = bytes_of(&[chunk(10)]);
    bytes.extend_from_slice(b"0123456789");
    bytes.extend_from_slice(&bytes_of(&[ping(7)]));
    write(&mut client, &bytes);
    assert_eq!(rig.until_message(conn), chunk(10));
    rig.settle();
    receive(&mut rig.net, conn, 10);
    let mut payload = None;
    rig.until(|_, arrival| match arrival {
        Arrival::Payload { bytes, .. } => {
            payload = Some(bytes);
            None
        }
        Arrival::Input(Input::Message { message, .. }) if message == ping(7) => Some(()),
        other => panic!("unexpected: {other:?}"),
    });
    assert_eq!(payload.as_deref(), Some(&b"0123456789"[..]));
}

#[test]
fn closing_in_the_middle_of_a_chunk_is_clean() {
    let mut rig = Rig::new();
    let (mut client, conn) = rig.client();
    let mut bytes = bytes_of(&[chunk(100_000)]);
    bytes.extend_from_slice(&noise(50_000));
    write(&mut client, &bytes);
    rig.until(|net, arrival| match arrival {
        Arrival::Input(Input::Message { .. }) => {
            receive(net, conn, 100_000);
            None
        }
        Arrival::Input(Input::PayloadProgress { .. }) => {
            net.close(conn);
            Some(())
        }
        other => panic!("unexpected: {other:?}"),
    });
    let reader = std::thread::spawn(move || client.read(&mut [0]).unwrap());
    let mut why = None;
    while why.is_none() {
        rig.turn(|_, arrival| match arrival {
            Arrival::Input(Input::Closed { why: closed, .. }) => why = Some(closed),
            other => panic!("unexpected: {other:?}"),
        });
    }
    assert_eq!(why, Some(CloseReason::Asked));
    assert_eq!(rig.net.conns.buffers.chunks_out, 0, "the buffer came back");
    assert_eq!(reader.join().unwrap(), 0);
}

#[test]
fn a_payload_that_nobody_announced_ends_the_connection() {
    let mut rig = Rig::new();
    let (client, conn) = rig.client();
    receive(&mut rig.net, conn, 10);
    assert_eq!(rig.until_closed(conn), CloseReason::Failed);
    drop(client);
}

#[test]
fn a_chunk_without_a_buffer_waits_for_one() {
    let mut rig = Rig::new();
    let (mut client, conn) = rig.client();
    rig.net.conns.buffers.chunks_out = CHUNK_BUFFERS_MAX;
    let mut bytes = bytes_of(&[chunk(10)]);
    bytes.extend_from_slice(b"0123456789");
    write(&mut client, &bytes);
    rig.until(|net, arrival| match arrival {
        Arrival::Input(Input::Message { .. }) => {
            receive(net, conn, 10);
            Some(())
        }
        other => panic!("unexpected: {other:?}"),
    });
    rig.settle();
    rig.net.release(None);
    let payload = rig.until(|_, arrival| match arrival {
        Arrival::Payload { bytes, .. } => Some(bytes),
        other => panic!("unexpected: {other:?}"),
    });
    assert_eq!(payload, b"0123456789");
    assert_eq!(rig.net.conns.buffers.chunks_out, CHUNK_BUFFERS_MAX);
    rig.net.release(Some(payload));
    assert_eq!(rig.net.conns.buffers.chunks_out, CHUNK_BUFFERS_MAX - 1);
}
