//! What a certificate of the other side must be: a certificate of an Ed25519 key, signed with that
//! key. If a dial names a key, it must be the certificate of this key.
//!
//! Apart from this, it accepts any key. The machine decides by the credential which nodes may take
//! part.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible, SignatureScheme,
};

use super::certificate::{key_of, self_signed_key_of};
use crate::trust::PublicKey;

/// Accepts every key whose owner proves it.
#[derive(Debug)]
pub(super) struct AnyKey;

/// The other side proved another key than the expected one.
#[derive(Clone, Copy, Debug)]
pub(in crate::net) struct WrongKey {
    pub(in crate::net) expected: PublicKey,
    pub(in crate::net) found: PublicKey,
}

impl fmt::Display for WrongKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WrongKey { expected, found } = self;
        write!(f, "its key is {found}, and {expected} was expected")
    }
}

impl std::error::Error for WrongKey {}

/// The server name by which the verifier gets the expected key: the digits of the key. It is never
/// sent.
pub(super) fn name_of(expected: Option<PublicKey>) -> ServerName<'static> {
    match expected.map(|key| ServerName::try_from(key.to_string())) {
        Some(Ok(name)) => name,
        // A key has 56 letters and digits, which form a valid DNS name.
        Some(Err(_)) | None => no_name(),
    }
}

/// The name for a dial without an expected key, because rustls needs a name. It is never sent.
fn no_name() -> ServerName<'static> {
    ServerName::try_from("node").expect("a DNS name")
}

fn expected_in(name: &ServerName<'_>) -> Option<PublicKey> {
    let ServerName::DnsName(name) = name else { return None };
    name.as_ref().parse().ok()
}

fn verify_signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    if signed.scheme != SignatureScheme::ED25519 {
        return Err(PeerIncompatible::NoSignatureSchemesInCommon.into());
    }
    let signature = signed.signature().try_into().map_err(|_| CertificateError::BadSignature)?;
    if key_of(certificate)?.verifies(message, signature) {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(CertificateError::BadSignature.into())
    }
}

/// The part that both verifiers share: they verify the signature that proves a key, only in TLS
/// 1.3.
macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _certificate: &CertificateDer<'_>,
            _signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig.into())
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_signature(message, certificate, signed)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ED25519]
        }
    };
}

impl ServerCertVerifier for AnyKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = self_signed_key_of(end_entity)?;
        match expected_in(server_name).filter(|expected| *expected != found) {
            Some(expected) => {
                let wrong = OtherError(Arc::new(WrongKey { expected, found }));
                Err(CertificateError::Other(wrong).into())
            }
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    signatures!();
}

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self_signed_key_of(end_entity).map(|_| ClientCertVerified::assertion())
    }

    signatures!();
}
