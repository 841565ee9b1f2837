//! `sprat uri`, and the URIs for `sprat get`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::args::{AskedOptions, Uri};
use super::oneshot::{self, Target};
use super::present::{Kind, Presenter};
use super::{hash, member, pasted, paths, settings};
use crate::config::GET_BYTES_MAX;
use crate::control;
use crate::error::{Exit, Failure};
use crate::proto::{ClientEvent, Command};
use crate::trust::{Pin, PublicKey};
use crate::wire::name::quoted;
use crate::wire::{self, HostPort};

/// How long a running peer may take to report which super peer it uses.
const PEER_PATIENCE: Duration = Duration::from_secs(2);

/// Runs the command.
pub(crate) fn run(args: Uri) -> Result<u8, Failure> {
    // Only a running peer can offer a folder.
    let is_folder = Path::new(&args.what).is_dir();
    let target = if is_folder { Target::new(args.asked()) } else { Target::here_or_near(args.asked()) }?;
    let scope = oneshot::scope(args.search())?;
    let (what, path) = meant(args.what, target.is_super())?;
    let mut presenter = Presenter::new(Kind::Uri, args.json, args.quiet);
    oneshot::run(target, Command::Uri { what, path, scope }, &mut presenter)
}

/// The meaning of a text: a file or folder that exists, or else a name or a root. A short-lived
/// peer shares nothing, so it searches for a file by its root.
fn meant(what: String, is_super: bool) -> Result<(String, Option<std::path::PathBuf>), Failure> {
    let path = Path::new(&what);
    let Ok(found) = fs::metadata(path) else {
        if let Some(uri) = given(&what)? {
            return Ok((uri.root.to_string(), None));
        }
        let fits = (1..=GET_BYTES_MAX).contains(&what.len());
        let wrong =
            || Failure::usage(format!("a name or path has 1 to {GET_BYTES_MAX} bytes, this one {}", what.len()));
        return if fits { Ok((what, None)) } else { Err(wrong()) };
    };
    if !is_super {
        let path = paths::absolute("the path", path)?;
        let name = path.file_name().map_or_else(|| "/".to_owned(), |name| name.to_string_lossy().into_owned());
        return Ok((name, Some(path)));
    }
    if found.is_dir() {
        let why = "is a folder, and only a running peer that shares it can offer it; leave out --super";
        return Err(Failure::usage(format!("{} {why}", quoted(&what))));
    }
    let root =
        hash::root_of(&what).map_err(|e| Failure::new(Exit::Disk, format!("cannot read {}: {e}", quoted(&what))))?;
    Ok((root.to_string(), None))
}

/// Reads a URI that the user gave in place of a name; none if it is a name.
pub(crate) fn given(what: &str) -> Result<Option<wire::Uri>, Failure> {
    pasted::uri(what).map_err(Failure::usage)
}

/// Where a URI is fetched: at the super peers that it names, even if others are configured. The
/// running peer fetches it if it has a session with one of them.
pub(crate) fn target(asked: AskedOptions, uri: &wire::Uri) -> Result<Target, Failure> {
    if uri.supers.is_empty() {
        return Target::here_or_near(asked);
    }
    let supers = uri.supers.iter().map(pin).collect::<Result<Vec<Pin>, Failure>>()?;
    let (named, connect_timeout) = (asked.supers.clone(), asked.connect_timeout);
    let name = asked.name.as_deref().unwrap_or(settings::PEER_NAME);
    let folder = paths::state_folder(name, asked.state.as_deref(), &|key| std::env::var_os(key)).ok();
    // A URI of an open network contains no keys.
    let joined = folder.as_deref().map(member::joined).transpose()?.flatten();
    let is_of = |pin: &Pin| joined.iter().flat_map(|grant| &grant.supers).any(|one| member::is_at(one, &pin.at));
    let open = asked.open || supers.iter().all(|pin| pin.key.is_none() && !is_of(pin));
    let short_lived = |more: Vec<Pin>| {
        let all = supers.iter().cloned().chain(more).collect();
        Target::supers(folder.clone(), all, open, connect_timeout)
    };
    match Target::new(asked) {
        Err(failure) if !named.is_empty() => Err(failure),
        // If a running peer cannot have a socket here, a short-lived peer does the work.
        Err(_) => short_lived(Vec::new()),
        Ok(Target::Supers { .. }) => short_lived(named),
        Ok(Target::Control { path, name, named }) => {
            let of_peer = super_of(&path);
            let is_its = |addr: &HostPort| supers.iter().any(|named| member::is_at(named, addr));
            if of_peer.as_ref().is_some_and(is_its) {
                return Ok(Target::Control { path, name, named });
            }
            short_lived(Vec::new())
        }
    }
}

/// A super peer that a URI names.
fn pin(named: &wire::uri::SuperPeer) -> Result<Pin, Failure> {
    let wrong = |error| Failure::usage(format!("the field super of the URI: {error}"));
    let key = named.key.as_deref().map(|key| key.parse::<PublicKey>().map_err(wrong)).transpose()?;
    Ok(Pin { key, at: named.addr.clone() })
}

/// The super peer of the running peer with this socket, if there is one.
fn super_of(socket: &Path) -> Option<HostPort> {
    let stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PEER_PATIENCE)).ok()?;
    (&stream).write_all(format!("{}\n", control::command_line(&Command::Status)).as_bytes()).ok()?;
    for line in BufReader::new(&stream).lines().map_while(Result::ok) {
        match control::parse_event(&line) {
            Ok(ClientEvent::Status { super_peer, .. }) => return super_peer,
            Ok(ClientEvent::Done(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
    None
}
