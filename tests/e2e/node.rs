//! The loop on real sockets, with a machine that only echoes: its input, its output, and how it
//! ends.
#![allow(
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    reason = "a test names what it waits for; children speak"
)]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use sprat::control::{command_line, parse_event};
use sprat::error::{Exit, Failure};
use sprat::node::{DiskOptions, Flow, Handle, Host, Node, Options};
use sprat::proto::event::Outcome;
use sprat::proto::{ClientEvent, ClientId, Command, DialId, Event, HashPlan, Input, Output, Role, Verify};
use sprat::time::Time;
use sprat::wire::message::{Bye, Chunk, Error, Ping};
use sprat::wire::{Md5, Message, frame};

/// Only ends a failing test: nothing is expected to take this long.
const GUARD: Duration = Duration::from_secs(20);

/// Answers PING with PONG, takes chunks, closes what is malformed, and reports to the test what it
/// received.
struct Echo {
    outputs: VecDeque<Output>,
    heard: Sender<String>,
    open: Vec<sprat::proto::ConnId>,
    waiting: Vec<ClientId>,
}

impl Echo {
    fn report(&self, what: impl Into<String>) {
        let _ = self.heard.send(what.into());
    }

    fn on_command(&mut self, client: ClientId, command: Command) {
        let event = match command {
            // Never ends by itself.
            Command::Status => return self.waiting.push(client),
            Command::List { .. } | Command::Network { .. } => ClientEvent::Note { message: "one".into() },
            Command::Get(get) | Command::Queue(get) | Command::Fetch(get) => ClientEvent::Note { message: get.what },
            Command::Uri { what, .. } => ClientEvent::Note { message: what },
            Command::Aim { .. }
            | Command::Downloads
            | Command::Clean
            | Command::Reload
            | Command::User(_)
            | Command::Subscribe { .. }
            | Command::Cancel { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Limit { .. } => ClientEvent::Note { message: "one".into() },
            Command::Query { .. } => {
                let failure = Failure::new(Exit::Disk, "the test ends here");
                return self.outputs.push_back(Output::Event(Box::new(Event::Fatal(failure))));
            }
        };
        let done = ClientEvent::Done(Outcome { ok: true, ..Outcome::default() });
        for event in [event, done] {
            self.outputs.push_back(Output::Event(Box::new(Event::Client { client, event })));
        }
    }
}

impl Role for Echo {
    fn handle_input(&mut self, _: Time, input: Input<'_>) {
        match input {
            Input::Accepted { conn, .. } | Input::Dialed { conn, .. } => {
                self.open.push(conn);
                self.report("open");
            }
            Input::Message { conn, message: Message::Ping(ping) } => {
                self.outputs.push_back(Output::Send { conn, message: Message::Pong(ping) });
            }
            Input::Message { conn, message: Message::Chunk(chunk) } => {
                let Chunk { req, length, .. } = chunk;
                let (plan, verify) = (HashPlan::Content, Verify::Blake3);
                self.outputs.push_back(Output::ReceivePayload { conn, req, length, plan, verify });
            }
            Input::Message { message, .. } => self.report(message.kind()),
            Input::Malformed { conn, error } => {
                let error = Error::new(error.code(), error.to_string(), None);
                self.outputs.push_back(Output::Send { conn, message: Message::Error(error) });
                self.outputs.push_back(Output::Close { conn });
            }
            Input::PayloadReceived { req, payload, digests, .. } => {
                self.outputs.push_back(Output::DropPayload { payload });
                let root = blake3::Hash::from_bytes(digests.blake3.unwrap());
                self.report(format!("payload {req} {root}"));
            }
            Input::Closed { conn, why } => {
                self.open.retain(|open| *open != conn);
                self.report(format!("closed {}", why.word()));
            }
            Input::Command { client, command } => self.on_command(client, command),
            Input::ClientGone { client } => {
                assert!(self.waiting.contains(&client));
                self.report("client gone");
            }
            Input::Shutdown => {
                for conn in &self.open {
                    let bye = Message::Bye(Bye { why: "the end".into() });
                    self.outputs.push_back(Output::Send { conn: *conn, message: bye });
                    self.outputs.push_back(Output::Close { conn: *conn });
                }
            }
            Input::DialFailed { dial: DialId(_), why, .. } => self.report(why),
            Input::Datagram { bytes, .. } => self.report(format!("datagram of {}", bytes.len())),
            Input::PayloadProgress { .. } | Input::PayloadSent { .. } | Input::Crowded { .. } | Input::Disk(_) => {}
            Input::AccountsSaved { .. } => {}
            Input::Backlogged { .. } | Input::Drained { .. } | Input::Memory { .. } => {}
            Input::Unanswered { .. } | Input::Undelivered { .. } | Input::Resolved { .. } | Input::Settings(_) => {}
        }
    }

