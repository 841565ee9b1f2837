//! The first phase: a schedule of work and faults, and the checks of everything that ends.

mod blows;
mod crowds;
mod fresh;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::foes::{self, Foes};
use super::gathering::{Gathering, Step};
use super::plan::{self, Plan, library};
use super::tally::{FAULTS_UNTIL, Tally};
use crate::config::{NO_SOURCE_MAX, TTL_MAX};
use crate::error::Exit;
use crate::proto::command::Get;
use crate::proto::event::Outcome;
use crate::proto::{ClientId, Command, Event, Scope, Verify};
use crate::sim::content::ContentId;
use crate::sim::disk::Trouble;
use crate::sim::fault::Repeat;
use crate::sim::oracle::Watch;
use crate::sim::random::Random;
use crate::sim::world::World;
use crate::time::Time;
use crate::wire::{Policy, QueryKind, Root, Search};

const MS: Duration = Duration::from_millis(1);
const SEC: Duration = Duration::from_secs(1);
/// The policies of queries.
pub(super) const POLICIES: [Option<Policy>; 5] =
    [None, Some(Policy::Flood), Some(Policy::Digest), Some(Policy::Ring), Some(Policy::Tree)];
/// If links are sealed: after how many of a thousand datagrams an earlier one is sent again.
const REPEATED: u32 = 20;
/// How many of a thousand networks use a login, which costs two signatures for each connection.
const LOGIN_OF_1000: u32 = 400;
/// The mean time between two actions of one kind.
const QUERY_EVERY: Duration = Duration::from_millis(1600);
const GET_EVERY: Duration = Duration::from_secs(9);
const CHANGE_EVERY: Duration = Duration::from_secs(7);
/// How long to wait before a command is repeated that failed or was lost in a crash.
const AGAIN_AFTER: Duration = Duration::from_secs(3);
/// How often all machines are compared with the shadow.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// How often nodes are started again that have ended by themselves.
const REVIVE_EVERY: Duration = Duration::from_secs(6);
/// How far the clock of a node may be ahead of the world's at its start. The clocks of all nodes
/// are some hours ahead.
const CLOCKS_AHEAD: Duration = Duration::from_secs(10 * 3600);

/// An action.
#[derive(Clone, Debug)]
enum Act {
    Query,
    /// A search for a new file, by a word that no other name has.
    Seek(String),
    /// A super peer gets a new file.
    Add(usize),
    Get,
    /// A download that failed is ordered again.
    Again(usize, Get),
    Change,
    Crowd(Step),
    Check,
    Revive,
    Blow,
    /// The ends of faults.
    Start(usize),
    Heal,
    Unclog,
    Hurry(usize),
    Calm(usize),
}

/// A running download.
#[derive(Clone, Debug)]
pub(super) struct Download {
    pub(super) node: usize,
    life: u64,
    root: Option<Root>,
    get: Get,
}

/// One seed that is being run.
pub(super) struct Run {
    pub(super) world: World,
    pub(super) plan: Plan,
    pub(super) tally: Tally,
    /// The numbers of the weak peers.
    pub(super) weak: std::ops::Range<usize>,
    pub(super) foes: Foes,
    work: Random,
    blows: Random,
    agenda: BTreeMap<(Time, u64), Act>,
    acts: u64,
    queries: BTreeMap<ClientId, (Watch, usize, u64)>,
    /// New files that are not acknowledged yet: the super peer of each, and its word.
    pub(super) fresh: Vec<(usize, String)>,
    pub(super) downloads: BTreeMap<ClientId, Download>,
    /// The crowd of the first phase.
    gathering: Option<Gathering>,
    /// Honest sources that may send wrong bytes, because their files were changed.
    meddled: BTreeSet<usize>,
    begun: Time,
    /// Counters of super peers that were not 0 at the end of some life.
    pub(super) counters: BTreeSet<String>,
}

