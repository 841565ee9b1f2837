//! One request of a downloader: what it requests, and how far its answer is.

use crate::config::FRAME_BYTES_OPEN;
use crate::proto::disk::{Page, ServeFailure};
use crate::wire::ids::{Md5, Root};

#[derive(Debug)]
pub(super) enum Wanted {
    Chunk {
        root: Root,
        offset: u64,
        length: u32,
        bare: bool,
    },
    Page {
        root: Root,
        first: u32,
    },
    /// For a follower: whether the content is there.
    Follow {
        root: Root,
    },
}

impl Wanted {
    pub(super) fn root(&self) -> Root {
        match self {
            Wanted::Chunk { root, .. } | Wanted::Page { root, .. } | Wanted::Follow { root } => *root,
        }
    }
}

#[derive(Debug)]
pub(super) enum Stage {
    Queued,
    /// The disk is reading the data.
    Preparing,
    /// The answer is sent once all earlier requests are answered.
    Ready(Answer),
    /// The driver sends the bytes.
    Sending,
    /// The request is canceled. The answer of the disk will be discarded.
    Canceled,
}

/// What the disk prepared for a request.
#[derive(Debug)]
pub(in crate::proto::weak_peer) enum Answer {
    /// A chunk can be sent. This is its MD5, if it was requested.
    Chunk(Option<Md5>),
    /// A page of the manifest.
    Page(Page),
    Failed(ServeFailure),
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) req: u32,
    pub(super) wanted: Wanted,
    pub(super) stage: Stage,
}

impl Request {
    /// Bytes of content that the disk reads for the request. A page is short and is not counted.
    pub(super) fn bytes(&self) -> u64 {
        match self.wanted {
            Wanted::Chunk { length, .. } => u64::from(length),
            Wanted::Page { .. } | Wanted::Follow { .. } => 0,
        }
    }

    /// How much memory the answer may take while it waits.
    pub(super) fn weight(&self) -> u64 {
        match self.wanted {
            Wanted::Chunk { length, .. } => u64::from(length),
            Wanted::Page { .. } | Wanted::Follow { .. } => FRAME_BYTES_OPEN as u64,
        }
    }
}
