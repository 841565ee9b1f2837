//! The place where a download is published: its folder and its names in this folder. It finds and
//! examines files; it writes nothing.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Access, AtFlags, Mode, OFlags, access, openat, statat};
use rustix::io::{Errno, retry_on_intr};

use super::below::{self, Below, Last};
use super::durable;
use super::folder::{Found, Stamp};
use super::remedy::remedy;
use super::share::Share;
use crate::config::NAME_BYTES_MAX;
use crate::proto::disk::{Destination, DiskFailure, DiskFailureKind};
use crate::wire::ids::Root;
use crate::wire::name::{apart, candidates, printable, sanitize};

/// Name of the file with the list of a collection, in its hidden folder.
pub(super) const CONTENT: &str = "collection";
/// Start of the name of this folder.
const HIDDEN_LIST: &str = ".sprat-";
/// Start of the names of hidden folders for the files of commands.
pub(super) const HIDDEN_FILES: &str = ".sprat-files";
/// Ends of the names of a part file and of its map. The end of the map is the longer one.
pub(super) const PART_SUFFIX: &str = ".part";
pub(super) const MAP_SUFFIX: &str = ".part.map";

/// Why a destination cannot be used, and what to do.
const UNREADABLE: &str = "a file is there that this user may not read, so it is not known whether it has this content; \
                          make it readable, or choose another place with -o";
const UNLISTED: &str = "this user may write to this folder, but not read it; make it readable (chmod u+r), or choose \
                        another place with -o";

/// The place of a download.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) folder: Arc<OwnedFd>,
    pub(super) path: PathBuf,
    pub(super) name: OsString,
    pub(super) part_name: OsString,
    pub(super) map_name: OsString,
    /// The folder without symlinks, if it could be found.
    real_folder: Option<PathBuf>,
    /// Other names, for a file system that refuses this one. None if the user chose the name.
    others: VecDeque<String>,
    /// Whether the user did not choose the place. If so, a content whose name is used by another
    /// content gets another name.
    pub(super) may_give_way: bool,
}

impl Target {
    /// Finds the folder and the name. Creates nothing but the folder, if the path ends in a slash.
    /// `downloads` is the folder for downloads without a destination.
    pub(super) fn find(
        destination: &Destination,
        root: &Root,
        downloads: Option<&Path>,
        last: &mut Last,
    ) -> Result<Target, DiskFailure> {
        let (path, names) = match destination {
            Destination::Share { name } => {
                let Some(downloads) = downloads else {
                    return Err(failed("there is no folder for downloads; name a destination".to_owned()));
                };
                (downloads.to_owned(), Err(name))
            }
            Destination::Below { folder, path } => {
                let Some(base) = folder.as_deref().or(downloads) else {
                    return Err(failed("there is no folder for downloads; name a destination".to_owned()));
                };
                // A file of a folder has its place in the folder.
                let is_free = folder.is_none() && !path.contains('/');
                let (Below { folder, path, real }, name) = last.find(base, path, root)?;
                let (name, others) = names_of(&name, root);
                let target = Target::new(folder, &path, real, check_length(&path, name)?, others);
                return Ok(Target { may_give_way: is_free, ..target });
            }
            Destination::Collection(files) => {
                let hidden = collection_folder(files, root, downloads)?.join(hidden_folder(root));
                durable::make_folders(&hidden, 0o777)
                    .map_err(|error| io_failure(hidden.parent().unwrap_or(&hidden), error))?;
                (hidden, Ok(CONTENT.into()))
            }
            Destination::Path { path, name } if is_folder(path)? => (path.clone(), Err(name)),
            Destination::Path { path, name: _ } => match (path.parent(), path.file_name()) {
                (Some(parent), Some(name)) => (parent.to_owned(), Ok(name.to_owned())),
                _ => return Err(failed(format!("{} names no file", shown(path)))),
            },
        };
        let (name, others) = match names {
            Ok(name) => (name, VecDeque::new()),
            Err(received) => names_of(received, root),
        };
        let path = if path.as_os_str().is_empty() { PathBuf::from(".") } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = retry_on_intr(|| rustix::fs::open(&path, flags, Mode::empty()));
        let folder = folder.map_err(|error| folder_failure(&path, error))?;
        let name = check_length(&path, name)?;
        let real_folder = std::fs::canonicalize(&path).ok();
        let may_give_way = matches!(destination, Destination::Share { .. });
        Ok(Target { may_give_way, ..Target::new(Arc::new(folder), &path, real_folder, name, others) })
    }

