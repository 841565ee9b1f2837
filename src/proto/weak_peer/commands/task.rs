//! One command of a client, or the search of a download for more sources: what it requests, and
//! what it has got so far. It sends nothing, and knows only the sessions of its requests.

use std::time::Duration;

use super::answer::Answer;
use super::hits::Known;
use super::walk::Walk;
use super::want::Want;
use crate::config::{QUERY_BUDGET, QUERY_HITS_MAX};
use crate::proto::weak_peer::context::{Context, SessionId};
use crate::proto::weak_peer::download::Ask;
use crate::proto::{ClientEvent, ClientId, Scope, command};
use crate::time::Time;
use crate::wire::message::{List, Query, Status};
use crate::wire::{Message, QueryKind, Search};

/// One request: its session, and its number in this session.
pub(super) type Request = (SessionId, u32);

/// What a task requests.
#[derive(Debug)]
pub(super) enum Job {
    Query {
        search: Search,
        scope: Scope,
        known: Known,
    },
    Get {
        get: command::Get,
        want: Box<Want>,
    },
    /// The list of one super peer, page by page.
    List {
        /// Files that were listed so far.
        files: u64,
        /// Where the next page begins.
        after: Option<u64>,
        /// The session with this super peer, once the first page was requested.
        at: Option<SessionId>,
        /// Whether peers with a part of a content are counted too.
        partial: bool,
    },
    /// The list of the network, page by page.
    Network {
        walk: Box<Walk>,
        scope: Scope,
    },
    Status,
    /// A search of the network for a client that subscribes.
    Look {
        client: ClientId,
        search: Search,
        scope: Scope,
    },
    /// A search for more sources of a content, for a running download.
    Sources {
        ask: Ask,
        scope: Scope,
    },
}

impl Job {
    pub(super) fn query(search: Search, scope: Scope) -> Job {
        Job::Query { search, scope, known: Known::new() }
    }

    pub(super) fn get(get: command::Get) -> Job {
        let want = Box::new(Want::new(&get));
        Job::Get { get, want }
    }

    /// The scope of the search; none if the job is no search.
    pub(super) fn scope(&self) -> Option<Scope> {
        match self {
            Job::Query { scope, .. }
            | Job::Network { scope, .. }
            | Job::Sources { scope, .. }
            | Job::Look { scope, .. } => Some(*scope),
            Job::Get { get, .. } => Some(get.scope),
            Job::List { .. } | Job::Status => None,
        }
    }

    /// How long the super peers may search; none if the job is no search.
    pub(super) fn budget(&self) -> Option<Duration> {
        let asked = self.scope()?.budget;
        Some(asked.map_or(QUERY_BUDGET, |ms| Duration::from_millis(u64::from(ms))))
    }

    /// The message that requests this job, with this number.
    pub(super) fn message(&self, req: u32) -> Message {
        let find = match self {
            Job::Query { search, .. } | Job::Look { search, .. } => search.clone(),
            Job::Get { want, .. } => want.search(),
            Job::Sources { ask: Ask { root, partial, .. }, .. } => {
                Search { partial: *partial, ..Search::new(root.to_string(), QueryKind::Root) }
            }
            Job::Network { walk, .. } => walk.search(),
            Job::List { after, partial, .. } => {
                return Message::List(List { req, after: *after, partial: *partial });
            }
            Job::Status => return Message::Status(Status { req }),
        };
        let Scope { ttl, budget, policy } = self.scope().unwrap_or_default();
        Message::Query(Query { req, find, ttl, budget, policy })
    }

    /// How many hits the job accepts at most.
    pub(super) fn hits_max(&self) -> usize {
        match self {
            Job::Query { search, .. } => {
                search.limit.map_or(QUERY_HITS_MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
            }
            Job::Get { .. }
            | Job::List { .. }
            | Job::Network { .. }
            | Job::Status
            | Job::Sources { .. }
            | Job::Look { .. } => QUERY_HITS_MAX,
        }
    }

    /// Whether the job has all the hits that it accepts.
    pub(super) fn has_enough(&self) -> bool {
        match self {
            Job::Query { known, .. } => known.len() >= self.hits_max(),
            Job::Get { want, .. } => want.has_enough(),
            Job::List { .. } | Job::Network { .. } | Job::Status | Job::Sources { .. } | Job::Look { .. } => false,
        }
    }

    /// Forgets the answer of a super peer that was lost, before another request is sent.
    pub(super) fn restart(&mut self) {
        match self {
            Job::Get { want, .. } => want.restart(),
            Job::Network { walk, .. } => walk.on_lost(),
            Job::List { at, .. } => *at = None,
            // These jobs keep their hits: a hit that was reported stays reported.
            Job::Query { .. } | Job::Status | Job::Sources { .. } | Job::Look { .. } => {}
        }
    }
}

/// A job that runs.
#[derive(Debug)]
pub(super) struct Task {
    /// The client that gets the events; none for the search of a download.
    pub(super) client: Option<ClientId>,
    pub(super) since: Time,
    pub(super) job: Job,
    /// Its unanswered requests; none while it waits for a session.
    pub(super) requests: Vec<Request>,
    /// The sum of the answers of the super peers.
    pub(super) answer: Answer,
    /// Whether any super peer has answered.
    pub(super) answered: bool,
    /// How often a super peer has refused it because it had no room.
    pub(super) refusals: u32,
    /// Whether it waits after such a refusal.
    pub(super) rests: bool,
    /// For a `get`: whether only the URI of the content is requested.
    pub(super) only_uri: bool,
}

impl Task {
    pub(super) fn new(client: Option<ClientId>, since: Time, job: Job) -> Task {
        let answer = Answer::none_yet(0);
        Task {
            client,
            since,
            job,
            requests: Vec::new(),
            answer,
            answered: false,
            refusals: 0,
            rests: false,
            only_uri: false,
        }
    }

    /// Sends an event to its client.
    pub(super) fn report(&self, cx: &mut Context, event: ClientEvent) {
        if let Some(client) = self.client {
            cx.report(client, event);
        }
    }

    /// Whether the task can continue after it has lost one of its requests: another request was
    /// answered, or may still be answered.
    pub(super) fn has_others(&self) -> bool {
        self.answered || self.requests.len() > 1
    }
}
