//! The files of collections whose lists were fetched, and the small files of commands for several
//! files. Small files come over a few connections to peers that have them. Large files, and files
//! that no holder serves, are downloads of their own. This part passes each input to the `Set` that
//! it belongs to; it fetches nothing itself.

mod asking;
mod command;
mod holder;
mod set;

use std::collections::{BTreeMap, VecDeque};

use super::contact::Contact;
use super::context::{Context, Owner};
use super::download::{Order, Progress};
use crate::proto::disk::CollectionDone;
use crate::proto::event::Outcome;
use crate::proto::{ClientId, ConnId, Digests, DownloadId, PayloadId};
use crate::wire::collection::Item;
use crate::wire::{Message, NodeId};
use set::Set;

pub(super) use command::FileEnd;

/// The numbers of these files' downloads begin here, so that they differ from the numbers of
/// commands' downloads.
const FIRST_FILE: u64 = 1 << 62;

/// All collections whose files are being fetched.
#[derive(Default)]
pub(super) struct Collecting {
    sets: BTreeMap<DownloadId, Set>,
    orders: VecDeque<Order>,
    next_file: u64,
    /// Collections that are parts of commands and have ended.
    parts_done: VecDeque<(DownloadId, Outcome)>,
    /// Small files of commands that have ended.
    file_ends: VecDeque<(DownloadId, u64, FileEnd)>,
    /// How many small files of commands were there or were fetched.
    pub(super) finished: u64,
    /// Bytes that holders of ended sets have sent.
    bytes_ended: u64,
}

impl Collecting {
    /// This order has fetched the list of a collection, and these peers have the collection.
    pub(super) fn begin(&mut self, cx: &mut Context, order: Order, holders: Vec<Contact>) {
        let id = order.id;
        let set = Set::begin(cx, order, holders);
        self.sets.insert(id, set);
    }

    /// The small files of a command, which will be handed over.
    pub(super) fn begin_command(&mut self, cx: &mut Context, order: Order) {
        let id = order.id;
        let set = Set::begin_command(cx, order);
        self.sets.insert(id, set);
    }

    /// A command that must hand over files now.
    pub(super) fn poll_command(&self) -> Option<DownloadId> {
        self.sets.iter().find(|(_, set)| set.wants_files()).map(|(id, _)| *id)
    }

    /// A command hands over its next files, each with its sources; none if there are no more.
    pub(super) fn look(&mut self, cx: &mut Context, id: DownloadId, files: Vec<(Item, Vec<Contact>)>) {
        self.with(cx, id, |set, cx| set.look(cx, files));
    }

    /// A file of a command that has ended, by its number there.
    pub(super) fn poll_file_end(&mut self) -> Option<(DownloadId, u64, FileEnd)> {
        self.file_ends.pop_front()
    }

    /// The next file that is a download of its own.
    pub(super) fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    fn with(&mut self, cx: &mut Context, id: DownloadId, act: impl FnOnce(&mut Set, &mut Context)) {
        let Some(set) = self.sets.get_mut(&id) else { return };
        act(set, cx);
        set.pump(cx);
        while let Some(order) = set.poll_order(DownloadId(FIRST_FILE + self.next_file)) {
            self.next_file += 1;
            self.orders.push_back(order);
        }
        while let Some((number, end)) = set.poll_file_end() {
            self.finished += u64::from(end != FileEnd::Left);
            self.file_ends.push_back((id, number, end));
        }
        if let Some(outcome) = set.outcome.take() {
            let (client, is_part) = (set.client(), set.is_part());
            self.bytes_ended += set.bytes_received();
            self.sets.remove(&id);
            if is_part {
                self.parts_done.push_back((id, outcome));
            } else {
                cx.done(client, outcome);
            }
        }
    }

    /// A collection that is a part of a command and has ended.
    pub(super) fn poll_part_done(&mut self) -> Option<(DownloadId, Outcome)> {
        self.parts_done.pop_front()
    }

    /// Bytes of small files that were received and are correct.
    pub(super) fn bytes_received(&self) -> u64 {
        self.bytes_ended + self.sets.values().map(Set::bytes_received).sum::<u64>()
    }

