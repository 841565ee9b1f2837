//! Logins at a super peer: the key that each connection has proved, the account that it has logged
//! in to, what the accounts of a class may use, invitations, and what is revoked.
//!
//! It owns the accounts, and decides with [`Network`](crate::trust::Network) whether a login is
//! accepted. It never reads a file list and never runs a search. It closes no session; it names the
//! sessions that must be closed. In the open mode it holds nothing.

mod changes;
mod members;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use self::table::{Changes, Member, Setup, Usage, count, other_mode};
use super::counters::Count;
use crate::proto::ConnId;
use crate::time::Time;
use crate::trust::{Accounts, Network, PublicKey, Rotation, SecretKey};
use crate::wire::message::{Classes, Enroll, Enrolled, ErrorCode, Login, Mode, Ready, RevokedKey};
use crate::wire::{KeyBytes, NodeId};
pub(super) use changes::Effect;
use changes::revoked;
pub(super) use table::{Logins, Refused, Saved};

/// What a super peer in login mode is started with.
#[derive(Debug)]
pub struct LoginConfig {
    /// The key of this super peer, which signs the credentials of the users that it invites.
    pub secret: SecretKey,
    /// The changes of key that led to this key.
    pub rotation: Rotation,
    /// Operators whose credentials are accepted here, in addition to this super peer; at most
    /// [`OPERATORS_MAX`](crate::config::OPERATORS_MAX).
    pub operators: Vec<PublicKey>,
    /// The accounts, as they were saved last.
    pub accounts: Accounts,
    /// The wall clock at the start, in seconds since 1970.
    pub unix: u64,
}

/// A login that is accepted.
#[derive(Debug)]
pub(super) struct LoggedIn {
    /// The answer.
    pub(super) ready: Ready,
    /// The text to report once if the clock is wrong, because dates are then not checked.
    pub(super) warning: Option<String>,
}

/// - getters: `mode`, `rotation`, `ready`, `denied`, `room`, `next_end`;
/// - `handle_*`: `on_accepted`, `on_hello`, `on_login`, `on_enroll`, `on_closed`, `on_saved`,
///   `on_command`, `on_settings`;
/// - mutators: `take_query`, `on_file`, `forget_files`;
/// - `poll_*`: `next_ended`, `poll_save`.
impl Logins {
    pub(super) fn new(config: Option<&LoginConfig>) -> Logins {
        let setup = config.map(|config| {
            let LoginConfig { secret, rotation, operators: _, accounts, unix } = config;
            let network = network(config, accounts);
            Box::new(Setup {
                secret: secret.duplicate(),
                rotation: Some(rotation.encode()).filter(|bytes| !bytes.is_empty()),
                network,
                accounts: accounts.clone(),
                changes: Changes::default(),
                wall: (Time::ZERO, *unix),
                warned: false,
                members: BTreeMap::new(),
                used: BTreeMap::new(),
                ends: BTreeSet::new(),
            })
        });
        Logins { setup }
    }

    /// Replaces the operators. Replaces the accounts too, unless some changes are not saved yet. If
    /// an operator was removed, sessions with its credentials stay open.
    pub(super) fn on_settings(&mut self, config: &LoginConfig) -> Effect {
        match &mut self.setup {
            Some(setup) => setup.on_settings(config),
            None => Effect::default(),
        }
    }

    pub(super) fn mode(&self) -> Mode {
        if self.setup.is_some() { Mode::Login } else { Mode::Open }
    }

    /// The field `rot` of WELCOME.
    pub(super) fn rotation(&self) -> Option<Vec<u8>> {
        self.setup.as_ref()?.rotation.clone()
    }

    /// Everything that is revoked, for a session that opens.
    pub(super) fn denied(&self) -> Vec<RevokedKey> {
        let denied = self.setup.iter().flat_map(|setup| setup.network.denied());
        denied.map(|(key, at)| RevokedKey { key: KeyBytes(*key.as_bytes()), at }).collect()
    }

    /// What may be sent to the accounts of each class, for a session that opens; none if no class
    /// has a limit.
    pub(super) fn classes(&self) -> Option<Classes> {
        let classes = self.setup.as_ref()?.classes();
        classes.list.iter().any(|class| class.upload > 0).then_some(classes)
    }

    /// How many accounts have a session.
    pub(super) fn accounts_used(&self) -> usize {
        self.setup.as_ref().map_or(0, |setup| setup.used.len())
    }

    /// A connection was accepted. `unix` is the wall clock.
    pub(super) fn on_accepted(&mut self, conn: ConnId, key: Option<PublicKey>, now: Time, unix: u64) {
        if let Some(setup) = &mut self.setup {
            setup.wall = (now, unix);
            setup.members.insert(conn, Member::new(key));
        }
    }

    /// The HELLO of the connection names this node.
    pub(super) fn on_hello(&mut self, conn: ConnId, node: NodeId) -> Result<(), Refused> {
        let Some(setup) = &self.setup else { return Ok(()) };
        let key = setup.key(conn)?;
        if key.node() != node {
            let why = "the node of the HELLO is not that of the key".to_owned();
            return Err(Refused(ErrorCode::LOGIN, why, Count::LoginOtherNode));
        }
        Ok(())
    }

