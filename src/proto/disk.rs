//! The work that a machine orders from the disk, and the answers. Payload bytes stay with the
//! driver. Paths of the share stay with the disk.

use std::net::IpAddr;
use std::path::PathBuf;

use super::command::ClientId;
use super::ids::{ConnId, PayloadId};
use crate::wire::collection::Item;
use crate::wire::ids::{Cv, Md5, Root};
use crate::wire::{FileRecord, SharePath};

/// One download of one content, numbered by the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DownloadId(pub u64);

/// The destination of a download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The share, with this name once it is sanitized.
    Share {
        /// The name that a source uses. It can be any text.
        name: String,
    },
    /// A file in a tree below a folder. Each component of its path is sanitized. Missing folders
    /// are created.
    Below {
        /// The folder, which is created if it is missing; none: the folder of
        /// [`Destination::Share`].
        folder: Option<PathBuf>,
        /// The path below the folder, as a source names it. It can be any text; `/` separates the
        /// components.
        path: String,
    },
    /// This file. If it is a folder, which exists or ends in a slash, a file in it with the
    /// sanitized name.
    Path {
        /// The path that the user gave, made absolute.
        path: PathBuf,
        /// The name that a source uses. It can be any text.
        name: String,
    },
    /// The content is the list of a collection. The files of the collection go to a folder with its
    /// name at this destination. The list is kept beside them until they are complete.
    Collection(Box<Destination>),
}

/// Why the disk failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskFailure {
    /// The kind of failure.
    pub kind: DiskFailureKind,
    /// The error, for people. It names the path.
    pub message: String,
}

/// Kinds of disk failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFailureKind {
    /// The destination holds another content.
    Taken,
    /// Another process downloads to the same destination.
    Locked,
    /// The disk or quota is full.
    Full,
    /// The path does not lie in the share.
    Outside,
    /// The folder has no file that is shared.
    Nothing,
    /// The content is not a collection.
    Malformed,
    /// The file system does not accept the name.
    Name,
    /// Any other failure, such as missing permissions or an I/O error.
    Io,
}

/// Why a chunk or a manifest cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServeFailure {
    /// No shared file has this root.
    NotFound,
    /// The range does not lie within the content.
    OutOfRange,
    /// The file changed or cannot be read. The share scans it again.
    Changed,
}

/// The right edge of the tree of a content of at least two pieces. With the manifest it proves the
/// size (PROTOCOL.md, "The manifest").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    /// The last leaf: 1 to 1024 bytes.
    pub tail: Vec<u8>,
    /// The chaining values to the left of the last leaf within the last piece, 32 bytes each, the
    /// nearest one first.
    pub left: Vec<u8>,
}

/// A page of a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The size of the content.
    pub size: u64,
    /// Up to 1024 chaining values of 32 bytes; none for a content of at most one piece.
    pub cvs: Vec<u8>,
    /// The right edge; only on the last page, and only if it is known here.
    pub edge: Option<Edge>,
    /// Whether some pieces of the content are not here.
    pub partial: bool,
}

/// The part file of a download, as it was found or created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartState {
    /// The destination already holds this content. Nothing must be fetched.
    AlreadyThere {
        /// The destination.
        path: PathBuf,
        /// The size of the content.
        size: u64,
    },
    /// The part file is open and locked.
    Open {
        /// The path under which it will be published.
        path: PathBuf,
        /// The size of the content, if an earlier run has proven it.
        size: Option<u64>,
        /// The manifest from the map of an earlier run, if there is one.
        manifest: Option<Vec<Cv>>,
        /// The pieces of an earlier run that are correct: the disk has hashed them again. In
        /// ascending order.
        verified: Vec<u32>,
        /// Whether the map has the right edge, so that the size can be proven to others.
        proves: bool,
    },
}

/// A file or a folder of the share, for a URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The root of the file. For a folder, the root of its collection.
    pub root: Root,
    /// Bytes of that content.
    pub size: u64,
    /// Name of the file or folder.
    pub name: String,
    /// Files in the collection; none for a file.
    pub files: Option<u64>,
    /// The sum of the sizes of these files, or the size of the file.
    pub bytes: u64,
    /// Files below the folder that cannot be read and were left out.
    pub left_out: u64,
}

/// A file of a collection or of a command that must be fetched: it is not at the destination. If it
/// is small, it is not in the share either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its number in the collection or in the command, from 1.
    pub number: u64,
    /// Its path below the folder, as the collection names it.
    pub path: SharePath,
    /// The path of its destination.
    pub full: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Its content.
    pub root: Root,
    /// Whether the file must be executable.
    pub executable: bool,
}

