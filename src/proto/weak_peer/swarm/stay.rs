//! The stay of this peer in the swarms of its contents: it joins when a download begins, follows
//! the members that super peers name, stays for a while when the download is complete, and leaves.
//! It passes what super peers and downloads report to the parts that need it.

use super::joins::Joins;
use super::step::Step;
use crate::config::LINGER_LOOK;
use crate::proto::weak_peer::contact;
use crate::proto::weak_peer::context::{Context, Reason, SessionId};
use crate::proto::weak_peer::download::Downloads;
use crate::proto::weak_peer::session::SessionEvent;
use crate::proto::weak_peer::sessions::Sessions;
use crate::proto::weak_peer::upload::Uploads;
use crate::proto::{DiskWork, DownloadId};
use crate::time::Time;
use crate::wire::Root;

/// The parts of the peer that a swarm concerns.
pub(in crate::proto::weak_peer) struct Stay<'a> {
    pub(in crate::proto::weak_peer) cx: &'a mut Context,
    pub(in crate::proto::weak_peer) sessions: &'a mut Sessions,
    pub(in crate::proto::weak_peer) joins: &'a mut Joins,
    pub(in crate::proto::weak_peer) uploads: &'a mut Uploads,
    pub(in crate::proto::weak_peer) downloads: &'a mut Downloads,
}

impl Stay<'_> {
    /// Handles an event of a session if it concerns swarms. If not, returns the event.
    pub(in crate::proto::weak_peer) fn on_event(
        &mut self,
        (session, event): (SessionId, SessionEvent),
    ) -> Option<(SessionId, SessionEvent)> {
        let cx = &mut *self.cx;
        match event {
            SessionEvent::Peers(peers) => {
                let download = self.joins.download_of(session, &peers)?;
                let here = self.sessions.here(session);
                let named = peers.peers.iter().filter_map(|member| contact::of_member(member, here));
                let others = named.filter(|member| !self.sessions.is_own(member)).collect();
                self.downloads.on_members(cx, download, &peers, others);
                None
            }
            SessionEvent::Up => {
                self.joins.on_up(cx, self.sessions, session);
                Some((session, event))
            }
            SessionEvent::Down => {
                self.joins.on_down(session);
                Some((session, event))
            }
            SessionEvent::Error(req, ..) => match self.joins.on_error(session, req) {
                Some(download) => {
                    self.downloads.on_join_refused(cx, download);
                    None
                }
                None => Some((session, event)),
            },
            SessionEvent::Hit(_)
            | SessionEvent::Rejected
            | SessionEvent::Done(_)
            | SessionEvent::Files(_)
            | SessionEvent::Info(_)
            | SessionEvent::Never(_) => Some((session, event)),
        }
    }

    /// Handles what a download reports.
    pub(in crate::proto::weak_peer) fn on_step(&mut self, step: Step) {
        let cx = &mut *self.cx;
        match step {
            Step::Join { download, root, size, name } => {
                self.joins.join(cx, self.sessions, download, (root, size, &name));
                if self.joins.is_joined(download) {
                    self.downloads.on_joined(cx, download);
                }
            }
            Step::Short { download } => self.joins.ask_for_more(cx, self.sessions, download),
            Step::Finished { download, root } => {
                self.joins.on_finished(cx, self.sessions, download);
                if self.joins.finished().any(|(finished, ..)| finished == download) {
                    self.end_lingering();
                } else {
                    self.end_swarm(download, root);
                }
                self.report_lingering();
            }
            Step::Failed { download, root } => self.end_swarm(download, root),
        }
    }

    /// Leaves the swarms of complete downloads that no member needs any more.
    pub(in crate::proto::weak_peer) fn end_lingering(&mut self) {
        let now = self.cx.now;
        let is_over = |root: Root, until: Time| until <= now || !self.uploads.is_needed(root, now);
        let over = self.joins.finished().filter(|(_, root, until)| is_over(*root, *until));
        let over: Vec<_> = over.map(|(download, root, _)| (download, root)).collect();
        over.into_iter().for_each(|(download, root)| self.end_swarm(download, root));
        self.report_lingering();
        if self.joins.finished().next().is_some() {
            self.cx.timers.set(Reason::Linger, now + LINGER_LOOK);
        }
    }

    fn report_lingering(&mut self) {
        if self.joins.finished().next().is_none() {
            self.cx.set_lingers(false);
        }
    }

    /// The download no longer serves its content.
    fn end_swarm(&mut self, download: DownloadId, root: Root) {
        let cx = &mut *self.cx;
        self.joins.leave(cx, self.sessions, download);
        cx.disk(DiskWork::Release { download });
        if cx.holdings.end(root, download) {
            self.uploads.on_holding_ended(root);
        }
    }
}