    fn new(
        folder: Arc<OwnedFd>,
        path: &Path,
        real_folder: Option<PathBuf>,
        name: OsString,
        others: VecDeque<String>,
    ) -> Target {
        Target {
            folder,
            path: path.join(&name),
            part_name: hidden(&name, PART_SUFFIX),
            map_name: hidden(&name, MAP_SUFFIX),
            name,
            real_folder,
            others,
            may_give_way: false,
        }
    }

    /// The path of the file's record in the share, if the file will be offered.
    pub(super) fn share_path(&self, share: &Share) -> Option<String> {
        share.trees.path_in(self.real_folder.as_ref()?, self.name.as_bytes())
    }

    /// The same place with the next name, after the file system refused this one. None if there is
    /// no other name.
    pub(super) fn with_next_name(&self) -> Option<Target> {
        let mut others = self.others.clone();
        let name = others.pop_front()?.into();
        let folder = self.folder.clone();
        let target = Target::new(folder, self.path.parent()?, self.real_folder.clone(), name, others);
        Some(Target { may_give_way: self.may_give_way, ..target })
    }

    /// The same place with a name that contains the start of the root, because another content has
    /// this name. None if the user chose the place, or if the name already contains the root.
    pub(super) fn giving_way(&self, root: &Root) -> Option<Target> {
        let name = self.name.to_str().filter(|_| self.may_give_way)?;
        let mut names = VecDeque::from(candidates(&apart(name, root), root));
        let name = names.pop_front()?.into();
        let folder = self.folder.clone();
        Some(Target::new(folder, self.path.parent()?, self.real_folder.clone(), name, names))
    }

    /// What is at the destination now. Symlinks are not followed.
    pub(super) fn lookup(&self) -> Result<Option<Found>, DiskFailure> {
        match statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Found::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.io_failure(error.into())),
        }
    }

    /// Opens what is at the destination for reading.
    pub(super) fn open_existing(&self) -> io::Result<(File, Stamp)> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(retry_on_intr(|| openat(&self.folder, &self.name, flags, Mode::empty()))?);
        let stamp = Stamp::of_file(&file)?;
        Ok((file, stamp))
    }

    /// The failure if something other than the content is at the destination.
    pub(super) fn taken(&self) -> DiskFailure {
        let what = match self.lookup() {
            Ok(Some(Found::Special)) => {
                "is not a regular file, and nothing is written to it; `-o -` writes to standard output, any other \
                 path makes a file"
            }
            Ok(Some(Found::Symlink)) => {
                "is a symlink and is left untouched; choose the path that it leads to, or another one, or `-o -` for \
                 standard output"
            }
            Ok(Some(Found::Folder)) => "is a folder and is left untouched; choose another place",
            Ok(Some(Found::File(_) | Found::Nothing | Found::Unknown) | None) | Err(_) => {
                "exists with another content and is left untouched; move it, or choose another place for this one"
            }
        };
        self.failure(DiskFailureKind::Taken, what)
    }

    /// The failure if the file at the destination cannot be read.
    pub(super) fn unreadable(&self, error: io::Error) -> DiskFailure {
        if error.kind() == io::ErrorKind::PermissionDenied {
            return self.failed(UNREADABLE);
        }
        self.io_failure(error)
    }

    pub(super) fn failure(&self, kind: DiskFailureKind, what: &str) -> DiskFailure {
        DiskFailure { kind, message: format!("{} {what}", shown(named(&self.path))) }
    }

    pub(super) fn failed(&self, what: &str) -> DiskFailure {
        failed(format!("{}: {what}", shown(named(&self.path))))
    }

    pub(super) fn io_failure(&self, error: io::Error) -> DiskFailure {
        io_failure(named(&self.path), error)
    }
}

/// The name of a file on this disk, and other names for a file system that refuses the first one.
fn names_of(received: &str, root: &Root) -> (OsString, VecDeque<String>) {
    let mut names = VecDeque::from(candidates(received, root));
    (names.pop_front().unwrap_or_default().into(), names)
}

fn check_length(folder: &Path, name: OsString) -> Result<OsString, DiskFailure> {
    if name.len() > NAME_BYTES_MAX {
        let path = shown(&folder.join(&name));
        return Err(failed(format!("{path}: the name is longer than {NAME_BYTES_MAX} bytes")));
    }
    Ok(name)
}

/// The hidden folder beside the files of a collection.
pub(super) fn hidden_folder(root: &Root) -> String {
    format!("{HIDDEN_LIST}{:.16}", root.to_string())
}

