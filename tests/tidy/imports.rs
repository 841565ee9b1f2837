//! Which file imports from which, read from `use` statements and from the paths in the code, and
//! the circles in that graph.
//!
//! A name that a module re-exports counts as an import from the file that defines the name.
//! Comments, strings and code that is built only for tests do not count.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

/// One file that uses something of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) from: String,
    pub(crate) line: usize,
    pub(crate) path: String,
    pub(crate) to: String,
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} imports {} from {}", self.from, self.line, self.path, self.to)
    }
}

/// All imports of a crate.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    pub(crate) imports: Vec<Import>,
}

impl Graph {
    /// The graph of these files. Each file is given by its path below `src/` and its text.
    pub(crate) fn new(files: &[(&str, &str)]) -> Graph {
        let files: Vec<File> = files.iter().filter_map(|(path, text)| File::new(path, text)).collect();
        let modules: BTreeMap<Vec<String>, &File> = files.iter().map(|file| (file.module.clone(), file)).collect();
        let mut imports = Vec::new();
        let mut seen = BTreeSet::new();
        for file in &files {
            let used = file.uses.iter().map(|used| (used.line, &used.path));
            for (line, path) in used.chain(file.paths.iter().map(|(line, path)| (*line, path))) {
                let Some(to) = resolve(&modules, file, path, 0).filter(|to| to.path != file.path) else { continue };
                let import = Import { from: file.path.clone(), line, path: path.join("::"), to: to.path.clone() };
                if seen.insert((import.from.clone(), line, import.to.clone())) {
                    imports.push(import);
                }
            }
        }
        Graph { imports }
    }

    /// One shortest circle of every set of files that import from each other.
    pub(crate) fn circles(&self) -> Vec<Vec<Import>> {
        let mut next: BTreeMap<&str, Vec<&Import>> = BTreeMap::new();
        for import in &self.imports {
            next.entry(&import.from).or_default().push(import);
        }
        let mut circles: Vec<Vec<Import>> = Vec::new();
        let mut reported: BTreeSet<&str> = BTreeSet::new();
        for start in next.keys().copied() {
            if reported.contains(start) {
                continue;
            }
            if let Some(circle) = way_back(&next, start) {
                reported.extend(circle.iter().map(|import| import.from.as_str()));
                circles.push(circle.into_iter().cloned().collect());
            }
        }
        circles
    }
}

/// The shortest way from a file back to itself.
fn way_back<'a>(next: &BTreeMap<&'a str, Vec<&'a Import>>, start: &str) -> Option<Vec<&'a Import>> {
    let mut came_by: BTreeMap<&str, &Import> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for import in next.get(at).into_iter().flatten() {
            if came_by.contains_key(import.to.as_str()) {
                continue;
            }
            came_by.insert(&import.to, import);
            if import.to == start {
                let mut way = vec![*import];
                while way[0].from != start {
                    way.insert(0, came_by[way[0].from.as_str()]);
                }
                return Some(way);
            }
            queue.push_back(&import.to);
        }
    }
    None
}

/// A `use` of one name; `*` for all.
#[derive(Debug)]
struct Use {
    line: usize,
    path: Vec<String>,
    name: String,
}

#[derive(Debug)]
struct File {
    path: String,
    /// The names of its module, from the root of the crate.
    module: Vec<String>,
    uses: Vec<Use>,
    paths: Vec<(usize, Vec<String>)>,
    /// The names of the items that it defines.
    items: BTreeSet<String>,
    /// How many braces are open, and which of them began a module within the file.
    open: usize,
    inline: Vec<usize>,
}

impl File {
    /// `None` for `main.rs`, which is a crate of its own.
    fn new(path: &str, text: &str) -> Option<File> {
        let mut module: Vec<String> = path.strip_suffix(".rs")?.split('/').map(str::to_owned).collect();
        match module.last()?.as_str() {
            "main" => return None,
            "mod" | "lib" => drop(module.pop()),
            _ => {}
        }
        let (path, uses, paths, items) = (path.to_owned(), Vec::new(), Vec::new(), BTreeSet::new());
        let mut file = File { path, module, uses, paths, items, open: 0, inline: Vec::new() };
        let tokens = tokens(&without_tests(&without_comments(text)));
        let mut at = 0;
        while at < tokens.len() {
            at = file.take(&tokens, at);
        }
        Some(file)
    }

