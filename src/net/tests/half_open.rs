//! Connections without a login: how many there may be, and which of them make room for others.

use std::io::ErrorKind;

use super::tls::{Client, identity, node, until_counted};
use super::*;
use crate::config::{FRAME_BYTES_OPEN, HALF_OPEN_GRACE, HALF_OPEN_RETRY};

/// A node at which 64 connections may be without a login, and one of each host has a grace.
const PLACES: usize = 64;

fn small() -> Rig {
    with_places(node(1))
}

fn with_places(mut rig: Rig) -> Rig {
    rig.net.conns.conns_max = 2 * PLACES;
    rig.now = Time::ZERO + Duration::from_secs(10);
    rig
}

/// A connection from a host of this number.
fn from(rig: &Rig, host: usize) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let [high, low] = u16::try_from(host).unwrap().to_be_bytes();
    socket.bind(&SocketAddr::from(([127, 1, high, low], 0)).into()).unwrap();
    socket.connect(&rig.addr().into()).unwrap();
    socket.into()
}

/// A client that is accepted and has sent nothing.
fn silent(rig: &mut Rig, host: usize) -> Client {
    let client = Client::on(from(rig, host), 2);
    let accepted = rig.net.counters().accepted;
    until_counted(rig, |counters| counters.accepted == accepted + 1);
    client
}

/// Clients that are accepted and have sent nothing, one of each host, until there is no place.
fn fill(rig: &mut Rig) -> Vec<Client> {
    (0..PLACES).map(|host| silent(rig, host)).collect()
}

/// The client gets the answer to its ClientHello. It does not answer.
fn until_answered(rig: &mut Rig, client: &mut Client) {
    while !client.tls.is_ready() {
        client.go_on();
        rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    }
}

