//! The standing searches of clients. Each begins with a search of the network. Then the super peers
//! report new files that are registered at them, and the network is searched again each minute.
//!
//! It owns what was reported to each client. It sends SUBSCRIBE and CANCEL; the searches are tasks.

use std::collections::{BTreeMap, BTreeSet};

use super::outcome;
use super::task::Request;
use crate::config::{SESSION_SUBSCRIPTIONS_MAX, SUBSCRIBER_SEARCH_EVERY, SUBSCRIPTION_ROOTS_KEPT};
use crate::error::{Exit, Failure};
use crate::proto::event::Outcome;
use crate::proto::weak_peer::context::{Context, Reason, SessionId};
use crate::proto::weak_peer::sessions::Sessions;
use crate::proto::{ClientEvent, ClientId, Scope};
use crate::wire::message::{Cancel, ErrorCode, SourceRecord, Subscribe};
use crate::wire::{Message, Root, Search};

/// A super peer that came back gets the request within this time.
const SOON: std::time::Duration = std::time::Duration::from_secs(1);

/// The phase of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The first search runs. The files that it finds were there before.
    First,
    /// The first search is over.
    Looked,
    /// The super peers have the SUBSCRIBE.
    Stands,
}

#[derive(Debug)]
struct Subscription {
    search: Search,
    scope: Scope,
    /// Whether files that match already are reported too.
    existing: bool,
    phase: Phase,
    seen: Seen,
    /// How many contents the first search found.
    before: u64,
    /// The SUBSCRIBEs in force.
    standing: Vec<Request>,
}

/// All subscriptions of this peer.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    all: BTreeMap<ClientId, Subscription>,
}

impl Subscriptions {
    /// A client subscribes. Its first search must begin.
    pub(super) fn add(
        &mut self,
        client: ClientId,
        (search, scope): (Search, Scope),
        existing: bool,
    ) -> Result<(), Failure> {
        if self.all.len() >= SESSION_SUBSCRIPTIONS_MAX {
            let why = format!("{SESSION_SUBSCRIPTIONS_MAX} searches stand already; end one");
            return Err(Failure::new(Exit::Unreachable, why));
        }
        let (phase, seen, standing) = (Phase::First, Seen::default(), Vec::new());
        self.all.insert(client, Subscription { search, scope, existing, phase, seen, before: 0, standing });
        Ok(())
    }

    /// The search of a client, and its scope.
    pub(super) fn search_of(&self, client: ClientId) -> Option<(Search, Scope)> {
        self.all.get(&client).map(|one| (one.search.clone(), one.scope))
    }

    /// The client that this SUBSCRIBE was sent for.
    pub(super) fn client_of(&self, request: Request) -> Option<ClientId> {
        self.all.iter().find(|(_, one)| one.standing.contains(&request)).map(|(client, _)| *client)
    }

    /// Hits came that peers other than this one serve.
    pub(super) fn on_hits(&mut self, cx: &mut Context, client: ClientId, hits: Vec<SourceRecord>) {
        let Some(one) = self.all.get_mut(&client) else { return };
        for record in hits {
            if !one.seen.insert(record.root) {
                continue;
            }
            if one.phase == Phase::First {
                one.before += 1;
                if !one.existing {
                    continue;
                }
            }
            cx.report(client, outcome::hit(record));
        }
    }

    /// A search of the network is over, with or without an answer.
    pub(super) fn on_looked(&mut self, cx: &mut Context, client: ClientId) {
        let Some(one) = self.all.get_mut(&client) else { return };
        if one.phase == Phase::First {
            one.phase = Phase::Looked;
            return cx.timers.set(Reason::Subscription(client), cx.now);
        }
        let every = SUBSCRIBER_SEARCH_EVERY;
        // The wait is random, so that subscribers with the same pattern do not search at the same
        // time forever.
        let wait = every - every / 10 + cx.jitter(every / 5);
        cx.timers.set(Reason::Subscription(client), cx.now + wait);
    }

    /// The first search is over, or the next one is due. Returns whether to search.
    pub(super) fn on_due(&mut self, cx: &mut Context, sessions: &mut Sessions, client: ClientId) -> bool {
        let Some(one) = self.all.get_mut(&client) else { return false };
        if one.phase != Phase::Looked {
            return true;
        }
        one.phase = Phase::Stands;
        let message = format!("the search stands; {} contents match already", one.before);
        let up: Vec<SessionId> = sessions.up().collect();
        up.into_iter().for_each(|session| one.subscribe(cx, sessions, session));
        cx.report(client, ClientEvent::Note { message });
        self.on_looked(cx, client);
        false
    }

    /// A session is up.
    pub(super) fn on_up(&mut self, cx: &mut Context, sessions: &mut Sessions, session: SessionId) {
        for (client, one) in &mut self.all {
            if one.phase == Phase::Stands {
                one.subscribe(cx, sessions, session);
                // This search finds files that came while no session was up.
                let soon = cx.now + cx.jitter(SOON);
                cx.timers.set_earlier(Reason::Subscription(*client), soon);
            }
        }
    }

    /// A session is lost.
    pub(super) fn on_down(&mut self, session: SessionId) {
        self.all.values_mut().for_each(|one| one.standing.retain(|(of, _)| *of != session));
    }

    /// A super peer refuses a SUBSCRIBE. Returns the outcome of the command if it cannot continue.
    pub(super) fn on_refused(
        &mut self,
        client: ClientId,
        request: Request,
        code: ErrorCode,
        why: &str,
    ) -> Option<Outcome> {
        self.all.get_mut(&client)?.standing.retain(|other| *other != request);
        // If the super peer has no room, the search of each minute remains.
        (code == ErrorCode::BAD_REQUEST)
            .then(|| Outcome::failed(&Failure::new(Exit::Usage, format!("the super peer refuses: {why}"))))
    }

    /// The client does not need its subscription any more.
    pub(super) fn remove(&mut self, cx: &mut Context, sessions: &mut Sessions, client: ClientId) {
        let Some(one) = self.all.remove(&client) else { return };
        cx.timers.stop(Reason::Subscription(client));
        for (session, req) in one.standing {
            sessions.at(session).notify(cx, Message::Cancel(Cancel { req }));
        }
    }

    pub(super) fn clients(&self) -> Vec<ClientId> {
        self.all.keys().copied().collect()
    }
}

impl Subscription {
    fn subscribe(&mut self, cx: &mut Context, sessions: &mut Sessions, session: SessionId) {
        let find = self.search.clone();
        let req = sessions.at(session).request(cx, |req| Message::Subscribe(Subscribe { req, find }));
        self.standing.extend(req.map(|req| (session, req)));
    }
}

/// Contents that were reported. Two generations are kept.
#[derive(Debug, Default)]
struct Seen {
    new: BTreeSet<Root>,
    old: BTreeSet<Root>,
}

impl Seen {
    /// Adds a root. Returns whether it is new.
    fn insert(&mut self, root: Root) -> bool {
        let known = self.new.contains(&root) || self.old.remove(&root);
        if self.new.len() >= SUBSCRIPTION_ROOTS_KEPT {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(root);
        !known
    }
}
