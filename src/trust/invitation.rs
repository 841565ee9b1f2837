//! An invitation: one line of text. Its holder can use it once to get an account at one super peer.
//!
//! ```text
//! sprat-invite:KEY@HOST:PORT,user=NAME,token=TOKEN
//! ```
//!
//! The token is a secret: no `Debug` output contains it, and a super peer keeps only its hash. The
//! last digits are a check of all text before them, so that a damaged copy is refused before
//! anything is dialed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::credential::is_account_name;
use super::key::{PublicKey, base32, check_digits};
use super::pin::{Pin, escaped, unescaped};
use crate::config::INVITATION_BYTES_MAX;
use crate::wire::HostPort;

/// The start of an invitation.
pub const SCHEME: &str = "sprat-invite:";
/// Length of a token in bytes: 160 bits, which are 32 base32 digits.
pub const TOKEN_BYTES: usize = 20;
const TOKEN_DIGITS: usize = 32;
/// Base32 digits of the check: 40 bits of a hash.
const CHECK_DIGITS: usize = 8;
const CHECK_CONTEXT: &str = "sprat 1 check digits of an invitation";
const HASH_CONTEXT: &str = "sprat 1 hash of an invitation token";

/// The secret of an invitation.
#[derive(Clone)]
pub struct Token([u8; TOKEN_BYTES]);

impl Token {
    /// The token that consists of these random bytes.
    #[must_use]
    pub fn new(bytes: [u8; TOKEN_BYTES]) -> Token {
        Token(bytes)
    }

    /// The token with these bytes. None if their number is wrong.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Token> {
        bytes.try_into().ok().map(Token)
    }

    /// Its bytes, for ENROLL.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its hash, which a super peer keeps in its place.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash(blake3::derive_key(HASH_CONTEXT, &self.0))
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Token) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Token {}

/// The hash of a token. Hashes are compared in constant time.
#[derive(Clone)]
pub struct TokenHash([u8; 32]);

impl PartialEq for TokenHash {
    fn eq(&self, other: &TokenHash) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenHash {}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

impl From<&Token> for TokenHash {
    fn from(token: &Token) -> TokenHash {
        token.hash()
    }
}

impl Serialize for TokenHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base32().encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TokenHash, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = base32().decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(TokenHash).ok_or_else(|| de::Error::custom("the hash of a token has 52 base32 digits"))
    }
}

/// An invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// The key of the super peer.
    pub key: PublicKey,
    /// The address of the super peer.
    pub at: HostPort,
    /// The account.
    pub user: String,
    /// The secret.
    pub token: Token,
}

impl Invitation {
    /// The super peer, with its key.
    #[must_use]
    pub fn pin(&self) -> Pin {
        Pin { key: Some(self.key), at: self.at.clone() }
    }

    /// The line that people copy. This type has no `Display`, so that nothing prints the secret by
    /// accident.
    #[must_use]
    pub fn text(&self) -> String {
        let token = base32().encode(&self.token.0);
        let text = format!("{SCHEME}{},user={},token={token}", escaped(&self.pin().to_string()), self.user);
        let check = check_digits(CHECK_CONTEXT, text.as_bytes(), CHECK_DIGITS);
        text + &check
    }
}

/// Why a text is not an invitation. The sentence never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvitationError {
    /// It does not begin with [`SCHEME`].
    Scheme,
    /// It is longer than any invitation.
    Long,
    /// Its check digits are wrong, or one of its fields is.
    Damaged,
}

impl fmt::Display for InvitationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvitationError::Scheme => write!(f, "an invitation begins with {SCHEME}"),
            InvitationError::Long => write!(f, "an invitation has at most {INVITATION_BYTES_MAX} bytes"),
            InvitationError::Damaged => f.write_str("the invitation is damaged; copy all of it"),
        }
    }
}

impl std::error::Error for InvitationError {}

impl FromStr for Invitation {
    type Err = InvitationError;

