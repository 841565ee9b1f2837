//! Frames that are read and written, and what happens to bytes that are no frame.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use super::*;
use crate::config::{
    BACKLOG_BYTES, CROWD_WAITING, FRAME_BYTES_OPEN, FRAME_PROGRESS_MAX, FRAME_SHORT_PATIENCE, LATE_STEPS,
    MESSAGES_PER_PASS, READ_SCRATCH_BYTES, SEND_QUEUE_BYTES_MAX,
};
use crate::wire::WireError;
use crate::wire::message::{Bye, Error, ErrorCode, Info};

#[test]
fn a_frame_arrives_with_its_last_byte_and_not_before() {
    let mut rig = Rig::new();
    let (mut client, conn) = rig.client();
    let messages = [ping(1), Message::Bye(Bye { why: "x".repeat(100) }), ping(3)];
    for expected in messages {
        let bytes = bytes_of(std::slice::from_ref(&expected));
        let (last, begin) = bytes.split_last().unwrap();
        let read_before = begin.len();
        for byte in begin {
            write(&mut client, &[*byte]);
            rig.until_readable(conn);
            rig.turn(|_, arrival| panic!("after fewer than {read_before} bytes: {arrival:?}"));
        }
        write(&mut client, &[*last]);
        assert_eq!(rig.until_message(conn), expected);
    }
}

#[test]
fn many_frames_in_one_segment_arrive_in_order() {
    let mut rig = Rig::new();
    let (mut client, conn) = rig.client();
    let count = u32::try_from(READ_SCRATCH_BYTES / 4).unwrap();
    let bytes = bytes_of(&(0..count).map(ping).collect::<Vec<_>>());
    let writer = std::thread::spawn(move || {
        write(&mut client, &bytes);
        client
    });
    let mut next = 0;
    while next < count {
        rig.turn(|_, arrival| match arrival {
            Arrival::Input(Input::Message { message, .. }) => {
                assert_eq!(message, ping(next));
                next += 1;
            }
            other => panic!("unexpected: {other:?}"),
        });
    }
    drop(writer.join().unwrap());
    assert_eq!(rig.until_closed(conn), CloseReason::Remote);
}

#[test]
fn an_idle_connection_holds_no_buffer() {
    let mut rig = Rig::new();
    let (mut client, conn) = rig.client();
    write(&mut client, &bytes_of(&[ping(1)]));
    rig.until(|net, arrival| match arrival {
        Arrival::Input(Input::Message { message, .. }) => {
            net.send(conn, &message);
            Some(())
        }
        _ => None,
    });
    assert_eq!(read_message(&mut client), ping(1));
    rig.settle();
    let idle = rig.net.conns.get(conn).unwrap();
    assert_eq!(idle.buffers(), Default::default());
    assert!(size_of_val(idle) <= 192, "{} bytes", size_of_val(idle));
    assert_eq!(rig.net.timeout(), None, "an idle connection arms no timer");
}

#[test]
fn garbage_is_answered_and_the_answer_is_not_lost_to_a_reset() {
    let mut rig = Rig::new();
    let (mut client, conn) = rig.client();
    write(&mut client, b"GET / HTTP/1.1\r\n\r\n");
    write(&mut client, &vec![b'x'; 100_000]);
    let answer = Message::Error(Error::new(ErrorCode::MALFORMED, "no", None));
    let text = rig.until(|net, arrival| match arrival {
        Arrival::Input(Input::Malformed { error, .. }) => {
            net.send(conn, &answer);
            net.close(conn);
            Some(error.to_string())
        }
        other => panic!("unexpected: {other:?}"),
    });
    assert!(text.contains("HTTP"), "{text}");
    // This is sent into a connection that has been given up. It must not turn the answer into a
    // reset.
    write(&mut client, &vec![b'x'; 100_000]);
    let reader = std::thread::spawn(move || {
        let message = read_message(&mut client);
        let rest = client.read(&mut [0]).unwrap();
        (message, rest)
    });
    assert_eq!(rig.until_closed(conn), CloseReason::Asked);
    assert_eq!(reader.join().unwrap(), (answer, 0));
}

