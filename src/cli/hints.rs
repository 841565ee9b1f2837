//! What may help after a search without a hit: one sentence for each remedy. It only makes text.

use crate::fold;
use crate::proto::event::Outcome;
use crate::wire::name::{is_invisible, printable, unescaped};
use crate::wire::record::name_of;
use crate::wire::{Cut, QueryKind, Search};

/// Where the user typed the search: in a shell or at the prompt. The hints have the same form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Shell,
    Prompt,
}

/// The remedies for a search without a hit. The most likely one is last, where people look first.
pub(crate) fn nothing_found(search: &Search, done: &Outcome, place: Place) -> Vec<String> {
    let mut hints = Vec::new();
    if search.min.is_some() || search.max.is_some() {
        hints.push("only files of the given sizes were searched; leave out --min-size and --max-size".to_owned());
    }
    if done.complete == Some(false) {
        hints.push(incomplete(done.cut.unwrap_or(Cut::NONE), place));
    }
    hints.extend(by_kind(search, place));
    hints
}

fn incomplete(cut: Cut, place: Place) -> String {
    let again = match place {
        Place::Shell if cut.ttl > 0 => "search farther with --ttl 64",
        Place::Shell if cut.budget > 0 || cut.loss > 0 => "search longer with --budget 10s",
        // Its peers register again within this time.
        Place::Shell | Place::Prompt if cut.starting > 0 => "search again in half a minute",
        Place::Shell | Place::Prompt => "search again in a few seconds",
    };
    format!("the search was not complete, so the file may exist: {again}")
}

fn by_kind(search: &Search, place: Place) -> Option<String> {
    let pattern = &search.pattern;
    match search.kind {
        QueryKind::Words if let Some(name) = unescaped(pattern) => {
            let glob = written(&name_of(&name).replace(is_invisible, "?"), place);
            Some(format!("a listing shows a tab as \\t and the end of a line as \\n; {glob} finds such a name"))
        }
        QueryKind::Words => {
            let words = fold::asked(pattern);
            let part = written(&format!("*{}*", pattern.trim()), place);
            (!words.is_empty())
                .then(|| format!("a word is found only if it is complete; {part} finds a part of a name"))
        }
        QueryKind::Exact => {
            let words = written(pattern, place);
            Some(format!("--exact compares byte for byte; without it, {words} is searched by its words"))
        }
        QueryKind::Glob => {
            let inner = format!("*{}*", pattern.trim_matches('*'));
            let exact = match place {
                Place::Shell => "; with --exact, the characters *, ? and [ have no special meaning",
                Place::Prompt => "",
            };
            Some(match inner == *pattern {
                false => format!(
                    "a pattern matches complete names only; {} finds a part of a name{exact}",
                    written(&inner, place)
                ),
                true => format!("the pattern fits no name{exact}"),
            })
        }
        QueryKind::Root | QueryKind::Range | QueryKind::Path | QueryKind::Below | QueryKind::Unknown => None,
    }
}

/// The pattern in the form in which it is typed there.
fn written(pattern: &str, place: Place) -> String {
    let pattern = printable(pattern);
    match place {
        Place::Shell => format!("'{}'", pattern.replace('\'', "'\\''")),
        Place::Prompt => pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::builders;

    fn hints(pattern: &str, done: &Outcome, place: Place) -> String {
        nothing_found(&builders::search(pattern), done, place).join("\n")
    }

    #[test]
    fn each_kind_of_search_has_its_remedy() {
        let done = Outcome { complete: Some(true), ..Outcome::default() };
        assert!(hints("train", &done, Place::Shell).contains("'*train*'"));
        assert!(hints("it's", &done, Place::Shell).contains(r"'*it'\''s*'"));
        assert!(hints("train", &done, Place::Prompt).contains(" *train* "));
        assert!(hints("what now?", &done, Place::Shell).contains("--exact"));
        assert!(!hints("what now?", &done, Place::Prompt).contains("--exact"));
        assert_eq!(hints("--", &done, Place::Shell), "");
        assert!(hints("a/tab\\there", &done, Place::Shell).contains("'tab?here'"));
    }

    #[test]
    fn a_search_that_was_cut_is_repeated_in_another_way() {
        let cut = |cut| Outcome { complete: Some(false), cut: Some(cut), ..Outcome::default() };
        assert!(hints("x", &cut(Cut { ttl: 1, ..Cut::NONE }), Place::Shell).contains("--ttl"));
        assert!(hints("x", &cut(Cut { budget: 1, ..Cut::NONE }), Place::Shell).contains("--budget"));
        assert!(hints("x", &cut(Cut { down: 1, ..Cut::NONE }), Place::Shell).contains("again in a few seconds"));
        assert!(!hints("x", &cut(Cut { ttl: 1, ..Cut::NONE }), Place::Prompt).contains("--"));
        let starting = hints("x", &cut(Cut { starting: 1, ..Cut::NONE }), Place::Shell);
        assert!(starting.contains("again in half a minute") && !starting.contains("seconds"), "{starting}");
    }
}
