//! The subscriptions at a super peer: which sessions get hits for files that are registered from
//! now on (PROTOCOL.md 4.14).
//!
//! It owns the SUBSCRIBEs in force. It looks at each file once, after the file came into the index,
//! and never searches the index. One file may fit all searches and have thousands of subscribers.
//! So a turn may end between any two comparisons or reports, and the next turn continues there. If
//! there is no time to look at a file, the file is not reported; the peer that subscribes also
//! searches the network each minute.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;

use super::context::Context;
use super::counters::Count;
use super::search::StandingSearch;
use super::session::Sessions;
use super::work::OUTPUT_WORK;
use crate::config::{
    SESSION_SUBSCRIPTIONS_MAX, STANDING_SEARCHES_MAX, SUBSCRIPTION_HITS_PER_SECOND, SUBSCRIPTIONS_MAX,
};
use crate::proto::ConnId;
use crate::proto::crowd::Host;
use crate::time::Time;
use crate::wire::Message;
use crate::wire::message::{ErrorCode, Hit, Subscribe};

/// What a report to a subscriber costs in addition to its output, in the unit of [`super::work`]:
/// as much as a hit of a search.
const REPORT_WORK: usize = 16;

/// A SUBSCRIBE: its session and its number.
type Key = (ConnId, u32);

/// One search, and the subscribers that get its hits.
#[derive(Debug)]
struct Search {
    standing: StandingSearch,
    subscribers: BTreeMap<Key, Sent>,
    /// The host that asked for it first, and how many searches were added before.
    host: Host,
    number: u64,
}

/// The second in which a subscriber last got hits, and the number of hits in that second.
#[derive(Debug, Default)]
struct Sent {
    second: u64,
    hits: u32,
}

/// A file that is being looked at.
#[derive(Debug)]
struct Look {
    /// Where the file is in the index: the entry and the holder.
    arrival: (u32, u32),
    /// The place of the search that is compared next. If `reported` is set, the file fits this
    /// search.
    search: usize,
    /// Set if the file fits the search: the subscriber that got the last report, or `None` in the
    /// inner `Option` if none got one yet.
    reported: Option<Option<Key>>,
}

/// The searches of all subscriptions.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    searches: Vec<Option<Search>>,
    /// The place of the search of each SUBSCRIBE.
    places: BTreeMap<Key, usize>,
    /// The file at which the last turn ended.
    look: Option<Look>,
    /// Searches that were added so far.
    added: u64,
}

/// - getters: `len`, `bytes`;
/// - `handle_*`: `on_subscribe`, `on_cancel`, `on_session_closed`;
/// - `poll_*`: `has_work`, `run`.
impl Subscriptions {
    /// SUBSCRIBEs in force.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Bytes of memory that they take.
    pub(super) fn bytes(&self) -> usize {
        let subscribers = self.places.len() * (size_of::<(Key, Sent)>() + size_of::<(Key, usize)>());
        let searches = self.searches.iter().flatten().map(|search| search.standing.bytes()).sum::<usize>();
        subscribers + searches + self.searches.capacity() * size_of::<Option<Search>>()
    }

