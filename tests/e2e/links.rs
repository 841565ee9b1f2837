//! Links between super peers as operators set them up: several addresses, names, interfaces,
//! firewalls, and neighbors that are named on one side only.

use std::io::Write;
use std::net::{Ipv6Addr, TcpListener, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use super::common::{Daemon, World, eventually};

/// Waits until a query at this super peer reaches this many super peers and is complete.
fn reach(world: &World, addr: &str, count: u64) {
    eventually(&format!("{count} super peers are reached"), || {
        let done = world.run(["query", "nobody-has-this", "--json", "--super", addr]).done();
        (done["complete"] == true && done["reached"] == count).then_some(())
    });
}

/// Waits until one line of the log has all these parts.
fn wait_for_log(daemon: &Daemon, parts: &[&str]) {
    eventually(&format!("a line of the log with {parts:?}, in {:?}", daemon.log()), || {
        daemon.log().lines().any(|line| parts.iter().all(|part| line.contains(part))).then_some(())
    });
}

fn starts(world: &World, name: &str, args: &[&str]) -> Daemon {
    let args: Vec<String> = ["super", "--open"].iter().chain(args).map(|arg| (*arg).to_owned()).collect();
    world.daemon(name, &args, Stdio::null())
}

/// A port that is free at every address. It is lower than the ports that the system gives to
/// connections, so no other test can get it before it is used.
fn free_everywhere() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 10_000).expect("less than 10,000");
    loop {
        let port = 10_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        let at = (Ipv6Addr::UNSPECIFIED, port);
        if TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok() {
            return port;
        }
    }
}

#[test]
fn a_super_peer_on_all_addresses_answers_from_the_one_that_was_asked() {
    let world = World::new();
    for (all, v6) in [("0.0.0.0", false), ("[::]", true)] {
        let (port, theirs) = (free_everywhere(), free_everywhere());
        // The other end knows this super peer by an address that the super peer would not choose by
        // itself.
        let ip = world.ip();
        let here = starts(
            &world,
            &format!("here{v6}"),
            &["--listen", &format!("{all}:{port}"), "--neighbor", &format!("127.0.0.1:{theirs}")],
        );
        let there = starts(
            &world,
            &format!("there{v6}"),
            &["--listen", &format!("0.0.0.0:{theirs}"), "--neighbor", &format!("{ip}:{port}")],
        );
        reach(&world, there.addr(), 2);
        let port_of_here = format!("127.0.0.1:{port}");
        reach(&world, &port_of_here, 2);
        drop((here, there));
    }
}

#[test]
fn a_neighbor_whose_name_does_not_resolve_is_no_reason_not_to_serve() {
    let world = World::new();
    let daemon = starts(
        &world,
        "s",
        &["--listen", &format!("{}:0", world.ip()), "--neighbor", "no-such-host.invalid", "--neighbor", "localhost:1"],
    );
    wait_for_log(&daemon, &["no-such-host.invalid:4777", "does not resolve"]);
    let done = world.run(["query", "x", "--json", "--super", daemon.addr()]).done();
    assert_eq!((&done["complete"], &done["cut"]["down"]), (&false.into(), &2.into()), "{done}");
    wait_for_log(&daemon, &["no link to neighbor localhost:1", "nothing listens at 127.0.0.1:1"]);
    let status = world.run(["status", "--json", "--super", daemon.addr()]).events("status");
    let links = status[0]["links"].as_array().expect("links");
    assert_eq!(links[0]["name"], "no-such-host.invalid:4777");
    assert!(links.iter().all(|link| link["state"] == "down" && link["why"].is_string()), "{links:?}");
    assert_eq!(daemon.log().matches("does not resolve").count(), 1, "{}", daemon.log());
}

#[test]
fn a_neighbor_that_is_named_on_one_side_only_is_in_both_logs() {
    let world = World::new();
    let named = world.super_peer("a");
    let port = world.free_port();
    let listen = format!("{}:{port}", world.ip());
    let naming = starts(&world, "b", &["--listen", &listen, "--neighbor", named.addr()]);
    wait_for_log(&named, &[&listen, "greets this super peer", "--neighbor"]);
    wait_for_log(&naming, &["no link to neighbor", named.addr(), "no answer"]);
}

#[test]
fn an_address_may_lack_its_port_and_have_an_interface() {
    let world = World::new();
    for (given, shown) in [
        ("[fe80::1%lo]:9", "[fe80::1%lo]:9"),
        ("fe80::1%lo", "[fe80::1%lo]:4777"),
        ("[fe80::1%no-such-if]", "no interface \"no-such-if\""),
        ("127.0.0.1:1", "127.0.0.1:1"),
    ] {
        let ran = world.run(["list", "--super", given, "--connect-timeout", "1s"]);
        assert_eq!(ran.exit, Some(5), "{given}: {}", ran.stderr);
        assert!(ran.stderr.contains(shown), "{given}: {}", ran.stderr);
    }
    let ran = world.run(["list", "--super", "fe80::1"]);
    assert!(ran.exit == Some(2) && ran.stderr.contains("[fe80::1%eth0]:4777"), "{}", ran.stderr);
}

