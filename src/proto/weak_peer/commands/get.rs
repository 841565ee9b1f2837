//! From the hits of a `get` to the order of a download.

use super::choice::{Choice, choose};
use super::{Clients, ForDownloads, Job, Task, hit_event};
use crate::error::Exit;
use crate::proto::disk::Destination;
use crate::proto::weak_peer::context::Desk;
use crate::proto::weak_peer::download::Order;
use crate::proto::weak_peer::sessions::Sessions;
use crate::proto::{ClientId, DownloadId};
use crate::wire::message::SourceRecord;
use crate::wire::{HostPort, QueryKind, Root};

impl Clients {
    /// The hits of a `get` are all here.
    pub(super) fn resolve(&mut self, desk: &mut Desk, id: u64, client: ClientId, sessions: &Sessions, complete: bool) {
        let Some(Task { job: Job::Get { get, hits, .. }, .. }) = self.tasks.get_mut(&id) else { return };
        match choose(&get.what, hits) {
            Choice::None => {
                let how = if complete { "" } else { ", as far as the search went" };
                let why = match &get.from {
                    Some(from) => format!("{from} does not offer {:?}{how}", get.what),
                    None => format!("nobody has {:?}{how}", get.what),
                };
                self.fail(desk, id, Exit::NotFound, &why);
            }
            Choice::One { root, size, name } => {
                let order = self.order(id, client, sessions, (root, size), name, false);
                self.orders.extend(order.map(ForDownloads::Start));
                self.forget(desk, id);
            }
            Choice::Many(contents) => {
                for record in std::mem::take(hits) {
                    desk.tell(client, hit_event(record));
                }
                let why = format!(
                    "{contents} different contents fit {:?}; name the root instead, or a more exact name",
                    get.what
                );
                self.fail(desk, id, Exit::Usage, &why);
            }
        }
    }

    /// Starts a `get` by root with the sources known so far; its search goes on for the download.
    pub(super) fn start_early(&mut self, id: u64, client: ClientId, sessions: &Sessions) {
        let Some(Task { job: Job::Get { get, hits, .. }, .. }) = self.tasks.get(&id) else { return };
        let scope = get.scope;
        let Choice::One { root, size, name } = choose(&get.what, hits) else { return };
        let Some(order) = self.order(id, client, sessions, (root, size), name, true) else { return };
        let job = Job::Sources { download: order.id, root, scope };
        self.orders.push_back(ForDownloads::Start(order));
        if let Some(task) = self.tasks.get_mut(&id) {
            (task.job, task.client) = (job, None);
        }
    }

    fn order(
        &mut self,
        id: u64,
        client: ClientId,
        sessions: &Sessions,
        (root, size): (Root, u64),
        name: String,
        searching: bool,
    ) -> Option<Order> {
        let Task { job: Job::Get { get, hits, search, .. }, since, .. } = self.tasks.get(&id)? else { return None };
        let fits = |record: &&SourceRecord| (record.root, record.size) == (root, size);
        let mut sources: Vec<HostPort> = Vec::new();
        for record in hits.iter().filter(fits) {
            if !sources.contains(&record.addr) {
                sources.push(record.addr.clone());
            }
        }
        // Our own copy is a source only where there is no other.
        if sources.iter().any(|source| !sessions.is_own(source)) {
            sources.retain(|source| !sessions.is_own(source));
        }
        let other_size = |record: &&SourceRecord| record.root == root && record.size != size;
        let others = hits.iter().filter(other_size).map(|record| (record.addr.clone(), record.size)).collect();
        let destination = match &get.out {
            Some(path) => Destination::Path { path: path.clone(), name: name.clone() },
            None => Destination::Share { name: name.clone() },
        };
        let download = DownloadId(self.next_download);
        self.next_download += 1;
        Some(Order {
            id: download,
            client,
            asked_at: *since,
            root,
            size,
            name,
            verify: get.verify,
            destination,
            sources,
            others,
            tried: Vec::new(),
            only: get.from.is_some(),
            widen: get.from.is_none() && search.kind != QueryKind::Root,
            searching,
        })
    }
}
