//! Login mode: handshakes, who is refused, and how much a connection may cost before its login.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

use super::*;
use crate::config::{EARLY_BYTES_MAX, FRAME_BYTES_OPEN, FRAME_PROGRESS_MAX, LOGIN_DEADLINE, WRITE_STALL_MAX};
use crate::net::tls::Tls;
use crate::net::{Counters, TlsIdentity};
use crate::proto::{DialCause, DialId, HashPlan, Verify};
use crate::trust::{PublicKey, SecretKey};
use crate::wire::message::{Bye, Chunk, ErrorCode};
use crate::wire::{HostPort, Md5};

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

fn key(seed: u8) -> PublicKey {
    secret(seed).public()
}

pub(super) fn identity(seed: u8) -> TlsIdentity {
    TlsIdentity::new(&secret(seed)).unwrap()
}

/// A node in login mode, whose key has this seed.
pub(super) fn node(seed: u8) -> Rig {
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let options = NetOptions { listen, tls: Some(identity(seed)), ..NetOptions::default() };
    Rig { net: Net::open(&options).unwrap(), now: Time::ZERO, started: Instant::now() }
}

/// A client of the test itself, which can make every mistake.
pub(super) struct Client {
    pub(super) socket: TcpStream,
    pub(super) tls: Tls,
    plain: Vec<u8>,
    ended: bool,
}

impl Client {
    pub(super) fn new(rig: &Rig, seed: u8) -> Client {
        Client::on(connect(rig.addr()), seed)
    }

    pub(super) fn on(socket: TcpStream, seed: u8) -> Client {
        socket.set_nonblocking(true).unwrap();
        Client { socket, tls: identity(seed).dial(0, None).unwrap(), plain: Vec::new(), ended: false }
    }

    /// Sends sealed bytes, and opens received ones.
    pub(super) fn go_on(&mut self) {
        let unsent = self.tls.unsent().to_vec();
        if !unsent.is_empty() {
            self.socket.write_all(&unsent).unwrap();
            self.tls.on_sent(unsent.len());
        }
        let (mut sealed, mut plain) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        let held = self.tls.held_bytes();
        match self.socket.read(&mut sealed[held..]) {
            Ok(0) => self.ended = true,
            Ok(count) => match self.tls.open(&mut sealed, held + count, &mut plain) {
                Ok(opened) => self.plain.extend_from_slice(&plain[..opened.count]),
                Err(_) => self.ended = true,
            },
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.ended = true,
        }
    }

    fn sealed(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::new();
        let length = self.tls.seal(plain, &mut sealed).unwrap();
        sealed.truncate(length);
        sealed
    }

    /// Completes the handshake, as far as the net is concerned.
    pub(super) fn greet(&mut self, rig: &mut Rig) -> (ConnId, Option<PublicKey>) {
        loop {
            self.go_on();
            let mut accepted = None;
            rig.turn(|_, arrival| match arrival {
                Arrival::Input(Input::Accepted { conn, key, .. }) => accepted = Some((conn, key)),
                other => panic!("unexpected: {other:?}"),
            });
            if let Some(accepted) = accepted {
                return accepted;
            }
        }
    }
}

/// Runs turns of a node until its counters are as wished. The machine gets no input.
pub(super) fn until_counted(rig: &mut Rig, is_so: impl Fn(&Counters) -> bool) {
    while !is_so(&rig.net.counters()) {
        rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    }
}

/// Dials a node. Both have turns alternately. Returns what the dialer gets. If the node gets a
/// connection, returns it with its key.
fn dial(dialer: &mut Rig, target: &mut Rig, expected: Option<PublicKey>) -> (Arrival, Option<(ConnId, PublicKey)>) {
    dialer.net.dial(DialId(7), HostPort::from(target.addr()), expected);
    let (mut result, mut accepted) = (None, None);
    while result.is_none() || matches!(&result, Some(Arrival::Input(Input::Dialed { .. }))) && accepted.is_none() {
        dialer.net.poll(Some(Duration::from_millis(1))).unwrap();
        dialer.turn(|_, arrival| result = Some(arrival));
        target.net.poll(Some(Duration::from_millis(1))).unwrap();
        target.turn(|_, arrival| {
            if let Arrival::Input(Input::Accepted { conn, key: Some(key), since, unix: 0, .. }) = arrival {
                assert_eq!(since, Time::ZERO);
                accepted = Some((conn, key));
            }
        });
    }
    (result.unwrap(), accepted)
}

