//! Garbage on every port and in every option is refused with a reason, and does not affect other
//! peers.

use std::fs::File;
use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::process::Stdio;

use sprat::wire::Message;
use sprat::wire::message::{ErrorCode, Ping, Update};

use super::common::session::{Speaker, hello};
use super::common::{World, noise};

/// The messages that are received until the other side closes.
fn answers(mut speaker: Speaker) -> Vec<Message> {
    std::iter::from_fn(move || speaker.receive()).collect()
}

fn error_code(messages: &[Message]) -> Option<ErrorCode> {
    messages.iter().find_map(|message| if let Message::Error(error) = message { Some(error.code) } else { None })
}

fn raw(addr: &str) -> Speaker {
    Speaker::over(TcpStream::connect(addr).expect("the port answers"))
}

#[test]
fn a_frame_that_is_wrong_gets_an_error_and_a_close() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let peer = world.peer("p", &[&daemon]);
    let too_deep = [&[0, 0, 0, 20][..], &[0x91; 20]].concat();
    let cases: [(&str, &[u8], ErrorCode); 6] = [
        ("oversized", &[0, 0, 1, 1], ErrorCode::TOO_LONG),
        ("huge", &[0, 0xff, 0xff, 0xff], ErrorCode::TOO_LONG),
        ("garbage", &[0, 0, 0, 3, 0xc1, 1, 2], ErrorCode::MALFORMED),
        ("no frame", b"GET / HTTP/1.1\r\n\r\n", ErrorCode::MALFORMED),
        ("empty", &[0; 4], ErrorCode::MALFORMED),
        ("too deep", &too_deep, ErrorCode::MALFORMED),
    ];
    for addr in [daemon.addr(), peer.addr()] {
        for (what, bytes, code) in cases {
            let mut speaker = raw(addr);
            speaker.send_raw(bytes);
            assert_eq!(error_code(&answers(speaker)), Some(code), "{what} at {addr}");
        }
    }
}

#[test]
fn a_message_out_of_order_gets_an_error_and_a_close() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let peer = world.peer("p", &[&daemon]);
    let update = Message::Update(Update { seq: 1, add: Vec::new(), del: Vec::new() });
    for addr in [daemon.addr(), peer.addr()] {
        let mut before_hello = raw(addr);
        before_hello.send(&Message::Ping(Ping { n: 1 }));
        assert_eq!(error_code(&answers(before_hello)), Some(ErrorCode::ORDER), "before HELLO at {addr}");
        let mut twice = Speaker::dial(addr);
        twice.send(&hello());
        assert_eq!(error_code(&answers(twice)), Some(ErrorCode::ORDER), "HELLO twice at {addr}");
        let mut before_login = Speaker::dial(addr);
        before_login.send(&update);
        assert_eq!(error_code(&answers(before_login)), Some(ErrorCode::ORDER), "UPDATE at {addr}");
    }
    let mut unregistered = Speaker::session(daemon.addr());
    unregistered.send(&update);
    assert_eq!(error_code(&answers(unregistered)), Some(ErrorCode::ORDER), "UPDATE before REGISTER");
}

#[test]
fn an_unknown_kind_gets_an_error_and_the_session_goes_on() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let mut speaker = Speaker::session(daemon.addr());
    speaker.send_raw(b"\x00\x00\x00\x0a\x81\xa4NOPE\x81\xa1x\x01");
    assert_eq!(error_code(&[speaker.receive().expect("an answer")]), Some(ErrorCode::UNKNOWN_KIND));
    speaker.send(&Message::Ping(Ping { n: 3 }));
    assert_eq!(speaker.receive(), Some(Message::Pong(Ping { n: 3 })));
}

#[test]
fn another_major_version_is_refused() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let Message::Hello(mut other) = hello() else { panic!("a HELLO") };
    other.version = [2, 0];
    let mut speaker = raw(daemon.addr());
    speaker.send(&Message::Hello(other));
    assert_eq!(error_code(&answers(speaker)), Some(ErrorCode::VERSION));
}

