//! The identity of a node: its key pair and the keys that came before it, in the file `identity` of
//! the state folder.
//!
//! ```text
//! sprat identity 1
//! secret <the seed in base32>
//! rotation <the chain in base32>
//! ```
//!
//! The line `rotation` exists only once the key was changed. All lines are in one file. So after a
//! crash, the file contains either the old key, or the new key with its chain.

use std::path::Path;

use zeroize::Zeroizing;

use super::{private, random};
use crate::error::{Exit, Failure};
use crate::trust::key::{KEY_BYTES, base32};
use crate::trust::{PublicKey, Rotation, SecretKey};

/// The name of the file in a state folder.
pub(crate) const FILE: &str = "identity";
const FIRST_LINE: &str = "sprat identity 1";

/// A key pair, and the chain that leads from earlier keys to it.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) secret: SecretKey,
    pub(crate) rotation: Rotation,
}

impl Identity {
    /// The identity in this state folder. If there is none, makes and stores a new one. If several
    /// processes call this at the same time, one of them makes the identity, and all get the same
    /// one.
    ///
    /// # Errors
    /// Exit 9 if the file cannot be read or written, can be read by others, or is damaged.
    pub(crate) fn open(folder: &Path) -> Result<Identity, Failure> {
        if let Some(identity) = Identity::read(folder)? {
            return Ok(identity);
        }
        let _turn = private::turn(folder)?;
        match Identity::read(folder)? {
            Some(identity) => Ok(identity),
            None => {
                let identity = Identity { secret: fresh(), rotation: Rotation::default() };
                identity.write(folder)?;
                Ok(identity)
            }
        }
    }

    /// The identity in this folder, if there is one.
    pub(crate) fn read(folder: &Path) -> Result<Option<Identity>, Failure> {
        let path = folder.join(FILE);
        let Some(text) = private::read(&path)? else { return Ok(None) };
        parse(&text).map(Some).ok_or_else(|| damaged(&path))
    }

    pub(crate) fn public(&self) -> PublicKey {
        self.secret.public()
    }

    /// Replaces the key in this folder by a new key, which the old key signs. Returns none if there
    /// is no key.
    pub(crate) fn rotate(folder: &Path) -> Result<Option<Identity>, Failure> {
        let _turn = private::turn(folder)?;
        let Some(Identity { secret: old, mut rotation }) = Identity::read(folder)? else { return Ok(None) };
        let secret = fresh();
        rotation.add(&old, secret.public());
        let next = Identity { secret, rotation };
        next.write(folder)?;
        Ok(Some(next))
    }

    fn write(&self, folder: &Path) -> Result<(), Failure> {
        let encode = |bytes: &[u8]| Zeroizing::new(base32().encode(bytes));
        let mut text = Zeroizing::new(format!("{FIRST_LINE}\nsecret {}\n", *encode(&*self.secret.seed())));
        if !self.rotation.is_empty() {
            text.push_str(&format!("rotation {}\n", *encode(&self.rotation.encode())));
        }
        private::write(&folder.join(FILE), &text)
    }
}

fn fresh() -> SecretKey {
    SecretKey::from_seed(random::bytes())
}

fn parse(text: &str) -> Option<Identity> {
    let mut lines = text.lines();
    if lines.next()? != FIRST_LINE {
        return None;
    }
    let decode = |text: &str| base32().decode(text.as_bytes()).ok();
    let seed = Zeroizing::new(decode(lines.next()?.strip_prefix("secret ")?)?);
    let secret = SecretKey::from_seed(<[u8; KEY_BYTES]>::try_from(seed.as_slice()).ok()?);
    let rotation = match lines.next() {
        Some(line) => Rotation::decode(&decode(line.strip_prefix("rotation ")?)?).ok()?,
        None => Rotation::default(),
    };
    let is_last = rotation.old_keys().next().is_none_or(|oldest| rotation.follow(oldest) == secret.public());
    (is_last && lines.next().is_none()).then_some(Identity { secret, rotation })
}

fn damaged(path: &Path) -> Failure {
    let path = path.display();
    Failure::new(
        Exit::Disk,
        format!("the identity in {path} is damaged; restore it from a backup, or remove it to begin with a new key"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_key_is_made_once_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let key = Identity::open(folder.path()).unwrap().public();
        assert_eq!(Identity::open(folder.path()).unwrap().public(), key);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(Identity::open(other.path()).unwrap().public(), key);
    }

    #[test]
    fn an_old_key_signs_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Identity::rotate(folder.path()).unwrap().is_none(), "there is no key to replace");
        let first = Identity::open(folder.path()).unwrap().public();
        Identity::rotate(folder.path()).unwrap();
        let identity = Identity::rotate(folder.path()).unwrap().expect("a key");
        let read = Identity::open(folder.path()).unwrap();
        assert_eq!(read.public(), identity.public());
        assert_eq!(read.rotation.follow(first), read.public());
        assert_eq!(read.rotation.old_keys().count(), 2);
    }

    #[test]
    fn of_many_that_ask_at_once_one_makes_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let start = std::sync::Barrier::new(8);
        let open = || {
            start.wait();
            Identity::open(folder.path()).unwrap().public()
        };
        let keys: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let kept = Identity::read(folder.path()).unwrap().expect("a key").public();
        assert_eq!(keys, [kept; 8]);
    }

    #[test]
    fn a_damaged_file_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        Identity::open(folder.path()).unwrap();
        Identity::rotate(folder.path()).unwrap();
        let path = folder.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        let other = tempfile::tempdir().unwrap();
        Identity::open(other.path()).unwrap();
        let foreign = fs::read_to_string(other.path().join(FILE)).unwrap();
        let swapped = format!("{foreign}{}\n", text.lines().last().unwrap());
        for wrong in ["", "x", &text[..text.len() / 2], &format!("{text}more\n"), &swapped] {
            private::write(&path, wrong).unwrap();
            let failure = Identity::open(folder.path()).unwrap_err();
            assert!(failure.exit == Exit::Disk && failure.message.contains("damaged"), "{failure}");
            assert_eq!(fs::read_to_string(&path).unwrap(), wrong);
        }
    }
}