#[test]
fn both_sides_learn_the_key_of_the_other_and_messages_travel() {
    let (mut a, mut b) = (node(1), node(2));
    let (result, accepted) = dial(&mut a, &mut b, Some(key(2)));
    let Arrival::Input(Input::Dialed { dial: DialId(7), conn: there, key: found, .. }) = result else {
        panic!("unexpected: {result:?}")
    };
    let (here, from) = accepted.unwrap();
    assert_eq!((found, from), (Some(key(2)), key(1)));
    assert_eq!((a.net.counters().handshakes, b.net.counters().handshakes), (1, 1));
    a.net.send(there, &ping(1));
    a.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    assert_eq!(b.until_message(here), ping(1));
    let long = Message::Bye(Bye { why: "x".repeat(50_000) });
    a.net.set_frame_cap(there, FRAME_BYTES_OPEN);
    b.net.send(here, &long);
    b.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    assert_eq!(a.until_message(there), long);
    // Idle connections own no buffers.
    let buffers = |rig: &Rig| [rig.net.conns.send_bytes, rig.net.conns.read_bytes];
    assert_eq!((buffers(&a), buffers(&b)), ([0, 0], [0, 0]));
    a.net.close(there);
    a.turn(|_, _| {});
    assert_eq!(b.until_closed(here), CloseReason::Remote);
}

#[test]
fn a_wrong_key_fails_the_dial_and_both_keys_are_named() {
    let (mut a, mut b) = (node(1), node(2));
    let (result, accepted) = dial(&mut a, &mut b, Some(key(3)));
    let Arrival::Input(Input::DialFailed { why, cause, .. }) = result else { panic!("unexpected: {result:?}") };
    assert_eq!(cause, DialCause::WrongKey { expected: key(3), found: key(2) });
    assert!(why.contains(&key(2).to_string()) && why.contains(&key(3).to_string()), "{why}");
    assert_eq!(accepted, None);
    until_counted(&mut b, |counters| counters.handshakes_failed == 1);
}

#[test]
fn a_node_of_the_other_mode_is_named_in_both_directions() {
    // A TLS client at an open node.
    let (mut login, mut open) = (node(1), Rig::new());
    login.net.dial(DialId(7), HostPort::from(open.addr()), None);
    let mut conn = None;
    let result = loop {
        let mut result = None;
        login.turn(|_, arrival| result = Some(arrival));
        if let Some(result) = result {
            break result;
        }
        open.net.poll(Some(Duration::from_millis(1))).unwrap();
        open.turn(|net, arrival| match arrival {
            Arrival::Input(Input::Accepted { conn: accepted, key: None, .. }) => conn = Some(accepted),
            Arrival::Input(Input::Malformed { conn, error }) => {
                assert!(error.to_string().contains("open mode"), "{error}");
                net.send(conn, &ping(1));
                net.close(conn);
            }
            other => panic!("unexpected: {other:?}"),
        });
    };
    let Arrival::Input(Input::DialFailed { why, cause, .. }) = result else { panic!("unexpected: {result:?}") };
    assert_eq!((cause, open.net.counters().other_mode), (DialCause::OtherMode, 1));
    assert!(why.contains("open mode") && conn.is_some(), "{why}");
    // A plain frame to a node in login mode.
    let mut plain = connect(login.addr());
    write(&mut plain, &bytes_of(&[ping(1)]));
    until_counted(&mut login, |counters| counters.other_mode == 1);
    let Message::Error(error) = read_message(&mut plain) else { panic!("an ERROR is expected") };
    assert_eq!(error.code, ErrorCode::MODE);
    assert!(error.message.contains("login mode"), "{}", error.message);
    let mut web = connect(login.addr());
    write(&mut web, b"GET / HTTP/1.1\r\n\r\n");
    write(&mut web, &[b'x'; 4 * EARLY_BYTES_MAX]);
    until_counted(&mut login, |counters| counters.malformed == 1);
    // Further bytes of the client are read and discarded. They do not keep the loop awake.
    login.settle();
}

