//! The queue of downloads: the file that a peer reads at its start, and the commands `downloads`,
//! `cancel`, `pause`, `resume` and `limit`.

use std::io;
use std::path::{Path, PathBuf};

use super::args::{Cancel, Downloads, Limit, Pause, Resume};
use super::format::count;
use super::oneshot::{self, Target};
use super::paths;
use super::present::{Kind, Presenter};
use super::units::Rate;
use crate::error::{Exit, Failure};
use crate::proto::Command;
use crate::proto::weak_peer::Saved;

/// The most copies of damaged files.
const DAMAGED_MAX: u32 = 100;

/// `sprat downloads`.
pub(crate) fn downloads(args: &Downloads) -> Result<u8, Failure> {
    let target = Target::new(args.asked())?;
    if args.clean {
        return oneshot::run(target, Command::Clean, &mut Presenter::new(Kind::Clean, args.json, args.quiet));
    }
    oneshot::run(target, Command::Downloads, &mut Presenter::new(Kind::Downloads, args.json, args.quiet))
}

/// `sprat cancel`.
pub(crate) fn cancel(args: &Cancel) -> Result<u8, Failure> {
    let target = Target::new(args.asked())?;
    let command = Command::Cancel { id: args.number };
    oneshot::run(target, command, &mut Presenter::new(Kind::Order, args.json, args.quiet))
}

/// `sprat pause`.
pub(crate) fn pause(args: &Pause) -> Result<u8, Failure> {
    let target = Target::new(args.asked())?;
    let command = Command::Pause { id: args.number };
    oneshot::run(target, command, &mut Presenter::new(Kind::Order, args.json, args.quiet))
}

/// `sprat resume`.
pub(crate) fn resume(args: &Resume) -> Result<u8, Failure> {
    let target = Target::new(args.asked())?;
    let command = Command::Resume { id: args.number };
    oneshot::run(target, command, &mut Presenter::new(Kind::Order, args.json, args.quiet))
}

/// `sprat limit`.
pub(crate) fn limit(args: &Limit) -> Result<u8, Failure> {
    let target = Target::new(args.asked())?;
    let rate = |limit: Option<Rate>| limit.map(|Rate(rate)| rate);
    let command = Command::Limit { upload: rate(args.upload), download: rate(args.download) };
    oneshot::run(target, command, &mut Presenter::new(Kind::Order, args.json, args.quiet))
}

/// Reads the file of the queue. If the file is damaged, makes a copy of it, because it will be
/// written again.
///
/// # Errors
/// Exit 9 if the file cannot be read, or if a newer version of the program has written it.
pub(crate) fn load(path: &Path) -> Result<Saved, Failure> {
    // A process that was killed while writing has left this file.
    let _ = std::fs::remove_file(paths::beside(path));
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Saved::default()),
        Err(error) => return Err(Failure::new(Exit::Disk, format!("cannot read {}: {error}", path.display()))),
    };
    let saved = Saved::parse(&String::from_utf8_lossy(&bytes)).map_err(|newer| {
        let (path, version, known) = (path.display(), newer.version, newer.known);
        let message = format!(
            "{path} has format {version}, of a newer version of sprat, and this one reads format {known}; run the newer \
             one, or move the file away to start with an empty queue"
        );
        Failure::new(Exit::Disk, message)
    })?;
    if saved.damaged > 0 {
        let copy = free_copy(path, &bytes);
        std::fs::copy(path, &copy)
            .map_err(|error| Failure::new(Exit::Disk, format!("cannot write {}: {error}", copy.display())))?;
        let lines = count(saved.damaged as u64, "line");
        log::error!("{} is damaged ({lines}); it is kept as {}", path.display(), copy.display());
    }
    Ok(saved)
}

/// Where a damaged file with these bytes is kept: `downloads.damaged`, or with a number if another
/// one is there. If there are too many, the last one is replaced.
fn free_copy(path: &Path, bytes: &[u8]) -> PathBuf {
    let numbered = (2..DAMAGED_MAX).map(|n| path.with_extension(format!("damaged.{n}")));
    let mut all = std::iter::once(path.with_extension("damaged")).chain(numbered);
    let is_free = |copy: &PathBuf| match std::fs::read(copy) {
        Ok(kept) => kept == bytes,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    all.find(is_free).unwrap_or_else(|| path.with_extension(format!("damaged.{DAMAGED_MAX}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_file_is_refused_by_name_and_a_damaged_one_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("downloads.jsonl");
        assert_eq!(load(&path).unwrap().damaged, 0, "there is none at the first start");
        std::fs::write(&path, "{\"sprat\":\"downloads\",\"v\":2}\n").unwrap();
        let failure = load(&path).unwrap_err();
        assert!(failure.exit == Exit::Disk && failure.message.contains("format 2"), "{failure}");
        assert!(failure.message.contains("downloads.jsonl"), "{failure}");
        std::fs::write(&path, "{\"sprat\":\"downloads\",\"v\":1}\n?\n").unwrap();
        assert_eq!(load(&path).unwrap().damaged, 1);
        assert!(folder.path().join("downloads.damaged").exists());
        std::fs::write(&path, "{\"sprat\":\"downloads\",\"v\":1}\n??\n").unwrap();
        assert!(load(&path).is_ok() && load(&path).is_ok());
        let kept = |name: &str| std::fs::read_to_string(folder.path().join(name)).ok();
        assert!(kept("downloads.damaged").unwrap().contains("\n?\n"), "the first one is not replaced");
        assert!(kept("downloads.damaged.2").unwrap().contains("\n??\n") && kept("downloads.damaged.3").is_none());
    }
}
