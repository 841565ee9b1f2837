//! `sprat map`: shows the super peers of a network and their links. As a short-lived peer, it asks
//! one super peer after the other for its STATUS. In login mode only operators get the keys of
//! neighbors, and without its key a neighbor cannot be asked.

mod draw;
mod graph;

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::graph::Map;
use super::args::Map as Args;
use super::format::count;
use super::member::{self, Part};
use super::oneshot::{self, Target};
use super::random::{self, OsEntropy};
use super::talk::Talk;
use super::{columns, output, paths, settings};
use crate::config::{DOWNLOAD_TIMEOUT, MAP_LOOK_MAX, MAP_SUPERS_MAX};
use crate::control;
use crate::error::{Exit, Failure};
use crate::node::{Flow, Handle, Host, Node, Options};
use crate::proto::weak_peer::{WeakPeer, WeakPeerConfig};
use crate::proto::{ClientEvent, ClientId, Command, Event};
use crate::trust::Pin;
use crate::wire::message::{LinkRow, LinkState};
use crate::wire::name::printable;
use crate::wire::{HostPort, NodeId};

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    if [args.svg, args.dot, args.json].into_iter().filter(|is| *is).count() > 1 {
        return Err(Failure::usage("--svg, --dot and --json exclude each other; give one of them"));
    }
    let asked = args.asked();
    let folder = asked.state.clone().map_or_else(
        || {
            paths::state_folder(asked.name.as_deref().unwrap_or(settings::PEER_NAME), None, &|key| {
                std::env::var_os(key)
            })
        },
        Ok,
    )?;
    let patience = settings::connect_timeout(asked.connect_timeout)?;
    let (open, first) = (asked.open, first(args)?);
    let map = crawl(first, &Asker { folder, open, patience })?;
    let unasked = map.supers.iter().filter(|one| one.why.is_some()).count() as u64;
    if let (Some(why), 1) = (map.supers.first().and_then(|one| one.why.clone()), map.supers.len()) {
        return Err(Failure::new(Exit::Unreachable, why));
    }
    let text = match (args.svg, args.dot, args.json) {
        (true, ..) => draw::svg(&map),
        (_, true, _) => draw::dot(&map),
        (.., true) => return json(&map, unasked),
        (false, false, false) => table(&map),
    };
    output::block(&text).map_err(output::unwritable)?;
    for one in &map.supers {
        one.why.iter().for_each(|why| output::note(&format!("{}: {}", one.addr, printable(why))));
    }
    Ok(if unasked > 0 { Exit::Partial.code() } else { Exit::Ok.code() })
}

/// The super peers to ask first: those that the options name, or the super peer of the running
/// peer.
fn first(args: &Args) -> Result<Vec<Pin>, Failure> {
    match Target::here_or_near(args.asked())? {
        Target::Supers { part, .. } => Ok(part.supers),
        Target::Control { .. } => {
            let mut talk = Talk::open(args.asked())?;
            talk.send(&control::command_line(&Command::Status))?;
            loop {
                let Some(line) = talk.next(None)? else { continue };
                let event = control::parse_event(&line).map_err(|why| talk.garbled(&why))?;
                if let ClientEvent::Status { super_peer: Some(at), .. } = event {
                    return Ok(vec![at.into()]);
                } else if let ClientEvent::Done(_) = event {
                    return Err(Failure::usage("no super peer is known here; name one with --super"));
                }
            }
        }
    }
}

// ---- asking -------------------------------------------------------------------------------------

fn crawl(first: Vec<Pin>, asker: &Asker) -> Result<Map, Failure> {
    let mut map = Map::default();
    let mut queue = VecDeque::new();
    let mut seen = BTreeSet::new();
    for pin in first {
        let id = map.place(&pin.at, None, 0);
        queue.push_back((id, pin));
    }
    while let Some((id, pin)) = queue.pop_front() {
        if !seen.insert(id) {
            continue;
        }
        let looked = match asker.look(pin, asker.patience(map.supers[id].hops))? {
            Ok(looked) => looked,
            Err(why) => {
                map.supers[id].why = Some(why);
                continue;
            }
        };
        let Looked { node, agent, sessions, files, links, login } = looked;
        let one = &mut map.supers[id];
        (one.node, one.agent) = (one.node.or(node), agent);
        (one.sessions, one.files) = (sessions, files);
        let hops = one.hops + 1;
        for row in links {
            let Some((at, key)) = target_of(&row) else { continue };
            let other = map.place(&at, row.node, hops);
            map.link(id, other, &row);
            match (login, key) {
                (true, None) => {
                    let why = "not asked: only an operator of the network gets its key".to_owned();
                    map.supers[other].why.get_or_insert(why);
                }
                (_, key) if map.supers.len() < MAP_SUPERS_MAX => queue.push_back((other, Pin { key, at })),
                (_, _) => {
                    map.supers[other]
                        .why
                        .get_or_insert_with(|| format!("not asked: {MAP_SUPERS_MAX} were found before"));
                }
            }
        }
    }
    for id in seen {
        // The super peer was already reached over another link.
        if map.supers[id].agent.is_some() {
            map.supers[id].why = None;
        }
    }
    Ok(map)
}

/// The address and the key with which a neighbor can be asked.
fn target_of(row: &LinkRow) -> Option<(HostPort, Option<crate::trust::PublicKey>)> {
    let is_usable = !matches!(row.state, LinkState::Itself | LinkState::Twin);
    let at = row.at.iter().chain([&row.name]).find_map(|at| at.parse().ok())?;
    let key = row.key.as_deref().and_then(|key| key.parse().ok());
    is_usable.then_some((at, key))
}

