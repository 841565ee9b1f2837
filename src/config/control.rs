//! Limits of the control socket and of the configuration file.

/// Longest line on a control socket, in bytes.
pub const CONTROL_LINE_BYTES_MAX: usize = 64 * 1024;
/// Connections to the control socket at once. One more replaces the connection that has been idle
/// longest. If all of them wait for answers, it is closed.
pub const CONTROL_CLIENTS_MAX: usize = 64;
/// Clients of the control socket that are accepted per turn. Their first lines are read in the same
/// turn, so that a crowd cannot displace a client that has sent a request.
pub const CONTROL_ACCEPTS_PER_TURN: usize = 32;
/// Commands that run at once on one control connection. One more ends at once with exit 2.
pub const CONTROL_COMMANDS_MAX: usize = 64;
/// Lines taken from all control connections together per turn.
pub const CONTROL_LINES_PER_TURN: usize = 64;
/// Bytes in the send queue of a control connection. A connection whose queue is full is closed.
pub const CONTROL_QUEUE_BYTES_MAX: usize = 4 << 20;
/// Numbered events that are kept for clients that ask for them later. If there are more, the oldest
/// is dropped. A client that has not seen it gets its number.
pub const EVENTS_KEPT: usize = 256;
/// Commands of the control socket that follow the events at once. One more ends with exit 5. Half
/// of the connections stay free for other commands.
pub const CONTROL_FOLLOWERS_MAX: usize = CONTROL_CLIENTS_MAX / 2;

/// How long `sprat map` waits for one super peer before it continues without it.
pub const MAP_LOOK_MAX: std::time::Duration = std::time::Duration::from_secs(3);
/// Super peers that one map asks. More are listed but not asked.
pub const MAP_SUPERS_MAX: usize = 1000;

/// Longest configuration file, in bytes. A longer one is refused.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;

const _: () =
    assert!(CONTROL_ACCEPTS_PER_TURN < CONTROL_CLIENTS_MAX && CONTROL_ACCEPTS_PER_TURN <= CONTROL_LINES_PER_TURN);
