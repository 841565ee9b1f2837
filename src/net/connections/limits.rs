//! The connections that wait until a limit on bytes per second lets more bytes pass, and their
//! order.

use std::collections::btree_map::Entry;

use super::Connections;
use crate::config::{FLUSHES_PER_TURN, RATE_BURST_SENT, RATE_HEAD_BYTES, TURN_BYTES_PER_CONNECTION};
use crate::net::connection::Phase;
use crate::net::context::Context;
use crate::net::throttle::Throttle;
use crate::proto::ConnId;
use crate::proto::command::RateLimits;
use crate::time::Time;

impl Connections {
    pub(in crate::net) fn set_limits(&mut self, limits: RateLimits, now: Time) {
        self.upload.set_rate(limits.upload, now);
        self.download.set_rate(limits.download, now);
    }

    /// Limits what is sent to the account of a connection, in bytes per second.
    pub(in crate::net) fn limit_account(&mut self, id: ConnId, account: u64, rate: u64, now: Time) {
        if self.get(id).is_some_and(|conn| conn.account != account) {
            self.leave_account(id);
        }
        let Some(conn) = self.table.get_mut(id) else { return };
        let (throttle, conns) = self.accounts.entry(account).or_insert_with(|| (Throttle::new(RATE_BURST_SENT), 0));
        *conns += usize::from(std::mem::replace(&mut conn.account, account) != account);
        throttle.set_rate(rate, now);
    }

    /// The connection ends.
    pub(super) fn leave_account(&mut self, id: ConnId) {
        let account = self.table.get_mut(id).map_or(0, |conn| std::mem::take(&mut conn.account));
        if let Entry::Occupied(mut entry) = self.accounts.entry(account) {
            entry.get_mut().1 -= 1;
            if entry.get().1 == 0 {
                entry.remove();
            }
        }
    }

    /// The connection has sent bytes of files.
    pub(super) fn note_sent(&mut self, id: ConnId, bytes: usize) {
        self.upload.take(bytes);
        if let Some(conn) = self.table.get(id)
            && let Some((throttle, _)) = self.accounts.get_mut(&conn.account)
        {
            throttle.take(bytes);
        }
    }

    /// Time has passed: more bytes may pass.
    pub(super) fn fill_limits(&mut self, now: Time) {
        let accounts = self.accounts.values_mut().map(|(throttle, _)| throttle);
        accounts.chain([&mut self.upload, &mut self.download]).for_each(|throttle| throttle.fill(now));
    }

    /// When the next connection has waited long enough.
    pub(in crate::net) fn limits_due(&self) -> Option<Time> {
        let accounts = self.accounts.values().map(|(throttle, _)| throttle);
        accounts.chain([&self.upload, &self.download]).filter_map(Throttle::due).min()
    }

    /// Lets the connections continue that have waited long enough.
    pub(in crate::net) fn resume(&mut self, ctx: &mut Context) {
        for _ in 0..self.upload.len().min(FLUSHES_PER_TURN) {
            let Some(id) = self.upload.next() else { break };
            if let Some(conn) = self.table.get_mut(id) {
                conn.resume_writing(ctx.now);
                let own = self.accounts.get_mut(&conn.account);
                let own = own.map_or(usize::MAX, |(own, _)| own.admit(id, &mut conn.waits_to_write));
                let room = self.upload.room().min(own);
                self.write_one(id, room, ctx);
            }
        }
        for account in self.accounts.keys().copied().collect::<Vec<_>>() {
            for _ in 0..self.accounts.get(&account).map_or(0, |(own, _)| own.len().min(FLUSHES_PER_TURN)) {
                let Some((own, _)) = self.accounts.get_mut(&account) else { break };
                let Some(id) = own.next() else { break };
                if let Some(conn) = self.table.get_mut(id) {
                    conn.resume_writing(ctx.now);
                    let room = self.upload.admit(id, &mut conn.waits_to_write).min(own.room());
                    self.write_one(id, room, ctx);
                }
            }
        }
        // The next turn shows how much the connection reads. Only then may the next connection
        // follow.
        while let Some(id) = self.download.next() {
            if let Some(conn) = self.table.get_mut(id) {
                conn.waits_to_read = false;
                if conn.wants_read() && !conn.queued {
                    (conn.queued, conn.may_read) = (true, true);
                    self.run.push_back(id);
                    break;
                }
            }
        }
    }

    /// How many bytes of files the connection may write. If it may write none, it waits.
    pub(super) fn upload_room(&mut self, id: ConnId) -> usize {
        let Connections { table, accounts, upload, .. } = self;
        let Some(conn) = table.get_mut(id).filter(|conn| conn.has_files()) else { return usize::MAX };
        let own = accounts.get_mut(&conn.account);
        let own = own.map_or(usize::MAX, |(own, _)| own.admit(id, &mut conn.waits_to_write));
        if own == 0 { 0 } else { own.min(upload.admit(id, &mut conn.waits_to_write)) }
    }

    /// How many bytes the connection may read in this turn; none while it waits.
    pub(super) fn read_budget(&mut self, id: ConnId) -> Option<usize> {
        let conn = self.table.get_mut(id)?;
        let is_its_turn = std::mem::take(&mut conn.may_read);
        let room = match conn.phase {
            Phase::Receiving(_) if is_its_turn && self.download.room() > 0 => self.download.room(),
            Phase::Receiving(_) => self.download.admit(id, &mut conn.waits_to_read),
            // Bytes of a chunk may come together with the next message.
            Phase::Open => self.download.room().max(RATE_HEAD_BYTES),
            Phase::Connecting { .. }
            | Phase::Handshaking(_)
            | Phase::ChunkAnnounced
            | Phase::Http(_)
            | Phase::Deaf
            | Phase::Closing { .. }
            | Phase::Lingering { .. }
            | Phase::Dead => usize::MAX,
        };
        (room > 0).then_some(room.min(TURN_BYTES_PER_CONNECTION))
    }
}
