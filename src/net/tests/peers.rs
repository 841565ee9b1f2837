//! Dials, and datagrams with others.

use std::net::{TcpListener, UdpSocket};

use super::*;
use crate::proto::{DialId, Undelivered};
use crate::wire::ids::QueryId;
use crate::wire::link::{self, LinkRef};
use crate::wire::{HostPort, LinkMessage};

fn local(text: &str) -> UdpSocket {
    let socket = UdpSocket::bind(text).unwrap();
    socket.set_read_timeout(Some(GUARD)).unwrap();
    socket
}

fn note(n: u8) -> LinkMessage {
    LinkMessage::Pending(LinkRef { id: QueryId([n; 16]), ttl: n })
}

/// A port at which nothing listens.
fn dead_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn messages_of_one_turn_and_destination_share_a_datagram() {
    let mut rig = Rig::new();
    let (one, two) = (local("127.0.0.1:0"), local("127.0.0.1:0"));
    for n in 0..3 {
        rig.net.send_to((None, one.local_addr().unwrap()), None, 7, &note(n));
        rig.net.send_to((None, two.local_addr().unwrap()), None, 8, &note(n + 10));
    }
    rig.net.flush(in_time);
    for (socket, boot, first) in [(one, 7, 0), (two, 8, 10)] {
        let mut bytes = [0; 2000];
        let (length, from) = socket.recv_from(&mut bytes).unwrap();
        assert_eq!(from, rig.addr(), "datagrams come from the listener's port number");
        let expected = (first..first + 3).map(note).collect::<Vec<_>>();
        assert_eq!(link::decode(&bytes[..length]), Ok((boot, expected)));
    }
    assert_eq!(rig.net.counters().datagrams_out, 2);
}

#[test]
fn another_boot_id_needs_another_datagram() {
    let mut rig = Rig::new();
    let peer = local("127.0.0.1:0");
    rig.net.send_to((None, peer.local_addr().unwrap()), None, 1, &note(1));
    rig.net.send_to((None, peer.local_addr().unwrap()), None, 2, &note(2));
    rig.net.flush(in_time);
    for boot in [1, 2] {
        let mut bytes = [0; 2000];
        let length = peer.recv(&mut bytes).unwrap();
        assert_eq!(link::decode(&bytes[..length]), Ok((boot, vec![note(u8::try_from(boot).unwrap())])));
    }
}

#[test]
fn a_datagram_arrives_whole_with_its_sender() {
    let mut rig = Rig::new();
    let peer = local("127.0.0.1:0");
    let sent = [vec![1; 20], Vec::new(), [vec![1], vec![2; 1249]].concat()];
    for datagram in &sent {
        peer.send_to(datagram, rig.addr()).unwrap();
    }
    let mut got = Vec::new();
    while got.len() < sent.len() {
        rig.turn(|net, arrival| match arrival {
            Arrival::Datagram(taken) => {
                assert_eq!(taken.from, peer.local_addr().unwrap());
                got.push(net.datagram(&taken).to_vec());
            }
            other => panic!("unexpected: {other:?}"),
        });
    }
    assert_eq!(got, sent);
}

#[test]
fn a_neighbor_that_sends_much_does_not_hold_up_the_others() {
    let mut rig = Rig::new();
    let (neighbor, other) = (local("127.0.0.1:0"), local("127.0.0.1:0"));
    // After this message the neighbor has a socket of its own.
    rig.net.send_to((None, neighbor.local_addr().unwrap()), None, 7, &note(1));
    rig.net.flush(in_time);
    for _ in 0..100 {
        neighbor.send_to(&[1; 20], rig.addr()).unwrap();
    }
    other.send_to(&[1; 20], rig.addr()).unwrap();
    let mut from = Vec::new();
    while from.len() < 101 {
        rig.turn(|_, arrival| match arrival {
            Arrival::Datagram(taken) => from.push(taken.from),
            other => panic!("unexpected: {other:?}"),
        });
    }
    let place = from.iter().position(|addr| *addr == other.local_addr().unwrap());
    assert!(place.is_some_and(|place| place < 2), "{place:?}");
}

