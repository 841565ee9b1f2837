//! The commands of clients: what they request from the super peers, which events the clients get,
//! and how each command ends. Every command ends with exactly one `done`. This part owns the
//! requests to the sessions. It fetches nothing: once the content of a `get` is chosen, it gives an
//! order to the downloads.
//!
//! A search goes to each super peer with which this peer has a session, and ends when each has
//! answered. It reports the hits of all super peers, each hit once. It is complete if every session
//! is up and every answer is complete. All other requests go to the first session.

mod answer;
mod answering;
mod get;
mod hits;
mod outcome;
mod pages;
mod subscriptions;
mod task;
mod uri;
mod walk;
mod want;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::batch::{Entry, Many};
use super::contact::Contact;
use super::context::{Context, Reason, SessionId};
use super::download::{Ask, Order};
use super::sessions::Sessions;
use crate::config::{ANSWER_DEADLINE, COMMANDS_MAX, GET_FILES_MAX, RATE_LIMIT_MIN, SESSION_QUERIES_MAX};
use crate::error::{Exit, Failure};
use crate::proto::command::{Get, can_name};
use crate::proto::disk::{Described, DiskFailure};
use crate::proto::event::{Outcome, SuperState, SuperStatus};
use crate::proto::{ClientEvent, ClientId, Command, DiskWork, DownloadId, RateLimits, Scope};
use crate::wire::message::{Cancel, ErrorCode};
use crate::wire::{Cut, Message, Root};
use answer::Answer;
use hits::{Known, key};
use subscriptions::Subscriptions;
use task::{Job, Request, Task};
use walk::Walk;
use want::{Content, Verdict};

/// A list can only continue at the super peer where it began.
const LIST_LOST: &str = "the super peer was lost in the middle of its list; ask again";
/// How long the super peer may take to answer INFO for a status.
const STATUS_PATIENCE: Duration = Duration::from_secs(3);
/// How much later than the end of its budget the DONE of a query may arrive.
const DONE_GRACE: Duration = Duration::from_secs(2);

/// What a command gives to the downloads.
#[derive(Debug)]
pub(super) enum DownloadInput {
    Start(Order),
    /// Many files of one command.
    Many(Many),
    /// More sources of the content, each with the size that it reports.
    Sources(DownloadId, Vec<(Contact, Option<u64>)>),
    /// The search for sources is over.
    SourcesDone(DownloadId),
    /// The byte of a content from which on it should be fetched first.
    Aim(Root, u64),
}

/// All commands that run or wait, and the searches of downloads.
pub(super) struct Commands {
    connect_timeout: Duration,
    /// The timeout of a download whose command names no timeout.
    download_timeout: Duration,
    /// The number of hits with addresses where nothing can listen, and of hits with impossible
    /// sizes.
    undialable_hits: u64,
    impossible_hits: u64,
    tasks: BTreeMap<u64, Task>,
    /// The task of each unanswered request.
    requests: BTreeMap<Request, u64>,
    /// Tasks that wait for a session, or for the end of another request.
    line: VecDeque<u64>,
    /// Clients whose paths the disk describes.
    describing: BTreeSet<ClientId>,
    subscriptions: Subscriptions,
    next_task: u64,
    next_download: u64,
    download_inputs: VecDeque<DownloadInput>,
}

impl Commands {
    /// From now on new downloads have this timeout.
    pub(super) fn set_timeout(&mut self, timeout: Duration) {
        self.download_timeout = timeout;
    }

    pub(super) fn new(connect_timeout: Duration, download_timeout: Duration) -> Commands {
        Commands {
            connect_timeout,
            download_timeout,
            undialable_hits: 0,
            impossible_hits: 0,
            tasks: BTreeMap::new(),
            requests: BTreeMap::new(),
            line: VecDeque::new(),
            describing: BTreeSet::new(),
            subscriptions: Subscriptions::default(),
            next_task: 1,
            next_download: 1,
            download_inputs: VecDeque::new(),
        }
    }

    pub(super) fn poll_download_input(&mut self) -> Option<DownloadInput> {
        self.download_inputs.pop_front()
    }

