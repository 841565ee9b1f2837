//! One collection whose files are being fetched: what is listed, asked for, placed and lost, and
//! how it ends. The disk compares and publishes; the downloads fetch what is large.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use super::holder::{Asked, Holder};
use crate::config::{
    ANSWER_DEADLINE, COLLECTION_BATCH_FILES, COLLECTION_HOLDERS_MAX, COLLECTION_LARGE_MAX, COLLECTION_NAMED_MAX,
    COLLECTION_PAGE_FILES, COLLECTION_PIPELINE_MAX, FRAME_BYTES_OPEN, PIECE_BYTES, PROGRESS_INTERVAL, PROTOCOL_VERSION,
};
use crate::error::{Exit, Failure};
use crate::proto::disk::{CollectionDone, CollectionStep, Destination, DiskFailure, DiskFailureKind, Listed, Missing};
use crate::proto::event::{Outcome, SourceReport, SourceState};
use crate::proto::weak_peer::contact::Contact;
use crate::proto::weak_peer::context::{Context, Owner, Reason, millis, quoted};
use crate::proto::weak_peer::download::{Order, Pool, is_possible};
use crate::proto::{ClientEvent, ClientId, ConnId, Digests, DiskWork, DownloadId, HashPlan, Output, PayloadId, Verify};
use crate::wire::message::{Chunk, ErrorCode, Get, sent_by_super_peers, sent_to_sources, sent_to_super_peers};
use crate::wire::{Message, NodeId};

/// Losses after which a holder is not dialed again.
const LOSSES_MAX: u32 = 3;

/// The files of one collection.
pub(super) struct Set {
    order: Order,
    folder: Option<PathBuf>,
    holders: Vec<Holder>,
    next_req: u32,
    /// A page was ordered and has not come.
    listing: bool,
    /// The last page has come.
    listed: bool,
    small: VecDeque<Missing>,
    /// Files for downloads of their own, and whether holders of the collection may have them.
    large: VecDeque<(Missing, bool)>,
    running: BTreeMap<DownloadId, Missing>,
    /// Files that are written, or being written, and not published.
    placing: u64,
    files: u64,
    bytes: u64,
    /// Bytes of files that were at the destination already.
    there_bytes: u64,
    done_files: u64,
    done_bytes: u64,
    /// Bytes of running downloads.
    running_bytes: u64,
    lost: Vec<String>,
    lost_files: u64,
    rates: VecDeque<u64>,
    /// The outcome, while the disk has not closed the collection.
    ending: Option<Outcome>,
    /// The outcome, once the disk has closed the collection, until it is taken.
    pub(super) outcome: Option<Outcome>,
    over: bool,
}

impl Set {
    pub(super) fn begin(cx: &mut Context, order: Order, holders: Vec<Contact>) -> Set {
        let (id, root) = (order.id, order.root);
        let destination = if let Destination::Collection(files) = &order.destination {
            (**files).clone()
        } else {
            order.destination.clone()
        };
        cx.disk(DiskWork::Collection { download: id, step: CollectionStep::Open { destination, root } });
        cx.timers.set(Reason::Collection(id), cx.now + PROGRESS_INTERVAL);
        let sources = holders.len();
        let name = order.name.clone();
        report_of(&order, cx, ClientEvent::Start { name, size: 0, root, sources, resumed: 0, path: None });
        Set {
            order,
            folder: None,
            holders: holders.into_iter().map(Holder::new).collect(),
            next_req: 1,
            listing: false,
            listed: false,
            small: VecDeque::new(),
            large: VecDeque::new(),
            running: BTreeMap::new(),
            placing: 0,
            files: 0,
            bytes: 0,
            there_bytes: 0,
            done_files: 0,
            done_bytes: 0,
            running_bytes: 0,
            lost: Vec::new(),
            lost_files: 0,
            rates: VecDeque::new(),
            ending: None,
            outcome: None,
            over: false,
        }
    }

