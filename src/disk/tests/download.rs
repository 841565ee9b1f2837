//! Pieces are written, and files are published.

use super::*;

#[test]
fn a_download_is_published_and_offered_at_once() {
    let bytes = content(9, 2 * MIB + 7);
    let mut rig = Rig::empty();
    assert_eq!(rig.resumed(&bytes), (None, vec![]));
    rig.prepare(GET, bytes.len() as u64, cvs_of(&bytes));
    for piece in [2, 0, 1] {
        assert!(!rig.path("big").exists());
        rig.write(&bytes, piece).unwrap();
    }
    assert_eq!(rig.publish(), Ok(rig.share.path().canonicalize().unwrap().join("big")));
    assert_eq!(rig.root("big"), Some(root_of(&bytes)), "offered before the download is over");
    assert!(fs::read(rig.path("big")).unwrap() == bytes);
    assert_eq!(names(rig.share.path()), ["big"]);
    // The watcher reports the rename. When a later file is offered, this report was handled and has
    // withdrawn nothing.
    fs::write(rig.path("later"), "x").unwrap();
    rig.until(|offered| offered.contains_key("later"));
    assert_eq!(rig.ever.iter().filter(|(path, _)| path == "big").count(), 1);
    assert_eq!(rig.manifest(root_of(&bytes), 0).unwrap().1.len(), 96);
}

#[test]
fn an_incomplete_download_is_not_published() {
    let bytes = content(9, 2 * MIB);
    let mut rig = Rig::empty();
    rig.resumed(&bytes);
    rig.write(&bytes, 1).unwrap();
    assert_eq!(rig.publish(), Err(DiskFailureKind::Io));
    assert!(!rig.path("big").exists());
}

#[test]
fn small_and_empty_contents_are_published() {
    let mut rig = Rig::empty();
    rig.open(in_share("../small"), b"tiny").unwrap();
    rig.write(b"tiny", 0).unwrap();
    assert!(rig.publish().unwrap().ends_with("_._small"));
    rig.open(in_share("void"), b"").unwrap();
    rig.publish().unwrap();
    assert_eq!(rig.root("void"), Some(root_of(b"")));
    assert_eq!(fs::read(rig.path("_._small")).unwrap(), b"tiny");
}

#[test]
fn a_resume_finds_what_is_right() {
    let bytes = content(10, 4 * MIB + 9);
    let mut rig = Rig::empty();
    rig.begin(&bytes, &[4, 0, 2, 3]);
    rig = rig.restart();
    assert_eq!(rig.resumed(&bytes), (Some(cvs_of(&bytes)), vec![0, 2, 3, 4]));
    rig.write(&bytes, 1).unwrap();
    rig.publish().unwrap();
    assert!(fs::read(rig.path("big")).unwrap() == bytes);
    assert_eq!(rig.root("big"), Some(root_of(&bytes)));
}

#[test]
fn a_claim_over_wrong_bytes_is_not_believed() {
    let bytes = content(11, 3 * MIB);
    let mut rig = Rig::empty();
    rig.begin(&bytes, &[0, 1, 2]);
    let part = File::options().write(true).open(rig.path(".big.part")).unwrap();
    part.write_all_at(b"wrong", MIB as u64 + 3).unwrap();
    part.set_len(3 * MIB as u64 - 1).unwrap();
    assert_eq!(rig.resumed(&bytes).1, [0]);
    rig.write(&bytes, 1).unwrap();
    rig.write(&bytes, 2).unwrap();
    rig.publish().unwrap();
    assert!(fs::read(rig.path("big")).unwrap() == bytes);
}

/// A download whose part file another process changes before the last piece is written, or after
/// it. The state of the file changes for certain, whatever the tick of its clock is.
fn changed_by_another(
    bytes: &[u8],
    before_last: bool,
    change: impl Fn(&File),
) -> (Rig, Result<PathBuf, DiskFailureKind>) {
    let mut rig = Rig::empty();
    rig.resumed(bytes);
    rig.prepare(GET, bytes.len() as u64, cvs_of(bytes));
    rig.write(bytes, 0).unwrap();
    let change = |rig: &Rig| {
        let part = File::options().write(true).open(rig.path(".big.part")).unwrap();
        change(&part);
        part.set_modified(std::time::UNIX_EPOCH).unwrap();
    };
    if before_last {
        change(&rig);
    }
    rig.write(bytes, 1).unwrap();
    if !before_last {
        change(&rig);
    }
    let result = rig.publish();
    (rig, result)
}

