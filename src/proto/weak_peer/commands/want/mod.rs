//! The things that a `get` looks for, one after the other. For each thing there are several
//! searches, one after the other, until one of them finds it. It owns the hits of the current
//! search and the files that were found so far. It sends nothing and starts no download.
//!
//! A file is accepted only if it is the one that was named: by its root, by its name or the end of
//! its path (byte for byte, or else folded), by a pattern, or by its folder. If there is no such
//! file, one more search looks for similar names. These are shown but not downloaded.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::answer::{Answer, largest, reservation};
use super::hits::{KnownSources, is_new};
use super::pages::{Page, Pages};
use crate::config::{GET_FILES_MAX, PATTERN_BYTES_MAX, QUERY_HITS_MAX, SOURCES_KNOWN_MAX};
use crate::error::{Exit, Failure};
use crate::fold::folded;
use crate::proto::command::Get;
use crate::proto::weak_peer::batch::{Entry, tell_apart};
use crate::wire::message::SourceRecord;
use crate::wire::name::{quoted, unescaped};
use crate::wire::record::{is_named, name_of};
use crate::wire::{Cut, HostPort, QueryKind, Root, Search, SharePath};

/// How many contents with similar names are shown.
const NEAR_MAX: usize = 20;

/// A search for the current thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The content with this root.
    Root,
    /// If nobody has all of the content: members of its swarm, which may have a part.
    Members,
    /// Files with this name or path.
    Path,
    /// Files that match the pattern, page by page.
    Glob,
    /// Files in the folder, page by page.
    Below,
    /// Files that have words of the name.
    Near,
}

/// A content to download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) root: Root,
    /// A name from one of its sources.
    pub(super) name: String,
}

/// The result of the searches for one thing.
#[derive(Debug)]
pub(super) enum Verdict {
    /// [`Want::search`] must be sent, again or for the first time.
    Again,
    /// Everything was looked for, and one content was named.
    One(Content),
    /// Everything was looked for. These files were found, and the failures name the things that
    /// were not.
    Many(Vec<Entry>, Vec<Failure>),
    /// Everything was looked for, and nothing can be downloaded.
    None(Failure),
}

/// A file that was found for a command of many.
#[derive(Debug)]
struct Item {
    entry: Entry,
    /// The path that a source uses.
    path: SharePath,
    /// How many files were found before it.
    place: usize,
}

/// Files that were found for a command of many.
#[derive(Debug, Default)]
struct Found {
    /// The files by their path below the destination, and then by content. Only the files of
    /// folders have paths with a slash.
    files: BTreeMap<String, BTreeMap<Root, Item>>,
    /// The number of files. Two contents with one path are two files.
    count: usize,
    failures: Vec<Failure>,
}

/// The things that one command looks for, and the search that runs for it.
#[derive(Debug)]
pub(super) struct Want {
    what: String,
    /// Things to look for after the current one.
    also: VecDeque<String>,
    stage: Stage,
    /// The next searches for the current thing, in case they are needed.
    stages: VecDeque<Stage>,
    pages: Option<Pages>,
    from: Option<HostPort>,
    /// The hits of the current search. If it has several pages, these are the hits of all its pages
    /// that count.
    pub(super) hits: Vec<SourceRecord>,
    known: KnownSources,
    /// Whether each search for the current thing was complete, and why not.
    complete: bool,
    cut: Cut,
    /// Whether the command may name more than one file.
    many: bool,
    found: Found,
    /// The files of the current folder by their paths below it, and the path of the folder itself.
    folder: Found,
    top: Option<String>,
    /// Hits to show to the client: similar names, or contents among which it must choose.
    pub(super) shown: Vec<SourceRecord>,
}

impl Want {
    pub(super) fn new(get: &Get) -> Want {
        let mut want = Want {
            what: String::new(),
            also: std::iter::once(&get.what).chain(&get.also).cloned().collect(),
            stage: Stage::Near,
            stages: VecDeque::new(),
            pages: None,
            from: get.from.as_ref().map(HostPort::canonical),
            hits: Vec::new(),
            known: KnownSources::new(),
            complete: true,
            cut: Cut::NONE,
            many: !get.also.is_empty() || is_folder(&get.what),
            found: Found::default(),
            folder: Found::default(),
            top: None,
            shown: Vec::new(),
        };
        want.next_thing();
        want
    }

