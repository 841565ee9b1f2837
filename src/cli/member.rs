//! How a weak peer or a one-shot command takes part in a network: in an open network, or with the
//! credential of the network that its node has joined. It also stores the keys of super peers.
//!
//! There are two files in the state folder. `joined` has the credential and the super peers with
//! their keys, in the form that `sprat operator sign` prints. `known_supers` has the keys of other
//! super peers, one `KEY@HOST:PORT` per line, the latest one last.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::identity::Identity;
use super::{private, random};
use crate::config::{KNOWN_SUPERS_MAX, URI_SUPERS_MAX};
use crate::error::{Exit, Failure};
use crate::net::TlsIdentity;
use crate::proto::Event;
use crate::proto::weak_peer::PeerLogin;
use crate::trust::{Grant, Pin, PublicKey, SecretKey};
use crate::wire::{HostPort, NodeId};

const JOINED: &str = "joined";
const KNOWN: &str = "known_supers";

/// How a node takes part in a network.
#[derive(Debug)]
pub(crate) struct Part {
    /// The super peers that the options name, or else those of the network that was joined.
    pub(crate) supers: Vec<Pin>,
    /// Its credential; none in an open network.
    pub(crate) login: Option<Arc<PeerLogin>>,
    /// Its key for connections; none in an open network.
    pub(crate) tls: Option<TlsIdentity>,
    /// Its id, which follows from its key; none in an open network.
    pub(crate) node: Option<NodeId>,
}

/// How the node with this state folder takes part, with these super peers. It logs in if it has
/// joined a network, or if a super peer is named with its key. With `open` it does not log in.
///
/// # Errors
/// Exit 2 if the options exclude each other, 7 if the credential belongs to another key, 9 if a
/// file cannot be read.
pub(crate) fn part(folder: Option<&Path>, given: Vec<Pin>, open: bool) -> Result<Part, Failure> {
    checked(&given, open)?;
    let grant = folder.filter(|_| !open).map(joined).transpose()?.flatten();
    let identity = folder.map(Identity::read).transpose()?.flatten();
    if grant.is_none() && given.iter().all(|pin| pin.key.is_none()) {
        return Ok(Part { supers: given, login: None, tls: None, node: None });
    }
    // Without a state folder there is no credential. The super peer then answers with how to join.
    let secret = identity.map_or_else(|| SecretKey::from_seed(random::bytes()), |identity| identity.secret);
    let key = secret.public();
    let named = if given.is_empty() { grant.iter().flat_map(|grant| grant.supers.clone()).collect() } else { given };
    let keys = folder.map(Keys::new);
    let supers = named.into_iter().map(|pin| with_key(pin, grant.as_ref(), keys.as_ref()));
    let supers = supers.collect::<Result<Vec<_>, _>>()?;
    let credential = grant.map(|grant| grant.credential);
    if credential.as_ref().is_some_and(|credential| credential.key != key) {
        let why = "the credential is of another key than this node has; join again, with another invitation";
        return Err(Failure::new(Exit::LoginRejected, why));
    }
    let tls = Some(TlsIdentity::new(&secret)?);
    let login = Some(Arc::new(PeerLogin { key, credential, invitation: None }));
    Ok(Part { supers, login, tls, node: Some(key.node()) })
}

/// Checks that the options agree about the mode.
///
/// # Errors
/// Exit 2 if they exclude each other.
pub(crate) fn checked(given: &[Pin], open: bool) -> Result<(), Failure> {
    if open && given.iter().any(|pin| pin.key.is_some()) {
        return Err(Failure::usage(
            "--open and --super KEY@HOST exclude each other: in an open network nothing is proved",
        ));
    }
    Ok(())
}

/// A super peer with its key, if the key is known.
fn with_key(pin: Pin, grant: Option<&Grant>, keys: Option<&Keys>) -> Result<Pin, Failure> {
    if pin.key.is_some() {
        return Ok(pin);
    }
    let of_network =
        grant.and_then(|grant| grant.supers.iter().find(|one| is_at(one, &pin.at)).and_then(|one| one.key));
    let key = match of_network {
        Some(key) => Some(key),
        None => keys.map(|keys| keys.of(&pin.at)).transpose()?.flatten(),
    };
    Ok(Pin { key, ..pin })
}

