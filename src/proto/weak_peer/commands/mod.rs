//! The commands of clients: what they ask of the super peers, what they are told, and when they are over. Every command ends
//! with exactly one `done`. Owns the requests to the sessions; a `get` is handed over once its content is chosen.
//!
//! A search goes to every super peer that the peer has a session with, and is over when each has answered: the hits are those of
//! all, each once, and it is complete if every one of them is there and says so. Everything else is asked of the first.

mod choice;
mod get;
mod walk;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::context::{Desk, Reason};
use super::download::Order;
use super::session::{News, SessionId};
use super::sessions::Sessions;
use crate::config::{ANSWER_DEADLINE, COMMANDS_MAX, QUERY_BUDGET, QUERY_HITS_MAX, SESSION_QUERIES_MAX};
use crate::error::{Exit, Failure};
use crate::proto::event::Outcome;
use crate::proto::{ClientEvent, ClientId, Command, DownloadId, Event, Scope, command};
use crate::time::Time;
use crate::wire::message::{self, Cancel, ErrorCode, List, Query, SourceRecord, Status};
use crate::wire::{Cut, HostPort, Message, QueryKind, Root, Search, SharePath};
use walk::{Answer, Walk};

/// Its next page is asked for where its first was.
const LIST_LOST: &str = "the super peer was lost in the middle of its list; ask again";
/// How much longer than its budget a query may take until its DONE is here.
const DONE_GRACE: Duration = Duration::from_secs(2);

/// What a client's command means for the downloads.
#[derive(Debug)]
pub(super) enum ForDownloads {
    Start(Order),
    /// More sources of its root, each with the size that it tells.
    Sources(DownloadId, Vec<(HostPort, u64)>),
    /// The search for sources is over.
    SourcesDone(DownloadId),
}

/// Hits that were taken: two super peers, or a session that comes back, may tell one twice.
type Known = BTreeSet<(Root, HostPort, SharePath)>;

#[derive(Debug)]
enum Job {
    Query {
        search: Search,
        scope: Scope,
        told: Known,
    },
    Get {
        get: command::Get,
        search: Search,
        hits: Vec<SourceRecord>,
        known: Known,
    },
    /// The pages of one super peer's list; which one, from the first page on.
    List {
        files: u64,
        after: Option<u64>,
        at: Option<SessionId>,
    },
    /// A page of everything after the other.
    Network {
        walk: Box<Walk>,
        scope: Scope,
    },
    Status,
    /// On behalf of a download that runs: more sources of this content.
    Sources {
        download: DownloadId,
        root: Root,
        scope: Scope,
    },
}

impl Job {
    /// The most hits that are wanted of one request.
    fn hits_max(&self) -> usize {
        match self {
            Job::Query { search, .. } => {
                search.limit.map_or(QUERY_HITS_MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
            }
            Job::Get { .. } | Job::List { .. } | Job::Network { .. } | Job::Status | Job::Sources { .. } => {
                QUERY_HITS_MAX
            }
        }
    }

    /// Whether more hits would be of no use.
    fn has_enough(&self) -> bool {
        match self {
            Job::Query { told, .. } => told.len() >= self.hits_max(),
            Job::Get { hits, .. } => hits.len() >= self.hits_max(),
            Job::List { .. } | Job::Network { .. } | Job::Status | Job::Sources { .. } => false,
        }
    }
}

#[derive(Debug)]
struct Task {
    /// Whom to tell the end; a download's own search tells nobody.
    client: Option<ClientId>,
    since: Time,
    job: Job,
    /// The requests that are not answered; none while it waits for a session.
    asked: Vec<(SessionId, u32)>,
    /// What those that are over have told together.
    answer: Answer,
    /// Whether any of them told.
    answered: bool,
}

/// See the module's words.
pub(super) struct Clients {
    connect_timeout: Duration,
    tasks: BTreeMap<u64, Task>,
    /// Which task a request belongs to.
    reqs: BTreeMap<(SessionId, u32), u64>,
    /// Tasks that wait for a session or a place in it.
    line: VecDeque<u64>,
    next_task: u64,
    next_download: u64,
    orders: VecDeque<ForDownloads>,
}

impl Clients {
    pub(super) fn new(connect_timeout: Duration) -> Clients {
        Clients {
            connect_timeout,
            tasks: BTreeMap::new(),
            reqs: BTreeMap::new(),
            line: VecDeque::new(),
            next_task: 1,
            next_download: 1,
            orders: VecDeque::new(),
        }
    }