    /// The connection logs in.
    pub(super) fn on_login(&mut self, conn: ConnId, login: &Login, now: Time) -> Result<LoggedIn, Refused> {
        match (login.mode, &mut self.setup) {
            (Mode::Open, None) => Ok(LoggedIn { ready: Ready::default(), warning: None }),
            (Mode::Login, Some(setup)) => setup.on_login(conn, login, now),
            (Mode::Open, Some(_)) => Err(other_mode("a login; join with sprat join, with an invitation")),
            (Mode::Login, None) => Err(other_mode("no login: it is open; leave out its key")),
            (Mode::Unknown, _) => Err(other_mode("another mode of login")),
        }
    }

    /// The connection asks for a credential. Returns the credential if nothing has to be saved
    /// first.
    pub(super) fn on_enroll(&mut self, conn: ConnId, enroll: &Enroll, now: Time) -> Result<Option<Enrolled>, Refused> {
        match &mut self.setup {
            Some(setup) => setup.on_enroll(conn, enroll, now),
            None => Err(other_mode("no login: it is open; leave out its key")),
        }
    }

    /// The connection is gone.
    pub(super) fn on_closed(&mut self, conn: ConnId) {
        if let Some(setup) = &mut self.setup {
            setup.leave(conn);
        }
    }

    /// The time at which the next credential ends.
    pub(super) fn next_end(&self) -> Option<Time> {
        let setup = self.setup.as_ref()?;
        let (last, _) = setup.ends.first()?;
        let (at, unix) = setup.wall;
        // A credential is valid until the end of its last second.
        Some(at + std::time::Duration::from_secs(last.saturating_add(1).saturating_sub(unix)))
    }

    /// Returns a session whose credential has ended.
    pub(super) fn next_ended(&mut self, now: Time) -> Option<ConnId> {
        let setup = self.setup.as_mut()?;
        let unix = setup.unix(now);
        let (last, conn) = setup.ends.first().copied()?;
        (last < unix).then(|| {
            setup.ends.pop_first();
            conn
        })
    }

    pub(super) fn check_invariants(&self) {
        let Some(setup) = &self.setup else { return };
        let mut used: BTreeMap<&str, Usage> = BTreeMap::new();
        for member in setup.members.values() {
            if let Some(account) = &member.account {
                used.entry(account.name.as_str()).or_default().add(member);
            }
        }
        assert_eq!(used.len(), setup.used.len());
        for (name, usage) in used {
            assert!(setup.used[name].is_same(&usage), "{name}: {:?} is not {usage:?}", setup.used[name]);
        }
        assert!(setup.ends.iter().all(|(_, conn)| setup.members.contains_key(conn)));
    }
}

/// The operators whose credentials are accepted, and the keys that the accounts deny.
fn network(config: &LoginConfig, accounts: &Accounts) -> Network {
    let LoginConfig { secret, rotation, operators, .. } = config;
    let own = std::iter::once(secret.public()).chain(rotation.old_keys());
    let mut network = Network::new(own.chain(operators.iter().copied()));
    network.follow(rotation);
    accounts.deny_in(&mut network);
    network
}

impl Setup {
    fn on_settings(&mut self, config: &LoginConfig) -> Effect {
        let before: Vec<_> = self.network.denied().collect();
        if self.changes.are_saved() {
            self.accounts = config.accounts.clone();
        }
        self.network = network(config, &self.accounts);
        let revoked: Vec<_> = self.network.denied().filter(|denied| !before.contains(denied)).map(revoked).collect();
        Effect { close: self.with_denied(&revoked), revoked, ..Effect::default() }
    }

    fn on_login(&mut self, conn: ConnId, login: &Login, now: Time) -> Result<LoggedIn, Refused> {
        let key = self.key(conn)?;
        let Some(credential) = &login.credential else {
            let why = "a credential is needed; join with sprat join, with an invitation".to_owned();
            return Err(Refused(ErrorCode::LOGIN, why, Count::LoginMalformed));
        };
        let account = self.network.check(credential, key, self.unix(now))?;
        let most = self.accounts.limits(&account.name, &account.class).sessions;
        let sessions = self.used.get(&account.name).map_or(0, |used| used.sessions);
        if most.is_some_and(|most| sessions >= most) {
            let has = count(sessions, "session");
            let why = format!("the account {} has {has}, as many as its class allows", account.name);
            return Err(Refused(ErrorCode::LIMIT, why, Count::LoginLimit));
        }
        let warning = (account.dates_ignored && !std::mem::replace(&mut self.warned, true)).then(|| {
            format!(
                "the credential of {} was issued in the future: the clock of this host is wrong, and dates of \
                 credentials are not checked; set the clock",
                account.name
            )
        });
        if let Some(last) = account.not_after.filter(|_| !account.dates_ignored) {
            self.ends.insert((last, conn));
        }
        self.enter(conn, account);
        let operators = self.network.operators().map(|key| KeyBytes(*key.as_bytes())).collect();
        Ok(LoggedIn { ready: Ready { operators, credential: None }, warning })
    }
}

#[cfg(test)]
mod tests;