#[test]
fn a_frame_above_the_cap_is_refused_by_its_length_alone() {
    let mut rig = Rig::new();
    let (mut client, _) = rig.client();
    write(&mut client, &[0, 0, 1, 1]);
    let error = rig.until(|_, arrival| match arrival {
        Arrival::Input(Input::Malformed { error, .. }) => Some(error),
        _ => None,
    });
    assert_eq!(error, WireError::TooLong { announced: 257, cap: 256 });
}

#[test]
fn the_cap_counts_from_the_next_frame_of_the_same_segment() {
    let mut rig = Rig::new();
    let (mut client, conn) = rig.client();
    let long = Message::Bye(Bye { why: "x".repeat(FRAME_BYTES_OPEN - 100) });
    write(&mut client, &bytes_of(&[ping(1), long.clone()]));
    let got = rig.until(|net, arrival| match arrival {
        Arrival::Input(Input::Message { message, .. }) if message == ping(1) => {
            net.set_frame_cap(conn, FRAME_BYTES_OPEN);
            None
        }
        Arrival::Input(Input::Message { message, .. }) => Some(message),
        other => panic!("unexpected: {other:?}"),
    });
    assert_eq!(got, long);
}

#[test]
fn frames_that_others_never_complete_can_be_given_up_but_not_young_ones() {
    let mut rig = Rig::new();
    let part_of_a_frame = |rig: &mut Rig, bytes: usize| {
        let (mut client, conn) = rig.client();
        rig.net.set_frame_cap(conn, FRAME_BYTES_OPEN);
        let length = u32::try_from(FRAME_BYTES_OPEN - 4).unwrap().to_be_bytes();
        write(&mut client, &[&length[..], &vec![0x81; bytes]].concat());
        while (rig.net.conns.get(conn).unwrap().buffers().read as usize) < bytes {
            rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
        }
        (client, conn)
    };
    let (_idle, idle) = rig.client();
    let (_small, small) = part_of_a_frame(&mut rig, 100);
    let (_large, large) = part_of_a_frame(&mut rig, 60_000);
    rig.now = rig.now + FRAME_SHORT_PATIENCE;
    let (_young, young) = part_of_a_frame(&mut rig, 60_000);
    rig.net.begin_turn(rig.now, 0);
    let open = |rig: &Rig| [idle, small, large, young].map(|conn| rig.net.is_open(conn));

    rig.net.close_unfinished(1000);
    assert_eq!(open(&rig), [true, true, false, true], "the one with the most bytes goes first");
    assert_eq!(rig.until_closed(large), CloseReason::SlowFrame);
    rig.net.close_unfinished(usize::MAX);
    assert_eq!(open(&rig), [true, false, false, true]);
    assert_eq!((rig.until_closed(small), rig.net.counters().slow_frames), (CloseReason::SlowFrame, 2));
}

#[test]
fn a_consumer_that_never_reads_is_closed_at_the_cap() {
    let mut rig = Rig::new();
    let (client, conn) = rig.client();
    let message = Message::Bye(Bye { why: "x".repeat(10_000) });
    let mut sent = 0_usize;
    while rig.net.is_open(conn) {
        rig.net.send(conn, &message);
        sent += 10_000;
        assert!(sent < 1 << 30, "the queue has no cap");
    }
    assert!(sent > SEND_QUEUE_BYTES_MAX, "it was closed before its queue was full");
    assert_eq!(rig.until_closed(conn), CloseReason::SlowConsumer);
    assert_eq!(rig.net.counters().slow_consumers, 1);
    drop(client);
}