#[test]
fn what_another_process_writes_into_a_part_file_is_not_published() {
    let bytes = content(40, 2 * MIB);
    let overwrite = |part: &File| part.write_all_at(b"EVIL", 100).unwrap();
    let truncate = |part: &File| part.set_len(1000).unwrap();
    let cases = [(true, overwrite as fn(&File)), (true, truncate), (false, overwrite)];
    for (before_last, change) in cases {
        let (mut rig, result) = changed_by_another(&bytes, before_last, change);
        assert_eq!(result, Err(DiskFailureKind::Io));
        assert_eq!(names(rig.share.path()), [".big.part", ".big.part.map"]);
        // The next run finds which piece is wrong.
        assert_eq!(rig.resumed(&bytes).1, [1]);
        rig.write(&bytes, 0).unwrap();
        rig.publish().unwrap();
        assert!(fs::read(rig.path("big")).unwrap() == bytes);
    }
}

#[test]
fn a_part_file_that_still_has_the_content_is_published_although_its_state_has_changed() {
    let bytes = content(41, 2 * MIB);
    for before_last in [true, false] {
        let (rig, result) = changed_by_another(&bytes, before_last, |_| {});
        result.unwrap();
        assert!(fs::read(rig.path("big")).unwrap() == bytes);
    }
}

#[test]
fn a_torn_map_costs_only_what_was_torn() {
    let bytes = content(12, 3 * MIB);
    let mut rig = Rig::empty();
    rig.begin(&bytes, &[0, 1, 2]);
    let map = rig.path(".big.part.map");
    let whole = fs::read(&map).unwrap();
    fs::write(&map, &whole[..whole.len() - 5]).unwrap();
    assert_eq!(rig.resumed(&bytes), (Some(cvs_of(&bytes)), vec![0, 1]));
    rig.write(&bytes, 2).unwrap();
    rig.work(DiskWork::Abandon { download: GET });
    assert_eq!(rig.resumed(&bytes).1, [0, 1, 2]);
    rig.work(DiskWork::Abandon { download: GET });
    fs::write(&map, &whole[..70]).unwrap();
    assert_eq!(rig.resumed(&bytes), (None, vec![]));
    rig.work(DiskWork::Abandon { download: GET });
    fs::write(&map, b"garbage").unwrap();
    assert_eq!(rig.resumed(&bytes), (None, vec![]));
}

#[test]
fn the_part_file_of_another_content_is_emptied() {
    let (old, new) = (content(13, 3 * MIB), content(14, 2 * MIB + 1));
    let mut rig = Rig::empty();
    rig.begin(&old, &[0, 1]);
    // A place that the user has chosen.
    let chosen = Destination::Path { path: rig.path("big"), name: String::new() };
    let Ok(PartState::Open { manifest, verified, .. }) = rig.open(chosen, &new) else { panic!() };
    assert_eq!((manifest, verified), (None, vec![]));
    assert_eq!(fs::metadata(rig.path(".big.part")).unwrap().len(), 0);
    (0..3).for_each(|piece| rig.write(&new, piece).unwrap());
    rig.publish().unwrap();
    assert!(fs::read(rig.path("big")).unwrap() == new);
}

#[test]
fn nothing_of_an_earlier_run_is_touched_before_the_size_is_proven() {
    let (ours, other) = (content(13, 3 * MIB), content(14, 2 * MIB));
    let mut rig = Rig::empty();
    rig.begin(&ours, &[0, 1]);
    // Another content, and this content with a false size.
    for (root, sizes) in [(root_of(&other), vec![2 * MIB as u64]), (root_of(&ours), vec![1 << 40])] {
        rig.work(DiskWork::OpenPart { download: GET, destination: in_share("big"), root, sizes });
        let opened = rig.next().0;
        assert!(matches!(opened, DiskDone::PartOpened { result: Ok(PartState::Open { .. }), .. }), "{opened:?}");
        rig.work(DiskWork::Abandon { download: GET });
    }
    assert_eq!(rig.resumed(&ours), (Some(cvs_of(&ours)), vec![0, 1]));
}