/// A page of a collection or of a command, compared with the destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The number of files in this page, and their bytes.
    pub files: u64,
    /// See `files`.
    pub bytes: u64,
    /// Files that are at the destination with the right content.
    pub there_files: u64,
    /// Their bytes.
    pub there_bytes: u64,
    /// For a command: the number of each of these files, and where it is.
    pub there: Vec<(u64, PathBuf)>,
    /// Small files that are empty or were copied from the share. They are reported as placed later.
    pub copied: u64,
    /// Files to fetch.
    pub missing: Vec<Missing>,
    /// Files that cannot be placed.
    pub failed: Vec<Unplaced>,
    /// Whether this is the last page. For a command this has no meaning: the machine knows the end
    /// itself.
    pub last: bool,
}

/// A file of a collection or of a command that cannot be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplaced {
    /// Its number.
    pub number: u64,
    /// Its path below the folder.
    pub path: String,
    /// The reason.
    pub failure: DiskFailure,
}

/// A file of a command, before it is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its path below the folder. It can be any text.
    pub path: String,
    /// Bytes, as its sources claim.
    pub size: u64,
    /// Its content.
    pub root: Root,
}

/// A step of a collection whose list was fetched, or of the small files of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollectionStep {
    /// Open its folder.
    Open {
        /// The destination of the files.
        destination: Destination,
        /// The collection.
        root: Root,
    },
    /// Open the folder below which the files of a command go. Unlike the files of a collection,
    /// they never replace a file with another content.
    OpenBelow {
        /// The folder, which is created if it is missing; none: the folder of
        /// [`Destination::Share`].
        folder: Option<PathBuf>,
    },
    /// List the next page.
    List,
    /// Look for the next files of a command, each of at most one piece. Their numbers continue
    /// those of the earlier files.
    Look {
        /// The files.
        items: Vec<Item>,
    },
    /// Write a file of at most one piece, and publish it soon.
    Place {
        /// The file.
        file: Missing,
        /// Its bytes.
        payload: PayloadId,
    },
    /// End the set. If the collection is complete, its list is not kept at the destination.
    Close {
        /// Whether all files are there.
        complete: bool,
    },
}

/// What was done for a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollectionDone {
    /// Its folder is open.
    Opened(Result<PathBuf, DiskFailure>),
    /// Answer to List and Look.
    Listed(Result<Listed, DiskFailure>),
    /// The content is not a collection, but a file. It is at this path and has this size.
    IsFile(Result<(PathBuf, u64), DiskFailure>),
    /// Answer to Close.
    Closed,
    /// A file is written but not published yet, or could not be written.
    Written(Result<(), Box<Unplaced>>),
    /// Files were published.
    Placed {
        /// Their numbers, and where each is.
        files: Vec<(u64, PathBuf)>,
        /// Their bytes.
        bytes: u64,
        /// Files that could not be published.
        failed: Vec<Unplaced>,
    },
}

/// Part files that no download uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// How many there are.
    pub files: u64,
    /// What they and their maps take on the disk.
    pub bytes: u64,
}

