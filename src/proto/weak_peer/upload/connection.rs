//! One accepted chunk connection: the identity of the other side, its requests, and whether it
//! reads its bytes fast enough to stay connected.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::request::{Request, Stage};
use crate::config::{
    CHUNK_BYTES_MAX, CHUNK_IDLE_MAX, CROWD_FRESH, FRAME_BYTES_OPEN, UPLOAD_AHEAD_MAX, UPLOAD_BUSY_MAX, UPLOAD_LAG_MAX,
    UPLOAD_PROVEN_BYTES,
};
use crate::proto::crowd::{Occupant, Rank};
use crate::proto::meter::Meter;
use crate::proto::weak_peer::context::{Context, Reason};
use crate::proto::weak_peer::swarm::turns::Follower;
use crate::proto::{ConnId, Output};
use crate::time::Time;
use crate::trust::{Account, PublicKey};
use crate::wire::NodeId;
use crate::wire::ids::Root;

/// Which messages a connection has sent so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    /// HELLO has not come.
    Hello,
    /// In login mode: HELLO has come, but LOGIN has not.
    Login,
    /// All have come, and requests are served.
    Open,
}

/// One accepted chunk connection.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) from: SocketAddr,
    pub(super) greeting: Greeting,
    /// In login mode: the key that the other side has proved, and its account once it is logged in.
    pub(super) key: Option<PublicKey>,
    pub(super) account: Option<Account>,
    /// By when the connection must be open.
    pub(super) open_by: Time,
    /// The requests in order of arrival. Answers are sent in this order.
    pub(super) requests: VecDeque<Request>,
    /// When the last request arrived or ended.
    pub(super) active_at: Time,
    /// Since when it counts as idle. This begins with the time of accept. With each byte that the
    /// connection reads, it moves forward by the time that one byte needs at
    /// [`crate::config::UPLOAD_RATE_MIN`]. So a connection that reads a few bytes now and then
    /// counts as idle.
    pub(super) idle_since: Time,
    /// Bytes of content that the other side has read.
    pub(super) taken: u64,
    /// The rate at which the other side has read lately.
    pub(super) rate: Meter,
    /// The content of the last request.
    pub(super) root: Option<Root>,
    /// Its node, as its HELLO says.
    pub(super) node: Option<NodeId>,
    /// Its HELLO has the feature of swarms.
    pub(super) swarms: bool,
    /// The content that the other side follows, and the turns that it waits for.
    pub(super) follower: Option<Follower>,
    /// Bytes of chunks that were requested and not sent yet.
    pub(super) asked: u64,
}

impl Upload {
    /// The other side has read bytes of content.
    pub(super) fn on_taken(&mut self, now: Time, bytes: u64, rate_min: u64) {
        self.taken = self.taken.saturating_add(bytes);
        self.rate.add(now, bytes);
        let ahead = if self.taken >= UPLOAD_PROVEN_BYTES { UPLOAD_AHEAD_MAX } else { Duration::ZERO };
        let worth = Duration::from_micros(bytes.saturating_mul(1_000_000) / rate_min);
        self.idle_since = (self.idle_since + worth).min(now + ahead);
    }

    /// Its place among the connections that may be closed to make room. None if the other side
    /// reads at a sufficient rate.
    pub(super) fn occupant(&self, conn: ConnId, now: Time) -> Option<Occupant> {
        let idle = now.since(self.idle_since);
        if self.taken >= UPLOAD_PROVEN_BYTES && idle <= UPLOAD_LAG_MAX {
            return None;
        }
        let asks = !self.requests.is_empty() || self.taken > 0 && now.since(self.active_at) < CROWD_FRESH;
        let rank = if asks && idle < UPLOAD_BUSY_MAX { Rank::Busy } else { Rank::Idle };
        Some(Occupant { conn, host: self.from.ip().into(), rank, since: self.idle_since })
    }

    /// How many bytes may be prepared in advance: one chunk, plus as many bytes as the other side
    /// has read. So a connection that reads nothing costs little work. The chunk that is being sent
    /// counts as read, so that the next chunk is ready when it ends.
    pub(super) fn room(&self) -> u64 {
        let first = self.requests.front().filter(|request| matches!(request.stage, Stage::Sending));
        let taken = self.taken.saturating_add(first.map_or(0, Request::bytes));
        taken.saturating_add(u64::from(CHUNK_BYTES_MAX))
    }

    /// Whether the credential with which it was opened has expired.
    pub(super) fn is_expired(&self, cx: &Context) -> bool {
        let ends = self.account.as_ref().filter(|account| !account.dates_ignored).and_then(|account| account.not_after);
        ends.zip(cx.membership.as_ref()).is_some_and(|(ends, membership)| ends < membership.unix(cx.now))
    }

    /// When to look at it again: then it may be idle, or its credential may have expired.
    pub(super) fn look_at(&self, cx: &Context, idle_at: Time) -> Time {
        let idle = idle_at + CHUNK_IDLE_MAX;
        let ends = self.account.as_ref().filter(|account| !account.dates_ignored).and_then(|account| account.not_after);
        let left = ends.zip(cx.membership.as_ref());
        let left = left.map(|(ends, membership)| ends.saturating_add(1).saturating_sub(membership.unix(cx.now)));
        left.map_or(idle, |left| idle.min(cx.now + Duration::from_secs(left.max(1))))
    }

    pub(super) fn find(&mut self, req: u32) -> Option<&mut Request> {
        self.requests.iter_mut().find(|request| request.req == req)
    }
}

/// Requests are served from now on.
pub(super) fn open(cx: &mut Context, conn: ConnId, upload: &mut Upload) {
    upload.greeting = Greeting::Open;
    upload.active_at = cx.now;
    cx.push(Output::FrameCap { conn, bytes: FRAME_BYTES_OPEN });
    let at = upload.look_at(cx, cx.now);
    cx.timers.set(Reason::Upload(conn), at);
}
