//! What happens when descriptors run out. It runs in a process of its own.

use std::fs::File;
use std::io::Read;
use std::process::Command;

use rustix::process::{Resource, Rlimit, setrlimit};

use super::*;
use crate::config::{ACCEPT_RETRY, CROWD_BATCH, FREED_PER_TURN};
use crate::net::reactor::Reserve;

#[test]
fn a_lack_of_descriptors_refuses_some_and_spins_for_none() {
    let this = std::env::current_exe().unwrap();
    let child = "net::tests::descriptors::with_few_descriptors";
    let output = Command::new(this).args(["--exact", child, "--ignored", "--nocapture"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "takes all descriptors of its process: run by the test above"]
fn with_few_descriptors() {
    let few = Some(100);
    setrlimit(Resource::Nofile, Rlimit { current: few, maximum: few }).unwrap();
    let mut rig = Rig::new();
    let (mut served, conn) = rig.client();
    let mut waiting = connect(rig.addr());
    let hoard: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(!hoard.is_empty());
    // First the machine is asked to close idle connections. Here it closes none.
    let excess = rig.until(|_, arrival| match arrival {
        Arrival::Input(Input::Crowded { excess }) => Some(excess),
        other => panic!("unexpected: {other:?}"),
    });
    assert_eq!((excess, rig.net.counters().accept_stalls), (CROWD_BATCH, 1));
    rig.net.acceptor.as_mut().unwrap().refusals_left = 1;
    rig.now = rig.now + ACCEPT_RETRY;
    while rig.net.counters().accept_stalls == 1 {
        rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    }
    // The waiting connection got an ERROR and the listener rests. All other connections are served.
    assert_eq!(waiting.read(&mut [0]).unwrap_or(0), 0);
    assert_eq!(rig.net.counters().refused, 1);
    assert!(!rig.net.is_busy(), "a stalled listener must not keep the loop awake");
    assert_eq!(rig.net.timeout(), Some(rig.now + ACCEPT_RETRY));
    write(&mut served, &bytes_of(&[ping(1)]));
    assert_eq!(rig.until_message(conn), ping(1));
    drop(hoard);
    rig.now = rig.now + ACCEPT_RETRY;
    rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    let (_client, _conn) = rig.client();
}

#[test]
fn connections_above_what_descriptors_allow_are_refused_until_one_is_freed() {
    let mut rig = Rig::new();
    (rig.net.conns.conns_max, rig.net.conns.newcomers_max) = (1, 0);
    let (first, conn) = rig.client();
    let mut second = connect(rig.addr());
    while rig.net.counters().refused == 0 {
        rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    }
    assert_eq!(second.read(&mut [0]).unwrap(), 0);
    drop(first);
    assert_eq!(rig.until_closed(conn), CloseReason::Remote);
    let (_third, _) = rig.client();
    assert_eq!(rig.net.counters().refused, 1);
}

#[test]
fn a_newcomer_is_accepted_and_an_idle_connection_closed_for_it_at_once() {
    let mut rig = Rig::new();
    (rig.net.conns.conns_max, rig.net.conns.newcomers_max) = (2, 1);
    let (mut first, idle) = rig.client();
    let (mut second, busy) = rig.client();
    let _third = connect(rig.addr());
    let mut newcomer = None;
    let why = rig.until(|net, arrival| match arrival {
        Arrival::Input(Input::Accepted { conn, .. }) => {
            newcomer = Some(conn);
            None
        }
        Arrival::Input(Input::Crowded { excess: 1 }) => {
            assert!(newcomer.is_some(), "it is asked for connections that are there");
            net.send(idle, &ping(9));
            net.close(idle);
            None
        }
        Arrival::Input(Input::Closed { conn, why }) => Some((conn, why)),
        other => panic!("unexpected: {other:?}"),
    });
    assert_eq!(why, (idle, CloseReason::Asked), "it does not linger");
    assert_eq!(read_message(&mut first), ping(9), "what was queued is written");
    assert_eq!(first.read(&mut [0]).unwrap(), 0);
    assert_eq!(rig.net.connections(), 2);
    write(&mut second, &bytes_of(&[ping(1)]));
    assert_eq!(rig.until_message(busy), ping(1));
    assert_eq!((rig.net.counters().refused, rig.net.counters().crowded), (0, 1));
}

#[test]
fn a_connection_that_lingers_goes_before_any_other() {
    let mut rig = Rig::new();
    (rig.net.conns.conns_max, rig.net.conns.newcomers_max) = (2, 1);
    let (mut first, lingers) = rig.client();
    let (_second, _) = rig.client();
    rig.net.close(lingers);
    rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    assert_eq!(first.read(&mut [0]).unwrap(), 0);
    assert_eq!(rig.net.connections(), 2, "it lingers");
    let _third = connect(rig.addr());
    assert_eq!(rig.until_closed(lingers), CloseReason::Asked);
    rig.settle();
    assert_eq!((rig.net.connections(), rig.net.counters().crowded), (2, 0));
}

#[test]
fn while_descriptors_are_short_a_turn_frees_many_connections_however_late_it_is() {
    const MORE: usize = 10;
    let mut rig = Rig::new();
    let (clients, conns): (Vec<TcpStream>, Vec<ConnId>) = (0..FREED_PER_TURN + MORE).map(|_| rig.client()).unzip();
    // All descriptors are in use.
    rig.net.conns.conns_max = conns.len();
    drop(clients);
    while !conns.iter().all(|conn| rig.net.conns.get(*conn).is_some_and(|conn| conn.hung_up)) {
        rig.net.poll(Some(Duration::from_millis(200))).unwrap();
        assert!(rig.started.elapsed() < GUARD, "the ends did not arrive");
    }
    let mut closed = 0;
    rig.net.begin_turn(rig.now, 0);
    while let Some(arrival) = rig.net.next() {
        assert!(matches!(arrival, Arrival::Input(Input::Closed { .. })), "unexpected: {arrival:?}");
        closed += 1;
    }
    rig.net.end_turn(late());
    assert_eq!((closed, rig.net.connections()), (conns.len(), MORE));
    // Now descriptors are left, so that the time counts.
    rig.net.begin_turn(rig.now, 0);
    assert!(rig.net.next().is_none());
    rig.net.end_turn(late());
    assert_eq!(rig.net.connections(), MORE - 1);
}

#[test]
fn a_dial_finds_room_as_a_newcomer_does() {
    let mut rig = Rig::new();
    (rig.net.conns.conns_max, rig.net.conns.newcomers_max) = (1, 1);
    let (_first, idle) = rig.client();
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to = server.local_addr().unwrap().into();
    rig.net.dial(crate::proto::DialId(1), to, None);
    let mut dialed = false;
    let mut closed = false;
    while !(dialed && closed) {
        rig.turn(|net, arrival| match arrival {
            Arrival::Input(Input::Dialed { .. }) => dialed = true,
            Arrival::Input(Input::Crowded { excess: 1 }) => net.close(idle),
            Arrival::Input(Input::Closed { conn, .. }) => closed = conn == idle,
            other => panic!("unexpected: {other:?}"),
        });
    }
    assert_eq!(rig.net.connections(), 1);
}

#[test]
fn descriptors_are_shared_out_for_every_limit() {
    for descriptors in [1, 16, 100, 256, 1024, 20_000, 1 << 20, usize::MAX] {
        let Reserve { conns_max, newcomers_max, clients_max } = Reserve::of(descriptors);
        assert!(conns_max >= 1 && clients_max >= 1);
        let all = conns_max + newcomers_max + clients_max;
        assert!(descriptors < 16 || all < descriptors, "{descriptors}: {all} leave none for files");
    }
}
