//! The connections of a super peer in login mode, and what each account uses.

use super::table::{Logins, Member, Setup, Usage, count};
use crate::config::ACCOUNT_QUERIES_BURST;
use crate::proto::ConnId;
use crate::time::Time;
use crate::trust::{Account, Limits};
use crate::wire::message::RevokedKey;

/// What an account may still register.
#[derive(Debug)]
pub(in crate::proto::super_peer) struct Room<'a> {
    account: &'a str,
    limits: Limits,
    used: Usage,
}

impl Room<'_> {
    /// Takes room for one more file, with a path of this length. The error is the reason why there
    /// is none.
    pub(in crate::proto::super_peer) fn take(&mut self, length: usize) -> Result<(), String> {
        let Room { account, limits, used } = self;
        let (files, name_bytes) = (used.files + 1, used.name_bytes.saturating_add(length as u64));
        if let Some(most) = limits.files.filter(|most| files > *most) {
            let most = count(most, "file");
            return Err(format!("the account {account} may register {most}, and no more are found"));
        }
        if let Some(most) = limits.name_bytes.filter(|most| name_bytes > *most) {
            let most = count(most, "byte");
            return Err(format!("the account {account} may register paths of {most} in all, and no more are found"));
        }
        (used.files, used.name_bytes) = (files, name_bytes);
        Ok(())
    }
}

impl Logins {
    /// The name of the account of a session.
    pub(in crate::proto::super_peer) fn user(&self, conn: ConnId) -> Option<&str> {
        let account = self.setup.as_ref()?.members.get(&conn)?.account.as_ref()?;
        Some(&account.name)
    }

    /// Whether the session is of an operator of this network.
    pub(in crate::proto::super_peer) fn is_operator(&self, conn: ConnId) -> bool {
        let Some(setup) = &self.setup else { return false };
        let key = setup.members.get(&conn).and_then(|member| member.account.as_ref()).map(|account| account.key);
        key.is_some_and(|key| setup.network.operators().any(|operator| operator == key))
    }

    /// What the account of a session may still register; none if the account has no limit.
    pub(in crate::proto::super_peer) fn room(&self, conn: ConnId) -> Option<Room<'_>> {
        let (setup, account, limits) = self.limits(conn)?;
        limits.files.or(limits.name_bytes)?;
        Some(Room { account, limits, used: setup.used.get(account).copied().unwrap_or_default() })
    }

    /// The session has one file more or one file less. `length` is the length of its path.
    pub(in crate::proto::super_peer) fn on_file(&mut self, conn: ConnId, length: usize, more: bool) {
        let length = i64::try_from(length).expect("a path is short");
        if more { self.note_files(conn, 1, length) } else { self.note_files(conn, -1, -length) }
    }

    /// The session has registered or removed files. `files` and `bytes` are the change of their
    /// number and of the bytes of their paths.
    fn note_files(&mut self, conn: ConnId, files: i64, bytes: i64) {
        let Some(setup) = &mut self.setup else { return };
        let Some(member) = setup.members.get_mut(&conn) else { return };
        let Some(used) = member.account.as_ref().and_then(|account| setup.used.get_mut(&account.name)) else { return };
        let counts = [&mut member.files, &mut used.files].map(|count| (count, files));
        let lengths = [&mut member.name_bytes, &mut used.name_bytes].map(|count| (count, bytes));
        for (count, by) in counts.into_iter().chain(lengths) {
            *count = count.checked_add_signed(by).expect("what is removed was registered");
        }
    }

    /// All files of the session are removed from the index.
    pub(in crate::proto::super_peer) fn forget_files(&mut self, conn: ConnId) {
        let member = self.setup.as_ref().and_then(|setup| setup.members.get(&conn));
        let of = |count: u64| i64::try_from(count).expect("a session has fewer files");
        if let Some((files, bytes)) = member.map(|member| (of(member.files), of(member.name_bytes))) {
            self.note_files(conn, -files, -bytes);
        }
    }

    /// Whether the account of a session may send a query now. The error is the reason why not.
    #[inline(always)]
    pub(in crate::proto::super_peer) fn take_query(&mut self, conn: ConnId, now: Time) -> Result<(), String> {
        // In open mode there are no accounts.
        if self.setup.is_none() { Ok(()) } else { self.take_query_of_account(conn, now) }
    }

    fn take_query_of_account(&mut self, conn: ConnId, now: Time) -> Result<(), String> {
        let Some((_, name, Limits { queries_per_second: Some(most), .. })) = self.limits(conn) else { return Ok(()) };
        let name = name.to_owned();
        let used = self.setup.as_mut().and_then(|setup| setup.used.get_mut(&name));
        let may = used.is_none_or(|used| used.queries.take(now, most, ACCOUNT_QUERIES_BURST));
        may.then_some(()).ok_or_else(|| format!("the account {name} may ask {} in a second", count(most, "time")))
    }

    /// The account of a session and what it may use.
    #[inline]
    fn limits(&self, conn: ConnId) -> Option<(&Setup, &str, Limits)> {
        let setup = self.setup.as_deref()?;
        let account = setup.members.get(&conn)?.account.as_ref()?;
        Some((setup, &account.name, setup.accounts.limits(&account.name, &account.class)))
    }
}

impl Setup {
    /// The connection is logged in.
    pub(super) fn enter(&mut self, conn: ConnId, account: Account) {
        let member = self.members.get_mut(&conn).expect("it was looked up");
        self.used.entry(account.name.clone()).or_default().add(member);
        member.account = Some(account);
    }

    /// The connection is gone.
    pub(super) fn leave(&mut self, conn: ConnId) {
        let Some(member) = self.members.remove(&conn) else { return };
        let Some(account) = member.account else { return };
        if let Some(last) = account.not_after {
            self.ends.remove(&(last, conn));
        }
        let used = self.used.get_mut(&account.name).expect("an account with a session is used");
        used.sessions -= 1;
        used.files -= member.files;
        used.name_bytes -= member.name_bytes;
        if used.sessions == 0 {
            self.used.remove(&account.name);
        }
    }

    /// The sessions with a credential that is revoked now.
    pub(super) fn with_denied(&self, list: &[RevokedKey]) -> Vec<ConnId> {
        let is_denied = |member: &Member| {
            let account = member.account.as_ref();
            account.is_some_and(|account| {
                list.iter().any(|one| one.key.0 == *account.key.as_bytes() && account.issued <= one.at)
            })
        };
        self.members.iter().filter(|(_, member)| is_denied(member)).map(|(conn, _)| *conn).collect()
    }
}