    /// Reads the text. Space around it is ignored. The check covers every character. Unknown fields
    /// are ignored.
    fn from_str(text: &str) -> Result<Invitation, InvitationError> {
        use InvitationError::{Damaged, Long, Scheme};
        let text = text.trim();
        if text.len() > INVITATION_BYTES_MAX {
            return Err(Long);
        }
        let fields = text.strip_prefix(SCHEME).ok_or(Scheme)?;
        let (body, check) = text.split_at_checked(text.len().saturating_sub(CHECK_DIGITS)).ok_or(Damaged)?;
        if check != check_digits(CHECK_CONTEXT, body.as_bytes(), CHECK_DIGITS) {
            return Err(Damaged);
        }
        let fields = &fields[..fields.len().checked_sub(CHECK_DIGITS).ok_or(Damaged)?];
        let (rest, token) = fields.rsplit_once(",token=").ok_or(Damaged)?;
        let token = Some(token).filter(|token| token.len() == TOKEN_DIGITS).ok_or(Damaged)?;
        let token = base32().decode(token.as_bytes()).map_err(|_| Damaged)?;
        let token = Token::from_slice(&token).ok_or(Damaged)?;
        let mut rest = rest.split(',');
        let pin: Pin = unescaped(rest.next().unwrap_or_default()).ok_or(Damaged)?.parse().map_err(|_| Damaged)?;
        let user = rest.find_map(|field| field.strip_prefix("user=")).filter(|user| is_account_name(user));
        let user = user.ok_or(Damaged)?.to_owned();
        Ok(Invitation { key: pin.key.ok_or(Damaged)?, at: pin.at, user, token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::SecretKey;

    fn invitation(at: &str) -> Invitation {
        let key = SecretKey::from_seed([1; 32]).public();
        Invitation { key, at: at.parse().unwrap(), user: "ann".to_owned(), token: Token::new([7; TOKEN_BYTES]) }
    }

    #[test]
    fn an_invitation_is_one_word_of_a_shell_and_reads_back() {
        for at in ["192.0.2.1:4777", "super.example:1", "[2001:db8::1]:4777"] {
            let text = invitation(at).text();
            assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || "-._~:@,=%".contains(c)), "{text}");
            assert_eq!(text.parse(), Ok(invitation(at)));
            assert_eq!(format!("\n {text}\r\n").parse(), Ok(invitation(at)));
        }
    }

    #[test]
    fn no_invitation_has_one_other_bit_or_less_text() {
        let text = invitation("192.0.2.1:4777").text();
        for bit in 0..text.len() * 8 {
            let mut other = text.clone().into_bytes();
            other[bit / 8] ^= 1 << (bit % 8);
            let other = String::from_utf8_lossy(&other);
            assert!(other.parse::<Invitation>().is_err(), "bit {bit}: {other}");
        }
        for length in 0..text.len() {
            assert!(text[..length].parse::<Invitation>().is_err(), "{length} characters");
            assert!(text[text.len() - length..].parse::<Invitation>().is_err(), "the last {length} characters");
        }
        assert!("x".repeat(INVITATION_BYTES_MAX + 1).parse::<Invitation>() == Err(InvitationError::Long));
        assert_eq!(format!("{SCHEME}ä").parse::<Invitation>(), Err(InvitationError::Damaged));
    }

    #[test]
    fn the_token_is_in_no_debug_output() {
        let invitation = invitation("192.0.2.1:4777");
        let text = format!("{invitation:?} {:?}", invitation.token.hash());
        let secret = base32().encode(invitation.token.as_bytes());
        assert!(!text.contains(&secret) && !text.contains("7, 7"), "{text}");
        assert!(text.contains("Token(…)"), "{text}");
    }

    #[test]
    fn a_hash_reads_back_and_is_of_one_token() {
        let hash = Token::new([7; TOKEN_BYTES]).hash();
        let json = serde_json::to_string(&hash).unwrap();
        assert!(serde_json::from_str::<TokenHash>(&json).unwrap() == hash);
        assert!(Token::new([8; TOKEN_BYTES]).hash() != hash);
        assert!(serde_json::from_str::<TokenHash>("\"abc\"").is_err());
    }
}
