//! The second phase: all faults end, and within a bounded virtual time the network must be as if
//! there had been no faults.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::act::{POLICIES, Run};
use super::tally::VIRTUAL;
use crate::config::{CHUNK_IDLE_MAX, LINK_SILENCE_MAX, NO_SOURCE_MAX, PING_INTERVAL, SESSION_SILENCE_MAX};
use crate::proto::command::Get;
use crate::proto::event::SourceState;
use crate::proto::{ClientId, Scope};
use crate::sim::content::ContentId;
use crate::sim::disk::Trouble;
use crate::sim::fault::Lose;
use crate::sim::matches::{Match, is_possible};
use crate::sim::oracle::Watch;
use crate::time::Time;
use crate::wire::{Policy, QueryKind, Root, Search};

const SEC: Duration = Duration::from_secs(1);
/// Within this time, all files are registered again and all links are up.
const HEALED_WITHIN: Duration = Duration::from_secs(120);
/// How long this state must last.
const CALM: Duration = Duration::from_secs(4);
/// Within this time, all commands from before the end of the faults have ended: the longest wait
/// for a source, and some more.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2 * NO_SOURCE_MAX.as_secs());
/// If one link is down, a query must end within this time, far below its budget.
const ANSWERED_BESIDE_DOWN: Duration = Duration::from_secs(3);
/// Every download with an honest source must end within this time.
const FETCHED_WITHIN: Duration = Duration::from_secs(120);

impl Run {
    /// Ends all faults, and checks what was promised.
    pub(super) fn settle(&mut self) {
        self.heal();
        // First, connections that the partition has broken must end.
        self.run_for(SEC);
        self.bury();
        // A node whose clock has jumped may close sessions as silent, until every peer has sent
        // PING again.
        if !self.world.clocks_ran_alike_since(self.world.now() - SESSION_SILENCE_MAX) {
            self.run_for(PING_INTERVAL + CALM);
        }
        self.until_calm("every peer is registered and every link up");
        self.until(ANSWERED_WITHIN, "everything that was asked is over", |run| !run.is_waiting());
        self.until_calm("what was downloaded is registered too");
        self.world.check();
        self.find_everything();
        self.find_under_loss();
        self.find_beside_a_deaf_link();
        self.fetch_everything();
        self.gather();
        self.rest();
    }

    /// Adds the counts of the run to the tally.
    pub(super) fn end(&mut self) {
        self.judge_blame();
        let counts = self.world.counts();
        self.tally.steps = counts.steps;
        self.tally.crashes = counts.crashes;
        self.tally.faults = counts.faults.clone();
        self.tally.virtual_us = self.world.now().as_micros();
        self.tally.trace = self.world.trace();
        for node in 0..self.plan.supers {
            self.note_counters(node);
        }
        let marks = crate::proto::marks::take().into_iter().map(str::to_owned);
        let all = marks.chain(std::mem::take(&mut self.counters));
        self.tally.marks = all.map(|name| (name, 1)).collect();
        self.tally.require();
    }

    fn heal(&mut self) {
        // From now on, only the searches and downloads below are ordered.
        self.fresh.clear();
        self.world.set_faults(Vec::new());
        self.world.set_cut(BTreeSet::new());
        self.world.set_clogged(&[], Duration::ZERO);
        self.world.unhinder();
        for node in self.weak.clone() {
            self.world.trouble(node, Trouble::default());
        }
        for node in self.foes.clients.clone() {
            self.world.crash(node);
        }
        for node in 0..self.weak.end {
            if !self.world.is_running(node) {
                self.world.start(node);
            }
        }
    }

    /// Runs until everything is as it should be and has stayed so for a while, because running work
    /// may still change it.
    fn until_calm(&mut self, what: &str) {
        let end = self.world.now() + HEALED_WITHIN;
        let mut since = self.world.now();
        while self.world.now() < since + CALM {
            self.run_for(SEC / 2);
            self.revive();
            self.bury();
            if let Some(why) = self.why_not_whole() {
                since = self.world.now();
                assert!(since < end, "not within {} s after the faults: {what}; {why}", HEALED_WITHIN.as_secs());
            }
        }
    }