/// Work that a machine orders from the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskWork {
    /// Open the shared file with this root, check that it has not changed, and compute the MD5 of
    /// the range. If the content is being downloaded, its written pieces are served too.
    PrepareChunk {
        /// The connection that asked.
        conn: ConnId,
        /// The address that it comes from. Hosts are served in turn.
        from: IpAddr,
        /// The request of this connection.
        req: u32,
        /// The content.
        root: Root,
        /// First byte.
        offset: u64,
        /// Bytes, 1 to 1 MiB.
        length: u32,
        /// Whether a chunk without MD5 was requested. Then no MD5 is computed.
        bare: bool,
    },
    /// Read a page of the manifest of a shared file.
    ReadManifest {
        /// The connection that asked.
        conn: ConnId,
        /// See `PrepareChunk`.
        from: IpAddr,
        /// The request of this connection.
        req: u32,
        /// The content.
        root: Root,
        /// First piece of the page.
        first: u32,
    },
    /// Discard everything that was prepared for this connection.
    ForgetConn {
        /// The connection.
        conn: ConnId,
    },
    /// Find the content of a file of the share. For a folder, make a collection and offer it.
    Describe {
        /// The client that gets the answer.
        client: ClientId,
        /// The path on the disk, absolute.
        path: PathBuf,
    },
    /// Check whether the files of a command fit on the disk. What is at their places already needs
    /// no space.
    CheckRoom {
        /// The number of the check.
        download: DownloadId,
        /// The folder that they go to, which may be missing; none: the folder of
        /// [`Destination::Share`].
        folder: Option<PathBuf>,
        /// The files.
        files: Vec<Planned>,
    },
    /// A step of a collection, or of the small files of a command.
    Collection {
        /// The download of the collection, or the number of the small files.
        download: DownloadId,
        /// The step.
        step: CollectionStep,
    },
    /// Create or resume the part file of a download. The data of an earlier run does not change
    /// before [`DiskWork::PreparePart`].
    OpenPart {
        /// The download.
        download: DownloadId,
        /// Where it will be published.
        destination: Destination,
        /// The content.
        root: Root,
        /// The sizes that sources claim; empty if more claims may come. A file at the destination
        /// with another size has another content and is not hashed.
        sizes: Vec<u64>,
    },
    /// The size and the manifest of the content are proven: store both in the map. Drop pieces that
    /// belong to another content or size.
    PreparePart {
        /// The download.
        download: DownloadId,
        /// Its size in bytes.
        size: u64,
        /// One value per piece; none for a content of at most one piece.
        cvs: Vec<Cv>,
        /// The right edge, if a source sent it.
        edge: Option<Edge>,
    },
    /// Write a verified piece, and note it in the map.
    WritePiece {
        /// The download.
        download: DownloadId,
        /// The piece.
        piece: u32,
        /// Its bytes.
        payload: PayloadId,
        /// The MD5 of the piece, if it was computed. It is sent with the piece and not computed
        /// again.
        md5: Option<Md5>,
        /// Whether the piece was compared with the root or the manifest. If not, the pieces of this
        /// download are not served, and the file is hashed before it is offered.
        proven: bool,
    },
    /// All pieces are written: sync the file, rename it without replacing another file, and sync
    /// the folder. The file is served until [`DiskWork::Release`].
    Publish {
        /// The download.
        download: DownloadId,
    },
    /// Stop serving the published file of this download; the share may still serve it.
    Release {
        /// The download.
        download: DownloadId,
    },
    /// Close the part file. It stays for a later resume.
    Abandon {
        /// The download.
        download: DownloadId,
    },
    /// Look for part files that no download uses: in the shares, in the folder for downloads, and
    /// in these folders.
    LookForParts {
        /// The command that waits for the answer; none if only the figures are needed.
        client: Option<ClientId>,
        /// More folders.
        folders: Vec<PathBuf>,
        /// Destinations whose part files are in use. A folder means all destinations below it.
        keep: Vec<PathBuf>,
        /// Whether the shares and the folder for downloads are left out, because a download of many
        /// files uses them.
        spare: bool,
        /// Whether the part files are removed.
        remove: bool,
    },
    /// Replace the file of the download queue. After a crash or a power cut, the file has either
    /// the old or the new content.
    SaveQueue {
        /// All lines of the file.
        lines: String,
    },
}

/// What the disk reports to a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskDone {
    /// Files of the share were added, changed or removed. A record in `added` replaces the record
    /// with the same path.
    Share {
        /// New or changed files, hashed.
        added: Vec<FileRecord>,
        /// Files that are not offered now.
        removed: Vec<SharePath>,
    },
    /// Answer to PrepareChunk.
    ChunkReady {
        /// The connection.
        conn: ConnId,
        /// The request.
        req: u32,
        /// The MD5 of the range, if it was requested or is known. The driver keeps the file open
        /// until SendPayload, DropChunk or ForgetConn.
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
        /// The page.
        result: Result<Page, ServeFailure>,
    },
    /// Answer to Describe.
    Described {
        /// The client that asked.
        client: ClientId,
        /// The file or the collection.
        result: Result<Described, DiskFailure>,
    },
    /// Answer to CheckRoom.
    RoomChecked {
        /// The number of the check.
        download: DownloadId,
        /// Whether the files fit.
        result: Result<(), DiskFailure>,
    },
    /// Answer to a step of a collection, or of the small files of a command.
    Collection {
        /// See [`DiskWork::Collection`].
        download: DownloadId,
        /// The answer.
        done: CollectionDone,
    },
    /// Answer to OpenPart.
    PartOpened {
        /// The download.
        download: DownloadId,
        /// The part file.
        result: Result<PartState, DiskFailure>,
    },
    /// Answer to WritePiece.
    PieceWritten {
        /// The download.
        download: DownloadId,
        /// The piece.
        piece: u32,
        /// Whether the piece was written.
        result: Result<(), DiskFailure>,
    },
    /// Answer to Publish.
    Published {
        /// The download.
        download: DownloadId,
        /// The final path.
        result: Result<PathBuf, DiskFailure>,
    },
    /// Answer to LookForParts.
    PartsFound {
        /// The command that waits for it.
        client: Option<ClientId>,
        /// Whether they were removed.
        removed: bool,
        /// What was found.
        result: Result<Parts, DiskFailure>,
    },
    /// Answer to SaveQueue.
    QueueSaved {
        /// Whether the file is on the disk.
        result: Result<(), DiskFailure>,
    },
}