    fn handle_timeout(&mut self, _: Time) {}

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        None
    }
}

/// Stops when a client of its own is done.
struct Quiet;

impl Host for Quiet {
    fn on_event(&mut self, event: Event) -> Flow {
        match event {
            Event::Client { event: ClientEvent::Done(_), .. } => Flow::Stop(Exit::Partial),
            _ => Flow::Continue,
        }
    }
}

struct Running {
    handle: Handle,
    addr: String,
    heard: Receiver<String>,
    thread: Option<JoinHandle<Result<Exit, Failure>>>,
}

impl Running {
    fn start(options: Options) -> Running {
        let node = Node::open(options).unwrap();
        let (sender, heard) = channel();
        let echo = Echo { outputs: VecDeque::new(), heard: sender, open: Vec::new(), waiting: Vec::new() };
        let (handle, addr) = (node.handle(), node.listen_addr().unwrap().to_string());
        let thread = Some(std::thread::spawn(move || node.run(echo, &mut Quiet)));
        Running { handle, addr, heard, thread }
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(&self.addr).unwrap();
        client.set_read_timeout(Some(GUARD)).unwrap();
        client
    }

    fn hear(&self) -> String {
        self.heard.recv_timeout(GUARD).unwrap()
    }

    fn end(mut self) -> Result<Exit, Failure> {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}

fn options() -> Options {
    Options { listen: Some("127.0.0.1:0".parse().unwrap()), datagrams: true, ..Options::default() }
}

fn write_message(client: &mut TcpStream, message: &Message) {
    let mut bytes = Vec::new();
    frame::encode(message, &mut bytes);
    client.write_all(&bytes).unwrap();
}

fn read_to_end(client: &mut TcpStream) -> Vec<Message> {
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).unwrap();
    let mut messages = Vec::new();
    let mut rest = &bytes[..];
    while let Some((message, used)) = frame::decode(rest, 65536).unwrap() {
        messages.push(message);
        rest = &rest[used..];
    }
    assert!(rest.is_empty());
    messages
}

#[test]
fn a_shutdown_says_bye_and_ends_well() {
    let node = Running::start(options());
    let mut client = node.connect();
    write_message(&mut client, &Message::Ping(Ping { n: 1 }));
    assert_eq!(node.hear(), "open");
    let mut length = [0; 4];
    client.peek(&mut length).unwrap();
    node.handle.shutdown();
    let bye = Message::Bye(Bye { why: "the end".into() });
    assert_eq!(read_to_end(&mut client), [Message::Pong(Ping { n: 1 }), bye]);
    drop(client);
    assert_eq!(node.end(), Ok(Exit::Ok));
}

#[test]
fn a_host_that_stops_chooses_the_exit() {
    let node = Running::start(options());
    node.handle.command(ClientId(1), Command::List { partial: false });
    assert_eq!(node.end(), Ok(Exit::Partial));
}

