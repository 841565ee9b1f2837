//! Greetings: how links come up, stay up and notice a restart, and why strangers cannot forge them.

use std::net::IpAddr;
use std::time::Duration;

use super::table::Links;
use super::*;
use crate::config::{FOLD, LINK_RESOLVE_MAX, LINK_RESTARTS_REPORTED, LINK_SILENCE_MAX, QUERY_REPEAT_MIN};
use crate::proto::super_peer::SuperPeer;
use crate::proto::super_peer::testnet::{Fate, Net, addr_of, search};
use crate::proto::{Event, Input, Output, Role, Settings, SuperSettings};
use crate::sim::Random;
use crate::trust::Pin;
use crate::wire::NodeId;
use crate::wire::link::Packer;
use crate::wire::message::LinkState;

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
    // The greeting of 1 is lost. Only the greeting of 0 and its answer remain.
    let mut greeted = false;
    net.rule(move |from, _, _| {
        let lost = from == 1 && !greeted;
        greeted |= from == 1;
        if lost { Fate::Lose } else { Fate::Arrive }
    });
    net.run_for(Duration::from_micros(210));
    assert_eq!((net.machine(0).links_up(), net.machine(1).links_up()), (0, 0));
    net.run_for(Duration::from_micros(200));
    assert_eq!((net.machine(0).links_up(), net.machine(1).links_up()), (1, 0));
    net.run_for(Duration::from_micros(200));
    assert_eq!((net.machine(0).links_up(), net.machine(1).links_up()), (1, 1));
}

