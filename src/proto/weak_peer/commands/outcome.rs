//! The events and outcomes that clients get for their commands. It only builds them.

use std::collections::BTreeMap;

use super::answer::{Answer, reservation};
use super::task::{Job, Task};
use super::walk::Walk;
use crate::error::{Exit, Failure};
use crate::proto::ClientEvent;
use crate::proto::event::Outcome;
use crate::proto::weak_peer::context::{millis, quoted};
use crate::time::Time;
use crate::wire::message::{Info, ListedFile, Mode, SourceRecord};
use crate::wire::{HostPort, Search};

pub(super) fn hit(record: SourceRecord) -> ClientEvent {
    let partial = record.is_partial();
    let SourceRecord { path, size, root, collection, node, addr, other, unreached, http, .. } = record;
    ClientEvent::Hit {
        name: path.name().to_owned(),
        path: path.as_str().to_owned(),
        size,
        root,
        collection,
        source: addr,
        other,
        node,
        unreached,
        http,
        partial,
    }
}

pub(super) fn file(listed: ListedFile) -> ClientEvent {
    let ListedFile { path, size, root, collection, holders, partial } = listed;
    let (name, path) = (path.name().to_owned(), path.as_str().to_owned());
    ClientEvent::File { name, path, size, root, collection, holders, partial }
}

/// A status, with the answer of the super peer if there is one. The machine of the peer adds the
/// rest.
pub(super) fn status(super_peer: Option<HostPort>, info: Option<Info>) -> ClientEvent {
    let super_agent = info.as_ref().map(|info| quoted(&info.agent));
    let Info { counts: super_counts, links, .. } = info.unwrap_or_default();
    let (peer, mode) = (BTreeMap::new(), Mode::default());
    ClientEvent::Status { super_peer, peer, super_counts, status: None, super_agent, links, mode }
}

/// The end of a query that was answered.
pub(super) fn query(search: &Search, hits: usize, answer: Answer) -> Outcome {
    let base = if hits > 0 {
        success()
    } else {
        let how = reservation(answer.complete, answer.cut);
        Outcome::failed(&Failure::new(Exit::NotFound, format!("no peer has {:?}{how}", search.pattern)))
    };
    Outcome {
        hits: Some(count(hits as u64)),
        reached: Some(answer.reached),
        pruned: (answer.pruned > 0).then_some(answer.pruned),
        complete: Some(answer.complete),
        cut: Some(answer.cut),
        ..base
    }
}

/// The end of a list of the network. An empty list is a success too.
pub(super) fn network(walk: &Walk) -> Outcome {
    let Answer { reached, complete, cut, .. } = walk.answer();
    Outcome {
        files: Some(walk.contents),
        hits: Some(count(walk.hits())),
        reached: Some(reached),
        complete: Some(complete),
        cut: Some(cut),
        ..success()
    }
}

/// The end of a task that failed.
pub(super) fn failure(task: &Task, failure: &Failure) -> Outcome {
    let base = Outcome::failed(failure);
    match &task.job {
        Job::Query { known, .. } => Outcome { hits: Some(count(known.len() as u64)), complete: Some(false), ..base },
        Job::Network { walk, .. } => Outcome { files: Some(walk.contents), complete: Some(false), ..base },
        Job::Get { .. } | Job::List { .. } | Job::Status | Job::Sources { .. } | Job::Look { .. } => base,
    }
}

/// The outcome, with the time since the command in it.
pub(super) fn timed(outcome: Outcome, since: Time, now: Time) -> Outcome {
    Outcome { elapsed_ms: Some(millis(now.since(since))), ..outcome }
}

pub(super) fn success() -> Outcome {
    Outcome { ok: true, ..Outcome::default() }
}

fn count(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
