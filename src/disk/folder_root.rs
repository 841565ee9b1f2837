//! The root of a folder as a collection, without a share and without a worker. It hashes every file
//! that would be shared. It writes nothing, and does not watch for changes.

use std::path::Path;

use super::catalog::Catalog;
use super::folder::Stamp;
use super::hash::FileHash;
use super::options::ShareFolder;
use super::scan::Scan;
use super::tree::{Tree, Trees};
use crate::error::{Exit, Failure};
use crate::wire::SharePath;
use crate::wire::collection::{Item, Writer};
use crate::wire::ids::Root;
use crate::wire::name::printable;

/// How many paths are read from the catalog at once.
const FILES_PER_PAGE: usize = 1024;

/// A folder as a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderContent {
    /// The root of the collection.
    pub root: Root,
    /// How many files it lists.
    pub files: u64,
    /// What the collection leaves out, in words; empty if nothing is left out.
    pub left_out: String,
}

/// The collection of a folder. It is the one that `sprat uri` would make of a share with that
/// folder.
///
/// # Errors
///
/// [`Exit::Disk`] if the folder or a file of it cannot be read, or changes while it is read.
pub fn collection_of(path: &Path) -> Result<FolderContent, Failure> {
    let failed = |below: &str, why: &dyn std::fmt::Display| {
        let shown = printable(&path.join(below).to_string_lossy());
        Failure::new(Exit::Disk, format!("cannot read {shown}: {why}"))
    };
    let folder = ShareFolder { name: None, path: path.to_owned() };
    let mut trees = Trees::open(&[folder])?;
    let [tree] = &mut trees.0[..] else { return Err(failed("", &"it is no folder")) };
    let mut catalog = Catalog::default();
    let mut scan = Scan::new(0, "");
    while !scan.slice(tree, &mut catalog) {}
    if let Some(folder) = scan.unreadable.first().or(scan.unruled.first().map(|(folder, _)| folder)) {
        return Err(failed(folder, &"it is not permitted"));
    }
    let (mut hasher, mut writer, mut record) = (blake3::Hasher::new(), Writer::default(), Vec::new());
    let (mut files, mut buffer, mut after) = (0, Vec::new(), None);
    loop {
        let page = catalog.listed_below("", after.as_deref(), FILES_PER_PAGE);
        let Some((last, ..)) = page.last() else { break };
        after = Some(last.to_string());
        for (path, stamp, _) in &page {
            // No record can have such a path, so the file is never offered.
            let Some(place) = SharePath::new(path) else { continue };
            let item = item(tree, place, *stamp, &mut buffer).map_err(|why| failed(path, &why))?;
            record.clear();
            writer.add(&item, &mut record).map_err(|error| failed(path, &error))?;
            hasher.update(&record);
            files += 1;
        }
    }
    record.clear();
    writer.begin(&mut record);
    hasher.update(&record);
    let left_out = tree.left_out.counts().words().into_iter().filter(|words| !words.is_empty());
    let left_out = left_out.collect::<Vec<_>>().join(", ");
    Ok(FolderContent { root: Root(*hasher.finalize().as_bytes()), files, left_out })
}

/// A file of the folder.
fn item(tree: &Tree, path: SharePath, stamp: Stamp, buffer: &mut Vec<u8>) -> Result<Item, String> {
    const CHANGED: &str = "it has changed while it was read";
    let (file, opened) = tree.folder.open_file(path.as_str()).map_err(|error| error.to_string())?;
    let digest = FileHash::complete(stamp.size, &file, buffer).map_err(|error| error.to_string())?;
    let (now, executable) = tree.folder.examine(path.as_str()).ok_or(CHANGED)?;
    if opened != stamp || now != stamp {
        return Err(CHANGED.to_owned());
    }
    Ok(Item { path, size: stamp.size, root: digest.root, executable })
}
