//! What the line reader, the node and the log send to the console of the prompt, and what it
//! replies to the line reader.

use std::sync::Arc;

use crate::proto::{ClientEvent, ClientId};
use crate::wire::HostPort;

/// Input of the console.
pub(crate) enum News {
    /// A session is up: lines may be read.
    Welcomed { super_peer: HostPort },
    /// A session is lost.
    Lost { super_peer: HostPort, why: String },
    /// How far the hashing of the share is: files that are left, bytes that are hashed, bytes of
    /// all. All are 0 if nothing is left.
    Hashing { files: u64, bytes: u64, size: u64 },
    /// A line that was read, or why it cannot be.
    Line(Result<String, String>),
    /// The line that was being typed was canceled with Ctrl-C.
    Dropped { was_empty: bool },
    /// Ctrl-C while no line was typed.
    Interrupted,
    /// There are no more lines.
    Closed,
    /// An event of the machine.
    Event { client: ClientId, event: Box<ClientEvent> },
    /// A line of the log, to be printed above the line that is being typed.
    Log(String),
    /// The node has ended.
    End,
}

/// Answer to the line reader: read the next line.
pub(crate) struct Reply {
    /// Names that were shown last, for completion.
    pub(super) names: Arc<Vec<String>>,
    /// What is printed before the line.
    pub(super) prompt: &'static str,
    /// The line is a command, to be kept in the history.
    pub(super) is_command: bool,
    /// There is no next line.
    pub(super) exit: bool,
}