/// Whether a super peer has this address, in any spelling.
pub(crate) fn is_at(pin: &Pin, at: &HostPort) -> bool {
    pin.at.canonical() == at.canonical()
}

/// Checks that these super peers can be stored with a credential.
///
/// # Errors
/// Exit 2 if there are too many, or if one has no key.
pub(crate) fn named(supers: &[Pin]) -> Result<(), Failure> {
    if supers.len() > URI_SUPERS_MAX || supers.iter().any(|pin| pin.key.is_none()) {
        let why = format!("name at most {URI_SUPERS_MAX} super peers, each with its key: --super KEY@HOST:PORT");
        return Err(Failure::usage(why));
    }
    Ok(())
}

/// The network that the node with this folder has joined.
///
/// # Errors
/// Exit 9 if the file cannot be read, can be read by others, or is damaged.
pub(crate) fn joined(folder: &Path) -> Result<Option<Grant>, Failure> {
    let path = folder.join(JOINED);
    let Some(text) = private::read(&path)? else { return Ok(None) };
    let damaged = |why: String| {
        let path = path.display();
        Failure::new(Exit::Disk, format!("{path}: {why}; join again, or remove the file to leave the network"))
    };
    text.parse().map(Some).map_err(damaged)
}

/// Stores the network that was joined.
///
/// # Errors
/// Exit 9 if it cannot be written.
pub(crate) fn keep(folder: &Path, grant: &Grant) -> Result<(), Failure> {
    let _turn = private::turn(folder)?;
    write(folder, grant)
}

fn write(folder: &Path, grant: &Grant) -> Result<(), Failure> {
    private::write(&folder.join(JOINED), &format!("{grant}\n"))
}

/// The keys of super peers that a node remembers.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    folder: PathBuf,
}

impl Keys {
    pub(crate) fn new(folder: &Path) -> Keys {
        Keys { folder: folder.to_owned() }
    }

    /// The key of the super peer at this address, if it is remembered.
    fn of(&self, at: &HostPort) -> Result<Option<PublicKey>, Failure> {
        Ok(self.known()?.iter().find(|pin| is_at(pin, at)).and_then(|pin| pin.key))
    }

    /// Remembers that the super peer at this address must prove this key.
    ///
    /// # Errors
    /// Exit 9 if this cannot be written.
    pub(crate) fn remember(&self, pin: &Pin) -> Result<(), Failure> {
        let _turn = private::turn(&self.folder)?;
        if let Some(mut grant) = joined(&self.folder)? {
            let of_network = grant.supers.iter_mut().filter(|one| is_at(one, &pin.at));
            let changed = of_network.map(|one| one.key = pin.key).count();
            if changed > 0 {
                return write(&self.folder, &grant);
            }
        }
        let mut known = self.known()?;
        known.retain(|one| !is_at(one, &pin.at));
        known.push(pin.clone());
        let surplus = known.len().saturating_sub(KNOWN_SUPERS_MAX);
        let lines: String = known.iter().skip(surplus).map(|pin| format!("{pin}\n")).collect();
        private::write(&self.folder.join(KNOWN), &lines)
    }

    fn known(&self) -> Result<Vec<Pin>, Failure> {
        let path = self.folder.join(KNOWN);
        let Some(text) = private::read(&path)? else { return Ok(Vec::new()) };
        let damaged = |why: String| Failure::new(Exit::Disk, format!("{}: {why}; remove the line", path.display()));
        text.lines().map(|line| line.parse().map_err(damaged)).collect()
    }
}

