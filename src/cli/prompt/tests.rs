//! The console with a recorder in place of the node and the terminal.

use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};

use super::console::{Commands, Console};
use super::grammar;
use super::news::{News, Reply};
use super::output::{Bars, Output};
use crate::proto::event::Outcome;
use crate::proto::{ClientEvent, ClientId, Command};
use crate::wire::{HostPort, Root};

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

impl Recorder {
    fn record(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }
    fn has(&self, part: &str) -> bool {
        self.0.lock().unwrap().iter().any(|line| line.contains(part))
    }
}

impl Output for Recorder {
    fn show(&mut self, bars: Bars) -> bool {
        self.record(format!("bars {}", bars(80, 20).join(" | ")));
        true
    }

    fn print(&mut self, text: &str) {
        self.record(format!("print {text}"));
    }
    fn note(&mut self, text: &str) {
        self.record(format!("note {text}"));
    }
}

impl Commands for Recorder {
    fn command(&mut self, client: ClientId, command: Command) {
        self.record(format!("command {} {command:?}", client.0));
    }
    fn shutdown(&mut self) {
        self.record("shutdown".into());
    }
}

fn console() -> (Console, Recorder, Receiver<Reply>) {
    let (replies, taken) = mpsc::channel();
    let recorder = Recorder::default();
    (Console::new(Box::new(recorder.clone()), Box::new(recorder.clone()), replies, false), recorder, taken)
}

fn type_in(console: &mut Console, line: &str) -> bool {
    console.on_line(grammar::parse(line).unwrap())
}

fn hit(name: &str, root: u8, port: u16) -> ClientEvent {
    let source = HostPort::new("h", port).unwrap();
    let (name, path, root) = (name.into(), name.into(), Root([root; 32]));
    let (collection, unreached, http) = (false, false, false);
    ClientEvent::Hit {
        name,
        path,
        size: 1,
        root,
        collection,
        source,
        other: None,
        node: None,
        unreached,
        http,
        partial: false,
    }
}

fn done() -> ClientEvent {
    ClientEvent::Done(Outcome { ok: true, reached: Some(1), ..Outcome::default() })
}

#[test]
fn a_query_holds_the_next_line_until_its_done() {
    let (mut console, recorder, taken) = console();
    type_in(&mut console, "QUERY x");
    console.on_event(ClientId(1), hit("x", 1, 1));
    assert!(taken.try_recv().is_err());
    console.on_event(ClientId(1), done());
    assert_eq!(*taken.try_recv().unwrap().names, ["x"]);
    assert!(recorder.has("1 result in"));
}

#[test]
fn a_download_runs_in_the_background_and_wait_waits_for_it() {
    let (mut console, recorder, taken) = console();
    type_in(&mut console, "QUERY x");
    for event in [hit("x", 1, 1), hit("x", 1, 2), done()] {
        console.on_event(ClientId(1), event);
    }
    assert!(taken.try_recv().is_ok());
    type_in(&mut console, "GET 1 FROM 2");
    assert!(taken.try_recv().is_ok());
    assert!(recorder.has(&format!("what: \"{}\"", Root([1; 32]))) && recorder.has("port: 2"));
    type_in(&mut console, "WAIT");
    assert!(taken.try_recv().is_err());
    console.on_event(ClientId(2), done());
    assert!(taken.try_recv().is_ok());
    assert!(recorder.has("print got"));
}

#[test]
fn a_wrong_number_is_answered_with_the_right_ones() {
    let (mut console, recorder, taken) = console();
    type_in(&mut console, "GET 1");
    assert!(recorder.has("no results yet"));
    type_in(&mut console, "QUERY x");
    console.on_event(ClientId(1), hit("x", 1, 1));
    console.on_event(ClientId(1), done());
    type_in(&mut console, "GET 2");
    assert!(recorder.has("no result 2; the only one is 1"));
    type_in(&mut console, "GET 1 FROM 9");
    assert!(recorder.has("no source 9; write GET 1 FROM 1"));
    assert_eq!(taken.try_iter().count(), 4);
}