#[test]
fn a_destination_is_hashed_if_its_size_is_claimed_or_none_is_known() {
    let bytes = content(17, MIB + 1);
    let mut rig = Rig::empty();
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("same");
    fs::write(&path, &bytes).unwrap();
    let destination = Destination::Path { path: path.clone(), name: "x".to_owned() };
    for (sizes, there) in [(vec![7, bytes.len() as u64], true), (vec![], true), (vec![7], false)] {
        let root = root_of(&bytes);
        rig.work(DiskWork::OpenPart { download: GET, destination: destination.clone(), root, sizes });
        let DiskDone::PartOpened { result, .. } = rig.next().0 else { panic!() };
        let size = bytes.len() as u64;
        assert_eq!(result.is_ok_and(|state| state == PartState::AlreadyThere { path: path.clone(), size }), there);
    }
}

#[test]
fn a_part_that_is_in_use_is_locked() {
    let bytes = content(15, 2 * MIB);
    let mut rig = Rig::empty();
    rig.resumed(&bytes);
    rig.write(&bytes, 0).unwrap();
    let chosen = Destination::Path { path: rig.path("big"), name: "x".to_owned() };
    assert_eq!(rig.open_as(DownloadId(2), chosen, b"another"), Err(DiskFailureKind::Locked));
    let Ok(PartState::Open { path, .. }) = rig.open_as(DownloadId(2), in_share("big"), b"another") else { panic!() };
    assert!(path.ends_with(apart("big", b"another", "")), "{path:?}");
    rig.work(DiskWork::Abandon { download: DownloadId(2) });
    rig.write(&bytes, 1).unwrap();
    rig.publish().unwrap();
}

/// `STEM (first 8 digits of the root)EXTENSION`
fn apart(stem: &str, bytes: &[u8], extension: &str) -> String {
    format!("{stem} ({:.8}){extension}", root_of(bytes).to_string())
}

#[test]
fn a_name_that_another_content_has_gets_the_start_of_the_root() {
    let bytes = content(40, 2 * MIB);
    let mut rig = Rig::empty();
    for (name, stem, extension) in [("a.flac", "a", ".flac"), ("b", "b", "")] {
        fs::write(rig.path(name), "another").unwrap();
        let other = apart(stem, &bytes, extension);
        let Ok(PartState::Open { path, .. }) = rig.open(in_share(name), &bytes) else { panic!("{name}") };
        assert!(path.ends_with(&other), "{path:?}");
        rig.work(DiskWork::PreparePart { download: GET, size: bytes.len() as u64, cvs: cvs_of(&bytes), edge: None });
        rig.write(&bytes, 0).unwrap();
        rig.write(&bytes, 1).unwrap();
        rig.publish().unwrap();
        assert!(fs::read(rig.path(&other)).unwrap() == bytes);
        assert_eq!(fs::read(rig.path(name)).unwrap(), b"another");
        let size = bytes.len() as u64;
        assert_eq!(rig.open(in_share(name), &bytes), Ok(PartState::AlreadyThere { path, size }));
    }
}

#[test]
fn a_file_of_a_command_gives_way_unless_its_place_was_chosen() {
    let mut rig = Rig::empty();
    fs::create_dir(rig.path("d")).unwrap();
    for path in ["a.txt", "d/a.txt"] {
        fs::write(rig.path(path), "another").unwrap();
    }
    let bytes = b"content";
    let to = |folder: Option<&Path>, path: &str| Destination::Below {
        folder: folder.map(Path::to_owned),
        path: path.to_owned(),
    };
    let share = rig.share.path().to_owned();
    assert_eq!(rig.open(to(Some(&share), "a.txt"), bytes), Err(DiskFailureKind::Taken));
    assert_eq!(rig.open(to(None, "d/a.txt"), bytes), Err(DiskFailureKind::Taken), "the place in its folder");
    let Ok(PartState::Open { path, .. }) = rig.open(to(None, "a.txt"), bytes) else { panic!("it gives way") };
    assert!(path.ends_with(apart("a", bytes, ".txt")), "{path:?}");
}