#[test]
fn a_machine_that_cannot_go_on_ends_the_loop_with_its_failure() {
    let node = Running::start(options());
    let search = sprat::control::parse_command(r#"{"cmd":"query","search":{"q":"x","k":"words"}}"#).unwrap();
    node.handle.command(ClientId(1), search);
    assert_eq!(node.end(), Err(Failure::new(Exit::Disk, "the test ends here")));
}

#[test]
fn a_megabyte_of_garbage_gets_an_error_and_an_end() {
    let node = Running::start(options());
    let mut client = node.connect();
    let garbage: Vec<u8> = (0..1_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 | 1).collect();
    client.write_all(&garbage).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let messages = read_to_end(&mut client);
    assert!(matches!(messages[..], [Message::Error(_)]), "{messages:?}");
    assert_eq!(node.hear(), "open");
    assert_eq!(node.hear(), "closed asked");
}

#[test]
fn a_received_chunk_is_hashed_and_reported() {
    let disk = Some(DiskOptions::default());
    let node = Running::start(Options { disk, ..options() });
    let mut client = node.connect();
    let content = vec![7; 300_000];
    let chunk = Chunk { req: 3, offset: 0, length: 300_000, md5: Some(Md5([0; 16])) };
    write_message(&mut client, &Message::Chunk(chunk));
    client.write_all(&content).unwrap();
    assert_eq!(node.hear(), "open");
    assert_eq!(node.hear(), format!("payload 3 {}", blake3::hash(&content)));
}

#[test]
fn a_datagram_reaches_the_machine() {
    let node = Running::start(options());
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(&[1; 77], &node.addr).unwrap();
    assert_eq!(node.hear(), "datagram of 77");
}

#[test]
fn a_port_in_use_is_exit_5_and_named() {
    let node = Running::start(options());
    let listen = Some(node.addr.parse().unwrap());
    let failure = Node::open(Options { listen, ..options() }).unwrap_err();
    let addr = &node.addr;
    assert_eq!(failure.exit, Exit::Unreachable);
    let expected = format!("{addr} is in use; choose another port with --listen or stop the other program");
    assert_eq!(failure.message, expected);
}

/// Counts datagrams, and has a timer that is due from the beginning.
struct Late {
    datagrams: usize,
    fired_after: Option<usize>,
    outputs: VecDeque<Output>,
}

impl Role for Late {
    fn handle_input(&mut self, _: Time, input: Input<'_>) {
        self.datagrams += usize::from(matches!(input, Input::Datagram { .. }));
    }

    fn handle_timeout(&mut self, _: Time) {
        self.fired_after = Some(self.datagrams);
        let failure = Failure::new(Exit::TimedOut, self.datagrams.to_string());
        self.outputs.push_back(Output::Event(Box::new(Event::Fatal(failure))));
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.fired_after.is_none().then_some(Time::ZERO)
    }
}

#[test]
fn input_that_was_queued_during_a_pause_goes_before_the_timers() {
    const QUEUED: usize = sprat::config::DATAGRAMS_PER_TURN + 40;
    let node = Node::open(options()).unwrap();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..QUEUED {
        socket.send_to(b"x", node.listen_addr().unwrap()).unwrap();
    }
    let role = Late { datagrams: 0, fired_after: None, outputs: VecDeque::new() };
    let failure = node.run(role, &mut Quiet).unwrap_err();
    assert_eq!(failure, Failure::new(Exit::TimedOut, QUEUED.to_string()));
}

// ---- the control socket -------------------------------------------------------------------------

fn controlled(path: &Path) -> Running {
    Running::start(Options { control: Some(path.to_owned()), ..options() })
}

fn control(path: &Path) -> (UnixStream, BufReader<UnixStream>) {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(GUARD)).unwrap();
    (stream.try_clone().unwrap(), BufReader::new(stream))
}

fn next_event(reader: &mut impl BufRead) -> ClientEvent {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    parse_event(&line).unwrap_or_else(|why| panic!("{line:?}: {why}"))
}

fn done(exit: Exit) -> impl Fn(&ClientEvent) -> bool {
    move |event| matches!(event, ClientEvent::Done(outcome) if outcome.exit == exit.code())
}

#[test]
fn a_command_on_the_control_socket_is_answered_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.sock");
    let _node = controlled(&path);
    let (mut writer, mut reader) = control(&path);
    for _ in 0..2 {
        writeln!(writer, "{}", command_line(&Command::List { partial: false })).unwrap();
        assert_eq!(next_event(&mut reader), ClientEvent::Note { message: "one".into() });
        assert!(done(Exit::Ok)(&next_event(&mut reader)));
    }
}

