//! One download of the queue: its command, what is known about its content, its state, and the
//! clients that wait for it. It starts nothing.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::proto::ClientId;
use crate::proto::command::Get;
use crate::proto::event::{DownloadReport, DownloadState, SourceReport, SwarmReport};
use crate::proto::weak_peer::context::millis;
use crate::time::Time;
use crate::wire::Root;

/// What is known about the content of an entry. It is kept in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) root: Option<Root>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<u64>,
}

/// The reason why it waits or has failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Why {
    pub(super) exit: u8,
    pub(super) error: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Queued,
    Running {
        /// The client id of its command.
        run: ClientId,
    },
    Waiting {
        why: Why,
        until: Time,
    },
    /// A command has paused it. Or only the user can decide how it continues; then there is a
    /// reason.
    Paused(Option<Why>),
    Done,
    Failed(Why),
}

/// A client that waits for the end of a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watcher {
    pub(super) client: ClientId,
    /// Whether the client still waits when there is no source.
    pub(super) patient: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) get: Get,
    pub(super) known: Known,
    pub(super) state: State,
    pub(super) watchers: Vec<Watcher>,
    /// Whether it waits when there is no source, because its command said so or because a client
    /// has left it.
    pub(super) stays: bool,
    /// Whether its last run used a destination that an earlier run has chosen.
    pub(super) placed: bool,
    /// Whether its command is for many files, which have no common path.
    pub(super) many: bool,
    /// How many runs in a row have found no source.
    pub(super) tries: u32,
    /// Bytes verified, and bytes per second.
    pub(super) bytes: u64,
    pub(super) rate: u64,
    /// The sources of its last run.
    pub(super) sources: Vec<SourceReport>,
    pub(super) swarm: Option<SwarmReport>,
}

impl Entry {
    pub(super) fn new(get: Get, state: State) -> Entry {
        let known = Known::default();
        let watchers = Vec::new();
        let (stays, placed, many, sources) = (false, false, false, Vec::new());
        Entry { get, known, state, watchers, stays, placed, many, tries: 0, bytes: 0, rate: 0, sources, swarm: None }
    }

    /// The command for its next run. Once its content and its destination are known, the command
    /// names exactly these.
    pub(super) fn command(&self) -> Get {
        let mut get = self.get.clone();
        if let Some(root) = &self.known.root {
            get.what = root.to_string();
            get.out = self.known.path.as_ref().map(PathBuf::from).or(get.out);
        }
        get
    }

    /// Whether another command orders the same content to the same place.
    pub(super) fn is_of(&self, other: &Get) -> bool {
        let Get { verify, timeout, order, scope, .. } = *other;
        Get { verify, timeout, order, scope, ..self.get.clone() } == *other
    }

    /// Whether its command may be for many files.
    pub(super) fn has_many(&self) -> bool {
        let Get { what, also, known, .. } = &self.get;
        self.many || !also.is_empty() || !known.is_empty() || what.contains(['/', '*', '?', '['])
    }

    /// Whether it is over, or cannot continue by itself.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, State::Done | State::Failed(_))
    }

    /// The report when a command removes it.
    pub(super) fn canceled(&self, id: u64, now: Time) -> DownloadReport {
        let state = DownloadState::Canceled;
        let (rate, retry_ms, error, exit, swarm) = (None, None, None, None, None);
        DownloadReport { state, rate, retry_ms, error, exit, swarm, ..self.report(id, now) }
    }

    pub(super) fn report(&self, id: u64, now: Time) -> DownloadReport {
        let (state, why, retry) = match &self.state {
            State::Queued => (DownloadState::Queued, None, None),
            State::Running { .. } => (DownloadState::Running, None, None),
            State::Waiting { why, until } => (DownloadState::Waiting, Some(why), Some(millis(until.since(now)))),
            State::Paused(why) => (DownloadState::Paused, why.as_ref(), None),
            State::Done => (DownloadState::Done, None, None),
            State::Failed(why) => (DownloadState::Failed, Some(why), None),
        };
        let Known { root, name, path, size } = self.known.clone();
        DownloadReport {
            id,
            state,
            what: self.get.what.clone(),
            name: name.or_else(|| self.get.name.clone()),
            root,
            path,
            size,
            bytes: (self.bytes > 0).then_some(self.bytes),
            rate: (state == DownloadState::Running).then_some(self.rate),
            retry_ms: retry,
            error: why.map(|why| why.error.clone()),
            exit: why.map(|why| why.exit),
            sources: self.sources.clone(),
            swarm: self.swarm.filter(|_| state == DownloadState::Running),
        }
    }
}