#[test]
fn a_part_file_that_was_removed_is_noticed_at_the_next_piece() {
    let bytes = content(41, 2 * MIB);
    let mut rig = Rig::empty();
    rig.open(in_share("x"), &bytes).unwrap();
    rig.prepare(GET, bytes.len() as u64, cvs_of(&bytes));
    rig.write(&bytes, 0).unwrap();
    fs::remove_file(rig.path(".x.part")).unwrap();
    let work = DiskWork::WritePiece { download: GET, piece: 1, payload: PayloadId(0), md5: None, proven: true };
    rig.work_with(work, Some(bytes[MIB..].to_vec()));
    let DiskDone::PieceWritten { result: Err(failure), .. } = rig.next().0 else { panic!("it fails") };
    assert!(failure.message.contains("removed its part file"), "{}", failure.message);
}

#[test]
fn a_content_that_the_share_has_under_another_name_is_copied() {
    for length in [1, MIB, 5 * MIB + 7] {
        let bytes = content(42, length);
        let mut rig = Rig::with(&[("sub/one name", &bytes)]);
        let Ok(PartState::Open { size, verified, .. }) = rig.open(in_share("another"), &bytes) else { panic!() };
        let pieces = u32::try_from(length.div_ceil(MIB)).unwrap();
        assert_eq!((size, verified), (Some(length as u64), (0..pieces).collect()));
        let path = rig.publish().unwrap();
        assert!(fs::read(path).unwrap() == bytes);
    }
}

#[test]
fn pieces_that_are_there_stay_when_the_others_are_copied() {
    let bytes = content(43, 3 * MIB);
    let mut rig = Rig::empty();
    rig.begin(&bytes, &[1]);
    write_old(&rig.path("one name"), &bytes);
    rig.until(|offered| offered.len() == 1);
    assert_eq!(rig.resumed(&bytes), (Some(cvs_of(&bytes)), vec![0, 1, 2]));
}

#[test]
fn a_file_that_has_changed_since_it_was_hashed_is_not_copied() {
    let bytes = content(44, 2 * MIB);
    let mut rig = Rig::with(&[("one name", &bytes)]);
    fs::write(rig.path("one name"), content(45, 2 * MIB)).unwrap();
    let Ok(PartState::Open { verified, .. }) = rig.open(in_share("another"), &bytes) else { panic!() };
    assert!(verified.is_empty());
}

#[test]
fn parts_that_no_download_uses_are_counted_and_removed() {
    let bytes = content(41, 2 * MIB);
    let mut rig = Rig::empty();
    fs::create_dir(rig.path("sub")).unwrap();
    for (download, name) in [(1, "used"), (2, "kept"), (3, "sub/left")] {
        let download = DownloadId(download);
        let place = Destination::Path { path: rig.path(name), name: String::new() };
        rig.open_as(download, place, &bytes).unwrap();
        let first = bytes[..MIB].to_vec();
        rig.write_as(download, 0, true, first).unwrap();
        if download != DownloadId(1) {
            rig.work(DiskWork::Abandon { download });
        }
    }
    // A file of another program.
    fs::write(rig.path(".foreign.part"), "x").unwrap();
    fs::write(rig.path(".foreign.part.map"), "y").unwrap();
    for (remove, expected) in [(false, 1), (true, 1), (true, 0)] {
        let keep = vec![fs::canonicalize(rig.share.path()).unwrap().join("kept"), rig.path("kept")];
        let (client, folders, spare) = (None, Vec::new(), false);
        rig.work(DiskWork::LookForParts { client, folders, keep, spare, remove });
        let DiskDone::PartsFound { result: Ok(parts), .. } = rig.next().0 else { panic!() };
        assert_eq!((parts.files, parts.bytes >= MIB as u64), (expected, expected > 0), "{parts:?}");
    }
    let left = [".foreign.part", ".foreign.part.map", ".kept.part", ".kept.part.map", ".used.part", ".used.part.map"];
    assert_eq!(names(rig.share.path()), [&left[..], &["sub"]].concat());
    assert!(names(&rig.path("sub")).is_empty());
}

