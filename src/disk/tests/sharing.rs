//! What is offered: scans, events, restarts.

use super::*;

#[test]
fn every_size_is_offered_with_its_root() {
    let sizes = [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 5];
    let files: Vec<(String, Vec<u8>)> = sizes.iter().map(|size| (format!("d/{size}"), content(3, *size))).collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
    let rig = Rig::with(&files);
    for (path, bytes) in files {
        assert_eq!(rig.root(path), Some(root_of(bytes)), "{path}");
        assert_eq!(rig.offered[path].size, bytes.len() as u64);
    }
}

#[test]
fn only_plain_visible_files_are_shared() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let share = tempfile::tempdir().unwrap();
    let at = |path: &str| share.path().join(path);
    for path in ["plain", ".hidden", ".dir/x", "y.part", "y.part.map", "deep/er/file"] {
        write_old(&at(path), b"x");
    }
    symlink(outside.path().join("secret"), at("link")).unwrap();
    symlink(outside.path(), at("folder")).unwrap();
    symlink(share.path(), at("loop")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    fs::write(share.path().join(OsStr::from_bytes(b"latin-\xe9")), "x").unwrap();
    let long = ["d".repeat(200), "d".repeat(200), "d".repeat(200), "d".repeat(200)].join("/");
    write_old(&at(&long), b"x");

    let mut rig = Rig::over(share, tempfile::tempdir().unwrap());
    write_old(&rig.path("last"), b"last");
    rig.until(|offered| offered.contains_key("last"));
    assert_eq!(rig.offered.keys().collect::<Vec<_>>(), ["deep/er/file", "last", "plain"]);
}

#[test]
fn a_share_that_is_no_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    for path in [folder.path().join("missing"), file] {
        let failure = Disk::start(options(&path, None), Box::new(|| {})).unwrap_err();
        assert_eq!(failure.exit, Exit::Disk);
        assert!(failure.message.contains(path.to_str().unwrap()), "{}", failure.message);
    }
}

#[test]
fn new_renamed_changed_and_deleted_files_are_reported() {
    let mut rig = Rig::with(&[("a", b"one")]);
    fs::create_dir(rig.path("sub")).unwrap();
    fs::write(rig.path("sub/b"), "two").unwrap();
    rig.until(|offered| offered.contains_key("sub/b"));
    fs::rename(rig.path("sub"), rig.path("moved")).unwrap();
    rig.until(|offered| offered.contains_key("moved/b") && !offered.contains_key("sub/b"));
    fs::write(rig.path("moved/c"), "three").unwrap();
    rig.until(|offered| offered.contains_key("moved/c"));
    File::options().append(true).open(rig.path("a")).unwrap().write_all(b" more").unwrap();
    rig.until(|offered| offered.get("a").is_some_and(|record| record.root == root_of(b"one more")));
    fs::rename(rig.path("a"), rig.path("moved/c")).unwrap();
    rig.until(|offered| offered.get("moved/c").is_some_and(|record| record.root == root_of(b"one more")));
    fs::remove_dir_all(rig.path("moved")).unwrap();
    rig.until(BTreeMap::is_empty);
}

#[test]
fn a_file_may_become_a_folder_and_the_other_way_round() {
    let mut rig = Rig::with(&[("a", b"file"), ("b/x", b"below")]);
    fs::remove_file(rig.path("a")).unwrap();
    fs::create_dir(rig.path("a")).unwrap();
    fs::write(rig.path("a/y"), "new").unwrap();
    let away = tempfile::tempdir_in(rig.share.path().parent().unwrap()).unwrap();
    fs::rename(rig.path("b"), away.path().join("b")).unwrap();
    fs::write(rig.path("b"), "now a file").unwrap();
    rig.until(|offered| offered.keys().eq(["a/y", "b"]));
}

#[test]
fn a_tree_that_is_made_or_moved_in_at_once_is_found_completely() {
    let mut rig = Rig::empty();
    let elsewhere = tempfile::tempdir_in(rig.share.path().parent().unwrap()).unwrap();
    for n in 0..50 {
        write_old(&rig.path(&format!("made/{}/{n}/x", n % 7)), &[n]);
        write_old(&elsewhere.path().join(format!("{}/{n}/x", n % 5)), &[n]);
    }
    fs::rename(elsewhere.path(), rig.path("moved")).unwrap();
    rig.until(|offered| offered.len() == 100);
    fs::write(rig.path("moved/3/3/late"), "x").unwrap();
    rig.until(|offered| offered.contains_key("moved/3/3/late"));
}

