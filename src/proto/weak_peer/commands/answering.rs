//! What the sessions answer: the hits of searches, their ends, refusals, pages of lists. Each
//! answer goes to the task that sent the request. The last answer of a search ends the search, or
//! begins its next page.

use std::net::IpAddr;

use super::answer::Answer;
use super::hits::key;
use super::task::{Job, Request, Task};
use super::{Commands, DownloadInput, exit_of, outcome};
use crate::config::{REFUSALS_MAX, REFUSED_WAIT_FIRST};
use crate::error::{Exit, Failure};
use crate::proto::event::Outcome;
use crate::proto::weak_peer::contact::{Contact, claim_of, may_dial};
use crate::proto::weak_peer::context::{Context, Reason, SessionId};
use crate::proto::weak_peer::download::{Ask, is_possible};
use crate::proto::weak_peer::session::SessionEvent;
use crate::proto::weak_peer::sessions::Sessions;
use crate::proto::{ClientId, Event};
use crate::wire::message::{ErrorCode, Files, Hit, Info, SourceRecord};
use crate::wire::{Cut, HostPort};

impl Commands {
    pub(in crate::proto::weak_peer) fn on_session_event(
        &mut self,
        cx: &mut Context,
        sessions: &mut Sessions,
        (session, event): (SessionId, SessionEvent),
    ) {
        match event {
            // The swarms handle the members that it names.
            SessionEvent::Peers(_) | SessionEvent::Rejected => {}
            SessionEvent::Up => self.subscriptions.on_up(cx, sessions, session),
            SessionEvent::Down => {
                self.subscriptions.on_down(session);
                self.on_down(cx, sessions, session);
            }
            SessionEvent::Never(failure) => {
                self.fail_all(cx, failure.exit, &failure.message);
                cx.event(Event::Fatal(failure));
            }
            SessionEvent::Hit(hit) => self.on_hit(cx, sessions, session, hit),
            SessionEvent::Done(done) => self.on_answer(cx, sessions, (session, done.req), Ok((&done).into())),
            SessionEvent::Files(files) => self.on_files(cx, session, files),
            SessionEvent::Info(info) => self.on_info(cx, sessions, session, info),
            SessionEvent::Error(req, code, why) => self.on_error(cx, sessions, (session, req), code, &why),
        }
        self.pump(cx, sessions);
    }

    /// The task of a request, if the task still runs.
    fn task_of(&mut self, request: Request) -> Option<(u64, &mut Task)> {
        let id = *self.requests.get(&request)?;
        Some((id, self.tasks.get_mut(&id)?))
    }

    fn on_hit(&mut self, cx: &mut Context, sessions: &Sessions, session: SessionId, mut hit: Hit) {
        let request = (session, hit.req);
        if let Some(client) = self.subscriptions.client_of(request) {
            return self.on_subscribed_hits(cx, sessions, (session, client), hit.hits);
        }
        let Some((id, task)) = self.task_of(request) else { return };
        if let Job::Look { client, .. } = task.job {
            return self.on_subscribed_hits(cx, sessions, (session, client), hit.hits);
        }
        if !matches!(task.job, Job::Network { .. }) {
            self.clean(&mut hit.hits, sessions.here(session));
        }
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let most = task.job.hits_max();
        let client = task.client;
        match &mut task.job {
            Job::Query { known, .. } => {
                for record in hit.hits {
                    if let Some(client) = client
                        && known.len() < most
                        && known.insert(key(&record))
                    {
                        cx.report(client, outcome::hit(record));
                    }
                }
            }
            Job::Get { want, .. } => {
                want.on_hits(hit.hits);
                // A root names one content, so there is no choice: the download starts, and more
                // sources may follow.
                if !task.only_uri
                    && let Some(content) = want.named_by_root(|record| !sessions.is_own_hit(record))
                {
                    self.start_early(cx, id, sessions, content);
                }
            }
            Job::Network { walk, .. } => walk.on_hits(hit.hits),
            Job::Sources { ask, .. } => {
                let Ask { download, root, .. } = *ask;
                let fits = |record: &SourceRecord| record.root == root && !sessions.is_own_hit(record);
                let found = hit.hits.into_iter().filter(fits);
                let found: Vec<_> = found.map(|record| (Contact::from(&record), claim_of(&record))).collect();
                if !found.is_empty() {
                    self.download_inputs.push_back(DownloadInput::Sources(download, found));
                }
            }
            Job::List { .. } | Job::Status | Job::Look { .. } => {}
        }
    }

    fn on_subscribed_hits(
        &mut self,
        cx: &mut Context,
        sessions: &Sessions,
        (session, client): (SessionId, ClientId),
        mut hits: Vec<SourceRecord>,
    ) {
        self.clean(&mut hits, sessions.here(session));
        hits.retain(|record| !sessions.is_own_hit(record));
        self.subscriptions.on_hits(cx, client, hits);
    }

    /// Writes each address in its canonical form, and removes hits that no source can serve.
    /// `here`: our address on the session that brought them.
    fn clean(&mut self, hits: &mut Vec<SourceRecord>, here: Option<IpAddr>) {
        let may_dial = |addr: &HostPort| may_dial(addr, here);
        hits.retain_mut(|record| {
            record.addr = record.addr.canonical();
            let other = record.other.take().map(|other| other.canonical());
            record.other = other.filter(|other| may_dial(other) && *other != record.addr);
            if !may_dial(&record.addr)
                && let Some(other) = record.other.take()
            {
                record.addr = other;
            }
            // The first member of a swarm may not have known the size.
            let unsized_member = record.member.is_some() && record.size == 0;
            let possible = unsized_member || is_possible(record.root, record.size);
            let dialable = may_dial(&record.addr);
            self.undialable_hits += u64::from(!dialable);
            self.impossible_hits += u64::from(dialable && !possible);
            dialable && possible
        });
    }

