//! When descriptors run out, in a process of its own.

use std::fs::File;
use std::io::Read;
use std::process::Command;

use rustix::process::{Resource, Rlimit, setrlimit};

use super::*;
use crate::config::ACCEPT_RETRY;

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
    rig.net.acceptor.as_mut().unwrap().refusals_left = 1;
    while rig.net.counters().accept_stalls == 0 {
        rig.turn(|_, arrival| panic!("unexpected: {arrival:?}"));
    }
    // The one that waited was told; the listener rests; everybody else is served.
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
    rig.net.conns.conns_max = 1;
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