/// Remembers the key of a super peer that an event reports. A failure is only logged.
pub(crate) fn on_event(keys: Option<&Keys>, event: &Event) {
    let (Some(keys), Event::SuperKey { super_peer, .. }) = (keys, event) else { return };
    if let Err(failure) = keys.remember(super_peer) {
        log::warn!("{failure}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::Credential;
    use crate::trust::credential::Terms;

    fn key(seed: u8) -> PublicKey {
        SecretKey::from_seed([seed; 32]).public()
    }

    fn pin(seed: u8, at: &str) -> Pin {
        Pin { key: Some(key(seed)), at: at.parse().unwrap() }
    }

    fn grant(key: PublicKey, supers: Vec<Pin>) -> Grant {
        let (name, class) = ("ann".to_owned(), "default".to_owned());
        let terms = Terms { name, class, key, issued: 1, not_before: None, not_after: None };
        Grant { credential: Credential::sign(terms, &SecretKey::from_seed([9; 32])), supers }
    }

    #[test]
    fn a_node_without_a_network_is_open_unless_a_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let open: Pin = "h:1".parse().unwrap();
        let plain = part(Some(folder.path()), vec![open.clone()], false).unwrap();
        assert!(plain.login.is_none() && plain.tls.is_none());
        let named = part(None, vec![pin(1, "h:1")], false).unwrap();
        assert!(named.login.unwrap().credential.is_none() && named.tls.is_some());
        assert_eq!(part(None, vec![pin(1, "h:1")], true).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn a_node_that_has_joined_needs_no_super_peer_and_knows_their_keys() {
        let folder = tempfile::tempdir().unwrap();
        let own = Identity::open(folder.path()).unwrap().public();
        keep(folder.path(), &grant(own, vec![pin(1, "192.0.2.1:1")])).unwrap();
        let part_of = |given: &[&str]| {
            let given = given.iter().map(|one| one.parse().unwrap()).collect();
            part(Some(folder.path()), given, false).unwrap()
        };
        let part_here = part_of(&[]);
        assert_eq!((part_here.supers, part_here.node), (vec![pin(1, "192.0.2.1:1")], Some(own.node())));
        assert_eq!(part_here.login.unwrap().credential.as_ref().unwrap().name, "ann");
        assert_eq!(part_of(&["192.0.2.1:1"]).supers, [pin(1, "192.0.2.1:1")]);
        assert_eq!(part_of(&["192.0.2.2:1"]).supers, ["192.0.2.2:1".parse().unwrap()]);
        let keys = Keys::new(folder.path());
        keys.remember(&pin(2, "192.0.2.2:1")).unwrap();
        assert_eq!(part_of(&["192.0.2.2:1"]).supers, [pin(2, "192.0.2.2:1")]);
        keys.remember(&pin(3, "192.0.2.2:1")).unwrap();
        keys.remember(&pin(4, "192.0.2.1:1")).unwrap();
        assert_eq!(part_of(&["192.0.2.2:1"]).supers, [pin(3, "192.0.2.2:1")]);
        assert_eq!(part_of(&[]).supers, [pin(4, "192.0.2.1:1")]);
        assert!(part(Some(folder.path()), Vec::new(), true).unwrap().login.is_none());
    }

    #[test]
    fn what_many_commands_learn_at_once_is_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        let keys = &Keys::new(folder.path());
        let pins: Vec<Pin> = (1..9).map(|seed| pin(seed, &format!("192.0.2.{seed}:1"))).collect();
        let start = &std::sync::Barrier::new(pins.len());
        std::thread::scope(|scope| {
            for pin in &pins {
                scope.spawn(move || {
                    start.wait();
                    keys.remember(pin).unwrap();
                });
            }
        });
        let mut known = keys.known().unwrap();
        known.sort_by_key(|pin| pin.at.to_string());
        assert_eq!(known, pins);
    }

    #[test]
    fn a_credential_of_another_key_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        Identity::open(folder.path()).unwrap();
        keep(folder.path(), &grant(key(7), vec![pin(1, "h:1")])).unwrap();
        assert_eq!(part(Some(folder.path()), Vec::new(), false).unwrap_err().exit, Exit::LoginRejected);
    }
}
