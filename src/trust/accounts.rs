//! The accounts of one super peer, as a value: users, their nodes and open invitations, classes
//! with limits, and denied keys. The host reads and writes the file.
//!
//! The token of an invitation is not kept, only its hash.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::credential::{Terms, is_account_name};
use super::invitation::{Token, TokenHash};
use super::key::PublicKey;
use super::network::Network;
use crate::config::{ACCOUNT_KEYS_MAX, ACCOUNTS_MAX, CLASSES_MAX, DENIED_MAX};

/// The class of a user for whom no class was named.
pub const CLASS_DEFAULT: &str = "default";
/// The version of the file.
const VERSION: u32 = 1;

/// The limits of an account of a class. If a limit is `None`, the limit of the program applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Files that are registered at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Bytes of the paths of these files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_bytes: Option<u64>,
    /// Queries in a second, on average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queries_per_second: Option<u64>,
    /// Sessions at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u64>,
    /// Bytes per second that a peer sends to an account of this class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_bytes_per_second: Option<u64>,
}

impl Limits {
    /// These limits. `None` is replaced by the limit of `other`.
    #[must_use]
    pub fn or(self, other: Limits) -> Limits {
        Limits {
            files: self.files.or(other.files),
            name_bytes: self.name_bytes.or(other.name_bytes),
            queries_per_second: self.queries_per_second.or(other.queries_per_second),
            sessions: self.sessions.or(other.sessions),
            upload_bytes_per_second: self.upload_bytes_per_second.or(other.upload_bytes_per_second),
        }
    }
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The class.
    pub class: String,
    /// When the user was added.
    pub added: u64,
    /// The open invitation, or the one that was used last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invitation: Option<Invited>,
    /// The nodes that enrolled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Enrolled>,
    /// When the user was revoked; `None` if the user was not revoked, or was invited again since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<u64>,
}

/// An invitation, without its token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invited {
    hash: TokenHash,
    /// The time after which it is no longer accepted.
    pub until: u64,
    /// For how many seconds its credential is valid; `None` means forever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_s: Option<u64>,
    /// The key that has used the invitation. This key gets the same answer again, because the first
    /// answer may have been lost. No other key does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<PublicKey>,
}

/// A node of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolled {
    /// Its key.
    pub key: PublicKey,
    /// When its credential was signed.
    pub issued: u64,
    /// When its credential ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<u64>,
}

/// Users, classes and denied keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accounts {
    version: u32,
    #[serde(default)]
    users: BTreeMap<String, User>,
    #[serde(default)]
    classes: BTreeMap<String, Limits>,
    /// Keys, each with a time: credentials for the key that were issued at this time or before are
    /// denied.
    #[serde(default)]
    denied: BTreeMap<PublicKey, u64>,
}

/// Why accounts cannot be read or changed. The texts are in lower case and say what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountsError {
    /// The text is not an account file.
    Text(String),
    /// The text is not a valid name.
    Name(String),
    /// There is no such user.
    Unknown(String),
    /// There is no such class.
    UnknownClass(String),
    /// A table is full: what it contains, and its limit.
    Full(&'static str, usize),
}

impl fmt::Display for AccountsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AccountsError::Text(why) => write!(f, "not an account file: {why}"),
            AccountsError::Name(name) => write!(
                f,
                "{name:?} is not a name; use up to 64 of a-z, 0-9, '.', '_' and '-', with a letter or digit first"
            ),
            AccountsError::Unknown(name) => write!(f, "there is no user {name:?}; sprat user list shows them"),
            AccountsError::UnknownClass(class) => {
                write!(f, "there is no class {class:?}; make it with sprat user set --class {class} and its limits")
            }
            AccountsError::Full(what, most) => write!(
                f,
                "the limit of {most} {what} is reached; stop the super peer and remove some from the file accounts in its state folder"
            ),
        }
    }
}

impl std::error::Error for AccountsError {}

/// An invitation is not accepted. All reasons have the same text, so that a stranger does not learn
/// which part was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotInvited;

impl fmt::Display for NotInvited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the invitation is not valid: it was used, has expired or was replaced; ask for another one")
    }
}

impl std::error::Error for NotInvited {}

impl Accounts {
    /// Reads an account file.
    ///
    /// # Errors
    /// If the text is not an account file, or has another version.
    pub fn parse(text: &str) -> Result<Accounts, AccountsError> {
        let accounts: Accounts = serde_json::from_str(text).map_err(|error| AccountsError::Text(error.to_string()))?;
        if accounts.version != VERSION {
            return Err(AccountsError::Text(format!("version {} instead of {VERSION}", accounts.version)));
        }
        let names = accounts.users.keys().chain(accounts.classes.keys());
        let names = names.chain(accounts.users.values().map(|user| &user.class));
        match names.into_iter().find(|name| !is_account_name(name)) {
            Some(name) => Err(AccountsError::Name(name.clone())),
            None => Ok(accounts),
        }
    }

