//! `sprat user`: works through the control socket of the super peer while it runs, and on its state
//! while it is stopped.

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use super::accounts::{self, unix};
use super::args::User;
use super::identity::Identity;
use super::units::{Rate, Size, Span};
use super::{oneshot, output, paths, random, settings};
use crate::config::{INVITATION_VALID, SUPER_PORT};
use crate::error::{Exit, Failure};
use crate::proto::command::UserCommand;
use crate::proto::event::{Outcome, UserRow};
use crate::proto::{ClientEvent, Command};
use crate::trust::accounts::{AccountsError, CLASS_DEFAULT};
use crate::trust::{Accounts, Invitation, Limits, PublicKey, Token};
use crate::wire::HostPort;

/// Longest list of names and keys, in bytes.
const LIST_BYTES_MAX: u64 = 16 << 20;

/// Runs the command.
pub(crate) fn run(args: &User) -> Result<u8, Failure> {
    match args.action.as_str() {
        "add" => add(args),
        "list" => list(args),
        "revoke" => revoke(args),
        "set" => set(args),
        other => Err(Failure::usage(format!("{other:?} is no action of user; write add, list, revoke or set"))),
    }
}

/// Prints an invitation. The token is made here, and the super peer gets only its hash.
fn add(args: &User) -> Result<u8, Failure> {
    let [user] = &args.who[..] else {
        return Err(Failure::usage("write sprat user add USER, for one user"));
    };
    for (option, span) in [("--expires", args.expires), ("--valid", args.valid)] {
        if span.is_some_and(|Span(span)| span.as_secs() == 0) {
            return Err(Failure::usage(format!("{option} is a time of at least 1s")));
        }
    }
    if args.at.as_ref().is_some_and(|at| at.port() == 0) {
        return Err(Failure::usage("no one can connect to port 0; write the port of this super peer after --at HOST:"));
    }
    let book = Book::open(args)?;
    let now = unix();
    let until = now.saturating_add(args.expires.map_or(INVITATION_VALID, |Span(expires)| expires).as_secs());
    let token = Token::new(random::bytes());
    let add = UserCommand::Add {
        name: user.clone(),
        class: args.class.clone(),
        token: token.hash(),
        until,
        valid_s: args.valid.map(|Span(valid)| valid.as_secs()),
        unix: now,
    };
    let key = book.key()?;
    let at = match &args.at {
        Some(at) => at.clone(),
        None => book.address()?,
    };
    book.order(add)?;
    #[derive(Serialize)]
    struct Invited {
        user: String,
        until: u64,
        invitation: String,
    }
    let text = Invitation { key, at: at.clone(), user: user.clone(), token }.text();
    if args.at.is_none() && !args.json {
        let port = at.port();
        output::note(&format!(
            "the invitation names {at}; name another address of this super peer with --at HOST:{port}"
        ));
    }
    let invited = Invited { user: user.clone(), until, invitation: text.clone() };
    // If nobody reads it, the invitation is lost.
    let printed = output::result(args.json, "invitation", &invited, &text);
    printed.map_err(|failure| Failure::new(Exit::Internal, failure.message))?;
    output::done(args.json)
}

fn list(args: &User) -> Result<u8, Failure> {
    if !args.who.is_empty() {
        return Err(Failure::usage("sprat user list takes no user"));
    }
    let rows = Book::open(args)?.order(UserCommand::List)?;
    if args.json {
        rows.iter().try_for_each(|row| output::result(true, "user", row, ""))?;
        return output::done(true);
    }
    let now = unix();
    for row in &rows {
        let UserRow { name, class, keys, revoked, invited_until, not_after, sessions, .. } = row;
        let mut text = format!("{name}  class {class}");
        match (revoked, invited_until) {
            (Some(_), _) => text.push_str("  revoked"),
            (None, Some(until)) if *until < now => text.push_str("  invitation expired"),
            (None, Some(until)) => text.push_str(&format!("  invited, for {}", span(until - now))),
            (None, None) => {}
        }
        if !keys.is_empty() {
            text.push_str(&format!("  {} keys, {sessions} sessions", keys.len()));
        }
        match not_after {
            Some(end) if *end < now => text.push_str("  expired"),
            Some(end) => text.push_str(&format!("  valid for {}", span(end - now))),
            None => {}
        }
        output::result(false, "user", row, &text)?;
    }
    output::done(false)
}