    // ---- inputs ---------------------------------------------------------------------------------

    pub(super) fn on_disk(&mut self, cx: &mut Context, id: DownloadId, done: CollectionDone) {
        self.with(cx, id, |set, cx| set.on_disk(cx, done));
    }

    /// A file's own download has ended.
    pub(super) fn on_file_ended(&mut self, cx: &mut Context, id: DownloadId, file: DownloadId, outcome: &Outcome) {
        self.with(cx, id, |set, cx| set.on_file_ended(cx, file, outcome));
    }

    /// The node of a holder, as hits say.
    pub(super) fn node_of(&self, id: DownloadId, holder: usize) -> Option<NodeId> {
        self.sets.get(&id)?.node_of(holder)
    }

    /// Whether a holder has sent WELCOME on its present connection.
    pub(super) fn is_welcomed(&self, id: DownloadId, holder: usize) -> bool {
        self.sets.get(&id).is_some_and(|set| set.is_welcomed(holder))
    }

    pub(super) fn on_dialed(&mut self, cx: &mut Context, id: DownloadId, holder: usize, conn: ConnId) {
        if !self.sets.contains_key(&id) {
            return cx.close(conn);
        }
        cx.own(conn, Owner::Holder(id, holder));
        self.with(cx, id, |set, cx| set.on_dialed(cx, holder, conn));
    }

    /// The connection is closed because of the identity of the holder, which is not dialed again.
    pub(super) fn on_unwanted(&mut self, cx: &mut Context, id: DownloadId, holder: usize, why: &str) {
        self.with(cx, id, |set, cx| set.on_unwanted(cx, holder, why));
    }

    pub(super) fn on_lost(&mut self, cx: &mut Context, id: DownloadId, holder: usize, why: &str) {
        self.with(cx, id, |set, cx| set.on_lost(cx, holder, why));
    }

    pub(super) fn on_message(&mut self, cx: &mut Context, id: DownloadId, holder: usize, message: Message) {
        self.with(cx, id, |set, cx| set.on_message(cx, holder, message));
    }

    pub(super) fn on_progress(&mut self, cx: &Context, id: DownloadId, holder: usize) {
        if let Some(set) = self.sets.get_mut(&id) {
            set.on_progress(cx, holder);
        }
    }

    pub(super) fn on_payload(
        &mut self,
        cx: &mut Context,
        (id, holder): (DownloadId, usize),
        req: u32,
        payload: PayloadId,
        digests: Digests,
    ) {
        if self.sets.contains_key(&id) {
            self.with(cx, id, |set, cx| set.on_payload(cx, holder, req, payload, digests));
        } else {
            cx.drop_payload(payload);
        }
    }

    /// `progress_of` returns how far a file's own download is.
    pub(super) fn on_tick(&mut self, cx: &mut Context, id: DownloadId, progress_of: impl Fn(DownloadId) -> Progress) {
        self.with(cx, id, |set, cx| set.on_tick(cx, progress_of));
    }

    /// How far the files of a collection are, with its size as far as it is listed. None while its
    /// list is fetched.
    pub(super) fn progress_of(&self, id: DownloadId, of: impl Fn(DownloadId) -> Progress) -> Option<Progress> {
        self.sets.get(&id).map(|set| set.progress(of))
    }

    // ---- the end --------------------------------------------------------------------------------

    pub(super) fn on_client_gone(&mut self, cx: &mut Context, client: ClientId) {
        let ids: Vec<_> = self.sets.iter().filter(|(_, set)| set.client() == client).map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(mut set) = self.sets.remove(&id) {
                self.bytes_ended += set.bytes_received();
                set.stop(cx);
            }
        }
        self.orders.retain(|order| order.client != client);
    }

    pub(super) fn shut_down(&mut self, cx: &mut Context) {
        self.orders.clear();
        let ids: Vec<_> = self.sets.keys().copied().collect();
        for id in ids {
            self.with(cx, id, |set, cx| set.shut_down(cx));
        }
    }
}

#[cfg(test)]
mod tests;