    pub(super) fn poll_order(&mut self) -> Option<ForDownloads> {
        self.orders.pop_front()
    }

    // ---- commands ------------------------------------------------------------------------------------------------

    pub(super) fn on_command(
        &mut self,
        desk: &mut Desk,
        sessions: &mut Sessions,
        client: ClientId,
        command: Command,
        counts: BTreeMap<String, u64>,
    ) {
        let job = match command {
            Command::Query { search, scope } => Job::Query { search, scope, told: BTreeSet::new() },
            Command::Get(get) => {
                let search = Search {
                    kind: QueryKind::of(&get.what),
                    pattern: get.what.clone(),
                    min: None,
                    max: None,
                    limit: None,
                };
                Job::Get { get, search, hits: Vec::new(), known: BTreeSet::new() }
            }
            Command::List => Job::List { files: 0, after: None, at: None },
            Command::Network { scope } => Job::Network { walk: Box::new(Walk::new()), scope },
            Command::Status if sessions.is_up() => Job::Status,
            Command::Status => {
                let status = ClientEvent::Status { super_peer: None, peer: counts, super_counts: BTreeMap::new() };
                desk.tell(client, status);
                return desk.done(client, Outcome { ok: true, ..Outcome::default() });
            }
        };
        if self.tasks.len() >= COMMANDS_MAX {
            let why = format!("{COMMANDS_MAX} commands are running or waiting; try again when some are over");
            return desk.done(client, Outcome::failed(&Failure::new(Exit::Internal, why)));
        }
        self.add(desk, sessions, Some(client), job);
    }

    /// More sources of this content are wanted for a download.
    pub(super) fn ask_sources(&mut self, desk: &mut Desk, sessions: &mut Sessions, download: DownloadId, root: Root) {
        self.add(desk, sessions, None, Job::Sources { download, root, scope: Scope::default() });
    }

    fn add(&mut self, desk: &mut Desk, sessions: &mut Sessions, client: Option<ClientId>, job: Job) {
        let id = self.next_task;
        self.next_task += 1;
        let (asked, answer) = (Vec::new(), Answer::NOTHING);
        self.tasks.insert(id, Task { client, since: desk.now, job, asked, answer, answered: false });
        self.wait(desk, id);
        self.pump(desk, sessions);
    }

    /// Puts the task in line for a session.
    fn wait(&mut self, desk: &mut Desk, id: u64) {
        self.line.push_back(id);
        desk.timers.set(Reason::Task(id), desk.now + self.connect_timeout);
    }

    /// Sends what waits, as far as the sessions take it.
    fn pump(&mut self, desk: &mut Desk, sessions: &mut Sessions) {
        while sessions.is_up() && self.reqs.len() < SESSION_QUERIES_MAX {
            let Some(id) = self.line.pop_front() else { return };
            self.send(desk, sessions, id);
        }
    }

    fn send(&mut self, desk: &mut Desk, sessions: &mut Sessions, id: u64) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let first = sessions.up().next();
        let (at, deadline) = match &mut task.job {
            Job::Query { scope, .. }
            | Job::Sources { scope, .. }
            | Job::Network { scope, .. }
            | Job::Get { get: command::Get { scope, .. }, .. } => {
                (sessions.up().collect(), budget(scope.budget) + DONE_GRACE)
            }
            Job::List { at, .. } => {
                *at = at.or(first);
                (Vec::from_iter(*at), ANSWER_DEADLINE)
            }
            Job::Status => (Vec::from_iter(first), ANSWER_DEADLINE),
        };
        // A super peer that we should be with and are not cannot say what it knows.
        let missing = u32::try_from(sessions.len() - at.len()).unwrap_or(u32::MAX);
        task.answered = false;
        task.answer = Answer::NOTHING;
        task.answer.cut.down = missing;
        task.answer.complete = missing == 0;
        for session in at {
            if let Some(req) = sessions.ask(desk, session, |req| request(&task.job, req)) {
                task.asked.push((session, req));
                self.reqs.insert((session, req), id);
            }
        }
        if task.asked.is_empty() {
            // Only the list of one super peer asks where it began, whoever else is there.
            return self.fail(desk, id, Exit::Unreachable, LIST_LOST);
        }
        desk.timers.set(Reason::Task(id), desk.now + deadline);
    }