/// The folder that the files of a collection go to. It has the name of the collection and is in the
/// folder that the user named.
pub(super) fn collection_folder(
    destination: &Destination,
    root: &Root,
    downloads: Option<&Path>,
) -> Result<PathBuf, DiskFailure> {
    match destination {
        Destination::Share { name } => match downloads {
            Some(downloads) => Ok(downloads.join(sanitize(name, root))),
            None => Err(failed("there is no folder for downloads; name a destination".to_owned())),
        },
        Destination::Path { path, name } => Ok(path.join(sanitize(name, root))),
        Destination::Below { folder, path } => match folder.as_deref().or(downloads) {
            Some(base) => below::make(base, path, root).map(|(_, folder, name)| folder.join(sanitize(&name, root))),
            None => Err(failed("there is no folder for downloads; name a destination".to_owned())),
        },
        Destination::Collection(files) => collection_folder(files, root, downloads),
    }
}

/// Whether a destination is a folder: a path of an existing folder, or a path that ends in a slash.
/// In the second case the folder is created.
fn is_folder(path: &Path) -> Result<bool, DiskFailure> {
    let bytes = path.as_os_str().as_bytes();
    if path.is_dir() {
        return Ok(true);
    }
    if !(bytes.ends_with(b"/") || bytes.ends_with(b"/.")) {
        return Ok(false);
    }
    // A dot at the end of the path is left out, because it cannot be created.
    match durable::make_folders(&path.components().collect::<PathBuf>(), 0o777) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(failed(format!("{} is not a folder; leave out the slash at its end to name a file", shown(path))))
        }
        Err(error) => Err(failed(format!("the folder {} cannot be created: {error}", shown(path)))),
    }
}

/// The path that messages name: the list of a collection has a hidden folder in the folder that the
/// user named.
fn named(path: &Path) -> &Path {
    let is_hidden = |name: &OsStr| name.as_bytes().starts_with(HIDDEN_LIST.as_bytes());
    let hidden = path.parent().filter(|_| path.file_name() == Some(OsStr::new(CONTENT)));
    let hidden = hidden.filter(|folder| folder.file_name().is_some_and(is_hidden));
    hidden.and_then(Path::parent).unwrap_or(path)
}

/// The name of a part file or of its map. It depends only on the name of the file, so that two
/// downloads with the same name compete for the lock. If it would be too long, a digest replaces
/// the end of the name.
pub(super) fn hidden(name: &OsStr, suffix: &str) -> OsString {
    let mut hidden = OsString::from(".");
    if 1 + name.len() + MAP_SUFFIX.len() <= NAME_BYTES_MAX {
        hidden.push(name);
    } else {
        let digest = blake3::hash(name.as_bytes()).to_hex();
        let start = name.to_string_lossy();
        let room = NAME_BYTES_MAX - MAP_SUFFIX.len() - 1 - 1 - 16;
        hidden.push(&start[..start.floor_char_boundary(room)]);
        hidden.push("~");
        hidden.push(&digest[..16]);
    }
    hidden.push(suffix);
    hidden
}

/// A path, in the form in which it is shown to people.
pub(super) fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

/// The failure if the folder of a destination cannot be opened. It is opened for reading, because a
/// folder can only be synced then.
fn folder_failure(path: &Path, error: Errno) -> DiskFailure {
    match error {
        Errno::ACCESS if access(path, Access::WRITE_OK).is_ok() => failed(format!("{}: {UNLISTED}", shown(path))),
        error => io_failure(path, error.into()),
    }
}

/// A failure of no special kind.
pub(super) fn failed(message: String) -> DiskFailure {
    DiskFailure { kind: DiskFailureKind::Io, message }
}

pub(super) fn io_failure(path: &Path, error: io::Error) -> DiskFailure {
    let errno = Errno::from_io_error(&error);
    let kind = match errno {
        Some(Errno::NOSPC | Errno::DQUOT) => DiskFailureKind::Full,
        Some(Errno::INVAL | Errno::ILSEQ | Errno::NAMETOOLONG) => DiskFailureKind::Name,
        _ => DiskFailureKind::Io,
    };
    let remedy = remedy(path, errno);
    DiskFailure { kind, message: format!("{}: {error}{remedy}", shown(path)) }
}

#[cfg(test)]
mod tests {
    use super::super::names::Names;
    use super::*;

    const ROOT: Root = Root([0xab; 32]);

