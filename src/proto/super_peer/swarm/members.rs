//! What searches and lists report of the swarms: members that can be dialed, and the number of
//! members that have only a part of a content. It is reported only if the search or the list asks
//! for members.

use std::net::IpAddr;

use super::slot::Slot;
use super::{Swarm, Swarms};
use crate::config::{SWARM_FOUND_MAX, SWARMS_LISTED, SWARMS_LOOKED_AT_MAX, SWARMS_WORK_MAX};
use crate::proto::super_peer::index::{Found, HolderId, Index};
use crate::proto::super_peer::search::Sieve;
use crate::proto::super_peer::session::Sessions;
use crate::wire::message::{ListedFile, SourceRecord};
use crate::wire::swarm::Membership;
use crate::wire::{Root, Search, SharePath};

/// What looking at a member costs, in the unit of `WORK_PER_TURN`.
const MEMBER_WORK: usize = 16;
/// How many members are looked at for each member that a search may find.
const LOOKS: usize = 4;
/// A LIST whose `after` is at least this lists contents that no peer here has registered.
const UNREGISTERED: u64 = 1 << 63;

/// The members of all swarms, for a search.
#[derive(Clone, Copy)]
pub(in crate::proto::super_peer) struct Members<'a> {
    pub(in crate::proto::super_peer) swarms: &'a Swarms,
    pub(in crate::proto::super_peer) sessions: &'a Sessions,
}

/// What a search has found in the swarms.
#[derive(Debug, Default)]
pub(in crate::proto::super_peer) struct Matches {
    pub(in crate::proto::super_peer) hits: Vec<SourceRecord>,
    /// Whether some swarms were not looked at.
    pub(in crate::proto::super_peer) capped: bool,
    /// The cost of the search.
    pub(in crate::proto::super_peer) work: usize,
}

impl Members<'_> {
    /// The members that match a search, at most [`SWARM_FOUND_MAX`] of one swarm. `random` chooses
    /// where to begin. The asker reaches this super peer at `at`.
    pub(in crate::proto::super_peer) fn search(
        self,
        find: &Search,
        at: Option<IpAddr>,
        random: u64,
        index: &Index,
    ) -> Matches {
        let mut found = Matches::default();
        // If the pattern is not valid, the index reports the error.
        let Ok(mut sieve) = Sieve::new(find, at) else { return found };
        let Swarms { by_root, .. } = self.swarms;
        match sieve.root() {
            Some(root) => by_root.get(&root).into_iter().for_each(|number| {
                self.take(*number, &mut sieve, (at, random), index, &mut found);
            }),
            None => {
                found.capped = by_root.len() > SWARMS_LOOKED_AT_MAX;
                for number in by_root.values().take(SWARMS_LOOKED_AT_MAX) {
                    if found.work + sieve.spent() >= SWARMS_WORK_MAX {
                        found.capped = true;
                        break;
                    }
                    self.take(*number, &mut sieve, (at, random), index, &mut found);
                }
            }
        }
        found.work += sieve.spent();
        found
    }

    fn take(
        self,
        number: u32,
        sieve: &mut Sieve,
        (at, random): (Option<IpAddr>, u64),
        index: &Index,
        found: &mut Matches,
    ) {
        let swarm = self.swarms.swarm(number);
        let path = swarm.named();
        let content = (path.as_str(), swarm.size, swarm.root);
        found.work += 1;
        if !sieve.fits(content.0, content.1, content.2) {
            return;
        }
        let first = (random % swarm.graph.len().max(1) as u64) as usize;
        let before = found.hits.len();
        for slot in swarm.graph.around(first).take(LOOKS * SWARM_FOUND_MAX) {
            if found.hits.len() - before >= SWARM_FOUND_MAX {
                return;
            }
            found.work += MEMBER_WORK;
            let Some(holder) = self.holder(swarm, slot) else { continue };
            let is_full = swarm.graph.is_full(slot);
            if is_full && has_registered(index, &swarm.root, holder) || !sieve.fits_holder(content, index, holder) {
                continue;
            }
            let Found { addr, other, out_of_reach } = index.serves(holder).found_from(at);
            let zone = swarm.graph.zone_of(slot).map(str::to_owned);
            found.hits.push(SourceRecord {
                path: path.clone(),
                size: swarm.size,
                root: swarm.root,
                collection: false,
                node: Some(index.node(holder)),
                addr,
                other,
                unreached: out_of_reach || index.is_unreached(holder),
                http: index.serves(holder).http,
                member: Some(Box::new(Membership { partial: !is_full, zone })),
            });
        }
    }

    /// The holder of a member in the index, if the member can be dialed.
    fn holder(self, swarm: &Swarm, slot: Slot) -> Option<HolderId> {
        let conn = self.sessions.conn_at(swarm.graph.member(slot).session)?;
        Some(self.sessions.peer(conn).filter(|_| swarm.graph.serves(slot))?.holder)
    }

    /// Completes a page of a LIST that asks for members: adds to the files that are registered here
    /// the number of members with a part, and appends contents that nobody here has registered.
    pub(in crate::proto::super_peer) fn list(
        self,
        after: u64,
        page_bytes: usize,
        index: &Index,
        looked: &mut usize,
    ) -> (Vec<ListedFile>, Option<u64>) {
        let Swarms { by_root, list, .. } = self.swarms;
        if after < UNREGISTERED {
            let (mut files, next) = index.list(after, page_bytes, looked);
            for file in &mut files {
                let number = by_root.get(&file.root);
                file.partial = number.map_or(0, |number| self.swarms.swarm(*number).partial());
            }
            return (files, next.or((!by_root.is_empty()).then_some(UNREGISTERED)));
        }
        let first = (after - UNREGISTERED) as usize;
        let last = list.len().min(first.saturating_add(SWARMS_LISTED));
        *looked += last.saturating_sub(first);
        let swarms = list.get(first..last).unwrap_or_default().iter().flatten();
        let new = swarms.filter(|swarm| swarm.partial() > 0 && !is_registered(index, &swarm.root));
        let files = new.map(|swarm| ListedFile {
            path: swarm.named(),
            size: swarm.size,
            root: swarm.root,
            collection: false,
            holders: 0,
            partial: swarm.partial(),
        });
        (files.collect(), (last < list.len()).then_some(UNREGISTERED + last as u64))
    }
}

impl Swarm {
    /// The path of the content; the root in hex digits if no JOIN named a path.
    fn named(&self) -> SharePath {
        let root = || SharePath::joined("", &self.root.to_string());
        self.path.clone().unwrap_or_else(root)
    }

    /// The number of members here that have only a part.
    fn partial(&self) -> u32 {
        (self.graph.len() - self.graph.full()) as u32
    }
}

/// The first entries of a content in the index. A content rarely has many paths.
fn entries(index: &Index, root: &Root) -> impl Iterator<Item = u32> {
    let key = index.root_key(root);
    let ids = std::iter::successors(index.next(Some(key), 0), move |id| index.next(Some(key), id + 1));
    ids.take(LOOKS).filter(move |id| index.seen(*id).is_some_and(|entry| *entry.root == *root))
}

fn has_registered(index: &Index, root: &Root, holder: HolderId) -> bool {
    entries(index, root).any(|id| index.holder_from(id, holder.0) == Some(holder))
}

fn is_registered(index: &Index, root: &Root) -> bool {
    entries(index, root).next().is_some()
}
