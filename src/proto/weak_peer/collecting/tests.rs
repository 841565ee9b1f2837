//! One collection with scripted holders and a scripted disk.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for the one thing that it is about")]

use std::time::Duration;

use super::*;
use crate::config::PIECE_BYTES;
use crate::proto::disk::{CollectionStep, Destination, DiskFailure, DiskFailureKind, Listed, Missing, Unplaced};
use crate::proto::weak_peer::download::{Pool, Progress};
use crate::proto::{DialId, DiskWork, Event, Output, PieceOrder, Verify};
use crate::sim::Random;
use crate::time::Time;
use crate::wire::collection::Item;
use crate::wire::message::{Chunk, Error, ErrorCode, Welcome};
use crate::wire::{HostPort, Md5, NodeId, Root, SharePath};

const ID: DownloadId = DownloadId(3);

struct Rig {
    cx: Context,
    collecting: Collecting,
    orders: Vec<Order>,
    outputs: Vec<Output>,
}

fn conn(n: u32) -> ConnId {
    ConnId { index: n, generation: 1 }
}

fn file(number: u64, size: u64) -> Missing {
    let root = Root(*blake3::hash(&number.to_be_bytes()).as_bytes());
    let path = SharePath::new(&format!("d/{number}")).unwrap();
    Missing { number, path, full: format!("/out/x/d/{number}").into(), size, root, executable: false }
}

/// The holder with this number.
fn contact(n: u16) -> Contact {
    HostPort::new("192.0.2.1", n).unwrap().into()
}

/// The report that these files are placed.
fn placed(numbers: impl IntoIterator<Item = u64>, bytes: u64) -> CollectionDone {
    let files = numbers.into_iter().map(|n| (n, format!("/out/x/d/{n}").into())).collect();
    CollectionDone::Placed { files, bytes, failed: Vec::new() }
}

impl Rig {
    fn idle() -> (Rig, Order) {
        let mut cx = Context::new(NodeId([1; 16]), 1, "test", Box::new(Random::new(1)));
        cx.now = Time::from_micros(1_000_000);
        let destination = Destination::Collection(Box::new(Destination::Share { name: "x".into() }));
        let order = Order {
            id: ID,
            client: ClientId(9),
            parent: None,
            collection: true,
            asked_at: cx.now,
            root: Root([5; 32]),
            name: "x".into(),
            verify: Verify::Both,
            pieces: PieceOrder::Any,
            destination,
            timeout: Duration::ZERO,
            pool: Pool::default(),
            only: false,
            widen: false,
            searching: false,
            is_part: false,
            is_small: false,
        };
        (Rig { cx, collecting: Collecting::default(), orders: Vec::new(), outputs: Vec::new() }, order)
    }

    /// A collection with these holders. Its folder is open, and its only page lists these files.
    fn new(holders: u16, missing: Vec<Missing>) -> Rig {
        let (mut rig, order) = Rig::idle();
        rig.collecting.begin(&mut rig.cx, order, (1..=holders).map(contact).collect());
        rig.disk(CollectionDone::Opened(Ok("/out/x".into())));
        let files = missing.len() as u64;
        rig.disk(CollectionDone::Listed(Ok(Listed { files, bytes: 0, missing, last: true, ..Listed::default() })));
        rig
    }

    /// A command that has handed over all its files, which have 10 bytes each. `holders` has the
    /// numbers of each file's holders. None of the files is there already.
    fn command(holders: &[&[u16]]) -> Rig {
        let (mut rig, order) = Rig::idle();
        let destination = Destination::Below { folder: Some("/out".into()), path: String::new() };
        let order = Order { destination, collection: false, is_part: true, ..order };
        rig.collecting.begin_command(&mut rig.cx, order);
        assert_eq!(rig.collecting.poll_command(), None, "its folder is not open");
        rig.disk(CollectionDone::Opened(Ok("/out".into())));
        assert_eq!(rig.collecting.poll_command(), Some(ID));
        let files: Vec<Missing> = (1..).zip(holders).map(|(n, _)| file(n, 10)).collect();
        let items = files.iter().zip(holders).map(|(file, holders)| {
            let Missing { path, size, root, executable, .. } = file.clone();
            (Item { path, size, root, executable }, holders.iter().copied().map(contact).collect())
        });
        let items = items.collect();
        rig.collecting.look(&mut rig.cx, ID, items);
        let count = files.len() as u64;
        rig.disk(CollectionDone::Listed(Ok(Listed { files: count, missing: files, ..Listed::default() })));
        assert_eq!(rig.collecting.poll_command(), Some(ID));
        rig.collecting.look(&mut rig.cx, ID, Vec::new());
        assert_eq!(rig.collecting.poll_command(), None, "there are no more");
        rig.drain();
        rig
    }

