//! What a weak peer reports of itself: its counters, and the other parts of STATUS. It asks the
//! parts, and changes nothing.

use std::collections::BTreeMap;

use super::announce::Announcements;
use super::collecting::Collecting;
use super::commands::Commands;
use super::context::{Context, millis};
use super::download::Downloads;
use super::queue::Queue;
use super::sessions::Sessions;
use super::upload::Uploads;
use crate::proto::Glance;
use crate::proto::event::PeerStatus;
use crate::proto::glance::by_name;
use crate::time::Time;

/// The parts that are asked.
pub(super) struct Figures<'a> {
    pub(super) cx: &'a Context,
    pub(super) serves: bool,
    pub(super) sessions: &'a Sessions,
    pub(super) announcements: &'a Announcements,
    pub(super) uploads: &'a Uploads,
    pub(super) downloads: &'a Downloads,
    pub(super) collecting: &'a Collecting,
    pub(super) commands: &'a Commands,
    pub(super) queue: &'a Queue,
}

impl Figures<'_> {
    /// What a driver may report at any time.
    pub(super) fn glance(&self) -> Glance {
        let (levels, counters) = self.counts().into_iter().partition(|(name, _)| is_level(name));
        Glance { counters, levels, peer: self.status(), ..Glance::default() }
    }

    /// The counters of STATUS; a one-shot command has none.
    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        if !self.serves || self.cx.one_shot {
            return BTreeMap::new();
        }
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let own = [
            ("files", count(self.announcements.len())),
            ("share_bytes", self.announcements.bytes),
            ("uploads", count(self.uploads.len())),
            ("chunks_sent", self.uploads.chunks_sent),
            ("bytes_sent", self.uploads.bytes_sent),
            ("followers_displaced", self.uploads.followers_displaced),
            ("downloads_running", count(self.downloads.running())),
            ("downloads_waiting", count(self.downloads.waiting())),
            ("downloads_finished", self.downloads.finished + self.collecting.finished),
            ("bytes_received", self.downloads.bytes_received() + self.collecting.bytes_received()),
            ("sessions_up", count(self.sessions.up().count())),
            ("sessions_lost", self.sessions.lost()),
        ];
        let parts = self.uploads.closed().chain(self.commands.ignored_hits()).chain(self.queue.counts());
        by_name(&mut own.into_iter().chain(parts).map(|(name, n)| (name.to_owned(), n)))
    }

    /// The other parts of STATUS. A one-shot command has none.
    pub(super) fn status(&self) -> Option<Box<PeerStatus>> {
        if !self.serves || self.cx.one_shot {
            return None;
        }
        let now = self.cx.now;
        let mut uploads = self.uploads.reports(now);
        self.announcements.name(&mut uploads);
        Some(Box::new(PeerStatus {
            name: String::new(),
            agent: self.cx.agent.clone(),
            uptime_ms: millis(now.since(Time::ZERO)),
            addresses: self.sessions.own_addresses(),
            supers: self.sessions.status(now),
            limits: self.cx.limits,
            downloads: self.queue.reports(now),
            uploads,
        }))
    }
}

/// Whether this counter is a level, which says how much there is now.
fn is_level(name: &str) -> bool {
    matches!(name, "files" | "share_bytes" | "uploads" | "downloads_running" | "downloads_waiting" | "sessions_up")
        || name.starts_with("queue_")
        || name.starts_with("parts_unused")
}