    /// The counters of hits that were ignored.
    pub(super) fn ignored_hits(&self) -> [(&'static str, u64); 2] {
        [("hits_undialable", self.undialable_hits), ("hits_impossible_size", self.impossible_hits)]
    }

    // ---- asking ---------------------------------------------------------------------------------

    pub(super) fn on_command(&mut self, cx: &mut Context, sessions: &mut Sessions, client: ClientId, command: Command) {
        let only_uri = matches!(command, Command::Uri { .. });
        let job = match command {
            Command::Uri { path: Some(path), .. } => {
                self.describing.insert(client);
                return cx.disk(DiskWork::Describe { client, path });
            }
            Command::Uri { what, .. } if !can_name(&what) => {
                let failure = Failure::usage("a name has a character other than /");
                return cx.done(client, Outcome::failed(&failure));
            }
            Command::Uri { what, scope, .. } => Job::get(Get { scope, ..Get::of(what) }),
            Command::Query { search, scope } => Job::query(search, scope),
            Command::Subscribe { search, scope, existing } => {
                return match self.subscriptions.add(client, (search, scope), existing) {
                    Ok(()) => self.look(cx, sessions, client),
                    Err(failure) => cx.done(client, Outcome::failed(&failure)),
                };
            }
            Command::Get(get) | Command::Queue(get) | Command::Fetch(get) if !get.known.is_empty() => {
                let entries = get::known(&get, sessions);
                let many = get::many(get, (client, cx.now), entries, Vec::new(), self.download_timeout);
                return self.download_inputs.push_back(DownloadInput::Many(many));
            }
            Command::Get(get) | Command::Queue(get) | Command::Fetch(get) => Job::get(get),
            Command::Aim { root, offset } => {
                self.download_inputs.push_back(DownloadInput::Aim(root, offset));
                return cx.done(client, outcome::success());
            }
            Command::Downloads
            | Command::Clean
            | Command::Reload
            | Command::Cancel { .. }
            | Command::Pause { .. }
            | Command::Resume { .. } => {
                let failure = Failure::usage("only a running peer has a queue of downloads");
                return cx.done(client, Outcome::failed(&failure));
            }
            Command::Limit { upload, download } => return set_limits(cx, client, upload, download),
            Command::List { partial } => Job::List { files: 0, after: None, at: None, partial },
            Command::Network { scope } => Job::Network { walk: Box::new(Walk::new()), scope },
            Command::User(_) => {
                let failure = Failure::usage("only a super peer has accounts; use the control socket of one");
                return cx.done(client, Outcome::failed(&failure));
            }
            Command::Status if sessions.is_up() => Job::Status,
            Command::Status => {
                cx.report(client, outcome::status(None, None));
                return cx.done(client, outcome::success());
            }
        };
        if self.tasks.len() >= COMMANDS_MAX {
            let why = format!("{COMMANDS_MAX} commands are running or waiting; try again when some are over");
            return cx.done(client, Outcome::failed(&Failure::new(Exit::Internal, why)));
        }
        self.add(cx, sessions, Some(client), job, only_uri);
    }

    /// The disk has described a path, from which the URI is made.
    pub(super) fn on_described(
        &mut self,
        cx: &mut Context,
        sessions: &Sessions,
        client: ClientId,
        result: Result<Described, DiskFailure>,
    ) {
        if !self.describing.remove(&client) {
            return;
        }
        match result {
            Ok(described) => {
                let event = uri::event(sessions, cx, described);
                cx.report(client, event);
                cx.done(client, outcome::success());
            }
            Err(failure) => cx.done(client, Outcome::failed(&uri::failure(failure))),
        }
    }

    /// Searches the network for a client that subscribes.
    fn look(&mut self, cx: &mut Context, sessions: &mut Sessions, client: ClientId) {
        if let Some((search, scope)) = self.subscriptions.search_of(client) {
            self.add(cx, sessions, None, Job::Look { client, search, scope }, false);
        }
    }

    /// The search for a client that subscribes is due.
    pub(super) fn on_subscription_due(&mut self, cx: &mut Context, sessions: &mut Sessions, client: ClientId) {
        if self.subscriptions.on_due(cx, sessions, client) {
            self.look(cx, sessions, client);
        }
    }

    /// Searches for more sources of a content, for a download.
    pub(super) fn ask_sources(&mut self, cx: &mut Context, sessions: &mut Sessions, ask: Ask) {
        self.add(cx, sessions, None, Job::Sources { ask, scope: Scope::default() }, false);
    }

    fn add(&mut self, cx: &mut Context, sessions: &mut Sessions, client: Option<ClientId>, job: Job, only_uri: bool) {
        let id = self.next_task;
        self.next_task += 1;
        self.tasks.insert(id, Task { only_uri, ..Task::new(client, cx.now, job) });
        self.enqueue(cx, id);
        self.pump(cx, sessions);
    }

    /// Queues the task until it can send its requests, and forgets its earlier requests.
    fn enqueue(&mut self, cx: &mut Context, id: u64) {
        self.unlink(cx, id);
        self.line.push_back(id);
        cx.timers.set(Reason::Task(id), cx.now + self.connect_timeout);
    }

    /// Sends the requests of waiting tasks, up to the limit on open requests. If every super peer
    /// rejects the login, no session opens soon, and the waiting commands fail. If they rejected it
    /// some time ago, they are asked again first.
    fn pump(&mut self, cx: &mut Context, sessions: &mut Sessions) {
        let of_client = |id: &u64| self.tasks.get(id).is_some_and(|task| task.client.is_some());
        let is_rejected = sessions.rejected().is_some();
        let waiting: Vec<u64> = self.line.iter().copied().filter(|id| is_rejected && of_client(id)).collect();
        if !waiting.is_empty() {
            sessions.hurry(cx);
        }
        if let Some(Failure { exit, message }) = sessions.rejected() {
            waiting.into_iter().for_each(|id| self.fail(cx, id, *exit, message));
        }
        while sessions.is_up() && self.requests.len() < SESSION_QUERIES_MAX {
            let Some(id) = self.line.pop_front() else { return };
            self.send(cx, sessions, id);
        }
    }

    fn send(&mut self, cx: &mut Context, sessions: &mut Sessions, id: u64) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let first = sessions.up().next();
        let budget = task.job.budget();
        let targets: Vec<SessionId> = match &mut task.job {
            Job::List { at, .. } => {
                *at = at.or(first);
                Vec::from_iter(*at)
            }
            Job::Status => Vec::from_iter(first),
            Job::Query { .. } | Job::Get { .. } | Job::Network { .. } | Job::Sources { .. } | Job::Look { .. } => {
                sessions.up().collect()
            }
        };
        task.answered = false;
        task.answer = Answer::none_yet(u32::try_from(sessions.len() - targets.len()).unwrap_or(u32::MAX));
        for session in targets {
            if let Some(req) = sessions.at(session).request(cx, |req| task.job.message(req)) {
                task.requests.push((session, req));
                self.requests.insert((session, req), id);
            }
        }
        if task.requests.is_empty() {
            // Only a list can have lost its session while another session is up.
            return self.fail(cx, id, Exit::Unreachable, LIST_LOST);
        }
        let patience = if matches!(task.job, Job::Status) { STATUS_PATIENCE } else { ANSWER_DEADLINE };
        let deadline = budget.map_or(patience, |budget| budget + DONE_GRACE);
        cx.timers.set(Reason::Task(id), cx.now + deadline);
    }