fn is_closed(client: &mut Client) -> bool {
    !matches!(client.socket.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn the_oldest_connection_that_has_not_logged_in_makes_room() {
    let mut rig = node(1);
    rig.net.conns.conns_max = 4;
    let mut first = Client::new(&rig, 2);
    let (accepted, _) = first.greet(&mut rig);
    let mut second = Client::new(&rig, 3);
    let (logged_in, _) = second.greet(&mut rig);
    rig.net.set_frame_cap(logged_in, FRAME_BYTES_OPEN);
    let third = connect(rig.addr());
    rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    let fourth = connect(rig.addr());
    assert_eq!(rig.until_closed(accepted), CloseReason::Crowded);
    assert_eq!(rig.net.counters().half_open_evicted, 1);
    assert!(rig.net.is_open(logged_in));
    drop((third, fourth));
}

#[test]
fn a_crowd_without_a_login_does_not_displace_another_host() {
    let mut rig = node(1);
    rig.net.conns.conns_max = 8;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    socket.connect(&rig.addr().into()).unwrap();
    let mut other = Client::on(socket.into(), 2);
    let (conn, _) = other.greet(&mut rig);
    let crowd: Vec<TcpStream> = (0..6).map(|_| connect(rig.addr())).collect();
    until_counted(&mut rig, |counters| counters.half_open_evicted == 3);
    assert!(rig.net.is_open(conn), "it came first, but is the only one of its host");
    drop((other, crowd));
}

#[test]
fn while_none_may_be_closed_new_connections_wait_in_the_kernel() {
    let mut rig = small();
    let mut first = fill(&mut rig);
    let _newcomer = from(&rig, PLACES);
    until_counted(&mut rig, |counters| counters.half_open_waits == 1);
    assert!(!rig.net.is_busy(), "a listener that waits must not keep the loop awake");
    assert_eq!(rig.net.timeout(), Some(rig.now + HALF_OPEN_RETRY));
    // The grace of 64 places is longer than one wait, and shorter than two.
    rig.now = rig.now + HALF_OPEN_RETRY;
    until_counted(&mut rig, |counters| counters.half_open_waits == 2);
    assert_eq!((rig.net.connections(), rig.net.counters().half_open_evicted), (PLACES, 0));
    rig.now = rig.now + HALF_OPEN_RETRY;
    until_counted(&mut rig, |counters| counters.half_open_evicted == 1);
    assert_eq!((rig.net.connections(), rig.net.counters().half_open_waits), (PLACES, 2));
    assert_eq!(first.iter_mut().map(is_closed).filter(|is_closed| *is_closed).count(), 1);
}

#[test]
fn a_place_that_becomes_free_is_given_at_once() {
    let mut rig = small();
    let mut first = fill(&mut rig);
    let _newcomer = from(&rig, PLACES);
    until_counted(&mut rig, |counters| counters.half_open_waits == 1);
    drop(first.pop());
    until_counted(&mut rig, |counters| counters.accepted == PLACES as u64 + 1);
    assert_eq!((rig.net.connections(), rig.net.counters().half_open_evicted), (PLACES, 0));
}

#[test]
fn a_host_with_more_than_its_share_makes_room_at_once() {
    let mut rig = small();
    let mut first: Vec<Client> = (0..PLACES).map(|n| silent(&mut rig, n.max(1))).collect();
    let _newcomer = silent(&mut rig, PLACES);
    assert_eq!(rig.net.counters().half_open_evicted, 1);
    let closed: Vec<usize> = (0..PLACES).filter(|n| is_closed(&mut first[*n])).collect();
    assert!(closed == [0] || closed == [1], "{closed:?}");
}

#[test]
fn a_step_of_the_login_counts_as_progress_and_bytes_alone_do_not() {
    let mut rig = small();
    let mut steps = silent(&mut rig, 0);
    let mut dribbles = silent(&mut rig, 1);
    rig.now = rig.now + HALF_OPEN_RETRY;
    let mut others: Vec<Client> = (2..PLACES).map(|host| silent(&mut rig, host)).collect();
    rig.now = rig.now + HALF_OPEN_GRACE;
    until_answered(&mut rig, &mut steps);
    let half = dribbles.tls.unsent()[..50].to_vec();
    write(&mut dribbles.socket, &half);
    let before = rig.net.conns.read_bytes;
    while rig.net.conns.read_bytes == before {
        rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    }
    let _newcomer = silent(&mut rig, PLACES);
    assert_eq!(rig.net.counters().half_open_evicted, 1);
    assert!(is_closed(&mut dribbles));
    assert!(!others.iter_mut().any(is_closed));
    steps.greet(&mut rig);
}

#[test]
fn a_connection_that_waits_for_this_node_is_not_closed_for_another_one() {
    let mut rig = small();
    let mut first = fill(&mut rig);
    rig.now = rig.now + HALF_OPEN_GRACE;
    // One turn computes one of these handshakes; the other two wait.
    first[..3].iter_mut().for_each(Client::go_on);
    let _newcomer = from(&rig, PLACES);
    let are_ready = |net: &Net| {
        let ready = net.conns.table.ids().filter(|(_, conn)| conn.queued).count();
        ready == 3 && net.acceptor.as_ref().unwrap().is_busy()
    };
    while !are_ready(&rig.net) {
        rig.net.poll(Some(Duration::from_millis(200))).unwrap();
        assert!(rig.started.elapsed() < GUARD, "the bytes did not arrive");
    }
    rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    let counters = rig.net.counters();
    assert_eq!((counters.accepted, counters.half_open_evicted), (PLACES as u64 + 1, 1));
    for client in &mut first[..3] {
        client.greet(&mut rig);
    }
}

#[test]
fn many_hosts_that_return_together_and_send_late_all_log_in() {
    const HOSTS: usize = 3 * PLACES;
    let mut rig = small();
    let mut clients: Vec<Client> = (0..HOSTS).map(|host| Client::on(from(&rig, host), 2)).collect();
    // Their first bytes come one round trip after those that have a place were accepted.
    until_counted(&mut rig, |counters| counters.half_open_waits == 1);
    rig.now = rig.now + HALF_OPEN_RETRY;
    let mut logged_in = 0;
    while logged_in < HOSTS {
        clients
            .iter_mut()
            .filter(|client| !client.tls.is_ready() || !client.tls.unsent().is_empty())
            .for_each(Client::go_on);
        rig.turn_with(Duration::ZERO, |net, arrival| match arrival {
            Arrival::Input(Input::Accepted { conn, .. }) => {
                net.set_frame_cap(conn, FRAME_BYTES_OPEN);
                net.close(conn);
                logged_in += 1;
            }
            Arrival::Input(Input::Closed { .. }) => {}
            other => panic!("unexpected: {other:?}"),
        });
        rig.now = rig.now + Duration::from_millis(1);
    }
    assert_eq!(rig.net.counters().half_open_evicted, 0);
}

#[test]
fn a_silent_crowd_of_many_hosts_delays_a_login_by_little() {
    let mut rig = small();
    let crowd: Vec<TcpStream> = (0..4 * PLACES).map(|host| from(&rig, host)).collect();
    let mut honest = Client::on(from(&rig, 4 * PLACES), 2);
    let began = rig.now;
    let mut is_in = false;
    while !is_in {
        honest.go_on();
        rig.turn_with(Duration::ZERO, |_, arrival| is_in |= matches!(arrival, Arrival::Input(Input::Accepted { .. })));
        // The time passes only while the listener waits.
        let until = rig.now + HALF_OPEN_RETRY;
        if rig.net.timeout().is_some_and(|due| due <= until) && !rig.net.is_busy() {
            rig.now = until;
        }
    }
    // Four times 64 connections are before it, and none of them has a grace of more than two waits.
    assert!(rig.now.since(began) <= 4 * 2 * HALF_OPEN_RETRY, "{:?}", rig.now.since(began));
    drop(crowd);
}

#[test]
fn the_page_does_not_wait_for_logins() {
    let options = NetOptions {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        http: Some("127.0.0.1:0".parse().unwrap()),
        tls: Some(identity(1)),
        ..NetOptions::default()
    };
    let net = Net::open(&options).unwrap();
    let mut rig = with_places(Rig { net, now: Time::ZERO, started: Instant::now() });
    let _first = fill(&mut rig);
    let _newcomer = from(&rig, PLACES);
    until_counted(&mut rig, |counters| counters.half_open_waits == 1);
    let mut viewer = connect(rig.net.page_addr().unwrap());
    write(&mut viewer, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    rig.until(|_, arrival| matches!(arrival, Arrival::Http { .. }).then_some(()));
}
