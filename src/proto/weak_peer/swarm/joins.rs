//! The swarms of which this peer is a member: what it has joined at each super peer, and how long
//! it stays after a download. It follows no members: downloads do.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::LINGER;
use crate::proto::DownloadId;
use crate::proto::weak_peer::context::{Context, SessionId};
use crate::proto::weak_peer::sessions::Sessions;
use crate::time::Time;
use crate::wire::swarm::{Join, Leave, Peers};
use crate::wire::{Message, Root, SharePath};

/// One content that a download has joined.
#[derive(Debug)]
struct Joined {
    root: Root,
    size: u64,
    path: Option<SharePath>,
    full: bool,
    short: bool,
    /// The number of the JOIN at each super peer.
    reqs: BTreeMap<SessionId, u32>,
    /// Once the download is complete: until when the peer stays at most.
    until: Option<Time>,
}

/// All swarms of one peer.
#[derive(Debug)]
pub(in crate::proto::weak_peer) struct Joins {
    joined: BTreeMap<DownloadId, Joined>,
    /// How long the peer stays at most after a download.
    pub(in crate::proto::weak_peer) linger: Duration,
}

impl Default for Joins {
    fn default() -> Joins {
        Joins { joined: BTreeMap::new(), linger: LINGER }
    }
}

impl Joins {
    /// A download begins: the peer joins its swarm.
    pub(in crate::proto::weak_peer) fn join(
        &mut self,
        cx: &mut Context,
        sessions: &mut Sessions,
        download: DownloadId,
        (root, size, name): (Root, u64, &str),
    ) {
        let path = SharePath::new(name);
        let reqs = BTreeMap::new();
        let joined = Joined { root, size, path, full: false, short: false, reqs, until: None };
        self.joined.insert(download, joined);
        self.send_to_all(cx, sessions, download);
    }

    /// Whether an answer of a super peer is still expected.
    pub(in crate::proto::weak_peer) fn is_joined(&self, download: DownloadId) -> bool {
        self.joined.get(&download).is_some_and(|joined| !joined.reqs.is_empty())
    }

    /// Sends a JOIN to a super peer, or repeats it with what has changed.
    fn send(&mut self, cx: &mut Context, sessions: &mut Sessions, session: SessionId, download: DownloadId) {
        let zone = cx.zone.clone();
        let Some(joined) = self.joined.get_mut(&download).filter(|_| sessions.at(session).swarms()) else { return };
        let Joined { root, size, full, short, .. } = *joined;
        let join = |req| Message::Join(Join { req, root, size, path: joined.path.clone(), full, zone, short });
        if let Some(req) = joined.reqs.get(&session) {
            let again = join(*req);
            sessions.at(session).notify(cx, again);
        } else if let Some(req) = sessions.at(session).request(cx, join) {
            joined.reqs.insert(session, req);
        }
    }

    fn send_to_all(&mut self, cx: &mut Context, sessions: &mut Sessions, download: DownloadId) {
        let up: Vec<SessionId> = sessions.up().collect();
        up.into_iter().for_each(|session| self.send(cx, sessions, session, download));
    }

    /// The download asks for more members to follow.
    pub(in crate::proto::weak_peer) fn ask_for_more(
        &mut self,
        cx: &mut Context,
        sessions: &mut Sessions,
        download: DownloadId,
    ) {
        if let Some(joined) = self.joined.get_mut(&download) {
            joined.short = true;
            self.send_to_all(cx, sessions, download);
        }
    }

    /// The download is complete: the peer stays in the swarm for a while.
    pub(in crate::proto::weak_peer) fn on_finished(
        &mut self,
        cx: &mut Context,
        sessions: &mut Sessions,
        download: DownloadId,
    ) {
        if let Some(joined) = self.joined.get_mut(&download) {
            (joined.full, joined.short, joined.until) = (true, false, Some(cx.now + self.linger));
            self.send_to_all(cx, sessions, download);
        }
    }

    /// The peer leaves the swarm.
    pub(in crate::proto::weak_peer) fn leave(
        &mut self,
        cx: &mut Context,
        sessions: &mut Sessions,
        download: DownloadId,
    ) {
        let Some(joined) = self.joined.remove(&download) else { return };
        for (session, req) in joined.reqs {
            sessions.at(session).notify(cx, Message::Leave(Leave { req }));
        }
    }

    /// The complete downloads, with the time at which the peer leaves the swarm of each.
    pub(in crate::proto::weak_peer) fn finished(&self) -> impl Iterator<Item = (DownloadId, Root, Time)> + '_ {
        self.joined.iter().filter_map(|(download, joined)| Some((*download, joined.root, joined.until?)))
    }

    // ---- super peers ----------------------------------------------------------------------------

    pub(in crate::proto::weak_peer) fn on_up(&mut self, cx: &mut Context, sessions: &mut Sessions, session: SessionId) {
        self.on_down(session);
        let all: Vec<DownloadId> = self.joined.keys().copied().collect();
        all.into_iter().for_each(|download| self.send(cx, sessions, session, download));
    }

    pub(in crate::proto::weak_peer) fn on_down(&mut self, session: SessionId) {
        for joined in self.joined.values_mut() {
            joined.reqs.remove(&session);
        }
    }

    /// The download for which a super peer has named members.
    pub(in crate::proto::weak_peer) fn download_of(&mut self, session: SessionId, peers: &Peers) -> Option<DownloadId> {
        let is_of = |joined: &Joined| joined.reqs.get(&session) == Some(&peers.req);
        let (download, joined) = self.joined.iter_mut().find(|(_, joined)| is_of(joined))?;
        joined.short &= peers.peers.is_empty();
        Some(*download)
    }

    /// A request failed. Returns the download if the request was a JOIN.
    pub(in crate::proto::weak_peer) fn on_error(&mut self, session: SessionId, req: u32) -> Option<DownloadId> {
        let is_of = |joined: &Joined| joined.reqs.get(&session) == Some(&req);
        let (download, joined) = self.joined.iter_mut().find(|(_, joined)| is_of(joined))?;
        joined.reqs.remove(&session);
        Some(*download)
    }
}
