//! The small files of a command: they are looked for, written, and published together.

use super::durable::SYNCED;
use super::unpacking::Unpacking;
use super::*;
use crate::config::COLLECTION_GROWN_MAX;
use crate::proto::disk::{CollectionDone, CollectionStep, Listed, Missing, Unplaced};
use crate::wire::SharePath;
use crate::wire::collection::Item;

fn item(path: &str, content: &[u8]) -> Item {
    let path = SharePath::new(path).unwrap();
    Item { path, size: content.len() as u64, root: root_of(content), executable: false }
}

/// The path of a file below this many folders, each in the one before it.
fn deep(folders: usize) -> String {
    "d/".repeat(folders) + "f"
}

/// How many files and folders below this folder, and this folder itself, the process has open.
fn open_in(folder: &Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    open.filter(|path| path.starts_with(folder)).count()
}

/// Does the complete page that was ordered, which may take several slices.
fn page(unpacking: &mut Unpacking) -> Listed {
    std::iter::repeat_with(|| unpacking.slice(None, &mut Vec::new())).flatten().next().unwrap().unwrap()
}

/// The top folder, the hidden folder, and the folder of the last item.
const OPEN_ALWAYS: usize = 3;

impl Rig {
    fn step(&mut self, download: DownloadId, step: CollectionStep, bytes: Option<&[u8]>) {
        self.work_with(DiskWork::Collection { download, step }, bytes.map(<[u8]>::to_vec));
    }

    fn stepped(&mut self) -> CollectionDone {
        match self.next().0 {
            DiskDone::Collection { done, .. } => done,
            other => panic!("{other:?}"),
        }
    }

    fn open_below(&mut self, download: DownloadId, folder: &Path) {
        self.step(download, CollectionStep::OpenBelow { folder: Some(folder.to_owned()) }, None);
        assert_eq!(self.stepped(), CollectionDone::Opened(Ok(folder.to_owned())));
    }