    /// A session asks for files that will be registered.
    pub(super) fn on_subscribe(&mut self, conn: ConnId, subscribe: Subscribe, sessions: &Sessions, cx: &mut Context) {
        let Subscribe { req, find } = subscribe;
        let Some(host) = sessions.host_of(conn) else { return };
        cx.count(Count::Subscribes);
        let of_session = self.places.range((conn, 0)..=(conn, u32::MAX)).count();
        let full = "this super peer has no room for another subscription";
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
                None => self.add(find, host, cx),
            };
            match place {
                Ok(place) => {
                    let search = self.searches[place].as_mut().expect("it was just found or made");
                    search.subscribers.insert((conn, req), Sent::default());
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

    /// Adds a search and returns its place. The error is the reason why the search is not valid; it
    /// is none if there is no room.
    fn add(&mut self, find: crate::wire::Search, host: Host, cx: &mut Context) -> Result<usize, Option<String>> {
        let standing = StandingSearch::new(find).map_err(|why| Some(why.to_string()))?;
        if self.searches.len() >= STANDING_SEARCHES_MAX && self.searches.iter().all(Option::is_some) {
            self.make_room(host, cx).ok_or(None)?;
        }
        let free = self.searches.iter().position(Option::is_none);
        let search = Some(Search { standing, subscribers: BTreeMap::new(), host, number: self.added });
        self.added += 1;
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

    /// Makes room for a search of `host`. For this purpose, it ends one search of the host that has
    /// added the most: the search with the fewest subscribers, or the newest of several such
    /// searches. If `host` would then have more searches than the other host, no search ends, and
    /// the result is `None`.
    fn make_room(&mut self, host: Host, cx: &mut Context) -> Option<()> {
        let mut hosts: BTreeMap<Host, usize> = BTreeMap::new();
        let all = || self.searches.iter().flatten();
        all().for_each(|search| *hosts.entry(search.host).or_default() += 1);
        let own = hosts.get(&host).map_or(0, |own| *own);
        let (most, _) = hosts.into_iter().max_by_key(|(_, count)| *count).filter(|(_, most)| *most > own + 1)?;
        let of_most = all().filter(|search| search.host == most);
        let ends = of_most.min_by_key(|search| (search.subscribers.len(), Reverse(search.number)))?;
        let subscribers: Vec<Key> = ends.subscribers.keys().copied().collect();
        for (conn, req) in subscribers {
            cx.count(Count::SubscriptionsEvicted);
            cx.work.add(OUTPUT_WORK);
            let why = "this search has ended to make room for another host; repeat the query from time to time";
            cx.refuse(conn, ErrorCode::LIMIT, why.to_owned(), Some(req));
            self.on_cancel(conn, req, cx);
        }
        Some(())
    }

    /// A session ends a subscription. Nothing happens if there is no subscription with this number.
    pub(super) fn on_cancel(&mut self, conn: ConnId, req: u32, cx: &mut Context) {
        let Some(place) = self.places.remove(&(conn, req)) else { return };
        let search = self.searches[place].as_mut().expect("a place is of a search");
        search.subscribers.remove(&(conn, req));
        if search.subscribers.is_empty() {
            self.searches[place] = None;
            // Another search may get this place before the look continues.
            if let Some(look) = self.look.as_mut().filter(|look| look.search == place) {
                (look.search, look.reported) = (place + 1, None);
            }
        }
        if self.places.is_empty() {
            (self.searches, self.look) = (Vec::new(), None);
            cx.index.note_arrivals(false);
        }
    }

    /// A session has ended. Its subscriptions end with it.
    pub(super) fn on_session_closed(&mut self, conn: ConnId, cx: &mut Context) {
        while let Some((&(_, req), _)) = self.places.range((conn, 0)..=(conn, u32::MAX)).next() {
            self.on_cancel(conn, req, cx);
        }
    }

    /// Whether there is work for the next turn.
    pub(super) fn has_work(&self, cx: &Context) -> bool {
        self.look.is_some() || cx.index.has_arrivals()
    }

    /// Looks at new files until half of this turn is used. The other half is for deadlines, even if
    /// very many files come.
    pub(super) fn run(&mut self, sessions: &Sessions, cx: &mut Context) {
        let missed = cx.index.take_arrivals_missed();
        cx.counters.add_many(Count::SubscribedFilesMissed, missed);
        self.look_again(cx);
        while !cx.work.is_half_spent()
            && let Some(mut look) = self.look.take().or_else(|| {
                let arrival = cx.index.take_arrival()?;
                Some(Look { arrival, search: 0, reported: None })
            })
        {
            if self.step(&mut look, sessions, cx) {
                self.look = Some(look);
            }
        }
    }

    /// A turn begins. Since an earlier turn, another file may have got the place in the index of
    /// the file that is looked at.
    fn look_again(&mut self, cx: &mut Context) {
        let Some(look) = self.look.as_mut().filter(|look| look.reported.is_some()) else { return };
        let search = self.searches[look.search].as_mut().expect("a look leaves a search that ends");
        if !search.fits(look.arrival, cx) {
            (look.search, look.reported) = (look.search + 1, None);
        }
    }

    /// Compares the file with one search, or reports it to one subscriber. Returns whether more is
    /// to be done for the file.
    fn step(&mut self, look: &mut Look, sessions: &Sessions, cx: &mut Context) -> bool {
        cx.work.add(1);
        let Some(search) = self.searches.get_mut(look.search) else { return false };
        let next = search.as_mut().and_then(|search| search.step(look, sessions, cx));
        (look.search, look.reported) = match next {
            Some(key) => (look.search, Some(key)),
            None => (look.search + 1, None),
        };
        true
    }

    /// What must hold between any two inputs.
    pub(super) fn check_invariants(&self) {
        assert!(self.places.len() <= SUBSCRIPTIONS_MAX && self.searches.len() <= STANDING_SEARCHES_MAX);
        let subscribers = self.searches.iter().flatten().map(|search| search.subscribers.len());
        assert!(subscribers.clone().all(|count| count > 0));
        assert_eq!(subscribers.sum::<usize>(), self.places.len());
        assert!(self.look.is_none() || !self.places.is_empty(), "without subscribers nothing is looked at");
    }
}

impl Search {
    /// Compares the file with the search, or reports it to the next subscriber. Returns the
    /// subscriber that got the report; `None` if there are no more.
    fn step(&mut self, look: &Look, sessions: &Sessions, cx: &mut Context) -> Option<Option<Key>> {
        let Some(last) = look.reported else { return self.fits(look.arrival, cx).then_some(None) };
        let first = last.map_or(Bound::Unbounded, Bound::Excluded);
        let (key, sent) = self.subscribers.range_mut((first, Bound::Unbounded)).next()?;
        report(&self.standing, look.arrival, (*key, sent), sessions, cx);
        Some(Some(*key))
    }

    fn fits(&mut self, (id, holder): (u32, u32), cx: &mut Context) -> bool {
        let fits = self.standing.fits(&cx.index, id, holder);
        cx.work.add(self.standing.take_spent());
        fits
    }
}

/// Reports a file that fits to a subscriber, unless the subscriber has got the most hits for this
/// second.
fn report(
    standing: &StandingSearch,
    arrival: (u32, u32),
    ((conn, req), sent): (Key, &mut Sent),
    sessions: &Sessions,
    cx: &mut Context,
) {
    if !sessions.is_open(conn) {
        return;
    }
    let second = cx.now.since(Time::ZERO).as_secs();
    if second != sent.second {
        *sent = Sent { second, hits: 0 };
    }
    if sent.hits >= SUBSCRIPTION_HITS_PER_SECOND {
        return cx.count(Count::SubscribedHitsDropped);
    }
    let Some(hit) = standing.hit(&cx.index, arrival, sessions.reached_at(conn)) else { return };
    sent.hits += 1;
    cx.count(Count::SubscribedHits);
    cx.work.add(REPORT_WORK + OUTPUT_WORK);
    cx.send(conn, Message::Hit(Hit { req, hits: vec![hit] }));
}

#[cfg(test)]
mod tests;