    pub(super) fn client(&self) -> ClientId {
        self.order.client
    }

    /// Whether a command of many asked for it: that reports it.
    pub(super) fn is_part(&self) -> bool {
        self.order.is_part
    }

    fn step(&self, cx: &mut Context, step: CollectionStep) {
        cx.disk(DiskWork::Collection { download: self.order.id, step });
    }

    // ---- what can be done now -------------------------------------------------------------------

    pub(super) fn pump(&mut self, cx: &mut Context) {
        if self.over || self.folder.is_none() {
            return;
        }
        let waiting = self.small.len().max(self.large.len());
        let unplaced = usize::try_from(self.placing).unwrap_or(usize::MAX);
        if !self.listing && !self.listed && waiting < COLLECTION_PAGE_FILES / 2 && unplaced < 2 * COLLECTION_BATCH_FILES
        {
            self.listing = true;
            self.step(cx, CollectionStep::List);
        }
        self.dial_more(cx);
        for index in 0..self.holders.len() {
            self.ask_more(cx, index);
        }
        if self.holders.iter().all(|holder| holder.over) {
            self.large.extend(self.small.drain(..).map(|file| (file, false)));
        }
        let asked = self.holders.iter().any(|holder| !holder.asked.is_empty());
        let busy = asked || !self.small.is_empty() || !self.large.is_empty() || !self.running.is_empty();
        if self.listed && !busy && self.placing == 0 {
            self.finish(cx);
        }
    }

    fn dial_more(&mut self, cx: &mut Context) {
        if self.small.is_empty() {
            return;
        }
        let mut used = self.holders.iter().filter(|holder| holder.is_used()).count();
        for index in 0..self.holders.len() {
            let holder = &mut self.holders[index];
            let due = !holder.over && !holder.is_used() && holder.retry_at <= cx.now;
            if !due || used >= COLLECTION_HOLDERS_MAX || (!holder.is_peer && !cx.hosts.may_dial(cx.now, &holder.addr)) {
                continue;
            }
            if !holder.is_peer {
                cx.hosts.begin(cx.now, &holder.addr);
                holder.counted = true;
            }
            holder.heard_at = cx.now;
            holder.dial = Some(cx.dial(Owner::Holder(self.order.id, index), &holder.addr));
            used += 1;
        }
    }

    /// Keeps several requests unanswered, so that the next files are on their way while one
    /// arrives.
    fn ask_more(&mut self, cx: &mut Context, index: usize) {
        let holder = &mut self.holders[index];
        let (Some(conn), true) = (holder.conn, holder.welcomed) else { return };
        while holder.asked.len() < COLLECTION_PIPELINE_MAX
            && let Some(file) = self.small.pop_front()
        {
            let req = self.next_req;
            self.next_req = self.next_req.wrapping_add(1);
            if holder.asked.is_empty() {
                (holder.heard_at, holder.served_at) = (cx.now, cx.now);
            }
            let length = u32::try_from(file.size).unwrap_or(u32::MAX);
            let bare = self.order.verify == Verify::Blake3;
            cx.send(conn, Message::Get(Get { req, root: file.root, offset: 0, length, bare }));
            holder.asked.insert(req, Asked { file, begun: None });
        }
    }

    /// The order for the next file that is a download of its own, with this id.
    pub(super) fn poll_order(&mut self, id: DownloadId) -> Option<Order> {
        if self.over || self.running.len() >= COLLECTION_LARGE_MAX {
            return None;
        }
        let (file, at_holders) = self.large.pop_front()?;
        let mut pool = Pool::default();
        if at_holders {
            let holders = self.holders.iter().filter(|holder| !holder.over);
            holders.for_each(|holder| pool.add(holder.contact(), file.size));
        }
        let name = file.path.name().to_owned();
        let destination = Destination::Path { path: file.full.clone(), name: name.clone() };
        let root = file.root;
        self.running.insert(id, file);
        let parent = Some(self.order.id);
        let widen = !self.order.only;
        let order = Order { id, parent, root, name, destination, pool, widen, ..self.order.clone() };
        Some(Order { searching: false, collection: false, ..order })
    }

