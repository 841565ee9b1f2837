//! A connection that speaks HTTP: the bytes of its next request, whether a request is being
//! answered, and when it is too slow. It reads no socket and knows no content.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::{
    HTTP_FAST_BYTES, HTTP_FAST_WITHIN, HTTP_FIRST_BYTES_PER_TURN, HTTP_HEAD_MAX, HTTP_IDLE_MAX, HTTP_RATE_AFTER,
    HTTP_RATE_MIN, HTTP_UNSENT_MAX, UNSENT_BYTES_MAX, WRITE_STALL_MAX,
};
use crate::http::{Reader, Refusal, Request, Surface};
use crate::proto::CloseReason;
use crate::time::Time;

/// The HTTP state of a connection.
#[derive(Debug)]
pub(in crate::net) struct Http {
    pub(in crate::net) surface: Surface,
    /// The address of the client, once it has sent a request.
    pub(in crate::net) from: Option<IpAddr>,
    reader: Reader,
    answering: Answering,
    /// Whether the answer that is being sent is the last one, and whether the client has said so.
    last: bool,
    says_last: bool,
    /// When the first byte of the head came. If none has come: when the last answer ended, or when
    /// the connection began.
    since: Time,
    /// Whether a complete request must come within [`HTTP_HEAD_MAX`]. This is so if the connection
    /// is new, or if a head has begun.
    expects: bool,
    /// Whether the reader has bytes that it has not looked at.
    fresh: bool,
    /// While a request is answered: bytes written since `since`.
    written: u64,
    unsent: Unsent,
}

/// How many bytes the kernel accepts and has not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unsent {
    /// As many as for every connection.
    Usual,
    /// More, because the client is fast.
    Raised,
    /// As many as usual, but it has accepted more before, and has not sent them yet.
    Lowered,
    /// As many as usual until the answer ends, because the client has become slow.
    Slow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answering {
    No,
    /// The next request waits until the answer to this request is queued.
    Yes,
    /// The answer has no end. Bytes that arrive are discarded.
    Stream,
}

impl Http {
    pub(in crate::net) fn new(surface: Surface, now: Time) -> Http {
        Http {
            surface,
            from: None,
            reader: Reader::new(surface),
            answering: Answering::No,
            last: false,
            says_last: false,
            since: now,
            expects: true,
            fresh: false,
            written: 0,
            unsent: Unsent::Usual,
        }
    }

    pub(super) fn wants_read(&self, readable: bool) -> bool {
        match self.answering {
            Answering::No => readable || self.fresh,
            Answering::Yes => false,
            Answering::Stream => readable,
        }
    }

    pub(in crate::net) fn is_answering(&self) -> bool {
        self.answering != Answering::No
    }

    pub(super) fn is_stream(&self) -> bool {
        self.answering == Answering::Stream
    }

    pub(super) fn buffer_bytes(&self) -> usize {
        self.reader.buffer_bytes()
    }

    /// Keeps bytes that arrived. If the answer is a stream, discards them.
    pub(super) fn hold(&mut self, bytes: &[u8]) {
        if self.answering != Answering::Stream {
            self.reader.hold(bytes);
            self.fresh |= !bytes.is_empty();
        }
    }

    /// Keeps bytes that arrived. Notes when a head begins.
    pub(super) fn take(&mut self, bytes: &[u8], now: Time) {
        if bytes.is_empty() {
            return;
        }
        if self.answering == Answering::No && !self.expects {
            (self.since, self.expects) = (now, true);
        }
        self.hold(bytes);
    }

    /// The next request, if it is complete and no other request is being answered.
    pub(super) fn next(&mut self, now: Time) -> Result<Option<Request>, Refusal> {
        if self.answering != Answering::No || self.reader.is_empty() {
            return Ok(None);
        }
        self.fresh = false;
        if !self.expects {
            (self.since, self.expects) = (now, true);
        }
        let Some(request) = self.reader.take_request()? else { return Ok(None) };
        self.answering = Answering::Yes;
        self.says_last = !request.keep_alive;
        self.last |= self.says_last;
        (self.since, self.expects, self.written) = (now, false, 0);
        Ok(Some(request))
    }

    /// Whether the client waits for the status 100. Returns `true` once for a request.
    pub(super) fn take_wait(&mut self) -> bool {
        self.reader.take_wait()
    }

