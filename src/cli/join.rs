//! `sprat join`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use zeroize::Zeroizing;

use super::args::Join;
use super::identity::Identity;
use super::random::{self, Fetched};
use super::{member, output, paths, settings};
use crate::config::{DOWNLOAD_TIMEOUT, GRANT_BYTES_MAX};
use crate::error::{Exit, Failure};
use crate::net::TlsIdentity;
use crate::node::{Flow, Host, Node, Options};
use crate::proto::Event;
use crate::proto::weak_peer::{PeerLogin, WeakPeer, WeakPeerConfig};
use crate::trust::{Grant, Invitation, Pin, invitation};

/// Joins a network, and stores it in the state folder.
pub(crate) fn run(args: &Join) -> Result<u8, Failure> {
    let connect_timeout = settings::connect_timeout(args.connect_timeout)?;
    member::named(&args.supers)?;
    let name = paths::checked_name(args.name.as_deref().unwrap_or(settings::PEER_NAME))?;
    let folder = paths::state_folder(name, args.state.as_deref(), &|key| std::env::var_os(key))?;
    let text = text(args.file.as_deref())?;
    let state = paths::State::open(folder, name)?;
    let identity = Identity::open(state.folder())?;
    let grant = if text.trim_start().starts_with(invitation::SCHEME) {
        let invitation = text.parse::<Invitation>().map_err(|error| Failure::usage(error.to_string()))?;
        enroll(&identity, invitation, &args.supers, connect_timeout, state.folder())?
    } else {
        accept(&identity, &text, &args.supers, state.folder())?
    };
    report(args.json, &grant)
}

/// The text of a file or of standard input.
fn text(file: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::new());
    let limit = GRANT_BYTES_MAX as u64 + 64;
    let read = match file.filter(|file| *file != Path::new("-")) {
        Some(file) => File::open(file).and_then(|file| file.take(limit).read_to_string(&mut text)),
        None => io::stdin().lock().take(limit).read_to_string(&mut text),
    };
    let from = file.map_or_else(|| "standard input".to_owned(), |file| file.display().to_string());
    match read {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(Failure::usage(format!("{from} has bytes that are no text; it must have the line of an invitation")))
        }
        Err(error) => Err(Failure::new(Exit::Disk, format!("cannot read {from}: {error}"))),
        Ok(_) if text.trim().is_empty() => {
            Err(Failure::usage(format!("{from} is empty; it must have the line of an invitation")))
        }
        Ok(_) => Ok(text),
    }
}

/// Accepts a credential that an operator has signed. Nothing is dialed.
fn accept(identity: &Identity, text: &str, supers: &[Pin], folder: &Path) -> Result<Grant, Failure> {
    let mut grant: Grant = text.parse().map_err(Failure::usage)?;
    let (of, own) = (grant.credential.key, identity.public());
    if of != own {
        let why =
            format!("the credential is for the key {of}; ask the operator for one for the key of this node, {own}");
        return Err(Failure::new(Exit::LoginRejected, why));
    }
    if !grant.credential.is_signed() {
        return Err(Failure::new(Exit::LoginRejected, "the signature of the credential is wrong; ask for another one"));
    }
    grant.supers.extend(supers.iter().cloned());
    member::named(&grant.supers)?;
    if grant.supers.is_empty() {
        return Err(Failure::usage("the credential names no super peer; add one with --super KEY@HOST:PORT"));
    }
    member::keep(folder, &grant)?;
    Ok(grant)
}