    // ---- the disk -------------------------------------------------------------------------------

    pub(super) fn on_disk(&mut self, cx: &mut Context, done: CollectionDone) {
        match done {
            CollectionDone::Opened(Ok(folder)) => self.folder = Some(folder),
            CollectionDone::Opened(Err(failure)) | CollectionDone::Listed(Err(failure)) => self.fail(cx, &failure),
            CollectionDone::Listed(Ok(listed)) => self.on_listed(cx, listed),
            // The record was wrong: anyone can register any content as a collection.
            CollectionDone::IsFile(Ok((path, size))) => {
                (self.folder, self.done_bytes) = (Some(path), size);
                self.end(cx, Outcome { ok: true, ..Outcome::default() }, false);
                if let Some(outcome) = &mut self.ending {
                    outcome.files = None;
                }
            }
            CollectionDone::IsFile(Err(failure)) => self.fail(cx, &failure),
            CollectionDone::Closed => self.outcome = self.ending.take(),
            CollectionDone::Written(Ok(())) => {}
            CollectionDone::Written(Err(failure)) => {
                self.placing = self.placing.saturating_sub(1);
                self.lose_file(cx, "a file", &failure);
            }
            CollectionDone::Placed { files, bytes, failed } => {
                self.placing = self.placing.saturating_sub(files + failed.len() as u64);
                self.done_files += files;
                self.done_bytes += bytes;
                failed.iter().for_each(|(path, failure)| self.lose_file(cx, path, failure));
            }
        }
    }

    fn on_listed(&mut self, cx: &mut Context, listed: Listed) {
        let Listed { files, bytes, there_files, there_bytes, copied, missing, failed, last } = listed;
        self.listing = false;
        self.listed = last;
        self.files += files;
        self.bytes = self.bytes.saturating_add(bytes);
        self.there_bytes += there_bytes;
        self.done_files += there_files;
        self.done_bytes += there_bytes;
        self.placing += copied;
        failed.iter().for_each(|(path, failure)| self.lose_file(cx, path, failure));
        for file in missing {
            if !is_possible(file.root, file.size) {
                self.lose(file.path.as_str(), "no content can have its size");
            } else if file.size > PIECE_BYTES {
                self.large.push_back((file, true));
            } else {
                self.small.push_back(file);
            }
        }
    }

    /// Which node a holder is, as hits say.
    pub(super) fn node_of(&self, index: usize) -> Option<NodeId> {
        self.holders.get(index)?.node
    }

    /// Whether a holder has sent WELCOME on its present connection.
    pub(super) fn is_welcomed(&self, index: usize) -> bool {
        self.holders.get(index).is_some_and(|holder| holder.welcomed)
    }

    // ---- holders --------------------------------------------------------------------------------

    pub(super) fn on_dialed(&mut self, cx: &mut Context, index: usize, conn: ConnId) {
        let holder = &mut self.holders[index];
        holder.dial = None;
        holder.conn = Some(conn);
        (holder.heard_at, holder.served_at) = (cx.now, cx.now);
        cx.hello(conn);
    }

    /// The holder could not be dialed, or its connection is closed.
    pub(super) fn on_lost(&mut self, cx: &mut Context, index: usize, why: &str) {
        let holder = &mut self.holders[index];
        (holder.dial, holder.conn) = (None, None);
        self.put_away(cx, index, false, why);
    }

    /// The connection is closed, because of who the holder is.
    pub(super) fn on_unwanted(&mut self, cx: &mut Context, index: usize, why: &str) {
        self.holders[index].conn = None;
        self.put_away(cx, index, true, why);
    }

