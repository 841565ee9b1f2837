//! What the line reader, the node and the log send to the console of the prompt, and what the
//! console replies to the line reader.

use std::sync::Arc;

use crate::proto::{ClientEvent, ClientId};
use crate::wire::HostPort;

/// Input of the console.
pub(crate) enum News {
    /// A session is up: lines may be read.
    Welcomed { super_peer: HostPort },
    /// A session is lost.
    Lost { super_peer: HostPort, why: String },
    /// The progress of the hashing of the share: the number of files left, the hashed bytes, and
    /// all bytes. All are 0 if no file is left.
    Hashing { files: u64, bytes: u64, size: u64 },
    /// A line that was read, or the reason why it cannot be used.
    Line(Result<String, String>),
    /// The user has canceled the line with Ctrl-C while typing it.
    Dropped { was_empty: bool },
    /// The user has pressed Ctrl-C while no line was being typed.
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

/// The reply to the line reader: read the next line.
pub(crate) struct Reply {
    /// Names that were last shown, for completion.
    pub(super) names: Arc<Vec<String>>,
    /// The text before the line.
    pub(super) prompt: &'static str,
    /// Whether the line is a command. Then it is kept in the history.
    pub(super) is_command: bool,
    /// Whether there is no next line.
    pub(super) exit: bool,
}