    // ---- answers -------------------------------------------------------------------------------------------------

    pub(super) fn on_news(
        &mut self,
        desk: &mut Desk,
        sessions: &mut Sessions,
        (session, news): (SessionId, News),
        counts: BTreeMap<String, u64>,
    ) {
        match news {
            News::Up => {}
            News::Down => self.on_down(desk, sessions, session),
            News::Never(failure) => {
                let ids: Vec<_> = self.tasks.keys().copied().collect();
                for id in ids {
                    self.fail(desk, id, failure.exit, &failure.message);
                }
                desk.event(Event::Fatal(failure));
            }
            News::Hit(hit) => self.on_hit(desk, sessions, session, hit),
            News::Done(done) => {
                let answer =
                    Answer { reached: done.reached, pruned: done.pruned, complete: done.complete, cut: done.cut };
                self.on_answer(desk, sessions, (session, done.req), answer, true);
            }
            News::Files(files) => self.on_files(desk, session, files),
            News::Info(info) => {
                if let Some((id, client)) = self.answered(session, info.req) {
                    let super_peer = sessions.super_peer(session).cloned();
                    let status = ClientEvent::Status { super_peer, peer: counts, super_counts: info.counts };
                    if let Some(client) = client {
                        desk.tell(client, status);
                    }
                    self.end(desk, id, Outcome { ok: true, ..Outcome::default() });
                }
            }
            News::Error(req, code, why) => self.on_error(desk, sessions, (session, req), code, &why),
        }
        self.pump(desk, sessions);
    }

    /// The task of a request, if it still runs.
    fn answered(&self, session: SessionId, req: u32) -> Option<(u64, Option<ClientId>)> {
        let id = *self.reqs.get(&(session, req))?;
        Some((id, self.tasks.get(&id)?.client))
    }

    fn on_hit(&mut self, desk: &mut Desk, sessions: &Sessions, session: SessionId, hit: message::Hit) {
        let Some((id, client)) = self.answered(session, hit.req) else { return };
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let most = task.job.hits_max();
        match (&mut task.job, client) {
            (Job::Query { told, .. }, Some(client)) => {
                for record in hit.hits {
                    if told.len() < most && told.insert(key(&record)) {
                        desk.tell(client, hit_event(record));
                    }
                }
            }
            (Job::Get { get, search, hits, known }, Some(client)) => {
                let wanted = |record: &SourceRecord| get.from.as_ref().is_none_or(|from| *from == record.addr);
                let room = most.saturating_sub(hits.len());
                hits.extend(hit.hits.into_iter().filter(|hit| wanted(hit) && known.insert(key(hit))).take(room));
                // A root leaves nothing to choose: what is known is started, the rest follows.
                let others = hits.iter().any(|record| !sessions.is_own(&record.addr));
                if search.kind == QueryKind::Root && others {
                    self.start_early(id, client, sessions);
                }
            }
            (Job::Network { walk, .. }, _) => walk.on_hits(hit.hits),
            (Job::Sources { download, root, .. }, _) => {
                let fits = |record: &SourceRecord| record.root == *root && !sessions.is_own(&record.addr);
                let addrs: Vec<_> =
                    hit.hits.into_iter().filter(fits).map(|record| (record.addr, record.size)).collect();
                if !addrs.is_empty() {
                    self.orders.push_back(ForDownloads::Sources(*download, addrs));
                }
            }
            (Job::Query { .. } | Job::Get { .. } | Job::List { .. } | Job::Status, _) => {}
        }
    }

