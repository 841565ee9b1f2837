//! Who a node is and who may take part: keys, pins, credentials, invitations, accounts, and the one
//! check of a credential.
//!
//! Everything here is a pure value. It does no I/O, reads no clock and draws no random numbers:
//! seeds, tokens and times are arguments. No `Debug` output contains a secret. PROTOCOL.md 15.5 to
//! 15.10 describe the encodings.

pub mod accounts;
pub mod credential;
pub mod invitation;
pub mod key;
pub mod network;
pub mod pin;
pub mod rotation;

pub use accounts::{Accounts, Limits};
pub use credential::{Credential, Grant};
pub use invitation::{Invitation, Token, TokenHash};
pub use key::{PublicKey, SecretKey};
pub use network::{Account, Network, Refusal};
pub use pin::Pin;
pub use rotation::Rotation;
