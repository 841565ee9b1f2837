//! What a running machine takes over when the options of its daemon are read again. Everything else
//! of its configuration stays as it was at the start.

use std::sync::Arc;
use std::time::Duration;

use super::super_peer::LoginConfig;
use crate::trust::Pin;

/// Settings of a machine of either role.
#[derive(Clone, Debug)]
pub enum Settings {
    /// For a super peer.
    Super(Box<SuperSettings>),
    /// For a weak peer.
    Weak(WeakSettings),
}

/// Settings of a super peer; each as in [`super::super_peer::SuperPeerConfig`].
#[derive(Clone, Debug)]
pub struct SuperSettings {
    /// The neighbors. Links to those that stay are not touched.
    pub neighbors: Vec<Pin>,
    /// Hops of a query that names no ttl.
    pub ttl: u8,
    /// Time of a query that names no budget.
    pub budget: Duration,
    /// How often a session must send something; for sessions that open from now on.
    pub ping: Duration,
    /// Bytes of memory that all that it holds may take.
    pub memory: usize,
    /// Whether it reports each query of a session.
    pub reports_queries: bool,
    /// Its operators and accounts, in login mode. The key must be the same.
    pub login: Option<Arc<LoginConfig>>,
}

/// Settings of a weak peer.
#[derive(Clone, Copy, Debug)]
pub struct WeakSettings {
    /// How long a download goes on without a piece; zero is for ever. For downloads that begin from
    /// now on.
    pub download_timeout: Duration,
    /// Downloads at once. Those that run go on.
    pub parallel: usize,
    /// Pieces that are sent at once to peers that fetch the same content; none: as few as fill the
    /// line.
    pub uploads: Option<usize>,
}