    // ---- downloads ------------------------------------------------------------------------------

    /// A search of a `get` is over: begins the next one, starts its downloads, or fails.
    fn resolve(&mut self, cx: &mut Context, sessions: &Sessions, id: u64, verdict: Verdict) {
        let only_uri = self.tasks.get(&id).is_some_and(|task| task.only_uri);
        match verdict {
            Verdict::Again => self.enqueue(cx, id),
            Verdict::One(Content { root, name }) if only_uri => {
                if let Some(task @ Task { job: Job::Get { want, .. }, .. }) = self.tasks.get(&id) {
                    let note = uri::age(root, &name, &want.hits);
                    let event = uri::event(sessions, cx, uri::described(root, name, &want.hits));
                    note.into_iter().chain([event]).for_each(|event| task.report(cx, event));
                    self.end_timed(cx, id, outcome::success());
                }
            }
            Verdict::Many(..) if only_uri => {
                self.fail(cx, id, Exit::Usage, uri::SEVERAL);
            }
            Verdict::One(content) => {
                self.start(cx, id, sessions, content, false);
                self.forget(cx, id);
            }
            Verdict::Many(entries, failures) => {
                self.show(cx, id);
                self.start_many(cx, id, sessions, entries, failures);
            }
            Verdict::None(failure) => {
                self.show(cx, id);
                self.fail(cx, id, failure.exit, &failure.message);
            }
        }
    }

    /// Sends the client the contents among which it must choose.
    fn show(&mut self, cx: &mut Context, id: u64) {
        let Some(Task { job: Job::Get { want, .. }, client: Some(client), .. }) = self.tasks.get_mut(&id) else {
            return;
        };
        let mut known = Known::new();
        let shown = std::mem::take(&mut want.shown).into_iter();
        shown.filter(|record| known.insert(key(record))).for_each(|record| cx.report(*client, outcome::hit(record)));
    }

