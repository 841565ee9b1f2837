//! Connections without a login: how many there may be, and which of them make room for others.

use super::tls::{Client, node, until_counted};
use super::*;
use crate::config::FRAME_BYTES_OPEN;

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
