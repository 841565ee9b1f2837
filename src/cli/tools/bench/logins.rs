//! The keys and credentials with which the sessions of a bench log in.

use std::time::SystemTime;

use crate::bench::Identity;
use crate::cli::random;
use crate::error::Failure;
use crate::net::TlsIdentity;
use crate::trust::credential::Terms;
use crate::trust::{Credential, PublicKey, SecretKey};

/// An operator for this run, and a credential for each session.
pub(super) struct Logins {
    /// The key that the super peer must accept as operator.
    pub(super) operator: PublicKey,
    /// The identity of each session.
    pub(super) identities: Vec<Identity>,
    /// The keys that the dials show.
    pub(super) tls: TlsIdentity,
}

impl Logins {
    /// Makes the credentials for this many sessions.
    pub(super) fn new(sessions: usize) -> Result<Logins, Failure> {
        let operator = SecretKey::from_seed(random::bytes());
        let keys: Vec<SecretKey> = (0..sessions).map(|_| SecretKey::from_seed(random::bytes())).collect();
        let identity = |(number, key): (usize, &SecretKey)| {
            let terms = Terms {
                name: format!("bench-{number}"),
                class: "default".to_owned(),
                key: key.public(),
                issued: unix(),
                not_before: None,
                not_after: None,
            };
            Identity { node: key.public().node(), credential: Credential::sign(terms, &operator).encode() }
        };
        let identities = keys.iter().enumerate().map(identity).collect();
        let tls = TlsIdentity::with_dial_keys(&operator, &keys)?;
        Ok(Logins { operator: operator.public(), identities, tls })
    }
}

fn unix() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