#[test]
fn a_name_with_several_contents_becomes_the_list_of_results() {
    let (mut console, recorder, _taken) = console();
    type_in(&mut console, "GET x");
    console.on_event(ClientId(1), hit("x", 1, 1));
    console.on_event(ClientId(1), hit("x", 2, 1));
    let outcome = Outcome { exit: 2, error: Some("several".into()), ..Outcome::default() };
    console.on_event(ClientId(1), ClientEvent::Done(outcome));
    assert!(recorder.has("several"));
    type_in(&mut console, "GET 2");
    assert!(recorder.has(&format!("command 2 Queue(Get {{ what: \"{}\"", Root([2; 32]))));
}

#[test]
fn the_first_digits_of_a_root_that_was_listed_last_are_enough() {
    let (mut console, recorder, _taken) = console();
    let digits = "0101010101";
    type_in(&mut console, &format!("GET {digits}"));
    assert!(recorder.has(&format!("what: \"{digits}\"")), "nothing was listed: it is a name");
    type_in(&mut console, "LIST");
    let file = |name: &str, root| ClientEvent::File {
        name: name.into(),
        path: name.into(),
        size: 1,
        root: Root(root),
        collection: false,
        holders: 1,
        partial: 0,
    };
    let mut near = [1; 32];
    near[31] = 2;
    for event in [file("x", [1; 32]), file("y", [2; 32]), file("z", near), done()] {
        console.on_event(ClientId(2), event);
    }
    type_in(&mut console, "GET 02020202");
    assert!(recorder.has(&format!("what: \"{}\", name: Some(\"y\")", Root([2; 32]))));
    type_in(&mut console, "GET \"name\" \"02020202\"");
    assert!(recorder.has(&format!("also: [\"{}\"]", Root([2; 32]))));
    type_in(&mut console, "GET 01010101");
    assert!(recorder.has("2 roots begin with 01010101"));
    type_in(&mut console, "GET \"0202020\"");
    assert!(recorder.has("what: \"0202020\""), "seven digits are a name");
    type_in(&mut console, &format!("GET {},name=a%20b", format_args!("sprat:{}", Root([9; 32]))));
    assert!(recorder.has(&format!("what: \"{}\", name: Some(\"a b\")", Root([9; 32]))));
    type_in(&mut console, "GET 02020202 TO /x/y");
    assert!(recorder.has(&format!("what: \"{}\", name: Some(\"y\"), also: []", Root([2; 32]))) && recorder.has("/x/y"));
    type_in(&mut console, "GET 02020202 020202020202");
    assert!(recorder.has(&format!("name: Some(\"y\"), also: [\"{}\"]", Root([2; 32]))));
    type_in(&mut console, "GET 02020202 03030303");
    assert!(recorder.has("begins with 03030303; a name is written in \"quotes\""));
    type_in(&mut console, "GET 03030303 TO x");
    assert!(!recorder.has("what: \"03030303"), "it would wait for a file with TO in its name");
    type_in(&mut console, "GET 03030303 03030304");
    assert!(recorder.has("what: \"03030303 03030304\""), "nothing listed begins with it: it is a name");
    type_in(&mut console, "URI some name");
    assert!(recorder.has("Uri { what: \"some name\", path: None"));
}

#[test]
fn a_uri_with_a_destination_keeps_its_name() {
    let (mut console, recorder, _taken) = console();
    let uri = format!("sprat:{},size=623,super=127.0.0.1:46859,name=music", Root([9; 32]));
    type_in(&mut console, &format!("GET {uri} TO /x/utoo/"));
    assert!(recorder.has("name: Some(\"music\")") && recorder.has("out: Some(\"/x/utoo/\")"));
    console.take(News::Line(Ok("GET song.mp3 TO x".into())));
    assert!(recorder.has("note this is searched as one name"));
}