#[test]
fn hidden_folders_that_no_download_uses_are_counted_and_removed() {
    let mut rig = Rig::empty();
    let folders = [".sprat-0123456789abcdef", ".sprat-files-0", ".sprat-files-1", ".sprat-files-x", ".sprat-01"];
    for name in folders {
        fs::create_dir(rig.path(name)).unwrap();
        fs::write(rig.path(name).join("content"), "x").unwrap();
    }
    let used = File::open(rig.path(".sprat-files-1")).unwrap();
    rustix::fs::flock(&used, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    for (remove, expected) in [(false, 2), (true, 2), (true, 0)] {
        let (client, folders, keep, spare) = (None, Vec::new(), Vec::new(), false);
        rig.work(DiskWork::LookForParts { client, folders, keep, spare, remove });
        let DiskDone::PartsFound { result: Ok(parts), .. } = rig.next().0 else { panic!() };
        assert_eq!(parts.files, expected);
    }
    assert_eq!(names(rig.share.path()), [".sprat-01", ".sprat-files-1", ".sprat-files-x"]);
}

#[test]
fn a_download_fails_whose_folder_is_no_longer_at_its_path() {
    let bytes = content(46, MIB);
    let mut rig = Rig::empty();
    fs::create_dir(rig.path("sub")).unwrap();
    let place = Destination::Path { path: rig.path("sub/x"), name: String::new() };
    rig.open_as(GET, place, &bytes).unwrap();
    rig.write(&bytes, 0).unwrap();
    fs::rename(rig.path("sub"), rig.path("away")).unwrap();
    assert_eq!(rig.publish(), Err(DiskFailureKind::Io));
    assert_eq!(fs::read(rig.path("away/x")).unwrap(), bytes);
}

#[test]
fn what_does_not_fit_on_the_disk_is_refused_with_both_figures() {
    let mut rig = Rig::empty();
    let (root, sizes) = (Root([7; 32]), vec![1 << 60, 1 << 61]);
    rig.work(DiskWork::OpenPart { download: GET, destination: in_share("x"), root, sizes });
    let DiskDone::PartOpened { result: Err(failure), .. } = rig.next().0 else { panic!() };
    assert_eq!(failure.kind, DiskFailureKind::Full);
    assert!(failure.message.contains("1099511627776.0 MiB are needed"), "{}", failure.message);
    assert!(failure.message.contains("are free"), "{}", failure.message);
    assert_eq!(names(rig.share.path()), [""; 0]);
}

#[test]
fn an_abandoned_part_without_a_piece_leaves_nothing() {
    let mut rig = Rig::empty();
    rig.resumed(&content(16, 2 * MIB));
    rig.work(DiskWork::Abandon { download: GET });
    rig.work(DiskWork::ReadManifest { conn: CONN, from: FROM, req: 8, root: Root([0; 32]), first: 0 });
    rig.next();
    assert_eq!(names(rig.share.path()), [""; 0]);
}

#[test]
fn what_is_at_the_destination_is_never_touched() {
    let bytes = content(17, MIB + 1);
    let mut rig = Rig::empty();
    let elsewhere = tempfile::tempdir().unwrap();
    let to = |name: &str| Destination::Path { path: elsewhere.path().join(name), name: "x".to_owned() };
    fs::write(elsewhere.path().join("same"), &bytes).unwrap();
    fs::write(elsewhere.path().join("other"), content(18, MIB + 1)).unwrap();
    fs::write(elsewhere.path().join("longer"), content(18, MIB + 2)).unwrap();
    symlink(elsewhere.path().join("same"), elsewhere.path().join("link")).unwrap();
    fs::create_dir_all(elsewhere.path().join("folder/x")).unwrap();
    let there = PartState::AlreadyThere { path: elsewhere.path().join("same"), size: bytes.len() as u64 };
    assert_eq!(rig.open(to("same"), &bytes), Ok(there));
    for name in ["other", "longer", "link", "folder"] {
        assert_eq!(rig.open(to(name), &bytes), Err(DiskFailureKind::Taken), "{name}");
    }
    assert_eq!(rig.open(to("missing/x"), &bytes), Err(DiskFailureKind::Io));
    assert_eq!(names(elsewhere.path()), ["folder", "link", "longer", "other", "same"]);
}

#[test]
fn a_destination_that_appears_during_the_download_is_not_replaced() {
    let bytes = content(19, MIB + 1);
    let elsewhere = tempfile::tempdir().unwrap();
    let mut rig = Rig::empty();
    let path = elsewhere.path().join("x");
    for (theirs, expected) in [(&bytes, Ok(path.clone())), (&content(20, MIB + 1), Err(DiskFailureKind::Taken))] {
        let to = Destination::Path { path: elsewhere.path().to_owned(), name: "x".to_owned() };
        rig.open(to, &bytes).unwrap();
        rig.write(&bytes, 0).unwrap();
        rig.write(&bytes, 1).unwrap();
        fs::write(&path, theirs).unwrap();
        assert_eq!(rig.publish(), expected);
        assert!(fs::read(&path).unwrap() == *theirs);
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(names(elsewhere.path()), [".x.part", ".x.part.map"], "what was fetched is not lost");
}

#[test]
fn without_a_share_only_paths_work() {
    let (mut disk, reports) = Disk::start(DiskOptions::default(), Box::new(|| {})).unwrap();
    let work = |destination| DiskWork::OpenPart { download: GET, destination, root: root_of(b"x"), sizes: vec![1] };
    let folder = tempfile::tempdir().unwrap();
    let path = Destination::Path { path: folder.path().join("x"), name: String::new() };
    disk.submit(Job::Work { work: work(in_share("x")), bytes: None });
    disk.submit(Job::Work { work: work(path), bytes: None });
    disk.hand_over();
    let result = |report| match report {
        Report::Done { done: DiskDone::PartOpened { result, .. }, .. } => result,
        other => panic!("{other:?}"),
    };
    assert!(result(report(&reports)).is_err());
    assert!(result(report(&reports)).is_ok());
}

/// A small disk. None if this user may not mount one.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn of(options: &str) -> Option<SmallDisk> {
        let folder = tempfile::tempdir().unwrap();
        let disk = SmallDisk(folder);
        disk.mount(options).then_some(disk)
    }

    fn mount(&self, options: &str) -> bool {
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(self.0.path())
            .stderr(std::process::Stdio::null())
            .status();
        mount.is_ok_and(|status| status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0.path()).stderr(std::process::Stdio::null()).status();
    }
}

