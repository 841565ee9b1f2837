//! Greetings: how links come up, stay up, notice a restart, and do not believe strangers.

use std::time::Duration;

use super::*;
use crate::config::{FOLD, QUERY_REPEAT_MIN};
use crate::proto::Event;
use crate::proto::super_peer::testnet::{Fate, Net, addr_of, search};
use crate::wire::NodeId;
use crate::wire::link::Packer;

fn datagram(boot: u64, message: LinkMessage) -> Vec<u8> {
    let mut packer = Packer::new(boot);
    assert!(packer.push(&message).is_none());
    packer.finish().unwrap()
}

fn forged_hello(boot: u64, echo: u64) -> LinkMessage {
    let (node, et, tree, dg, de) = (NodeId([66; 16]), None, None, None, None);
    LinkMessage::Hello(LinkHello { node, boot, echo, t: 0, et, tree, whole: false, dg, de, fold: Some(FOLD) })
}

fn news(net: &Net, node: usize) -> Vec<bool> {
    let up = |event: &Event| if let Event::Link { up, .. } = event { Some(*up) } else { None };
    net.nodes[node].events.iter().filter_map(up).collect()
}

#[test]
fn both_ends_are_up_after_one_exchange() {
    let mut net = Net::cold(2, &[(0, 1)]);
    // The greeting of 1 is lost: what is left is that of 0, and the answer to it.
    let mut greeted = false;
    net.rule(move |from, _, _| {
        let lost = from == 1 && !greeted;
        greeted |= from == 1;
        if lost { Fate::Lose } else { Fate::Arrive }
    });
    net.run_for(Duration::from_micros(210));
    assert_eq!((net.machine(0).links_up(), net.machine(1).links_up()), (0, 1));
    net.run_for(Duration::from_micros(200));
    assert_eq!(net.machine(0).links_up(), 1);
}

#[test]
fn a_link_without_queries_costs_few_messages() {
    let mut net = Net::line(2);
    net.run_for(Duration::from_secs(60));
    assert_eq!(net.machine(0).links_up(), 1);
    // HELLOs and their answers, and the one that asks for a lease. A digest and a tree of two take
    // a few more messages once.
    let hellos = net.sent(|message| matches!(message, LinkMessage::Hello(_)));
    assert!(hellos <= 4 * 31 + 4 && net.sent.len() <= hellos + 16, "{} messages in a minute", net.sent.len());
}

#[test]
fn silence_takes_a_link_down_and_a_greeting_brings_it_up() {
    let mut net = Net::line(2);
    net.rule(|_, _, _| Fate::Lose);
    net.run_for(Duration::from_secs(9));
    assert_eq!((net.machine(0).links_up(), news(&net, 0)), (0, vec![true, false]));
    net.rule(|_, _, _| Fate::Arrive);
    net.run_for(Duration::from_millis(1100));
    assert_eq!((net.machine(0).links_up(), net.machine(1).links_up()), (1, 1));
}

#[test]
fn a_restarted_neighbor_is_known_again_at_once() {
    let mut net = Net::line(2);
    net.kill(1);
    net.run_for(Duration::from_millis(500));
    net.restart(1);
    net.run_for(Duration::from_millis(2));
    assert_eq!(news(&net, 0), [true, false, true], "what the old life owed is lost");
    let (_, done) = net.ask(0, "a", 7);
    assert_eq!((done.complete, done.reached), (true, 2));
}

#[test]
fn a_restart_is_noticed_even_if_the_first_greetings_are_lost() {
    let mut net = Net::line(2);
    net.kill(1);
    net.restart(1);
    net.rule(|from, _, _| if from == 1 { Fate::Lose } else { Fate::Arrive });
    net.run_for(Duration::from_secs(3));
    net.rule(|_, _, _| Fate::Arrive);
    net.run_for(Duration::from_secs(2));
    assert_eq!((net.machine(0).links_up(), net.machine(1).links_up()), (1, 1));
    assert!(net.ask(1, "a", 7).1.complete && net.ask(0, "a", 7).1.complete);
}