    /// Ends the connection; what the holder was asked for is asked for again.
    fn put_away(&mut self, cx: &mut Context, index: usize, for_good: bool, why: &str) {
        let holder = &mut self.holders[index];
        cx.give_up(holder.dial.take(), holder.conn.take());
        let greeted = std::mem::take(&mut holder.welcomed);
        if std::mem::take(&mut holder.counted) {
            cx.hosts.end(&holder.addr, false);
        }
        holder.losses += 1;
        // Its other address is dialed at once.
        let turned = !greeted && !for_good && holder.turn();
        let most = if holder.other.is_some() { 2 * LOSSES_MAX } else { LOSSES_MAX };
        holder.over |= for_good || holder.losses >= most;
        holder.retry_at = cx.now + if turned { Duration::ZERO } else { Duration::from_secs(1) * holder.losses };
        for asked in std::mem::take(&mut holder.asked).into_values().rev() {
            self.small.push_front(asked.file);
        }
        let report = report(&self.holders[index], Some(why.to_owned()));
        report_of(&self.order, cx, ClientEvent::Source(report));
    }

    pub(super) fn on_progress(&mut self, cx: &Context, index: usize) {
        self.holders[index].heard_at = cx.now;
    }

    pub(super) fn on_message(&mut self, cx: &mut Context, index: usize, message: Message) {
        match message {
            Message::Welcome(welcome) if !self.holders[index].welcomed => {
                if welcome.version[0] != PROTOCOL_VERSION[0] {
                    return self.put_away(cx, index, true, "speaks another version of the protocol");
                }
                if welcome.node == cx.node {
                    return self.put_away(cx, index, true, "is this peer itself");
                }
                let holder = &mut self.holders[index];
                (holder.welcomed, holder.is_peer) = (true, true);
                if std::mem::take(&mut holder.counted) {
                    cx.hosts.end(&holder.addr, true);
                }
                if let Some(conn) = holder.conn {
                    cx.push(Output::FrameCap { conn, bytes: FRAME_BYTES_OPEN });
                }
                let report = report(&self.holders[index], None);
                report_of(&self.order, cx, ClientEvent::Source(report));
            }
            Message::Chunk(chunk) => self.on_chunk(cx, index, chunk),
            Message::Error(error) => match error.req.and_then(|req| self.holders[index].asked.remove(&req)) {
                // Another peer may have it.
                Some(asked) if matches!(error.code, ErrorCode::NOT_FOUND | ErrorCode::CHANGED) => {
                    self.large.push_back((asked.file, false));
                }
                Some(asked) => {
                    self.small.push_front(asked.file);
                    self.put_away(cx, index, false, &quoted(&error.message));
                }
                None => self.put_away(cx, index, false, &quoted(&error.message)),
            },
            Message::Bye(bye) => self.put_away(cx, index, false, &format!("said goodbye: {}", quoted(&bye.why))),
            Message::Unknown(kind) => {
                if let Some(conn) = self.holders[index].conn {
                    cx.unknown_kind(conn, &kind);
                }
            }
            Message::Welcome(_)
            | Message::Hello(_)
            | Message::Login(_)
            | Message::Ready(_)
            | Message::Ping(_)
            | Message::Cvs(_)
            | Message::Has(_)
            | Message::Turn(_)
            | Message::Cancel(_)
            | sent_to_super_peers!()
            | sent_by_super_peers!()
            | sent_to_sources!() => {
                self.put_away(cx, index, true, &format!("sent {} unasked", message.kind()));
            }
        }
    }

    fn on_chunk(&mut self, cx: &mut Context, index: usize, chunk: Chunk) {
        let holder = &mut self.holders[index];
        holder.heard_at = cx.now;
        let asked = holder.asked.get_mut(&chunk.req).filter(|asked| asked.begun.is_none());
        let (Some(asked), Some(conn)) = (asked, holder.conn) else {
            return self.put_away(cx, index, true, "answered a request that was not made");
        };
        if chunk.offset != 0 || u64::from(chunk.length) != asked.file.size {
            return self.put_away(cx, index, true, "answered with another range than was asked for");
        }
        asked.begun = Some(chunk.md5);
        // Without BLAKE3 it would not be known whether it is the file of the collection.
        let verify = if chunk.md5.is_none() { Verify::Blake3 } else { Verify::Both };
        let verify = if self.order.verify == Verify::Blake3 { Verify::Blake3 } else { verify };
        let plan = HashPlan::Content;
        cx.push(Output::ReceivePayload { conn, req: chunk.req, length: chunk.length, plan, verify });
    }