    /// The answer has no end of its own. It ends when the client leaves.
    pub(in crate::net) fn begin_stream(&mut self) {
        self.answering = Answering::Stream;
    }

    /// The answer is queued. Returns `false` if it was the last one, because the connection must
    /// then be closed.
    pub(in crate::net) fn end_answer(&mut self, last: bool, now: Time) -> bool {
        self.answering = Answering::No;
        (self.since, self.expects, self.fresh) = (now, false, !self.reader.is_empty());
        !(self.last || last)
    }

    /// Whether the client has said that its last request is the last one, and has sent nothing
    /// after it. Then it sends nothing more (RFC 9112, 9.6).
    pub(in crate::net) fn was_last(&self) -> bool {
        self.says_last && self.reader.is_empty()
    }

    /// After the present request no request is answered. Returns `false` if no request is being
    /// answered, or if the answer has no end.
    pub(in crate::net) fn drain(&mut self) -> bool {
        self.last = true;
        self.answering == Answering::Yes
    }

    /// The answer ends. Returns whether the kernel must accept as many bytes as usual again, for as
    /// long as usual.
    pub(in crate::net) fn reset_unsent(&mut self) -> bool {
        std::mem::replace(&mut self.unsent, Unsent::Usual) != Unsent::Usual
    }

    /// Bytes were written. Returns whether the client turns out to be fast, so that the kernel may
    /// accept more. This `may` be so only while few clients are there.
    pub(super) fn on_written(&mut self, count: usize, may: bool, now: Time) -> bool {
        self.written += count as u64;
        let is_fast = may && self.written >= HTTP_FAST_BYTES && now.since(self.since) <= HTTP_FAST_WITHIN;
        match self.unsent {
            Unsent::Usual if is_fast && self.answering == Answering::Yes => self.unsent = Unsent::Raised,
            Unsent::Lowered if count > 0 => {
                self.unsent = Unsent::Slow;
                return false;
            }
            Unsent::Usual | Unsent::Raised | Unsent::Lowered | Unsent::Slow => return false,
        }
        true
    }

    /// How many bytes of files it may write in this turn, in which each connection may write
    /// `share`.
    pub(super) fn share_of(&self, share: usize) -> usize {
        let begins = self.written < u64::from(UNSENT_BYTES_MAX);
        if begins { share.min(HTTP_FIRST_BYTES_PER_TURN) } else { share }
    }

    /// The kernel has accepted nothing for too long. Returns `false` if the client is too slow.
    /// Otherwise it was fast before: the kernel must accept less now, and has more time.
    pub(super) fn lower_unsent(&mut self) -> bool {
        let was_raised = self.unsent == Unsent::Raised && self.answering == Answering::Yes;
        if was_raised {
            self.unsent = Unsent::Lowered;
        }
        was_raised
    }

    /// How long the kernel may accept nothing.
    pub(super) fn stall_max(&self) -> Duration {
        let extra = if self.unsent == Unsent::Lowered { HTTP_UNSENT_MAX } else { Duration::ZERO };
        WRITE_STALL_MAX + extra
    }

    /// Since when the connection has had no request.
    pub(in crate::net) fn idle_since(&self) -> Option<Time> {
        (self.answering == Answering::No).then_some(self.since)
    }

    /// Whether the client reads its answer so slowly that the connection may be closed for another
    /// one.
    pub(in crate::net) fn is_slow(&self, now: Time) -> bool {
        let took = now.since(self.since);
        let least = u64::try_from(took.as_millis()).unwrap_or(u64::MAX) / 1000 * HTTP_RATE_MIN;
        self.answering == Answering::Yes && took >= HTTP_RATE_AFTER && self.written < least
    }

    /// When it is too slow, unless a complete request comes before.
    pub(super) fn deadline(&self) -> Option<Time> {
        let most: Duration = if self.expects { HTTP_HEAD_MAX } else { HTTP_IDLE_MAX };
        (self.answering == Answering::No).then(|| self.since + most)
    }

    /// The reason why it ends after its deadline.
    pub(super) fn overdue(&self) -> CloseReason {
        if self.expects && !self.reader.is_empty() { CloseReason::SlowFrame } else { CloseReason::Asked }
    }
}