#[test]
fn no_record_with_one_bit_flipped_is_taken() {
    let mut rig = node(1);
    let (mut bit, mut bits) = (0, usize::MAX);
    while bit < bits {
        rig.started = Instant::now();
        let (mut client, mut record) = Client::new(&rig, 2).greet_and_seal(&mut rig);
        bits = record.len() * 8;
        record[bit / 8] ^= 1 << (bit % 8);
        bit += 1;
        client.socket.write_all(&record).unwrap();
        client.socket.shutdown(Shutdown::Write).unwrap();
        let mut closed = false;
        while !closed {
            rig.turn(|_, arrival| match arrival {
                Arrival::Input(Input::Closed { .. }) => closed = true,
                other => panic!("bit {bit}: {other:?}"),
            });
        }
    }
    // Of all changes, only a longer length is not an error by itself.
    assert!(rig.net.counters().tls_broken > bits as u64 - 16);
}

impl Client {
    fn greet_and_seal(mut self, rig: &mut Rig) -> (Client, Vec<u8>) {
        let (_, found) = self.greet(rig);
        assert_eq!(found, Some(key(2)));
        let record = self.sealed(&bytes_of(&[ping(1)]));
        (self, record)
    }
}

#[test]
fn a_handshake_of_bytes_that_dribble_ends_in_time() {
    let mut rig = node(1);
    let client = Client::new(&rig, 2);
    let mut socket = client.socket.try_clone().unwrap();
    let hello = client.tls.unsent().to_vec();
    let silent = connect(rig.addr());
    for (at, byte) in hello[..50].iter().enumerate() {
        socket.write_all(&[*byte]).unwrap();
        rig.now = Time::ZERO + LOGIN_DEADLINE / 51 * u32::try_from(at).unwrap();
        rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    }
    assert_eq!(rig.net.counters().handshakes_overdue, 0);
    rig.now = Time::ZERO + LOGIN_DEADLINE + Duration::from_millis(1);
    until_counted(&mut rig, |counters| counters.handshakes_overdue == 2);
    assert_eq!(rig.net.connections(), 0);
    drop(silent);
}

#[test]
fn a_handshake_that_is_too_long_or_no_handshake_is_refused() {
    let mut rig = node(1);
    // A message of the handshake that announces 60,000 bytes, in the longest records.
    let mut long = vec![0x16, 3, 1, 0x40, 0, 1, 0, 0xea, 0x60];
    long.resize(2 * EARLY_BYTES_MAX, 0);
    // A client that offers only TLS 1.2.
    let mut old = vec![0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3];
    old.extend([7; 32]);
    old.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    let random: Vec<u8> = std::iter::once(0x16).chain((1..200_u8).map(|n| n.wrapping_mul(73))).collect();
    for (number, bytes) in [long, old, random].into_iter().enumerate() {
        let mut socket = connect(rig.addr());
        socket.write_all(&bytes).unwrap();
        until_counted(&mut rig, |counters| counters.handshakes_failed == number as u64 + 1);
    }
    // A connection that ends in each of its states.
    let mut half = Client::new(&rig, 2);
    half.go_on();
    rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    drop(half);
    drop(connect(rig.addr()));
    until_counted(&mut rig, |counters| counters.handshakes_failed == 5);
    rig.settle();
    assert_eq!((rig.net.connections(), rig.net.counters().handshakes), (0, 0));
}

#[test]
fn a_certificate_without_its_key_does_not_log_in() {
    let mut rig = node(1);
    let stolen = TlsIdentity::with_stolen_certificate(&secret(9), &secret(2));
    let mut client = Client::new(&rig, 2);
    client.tls = stolen.dial(0, None).unwrap();
    while rig.net.counters().handshakes_failed == 0 {
        client.go_on();
        rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    }
}