// ---- two hosts ----------------------------------------------------------------------------------

/// Two network namespaces with a cable between them. `eth0` has 10.77.0.1 and fe80::a at one end,
/// 10.77.0.2 and fe80::b at the other.
struct Hosts([String; 2]);

impl Hosts {
    /// None without the right to make namespaces.
    fn new() -> Option<Hosts> {
        let mut random = [0; 4];
        getrandom::fill(&mut random).expect("randomness");
        let tag = u32::from_le_bytes(random);
        let hosts = Hosts(["a", "b"].map(|side| format!("links-{tag:08x}-{side}")));
        let [a, b] = &hosts.0;
        if !run(&["ip", "netns", "add", a]) || !run(&["ip", "netns", "add", b]) {
            skipped("no right to make network namespaces");
            return None;
        }
        let cable = ["ip", "-n", a, "link", "add", "name", "eth0", "type", "veth", "peer", "name", "eth0", "netns", b];
        if !run(&cable) {
            skipped("no virtual cables");
            return None;
        }
        for (host, v4, v6) in [(a, "10.77.0.1/24", "fe80::a/64"), (b, "10.77.0.2/24", "fe80::b/64")] {
            for dev in ["lo", "eth0"] {
                assert!(run(&["ip", "-n", host, "link", "set", dev, "up"]));
            }
            assert!(run(&["ip", "-n", host, "addr", "add", v4, "dev", "eth0"]));
            assert!(run(&["ip", "-n", host, "addr", "add", v6, "dev", "eth0", "nodad"]));
        }
        Some(hosts)
    }

    /// Processes that start from now on in this world run on this host.
    fn enter(&self, world: &mut World, host: usize) {
        world.limit(&format!("exec ip netns exec {} \"$@\"; :", self.0[host]));
    }

    fn run_at(&self, host: usize, command: &[&str]) -> bool {
        run(&[&["ip", "netns", "exec", &self.0[host]], command].concat())
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = run(&["ip", "netns", "del", name]);
        }
    }
}

fn skipped(why: &str) {
    std::io::stderr().write_all(format!("skipped: {why}\n").as_bytes()).expect("stderr");
}