    /// Goes to the next thing. Returns false if there is none.
    fn next_thing(&mut self) -> bool {
        let Some(what) = self.also.pop_front() else { return false };
        let stages: &[Stage] = match QueryKind::of(&what) {
            _ if is_folder(&what) => &[Stage::Below, Stage::Near],
            QueryKind::Root if self.many => &[Stage::Root, Stage::Near],
            QueryKind::Root => &[Stage::Root, Stage::Members, Stage::Near],
            // A pattern can only fail to match the name that is equal to it if it has a bracket.
            QueryKind::Glob if what.contains('[') => &[Stage::Path, Stage::Glob, Stage::Near],
            QueryKind::Glob => &[Stage::Glob, Stage::Near],
            QueryKind::Words
            | QueryKind::Exact
            | QueryKind::Range
            | QueryKind::Path
            | QueryKind::Below
            | QueryKind::Unknown => &[Stage::Path, Stage::Near],
        };
        self.what = what;
        (self.complete, self.cut) = (true, Cut::NONE);
        self.stages = stages.iter().copied().collect();
        self.next_stage()
    }

    /// Nothing has the current name. If it was copied from a listing that showed it with escapes,
    /// goes on with the name without them.
    fn unescape(&mut self) -> bool {
        let is_last = self.stages.front() == Some(&Stage::Near);
        let Some(what) = unescaped(&self.what).filter(|_| is_last) else { return false };
        self.also.push_front(what);
        self.next_thing()
    }

    fn next_stage(&mut self) -> bool {
        let Some(stage) = self.stages.pop_front() else { return false };
        self.stage = stage;
        self.pages = matches!(stage, Stage::Glob | Stage::Below).then(Pages::new);
        self.hits.clear();
        self.known.clear();
        true
    }

    /// Whether the search is for a root and nothing else. Then the first hit leaves no choice.
    pub(super) fn is_root(&self) -> bool {
        matches!(self.stage, Stage::Root | Stage::Members) && !self.many
    }

    /// The content of a `get` by root, once a source is found for which `is_other` is true.
    pub(super) fn named_by_root(&self, is_other: impl Fn(&SourceRecord) -> bool) -> Option<Content> {
        let root = Root::from_hex(&self.what).filter(|_| self.is_root())?;
        let found = self.hits.iter().find(|record| record.root == root && is_other(record))?;
        Some(Content { root, name: found.path.name().to_owned() })
    }

    // ---- searching ------------------------------------------------------------------------------

    /// The search that must be sent.
    pub(super) fn search(&self) -> Search {
        let what = self.what.as_str();
        let (kind, pattern) = match self.stage {
            Stage::Root | Stage::Members => (QueryKind::Root, what),
            Stage::Path => (QueryKind::Path, end_of(what)),
            Stage::Glob => (QueryKind::Glob, what),
            Stage::Below => (QueryKind::Below, start_of(folder_of(what))),
            Stage::Near => (QueryKind::Words, start_of(name_of(folder_of(what)))),
        };
        let within = self.pages.as_ref().map(|pages| pages.range().to_string().into());
        Search {
            pattern: pattern.to_owned(),
            kind,
            min: None,
            max: None,
            limit: None,
            within,
            partial: self.stage == Stage::Members,
            user: None,
        }
    }

    pub(super) fn on_hits(&mut self, hits: Vec<SourceRecord>) {
        let from = self.from.as_ref();
        let mut hits: Vec<_> = hits.into_iter().filter_map(|record| taken_from(record, from)).collect();
        match &mut self.pages {
            Some(pages) => pages.on_hits(hits),
            None => {
                hits.retain(|record| is_new(&mut self.known, record));
                hits.truncate(QUERY_HITS_MAX - self.hits.len());
                self.hits.append(&mut hits);
            }
        }
    }

    /// Whether the search takes no more hits.
    pub(super) fn has_enough(&self) -> bool {
        self.pages.is_none() && self.hits.len() >= QUERY_HITS_MAX
    }

    /// The super peer was lost: the search, or its current page, starts again.
    pub(super) fn restart(&mut self) {
        match &mut self.pages {
            Some(pages) => pages.on_lost(),
            None => {
                self.hits.clear();
                self.known.clear();
            }
        }
    }

    // ---- choosing -------------------------------------------------------------------------------

