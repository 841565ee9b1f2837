//! Only the files that are at their paths now are served and listed: tests with files and folders
//! that are deleted, moved, replaced and mounted.

use super::sharing::{opened, settle_files};
use super::*;
use crate::disk::serve::{ChunkRequest, Serve};

/// A share whose watcher reports nothing, and what it serves.
struct Quiet {
    dir: TempDir,
    share: share::Share,
    serve: Serve,
}

impl Quiet {
    /// A share with these files, in the folder `share` of `dir`.
    fn with(files: &[(&str, &[u8])]) -> Quiet {
        let dir = tempfile::tempdir().unwrap();
        for (path, bytes) in files {
            write_old(&dir.path().join("share").join(path), bytes);
        }
        let mut share = opened(&dir.path().join("share"), Box::new(|_| Box::new(|_| {})));
        settle_files(&mut share);
        assert_eq!(share.catalog.offered(), files.len());
        Quiet { dir, share, serve: Serve::default() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn chunk(&mut self, bytes: &[u8]) -> Result<(), ServeFailure> {
        let (root, length) = (root_of(bytes), bytes.len() as u32);
        let request = ChunkRequest { conn: CONN, req: 1, root, offset: 0, length, bare: true };
        let mut prepared = self.serve.prepare(&mut self.share, &[request], &mut Vec::new());
        let page = self.serve.manifest_page(&mut self.share, root, 0, &mut Vec::new());
        let chunk = prepared.pop().unwrap();
        assert_eq!(chunk.is_ok(), page.is_ok(), "chunks and manifests are served alike");
        let file = chunk?.file;
        let mut read = vec![0; bytes.len()];
        file.read_exact_at(&mut read, 0).unwrap();
        assert_eq!(read, bytes);
        Ok(())
    }
}

#[test]
fn what_is_no_longer_at_its_path_is_not_served() {
    type Change = fn(&Quiet);
    let changes: [(&str, Change); 8] = [
        ("deleted", |quiet| fs::remove_file(quiet.at("share/d/x")).unwrap()),
        ("moved away", |quiet| fs::rename(quiet.at("share/d/x"), quiet.at("x")).unwrap()),
        ("replaced", |quiet| {
            fs::write(quiet.at("other"), "hullo").unwrap();
            fs::rename(quiet.at("other"), quiet.at("share/d/x")).unwrap();
        }),
        ("replaced by a copy", |quiet| {
            fs::copy(quiet.at("share/d/x"), quiet.at("copy")).unwrap();
            fs::rename(quiet.at("copy"), quiet.at("share/d/x")).unwrap();
        }),
        ("written through another name", |quiet| {
            fs::hard_link(quiet.at("share/d/x"), quiet.at("link")).unwrap();
            File::options().write(true).open(quiet.at("link")).unwrap().write_all_at(b"!", 0).unwrap();
        }),
        ("below a folder that is now a symlink to it", |quiet| {
            fs::rename(quiet.at("share/d"), quiet.at("d")).unwrap();
            symlink(quiet.at("d"), quiet.at("share/d")).unwrap();
        }),
        ("in a share that was moved away", |quiet| fs::rename(quiet.at("share"), quiet.at("away")).unwrap()),
        ("in a share that was replaced", |quiet| {
            fs::rename(quiet.at("share"), quiet.at("away")).unwrap();
            fs::create_dir_all(quiet.at("share/d")).unwrap();
            fs::copy(quiet.at("away/d/x"), quiet.at("share/d/x")).unwrap();
        }),
    ];
    for (what, change) in changes {
        let mut quiet = Quiet::with(&[("d/x", b"hello"), ("y", b"stays")]);
        for _ in 0..2 {
            assert_eq!(quiet.chunk(b"hello"), Ok(()), "{what}");
        }
        assert!(quiet.serve.has_open());
        change(&quiet);
        assert!(quiet.chunk(b"hello").is_err(), "{what}");
        assert_eq!(quiet.chunk(b"stays").is_ok(), !what.contains("in a share"), "{what}");
    }
}

#[test]
fn a_twin_is_served_in_place_of_what_is_gone() {
    let mut quiet = Quiet::with(&[("a", b"hello"), ("b", b"hello")]);
    assert_eq!(quiet.chunk(b"hello"), Ok(()));
    fs::remove_file(quiet.at("share/a")).unwrap();
    assert_eq!(quiet.chunk(b"hello"), Ok(()));
    fs::remove_file(quiet.at("share/b")).unwrap();
    assert!(quiet.chunk(b"hello").is_err());
}

// ---- the path of the share ----------------------------------------------------------------------

#[test]
fn a_share_that_is_removed_and_made_again_is_followed() {
    let mut rig = Rig::with(&[("a", b"one"), ("d/b", b"two")]);
    // If a process uses the folder, the folder itself does not report its removal.
    let _in_use = File::open(rig.path("")).unwrap();
    fs::remove_dir_all(rig.path("")).unwrap();
    rig.until(BTreeMap::is_empty);
    fs::create_dir(rig.path("")).unwrap();
    write_old(&rig.path("new"), b"new");
    rig.until(|offered| offered.keys().eq(["new"]));
    fs::create_dir(rig.path("later")).unwrap();
    fs::write(rig.path("later/x"), "x").unwrap();
    rig.until(|offered| offered.len() == 2);
}

#[test]
fn a_share_that_is_replaced_or_moved_with_its_folder_is_followed() {
    let top = tempfile::tempdir().unwrap();
    let at = |path: &str| top.path().join(path);
    for (path, bytes) in [("above/share/a", b"one"), ("other/share/b", b"two")] {
        write_old(&at(path), bytes);
    }
    let (disk, reports) = Disk::start(options(&at("above/share"), None), Box::new(|| {})).unwrap();
    let state = tempfile::tempdir().unwrap();
    let mut rig = Rig { share: top, state, disk: Some(disk), reports, offered: BTreeMap::new(), ever: Vec::new() };
    let at = |rig: &Rig, path: &str| rig.share.path().join(path);
    rig.until(|offered| offered.keys().eq(["a"]));
    fs::rename(at(&rig, "above"), at(&rig, "away")).unwrap();
    rig.until(BTreeMap::is_empty);
    fs::rename(at(&rig, "other"), at(&rig, "above")).unwrap();
    rig.until(|offered| offered.keys().eq(["b"]));
    write_old(&at(&rig, "above/share/c"), b"three");
    rig.until(|offered| offered.keys().eq(["b", "c"]));
    fs::rename(at(&rig, "above/share"), at(&rig, "above/old")).unwrap();
    fs::rename(at(&rig, "away/share"), at(&rig, "above/share")).unwrap();
    rig.until(|offered| offered.keys().eq(["a"]));
}

#[test]
fn a_share_whose_symlink_leads_elsewhere_is_followed() {
    let top = tempfile::tempdir().unwrap();
    for (path, bytes) in [("one/a", b"one"), ("two/b", b"two")] {
        write_old(&top.path().join(path), bytes);
    }
    symlink("one", top.path().join("link")).unwrap();
    let (disk, reports) = Disk::start(options(&top.path().join("link"), None), Box::new(|| {})).unwrap();
    let state = tempfile::tempdir().unwrap();
    let mut rig = Rig { share: top, state, disk: Some(disk), reports, offered: BTreeMap::new(), ever: Vec::new() };
    rig.until(|offered| offered.keys().eq(["a"]));
    symlink("two", rig.share.path().join("new")).unwrap();
    fs::rename(rig.share.path().join("new"), rig.share.path().join("link")).unwrap();
    rig.until(|offered| offered.keys().eq(["b"]));
    fs::write(rig.share.path().join("two/c"), "three").unwrap();
    rig.until(|offered| offered.keys().eq(["b", "c"]));
}

// ---- the slow scan ------------------------------------------------------------------------------

const HOUR: Duration = Duration::from_secs(3600);

/// A share that is scanned every hour, with a watcher that reports nothing.
fn scanned_slowly(folder: &Path) -> share::Share {
    let options = DiskOptions { rescan: Some(HOUR), ..options(folder, None) };
    let mut share = share::Share::open(&options, Box::new(|_| Box::new(|_| {}))).unwrap().unwrap();
    settle_files(&mut share);
    share
}

/// Begins a slow scan as if its time had come, and does all its work. Calls `meanwhile` between two
/// slices. Returns the number of slices.
fn scan_slowly(share: &mut share::Share, mut meanwhile: impl FnMut(&mut share::Share)) -> usize {
    let (mut buffer, mut slices) = (Vec::new(), 0);
    let mut due = Some(std::time::Instant::now() + HOUR);
    // The next slow scan begins only an hour later.
    while let Some(at) = due.filter(|at| slices == 0 || *at < std::time::Instant::now() + HOUR / 2) {
        share.on_time(at);
        while share.has_work() {
            share.slice(&mut buffer);
        }
        slices += 1;
        meanwhile(share);
        due = share.deadline();
    }
    slices
}

#[test]
fn the_slow_scan_finds_what_no_watcher_reports_and_touches_nothing_else() {
    let top = tempfile::tempdir().unwrap();
    let at = |path: &str| top.path().join("share").join(path);
    for n in 0..3000 {
        write_old(&at(&format!("many/{}/{n}", n % 10)), b"same");
    }
    for name in ["written", "gone", "stays"] {
        write_old(&at(name), name.as_bytes());
    }
    fs::write(at(".hidden"), "x").unwrap();
    fs::hard_link(at("written"), top.path().join("other name")).unwrap();
    let mut share = scanned_slowly(&at(""));
    while share.catalog.take_changes(1000).is_some() {}
    let hashed = share.hasher.bytes;
    scan_slowly(&mut share, |_| {});
    assert_eq!((share.catalog.take_changes(1000), share.hasher.bytes), (None, hashed), "nothing has changed");
    assert_eq!(share.counts().0.of(left_out::Reason::Hidden), 1);

    File::options().append(true).open(top.path().join("other name")).unwrap().write_all(b"!").unwrap();
    fs::remove_file(at("gone")).unwrap();
    fs::remove_file(at(".hidden")).unwrap();
    write_old(&at("new/deep/file"), b"new");
    scan_slowly(&mut share, |_| {});
    let (added, removed) = share.catalog.take_changes(1000).unwrap();
    let mut added: Vec<_> = added.iter().map(|record| (record.path.as_str(), record.root)).collect();
    added.sort_unstable();
    assert_eq!(added, [("new/deep/file", root_of(b"new")), ("written", root_of(b"written!"))]);
    assert_eq!(removed.iter().map(crate::wire::SharePath::as_str).collect::<Vec<_>>(), ["gone"]);
    assert_eq!(share.counts().0.of(left_out::Reason::Hidden), 0);
}

#[test]
fn the_slow_scan_notices_another_folder_at_the_path() {
    let top = tempfile::tempdir().unwrap();
    write_old(&top.path().join("share/a"), b"one");
    let mut share = scanned_slowly(&top.path().join("share"));
    fs::rename(top.path().join("share"), top.path().join("away")).unwrap();
    scan_slowly(&mut share, |_| {});
    assert_eq!(share.catalog.offered(), 0);
    write_old(&top.path().join("share/b"), b"two");
    scan_slowly(&mut share, |_| {});
    assert!(share.catalog.offered() == 1 && share.catalog.offered_at("b").is_some());
}

#[test]
fn other_scans_run_while_the_slow_one_pauses() {
    let top = tempfile::tempdir().unwrap();
    for n in 0..4000 {
        fs::create_dir_all(top.path().join(format!("{}", n % 40))).unwrap();
        File::create(top.path().join(format!("{}/{n}", n % 40))).unwrap();
    }
    let mut share = scanned_slowly(top.path());
    while share.catalog.take_changes(1000).is_some() {}
    let mut round = 0;
    let slices = scan_slowly(&mut share, |share| {
        let mut buffer = Vec::new();
        if round < 40 {
            share.look_again(&(0, format!("{round}")), std::time::Instant::now());
            round += 1;
        }
        while share.has_work() && !share.is_looking() {
            share.slice(&mut buffer);
        }
        assert_eq!(share.catalog.take_changes(1000), None);
    });
    assert!(slices > 2, "it has paused");
    assert_eq!(share.catalog.offered(), 4000);
}