fn run(command: &[&str]) -> bool {
    let mut process = Command::new(command[0]);
    process.args(&command[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    process.status().is_ok_and(|status| status.success())
}

#[test]
fn two_hosts_on_one_cable_need_no_other_addresses() {
    let mut world = World::new();
    let Some(hosts) = Hosts::new() else { return };
    hosts.enter(&mut world, 0);
    let a = starts(&world, "a", &["--listen", "[::]", "--neighbor", "fe80::b%eth0"]);
    hosts.enter(&mut world, 1);
    let b = starts(&world, "b", &["--listen", "[fe80::b%eth0]", "--neighbor", "[fe80::a%eth0]:4777"]);
    reach(&world, "[fe80::b%eth0]", 2);
    reach(&world, "fe80::a%eth0", 2);
    drop((a, b));
}

#[test]
fn a_super_peer_that_announces_itself_is_found_without_an_address() {
    let mut world = World::new();
    let Some(hosts) = Hosts::new() else { return };
    world.share("p", "tune.bin", b"a tune");
    let share = world.folder("p").display().to_string();
    hosts.enter(&mut world, 0);
    let silent = starts(&world, "silent", &["--listen", "0.0.0.0:4790"]);
    hosts.enter(&mut world, 1);
    let args = ["peer", "--share", &share].map(str::to_owned);
    let ran = world.run(["peer", "--share", &share, "--connect-timeout", "1s"]);
    assert_eq!(ran.exit, Some(5), "{}", ran.stderr);
    assert!(ran.stderr.contains("--announce") && ran.stderr.contains("--super"), "{}", ran.stderr);
    hosts.enter(&mut world, 0);
    let a = starts(&world, "a", &["--announce"]);
    hosts.enter(&mut world, 1);
    // A one-shot command, without a peer on its host.
    eventually("a super peer is found", || (world.run(["query", "x"]).exit == Some(3)).then_some(()));
    let peer = world.daemon("p", &args, Stdio::null());
    wait_for_log(&peer, &["welcomed by super peer 10.77.0.1:4777"]);
    eventually("the file is fetched", || {
        let ran = world.run(["get", "tune.bin", "--super", "10.77.0.1", "-o", "got.bin"]);
        (ran.exit == Some(0)).then_some(())
    });
    drop((silent, a, peer));
}

#[test]
fn files_pass_between_hosts_that_have_link_local_addresses_only() {
    let mut world = World::new();
    let Some(hosts) = Hosts::new() else { return };
    for host in [0, 1] {
        assert!(hosts.run_at(host, &["ip", "-4", "addr", "flush", "dev", "eth0"]));
    }
    world.share("p", "tune.bin", b"a tune");
    let share = world.folder("p").display().to_string();
    hosts.enter(&mut world, 0);
    let a = starts(&world, "a", &[]);
    let args = ["peer", "--super", "fe80::a%eth0", "--share", &share].map(str::to_owned);
    let peer = world.daemon("p", &args, Stdio::null());
    hosts.enter(&mut world, 1);
    eventually("the file is fetched", || {
        let ran = world.run(["get", "tune.bin", "--super", "fe80::a%eth0", "-o", "got.bin"]);
        (ran.exit == Some(0)).then_some(())
    });
    assert_eq!(std::fs::read(world.path("got.bin")).expect("it is there"), b"a tune");
    drop((a, peer));
}

#[test]
fn a_peer_whose_address_changes_dials_again_at_once() {
    let mut world = World::new();
    let Some(hosts) = Hosts::new() else { return };
    world.share("p", "tune.bin", b"a tune");
    let share = world.folder("p").display().to_string();
    hosts.enter(&mut world, 0);
    let a = starts(&world, "a", &["--listen", "0.0.0.0"]);
    hosts.enter(&mut world, 1);
    let args = ["peer", "--super", "10.77.0.1", "--share", &share].map(str::to_owned);
    let peer = world.daemon("p", &args, Stdio::null());
    wait_for_log(&peer, &["welcomed by super peer 10.77.0.1:4777"]);
    for (old, new) in [("10.77.0.2", "10.77.0.3"), ("10.77.0.3", "10.77.0.4")] {
        let welcomed = peer.log().matches("welcomed by").count();
        for (what, addr) in [("del", old), ("add", new)] {
            assert!(hosts.run_at(1, &["ip", "addr", what, &format!("{addr}/24"), "dev", "eth0"]));
        }
        // Without the announcement of the system, only an unanswered PING would end the session, 40
        // s later.
        wait_for_log(&peer, &["this host has lost its address", old]);
        eventually("it is welcomed again", || (peer.log().matches("welcomed by").count() > welcomed).then_some(()));
    }
    drop((a, peer));
}

#[test]
fn a_firewall_that_lets_one_direction_through_costs_no_query_its_budget() {
    let mut world = World::new();
    let Some(hosts) = Hosts::new() else { return };
    let table = ["nft", "add", "table", "inet", "links"];
    let chain = ["nft", "add", "chain", "inet", "links", "in", "{ type filter hook input priority 0 ; }"];
    let rule = ["nft", "add", "rule", "inet", "links", "in", "udp", "dport", "4777", "drop"];
    if !hosts.run_at(1, &table) {
        skipped("no nft");
        return;
    }
    assert!(hosts.run_at(1, &chain) && hosts.run_at(1, &rule));
    hosts.enter(&mut world, 0);
    let a = starts(&world, "a", &["--listen", "0.0.0.0", "--neighbor", "10.77.0.2"]);
    hosts.enter(&mut world, 1);
    let b = starts(&world, "b", &["--listen", "0.0.0.0", "--neighbor", "10.77.0.1"]);
    wait_for_log(&a, &["no link to neighbor 10.77.0.2:4777", "does not hear this super peer"]);
    wait_for_log(&b, &["no link to neighbor 10.77.0.1:4777", "no answer"]);
    for addr in ["10.77.0.1", "10.77.0.2"] {
        let done = world.run(["query", "x", "--json", "--super", addr]).done();
        assert_eq!(done["cut"], serde_json::json!({"down": 1}), "{done}");
    }
    assert!(hosts.run_at(1, &["nft", "flush", "table", "inet", "links"]));
    reach(&world, "10.77.0.1", 2);
    reach(&world, "10.77.0.2", 2);
    // One direction fails while the link is up.
    assert!(hosts.run_at(1, &rule));
    for addr in ["10.77.0.1", "10.77.0.2"] {
        eventually("the link is down at both ends", || {
            let done = world.run(["query", "x", "--budget", "300ms", "--json", "--super", addr]).done();
            (done["cut"] == serde_json::json!({"down": 1})).then_some(())
        });
    }
}

#[test]
fn a_map_has_every_super_peer_and_every_link_once() {
    let world = World::new();
    let daemons = world.super_peers(3, &[(0, 1), (1, 2)]);
    let map = |form: &str| world.run(["map", form, "--super", daemons[0].addr()]);
    let ran = map("--json");
    assert_eq!(ran.done()["exit"], 0);
    let addrs: Vec<_> = ran.events("super").iter().map(|one| one["addr"].as_str().unwrap_or("").to_owned()).collect();
    assert_eq!(addrs, [0, 1, 2].map(|n: usize| daemons[n].addr().to_owned()));
    let ends: Vec<_> = ran.events("link").iter().map(|link| (link["from"].clone(), link["to"].clone())).collect();
    assert_eq!(ends, [(0.into(), 1.into()), (1.into(), 2.into())]);
    let svg = map("--svg").text;
    assert!(svg.starts_with("<svg ") && svg.matches("<circle").count() == 3, "{svg}");
    assert_eq!(map("--dot").text.matches(" -- ").count(), 2);
}