#[test]
fn a_canceled_download_is_no_error() {
    let (mut console, recorder, _taken) = console();
    type_in(&mut console, "GET x");
    let report = serde_json::from_str(r#"{"id":5,"state":"running","what":"x"}"#).unwrap();
    console.on_event(ClientId(1), ClientEvent::Download(report));
    type_in(&mut console, "CANCEL 5");
    let outcome = Outcome { exit: 1, error: Some("download 5 was canceled".into()), ..Outcome::default() };
    console.on_event(ClientId(1), ClientEvent::Done(outcome));
    assert!(recorder.has("note x: download 5 was canceled") && !recorder.has("error"));
}

#[test]
fn exit_reports_running_downloads_and_ends() {
    let (mut console, recorder, taken) = console();
    type_in(&mut console, "GET x");
    assert!(type_in(&mut console, "EXIT"));
    assert!(recorder.has("1 download not finished; the next start goes on with it") && recorder.has("shutdown"));
    assert!(taken.try_iter().last().unwrap().exit);
}

fn at(port: u16) -> HostPort {
    HostPort::new("h", port).unwrap()
}

#[test]
fn a_download_has_a_bar_until_it_ends() {
    let (mut console, recorder, _taken) = console();
    type_in(&mut console, "GET x");
    let progress = ClientEvent::Progress {
        bytes: 1,
        size: 4,
        rate: 1,
        sources: Vec::new(),
        gives_up_ms: Some(29_500),
        swarm: None,
    };
    console.on_event(ClientId(1), progress);
    assert!(recorder.has("bars x  [") && recorder.has("25 %") && recorder.has("eta 0:03"));
    assert!(recorder.has("|   no source left, giving up in 30 s"));
    console.on_event(ClientId(1), done());
    assert!(recorder.0.lock().unwrap().iter().any(|line| line == "bars "));
}

#[test]
fn without_a_super_peer_a_search_is_answered_at_once() {
    let (mut console, recorder, taken) = console();
    assert!(!console.take(News::Welcomed { super_peer: at(1) }));
    assert!(taken.try_recv().is_ok());
    console.take(News::Lost { super_peer: at(1), why: "it closed".into() });
    assert!(recorder.has("bars no super peer: lost h:1 (it closed)"));
    for line in ["QUERY x", "LIST", "LIST NETWORK", "URI some name"] {
        console.take(News::Line(Ok(line.into())));
        assert!(taken.try_recv().is_ok(), "{line}");
    }
    assert!(recorder.has("note error: no super peer is connected: h:1 was lost") && !recorder.has("command"));
    console.take(News::Line(Ok("GET x".into())));
    assert!(recorder.has("command 1 Queue"), "a download waits for it");
    console.take(News::Welcomed { super_peer: at(1) });
    console.take(News::Line(Ok("QUERY x".into())));
    assert!(recorder.has("command 2 Query"));
}

#[test]
fn ctrl_c_clears_the_line_and_on_an_empty_one_asks_whether_to_exit() {
    let (mut console, recorder, taken) = console();
    console.take(News::Dropped { was_empty: false });
    assert_eq!(taken.try_recv().unwrap().prompt, "sprat> ");
    console.take(News::Dropped { was_empty: true });
    assert!(taken.try_recv().unwrap().prompt.starts_with("exit?"));
    console.take(News::Line(Ok("n".into())));
    assert_eq!(taken.try_recv().unwrap().prompt, "sprat> ");
    console.take(News::Dropped { was_empty: true });
    assert!(console.take(News::Line(Ok(" Yes".into()))) && recorder.has("shutdown"));
}

#[test]
fn ctrl_c_ends_what_a_line_waits_for() {
    let (mut console, recorder, taken) = console();
    console.take(News::Welcomed { super_peer: at(1) });
    console.take(News::Line(Ok("GET x".into())));
    console.take(News::Line(Ok("WAIT".into())));
    assert_eq!(taken.try_iter().count(), 2);
    assert!(!console.take(News::Interrupted));
    assert!(taken.try_recv().is_ok() && recorder.has("the downloads go on"));
    console.take(News::Line(Ok("QUERY x".into())));
    console.take(News::Interrupted);
    assert!(taken.try_recv().is_ok());
    console.on_event(ClientId(2), hit("x", 1, 1));
    console.on_event(ClientId(2), done());
    assert!(taken.try_recv().is_err() && !recorder.has("1 result"));
    console.take(News::Interrupted);
    assert!(taken.try_recv().is_err() && !recorder.has("shutdown"), "the line that is typed is not the console's");
}