    /// The text of the account file.
    #[must_use]
    pub fn text(&self) -> String {
        let versioned = Accounts { version: VERSION, ..self.clone() };
        serde_json::to_string_pretty(&versioned).expect("accounts have text keys") + "\n"
    }

    /// Whether there are no users.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// The users, by name.
    pub fn users(&self) -> impl Iterator<Item = (&str, &User)> {
        self.users.iter().map(|(name, user)| (name.as_str(), user))
    }

    /// The classes that have limits, by name.
    pub fn classes(&self) -> impl Iterator<Item = (&str, Limits)> {
        self.classes.iter().map(|(name, limits)| (name.as_str(), *limits))
    }

    /// The user with this name.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// The limits of an account: those of the class of the user here or, if there is no such user,
    /// of the class that the credential names. If that class has no limits, those of
    /// [`CLASS_DEFAULT`] apply.
    #[must_use]
    pub fn limits(&self, name: &str, class: &str) -> Limits {
        let class = self.users.get(name).map_or(class, |user| user.class.as_str());
        let of = |class: &str| self.classes.get(class).copied();
        of(class).or_else(|| of(CLASS_DEFAULT)).unwrap_or_default()
    }

    /// Denies in a network the keys that are denied in these accounts.
    pub fn deny_in(&self, network: &mut Network) {
        for (key, until) in &self.denied {
            network.deny(*key, *until);
        }
    }

    /// Adds a user, or invites another node of an existing user. An unused invitation is replaced.
    /// If `class` is `None`, an existing user keeps its class, and a new user gets
    /// [`CLASS_DEFAULT`].
    ///
    /// # Errors
    /// If the name is not valid, the class is unknown, or there are too many users or nodes.
    pub fn invite(
        &mut self,
        name: &str,
        class: Option<&str>,
        token: impl Into<TokenHash>,
        until: u64,
        valid_s: Option<u64>,
        unix: u64,
    ) -> Result<(), AccountsError> {
        if !is_account_name(name) {
            return Err(AccountsError::Name(name.to_owned()));
        }
        class.map_or(Ok(()), |class| self.known_class(class))?;
        if !self.users.contains_key(name) && self.users.len() >= ACCOUNTS_MAX {
            return Err(AccountsError::Full("users", ACCOUNTS_MAX));
        }
        let fresh = || User {
            class: CLASS_DEFAULT.to_owned(),
            added: unix,
            invitation: None,
            nodes: Vec::new(),
            revoked: None,
        };
        let user = self.users.entry(name.to_owned()).or_insert_with(fresh);
        if user.nodes.len() >= ACCOUNT_KEYS_MAX {
            return Err(AccountsError::Full("nodes of this user", ACCOUNT_KEYS_MAX));
        }
        if let Some(class) = class {
            class.clone_into(&mut user.class);
        }
        user.invitation = Some(Invited { hash: token.into(), until, valid_s, used_by: None });
        user.revoked = None;
        Ok(())
    }

    /// Uses an invitation for a key that its owner has proven. Returns the terms that the operator
    /// key must then sign. The key that has used the invitation gets the same terms again, unless
    /// they have expired or were denied.
    ///
    /// # Errors
    /// If the invitation is not accepted. Then nothing has changed.
    pub fn enroll(&mut self, name: &str, token: &Token, key: PublicKey, unix: u64) -> Result<Terms, NotInvited> {
        let denied = self.denied.get(&key).copied();
        // The same comparison is made for an unknown user, so that the answer takes the same time.
        let unknown = Token::new([0; super::invitation::TOKEN_BYTES]).hash();
        let user = self.users.get_mut(name);
        let expected =
            user.as_ref().and_then(|user| user.invitation.as_ref()).map_or(unknown, |open| open.hash.clone());
        let is_token = expected == token.hash();
        let user = user.filter(|_| is_token).ok_or(NotInvited)?;
        let open = user.invitation.as_mut().filter(|_| user.revoked.is_none()).ok_or(NotInvited)?;
        let node = match open.used_by {
            Some(used_by) => {
                let same = user.nodes.iter().find(|node| node.key == key && used_by == key);
                same.filter(|node| node.not_after.is_none_or(|last| unix <= last)).cloned().ok_or(NotInvited)?
            }
            None if unix <= open.until => {
                // It must be later than the time up to which credentials of this key are denied.
                let issued = denied.map_or(unix, |until| unix.max(until.saturating_add(1)));
                let not_after = open.valid_s.map(|valid| issued.saturating_add(valid));
                open.used_by = Some(key);
                let node = Enrolled { key, issued, not_after };
                user.nodes.retain(|node| node.key != key);
                user.nodes.push(node.clone());
                node
            }
            None => return Err(NotInvited),
        };
        let (name, class) = (name.to_owned(), user.class.clone());
        let Enrolled { key, issued, not_after } = node;
        Ok(Terms { name, class, key, issued, not_before: None, not_after })
    }

