//! The commands of clients: what they ask of the super peer, what they are told, and when they are over. Every command ends
//! with exactly one `done`. Owns the requests to the session; a `get` is handed over once its content is chosen.

mod choice;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::desk::{Desk, Reason};
use super::disk::Destination;
use super::download::Order;
use super::event::Outcome;
use super::home::{Home, News};
use super::{ClientEvent, ClientId, Command, DownloadId, Event, command};
use crate::config::{ANSWER_DEADLINE, COMMANDS_MAX, QUERY_BUDGET, QUERY_HITS_MAX, SESSION_QUERIES_MAX};
use crate::error::{Exit, Failure};
use crate::time::Time;
use crate::wire::message::{self, Cancel, ErrorCode, List, Query, SourceRecord, Status};
use crate::wire::{HostPort, Message, Policy, QueryKind, Root, Search, SharePath};
use choice::{Choice, choose};

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

/// How far a query goes.
#[derive(Clone, Copy, Debug)]
struct Reach {
    ttl: Option<u8>,
    budget: Option<u32>,
    policy: Option<Policy>,
}

impl Reach {
    fn of(get: &command::Get) -> Reach {
        Reach { ttl: get.ttl, budget: get.budget, policy: get.policy }
    }
}

#[derive(Debug)]
enum Job {
    /// Hits told so far, so that none is told twice after a new session.
    Query {
        search: Search,
        reach: Reach,
        told: BTreeSet<(Root, HostPort, SharePath)>,
    },
    Get {
        get: command::Get,
        search: Search,
        hits: Vec<SourceRecord>,
    },
    List {
        files: u64,
        after: Option<u64>,
    },
    Status,
    /// On behalf of a download that runs: more sources of this content.
    Sources {
        download: DownloadId,
        root: Root,
        reach: Reach,
    },
}

#[derive(Debug)]
struct Task {
    /// Whom to tell the end; a download's own search tells nobody.
    client: Option<ClientId>,
    since: Time,
    job: Job,
    /// The request it waits for; none while it waits for a session.
    req: Option<u32>,
}

