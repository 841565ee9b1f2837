//! The state of each connection, account and change of a super peer in login mode, and the reasons
//! for which a login is refused. It checks no login.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::ACCOUNT_CHANGES_MAX;
use crate::proto::rate::Rate;
use crate::proto::super_peer::counters::Count;
use crate::proto::{ClientId, ConnId};
use crate::time::Time;
use crate::trust::{Account, Accounts, Network, PublicKey, Refusal, SecretKey};
use crate::wire::message::{Enrolled, ErrorCode};

/// Why a login is refused: the code and text of the ERROR, and what is counted.
#[derive(Debug)]
pub(in crate::proto::super_peer) struct Refused(
    pub(in crate::proto::super_peer) ErrorCode,
    pub(in crate::proto::super_peer) String,
    pub(in crate::proto::super_peer) Count,
);

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        let (code, count) = match refusal {
            Refusal::Malformed => (ErrorCode::LOGIN, Count::LoginMalformed),
            Refusal::UnknownOperator => (ErrorCode::LOGIN, Count::LoginUnknownOperator),
            Refusal::Signature => (ErrorCode::LOGIN, Count::LoginSignature),
            Refusal::OtherKey => (ErrorCode::LOGIN, Count::LoginOtherKey),
            Refusal::NotYetValid => (ErrorCode::LOGIN, Count::LoginNotYetValid),
            Refusal::Revoked => (ErrorCode::REVOKED, Count::LoginRevoked),
            Refusal::Expired => (ErrorCode::EXPIRED, Count::LoginExpired),
        };
        Refused(code, refusal.to_string(), count)
    }
}

/// What login mode needs.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) secret: SecretKey,
    /// The field `rot` of WELCOME.
    pub(super) rotation: Option<Vec<u8>>,
    pub(super) network: Network,
    pub(super) accounts: Accounts,
    pub(super) changes: Changes,
    /// A time of the monotonic clock, and the wall clock at that time.
    pub(super) wall: (Time, u64),
    /// Whether it was reported that a credential was issued later than the wall clock says.
    pub(super) warned: bool,
    /// Every connection, from its accept to its end.
    pub(super) members: BTreeMap<ConnId, Member>,
    /// By the name of the account.
    pub(super) used: BTreeMap<String, Usage>,
    /// Sessions whose credential ends, by the last second in which it is valid.
    pub(super) ends: BTreeSet<(u64, ConnId)>,
}

impl Setup {
    pub(super) fn unix(&self, now: Time) -> u64 {
        let (at, unix) = self.wall;
        unix.saturating_add(now.since(at).as_secs())
    }

    pub(super) fn key(&self, conn: ConnId) -> Result<PublicKey, Refused> {
        // The driver accepts nothing without a key in login mode.
        self.members.get(&conn).and_then(|member| member.key).ok_or_else(|| other_mode("a login, over TLS"))
    }
}

/// The logins of a super peer, in either mode.
#[derive(Debug, Default)]
pub(in crate::proto::super_peer) struct Logins {
    pub(super) setup: Option<Box<Setup>>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Member {
    /// The key that the connection has proved.
    pub(super) key: Option<PublicKey>,
    /// The account, once the connection is logged in.
    pub(super) account: Option<Account>,
    /// Whether the connection has asked for a credential.
    pub(super) enrolls: bool,
    /// Files that the session has registered, and the bytes of their paths.
    pub(super) files: u64,
    pub(super) name_bytes: u64,
}

impl Member {
    pub(super) fn new(key: Option<PublicKey>) -> Member {
        Member { key, account: None, enrolls: false, files: 0, name_bytes: 0 }
    }
}

/// A number of things, for a sentence.
pub(super) fn count(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// What an account uses, over all its sessions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) sessions: u64,
    pub(super) files: u64,
    pub(super) name_bytes: u64,
    pub(super) queries: Rate,
}

impl Usage {
    pub(super) fn add(&mut self, member: &Member) {
        self.sessions += 1;
        self.files += member.files;
        self.name_bytes += member.name_bytes;
    }

    pub(super) fn is_same(&self, other: &Usage) -> bool {
        let counts = |usage: &Usage| (usage.sessions, usage.files, usage.name_bytes);
        counts(self) == counts(other)
    }
}

/// An answer that waits until a change is saved.
#[derive(Debug, PartialEq)]
pub(in crate::proto::super_peer) enum Saved {
    /// A session gets its credential.
    Enrolled(ConnId, Enrolled),
    /// A command is done.
    Command(ClientId),
}

#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The answers that wait for the save that runs.
    pub(super) running: Option<Vec<Saved>>,
    /// The answers that wait for the next one.
    pub(super) next: Vec<Saved>,
    /// Whether the last save failed; if so, its changes are in memory only.
    pub(super) failed: bool,
}

impl Changes {
    pub(super) fn is_full(&self) -> bool {
        self.next.len() >= ACCOUNT_CHANGES_MAX
    }

    /// Whether all changes of the accounts are on the disk.
    pub(super) fn are_saved(&self) -> bool {
        self.running.is_none() && self.next.is_empty() && !self.failed
    }
}

/// The login is meant for the other mode.
pub(super) fn other_mode(takes: &str) -> Refused {
    Refused(ErrorCode::MODE, format!("this super peer takes {takes}"), Count::LoginOtherMode)
}