#[test]
fn what_comes_before_the_login_is_bounded_and_waits_until_then() {
    let mut rig = node(1);
    let mut client = Client::new(&rig, 2);
    let (conn, _) = client.greet(&mut rig);
    let record = client.sealed(&bytes_of(&vec![ping(1); 4000]));
    assert!(record.len() > 4 * EARLY_BYTES_MAX);
    client.socket.write_all(&record).unwrap();
    let mut messages = 0;
    for _ in 0..20 {
        rig.turn(|_, arrival| match arrival {
            Arrival::Input(Input::Message { .. }) => messages += 1,
            other => panic!("unexpected: {other:?}"),
        });
    }
    assert!(messages * bytes_of(&[ping(1)]).len() <= EARLY_BYTES_MAX, "{messages} messages");
    rig.net.set_frame_cap(conn, FRAME_BYTES_OPEN);
    while messages < 4000 {
        rig.turn(|_, _| messages += 1);
    }
}

#[test]
fn a_record_that_was_begun_must_end_in_time() {
    let mut rig = node(1);
    let mut client = Client::new(&rig, 2);
    let (conn, _) = client.greet(&mut rig);
    let record = client.sealed(&bytes_of(&[ping(1)]));
    client.socket.write_all(&record[..10]).unwrap();
    until_held(&mut rig, conn, 10);
    // More bytes of the same record do not extend the deadline.
    rig.now = Time::ZERO + FRAME_PROGRESS_MAX - Duration::from_secs(1);
    client.socket.write_all(&record[10..12]).unwrap();
    until_held(&mut rig, conn, 12);
    rig.now = Time::ZERO + FRAME_PROGRESS_MAX + Duration::from_secs(1);
    assert_eq!(rig.until_closed(conn), CloseReason::SlowFrame);
}

/// Runs turns until this many bytes of a record are held. The machine gets no input.
fn until_held(rig: &mut Rig, conn: ConnId, bytes: usize) {
    while rig.net.conns.get(conn).unwrap().transport.tls().unwrap().held_bytes() != bytes {
        rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    }
}

#[test]
fn a_record_that_begins_with_the_end_of_another_has_its_own_time() {
    let mut rig = node(1);
    rig.now = Time::ZERO + FRAME_PROGRESS_MAX * 3;
    // The end comes after the last message of a handshake.
    let mut client = Client::new(&rig, 2);
    while !client.tls.is_ready() {
        client.go_on();
        rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    }
    let [one, two] = [1, 2].map(|n| bytes_of(&[ping(n)]));
    let record = client.sealed(&one[..3]);
    let last = client.tls.unsent().to_vec();
    client.tls.on_sent(last.len());
    client.socket.write_all(&[&last, &record[..10]].concat()).unwrap();
    let conn = rig.until(|_, arrival| match arrival {
        Arrival::Input(Input::Accepted { conn, .. }) => Some(conn),
        other => panic!("unexpected: {other:?}"),
    });
    until_held(&mut rig, conn, 10);
    // The end comes after the rest of a frame that took long.
    client.socket.write_all(&record[10..]).unwrap();
    until_held(&mut rig, conn, 0);
    rig.now = rig.now + FRAME_PROGRESS_MAX - Duration::from_secs(1);
    let [rest, next] = [&one[3..], &two[..]].map(|bytes| client.sealed(bytes));
    client.socket.write_all(&[&rest, &next[..10]].concat()).unwrap();
    assert_eq!(rig.until_message(conn), ping(1));
    until_held(&mut rig, conn, 10);
    rig.now = rig.now + FRAME_PROGRESS_MAX - Duration::from_secs(1);
    rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    client.socket.write_all(&next[10..]).unwrap();
    assert_eq!(rig.until_message(conn), ping(2));
}