    /// Revokes a user: the invitation of the user is void, and the keys of the user are denied.
    /// Returns these keys.
    ///
    /// # Errors
    /// If there is no such user, or if too many keys are denied. Then nothing has changed.
    pub fn revoke(&mut self, name: &str, unix: u64) -> Result<Vec<PublicKey>, AccountsError> {
        let user = self.users.get_mut(name).ok_or_else(|| AccountsError::Unknown(name.to_owned()))?;
        let until = user.nodes.iter().map(|node| (node.key, unix.max(node.issued))).collect();
        deny_all(&mut self.denied, &until)?;
        (user.invitation, user.revoked) = (None, Some(unix));
        user.nodes.clear();
        Ok(until.into_keys().collect())
    }

    /// Denies a key. The account of the key may also be at another super peer, or in a credential
    /// of an operator. A user with this key keeps the other nodes.
    ///
    /// # Errors
    /// If too many keys are denied.
    pub fn deny(&mut self, key: PublicKey, until: u64) -> Result<(), AccountsError> {
        deny_all(&mut self.denied, &BTreeMap::from([(key, until)]))?;
        for user in self.users.values_mut() {
            user.nodes.retain(|node| node.key != key || node.issued > until);
        }
        Ok(())
    }

    /// Gives a user another class. The change applies here at once. The class in credentials does
    /// not change.
    ///
    /// # Errors
    /// If there is no such user or class.
    pub fn set_class(&mut self, name: &str, class: &str) -> Result<(), AccountsError> {
        self.known_class(class)?;
        let user = self.users.get_mut(name).ok_or_else(|| AccountsError::Unknown(name.to_owned()))?;
        class.clone_into(&mut user.class);
        Ok(())
    }

    /// Sets limits of a class, which is added if it is new. A limit that is `None` does not change.
    ///
    /// # Errors
    /// If the name is not valid, or if there are too many classes.
    pub fn set_limits(&mut self, class: &str, limits: Limits) -> Result<(), AccountsError> {
        if !is_account_name(class) {
            return Err(AccountsError::Name(class.to_owned()));
        }
        if !self.classes.contains_key(class) && self.classes.len() >= CLASSES_MAX {
            return Err(AccountsError::Full("classes", CLASSES_MAX));
        }
        let known = self.classes.entry(class.to_owned()).or_default();
        *known = limits.or(*known);
        Ok(())
    }

    fn known_class(&self, class: &str) -> Result<(), AccountsError> {
        let is_known = class == CLASS_DEFAULT || self.classes.contains_key(class);
        if is_known { Ok(()) } else { Err(AccountsError::UnknownClass(class.to_owned())) }
    }
}

