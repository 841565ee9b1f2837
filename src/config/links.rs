//! Limits of links: HELLOs, keys, names of neighbors, trees, datagrams.

use std::time::Duration;

use super::sessions::DIAL_ADDRESSES_MAX;

/// Interval at which a link that is up sends HELLO.
pub const LINK_KEEPALIVE: Duration = Duration::from_secs(2);
/// A neighbor that we hear but that does not hear us counts as silent after this.
pub const LINK_SILENCE_MAX: Duration = Duration::from_millis(6500);
/// Interval at which HELLO is sent on a link that is not up.
pub const LINK_RETRY: Duration = Duration::from_secs(1);
/// A HELLO without an answer is repeated after this, or after the retransmission time if that is
/// longer. This is often enough to keep a link up that loses three of ten datagrams in each
/// direction.
pub const LINK_REPEAT: Duration = Duration::from_millis(250);
/// If the HELLOs on a link have had no answer for this long, the link is down: the neighbor does
/// not hear us. Together with the keepalive, this is found within [`LINK_SILENCE_MAX`].
pub const LINK_ANSWER_MAX: Duration = Duration::from_millis(4500);
/// A sealed datagram is accepted only if its number is less than this below the greatest one (RFC
/// 6479). A smaller window would lose datagrams that a path reorders. The window takes 256 bytes.
pub const LINK_REPLAY_WINDOW: u64 = 1984;
/// Age at which the side that began the handshake makes new keys for a link.
pub const LINK_REKEY_AFTER: Duration = Duration::from_secs(120);
/// How much later the other side makes new keys, if the first side did not.
pub const LINK_REKEY_GRACE: Duration = Duration::from_secs(10);
/// After this many datagrams with the same keys, new keys are made.
pub const LINK_REKEY_DATAGRAMS: u64 = 1 << 24;
/// Age at which keys are erased. Recorded datagrams from before cannot be decrypted after that.
pub const LINK_KEYS_MAX: Duration = Duration::from_secs(180);
/// How long a handshake without an answer is awaited before another one begins. This is a bit
/// shorter than [`LINK_RETRY`], because the next HELLO needs the new handshake.
pub const LINK_HANDSHAKE_RETRY: Duration = Duration::from_millis(900);
/// If nothing was heard from a neighbor for this long, its keys may be lost. The next datagram to
/// it then begins a handshake.
pub const LINK_UNHEARD_MAX: Duration = Duration::from_millis(3500);
/// Initiations from hosts of neighbors that are read per second, because each costs some
/// Diffie-Hellman computations. More are dropped.
pub const HANDSHAKES_KNOWN_PER_SECOND: u64 = 256;
/// Initiations from all other hosts together that are read per second.
pub const HANDSHAKES_STRANGE_PER_SECOND: u64 = 32;
/// Sockets that serve one neighbor each, so that datagrams of strangers do not displace those of
/// neighbors. More neighbors share the common socket.
pub const LINK_SOCKETS_MAX: usize = 32;
/// How many unanswered greetings are reported for the log in a second.
pub const DATAGRAM_NOTICES_PER_SECOND: u64 = 64;
/// Addresses whose numbers of datagrams are remembered in open mode.
pub const LINK_ADDRESSES_MAX: usize = LINKS_MAX * DIAL_ADDRESSES_MAX;
/// If a link has not come up within this time, this is reported with the likely cause.
pub const LINK_TROUBLE_AFTER: Duration = Duration::from_secs(5);
/// How many restarts of one neighbor are reported within [`LINK_RESTARTS_WINDOW`]. More are only
/// counted, so that a neighbor whose boot id changes all the time does not fill the log.
pub const LINK_RESTARTS_REPORTED: u32 = 4;
/// See [`LINK_RESTARTS_REPORTED`].
pub const LINK_RESTARTS_WINDOW: Duration = Duration::from_secs(60);
/// For the log: how many addresses are remembered that send HELLOs and are not neighbors. More are
/// only counted.
pub const STRANGERS_MAX: usize = 64;
/// Time after which such an address is reported again, and the window of [`STRANGER_REPORTS_MAX`].
pub const STRANGER_REPORT_EVERY: Duration = Duration::from_secs(600);
/// Lines about such addresses in one window.
pub const STRANGER_REPORTS_MAX: u32 = 16;
/// First wait before the name of a neighbor is resolved again while its link is not up. It doubles
/// each time.
pub const LINK_RESOLVE_FIRST: Duration = Duration::from_secs(1);
/// The longest of these waits. If the address of a neighbor has changed, it is found within this
/// time.
pub const LINK_RESOLVE_MAX: Duration = Duration::from_secs(15);
/// How long a super peer without a tree listens before it grows one.
pub const TREE_SETTLE: Duration = Duration::from_millis(500);
/// Shortest time between two trees of one root. It doubles with each tree, until a tree is held for
/// 30 s.
pub const TREE_GAP_MIN: Duration = Duration::from_secs(1);
/// Greatest value of that time, even if the network changes often.
pub const TREE_GAP_MAX: Duration = Duration::from_secs(16);
/// A tree that is not complete within this time is given up.
pub const TREE_GROWTH_MAX: Duration = Duration::from_secs(10);
/// How long a super peer waits after its tree has become void, before it accepts a tree of a higher
/// root or grows one itself. In this time the root should grow the next tree.
pub const TREE_ROOT_PATIENCE: Duration = Duration::from_secs(4);
/// Neighbors of one super peer.
pub const LINKS_MAX: usize = 256;
/// Links that INFO lists. Links that are not up come first. Even with long names and all addresses
/// they fit in a frame.
pub const INFO_LINKS_MAX: usize = 40;
/// Longest sentence about a link in INFO, in bytes.
pub const INFO_LINK_WHY_BYTES_MAX: usize = 400;
/// Datagrams read per turn, so that a flood cannot starve the sessions.
pub const DATAGRAMS_PER_TURN: usize = 256;
/// Errors of sent datagrams that are read per turn. More wait for the next turn.
pub const DATAGRAM_ERRORS_PER_TURN: usize = 16;
/// Receive buffer requested for the UDP socket, in bytes. It has room for a burst of one turn's
/// datagrams.
pub const DATAGRAM_BUFFER_BYTES: usize = 1 << 20;

const _: () = assert!(LINK_KEEPALIVE.as_millis() + LINK_ANSWER_MAX.as_millis() <= LINK_SILENCE_MAX.as_millis());
const _: () = assert!(LINK_REPEAT.as_millis() * 4 < LINK_ANSWER_MAX.as_millis());
const _: () = assert!(LINK_HANDSHAKE_RETRY.as_millis() < LINK_RETRY.as_millis());
const _: () = assert!(LINK_KEEPALIVE.as_millis() < LINK_UNHEARD_MAX.as_millis());
const _: () = assert!(LINK_REKEY_AFTER.as_secs() + LINK_REKEY_GRACE.as_secs() < LINK_KEYS_MAX.as_secs());
