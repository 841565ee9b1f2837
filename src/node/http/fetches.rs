//! What the gateway fetches for clients of HTTP: the state of each content and of each reader. It
//! starts no command.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{HTTP_GATEWAY_KEPT, HTTP_GATEWAY_LINGER};
use crate::proto::{ClientId, ConnId, pieces_of};
use crate::time::Time;
use crate::wire::Root;

/// The contents that are fetched for readers, or were fetched and are still kept.
#[derive(Debug, Default)]
pub(super) struct Gateway {
    pub(super) fetches: BTreeMap<Root, Fetch>,
}

#[derive(Debug)]
pub(super) struct Fetch {
    /// The command that fetches it; none once it is complete.
    pub(super) client: Option<ClientId>,
    /// Whether the disk is ready for the content.
    pub(super) started: bool,
    pub(super) path: PathBuf,
    /// The size of the content. Until a piece has come, it is only what a hit claims.
    pub(super) size: u64,
    pub(super) proven: bool,
    pub(super) file: Option<Arc<File>>,
    pub(super) opening: bool,
    /// The pieces that are written.
    pub(super) have: Vec<bool>,
    /// Pieces from this one on are fetched first. With it, the reader that needs this piece.
    pub(super) aim: (u64, Option<ConnId>),
    /// Since when no reader has used it.
    pub(super) unused_since: Option<Time>,
}

/// A body that is sent while its content is fetched.
#[derive(Debug)]
pub(super) struct Streaming {
    pub(super) request_keeps: bool,
    pub(super) root: Root,
    /// The next byte to send, and the end of the range.
    pub(super) next: u64,
    pub(super) end: u64,
    /// The number of chunks that were queued, and of those that the kernel has accepted.
    pub(super) queued: u32,
    pub(super) sent: u32,
}

impl Fetch {
    pub(super) fn has(&self, piece: u64) -> bool {
        usize::try_from(piece).is_ok_and(|piece| self.have.get(piece) == Some(&true))
    }

    /// When the content is dropped, unless a reader comes.
    pub(super) fn deadline(&self) -> Option<Time> {
        let most = if self.client.is_some() { HTTP_GATEWAY_LINGER } else { HTTP_GATEWAY_KEPT };
        self.unused_since.map(|since| since + most)
    }

    pub(super) fn note_size(&mut self, size: u64) {
        (self.size, self.proven) = (size, true);
        self.have.resize(usize::try_from(pieces_of(size)).unwrap_or(usize::MAX), false);
    }
}

impl Gateway {
    pub(super) fn timeout(&self) -> Option<Time> {
        self.fetches.values().filter_map(Fetch::deadline).min()
    }

    /// Bytes of contents that are on the disk or will be written to it.
    pub(super) fn bytes(&self) -> u64 {
        self.fetches.values().map(|fetch| fetch.size).sum()
    }

    /// The content that has been unused longest.
    pub(super) fn oldest(&self) -> Option<Root> {
        let unused = self.fetches.iter().filter_map(|(root, fetch)| Some((fetch.unused_since?, *root)));
        unused.min().map(|(_, root)| root)
    }
}
