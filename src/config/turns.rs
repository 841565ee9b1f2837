//! Limits of the loop: what one turn does, buffers, descriptors, the end of connections.

use std::time::Duration;

use super::links::LINKS_MAX;

/// Longest turn that the histogram of turns distinguishes from longer ones, in microseconds: 60 s.
pub const TURN_MICROS_MAX: u64 = 60_000_000;
/// Bytes read per connection and turn; a connection with more to read goes to the back of the run
/// queue.
pub const TURN_BYTES_PER_CONNECTION: usize = 256 * 1024;
/// Bytes of files written per turn, shared equally by the connections that have some to write and
/// those that serve HTTP: one chunk. They are more than the bytes read, because these bytes are not
/// copied.
pub const TURN_BYTES_WRITTEN: usize = 1024 * 1024;
/// Bytes of files that a connection may write per turn in any case, so that one system call sends
/// many. The turn ends its writing in time ([`TURN_BULK_MAX`]), so there may be many connections.
pub const TURN_BYTES_WRITTEN_MIN: usize = 256 * 1024;
/// Time of a turn after which the turn reads nothing more, even if input is left: a long turn makes
/// all peers wait.
pub const TURN_READ_MAX: Duration = Duration::from_micros(500);
/// Time that a turn has for the answers of the disk, even if the turn is late. Without it, input
/// from a crowd would delay the answers to requests that were read before.
pub const TURN_REPORTS_MIN: Duration = Duration::from_micros(250);
/// Queries after which a turn reads the clock again, because reading the clock has a cost compared
/// with a small query. The cost of queries is bounded by the work of a turn. After any other input
/// the turn reads the clock at once.
pub const QUERIES_PER_LOOK: u32 = 4;
/// Messages that are read from a connection before other connections are read, if very many others
/// have something to read; see [`MESSAGES_PER_PASS`].
pub const MESSAGES_IN_A_ROW_MIN: usize = 4;
/// Messages that are read while each waiting connection gets one turn: each may send its equal part
/// of these in a row, or [`MESSAGES_IN_A_ROW_MIN`] if that is more. A newcomer then waits for that
/// many messages, and not for everything that the others have sent. A connection should not get
/// fewer in a row than is needed: its answers are written after each turn, with one system call.
pub const MESSAGES_PER_PASS: usize = 1024;
/// While fewer connections than this have something to read, each is read until its bytes are used
/// up: changing between them costs more than it gains.
pub const CROWD_WAITING: usize = 16;
/// Bytes that one read takes from a connection while at least [`CROWD_WAITING`] others have
/// something to read. What follows the messages in a row is copied, and is used after the turns of
/// the others.
pub const CROWD_READ_BYTES: usize = 4096;
/// Connections on which a turn writes what was queued.
pub const FLUSHES_PER_TURN: usize = 256;
/// Deadlines of sockets that one turn acts on.
pub const DEADLINES_PER_TURN: usize = 256;
/// Time of a turn after which the turn reads no further request of HTTP and accepts no further
/// connection, except that each turn takes one of these. A crowd of strangers then delays a query
/// by little.
pub const TURN_STRANGERS_MAX: Duration = Duration::from_micros(100);
/// Time of a turn after which the turn neither writes to more connections nor acts on more
/// deadlines of sockets. Each of these takes one system call or several.
pub const TURN_WRITE_MAX: Duration = Duration::from_millis(1);
/// A turn writes frames to this many connections, and acts on as many deadlines of sockets, even if
/// it is late. So the loop always makes progress.
pub const LATE_STEPS: usize = 4;
/// Time that each turn has, however late it is, to write to connections that serve HTTP or have
/// files to write, and as much again to free connections that are gone. Each takes one step at
/// least. Other connections are written before these, because their frames are short and somebody
/// waits for them.
pub const TURN_BULK_MAX: Duration = Duration::from_micros(100);
/// Connections that are gone and are freed in one turn while descriptors are short. Then the time
/// does not count.
pub const FREED_PER_TURN: usize = 256;
/// After a gap of this length between two turns, the process or the computer was stopped. Then no
/// timer fires before all input that has arrived is read.
pub const TURN_GAP_LONG: Duration = Duration::from_secs(1);
/// Most turns for which timers wait after such a gap.
pub const CATCHING_UP_TURNS_MAX: u32 = 1024;
/// Connections accepted per listener and turn.
pub const ACCEPTS_PER_TURN: usize = 64;
/// Deadlines of sockets that are kept in addition to two per connection; if there are more, entries
/// that are not valid any more are removed.
pub const DEADLINES_SPARE: usize = 64;
/// Descriptors that are kept back for files, the watcher, the control socket, and newcomers until
/// idle connections are closed for them: an eighth of the limit within these bounds, but at most
/// half of it.
pub const DESCRIPTORS_RESERVED_MIN: usize = 64;
/// Above this value the reserve does not grow. A quarter is for newcomers, a quarter for the
/// control socket, and the rest for files.
pub const DESCRIPTORS_RESERVED_MAX: usize = 256;
/// How many of `descriptors` are reserved.
#[must_use]
pub fn descriptors_reserved(descriptors: usize) -> usize {
    (descriptors / 8).clamp(DESCRIPTORS_RESERVED_MIN, DESCRIPTORS_RESERVED_MAX).min(descriptors / 2)
}
/// Connections that are closed together after the system has no descriptor left.
pub const CROWD_BATCH: usize = 8;
/// Connections refused per [`ACCEPT_RETRY`] while descriptors are short. Further connections wait
/// in the kernel.
pub const REFUSALS_PER_RETRY: usize = 64;
/// After descriptors ran out, when to accept again if none was freed here.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How long a daemon that was asked to end waits until the chunks that it sends and its BYEs are
/// written.
pub const DRAIN_MAX: Duration = Duration::from_secs(5);
/// How long a node whose work is done (a one-shot command) waits until its BYEs are written.
pub const DRAIN_DONE_MAX: Duration = Duration::from_millis(500);
/// Events taken from the poll at once; after a full batch the timers wait, so that queued input is
/// read first.
pub const EVENTS_PER_TURN: usize = 1024;
/// Consecutive turns after which due timers fire in any case.
pub const TIMERS_PUT_OFF_TURNS_MAX: u32 = 32;
/// The one buffer that all connections of a loop are read into, in bytes.
pub const READ_SCRATCH_BYTES: usize = 64 * 1024;
/// A send queue longer than this, in bytes, is written before the turn ends. While that is not
/// possible, nothing more is read from that connection, so that pipelined requests wait at their
/// sender.
pub const SEND_QUEUE_BYTES_EARLY: usize = 64 * 1024;
/// A send queue that is longer than this, in bytes, after an attempt to write it is a backlog: the
/// other side does not read. Until it is written, its queries wait and nothing is read from it. So
/// a session that never reads costs at most this memory, plus twice
/// [`super::SESSION_BYTES_PER_TURN`], one step of a search, and its queries.
pub const BACKLOG_BYTES: usize = 16 * 1024;
/// Connections that wait in the kernel to be accepted, per listener.
pub const LISTEN_BACKLOG: i32 = 4096;
/// Tries to find a port number that is free for both TCP and UDP, if any port will do.
pub const PORT_PAIR_TRIES: usize = 16;
/// How long a closed connection is still read, and its bytes discarded, so that a reset does not
/// overtake the last frames.
pub const LINGER_MAX: Duration = Duration::from_secs(1);
/// How many bytes of a closed connection are read at most.
pub const LINGER_BYTES_MAX: usize = 4 << 20;
/// Chunk buffers of 1 MiB in use at the same time, each from the first byte until the piece is
/// written. While all are in use, further chunks stay unread in their sockets.
pub const CHUNK_BUFFERS_MAX: usize = 64;
/// Empty chunk buffers of 1 MiB that are kept when none is in use. Before that, all are kept.
pub const CHUNK_BUFFERS_KEPT: usize = 8;
/// Empty frame buffers that are kept.
pub const FRAME_BUFFERS_KEPT: usize = 64;
/// Longest frame buffer that is kept, in bytes.
pub const FRAME_BUFFER_BYTES_KEPT: usize = 16 * 1024;
/// Host names that wait for the resolver. One more counts as a name that does not resolve. All
/// neighbors of a super peer may wait.
pub const RESOLVES_WAITING_MAX: usize = LINKS_MAX;
/// Threads that resolve host names, so that a name whose servers do not answer delays few others.
pub const RESOLVER_THREADS: usize = 4;

const _: () = assert!(CHUNK_BUFFERS_KEPT <= CHUNK_BUFFERS_MAX);