    /// The files of the command that have ended.
    fn ends(&mut self) -> Vec<(u64, FileEnd)> {
        std::iter::from_fn(|| self.collecting.poll_file_end()).map(|(_, number, end)| (number, end)).collect()
    }

    /// The numbers of the files in these requests.
    fn numbers(asked: &[(u32, Root, u32)]) -> Vec<u64> {
        let number = |root: Root| (1..100).find(|n| file(*n, 10).root == root).unwrap();
        asked.iter().map(|(_, root, _)| number(*root)).collect()
    }

    /// The numbers of the holders that were dialed.
    fn dialed(&self) -> Vec<u16> {
        let dialed = self.outputs.iter().filter_map(|output| match output {
            Output::Dial { to, .. } => Some(to.port()),
            _ => None,
        });
        dialed.collect()
    }

    fn drain(&mut self) {
        self.outputs.extend(std::iter::from_fn(|| self.cx.poll_output()));
        self.orders.extend(std::iter::from_fn(|| self.collecting.poll_order()));
    }

    fn disk(&mut self, done: CollectionDone) {
        self.collecting.on_disk(&mut self.cx, ID, done);
        self.drain();
    }

    /// The dials of the holder at this place succeed.
    fn welcome(&mut self, holder: usize) {
        self.collecting.on_dialed(&mut self.cx, ID, holder, conn(holder as u32));
        let welcome = Welcome::new(NodeId([2; 16]), 1, Duration::from_secs(60), HostPort::new("h", 1).unwrap());
        self.message(holder, Message::Welcome(welcome));
    }

    fn message(&mut self, holder: usize, message: Message) {
        self.collecting.on_message(&mut self.cx, ID, holder, message);
        self.drain();
    }

    /// Removes and returns the unanswered requests to a holder.
    fn asked(&mut self, holder: usize) -> Vec<(u32, Root, u32)> {
        let at = conn(holder as u32);
        let asked = self
            .outputs
            .extract_if(.., |output| matches!(output, Output::Send { conn, message: Message::Get(_) } if *conn == at));
        let asked = asked.map(|output| match output {
            Output::Send { message: Message::Get(get), .. } => (get.req, get.root, get.length),
            _ => unreachable!(),
        });
        asked.collect()
    }

    fn serve(&mut self, holder: usize, (req, root, length): (u32, Root, u32), right: bool) {
        self.message(holder, Message::Chunk(Chunk { req, offset: 0, length, md5: Some(Md5([0; 16])) }));
        let blake3 = Some(if right { root.0 } else { [0; 32] });
        let digests = Digests { md5: Some(Md5([0; 16])), blake3 };
        let payload = PayloadId(u64::from(req));
        self.collecting.on_payload(&mut self.cx, (ID, holder), req, payload, digests);
        self.drain();
    }

    fn placed(&self) -> usize {
        let place = |output: &&Output| {
            matches!(output, Output::Disk(DiskWork::Collection { step: CollectionStep::Place { .. }, .. }))
        };
        self.outputs.iter().filter(place).count()
    }

    fn done(&self) -> Option<&Outcome> {
        self.outputs.iter().find_map(|output| {
            let Output::Event(event) = output else { return None };
            let Event::Client { event: crate::proto::ClientEvent::Done(outcome), .. } = &**event else { return None };
            Some(outcome)
        })
    }

    fn dials(&self) -> Vec<DialId> {
        let dial = |output: &Output| if let Output::Dial { dial, .. } = output { Some(*dial) } else { None };
        self.outputs.iter().filter_map(dial).collect()
    }
}

