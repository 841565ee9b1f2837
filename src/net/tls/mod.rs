//! TLS 1.3 between nodes (RFC 8446): the identity of this node, the check of the other side, and
//! the state of one connection.
//!
//! Both sides prove an Ed25519 key with a self-signed certificate. This key is the identity:
//! certificate authorities, host names and dates are not used. There are no tickets, no resumption
//! and no early data. Nothing here uses a socket. Nothing here decides which keys are accepted,
//! except that a dial may name the key that it expects.

mod certificate;
mod headers;
mod session;
mod verify;

use std::fmt;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring::{cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, WebPkiSupportedAlgorithms};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, Error, ServerConfig};

use self::certificate::NodeKey;
use self::verify::AnyKey;
use crate::error::{Exit, Failure};
use crate::trust::{PublicKey, SecretKey};

pub(super) use self::session::{SEALED_STEP_BYTES, Tls, TlsError};
pub(super) use self::verify::WrongKey;

/// What a node in login mode shows to others: its key and the certificate made from it.
#[derive(Clone)]
pub struct TlsIdentity(Arc<Configs>);

struct Configs {
    key: PublicKey,
    server: Arc<ServerConfig>,
    /// For dials. There is more than one only in a node that acts as many peers.
    clients: Vec<Arc<ClientConfig>>,
}

impl TlsIdentity {
    /// The identity of this key.
    ///
    /// # Errors
    /// Exit 1 if the certificate cannot be made.
    pub fn new(secret: &SecretKey) -> Result<TlsIdentity, Failure> {
        TlsIdentity::with_dial_keys(secret, [])
    }

    /// The identity of a node that acts as many peers. It accepts with the first key. Dial number
    /// `n` shows key `n` of `dial_keys`, modulo their number. If `dial_keys` is empty, dials show
    /// the first key too.
    ///
    /// # Errors
    /// Exit 1 if a certificate cannot be made.
    pub fn with_dial_keys<'a>(
        secret: &'a SecretKey,
        dial_keys: impl IntoIterator<Item = &'a SecretKey>,
    ) -> Result<TlsIdentity, Failure> {
        let provider = Arc::new(provider());
        let own = certified(secret);
        let mut clients = Vec::new();
        for key in dial_keys {
            clients.push(Arc::new(client(&provider, certified(key))?));
        }
        if clients.is_empty() {
            clients.push(Arc::new(client(&provider, own.clone())?));
        }
        let server = Arc::new(server(&provider, own)?);
        Ok(TlsIdentity(Arc::new(Configs { key: secret.public(), server, clients })))
    }

    /// An identity that shows the certificate of one key and signs with another.
    #[cfg(test)]
    pub(super) fn with_stolen_certificate(own: &SecretKey, shown: &SecretKey) -> TlsIdentity {
        let provider = Arc::new(provider());
        let certificate = certificate::make(&NodeKey::new(shown));
        let stolen = CertifiedKey::new(vec![certificate], Arc::new(NodeKey::new(own)));
        let server = Arc::new(server(&provider, stolen.clone()).unwrap());
        let clients = vec![Arc::new(client(&provider, stolen).unwrap())];
        TlsIdentity(Arc::new(Configs { key: shown.public(), server, clients }))
    }

    /// The key that is shown on accepted connections.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.0.key
    }

    /// The TLS state of an accepted connection.
    pub(super) fn accept(&self) -> Result<Tls, TlsError> {
        Tls::server(self.0.server.clone())
    }

    /// The TLS state of a dialed connection. The other side must prove the expected key.
    pub(super) fn dial(&self, number: u64, expected: Option<PublicKey>) -> Result<Tls, TlsError> {
        let count = self.0.clients.len() as u64;
        let config = &self.0.clients[usize::try_from(number % count).unwrap_or(0)];
        Tls::client(config.clone(), verify::name_of(expected))
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsIdentity(of {})", self.0.key)
    }
}

/// What both sides offer: TLS 1.3, X25519, Ed25519, and the AEADs, the faster one on this processor
/// first.
fn provider() -> CryptoProvider {
    let aes_128 = cipher_suite::TLS13_AES_128_GCM_SHA256;
    let aes_256 = cipher_suite::TLS13_AES_256_GCM_SHA384;
    let chacha = cipher_suite::TLS13_CHACHA20_POLY1305_SHA256;
    let cipher_suites = if has_aes() { vec![aes_128, chacha, aes_256] } else { vec![chacha, aes_128, aes_256] };
    CryptoProvider {
        cipher_suites,
        kx_groups: vec![kx_group::X25519],
        // `verify` verifies signatures. Certificates of authorities are never verified.
        signature_verification_algorithms: WebPkiSupportedAlgorithms { all: &[], mapping: &[] },
        secure_random: &System,
        key_provider: &System,
    }
}

/// The random numbers of the operating system, and no keys from files. The provider of rustls would
/// bring all algorithms that it knows as well.
#[derive(Debug)]
struct System;

impl SecureRandom for System {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        getrandom::fill(bytes).map_err(|_| GetRandomFailed)
    }
}

impl KeyProvider for System {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        Err(Error::General("a node signs with its own key only".to_owned()))
    }
}

/// Whether the processor has instructions for AES: without them ChaCha20 is faster.
fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

fn certified(secret: &SecretKey) -> CertifiedKey {
    let key = NodeKey::new(secret);
    CertifiedKey::new(vec![certificate::make(&key)], Arc::new(key))
}

fn server(provider: &Arc<CryptoProvider>, own: CertifiedKey) -> Result<ServerConfig, Failure> {
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| impossible(&error))?;
    let mut config =
        builder.with_client_cert_verifier(Arc::new(AnyKey)).with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn client(provider: &Arc<CryptoProvider>, own: CertifiedKey) -> Result<ClientConfig, Failure> {
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| impossible(&error))?;
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyKey))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(config)
}

fn impossible(error: &dyn fmt::Display) -> Failure {
    Failure::new(Exit::Internal, format!("TLS cannot be set up: {error}"))
}