/// Denies all of these keys, or none of them.
fn deny_all(denied: &mut BTreeMap<PublicKey, u64>, until: &BTreeMap<PublicKey, u64>) -> Result<(), AccountsError> {
    let fresh = until.keys().filter(|key| !denied.contains_key(key)).count();
    if fresh > 0 && denied.len() + fresh > DENIED_MAX {
        return Err(AccountsError::Full("denied keys", DENIED_MAX));
    }
    for (key, until) in until {
        let known = denied.entry(*key).or_default();
        *known = (*known).max(*until);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::{Credential, Refusal, SecretKey};

    fn key(seed: u8) -> PublicKey {
        SecretKey::from_seed([seed; 32]).public()
    }

    fn token(byte: u8) -> Token {
        Token::new([byte; 20])
    }

    /// Accounts with the user `ann`, who has an invitation that is valid until 100.
    fn invited() -> Accounts {
        let mut accounts = Accounts::default();
        accounts.invite("ann", None, &token(1), 100, Some(50), 10).unwrap();
        accounts
    }

    #[test]
    fn accounts_read_back() {
        let mut accounts = invited();
        accounts.enroll("ann", &token(1), key(1), 20).unwrap();
        accounts.set_limits("big", Limits { files: Some(7), ..Limits::default() }).unwrap();
        accounts.invite("bob", Some("big"), &token(2), 100, None, 10).unwrap();
        accounts.deny(key(9), 5).unwrap();
        let text = accounts.text();
        let read = Accounts::parse(&text).unwrap();
        assert_eq!(read.text(), text);
        assert_eq!((read.users, read.classes, read.denied), (accounts.users, accounts.classes, accounts.denied));
        for text in ["", "{}", "{\"version\":2}", "{\"version\":1,\"users\":{\"A\":{\"class\":\"d\",\"added\":1}}}"] {
            assert!(Accounts::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_invitation_is_good_once_until_it_expires() {
        let mut accounts = invited();
        for (name, secret, unix) in [("ann", 2, 20), ("bob", 1, 20), ("ann", 1, 101)] {
            assert_eq!(accounts.enroll(name, &token(secret), key(1), unix), Err(NotInvited), "{name} {secret} {unix}");
        }
        let terms = accounts.enroll("ann", &token(1), key(1), 20).unwrap();
        assert_eq!((terms.issued, terms.not_after, terms.class.as_str()), (20, Some(70), CLASS_DEFAULT));
        assert_eq!(accounts.enroll("ann", &token(1), key(2), 21), Err(NotInvited), "it was used");
        assert_eq!(accounts.enroll("ann", &token(1), key(1), 70), Ok(terms), "its answer was lost");
        assert_eq!(accounts.enroll("ann", &token(1), key(1), 71), Err(NotInvited), "nothing makes it longer");
        assert_eq!(accounts.user("ann").unwrap().nodes.len(), 1);
    }

    #[test]
    fn an_invitation_that_was_used_lets_no_key_in_that_was_denied() {
        let mut accounts = invited();
        let terms = accounts.enroll("ann", &token(1), key(1), 20).unwrap();
        accounts.deny(key(1), 19).unwrap();
        assert_eq!(accounts.enroll("ann", &token(1), key(1), 21), Ok(terms), "an earlier one was denied");
        accounts.deny(key(1), 30).unwrap();
        assert_eq!(accounts.enroll("ann", &token(1), key(1), 31), Err(NotInvited));
        assert_eq!(accounts.user("ann").unwrap().nodes, []);
        accounts.invite("ann", None, &token(2), 100, None, 40).unwrap();
        assert_eq!(accounts.enroll("ann", &token(2), key(1), 40).unwrap().issued, 40);
    }

    #[test]
    fn a_user_can_be_invited_again_for_another_node() {
        let mut accounts = invited();
        accounts.enroll("ann", &token(1), key(1), 20).unwrap();
        accounts.invite("ann", None, &token(2), 100, None, 30).unwrap();
        assert_eq!(accounts.enroll("ann", &token(1), key(1), 40), Err(NotInvited), "it was replaced");
        accounts.enroll("ann", &token(2), key(2), 40).unwrap();
        assert_eq!(accounts.user("ann").unwrap().nodes.len(), 2);
    }

    #[test]
    fn who_is_revoked_is_out_until_invited_again() {
        let operator = SecretKey::from_seed([9; 32]);
        let mut accounts = invited();
        let first = Credential::sign(accounts.enroll("ann", &token(1), key(1), 20).unwrap(), &operator).encode();
        assert_eq!(accounts.revoke("ann", 20), Ok(vec![key(1)]));
        assert_eq!(accounts.enroll("ann", &token(1), key(1), 21), Err(NotInvited));
        let check = |accounts: &Accounts, credential: &[u8]| {
            let mut network = Network::new([operator.public()]);
            accounts.deny_in(&mut network);
            network.check(credential, key(1), 30)
        };
        assert_eq!(check(&accounts, &first), Err(Refusal::Revoked));
        accounts.invite("ann", None, &token(3), 100, None, 20).unwrap();
        let again = accounts.enroll("ann", &token(3), key(1), 20).unwrap();
        assert_eq!(again.issued, 21, "later than what was denied");
        assert!(check(&accounts, &Credential::sign(again, &operator).encode()).is_ok());
        assert_eq!(check(&accounts, &first), Err(Refusal::Revoked));
        assert_eq!(accounts.revoke("bob", 20), Err(AccountsError::Unknown("bob".to_owned())));
    }

    #[test]
    fn limits_are_those_of_the_class_here_then_of_the_credential_then_the_default() {
        let mut accounts = invited();
        let files = |files| Limits { files: Some(files), ..Limits::default() };
        assert_eq!(accounts.limits("ann", "default"), Limits::default());
        accounts.set_limits(CLASS_DEFAULT, files(1)).unwrap();
        accounts.set_limits("big", files(2)).unwrap();
        assert_eq!(accounts.limits("ann", "big"), files(1));
        assert_eq!(accounts.limits("zoe", "big"), files(2));
        assert_eq!(accounts.limits("zoe", "other"), files(1));
        accounts.set_class("ann", "big").unwrap();
        assert_eq!(accounts.limits("ann", "default"), files(2));
        accounts.set_limits("big", Limits { sessions: Some(3), ..Limits::default() }).unwrap();
        assert_eq!(accounts.limits("ann", "default"), Limits { sessions: Some(3), ..files(2) });
        assert_eq!(accounts.set_class("ann", "none"), Err(AccountsError::UnknownClass("none".to_owned())));
        assert!(accounts.set_limits("Big", files(1)).is_err());
    }
}