#[test]
fn a_client_that_half_closes_gets_its_answers_and_then_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.sock");
    let _node = controlled(&path);
    let (mut writer, mut reader) = control(&path);
    // The line has no line end: the end of the stream ends the line as well.
    write!(
        writer,
        "{}\n{}",
        command_line(&Command::List { partial: false }),
        command_line(&Command::List { partial: false })
    )
    .unwrap();
    writer.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text.lines().count(), 4, "{text}");
}

#[test]
fn a_bad_line_gets_a_done_with_exit_2_and_the_next_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.sock");
    let _node = controlled(&path);
    let (mut writer, mut reader) = control(&path);
    for bad in [&b"dance\n"[..], b"{}\n", b"\xff\xfe\n"] {
        writer.write_all(bad).unwrap();
        assert!(done(Exit::Usage)(&next_event(&mut reader)));
    }
    writeln!(writer, "{}", command_line(&Command::List { partial: false })).unwrap();
    assert_eq!(next_event(&mut reader), ClientEvent::Note { message: "one".into() });
}

#[test]
fn a_line_that_never_ends_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.sock");
    let _node = controlled(&path);
    let (mut writer, mut reader) = control(&path);
    writer.write_all(&vec![b'x'; sprat::config::CONTROL_LINE_BYTES_MAX + 4097]).unwrap();
    assert!(done(Exit::Usage)(&next_event(&mut reader)));
    assert_eq!(reader.read_line(&mut String::new()).unwrap_or(0), 0);
}

#[test]
fn a_client_that_goes_takes_its_commands_along() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.sock");
    let node = controlled(&path);
    let (mut writer, mut reader) = control(&path);
    writeln!(writer, "{}", command_line(&Command::Status)).unwrap();
    writeln!(writer, "{}", command_line(&Command::List { partial: false })).unwrap();
    assert_eq!(next_event(&mut reader), ClientEvent::Note { message: "one".into() });
    drop((writer, reader));
    assert_eq!(node.hear(), "client gone");
}

#[test]
fn a_client_whose_command_runs_when_the_node_ends_gets_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.sock");
    let node = controlled(&path);
    let (mut writer, mut reader) = control(&path);
    writeln!(writer, "{}", command_line(&Command::Status)).unwrap();
    writeln!(writer, "{}", command_line(&Command::List { partial: false })).unwrap();
    assert_eq!(next_event(&mut reader), ClientEvent::Note { message: "one".into() });
    assert!(done(Exit::Ok)(&next_event(&mut reader)));
    node.handle.shutdown();
    assert!(done(Exit::Unreachable)(&next_event(&mut reader)));
    assert_eq!(node.end(), Ok(Exit::Ok));
}

#[test]
fn the_socket_of_a_dead_process_is_replaced_and_ours_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let node = controlled(&path);
    let (mut writer, mut reader) = control(&path);
    writeln!(writer, "{}", command_line(&Command::List { partial: false })).unwrap();
    assert_eq!(next_event(&mut reader), ClientEvent::Note { message: "one".into() });
    drop((writer, reader));
    node.handle.shutdown();
    assert_eq!(node.end(), Ok(Exit::Ok));
    assert!(!path.exists());
}

#[test]
fn the_socket_of_a_living_process_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.sock");
    let _node = controlled(&path);
    let failure = Node::open(Options { control: Some(path.clone()), ..options() }).unwrap_err();
    assert_eq!(failure.exit, Exit::Unreachable);
    assert!(failure.message.contains(path.to_str().unwrap()), "{}", failure.message);
    assert!(path.exists());
}

#[test]
fn a_file_in_place_of_the_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.sock");
    std::fs::write(&path, "mine").unwrap();
    let failure = Node::open(Options { control: Some(path.clone()), ..options() }).unwrap_err();
    assert_eq!(failure.exit, Exit::Unreachable);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}

#[test]
fn a_link_in_place_of_the_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (path, elsewhere) = (folder.path().join("c.sock"), folder.path().join("elsewhere"));
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    let failure = Node::open(Options { control: Some(path.clone()), ..options() }).unwrap_err();
    assert_eq!(failure.exit, Exit::Unreachable);
    assert!(!elsewhere.exists() && std::fs::read_link(&path).unwrap() == elsewhere);
}