#[test]
fn a_client_that_does_not_read_is_reported_and_so_is_that_it_has_caught_up() {
    let mut rig = Rig::new();
    let (mut client, conn) = rig.client();
    let answer = Message::Bye(Bye { why: "x".repeat(10_000) });
    write(&mut client, &bytes_of(&[ping(1)]));
    rig.until_message(conn);
    let mut sent = 0;
    let mut backlogged = false;
    while !backlogged {
        rig.net.send(conn, &answer);
        sent += 1;
        rig.turn(|_, arrival| match arrival {
            Arrival::Input(Input::Backlogged { conn: slow }) => backlogged = slow == conn,
            other => panic!("unexpected: {other:?}"),
        });
    }
    let held = rig.net.conns.get(conn).unwrap().send.frame_bytes();
    // The backlog is reported in the next turn, for which one more message was queued here.
    assert!((BACKLOG_BYTES..=BACKLOG_BYTES + 2 * 10_100).contains(&held), "{held} bytes are held for it");
    // Further requests of this client stay unread.
    write(&mut client, &bytes_of(&[ping(2)]));
    rig.settle();
    let reader = std::thread::spawn(move || {
        (0..sent).for_each(|_| drop(read_message(&mut client)));
        client
    });
    let mut drained = false;
    let message = rig.until(|_, arrival| match arrival {
        Arrival::Input(Input::Drained { conn: fast }) => {
            drained = fast == conn;
            None
        }
        Arrival::Input(Input::Message { message, .. }) => Some(message),
        other => panic!("unexpected: {other:?}"),
    });
    assert_eq!((message, drained), (ping(2), true));
    drop(reader.join());
}

#[test]
fn requests_of_a_client_that_reads_late_wait_and_are_all_answered() {
    const REQUESTS: u32 = 20_000;
    let mut rig = Rig::new();
    let (mut client, conn) = rig.client();
    let client_thread = std::thread::spawn(move || {
        let mut writer = client.try_clone().unwrap();
        let writing = std::thread::spawn(move || {
            writer.write_all(&bytes_of(&(0..REQUESTS).map(ping).collect::<Vec<_>>())).unwrap();
        });
        for n in 0..REQUESTS {
            let Message::Info(info) = read_message(&mut client) else { panic!("no INFO") };
            assert_eq!(info.req, n);
        }
        writing.join().unwrap();
    });
    let mut answered = 0;
    let mut choked = false;
    while answered < REQUESTS {
        rig.turn(|net, arrival| match arrival {
            Arrival::Input(Input::Message { message: Message::Ping(Ping { n }), .. }) => {
                assert_eq!(n, answered);
                answered += 1;
                let counts = BTreeMap::new();
                net.send(conn, &Message::Info(Info { req: n, agent: "x".repeat(2000), counts, links: Vec::new() }));
            }
            Arrival::Input(Input::Backlogged { .. } | Input::Drained { .. }) => {}
            other => panic!("unexpected: {other:?}"),
        });
        choked |= rig.net.conns.get(conn).is_some_and(super::super::connection::Connection::is_choked);
    }
    assert!(choked, "the answers never filled the socket, so nothing was tested");
    assert_eq!(rig.until_closed_after(client_thread), CloseReason::Remote);
}

#[test]
fn in_a_crowd_others_get_their_turn_after_a_few_messages() {
    const MESSAGES: u32 = 100;
    let mut rig = Rig::new();
    let mut clients: Vec<_> = (0..CROWD_WAITING + 2).map(|_| rig.client()).collect();
    for (client, _) in &mut clients {
        write(client, &bytes_of(&(0..MESSAGES).map(ping).collect::<Vec<_>>()));
    }
    while !clients.iter().all(|(_, conn)| rig.net.conns.get(*conn).unwrap().queued) {
        rig.net.poll(Some(Duration::from_millis(200))).unwrap();
        assert!(rig.started.elapsed() < GUARD, "the messages did not come");
    }
    let mut read: Vec<(ConnId, u32)> = Vec::new();
    while read.len() < clients.len() * MESSAGES as usize {
        rig.turn(|_, arrival| match arrival {
            Arrival::Input(Input::Message { conn, message: Message::Ping(Ping { n }) }) => read.push((conn, n)),
            other => panic!("unexpected: {other:?}"),
        });
    }
    let rows = read.chunk_by(|one, other| one.0 == other.0).map(<[_]>::len);
    assert_eq!(rows.max(), Some(MESSAGES_PER_PASS / (clients.len() - 1)), "an equal part of a pass");
    for (_, conn) in &clients {
        let of_it: Vec<u32> = read.iter().filter(|(other, _)| other == conn).map(|(_, n)| *n).collect();
        assert_eq!(of_it, (0..MESSAGES).collect::<Vec<_>>(), "in order, and each once");
    }
}

