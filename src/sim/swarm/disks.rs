//! The disks of a swarm and their workers. They serve only what is written.

use std::path::PathBuf;
use std::time::Duration;

use super::{FILE, Swarm};
use crate::config::{MANIFEST_PAGE_CVS, PIECE_BYTES};
use crate::proto::disk::{
    CollectionDone, CollectionStep, DiskFailure, DiskFailureKind, Page, PartState, Parts, ServeFailure, Unplaced,
};
use crate::proto::{DiskDone, DiskWork};
use crate::wire::ids::Root;

/// How long it takes to read from the page cache.
const READING: Duration = Duration::from_micros(100);
/// How long it takes to write a piece.
const WRITING: Duration = Duration::from_micros(500);
/// How long it takes to sync and rename a file.
const PUBLISHING: Duration = Duration::from_millis(5);

impl Swarm {
    pub(super) fn on_disk(&mut self, node: u32, work: DiskWork) {
        match work {
            DiskWork::PrepareChunk { conn, from: _, req, root, offset, length, bare } => {
                let result = self.prepare(node, root, offset, length);
                let result = result.map(|()| (!bare).then_some(super::content::Content::MD5));
                self.answer(node, READING, DiskDone::ChunkReady { conn, req, result });
            }
            DiskWork::ReadManifest { conn, from: _, req, root, first } => {
                let result = self.manifest(node, root, first);
                self.answer(node, READING, DiskDone::ManifestReady { conn, req, first, result });
            }
            DiskWork::OpenPart { download, .. } => {
                let disk = &mut self.nodes[node as usize].disk;
                disk.download = Some(download);
                let (size, manifest) =
                    (disk.mapped.then_some(self.content.size), disk.mapped.then(|| self.content.cvs.clone()));
                let verified = disk.verified();
                let result = Ok(PartState::Open { path: PathBuf::from(FILE), size, manifest, verified, proves: false });
                self.answer(node, READING, DiskDone::PartOpened { download, result });
            }
            DiskWork::PreparePart { cvs, .. } => {
                assert_eq!(cvs, self.content.cvs, "only a proven manifest is stored");
                self.nodes[node as usize].disk.mapped = true;
            }
            DiskWork::WritePiece { download, piece, payload, md5: _, proven: _ } => {
                let received = self.nodes[node as usize].payloads.remove(payload.0 as usize);
                assert_eq!(received, piece, "a payload is written where it belongs");
                assert!(self.nodes[node as usize].disk.write(piece), "a verified piece is never written again");
                self.answer(node, WRITING, DiskDone::PieceWritten { download, piece, result: Ok(()) });
                self.on_written(node, piece);
            }
            DiskWork::Publish { download } => {
                let pieces = self.plan.pieces;
                let disk = &mut self.nodes[node as usize].disk;
                assert_eq!(disk.pieces, pieces, "nothing is published with a piece missing");
                (disk.shared, disk.download) = (true, None);
                let result = Ok(PathBuf::from(FILE));
                self.answer(node, PUBLISHING, DiskDone::Published { download, result });
                let added = vec![self.record()];
                self.answer(node, PUBLISHING, DiskDone::Share { added, removed: Vec::new() });
            }
            DiskWork::Abandon { .. } => self.nodes[node as usize].disk.download = None,
            DiskWork::ForgetConn { .. } | DiskWork::Release { .. } => {}
            DiskWork::LookForParts { client, remove, .. } => {
                let done = DiskDone::PartsFound { client, removed: remove, result: Ok(Parts::default()) };
                self.answer(node, READING, done);
            }
            DiskWork::CheckRoom { download, .. } => {
                self.answer(node, READING, DiskDone::RoomChecked { download, result: Ok(()) });
            }
            DiskWork::SaveQueue { .. } => self.answer(node, WRITING, DiskDone::QueueSaved { result: Ok(()) }),
            DiskWork::Describe { client, .. } => {
                self.answer(node, READING, DiskDone::Described { client, result: Err(no_folders()) });
            }
            DiskWork::Collection { download, step } => {
                let done = match step {
                    CollectionStep::Open { .. } | CollectionStep::OpenBelow { .. } => {
                        CollectionDone::Opened(Err(no_folders()))
                    }
                    CollectionStep::List | CollectionStep::Look { .. } => CollectionDone::Listed(Err(no_folders())),
                    CollectionStep::Place { file, payload } => {
                        self.nodes[node as usize].payloads.remove(payload.0 as usize);
                        let (number, path) = (file.number, file.path.as_str().to_owned());
                        let unplaced = Unplaced { number, path, failure: no_folders() };
                        CollectionDone::Written(Err(Box::new(unplaced)))
                    }
                    CollectionStep::Close { .. } => CollectionDone::Closed,
                };
                self.answer(node, READING, DiskDone::Collection { download, done });
            }
        }
    }

    fn prepare(&self, node: u32, root: Root, offset: u64, length: u32) -> Result<(), ServeFailure> {
        if root != self.content.root {
            return Err(ServeFailure::NotFound);
        }
        let end = offset.checked_add(u64::from(length)).filter(|end| *end <= self.content.size);
        let end = end.ok_or(ServeFailure::OutOfRange)?;
        let disk = &self.nodes[node as usize].disk;
        let pieces = offset / PIECE_BYTES..end.div_ceil(PIECE_BYTES);
        let all = pieces.into_iter().all(|piece| disk.has(piece as u32));
        if all { Ok(()) } else { Err(ServeFailure::NotFound) }
    }

    fn manifest(&self, node: u32, root: Root, first: u32) -> Result<Page, ServeFailure> {
        let disk = &self.nodes[node as usize].disk;
        if root != self.content.root || !(disk.shared || disk.mapped) {
            return Err(ServeFailure::NotFound);
        }
        let page = self.content.cvs.iter().skip(first as usize).take(MANIFEST_PAGE_CVS);
        let is_last = first as usize + MANIFEST_PAGE_CVS >= self.content.cvs.len();
        let edge = self.content.edge.clone().filter(|_| is_last);
        Ok(Page { size: self.content.size, cvs: page.flat_map(|cv| cv.0).collect(), edge, partial: false })
    }
}

fn no_folders() -> DiskFailure {
    DiskFailure { kind: DiskFailureKind::Outside, message: "there are no folders here".to_owned() }
}
