//! The handshake of a link: Noise IK (noiseprotocol.org, revision 34) by `snow`, and the check that
//! follows each message of it. PROTOCOL.md 6.6 has the bytes.
//!
//! It keeps nothing and draws no random number: the caller gives a seed for each message.

use blake2::digest::consts::U16;
use blake2::digest::{KeyInit, Mac};
use blake2::{Blake2s256, Blake2sMac, Digest};
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState, StatelessTransportState};
use zeroize::Zeroizing;

use crate::trust::{PublicKey, SecretKey};
use crate::wire::envelope::{
    CHECK_BYTES, INITIATION_NOISE_BYTES, RESPONSE_NOISE_BYTES, TAG_BYTES, initiation, response, split_check,
};

const PATTERN: &str = "Noise_IK_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8] = b"sprat 1 link";
const CHECK_LABEL: &[u8] = b"sprat 1 link check";
/// Bytes of a key, and of a seed.
const KEY_BYTES: usize = 32;
/// The payload of an initiation: the counter, and the Ed25519 key whose X25519 form is the static
/// key.
const PAYLOAD_BYTES: usize = INITIATION_NOISE_BYTES - 2 * KEY_BYTES - 2 * TAG_BYTES;

/// Random bytes for one message of a handshake.
pub(super) type Seed = [u8; KEY_BYTES];

/// The key for the check of messages to one super peer. Everybody who knows the public key of that
/// super peer can compute it. So the receiver can drop the messages of all others without a
/// Diffie-Hellman computation.
#[derive(Clone, Debug)]
pub(super) struct CheckKey([u8; KEY_BYTES]);

impl CheckKey {
    fn new(public: &[u8; KEY_BYTES]) -> CheckKey {
        CheckKey(Blake2s256::new().chain_update(CHECK_LABEL).chain_update(public).finalize().into())
    }

    fn mac(&self, bytes: &[u8]) -> Blake2sMac<U16> {
        let mac = <Blake2sMac<U16> as KeyInit>::new_from_slice(&self.0).expect("BLAKE2s takes keys of 32 bytes");
        mac.chain_update(bytes)
    }

    /// Whether the message ends with the correct check. It takes constant time.
    pub(super) fn fits(&self, message: &[u8]) -> bool {
        split_check(message).is_some_and(|(bytes, check)| self.mac(bytes).verify_slice(check).is_ok())
    }

    fn add_to(&self, mut message: Vec<u8>) -> Vec<u8> {
        let check: [u8; CHECK_BYTES] = self.mac(&message).finalize().into_bytes().into();
        message.extend_from_slice(&check);
        message
    }
}

/// Another super peer, as a handshake sees it.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    pub(super) key: PublicKey,
    public: [u8; KEY_BYTES],
    check: CheckKey,
}

impl Remote {
    pub(super) fn new(key: PublicKey) -> Remote {
        let public = key.to_x25519();
        Remote { key, public, check: CheckKey::new(&public) }
    }

    /// Appends the check for this receiver to a message.
    pub(super) fn check(&self, message: Vec<u8>) -> Vec<u8> {
        self.check.add_to(message)
    }
}

/// This super peer, as a handshake sees it.
pub(super) struct Identity {
    secret: Zeroizing<[u8; KEY_BYTES]>,
    key: PublicKey,
    pub(super) check: CheckKey,
}

/// An initiation that was read.
pub(super) struct Heard {
    /// The key that its sender has proven.
    pub(super) key: PublicKey,
    pub(super) counter: u64,
    state: HandshakeState,
}

impl Identity {
    pub(super) fn new(secret: &SecretKey) -> Identity {
        let key = secret.public();
        Identity { secret: secret.to_x25519(), key, check: CheckKey::new(&key.to_x25519()) }
    }

    /// Begins a handshake with another super peer. `local` is the index of the keys at this side.
    pub(super) fn initiate(&self, to: &Remote, local: u32, counter: u64, seed: Seed) -> (HandshakeState, Vec<u8>) {
        let mut state = self
            .builder(seed)
            .and_then(|builder| builder.remote_public_key(&to.public)?.build_initiator())
            .expect("all that Noise IK needs is there");
        let mut payload = [0; PAYLOAD_BYTES];
        payload[..8].copy_from_slice(&counter.to_be_bytes());
        payload[8..].copy_from_slice(self.key.as_bytes());
        let mut noise = [0; INITIATION_NOISE_BYTES];
        let written = state.write_message(&payload, &mut noise).expect("the first message can be written");
        assert_eq!(written, noise.len(), "the length of an initiation is fixed");
        (state, to.check.add_to(initiation(local, &noise)))
    }

    /// Reads the Noise part of an initiation; none if it is forged, or for another super peer.
    pub(super) fn read(&self, noise: &[u8], seed: Seed) -> Option<Heard> {
        let mut state =
            self.builder(seed).and_then(Builder::build_responder).expect("all that Noise IK needs is there");
        let mut payload = [0; PAYLOAD_BYTES + TAG_BYTES];
        if state.read_message(noise, &mut payload).ok()? != PAYLOAD_BYTES {
            return None;
        }
        let (counter, key) = payload[..PAYLOAD_BYTES].split_at(8);
        let key = PublicKey::from_bytes(key.try_into().ok()?).ok()?;
        let counter = u64::from_be_bytes(counter.try_into().ok()?);
        (state.get_remote_static()? == key.to_x25519()).then_some(Heard { key, counter, state })
    }

    fn builder(&self, seed: Seed) -> Result<Builder<'_>, snow::Error> {
        let resolver = Box::new(Resolver(seed));
        Builder::with_resolver(PATTERN.parse()?, resolver).local_private_key(&*self.secret)?.prologue(PROLOGUE)
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Heard {
    /// Answers the initiation. `local` and `remote` are the indices of the keys at the two sides.
    pub(super) fn answer(mut self, to: &Remote, local: u32, remote: u32) -> (StatelessTransportState, Vec<u8>) {
        let mut noise = [0; RESPONSE_NOISE_BYTES];
        let written = self.state.write_message(&[], &mut noise).expect("the second message can be written");
        assert_eq!(written, noise.len(), "the length of a response is fixed");
        let transport = self.state.into_stateless_transport_mode().expect("the handshake is over");
        (transport, to.check.add_to(response(local, remote, &noise)))
    }
}

/// Reads the Noise part of a response. If the response is forged, the handshake continues without
/// it.
pub(super) fn read_response(state: &mut HandshakeState, noise: &[u8]) -> bool {
    state.read_message(noise, &mut [0; TAG_BYTES]).is_ok()
}

/// The functions of `snow`, with a seed as the source of randomness: a handshake draws one
/// ephemeral key.
struct Resolver(Seed);

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Seeded(Some(self.0))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

struct Seeded(Option<Seed>);

impl Random for Seeded {
    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), snow::Error> {
        let seed = self.0.take().filter(|seed| seed.len() == into.len()).ok_or(snow::Error::Rng)?;
        into.copy_from_slice(&seed);
        Ok(())
    }
}
