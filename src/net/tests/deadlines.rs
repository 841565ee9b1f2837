//! Connections that are too slow, by a clock that the test sets.

use std::io::Read;

use super::*;
use crate::config::{DEADLINES_SPARE, DIAL_TIMEOUT, FRAME_PROGRESS_MAX, LATE_STEPS, LINGER_MAX, WRITE_STALL_MAX};
use crate::proto::DialId;
use crate::wire::HostPort;
use crate::wire::message::Bye;

/// Just short of a duration.
fn almost(duration: Duration) -> Duration {
    duration - Duration::from_millis(1)
}

impl Rig {
    /// A client whose first three bytes of a ping, numbered 1, have come.
    fn half_a_frame(&mut self) -> (TcpStream, ConnId) {
        let (mut client, conn) = self.client();
        write(&mut client, &bytes_of(&[ping(1)])[..3]);
        while self.net.timeout().is_none() {
            self.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
        }
        (client, conn)
    }
}

#[test]
fn a_frame_that_does_not_get_whole_ends_its_connection() {
    let mut rig = Rig::new();
    let (mut client, conn) = rig.half_a_frame();
    rig.now = rig.now + almost(FRAME_PROGRESS_MAX);
    rig.turn(|_, arrival| panic!("too early: {arrival:?}"));
    // More bytes of the same frame do not postpone the deadline.
    write(&mut client, &bytes_of(&[ping(1)])[3..5]);
    rig.turn(|_, arrival| panic!("too early: {arrival:?}"));
    rig.now = rig.now + FRAME_PROGRESS_MAX / 100;
    assert_eq!(rig.until_closed(conn), CloseReason::SlowFrame);
}

#[test]
fn a_frame_that_got_whole_leaves_a_deadline_without_effect() {
    let mut rig = Rig::new();
    let (mut client, conn) = rig.half_a_frame();
    write(&mut client, &bytes_of(&[ping(1)])[3..]);
    assert_eq!(rig.until_message(conn), ping(1));
    rig.now = rig.now + FRAME_PROGRESS_MAX * 2;
    rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    assert_eq!(rig.net.timeout(), None);
    assert!(rig.net.is_open(conn));
}

#[test]
fn a_late_turn_acts_on_few_deadlines_and_the_next_ones_on_the_others() {
    let mut rig = Rig::new();
    let clients: Vec<_> = (0..2 * LATE_STEPS + 1).map(|_| rig.half_a_frame()).collect();
    while !clients.iter().all(|(_, conn)| rig.net.conns.get(*conn).unwrap().armed.is_some()) {
        rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    }
    rig.now = rig.now + FRAME_PROGRESS_MAX * 2;
    let mut closed = 0;
    for expected in [0, LATE_STEPS, 2 * LATE_STEPS, clients.len()] {
        rig.net.poll(Some(Duration::ZERO)).unwrap();
        rig.net.begin_turn(rig.now, 0);
        while let Some(arrival) = rig.net.next() {
            closed += usize::from(matches!(arrival, Arrival::Input(Input::Closed { .. })));
        }
        assert_eq!(closed, expected);
        rig.net.expire(|| Duration::MAX);
        rig.net.end_turn(in_time);
    }
}

#[test]
fn a_late_turn_frees_few_connections_and_the_next_ones_the_others() {
    let mut rig = Rig::new();
    let clients: Vec<_> = (0..3).map(|_| rig.client()).collect();
    clients.iter().for_each(|(_, conn)| rig.net.conns.bury(*conn));
    for left in [2, 1, 0] {
        rig.net.end_turn(late());
        assert_eq!(rig.net.connections(), left);
        assert_eq!(rig.net.is_busy(), left > 0);
    }
}

#[test]
fn a_late_turn_frees_all_connections_that_are_gone_while_descriptors_are_short() {
    let mut rig = Rig::new();
    let clients: Vec<_> = (0..3).map(|_| rig.client()).collect();
    clients.iter().for_each(|(_, conn)| rig.net.conns.bury(*conn));
    rig.net.conns.conns_max = clients.len();
    rig.net.end_turn(late());
    assert_eq!(rig.net.connections(), 0);
}