    /// Runs until `holds` is true. Fails if this takes too long.
    fn until(&mut self, within: Duration, what: &str, holds: impl Fn(&Run) -> bool) {
        let end = self.world.now() + within;
        while !holds(self) {
            let why = self.why_not_whole();
            assert!(self.world.now() < end, "not within {} s after the faults: {what}; {why:?}", within.as_secs());
            self.run_for(SEC / 2);
            self.revive();
            self.bury();
        }
    }

    /// What is not yet as it should be.
    fn why_not_whole(&self) -> Option<String> {
        let mut registered: BTreeMap<usize, Vec<BTreeSet<Match>>> = BTreeMap::new();
        for node in 0..self.plan.supers {
            let Some(machine) = self.world.super_peer(node) else { return Some(format!("{node} is down")) };
            let honest = self.world.neighbors(node);
            let up = honest.iter().filter(|other| machine.is_link_up(self.world.addr(**other))).count();
            let links = honest.len();
            if links != up {
                return Some(format!("{up} of {links} links of {node} are up"));
            }
            // A record counts only once it is acknowledged, and the acknowledgement waits for the
            // neighbors.
            if machine.is_acknowledging() {
                return Some(format!("{node} has not acknowledged all that it holds"));
            }
            for (peer, records) in self.world.registered_by_peer(node) {
                registered.entry(peer).or_default().push(records);
            }
        }
        if self.world.half_open() > 0 {
            return Some(format!("{} connections are half open", self.world.half_open()));
        }
        for node in self.weak.clone() {
            let at = registered.remove(&node).unwrap_or_default();
            let sessions = self.plan.peers[node - self.weak.start].sessions;
            if at.len() != sessions {
                return Some(format!("{node} is registered {} times, not {sessions}", at.len()));
            }
            let truth = self.world.share_of(node);
            if let Some(wrong) = at.iter().find(|records| **records != truth) {
                return Some(format!("{node} is registered with {wrong:?} and shares {truth:?}"));
            }
        }
        None
    }

    /// Checks that every query finds every match within its ttl.
    fn find_everything(&mut self) {
        for host in 0..self.plan.supers {
            let is_here = |run: &Run, node: usize| run.world.supers_of(node) == [host];
            let Some(node) = self.weak.clone().find(|node| is_here(self, *node)) else { continue };
            let near = Some(1 + u8::try_from(host % 3).unwrap_or(0));
            let patterns = [
                ("*", Run::far()),
                ("red", Run::far()),
                ("*o*", near),
                ("*", near),
                ("nobody has it", None),
                ("SEÑORA", Run::far()),
                ("海之", near),
                ("strasse/", Run::far()),
            ];
            for ((pattern, ttl), policy) in patterns.into_iter().zip(POLICIES.into_iter().cycle().skip(host)) {
                let search = Search::new(
                    pattern,
                    if pattern.ends_with('/') { QueryKind::Below } else { QueryKind::of(pattern) },
                );
                let within = self.world.within(host, usize::from(ttl.unwrap_or(7)));
                let matches = |run: &Run, other: usize| run.world.registered(other, &search);
                let expected: BTreeMap<usize, BTreeSet<Match>> =
                    within.iter().map(|other| (*other, matches(self, *other))).collect();
                let begun = self.world.now();
                let found = self.answer(node, &search, ttl, policy);
                // A lying neighbor can spoil what passes through it, and can cut anything.
                let excuse = self.world.excuse(&search, begun);
                let expected = expected.into_iter().filter(|(other, _)| !excuse.covers(*other));
                let expected: BTreeSet<Match> = expected.flat_map(|(_, matches)| matches).filter(is_possible).collect();
                let missing: Vec<&Match> = expected.difference(&found.0).collect();
                assert!(missing.is_empty(), "{pattern:?} from {host} misses {missing:?} within ttl {ttl:?}");
                let all = ttl == Run::far() && !excuse.liar;
                assert!(found.1 || !all, "{pattern:?} from {host} is not complete: {}", found.2);
            }
        }
    }

