//! The account file of a super peer, `accounts` in its state folder. Only the super peer writes the
//! file while it runs. While it is stopped, `sprat user` changes the file, under the lock of the
//! folder.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::private;
use crate::error::{Exit, Failure};
use crate::trust::Accounts;

/// The name of the file.
const FILE: &str = "accounts";

/// The accounts in this folder. None if there is no file.
///
/// # Errors
/// Exit 9 if the file cannot be read, can be read by others, or is damaged.
pub(crate) fn load(folder: &Path) -> Result<Accounts, Failure> {
    let path = folder.join(FILE);
    let Some(text) = private::read(&path)? else { return Ok(Accounts::default()) };
    Accounts::parse(&text).map_err(|error| Failure::new(Exit::Disk, format!("{}: {error}", path.display())))
}

/// Writes the accounts. After a power cut, the file contains the old or the new ones.
///
/// # Errors
/// Exit 9 if they cannot be written.
pub(crate) fn save(folder: &Path, accounts: &Accounts) -> Result<(), Failure> {
    private::write(&folder.join(FILE), &accounts.text())
}

/// Seconds since the start of 1970.
pub(crate) fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::Token;

    #[test]
    fn accounts_are_kept_and_a_damaged_file_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let mut accounts = load(folder.path()).unwrap();
        assert!(accounts.is_empty());
        accounts.invite("ann", None, Token::new([1; 20]).hash(), 100, None, 1).unwrap();
        save(folder.path(), &accounts).unwrap();
        assert_eq!(load(folder.path()).unwrap().text(), accounts.text());
        private::write(&folder.path().join(FILE), "{").unwrap();
        let failure = load(folder.path()).unwrap_err();
        assert!(failure.exit == Exit::Disk && failure.message.contains("accounts"), "{failure}");
    }
}