    /// The answer to the search, or to its current page, has come.
    pub(super) fn on_done(&mut self, answer: Answer) -> Verdict {
        let mut answer = answer;
        if let Some(pages) = &mut self.pages {
            let Page::Over(page, next) = pages.on_done(answer) else { return Verdict::Again };
            answer = pages.answer();
            if let Stage::Below = self.stage {
                self.take_folder(page);
            } else {
                self.hits.extend(page);
            }
            // A limit on the memory that super peers can make this peer use.
            if self.folder.count.max(self.hits.len()) > GET_FILES_MAX {
                let why = format!("more than {GET_FILES_MAX} files fit {}; name fewer of them", quoted(&self.what));
                (self.folder, self.top) = (Found::default(), None);
                return self.go_on(Some(Failure::new(Exit::Usage, why)));
            }
            if next.is_some() {
                return Verdict::Again;
            }
        }
        self.complete &= answer.complete;
        self.cut = largest(self.cut, answer.cut);
        match self.settle() {
            Settled::Found => {}
            Settled::One(content) => return Verdict::One(content),
            Settled::Not if self.unescape() || self.next_stage() => return Verdict::Again,
            Settled::Not => return self.go_on(None),
            Settled::Again => return Verdict::Again,
            Settled::Fails(failure) => return self.go_on(Some(failure)),
        }
        self.go_on(None)
    }

    /// The super peer refused the search, because the pattern is not valid.
    pub(super) fn on_refused(&mut self, failure: Failure) -> Verdict {
        self.stages.clear();
        self.go_on(Some(failure))
    }

    /// The current thing is finished: goes to the next one, or ends.
    fn go_on(&mut self, failure: Option<Failure>) -> Verdict {
        self.found.failures.extend(failure);
        if self.next_thing() {
            return Verdict::Again;
        }
        let mut failures = std::mem::take(&mut self.found.failures);
        let entries = self.found.take(&mut failures, &mut self.shown);
        if !entries.is_empty() {
            return Verdict::Many(entries, failures);
        }
        let exit = failures.first().map_or(Exit::NotFound, |failure| failure.exit);
        let text: Vec<_> = failures.into_iter().map(|failure| failure.message).collect();
        Verdict::None(Failure::new(exit, text.join("; ")))
    }

    /// Decides what the hits of the current search mean.
    fn settle(&mut self) -> Settled {
        match self.stage {
            Stage::Root | Stage::Members | Stage::Path => self.settle_named(),
            Stage::Glob => self.settle_glob(),
            Stage::Below => self.settle_folder(),
            Stage::Near => self.settle_near(),
        }
    }

    /// The content of the hits that fit best, if these hits have only one content.
    fn settle_named(&mut self) -> Settled {
        let fit = Fit::new(&self.what);
        let best = self.hits.iter().filter_map(|record| fit.rank(record)).min();
        let Some(best) = best else { return Settled::Not };
        self.hits.retain(|record| fit.rank(record) == Some(best));
        let mut contents: BTreeMap<Root, &SourceRecord> = BTreeMap::new();
        self.hits.iter().for_each(|record| {
            contents.entry(record.root).or_insert(record);
        });
        let many = contents.len();
        match contents.pop_first() {
            None => Settled::Not,
            Some(_) if many > 1 => {
                let what = quoted(&self.what);
                let why = format!("{many} different contents fit {what}; name the root, or a longer part of the path");
                self.shown.append(&mut self.hits);
                Settled::Fails(Failure::new(Exit::Usage, why))
            }
            Some((root, record)) => {
                let name = record.path.name().to_owned();
                if self.many {
                    self.hits.iter().for_each(|record| self.found.add(record, &name));
                    return Settled::Found;
                }
                Settled::One(Content { root, name })
            }
        }
    }

    /// Every content whose name or path matches the pattern. If there is only one, it is treated as
    /// if it were named.
    fn settle_glob(&mut self) -> Settled {
        if self.hits.is_empty() {
            return Settled::Not;
        }
        let equal = |record: &SourceRecord| is_named(record.path.as_str(), &self.what);
        if self.hits.iter().any(equal) {
            return self.settle_named();
        }
        if let (false, Some(first)) = (self.many, self.hits.first())
            && self.hits.iter().all(|record| record.root == first.root)
        {
            return Settled::One(Content { root: first.root, name: first.path.name().to_owned() });
        }
        // Of files with one name the first keeps it, and this must not depend on who answers first.
        self.hits.sort_by(|a, b| (a.path.as_str(), a.root).cmp(&(b.path.as_str(), b.root)));
        // Each content gets one name here, even if its sources use several.
        let mut names: BTreeMap<Root, &str> = BTreeMap::new();
        for record in &self.hits {
            let name = names.entry(record.root).or_insert(record.path.name());
            *name = record.path.name().min(name);
        }
        for record in &self.hits {
            self.found.add(record, names.get(&record.root).copied().unwrap_or_default());
        }
        Settled::Found
    }