#[test]
fn a_full_disk_is_reported_and_the_download_continues_when_there_is_room() {
    // If nothing can be mounted, /dev/full is used: every write to it fails with ENOSPC.
    let file = File::options().write(true).open("/dev/full").unwrap();
    let error = file.write_all_at(b"x", 0).unwrap_err();
    let folder = tempfile::tempdir().unwrap();
    let to = |folder: &Path| Destination::Path { path: folder.join("x"), name: String::new() };
    let failure = target::Target::find(&to(folder.path()), &root_of(b"x"), None, &mut below::Last::default())
        .unwrap()
        .io_failure(error);
    assert_eq!(failure.kind, DiskFailureKind::Full);
    assert!(failure.message.contains("/x: "), "{}", failure.message);

    let Some(small) = SmallDisk::of("size=1536k") else { return };
    let bytes = content(21, 2 * MIB);
    let mut rig = Rig::empty();
    assert_eq!(rig.open(to(small.0.path()), &bytes), Err(DiskFailureKind::Full), "it does not fit");
    assert!(small.mount("remount,size=3m"));
    rig.open(to(small.0.path()), &bytes).unwrap();
    rig.write(&bytes, 0).unwrap();
    // Another program uses the free space.
    fs::write(small.0.path().join("other"), content(22, MIB + MIB / 2)).unwrap();
    assert_eq!(rig.write(&bytes, 1), Err(DiskFailureKind::Full));
    assert!(small.mount("remount,size=8m"));
    rig.write(&bytes, 1).unwrap();
    rig.publish().unwrap();
    assert!(fs::read(small.0.path().join("x")).unwrap() == bytes);
}