    fn start_many(
        &mut self,
        cx: &mut Context,
        id: u64,
        sessions: &Sessions,
        mut entries: Vec<Entry>,
        failures: Vec<Failure>,
    ) {
        if entries.len() > GET_FILES_MAX {
            let why = format!("{} files are more than one command gets; name fewer", entries.len());
            return self.fail(cx, id, Exit::Usage, &why);
        }
        for Entry { sources, .. } in &mut entries {
            if sources.iter().any(|(at, _)| !sessions.is_own(at)) {
                sources.retain(|(at, _)| !sessions.is_own(at));
            }
        }
        let timeout = self.download_timeout;
        if let Some(Task { job: Job::Get { get, .. }, client: Some(client), since, .. }) = self.forget(cx, id) {
            self.download_inputs.push_back(DownloadInput::Many(get::many(
                get,
                (client, since),
                entries,
                failures,
                timeout,
            )));
        }
    }

    /// Starts a `get` by root with the sources that are known. Its search continues for the
    /// download.
    fn start_early(&mut self, cx: &mut Context, id: u64, sessions: &Sessions, content: Content) {
        let Some(Task { job: Job::Get { get, .. }, .. }) = self.tasks.get(&id) else { return };
        let scope = get.scope;
        let root = content.root;
        let download = self.start(cx, id, sessions, content, true);
        if let (Some(download), Some(task)) = (download, self.tasks.get_mut(&id)) {
            let ask = Ask { download, root, partial: false };
            (task.job, task.client) = (Job::Sources { ask, scope }, None);
        }
    }

    fn start(
        &mut self,
        cx: &mut Context,
        id: u64,
        sessions: &Sessions,
        content: Content,
        searching: bool,
    ) -> Option<DownloadId> {
        let download = DownloadId(self.next_download);
        let named = (download, self.download_timeout);
        let order = get::order(cx, self.tasks.get(&id)?, named, sessions, content, searching)?;
        self.next_download += 1;
        self.download_inputs.push_back(DownloadInput::Start(order));
        Some(download)
    }

    // ---- losses and deadlines -------------------------------------------------------------------

    /// A session is lost: sends the requests that only this session had to another session.
    fn on_down(&mut self, cx: &mut Context, sessions: &mut Sessions, session: SessionId) {
        let lost = self.requests.range((session, 0)..=(session, u32::MAX));
        let lost: Vec<_> = lost.map(|(request, id)| (*request, *id)).collect();
        for (request, id) in lost {
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            if task.has_others() {
                self.on_answer(cx, sessions, request, Err(Cut { down: 1, ..Cut::NONE }));
                continue;
            }
            match &mut task.job {
                Job::Sources { .. } | Job::Look { .. } => self.end(cx, id, Outcome::default()),
                Job::Status if sessions.serves() => self.report_alone(cx, id),
                Job::List { files, .. } if *files > 0 => self.fail(cx, id, Exit::Unreachable, LIST_LOST),
                job @ (Job::Query { .. } | Job::Get { .. } | Job::List { .. } | Job::Network { .. } | Job::Status) => {
                    job.restart();
                    self.enqueue(cx, id);
                }
            }
        }
    }

    /// The super peer does not answer: a running peer at least reports its own state.
    fn report_alone(&mut self, cx: &mut Context, id: u64) {
        if let Some(task) = self.tasks.get(&id) {
            task.report(cx, outcome::status(None, None));
        }
        self.end(cx, id, outcome::success());
    }

