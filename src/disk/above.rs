//! Watches the folders above each share, and the mount table. It reports which share may be another
//! folder now. It knows nothing of the files in a share.
//!
//! A folder does not report that it was removed while a process uses it, that a folder above it was
//! moved, or that something was mounted on it. So the folder above each share is watched for the
//! name of the share, and the folders above that one are watched for their own moves. The kernel
//! signals each change of the mount table (proc_pid_mountinfo(5), poll). One thread waits for all
//! of these. It has no timer except for a pause after events about other names.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, PipeWriter};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// The mount table of this process.
const MOUNTS: &str = "/proc/self/mountinfo";
/// How often the watches are placed again if a folder came or went in the meantime.
const ROUNDS_MAX: usize = 8;
/// How long the next events wait after events about other names. The folder above a share may be
/// busy, as `/tmp` is. Without this pause, each file that comes or goes there would wake the
/// thread.
const PAUSE: Duration = Duration::from_millis(500);
/// Bytes of events that are read at once.
const EVENT_BYTES: usize = 4096;

/// What may have happened to a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AboveEvent {
    /// The share or a folder above it was created, removed, moved, or got a new mode.
    Way,
    /// Something was mounted on the share, above it, or below it.
    Mounted,
    /// Something there was unmounted. Something else may be mounted now.
    Unmounted,
}

