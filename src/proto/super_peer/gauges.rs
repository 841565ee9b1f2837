//! The gauges that INFO and STATUS report besides the counters: how many of each thing there are
//! now.

use super::context::Context;
use super::flood::Flood;
use super::link::Neighbors;
use super::session::Sessions;
use super::subscriptions::Subscriptions;
use super::swarm::Swarms;

/// The gauges, by name.
pub(super) fn gauges(
    cx: &Context,
    sessions: &Sessions,
    neighbors: &Neighbors,
    flood: &Flood,
    swarms: &Swarms,
    subscriptions: &Subscriptions,
) -> [(&'static str, usize); 20] {
    let Neighbors { links, tree, .. } = neighbors;
    [
        ("sessions", sessions.len()),
        ("accounts", cx.logins.accounts_used()),
        ("holders", cx.index.holders()),
        ("records", cx.index.records()),
        ("memory_index", cx.index.bytes()),
        ("memory_queries", flood.bytes()),
        ("links", links.ids().count()),
        ("links_up", links.up().count()),
        ("tree_size", tree.size() as usize),
        ("tree_whole", usize::from(tree.valid(links).is_some())),
        ("queries_last_10s", usize::try_from(cx.queries.recent(cx.now)).unwrap_or(usize::MAX)),
        ("queries_running", flood.running()),
        ("queries_remembered", flood.remembered()),
        ("swarms", swarms.len()),
        ("swarm_members", swarms.members()),
        ("memory_swarms", swarms.bytes()),
        ("subscriptions", subscriptions.len()),
        ("memory_subscriptions", subscriptions.bytes()),
        ("turn_work_max", flood.work_max()),
        ("call_work_max", cx.work.most()),
    ]
}