    /// While one datagram in seven is lost and all links are up, a query that has time for
    /// repetitions must still find everything. It ends before a link could be considered down.
    fn find_under_loss(&mut self) {
        let search = Search::new("*", QueryKind::Glob);
        let expected: BTreeSet<Match> =
            (0..self.plan.supers).flat_map(|node| self.world.registered(node, &search)).filter(is_possible).collect();
        self.world.set_faults(vec![Box::new(Lose(150))]);
        let node = self.weak.start;
        let begun = self.world.now();
        let (hits, complete, cut) = self.answer(node, &search, Run::far(), None);
        let lied = self.world.excuse(&search, begun).liar;
        assert!(lied || complete && hits == expected, "{} of {} hits under loss: {cut}", hits.len(), expected.len());
        self.world.set_faults(Vec::new());
        self.run_for(5 * SEC);
    }

    /// If a link loses everything in one direction, it must soon be down at both ends. After that,
    /// it must not delay queries.
    fn find_beside_a_deaf_link(&mut self) {
        let Some(&(a, b)) = self.plan.edges.first() else { return };
        self.world.set_cut(BTreeSet::from([(a, b)]));
        self.run_for(LINK_SILENCE_MAX + SEC);
        let search = Search::new("*", QueryKind::Glob);
        for (one, other) in [(a, b), (b, a)] {
            let machine = self.world.super_peer(one).expect("it runs");
            assert!(!machine.is_link_up(self.world.addr(other)), "{one} takes the link to {other} for up");
            let Some(node) = self.weak.clone().find(|node| self.world.supers_of(*node) == [one]) else { continue };
            let begun = self.world.now();
            let (_, complete, cut) = self.answer(node, &search, Run::far(), None);
            let took = self.world.now().since(begun);
            let lied = self.world.excuse(&search, begun).liar;
            assert!(lied || !complete && took < ANSWERED_BESIDE_DOWN, "{took:?}, complete {complete}: {cut}");
        }
        self.world.set_cut(BTreeSet::new());
        self.until_calm("the link is up again");
    }

    /// Sends a query and waits. Returns the hits, whether the answer is complete, and what was cut.
    fn answer(
        &mut self,
        node: usize,
        search: &Search,
        ttl: Option<u8>,
        policy: Option<Policy>,
    ) -> (BTreeSet<Match>, bool, String) {
        let supers = self.world.supers_of(node);
        let scope = Scope { ttl, budget: Some(10_000), policy };
        let watch = Watch::ask(&mut self.world, node, search, scope);
        self.tally.queries += 1;
        let ended = self.world.finish(watch.client, 12 * SEC);
        assert!(ended, "a query ends: {:?} from {supers:?}", search.pattern);
        self.world.take_finished();
        let verdict = watch.judge(&self.world);
        self.tally.judge(verdict.as_ref());
        let verdict = verdict.unwrap_or_else(|| panic!("a session lasts when there are no faults: {supers:?}"));
        (verdict.hits, verdict.complete, format!("{:?}", verdict.cut))
    }

