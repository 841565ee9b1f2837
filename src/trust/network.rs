//! What a node knows about its network, and the function that checks a credential. Super peers and
//! weak peers use this one function, on sessions and on chunk connections.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::credential::Credential;
use super::key::PublicKey;
use super::rotation::Rotation;
use crate::config::CLOCK_SKEW_S_MAX;

/// The operators whose signatures are accepted, and keys whose credentials are denied although an
/// operator has signed them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    operators: BTreeSet<PublicKey>,
    /// Keys, each with a time. Credentials that were signed up to this time are denied.
    denied: BTreeMap<PublicKey, u64>,
}

/// An account whose credential was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its class.
    pub class: String,
    /// The key that was proven.
    pub key: PublicKey,
    /// When its credential was signed.
    pub issued: u64,
    /// When its credential ends.
    pub not_after: Option<u64>,
    /// Whether the dates were not checked. They are not checked if the clock of this node is far
    /// behind the time of the signature, because the clock is then wrong. The node logs a warning.
    pub dates_ignored: bool,
}

/// Why a credential is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The bytes are not a credential.
    Malformed,
    /// No operator of the network signed it.
    UnknownOperator,
    /// The signature is wrong.
    Signature,
    /// It is for another key than the one that was proven.
    OtherKey,
    /// Its key is denied.
    Revoked,
    /// It is not valid yet.
    NotYetValid,
    /// It is no longer valid.
    Expired,
}

impl Refusal {
    /// All reasons.
    pub const ALL: [Refusal; 7] = [
        Refusal::Malformed,
        Refusal::UnknownOperator,
        Refusal::Signature,
        Refusal::OtherKey,
        Refusal::Revoked,
        Refusal::NotYetValid,
        Refusal::Expired,
    ];

    /// The name of its counter.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Refusal::Malformed => "malformed",
            Refusal::UnknownOperator => "unknown_operator",
            Refusal::Signature => "signature",
            Refusal::OtherKey => "other_key",
            Refusal::Revoked => "revoked",
            Refusal::NotYetValid => "not_yet_valid",
            Refusal::Expired => "expired",
        }
    }
}

impl fmt::Display for Refusal {
    /// The sentence says what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Malformed => "the credential cannot be read; join again with an invitation",
            Refusal::UnknownOperator => {
                "the credential is of another network; join this one with an invitation from its operator"
            }
            Refusal::Signature => "the signature of the credential is wrong; join again with an invitation",
            Refusal::OtherKey => "the credential is of another key; join with an invitation for this node",
            Refusal::Revoked => "the account is revoked; ask the operator for an invitation",
            Refusal::NotYetValid => "the credential is not valid yet; wait, or check the clocks of both hosts",
            Refusal::Expired => "the credential has expired; ask the operator for an invitation",
        })
    }
}

impl std::error::Error for Refusal {}

impl Network {
    /// A network with these operators.
    #[must_use]
    pub fn new(operators: impl IntoIterator<Item = PublicKey>) -> Network {
        Network { operators: operators.into_iter().collect(), denied: BTreeMap::new() }
    }

    /// The operators.
    pub fn operators(&self) -> impl Iterator<Item = PublicKey> {
        self.operators.iter().copied()
    }

    /// Adds an operator.
    pub fn admit(&mut self, operator: PublicKey) {
        self.operators.insert(operator);
    }

    /// Applies a change of key: if one of the old keys is an operator, the new key becomes an
    /// operator too. Signatures of the old key stay valid.
    pub fn follow(&mut self, rotation: &Rotation) {
        let ends: Vec<PublicKey> = self.operators.iter().map(|operator| rotation.follow(*operator)).collect();
        self.operators.extend(ends);
    }

    /// Denies the credentials of a key that were signed at this time or before.
    pub fn deny(&mut self, key: PublicKey, until: u64) {
        let known = self.denied.entry(key).or_default();
        *known = (*known).max(until);
    }

    /// Whether any credentials of this key are denied.
    #[must_use]
    pub fn is_denied(&self, key: &PublicKey) -> bool {
        self.denied.contains_key(key)
    }

    /// The denied keys. Credentials that were signed up to the time beside the key are denied.
    pub fn denied(&self) -> impl Iterator<Item = (PublicKey, u64)> {
        self.denied.iter().map(|(key, until)| (*key, *until))
    }

