//! What this peer serves of the contents that it downloads: only pieces that are verified and
//! written. Changes are announced at the end of each turn.

use std::collections::{BTreeMap, BTreeSet};

use super::pieces::Pieces;
use crate::config::RATE_WINDOW;
use crate::proto::DownloadId;
use crate::proto::meter::Meter;
use crate::time::Time;
use crate::wire::{NodeId, Root};

/// One content that a download serves or has served.
#[derive(Debug)]
pub(in crate::proto::weak_peer) struct Holding {
    pub(in crate::proto::weak_peer) download: DownloadId,
    pub(in crate::proto::weak_peer) pieces: Pieces,
    /// Whether the disk serves the manifest with its proof.
    pub(in crate::proto::weak_peer) manifest: bool,
    /// Whether that has changed in this turn.
    manifest_is_new: bool,
    /// Bytes that were sent to others.
    sent: u64,
    up: Meter,
    /// Pieces that were written in this turn, and the node that sent each.
    news: Vec<(u32, Option<NodeId>)>,
}

/// What has changed for one content in a turn.
#[derive(Debug)]
pub(in crate::proto::weak_peer) struct News {
    pub(in crate::proto::weak_peer) root: Root,
    pub(in crate::proto::weak_peer) full: bool,
    /// Whether the manifest is served from now on.
    pub(in crate::proto::weak_peer) manifest: bool,
    pub(in crate::proto::weak_peer) added: Vec<(u32, Option<NodeId>)>,
}

/// All contents that downloads serve or have served.
#[derive(Debug, Default)]
pub(in crate::proto::weak_peer) struct Holdings {
    by_root: BTreeMap<Root, Holding>,
    changed: BTreeSet<Root>,
}

impl Holdings {
    pub(in crate::proto::weak_peer) fn of(&self, root: Root) -> Option<&Holding> {
        self.by_root.get(&root)
    }

    /// Whether this download serves this content.
    pub(in crate::proto::weak_peer) fn is_of(&self, root: Root, download: DownloadId) -> bool {
        self.by_root.get(&root).is_some_and(|holding| holding.download == download)
    }

    fn of_download(&mut self, root: Root, download: DownloadId) -> Option<&mut Holding> {
        let holding = self.by_root.get_mut(&root).filter(|holding| holding.download == download)?;
        self.changed.insert(root);
        Some(holding)
    }

    /// A download begins. If two downloads have the same content, the first one serves it.
    pub(in crate::proto::weak_peer) fn begin(&mut self, root: Root, download: DownloadId) {
        let (pieces, up) = (Pieces::default(), Meter::new(RATE_WINDOW));
        let (manifest, manifest_is_new, sent, news) = (false, false, 0, Vec::new());
        let empty = Holding { download, pieces, manifest, manifest_is_new, sent, up, news };
        self.by_root.entry(root).or_insert(empty);
    }

    /// Bytes of a content are sent.
    pub(in crate::proto::weak_peer) fn note_sent(&mut self, now: Time, root: Root, bytes: u32) {
        if let Some(holding) = self.by_root.get_mut(&root) {
            holding.sent += u64::from(bytes);
            holding.up.add(now, bytes.into());
        }
    }

    /// Bytes of a content that were sent since this download began to serve it, and bytes per
    /// second.
    pub(in crate::proto::weak_peer) fn sent(&self, now: Time, root: Root, download: DownloadId) -> (u64, u64) {
        let holding = self.by_root.get(&root).filter(|holding| holding.download == download);
        holding.map_or((0, 0), |holding| (holding.sent, holding.up.per_second(now)))
    }

    /// From now on the disk can prove the size to others.
    pub(in crate::proto::weak_peer) fn prove(&mut self, root: Root, download: DownloadId) {
        if let Some(holding) = self.of_download(root, download) {
            holding.manifest_is_new |= !holding.manifest;
            holding.manifest = true;
        }
    }

    /// A piece is written.
    pub(in crate::proto::weak_peer) fn add(
        &mut self,
        root: Root,
        download: DownloadId,
        (piece, from): (u32, Option<NodeId>),
    ) {
        if let Some(holding) = self.of_download(root, download)
            && holding.pieces.insert(piece)
        {
            holding.news.push((piece, from));
        }
    }

    /// All pieces of the content are written.
    pub(in crate::proto::weak_peer) fn fill(&mut self, root: Root, download: DownloadId) {
        if let Some(holding) = self.of_download(root, download) {
            holding.pieces.fill();
            (holding.manifest, holding.news) = (true, Vec::new());
        }
    }

    /// The download stops serving. Returns whether it was serving.
    pub(in crate::proto::weak_peer) fn end(&mut self, root: Root, download: DownloadId) -> bool {
        let ends = self.by_root.get(&root).is_some_and(|holding| holding.download == download);
        if ends {
            self.by_root.remove(&root);
            self.changed.remove(&root);
        }
        ends
    }

    /// What has changed since the last call, one content at a time.
    pub(in crate::proto::weak_peer) fn poll_news(&mut self) -> Option<News> {
        let root = self.changed.pop_first()?;
        let holding = self.by_root.get_mut(&root)?;
        let (added, manifest) = (std::mem::take(&mut holding.news), std::mem::take(&mut holding.manifest_is_new));
        Some(News { root, full: holding.pieces.is_full(), manifest, added })
    }
}
