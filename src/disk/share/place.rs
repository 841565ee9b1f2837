//! Which folder is at the path of each share. The folder may be removed, moved, replaced, mounted
//! or unmounted at any time. The share is always the folder that is there now, or nothing. Each
//! such event is logged once.

use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::super::above::{Above, AboveEvent};
use super::super::folder::is_starved;
use super::super::scan::Scan;
use super::super::tree::{At, Tree};
use super::super::watch::{Watch, WatchEvent};
use super::{RETRY, Share, rescan_by, unwatched};
use crate::wire::name::printable;

/// Shortest time between two full scans of the same folder.
const RESCAN_PAUSE: Duration = Duration::from_secs(1);

impl Share {
    /// Watches the folders above the shares.
    pub(super) fn watch_above(&mut self) {
        let paths = self.trees.0.iter().map(|tree| tree.given.clone()).collect();
        let callbacks: Vec<_> = (0..self.trees.0.len()).map(&self.callback).collect();
        let started = Above::start(paths, move |number, event| callbacks[number](WatchEvent::Above(event)));
        self.above = started
            .inspect_err(|error| {
                log::warn!(
                    "the way to the shares cannot be watched: {error}; that a share is replaced or mounted is noticed \
                     by the scans only"
                );
            })
            .ok();
    }

    pub(super) fn on_above(&mut self, number: usize, event: AboveEvent) {
        let standing = |tree: &Tree| (tree.missing, tree.identity);
        let before = standing(&self.trees.0[number]);
        self.rescan(number);
        let tree = &self.trees.0[number];
        let shown = printable(&tree.path.to_string_lossy());
        match event {
            // This state of the share was already reported: as another folder, or as a missing
            // folder.
            AboveEvent::Mounted | AboveEvent::Unmounted if standing(tree) != before => {}
            AboveEvent::Mounted => log::info!("something was mounted in the share {shown}; it is scanned again"),
            AboveEvent::Unmounted => {
                log::warn!("something was unmounted in the share {shown}; what lay there is not offered any more");
            }
            AboveEvent::Way => {}
        }
    }

    /// Scans a share again. If its folder has been replaced, this happens at once; otherwise at the
    /// earliest [`RESCAN_PAUSE`] after the last scan.
    pub(super) fn rescan(&mut self, number: usize) {
        let now = Instant::now();
        let tree = &mut self.trees.0[number];
        match At::find(&tree.given) {
            Ok(at) if !tree.missing && at.identity == tree.identity => {
                rescan_by(tree, tree.scanned_at.map_or(now, |last| now.max(last + RESCAN_PAUSE)));
            }
            found => self.place(number, found, now),
        }
    }

    /// Opens a share again, which may be another folder now, and scans it.
    pub(super) fn open_again(&mut self, number: usize, now: Instant) {
        let found = At::find(&self.trees.0[number].given);
        self.place(number, found, now);
    }

    fn place(&mut self, number: usize, found: Result<At, Errno>, now: Instant) {
        let tree = &mut self.trees.0[number];
        tree.rescan_at = None;
        match found {
            Ok(at) => {
                let shown = printable(&at.path.to_string_lossy());
                if std::mem::take(&mut tree.missing) {
                    log::info!("the share {shown} is back; it is scanned");
                } else if at.identity != tree.identity {
                    log::warn!(
                        "another folder lies at the share {shown}: it was replaced, mounted or unmounted; what is \
                         there now is offered"
                    );
                }
                At { path: tree.path, folder: tree.folder, identity: tree.identity } = at;
                self.start_watching(number);
            }
            Err(error) if is_starved(error) => rescan_by(tree, now + RETRY),
            Err(error) => self.is_gone(number, error, now),
        }
    }

    /// At the path of a share there is no folder that can be read.
    fn is_gone(&mut self, number: usize, error: Errno, now: Instant) {
        let tree = &mut self.trees.0[number];
        if !std::mem::replace(&mut tree.missing, true) {
            let shown = printable(&tree.path.to_string_lossy());
            log::warn!("the share {shown} is gone: {error}; nothing of it is offered until it is back");
        }
        let files = self.catalog.files_below(&tree.names.full(""));
        let files: Vec<_> = files.into_iter().filter(|path| tree.names.below(path).is_some()).collect();
        files.iter().for_each(|path| self.catalog.remove_file(path, now));
        tree.left_out.remove_below(b"");
        tree.watch = None;
        if self.above.is_none() {
            tree.rescan_at = Some(now + RETRY);
        }
        self.scans.retain(|scan| scan.tree != number);
        self.slow.leave_out(number);
    }

    /// Starts a new watcher and a full scan. Earlier events count as lost.
    pub(super) fn start_watching(&mut self, number: usize) {
        log::debug!("starting a watcher");
        let tree = &mut self.trees.0[number];
        tree.unwatched = false;
        tree.watch = match Watch::new(&tree.path, &tree.names, (self.callback)(number)) {
            Ok(watch) => Some(watch),
            Err(error) => {
                unwatched(tree, &error.to_string());
                None
            }
        };
        if let Some(watch) = &mut tree.watch {
            // The scan adds watches for the other folders. This folder is watched before the peer
            // reports that it is ready.
            watch.add("");
        }
        tree.rescan_at = None;
        self.scans.retain(|scan| scan.tree != number);
        self.scans.push_back(Scan::new(number, ""));
        self.slow.leave_out(number);
    }
}