    fn look(&mut self, items: Vec<Item>) -> Listed {
        self.step(GET, CollectionStep::Look { items }, None);
        match self.stepped() {
            CollectionDone::Listed(listed) => listed.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn place(&mut self, file: &Missing, content: &[u8]) {
        self.step(GET, CollectionStep::Place { file: file.clone(), payload: PayloadId(0) }, Some(content));
    }

    /// Waits until this number of files has ended. Returns those that were placed, and those that
    /// were not.
    fn placed(&mut self, count: usize) -> (BTreeMap<u64, PathBuf>, Vec<Unplaced>) {
        let (mut placed, mut unplaced) = (BTreeMap::new(), Vec::new());
        while placed.len() + unplaced.len() < count {
            match self.stepped() {
                CollectionDone::Written(written) => assert_eq!(written, Ok(())),
                CollectionDone::Placed { files, failed, .. } => {
                    placed.extend(files);
                    unplaced.extend(failed);
                }
                other => panic!("{other:?}"),
            }
        }
        (placed, unplaced)
    }

    fn close_small(&mut self, download: DownloadId) {
        self.step(download, CollectionStep::Close { complete: true }, None);
        assert_eq!(self.stepped(), CollectionDone::Closed);
    }
}

#[test]
fn small_files_are_placed_and_displace_nothing() {
    let mut rig = Rig::with(&[("shared", b"in the share")]);
    let out = tempfile::tempdir().unwrap();
    let path = |path: &str| out.path().join(path);
    fs::create_dir_all(path("folder")).unwrap();
    fs::write(path("there"), "there").unwrap();
    fs::write(path("taken"), "other").unwrap();
    rig.open_below(GET, out.path());
    let items = [
        ("a/new", &b"new"[..]),
        ("a/b/late", b"late"),
        ("there", b"there"),
        ("taken", b"wants"),
        ("folder", b"in the way"),
        ("empty", b""),
        ("copied", b"in the share"),
    ];
    let listed = rig.look(items.iter().map(|(path, content)| item(path, content)).collect());
    let missing: Vec<_> = listed.missing.iter().map(|file| (file.number, file.full.clone())).collect();
    assert_eq!(missing, [(1, path("a/new")), (2, path("a/b/late"))]);
    assert_eq!((listed.there, listed.copied), (vec![(3, path("there"))], 2));
    let failed: Vec<_> = listed.failed.iter().map(|unplaced| (unplaced.number, unplaced.failure.kind)).collect();
    assert_eq!(failed, [(4, DiskFailureKind::Taken), (5, DiskFailureKind::Taken)]);

    // In the meantime another file gets the name.
    fs::write(path("a/b/late"), "mine").unwrap();
    rig.place(&listed.missing[0], b"new");
    rig.place(&listed.missing[1], b"late");
    let (placed, unplaced) = rig.placed(4);
    assert_eq!(placed, BTreeMap::from([(1, path("a/new")), (6, path("empty")), (7, path("copied"))]));
    assert!(unplaced.len() == 1 && unplaced[0].number == 2, "{unplaced:?}");
    for (name, content) in
        [("a/new", "new"), ("a/b/late", "mine"), ("taken", "other"), ("empty", ""), ("copied", "in the share")]
    {
        assert_eq!(fs::read_to_string(path(name)).unwrap(), content, "{name}");
    }
    // Numbers continue.
    let listed = rig.look(vec![item("more", b"more")]);
    assert_eq!(listed.missing[0].number, 8);
    rig.close_small(GET);
    assert_eq!(names(out.path()), ["a", "copied", "empty", "folder", "taken", "there"]);
}

#[test]
fn what_is_in_the_way_of_a_folder_is_to_be_moved_away() {
    let mut rig = Rig::empty();
    let out = tempfile::tempdir().unwrap();
    fs::write(out.path().join("a"), "").unwrap();
    std::os::unix::fs::symlink("/", out.path().join("b")).unwrap();
    rig.open_below(GET, out.path());
    let listed = rig.look(vec![item("a/x", b"x"), item("b/x", b"x")]);
    assert_eq!(listed.failed.len(), 2);
    for Unplaced { failure, .. } in listed.failed {
        assert!(failure.message.contains("move it away"), "{}", failure.message);
    }
}

#[test]
fn commands_do_not_meet_and_what_a_crash_left_goes() {
    let mut rig = Rig::empty();
    let out = tempfile::tempdir().unwrap();
    let left = out.path().join(".sprat-files-0/0");
    fs::create_dir(left.parent().unwrap()).unwrap();
    fs::write(&left, "of a run that ended").unwrap();
    let other = DownloadId(2);
    rig.open_below(GET, out.path());
    rig.open_below(other, out.path());
    assert_eq!(names(out.path()), [".sprat-files-0", ".sprat-files-1"]);
    let listed = rig.look(vec![item("x", b"new")]);
    rig.place(&listed.missing[0], b"new");
    assert_eq!(rig.placed(1).0.len(), 1);
    rig.close_small(other);
    rig.close_small(GET);
    assert_eq!(names(out.path()), ["x"]);
    assert_eq!(fs::read(out.path().join("x")).unwrap(), b"new");
}

#[test]
fn placed_files_of_a_share_are_offered() {
    let mut rig = Rig::empty();
    let share = fs::canonicalize(rig.share.path()).unwrap();
    rig.open_below(GET, &share);
    let listed = rig.look(vec![item("d/x", b"new")]);
    rig.place(&listed.missing[0], b"new");
    assert_eq!(rig.placed(1).0.len(), 1);
    rig.close_small(GET);
    rig.until(|offered| offered.contains_key("d/x"));
    assert_eq!(rig.root("d/x"), Some(root_of(b"new")));
}

#[test]
fn of_many_new_folders_few_are_open_and_the_parent_of_each_is_synced() {
    let folders = 3 * COLLECTION_GROWN_MAX + 9;
    let top = tempfile::tempdir().unwrap();
    let out = fs::canonicalize(top.path()).unwrap();
    let mut unpacking = Unpacking::open_below(GET, Some(&out), None).unwrap();
    SYNCED.take();
    unpacking.look(vec![item(&deep(folders), b"x")]);
    let listed = page(&mut unpacking);
    assert_eq!(listed.missing[0].full, out.join(deep(folders)));
    let open = open_in(&out);
    assert!((OPEN_ALWAYS + 1..OPEN_ALWAYS + COLLECTION_GROWN_MAX).contains(&open), "{open} are open");
    unpacking.sync_grown();
    assert_eq!(open_in(&out), OPEN_ALWAYS);
    // Either the file system was synced once for every `COLLECTION_GROWN_MAX` folders, or the
    // parent of each new folder was synced.
    let synced = SYNCED.take();
    let parents = (0..folders).map(|n| fs::metadata(out.join("d/".repeat(n))).unwrap().ino());
    let each = || parents.clone().all(|parent| synced.contains(&Some(parent)));
    let together = synced.iter().filter(|synced| synced.is_none()).count();
    assert!(together == folders.div_ceil(COLLECTION_GROWN_MAX) || each(), "{synced:?}");
}

#[test]
fn the_parent_of_a_single_new_folder_is_synced_by_itself() {
    let top = tempfile::tempdir().unwrap();
    let mut unpacking = Unpacking::open_below(GET, Some(top.path()), None).unwrap();
    SYNCED.take();
    unpacking.look(vec![item("d/one", b"x"), item("d/two", b"x")]);
    page(&mut unpacking);
    unpacking.sync_grown();
    assert_eq!(SYNCED.take(), [Some(fs::metadata(top.path()).unwrap().ino())]);
}

#[test]
fn a_page_is_reported_once_its_new_folders_are_synced() {
    let mut rig = Rig::empty();
    let top = tempfile::tempdir().unwrap();
    let out = fs::canonicalize(top.path()).unwrap();
    rig.open_below(GET, &out);
    let listed = rig.look(vec![item(&deep(9), b"x")]);
    assert_eq!((listed.missing.len(), open_in(&out)), (1, OPEN_ALWAYS));
    rig.close_small(GET);
}
