//! The rules on the structure: who imports whom, who may touch the world, and how a file begins.

mod imports;
mod words;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use imports::Graph;

/// The rooms, and for each the rooms that it may import. Anything else under `crate::` is refused.
const IMPORTS: [(&str, &[&str]); 17] = [
    ("config", &[]),
    ("time", &[]),
    ("error", &[]),
    ("memory", &[]),
    ("fold", &[]),
    ("wire", &["config", "error", "time", "fold"]),
    ("http", &["config", "error", "time", "wire"]),
    ("trust", &["config", "error", "wire"]),
    ("proto", &["config", "error", "time", "fold", "wire", "trust"]),
    ("net", &["config", "error", "time", "wire", "http", "trust", "proto"]),
    ("disk", &["config", "error", "time", "wire", "http", "proto"]),
    // `fold` is left out: the oracle of the simulator must find matches without it.
    ("sim", &["config", "error", "time", "wire", "trust", "proto"]),
    ("control", &["config", "error", "time", "wire", "trust", "proto"]),
    ("bench", &["config", "error", "time", "wire", "trust", "proto"]),
    ("node", &["config", "error", "memory", "time", "wire", "http", "trust", "proto", "net", "disk", "control"]),
    (
        "cli",
        &[
            "config", "error", "time", "fold", "wire", "trust", "proto", "net", "disk", "control", "node", "sim",
            "bench",
        ],
    ),
    ("main", &["cli", "memory"]),
];

/// What no line of a pure room may hold.
const IMPURE: [&str; 9] =
    ["Instant::now", "SystemTime", "thread::", "std::fs", "std::io", "std::env", "getrandom", "TcpStream", "UdpSocket"];

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// The room that the file belongs to: `src/net/udp.rs` and `src/net.rs` to `net`.
    fn room(&self) -> String {
        let below = self.path.strip_prefix(folder()).expect("below src");
        let first = below.components().next().expect("a name").as_os_str().to_string_lossy();
        first.trim_end_matches(".rs").to_owned()
    }

    /// Lines with their numbers, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate();
        lines.map(|(n, line)| (n + 1, line.split("//").next().unwrap_or(line)))
    }

    fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path.strip_prefix(folder()).expect("below src").display())
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The modules that are built only for tests: `#[cfg(test)] mod NAME;`. They may read a seed from
/// the environment.
fn test_modules(sources: &[Source]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for source in sources {
        let lines: Vec<&str> = source.text.lines().collect();
        for pair in lines.windows(2).filter(|pair| pair[0].trim() == "#[cfg(test)]") {
            let name = pair[1].trim().trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
            names.extend(name.strip_prefix("mod ").and_then(|name| name.strip_suffix(';')).map(str::to_owned));
        }
    }
    names
}

/// Every source file that is built into the program.
fn sources() -> Vec<Source> {
    let mut sources = all_sources();
    let tests = test_modules(&sources);
    let named = |path: &Path| {
        let below = path.strip_prefix(folder()).expect("below src").with_extension("");
        below.components().any(|part| tests.contains(part.as_os_str().to_string_lossy().as_ref()))
    };
    sources.retain(|source| !named(&source.path));
    assert!(sources.len() > 10, "the sources are here");
    sources
}

fn all_sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![folder()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("UTF-8");
                sources.push(Source { path, text });
            }
        }
    }
    sources
}

/// The rooms that a line names after `crate::`, also in braces.
fn imported(line: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        let names = rest.strip_prefix('{').map_or(rest, |list| list.split('}').next().unwrap_or(list));
        let several = rest.starts_with('{');
        for name in names.split(',').take(if several { usize::MAX } else { 1 }) {
            let name: String = name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            rooms.push(name);
        }
    }
    rooms
}

/// A file that no module declares is not compiled, and nothing else would say so.
#[test]
fn every_file_is_a_module() {
    let mut lost = Vec::new();
    for Source { path, .. } in sources() {
        let is_mod = path.ends_with("mod.rs");
        let module = if is_mod { path.parent().expect("a folder").to_owned() } else { path.with_extension("") };
        let (name, parent) = (module.file_name().expect("a name"), module.parent().expect("a folder"));
        let line = format!("mod {};", name.to_str().expect("UTF-8"));
        let declares = |file: PathBuf| {
            let text = fs::read_to_string(file).unwrap_or_default();
            text.lines().any(|other| other.ends_with(&line))
        };
        let is_root = parent == folder() && ["lib", "main"].iter().any(|root| *name == **root);
        if !is_root && !["mod.rs", "lib.rs", "main.rs"].iter().any(|file| declares(parent.join(file))) {
            lost.push(path);
        }
    }
    assert!(lost.is_empty(), "no module declares them: {lost:#?}");
}

#[test]
fn imports_run_one_way() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for source in sources() {
        let room = source.room();
        let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == room) else {
            assert_eq!(room, "lib", "{room} is no room: add it to IMPORTS, with what it may import");
            continue;
        };
        for (line, code) in source.code() {
            for import in imported(code) {
                seen += 1;
                if import != room && !allowed.contains(&import.as_str()) {
                    wrong.push(format!("{} imports {import}", source.at(line)));
                }
            }
        }
    }
    assert!(seen > 50, "only {seen} imports were seen");
    assert!(wrong.is_empty(), "against the order of IMPORTS: {wrong:#?}");
}

/// Where files still import from each other in circles; the list only gets shorter.
const KNOWN_CIRCLES: [&str; 0] = [];

