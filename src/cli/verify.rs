//! `sprat verify`: whether a file or a folder of this machine is the content of a URI or a root.

use std::fs;
use std::path::Path;

use super::args::Verify;
use super::{hash, output, paths, uri};
use crate::error::{Exit, Failure};
use crate::node::collection_of;
use crate::wire::Root;

/// Runs the command.
pub(crate) fn run(args: &Verify) -> Result<u8, Failure> {
    let (root, size) = wanted(&args.what)?;
    let path = Path::new(&args.path);
    let shown = hash::shown(path);
    let unread = |error| Failure::new(Exit::Disk, format!("cannot read {shown}: {error}"));
    let (found, notes) = if args.path == hash::STDIN {
        (hash::root_of(&args.path).map_err(unread)?, None)
    } else if fs::metadata(path).map_err(unread)?.is_dir() {
        let content = collection_of(&paths::absolute("the path", path)?)?;
        let notes = format!("; it has {} files", content.files) + &left_out(&content.left_out);
        (content.root, Some(notes))
    } else {
        let length = fs::metadata(path).map_err(unread)?.len();
        if let Some(size) = size.filter(|size| *size != length && path.is_file()) {
            let why = format!("{shown} is another content: it has {length} bytes, and not {size}");
            return Err(Failure::new(Exit::Integrity, why));
        }
        (hash::root_of(&args.path).map_err(unread)?, None)
    };
    if found != root {
        let notes = notes.unwrap_or_default();
        return Err(Failure::new(
            Exit::Integrity,
            format!("{shown} is another content: its root is {found}, and not {root}{notes}"),
        ));
    }
    if !args.quiet {
        output::line(&format!("{shown}: OK"))
            .map_err(|error| Failure::new(Exit::Internal, format!("cannot write the output: {error}")))?;
    }
    Ok(Exit::Ok.code())
}

fn left_out(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(", and leaves out what is never shared ({words})") }
}

/// The root that a text names. If the text is a URI with a size, also the size.
fn wanted(what: &str) -> Result<(Root, Option<u64>), Failure> {
    if let Some(uri) = uri::given(what)? {
        return Ok((uri.root, uri.size));
    }
    let root = Root::from_hex(what.trim());
    let root = root.ok_or_else(|| {
        Failure::usage(format!("{what:?} is neither a URI that begins with sprat: nor a root of 64 hex digits"))
    })?;
    Ok((root, None))
}