    /// Reads what begins at this token. Returns the number of the next token.
    fn take(&mut self, tokens: &[(usize, String)], at: usize) -> usize {
        let word = |at: usize| tokens.get(at).map_or("", |(_, word)| word.as_str());
        match word(at) {
            // The visibility of an item says nothing about who uses it.
            "pub" if word(at + 1) == "(" => {
                at + 2 + tokens[at..].iter().take_while(|(_, word)| word != ")").count() - 1
            }
            "use" if word(at + 1) != "<" => {
                let end = at + tokens[at..].iter().take_while(|(_, word)| word != ";").count();
                self.take_use(&tokens[at + 1..end], &[]);
                end
            }
            "mod" if word(at + 2) == "{" => {
                self.open += 1;
                self.inline.push(self.open);
                at + 3
            }
            "{" => {
                self.open += 1;
                at + 1
            }
            "}" => {
                self.inline.pop_if(|open| *open == self.open);
                self.open = self.open.saturating_sub(1);
                at + 1
            }
            "struct" | "enum" | "trait" | "type" | "const" | "static" | "fn" | "union" | "macro_rules" => {
                let name = if word(at + 1) == "!" { word(at + 2) } else { word(at + 1) };
                self.items.insert(name.to_owned());
                at + 1
            }
            first if is_name(first) && !["::", "."].contains(&word(at.wrapping_sub(1))) => {
                let mut path = vec![first.to_owned()];
                let mut end = at + 1;
                while word(end) == "::" && is_name(word(end + 1)) {
                    path.push(word(end + 1).to_owned());
                    end += 2;
                }
                if path.len() > 1 {
                    self.paths.push((tokens[at].0, self.within_file(path)));
                }
                end
            }
            _ => at + 1,
        }
    }

    /// Reads a tree of a `use` that begins with this prefix, without its `;`.
    fn take_use(&mut self, tree: &[(usize, String)], prefix: &[String]) {
        let mut path = prefix.to_vec();
        let mut at = 0;
        while let Some((line, word)) = tree.get(at) {
            match word.as_str() {
                "{" => {
                    for branch in branches(&tree[at + 1..tree.len() - 1]) {
                        self.take_use(branch, &path);
                    }
                    return;
                }
                "as" => {
                    let name = tree.get(at + 1).map_or(String::new(), |(_, name)| name.clone());
                    return self.uses.push(Use { line: *line, path: self.within_file(path), name });
                }
                "*" => return self.uses.push(Use { line: *line, path: self.within_file(path), name: "*".to_owned() }),
                "self" if !path.is_empty() => {}
                "::" => {}
                word => path.push(word.to_owned()),
            }
            at += 1;
        }
        if let (Some(name), Some((line, _))) = (path.last().cloned(), tree.last()) {
            self.uses.push(Use { line: *line, path: self.within_file(path), name });
        }
    }

    /// The path as the module of the file would write it, wherever in the file the path is.
    fn within_file(&self, mut path: Vec<String>) -> Vec<String> {
        for name in path.iter_mut().take(self.inline.len()).take_while(|name| *name == "super") {
            "self".clone_into(name);
        }
        path
    }
}

/// The parts of a list in braces.
fn branches(list: &[(usize, String)]) -> Vec<&[(usize, String)]> {
    let mut depth = 0;
    let parts = list.split(move |(_, word)| {
        depth += i32::from(word == "{") - i32::from(word == "}");
        depth == 0 && word == ","
    });
    parts.filter(|part| !part.is_empty()).collect()
}

/// The file that defines what a path in this file names, if the path is in this crate.
fn resolve<'a>(
    modules: &BTreeMap<Vec<String>, &'a File>,
    file: &'a File,
    path: &[String],
    depth: usize,
) -> Option<&'a File> {
    let mut module = file.module.clone();
    let mut rest = path;
    match rest.first()?.as_str() {
        "crate" => {
            module.clear();
            rest = &rest[1..];
        }
        "self" => {}
        "super" => {}
        child => {
            let mut at = module.clone();
            at.push(child.to_owned());
            if !modules.contains_key(&at) {
                return None;
            }
        }
    }
    while let Some(name) = rest.first() {
        rest = &rest[1..];
        match name.as_str() {
            "self" => continue,
            "super" => {
                module.pop();
                continue;
            }
            _ => {}
        }
        module.push(name.clone());
        if modules.contains_key(&module) {
            continue;
        }
        module.pop();
        let here = modules.get(&module).copied()?;
        return Some(definition(modules, here, name, rest, depth).unwrap_or(here));
    }
    modules.get(&module).copied()
}

/// Follows a name that a `use` brings into a module to its definition.
fn definition<'a>(
    modules: &BTreeMap<Vec<String>, &'a File>,
    here: &'a File,
    name: &str,
    rest: &[String],
    depth: usize,
) -> Option<&'a File> {
    if depth > 8 || here.items.contains(name) {
        return None;
    }
    if let Some(used) = here.uses.iter().find(|used| used.name == name) {
        let path: Vec<String> = used.path.iter().chain(rest).cloned().collect();
        return resolve(modules, here, &path, depth + 1);
    }
    let globs = here.uses.iter().filter(|used| used.name == "*");
    let mut targets = globs.filter_map(|used| resolve(modules, here, &used.path, depth + 1));
    targets.find(|target| target.path != here.path && target.items.contains(name))
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names, `::`, and single other characters, each with its line.
fn tokens(code: &str) -> Vec<(usize, String)> {
    let mut tokens = Vec::new();
    for (line, text) in code.lines().enumerate() {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let name = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let length = match name {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                name => name,
            };
            tokens.push((line + 1, rest[..length].to_owned()));
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

/// The text with blanks instead of comments, strings and character literals. Every line keeps its
/// number.
pub(crate) fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if c == '"' {
            quoted(rest)
        } else if let Some(raw) = raw_quoted(rest).filter(|_| !out.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        {
            raw
        } else if c == '\'' {
            character(rest)
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        out.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[length..];
    }
    out
}

/// The length of a string that begins here.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    text.len()
}

/// The length of a raw string that begins here; none if no raw string begins here.
fn raw_quoted(text: &str) -> Option<usize> {
    let hashes = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let body = hashes.trim_start_matches('#');
    let end = format!("\"{}", &hashes[..hashes.len() - body.len()]);
    let body = body.strip_prefix('"')?;
    let start = text.len() - body.len();
    Some(body.find(&end).map_or(text.len(), |at| start + at + end.len()))
}

/// The length of a character that begins here; 1 if it is a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => text[3..].find('\'').map_or(text.len(), |at| 3 + at + 1),
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}