/// The running watcher. Dropping it ends its thread.
#[derive(Debug)]
pub(super) struct Above {
    /// Closed at the end, which wakes the thread.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Above {
    /// Watches the folders above these paths. The callback runs on the thread, with the number of a
    /// path.
    pub(super) fn start(
        paths: Vec<PathBuf>,
        callback: impl Fn(usize, AboveEvent) + Send + 'static,
    ) -> io::Result<Above> {
        let (stopped, stop) = io::pipe()?;
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        // Opened before the table is read, so that no change is lost between the two.
        let mounts = File::open(MOUNTS).inspect_err(|error| log::debug!("cannot watch mounts: {error}")).ok();
        let ways = paths.into_iter().map(|path| Way { mounts: BTreeSet::new(), path }).collect();
        let mut watcher = Watcher { inotify, mounts, ways, watches: HashMap::new() };
        watcher.place_watches()?;
        watcher.look_at_mounts();
        let run = move || watcher.run(&stopped, &callback);
        let thread = thread::Builder::new().name("sprat-above".to_owned()).spawn(run)?;
        Ok(Above { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Above {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The shares that need a watch, and for each the next name on the way to it.
type Ways = Vec<(usize, OsString)>;

/// One share.
struct Way {
    path: PathBuf,
    /// The mounts above, on and below the share: their ids, and where they are.
    mounts: BTreeSet<(u64, PathBuf)>,
}

/// The state of the thread.
struct Watcher {
    inotify: OwnedFd,
    mounts: Option<File>,
    ways: Vec<Way>,
    watches: HashMap<i32, Ways>,
}

impl Watcher {
    fn run(mut self, stopped: &impl AsFd, callback: &impl Fn(usize, AboveEvent)) {
        let pause = Timespec::try_from(PAUSE).ok();
        let mut pauses = false;
        loop {
            let events = if pauses { PollFlags::empty() } else { PollFlags::IN };
            let mut ready = vec![PollFd::new(stopped, PollFlags::IN), PollFd::new(&self.inotify, events)];
            ready.extend(self.mounts.as_ref().map(|mounts| PollFd::new(mounts, PollFlags::PRI)));
            match poll(&mut ready, pause.as_ref().filter(|_| pauses)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    log::warn!("the way to the shares is not watched any more: {error}");
                    return;
                }
            }
            let [stop, moved] = [0, 1].map(|at| !ready[at].revents().is_empty());
            let mounted = ready.get(2).is_some_and(|mounts| !mounts.revents().is_empty());
            if stop {
                return;
            }
            let touched = if moved { self.touched() } else { BTreeSet::new() };
            pauses = moved && touched.is_empty();
            let changes = if mounted { self.look_at_mounts() } else { Vec::new() };
            // The watches are placed before the worker looks, so that later changes are reported.
            let is_new = !touched.is_empty() || !changes.is_empty();
            if let Err(error) = if is_new { self.place_watches() } else { Ok(()) } {
                log::warn!("not all of the way to the shares is watched: {error}");
            }
            touched.into_iter().for_each(|number| callback(number, AboveEvent::Way));
            changes.into_iter().for_each(|(number, event)| callback(number, event));
        }
    }

    /// The shares that the waiting events concern.
    fn touched(&self) -> BTreeSet<usize> {
        let mut touched = BTreeSet::new();
        let mut buffer = [const { MaybeUninit::uninit() }; EVENT_BYTES];
        let mut events = Reader::new(&self.inotify, &mut buffer);
        while let Ok(event) = events.next() {
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                touched.extend(0..self.ways.len());
            }
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            let ways = self.watches.get(&event.wd()).into_iter().flatten();
            touched.extend(ways.filter(|(_, next)| name.is_none_or(|name| name == next)).map(|(number, _)| number));
        }
        touched
    }

    // ---- watches --------------------------------------------------------------------------------

    /// Watches the present folders above the shares, and nothing else. Returns an error if the
    /// limit of watches is reached. A folder that this process may not read cannot be watched.
    fn place_watches(&mut self) -> Result<(), Errno> {
        let mut limit = Ok(());
        let mut placed: HashMap<i32, (WatchFlags, Ways)> = HashMap::new();
        for (number, way) in self.ways.iter().enumerate() {
            for _ in 0..ROUNDS_MAX {
                let steps = steps(&way.path);
                for Step { folder, next, flags } in &steps {
                    let mut flags = *flags | WatchFlags::ONLYDIR;
                    match inotify::add_watch(&self.inotify, folder, flags) {
                        Ok(watch) => {
                            let (others, ways) = placed.entry(watch).or_default();
                            // Each call replaces the earlier flags of the watch.
                            if !flags.contains(*others) {
                                flags |= *others;
                                let _ = inotify::add_watch(&self.inotify, folder, flags);
                            }
                            *others = flags;
                            if !ways.iter().any(|(other, name)| *other == number && name == next) {
                                ways.push((number, next.clone()));
                            }
                        }
                        Err(Errno::NOENT | Errno::NOTDIR) => {}
                        Err(error @ (Errno::NOSPC | Errno::NOMEM)) => limit = Err(error),
                        Err(error) => log::debug!("cannot watch {}: {error}", folder.display()),
                    }
                }
                if steps == self::steps(&way.path) {
                    break;
                }
            }
        }
        for old in self.watches.keys().filter(|watch| !placed.contains_key(*watch)) {
            // If the folder is gone, its watch is gone too.
            let _ = inotify::remove_watch(&self.inotify, *old);
        }
        self.watches = placed.into_iter().map(|(watch, (_, ways))| (watch, ways)).collect();
        limit
    }

    // ---- mounts ---------------------------------------------------------------------------------

    /// Reads the mount table. Returns the shares for which it has changed.
    fn look_at_mounts(&mut self) -> Vec<(usize, AboveEvent)> {
        // Without /proc, the scans find mounts.
        let Ok(table) = std::fs::read(MOUNTS) else { return Vec::new() };
        let mut changes = Vec::new();
        for (number, way) in self.ways.iter_mut().enumerate() {
            let real = std::fs::canonicalize(&way.path).unwrap_or_else(|_| way.path.clone());
            let is_near = |point: &Path| real.starts_with(point) || point.starts_with(&real);
            let mut now = BTreeSet::new();
            now.extend(mounts(&table).filter(|(_, point)| is_near(point)));
            let before = std::mem::replace(&mut way.mounts, now);
            if before != way.mounts {
                let lost = before.difference(&way.mounts).next().is_some();
                changes.push((number, if lost { AboveEvent::Unmounted } else { AboveEvent::Mounted }));
            }
        }
        changes
    }
}

/// A folder above a share, the next name on the way to the share, and what is watched there.
#[derive(PartialEq)]
struct Step {
    folder: PathBuf,
    next: OsString,
    flags: WatchFlags,
}

/// The steps to a path, and also the steps to the path where its symlinks lead.
fn steps(path: &Path) -> Vec<Step> {
    let real = std::fs::canonicalize(path).ok().filter(|real| real != path);
    [Some(path), real.as_deref()].into_iter().flatten().flat_map(steps_to).collect()
}

fn steps_to(path: &Path) -> impl Iterator<Item = Step> {
    // While the share exists, the folders above it cannot be removed. Once the share is removed,
    // the removal of a folder above it may not be reported: a process that still uses the share
    // keeps these folders in use too.
    let is_missing = !path.exists();
    path.ancestors().filter_map(move |below| {
        let (folder, next) = (below.parent()?.to_owned(), below.file_name()?.to_owned());
        // If a folder is watched for names, every change of other processes in it wakes the thread.
        // So it is watched for names only if the next name can come or go without an event about
        // its own move.
        let is_folder = below.symlink_metadata().is_ok_and(|found| found.is_dir());
        let moves = WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF | WatchFlags::ATTRIB;
        let names = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE;
        let flags = if below == path || is_missing || !is_folder { moves | names } else { moves };
        Some(Step { folder, next, flags })
    })
}

/// The mounts of a table: the id of each, and where it is (proc_pid_mountinfo(5)).
fn mounts(table: &[u8]) -> impl Iterator<Item = (u64, PathBuf)> {
    table.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        Some((id, unescaped(fields.nth(3)?)))
    })
}

/// A path of the table, in which `\040` and the like are spaces, tabs, newlines and backslashes.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, others)) = rest.split_first() {
        let octal = others.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        path.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &others[3..] } else { others };
    }
    OsString::from_vec(path).into()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::mpsc::{self, Receiver};
    use std::time::Duration;

    use super::*;

    const GUARD: Duration = Duration::from_secs(30);

    fn start(path: &Path) -> (Above, Receiver<(usize, AboveEvent)>) {
        let (send, events) = mpsc::channel();
        let callback = move |number, event| send.send((number, event)).unwrap_or(());
        (Above::start(vec![path.to_owned()], callback).unwrap(), events)
    }

    fn next(events: &Receiver<(usize, AboveEvent)>) -> (usize, AboveEvent) {
        events.recv_timeout(GUARD).expect("an event")
    }

    #[test]
    fn each_way_in_which_another_folder_comes_to_a_path_is_reported() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 6] = [
            ("removed", |top| fs::remove_dir(top.join("a/b/share")).unwrap()),
            ("moved", |top| fs::rename(top.join("a/b/share"), top.join("elsewhere")).unwrap()),
            ("moved with the folder above", |top| fs::rename(top.join("a/b"), top.join("elsewhere")).unwrap()),
            ("moved with one above that", |top| fs::rename(top.join("a"), top.join("elsewhere")).unwrap()),
            ("replaced", |top| {
                fs::create_dir(top.join("new")).unwrap();
                fs::rename(top.join("new"), top.join("a/b/share")).unwrap();
            }),
            ("locked", |top| {
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(top.join("a/b"), fs::Permissions::from_mode(0o700)).unwrap();
            }),
        ];
        for (what, change) in changes {
            let top = tempfile::tempdir().unwrap();
            let share = top.path().join("a/b/share");
            fs::create_dir_all(&share).unwrap();
            // If a process uses the folder, the folder itself does not report its removal.
            let _in_use = File::open(&share).unwrap();
            let (_above, events) = start(&share);
            change(top.path());
            assert_eq!(next(&events), (0, AboveEvent::Way), "{what}");
            if !share.exists() {
                let _ = fs::remove_dir_all(top.path().join("a"));
                while events.try_recv().is_ok() {}
                fs::create_dir_all(&share).unwrap();
                while next(&events) != (0, AboveEvent::Way) || !share.exists() {}
            }
        }
    }

    #[test]
    fn a_symlink_on_the_way_that_leads_elsewhere_is_reported() {
        let top = tempfile::tempdir().unwrap();
        for name in ["one/share", "two/share"] {
            fs::create_dir_all(top.path().join(name)).unwrap();
        }
        symlink("one", top.path().join("link")).unwrap();
        let (_above, events) = start(&top.path().join("link/share"));
        symlink("two", top.path().join("new")).unwrap();
        fs::rename(top.path().join("new"), top.path().join("link")).unwrap();
        assert_eq!(next(&events), (0, AboveEvent::Way));
        // From now on only the events of the other path count.
        while events.try_recv().is_ok() {}
        fs::rename(top.path().join("two"), top.path().join("three")).unwrap();
        assert_eq!(next(&events), (0, AboveEvent::Way));
    }

    #[test]
    fn what_happens_beside_the_way_is_not_reported() {
        let top = tempfile::tempdir().unwrap();
        let share = top.path().join("a/share");
        fs::create_dir_all(&share).unwrap();
        let (above, events) = start(&share);
        for name in ["x", "a/x", "a/share/x"] {
            fs::write(top.path().join(name), "x").unwrap();
            fs::rename(top.path().join(name), top.path().join(format!("{name}y"))).unwrap();
        }
        fs::rename(&share, top.path().join("away")).unwrap();
        assert_eq!(next(&events), (0, AboveEvent::Way));
        drop(above);
        assert_eq!(events.iter().count(), 0, "one event only");
    }

    #[test]
    fn the_mount_table_is_read_as_it_is_written() {
        let table = b"36 35 98:0 /mnt1 /mnt/a\\040b\\134c rw,noatime master:1 - ext3 /dev/root rw\n\
            37 36 0:5 / / rw - tmpfs none rw\n\nbroken line\n";
        let found: Vec<_> = mounts(table).collect();
        assert_eq!(found, [(36, PathBuf::from("/mnt/a b\\c")), (37, PathBuf::from("/"))]);
    }
}