impl Run {
    pub(super) fn new(seed: u64, keep_trace: bool) -> Run {
        let root = Random::new(seed);
        let plan = Plan::draw(&root);
        let mut world = World::new(seed);
        if keep_trace {
            world.keep_trace();
        }
        // Each seed draws the mode of its network.
        if root.child("mode", 0).chance(LOGIN_OF_1000) {
            world.use_login();
        }
        world.watch_all();
        world.set_contents(library().0.clone());
        world.set_latency(plan.latency.0, plan.latency.1);
        world.set_split(plan.split.0, plan.split.1);
        world.set_bandwidth(plan.bandwidth);
        let liars = foes::liars(&plan, &root);
        let supers = world.add_supers_beside(plan.supers, &plan.edges, &foes::links(&plan, &liars));
        let mut clocks = root.child("clocks", 0);
        let first = supers.end;
        for peer in &plan.peers {
            let node = world.add_weak_with(&peer.supers, peer.sessions);
            for (path, content) in &peer.files {
                world.share(node, path, *content);
            }
            for content in &peer.lies {
                let twin = library().1.iter().find(|(right, _)| right == content).expect("of the library").1;
                world.lie_with(node, *content, twin);
            }
        }
        let weak = first..world.nodes();
        for node in 0..world.nodes() {
            world.set_clock(node, clocks.time(CLOCKS_AHEAD / 2, CLOCKS_AHEAD));
        }
        for node in weak.clone() {
            world.start(node);
        }
        let foes = foes::add(&mut world, &plan, &weak, liars, &root);
        for node in foes.nodes.clone() {
            world.start(node);
        }
        let begun = world.now();
        let mut run = Run {
            world,
            plan,
            tally: Tally { seeds: 1, ..Tally::default() },
            weak,
            foes,
            work: root.child("workload", 0),
            blows: root.child("faults", 0),
            agenda: BTreeMap::new(),
            acts: 0,
            queries: BTreeMap::new(),
            fresh: Vec::new(),
            downloads: BTreeMap::new(),
            gathering: None,
            meddled: BTreeSet::new(),
            begun,
            counters: BTreeSet::new(),
        };
        for act in [Act::Query, Act::Get, Act::Change, Act::Check, Act::Revive] {
            run.later(SEC, act);
        }
        if let Some(crowd) = run.plan.crowds.first() {
            run.later(crowd.begins, Act::Crowd(Step::Begin));
        }
        if !run.plan.blows.is_empty() {
            run.later(2 * SEC, Act::Blow);
        }
        run
    }

    /// Runs the work under faults.
    pub(super) fn act(&mut self) {
        let mut weather = self.plan.weather();
        if self.world.is_sealed() {
            weather.push(Box::new(Repeat::new(REPEATED)));
        }
        self.world.set_faults(weather);
        let end = self.begun + FAULTS_UNTIL;
        while let Some(((at, _), act)) = self.agenda.pop_first() {
            if at >= end {
                break;
            }
            self.run_to(at);
            self.perform(act);
        }
        self.run_to(end);
    }

    /// Runs until this time. Each time that the world halts, judges everything that has ended.
    pub(super) fn run_to(&mut self, at: Time) {
        loop {
            let left = at.since(self.world.now());
            let halt = |world: &World| world.has_finished() || world.has_acknowledged() || world.has_opened();
            if self.world.run_until(left, halt) {
                self.judge();
                self.seek_acknowledged();
                self.meddle_opened();
            } else {
                return self.world.run_for(at.since(self.world.now()));
            }
        }
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        self.run_to(self.world.now() + time);
    }

    fn later(&mut self, after: Duration, act: Act) {
        self.acts += 1;
        self.agenda.insert((self.world.now() + after, self.acts), act);
    }

    /// Repeats the action after this time, on average.
    fn again(&mut self, mean: Duration, act: Act) {
        let random = if matches!(act, Act::Blow) { &mut self.blows } else { &mut self.work };
        let after = random.time(Duration::ZERO, 2 * mean);
        self.later(after, act);
    }