#[test]
fn a_forged_hello_does_not_reset_a_link() {
    let mut net = Net::line(3);
    let conn = net.login(0);
    net.kill(2);
    let req = net.query(0, conn, search("a"), 7, 1000);
    for echo in [0, 1, 12345] {
        net.datagram(0, addr_of(1), &datagram(0, forged_hello(echo + 7, echo)));
        net.datagram(0, addr_of(1), &datagram(echo, forged_hello(echo + 7, echo)));
    }
    net.run_for(Duration::from_millis(10));
    assert_eq!((net.machine(0).links_up(), net.done(0, req)), (1, None), "the query goes on");
    assert_eq!(news(&net, 0), [true]);
}

#[test]
fn a_forged_hello_under_no_boot_id_proves_nothing_by_its_echo() {
    let mut net = Net::line(2);
    let boot = net.machine(0).neighbors.links.boot();
    net.datagram(0, addr_of(1), &datagram(0, forged_hello(7, boot)));
    assert_eq!(news(&net, 0), [true]);
}

#[test]
fn strangers_get_no_byte_back() {
    let mut net = Net::line(2);
    let boot = net.machine(0).neighbors.links.boot();
    net.forget_traffic();
    net.datagram(0, "203.0.113.1:4777".parse().unwrap(), &datagram(boot, forged_hello(7, boot)));
    assert_eq!((net.sent.len(), net.count(0, Count::DatagramUnlisted)), (0, 1));
}

#[test]
fn garbage_from_a_neighbor_is_counted_and_dropped() {
    let mut net = Net::line(2);
    let boot = net.machine(0).neighbors.links.boot();
    net.forget_traffic();
    let mut torn = datagram(boot, forged_hello(7, boot));
    torn.pop();
    for bytes in [&[][..], &[1], &[0; 9], &[1; 1300], &torn] {
        net.datagram(0, addr_of(1), bytes);
    }
    let dropped = net.count(0, Count::DatagramMalformed) + net.count(0, Count::DatagramStale);
    assert_eq!((net.machine(0).links_up(), dropped), (1, 5));
}

#[test]
fn a_neighbor_that_is_ourselves_is_left_out() {
    let mut net = Net::cold(2, &[(0, 0), (0, 1)]);
    net.run_for(Duration::from_millis(100));
    assert_eq!(net.machine(0).links_up(), 1);
    let (_, done) = net.ask(0, "a", 7);
    assert_eq!((done.complete, done.reached), (true, 2));
    net.run_for(Duration::from_secs(20));
    assert_eq!(net.count(0, Count::LinkSelf), 1);
}

#[test]
fn another_node_with_our_id_is_kept_down_and_logged_once() {
    let mut net = Net::cold_with(2, &[(0, 1)], |_, config| config.node = NodeId([0; 16]));
    net.run_for(Duration::from_secs(5));
    assert_eq!((net.machine(0).links_up(), net.machine(1).links_up()), (0, 0));
    let logs = net.nodes[0].events.iter().filter(|event| matches!(event, Event::Log { .. })).count();
    assert_eq!(logs, 1);
}

#[test]
fn an_address_given_twice_is_one_neighbor() {
    let one: SocketAddr = "10.0.0.1:4777".parse().unwrap();
    let mapped: SocketAddr = "[::ffff:10.0.0.1]:4777".parse().unwrap();
    let links = Links::new(NodeId([0; 16]), 1, &[one, mapped, one]);
    assert_eq!(links.len(), 1);
    assert!(links.find(one).is_some());
}

#[test]
fn repetition_waits_for_the_measured_round_trip() {
    let mut net = Net::line(2);
    let link = LinkId(0);
    let near = net.machine(0).neighbors.links.repeat_after(link);
    assert_eq!(near, QUERY_REPEAT_MIN);
    net.set_latency(Duration::from_millis(100));
    net.run_for(Duration::from_secs(60));
    let far = net.machine(0).neighbors.links.repeat_after(link);
    assert!(far >= Duration::from_millis(200) && far < Duration::from_millis(400), "{far:?}");
}
