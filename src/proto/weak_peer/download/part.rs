//! The part file of a download: opened or resumed, written piece by piece, published; and the end
//! of the download, with or without it. The disk does the work; this file never sees a byte of
//! content.

use std::path::PathBuf;

use super::manifest;
use super::order::Order;
use super::picker::Picker;
use super::transfer::{Phase, Transfer};
use crate::config::{PIECE_BYTES, PIECES_MAX, PROGRESS_INTERVAL};
use crate::error::{Exit, Failure};
use crate::proto::disk::{DiskFailure, DiskWork, PartState};
use crate::proto::event::{ClientEvent, Outcome};
use crate::proto::marks::mark;
use crate::proto::weak_peer::context::{Context, Reason, millis};
use crate::proto::{EMPTY_ROOT, Verify};
use crate::wire::ids::Cv;

/// How many sizes are tried for one root after the first.
const SIZES_MAX: usize = 8;

impl Transfer {
    // ---- opening --------------------------------------------------------------------------------

    pub(super) fn begin(&mut self, cx: &mut Context) {
        let Order { id, root, size, .. } = self.order;
        if size > PIECES_MAX * PIECE_BYTES {
            let why = format!("{size} bytes are more than the {} that one file may have", PIECES_MAX * PIECE_BYTES);
            return self.fail(cx, Exit::Usage, &why);
        }
        if size == 0 && root != EMPTY_ROOT {
            return self.fail(cx, Exit::Integrity, "the file is said to be empty, but its root is not that of nothing");
        }
        self.picker = Picker::new(size);
        cx.disk(DiskWork::OpenPart { download: id, destination: self.order.destination.clone(), root, size });
    }

    pub(super) fn on_part_opened(&mut self, cx: &mut Context, result: Result<PartState, DiskFailure>) {
        if !matches!(self.phase, Phase::Opening) {
            return;
        }
        match result {
            Err(failure) => self.end(cx, Some(Failure::new(Exit::Disk, failure.message)), None),
            Ok(PartState::AlreadyThere { path }) => {
                mark!(PartThere);
                self.resumed = self.order.size;
                self.end(cx, None, Some(path));
            }
            Ok(PartState::Open { path, manifest, verified }) => {
                // From here on its name is the one on disk.
                if let Some(name) = path.file_name() {
                    self.order.name = name.to_string_lossy().into_owned();
                }
                self.open(cx, manifest, &verified);
            }
        }
    }

    fn open(&mut self, cx: &mut Context, manifest: Option<Vec<Cv>>, verified: &[u32]) {
        let Order { root, size, verify, .. } = self.order;
        let claims = manifest.is_some();
        self.manifest = manifest.filter(|cvs| manifest::root_of(cvs, size) == Some(root));
        if claims && self.manifest.is_none() {
            mark!(MapDoubted);
        }
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
        self.restart_clock(cx.now);
        let (name, sources, resumed) = (self.order.name.clone(), self.sources.len(), self.resumed);
        self.report(cx, ClientEvent::Start { name, size, root, sources, resumed });
        if verify == Verify::Md5 {
            let message = "MD5 alone does not prove that the content is the one asked for".into();
            self.report(cx, ClientEvent::Note { message });
        }
        let proven = self.picker.len() <= 1 || self.manifest.is_some() || verify == Verify::Md5;
        self.phase = if proven { Phase::Fetching } else { Phase::Proving(None) };
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
        if let Some(event) = self.writing.remove(&piece) {
            self.report(cx, event);
        }
        self.alive_at = cx.now;
        self.publish_if_complete(cx);
        self.pump(cx);
    }

    fn publish_if_complete(&mut self, cx: &mut Context) {
        let running = matches!(self.phase, Phase::Proving(_) | Phase::Fetching);
        if running && self.writing.is_empty() && self.picker.have() == self.picker.len() {
            self.phase = Phase::Publishing;
            cx.timers.stop(Reason::Download(self.order.id));
            self.leave_sources(cx);
            self.report_progress(cx);
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

    /// Ends it with a failure. The part file stays for a later resume.
    pub(super) fn fail(&mut self, cx: &mut Context, exit: Exit, why: &str) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        cx.disk(DiskWork::Abandon { download: self.order.id });
        self.end(cx, Some(Failure::new(exit, why)), None);
    }

    fn end(&mut self, cx: &mut Context, failure: Option<Failure>, path: Option<PathBuf>) {
        self.leave_sources(cx);
        self.phase = Phase::Over;
        cx.timers.stop(Reason::Download(self.order.id));
        let base = failure.as_ref().map_or(Outcome { ok: true, ..Outcome::default() }, Outcome::failed);
        self.outcome = Some(Outcome {
            path,
            root: Some(self.order.root),
            bytes: Some(if base.ok { self.order.size } else { self.bytes }),
            resumed: Some(self.resumed),
            elapsed_ms: Some(millis(cx.now.since(self.order.asked_at))),
            sources: Some(self.reports()),
            ..base
        });
    }

    /// Closes all connections. The list of sources stays for the report.
    fn leave_sources(&mut self, cx: &mut Context) {
        for source in &mut self.sources {
            if let Some(conn) = source.conn.take() {
                cx.bye(conn, "done");
            }
            cx.give_up(source.dial.take(), None);
            source.requests.clear();
        }
        self.drop_held(cx);
    }

    fn drop_held(&mut self, cx: &mut Context) {
        if let Phase::Proving(Some(proof)) = &mut self.phase
            && let Some(held) = proof.held.take()
        {
            cx.drop_payload(held.payload);
        }
    }

    /// If it ended because no source has the root in this size: the order for the size that most
    /// others report.
    pub(super) fn with_other_size(&mut self, cx: &mut Context, outcome: &Outcome) -> Option<Order> {
        let unproven = outcome.exit == Exit::Integrity.code() || outcome.exit == Exit::NotFound.code();
        let others = std::mem::take(&mut self.order.others);
        let votes = |size: u64| others.iter().filter(|(_, other)| *other == size).count();
        let size = others.iter().map(|(_, size)| *size).max_by_key(|size| (votes(*size), *size))?;
        if !unproven || self.bytes > 0 || self.order.tried.len() >= SIZES_MAX {
            return None;
        }
        let message =
            format!("no piece is right if the size is {}; trying {size}, which other sources report", self.order.size);
        self.report(cx, ClientEvent::Note { message });
        let (chosen, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|(_, other)| *other == size);
        let sources = chosen.into_iter().map(|(addr, _)| addr).collect();
        let tried = [self.order.tried.as_slice(), &[self.order.size]].concat();
        Some(Order { size, sources, others, tried, widen: false, searching: false, ..self.order.clone() })
    }
}
