//! Login mode in the world. Every node proves a key that follows from its number. All super peers
//! know one operator, which has signed a credential for each node of the network. The accounts that
//! a super peer saves survive its crash.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::World;
use super::seals::{key_of, public_key_of};
use crate::proto::Input;
use crate::proto::super_peer::LoginConfig;
use crate::proto::weak_peer::PeerLogin;
use crate::sim::node::Machine;
use crate::sim::tcp::ACCEPTOR;
use crate::trust::accounts::CLASS_DEFAULT;
use crate::trust::credential::Terms;
use crate::trust::{Accounts, Credential, Pin, PublicKey, Rotation, SecretKey, Token};
use crate::wire::message::{Login, Mode};
use crate::wire::{HostPort, Message};

/// The number from which the operator's key follows.
const OPERATOR: usize = 1 << 40;
/// The wall clock at the start of a world.
const UNIX_AT_START: u64 = 1_700_000_000;

impl World {
    /// From now on new nodes are in login mode, and their links are sealed.
    pub fn use_login(&mut self) {
        self.seal_links();
        self.login = true;
    }

    /// Whether the nodes are in login mode.
    #[must_use]
    pub fn uses_login(&self) -> bool {
        self.login
    }

    /// The wall clock of all nodes, in seconds since 1970.
    #[must_use]
    pub fn unix(&self) -> u64 {
        UNIX_AT_START + self.now.as_micros() / 1_000_000
    }

    /// The key of a node, in login mode.
    #[must_use]
    pub fn key(&self, node: usize) -> Option<PublicKey> {
        self.nodes[node].key
    }

    /// The secret key of the node with this number.
    pub(in crate::sim) fn key_of(number: usize) -> SecretKey {
        key_of(number)
    }

    /// The accounts that a super peer has last saved. If they are changed here, this takes effect
    /// at its next start.
    #[must_use]
    pub fn accounts(&self, node: usize) -> Rc<RefCell<Accounts>> {
        Rc::clone(&self.nodes[node].accounts)
    }

    /// A credential that the operator has signed for the key of a node, with this end.
    #[must_use]
    pub fn credential(&self, node: usize, not_after: Option<u64>) -> Credential {
        signed(node, OPERATOR, UNIX_AT_START, not_after)
    }

    /// A credential that the operator signed for the key of a node before the start of the world.
    /// It may be revoked without the others.
    pub(in crate::sim) fn old_credential(&self, node: usize) -> Credential {
        signed(node, OPERATOR, UNIX_AT_START - 1, None)
    }

    /// From now on this node proves no key: it is not in login mode.
    pub fn lose_key(&mut self, node: usize) {
        self.nodes[node].key = None;
    }

    /// The number of open connections between two nodes.
    #[must_use]
    pub fn connections_between(&self, one: usize, other: usize) -> usize {
        let is_other = |(link, end): &&(usize, usize)| {
            self.links[*link].as_ref().is_some_and(|link| link.ends[1 - *end].node == other && link.ends[1 - *end].open)
        };
        self.nodes[one].conns.values().filter(is_other).count()
    }

    /// This adversary has an account. Its messages are those of a peer in login mode.
    pub fn admit(&mut self, node: usize) {
        if self.login {
            self.nodes[node].credential = Some(self.credential(node, None).encode());
        }
    }

    /// The message in the form in which a node in login mode sends it, for an adversary with an
    /// account.
    pub(super) fn in_login_mode(&self, node: usize, mut message: Message) -> Message {
        let (Some(credential), Some(key)) = (&self.nodes[node].credential, self.nodes[node].key) else {
            return message;
        };
        if let Message::Hello(hello) = &mut message {
            hello.node = key.node();
        } else if let Message::Welcome(welcome) = &mut message {
            (welcome.node, welcome.mode) = (key.node(), Mode::Login);
        } else if let Message::Login(login) = &mut message {
            *login = Login::with_credential(credential.clone());
        } else if let Message::Ready(ready) = &mut message {
            ready.credential = Some(credential.clone());
        }
        message
    }

    /// The login of the super peer with this number, for each of its lives.
    pub(super) fn super_login(&self, number: usize, kept: &Rc<RefCell<Accounts>>) -> Option<SuperLogin> {
        self.login.then(|| SuperLogin { number, kept: Rc::clone(kept) })
    }

    /// The login of the weak peer with this number.
    pub(super) fn peer_login(&self, number: usize) -> Option<Arc<PeerLogin>> {
        self.login.then(|| {
            let credential = Some(self.credential(number, None));
            Arc::new(PeerLogin { key: public_key_of(number), credential, invitation: None })
        })
    }

    /// The login of a weak peer with this number that only has an invitation.
    pub(super) fn peer_invited(&self, number: usize, user: &str, token: Token) -> Option<Arc<PeerLogin>> {
        let invitation = Some((user.to_owned(), token));
        self.login.then(|| Arc::new(PeerLogin { key: public_key_of(number), credential: None, invitation }))
    }

    /// A super peer as a weak peer knows it. Every third weak peer does not know the key, and
    /// remembers the first key that it sees.
    pub(super) fn super_pin(&self, number: usize, at: &HostPort) -> Pin {
        let addr = at.literal().filter(|_| !number.is_multiple_of(3));
        addr.map_or_else(|| at.clone().into(), |addr| self.pin(addr))
    }

    /// Checks what a node in login mode sends to a node that has dialed it and is not logged in.
    /// This may only be WELCOME, a credential for an invitation, BYE, or an ERROR about the
    /// connection. `None` is a payload.
    ///
    /// # Panics
    /// If it sends anything else.
    pub(super) fn watch_login(&mut self, link: usize, end: usize, message: Option<&Message>) {
        if !self.login || end != ACCEPTOR {
            return;
        }
        let Some(this) = self.links[link].as_mut().map(|link| &mut link.ends[end]) else { return };
        // An adversary may send anything.
        if matches!(self.nodes[this.node].machine, Some(Machine::Adversary(_))) {
            return;
        }
        this.let_in |= matches!(message, Some(Message::Ready(_)));
        let is_for_strangers = match message {
            Some(Message::Welcome(_) | Message::Enrolled(_) | Message::Bye(_)) => true,
            Some(Message::Error(error)) => error.req.is_none(),
            Some(_) | None => false,
        };
        assert!(this.let_in || is_for_strangers, "{} sends to a stranger: {message:?}", this.node);
    }

    pub(super) fn save_accounts(&mut self, node: usize, accounts: Accounts) {
        self.nodes[node].accounts.replace(accounts);
        self.turn(node, Input::AccountsSaved { result: Ok(()) });
    }
}

/// What a super peer in login mode starts with.
#[derive(Debug)]
pub(super) struct SuperLogin {
    number: usize,
    kept: Rc<RefCell<Accounts>>,
}

impl SuperLogin {
    pub(super) fn config(&self) -> Arc<LoginConfig> {
        Arc::new(LoginConfig {
            secret: key_of(self.number),
            rotation: Rotation::default(),
            operators: vec![public_key_of(OPERATOR)],
            accounts: self.kept.borrow().clone(),
            unix: UNIX_AT_START,
        })
    }
}

fn signed(node: usize, operator: usize, issued: u64, not_after: Option<u64>) -> Credential {
    let operator: SecretKey = key_of(operator);
    let (name, class) = (format!("peer{node}"), CLASS_DEFAULT.to_owned());
    let terms = Terms { name, class, key: public_key_of(node), issued, not_before: None, not_after };
    Credential::sign(terms, &operator)
}