#[test]
fn an_end_that_comes_with_other_records_is_noticed() {
    let mut rig = node(1);
    let two = |rig: &mut Rig| {
        let mut seen = Vec::new();
        while seen.len() < 2 {
            rig.turn(|_, arrival| seen.push(arrival));
        }
        seen
    };
    // The end comes with a message, and the socket stays open.
    let mut client = Client::new(&rig, 2);
    let (conn, _) = client.greet(&mut rig);
    let message = client.sealed(&bytes_of(&[ping(1)]));
    client.tls.seal_end();
    client.socket.write_all(&[&message, client.tls.unsent()].concat()).unwrap();
    let seen = two(&mut rig);
    assert!(matches!(seen[0], Arrival::Input(Input::Message { .. })), "{seen:?}");
    assert!(matches!(seen[1], Arrival::Input(Input::Closed { conn: of, why: CloseReason::Remote }) if of == conn));
    // The end comes with the last message of the handshake.
    let mut client = Client::new(&rig, 3);
    while !client.tls.is_ready() {
        client.go_on();
        rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    }
    client.tls.seal_end();
    client.go_on();
    let seen = two(&mut rig);
    assert!(matches!(seen[0], Arrival::Input(Input::Accepted { .. })), "{seen:?}");
    assert!(matches!(seen[1], Arrival::Input(Input::Closed { why: CloseReason::Remote, .. })), "{seen:?}");
}

/// A node, and a client that has not read the sealed bytes of the node.
fn unread() -> (Rig, Client, ConnId) {
    let mut rig = node(1);
    // With small kernel buffers, the remaining bytes stay in the node.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(1).unwrap();
    socket.connect(&rig.addr().into()).unwrap();
    let mut client = Client::on(socket.into(), 2);
    let (conn, _) = client.greet(&mut rig);
    socket2::SockRef::from(rig.net.conns.get(conn).unwrap().transport.stream()).set_send_buffer_size(1).unwrap();
    rig.net.send(conn, &Message::Bye(Bye { why: "x".repeat(30_000) }));
    rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    assert!(unsent(&rig, conn) > 0 && rig.net.conns.get(conn).unwrap().send.is_empty());
    (rig, client, conn)
}

fn unsent(rig: &Rig, conn: ConnId) -> usize {
    rig.net.conns.get(conn).unwrap().transport.unsent_bytes()
}

#[test]
fn what_is_sealed_and_not_read_goes_when_memory_is_short() {
    let (mut rig, _client, conn) = unread();
    rig.net.close_unread(1);
    assert_eq!(rig.until_closed(conn), CloseReason::SlowConsumer);
    assert_eq!(rig.net.counters().unread_closed, 1);
}

#[test]
fn a_client_that_reads_a_long_record_slowly_makes_progress() {
    let (mut rig, mut client, conn) = unread();
    for _ in 0..3 {
        let before = unsent(&rig, conn);
        rig.now = rig.now + WRITE_STALL_MAX - Duration::from_secs(1);
        while unsent(&rig, conn) == before {
            client.go_on();
            rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
        }
        assert!(unsent(&rig, conn) > 0, "the socket has taken all at once, so nothing was tested");
    }
}

#[test]
fn one_turn_computes_one_handshake_however_many_wait() {
    let mut rig = node(1);
    let mut served = Client::new(&rig, 2);
    let (conn, _) = served.greet(&mut rig);
    let mut crowd: Vec<Client> = (0..20).map(|_| Client::new(&rig, 3)).collect();
    let mut done = rig.net.counters().handshakes;
    let mut messages = 0;
    while rig.net.counters().handshakes < 21 {
        crowd.iter_mut().for_each(Client::go_on);
        let record = served.sealed(&bytes_of(&[ping(1)]));
        served.socket.write_all(&record).unwrap();
        let mut heard = 0;
        rig.turn(|_, arrival| {
            heard += usize::from(matches!(arrival, Arrival::Input(Input::Message { conn: from, .. }) if from == conn));
        });
        assert!(rig.net.counters().handshakes <= done + 1, "two handshakes in one turn");
        done = rig.net.counters().handshakes;
        messages += heard;
        rig.net.set_frame_cap(conn, FRAME_BYTES_OPEN);
    }
    assert!(messages > 20, "{messages} messages of a session beside 20 handshakes");
}