    /// A request of a search is over, with an answer or with a cut in its place. The search ends
    /// when all of its requests are over, or when it takes no more hits.
    pub(super) fn on_answer(
        &mut self,
        cx: &mut Context,
        sessions: &mut Sessions,
        request: Request,
        answer: Result<Answer, Cut>,
    ) {
        let Some(id) = self.requests.remove(&request) else { return };
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.requests.retain(|other| *other != request);
        task.answered |= answer.is_ok();
        task.answer.add(answer.unwrap_or_else(Answer::cut));
        if !task.requests.is_empty() && task.job.has_enough() {
            task.answer.add(Answer::cut(Cut { cap: 1, ..Cut::NONE }));
            self.cancel(cx, sessions, id);
        }
        if self.tasks.get(&id).is_some_and(|task| task.requests.is_empty()) {
            self.finish(cx, sessions, id);
        }
    }

    /// Every request of the search is over.
    pub(super) fn finish(&mut self, cx: &mut Context, sessions: &Sessions, id: u64) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let answer = task.answer;
        match &mut task.job {
            Job::Query { search, known, .. } => {
                let outcome = outcome::query(search, known.len(), answer);
                self.end_timed(cx, id, outcome);
            }
            Job::Get { want, .. } => {
                let verdict = want.on_done(answer);
                self.resolve(cx, sessions, id, verdict);
            }
            Job::Network { walk, .. } => {
                let (contents, over) = walk.on_done(answer);
                let outcome = outcome::network(walk);
                contents.into_iter().for_each(|event| task.report(cx, event));
                if over {
                    self.end_timed(cx, id, outcome);
                } else {
                    self.enqueue(cx, id);
                }
            }
            Job::Sources { .. } | Job::Look { .. } => self.end(cx, id, Outcome::default()),
            Job::List { .. } | Job::Status => {}
        }
    }

    fn on_error(&mut self, cx: &mut Context, sessions: &mut Sessions, request: Request, code: ErrorCode, why: &str) {
        if let Some(client) = self.subscriptions.client_of(request) {
            if let Some(outcome) = self.subscriptions.on_refused(client, request, code, why) {
                self.subscriptions.remove(cx, sessions, client);
                cx.done(client, outcome);
            }
            return;
        }
        let Some((_, task)) = self.task_of(request) else { return };
        if let (Job::Look { client, .. }, ErrorCode::BAD_REQUEST) = (&task.job, code) {
            let client = *client;
            self.subscriptions.remove(cx, sessions, client);
            cx.done(client, Outcome::failed(&Failure::new(Exit::Usage, format!("the super peer refuses: {why}"))));
        }
        let Some((id, task)) = self.task_of(request) else { return };
        if task.has_others() {
            return self.on_answer(cx, sessions, request, Err(Cut { shed: 1, ..Cut::NONE }));
        }
        if code == ErrorCode::LIMIT && task.refusals < REFUSALS_MAX {
            return self.rest(cx, id, why);
        }
        if let (Job::Get { want, .. }, ErrorCode::BAD_REQUEST) = (&mut task.job, code) {
            let failure = Failure::new(exit_of(code), format!("the super peer refuses: {why}"));
            let verdict = want.on_refused(failure);
            return self.resolve(cx, sessions, id, verdict);
        }
        self.fail(cx, id, exit_of(code), &format!("the super peer refuses: {why}"));
    }

    /// The super peer has no room for a request now. The request is repeated after a wait that
    /// doubles each time.
    fn rest(&mut self, cx: &mut Context, id: u64, why: &str) {
        self.unlink(cx, id);
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let longest = REFUSED_WAIT_FIRST * (1 << task.refusals);
        if task.refusals == 0 {
            cx.warn(format!("the super peer refuses at present, and is asked again: {why}"));
        }
        task.refusals += 1;
        task.rests = true;
        task.job.restart();
        let wait = longest / 2 + cx.jitter(longest / 2);
        cx.timers.set(Reason::Task(id), cx.now + wait);
    }

    fn on_files(&mut self, cx: &mut Context, session: SessionId, page: Files) {
        let Some((id, task)) = self.task_of((session, page.req)) else { return };
        let Job::List { files, after, .. } = &mut task.job else { return };
        *files += page.files.len() as u64;
        let listed = *files;
        let more = page.next.is_some() && page.next > *after;
        *after = page.next;
        page.files.into_iter().for_each(|listed| task.report(cx, outcome::file(listed)));
        if more {
            self.enqueue(cx, id);
        } else {
            self.end_timed(cx, id, Outcome { files: Some(listed), ..outcome::success() });
        }
    }

    fn on_info(&mut self, cx: &mut Context, sessions: &Sessions, session: SessionId, info: Info) {
        let Some((id, task)) = self.task_of((session, info.req)) else { return };
        let super_peer = sessions.super_peer(session).cloned();
        task.report(cx, outcome::status(super_peer, Some(info)));
        self.end(cx, id, outcome::success());
    }
}
