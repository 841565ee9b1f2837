//! What the path of a request means.

use percent_encoding::percent_decode_str;

use crate::wire::{Root, SharePath};

/// The target of a request on the port of chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileTarget {
    /// `/` or `/files`: the client is redirected to `/files/`.
    Top,
    /// `/files/` or a folder in it. The path has no slash at its end and is empty for the top.
    Folder(String),
    /// `/files/PATH`: a file, or a folder without the slash at its end.
    File(SharePath),
    /// `/root/HEX` or `/root/HEX/NAME`: a content. A client saves it under NAME, which is not
    /// compared with anything.
    Root(Root),
    /// `/meta/PATH.meta4`: the Metalink of a file, by its path.
    Meta(SharePath),
    /// `/meta/HEX.meta4`: the Metalink of a content, by its root.
    MetaOf(Root),
    /// `/find?q=PATTERN`: a search of the network.
    Find,
}

/// Reads the path of a request on the port of chunks. `None` means that there is no such target.
///
/// # Errors
/// If the path has a component that no file can have: `..`, an encoded slash, NUL, or bytes that
/// are not UTF-8.
pub fn file_target(path: &str) -> Result<Option<FileTarget>, &'static str> {
    let parts = segments(path)?;
    let mut rest = parts.iter().map(String::as_str);
    let first = rest.next().unwrap_or_default();
    let rest: Vec<&str> = rest.collect();
    Ok(match (first, &rest[..]) {
        ("" | "files", []) => Some(FileTarget::Top),
        ("files", [""]) => Some(FileTarget::Folder(String::new())),
        ("files", [folder @ .., ""]) => share_path(folder)?.map(|path| FileTarget::Folder(path.as_str().to_owned())),
        ("files", path) => share_path(path)?.map(FileTarget::File),
        ("find", []) => Some(FileTarget::Find),
        ("root", [hex] | [hex, _]) => Root::from_hex(hex).map(FileTarget::Root),
        ("meta", [hex]) if Root::from_hex(hex.strip_suffix(".meta4").unwrap_or_default()).is_some() => {
            Root::from_hex(hex.strip_suffix(".meta4").unwrap_or_default()).map(FileTarget::MetaOf)
        }
        ("meta", [folder @ .., name]) => match name.strip_suffix(".meta4") {
            Some(name) => share_path(&[folder, &[name]].concat())?.map(FileTarget::Meta),
            None => None,
        },
        _ => None,
    })
}

fn share_path(parts: &[&str]) -> Result<Option<SharePath>, &'static str> {
    if parts.iter().any(|part| matches!(*part, "" | "." | "..")) {
        return Err("a path has no empty, `.` or `..` component");
    }
    Ok(SharePath::new(&parts.join("/")))
}

/// The decoded components of a path. An encoded slash is refused, because the next program would
/// see two components.
///
/// # Errors
/// See [`file_target`].
pub fn segments(path: &str) -> Result<Vec<String>, &'static str> {
    let decode = |part: &str| {
        let valid = part.match_indices('%').all(|(at, _)| {
            part.get(at + 1..at + 3).is_some_and(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()))
        });
        if !valid {
            return Err("a percent sign in the path is not followed by two hex digits");
        }
        let text = percent_decode_str(part).decode_utf8().map_err(|_| "the path is not UTF-8")?;
        if text.contains(['/', '\0']) {
            return Err("a component of the path has an encoded slash or NUL");
        }
        Ok(text.into_owned())
    };
    path.strip_prefix('/').unwrap_or(path).split('/').map(decode).collect()
}
