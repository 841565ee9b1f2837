//! Globs over whole names: `*` any run of characters, `?` one character, `[abc]` `[a-z]` one of
//! these, `[!a]` one that is not.
//!
//! Both sides are lower-cased with the full Unicode mapping (the crate `glob` folds ASCII only).
//! The matcher goes back to the last `*` alone, so a hostile pattern costs at most pattern × name
//! steps.

use crate::proto::super_peer::index::tokens::lower_into;

/// A parsed glob.
#[derive(Debug)]
pub(super) struct Glob(Vec<Part>);

#[derive(Debug)]
enum Part {
    One(char),
    Any,
    Run,
    /// Ranges, ends included; whether one of them must fit.
    Class(Vec<(char, char)>, bool),
}

impl Glob {
    /// Reads a pattern; if it is wrong, says what is.
    pub(super) fn new(pattern: &str) -> Result<Glob, &'static str> {
        let mut parts = Vec::new();
        let mut rest = pattern.chars();
        while let Some(c) = rest.next() {
            match c {
                '*' => {
                    if !matches!(parts.last(), Some(Part::Run)) {
                        parts.push(Part::Run);
                    }
                }
                '?' => parts.push(Part::Any),
                '[' => parts.push(class(&mut rest)?),
                c => {
                    let mut lower = String::new();
                    lower_into(c, &mut lower);
                    parts.extend(lower.chars().map(Part::One));
                }
            }
        }
        Ok(Glob(parts))
    }

    /// What stands in the lower-cased name as it is written here, run by run.
    pub(super) fn literals(&self) -> Vec<String> {
        let runs = self.0.split(|part| !matches!(part, Part::One(_)));
        let texts = runs.map(|run| run.iter().filter_map(|part| if let Part::One(c) = part { Some(*c) } else { None }));
        texts.map(String::from_iter).filter(|text| !text.is_empty()).collect()
    }

    /// Whether the whole name, already in lower case, fits; adds the comparisons that it took to
    /// `steps`.
    pub(super) fn fits(&self, name: &str, steps: &mut usize) -> bool {
        let parts = &self.0;
        let mut part = 0;
        let mut rest = name.chars();
        // Behind the last run: the part there, and the name from where that part is tried next.
        let mut retry = None;
        loop {
            if let Some(Part::Run) = parts.get(part) {
                part += 1;
                retry = Some((part, rest.clone()));
                continue;
            }
            *steps += parts.get(part).map_or(1, Part::steps);
            match (parts.get(part), rest.next()) {
                (None, None) => return true,
                (Some(wanted), Some(c)) if wanted.fits(c) => part += 1,
                // The name is at its end: a later beginning has even less of it.
                (Some(_), None) => return false,
                (_, Some(_)) => {
                    let Some((after, from)) = &mut retry else { return false };
                    from.next();
                    (part, rest) = (*after, from.clone());
                }
            }
        }
    }
}

impl Part {
    /// Comparisons that one character takes at most: those of a class are made for its capital too.
    fn steps(&self) -> usize {
        match self {
            Part::One(_) | Part::Any | Part::Run => 1,
            Part::Class(ranges, _) => 2 + 2 * ranges.len(),
        }
    }

    fn fits(&self, c: char) -> bool {
        match self {
            Part::One(wanted) => c == *wanted,
            Part::Any | Part::Run => true,
            Part::Class(ranges, inside) => {
                let within = |c: char| ranges.iter().any(|&(first, last)| (first..=last).contains(&c));
                // A name's capitals are gone, a range's are not: `[A-Z]` and `[a-z]` mean the same.
                (within(c) || c.to_uppercase().any(within)) == *inside
            }
        }
    }
}

/// The rest of a class, its bracket read; a `]` that comes first stands for itself.
fn class(rest: &mut std::str::Chars<'_>) -> Result<Part, &'static str> {
    const OPEN: &str = "has a [ without its ]";
    let mut ranges = Vec::new();
    let inside = !rest.as_str().starts_with('!');
    if !inside {
        rest.next();
    }
    loop {
        let first = rest.next().ok_or(OPEN)?;
        if first == ']' && !ranges.is_empty() {
            return Ok(Part::Class(ranges, inside));
        }
        let mut ahead = rest.clone();
        let last = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(last)) if last != ']' => {
                *rest = ahead;
                last
            }
            _ => first,
        };
        if last < first {
            return Err("has a range that runs backwards");
        }
        ranges.push((first, last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, name: &str) -> bool {
        let mut lower = String::new();
        name.chars().for_each(|c| lower_into(c, &mut lower));
        Glob::new(pattern).unwrap().fits(&lower, &mut 0)
    }

    #[test]
    fn every_sign_means_what_it_says() {
        for (pattern, name) in [
            ("*.flac", "Blue Train.FLAC"),
            ("*", ""),
            ("a?c", "abc"),
            ("[a-c]x", "BX"),
            ("[A-C]x", "bx"),
            ("[!a]x", "bx"),
            ("[]]", "]"),
            ("[a-]", "-"),
            ("[[]1]", "[1]"),
            ("**.mp3", "x.mp3"),
            ("été*", "ÉTÉ 1"),
            ("*a*b*c", "xxaxbxbxc"),
            ("[*?]", "*"),
            ("??", "ßß"),
            ("ΟΔΟΣ*", "οδος"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*.flac", "x.flac.txt"),
            ("a?c", "ac"),
            ("[a-c]x", "dx"),
            ("[!a]x", "ax"),
            ("[!a]x", "Ax"),
            ("a", "ab"),
            ("", "a"),
            ("*a*b*c", "xxaxbxb"),
            ("?", ""),
        ] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn a_wrong_pattern_is_named() {
        for pattern in ["[", "[a", "a[!", "[]", "[z-a]", "[!]"] {
            assert!(Glob::new(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_hostile_pattern_is_not_exponential() {
        let pattern = format!("{}b", "*a".repeat(127));
        assert!(!fits(&pattern, &"a".repeat(700)));
        let mut steps = 0;
        assert!(!Glob::new(&pattern).unwrap().fits(&"a".repeat(700), &mut steps));
        assert!((700..=pattern.len() * 700).contains(&steps), "{steps}");
    }
}