#[test]
fn a_file_that_is_being_written_is_never_offered_in_between() {
    let mut rig = Rig::empty();
    let mut file = File::create(rig.path("growing")).unwrap();
    let mut whole = Vec::new();
    // Two writes are more than one turn of the worker apart, but less than the quiet time.
    for round in 0..300 {
        file.write_all(&[round as u8; 100]).unwrap();
        whole.extend_from_slice(&[round as u8; 100]);
        rig.work(DiskWork::ReadManifest { conn: CONN, from: FROM, req: 8, root: Root([0; 32]), first: 0 });
        rig.next();
    }
    drop(file);
    rig.until(|offered| offered.contains_key("growing"));
    assert_eq!(rig.ever, [("growing".to_owned(), root_of(&whole))]);
}

#[test]
fn a_restart_hashes_nothing_twice() {
    let mut rig = Rig::with(&[("a", b"one"), ("big", &content(1, 3 * MIB))]);
    let root = rig.root("big").unwrap();
    rig = rig.restart();
    rig.until(|offered| offered.len() == 2);
    assert_eq!(rig.manifest(root, 0).unwrap().1.len(), 96);

    rig.disk = None;
    let cache = cache::Cache::open(Some(&rig.state.path().join("cache/digests")));
    let mut share = opened(rig.share.path(), Box::new(|_| Box::new(|_| {})));
    share.catalog.cache = cache;
    settle(&mut share);
    assert_eq!((share.catalog.offered(), share.hasher.bytes), (2, 0));
}

pub(super) fn opened(folder: &Path, callback: share::MakeCallback) -> share::Share {
    share::Share::open(&options(folder, None), callback).unwrap().unwrap()
}

/// Does all pending work.
fn settle(share: &mut share::Share) {
    let mut buffer = Vec::new();
    share.on_time(std::time::Instant::now());
    while share.has_work() {
        share.slice(&mut buffer);
        share.on_time(std::time::Instant::now());
    }
}

/// Does all pending work, and offers the files as if they had not changed for long enough.
pub(super) fn settle_files(share: &mut share::Share) {
    settle(share);
    share.catalog.settle(std::time::Instant::now() + crate::config::SHARE_OPEN_QUIET);
    settle(share);
}

#[test]
fn a_file_that_a_rename_brings_while_it_is_open_is_not_offered() {
    let [folder, outside] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    // The watcher reports nothing to the share.
    let mut share = opened(folder.path(), Box::new(|_| Box::new(|_| {})));
    settle(&mut share);
    let mut open = File::create(outside.path().join("open")).unwrap();
    open.write_all(b"half").unwrap();
    fs::write(outside.path().join("closed"), "whole").unwrap();
    let now = std::time::Instant::now();
    for name in ["open", "closed"] {
        fs::rename(outside.path().join(name), folder.path().join(name)).unwrap();
        share.look_again(&(0, name.to_owned()), now);
    }
    for later in [now + crate::config::SHARE_QUIET / 2, now + 2 * crate::config::SHARE_QUIET] {
        share.on_time(later);
        settle(&mut share);
    }
    assert!(share.catalog.offered_at("closed").is_some() && share.catalog.offered_at("open").is_none());
    // Its writer pauses for so long that it may never close the file.
    share.on_time(now + 100 * crate::config::SHARE_OPEN_QUIET);
    settle(&mut share);
    assert_eq!(share.catalog.offered_at("open").unwrap().0, root_of(b"half"));
}

#[test]
fn a_small_file_does_not_wait_for_a_large_one() {
    let folder = tempfile::tempdir().unwrap();
    File::create(folder.path().join("a-large")).unwrap().set_len(64 << 20).unwrap();
    write_old(&folder.path().join("b-small"), b"small");
    let mut share = opened(folder.path(), Box::new(|_| Box::new(|_| {})));
    let mut buffer = Vec::new();
    while share.catalog.deadline().is_none() {
        share.slice(&mut buffer);
    }
    share.catalog.settle(std::time::Instant::now() + 2 * crate::config::SHARE_QUIET);
    while share.catalog.offered() == 0 {
        share.slice(&mut buffer);
    }
    assert!(share.catalog.offered_at("b-small").is_some() && share.hasher.bytes < 16 << 20);
    settle(&mut share);
    assert_eq!(share.catalog.offered_at("a-large").unwrap().0, root_of(&vec![0; 64 << 20]));
}

