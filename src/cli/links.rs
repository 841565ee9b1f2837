//! The sealed links of a super peer in login mode: the keys of the neighbors, and the counters of
//! handshakes that the state folder stores.
//!
//! ```text
//! sprat links 1
//! next <the first run that a later start may use>
//! seen <key> <the greatest counter of its handshakes>
//! ```
//!
//! The file is written before the first datagram is sent, so that no counter is ever used twice. It
//! is also written before the handshake of a neighbor is answered, so that no handshake is answered
//! twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::modes::Mode;
use super::private;
use super::random::OsEntropy;
use crate::error::{Exit, Failure};
use crate::proto::envelope::{Envelopes, Reserved, Seal, reserve_counters};
use crate::trust::{Pin, PublicKey, SecretKey};

/// The name of the file in a state folder.
const FILE: &str = "links";
const FIRST_LINE: &str = "sprat links 1";

/// The stored counters of handshakes.
#[derive(Debug)]
pub(crate) struct Handshakes {
    path: PathBuf,
    kept: Kept,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Kept {
    next: Option<u64>,
    seen: BTreeMap<PublicKey, u64>,
}

/// In login mode: the envelopes of the links, and the counters that must be stored.
///
/// # Errors
/// Exit 2 if a neighbor has no key in login mode, or has a key in open mode. Exit 9 if the state
/// cannot be read or written.
pub(crate) fn sealed(
    mode: Mode,
    folder: &Path,
    secret: &SecretKey,
    neighbors: &[Pin],
) -> Result<Option<(Envelopes, Handshakes)>, Failure> {
    checked(mode, neighbors)?;
    match mode {
        Mode::Open => Ok(None),
        Mode::Login => {
            let mut handshakes = Handshakes::read(folder)?;
            let counter = handshakes.reserve()?;
            let neighbors = neighbors.iter().filter_map(|pin| pin.key).collect();
            let seal = Seal { secret: secret.duplicate(), neighbors, counter, seen: handshakes.kept.seen.clone() };
            Ok(Some((Envelopes::sealed(seal, Box::new(OsEntropy)), handshakes)))
        }
    }
}

/// Checks that each neighbor has a key in login mode, and that none has one in open mode.
///
/// # Errors
/// Exit 2 if this is not so.
pub(crate) fn checked(mode: Mode, neighbors: &[Pin]) -> Result<(), Failure> {
    match (mode, neighbors.iter().find(|pin| pin.key.is_some() != (mode == Mode::Login))) {
        (_, None) => Ok(()),
        (Mode::Open, Some(pin)) => Err(Failure::usage(format!(
            "--neighbor {pin} names a key, and an open super peer proves none; write --neighbor {}",
            pin.at
        ))),
        (Mode::Login, Some(pin)) => Err(Failure::usage(format!(
            "--neighbor {pin} names no key; write --neighbor KEY@{pin} with the key that `sprat id` prints there"
        ))),
    }
}

impl Handshakes {
    fn read(folder: &Path) -> Result<Handshakes, Failure> {
        let path = folder.join(FILE);
        let kept = match private::read(&path)? {
            Some(text) => parse(&text).ok_or_else(|| damaged(&path))?,
            None => Kept::default(),
        };
        Ok(Handshakes { path, kept })
    }

    /// The counter of the first handshake of this run. When this returns, no later run can use the
    /// counter.
    fn reserve(&mut self) -> Result<u64, Failure> {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let Reserved { first, keep } = reserve_counters(self.kept.next, unix);
        self.kept.next = Some(keep);
        private::write(&self.path, &self.kept.text())?;
        Ok(first)
    }

    /// Writes the counters of the neighbors, after some of them have risen. If they cannot be
    /// written, the links stay up. Then a handshake of this run could be answered again after a
    /// restart.
    pub(crate) fn keep(&mut self, seen: &BTreeMap<PublicKey, u64>) {
        self.kept.seen.clone_from(seen);
        if let Err(error) = private::write_soon(&self.path, &self.kept.text()) {
            log::warn!("cannot write {}: {error}", self.path.display());
        }
    }
}

impl Kept {
    fn text(&self) -> String {
        let next = self.next.map(|next| format!("next {next}\n")).unwrap_or_default();
        let seen = self.seen.iter().map(|(key, counter)| format!("seen {key} {counter}\n"));
        format!("{FIRST_LINE}\n{next}{}", seen.collect::<String>())
    }
}

fn parse(text: &str) -> Option<Kept> {
    let mut kept = Kept::default();
    for line in text.strip_prefix(FIRST_LINE)?.strip_prefix('\n')?.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["next", next] => kept.next = Some(next.parse().ok()?),
            ["seen", key, counter] => drop(kept.seen.insert(key.parse().ok()?, counter.parse().ok()?)),
            _ => return None,
        }
    }
    Some(kept)
}

fn damaged(path: &Path) -> Failure {
    let text = format!(
        "{} is damaged; remove it: the counter of handshakes then goes on from the time of day, which must be right",
        path.display()
    );
    Failure::new(Exit::Disk, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_reads_back_and_the_counter_rises_with_every_start() {
        let folder = tempfile::tempdir().unwrap();
        let key = SecretKey::from_seed([1; 32]).public();
        let mut last = 0;
        for run in 0..5 {
            let mut handshakes = Handshakes::read(folder.path()).unwrap();
            assert_eq!(handshakes.kept.seen.get(&key).copied(), (run > 0).then_some(run));
            let counter = handshakes.reserve().unwrap();
            // This is more than the number of handshakes in a run of a thousand years.
            assert!(counter > last + (1 << 39), "{counter} after {last}");
            last = counter;
            handshakes.keep(&BTreeMap::from([(key, run + 1)]));
        }
        for damaged in ["", "sprat links 2\n", "sprat links 1\nnext x\n", "sprat links 1\nseen 1\n"] {
            assert_eq!(parse(damaged), None, "{damaged:?}");
        }
    }

    #[test]
    fn a_neighbor_has_a_key_in_login_mode_and_none_in_open_mode() {
        let folder = tempfile::tempdir().unwrap();
        let secret = SecretKey::from_seed([1; 32]);
        let open: Pin = "192.0.2.1:4777".parse().unwrap();
        let pinned = Pin { key: Some(SecretKey::from_seed([2; 32]).public()), at: open.at.clone() };
        let made = |mode, pin: &Pin| sealed(mode, folder.path(), &secret, std::slice::from_ref(pin));
        assert!(made(Mode::Open, &open).unwrap().is_none());
        assert!(made(Mode::Login, &pinned).unwrap().is_some());
        for (mode, pin) in [(Mode::Login, &open), (Mode::Open, &pinned)] {
            assert_eq!(made(mode, pin).unwrap_err().exit, Exit::Usage);
        }
    }
}