    fn perform(&mut self, act: Act) {
        self.world.remark(|| format!("{act:?}"));
        match act {
            Act::Query => {
                self.query();
                self.again(QUERY_EVERY, Act::Query);
            }
            Act::Seek(word) => {
                let node = self.any_weak();
                let ttl = self.work.chance(500).then(|| 1 + u8::try_from(self.work.below(3)).unwrap_or(0));
                self.seek(node, &word, ttl);
            }
            Act::Add(host) => {
                let here = |node: &usize| self.world.supers_of(*node).contains(&host);
                let peers: Vec<usize> = self.weak.clone().filter(here).collect();
                if !peers.is_empty() {
                    let node = *self.work.pick(&peers);
                    self.add(node);
                }
            }
            Act::Get => {
                self.get();
                self.again(GET_EVERY, Act::Get);
            }
            Act::Again(node, get) => {
                let root = Root::from_hex(&get.what);
                self.fetch(node, get, root);
            }
            Act::Change => {
                self.change();
                self.again(CHANGE_EVERY, Act::Change);
            }
            Act::Crowd(step) => self.crowd(step),
            Act::Check => {
                self.world.check();
                self.later(CHECK_EVERY, Act::Check);
            }
            Act::Revive => {
                self.revive();
                self.later(REVIVE_EVERY, Act::Revive);
            }
            Act::Blow => {
                let blow = *self.blows.pick(&self.plan.blows);
                self.strike(blow);
                self.again(self.plan.blow_every, Act::Blow);
            }
            Act::Start(node) => {
                if !self.world.is_running(node) {
                    self.world.start(node);
                }
            }
            Act::Heal => self.world.set_cut(BTreeSet::new()),
            Act::Unclog => self.world.set_clogged(&[], Duration::ZERO),
            Act::Hurry(node) => self.world.slow(node, Duration::ZERO),
            Act::Calm(node) => self.world.trouble(node, Trouble::default()),
        }
    }

    // ---- work -----------------------------------------------------------------------------------

    fn any_weak(&mut self) -> usize {
        self.weak.start + self.work.index(self.weak.len())
    }

    fn query(&mut self) {
        let node = self.any_weak();
        let (kind, pattern) = plan::search(&mut self.work);
        let mut search = Search::new(pattern, kind);
        match self.work.below(12) {
            0 => search.min = Some(self.work.below(6000)),
            1 => search.max = Some(self.work.below(6000)),
            2 => search.limit = Some(1 + u32::try_from(self.work.below(4)).unwrap_or(0)),
            3 => search.kind = QueryKind::Exact,
            _ => {}
        }
        let ttl = if self.work.chance(500) { None } else { Some(u8::try_from(self.work.below(9)).unwrap_or(0)) };
        let budget =
            if self.work.chance(500) { None } else { Some(40 + u32::try_from(self.work.below(5000)).unwrap_or(0)) };
        let policy = *self.work.pick(&POLICIES);
        self.ask(node, &search, Scope { ttl, budget, policy });
    }

    /// Sends a query, if the node runs.
    fn ask(&mut self, node: usize, search: &Search, scope: Scope) -> Option<ClientId> {
        let host = self.world.supers_of(node).first().copied();
        host.filter(|_| self.world.is_running(node) && !self.world.is_stalled(node))?;
        let watch = Watch::ask(&mut self.world, node, search, scope);
        let client = watch.client;
        self.tally.queries += 1;
        self.queries.insert(client, (watch, node, self.world.life(node)));
        Some(client)
    }

    fn get(&mut self) {
        let node = self.any_weak();
        let content = plan::content(&mut self.work);
        let root = self.world.contents().root(content);
        let by_name = self.work.chance(300);
        let what = if by_name { plan::path(&mut self.work) } else { root.to_string() };
        let what = what.rsplit('/').next().unwrap_or(&what).to_owned();
        let out = self.work.chance(500).then(|| PathBuf::from(format!("/out/{}", self.work.below(4))));
        let policy = *self.work.pick(&POLICIES);
        let scope = Scope { policy, ..Scope::default() };
        // If only bad sources serve it, a download must end within the longest wait for a source.
        let timeout = Some(u64::try_from(NO_SOURCE_MAX.as_millis()).unwrap_or(u64::MAX));
        let get = Get { out, timeout, scope, ..Get::of(what) };
        let get = match self.work.below(10) {
            0 => Get { verify: Verify::Blake3, ..get },
            _ => get,
        };
        self.fetch(node, get, (!by_name).then_some(root));
    }

    pub(super) fn fetch(&mut self, node: usize, get: Get, root: Option<Root>) -> Option<ClientId> {
        if !self.world.is_running(node) {
            return None;
        }
        let client = self.world.ask(node, Command::Get(get.clone()));
        self.downloads.insert(client, Download { node, life: self.world.life(node), root, get });
        Some(client)
    }