    /// Takes the files of a page that are below the folder, when folded, with their paths below it.
    fn take_folder(&mut self, page: Vec<SourceRecord>) {
        let folder = folder_of(&self.what);
        let wanted = folded(folder);
        for record in page {
            let Some((above, below)) = split_at(record.path.as_str(), folder.split('/').count()) else { continue };
            let is_exact = self.top.as_deref() == Some(folder);
            if above != folder && (is_exact || folded(above) != wanted) {
                continue;
            }
            // An exact name goes before a folded one.
            if above == folder && !is_exact {
                self.folder = Found::default();
            }
            // A folder that no source names as it was typed gets a name that a source uses.
            if self.top.as_deref().is_none_or(|top| above == folder || above < top) {
                self.top = Some(above.to_owned());
            }
            self.folder.add(&record, below);
        }
    }

    fn settle_folder(&mut self) -> Settled {
        let (Some(top), folder) = (self.top.take(), std::mem::take(&mut self.folder)) else { return Settled::Not };
        let collections =
            folder.files.iter().filter(|(_, contents)| contents.values().any(|item| item.entry.collection));
        let has_files = |path: &&String| {
            let below = format!("{path}/");
            folder.files.range(below.clone()..).next().is_some_and(|(path, _)| path.starts_with(&below))
        };
        // If the files of a collection are found too, the collection is left out, because they
        // would come twice.
        let twice: Vec<String> = collections.map(|(path, _)| path).filter(has_files).cloned().collect();
        for (below, mut contents) in folder.files {
            contents.retain(|_, item| !item.entry.collection || twice.binary_search(&below).is_err());
            let path = format!("{}/{below}", name_of(&top));
            for (root, Item { entry, path: from, .. }) in contents {
                let known = &mut self.found.item(&path, root, &from).entry;
                known.collection |= entry.collection;
                known.sources.extend(entry.sources);
            }
        }
        Settled::Found
    }

    /// Nothing that was named was found: shows similar names. If exactly one folder has a path that
    /// ends in the name, when folded, this folder is accepted.
    fn settle_near(&mut self) -> Settled {
        let what = folder_of(&self.what).to_owned();
        let folders = folders_named(&what, &self.hits);
        if let (true, [only]) = (is_folder(&self.what), folders.as_slice()) {
            self.what = format!("{only}/");
            self.stages = [Stage::Below].into();
            self.next_stage();
            return Settled::Again;
        }
        let how = reservation(self.complete, self.cut);
        let mut why = match &self.from {
            Some(from) => format!("{from} does not offer {}{how}", quoted(&self.what)),
            None => format!("no peer has {}{how}", quoted(&self.what)),
        };
        if !folders.is_empty() {
            let folders: Vec<_> = folders.iter().take(3).map(|folder| quoted(&format!("{folder}/"))).collect();
            why +=
                &format!("; for the files of a folder, name its path with a slash at the end: {}", folders.join(", "));
        } else if !self.hits.is_empty() {
            why += "; what is listed has similar names: name one of these, or its root";
        }
        let mut near: BTreeSet<Root> = BTreeSet::new();
        self.hits.retain(|record| near.contains(&record.root) || near.len() < NEAR_MAX && near.insert(record.root));
        self.shown.append(&mut self.hits);
        Settled::Fails(Failure::new(Exit::NotFound, why))
    }
}

/// What the hits of one search mean.
enum Settled {
    /// They were added to the files that were found.
    Found,
    /// They have one content, and nothing else was requested.
    One(Content),
    /// They do not fit.
    Not,
    /// Another search must be sent.
    Again,
    Fails(Failure),
}

impl Found {
    /// The file with this path below the destination and this content.
    fn item(&mut self, path: &str, root: Root, from: &SharePath) -> &mut Item {
        let contents = self.files.entry(path.to_owned()).or_default();
        contents.entry(root).or_insert_with(|| {
            self.count += 1;
            Item { entry: Entry::new(path, root), path: from.clone(), place: self.count }
        })
    }

    fn add(&mut self, record: &SourceRecord, path: &str) {
        let entry = &mut self.item(path, record.root, &record.path).entry;
        entry.collection |= record.collection;
        if entry.sources.len() < SOURCES_KNOWN_MAX {
            entry.sources.push((record.into(), record.size));
        }
    }