    /// Checks a credential that was shown on a connection whose other side has proven `key`. `unix`
    /// is the time in seconds.
    ///
    /// # Errors
    /// The first reason for which it is refused.
    pub fn check(&self, credential: &[u8], key: PublicKey, unix: u64) -> Result<Account, Refusal> {
        let credential = Credential::decode(credential).map_err(|_| Refusal::Malformed)?;
        if credential.key != key {
            return Err(Refusal::OtherKey);
        }
        if !self.operators.contains(&credential.operator) {
            return Err(Refusal::UnknownOperator);
        }
        if !credential.is_signed() {
            return Err(Refusal::Signature);
        }
        if self.denies(&credential.key, credential.issued) {
            return Err(Refusal::Revoked);
        }
        let dates_ignored = unix.saturating_add(CLOCK_SKEW_S_MAX) < credential.issued;
        if !dates_ignored && unix.saturating_add(CLOCK_SKEW_S_MAX) < credential.not_before {
            return Err(Refusal::NotYetValid);
        }
        if !dates_ignored && credential.not_after.is_some_and(|not_after| unix > not_after) {
            return Err(Refusal::Expired);
        }
        let Credential { name, class, issued, not_after, .. } = credential;
        Ok(Account { name, class, key, issued, not_after, dates_ignored })
    }

    /// Whether credentials of a key that were signed at this time are denied.
    #[must_use]
    pub fn denies(&self, key: &PublicKey, issued: u64) -> bool {
        self.denied.get(key).is_some_and(|until| issued <= *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::SecretKey;
    use crate::trust::credential::Terms;

    fn secret(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; 32])
    }

    fn terms() -> Terms {
        let (name, class, key) = ("ann".to_owned(), "default".to_owned(), secret(1).public());
        Terms { name, class, key, issued: 1_000, not_before: Some(1_400), not_after: Some(2_000) }
    }

    fn network() -> Network {
        Network::new([secret(9).public()])
    }

    #[test]
    fn a_credential_is_good_for_its_key_in_its_time() {
        let bytes = Credential::sign(terms(), &secret(9)).encode();
        for unix in [1_100, 1_400, 2_000] {
            let account = network().check(&bytes, secret(1).public(), unix).unwrap();
            assert_eq!((account.name.as_str(), account.class.as_str()), ("ann", "default"));
            assert!(!account.dates_ignored);
        }
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        let bytes = Credential::sign(terms(), &secret(9)).encode();
        let mut forged = bytes.clone();
        *forged.last_mut().unwrap() ^= 1;
        let foreign = Credential::sign(terms(), &secret(8)).encode();
        let check = |bytes: &[u8], key: u8, unix| network().check(bytes, secret(key).public(), unix).unwrap_err();
        assert_eq!(check(&bytes, 2, 1_500), Refusal::OtherKey);
        assert_eq!(check(&foreign, 1, 1_500), Refusal::UnknownOperator);
        assert_eq!(check(&forged, 1, 1_500), Refusal::Signature);
        assert_eq!(check(&bytes, 1, 1_099), Refusal::NotYetValid);
        assert_eq!(check(&bytes, 1, 2_001), Refusal::Expired);
        assert_eq!(check(&bytes[1..], 1, 1_500), Refusal::Malformed);
        assert_eq!(check(&[], 1, 1_500), Refusal::Malformed);
    }

    #[test]
    fn every_other_bit_is_refused() {
        let bytes = Credential::sign(terms(), &secret(9)).encode();
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(network().check(&other, secret(1).public(), 1_500).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_clock_long_before_the_signature_is_wrong_and_dates_are_ignored() {
        let bytes = Credential::sign(terms(), &secret(9)).encode();
        assert!(network().check(&bytes, secret(1).public(), 699).unwrap().dates_ignored);
        assert_eq!(network().check(&bytes, secret(1).public(), 700), Err(Refusal::NotYetValid));
    }

    #[test]
    fn a_denied_key_is_out_until_it_gets_a_later_credential() {
        let mut network = network();
        network.deny(secret(1).public(), 1_200);
        network.deny(secret(1).public(), 1_100);
        let signed = |issued| Credential::sign(Terms { issued, ..terms() }, &secret(9)).encode();
        let check = |issued| network.check(&signed(issued), secret(1).public(), 1_500);
        assert_eq!(check(1_000), Err(Refusal::Revoked));
        assert_eq!(check(1_200), Err(Refusal::Revoked));
        assert!(check(1_201).is_ok());
        assert_eq!(network.denied().collect::<Vec<_>>(), [(secret(1).public(), 1_200)]);
    }

    #[test]
    fn an_operator_that_changes_its_key_stays_one() {
        let mut rotation = Rotation::default();
        rotation.add(&secret(9), secret(10).public());
        let mut network = network();
        network.follow(&rotation);
        for operator in [9, 10] {
            let bytes = Credential::sign(terms(), &secret(operator)).encode();
            assert!(network.check(&bytes, secret(1).public(), 1_500).is_ok(), "{operator}");
        }
        let mut foreign = Rotation::default();
        foreign.add(&secret(7), secret(8).public());
        network.follow(&foreign);
        assert_eq!(network.operators().count(), 2);
    }

    #[test]
    fn every_refusal_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = Refusal::ALL.map(Refusal::reason).into();
        assert_eq!(names.len(), Refusal::ALL.len());
    }
}