/// The code without the items that follow `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    const TEST: &str = "#[cfg(test)]";
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(TEST) {
        out.push_str(&rest[..at]);
        let item = &rest[at..];
        let mut depth = 0;
        let mut end = item.len();
        for (at, c) in item.char_indices() {
            depth += i32::from(c == '{') - i32::from(c == '}');
            if depth == 0 && (c == ';' || c == '}') {
                end = at + 1;
                break;
            }
        }
        out.extend(item[..end].chars().filter(|c| *c == '\n'));
        rest = &item[end..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(files: &[(&str, &str)]) -> Vec<String> {
        Graph::new(files)
            .imports
            .iter()
            .map(|import| format!("{} {} {}", import.from, import.line, import.to))
            .collect()
    }

    #[test]
    fn imports_are_found_however_they_are_written() {
        let files = [
            ("lib.rs", "pub mod a;\npub mod b;\n"),
            ("a/mod.rs", "mod part;\nmod other;\npub use part::Part as P;\nfn f() { other::g(); }\n"),
            ("a/part.rs", "use super::super::b::{self, B,\n    deep::{Deep, C}};\npub struct Part;\n"),
            ("a/other.rs", "pub fn g() -> crate::b::B { crate::a::P; super::part::Part }\n"),
            ("b/mod.rs", "pub mod deep;\npub struct B;\n"),
            (
                "b/deep.rs",
                "// use crate::a::P;\nconst T: &str = \"crate::a::P\";\n#[cfg(test)]\nmod tests {\n    use crate::a::P;\n}\npub struct Deep; pub struct C;\n",
            ),
        ];
        assert_eq!(
            pairs(&files),
            [
                "a/mod.rs 3 a/part.rs",
                "a/mod.rs 4 a/other.rs",
                "a/part.rs 1 b/mod.rs",
                "a/part.rs 2 b/deep.rs",
                "a/other.rs 1 b/mod.rs",
                "a/other.rs 1 a/part.rs",
            ]
        );
        assert!(Graph::new(&files).circles().is_empty());
    }

    #[test]
    fn a_circle_is_found_and_a_name_that_is_passed_on_makes_none() {
        let seam = ("lib.rs", "mod ids;\nmod part;\npub use ids::Id;\npub use part::Part;\n");
        let ids = ("ids.rs", "pub struct Id;\n");
        let part = ("part.rs", "use crate::Id;\npub struct Part(Id);\n");
        assert!(Graph::new(&[seam, ids, part]).circles().is_empty());
        let ids = ("ids.rs", "pub struct Id;\nfn f(part: &super::part::Part) {}\n");
        let circles = Graph::new(&[seam, ids, part]).circles();
        assert_eq!(circles.len(), 1);
        let circle: Vec<String> = circles[0].iter().map(Import::to_string).collect();
        assert_eq!(
            circle,
            ["ids.rs:2 imports super::part::Part from part.rs", "part.rs:1 imports crate::Id from ids.rs"]
        );
        // A child uses an item that its parent defines, while the parent uses the child.
        let parent = ("lib.rs", "mod part;\nuse part::Part;\npub struct Id;\n");
        assert_eq!(Graph::new(&[parent, ("part.rs", "use super::Id;\npub struct Part(Id);\n")]).circles().len(), 1);
    }

    #[test]
    fn a_module_within_a_file_is_of_that_file() {
        let a =
            "mod b { use super::c::C; mod d { fn f() { super::super::c::g() } } }\nmod c;\nfn f() { super::c::g() }\n";
        let files = [("a/mod.rs", a), ("a/c.rs", "pub struct C;\n"), ("c.rs", "")];
        assert_eq!(pairs(&files), ["a/mod.rs 1 a/c.rs", "a/mod.rs 3 c.rs"]);
    }

    #[test]
    fn comments_and_literals_are_blanked() {
        let code = "a /* b */ 'c' r#\"d\"d\"# \"e\\\"f\" &'g h // i";
        assert_eq!(without_comments(code).split_whitespace().collect::<Vec<_>>(), ["a", "&", "g", "h"]);
    }
}