    pub(super) fn on_payload(
        &mut self,
        cx: &mut Context,
        index: usize,
        req: u32,
        payload: PayloadId,
        digests: Digests,
    ) {
        let holder = &mut self.holders[index];
        holder.heard_at = cx.now;
        let Some(Asked { file, .. }) = holder.asked.remove(&req) else { return cx.drop_payload(payload) };
        if digests.blake3 != Some(file.root.0) {
            cx.drop_payload(payload);
            self.small.push_front(file);
            let why = "sent wrong bytes";
            cx.warn(format!("{} is dropped as a source of {:?}: it {why}", self.holders[index].addr, self.order.name));
            return self.put_away(cx, index, true, why);
        }
        holder.served_at = cx.now;
        holder.files += 1;
        holder.bytes += file.size;
        holder.losses = 0;
        self.placing += 1;
        self.step(cx, CollectionStep::Place { file, payload });
    }

    // ---- downloads of single files --------------------------------------------------------------

    pub(super) fn on_file_ended(&mut self, cx: &mut Context, id: DownloadId, outcome: &Outcome) {
        let Some(file) = self.running.remove(&id) else { return };
        if outcome.ok {
            self.done_files += 1;
            self.done_bytes += file.size;
            return;
        }
        let why = outcome.error.as_deref().unwrap_or("failed").to_owned();
        if outcome.exit == Exit::Disk.code() && why.contains("No space") {
            return self.fail(cx, &DiskFailure { kind: DiskFailureKind::Full, message: why });
        }
        self.lose(&format!("{} {}", file.path.as_str(), file.root), &why);
    }

    // ---- the clock and the end ------------------------------------------------------------------

    pub(super) fn on_tick(&mut self, cx: &mut Context, bytes_of: impl Fn(DownloadId) -> u64) {
        let rate_min = cx.source_rate_min();
        for index in 0..self.holders.len() {
            let holder = &self.holders[index];
            let waits = holder.conn.is_some() && (!holder.welcomed || !holder.asked.is_empty());
            let oldest = holder.asked.first_key_value().map_or(0, |(_, asked)| asked.file.size);
            let patience = ANSWER_DEADLINE + Duration::from_millis(oldest * 1000 / rate_min);
            if waits && cx.now.since(holder.heard_at) >= ANSWER_DEADLINE {
                self.put_away(cx, index, false, "sends nothing");
            } else if waits && cx.now.since(holder.served_at) >= patience {
                self.put_away(cx, index, false, "sends too little");
            }
        }
        self.running_bytes = self.running.keys().map(|id| bytes_of(*id)).sum();
        let bytes = self.done_bytes.saturating_add(self.running_bytes);
        if self.rates.len() > 8 {
            self.rates.pop_front();
        }
        let since = self.rates.front().copied().unwrap_or(bytes);
        let ticks = u64::try_from(self.rates.len()).unwrap_or(1).max(1);
        self.rates.push_back(bytes);
        let rate = bytes.saturating_sub(since) * 1000 / (millis(PROGRESS_INTERVAL) * ticks).max(1);
        let (size, sources) = (self.bytes, self.reports());
        report_of(
            &self.order,
            cx,
            ClientEvent::Progress { bytes, size, rate, sources, gives_up_ms: None, swarm: None },
        );
        cx.timers.set(Reason::Collection(self.order.id), cx.now + PROGRESS_INTERVAL);
    }