#[test]
fn many_small_files_come_over_one_connection_and_are_pipelined() {
    let mut rig = Rig::new(1, (1..=100).map(|n| file(n, 1000)).collect());
    assert_eq!(rig.dials().len(), 1);
    rig.welcome(0);
    let mut served = 0;
    loop {
        let asked = rig.asked(0);
        if asked.is_empty() {
            break;
        }
        assert!(asked.len() <= crate::config::COLLECTION_PIPELINE_MAX);
        for request in asked {
            rig.serve(0, request, true);
            served += 1;
        }
    }
    assert_eq!((served, rig.placed(), rig.dials().len(), rig.orders.len()), (100, 100, 1, 0));
    assert!(rig.done().is_none(), "nothing is published yet");
    rig.disk(placed(1..=100, 100_000));
    assert!(rig.done().is_none(), "the disk has not closed it");
    rig.disk(CollectionDone::Closed);
    let done = rig.done().expect("all is there");
    assert!(done.ok && done.files == Some(100) && done.bytes == Some(100_000), "{done:?}");
}

#[test]
fn a_batch_may_be_published_before_its_page_is_reported() {
    let (mut rig, order) = Rig::idle();
    rig.collecting.begin(&mut rig.cx, order, Vec::new());
    rig.disk(CollectionDone::Opened(Ok("/out/x".into())));
    rig.disk(placed(1..=5, 50));
    rig.disk(CollectionDone::Listed(Ok(Listed { files: 5, bytes: 50, copied: 5, last: true, ..Listed::default() })));
    rig.disk(CollectionDone::Closed);
    let done = rig.done().expect("nothing is left to be placed");
    assert!(done.ok && done.files == Some(5), "{done:?}");
}

#[test]
fn a_holder_is_asked_for_few_large_files_at_once() {
    let mut rig = Rig::new(2, (1..=40).map(|n| file(n, PIECE_BYTES)).collect());
    rig.welcome(0);
    assert_eq!(rig.asked(0).len(), 2);
    rig.welcome(1);
    assert_eq!(rig.asked(1).len(), 2);
}

#[test]
fn a_holder_that_lies_is_dropped_and_its_files_come_from_another() {
    let mut rig = Rig::new(2, (1..=3).map(|n| file(n, 10)).collect());
    rig.welcome(0);
    let asked = rig.asked(0);
    assert_eq!(asked.len(), 3);
    rig.serve(0, asked[0], false);
    assert_eq!(rig.placed(), 0);
    rig.welcome(1);
    let again = rig.asked(1);
    assert_eq!(again.len(), 3, "all three are asked for again");
    again.into_iter().for_each(|request| rig.serve(1, request, true));
    assert_eq!(rig.placed(), 3);
}

#[test]
fn a_holder_that_was_lost_is_asked_again_after_its_next_welcome() {
    let mut rig = Rig::new(1, (1..=3).map(|n| file(n, 10)).collect());
    rig.welcome(0);
    assert_eq!(rig.asked(0).len(), 3);
    rig.collecting.on_lost(&mut rig.cx, ID, 0, "closed");
    rig.cx.now = rig.cx.now + Duration::from_secs(5);
    rig.collecting.on_tick(&mut rig.cx, ID, |_| Progress::default());
    rig.drain();
    assert_eq!(rig.dials().len(), 2);
    rig.collecting.on_dialed(&mut rig.cx, ID, 0, conn(0));
    rig.drain();
    assert!(rig.asked(0).is_empty(), "it has not sent WELCOME");
    rig.welcome(0);
    let again = rig.asked(0);
    assert_eq!(again.len(), 3);
    again.into_iter().for_each(|request| rig.serve(0, request, true));
    assert_eq!((rig.placed(), rig.orders.len()), (3, 0));
}

