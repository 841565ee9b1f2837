//! The self-signed certificate of a node. It is made here, and the key is read out of a received
//! one (RFC 5280, RFC 8410).

use std::fmt;

use rustls::pki_types::CertificateDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{CertificateError, Error, SignatureAlgorithm, SignatureScheme};
use webpki::EndEntityCert;

use crate::trust::{PublicKey, SecretKey};

/// The bytes before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410 §4).
const ED25519_INFO: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// The AlgorithmIdentifier of an Ed25519 signature (RFC 8410 §3).
const ED25519_SIGNED: [u8; 7] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];

/// The signed part of a certificate up to the key: the length, version 3, serial number 1, Ed25519,
/// the issuer (CN=sprat), the dates (1975 to 4096) and the subject (CN=sprat). The names and the
/// dates are fixed because nobody reads them: a credential has dates of its own.
const SIGNED_HEAD: &[u8] = b"\x30\x81\x81\xa0\x03\x02\x01\x02\x02\x01\x01\x30\x05\x06\x03\x2b\x65\x70\
    \x30\x10\x31\x0e\x30\x0c\x06\x03\x55\x04\x03\x0c\x05sprat\
    \x30\x20\x17\x0d750101000000Z\x18\x0f40960101000000Z\
    \x30\x10\x31\x0e\x30\x0c\x06\x03\x55\x04\x03\x0c\x05sprat";
/// The head of a certificate, which is a sequence of the signed part, the algorithm and the
/// signature.
const CERTIFICATE_HEAD: [u8; 3] = [TAG_SEQUENCE, 0x81, 206];
/// The head of a bit string of 64 bytes.
const SIGNATURE_HEAD: [u8; 3] = [TAG_BIT_STRING, 65, 0];

const TAG_SEQUENCE: u8 = 0x30;
const TAG_BIT_STRING: u8 = 0x03;

/// The key of a node, in the form in which rustls uses it to sign.
pub(super) struct NodeKey {
    secret: SecretKey,
    public: PublicKey,
}

impl NodeKey {
    pub(super) fn new(secret: &SecretKey) -> NodeKey {
        NodeKey { secret: secret.duplicate(), public: secret.public() }
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey(of {})", self.public)
    }
}

impl SigningKey for NodeKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let speaks = offered.contains(&SignatureScheme::ED25519);
        speaks.then(|| Box::new(NodeKey::new(&self.secret)) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for NodeKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.secret.sign(message).to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// The certificate of the key. Each call makes the same certificate.
pub(super) fn make(key: &NodeKey) -> CertificateDer<'static> {
    signed_by(&key.secret, &key.public)
}

/// A certificate of one key that is signed with another key.
fn signed_by(signer: &SecretKey, key: &PublicKey) -> CertificateDer<'static> {
    let signed = [SIGNED_HEAD, &ED25519_INFO, key.as_bytes()].concat();
    let signature = signer.sign(&signed);
    [&CERTIFICATE_HEAD[..], &signed, &ED25519_SIGNED, &SIGNATURE_HEAD, &signature].concat().into()
}

/// The key of a certificate. The handshake proves whether the owner has the secret half of the key;
/// this function does not.
///
/// # Errors
/// If it is not a certificate of an Ed25519 key.
pub(super) fn key_of(certificate: &CertificateDer<'_>) -> Result<PublicKey, Error> {
    let parsed = EndEntityCert::try_from(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let info = parsed.subject_public_key_info();
    let bytes = info.as_ref().strip_prefix(&ED25519_INFO).and_then(|bytes| bytes.try_into().ok());
    let key = bytes.and_then(|bytes| PublicKey::from_bytes(bytes).ok());
    key.ok_or_else(|| CertificateError::BadEncoding.into())
}

/// The key of a certificate that is signed with that key.
///
/// # Errors
/// If it is not such a certificate.
pub(super) fn self_signed_key_of(certificate: &CertificateDer<'_>) -> Result<PublicKey, Error> {
    let key = key_of(certificate)?;
    let (signed, signature) = parts(certificate).ok_or(CertificateError::BadEncoding)?;
    if key.verifies(signed, &signature) { Ok(key) } else { Err(CertificateError::BadSignature.into()) }
}

/// The signed part and its Ed25519 signature (RFC 5280 §4.1).
fn parts(certificate: &[u8]) -> Option<(&[u8], [u8; 64])> {
    let (body, rest) = element(certificate, TAG_SEQUENCE)?;
    let (_, after_signed) = element(body.content, TAG_SEQUENCE)?;
    let signed = &body.content[..body.content.len() - after_signed.len()];
    let after_algorithm = after_signed.strip_prefix(&ED25519_SIGNED)?;
    let (signature, end) = element(after_algorithm, TAG_BIT_STRING)?;
    let signature = signature.content.strip_prefix(&[0])?.try_into().ok()?;
    (rest.is_empty() && end.is_empty()).then_some((signed, signature))
}

/// An element of DER.
struct Element<'a> {
    content: &'a [u8],
}

/// The first element, and the bytes after it. The element must have this tag and a length below 64
/// KiB in its shortest form.
fn element(bytes: &[u8], tag: u8) -> Option<(Element<'_>, &[u8])> {
    let (length, rest) = match *bytes.strip_prefix(&[tag])? {
        [length @ ..=0x7f, ref rest @ ..] => (usize::from(length), rest),
        [0x81, length @ 0x80..=0xff, ref rest @ ..] => (usize::from(length), rest),
        [0x82, high @ 1..=0xff, low, ref rest @ ..] => (usize::from(high) << 8 | usize::from(low), rest),
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((Element { content }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> NodeKey {
        NodeKey::new(&SecretKey::from_seed([seed; 32]))
    }

    #[test]
    fn a_certificate_gives_its_key_back_and_is_the_same_each_time() {
        let certificate = make(&key(1));
        assert_eq!(self_signed_key_of(&certificate).unwrap(), key(1).public);
        assert_eq!(certificate, make(&key(1)));
        assert!(certificate.len() < 400, "{} bytes", certificate.len());
    }

    #[test]
    fn no_certificate_with_one_bit_flipped_is_taken() {
        let certificate = make(&key(1));
        for bit in 0..certificate.len() * 8 {
            let mut bytes = certificate.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(self_signed_key_of(&CertificateDer::from(bytes)).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn what_is_shorter_or_longer_is_no_certificate() {
        let certificate = make(&key(1));
        for length in 0..certificate.len() {
            assert!(self_signed_key_of(&CertificateDer::from(&certificate[..length])).is_err(), "{length} bytes");
        }
        let longer = [&certificate[..], &[0]].concat();
        assert!(self_signed_key_of(&CertificateDer::from(longer)).is_err());
    }

    #[test]
    fn a_certificate_that_another_key_signed_is_refused() {
        let forged = signed_by(&key(2).secret, &key(1).public);
        assert_eq!(key_of(&forged).unwrap(), key(1).public);
        let error = self_signed_key_of(&forged).unwrap_err();
        assert_eq!(error, Error::InvalidCertificate(CertificateError::BadSignature));
    }
}
