//! A disk that holds one part file, or small files of commands.

use std::path::PathBuf;

use super::{Happening, LATENCY, World};
use crate::config::PIECE_BYTES;
use crate::proto::disk::{
    CollectionDone, CollectionStep, DiskFailure, DiskFailureKind, Listed, Missing, PartState, Parts,
};
use crate::proto::{DiskDone, DiskWork, DownloadId, Input};
use crate::wire::collection::Item;

impl World {
    pub(super) fn disk(&mut self, work: DiskWork) {
        self.disk.push(work.clone());
        let path = PathBuf::from("/share/file.bin");
        let full = || Err(DiskFailure { kind: DiskFailureKind::Full, message: "the disk is full".into() });
        let takes = match work {
            DiskWork::WritePiece { .. } => self.write_time,
            DiskWork::OpenPart { .. } => self.open_time,
            _ => LATENCY,
        };
        let done = match work {
            DiskWork::OpenPart { download, .. } if self.there => DiskDone::PartOpened {
                download,
                result: Ok(PartState::AlreadyThere { path, size: self.content.size() }),
            },
            DiskWork::OpenPart { download, .. } => {
                let (manifest, verified) = self.part.clone();
                let size = (manifest.is_some() || !verified.is_empty()).then_some(self.content.size());
                for piece in &verified {
                    let from = *piece as usize * PIECE_BYTES as usize;
                    let to = self.content.bytes.len().min(from + PIECE_BYTES as usize);
                    self.written.insert(*piece, self.content.bytes[from..to].to_vec());
                }
                DiskDone::PartOpened {
                    download,
                    result: Ok(PartState::Open { path, size, manifest, verified, proves: false }),
                }
            }
            DiskWork::WritePiece { download, piece, payload, md5: _, proven: _ } => {
                let bytes = self.payloads.remove(&payload).expect("a payload is used up once");
                let result = if self.full { full() } else { Ok(()) };
                let before = self.written.insert(piece, bytes);
                assert!(before.is_none() || self.lenient, "piece {piece} was written twice");
                DiskDone::PieceWritten { download, piece, result }
            }
            DiskWork::Publish { download } => {
                self.published = Some(self.written.values().flatten().copied().collect());
                DiskDone::Published { download, result: Ok(path) }
            }
            DiskWork::PreparePart { size, cvs, .. } => {
                assert!(self.written.is_empty() || self.lenient, "a size is proven before anything is written");
                self.sized.push(size);
                self.stored = Some(cvs);
                return;
            }
            DiskWork::Release { .. } => return,
            DiskWork::Abandon { .. } => {
                self.abandoned += 1;
                return;
            }
            DiskWork::LookForParts { client, remove, .. } => {
                DiskDone::PartsFound { client, removed: remove, result: Ok(Parts::default()) }
            }
            DiskWork::CheckRoom { download, .. } => {
                DiskDone::RoomChecked { download, result: if self.full { full().map(drop) } else { Ok(()) } }
            }
            DiskWork::SaveQueue { lines } => {
                self.lines = lines;
                DiskDone::QueueSaved { result: if self.full { full().map(drop) } else { Ok(()) } }
            }
            DiskWork::Collection { download, step } => {
                let Some(done) = self.small(download, step) else { return };
                DiskDone::Collection { download, done }
            }
            DiskWork::Describe { .. }
            | DiskWork::PrepareChunk { .. }
            | DiskWork::ReadManifest { .. }
            | DiskWork::ForgetConn { .. } => return,
        };
        self.later(takes, Happening::Input(Input::Disk(done)));
    }

    /// Does a step for the small files of a command. This disk has no collections.
    fn small(&mut self, download: DownloadId, step: CollectionStep) -> Option<CollectionDone> {
        Some(match step {
            CollectionStep::Open { .. } | CollectionStep::List => return None,
            CollectionStep::OpenBelow { folder } => {
                CollectionDone::Opened(Ok(folder.unwrap_or_else(|| "/share".into())))
            }
            CollectionStep::Look { items } => {
                let looked = self.looked.entry(download).or_default();
                let mut listed = Listed { files: items.len() as u64, ..Listed::default() };
                for Item { path, size, root, executable } in items {
                    *looked += 1;
                    let full = PathBuf::from("/share").join(path.as_str());
                    if self.there {
                        listed.there.push((*looked, full));
                    } else {
                        listed.missing.push(Missing { number: *looked, path, full, size, root, executable });
                    }
                }
                CollectionDone::Listed(Ok(listed))
            }
            CollectionStep::Place { file, payload } => {
                let bytes = self.payloads.remove(&payload).expect("a payload is used up once");
                let written = DiskDone::Collection { download, done: CollectionDone::Written(Ok(())) };
                self.later(self.write_time, Happening::Input(Input::Disk(written)));
                self.published = Some(bytes);
                CollectionDone::Placed { files: vec![(file.number, file.full)], bytes: file.size, failed: Vec::new() }
            }
            CollectionStep::Close { .. } => CollectionDone::Closed,
        })
    }
}