#[test]
fn what_is_large_or_not_served_is_a_download_of_its_own() {
    let mut rig = Rig::new(1, vec![file(1, 10), file(2, 5 << 20), file(3, 10)]);
    assert_eq!(rig.orders.len(), 1, "the large one");
    assert!(rig.orders[0].parent == Some(ID) && rig.orders[0].root == file(2, 0).root);
    rig.welcome(0);
    let asked = rig.asked(0);
    let error = Error::new(ErrorCode::NOT_FOUND, "gone", Some(asked[0].0));
    rig.message(0, Message::Error(error));
    assert!(rig.orders.len() == 2 && rig.orders[1].root == file(1, 0).root && rig.orders[1].widen);
    rig.serve(0, asked[1], true);
    rig.disk(placed([3], 10));
    let (large, gone) = (rig.orders[0].id, rig.orders[1].id);
    let ok = Outcome { ok: true, ..Outcome::default() };
    rig.collecting.on_file_ended(&mut rig.cx, ID, large, &ok);
    let failure = crate::error::Failure::new(crate::error::Exit::NotFound, "nobody has it");
    rig.collecting.on_file_ended(&mut rig.cx, ID, gone, &Outcome::failed(&failure));
    rig.drain();
    rig.disk(CollectionDone::Closed);
    let done = rig.done().expect("the end");
    assert_eq!((done.exit, done.files), (8, Some(2)));
    let error = done.error.as_deref().unwrap();
    assert!(error.contains("1 of 3") && error.contains("d/1") && error.contains(&file(1, 0).root.to_string()));
}

#[test]
fn its_progress_counts_what_was_there_and_the_files_that_run() {
    let mut rig = Rig::new(1, vec![file(1, 10), file(2, 5 << 20)]);
    let there = Listed { files: 1, bytes: 7, there_files: 1, there_bytes: 7, last: true, ..Listed::default() };
    rig.disk(CollectionDone::Listed(Ok(there)));
    let large = Progress { bytes: 3 << 20, resumed: 1 << 20, size: None };
    let Progress { bytes, resumed, size } = rig.collecting.progress_of(ID, |_| large).unwrap();
    assert_eq!((bytes, resumed, size), ((3 << 20) + 7, (1 << 20) + 7, Some(7)));
    let outcome = Outcome { ok: true, resumed: Some(1 << 20), ..Outcome::default() };
    rig.collecting.on_file_ended(&mut rig.cx, ID, rig.orders[0].id, &outcome);
    let Progress { bytes, resumed, .. } = rig.collecting.progress_of(ID, |_| large).unwrap();
    assert_eq!((bytes, resumed), ((5 << 20) + 7, (1 << 20) + 7));
}

#[test]
fn without_a_holder_that_can_be_dialed_each_file_is_searched_for() {
    let mut rig = Rig::new(1, vec![file(1, 10)]);
    for _ in 0..3 {
        rig.collecting.on_lost(&mut rig.cx, ID, 0, "refused");
        rig.cx.now = rig.cx.now + Duration::from_secs(5);
        rig.collecting.on_tick(&mut rig.cx, ID, |_| Progress::default());
        rig.drain();
    }
    assert_eq!(rig.orders.len(), 1);
    rig.collecting.on_client_gone(&mut rig.cx, ClientId(9));
    rig.drain();
    let close = |output: &Output| {
        matches!(output, Output::Disk(DiskWork::Collection { step: CollectionStep::Close { complete: false }, .. }))
    };
    assert!(rig.outputs.iter().any(close) && rig.done().is_none());
}

#[test]
fn each_small_file_of_a_command_comes_from_one_of_its_own_holders() {
    let mut rig = Rig::command(&[&[1], &[2], &[1, 2], &[2]]);
    assert_eq!(rig.dialed(), [1, 2]);
    rig.welcome(1);
    let of_two = rig.asked(1);
    assert_eq!(Rig::numbers(&of_two), [2, 3, 4]);
    rig.welcome(0);
    let of_one = rig.asked(0);
    assert_eq!(Rig::numbers(&of_one), [1]);
    of_two.into_iter().for_each(|request| rig.serve(1, request, true));
    of_one.into_iter().for_each(|request| rig.serve(0, request, true));
    assert_eq!((rig.placed(), rig.ends().len()), (4, 0));
    rig.disk(placed([1, 2, 3], 30));
    let path = |n: u64| std::path::PathBuf::from(format!("/out/x/d/{n}"));
    assert_eq!(rig.ends(), [1, 2, 3].map(|n| (n, FileEnd::Placed(path(n)))));
    let failure = DiskFailure { kind: DiskFailureKind::Io, message: "exists".into() };
    let unplaced = Unplaced { number: 4, path: "d/4".into(), failure };
    rig.disk(CollectionDone::Placed { files: Vec::new(), bytes: 0, failed: vec![unplaced] });
    assert_eq!(rig.ends(), [(4, FileEnd::Left)]);
    rig.disk(CollectionDone::Closed);
    let (id, outcome) = rig.collecting.poll_part_done().expect("it is over");
    assert!(id == ID && outcome.ok && rig.orders.is_empty() && rig.done().is_none());
}

