//! The subscriptions at a super peer: which sessions get hits for files that are registered from
//! now on (PROTOCOL.md 4.14).
//!
//! It owns the SUBSCRIBEs in force. It looks at each file once, after the file came into the index,
//! and never searches the index. A file that it has no time to look at is not reported; the peer
//! that subscribes also searches the network each minute.

use std::collections::BTreeMap;

use super::context::Context;
use super::counters::Count;
use super::search::Standing;
use super::session::Sessions;
use super::work::OUTPUT_WORK;
use crate::config::{
    SESSION_SUBSCRIPTIONS_MAX, STANDING_SEARCHES_MAX, SUBSCRIPTION_HITS_PER_SECOND, SUBSCRIPTIONS_MAX,
};
use crate::proto::ConnId;
use crate::time::Time;
use crate::wire::Message;
use crate::wire::message::{ErrorCode, Hit, Subscribe};

/// One search, and the subscribers that get its hits.
#[derive(Debug)]
struct Search {
    standing: Standing,
    subscribers: Vec<Subscriber>,
}

#[derive(Debug)]
struct Subscriber {
    conn: ConnId,
    req: u32,
    /// The second in which it got the last hits, and how many.
    second: u64,
    sent: u32,
}

/// The searches of all subscriptions.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    searches: Vec<Option<Search>>,
    /// The place of the search of each SUBSCRIBE.
    places: BTreeMap<(ConnId, u32), usize>,
}

/// - getters: `len`, `bytes`;
/// - `handle_*`: `on_subscribe`, `on_cancel`, `on_session_closed`;
/// - `poll_*`: `has_work`, `run`.
impl Subscriptions {
    /// SUBSCRIBEs in force.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let subscribers = self.places.len() * (size_of::<Subscriber>() + size_of::<(ConnId, u32, usize)>());
        let searches = self.searches.iter().flatten().map(|search| search.standing.bytes()).sum::<usize>();
        subscribers + searches + self.searches.capacity() * size_of::<Option<Search>>()
    }

    /// A session asks for files that will be registered.
    pub(super) fn on_subscribe(&mut self, conn: ConnId, subscribe: Subscribe, cx: &mut Context) {
        let Subscribe { req, find } = subscribe;
        cx.count(Count::Subscribes);
        let of_session = self.places.range((conn, 0)..=(conn, u32::MAX)).count();
        let full = "this super peer has no room for another search that stands";
        let refused = if self.places.contains_key(&(conn, req)) {
            Some((ErrorCode::BAD_REQUEST, "a SUBSCRIBE of this number is in force".to_owned()))
        } else if of_session >= SESSION_SUBSCRIPTIONS_MAX {
            Some((ErrorCode::LIMIT, format!("{of_session} searches of this session stand; cancel one")))
        } else if cx.memory_short || self.places.len() >= SUBSCRIPTIONS_MAX {
            Some((ErrorCode::LIMIT, full.to_owned()))
        } else if let Err(why) = cx.logins.take_query(conn, cx.now) {
            Some((ErrorCode::LIMIT, why))
        } else {
            let same = |search: &Option<Search>| search.as_ref().is_some_and(|search| *search.standing.find() == find);
            let place = match self.searches.iter().position(same) {
                Some(place) => Ok(place),
                None => self.add(find),
            };
            match place {
                Ok(place) => {
                    let search = self.searches[place].as_mut().expect("it was just found or made");
                    search.subscribers.push(Subscriber { conn, req, second: 0, sent: 0 });
                    self.places.insert((conn, req), place);
                    cx.index.note_arrivals(true);
                    None
                }
                Err(None) => Some((ErrorCode::LIMIT, full.to_owned())),
                Err(Some(why)) => Some((ErrorCode::BAD_REQUEST, why)),
            }
        };
        if let Some((code, why)) = refused {
            cx.count(Count::SubscribesRefused);
            cx.refuse(conn, code, why, Some(req));
        }
    }

    /// Adds a search and returns its place. The error is the reason why the search is not valid, or
    /// none if there is no room.
    fn add(&mut self, find: crate::wire::Search) -> Result<usize, Option<String>> {
        let free = self.searches.iter().position(Option::is_none);
        if free.is_none() && self.searches.len() >= STANDING_SEARCHES_MAX {
            return Err(None);
        }
        let standing = Standing::new(find).map_err(|why| Some(why.to_string()))?;
        let search = Some(Search { standing, subscribers: Vec::new() });
        match free {
            Some(place) => {
                self.searches[place] = search;
                Ok(place)
            }
            None => {
                self.searches.push(search);
                Ok(self.searches.len() - 1)
            }
        }
    }

    /// A session ends a subscription. Nothing happens if none of this number is in force.
    pub(super) fn on_cancel(&mut self, conn: ConnId, req: u32, cx: &mut Context) {
        let Some(place) = self.places.remove(&(conn, req)) else { return };
        let search = self.searches[place].as_mut().expect("a place is of a search");
        search.subscribers.retain(|one| (one.conn, one.req) != (conn, req));
        if search.subscribers.is_empty() {
            self.searches[place] = None;
        }
        if self.places.is_empty() {
            self.searches = Vec::new();
            cx.index.note_arrivals(false);
        }
    }

    /// A session has ended, and its subscriptions with it.
    pub(super) fn on_session_closed(&mut self, conn: ConnId, cx: &mut Context) {
        while let Some((&(_, req), _)) = self.places.range((conn, 0)..=(conn, u32::MAX)).next() {
            self.on_cancel(conn, req, cx);
        }
    }

    /// Looks at new files, as many as fit in this turn.
    pub(super) fn run(&mut self, sessions: &Sessions, cx: &mut Context) {
        let missed = cx.index.take_arrivals_missed();
        cx.counters.add_many(Count::SubscribedFilesMissed, missed);
        while !cx.work.is_spent()
            && let Some((id, holder)) = cx.index.take_arrival()
        {
            for Search { standing, subscribers } in self.searches.iter_mut().flatten() {
                let fits = standing.fits(&cx.index, id, holder);
                cx.work.add(standing.take_spent());
                if fits {
                    for subscriber in subscribers {
                        subscriber.report(standing, (id, holder), sessions, cx);
                    }
                }
            }
        }
    }

    /// What must hold between any two inputs.
    pub(super) fn check_invariants(&self) {
        assert!(self.places.len() <= SUBSCRIPTIONS_MAX && self.searches.len() <= STANDING_SEARCHES_MAX);
        let subscribers = self.searches.iter().flatten().map(|search| search.subscribers.len());
        assert!(subscribers.clone().all(|count| count > 0));
        assert_eq!(subscribers.sum::<usize>(), self.places.len());
    }
}

impl Subscriber {
    fn report(&mut self, standing: &Standing, arrival: (u32, u32), sessions: &Sessions, cx: &mut Context) {
        let Subscriber { conn, req, .. } = *self;
        if !sessions.is_open(conn) {
            return;
        }
        let second = cx.now.since(Time::ZERO).as_secs();
        if second != self.second {
            (self.second, self.sent) = (second, 0);
        }
        if self.sent >= SUBSCRIPTION_HITS_PER_SECOND {
            return cx.count(Count::SubscribedHitsDropped);
        }
        let Some(hit) = standing.hit(&cx.index, arrival, sessions.reached_at(conn)) else { return };
        self.sent += 1;
        cx.count(Count::SubscribedHits);
        cx.work.add(OUTPUT_WORK);
        cx.send(conn, Message::Hit(Hit { req, hits: vec![hit] }));
    }
}

#[cfg(test)]
mod tests;