#[test]
fn a_socket_that_another_process_made_in_our_place_stays_when_we_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.sock");
    let node = controlled(&path);
    std::fs::remove_file(&path).unwrap();
    let _theirs = UnixListener::bind(&path).unwrap();
    node.handle.shutdown();
    assert_eq!(node.end(), Ok(Exit::Ok));
    assert!(path.exists());
}

#[test]
fn only_its_user_may_use_the_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.sock");
    let _node = controlled(&path);
    assert_eq!(std::fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_crowd_of_idle_clients_does_not_lock_the_owner_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.sock");
    let _node = controlled(&path);
    let (mut waiting, mut answers) = control(&path);
    writeln!(waiting, "{}", command_line(&Command::Status)).unwrap();
    let mut crowd = Vec::new();
    for n in 0..1000 {
        let mut idle = UnixStream::connect(&path).unwrap();
        if n % 2 == 0 {
            idle.write_all(b"{\"cmd\":").unwrap();
        }
        crowd.push(idle);
        if n % 100 == 99 {
            let (mut writer, mut reader) = control(&path);
            writeln!(writer, "{}", command_line(&Command::List { partial: false })).unwrap();
            assert_eq!(next_event(&mut reader), ClientEvent::Note { message: "one".into() });
            assert!(done(Exit::Ok)(&next_event(&mut reader)));
        }
    }
    assert_eq!(crowd[0].read(&mut [0]).unwrap(), 0, "the longest idle one is closed");
    // A client that waits for an answer keeps its connection.
    writeln!(waiting, "{}", command_line(&Command::List { partial: false })).unwrap();
    assert_eq!(next_event(&mut answers), ClientEvent::Note { message: "one".into() });
}

// ---- signals: in a process of their own ---------------------------------------------------------

fn child() -> (Child, BufReader<std::process::ChildStdout>, String) {
    let this = std::env::current_exe().unwrap();
    let args = ["--exact", "node::serve_until_a_signal_comes", "--ignored", "--nocapture"];
    let mut child = std::process::Command::new(this).args(args).stdout(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let addr = loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the child ended early");
        // The harness writes the test's name on the same line.
        if let Some((_, addr)) = line.trim().split_once("listens on ") {
            break addr.to_owned();
        }
    };
    (child, reader, addr)
}

fn signal(child: &Child) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

#[test]
#[ignore = "run by the tests below, in a process of its own"]
fn serve_until_a_signal_comes() {
    let mut node = Running::start(options());
    println!("listens on {}", node.addr);
    assert_eq!(node.thread.take().unwrap().join().unwrap(), Ok(Exit::Ok));
    assert_eq!(node.handle.signal(), Some(15));
    println!("ended well");
}

#[test]
fn a_signal_ends_the_loop_with_a_bye() {
    let (mut child, mut reader, addr) = child();
    let mut client = TcpStream::connect(addr).unwrap();
    client.set_read_timeout(Some(GUARD)).unwrap();
    write_message(&mut client, &Message::Ping(Ping { n: 1 }));
    client.peek(&mut [0]).unwrap();
    signal(&child);
    assert!(matches!(read_to_end(&mut client)[..], [Message::Pong(_), Message::Bye(_)]));
    drop(client);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success() && text.contains("ended well"), "{status}: {text}");
}

#[test]
fn a_second_signal_does_not_wait_for_those_who_never_close() {
    let (mut child, mut reader, addr) = child();
    let mut client = TcpStream::connect(addr).unwrap();
    client.set_read_timeout(Some(GUARD)).unwrap();
    write_message(&mut client, &Message::Ping(Ping { n: 1 }));
    client.peek(&mut [0]).unwrap();
    signal(&child);
    // The BYE shows that the first one was heard.
    assert!(matches!(read_to_end(&mut client)[..], [Message::Pong(_), Message::Bye(_)]));
    signal(&child);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    let status = child.wait().unwrap();
    // Otherwise the loop had already ended by itself, and then the signal killed the process.
    let killed = std::os::unix::process::ExitStatusExt::signal(&status) == Some(15);
    assert!(killed || status.success() && text.contains("ended well"), "{status}: {text}");
}