#[test]
fn a_small_file_that_no_holder_of_its_own_serves_is_left() {
    let mut rig = Rig::command(&[&[1], &[1, 2], &[2], &[1]]);
    rig.welcome(0);
    let asked = rig.asked(0);
    assert_eq!(Rig::numbers(&asked), [1, 2, 4]);
    rig.message(0, Message::Error(Error::new(ErrorCode::NOT_FOUND, "gone", Some(asked[0].0))));
    assert_eq!(rig.ends(), [(1, FileEnd::Left)]);
    // This holder lies. The file is then fetched from the other holder that has it. The last file
    // has no other holder.
    rig.serve(0, asked[1], false);
    assert_eq!(rig.ends(), [(4, FileEnd::Left)]);
    rig.welcome(1);
    let asked = rig.asked(1);
    assert_eq!(Rig::numbers(&asked), [2, 3]);
    for request in asked {
        rig.serve(1, request, true);
    }
    assert_eq!((rig.placed(), rig.ends()), (2, Vec::new()));
}

#[test]
fn a_small_file_whose_size_a_hit_states_wrongly_is_left_and_its_holder_stays() {
    let mut rig = Rig::command(&[&[1], &[1]]);
    rig.welcome(0);
    let asked = rig.asked(0);
    rig.message(0, Message::Error(Error::new(ErrorCode::BAD_REQUEST, "not within it", Some(asked[0].0))));
    assert_eq!(rig.ends(), [(1, FileEnd::Left)]);
    rig.serve(0, asked[1], true);
    assert_eq!((rig.placed(), rig.dials().len()), (1, 1));
    assert!(!rig.outputs.iter().any(|output| matches!(output, Output::Close { .. })), "the connection stays open");
}

#[test]
fn a_holder_that_finds_fault_with_the_size_of_a_list_is_replaced() {
    let mut rig = Rig::new(2, (1..=2).map(|n| file(n, 10)).collect());
    rig.welcome(0);
    let asked = rig.asked(0);
    rig.message(0, Message::Error(Error::new(ErrorCode::BAD_REQUEST, "not within it", Some(asked[0].0))));
    rig.welcome(1);
    assert_eq!((rig.asked(1).len(), rig.orders.len()), (2, 0), "the list is right, so it is the holder that is wrong");
}

#[test]
fn holders_with_one_small_file_each_are_used_in_turn() {
    let most = crate::config::COLLECTION_HOLDERS_MAX as u16;
    let holders: Vec<[u16; 1]> = (1..=most + 2).map(|n| [n]).collect();
    let mut rig = Rig::command(&holders.iter().map(|of| &of[..]).collect::<Vec<_>>());
    assert_eq!(rig.dialed(), (1..=most).collect::<Vec<_>>());
    for holder in 0..usize::from(most) + 2 {
        rig.welcome(holder);
        let asked = rig.asked(holder);
        assert_eq!(Rig::numbers(&asked), [holder as u64 + 1]);
        rig.serve(holder, asked[0], true);
        assert_eq!(rig.dialed().len(), (usize::from(most) + 1 + holder).min(holders.len()), "one has its file");
    }
    rig.disk(placed(1..=u64::from(most) + 2, 60));
    assert_eq!(rig.ends().len(), holders.len());
}

#[test]
fn without_a_folder_a_command_keeps_its_small_files() {
    let (mut rig, order) = Rig::idle();
    rig.collecting.begin_command(&mut rig.cx, Order { is_part: true, collection: false, ..order });
    let failure = DiskFailure { kind: DiskFailureKind::Io, message: "read-only".into() };
    rig.disk(CollectionDone::Opened(Err(failure)));
    assert_eq!(rig.collecting.poll_command(), None);
    rig.disk(CollectionDone::Closed);
    assert!(rig.collecting.poll_part_done().is_some() && rig.ends().is_empty());
}