#[test]
fn no_files_import_from_each_other_in_a_circle() {
    let graph = graph();
    assert!(graph.imports.len() > 500, "only {} imports were seen", graph.imports.len());
    let mut wrong = Vec::new();
    for circle in graph.circles() {
        let is_known = |path: &str| KNOWN_CIRCLES.iter().any(|known| path.starts_with(known));
        if !circle.iter().all(|import| is_known(&import.from)) {
            wrong.push(circle.iter().map(|import| format!("{import}\n")).collect::<String>());
        }
    }
    assert!(wrong.is_empty(), "files import from each other in a circle:\n{}", wrong.join("\n"));
}

#[test]
fn neither_wing_of_proto_imports_from_the_other() {
    let wing = |path: &str| ["proto/super_peer/", "proto/weak_peer/"].iter().position(|wing| path.starts_with(wing));
    let crossing = |import: &&imports::Import| {
        let (from, to) = (wing(&import.from), wing(&import.to));
        from.is_some() && to.is_some() && from != to
    };
    let graph = graph();
    let wrong: Vec<_> = graph.imports.iter().filter(crossing).map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn graph() -> Graph {
    let sources = sources();
    let below = |source: &Source| source.path.strip_prefix(folder()).expect("below src").display().to_string();
    let files: Vec<(String, &str)> = sources.iter().map(|source| (below(source), source.text.as_str())).collect();
    Graph::new(&files.iter().map(|(path, text)| (path.as_str(), *text)).collect::<Vec<_>>())
}

/// Test code that is not a part of a machine. It may read from the environment which seeds to run.
const TEST_ONLY: [&str; 1] = ["src/proto/super_peer/flood/chaos.rs"];

#[test]
fn the_machines_touch_nothing_of_the_world() {
    let mut wrong = Vec::new();
    let is_test = |source: &Source| TEST_ONLY.iter().any(|path| source.path.ends_with(path));
    let pure = |source: &&Source| {
        ["fold", "proto", "sim", "wire", "trust", "bench"].contains(&source.room().as_str()) && !is_test(source)
    };
    for source in sources().iter().filter(pure) {
        for (line, code) in source.code() {
            let found = IMPURE.iter().find(|impure| code.contains(**impure));
            wrong.extend(found.map(|impure| format!("{}: {impure}", source.at(line))));
        }
    }
    assert!(wrong.is_empty(), "no clock, no randomness, no IO in there: {wrong:#?}");
}

#[test]
fn mio_lives_in_net_and_nothing_below_cli_prints() {
    let mut wrong = Vec::new();
    for source in sources() {
        let room = source.room();
        for (line, code) in source.code() {
            let mio = code.contains("mio::") && !["net", "node"].contains(&room.as_str());
            let prints = ["println!", "print!(", "stdout()", "stderr()"].iter().any(|print| code.contains(print));
            if mio || (prints && room != "cli") {
                wrong.push(format!("{}: {}", source.at(line), code.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Two files have a measured reason and give it. Everywhere else the lint is denied, and no other
/// file may allow it.
#[test]
fn two_files_only_are_unsafe() {
    let unsafe_word = concat!("un", "safe");
    let allowed = ["disk/md5_lanes/width.rs", "memory.rs"].map(|path| folder().join(path));
    let mut seen = BTreeSet::new();
    for source in all_sources() {
        for (n, line) in source.code() {
            let has = line
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|word| word == unsafe_word || word == format!("{unsafe_word}_code") || word == "target_feature");
            assert!(!has || allowed.contains(&source.path), "{}: {line}", source.at(n));
            if has {
                seen.insert(source.path.clone());
            }
        }
    }
    assert_eq!(seen.len(), allowed.len(), "the files that are allowed to have some");
}

/// If the code of a deliberate fault has moved, the fault is not applied, and no other test reports
/// that.
#[test]
fn every_mutant_fits_the_code_in_one_place() {
    let mutants = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mutants");
    let mut seen = 0;
    for entry in fs::read_dir(mutants).expect("the mutants are there").flatten() {
        let mutant = fs::read_to_string(entry.path()).expect("text");
        let file = mutant.lines().find_map(|line| line.strip_prefix("file: ")).expect("a file");
        let (_, change) = mutant.split_once("--- old\n").expect("what was there");
        let (old, _) = change.split_once("\n--- new\n").expect("what comes in its place");
        let code = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("the file is there");
        assert_eq!(code.matches(old).count(), 1, "{}: {file}", entry.path().display());
        seen += 1;
    }
    assert!(seen > 10, "only {seen} mutants");
}

/// A module is `x.rs` or `x/mod.rs`, never `x.rs` beside `x/`.
#[test]
fn no_file_lies_beside_the_folder_of_its_module() {
    let wrong: Vec<_> =
        all_sources().into_iter().map(|s| s.path).filter(|path| path.with_extension("").is_dir()).collect();
    assert!(wrong.is_empty(), "move them to mod.rs of their folders: {wrong:#?}");
}

/// The page on the design is not in the tree. Code gives the reason itself, or names PROTOCOL.md,
/// an RFC or a paper.
#[test]
fn no_code_cites_what_is_not_in_the_tree() {
    let citation = concat!("DES", "IGN");
    let cites = |source: &Source| source.text.lines().position(|line| line.contains(citation));
    let wrong: Vec<_> =
        all_sources().iter().filter_map(|source| cites(source).map(|line| source.at(line + 1))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<_> =
        sources().into_iter().filter(|source| !source.text.starts_with("//!")).map(|s| s.path).collect();
    assert!(silent.is_empty(), "without a module doc: {silent:#?}");
}