#[test]
fn a_datagram_that_a_neighbor_does_not_get_is_reported() {
    let mut rig = Rig::new();
    let to = local("127.0.0.1:0").local_addr().unwrap();
    for _ in 0..3 {
        rig.net.send_to((None, to), None, 7, &note(1));
        rig.net.flush(in_time);
        let why = rig.until(|_, arrival| match arrival {
            Arrival::Input(Input::Undelivered { to: of, why }) if of == to => Some(why),
            other => panic!("unexpected: {other:?}"),
        });
        assert_eq!(why, Undelivered::Refused);
        rig.settle();
    }
}

#[test]
fn both_families_reach_a_listener_on_all_addresses_under_their_own_names() {
    let mut rig = Rig::listening("[::]:0");
    let port = rig.addr().port();
    let peer = local("127.0.0.1:0");
    let stream = connect(SocketAddr::from(([127, 0, 0, 1], port)));
    peer.send_to(b"x", ("127.0.0.1", port)).unwrap();
    let (mut stream_from, mut datagram_from) = (None, None);
    while stream_from.is_none() || datagram_from.is_none() {
        rig.turn(|_, arrival| match arrival {
            Arrival::Input(Input::Accepted { from, .. }) => stream_from = Some(from),
            Arrival::Datagram(taken) => datagram_from = Some(taken.from),
            other => panic!("unexpected: {other:?}"),
        });
    }
    assert_eq!(stream_from, Some(stream.local_addr().unwrap()));
    assert_eq!(datagram_from, Some(peer.local_addr().unwrap()));
    rig.net.send_to((None, peer.local_addr().unwrap()), None, 3, &note(1));
    rig.net.flush(in_time);
    let mut bytes = [0; 2000];
    let length = peer.recv(&mut bytes).unwrap();
    assert_eq!(link::decode(&bytes[..length]), Ok((3, vec![note(1)])));
}

#[test]
fn a_dial_is_reported_before_anything_else_of_its_connection() {
    for host in ["127.0.0.1", "localhost"] {
        let mut rig = Rig::new();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            write(&mut stream, &bytes_of(&[ping(1)]));
            stream
        });
        rig.net.dial(DialId(4), HostPort::new(host, port).unwrap(), None);
        let mut dialed = None;
        let message = rig.until(|_, arrival| match arrival {
            Arrival::Input(Input::Dialed { dial: DialId(4), conn, own, .. }) => {
                assert!(own.here.is_some_and(|here| here.is_loopback()), "{own:?}");
                dialed = Some(conn);
                None
            }
            Arrival::Input(Input::Message { conn, message }) => {
                assert_eq!(dialed, Some(conn));
                Some(message)
            }
            other => panic!("unexpected: {other:?}"),
        });
        assert_eq!(message, ping(1));
        drop(serving.join().unwrap());
    }
}

#[test]
fn a_refused_dial_fails_with_the_address_and_the_reason() {
    for host in ["127.0.0.1", "localhost"] {
        let mut rig = Rig::new();
        let to = HostPort::new(host, dead_port()).unwrap();
        rig.net.dial(DialId(5), to.clone(), None);
        let why = rig.until(|_, arrival| match arrival {
            Arrival::Input(Input::DialFailed { dial: DialId(5), why, .. }) => Some(why),
            other => panic!("unexpected: {other:?}"),
        });
        assert!(why.contains(&to.to_string()) && why.contains("refused"), "{why}");
        rig.settle();
        assert_eq!(rig.net.connections(), 0, "the slot of a failed dial is free again");
    }
}

#[test]
fn a_name_that_does_not_exist_fails_its_dial() {
    let mut rig = Rig::new();
    rig.net.dial(DialId(6), HostPort::new("no-such-host.invalid", 1).unwrap(), None);
    let why = rig.until(|_, arrival| match arrival {
        Arrival::Input(Input::DialFailed { dial: DialId(6), why, .. }) => Some(why),
        other => panic!("unexpected: {other:?}"),
    });
    assert!(why.contains("no-such-host.invalid:1"), "{why}");
}
