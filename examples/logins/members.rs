//! The keys and credentials of the peers.

use sprat::net::TlsIdentity;
use sprat::trust::credential::Terms;
use sprat::trust::{Credential, PublicKey, SecretKey};
use sprat::wire::message::{Hello, Login};
use sprat::wire::{Message, NodeId};

use crate::unix;

/// One peer.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) key: PublicKey,
    pub(crate) credential: Credential,
}

impl Member {
    pub(crate) fn node(&self) -> NodeId {
        self.key.node()
    }

    /// What it sends when it is connected.
    pub(crate) fn greeting(&self) -> [Message; 2] {
        let hello = Hello::new(self.node(), 1, "logins".to_owned());
        [Message::Hello(hello), Message::Login(Login::with_credential(self.credential.encode()))]
    }
}

/// All peers. The driver shows the key of peer `n` in each dial whose number is `n`, modulo their
/// number.
pub(crate) struct Members {
    pub(crate) all: Vec<Member>,
    pub(crate) tls: TlsIdentity,
}

impl Members {
    pub(crate) fn new(count: usize) -> Result<Members, String> {
        let operator = operator();
        let keys: Vec<SecretKey> = (0..count).map(|n| secret(&format!("peer {n}"))).collect();
        let issued = unix() as u64;
        let member = |(n, key): (usize, &SecretKey)| {
            let terms = Terms {
                name: format!("peer-{n}"),
                class: "default".to_owned(),
                key: key.public(),
                issued,
                not_before: None,
                not_after: None,
            };
            Member { key: key.public(), credential: Credential::sign(terms, &operator) }
        };
        let all = keys.iter().enumerate().map(member).collect();
        let tls = TlsIdentity::with_dial_keys(&operator, &keys).map_err(|failure| failure.message)?;
        Ok(Members { all, tls })
    }
}

/// The key that signs the credentials. It is public, so it must sign nothing else.
pub(crate) fn operator() -> SecretKey {
    secret("operator")
}

fn secret(name: &str) -> SecretKey {
    SecretKey::from_seed(blake3::derive_key("sprat examples/logins", name.as_bytes()))
}
