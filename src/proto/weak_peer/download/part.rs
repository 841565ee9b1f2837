//! The part file of a download: how it is opened or resumed, written piece by piece, and published.
//! Also the end of the download, with or without a part file. The disk does the work; this module
//! never sees a byte of content.

use std::path::PathBuf;

use super::manifest;
use super::order::Order;
use super::transfer::{Phase, Transfer};
use crate::config::{PIECE_BYTES, PROGRESS_INTERVAL};
use crate::error::{Exit, Failure};
use crate::proto::disk::{Destination, DiskFailure, DiskWork, PartState};
use crate::proto::event::{ClientEvent, Outcome, SourceState};
use crate::proto::marks::mark;
use crate::proto::weak_peer::context::{Context, Owner, Reason, millis};
use crate::proto::{EMPTY_ROOT, Verify};
use crate::wire::ids::Cv;

impl Transfer {
    // ---- opening --------------------------------------------------------------------------------

    pub(super) fn begin(&mut self, cx: &mut Context) {
        let Order { id, root, .. } = self.order;
        // While the search runs, it may bring hits with other sizes.
        let mut sizes: Vec<u64> = Vec::new();
        if !self.order.searching {
            sizes.extend(self.order.pool.iter().filter_map(|candidate| candidate.size));
            sizes.sort_unstable();
            sizes.dedup();
        }
        self.join(cx);
        cx.disk(DiskWork::OpenPart { download: id, destination: self.order.destination.clone(), root, sizes });
    }

    pub(super) fn on_part_opened(&mut self, cx: &mut Context, result: Result<PartState, DiskFailure>) {
        if !matches!(self.phase, Phase::Opening) {
            return;
        }
        match result {
            Err(failure) => self.end(cx, Some(Failure::new(Exit::Disk, failure.message)), None),
            Ok(PartState::AlreadyThere { path, size }) => {
                mark!(PartThere);
                (self.size, self.resumed) = (size, size);
                self.end(cx, None, Some(path));
            }
            Ok(PartState::Open { path, size, manifest, verified, proves }) => {
                // The user has asked for the files of a collection, and not for its list.
                let is_list = matches!(self.order.destination, Destination::Collection(_));
                self.path = path.to_str().filter(|_| !is_list).map(str::to_owned);
                // From now on the download has the name of its file on the disk.
                if let Some(name) = path.file_name().filter(|_| !is_list) {
                    self.order.name = name.to_string_lossy().into_owned();
                }
                if self.order.root == EMPTY_ROOT {
                    self.fix_size(0);
                    cx.disk(DiskWork::PreparePart { download: self.order.id, size: 0, cvs: Vec::new(), edge: None });
                } else if let Some(size) = size {
                    self.resume(size, manifest, &verified);
                    // A super peer may have named members before the part file was open.
                    self.loosen(cx);
                    self.offer_resumed(cx, &verified, proves);
                }
                self.open(cx);
            }
        }
    }

    /// An earlier run has proven the size and fetched these pieces.
    fn resume(&mut self, size: u64, manifest: Option<Vec<Cv>>, verified: &[u32]) {
        let root = self.order.root;
        let claims = manifest.is_some();
        self.manifest = manifest.filter(|cvs| manifest::root_of(cvs, size) == Some(root));
        if claims && self.manifest.is_none() {
            mark!(MapDoubted);
        }
        let proven = if size <= PIECE_BYTES { !verified.is_empty() } else { self.manifest.is_some() };
        if !proven {
            return;
        }
        self.fix_size(size);
        for &piece in verified {
            if piece as usize >= self.picker.len() || self.picker.has(piece) {
                continue;
            }
            self.picker.verified(piece);
            self.resumed += u64::from(self.picker.length(piece));
        }
        self.bytes = self.resumed;
        if self.resumed > 0 {
            mark!(PartResumed);
        }
    }

