//! The jobs of the loop: which module does each of them, and how the result is reported.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use super::Worker;
use crate::config::DESCRIBING_MAX;
use crate::disk::describing::{self, Describing};
use crate::disk::hash::digests_of;
use crate::disk::held::{Finished, Held};
use crate::disk::job::{ReceivedChunk, Report};
use crate::disk::opening::{Here, Opening, Step};
use crate::disk::part::{Part, remove_leftovers};
use crate::disk::queue::Next;
use crate::disk::serve::{ChunkRequest, Prepared, Ready};
use crate::disk::space;
use crate::disk::target::failed;
use crate::proto::disk::{DiskDone, DiskFailure, DiskWork, Page, PartState, ServeFailure};
use crate::proto::{ClientId, DownloadId, HashPlan};
use crate::wire::{Md5, Root};

/// The part of a content that is here because it is or was being downloaded. Running downloads come
/// first, then published files.
fn held_in<'a>(
    parts: &'a HashMap<DownloadId, Part>,
    kept: &'a HashMap<DownloadId, Finished>,
    root: Root,
) -> impl Iterator<Item = Held<'a>> {
    let running = parts.values().filter(move |part| part.root == root).filter_map(Part::held);
    running.chain(kept.values().filter_map(Finished::held)).filter(move |held| held.root == root)
}

impl Worker {
    pub(super) fn on_next(&mut self, next: Next) {
        match next {
            Next::Work { work, bytes } => self.on_work(work, bytes),
            Next::Prepare(requests) => self.prepare_chunks(&requests),
            Next::Digest(chunks) => self.digest(chunks),
            Next::Http(work) => self.on_http(work),
        }
    }

    fn on_work(&mut self, work: DiskWork, bytes: Option<Vec<u8>>) {
        match work {
            DiskWork::PrepareChunk { conn, from: _, req, root, offset, length, bare } => {
                self.prepare_chunks(&[ChunkRequest { conn, req, root, offset, length, bare }]);
            }
            DiskWork::ReadManifest { conn, from: _, req, root, first } => {
                let result = self.manifest_page(root, first);
                self.done(DiskDone::ManifestReady { conn, req, first, result });
            }
            DiskWork::ForgetConn { conn } => self.queue.forget(conn),
            DiskWork::Describe { client, path } => self.begin_to_describe(client, &path),
            DiskWork::CheckRoom { download, folder, files } => self.check_room(download, folder, files),
            DiskWork::Collection { download, step } => self.on_collection_step(download, step, bytes),
            DiskWork::OpenPart { download, destination, root, sizes } => {
                match Opening::new(
                    download,
                    &destination,
                    root,
                    sizes,
                    self.downloads.as_deref(),
                    &mut self.last_folder,
                ) {
                    Ok(opening) => self.step_opening(opening),
                    Err(failure) => self.part_opened(download, Err(failure)),
                }
            }
            DiskWork::PreparePart { download, size, cvs, edge } => {
                let part = self.parts.get(&download);
                let refused = part.and_then(|part| space::check(part, size, self.parts.values()).err());
                match (self.parts.get_mut(&download), refused) {
                    (Some(part), Some(failure)) => part.unprepared = Some(failure),
                    (Some(part), None) => part.prepare(size, cvs, edge),
                    (None, _) => {}
                }
            }
            DiskWork::WritePiece { download, piece, payload: _, md5, proven } => {
                self.write_piece(download, piece, bytes, (md5, proven));
            }
            DiskWork::Publish { download } => self.publish(download),
            DiskWork::Release { download } => drop(self.kept.remove(&download)),
            DiskWork::Abandon { download } => {
                if let Some(part) = self.parts.remove(&download) {
                    part.remove_if_empty();
                }
                self.openings.retain(|opening| opening.download != download);
            }
            DiskWork::LookForParts { client, folders, keep, spare, remove } => {
                self.look_for_parts(client, (folders, keep, spare), remove);
            }
            DiskWork::SaveQueue { lines } => self.save_queue(lines),
        }
    }

    fn manifest_page(&mut self, root: Root, first: u32) -> Result<Page, ServeFailure> {
        let Worker { parts, kept, buffer, .. } = self;
        if self.collections.has(root) {
            return self.collections.manifest_page(root, first, buffer);
        }
        let held = held_in(parts, kept, root).next().map(|held| held.page(first, buffer));
        // The share may have the complete content.
        let held = match held {
            Some(Ok(page)) if page.partial => Some(page),
            Some(held) => return held,
            None => None,
        };
        let shared = match &mut self.share {
            Some(share) => self.serve.manifest_page(share, root, first, buffer),
            None => Err(ServeFailure::NotFound),
        };
        shared.or_else(|failure| held.ok_or(failure))
    }

    fn digest(&mut self, chunks: Vec<ReceivedChunk>) {
        let Some(verify) = chunks.first().map(|chunk| chunk.verify) else { return };
        let payloads: Vec<(&[u8], HashPlan)> = chunks.iter().map(|chunk| (&chunk.bytes[..], chunk.plan)).collect();
        let digests = digests_of(&payloads, verify);
        for (ReceivedChunk { conn, req, bytes, .. }, digests) in chunks.into_iter().zip(digests) {
            self.report(Report::Digested { conn, req, bytes, digests });
        }
    }