    /// Checks that every download with an honest source succeeds.
    fn fetch_everything(&mut self) {
        let (mut wanted, mut sources): (Vec<(usize, ContentId)>, Vec<usize>) = (Vec::new(), Vec::new());
        for source in self.weak.clone() {
            if !self.plan.peers[source - self.weak.start].lies.is_empty() {
                continue;
            }
            let Some(record) = self.world.shared(source).into_iter().max_by_key(|record| record.size) else { continue };
            let asker = self.weak.start + (source - self.weak.start + 7) % self.weak.len();
            let content = self.world.contents().find(record.root).expect("what is shared is a content");
            if asker != source && wanted.len() < 8 {
                wanted.push((asker, content));
                sources.push(source);
            }
        }
        let mut asked: BTreeMap<ClientId, Root> = BTreeMap::new();
        for (n, (asker, content)) in wanted.into_iter().enumerate() {
            let root = self.world.contents().root(content);
            let out = Some(PathBuf::from(format!("/out/last {n}")));
            let what = root.to_string();
            let get = Get { out, scope: Scope { ttl: Run::far(), ..Scope::default() }, ..Get::of(what) };
            let client = self.fetch(asker, get, Some(root)).expect("everybody runs");
            asked.insert(client, root);
        }
        // A lost connection is dialed again, and its requests are sent again.
        self.run_for(2 * SEC);
        for source in sources {
            self.world.cut_connections(source);
        }
        self.until(FETCHED_WITHIN, "every download with an honest source is over", |run| !run.is_waiting());
        for client in asked.keys() {
            let outcome = self.world.asked(*client).outcome().expect("it is over");
            assert!(outcome.ok, "there is an honest source, and yet {outcome:?}");
            for report in outcome.sources.iter().flatten() {
                let named = |node: &usize| report.source == self.world.addr(*node).into();
                let has = |node: &usize| self.world.shared(*node).iter().any(|file| Some(file.root) == outcome.root);
                let honest = self.weak.clone().find(named).filter(|node| self.is_honest(*node) && has(node));
                let fine = report.bad == 0 && report.state != SourceState::Dropped;
                assert!(honest.is_none() || fine, "{honest:?} has it, and yet {report:?}");
            }
        }
    }

    /// Checks a crowd. Whatever happens to its only complete source, each member that stays must
    /// get the complete content, as long as the honest peers together have all pieces.
    fn gather(&mut self) {
        let Some(crowd) = self.plan.crowds.get(1).cloned() else { return };
        let (many, apart) = (u32::try_from(crowd.members.len()).unwrap_or(u32::MAX), crowd.apart);
        let mut gathering = self.begin_crowd(crowd);
        self.until_calm("the content of a crowd is registered");
        let (begun, mut asked) = (self.world.now(), Vec::new());
        let end = begun + apart * many + FETCHED_WITHIN;
        loop {
            let here = u32::try_from(asked.len()).unwrap_or(u32::MAX);
            if here < many && self.world.now() >= begun + apart * here {
                asked.push(self.fetch_in_crowd(&gathering, asked.len(), None).expect("everybody runs"));
                continue;
            }
            if here == many && !self.is_waiting() {
                break;
            }
            assert!(self.world.now() < end, "the crowd is not served in time: {gathering:?}");
            self.run_for(SEC / 4);
            self.look_at_crowd(&mut gathering);
        }
        for client in asked.into_iter().filter(|client| gathering.stays(*client)) {
            let outcome = self.world.asked(client).outcome().expect("it is over");
            assert!(outcome.ok, "each piece is there, and yet {outcome:?} in {gathering:?}");
        }
        let seed = self.weak.start + gathering.crowd.seed;
        if !self.world.is_running(seed) {
            self.world.start(seed);
        }
        self.until_calm("the crowd is over");
    }

    /// Checks that nothing is held once there are no requests.
    fn rest(&mut self) {
        let least = self.world.now() + CHUNK_IDLE_MAX + 20 * SEC;
        let end = Time::from_micros(1_000_000) + VIRTUAL;
        self.run_to(least.max(end));
        assert_eq!(self.why_not_whole(), None, "nothing changes any more");
        self.world.check();
        for node in self.weak.clone() {
            let (payloads, conns, disk) =
                (self.world.payloads_held(node), self.world.connections(node), self.world.disk_held(node));
            let sessions = self.plan.peers[node - self.weak.start].sessions;
            assert_eq!(
                (payloads, conns, disk),
                (0, sessions, (0, 0)),
                "payloads, connections, files of {node} at rest"
            );
        }
        for node in 0..self.plan.supers {
            let counts = self.world.super_peer(node).expect("it runs").counts();
            let sessions = u64::try_from(self.world.connections(node)).unwrap_or(u64::MAX);
            assert_eq!(counts["sessions"], sessions, "sessions of {node}");
            let (joins, lies) = (counts["swarm_members"], self.foes.joins);
            assert!(joins <= lies, "{node} knows {joins} members of swarms, and {lies} stay");
            // As long as a member stays, super peers repeat their queries for members.
            assert!(counts["queries_running"] == 0 || lies > 0, "queries of {node}");
        }
    }
}
