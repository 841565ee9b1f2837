//! The meaning of a number or a word that the user types at the prompt. It owns the results and the
//! roots that were last shown. It prints and sends nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::grammar::{self, From};
use crate::cli::results::{Found, Results};
use crate::cli::{pasted, paths};
use crate::proto::command::KnownContent;
use crate::proto::{ClientEvent, Command, Scope};
use crate::wire::{HostPort, Root};

/// The most roots of a list that are kept, so that `GET` accepts their first digits.
const LISTED_KEPT_MAX: usize = 100_000;
/// How many roots are shown that begin with the same digits.
const ROOTS_SHOWN: usize = 4;

/// What was last shown.
#[derive(Debug, Default)]
pub(super) struct Shown {
    results: Results,
    /// The roots that were listed, each with a name. `GET` accepts their first digits.
    listed: Vec<(Root, String)>,
    /// The names of the results and of the listed roots, for completion.
    names: Arc<Vec<String>>,
}

impl Shown {
    /// Names that were shown, for completion.
    pub(super) fn names(&self) -> Arc<Vec<String>> {
        Arc::clone(&self.names)
    }

    fn collect_names(&mut self) {
        let found = self.results.all().iter().map(|found| found.name().to_owned());
        self.names = Arc::new(found.chain(self.listed.iter().map(|(_, name)| name.clone())).collect());
    }

    /// These results were shown. Now they can be chosen by number.
    pub(super) fn set_results(&mut self, results: Results) {
        self.results = results;
        self.collect_names();
    }

    /// These roots were listed.
    pub(super) fn set_listed(&mut self, listed: Vec<(Root, String)>) {
        self.listed = listed;
        self.collect_names();
    }

    /// The result with this number, and the source that the line names, if it names one.
    pub(super) fn chosen(&self, number: usize, from: Option<From>) -> Result<(Found, Option<HostPort>), String> {
        let found = self.results.number(number).cloned().ok_or_else(|| match self.results.all().len() {
            0 => "there are no results yet; write QUERY name first, or GET name".to_owned(),
            1 => format!("there is no result {number}; the only one is 1"),
            most => format!("there is no result {number}; they are 1 to {most}"),
        })?;
        let from = match from {
            None => None,
            Some(From::Address(address)) => Some(address),
            Some(From::Number(k)) => {
                let source = k.checked_sub(1).and_then(|k| found.sources.get(k)).cloned();
                let most = found.sources.len();
                let form = if most == 1 { String::new() } else { format!(" to FROM {most}") };
                let sentence = format!("result {number} has no source {k}; write GET {number} FROM 1{form}");
                Some(source.ok_or(sentence)?)
            }
        };
        Ok((found, from))
    }

    /// The meaning of a name, and the name to show. A name can be a URI, or the first digits of a
    /// root that was listed last. Otherwise it means itself.
    pub(super) fn meant(&self, what: &str) -> Result<(String, String), String> {
        if let Some(uri) = pasted::uri(what)? {
            let root = uri.root.to_string();
            let name = uri.name.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| root.clone());
            return Ok((root, name));
        }
        Ok(self.listed(what)?.unwrap_or_else(|| (what.to_owned(), what.to_owned())))
    }

    /// The roots that begin with these digits, each with the name to show. None if this is a name.
    pub(super) fn roots(&self, digits: &[String], is_root: bool) -> Result<Option<Vec<(String, String)>>, String> {
        let found = digits.iter().map(|digits| self.listed(digits)).collect::<Result<Vec<_>, _>>()?;
        if !is_root && found.iter().all(Option::is_none) {
            return Ok(None);
        }
        let unlisted = |digits: &String| {
            format!("no root that was listed last begins with {digits}; a name is written in \"quotes\" here")
        };
        let one = |(root, digits): (Option<(String, String)>, &String)| root.ok_or_else(|| unlisted(digits));
        found.into_iter().zip(digits).map(one).collect::<Result<_, _>>().map(Some)
    }

    /// The root that was listed last and begins with these digits, and the name to show. A complete
    /// root need not be listed.
    fn listed(&self, what: &str) -> Result<Option<(String, String)>, String> {
        let digits = what.to_ascii_lowercase();
        let partly = (grammar::ROOT_DIGITS_MIN..=2 * Root::LEN).contains(&digits.len());
        if !partly || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        if Root::from_hex(what).is_some() {
            return Ok(Some((what.to_owned(), what.to_owned())));
        }
        let found = self.results.all().iter().map(|found| (found.root, found.name()));
        let listed = self.listed.iter().map(|(root, name)| (*root, name.as_str()));
        let mut fit: BTreeMap<Root, &str> = BTreeMap::new();
        fit.extend(found.chain(listed).filter(|(root, _)| root.to_string().starts_with(&digits)));
        if fit.len() > 1 {
            let roots: Vec<String> = fit.keys().take(ROOTS_SHOWN).map(ToString::to_string).collect();
            return Err(format!("{} roots begin with {digits}; name one of them: {}", fit.len(), roots.join(", ")));
        }
        Ok(fit.pop_first().map(|(root, name)| (root.to_string(), name.to_owned())))
    }

    /// The command for `URI n|name|path`.
    pub(super) fn uri_of(&self, what: &str) -> Result<Command, String> {
        let scope = Scope::default();
        if let Some(number) = what.parse().ok().filter(|_| !self.results.all().is_empty()) {
            let (found, _) = self.chosen(number, None)?;
            return Ok(Command::Uri { what: found.root.to_string(), path: None, scope });
        }
        if std::fs::metadata(what).is_ok() {
            let path = paths::absolute("the path", Path::new(what)).map_err(|failure| failure.message)?;
            return Ok(Command::Uri { what: "/".to_owned(), path: Some(path), scope });
        }
        let (what, _) = self.meant(what)?;
        Ok(Command::Uri { what, path: None, scope })
    }

    /// The results with these numbers, without repetition.
    pub(super) fn chosen_all(&self, numbers: &[(usize, usize)]) -> Result<Vec<KnownContent>, String> {
        let all = self.results.all();
        let mut chosen = BTreeSet::new();
        for &(first, last) in numbers {
            // ALL means all numbers up to the last result.
            let last = if last == usize::MAX { all.len() } else { last };
            self.chosen(first, None)?;
            self.chosen(last, None)?;
            chosen.extend(first..=last);
        }
        let found = chosen.into_iter().filter_map(|number| self.results.number(number));
        let known = |found: &Found| KnownContent {
            name: found.name().to_owned(),
            size: found.size,
            root: found.root,
            collection: self.results.is_collection(&found.root),
            sources: found.sources.clone(),
        };
        Ok(found.map(known).collect())
    }
}

/// Adds the root of a listed file, and a name of it.
pub(super) fn keep_listed(roots: &mut Vec<(Root, String)>, event: &ClientEvent) {
    roots.extend(listed_root(event).filter(|_| roots.len() < LISTED_KEPT_MAX));
}

fn listed_root(event: &ClientEvent) -> Option<(Root, String)> {
    if let ClientEvent::File { root, name, .. } = event {
        Some((*root, name.clone()))
    } else if let ClientEvent::Content { root, names, .. } = event {
        Some((*root, names.first().cloned().unwrap_or_default()))
    } else {
        None
    }
}
