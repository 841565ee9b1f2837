//! Finds the known word that the user probably meant with an unknown one.

/// Words that people know from other programs, each with the command of this program that does the
/// same.
const SYNONYMS: [(&str, &str); 14] = [
    ("search", "query"),
    ("find", "query"),
    ("grep", "query"),
    ("fetch", "get"),
    ("download", "get"),
    ("pull", "get"),
    ("ls", "list"),
    ("dir", "list"),
    ("share", "peer"),
    ("serve", "peer"),
    ("node", "peer"),
    ("queue", "downloads"),
    ("stop", "cancel"),
    ("info", "status"),
];

/// The known word that is nearest to this one, if it is near enough. Case and dashes are ignored.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |word: &str| word.trim_start_matches('-').to_lowercase();
    let word = plain(word);
    let synonym = SYNONYMS.iter().find(|(other, _)| *other == word).map(|(_, command)| *command);
    let mut best: Option<(usize, &str)> = None;
    for candidate in known {
        let other = plain(candidate);
        let away = strsim::damerau_levenshtein(&word, &other);
        let begins = word.chars().count() >= 3 && other.starts_with(&word);
        let is_near = away * 3 <= word.chars().count().max(other.chars().count());
        let away = if synonym == Some(&*other) { 0 } else { away };
        if (is_near || begins || away == 0) && best.is_none_or(|(least, _)| away < least) {
            best = Some((away, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_is_recognized_and_another_one_is_not() {
        let commands = ["query", "get", "uri", "downloads", "cancel", "list", "status", "super", "peer"];
        for (word, meant) in [
            ("qeury", Some("query")),
            ("Querry", Some("query")),
            ("gte", Some("get")),
            ("download", Some("get")),
            ("downlaods", Some("downloads")),
            ("sats", Some("status")),
            ("stat", Some("status")),
            ("search", Some("query")),
            ("xyzzy", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, commands), meant, "{word}");
        }
        assert_eq!(nearest("--jsn", ["--json", "--name"]), Some("--json"));
        assert_eq!(nearest("--max_size", ["--max-size", "--min-size"]), Some("--max-size"));
        assert_eq!(nearest("--nope", ["--name", "--ttl"]), None);
        assert_eq!(nearest("QEURY", ["QUERY", "GET"]), Some("QUERY"));
    }
}