/// Shows an invitation to its super peer, and gets a credential in return.
fn enroll(
    identity: &Identity,
    invitation: Invitation,
    supers: &[Pin],
    connect_timeout: Duration,
    folder: &Path,
) -> Result<Grant, Failure> {
    let (pin, key) = (invitation.pin(), identity.public());
    member::named(&std::iter::once(&pin).chain(supers).cloned().collect::<Vec<_>>())?;
    let login = PeerLogin { key, credential: None, invitation: Some((invitation.user, invitation.token)) };
    let node = Node::open(Options { tls: Some(TlsIdentity::new(&identity.secret)?), ..Options::default() })?;
    let config = WeakPeerConfig {
        node: key.node(),
        boot: random::boot_id(),
        supers: vec![pin],
        login: Some(Arc::new(login)),
        offer: None,
        connect_timeout,
        download_timeout: DOWNLOAD_TIMEOUT,
        agent: settings::AGENT.into(),
    };
    let mut joiner = Joiner { folder, supers, grant: None, failure: None };
    let ended = node.run(WeakPeer::new(config, Box::new(Fetched::default())), &mut joiner);
    match (joiner.grant, joiner.failure, ended) {
        // The credential is kept even if the session fails after it was received.
        (Some(grant), _, _) => Ok(grant),
        (None, Some(failure), _) | (None, None, Err(failure)) => Err(failure),
        (None, None, Ok(_)) => Err(Failure::new(Exit::Unreachable, "interrupted before the super peer answered")),
    }
}

struct Joiner<'a> {
    folder: &'a Path,
    /// Further super peers.
    supers: &'a [Pin],
    grant: Option<Grant>,
    failure: Option<Failure>,
}

impl Host for Joiner<'_> {
    fn on_event(&mut self, event: Event) -> Flow {
        match event {
            Event::Enrolled { super_peer, credential } => {
                let supers = std::iter::once(super_peer).chain(self.supers.iter().cloned()).collect();
                let grant = Grant { credential, supers };
                match member::keep(self.folder, &grant) {
                    Ok(()) => self.grant = Some(grant),
                    Err(failure) => self.failure = Some(failure),
                }
                Flow::Stop(Exit::Ok)
            }
            Event::Fatal(failure) => {
                self.failure.get_or_insert(failure);
                Flow::Stop(Exit::Internal)
            }
            Event::Log { level, text } => {
                log::log!(level, "{text}");
                Flow::Continue
            }
            Event::Welcomed { .. }
            | Event::SessionLost { .. }
            | Event::Lingers(_)
            | Event::SuperKey { .. }
            | Event::Client { .. }
            | Event::Link { .. }
            | Event::Sharing { .. }
            | Event::Peer(_)
            | Event::MorePeers { .. }
            | Event::Asked { .. }
            | Event::Answered { .. }
            | Event::Share { .. }
            | Event::Download(_)
            | Event::Source { .. } => Flow::Continue,
        }
    }
}

fn report(json: bool, grant: &Grant) -> Result<u8, Failure> {
    #[derive(Serialize)]
    struct Joined {
        user: String,
        class: String,
        operator: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        not_after: Option<u64>,
        supers: Vec<String>,
    }
    let Grant { credential, supers } = grant;
    let supers: Vec<String> = supers.iter().map(ToString::to_string).collect();
    let text = format!("joined as {} at {}", credential.name, supers.join(", "));
    let (user, class) = (credential.name.clone(), credential.class.clone());
    let operator = credential.operator.to_string();
    let joined = Joined { user, class, operator, not_after: credential.not_after, supers };
    output::result(json, "joined", &joined, &text)?;
    output::done(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::credential::Terms;
    use crate::trust::{Credential, SecretKey};

    #[test]
    fn a_credential_with_more_super_peers_than_its_text_may_have_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::open(folder.path()).unwrap();
        let operator = SecretKey::from_seed([9; 32]);
        let (name, class, key) = ("ann".to_owned(), "default".to_owned(), identity.public());
        let terms = Terms { name, class, key, issued: 1, not_before: None, not_after: None };
        let pin = |n: u8| Pin { key: Some(operator.public()), at: format!("192.0.2.{n}:1").parse().unwrap() };
        let grant = Grant { credential: Credential::sign(terms, &operator), supers: (1..9).map(pin).collect() };
        let accepted = |more: &[Pin]| accept(&identity, &grant.to_string(), more, folder.path());
        assert_eq!(accepted(&[pin(9)]).unwrap_err().exit, Exit::Usage);
        assert_eq!(member::joined(folder.path()), Ok(None));
        accepted(&[]).unwrap();
        assert_eq!(member::joined(folder.path()), Ok(Some(grant.clone())));
    }
}