/// The answer of a super peer.
struct Looked {
    node: Option<NodeId>,
    agent: Option<String>,
    sessions: Option<u64>,
    files: Option<u64>,
    links: Vec<LinkRow>,
    login: bool,
}

struct Asker {
    folder: PathBuf,
    open: bool,
    /// How long a super peer that the user named may take to answer.
    patience: Duration,
}

impl Asker {
    /// How long a super peer may take to answer. One that a link names may be gone for long, and
    /// there may be many of them.
    fn patience(&self, hops: usize) -> Duration {
        if hops == 0 { self.patience } else { self.patience.min(MAP_LOOK_MAX) }
    }

    /// Asks one super peer. The inner error is the reason why it gave no answer.
    fn look(&self, pin: Pin, connect_timeout: Duration) -> Result<Result<Looked, String>, Failure> {
        let folder: &Path = &self.folder;
        let Part { supers, login, tls, node: id } = match member::part(Some(folder), vec![pin], self.open) {
            Ok(part) => part,
            Err(failure) => return Ok(Err(failure.message)),
        };
        let is_login = login.is_some();
        let node = Node::open(Options { tls, ..Options::default() })?;
        let config = WeakPeerConfig {
            node: id.unwrap_or_else(random::node_id),
            boot: random::boot_id(),
            supers,
            login,
            offer: None,
            connect_timeout,
            download_timeout: DOWNLOAD_TIMEOUT,
            agent: settings::AGENT.into(),
        };
        let mut host = Looker { handle: node.handle(), node: None, status: None, why: None };
        let ended = node.run(WeakPeer::new(config, Box::new(OsEntropy)).as_one_shot(), &mut host);
        if let Some(code) = oneshot::signal_code(&host.handle) {
            return Err(Failure::new(Exit::Internal, format!("interrupted (signal {})", code - 128)));
        }
        let Looker { node, status, why, .. } = host;
        let Some(ClientEvent::Status { super_counts, super_agent, links, .. }) = status else {
            let why = why.or_else(|| ended.err().map(|failure| failure.message));
            return Ok(Err(why.unwrap_or_else(|| "it does not answer".to_owned())));
        };
        let figure = |name: &str| super_counts.get(name).copied();
        let (sessions, files) = (figure("sessions").map(|n| n.saturating_sub(1)), figure("records"));
        Ok(Ok(Looked { node, agent: super_agent, sessions, files, links, login: is_login }))
    }
}

/// A short-lived peer that asks for the STATUS of its super peer.
struct Looker {
    handle: Handle,
    node: Option<NodeId>,
    status: Option<ClientEvent>,
    why: Option<String>,
}

impl Host for Looker {
    fn on_event(&mut self, event: Event) -> Flow {
        match event {
            Event::Welcomed { node, .. } => {
                self.node = node;
                self.handle.command(ClientId(1), Command::Status);
            }
            Event::Client { event: ClientEvent::Done(outcome), .. } => {
                self.why = outcome.error;
                return Flow::Stop(Exit::Ok);
            }
            Event::Client { event: status @ ClientEvent::Status { .. }, .. } => self.status = Some(status),
            Event::SessionLost { why, .. } => {
                self.why = Some(why);
                return Flow::Stop(Exit::Unreachable);
            }
            Event::Fatal(failure) => {
                self.why = Some(failure.message);
                return Flow::Stop(Exit::Unreachable);
            }
            Event::Log { level, text } => log::debug!("{level}: {text}"),
            Event::Client { .. }
            | Event::Lingers(_)
            | Event::Enrolled { .. }
            | Event::SuperKey { .. }
            | Event::Link { .. }
            | Event::Sharing { .. }
            | Event::Peer(_)
            | Event::MorePeers { .. }
            | Event::Asked { .. }
            | Event::Answered { .. }
            | Event::Share { .. }
            | Event::Download(_)
            | Event::Source { .. } => {}
        }
        Flow::Continue
    }
}

// ---- showing ------------------------------------------------------------------------------------

fn json(map: &Map, unasked: u64) -> Result<u8, Failure> {
    map.supers.iter().try_for_each(|one| output::result(true, "super", one, ""))?;
    map.links.values().try_for_each(|link| output::result(true, "link", link, ""))?;
    if unasked == 0 {
        return output::done(true);
    }
    Err(Failure::new(Exit::Partial, format!("{} did not answer", count(unasked, "super peer"))))
}

fn table(map: &Map) -> String {
    let width = map.supers.iter().map(|one| columns::columns(&one.addr.to_string())).max().unwrap_or(0).max(10);
    let mut text = format!("{}  hops  sessions    files  links\n", columns::padded("super peer", width));
    let figure = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    for one in &map.supers {
        let of = map.links.values().filter(|link| link.from == one.id || link.to == one.id);
        let up = of.clone().filter(|link| link.state == LinkState::Up).count();
        let addr = columns::padded(&printable(&one.addr.to_string()), width);
        let (sessions, files) = (figure(one.sessions), figure(one.files));
        text.push_str(&format!("{addr}  {:>4}  {sessions:>8} {files:>8}  {up} of {} up\n", one.hops, of.count()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_super_peers_that_the_user_names_get_the_whole_time_to_answer() {
        let asker = |patience| Asker { folder: PathBuf::new(), open: true, patience };
        let (long, short) = (2 * MAP_LOOK_MAX, MAP_LOOK_MAX / 2);
        assert_eq!((asker(long).patience(0), asker(long).patience(1)), (long, MAP_LOOK_MAX));
        assert_eq!((asker(short).patience(0), asker(short).patience(1)), (short, short));
    }
}