    fn reports(&self) -> Vec<SourceReport> {
        self.holders.iter().map(|holder| report(holder, None)).collect()
    }

    /// A file that the disk could not place.
    fn lose_file(&mut self, cx: &mut Context, path: &str, failure: &DiskFailure) {
        if failure.kind == DiskFailureKind::Full {
            return self.fail(cx, failure);
        }
        self.lose(path, &failure.message);
    }

    fn lose(&mut self, what: &str, why: &str) {
        self.lost_files += 1;
        if self.lost.len() < COLLECTION_NAMED_MAX {
            self.lost.push(format!("{what}: {why}"));
        }
    }

    fn fail(&mut self, cx: &mut Context, failure: &DiskFailure) {
        let exit = if failure.kind == DiskFailureKind::Malformed { Exit::Integrity } else { Exit::Disk };
        let failure = Failure::new(exit, failure.message.clone());
        self.end(cx, Outcome::failed(&failure), failure.exit == Exit::Integrity);
    }

    fn finish(&mut self, cx: &mut Context) {
        if self.lost_files == 0 {
            return self.end(cx, Outcome { ok: true, ..Outcome::default() }, true);
        }
        let mut names = self.lost.join("; ");
        let unnamed = self.lost_files - self.lost.len() as u64;
        if unnamed > 0 {
            names.push_str(&format!("; and {unnamed} others"));
        }
        let why = format!("{} of {} files are missing: {names}", self.lost_files, self.files);
        self.end(cx, Outcome::failed(&Failure::new(Exit::Partial, why)), false);
    }

    fn end(&mut self, cx: &mut Context, outcome: Outcome, complete: bool) {
        if self.over {
            return;
        }
        self.stop_with(cx, complete);
        self.ending = Some(Outcome {
            path: self.folder.clone(),
            root: Some(self.order.root),
            bytes: Some(self.done_bytes),
            resumed: Some(self.there_bytes),
            files: Some(self.done_files),
            elapsed_ms: Some(millis(cx.now.since(self.order.asked_at))),
            sources: Some(self.reports()),
            ..outcome
        });
    }

    pub(super) fn shut_down(&mut self, cx: &mut Context) {
        let why = "the peer ends; repeat the command to resume the download";
        self.end(cx, Outcome::failed(&Failure::new(Exit::Internal, why)), false);
        self.outcome = self.ending.take();
    }

    /// Ends all connections, without an outcome.
    pub(super) fn stop(&mut self, cx: &mut Context) {
        self.stop_with(cx, false);
    }

    fn stop_with(&mut self, cx: &mut Context, complete: bool) {
        self.over = true;
        for holder in &mut self.holders {
            if let Some(conn) = holder.conn.take() {
                cx.bye(conn, "done");
            }
            cx.give_up(holder.dial.take(), None);
            if std::mem::take(&mut holder.counted) {
                cx.hosts.end(&holder.addr, false);
            }
            holder.asked.clear();
        }
        cx.timers.stop(Reason::Collection(self.order.id));
        self.step(cx, CollectionStep::Close { complete });
    }
}

/// Sends an event to the client, unless a command of many reports for all of its parts.
fn report_of(order: &Order, cx: &mut Context, event: ClientEvent) {
    if !order.is_part {
        cx.report(order.client, event);
    }
}

fn report(holder: &Holder, why: Option<String>) -> SourceReport {
    let state = match (holder.over, holder.conn, holder.dial) {
        (true, _, _) => SourceState::Dropped,
        (false, Some(_), _) if holder.welcomed => SourceState::Active,
        (false, Some(_), _) | (false, None, Some(_)) => SourceState::Connecting,
        (false, None, None) if holder.losses > 0 => SourceState::Lost,
        (false, None, None) => SourceState::Idle,
    };
    SourceReport {
        source: holder.addr.clone(),
        bytes: holder.bytes,
        pieces: holder.files,
        bad: 0,
        rate: None,
        partial: false,
        state,
        why,
    }
}