#[test]
fn nothing_is_read_from_a_connection_on_hold_and_nothing_is_lost() {
    let mut rig = Rig::new();
    let (mut client, conn) = rig.client();
    write(&mut client, &bytes_of(&[ping(1), ping(2)]));
    rig.until(|net, arrival| match arrival {
        Arrival::Input(Input::Message { message, .. }) => {
            assert_eq!(message, ping(1));
            net.hold(conn, true);
            Some(())
        }
        other => panic!("unexpected: {other:?}"),
    });
    write(&mut client, &bytes_of(&[ping(3)])[..5]);
    rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    rig.now = rig.now + FRAME_PROGRESS_MAX * 2;
    rig.turn(|_, arrival| panic!("its frames are not late: {arrival:?}"));
    rig.net.hold(conn, false);
    assert_eq!(rig.until_message(conn), ping(2));
    write(&mut client, &bytes_of(&[ping(3)])[5..]);
    assert_eq!(rig.until_message(conn), ping(3));
}

#[test]
fn a_late_turn_writes_to_few_connections_and_the_next_ones_to_the_others() {
    let mut rig = Rig::new();
    let clients: Vec<_> = (0..2 * LATE_STEPS + 1).map(|_| rig.client()).collect();
    clients.iter().for_each(|(_, conn)| rig.net.send(*conn, &ping(1)));
    for left in [LATE_STEPS + 1, 1, 0] {
        rig.net.flush(late());
        let unwritten = clients.iter().filter(|(_, conn)| !rig.net.conns.get(*conn).unwrap().is_written());
        assert_eq!(unwritten.count(), left);
        assert_eq!(rig.net.is_busy(), left > 0);
    }
}

#[test]
fn what_is_queued_in_a_turn_leaves_in_order_and_whole() {
    let mut rig = Rig::new();
    let (mut client, conn) = rig.client();
    let messages: Vec<Message> = (0..50_u32).map(|n| Message::Bye(Bye { why: "y".repeat(n as usize * 10) })).collect();
    for message in &messages {
        rig.net.send(conn, message);
    }
    rig.net.flush(in_time);
    for message in &messages {
        assert_eq!(&read_message(&mut client), message);
    }
}

#[test]
fn answers_to_what_came_before_the_end_are_still_written() {
    let mut rig = Rig::new();
    let (mut client, conn) = rig.client();
    write(&mut client, &bytes_of(&[ping(5)]));
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let why = rig.until(|net, arrival| match arrival {
        Arrival::Input(Input::Message { message, .. }) => {
            net.send(conn, &message);
            None
        }
        Arrival::Input(Input::Closed { why, .. }) => Some(why),
        other => panic!("unexpected: {other:?}"),
    });
    assert_eq!(why, CloseReason::Remote);
    assert_eq!(read_message(&mut client), ping(5));
}

#[test]
fn a_stale_id_does_nothing_and_is_counted() {
    let mut rig = Rig::new();
    let (client, old) = rig.client();
    drop(client);
    assert_eq!(rig.until_closed(old), CloseReason::Remote);
    let (mut client, new) = rig.client();
    assert_eq!(new.index, old.index, "the slot was not used again, so nothing is tested");
    let before = rig.net.counters().stale_ids;
    rig.net.send(old, &ping(1));
    rig.net.close(old);
    rig.net.send(new, &ping(2));
    rig.net.flush(in_time);
    assert_eq!(rig.net.counters().stale_ids, before + 2);
    assert_eq!(read_message(&mut client), ping(2));
}

impl Rig {
    /// Waits until the bytes that a client wrote are there to be read.
    fn until_readable(&mut self, conn: ConnId) {
        while !self.net.conns.get(conn).unwrap().readable {
            self.net.poll(Some(Duration::from_millis(200))).unwrap();
            assert!(self.started.elapsed() < GUARD, "the byte did not come");
        }
    }

    fn until_closed_after<T>(&mut self, thread: std::thread::JoinHandle<T>) -> CloseReason {
        loop {
            let mut closed = None;
            self.turn(|_, arrival| {
                if let Arrival::Input(Input::Closed { why, .. }) = arrival {
                    closed = Some(why);
                }
            });
            if let Some(why) = closed {
                thread.join().map_err(std::panic::resume_unwind).unwrap();
                return why;
            }
        }
    }
}