    fn find(path: PathBuf, name: &str) -> Result<Target, DiskFailure> {
        Target::find(&Destination::Path { path, name: name.to_owned() }, &ROOT, None, &mut Last::default())
    }

    #[test]
    fn messages_about_a_collection_name_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let files = Destination::Path { path: folder.path().join("album"), name: "x".to_owned() };
        let find =
            || Target::find(&Destination::Collection(Box::new(files.clone())), &ROOT, None, &mut Last::default());
        let target = find().unwrap();
        let failure = target.failure(DiskFailureKind::Locked, "is being downloaded");
        assert!(failure.message.ends_with("album/x is being downloaded"), "{}", failure.message);
        assert!(!target.failed("fails").message.contains(".sprat-"));
    }

    #[test]
    fn a_slash_at_the_end_names_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let at = |end: &str| PathBuf::from(format!("{}/{end}", folder.path().display()));
        for end in ["new/", "a/b/c/", "dot/."] {
            let target = find(at(end), "x").unwrap();
            assert_eq!(target.name, "x");
            assert!(at(end).is_dir(), "{end}");
        }
        assert_eq!(find(at("file"), "x").unwrap().name, "file");
        std::fs::write(at("taken"), "").unwrap();
        let failure = find(at("taken/"), "x").unwrap_err();
        assert!(failure.message.contains("not a folder"), "{}", failure.message);
        assert!(find(at("missing/file"), "x").is_err() && !at("missing").exists());
    }

    #[test]
    fn what_is_in_the_way_decides_the_advice() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let advice = |path: PathBuf| find(path, "").unwrap().taken().message;
        for (path, part) in [("/dev/full", "`-o -` writes to standard output"), ("/dev/null", "is not a regular file")]
        {
            let advice = advice(PathBuf::from(path));
            assert!(advice.contains(part) && !advice.contains("move it"), "{advice}");
        }
        let link = advice(folder.path().join("link"));
        assert!(link.contains("is a symlink") && link.contains("`-o -`"), "{link}");
        assert!(advice(folder.path().join("file")).contains("move it"));
    }

    #[test]
    fn a_file_that_may_not_be_read_is_not_said_to_be_read_only() {
        let folder = tempfile::tempdir().unwrap();
        let target = find(folder.path().join("x"), "").unwrap();
        let message = target.unreadable(Errno::ACCESS.into()).message;
        assert!(message.contains("may not read") && !message.contains("may not write"), "{message}");
        assert!(target.unreadable(Errno::IO.into()).message.contains("the disk has failed"));
        // A folder that can be written but not listed. Root may do both.
        let message = folder_failure(folder.path(), Errno::ACCESS).message;
        assert!(message.contains("chmod u+r"), "{message}");
        let message = folder_failure(&folder.path().join("missing"), Errno::ACCESS).message;
        assert!(message.contains("may not write there"), "{message}");
    }

    #[test]
    fn every_name_that_the_disk_takes_has_room_for_its_part_file() {
        let folder = tempfile::tempdir().unwrap();
        let long = "長".repeat(85);
        for name in ["x", &"n".repeat(245), &"n".repeat(246), &"n".repeat(255), &long] {
            let target = find(folder.path().join(name), "other").unwrap();
            assert_eq!(target.name.as_bytes(), name.as_bytes());
            for file in [&target.part_name, &target.map_name] {
                std::fs::write(folder.path().join(file), "").unwrap();
                assert!(Names::default().path(file.as_bytes()).is_err(), "{file:?} is not shared");
            }
            assert_eq!(target.part_name, find(folder.path().join(name), "").unwrap().part_name);
        }
        let one = find(folder.path().join("n".repeat(254) + "1"), "").unwrap();
        let two = find(folder.path().join("n".repeat(254) + "2"), "").unwrap();
        assert_ne!(one.part_name, two.part_name);
        assert!(find(folder.path().join("n".repeat(256)), "").is_err());
    }

    #[test]
    fn a_name_that_is_refused_has_others_unless_the_user_chose_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = find(folder.path().to_owned(), "12:30?.txt").unwrap();
        let second = first.with_next_name().unwrap();
        assert_eq!((first.name.to_str(), second.name.to_str()), (Some("12:30?.txt"), Some("12_30_.txt")));
        assert_eq!(second.path, folder.path().join("12_30_.txt"));
        assert!(second.with_next_name().is_none());
        assert!(find(folder.path().join("12:30?.txt"), "x").unwrap().with_next_name().is_none());
    }
}