#[test]
fn random_bytes_into_every_port_harm_nobody() {
    let world = World::new();
    let daemon = world.super_peer("s");
    world.share("p", "file.txt", b"content");
    let peer = world.peer("p", &[&daemon]);
    world.hits(&daemon, "file.txt", 1);
    let before = [daemon.rss_bytes(), peer.rss_bytes()];

    for addr in [daemon.addr(), peer.addr()] {
        for seed in 0..64 {
            let mut stream = TcpStream::connect(addr).expect("the port answers");
            stream.write_all(&noise(seed, 64 * 1024)).ok();
        }
    }
    let socket = UdpSocket::bind((world.ip(), 0)).expect("a socket");
    for seed in 0..5000 {
        let length = 1 + usize::try_from(seed % 1400).expect("fits");
        socket.send_to(&noise(seed, length), daemon.addr()).ok();
    }

    world.hits(&daemon, "file.txt", 1);
    let ran = world.run(["get", "file.txt", "-o", "got.txt", "--json", "--super", daemon.addr()]);
    assert_eq!(ran.exit, Some(0), "{:?}", ran.done());
    for (daemon, before) in [&daemon, &peer].into_iter().zip(before) {
        let grown = daemon.rss_bytes().saturating_sub(before);
        assert!(grown < 16 << 20, "{} bytes more", grown);
    }
}

#[test]
fn a_wrong_flag_is_exit_2_with_a_sentence_and_the_usage() {
    let world = World::new();
    let cases: [&[&str]; 8] = [
        &["nonsense"],
        &["query"],
        &["query", "x", "--super", "host:"],
        &["query", "x", "--super", "host:99999"],
        &["query", "x", "--ttl", "many"],
        &["super", "--listen", "::1:4777"],
        &["peer", "--super", "host"],
        &["get", "x", "--nonsense"],
    ];
    for args in cases {
        let ran = world.run(args);
        assert_eq!(ran.exit, Some(2), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("sage"), "{args:?}: {}", ran.stderr);
    }
    let ran = world.run(["query", "--json"]);
    assert_eq!((ran.exit, &ran.done()["exit"]), (Some(2), &2.into()), "{}", ran.stderr);
}

#[test]
fn a_port_in_use_is_exit_5_and_named() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let ran = world.run(["super", "--name", "other", "--listen", daemon.addr()]);
    assert_eq!(ran.exit, Some(5), "{}", ran.stderr);
    assert!(ran.stderr.contains(daemon.addr()), "{}", ran.stderr);
    let share = world.folder("share").display().to_string();
    let ran = world.run(["peer", "--share", &share, "--listen", daemon.addr(), "--super", daemon.addr()]);
    assert_eq!(ran.exit, Some(5), "{}", ran.stderr);
}

#[test]
fn a_share_that_is_missing_is_exit_9() {
    let world = World::new();
    let daemon = world.super_peer("s");
    std::fs::write(world.path("file"), b"no folder").expect("written");
    for share in ["no-such-folder", "file"] {
        let listen = format!("{}:0", world.ip());
        let ran = world.run(["peer", "--share", share, "--listen", &listen, "--super", daemon.addr()]);
        assert_eq!(ran.exit, Some(9), "{share}: {}", ran.stderr);
        assert!(ran.stderr.contains(share), "{}", ran.stderr);
    }
}

#[test]
fn an_answer_that_cannot_be_written_is_no_success() {
    let world = World::new();
    let daemon = world.super_peer("s");
    for more in [&[][..], &["--json"]] {
        let full = File::options().write(true).open("/dev/full").expect("a device that is always full");
        let mut command = world.sprat(["status", "--super", daemon.addr()].iter().chain(more));
        let ended = command.stdout(full).output().expect("sprat starts");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{more:?}: {said}");
        assert_eq!(said.matches("cannot write to standard output").count(), 1, "{more:?}: {said}");
    }
}

#[test]
fn events_end_without_a_word_when_nobody_reads_them() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let _peer = world.peer("p", &[&daemon]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let ended = world.sprat(["events", "--since", "0", "--control", daemon.control()]).stdout(writer).output();
    let ended = ended.expect("sprat starts");
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn a_subscription_whose_reader_has_left_ends_without_an_error() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let (seed, peer) = (world.peer("seed", &[&daemon]), world.peer("p", &[&daemon]));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = world.sprat(["subscribe", "*.iso", "--existing", "--control", peer.control()]);
    let child = command.stdout(writer).stderr(Stdio::piped()).spawn().expect("sprat starts");
    world.share("seed", "new.iso", b"new");
    let ended = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(0) && !said.contains("sprat:"), "{:?}: {said}", ended.status);
    drop(seed);
}

#[test]
fn a_download_goes_on_when_nobody_reads_its_events() {
    let world = World::new();
    let daemon = world.super_peer("s");
    let content = noise(7, (3 << 20) + 1);
    world.share("p", "tune", &content);
    let _peer = world.peer("p", &[&daemon]);
    world.hits(&daemon, "tune", 1);
    let mut command = world.sprat(["get", "tune", "-o", "got", "--json", "--super", daemon.addr()]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("sprat starts");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert!(std::fs::read(world.path("got")).expect("published") == content);
}