    pub(super) fn on_timer(&mut self, cx: &mut Context, sessions: &mut Sessions, id: u64) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if matches!(task.job, Job::Status) && sessions.serves() {
            self.report_alone(cx, id);
        } else if std::mem::take(&mut task.rests) {
            self.enqueue(cx, id);
        } else if !task.requests.is_empty() {
            let answered = task.answered;
            task.answer.add(Answer::cut(Cut { budget: 1, ..Cut::NONE }));
            self.cancel(cx, sessions, id);
            if answered {
                self.finish(cx, sessions, id);
            } else {
                self.fail(cx, id, Exit::TimedOut, "the super peer did not answer in time");
            }
        } else if sessions.is_new() {
            cx.timers.set(Reason::Task(id), cx.now + self.connect_timeout);
        } else {
            let why = absence(self.connect_timeout, &sessions.status(cx.now));
            self.fail(cx, id, Exit::Unreachable, &why);
        }
        self.pump(cx, sessions);
    }

    /// Cancels the open requests of the task.
    fn cancel(&mut self, cx: &mut Context, sessions: &mut Sessions, id: u64) {
        for &(session, req) in self.tasks.get(&id).map_or(&[][..], |task| &task.requests) {
            sessions.at(session).notify(cx, Message::Cancel(Cancel { req }));
        }
        self.unlink(cx, id);
    }

    // ---- the end --------------------------------------------------------------------------------

    pub(super) fn on_client_gone(&mut self, cx: &mut Context, sessions: &mut Sessions, client: ClientId) {
        let of_client = |(_, task): &(&u64, &Task)| task.client == Some(client);
        self.describing.remove(&client);
        self.subscriptions.remove(cx, sessions, client);
        let ids: Vec<_> = self.tasks.iter().filter(of_client).map(|(id, _)| *id).collect();
        for id in ids {
            self.cancel(cx, sessions, id);
            self.forget(cx, id);
        }
        self.pump(cx, sessions);
    }

    pub(super) fn shut_down(&mut self, cx: &mut Context) {
        self.fail_all(cx, Exit::Internal, "the peer ends");
        for client in std::mem::take(&mut self.describing).into_iter().chain(self.subscriptions.clients()) {
            cx.done(client, Outcome::failed(&Failure::new(Exit::Internal, "the peer ends")));
        }
    }

    fn fail_all(&mut self, cx: &mut Context, exit: Exit, why: &str) {
        let ids: Vec<_> = self.tasks.keys().copied().collect();
        ids.into_iter().for_each(|id| self.fail(cx, id, exit, why));
    }

    fn fail(&mut self, cx: &mut Context, id: u64, exit: Exit, why: &str) {
        if let Some(task) = self.tasks.get(&id) {
            let outcome = outcome::failure(task, &Failure::new(exit, why));
            self.end_timed(cx, id, outcome);
        }
    }

    fn end_timed(&mut self, cx: &mut Context, id: u64, outcome: Outcome) {
        if let Some(task) = self.tasks.get(&id) {
            let outcome = outcome::timed(outcome, task.since, cx.now);
            self.end(cx, id, outcome);
        }
    }

    fn end(&mut self, cx: &mut Context, id: u64, outcome: Outcome) {
        match self.forget(cx, id) {
            Some(Task { job: Job::Sources { ask, .. }, .. }) => {
                self.download_inputs.push_back(DownloadInput::SourcesDone(ask.download));
            }
            Some(Task { job: Job::Look { client, .. }, .. }) => self.subscriptions.on_looked(cx, client),
            Some(Task { client: Some(client), .. }) => cx.done(client, outcome),
            Some(Task { client: None, .. }) | None => {}
        }
    }

    /// Forgets the requests of the task. The task itself continues.
    fn unlink(&mut self, cx: &mut Context, id: u64) {
        if let Some(task) = self.tasks.get_mut(&id) {
            for request in std::mem::take(&mut task.requests) {
                self.requests.remove(&request);
            }
        }
        cx.timers.stop(Reason::Task(id));
    }

    fn forget(&mut self, cx: &mut Context, id: u64) -> Option<Task> {
        self.unlink(cx, id);
        self.line.retain(|waiting| *waiting != id);
        self.tasks.remove(&id)
    }
}

/// Why no super peer is connected, and what helps.
fn absence(waited: Duration, supers: &[SuperStatus]) -> String {
    let one = |SuperStatus { addr, why, .. }: &SuperStatus| match why {
        Some(why) => format!("{addr}: {why}"),
        None => format!("{addr} does not answer"),
    };
    let tried: Vec<_> = supers.iter().filter(|each| each.state != SuperState::Spare).map(one).collect();
    let tried = if tried.is_empty() { String::new() } else { format!(" ({})", tried.join("; ")) };
    let remedy = "the peer tries it again; its status shows when, and --super of the peer names another one";
    format!("no super peer was connected within {} s{tried}; {remedy}", waited.as_secs())
}

/// The command `limit`.
fn set_limits(cx: &mut Context, client: ClientId, upload: Option<u64>, download: Option<u64>) {
    let RateLimits { upload: up, download: down } = cx.limits;
    let limits = RateLimits { upload: upload.unwrap_or(up), download: download.unwrap_or(down) };
    if [limits.upload, limits.download].iter().any(|limit| (1..RATE_LIMIT_MIN).contains(limit)) {
        let why = format!("a limit is at least {RATE_LIMIT_MIN} bytes per second, or 0 for none");
        return cx.done(client, Outcome::failed(&Failure::usage(why)));
    }
    cx.set_limits(limits);
    cx.report(client, ClientEvent::Limits(limits));
    cx.done(client, outcome::success());
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