/// See the module's words.
pub(super) struct Clients {
    connect_timeout: Duration,
    tasks: BTreeMap<u64, Task>,
    /// Which task a request belongs to.
    reqs: BTreeMap<u32, u64>,
    /// Tasks that wait for the session or a place in it.
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
        home: &mut Home,
        client: ClientId,
        command: Command,
        counts: BTreeMap<String, u64>,
    ) {
        let job = match command {
            Command::Query { search, ttl, budget, policy } => {
                Job::Query { search, reach: Reach { ttl, budget, policy }, told: BTreeSet::new() }
            }
            Command::Get(get) => {
                let search = Search {
                    kind: QueryKind::of(&get.what),
                    pattern: get.what.clone(),
                    min: None,
                    max: None,
                    limit: None,
                };
                Job::Get { get, search, hits: Vec::new() }
            }
            Command::List => Job::List { files: 0, after: None },
            Command::Status if home.is_up() => Job::Status,
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
        self.add(desk, home, Some(client), job);
    }

    /// More sources of this content are wanted for a download.
    pub(super) fn ask_sources(&mut self, desk: &mut Desk, home: &mut Home, download: DownloadId, root: Root) {
        let reach = Reach { ttl: None, budget: None, policy: None };
        self.add(desk, home, None, Job::Sources { download, root, reach });
    }

    fn add(&mut self, desk: &mut Desk, home: &mut Home, client: Option<ClientId>, job: Job) {
        let id = self.next_task;
        self.next_task += 1;
        self.tasks.insert(id, Task { client, since: desk.now, job, req: None });
        self.wait(desk, id);
        self.pump(desk, home);
    }

    /// Puts the task in line for a session.
    fn wait(&mut self, desk: &mut Desk, id: u64) {
        self.line.push_back(id);
        desk.timers.set(Reason::Task(id), desk.now + self.connect_timeout);
    }

    /// Sends what waits, as far as the session takes it.
    fn pump(&mut self, desk: &mut Desk, home: &mut Home) {
        while home.is_up() && self.reqs.len() < SESSION_QUERIES_MAX {
            let Some(id) = self.line.pop_front() else { return };
            self.send(desk, home, id);
        }
    }

    fn send(&mut self, desk: &mut Desk, home: &mut Home, id: u64) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let deadline = match &task.job {
            Job::Query { reach, .. } | Job::Sources { reach, .. } => budget(reach.budget) + DONE_GRACE,
            Job::Get { get, .. } => budget(get.budget) + DONE_GRACE,
            Job::List { .. } | Job::Status => ANSWER_DEADLINE,
        };
        let query = |req, find, reach: Reach| {
            let Reach { ttl, budget, policy } = reach;
            Message::Query(Query { req, find, ttl, budget, policy })
        };
        let sent = home.ask(desk, |req| match &task.job {
            Job::Query { search, reach, .. } => query(req, search.clone(), *reach),
            Job::Get { get, search, .. } => query(req, search.clone(), Reach::of(get)),
            Job::Sources { root, reach, .. } => query(req, root_search(*root), *reach),
            Job::List { after, .. } => Message::List(List { req, after: *after }),
            Job::Status => Message::Status(Status { req }),
        });
        if let Some(req) = sent {
            task.req = Some(req);
            self.reqs.insert(req, id);
            desk.timers.set(Reason::Task(id), desk.now + deadline);
        }
    }

    // ---- answers -------------------------------------------------------------------------------------------------

    pub(super) fn on_news(&mut self, desk: &mut Desk, home: &mut Home, news: News, counts: BTreeMap<String, u64>) {
        match news {
            News::Up => {}
            News::Down => self.on_down(desk),
            News::Never(failure) => {
                let ids: Vec<_> = self.tasks.keys().copied().collect();
                for id in ids {
                    self.fail(desk, id, failure.exit, &failure.message);
                }
                desk.event(Event::Fatal(failure));
            }
            News::Hit(hit) => self.on_hit(desk, home.own_addr(), hit),
            News::Done(done) => self.on_done(desk, home.own_addr(), &done),
            News::Files(files) => self.on_files(desk, files),
            News::Info(info) => {
                if let Some((id, client)) = self.answered(info.req) {
                    let super_peer = home.super_peer().cloned();
                    let status = ClientEvent::Status { super_peer, peer: counts, super_counts: info.counts };
                    if let Some(client) = client {
                        desk.tell(client, status);
                    }
                    self.end(desk, id, Outcome { ok: true, ..Outcome::default() });
                }
            }
            News::Error(req, code, why) => {
                if let Some((id, _)) = self.answered(req) {
                    let exit = exit_of(code);
                    self.fail(desk, id, exit, &format!("the super peer refuses: {why}"));
                }
            }
        }
        self.pump(desk, home);
    }

    /// The task of a request, if it still runs.
    fn answered(&self, req: u32) -> Option<(u64, Option<ClientId>)> {
        let id = *self.reqs.get(&req)?;
        Some((id, self.tasks.get(&id)?.client))
    }

    fn on_hit(&mut self, desk: &mut Desk, own: Option<&HostPort>, hit: message::Hit) {
        let Some((id, client)) = self.answered(hit.req) else { return };
        let Some(task) = self.tasks.get_mut(&id) else { return };
        match (&mut task.job, client) {
            (Job::Query { search, told, .. }, Some(client)) => {
                let most = QUERY_HITS_MAX.max(usize::try_from(search.limit.unwrap_or(0)).unwrap_or(0));
                for record in hit.hits {
                    let key = (record.root, record.addr.clone(), record.path.clone());
                    if told.len() < most && told.insert(key) {
                        desk.tell(client, hit_event(record));
                    }
                }
            }
            (Job::Get { get, search, hits }, Some(client)) => {
                let wanted = |record: &SourceRecord| get.from.as_ref().is_none_or(|from| *from == record.addr);
                let room = QUERY_HITS_MAX.saturating_sub(hits.len());
                hits.extend(hit.hits.into_iter().filter(wanted).take(room));
                // A root leaves nothing to choose: what is known is started, the rest follows.
                let others = hits.iter().any(|record| own != Some(&record.addr));
                if search.kind == QueryKind::Root && others {
                    self.start_early(id, client, own);
                }
            }
            (Job::Sources { download, root, .. }, _) => {
                let fits = |record: &SourceRecord| record.root == *root && own != Some(&record.addr);
                let addrs: Vec<_> =
                    hit.hits.into_iter().filter(fits).map(|record| (record.addr, record.size)).collect();
                if !addrs.is_empty() {
                    self.orders.push_back(ForDownloads::Sources(*download, addrs));
                }
            }
            (Job::Query { .. } | Job::Get { .. } | Job::List { .. } | Job::Status, _) => {}
        }
    }

    fn on_done(&mut self, desk: &mut Desk, own: Option<&HostPort>, done: &message::Done) {
        let Some((id, client)) = self.answered(done.req) else { return };
        let Some(task) = self.tasks.get_mut(&id) else { return };
        match (&mut task.job, client) {
            (Job::Query { search, told, .. }, _) => {
                let outcome = query_outcome(search, told.len(), done, desk.now.since(task.since));
                self.end(desk, id, outcome);
            }
            (Job::Get { search, hits, .. }, _) if hits.is_empty() && search.kind == QueryKind::Glob => {
                // Nothing matches the pattern; a name may have such characters.
                search.kind = QueryKind::Exact;
                self.unlink(desk, id);
                self.wait(desk, id);
            }
            (Job::Get { .. }, Some(client)) => self.resolve(desk, id, client, own, done.complete),
            (Job::Sources { .. }, _) => self.end(desk, id, Outcome::default()),
            (Job::Get { .. } | Job::List { .. } | Job::Status, _) => {}
        }
    }

    fn on_files(&mut self, desk: &mut Desk, page: message::Files) {
        let Some((id, Some(client))) = self.answered(page.req) else { return };
        let Some(Task { job: Job::List { files, after }, since, .. }) = self.tasks.get_mut(&id) else { return };
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

    // ---- get -----------------------------------------------------------------------------------------------------

    /// The hits of a `get` are all here.
    fn resolve(&mut self, desk: &mut Desk, id: u64, client: ClientId, own: Option<&HostPort>, complete: bool) {
        let Some(Task { job: Job::Get { get, hits, .. }, .. }) = self.tasks.get_mut(&id) else { return };
        match choose(&get.what, hits) {
            Choice::None => {
                let how = if complete { "" } else { ", as far as the search went" };
                let why = match &get.from {
                    Some(from) => format!("{from} does not offer {:?}{how}", get.what),
                    None => format!("nobody has {:?}{how}", get.what),
                };
                self.fail(desk, id, Exit::NotFound, &why);
            }
            Choice::One { root, size, name } => {
                let order = self.order(id, client, own, (root, size), name, false);
                self.orders.extend(order.map(ForDownloads::Start));
                self.forget(desk, id);
            }
            Choice::Many(contents) => {
                for record in std::mem::take(hits) {
                    desk.tell(client, hit_event(record));
                }
                let why = format!(
                    "{contents} different contents fit {:?}; name the root instead, or a more exact name",
                    get.what
                );
                self.fail(desk, id, Exit::Usage, &why);
            }
        }
    }

    /// Starts a `get` by root with the sources known so far; its search goes on for the download.
    fn start_early(&mut self, id: u64, client: ClientId, own: Option<&HostPort>) {
        let Some(Task { job: Job::Get { get, hits, .. }, .. }) = self.tasks.get(&id) else { return };
        let reach = Reach::of(get);
        let Choice::One { root, size, name } = choose(&get.what, hits) else { return };
        let Some(order) = self.order(id, client, own, (root, size), name, true) else { return };
        let job = Job::Sources { download: order.id, root, reach };
        self.orders.push_back(ForDownloads::Start(order));
        if let Some(task) = self.tasks.get_mut(&id) {
            (task.job, task.client) = (job, None);
        }
    }

    fn order(
        &mut self,
        id: u64,
        client: ClientId,
        own: Option<&HostPort>,
        (root, size): (Root, u64),
        name: String,
        searching: bool,
    ) -> Option<Order> {
        let Task { job: Job::Get { get, hits, search }, since, .. } = self.tasks.get(&id)? else { return None };
        let fits = |record: &&SourceRecord| (record.root, record.size) == (root, size);
        let mut sources: Vec<HostPort> = Vec::new();
        for record in hits.iter().filter(fits) {
            if !sources.contains(&record.addr) {
                sources.push(record.addr.clone());
            }
        }
        // Our own copy is a source only where there is no other.
        if sources.len() > 1 {
            sources.retain(|source| Some(source) != own);
        }
        let other_size = |record: &&SourceRecord| record.root == root && record.size != size;
        let others = hits.iter().filter(other_size).map(|record| (record.addr.clone(), record.size)).collect();
        let destination = match &get.out {
            Some(path) => Destination::Path { path: path.clone(), name: name.clone() },
            None => Destination::Share { name: name.clone() },
        };
        let download = DownloadId(self.next_download);
        self.next_download += 1;
        Some(Order {
            id: download,
            client,
            asked_at: *since,
            root,
            size,
            name,
            verify: get.verify,
            destination,
            sources,
            others,
            tried: Vec::new(),
            only: get.from.is_some(),
            widen: get.from.is_none() && search.kind != QueryKind::Root,
            searching,
        })
    }

    // ---- the end of a task ---------------------------------------------------------------------------------------

    /// The session is gone: what it was asked has to be asked anew.
    fn on_down(&mut self, desk: &mut Desk) {
        for (_, id) in std::mem::take(&mut self.reqs) {
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            task.req = None;
            match &mut task.job {
                Job::Sources { .. } => self.end(desk, id, Outcome::default()),
                Job::List { files, .. } if *files > 0 => {
                    self.fail(
                        desk,
                        id,
                        Exit::Unreachable,
                        "the super peer was lost in the middle of its list; ask again",
                    );
                }
                Job::Get { hits, .. } => {
                    hits.clear();
                    self.wait(desk, id);
                }
                Job::Query { .. } | Job::List { .. } | Job::Status => self.wait(desk, id),
            }
        }
    }

    pub(super) fn on_timer(&mut self, desk: &mut Desk, home: &mut Home, id: u64) {
        let Some(task) = self.tasks.get(&id) else { return };
        match task.req {
            Some(req) => {
                home.tell(desk, Message::Cancel(Cancel { req }));
                self.fail(desk, id, Exit::TimedOut, "the super peer did not answer in time");
            }
            None if home.is_new() => desk.timers.set(Reason::Task(id), desk.now + self.connect_timeout),
            None => {
                let waited = self.connect_timeout.as_secs();
                self.fail(desk, id, Exit::Unreachable, &format!("no super peer was connected within {waited} s"));
            }
        }
        self.pump(desk, home);
    }

    pub(super) fn on_client_gone(&mut self, desk: &mut Desk, home: &mut Home, client: ClientId) {
        let of_client = |(_, task): &(&u64, &Task)| task.client == Some(client);
        let ids: Vec<_> = self.tasks.iter().filter(of_client).map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(req) = self.tasks.get(&id).and_then(|task| task.req) {
                home.tell(desk, Message::Cancel(Cancel { req }));
            }
            self.forget(desk, id);
        }
        self.pump(desk, home);
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
            if let Job::Query { told, .. } = &task.job {
                outcome.hits = Some(u32::try_from(told.len()).unwrap_or(u32::MAX));
                outcome.complete = Some(false);
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

    /// The task's request is over; the task is not.
    fn unlink(&mut self, desk: &mut Desk, id: u64) {
        if let Some(req) = self.tasks.get_mut(&id).and_then(|task| task.req.take()) {
            self.reqs.remove(&req);
        }
        desk.timers.stop(Reason::Task(id));
    }

    fn forget(&mut self, desk: &mut Desk, id: u64) -> Option<Task> {
        self.unlink(desk, id);
        self.line.retain(|waiting| *waiting != id);
        self.tasks.remove(&id)
    }
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

fn query_outcome(search: &Search, hits: usize, done: &message::Done, elapsed: Duration) -> Outcome {
    let how = if done.complete { "" } else { ", as far as the search went" };
    let base = if hits > 0 {
        Outcome { ok: true, ..Outcome::default() }
    } else {
        Outcome::failed(&Failure::new(Exit::NotFound, format!("nobody has {:?}{how}", search.pattern)))
    };
    Outcome {
        hits: Some(u32::try_from(hits).unwrap_or(u32::MAX)),
        reached: Some(done.reached),
        complete: Some(done.complete),
        cut: Some(done.cut),
        elapsed_ms: Some(ms(elapsed)),
        ..base
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
