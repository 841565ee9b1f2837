//! Changes of the accounts: invitations that are used, and the commands of the operator. The driver
//! saves each of them before its answer is sent.
//!
//! One save runs at a time. All changes that are made during it are saved together by the next one.

use super::table::{Changes, Logins, Refused, Saved, Setup};
use crate::error::{Exit, Failure};
use crate::proto::command::UserCommand;
use crate::proto::event::{ClientEvent, Outcome, UserRow};
use crate::proto::super_peer::counters::Count;
use crate::proto::{ClientId, ConnId};
use crate::time::Time;
use crate::trust::accounts::AccountsError;
use crate::trust::{Accounts, Credential, Limits, PublicKey, Token};
use crate::wire::KeyBytes;
use crate::wire::message::{ClassRate, Classes, Enroll, Enrolled, ErrorCode, RevokedKey};

/// What a command does to sessions and to its client.
#[derive(Debug, Default)]
pub(in crate::proto::super_peer) struct Effect {
    /// Events for the client. If none of them is `done`, it follows once the change is saved.
    pub(in crate::proto::super_peer) events: Vec<ClientEvent>,
    /// Sessions to close, because their credential is revoked.
    pub(in crate::proto::super_peer) close: Vec<ConnId>,
    /// Messages for every session.
    pub(in crate::proto::super_peer) revoked: Vec<RevokedKey>,
    pub(in crate::proto::super_peer) classes: Option<Classes>,
}

impl Logins {
    /// The accounts to save now, if a change waits and no save runs.
    pub(in crate::proto::super_peer) fn poll_save(&mut self) -> Option<Box<Accounts>> {
        let setup = self.setup.as_mut()?;
        let Changes { running, next, .. } = &mut setup.changes;
        if running.is_some() || next.is_empty() {
            return None;
        }
        *running = Some(std::mem::take(next));
        Some(Box::new(setup.accounts.clone()))
    }

    /// The running save has ended; `is_saved` says whether it succeeded. Returns the answers that
    /// waited for it.
    pub(in crate::proto::super_peer) fn on_saved(&mut self, is_saved: bool) -> Vec<Saved> {
        let Some(setup) = &mut self.setup else { return Vec::new() };
        setup.changes.failed = !is_saved;
        setup.changes.running.take().unwrap_or_default()
    }

    /// A command of the operator.
    pub(in crate::proto::super_peer) fn on_command(&mut self, client: ClientId, command: &UserCommand) -> Effect {
        let Some(setup) = &mut self.setup else {
            let why = "this super peer runs in the open mode; stop it, add users, and start it without --open";
            return Effect::failed(&Failure::new(Exit::Usage, why));
        };
        if let UserCommand::List = command {
            return Effect { events: setup.list(), ..Effect::default() };
        }
        if setup.changes.is_full() {
            return Effect::failed(&Failure::new(Exit::TimedOut, "too many changes wait to be saved; try again"));
        }
        match setup.change(command) {
            Ok(done) => {
                setup.changes.next.push(Saved::Command(client));
                done
            }
            Err(error) => Effect::failed(&Failure::new(Exit::Usage, error.to_string())),
        }
    }
}

impl Effect {
    fn failed(failure: &Failure) -> Effect {
        Effect { events: vec![ClientEvent::Done(Outcome::failed(failure))], ..Effect::default() }
    }
}

impl Setup {
    /// The connection sends an invitation. The answer follows once the accounts are saved. If
    /// nothing has to be saved, the answer is returned.
    pub(super) fn on_enroll(&mut self, conn: ConnId, enroll: &Enroll, now: Time) -> Result<Option<Enrolled>, Refused> {
        let (key, unix) = (self.key(conn)?, self.unix(now));
        if self.changes.is_full() {
            let why = "too many invitations are being used; try again".to_owned();
            return Err(Refused(ErrorCode::BUSY, why, Count::ClosedLimit));
        }
        let member = self.members.get_mut(&conn).expect("it has a key");
        if std::mem::replace(&mut member.enrolls, true) {
            return Err(Refused(ErrorCode::ORDER, "ENROLL is allowed once".to_owned(), Count::ClosedOrder));
        }
        let refused = |why: String| Refused(ErrorCode::INVITATION, why, Count::InvitationRefused);
        // A token of the wrong length gets the same answer as a wrong token.
        let token = Token::from_slice(&enroll.token).unwrap_or_else(|| Token::new(Default::default()));
        let before = self.accounts.user(&enroll.user).cloned();
        let terms = self.accounts.enroll(&enroll.user, &token, key, unix);
        let terms = terms.map_err(|not_invited| refused(not_invited.to_string()))?;
        let enrolled = Enrolled { credential: Credential::sign(terms, &self.secret).encode() };
        // An owner may send the same invitation at each connection, and a save is slow.
        if self.changes.are_saved() && self.accounts.user(&enroll.user) == before.as_ref() {
            return Ok(Some(enrolled));
        }
        self.changes.next.push(Saved::Enrolled(conn, enrolled));
        Ok(None)
    }

    fn change(&mut self, command: &UserCommand) -> Result<Effect, AccountsError> {
        let mut done = Effect::default();
        match command {
            UserCommand::List => {}
            UserCommand::Add { name, class, token, until, valid_s, unix } => {
                self.accounts.invite(name, class.as_deref(), token.clone(), *until, *valid_s, *unix)?;
            }
            UserCommand::Revoke { name, unix } => {
                let keys = self.accounts.revoke(name, *unix)?;
                self.deny(&keys, &mut done);
            }
            UserCommand::Deny { key, until } => {
                self.accounts.deny(*key, *until)?;
                self.deny(&[*key], &mut done);
            }
            UserCommand::Class { name, class } => self.accounts.set_class(name, class)?,
            UserCommand::Limits { class, limits } => {
                self.accounts.set_limits(class, *limits)?;
                done.classes = limits.upload_bytes_per_second.map(|_| self.classes());
            }
        }
        Ok(done)
    }

    pub(super) fn classes(&self) -> Classes {
        let rate = |(class, limits): (&str, Limits)| ClassRate {
            class: class.to_owned(),
            upload: limits.upload_bytes_per_second.unwrap_or(0),
        };
        Classes { list: self.accounts.classes().map(rate).collect() }
    }

    /// These keys are now denied in the accounts: their sessions are closed, and all other sessions
    /// get REVOKED.
    fn deny(&mut self, keys: &[PublicKey], done: &mut Effect) {
        self.accounts.deny_in(&mut self.network);
        done.revoked = self.network.denied().filter(|(key, _)| keys.contains(key)).map(revoked).collect();
        done.close = self.with_denied(&done.revoked);
    }

    fn list(&self) -> Vec<ClientEvent> {
        let row = |(name, user): (&str, &crate::trust::accounts::User)| {
            let sessions = self.used.get(name).map_or(0, |used| used.sessions);
            ClientEvent::User(UserRow::of(name, user, sessions))
        };
        let done = ClientEvent::Done(Outcome { ok: true, ..Outcome::default() });
        self.accounts.users().map(row).chain([done]).collect()
    }
}

/// A denied key, in the form of REVOKED.
pub(super) fn revoked((key, at): (PublicKey, u64)) -> RevokedKey {
    RevokedKey { key: KeyBytes(*key.as_bytes()), at }
}