#[test]
fn an_address_with_too_many_handshakes_is_refused_at_the_door() {
    let mut rig = node(1);
    let from = "127.0.0.1".parse().unwrap();
    while rig.net.conns.admission.admit(from, Time::ZERO) {}
    let mut client = Client::new(&rig, 2);
    client.go_on();
    until_counted(&mut rig, |counters| counters.address_limited == 1);
    rig.net.conns.admission.exempts_loopback = true;
    Client::new(&rig, 2).greet(&mut rig);
}

#[test]
fn chunks_travel_between_frames() {
    let content: Vec<u8> = (0..1_000_003_u32).map(|n| (n * 31 + n / 251) as u8).collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&content).unwrap();
    let file: Arc<File> = Arc::new(file);
    let (mut a, mut b) = (node(1), node(2));
    let (result, accepted) = dial(&mut a, &mut b, None);
    let Arrival::Input(Input::Dialed { conn: there, .. }) = result else { panic!("unexpected: {result:?}") };
    let here = accepted.unwrap().0;
    let length = u32::try_from(content.len()).unwrap();
    for req in 0..3 {
        b.net.send(here, &Message::Chunk(Chunk { req, offset: 0, length, md5: Some(Md5([0; 16])) }));
        b.net.send_file(here, req, file.clone(), 0, length);
    }
    b.net.send(here, &ping(9));
    let (mut chunks, mut last) = (0, false);
    while !last {
        b.net.poll(Some(Duration::ZERO)).unwrap();
        b.turn(|_, arrival| assert!(matches!(arrival, Arrival::Input(Input::PayloadSent { .. })), "{arrival:?}"));
        a.net.poll(Some(Duration::ZERO)).unwrap();
        a.turn(|net, arrival| match arrival {
            Arrival::Input(Input::Message { conn, message: Message::Chunk(chunk) }) => {
                net.receive(conn, chunk.req, length, HashPlan::Content, Verify::Both);
            }
            Arrival::Input(Input::PayloadProgress { .. }) => {}
            Arrival::Payload { bytes, .. } => {
                assert!(bytes == content, "chunk {chunks}");
                chunks += 1;
                net.release(Some(bytes));
            }
            Arrival::Input(Input::Message { conn, message }) if conn == there => last = message == ping(9),
            other => panic!("unexpected: {other:?}"),
        });
    }
    assert_eq!(chunks, 3);
}

/// A client in another language: it has a certificate of its own, sends HELLO, and reads the
/// answer.
const PYTHON: &str = r#"
import socket, ssl, sys
port, certificate, key, ping = int(sys.argv[1]), sys.argv[2], sys.argv[3], bytes.fromhex(sys.argv[4])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.load_cert_chain(certificate, key)
with context.wrap_socket(socket.create_connection(("127.0.0.1", port))) as conn:
    assert conn.version() == "TLSv1.3"
    conn.sendall(ping)
    answer = conn.recv(len(ping))
    assert answer == ping, answer
    assert conn.recv(1) == b""
print("done")
"#;

/// Runs a program, and turns of the node until the program ends. Returns its output, and the keys
/// that the node has seen.
fn run(rig: &mut Rig, program: &str, args: &[&str]) -> Option<(String, Vec<Option<PublicKey>>)> {
    use std::process::{Command, Stdio};
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    let mut keys = Vec::new();
    rig.started = Instant::now();
    // The program may end before the node has read everything that it sent.
    while child.try_wait().unwrap().is_none() || rig.net.connections() > 0 {
        rig.turn(|net, arrival| match arrival {
            Arrival::Input(Input::Accepted { key, .. }) => keys.push(key),
            Arrival::Input(Input::Message { conn, message }) => {
                net.send(conn, &message);
                net.close(conn);
            }
            _ => {}
        });
    }
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    Some((String::from_utf8_lossy(&text).into_owned(), keys))
}

