//! `sprat super`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::args::Super;
use super::discovery::Announced;
use super::identity::Identity;
use super::links::Handshakes;
use super::modes::Mode;
use super::random::{self, OsEntropy};
use super::ready::{Ready, ReadyFile, dialable};
use super::units::OnOff;
use super::{accounts, links, memory, modes, paths, report, settings};
use crate::config::{LINKS_MAX, OPERATORS_MAX, QUERY_BUDGET, QUERY_HITS_MAX, SUPER_PORT, TTL_DEFAULT};
use crate::error::{Exit, Failure};
use crate::net::TlsIdentity;
use crate::node::{Flow, Host, HttpOptions, Node, Options};
use crate::proto::Event;
use crate::proto::super_peer::{LoginConfig, SuperPeer, SuperPeerConfig};
use crate::trust::{Accounts, PublicKey};

/// Runs the super peer until a signal ends it.
pub(crate) fn run(args: &Super) -> Result<u8, Failure> {
    let name = paths::checked_name(args.name.as_deref().unwrap_or(settings::SUPER_NAME))?;
    let ping = settings::ping(args.ping)?;
    let budget = args.budget.map(settings::budget).transpose()?.unwrap_or(QUERY_BUDGET);
    if args.neighbor.len() > LINKS_MAX {
        return Err(Failure::usage(format!("a super peer has at most {LINKS_MAX} neighbors")));
    }
    if args.operator.len() > OPERATORS_MAX {
        return Err(Failure::usage(format!(
            "a super peer accepts the credentials of at most {OPERATORS_MAX} operators"
        )));
    }
    let listen = settings::listen(args.listen.as_ref(), SUPER_PORT)?;
    let neighbors = settings::neighbors(&args.neighbor, listen)?;
    let memory = memory::budget(args.memory)?;
    let env = |key: &str| std::env::var_os(key);
    let folder = paths::state_folder(name, args.state.as_deref(), &env)?;
    let control = paths::control_socket(name, args.control.as_deref(), args.state.as_deref(), &env)?;
    let state = paths::State::open(folder, name)?;
    let (identity, accounts) = (Identity::open(state.folder())?, accounts::load(state.folder())?);
    // Who names the keys of its neighbors means to prove its own.
    let names_keys = neighbors.iter().any(|pin| pin.key.is_some());
    let knows = names_keys || !accounts.is_empty() || !args.operator.is_empty();
    let key = identity.public();
    let mode = modes::of_super_peer(args.open, knows, listen)?;
    let sealed = links::sealed(mode, state.folder(), &identity.secret, &neighbors)?;
    let (login, tls) = match mode {
        Mode::Open => (None, None),
        Mode::Login => {
            let tls = TlsIdentity::new(&identity.secret)?;
            let Identity { secret, rotation } = identity;
            let (operators, unix) = (args.operator.clone(), accounts::unix());
            (Some(Arc::new(LoginConfig { secret, rotation, operators, accounts, unix })), Some(tls))
        }
    };
    if let (None, Some(folder)) = (&args.control, control.parent()) {
        paths::make_private_folder(folder)?;
    }
    let ready = ReadyFile::prepare(args.ready_file.as_deref())?;
    let (page, names) = settings::page(args.http.as_ref(), tls.is_some())?;
    let node = Some(key.node());
    let http = HttpOptions { listen: page, role: "super", node, names, ..HttpOptions::default() };
    let mut node = Node::open(Options {
        http,
        listen: Some(listen),
        datagrams: true,
        control: Some(control.clone()),
        memory: Some(memory),
        tls,
        exempt_loopback: args.exempt_loopback,
        ..Options::default()
    })?;
    if args.exempt_loopback {
        log::warn!("hosts at loopback addresses may begin handshakes without a limit (--exempt-loopback)");
    }
    let _socket_name = state.name_socket(name, &control);
    let bound = node.listen_addr().unwrap_or(listen);
    let page = node.page_addr();
    let handshakes = sealed.map(|(envelopes, handshakes)| {
        node.set_envelopes(envelopes);
        handshakes
    });
    state.keep_listen(bound);
    let _announced = args.announce.then(|| Announced::new(key.node(), bound)).transpose()?;
    let config = SuperPeerConfig {
        node: key.node(),
        boot: random::boot_id(),
        neighbors,
        ttl: args.ttl.unwrap_or(TTL_DEFAULT),
        budget,
        ping,
        here: Some(bound.ip().to_canonical()).filter(|ip| !ip.is_unspecified()),
        dial_back: args.dial_back.unwrap_or(OnOff::ON).0,
        digests: true,
        hits_max: QUERY_HITS_MAX,
        memory,
        expected: state.sharing(),
        agent: settings::AGENT.into(),
        reports_queries: log::log_enabled!(log::Level::Debug),
        login,
    };
    let role = SuperPeer::new(config, Box::new(OsEntropy));
    log::info!("listening on {bound}, for weak peers (TCP) and neighbors (UDP)");
    // From now on the kernel queues connections, so the super peer serves.
    if let Some(page) = page {
        log::info!("the page about this super peer is http://{}/", dialable(page));
    }
    let http = page.map(dialable);
    ready.write(&Ready { control: Some(control), http, ..Ready::new("super", bound) })?;
    node.run(role, &mut Journal { state, handshakes }).map(Exit::code)
}

/// The host of a super peer writes the log; and into the state, its accounts and the number of
/// peers that share.
struct Journal {
    state: paths::State,
    /// In login mode.
    handshakes: Option<Handshakes>,
}

impl Host for Journal {
    fn on_counters(&mut self, counters: &BTreeMap<PublicKey, u64>) {
        if let Some(handshakes) = &mut self.handshakes {
            handshakes.keep(counters);
        }
    }

    fn on_event(&mut self, event: Event) -> Flow {
        if let Event::Sharing { peers } = event {
            self.state.keep_sharing(peers);
        }
        report::event(&event);
        Flow::Continue
    }

    fn save_accounts(&mut self, accounts: &Accounts) -> Result<(), String> {
        accounts::save(self.state.folder(), accounts).map_err(|failure| failure.message)
    }
}