/// A time in days if it is a whole number of days, or else in hours, minutes or seconds.
fn span(seconds: u64) -> String {
    match seconds {
        86_400.. => format!("{} d", seconds / 86_400),
        3_600.. => format!("{} h", seconds / 3_600),
        60.. => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

fn revoke(args: &User) -> Result<u8, Failure> {
    let mut who = args.who.clone();
    if let Some(from) = &args.from {
        who.extend(names(from)?);
    }
    if who.is_empty() {
        return Err(Failure::usage("write sprat user revoke USER or KEY, or --from FILE with one a line"));
    }
    let book = Book::open(args)?;
    let mut refused = Vec::new();
    // If nobody reads the output, the others in the list are still revoked.
    let mut printed = Ok(());
    for one in &who {
        let ended = book.order(match one.parse::<PublicKey>() {
            Ok(key) => UserCommand::Deny { key, until: unix() },
            Err(_) => UserCommand::Revoke { name: one.clone(), unix: unix() },
        });
        match ended {
            Ok(_) if printed.is_ok() => {
                printed = output::result(args.json, "revoked", &json!({ "user": one }), &format!("revoked {one}"));
            }
            Ok(_) => {}
            // The others in the list are still revoked.
            Err(failure) if failure.exit == Exit::Usage => refused.push(failure),
            Err(failure) => return Err(failure),
        }
    }
    let Some(last) = refused.pop() else {
        printed?;
        return output::done(args.json);
    };
    refused.iter().for_each(|failure| output::error(&failure.message));
    let exit = if refused.len() + 1 == who.len() { last.exit } else { Exit::Partial };
    Err(Failure::new(exit, last.message))
}

/// The names and keys in a list. Each is on a line of its own; `#` begins a comment.
fn names(from: &Path) -> Result<Vec<String>, Failure> {
    let failed = |error: io::Error| Failure::new(Exit::Disk, format!("cannot read {}: {error}", from.display()));
    let mut text = String::new();
    match from == Path::new("-") {
        true => io::stdin().lock().take(LIST_BYTES_MAX).read_to_string(&mut text),
        false => File::open(from).and_then(|file| file.take(LIST_BYTES_MAX).read_to_string(&mut text)),
    }
    .map_err(failed)?;
    let words = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    Ok(words.filter(|word| !word.is_empty()).map(str::to_owned).collect())
}

fn set(args: &User) -> Result<u8, Failure> {
    let bytes = |size: Option<Size>| size.map(|Size(bytes)| bytes);
    let limits = Limits {
        files: args.files,
        name_bytes: bytes(args.names),
        queries_per_second: args.queries,
        sessions: args.sessions,
        upload_bytes_per_second: args.upload.map(|Rate(rate)| rate),
    };
    let order = match (&args.who[..], &args.class) {
        ([name], Some(class)) if limits == Limits::default() => {
            UserCommand::Class { name: name.clone(), class: class.clone() }
        }
        ([], class) if limits != Limits::default() => {
            let class = class.clone().unwrap_or_else(|| CLASS_DEFAULT.to_owned());
            UserCommand::Limits { class, limits }
        }
        _ => {
            let why = "write sprat user set USER --class CLASS, or sprat user set --class CLASS with limits, such as \
                       --files 50000";
            return Err(Failure::usage(why));
        }
    };
    Book::open(args)?.order(order)?;
    output::done(args.json)
}

/// Where the accounts of a super peer are.
enum Book {
    /// The super peer runs, and this is its control socket.
    Running { socket: PathBuf, folder: PathBuf },
    /// The super peer is stopped, and this process has locked its state.
    Stopped(paths::State),
}

impl Book {
    fn open(args: &User) -> Result<Book, Failure> {
        let env = |key: &str| std::env::var_os(key);
        let name = paths::checked_name(args.name.as_deref().unwrap_or(settings::SUPER_NAME))?;
        let folder = paths::state_folder(name, args.state.as_deref(), &env)?;
        let socket = match &args.control {
            Some(given) => paths::control_socket(name, Some(given), None, &env)?,
            // The link in the state folder leads to the control socket at any path.
            None => {
                let link = folder.join(format!("{name}.sock"));
                std::fs::read_link(&link).unwrap_or(link)
            }
        };
        if UnixStream::connect(&socket).is_ok() {
            return Ok(Book::Running { socket, folder });
        }
        let path = folder.display().to_string();
        paths::State::open(folder, name).map(Book::Stopped).map_err(|failure| {
            if failure.exit != Exit::Internal {
                return failure;
            }
            // The state is locked, but no super peer with this name answers.
            let message = format!("the super peer of {path} runs, but not as {name:?}; give its --name or --control");
            Failure::new(Exit::Internal, message)
        })
    }

    fn folder(&self) -> &Path {
        match self {
            Book::Running { folder, .. } => folder,
            Book::Stopped(state) => state.folder(),
        }
    }

    /// The key of the super peer. If it has never run, it gets its key now.
    fn key(&self) -> Result<PublicKey, Failure> {
        match self {
            Book::Running { folder, .. } => match Identity::read(folder)? {
                Some(identity) => Ok(identity.public()),
                None => {
                    let why = "the super peer at this control socket has another state folder; name it with --state";
                    Err(Failure::usage(why))
                }
            },
            Book::Stopped(state) => Identity::open(state.folder()).map(|identity| identity.public()),
        }
    }

    /// The address at which the super peer last listened. If that was all addresses, an address of
    /// this host.
    fn address(&self) -> Result<HostPort, Failure> {
        match paths::State::listened(self.folder()) {
            Some(addr) if !addr.ip().is_unspecified() => Ok(addr.into()),
            other => {
                let port = other.map_or(SUPER_PORT, |addr| addr.port());
                let unknown = || Failure::usage("no address of this host is known; name one with --at HOST");
                let ip = own_address().ok_or_else(unknown)?;
                Ok(SocketAddr::new(ip, port).into())
            }
        }
    }

    /// Sends a command. Returns the rows of the answer.
    fn order(&self, order: UserCommand) -> Result<Vec<UserRow>, Failure> {
        match self {
            Book::Running { socket, .. } => over_control(socket, order),
            Book::Stopped(state) => {
                let mut accounts = accounts::load(state.folder())?;
                if order == UserCommand::List {
                    return Ok(accounts.users().map(|(name, user)| UserRow::of(name, user, 0)).collect());
                }
                apply(&mut accounts, order).map_err(|error| Failure::usage(error.to_string()))?;
                accounts::save(state.folder(), &accounts)?;
                Ok(Vec::new())
            }
        }
    }
}

/// Changes the accounts of a stopped super peer.
fn apply(accounts: &mut Accounts, order: UserCommand) -> Result<(), AccountsError> {
    match order {
        UserCommand::List => Ok(()),
        UserCommand::Add { name, class, token, until, valid_s, unix } => {
            accounts.invite(&name, class.as_deref(), token, until, valid_s, unix)
        }
        UserCommand::Revoke { name, unix } => accounts.revoke(&name, unix).map(drop),
        UserCommand::Deny { key, until } => accounts.deny(key, until),
        UserCommand::Class { name, class } => accounts.set_class(&name, &class),
        UserCommand::Limits { class, limits } => accounts.set_limits(&class, limits),
    }
}

fn over_control(socket: &Path, order: UserCommand) -> Result<Vec<UserRow>, Failure> {
    let (mut rows, mut ended) = (Vec::new(), Ok(()));
    let absent = |error: &io::Error| oneshot::lost(socket, error);
    oneshot::ask(socket, &Command::User(order), &absent, &mut |event| {
        if let ClientEvent::User(row) = event {
            rows.push(row);
        } else if let ClientEvent::Done(Outcome { ok, exit, error, .. }) = event {
            ended = if ok { Ok(()) } else { Err(refused(exit, error)) };
            return Ok(true);
        }
        Ok(false)
    })?;
    ended.map(|()| rows)
}

fn refused(exit: u8, error: Option<String>) -> Failure {
    let exit = [Exit::Usage, Exit::TimedOut, Exit::Unreachable, Exit::Disk].into_iter().find(|one| one.code() == exit);
    Failure::new(exit.unwrap_or(Exit::Internal), error.unwrap_or_else(|| "the super peer gave no reason".to_owned()))
}

/// The address from which this host would reach others. No datagram is sent.
fn own_address() -> Option<IpAddr> {
    // These are TEST-NET-1 and the documentation prefix: no host has such an address (RFC 5737, RFC
    // 3849).
    let toward = |bind: &str, to: &str| {
        let socket = UdpSocket::bind(bind).ok()?;
        socket.connect(to).ok()?;
        socket.local_addr().ok().map(|addr| addr.ip()).filter(|ip| !ip.is_unspecified())
    };
    toward("0.0.0.0:0", "192.0.2.1:9").or_else(|| toward("[::]:0", "[2001:db8::1]:9"))
}
