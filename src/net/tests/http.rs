//! Connections that speak HTTP: which of them are closed to make room, and when they are too slow.

use super::payloads::file_of;
use super::*;
use crate::config::{
    HTTP_FAST_WITHIN, HTTP_FIRST_BYTES_PER_TURN, HTTP_HEAD_MAX, HTTP_RAISED_MAX, HTTP_RATE_AFTER,
    HTTP_UNSENT_BYTES_MAX, HTTP_UNSENT_MAX, UNSENT_BYTES_MAX, WRITE_STALL_MAX,
};

/// A net with a page.
fn page() -> Rig {
    let options = NetOptions { http: Some("127.0.0.1:0".parse().unwrap()), ..NetOptions::default() };
    Rig { net: Net::open(&options).unwrap(), now: Time::ZERO, started: Instant::now() }
}

/// A client that has got an answer with this many bytes, and its connection.
fn answered(rig: &mut Rig, bytes: usize) -> (TcpStream, ConnId) {
    let mut client = connect(rig.net.page_addr().unwrap());
    write(&mut client, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let conn = rig.until(|net, arrival| match arrival {
        Arrival::Http { conn, .. } => {
            net.write_http(conn, &vec![b'x'; bytes]);
            net.end_answer(conn, false);
            Some(conn)
        }
        other => panic!("unexpected: {other:?}"),
    });
    (client, conn)
}

#[test]
fn an_idle_connection_goes_before_one_whose_answer_is_being_read() {
    let mut rig = page();
    rig.net.conns.conns_max = 4;
    let (_reads, reads) = answered(&mut rig, 16 << 20);
    rig.now = rig.now + Duration::from_secs(1);
    let (_idle, idle) = answered(&mut rig, 10);
    let newcomer = connect(rig.net.page_addr().unwrap());
    let gone = rig.until(|_, arrival| match arrival {
        Arrival::HttpGone { conn } => Some(conn),
        other => panic!("unexpected: {other:?}"),
    });
    assert_eq!((gone, rig.net.counters().http_evicted), (idle, 1));
    assert!(rig.net.is_open(reads));
    drop(newcomer);
}

/// Polls until the next turn can accept a connection of the page.
fn until_waiting(rig: &mut Rig) {
    while !rig.net.page.as_ref().unwrap().is_busy() {
        rig.net.poll(Some(Duration::from_millis(200))).unwrap();
        assert!(rig.started.elapsed() < GUARD, "the connection did not arrive");
    }
}

#[test]
fn a_connection_whose_request_waits_to_be_read_is_not_idle() {
    let mut rig = page();
    rig.net.conns.conns_max = 4;
    let (mut client, asks) = answered(&mut rig, 10);
    rig.now = rig.now + Duration::from_secs(1);
    let (_idle, idle) = answered(&mut rig, 10);
    rig.settle();
    write(&mut client, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    while !rig.net.conns.get(asks).unwrap().queued {
        rig.net.poll(Some(Duration::from_millis(200))).unwrap();
        assert!(rig.started.elapsed() < GUARD, "the request did not arrive");
    }
    let _newcomer = connect(rig.net.page_addr().unwrap());
    until_waiting(&mut rig);
    // The connection is accepted before the request is read.
    let (mut gone, mut asked) = (None, None);
    rig.turn(|_, arrival| match arrival {
        Arrival::HttpGone { conn } => gone = Some(conn),
        Arrival::Http { conn, .. } => asked = Some(conn),
        other => panic!("unexpected: {other:?}"),
    });
    assert_eq!((gone, asked, rig.net.counters().http_evicted), (Some(idle), Some(asks), 1));
}

#[test]
fn connections_that_linger_take_no_place_of_others() {
    let mut rig = page();
    rig.net.conns.conns_max = 4;
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let _lingering = [answered_last(&mut rig, request, true), answered_last(&mut rig, request, true)];
    rig.settle();
    assert_eq!(rig.net.connections(), 2, "they linger");
    let (_third, third) = answered(&mut rig, 10);
    let (_fourth, fourth) = answered(&mut rig, 10);
    rig.settle();
    let counters = rig.net.counters();
    assert_eq!((rig.net.connections(), counters.http_evicted, counters.http_busy), (4, 0, 0));
    assert!(rig.net.is_open(third) && rig.net.is_open(fourth));
}

/// A net with room for two connections of HTTP, and two that end with an answer that their clients
/// do not read.
fn crowded_by_ending(rig: &mut Rig) -> [(TcpStream, ConnId); 2] {
    rig.net.conns.conns_max = 4;
    let ending = [answered(rig, 16 << 20), answered(rig, 16 << 20)];
    rig.settle();
    ending.iter().for_each(|(_, conn)| rig.net.end_answer(*conn, true));
    ending
}

#[test]
fn connections_that_end_take_places_until_their_answers_are_written() {
    let mut rig = page();
    let ending = crowded_by_ending(&mut rig);
    rig.now = rig.now + HTTP_RATE_AFTER - Duration::from_millis(1);
    let mut newcomer = connect(rig.net.page_addr().unwrap());
    while rig.net.counters().http_busy == 0 {
        rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    }
    let mut bytes = [0; 12];
    newcomer.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"HTTP/1.1 503");
    assert!(ending.iter().all(|(_, conn)| rig.net.conns.get(*conn).is_some_and(|conn| !conn.is_written())));
}

#[test]
fn a_client_that_reads_its_last_answer_slowly_makes_room_for_another_one() {
    let mut rig = page();
    let [(_first, first), _second] = crowded_by_ending(&mut rig);
    rig.now = rig.now + HTTP_RATE_AFTER;
    let _newcomer = connect(rig.net.page_addr().unwrap());
    rig.until(|_, arrival| matches!(arrival, Arrival::HttpGone { conn } if conn == first).then_some(()));
    assert_eq!((rig.net.counters().http_slow_readers, rig.net.counters().http_busy), (1, 0));
}

#[test]
fn a_turn_that_rests_from_http_reads_other_requests_in_the_next_one() {
    let mut rig = page();
    let mut clients = [answered(&mut rig, 10), answered(&mut rig, 10)];
    for (client, conn) in &mut clients {
        write(client, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        while !rig.net.conns.get(*conn).unwrap().readable {
            rig.net.poll(Some(Duration::from_millis(200))).unwrap();
            assert!(rig.started.elapsed() < GUARD, "the request did not arrive");
        }
    }
    for _ in 0..2 {
        let mut requests = 0;
        rig.turn(|net, arrival| {
            assert!(matches!(arrival, Arrival::Http { .. }), "unexpected: {arrival:?}");
            net.rest_strangers();
            requests += 1;
        });
        assert_eq!(requests, 1);
    }
}

#[test]
fn a_turn_that_rests_from_http_leaves_requests_that_were_sent_together_to_later_turns() {
    let mut rig = page();
    let mut client = connect(rig.net.page_addr().unwrap());
    write(&mut client, &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(5));
    let mut answered = 0;
    while answered < 5 {
        let mut requests = 0;
        rig.turn(|net, arrival| match arrival {
            Arrival::Http { conn, .. } => {
                net.write_http(conn, b"x");
                net.end_answer(conn, false);
                net.rest_strangers();
                requests += 1;
            }
            other => panic!("unexpected: {other:?}"),
        });
        assert!(requests <= 1, "{requests} requests of one connection in a turn");
        answered += requests;
    }
}

/// Sends a request, answers it, and reads the answer. Returns the connection.
fn answered_last(rig: &mut Rig, request: &[u8], last: bool) -> (TcpStream, ConnId) {
    let mut client = connect(rig.net.page_addr().unwrap());
    write(&mut client, request);
    let conn = rig.until(|net, arrival| match arrival {
        Arrival::Http { conn, .. } => {
            net.write_http(conn, b"answer");
            net.end_answer(conn, last);
            Some(conn)
        }
        other => panic!("unexpected: {other:?}"),
    });
    (client, conn)
}

#[test]
fn a_connection_whose_client_sends_nothing_more_is_closed_once_the_answer_is_written() {
    let mut rig = page();
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let (mut client, conn) = answered_last(&mut rig, request, false);
    // The client has not closed its side, so the connection would linger.
    rig.until(|_, arrival| matches!(arrival, Arrival::HttpGone { conn: gone } if gone == conn).then_some(()));
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"answer");
}

#[test]
fn a_connection_that_this_side_ends_lingers_until_the_client_closes() {
    let mut rig = page();
    let (mut client, conn) = answered_last(&mut rig, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", true);
    rig.settle();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"answer");
    drop(client);
    rig.until(|_, arrival| matches!(arrival, Arrival::HttpGone { conn: gone } if gone == conn).then_some(()));
}

#[test]
fn a_head_that_is_not_complete_in_time_is_refused() {
    let mut rig = page();
    let mut client = connect(rig.net.page_addr().unwrap());
    write(&mut client, b"GET / HT");
    while rig.net.conns.read_bytes == 0 {
        rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    }
    rig.now = rig.now + HTTP_HEAD_MAX;
    rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    let mut bytes = [0; 12];
    client.read_exact(&mut bytes).unwrap();
    assert_eq!((&bytes, rig.net.counters().http_slow_heads), (b"HTTP/1.1 408", 1));
}

/// A client that has read 8 MiB of an answer of 64 MiB and then reads nothing, so that the socket
/// accepts nothing more. The answer has begun this long before.
fn stops_after_8_mib(rig: &mut Rig, ago: Duration) -> (TcpStream, ConnId) {
    let mut client = connect(rig.net.page_addr().unwrap());
    write(&mut client, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let conn = rig.until(|net, arrival| match arrival {
        Arrival::Http { conn, .. } => {
            net.write_http(conn, &vec![b'x'; 64 << 20]);
            Some(conn)
        }
        other => panic!("unexpected: {other:?}"),
    });
    rig.now = rig.now + ago;
    let reader = std::thread::spawn(move || {
        client.read_exact(&mut vec![0; 8 << 20]).unwrap();
        client
    });
    while !reader.is_finished() {
        rig.turn_with(Duration::from_millis(1), |_, arrival| panic!("unexpected: {arrival:?}"));
    }
    let client = reader.join().unwrap();
    while rig.net.is_busy() || rig.net.conns.get(conn).unwrap().writable {
        rig.turn_with(Duration::from_millis(1), |_, arrival| panic!("unexpected: {arrival:?}"));
    }
    (client, conn)
}

/// How many bytes the kernel accepts without sending them, and how long the client may read nothing
/// before the kernel ends the connection.
fn kernel_limits(rig: &Rig, conn: ConnId) -> (u32, Option<Duration>) {
    let socket = socket2::SockRef::from(rig.net.conns.get(conn).unwrap().transport.stream());
    (socket.tcp_notsent_lowat().unwrap(), socket.tcp_user_timeout().unwrap())
}

#[test]
fn the_kernel_accepts_more_for_a_client_that_reads_fast() {
    let mut rig = page();
    let (_fast, fast) = stops_after_8_mib(&mut rig, Duration::ZERO);
    assert_eq!(kernel_limits(&rig, fast), (HTTP_UNSENT_BYTES_MAX, Some(WRITE_STALL_MAX)));
    let mut rig = page();
    let (_slow, slow) = stops_after_8_mib(&mut rig, HTTP_FAST_WITHIN + Duration::from_millis(1));
    assert_eq!(kernel_limits(&rig, slow), (UNSENT_BYTES_MAX, None));
}

#[test]
fn the_kernel_accepts_no_more_for_a_fast_client_while_many_connections_are_there() {
    for (others, limits) in [
        (HTTP_RAISED_MAX - 1, (HTTP_UNSENT_BYTES_MAX, Some(WRITE_STALL_MAX))),
        (HTTP_RAISED_MAX, (UNSENT_BYTES_MAX, None)),
    ] {
        let mut rig = page();
        let _others: Vec<TcpStream> = (0..others).map(|_| connect(rig.net.page_addr().unwrap())).collect();
        while rig.net.connections() < others {
            rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
        }
        let (_fast, fast) = stops_after_8_mib(&mut rig, Duration::ZERO);
        assert_eq!(kernel_limits(&rig, fast), limits, "{others} other connections");
    }
}

#[test]
fn a_turn_writes_few_bytes_of_an_answer_that_begins() {
    const BYTES: usize = 1 << 20;
    let mut rig = page();
    let mut client = connect(rig.net.page_addr().unwrap());
    write(&mut client, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let file = file_of(&vec![7; BYTES]);
    let conn = rig.until(|net, arrival| match arrival {
        Arrival::Http { conn, .. } => {
            net.send_file(conn, 0, file.clone(), 0, BYTES as u32);
            Some(conn)
        }
        other => panic!("unexpected: {other:?}"),
    });
    // The client has read everything before the next turn, so its socket takes more than one turn
    // writes.
    let mut turns = Vec::new();
    while turns.iter().sum::<usize>() < BYTES {
        let left = rig.net.conns.get(conn).unwrap().send.file_bytes();
        turns.push(BYTES - turns.iter().sum::<usize>() - left);
        client.read_exact(&mut vec![0; *turns.last().unwrap()]).unwrap();
        rig.turn(|_, arrival| assert!(matches!(arrival, Arrival::HttpSent { .. }), "unexpected: {arrival:?}"));
    }
    let first = UNSENT_BYTES_MAX as usize / HTTP_FIRST_BYTES_PER_TURN;
    assert_eq!(turns[..first], vec![HTTP_FIRST_BYTES_PER_TURN; first]);
    assert!(turns[first] > HTTP_FIRST_BYTES_PER_TURN, "{turns:?}");
}

#[test]
fn the_limits_of_a_fast_client_are_the_usual_ones_after_its_answer() {
    let mut rig = page();
    let (_client, conn) = stops_after_8_mib(&mut rig, Duration::ZERO);
    rig.net.end_answer(conn, false);
    assert_eq!(kernel_limits(&rig, conn), (UNSENT_BYTES_MAX, None));
}

#[test]
fn a_fast_client_that_stops_gets_the_usual_limit_again_and_is_closed_later() {
    let mut rig = page();
    let (_client, conn) = stops_after_8_mib(&mut rig, Duration::ZERO);
    rig.now = rig.now + WRITE_STALL_MAX;
    rig.turn_with(Duration::ZERO, |_, arrival| panic!("unexpected: {arrival:?}"));
    assert_eq!(kernel_limits(&rig, conn), (UNSENT_BYTES_MAX, Some(WRITE_STALL_MAX)));
    rig.now = rig.now + HTTP_UNSENT_MAX;
    rig.until(|_, arrival| matches!(arrival, Arrival::HttpGone { conn: gone } if gone == conn).then_some(()));
    assert_eq!(rig.net.counters().http_slow_readers, 1);
}

#[test]
fn a_client_that_has_stopped_makes_room_for_another_one() {
    let mut rig = page();
    rig.net.conns.conns_max = 2;
    let (_client, conn) = stops_after_8_mib(&mut rig, Duration::ZERO);
    rig.now = rig.now + WRITE_STALL_MAX;
    let _newcomer = connect(rig.net.page_addr().unwrap());
    rig.until(|_, arrival| matches!(arrival, Arrival::HttpGone { conn: gone } if gone == conn).then_some(()));
    assert_eq!((rig.net.counters().http_slow_readers, rig.net.counters().http_busy), (1, 0));
}

#[test]
fn an_accepted_connection_has_the_options_of_its_listener() {
    let mut rig = page();
    let (_client, conn) = answered(&mut rig, 10);
    let socket = socket2::SockRef::from(rig.net.conns.get(conn).unwrap().transport.stream());
    assert!(socket.tcp_nodelay().unwrap());
    assert_eq!(kernel_limits(&rig, conn), (UNSENT_BYTES_MAX, None));
}

#[test]
fn a_client_that_waits_for_100_gets_it_and_then_sends_its_body() {
    let mut rig = page();
    let mut client = connect(rig.net.page_addr().unwrap());
    write(
        &mut client,
        b"POST /api/get HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n",
    );
    let reader = std::thread::spawn(move || {
        let mut told = [0; 25];
        client.read_exact(&mut told).unwrap();
        write(&mut client, b"xy");
        (client, told)
    });
    let request = rig.until(|_, arrival| match arrival {
        Arrival::Http { request, .. } => Some(request),
        other => panic!("unexpected: {other:?}"),
    });
    assert_eq!(request.body, b"xy");
    let (_client, told) = reader.join().unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
}

/// A net that serves files on the port of chunks, and a client that has sent these bytes.
fn files(sent: &[u8]) -> (Rig, TcpStream) {
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let options = NetOptions { listen, http_files: true, ..NetOptions::default() };
    let rig = Rig { net: Net::open(&options).unwrap(), now: Time::ZERO, started: Instant::now() };
    let mut client = connect(rig.addr());
    write(&mut client, sent);
    (rig, client)
}

#[test]
fn a_method_that_the_port_of_chunks_lacks_is_refused_before_its_body_comes() {
    let (mut rig, mut client) = files(b"POST /files/x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
    while rig.net.counters().http_methods == 0 {
        rig.turn(|_, arrival| match arrival {
            Arrival::Input(Input::Accepted { .. }) | Arrival::HttpBegun { .. } => {}
            other => panic!("unexpected: {other:?}"),
        });
    }
    let mut bytes = [0; 12];
    client.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"HTTP/1.1 405");
}

#[test]
fn an_empty_line_may_come_before_the_first_request_on_the_port_of_chunks() {
    let (mut rig, _client) = files(b"\r\nGET /files/x HTTP/1.1\r\nHost: a\r\n\r\n");
    let request = rig.until(|_, arrival| match arrival {
        Arrival::Http { request, .. } => Some(request),
        Arrival::Input(Input::Accepted { .. }) | Arrival::HttpBegun { .. } => None,
        other => panic!("unexpected: {other:?}"),
    });
    assert_eq!(request.path, "/files/x");
}