    /// A request of a search is over; the search is, once all of its requests are, or it has enough.
    fn on_answer(
        &mut self,
        desk: &mut Desk,
        sessions: &mut Sessions,
        asked: (SessionId, u32),
        answer: Answer,
        told: bool,
    ) {
        let Some(id) = self.reqs.remove(&asked) else { return };
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.asked.retain(|other| *other != asked);
        task.answer.add(answer);
        task.answered |= told;
        if !task.asked.is_empty() && task.job.has_enough() {
            task.answer.add(Answer::cut(Cut { cap: 1, ..Cut::NONE }));
            self.cancel(desk, sessions, id);
        }
        if self.tasks.get(&id).is_some_and(|task| task.asked.is_empty()) {
            self.finish(desk, sessions, id);
        }
    }

    /// Every request of the search is over.
    fn finish(&mut self, desk: &mut Desk, sessions: &Sessions, id: u64) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let (client, answer) = (task.client, task.answer);
        match (&mut task.job, client) {
            (Job::Query { search, told, .. }, _) => {
                let outcome = query_outcome(search, told.len(), answer, desk.now.since(task.since));
                self.end(desk, id, outcome);
            }
            (Job::Get { search, hits, .. }, _) if hits.is_empty() && search.kind == QueryKind::Glob => {
                // Nothing matches the pattern; a name may have such characters.
                search.kind = QueryKind::Exact;
                self.wait(desk, id);
            }
            (Job::Get { .. }, Some(client)) => self.resolve(desk, id, client, sessions, answer.complete),
            (Job::Network { walk, .. }, client) => {
                let (known, over) = walk.on_done(answer);
                let outcome = network_outcome(walk, desk.now.since(task.since));
                for event in known {
                    client.into_iter().for_each(|client| desk.tell(client, event.clone()));
                }
                if over {
                    self.end(desk, id, outcome);
                } else {
                    self.wait(desk, id);
                }
            }
            (Job::Sources { .. }, _) => self.end(desk, id, Outcome::default()),
            (Job::Get { .. } | Job::List { .. } | Job::Status, _) => {}
        }
    }

    fn on_error(
        &mut self,
        desk: &mut Desk,
        sessions: &mut Sessions,
        asked: (SessionId, u32),
        code: ErrorCode,
        why: &str,
    ) {
        let Some((id, _)) = self.answered(asked.0, asked.1) else { return };
        if self.tasks.get(&id).is_some_and(|task| task.answered || task.asked.len() > 1) {
            return self.on_answer(desk, sessions, asked, Answer::cut(Cut { shed: 1, ..Cut::NONE }), false);
        }
        self.fail(desk, id, exit_of(code), &format!("the super peer refuses: {why}"));
    }

    fn on_files(&mut self, desk: &mut Desk, session: SessionId, page: message::Files) {
        let Some((id, Some(client))) = self.answered(session, page.req) else { return };
        let Some(Task { job: Job::List { files, after, .. }, since, .. }) = self.tasks.get_mut(&id) else { return };
        *files += page.files.len() as u64;
        for file in page.files {
            let message::ListedFile { path, size, root, holders } = file;
            let (name, path) = (path.name().to_owned(), path.as_str().to_owned());
            desk.tell(client, ClientEvent::File { name, path, size, root, holders });
        }
        if page.next.is_some() && page.next > *after {
            *after = page.next;
            self.unlink(desk, id);
            self.wait(desk, id);
        } else {
            let outcome = Outcome {
                ok: true,
                files: Some(*files),
                elapsed_ms: Some(ms(desk.now.since(*since))),
                ..Outcome::default()
            };
            self.end(desk, id, outcome);
        }
    }

    // ---- the end of a task ---------------------------------------------------------------------------------------

    /// A session is gone: what only it was asked has to be asked anew.
    fn on_down(&mut self, desk: &mut Desk, sessions: &mut Sessions, session: SessionId) {
        let lost =
            self.reqs.range((session, 0)..=(session, u32::MAX)).map(|(asked, id)| (*asked, *id)).collect::<Vec<_>>();
        for (asked, id) in lost {
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            if task.answered || task.asked.len() > 1 {
                self.on_answer(desk, sessions, asked, Answer::cut(Cut { down: 1, ..Cut::NONE }), false);
                continue;
            }
            match &mut task.job {
                Job::Sources { .. } => self.end(desk, id, Outcome::default()),
                Job::List { files, .. } if *files > 0 => self.fail(desk, id, Exit::Unreachable, LIST_LOST),
                Job::Get { hits, known, .. } => {
                    hits.clear();
                    known.clear();
                    self.ask_anew(desk, id);
                }
                Job::Network { walk, .. } => {
                    walk.on_lost();
                    self.ask_anew(desk, id);
                }
                Job::List { at, .. } => {
                    *at = None;
                    self.ask_anew(desk, id);
                }
                Job::Query { .. } | Job::Status => self.ask_anew(desk, id),
            }
        }
    }

    fn ask_anew(&mut self, desk: &mut Desk, id: u64) {
        self.unlink(desk, id);
        self.wait(desk, id);
    }

    pub(super) fn on_timer(&mut self, desk: &mut Desk, sessions: &mut Sessions, id: u64) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if !task.asked.is_empty() {
            if task.answered {
                task.answer.add(Answer::cut(Cut { budget: 1, ..Cut::NONE }));
                self.cancel(desk, sessions, id);
                self.finish(desk, sessions, id);
            } else {
                self.cancel(desk, sessions, id);
                self.fail(desk, id, Exit::TimedOut, "the super peer did not answer in time");
            }
        } else if sessions.is_new() {
            desk.timers.set(Reason::Task(id), desk.now + self.connect_timeout);
        } else {
            let waited = self.connect_timeout.as_secs();
            self.fail(desk, id, Exit::Unreachable, &format!("no super peer was connected within {waited} s"));
        }
        self.pump(desk, sessions);
    }

    /// What is still asked for the task is not wanted any more.
    fn cancel(&mut self, desk: &mut Desk, sessions: &mut Sessions, id: u64) {
        for &(session, req) in self.tasks.get(&id).map_or(&[][..], |task| &task.asked) {
            sessions.tell(desk, session, Message::Cancel(Cancel { req }));
        }
        self.unlink(desk, id);
    }

    pub(super) fn on_client_gone(&mut self, desk: &mut Desk, sessions: &mut Sessions, client: ClientId) {
        let of_client = |(_, task): &(&u64, &Task)| task.client == Some(client);
        let ids: Vec<_> = self.tasks.iter().filter(of_client).map(|(id, _)| *id).collect();
        for id in ids {
            self.cancel(desk, sessions, id);
            self.forget(desk, id);
        }
        self.pump(desk, sessions);
    }

    pub(super) fn shut_down(&mut self, desk: &mut Desk) {
        let ids: Vec<_> = self.tasks.keys().copied().collect();
        for id in ids {
            self.fail(desk, id, Exit::Internal, "the peer ends");
        }
    }

    fn fail(&mut self, desk: &mut Desk, id: u64, exit: Exit, why: &str) {
        let mut outcome = Outcome::failed(&Failure::new(exit, why));
        if let Some(task) = self.tasks.get(&id) {
            outcome.elapsed_ms = Some(ms(desk.now.since(task.since)));
            match &task.job {
                Job::Query { told, .. } => {
                    outcome.hits = Some(u32::try_from(told.len()).unwrap_or(u32::MAX));
                    outcome.complete = Some(false);
                }
                Job::Network { walk, .. } => {
                    outcome.files = Some(walk.contents());
                    outcome.complete = Some(false);
                }
                Job::Get { .. } | Job::List { .. } | Job::Status | Job::Sources { .. } => {}
            }
        }
        self.end(desk, id, outcome);
    }

    fn end(&mut self, desk: &mut Desk, id: u64, outcome: Outcome) {
        match self.forget(desk, id) {
            Some(Task { job: Job::Sources { download, .. }, .. }) => {
                self.orders.push_back(ForDownloads::SourcesDone(download));
            }
            Some(Task { client: Some(client), .. }) => desk.done(client, outcome),
            Some(Task { client: None, .. }) | None => {}
        }
    }

    /// The task's requests are over; the task is not.
    fn unlink(&mut self, desk: &mut Desk, id: u64) {
        if let Some(task) = self.tasks.get_mut(&id) {
            for asked in std::mem::take(&mut task.asked) {
                self.reqs.remove(&asked);
            }
        }
        desk.timers.stop(Reason::Task(id));
    }

    fn forget(&mut self, desk: &mut Desk, id: u64) -> Option<Task> {
        self.unlink(desk, id);
        self.line.retain(|waiting| *waiting != id);
        self.tasks.remove(&id)
    }
}

