//! The collections that are being unpacked. Some of them are offered afterwards.

use std::time::Instant;

use super::Worker;
use crate::disk::collections::{Changes, FETCHED, Kept};
use crate::disk::job::Report;
use crate::disk::target::failed;
use crate::disk::unpacking::Unpacking;
use crate::proto::DownloadId;
use crate::proto::disk::{CollectionDone, CollectionStep, DiskDone, DiskFailure, DiskFailureKind, Unplaced};
use crate::wire::SharePath;

impl Worker {
    /// If all files of a collection are in the share, this peer offers the collection too.
    fn keep_fetched(&mut self, unpacking: &Unpacking) {
        let (Some(share), Some(root)) = (&self.share, unpacking.root()) else { return };
        let path = unpacking.folder.parent().zip(unpacking.folder.file_name());
        let path = path.and_then(|(parent, name)| {
            let parent = std::fs::canonicalize(parent).ok()?;
            SharePath::new(&share.trees.path_in(&parent, name.as_encoded_bytes())?)
        });
        let (Some(folder), false) = (path, self.collections.has(root)) else { return };
        let is_file = |path: &str| share.catalog.offered_at(path).is_some();
        let kept = unpacking.content().and_then(|(mut content, size)| {
            let Some(mut file) = self.collections.begin(FETCHED)? else { return Ok(Changes::default()) };
            std::io::copy(&mut content, &mut file)?;
            self.collections.keep(Kept { root, folder, size }, (FETCHED, &file), is_file)
        });
        match kept {
            Ok((added, removed)) if added.is_empty() && removed.is_empty() => {}
            Ok((added, removed)) => self.done(DiskDone::Share { added, removed }),
            Err(error) => log::warn!("the collection {root} is not offered from here: {error}"),
        }
    }

    pub(super) fn collection_done(&mut self, download: DownloadId, done: CollectionDone) {
        self.done(DiskDone::Collection { download, done });
    }

    pub(super) fn on_collection_step(&mut self, download: DownloadId, step: CollectionStep, bytes: Option<Vec<u8>>) {
        let at = self.unpackings.iter().position(|unpacking| unpacking.download == download);
        match (step, at) {
            (CollectionStep::Open { destination, root }, _) => {
                let opened = Unpacking::open(download, &destination, &root, self.downloads.as_deref());
                self.on_unpacking_opened(download, opened);
            }
            (CollectionStep::OpenBelow { folder }, _) => {
                let opened = Unpacking::open_below(download, folder.as_deref(), self.downloads.as_deref());
                self.on_unpacking_opened(download, opened);
            }
            (CollectionStep::List, Some(at)) => self.unpackings[at].list(),
            (CollectionStep::Look { items }, Some(at)) => self.unpackings[at].look(items),
            (CollectionStep::Place { file, payload: _ }, at) => {
                let (number, path) = (file.number, file.path.as_str().to_owned());
                let result = match (at, &bytes) {
                    (Some(at), Some(bytes)) => self.unpackings[at].write_item(file, bytes),
                    (Some(_), None) => Err(failed("a file without bytes".to_owned())),
                    (None, _) => Err(failed("the download is over".to_owned())),
                };
                let result = result.map_err(|failure| Box::new(Unplaced { number, path, failure }));
                let done = DiskDone::Collection { download, done: CollectionDone::Written(result) };
                self.report(Report::Done { done, file: None, lent: None, spare: bytes });
            }
            (CollectionStep::Close { complete }, Some(at)) => {
                if let Some(unpacking) = self.unpackings.remove(at) {
                    if complete {
                        self.keep_fetched(&unpacking);
                    }
                    unpacking.close(complete);
                }
                self.collection_done(download, CollectionDone::Closed);
            }
            (CollectionStep::Close { .. }, None) => self.collection_done(download, CollectionDone::Closed),
            (CollectionStep::List | CollectionStep::Look { .. }, None) => {}
        }
    }

    fn on_unpacking_opened(&mut self, download: DownloadId, opened: Result<Unpacking, DiskFailure>) {
        let opened = opened.map(|unpacking| {
            let folder = unpacking.folder.clone();
            self.unpackings.push_back(unpacking);
            folder
        });
        self.collection_done(download, CollectionDone::Opened(opened));
    }

    /// Does one slice for each collection that has work, and publishes what is due. Returns false
    /// if there was nothing to do.
    pub(super) fn unpack(&mut self, now: Instant) -> bool {
        let mut worked = false;
        for at in 0..self.unpackings.len() {
            let unpacking = &mut self.unpackings[at];
            let download = unpacking.download;
            if unpacking.has_work() {
                worked = true;
                let listed = unpacking.slice(self.share.as_mut(), &mut self.buffer);
                if listed.is_some() {
                    unpacking.sync_grown();
                }
                let malformed = |failure: &DiskFailure| failure.kind == DiskFailureKind::Malformed;
                match listed {
                    Some(Err(failure)) if malformed(&failure) && unpacking.is_file() => {
                        let Some(unpacking) = self.unpackings.remove(at) else { break };
                        let file = unpacking.into_file();
                        self.collection_done(download, CollectionDone::IsFile(file));
                        break;
                    }
                    Some(listed) => self.collection_done(download, CollectionDone::Listed(listed)),
                    None => {}
                }
            }
            if let Some(batch) = self.unpackings[at].take_batch(Instant::now().max(now), self.share.is_some()) {
                self.publish_batch(batch);
            }
        }
        worked
    }
}