    /// Moves out the files. Several contents with the same name each get a name of their own. If a
    /// file of a folder has several contents, they are shown instead.
    fn take(&mut self, failures: &mut Vec<Failure>, shown: &mut Vec<SourceRecord>) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (path, contents) in std::mem::take(&mut self.files) {
            if contents.len() == 1 || !path.contains('/') {
                let mut items: Vec<Item> = contents.into_values().collect();
                items.sort_by_key(|item| item.place);
                entries.extend(items.into_iter().map(|item| item.entry));
                continue;
            }
            let why = format!("{} different contents have the path {path:?}; name the root", contents.len());
            failures.push(Failure::new(Exit::Usage, why));
            shown.extend(contents.into_values().flat_map(|item| item.entry.into_records(&item.path)));
        }
        tell_apart(&mut entries);
        entries
    }
}

/// How well a hit fits a name.
struct Fit<'w> {
    what: &'w str,
    root: Option<Root>,
    folded: String,
}

impl Fit<'_> {
    fn new(what: &str) -> Fit<'_> {
        Fit { what, root: Root::from_hex(what), folded: folded(what) }
    }

    /// How well the hit fits: 0 is best, none means not at all. A complete path is better than the
    /// end of a path.
    fn rank(&self, record: &SourceRecord) -> Option<u8> {
        let path = record.path.as_str();
        let complete = |path: &str, what: &str| what.contains('/') && path == what;
        if self.root == Some(record.root) || complete(path, self.what) {
            return Some(0);
        }
        if is_named(path, self.what) {
            return Some(1);
        }
        let path = folded(path);
        if complete(&path, &self.folded) {
            return Some(2);
        }
        is_named(&path, &self.folded).then_some(3)
    }
}

/// Whether the text names a folder.
fn is_folder(what: &str) -> bool {
    what.ends_with('/')
}

/// The first `components` components of a path, and the rest; none if there is no rest.
fn split_at(path: &str, components: usize) -> Option<(&str, &str)> {
    let (end, _) = path.match_indices('/').nth(components.checked_sub(1)?)?;
    Some((&path[..end], &path[end + 1..]))
}

/// A name without the slashes at its end.
fn folder_of(what: &str) -> &str {
    what.trim_end_matches('/')
}

/// The hit, if its source is at this address. If that is its second address, it is dialed first.
fn taken_from(record: SourceRecord, from: Option<&HostPort>) -> Option<SourceRecord> {
    match from {
        Some(from) if record.other.as_ref() == Some(from) => {
            Some(SourceRecord { addr: from.clone(), other: Some(record.addr), ..record })
        }
        Some(from) if record.addr != *from => None,
        Some(_) | None => Some(record),
    }
}

/// The folders in the paths of these hits that are this path or end in it, when folded.
fn folders_named(what: &str, hits: &[SourceRecord]) -> Vec<String> {
    let what = folded(what);
    let mut folders = BTreeSet::new();
    for record in hits {
        let path = record.path.as_str();
        let ends = path.match_indices('/').map(|(at, _)| &path[..at]);
        folders.extend(ends.filter(|folder| is_named(&folded(folder), &what)).map(str::to_owned));
    }
    folders.into_iter().collect()
}

/// The end of a path that is short enough for a pattern: its last components, or a part of the last
/// one.
fn end_of(path: &str) -> &str {
    if path.len() <= PATTERN_BYTES_MAX {
        return path;
    }
    let from = path.len() - PATTERN_BYTES_MAX;
    match path[path.floor_char_boundary(from.saturating_sub(1))..].split_once('/') {
        Some((_, end)) if !end.is_empty() => end,
        Some(_) | None => start_of(name_of(path)),
    }
}

/// The start of a path that is short enough for a pattern: its first components, or a part of the
/// first one.
fn start_of(path: &str) -> &str {
    if path.len() <= PATTERN_BYTES_MAX {
        return path;
    }
    let start = &path[..path.floor_char_boundary(PATTERN_BYTES_MAX)];
    if path.as_bytes().get(start.len()) == Some(&b'/') {
        return start;
    }
    start.rsplit_once('/').map(|(folders, _)| folders).filter(|folders| !folders.is_empty()).unwrap_or(start)
}

#[cfg(test)]
#[allow(clippy::wildcard_enum_match_arm, reason = "whatever else comes fails the test")]
mod tests;
