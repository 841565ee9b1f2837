//! A credential, with which an operator gives an account to the key of a node. A copy of it is
//! useless without the secret key of this node.
//!
//! The encoding is canonical: every field has one form, nothing follows the signature, and each
//! byte is either signed or part of the signature (PROTOCOL.md 15.8).

use std::fmt;
use std::str::FromStr;

use super::key::{KEY_BYTES, PublicKey, SIGNATURE_BYTES, SecretKey, base32, check_digits};
use super::pin::{Pin, escaped, unescaped};
use crate::config::{ACCOUNT_NAME_BYTES_MAX, CREDENTIAL_BYTES_MAX, GRANT_BYTES_MAX, URI_SUPERS_MAX};

/// The first bytes of the signed bytes. With them, the signature is valid only for a credential.
const DOMAIN: &[u8] = b"sprat credential 1\0";
/// The first byte of an encoding.
const VERSION: u8 = 1;
/// The start of a grant.
pub const SCHEME: &str = "sprat-credential:";
const CHECK_CONTEXT: &str = "sprat 1 check digits of a credential";
const CHECK_DIGITS: usize = 8;

/// One account of one key. Times are in seconds since 1970.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The account.
    pub name: String,
    /// The class of the account. Its limits apply where no other class is known for the account.
    pub class: String,
    /// The key of the node that may use it.
    pub key: PublicKey,
    /// When it was signed.
    pub issued: u64,
    /// It is not valid before this time.
    pub not_before: u64,
    /// It is not valid after this time; `None` means forever.
    pub not_after: Option<u64>,
    /// The key that signed it.
    pub operator: PublicKey,
    signature: [u8; SIGNATURE_BYTES],
}

/// The terms of a credential, which an operator decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The account: see [`is_account_name`].
    pub name: String,
    /// The class, a name of the same form.
    pub class: String,
    /// The key of the node.
    pub key: PublicKey,
    /// When it is signed.
    pub issued: u64,
    /// When it begins to be valid; `None` means at once.
    pub not_before: Option<u64>,
    /// When its validity ends; `None` means never.
    pub not_after: Option<u64>,
}

/// Whether a text can name an account or a class. It has 1 to 64 of the characters `a-z`, `0-9`,
/// `.`, `_` and `-`, and the first one is a letter or a digit.
#[must_use]
pub fn is_account_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    first && name.len() <= ACCOUNT_NAME_BYTES_MAX && name.bytes().all(inner)
}

impl Credential {
    /// Signs the terms.
    ///
    /// # Panics
    /// If the name of the account or of the class is not valid.
    #[must_use]
    pub fn sign(terms: Terms, operator: &SecretKey) -> Credential {
        assert!(is_account_name(&terms.name) && is_account_name(&terms.class), "the terms have names");
        let Terms { name, class, key, issued, not_before, not_after } = terms;
        let (not_before, signature) = (not_before.unwrap_or(issued), [0; SIGNATURE_BYTES]);
        let operator_key = operator.public();
        let mut credential =
            Credential { name, class, key, issued, not_before, not_after, operator: operator_key, signature };
        credential.signature = operator.sign(&credential.signed());
        credential
    }

    /// The bytes that LOGIN carries.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.signed().split_off(DOMAIN.len());
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    /// Reads the bytes. The signature is not verified: [`Network::check`](super::Network::check)
    /// verifies it and makes all other checks.
    ///
    /// # Errors
    /// If they are not the encoding of a credential.
    pub fn decode(bytes: &[u8]) -> Result<Credential, CredentialError> {
        if bytes.len() > CREDENTIAL_BYTES_MAX {
            return Err(CredentialError);
        }
        let mut rest = bytes;
        let [version] = take(&mut rest)?;
        let operator = take::<KEY_BYTES>(&mut rest)?;
        let key = take::<KEY_BYTES>(&mut rest)?;
        let issued = u64::from_be_bytes(take(&mut rest)?);
        let not_before = u64::from_be_bytes(take(&mut rest)?);
        let not_after = u64::from_be_bytes(take(&mut rest)?);
        let class = take_name(&mut rest)?;
        let name = take_name(&mut rest)?;
        let signature = take::<SIGNATURE_BYTES>(&mut rest)?;
        if version != VERSION || !rest.is_empty() {
            return Err(CredentialError);
        }
        let key_of = |bytes| PublicKey::from_bytes(bytes).map_err(|_| CredentialError);
        let (operator, key) = (key_of(operator)?, key_of(key)?);
        let not_after = (not_after != u64::MAX).then_some(not_after);
        Ok(Credential { name, class, key, issued, not_before, not_after, operator, signature })
    }

    /// Whether the operator that it names has signed it.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.operator.verifies(&self.signed(), &self.signature)
    }

    /// The signed bytes: the domain, then the encoding without the signature.
    fn signed(&self) -> Vec<u8> {
        let mut bytes = DOMAIN.to_vec();
        bytes.push(VERSION);
        bytes.extend_from_slice(self.operator.as_bytes());
        bytes.extend_from_slice(self.key.as_bytes());
        for time in [self.issued, self.not_before, self.not_after.unwrap_or(u64::MAX)] {
            bytes.extend_from_slice(&time.to_be_bytes());
        }
        for name in [&self.class, &self.name] {
            bytes.push(u8::try_from(name.len()).expect("a name of an account is short"));
            bytes.extend_from_slice(name.as_bytes());
        }
        bytes
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Credential { name, class, key, issued, not_before, not_after, operator, .. } = self;
        f.debug_struct("Credential")
            .field("name", name)
            .field("class", class)
            .field("key", key)
            .field("issued", issued)
            .field("not_before", not_before)
            .field("not_after", not_after)
            .field("operator", operator)
            .finish_non_exhaustive()
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], CredentialError> {
    let (bytes, after) = rest.split_first_chunk().ok_or(CredentialError)?;
    *rest = after;
    Ok(*bytes)
}