    /// Prepares chunks of collections and of files.
    fn prepare_chunks(&mut self, requests: &[ChunkRequest]) {
        let (kept, files): (Vec<ChunkRequest>, Vec<_>) =
            requests.iter().partition(|request| self.collections.has(request.root));
        for request in kept {
            let prepared = self.collections.prepare(&request, &mut self.buffer);
            self.prepared(&request, prepared);
        }
        let (held, files): (Vec<ChunkRequest>, Vec<_>) = files.into_iter().partition(|request| self.is_held(request));
        for request in held {
            let Worker { parts, kept, buffer, serve, .. } = self;
            let prepared = match held_in(parts, kept, request.root)
                .find(|held| held.locate(request.offset, request.length).is_ok())
            {
                Some(held) => serve.prepare_held(&held, &request, buffer),
                None => Err(ServeFailure::NotFound),
            };
            self.prepared(&request, prepared);
        }
        self.prepare_files(&files);
    }

    /// Whether a part file, or a file that was published from one, has this chunk.
    fn is_held(&self, request: &ChunkRequest) -> bool {
        held_in(&self.parts, &self.kept, request.root).any(|held| held.locate(request.offset, request.length).is_ok())
    }

    fn prepare_files(&mut self, requests: &[ChunkRequest]) {
        let prepared = match &mut self.share {
            Some(share) => self.serve.prepare(share, requests, &mut self.buffer),
            None => requests.iter().map(|_| Err(ServeFailure::NotFound)).collect(),
        };
        for (request, prepared) in requests.iter().zip(prepared) {
            self.prepared(request, prepared);
        }
    }

    fn prepared(&mut self, request: &ChunkRequest, prepared: Prepared) {
        let (result, file, lent) = match prepared {
            Ok(Ready { md5, file, lent }) => (Ok(md5), Some(file), lent),
            Err(failure) => (Err(failure), None, None),
        };
        let done = DiskDone::ChunkReady { conn: request.conn, req: request.req, result };
        self.report(Report::Done { done, file, lent, spare: None });
    }

    fn begin_to_describe(&mut self, client: ClientId, path: &Path) {
        let described = if self.describing.len() >= DESCRIBING_MAX {
            Err(failed(format!("{DESCRIBING_MAX} paths are being described; try again when some are done")))
        } else {
            Describing::new(client, path, self.share.as_mut())
        };
        match described {
            Ok(describing) => self.describing.push_back(describing),
            Err(failure) => self.done(DiskDone::Described { client, result: Err(failure) }),
        }
    }

    /// Does one slice for the first path that is due. Returns false if none is due. Only one
    /// collection is written at a time: the first one.
    pub(super) fn describe(&mut self, now: Instant) -> bool {
        let Some(share) = &mut self.share else { return false };
        let Some(describing) = self.describing.front_mut().filter(|describing| describing.look_at <= now) else {
            return false;
        };
        let client = describing.client;
        let result = match describing.step(share, &mut self.collections, now) {
            Ok(describing::Step::Again) => return true,
            Ok(describing::Step::Done(described, (added, removed))) => {
                if !added.is_empty() || !removed.is_empty() {
                    self.done(DiskDone::Share { added, removed });
                }
                Ok(described)
            }
            Err(failure) => Err(failure),
        };
        self.describing.pop_front();
        self.done(DiskDone::Described { client, result });
        true
    }

    fn write_piece(
        &mut self,
        download: DownloadId,
        piece: u32,
        bytes: Option<Vec<u8>>,
        (md5, proven): (Option<Md5>, bool),
    ) {
        let result = match (self.parts.get_mut(&download), &bytes) {
            (Some(part), Some(bytes)) => {
                if let Some(md5) = md5.filter(|_| proven && part.manifest.is_some()) {
                    self.serve.note_md5(part.root, piece, md5);
                }
                part.unproven |= !proven;
                part.write_piece(piece, bytes)
            }
            (Some(_), None) => Err(failed("a piece without bytes".to_owned())),
            (None, _) => Err(failed("the download is over".to_owned())),
        };
        let done = DiskDone::PieceWritten { download, piece, result };
        self.report(Report::Done { done, file: None, lent: None, spare: bytes });
    }

    pub(super) fn step_opening(&mut self, mut opening: Opening) {
        let download = opening.download;
        let (share, collections) = (self.share.as_mut(), &mut self.collections);
        match opening.step(&mut Here { share, collections, parts: &self.parts }, &mut self.buffer) {
            Ok(Step::Again) => self.openings.push_back(opening),
            Ok(Step::AlreadyThere(size)) => {
                remove_leftovers(&opening.target, opening.root);
                self.part_opened(download, Ok(PartState::AlreadyThere { path: opening.target.path.clone(), size }));
            }
            Ok(Step::Open(part)) => {
                let path = part.target.path.clone();
                let (size, manifest) = (part.size, part.manifest.clone());
                let state =
                    PartState::Open { path, size, manifest, verified: part.verified(), proves: part.has_edge() };
                self.parts.insert(download, *part);
                self.part_opened(download, Ok(state));
            }
            Err(failure) => self.part_opened(download, Err(failure)),
        }
    }

    fn part_opened(&mut self, download: DownloadId, result: Result<PartState, DiskFailure>) {
        self.done(DiskDone::PartOpened { download, result });
    }
}
