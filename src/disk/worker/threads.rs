//! Work that would block the worker for too long. It is done on a separate thread, which sends one
//! message when it ends.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::{ToWorker, Worker};
use crate::config::PUBLISH_BATCH_MAX;
use crate::disk::held::Finished;
use crate::disk::part::Part;
use crate::disk::parts;
use crate::disk::placing::{Batch, Placed};
use crate::disk::publish::{self, Published, Publishing};
use crate::disk::room;
use crate::disk::saving;
use crate::disk::target::failed;
use crate::proto::disk::{CollectionDone, DiskDone, Planned};
use crate::proto::{ClientId, DownloadId};

impl Worker {
    pub(super) fn look_for_parts(
        &mut self,
        client: Option<ClientId>,
        (mut folders, keep, spare): (Vec<PathBuf>, Vec<PathBuf>, bool),
        remove: bool,
    ) {
        if !spare {
            folders.extend(self.downloads.clone());
            folders.extend(self.share.iter().flat_map(|share| share.trees.0.iter().map(|tree| tree.path.clone())));
        }
        let to_self = self.to_self.clone();
        let on_found = move |parts| {
            // The worker is gone only when the process ends.
            let _ = to_self.send(ToWorker::PartsFound { client, removed: remove, parts });
        };
        if let Err(failure) = parts::start(folders, keep, remove, on_found) {
            self.done(DiskDone::PartsFound { client, removed: remove, result: Err(failure) });
        }
    }

    /// Checks whether files fit. Only if this is not clear at once, each is looked for.
    pub(super) fn check_room(&mut self, download: DownloadId, folder: Option<PathBuf>, files: Vec<Planned>) {
        let folder = folder.or_else(|| self.downloads.clone());
        let Some(folder) = folder.filter(|folder| !room::is_ample(folder, &files)) else {
            return self.done(DiskDone::RoomChecked { download, result: Ok(()) });
        };
        let to_self = self.to_self.clone();
        let on_checked = move |result| {
            // The worker is gone only when the process ends.
            let _ = to_self.send(ToWorker::RoomChecked { download, result });
        };
        if let Err(failure) = room::start(folder, files, on_checked) {
            self.done(DiskDone::RoomChecked { download, result: Err(failure) });
        }
    }

    pub(super) fn save_queue(&mut self, lines: String) {
        let to_self = self.to_self.clone();
        let on_saved = move |result| {
            // The worker is gone only when the process ends.
            let _ = to_self.send(ToWorker::QueueSaved(result));
        };
        match saving::start(self.queue_file.clone(), lines, on_saved) {
            Ok(saving) => self.saving = Some(saving),
            Err(failure) => self.done(DiskDone::QueueSaved { result: Err(failure) }),
        }
    }

    pub(super) fn publish(&mut self, download: DownloadId) {
        let part = self.parts.remove(&download).ok_or_else(|| failed("the download is over".to_owned()));
        if let Some(kept) = part.as_ref().ok().and_then(Part::held).map(Finished::of) {
            self.kept.insert(download, kept);
        }
        match part.and_then(|part| Publishing::new(part, self.share.as_ref())) {
            Ok(file) if file.is_small() => {
                self.small.push((download, file));
                self.publish_small();
            }
            Ok(file) => {
                self.start_publishing(vec![(download, file)], ToWorker::Published);
            }
            Err(failure) => self.done(DiskDone::Published { download, result: Err(failure) }),
        }
    }

    /// Publishes the waiting small files, unless others are being published.
    pub(super) fn publish_small(&mut self) {
        while !self.publishing_small && !self.small.is_empty() {
            let files: Vec<_> = self.small.drain(..self.small.len().min(PUBLISH_BATCH_MAX)).collect();
            self.publishing_small = self.start_publishing(files, ToWorker::PublishedSmall);
        }
    }

    /// Starts a thread that publishes. Returns whether it was started; if not, the downloads have
    /// failed.
    fn start_publishing(
        &mut self,
        files: Vec<(DownloadId, Publishing)>,
        message: fn(Vec<(DownloadId, Published)>) -> ToWorker,
    ) -> bool {
        let ids: Vec<DownloadId> = files.iter().map(|(download, _)| *download).collect();
        let to_self = self.to_self.clone();
        let started = publish::start(files, move |published| {
            // The worker is gone only when the process ends.
            let _ = to_self.send(message(published));
        });
        let Err(failure) = started else { return true };
        for download in ids {
            self.done(DiskDone::Published { download, result: Err(failure.clone()) });
        }
        false
    }

    pub(super) fn on_published(&mut self, published: Vec<(DownloadId, Published)>) {
        let mut results = Vec::new();
        for (download, Published { result, offer }) in published {
            if let (Some((path, stamp, digest)), Some(share)) = (offer, &mut self.share) {
                share.add_published(&path, stamp, &digest);
            }
            match (&result, self.kept.get_mut(&download)) {
                (Ok(_), Some(kept)) => kept.publish(),
                (Err(_), _) => drop(self.kept.remove(&download)),
                (Ok(_), None) => {}
            }
            results.push((download, result));
        }
        if let Some(share) = &mut self.share {
            share.catalog.cache.flush();
        }
        // The files are offered before the machine hears that the downloads are over.
        self.report_changes(Instant::now());
        for (download, result) in results {
            self.done(DiskDone::Published { download, result });
        }
    }

    pub(super) fn publish_batch(&mut self, batch: Batch) {
        let (to_self, batch) = (self.to_self.clone(), Arc::new(batch));
        let ours = batch.clone();
        let publish = move || {
            // The worker is gone only when the process ends.
            let _ = to_self.send(ToWorker::Placed(Box::new(ours.publish())));
        };
        if let Err(failure) = publish::on_thread(publish) {
            self.on_placed(batch.unpublished(&failure));
        }
    }

    pub(super) fn on_placed(&mut self, placed: Placed) {
        let Placed { download, files, bytes, failed, offers } = placed;
        if let Some(share) = &mut self.share {
            for (folder, name, stamp, digest) in offers {
                let real = std::fs::canonicalize(&folder).ok();
                if let Some(path) = real.and_then(|real| share.trees.path_in(&real, name.as_encoded_bytes())) {
                    share.add_published(&path, stamp, &digest);
                }
            }
        }
        self.report_changes(Instant::now());
        self.collection_done(download, CollectionDone::Placed { files, bytes, failed });
    }
}
