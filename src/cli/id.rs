//! `sprat id`.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::Id;
use super::identity::Identity;
use super::member::Keys;
use super::{output, paths, settings};
use crate::error::Failure;
use crate::trust::Pin;

/// Prints the key, or replaces it.
pub(crate) fn run(args: &Id) -> Result<u8, Failure> {
    let folder = folder(args)?;
    paths::make_private_folder(&folder)?;
    let words: Vec<&str> = args.action.iter().map(String::as_str).collect();
    let identity = match words[..] {
        [] => Identity::open(&folder)?,
        ["rotate"] => rotate(folder)?,
        ["accept", pin] => return accept(args, &folder, pin),
        [..] => return Err(Failure::usage("write sprat id, sprat id rotate, or sprat id accept KEY@HOST:PORT")),
    };
    let (key, node) = (identity.public().to_string(), identity.public().node().to_string());
    let fields = json!({ "key": key, "node": node });
    output::result(args.json, "id", &fields, &key)?;
    output::done(args.json)
}

fn rotate(folder: PathBuf) -> Result<Identity, Failure> {
    let nothing = || Failure::usage(format!("{} has no key to replace; name its daemon with --name", folder.display()));
    let identity = Identity::rotate(&folder)?.ok_or_else(nothing)?;
    output::note("the node uses the new key from its next start on; keep a backup of its state folder");
    Ok(identity)
}

/// Remembers another key, which a super peer must prove from now on.
fn accept(args: &Id, folder: &Path, pin: &str) -> Result<u8, Failure> {
    let form = || Failure::usage("write sprat id accept KEY@HOST:PORT, with the key that the super peer has now");
    let pin: Pin = pin.parse().map_err(Failure::usage)?;
    pin.key.ok_or_else(form)?;
    Keys::new(folder).remember(&pin)?;
    output::done(args.json)
}

/// The state folder of the node that the options name.
fn folder(args: &Id) -> Result<PathBuf, Failure> {
    let env = |key: &str| std::env::var_os(key);
    let of = |name: &str| paths::state_folder(paths::checked_name(name)?, args.state.as_deref(), &env);
    match args.name.as_deref() {
        Some(name) => of(name),
        // A super peer has no remembered keys: its neighbors' keys are on its command line.
        None if args.action.first().is_some_and(|action| action == "accept") => of(settings::PEER_NAME),
        None => {
            let (peer, super_peer) = (of(settings::PEER_NAME)?, of(settings::SUPER_NAME)?);
            let has_key = |folder: &PathBuf| folder.join(super::identity::FILE).exists();
            Ok(if has_key(&super_peer) && !has_key(&peer) { super_peer } else { peer })
        }
    }
}
