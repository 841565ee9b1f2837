//! The loop without a worker of the disk: what it passes to the disk, and when.

use std::sync::Arc;
use std::sync::mpsc;

use super::driver::Driver;
use super::memory::Memory;
use super::{Flow, Host, HttpOptions};
use crate::disk::{AtPath, Disk, HttpDone};
use crate::http::{Content, Reader, Surface};
use crate::net::{Arrival, Net, NetOptions};
use crate::proto::{ConnId, Event, Input, Output, Role};
use crate::time::Time;
use crate::wire::ids::Root;

/// A machine that does nothing.
struct Still;

impl Role for Still {
    fn handle_input(&mut self, _: Time, _: Input<'_>) {}

    fn handle_timeout(&mut self, _: Time) {}

    fn poll_output(&mut self) -> Option<Output> {
        None
    }

    fn poll_timeout(&self) -> Option<Time> {
        None
    }
}

impl Host for Still {
    fn on_event(&mut self, _: Event) -> Flow {
        Flow::Continue
    }
}

/// A loop with a disk that has no worker, and how many jobs each batch has that the disk got since
/// the last call.
fn with_loop(test: impl FnOnce(&mut Driver<'_>, &dyn Fn() -> Vec<usize>)) {
    let (disk, batches) = Disk::without_worker();
    let (_reports, reports) = mpsc::channel();
    let (_requests, requests) = mpsc::channel();
    let net = Net::open(&NetOptions::default()).unwrap();
    let (mut role, mut host) = (Still, Still);
    let more = (Memory::new(None), HttpOptions { files: true, ..HttpOptions::default() }, None);
    let disk = Some((disk, reports));
    let mut driver = Driver::new(net, disk, requests, Arc::default(), &mut role, &mut host, more);
    test(&mut driver, &batches);
}

/// A request for a file.
fn ask(driver: &mut Driver<'_>, conn: ConnId, path: &str, more: &str) {
    let mut reader = Reader::new(Surface::Files);
    reader.hold(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n").as_bytes());
    let request = reader.take_request().unwrap().unwrap();
    let from = "127.0.0.1".parse().unwrap();
    // The machine gets an input for each of them, and its outputs are performed.
    driver.on_arrival(Arrival::HttpBegun { conn });
    driver.on_arrival(Arrival::Http { conn, surface: Surface::Files, from, request: Box::new(request) });
}

#[test]
fn the_files_that_the_requests_of_one_turn_name_are_looked_for_together() {
    with_loop(|driver, batches| {
        for index in 0..3 {
            ask(driver, ConnId { index, generation: 0 }, &format!("/files/{index}"), "");
        }
        assert_eq!(batches(), [0; 0]);
        driver.hand_over();
        assert_eq!(batches(), [3]);
    });
}

#[test]
fn the_disk_hears_of_the_end_of_a_connection_only_if_it_still_prepares_chunks_for_it() {
    for (sent, batches_after) in [(false, 0), (true, 1)] {
        with_loop(|driver, batches| {
            let conn = ConnId { index: 0, generation: 0 };
            ask(driver, conn, "/files/x", "Range: bytes=0-\r\n");
            let content = Content { root: Root([1; 32]), size: 64 << 20, modified_s: None, dated: false };
            let file = Arc::new(tempfile::tempfile().unwrap());
            let what = AtPath::File { content, name: "x".to_owned(), md5: None, file };
            driver.on_http_done(HttpDone::Found { conn, what });
            if sent {
                // The next chunks are requested.
                driver.on_http_sent(conn);
            }
            driver.hand_over();
            batches();
            driver.on_http_gone(conn);
            driver.hand_over();
            assert_eq!(batches().len(), batches_after, "sent: {sent}");
        });
    }
}