#[test]
fn openssl_and_python_get_through_the_handshake() {
    let mut rig = node(1);
    let folder = tempfile::tempdir().unwrap();
    let [key, certificate] = ["key.pem", "cert.pem"].map(|name| folder.path().join(name).display().to_string());
    let made = run(&mut rig, "openssl", &["genpkey", "-algorithm", "ed25519", "-out", &key]);
    if made.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI needs openssl");
        return;
    }
    let request = ["req", "-x509", "-key", &key, "-out", &certificate, "-subj", "/CN=x", "-days", "1"];
    run(&mut rig, "openssl", &request).unwrap();
    let addr = rig.addr().to_string();
    let client = ["s_client", "-connect", &addr, "-cert", &certificate, "-key", &key];
    let (text, keys) = run(&mut rig, "openssl", &client).unwrap();
    assert!(text.contains("TLSv1.3") && keys.len() == 1 && keys[0].is_some(), "{keys:?}: {text}");
    let old = [&client[..], &["-tls1_2"]].concat();
    let (text, keys) = run(&mut rig, "openssl", &old).unwrap();
    assert!(text.contains("alert") && keys.is_empty(), "{keys:?}: {text}");
    // A client without a certificate is refused.
    let (text, keys) = run(&mut rig, "openssl", &client[..3]).unwrap();
    assert!(keys.is_empty(), "{keys:?}: {text}");
    let hex: String = bytes_of(&[ping(1)]).iter().map(|byte| format!("{byte:02x}")).collect();
    let port = rig.addr().port().to_string();
    let python = run(&mut rig, "python3", &["-c", PYTHON, &port, &certificate, &key, &hex]);
    let Some((text, keys)) = python else { return };
    assert!(text.contains("done") && keys.len() == 1, "{keys:?}: {text}");
}

/// Random numbers that are the same in each run.
fn numbers(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below.max(1)
    }
}

/// Changes, cuts or repeats some bytes.
fn mutate(bytes: &mut Vec<u8>, number: &mut impl FnMut(usize) -> usize) {
    for _ in 0..=number(4) {
        let at = number(bytes.len());
        match number(4) {
            0 => bytes.truncate(at),
            1 => bytes.extend_from_within(at..),
            2 if !bytes.is_empty() => bytes[at] = u8::try_from(number(256)).unwrap(),
            _ if !bytes.is_empty() => bytes[at] ^= 1 << number(8),
            _ => {}
        }
    }
}

/// Gives bytes to one side, split at any place.
fn give(to: &mut Tls, bytes: &[u8], number: &mut impl FnMut(usize) -> usize) -> bool {
    let (mut sealed, mut plain) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut rest = bytes;
    while !rest.is_empty() {
        let count = 1 + number(rest.len().min(4096));
        let held = to.held_bytes();
        sealed[held..held + count].copy_from_slice(&rest[..count]);
        rest = &rest[count..];
        if to.open(&mut sealed, held + count, &mut plain).is_err() {
            return false;
        }
    }
    true
}

#[test]
fn no_changed_bytes_before_the_login_are_more_than_a_refusal() {
    let (ours, theirs) = (identity(1), identity(2));
    for seed in 0..400 {
        let mut number = numbers(seed);
        let (mut server, mut client) = (ours.accept().unwrap(), theirs.dial(seed, None).unwrap());
        // Which messages are changed: those of the client, those of the server, or the client's
        // second ones.
        let changed = number(3);
        for flight in 0..3 {
            let (from, to) = if flight == 1 { (&mut server, &mut client) } else { (&mut client, &mut server) };
            let whole = from.unsent().to_vec();
            from.on_sent(whole.len());
            let mut bytes = whole.clone();
            if flight == changed {
                mutate(&mut bytes, &mut number);
            }
            if !give(to, &bytes, &mut number) || bytes != whole {
                assert!(bytes.starts_with(&whole) || !server.is_ready(), "seed {seed}: flight {flight}");
                break;
            }
        }
    }
}