/// The message that asks for a job under this number.
fn request(job: &Job, req: u32) -> Message {
    let query = |find, scope: Scope| {
        let Scope { ttl, budget, policy } = scope;
        Message::Query(Query { req, find, ttl, budget, policy })
    };
    match job {
        Job::Query { search, scope, .. } => query(search.clone(), *scope),
        Job::Get { get, search, .. } => query(search.clone(), get.scope),
        Job::Sources { root, scope, .. } => query(root_search(*root), *scope),
        Job::Network { walk, scope } => query(walk.search(), *scope),
        Job::List { after, .. } => Message::List(List { req, after: *after }),
        Job::Status => Message::Status(Status { req }),
    }
}

fn key(record: &SourceRecord) -> (Root, HostPort, SharePath) {
    (record.root, record.addr.clone(), record.path.clone())
}

fn budget(asked: Option<u32>) -> Duration {
    asked.map_or(QUERY_BUDGET, |ms| Duration::from_millis(u64::from(ms)))
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn root_search(root: Root) -> Search {
    Search { pattern: root.to_string(), kind: QueryKind::Root, min: None, max: None, limit: None }
}

fn hit_event(record: SourceRecord) -> ClientEvent {
    let SourceRecord { path, size, root, addr } = record;
    ClientEvent::Hit { name: path.name().to_owned(), path: path.as_str().to_owned(), size, root, source: addr }
}

fn query_outcome(search: &Search, hits: usize, answer: Answer, elapsed: Duration) -> Outcome {
    let how = if answer.complete { "" } else { ", as far as the search went" };
    let base = if hits > 0 {
        Outcome { ok: true, ..Outcome::default() }
    } else {
        Outcome::failed(&Failure::new(Exit::NotFound, format!("nobody has {:?}{how}", search.pattern)))
    };
    Outcome {
        hits: Some(u32::try_from(hits).unwrap_or(u32::MAX)),
        reached: Some(answer.reached),
        pruned: (answer.pruned > 0).then_some(answer.pruned),
        complete: Some(answer.complete),
        cut: Some(answer.cut),
        elapsed_ms: Some(ms(elapsed)),
        ..base
    }
}

/// An empty network is a list too.
fn network_outcome(walk: &Walk, elapsed: Duration) -> Outcome {
    let Answer { reached, complete, cut, .. } = walk.answer();
    Outcome {
        ok: true,
        files: Some(walk.contents()),
        hits: Some(u32::try_from(walk.hits()).unwrap_or(u32::MAX)),
        reached: Some(reached),
        complete: Some(complete),
        cut: Some(cut),
        elapsed_ms: Some(ms(elapsed)),
        ..Outcome::default()
    }
}

fn exit_of(code: ErrorCode) -> Exit {
    match code {
        ErrorCode::BAD_REQUEST | ErrorCode::MALFORMED => Exit::Usage,
        ErrorCode::DEADLINE => Exit::TimedOut,
        ErrorCode::NOT_FOUND => Exit::NotFound,
        ErrorCode::INTERNAL => Exit::Internal,
        _ => Exit::Unreachable,
    }
}