#[test]
fn downloads_go_to_their_own_folder_and_are_offered_only_if_it_is_shared() {
    for shared in [false, true] {
        let mut rig = Rig::with(&[]);
        let folder = if shared { rig.share.path().join("inbox") } else { rig.state.path().join("new/inbox") };
        let mut options = options(rig.share.path(), None);
        options.downloads = Some(folder.clone());
        rig.disk = None;
        let (disk, reports) = Disk::start(options, Box::new(|| {})).unwrap();
        (rig.disk, rig.reports) = (Some(disk), reports);
        let bytes = content(31, 100);
        rig.open(in_share("x"), &bytes).unwrap();
        rig.write(&bytes, 0).unwrap();
        assert_eq!(rig.publish(), Ok(fs::canonicalize(folder).unwrap().join("x")));
        if shared {
            rig.until(|offered| offered.keys().eq(["inbox/x"]));
        }
        write_old(&rig.path("later"), b"later");
        rig.until(|offered| offered.contains_key("later"));
        assert_eq!(rig.offered.len(), 1 + usize::from(shared));
    }
}

#[test]
fn a_download_that_the_rules_leave_out_is_not_offered() {
    let mut rig = Rig::with(&[("first", b"first")]);
    fs::write(rig.path(".spratignore"), "*.tmp\n").unwrap();
    rig.disk = None;
    rig = rig.restart();
    rig.until(|offered| offered.contains_key("first"));
    let bytes = content(32, 100);
    rig.open(in_share("x.tmp"), &bytes).unwrap();
    rig.write(&bytes, 0).unwrap();
    assert_eq!(rig.publish(), Ok(rig.path("x.tmp")));
    write_old(&rig.path("later"), b"later");
    rig.until(|offered| offered.contains_key("later"));
    assert!(rig.ever.iter().all(|(path, _)| path != "x.tmp"));
}

#[test]
fn small_files_that_are_complete_together_are_published_each_with_its_own_result() {
    const FILES: u64 = 50;
    let mut rig = Rig::empty();
    let elsewhere = tempfile::tempdir().unwrap();
    let bytes = |n: u64| content(100 + n, 10_000 + n as usize);
    for n in 0..FILES {
        let destination = match n % 3 {
            0 => Destination::Path { path: elsewhere.path().to_owned(), name: format!("f{n}") },
            _ => in_share(&format!("f{n}")),
        };
        let download = DownloadId(100 + n);
        rig.open_as(download, destination, &bytes(n)).unwrap();
        rig.write_as(download, 0, true, bytes(n)).unwrap();
    }
    // The destination has another content, the same content, or a part file that another process
    // has truncated.
    fs::write(rig.path("f1"), "another").unwrap();
    fs::write(rig.path("f2"), bytes(2)).unwrap();
    File::options().write(true).open(rig.path(".f4.part")).unwrap().set_len(5).unwrap();
    rig.submit(
        (0..FILES).map(|n| Job::Work { work: DiskWork::Publish { download: DownloadId(100 + n) }, bytes: None }),
    );
    let mut results = BTreeMap::new();
    while results.len() < FILES as usize {
        match rig.next().0 {
            DiskDone::Published { download, result } => results.insert(download.0 - 100, result),
            other => panic!("{other:?}"),
        };
    }
    for n in 0..FILES {
        let folder = if n % 3 == 0 { elsewhere.path() } else { rig.share.path() };
        let path = fs::canonicalize(folder).unwrap().join(format!("f{n}"));
        match (n, &results[&n]) {
            (1, Err(failure)) => assert_eq!(failure.kind, DiskFailureKind::Taken),
            (4, Err(failure)) => assert_eq!(failure.kind, DiskFailureKind::Io),
            (_, result) => {
                assert_eq!(fs::canonicalize(result.as_ref().unwrap()).unwrap(), path);
                assert!(fs::read(&path).unwrap() == bytes(n), "{n}");
            }
        }
    }
    assert_eq!(fs::read(rig.path("f1")).unwrap(), b"another");
    let left: Vec<String> = names(rig.share.path()).into_iter().filter(|name| name.starts_with('.')).collect();
    assert_eq!(left, [".f1.part", ".f4.part"]);
    assert!(names(elsewhere.path()).iter().all(|name| !name.starts_with('.')));
    let shared = (0..FILES).filter(|n| n % 3 != 0 && *n != 4).count();
    rig.until(|offered| offered.len() == shared);
}
