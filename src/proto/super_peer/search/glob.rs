//! Globs over folded texts: `*` is any run of characters, `?` is one character, `[abc]` and `[a-z]`
//! are one of these characters, `[!a]` is one other character.
//!
//! The literal parts of a pattern are folded run by run, so that a letter and its accents are
//! folded together. The matcher goes back only to the last `*`, so a hostile pattern costs at most
//! pattern × text steps.

use crate::fold::fold;

/// A parsed glob.
#[derive(Debug)]
pub(super) struct Glob(Vec<Part>);

#[derive(Debug)]
enum Part {
    One(char),
    Any,
    Run,
    /// Ranges, ends included, and whether the character must be in one of them.
    Class(Vec<(char, char)>, bool),
}

/// A literal part of a pattern, folded.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::proto::super_peer) struct Literal {
    pub(in crate::proto::super_peer) text: String,
    /// Whether every text that fits begins with it, and whether every text that fits ends with it.
    pub(in crate::proto::super_peer) first: bool,
    pub(in crate::proto::super_peer) last: bool,
}

impl Glob {
    /// Reads a pattern. The error says why it is no glob.
    pub(super) fn new(pattern: &str) -> Result<Glob, &'static str> {
        let mut parts = Vec::new();
        let mut rest = pattern;
        let mut scratch = String::new();
        while !rest.is_empty() {
            let literal = rest.find(['*', '?', '[']).unwrap_or(rest.len());
            parts.extend(fold(&rest[..literal], &mut scratch).chars().map(Part::One));
            let mut chars = rest[literal..].chars();
            match chars.next() {
                Some('*') if !matches!(parts.last(), Some(Part::Run)) => parts.push(Part::Run),
                Some('*') | None => {}
                Some('?') => parts.push(Part::Any),
                Some(_) => parts.push(class(&mut chars)?),
            }
            rest = chars.as_str();
        }
        Ok(Glob(parts))
    }

    /// The literals, each as long as it can be.
    pub(super) fn literals(&self) -> Vec<Literal> {
        let parts = &self.0;
        let is_one = |part: &Part| matches!(part, Part::One(_));
        let mut literals = Vec::new();
        let mut at = 0;
        while let Some(from) = parts[at..].iter().position(is_one).map(|skipped| at + skipped) {
            let end = parts[from..].iter().position(|part| !is_one(part)).map_or(parts.len(), |length| from + length);
            let text = parts[from..end].iter().filter_map(|part| if let Part::One(c) = part { Some(*c) } else { None });
            literals.push(Literal { text: text.collect(), first: from == 0, last: end == parts.len() });
            at = end;
        }
        literals
    }

    /// Whether the complete text, which must be folded, fits. Adds the number of comparisons to
    /// `steps`.
    pub(super) fn fits(&self, name: &str, steps: &mut usize) -> bool {
        let parts = &self.0;
        let mut part = 0;
        let mut rest = name.chars();
        // The part after the last `*`, and the rest of the name where this part is tried next.
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
                // The name has ended. A later start would have even fewer characters.
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
    /// The most comparisons for one character.
    fn steps(&self) -> usize {
        match self {
            Part::One(_) | Part::Any | Part::Run => 1,
            Part::Class(ranges, _) => 1 + ranges.len(),
        }
    }

    fn fits(&self, c: char) -> bool {
        match self {
            Part::One(wanted) => c == *wanted,
            Part::Any | Part::Run => true,
            Part::Class(ranges, inside) => ranges.iter().any(|&(first, last)| (first..=last).contains(&c)) == *inside,
        }
    }
}

/// A character as it is in a folded text, if it folds to one character.
fn folded(c: char, scratch: &mut String) -> char {
    let mut text = [0; 4];
    let mut chars = fold(c.encode_utf8(&mut text), scratch).chars();
    chars.next().filter(|_| chars.next().is_none()).unwrap_or(c)
}

/// Reads the rest of a class after its `[`. A `]` at the start is a member of the class.
fn class(rest: &mut std::str::Chars<'_>) -> Result<Part, &'static str> {
    const OPEN: &str = "has a [ without its ]";
    let mut ranges: Vec<(char, char)> = Vec::new();
    let mut scratch = String::new();
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
        // `[A-Z]` and `[a-z]` mean the same.
        let same = (folded(first, &mut scratch), folded(last, &mut scratch));
        if same != (first, last) && same.0 <= same.1 {
            ranges.push(same);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, name: &str) -> bool {
        Glob::new(pattern).unwrap().fits(&crate::fold::folded(name), &mut 0)
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
            ("????", "ßß"),
            ("stra[s]*e", "Straße"),
            ("[É]t*", "été"),
            ("[à-ý]t*", "ET"),
            ("e\u{301}t?", "Été"),
            ("*上海*", "夜上海.mp3"),
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
            ("??", "ßß"),
            ("[Z-a]", "z"),
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