    fn open(&mut self, cx: &mut Context) {
        let (root, size, verify) = (self.order.root, self.size, self.order.verify);
        self.restart_clock(cx.now);
        let (name, sources, resumed) = (self.order.name.clone(), self.order.pool.len(), self.resumed);
        let path = self.path.clone();
        self.report(cx, ClientEvent::Start { name, size, root, sources, resumed, path });
        if verify == Verify::Md5 {
            let message = "MD5 alone does not prove that the content is the one asked for".into();
            self.report(cx, ClientEvent::Note { message });
        }
        self.phase = if self.is_proven { Phase::Fetching } else { Phase::Proving };
        cx.timers.set(Reason::Download(self.order.id), cx.now + PROGRESS_INTERVAL);
        self.publish_if_complete(cx);
        self.pump(cx);
    }

    // ---- writing and publishing -----------------------------------------------------------------

    pub(super) fn on_written(&mut self, cx: &mut Context, piece: u32, result: Result<(), DiskFailure>) {
        if let Err(failure) = result {
            mark!(WriteFailed);
            return self.fail(cx, Exit::Disk, &failure.message);
        }
        if let Some((event, from)) = self.writing.remove(&piece) {
            self.report(cx, event);
            // Only from now on may others request the piece.
            cx.holdings.add(self.order.root, self.order.id, (piece, from));
            if piece + 1 == u32::try_from(self.picker.len()).unwrap_or(0) {
                cx.holdings.prove(self.order.root, self.order.id);
            }
        }
        self.publish_if_complete(cx);
        self.pump(cx);
    }

    /// Whether all pieces are verified.
    pub(super) fn is_complete(&self) -> bool {
        self.is_proven && self.picker.have() == self.picker.len()
    }

    fn publish_if_complete(&mut self, cx: &mut Context) {
        let running = matches!(self.phase, Phase::Fetching);
        if running && self.writing.is_empty() && self.is_complete() {
            self.phase = Phase::Publishing;
            cx.timers.stop(Reason::Download(self.order.id));
            self.leave_sources(cx);
            self.report_progress(cx);
            cx.holdings.fill(self.order.root, self.order.id);
            cx.disk(DiskWork::Publish { download: self.order.id });
        }
    }

    pub(super) fn on_published(&mut self, cx: &mut Context, result: Result<PathBuf, DiskFailure>) {
        match result {
            Ok(path) => self.end(cx, None, Some(path)),
            Err(failure) => {
                mark!(PublishFailed);
                self.fail(cx, Exit::Disk, &failure.message);
            }
        }
    }

    // ---- the end --------------------------------------------------------------------------------

    /// Ends the download with a failure. The part file stays for a later resume.
    pub(super) fn fail(&mut self, cx: &mut Context, exit: Exit, why: &str) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        cx.disk(DiskWork::Abandon { download: self.order.id });
        self.end(cx, Some(Failure::new(exit, why)), None);
    }

    fn end(&mut self, cx: &mut Context, failure: Option<Failure>, path: Option<PathBuf>) {
        self.leave_sources(cx);
        let is_published = matches!(self.phase, Phase::Publishing) && failure.is_none();
        self.phase = Phase::Over;
        cx.timers.stop(Reason::Download(self.order.id));
        cx.timers.stop(Reason::Swarm(self.order.id));
        let swarm = self.swarm_report(cx);
        self.end_swarm(cx, is_published);
        let base = failure.as_ref().map_or(Outcome { ok: true, ..Outcome::default() }, Outcome::failed);
        self.outcome = Some(Outcome {
            path,
            root: Some(self.order.root),
            bytes: Some(if base.ok { self.size } else { self.bytes }),
            resumed: Some(self.resumed),
            elapsed_ms: Some(millis(cx.now.since(self.order.asked_at))),
            sources: Some(self.reports()),
            swarm,
            ..base
        });
    }

    /// Closes all connections. The list of sources is kept for the report.
    fn leave_sources(&mut self, cx: &mut Context) {
        for source in &mut self.sources {
            if let Some(conn) = source.conn.take() {
                let is_free =
                    source.state == SourceState::Active && source.requests.is_empty() && source.followed.is_none();
                if self.order.is_part && is_free && cx.idle.put(&source.addr, conn) {
                    cx.own(conn, Owner::Idle);
                } else {
                    cx.bye(conn, "done");
                }
            }
            cx.give_up(source.dial.take(), None);
            source.uncount(cx, false);
            source.requests.clear();
        }
        (0..self.sources.len()).for_each(|index| self.forget_proof(cx, index));
    }
}
