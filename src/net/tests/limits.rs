//! Limits on bytes per second, on real sockets. The time advances only when a limit requires it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::*;
use crate::config::{CHUNK_BYTES_MAX, CONTROL_LINES_PER_TURN, WRITE_STALL_MAX};
use crate::proto::{HashPlan, RateLimits, Verify};
use crate::wire::Md5;
use crate::wire::message::Chunk;

const RATE: u64 = 1_000_000;
/// What may pass at once in addition to the limit.
const BURST: u64 = RATE / 10;

fn limited(upload: u64, download: u64) -> Rig {
    let mut rig = Rig::new();
    rig.net.set_limits(RateLimits { upload, download });
    rig
}

/// One turn. The time advances only if nothing but a limit is awaited.
fn turn(rig: &mut Rig, act: impl FnMut(&mut Net, Arrival)) {
    if let Some(due) = rig.net.conns.limits_due()
        && !rig.net.is_busy()
    {
        rig.now = rig.now.max(due);
        return rig.turn_with(Duration::ZERO, act);
    }
    rig.turn_with(Duration::from_millis(200), act);
}

/// How evenly two connections share the limit depends on when the machine runs their threads. A
/// test of `throttle` covers this.
fn expect_limit(each: [u64; 2], now: Time) {
    let total = each[0] + each[1];
    let most = now.as_micros() * RATE / 1_000_000 + BURST;
    assert!(total <= most, "{total} bytes in {now:?}");
}

#[test]
fn uploads_share_a_limit_and_a_reader_that_waits_for_it_is_not_slow() {
    const CHUNKS: u32 = 2;
    let mut rig = limited(RATE, 0);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&vec![7; 1 << 20]).unwrap();
    let file: Arc<File> = Arc::new(file);
    let (clients, conns): (Vec<TcpStream>, Vec<ConnId>) = (0..2).map(|_| rig.client()).unzip();
    let size = u64::from(CHUNKS * CHUNK_BYTES_MAX);
    let readers: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            std::thread::spawn(move || {
                assert_eq!(read_message(&mut client), ping(1), "what goes before a file does not wait");
                client.read_exact(&mut vec![0; size as usize]).unwrap();
                client
            })
        })
        .collect();
    // Nothing more is due before the chunks are queued.
    rig.net.set_limits(RateLimits { upload: 1024, download: 0 });
    for conn in &conns {
        rig.net.send(*conn, &ping(1));
        (0..CHUNKS).for_each(|req| rig.net.send_file(*conn, req, file.clone(), 0, CHUNK_BYTES_MAX));
    }
    turn(&mut rig, |_, _| {});
    rig.now = rig.now + WRITE_STALL_MAX * 3;
    rig.net.set_limits(RateLimits { upload: RATE, download: 0 });
    let began = rig.now;
    let left = |net: &Net| [0, 1].map(|at| net.conns.get(conns[at]).unwrap().send.file_bytes() as u64);
    let mut sent = 0;
    while sent < 2 * CHUNKS {
        turn(&mut rig, |_, arrival| match arrival {
            Arrival::Input(Input::PayloadSent { .. }) => sent += 1,
            other => panic!("unexpected: {other:?}"),
        });
        let passed = Time::from_micros(u64::try_from(rig.now.since(began).as_micros()).unwrap());
        expect_limit(left(&rig.net).map(|left| size - left), passed + Duration::from_millis(100));
    }
    assert!(rig.now.since(began) >= Duration::from_millis(3900), "{:?} for 4 MiB", rig.now.since(began));
    readers.into_iter().for_each(|reader| drop(reader.join().unwrap()));
    // The last write of each connection is looked at once more, at the time when it would have
    // stalled.
    for _ in &conns {
        if let Some(due) = rig.net.timeout() {
            rig.now = rig.now.max(due);
            rig.turn_with(Duration::ZERO, |_, _| {});
        }
    }
    assert_eq!(rig.net.timeout(), None, "an idle net with a limit sleeps");
}

#[test]
fn downloads_share_a_limit() {
    let mut rig = limited(0, RATE);
    let (clients, conns): (Vec<TcpStream>, Vec<ConnId>) = (0..2).map(|_| rig.client()).unzip();
    let length = CHUNK_BYTES_MAX;
    let chunk = Message::Chunk(Chunk { req: 9, offset: 0, length, md5: Some(Md5([0; 16])) });
    let bytes = [bytes_of(&[chunk]), vec![7; length as usize]].concat();
    let writers: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            let bytes = [bytes.clone(), bytes.clone()].concat();
            std::thread::spawn(move || {
                write(&mut client, &bytes);
                client
            })
        })
        .collect();
    let (mut chunks, mut complete, mut begun) = (0, [0, 0], [0, 0]);
    while chunks < 4 {
        turn(&mut rig, |net, arrival| match arrival {
            Arrival::Input(Input::Message { conn, .. }) => {
                net.receive(conn, 9, length, HashPlan::Content, Verify::Both);
            }
            Arrival::Input(Input::PayloadProgress { conn, received, .. }) => {
                begun[usize::from(conn == conns[1])] = u64::from(received);
            }
            Arrival::Payload { conn, bytes, .. } => {
                let at = usize::from(conn == conns[1]);
                (chunks, complete[at], begun[at]) = (chunks + 1, complete[at] + bytes.len() as u64, 0);
                net.release(Some(bytes));
            }
            other => panic!("unexpected: {other:?}"),
        });
        expect_limit([complete[0] + begun[0], complete[1] + begun[1]], rig.now);
    }
    let took = rig.now.since(Time::ZERO);
    assert!(took >= Duration::from_millis(3900), "{took:?} for 4 MiB");
    writers.into_iter().for_each(|writer| drop(writer.join().unwrap()));
}

#[test]
fn empty_lines_of_a_control_client_count_as_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control");
    let net = Net::open(&NetOptions { control: Some(path.clone()), ..NetOptions::default() }).unwrap();
    let mut rig = Rig { net, now: Time::ZERO, started: Instant::now() };
    let mut flood = UnixStream::connect(&path).unwrap();
    flood.write_all(&vec![b'\n'; 10 * CONTROL_LINES_PER_TURN]).unwrap();
    flood.write_all(b"last\n").unwrap();
    let mut other = UnixStream::connect(&path).unwrap();
    other.write_all(b"other\n").unwrap();
    let (mut turns, mut lines) = (0, Vec::new());
    while lines.len() < 2 {
        turns += 1;
        rig.turn(|_, arrival| match arrival {
            Arrival::ControlLine { line, .. } => lines.push((turns, line.unwrap())),
            other => panic!("unexpected: {other:?}"),
        });
    }
    assert!(lines[0].0 <= 2 && lines[0].1 == "other", "{lines:?}");
    assert!(lines[1].0 > 10 && lines[1].1 == "last", "{lines:?}");
}