#[test]
fn a_link_without_queries_costs_few_messages() {
    let mut net = Net::line(2);
    net.run_for(Duration::from_secs(60));
    assert_eq!(net.machine(0).links_up(), 1);
    // Counted are HELLOs with their answers, and the HELLO that asks for a lease. A digest and a
    // tree of two nodes need a few more messages, only once.
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
    let links = Links::new(NodeId([0; 16]), 1, &[one, mapped, one].map(Pin::from));
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

// ---- links that are half open -------------------------------------------------------------------

/// The lines of the log of a node.
fn logs(net: &Net, node: usize) -> Vec<String> {
    let text = |event: &Event| if let Event::Log { text, .. } = event { Some(text.clone()) } else { None };
    net.nodes[node].events.iter().filter_map(text).collect()
}

/// From now on messages from the first node to the second one are lost.
fn deafen(net: &mut Net, from: usize, to: usize) {
    net.rule(move |one, other, _| if (one, other) == (from, to) { Fate::Lose } else { Fate::Arrive });
}

/// Sends a query at this node. Checks that the link counts as down and delays nothing.
fn ask_beside_a_link_that_is_down(net: &mut Net, node: usize) {
    let begun = net.now();
    let (_, done) = net.ask(node, "a", 7);
    assert_eq!((done.complete, done.reached, done.cut.down), (false, 1, 1));
    assert!(net.now().since(begun) < Duration::from_millis(10), "it waited {:?}", net.now().since(begun));
}

fn state(net: &Net, node: usize) -> LinkState {
    net.machine(node).links()[0].state
}

#[test]
fn a_link_that_lets_one_direction_through_is_never_up() {
    let mut net = Net::cold(2, &[(0, 1)]);
    deafen(&mut net, 0, 1);
    net.run_for(Duration::from_secs(60));
    assert_eq!((state(&net, 0), state(&net, 1)), (LinkState::HalfOpen, LinkState::Down));
    assert!(news(&net, 0).is_empty() && news(&net, 1).is_empty());
    ask_beside_a_link_that_is_down(&mut net, 0);
    ask_beside_a_link_that_is_down(&mut net, 1);
    let [heard, silent] = [logs(&net, 0), logs(&net, 1)];
    assert!(heard.len() == 1 && heard[0].contains("does not hear this super peer"), "{heard:?}");
    assert!(silent.len() == 1 && silent[0].contains("no answer from 10.0.0.1:4777"), "{silent:?}");
    net.rule(|_, _, _| Fate::Arrive);
    net.run_for(Duration::from_millis(1100));
    assert_eq!((net.machine(0).links_up(), net.machine(1).links_up()), (1, 1));
}

#[test]
fn a_direction_that_dies_takes_both_ends_down_until_it_is_back() {
    for from in [0, 1] {
        let mut net = Net::line(2);
        deafen(&mut net, from, 1 - from);
        net.run_for(LINK_SILENCE_MAX + Duration::from_millis(10));
        assert_eq!((net.machine(0).links_up(), net.machine(1).links_up()), (0, 0));
        for _ in 0..60 {
            net.run_for(Duration::from_secs(1));
            ask_beside_a_link_that_is_down(&mut net, 0);
            ask_beside_a_link_that_is_down(&mut net, 1);
        }
        assert_eq!((news(&net, 0), news(&net, 1)), (vec![true, false], vec![true, false]), "no echo of old counts");
        net.rule(|_, _, _| Fate::Arrive);
        net.run_for(Duration::from_millis(1100));
        assert_eq!((net.machine(0).links_up(), net.machine(1).links_up()), (1, 1));
    }
}

#[test]
fn a_link_that_loses_much_stays_up() {
    let mut net = Net::line(2);
    let mut random = Random::new(3);
    net.rule(move |_, _, _| if random.chance(300) { Fate::Lose } else { Fate::Arrive });
    net.run_for(Duration::from_secs(600));
    assert_eq!((news(&net, 0), news(&net, 1)), (vec![true], vec![true]));
}

#[test]
fn what_comes_before_the_proof_is_soon_admitted() {
    let mut net = Net::cold(2, &[(0, 1)]);
    // The answer that would prove the link at 1 is lost. At 0 the link is up, and 0 sends a query.
    let mut answers = 0;
    net.rule(move |from, _, message| {
        let is_answer = matches!(message, LinkMessage::Hello(LinkHello { et: Some(_), .. }));
        answers += u32::from(from == 0 && is_answer);
        if from == 0 && is_answer && answers <= 2 { Fate::Lose } else { Fate::Arrive }
    });
    net.run_for(Duration::from_millis(300));
    let begun = net.now();
    assert!(net.ask(0, "a", 7).1.complete);
    assert!(net.now().since(begun) < Duration::from_millis(700), "{:?}", net.now().since(begun));
}

// ---- names and addresses ------------------------------------------------------------------------

fn name(text: &str) -> Pin {
    text.parse().unwrap()
}

#[test]
fn a_name_that_does_not_resolve_is_asked_for_until_it_does() {
    let mut net = Net::cold_with(2, &[(0, 1)], |node, config| {
        if node == 0 {
            config.neighbors = vec![name("b.example:4777")];
        }
    });
    net.run_for(Duration::from_secs(60));
    let mut said = logs(&net, 0);
    said.retain(|line| line.contains("b.example"));
    assert!(said.len() == 1 && said[0].contains("b.example:4777 does not resolve: no such name"), "{said:?}");
    assert!(net.machine(0).links()[0].why.as_ref().unwrap().contains("does not resolve"));
    ask_beside_a_link_that_is_down(&mut net, 0);
    net.set_name("b.example:4777", &["203.0.113.9:4777".parse().unwrap(), addr_of(1)]);
    net.run_for(LINK_RESOLVE_MAX + Duration::from_secs(1));
    assert_eq!((net.machine(0).links_up(), net.machine(1).links_up()), (1, 1));
    let row = &net.machine(0).links()[0];
    assert_eq!((row.name.as_str(), row.at[0].as_str(), row.at.len()), ("b.example:4777", "10.0.0.2:4777", 2));
}

#[test]
fn a_neighbor_whose_address_changes_is_found_at_its_new_one() {
    let mut net = Net::cold_with(3, &[(0, 1), (0, 2)], |node, config| {
        if node == 0 {
            config.neighbors = vec![name("b.example:4777")];
        }
    });
    net.set_name("b.example:4777", &[addr_of(1)]);
    net.run_for(Duration::from_secs(3));
    assert_eq!((net.machine(0).links_up(), net.machine(1).links_up(), net.machine(2).links_up()), (1, 1, 0));
    net.kill(1);
    net.set_name("b.example:4777", &[addr_of(2)]);
    net.run_for(LINK_SILENCE_MAX + Duration::from_secs(2));
    assert_eq!((net.machine(0).links_up(), net.machine(2).links_up()), (1, 1));
    assert_eq!(net.machine(0).links()[0].at, ["10.0.0.3:4777"]);
}

/// The answer to a HELLO that was sent at `et`, from a node that has heard us.
fn answer(node: u8, boot: u64, echo: u64, et: Time) -> Vec<u8> {
    let LinkMessage::Hello(hello) = forged_hello(boot, echo) else { unreachable!() };
    let (node, et) = (NodeId([node; 16]), Some(et.as_micros()));
    datagram(echo, LinkMessage::Hello(LinkHello { node, et, ..hello }))
}

#[test]
fn a_node_that_is_named_twice_is_one_neighbor_until_its_link_is_down() {
    let mut net = Net::cold_with(1, &[], |_, config| {
        config.neighbors = vec![name("10.0.0.8:4777"), name("10.0.0.9:4777"), name("10.0.0.7:4777")];
    });
    net.run_for(Duration::from_millis(10));
    let boot = net.machine(0).neighbors.links.boot();
    let greet = |net: &mut Net, host: u8, node: u8| {
        let now = net.now();
        net.datagram(0, SocketAddr::from(([10, 0, 0, host], 4777)), &answer(node, u64::from(node), boot, now));
    };
    greet(&mut net, 8, 5);
    greet(&mut net, 9, 5);
    greet(&mut net, 7, 6);
    let counts = net.machine(0).counts();
    assert_eq!((counts["links"], counts["links_up"]), (2, 2));
    let states = |net: &Net| net.machine(0).links().iter().map(|row| row.state).collect::<Vec<_>>();
    assert_eq!(states(&net), [LinkState::Twin, LinkState::Up, LinkState::Up]);
    // The first address stops answering, and the second one answers.
    net.run_for(LINK_SILENCE_MAX + Duration::from_secs(1));
    assert_eq!(net.machine(0).links_up(), 0);
    greet(&mut net, 9, 5);
    greet(&mut net, 8, 5);
    assert_eq!(net.machine(0).counts()["links"], 2);
    net.machine(0).check_invariants();
}

#[test]
fn a_neighbor_whose_boot_id_changes_all_the_time_does_not_fill_the_log() {
    let mut net = Net::cold_with(1, &[], |_, config| config.neighbors = vec![addr_of(5).into()]);
    net.run_for(Duration::from_millis(10));
    let (boot, now) = (net.machine(0).neighbors.links.boot(), net.now());
    (7..1007).for_each(|its| net.datagram(0, addr_of(5), &answer(66, its, boot, now)));
    assert_eq!(net.machine(0).counts()["links_went_down"], 999);
    assert_eq!(news(&net, 0).len(), 1 + 2 * LINK_RESTARTS_REPORTED as usize);
    let often = |event: &&Event| matches!(event, Event::Log { text, .. } if text.contains("restarts often"));
    assert_eq!(net.nodes[0].events.iter().filter(often).count(), 1);
}

#[test]
fn another_host_of_a_name_does_not_take_the_place_of_one_that_is_up() {
    let mut net = Net::cold_with(1, &[], |_, config| config.neighbors = vec![name("many.example:4777")]);
    let hosts = [8, 9].map(|host| SocketAddr::from(([10, 0, 0, host], 4777)));
    net.set_name("many.example:4777", &hosts);
    net.run_for(Duration::from_secs(2));
    let (boot, now) = (net.machine(0).neighbors.links.boot(), net.now());
    for n in [0, 1, 0, 1] {
        net.datagram(0, hosts[n], &answer(n as u8 + 5, n as u64 + 5, boot, now));
    }
    assert_eq!(news(&net, 0), [true]);
    assert_eq!(net.machine(0).links()[0].node, Some(NodeId([5; 16])));
}

#[test]
fn what_a_neighbor_gets_leaves_from_the_address_that_it_asked() {
    let mut net = Net::cold_with(1, &[], |_, config| config.neighbors = vec![addr_of(5).into()]);
    net.run_for(Duration::from_millis(10));
    let (boot, now) = (net.machine(0).neighbors.links.boot(), net.now());
    let asked: IpAddr = "10.0.0.77".parse().unwrap();
    let machine = net.machine_mut(0);
    let mut sources = Vec::new();
    let mut drain = |machine: &mut SuperPeer| {
        while let Some(output) = machine.poll_output() {
            if let Output::SendTo { from, to, .. } = output {
                assert_eq!(to, addr_of(5));
                sources.push(from);
            }
        }
    };
    drain(machine);
    let bytes = datagram(0, forged_hello(7, 0));
    machine.handle_input(now, Input::Datagram { from: addr_of(5), to: Some(asked), key: None, bytes: &bytes });
    drain(machine);
    let bytes = answer(66, 7, boot, now);
    machine.handle_input(now, Input::Datagram { from: addr_of(5), to: Some(asked), key: None, bytes: &bytes });
    drain(machine);
    machine.handle_timeout(now + Duration::from_secs(3));
    drain(machine);
    assert!(sources.len() >= 3 && sources.iter().all(|from| *from == Some(asked)), "{sources:?}");
}

#[test]
fn a_greeting_of_a_stranger_is_reported_to_both_operators_and_not_answered() {
    // The first node does not name the second one.
    let mut net = Net::cold_with(2, &[(0, 1)], |node, config| {
        if node == 0 {
            config.neighbors.clear();
        }
    });
    net.run_for(Duration::from_secs(120));
    assert_eq!(net.sent.iter().filter(|(from, ..)| *from == 0).count(), 0);
    let (one, other) = (logs(&net, 0), logs(&net, 1));
    assert!(one.len() == 1 && one[0].contains("add --neighbor 10.0.0.2:4777"), "{one:?}");
    assert!(other.len() == 1 && other[0].contains("no answer from 10.0.0.1:4777"), "{other:?}");
}

#[test]
fn the_cause_names_the_address_that_greets_and_the_port_that_is_closed() {
    let mut net = Net::cold_with(1, &[], |_, config| config.neighbors = vec![addr_of(5).into()]);
    let why = |net: &Net| net.machine(0).links()[0].why.clone().unwrap();
    for _ in 0..4 {
        net.datagram(0, "10.0.0.99:4777".parse().unwrap(), &datagram(0, forged_hello(7, 0)));
        net.run_for(Duration::from_secs(1));
    }
    assert!(why(&net).contains("add --neighbor 10.0.0.99:4777"), "{}", why(&net));
    net.input(0, Input::Undelivered { to: addr_of(5), why: Undelivered::Refused });
    net.run_for(Duration::from_millis(1500));
    assert!(logs(&net, 0)[0].contains("nothing listens at 10.0.0.6:4777"), "{:?}", logs(&net, 0));
    net.input(0, Input::Undelivered { to: addr_of(5), why: Undelivered::Failed("no route".into()) });
    assert!(why(&net).contains("no route"), "{}", why(&net));
}

#[test]
fn neighbors_come_and_go_and_links_that_stay_are_not_touched() {
    let mut net = Net::line(3);
    let set = |net: &mut Net, node: usize, others: &[usize]| {
        let settings = SuperSettings {
            neighbors: others.iter().map(|other| Pin::from(addr_of(*other))).collect(),
            ttl: 7,
            budget: Duration::from_secs(2),
            ping: Duration::from_secs(30),
            memory: usize::MAX,
            reports_queries: false,
            login: None,
        };
        net.input(node, Input::Settings(Settings::Super(Box::new(settings))));
    };
    net.peer(2, &["a song"]);
    net.run_for(Duration::from_secs(10));
    assert_eq!(net.ask(0, "song", 7).0.len(), 1);
    // A query is on its way to the neighbor that is removed, and on its way back to a neighbor that
    // was added.
    let conn = net.login(0);
    let running = net.query(0, conn, search("song"), 7, 2000);
    net.run_for(Duration::from_micros(300));
    set(&mut net, 1, &[0]);
    set(&mut net, 2, &[0]);
    set(&mut net, 0, &[1, 2]);
    assert!(!net.finish(0, running).complete, "the answer of a neighbor that went is missing");
    net.run_for(Duration::from_secs(10));
    assert_eq!([0, 1, 2].map(|node| net.machine(node).links_up()), [2, 1, 1]);
    assert!(!news(&net, 0).contains(&false), "its link to 1 stayed up");
    let (hits, done) = net.ask(1, "song", 7);
    assert_eq!((hits.len(), done.reached, done.complete), (1, 3, true));
    // The same neighbor is added again, at its old place.
    set(&mut net, 0, &[1]);
    assert_eq!(net.ask(0, "song", 7).0.len(), 0);
    set(&mut net, 0, &[1, 2]);
    net.run_for(Duration::from_secs(10));
    assert_eq!(net.ask(0, "song", 7).0.len(), 1);
    // There is only room for sixteen digests of the largest size.
    set(&mut net, 0, &(1..=20).collect::<Vec<_>>());
    assert_eq!(net.machine(0).links().len(), 16);
}
