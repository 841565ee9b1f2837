//! What the machines ask of the disk, and what it answers. Payload bytes stay with the driver, paths with the disk.

use std::path::PathBuf;

use super::ids::{ConnId, PayloadId};
use crate::wire::ids::{Cv, Md5, Root};
use crate::wire::{FileRecord, SharePath};

/// One download of one content, numbered by the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DownloadId(pub u64);

/// Where a download is to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Below the share, under this name once it is sanitised.
    Share {
        /// As the source calls it: anything.
        name: String,
    },
    /// This file; or, if it is a folder that exists, in there under the sanitised name.
    Path {
        /// As the user gave it, made absolute.
        path: PathBuf,
        /// As the source calls it: anything.
        name: String,
    },
}

/// Why the disk did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskFailure {
    /// What kind of thing.
    pub kind: DiskFailureKind,
    /// For people; names the path.
    pub message: String,
}

/// Kinds of disk failures that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFailureKind {
    /// Another content is there under that name.
    Taken,
    /// Another process is downloading to the same place.
    Locked,
    /// The disk or quota is full.
    Full,
    /// Anything else: permissions, an I/O error.
    Io,
}

/// Why a chunk or a manifest cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServeFailure {
    /// No shared file has that root (any more).
    NotFound,
    /// The range does not lie within the content.
    OutOfRange,
    /// The file changed or cannot be read; the share looks at it again.
    Changed,
}

/// A download's part file, as it was found or made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartState {
    /// The destination holds this content already; nothing is to be fetched.
    AlreadyThere {
        /// The destination.
        path: PathBuf,
    },
    /// The part file is open and locked.
    Open {
        /// The destination under which it will be published.
        path: PathBuf,
        /// The manifest of an earlier run, if its map had one that merges to the root.
        manifest: Option<Vec<Cv>>,
        /// The pieces of an earlier run that were hashed again and are right; ascending.
        verified: Vec<u32>,
    },
}

/// Work that a machine orders from the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskWork {
    /// Open the shared file with this root, check that it has not changed, and tell the MD5 of the range if it is wanted.
    PrepareChunk {
        /// For which connection.
        conn: ConnId,
        /// For which request of it.
        req: u32,
        /// Which content.
        root: Root,
        /// First byte.
        offset: u64,
        /// How many, 1 to 1 MiB.
        length: u32,
        /// Whether nobody wants the MD5.
        bare: bool,
    },
    /// Read a page of the manifest of a shared file.
    ReadManifest {
        /// For which connection.
        conn: ConnId,
        /// For which request of it.
        req: u32,
        /// Which content.
        root: Root,
        /// First piece of the page.
        first: u32,
    },
    /// Nothing prepared for this connection is needed any more.
    ForgetConn {
        /// Which connection.
        conn: ConnId,
    },
    /// Make or resume the part file of a download.
    OpenPart {
        /// Which download.
        download: DownloadId,
        /// Where it is to be published.
        destination: Destination,
        /// Which content.
        root: Root,
        /// Its length in bytes.
        size: u64,
    },
    /// Remember the (proven) manifest in the map.
    StoreManifest {
        /// Which download.
        download: DownloadId,
        /// One value per piece.
        cvs: Vec<Cv>,
    },
    /// Write a verified piece and note it in the map.
    WritePiece {
        /// Which download.
        download: DownloadId,
        /// Which piece.
        piece: u32,
        /// Its bytes.
        payload: PayloadId,
    },
    /// All pieces are written: sync, rename without replacing, sync the folder.
    Publish {
        /// Which download.
        download: DownloadId,
    },
    /// Close the part file; it stays, for a later resume.
    Abandon {
        /// Which download.
        download: DownloadId,
    },
}

/// What the disk tells a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskDone {
    /// Files of the share came or changed (`added`, which replaces a record of the same path) and went (`removed`).
    Share {
        /// Hashed and offered.
        added: Vec<FileRecord>,
        /// Not offered any more.
        removed: Vec<SharePath>,
    },
    /// Answer to PrepareChunk.
    ChunkReady {
        /// The connection.
        conn: ConnId,
        /// The request.
        req: u32,
        /// The MD5 of the range, if it was wanted or is known; the driver holds the open file until SendPayload, DropChunk or ForgetConn.
        result: Result<Option<Md5>, ServeFailure>,
    },
    /// Answer to ReadManifest.
    ManifestReady {
        /// The connection.
        conn: ConnId,
        /// The request.
        req: u32,
        /// First piece of the page.
        first: u32,
        /// Length of the content and up to 1024 chaining values of 32 bytes (none for a content of at most one piece).
        result: Result<(u64, Vec<u8>), ServeFailure>,
    },
    /// Answer to OpenPart.
    PartOpened {
        /// The download.
        download: DownloadId,
        /// What was found or made.
        result: Result<PartState, DiskFailure>,
    },
    /// Answer to WritePiece.
    PieceWritten {
        /// The download.
        download: DownloadId,
        /// The piece.
        piece: u32,
        /// Whether it is in the file.
        result: Result<(), DiskFailure>,
    },
    /// Answer to Publish.
    Published {
        /// The download.
        download: DownloadId,
        /// The final path.
        result: Result<PathBuf, DiskFailure>,
    },
}