#[test]
fn hashing_reports_how_far_it_is() {
    let folder = tempfile::tempdir().unwrap();
    for (name, length) in [("a", 32 << 20), ("b", 24 << 20), ("small", 100)] {
        File::create(folder.path().join(name)).unwrap().set_len(length).unwrap();
    }
    let mut share = opened(folder.path(), Box::new(|_| Box::new(|_| {})));
    let mut buffer = Vec::new();
    while share.catalog.deadline().is_none() {
        share.slice(&mut buffer);
    }
    assert_eq!(share.counts().1, 3);
    share.catalog.settle(std::time::Instant::now() + 2 * crate::config::SHARE_QUIET);
    let mut seen = Vec::new();
    while share.has_work() {
        share.slice(&mut buffer);
        seen.push(share.progress().named().map(|(_, n)| n));
    }
    assert_eq!(seen.pop(), Some([0; 4]), "nothing waits");
    let total = (56 << 20) + 100;
    assert!(seen.iter().all(|[_, files, _, bytes]| (*files, *bytes) == (3, total)), "{seen:?}");
    assert!(seen.is_sorted_by_key(|[files, _, bytes, _]| (*files, *bytes)), "{seen:?}");
    assert!(seen.iter().any(|[files, _, bytes, _]| *files == 1 && *bytes > 4 << 20), "a file in work counts: {seen:?}");
}

#[test]
fn lost_events_lead_to_a_scan_that_finds_everything() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["stays", "goes", "changes", "moves"] {
        write_old(&folder.path().join(name), name.as_bytes());
    }
    // The watcher reports nothing to the share.
    let (events, lost) = mpsc::channel();
    let callback: share::MakeCallback = Box::new(move |_| {
        let events = events.clone();
        Box::new(move |event| events.send(event).unwrap_or(()))
    });
    let mut share = opened(folder.path(), callback);
    let until_quiet = std::time::Instant::now() + crate::config::SHARE_QUIET;
    settle(&mut share);
    share.catalog.settle(until_quiet);
    settle(&mut share);
    assert_eq!(share.catalog.offered(), 4);

    fs::remove_file(folder.path().join("goes")).unwrap();
    fs::rename(folder.path().join("moves"), folder.path().join("moved")).unwrap();
    write_old(&folder.path().join("changes"), b"changed");
    for n in 0..3000 {
        write_old(&folder.path().join(format!("many/{n}")), &[n as u8; 3]);
    }
    share.on_watch_event(0, watch::WatchEvent::Lost);
    let later = std::time::Instant::now() + 3 * crate::config::SHARE_QUIET;
    share.on_time(later);
    settle(&mut share);
    share.catalog.settle(later);
    settle(&mut share);
    assert_eq!(share.catalog.offered(), 3003);
    assert_eq!(share.catalog.offered_at("changes").unwrap().0, root_of(b"changed"));
    assert!(share.catalog.offered_at("moved").is_some() && share.catalog.offered_at("goes").is_none());
    assert!(lost.try_iter().count() > 0, "the watcher was started");
}

#[test]
fn other_folders_are_shared_without_a_restart() {
    let mut rig = Rig::with(&[("a", b"stays"), ("b/c", b"goes")]);
    let other = tempfile::tempdir().unwrap();
    write_old(&other.path().join("d"), b"comes");
    let folder = |name: Option<&str>, path: PathBuf| ShareFolder { name: name.map(str::to_owned), path };
    let missing = [folder(None, other.path().join("missing"))];
    assert_eq!(rig.disk.as_mut().unwrap().share(&missing, None, true).unwrap_err().exit, Exit::Disk);
    fs::create_dir(rig.path("only")).unwrap();
    write_old(&rig.path("only/a"), b"stays");
    let shares = [folder(None, rig.path("only")), folder(Some("new"), other.path().to_owned())];
    rig.disk.as_mut().unwrap().share(&shares, None, true).unwrap();
    rig.until(|offered| offered.keys().eq(["a", "new/d"]));
    write_old(&other.path().join("e"), b"later");
    rig.until(|offered| offered.contains_key("new/e"));
}

#[test]
fn a_small_file_comes_from_memory_until_the_worker_reports_a_change() {
    let mut rig = Rig::with(&[("a/small", b"small"), ("a/long", &content(1, MIB))]);
    let mut at = |path: &str| {
        rig.submit([Job::Http(HttpWork::Path { conn: CONN, path: path.to_owned(), after: None })]);
        match report(&rig.reports) {
            Report::Http(HttpDone::Found { conn: CONN, what }) => what,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(at("a/long"), AtPath::File { .. }));
    let AtPath::Small(small) = at("a/small") else { panic!("it is small") };
    assert_eq!((small.part(1, 3).as_ref(), small.content.root), (&b"mal"[..], root_of(b"small")));
    let disk = rig.disk.as_mut().unwrap();
    assert!(disk.small_at("a/small", Time::ZERO).is_none());
    disk.keep_small("a/small", small, Time::ZERO);
    assert!(disk.small_at("a/small", Time::ZERO).is_some());
    disk.forget_smalls(["a/small"].into_iter());
    assert!(disk.small_at("a/small", Time::ZERO).is_none());
}