#[test]
fn a_reader_that_takes_nothing_for_too_long_is_closed() {
    let mut rig = Rig::new();
    let (mut client, conn) = rig.client();
    let message = Message::Bye(Bye { why: "x".repeat(10_000) });
    while rig.net.conns.get(conn).unwrap().writable {
        rig.net.send(conn, &message);
        rig.net.flush(in_time);
    }
    rig.now = rig.now + almost(WRITE_STALL_MAX);
    rig.turn(|_, arrival| panic!("too early: {arrival:?}"));
    // The client reads a little. That is progress, and the wait begins again.
    let mut some = vec![0; 64 << 10];
    while !rig.net.conns.get(conn).unwrap().writable {
        client.read_exact(&mut some).unwrap();
        rig.net.poll(Some(Duration::from_millis(200))).unwrap();
        assert!(rig.started.elapsed() < GUARD, "the socket did not become writable");
    }
    rig.net.begin_turn(rig.now, 0);
    assert!(rig.net.next().is_none());
    while rig.net.conns.get(conn).unwrap().writable {
        rig.net.send(conn, &message);
        rig.net.flush(in_time);
    }
    rig.now = rig.now + Duration::from_secs(1);
    rig.turn(|_, arrival| panic!("too early: {arrival:?}"));
    // The kernel may still transfer some bytes, which counts as progress and makes room. This does
    // not go on forever.
    let mut closed = None;
    while closed.is_none() {
        while rig.net.conns.get(conn).unwrap().writable {
            rig.net.send(conn, &message);
            rig.net.flush(in_time);
        }
        rig.now = rig.now + WRITE_STALL_MAX;
        rig.turn(|_, arrival| match arrival {
            Arrival::Input(Input::Closed { why, .. }) => closed = Some(why),
            other => panic!("unexpected: {other:?}"),
        });
    }
    assert_eq!(closed, Some(CloseReason::SlowConsumer));
}

#[test]
fn a_farewell_ends_even_if_the_other_side_never_closes() {
    let mut rig = Rig::new();
    let (mut client, conn) = rig.client();
    rig.net.send(conn, &ping(1));
    rig.net.close(conn);
    rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    assert_eq!(read_message(&mut client), ping(1));
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    rig.now = rig.now + LINGER_MAX;
    assert_eq!(rig.until_closed(conn), CloseReason::Asked);
}

#[test]
fn connections_that_have_gone_leave_no_more_deadlines_than_those_that_are_there() {
    let mut rig = Rig::new();
    let (_slow, conn) = rig.half_a_frame();
    for _ in 0..3 * DEADLINES_SPARE {
        // The connection has a deadline for its farewell but ends at once. Its deadline stays in
        // the queue.
        let (client, conn) = rig.client();
        rig.net.close(conn);
        rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
        drop(client);
        rig.until_closed(conn);
        assert!(rig.net.ctx.deadlines.len() <= DEADLINES_SPARE + 2 * rig.net.conns.len() + 2);
    }
    // The deadline that counts is still in the queue.
    rig.now = rig.now + FRAME_PROGRESS_MAX * 2;
    assert_eq!(rig.until_closed(conn), CloseReason::SlowFrame);
}

#[test]
fn names_that_were_resolved_leave_no_deadlines_behind_either() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to = HostPort::new("localhost", listener.local_addr().unwrap().port()).unwrap();
    let mut rig = Rig::new();
    for n in 0..3 * DEADLINES_SPARE as u64 {
        rig.net.dial(DialId(n), to.clone(), None);
        let conn = rig.until(|_, arrival| match arrival {
            Arrival::Input(Input::Dialed { conn, .. }) => Some(conn),
            other => panic!("unexpected: {other:?}"),
        });
        let (server, _) = listener.accept().unwrap();
        rig.net.close(conn);
        drop(server);
        rig.until_closed(conn);
        assert!(rig.net.ctx.deadlines.len() <= DEADLINES_SPARE + 2 * rig.net.conns.len() + 2);
    }
}

#[test]
fn a_dial_that_nobody_answers_fails_in_time() {
    const DIALS: u64 = 8;
    // The queue of the listener is full after one or two connections, and Linux does not answer the
    // others.
    let deaf = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    deaf.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    deaf.listen(0).unwrap();
    let to = deaf.local_addr().unwrap().as_socket().unwrap();
    let mut rig = Rig::new();
    for n in 0..DIALS {
        rig.net.dial(DialId(n), to.into(), None);
    }
    let mut dialed = 0;
    while dialed == 0 || rig.net.is_busy() {
        rig.turn(|_, arrival| match arrival {
            Arrival::Input(Input::Dialed { .. }) => dialed += 1,
            other => panic!("unexpected: {other:?}"),
        });
    }
    rig.now = rig.now + DIAL_TIMEOUT;
    let mut failed = 0;
    while dialed + failed < DIALS {
        rig.turn(|_, arrival| match arrival {
            Arrival::Input(Input::Dialed { .. }) => dialed += 1,
            Arrival::Input(Input::DialFailed { why, .. }) => {
                assert!(why.contains("no answer in time"), "{why}");
                failed += 1;
            }
            other => panic!("unexpected: {other:?}"),
        });
    }
    assert!(failed > 0, "all were answered, so nothing was tested");
}
