//! Every limit of the program. Each is one constant, with its unit in the name, its reason and, if
//! there is one, its source.
//!
//! Nothing here is read from a file or an option. The default of an option names its constant. Each
//! module has the limits of one part; the assertions below compare limits of different modules.

mod control;
mod digests;
mod disk;
mod downloads;
mod http;
mod limits;
mod links;
mod memory;
mod search;
mod sessions;
mod swarm;
mod trust;
mod turns;
mod uploads;
mod wire;

pub use control::*;
pub use digests::*;
pub use disk::*;
pub use downloads::*;
pub use http::*;
pub use limits::*;
pub use links::*;
pub use memory::*;
pub use search::*;
pub use sessions::*;
pub use swarm::*;
pub use trust::*;
pub use turns::*;
pub use uploads::*;
pub use wire::*;

const _: () = assert!(ROTATIONS_MAX * 128 + FRAME_BYTES_HELLO < FRAME_BYTES_WELCOME);
const _: () = assert!((OPERATORS_MAX + ROTATIONS_MAX + 1) * 34 + 64 < FRAME_BYTES_LOGIN);
const _: () = assert!(REVOKED_PAGE_KEYS * 50 < FRAME_BYTES_OPEN);
const _: () = assert!(DENIED_MAX * 50 < SEND_QUEUE_BYTES_MAX);
const _: () = assert!(CREDENTIAL_BYTES_MAX < 512 && CREDENTIAL_BYTES_MAX < FRAME_BYTES_LOGIN);
const _: () = assert!(UPDATES_IN_FLIGHT_MAX as usize * FRAME_BYTES_OPEN < SEND_QUEUE_BYTES_MAX);
const _: () = assert!(REPEATED_BYTES_FIRST > 4 * DATAGRAM_BYTES_MAX);
const _: () = assert!(DIGEST_LEASE_WAIT.as_millis() < LINK_SILENCE_MAX.as_millis());
const _: () = assert!(DIGEST_LEASE_WAIT.as_millis() < ANSWER_DEADLINE.as_millis());
const _: () = assert!(LINK_KEEPALIVE.as_millis() * 2 < DIGEST_LEASE.as_millis());
const _: () = assert!(DIGEST_STEP_BYTES + 128 + DATAGRAM_ENVELOPE_BYTES < DATAGRAM_BYTES_MAX);
const _: () = assert!(HTTP_HEAD_BYTES_MAX + HTTP_BODY_BYTES_MAX < READ_SCRATCH_BYTES);
const _: () = assert!(2 * HTTP_SEARCHES_MAX < SESSION_QUERIES_MAX);
const _: () = assert!(HTTP_GATEWAY_FETCHES_MAX < DOWNLOADS_MAX);
const _: () = assert!(READ_SCRATCH_BYTES >= FRAME_BYTES_LOGIN && READ_SCRATCH_BYTES <= TURN_BYTES_PER_CONNECTION);
const _: () =
    assert!(CONTROL_CLIENTS_MAX * 4 <= DESCRIPTORS_RESERVED_MAX && ACCEPTS_PER_TURN * 4 <= DESCRIPTORS_RESERVED_MAX);
const _: () = assert!(CROWD_PLAN_MAX <= UPLOADS_MAX && CROWD_PLAN_MAX < UNAUTHENTICATED_MAX);
// A connection waits in a full backlog for less than the time of a login, even if each of those
// that have not logged in uses all three times of grace.
const _: () = assert!(
    LISTEN_BACKLOG as u128 * 3 * HALF_OPEN_GRACE.as_millis() < UNAUTHENTICATED_MAX as u128 * LOGIN_DEADLINE.as_millis()
);
const _: () = assert!(WRITES_PENDING_MAX < CHUNK_BUFFERS_MAX && SOURCE_PIPELINE_MAX <= UPLOAD_REQUESTS_MAX / 2);
const _: () = assert!(BACKLOG_BYTES <= SEND_QUEUE_BYTES_EARLY && SEND_QUEUE_BYTES_EARLY < SEND_QUEUE_BYTES_MAX);
