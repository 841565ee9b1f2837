//! The settings that a running machine accepts when the options of its daemon are read again. All
//! other options keep the value that they had at the start.

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

/// Settings of a super peer. Each has the meaning that it has in
/// [`super::super_peer::SuperPeerConfig`].
#[derive(Clone, Debug)]
pub struct SuperSettings {
    /// The neighbors. Links to neighbors that stay are not touched.
    pub neighbors: Vec<Pin>,
    /// Hops of a query that names no ttl.
    pub ttl: u8,
    /// Time of a query that names no budget.
    pub budget: Duration,
    /// How often a session must send something, for sessions that open from now on.
    pub ping: Duration,
    /// Bytes of memory that everything in it may take.
    pub memory: usize,
    /// Whether it reports each query of a session.
    pub reports_queries: bool,
    /// In login mode, its operators and accounts. The key must be the same as before.
    pub login: Option<Arc<LoginConfig>>,
}

/// Settings of a weak peer.
#[derive(Clone, Copy, Debug)]
pub struct WeakSettings {
    /// How long a download may take without a verified piece, for downloads that begin from now on;
    /// zero means forever.
    pub download_timeout: Duration,
    /// How many downloads run at once. Those that run already continue.
    pub parallel: usize,
    /// How many pieces are sent at once to peers that fetch the same content; none means as few as
    /// use all of the bandwidth.
    pub uploads: Option<usize>,
}