    /// Changes a share, and the peer notices the change.
    fn change(&mut self) {
        let node = self.any_weak();
        let shared = self.world.shared(node);
        if self.world.is_stale(node) {
            return;
        }
        if self.work.chance(500) && !shared.is_empty() {
            let path = self.work.pick(&shared).path.clone();
            self.world.unshare(node, path.as_str());
        } else {
            self.add(node);
        }
    }

    /// Processes that have ended by themselves are started again, as a service manager does.
    pub(super) fn revive(&mut self) {
        let planned: BTreeSet<usize> = self
            .agenda
            .values()
            .filter_map(|act| if let Act::Start(node) = act { Some(*node) } else { None })
            .collect();
        for node in 0..self.weak.end {
            if !self.world.is_running(node) && !planned.contains(&node) {
                self.world.start(node);
            }
        }
    }

    // ---- judgment -------------------------------------------------------------------------------

    fn judge(&mut self) {
        for client in self.world.take_finished() {
            if let Some((watch, ..)) = self.queries.remove(&client) {
                let verdict = watch.judge(&self.world);
                self.tally.judge(verdict.as_ref());
            } else if let Some(download) = self.downloads.remove(&client) {
                let outcome = self.world.asked(client).outcome().expect("it is over").clone();
                self.judge_download(&download, &outcome);
            }
        }
    }

    fn judge_download(&mut self, download: &Download, outcome: &Outcome) {
        let Download { node, root, get, .. } = download;
        for report in outcome.sources.iter().flatten().filter(|report| report.bad > 0) {
            let here = |node: &usize| report.source == self.world.addr(*node).into();
            if self.foes.nodes.clone().any(|node| here(&node)) {
                continue;
            }
            let source = self.weak.clone().find(here).expect("a source is a weak peer");
            let liar = !self.plan.peers[source - self.weak.start].lies.is_empty();
            assert!(liar || self.meddled.contains(&source), "{source} is honest, and yet {report:?}");
            if liar {
                self.world.count_fault("liar");
            }
        }
        if !outcome.ok {
            self.tally.downloads_failed += 1;
            if outcome.exit != Exit::NotFound.code() || self.is_gathered(*root) {
                self.later(AGAIN_AFTER, Act::Again(*node, get.clone()));
            }
            return;
        }
        self.tally.downloads += 1;
        let path = outcome.path.as_ref().expect("what is published has a path");
        let there: Option<ContentId> = self.world.file(*node, path);
        let there = there.map(|content| self.world.contents().root(content));
        // Another action may have changed or removed the file in the meantime.
        let touched = self.meddled.contains(node) || path.starts_with("share");
        assert!(there == outcome.root || touched, "{outcome:?}, and yet there is {there:?}");
        assert!(root.is_none() || outcome.root == *root, "{root:?} was asked for, and {outcome:?}");
    }

    /// Blame must be exact: no peer calls an honest source a liar, even if other sources lie and
    /// records are false.
    pub(super) fn judge_blame(&self) {
        for (at, node, event) in self.world.events() {
            let Event::Log { text, .. } = event else { continue };
            let Some((source, _)) = text.split_once(" is dropped as a source of ") else { continue };
            let named = |node: &usize| self.world.addr(*node).to_string() == source;
            let honest = self.weak.clone().find(named).filter(|node| self.is_honest(*node));
            assert!(honest.is_none(), "{node} blames {honest:?}, which is honest, at {at:?}: {text}");
        }
    }

    /// Whether a weak peer always serves what its records say.
    pub(super) fn is_honest(&self, node: usize) -> bool {
        self.plan.peers[node - self.weak.start].lies.is_empty() && !self.meddled.contains(&node)
    }

    /// Forgets the commands of processes that have ended.
    pub(super) fn bury(&mut self) {
        let world = &self.world;
        let is_gone = |node: usize, life: u64| !world.is_running(node) || world.life(node) != life;
        let before = self.queries.len();
        self.queries.retain(|_, (_, node, life)| !is_gone(*node, *life));
        self.tally.lost += (before - self.queries.len()) as u64;
        self.downloads.retain(|_, download| !is_gone(download.node, download.life));
    }

    /// Whether a command has no answer yet.
    pub(super) fn is_waiting(&self) -> bool {
        !self.queries.is_empty() || !self.downloads.is_empty()
    }

    /// The largest ttl of a query.
    pub(super) fn far() -> Option<u8> {
        Some(TTL_MAX)
    }
}