fn take_name(rest: &mut &[u8]) -> Result<String, CredentialError> {
    let [length] = take(rest)?;
    let (name, after) = rest.split_at_checked(length.into()).ok_or(CredentialError)?;
    *rest = after;
    let name = str::from_utf8(name).ok().filter(|name| is_account_name(name));
    name.map(str::to_owned).ok_or(CredentialError)
}

/// Bytes that are not a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialError;

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("these bytes are not a credential")
    }
}

impl std::error::Error for CredentialError {}

/// A credential as text, with super peers that accept it. `sprat operator sign` prints it and
/// `sprat join` reads it. It contains no secret.
///
/// ```text
/// sprat-credential:BASE32,super=KEY@HOST:PORT,check=CHECK
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The credential.
    pub credential: Credential,
    /// Super peers with their keys, in order of preference.
    pub supers: Vec<Pin>,
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("{SCHEME}{}", base32().encode(&self.credential.encode()));
        for pin in &self.supers {
            text.push_str(",super=");
            text.push_str(&escaped(&pin.to_string()));
        }
        write!(f, "{text},check={}", check_digits(CHECK_CONTEXT, text.as_bytes(), CHECK_DIGITS))
    }
}

impl FromStr for Grant {
    type Err = String;

    /// Reads the text. Space around it is ignored. The check covers every character.
    fn from_str(text: &str) -> Result<Grant, String> {
        let damaged = || "the credential is damaged; copy all of it".to_owned();
        let text = text.trim();
        if text.len() > GRANT_BYTES_MAX {
            return Err(format!("a credential of {} bytes; at most {GRANT_BYTES_MAX} are allowed", text.len()));
        }
        let (body, check) = text.rsplit_once(",check=").ok_or_else(damaged)?;
        if check != check_digits(CHECK_CONTEXT, body.as_bytes(), CHECK_DIGITS) {
            return Err(damaged());
        }
        let mut fields = body.strip_prefix(SCHEME).ok_or_else(damaged)?.split(',');
        let bytes = base32().decode(fields.next().unwrap_or_default().as_bytes()).map_err(|_| damaged())?;
        let credential = Credential::decode(&bytes).map_err(|_| damaged())?;
        let mut supers = Vec::new();
        for value in fields.filter_map(|field| field.strip_prefix("super=")) {
            let pin: Pin = unescaped(value).ok_or_else(damaged)?.parse()?;
            if pin.key.is_none() || supers.len() == URI_SUPERS_MAX {
                return Err(format!("a credential names at most {URI_SUPERS_MAX} super peers, each with its key"));
            }
            supers.push(pin);
        }
        Ok(Grant { credential, supers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> Terms {
        let key = SecretKey::from_seed([1; 32]).public();
        let (name, class) = ("ann".to_owned(), "default".to_owned());
        Terms { name, class, key, issued: 1_000, not_before: None, not_after: Some(2_000) }
    }

    fn operator() -> SecretKey {
        SecretKey::from_seed([9; 32])
    }

    #[test]
    fn a_credential_reads_back() {
        for not_after in [None, Some(0), Some(2_000)] {
            let credential = Credential::sign(Terms { not_after, ..terms() }, &operator());
            assert!(credential.is_signed());
            let bytes = credential.encode();
            assert!(bytes.len() <= CREDENTIAL_BYTES_MAX);
            assert_eq!(Credential::decode(&bytes), Ok(credential));
        }
        let long = "x".repeat(ACCOUNT_NAME_BYTES_MAX);
        let longest = Credential::sign(Terms { name: long.clone(), class: long, ..terms() }, &operator());
        assert_eq!(longest.encode().len(), CREDENTIAL_BYTES_MAX);
    }

    #[test]
    fn no_credential_has_another_length_or_one_other_bit() {
        let bytes = Credential::sign(terms(), &operator()).encode();
        for length in 0..bytes.len() {
            assert_eq!(Credential::decode(&bytes[..length]), Err(CredentialError), "{length} bytes");
        }
        assert_eq!(Credential::decode(&[&bytes[..], &[0]].concat()), Err(CredentialError));
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!Credential::decode(&other).is_ok_and(|other| other.is_signed()), "bit {bit}");
        }
    }

    #[test]
    fn names_have_one_form() {
        for name in ["a", "ann", "a.b-c_9", "9"] {
            assert!(is_account_name(name), "{name}");
        }
        let long = "x".repeat(ACCOUNT_NAME_BYTES_MAX + 1);
        for name in ["", "Ann", "-a", ".a", "_a", "a b", "a,b", "ä", "a\n", &long] {
            assert!(!is_account_name(name), "{name}");
        }
    }

    #[test]
    fn a_grant_reads_back_and_never_with_one_other_bit() {
        let pin = |text: &str| format!("{}@{text}", operator().public()).parse::<Pin>().unwrap();
        let supers = vec![pin("192.0.2.1:4777"), pin("[2001:db8::1]:4777")];
        let grant = Grant { credential: Credential::sign(terms(), &operator()), supers };
        let text = grant.to_string();
        assert_eq!(text.parse(), Ok(grant.clone()));
        assert_eq!(format!(" {text}\n").parse(), Ok(grant));
        for bit in 0..text.len() * 8 {
            let mut other = text.clone().into_bytes();
            other[bit / 8] ^= 1 << (bit % 8);
            let other = String::from_utf8_lossy(&other);
            assert!(other.trim() == text || other.parse::<Grant>().is_err(), "bit {bit}: {other}");
        }
    }
}
