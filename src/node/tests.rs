//! The loop without a worker of the disk: what it passes to the disk, and when.

use std::sync::Arc;
use std::sync::mpsc;

use super::driver::Driver;
use super::memory::Memory;
use super::{Flow, Host, HttpOptions};
use crate::disk::Disk;
use crate::http::{Reader, Surface};
use crate::net::{Arrival, Net, NetOptions};
use crate::proto::{ConnId, Event, Input, Output, Role};
use crate::time::Time;

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

#[test]
fn the_files_that_the_requests_of_one_turn_name_are_looked_for_together() {
    let (disk, batches) = Disk::without_worker();
    let (_reports, reports) = mpsc::channel();
    let (_requests, requests) = mpsc::channel();
    let net = Net::open(&NetOptions::default()).unwrap();
    let (mut role, mut host) = (Still, Still);
    let more = (Memory::new(None), HttpOptions { files: true, ..HttpOptions::default() }, None);
    let disk = Some((disk, reports));
    let mut driver = Driver::new(net, disk, requests, Arc::default(), &mut role, &mut host, more);
    for index in 0..3 {
        let conn = ConnId { index, generation: 0 };
        let mut reader = Reader::new(Surface::Files);
        reader.hold(format!("GET /files/{index} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        let request = reader.take_request().unwrap().unwrap();
        let from = "127.0.0.1".parse().unwrap();
        // The machine gets an input for each of them, and its outputs are performed.
        driver.on_arrival(Arrival::HttpBegun { conn });
        driver.on_arrival(Arrival::Http { conn, surface: Surface::Files, from, request: Box::new(request) });
    }
    assert_eq!(batches(), [0; 0]);
    driver.hand_over();
    assert_eq!(batches(), [3]);
}
