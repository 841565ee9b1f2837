//! Names that come from strangers: how they are made safe for a disk, and how they are shown. It
//! handles only text and does no I/O.

use super::ids::Root;
use crate::config::NAME_BYTES_MAX;

/// Longest extension that is kept when a name is cut, in bytes with its dot.
const EXTENSION_BYTES_MAX: usize = 24;
/// Longest name for file systems that accept fewer bytes than usual. eCryptfs accepts 143.
const SHORT_NAME_BYTES_MAX: usize = 120;
/// The most passes. A name that still changes after them is replaced.
const PASSES_MAX: usize = 8;

/// Names for a received content, the best one first. Each further name is for a file system that
/// refuses the one before it: first a name without the characters and names that Windows forbids,
/// then a short one.
#[must_use]
pub fn candidates(name: &str, root: &Root) -> Vec<String> {
    let mut all = vec![sanitize(name, root), portable(name, root, NAME_BYTES_MAX)];
    all.push(portable(name, root, SHORT_NAME_BYTES_MAX));
    all.dedup();
    all
}

/// One component of a path. It keeps what Linux file systems accept and what does no harm. It is
/// never empty, hidden, `.` or `..`, has at most [`NAME_BYTES_MAX`] bytes, has none of our own
/// suffixes, is not an option of a command, and has no characters that control a terminal or
/// reverse the order of characters. Sanitizing twice changes nothing more.
#[must_use]
pub fn sanitize(name: &str, root: &Root) -> String {
    settle(name.chars().map(|c| if is_harmful(c) { '_' } else { c }).collect(), root, |name| {
        cut(ours(name.to_owned()), root, NAME_BYTES_MAX)
    })
}

/// As [`sanitize`], for file systems with the rules of Windows. It has only visible characters that
/// these accept, is not the name of a device, and has no dot or space at its end.
fn portable(name: &str, root: &Root, bytes_max: usize) -> String {
    settle(name.chars().map(|c| if is_unsafe(c) { '_' } else { c }).collect(), root, |name| {
        // Windows drops dots and spaces at the end, so two names could become equal (a note of
        // libtorrent).
        let mut name = ours(name.trim_end_matches(['.', ' ']).to_owned());
        if is_device(&name) {
            name.insert(0, '_');
        }
        cut(name, root, bytes_max)
    })
}

/// Repeats a pass until it changes nothing.
fn settle(mut name: String, root: &Root, pass: impl Fn(&str) -> String) -> String {
    for _ in 0..PASSES_MAX {
        let next = pass(&name);
        if next == name {
            break;
        }
        name = next;
    }
    if name.is_empty() || pass(&name) != name { unnamed(root) } else { name }
}

/// Text in one line that may be shown on a terminal or written into a log. A character that is not
/// visible becomes `\u{…}`. A joiner stays where a script needs it.
#[must_use]
pub fn printable(text: &str) -> String {
    shown(text, |_| false)
}

/// As [`printable`], in quotes.
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", printable(text))
}

/// The text that [`printable`] shows like this, if this one has escapes that stand for characters
/// that are not visible.
#[must_use]
pub fn unescaped(shown: &str) -> Option<String> {
    let (mut text, mut rest, mut found) = (String::with_capacity(shown.len()), shown, false);
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        let (c, after) = match escape(after) {
            Some(escape) => {
                found = true;
                escape
            }
            None => ('\\', after),
        };
        text.push(c);
        rest = after;
    }
    text.push_str(rest);
    found.then_some(text)
}

/// A pattern as it was meant, if it has `\u{…}`, which is a character that was shown in this form.
/// A pattern without it stays, because a backslash before a letter may be part of a name.
#[must_use]
pub fn typed(pattern: String) -> String {
    if pattern.contains("\\u{") { unescaped(&pattern).unwrap_or(pattern) } else { pattern }
}

/// The character of an escape whose backslash was read, and the text after the escape.
fn escape(text: &str) -> Option<(char, &str)> {
    let (c, after) = match text.strip_prefix("u{") {
        Some(digits) => {
            let (digits, after) = digits.split_once('}')?;
            (char::from_u32(u32::from_str_radix(digits, 16).ok()?)?, after)
        }
        None => {
            let mut chars = text.chars();
            let c = match chars.next()? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                _ => return None,
            };
            (c, chars.as_str())
        }
    };
    is_invisible(c).then_some((c, after))
}

/// As [`printable`], but line ends stay. It is for text of several lines whose foreign parts were
/// made printable before.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    shown(text, |c| c == '\n')
}

fn shown(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut before = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if stays(c) => shown.push(c),
            '\u{200c}' | '\u{200d}' if joins(before, chars.peek().copied()) => shown.push(c),
            '\n' | '\r' | '\t' => shown.extend(c.escape_default()),
            c if is_invisible(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
        before = Some(c);
    }
    shown
}

/// Whether a joiner between these characters belongs to the text: both are visible, and at least
/// one is a character of a script or an emoji that joiners change. ASCII letters look the same with
/// a joiner between them.
fn joins(before: Option<char>, after: Option<char>) -> bool {
    let is_shown = |c: char| !is_invisible(c) && !c.is_whitespace();
    before.zip(after).is_some_and(|(a, b)| is_shown(a) && is_shown(b) && !(a.is_ascii() && b.is_ascii()))
}

fn unnamed(root: &Root) -> String {
    format!("unnamed-{}", short(root))
}

/// Changes a name that no file may have anywhere: a hidden name, an option of a command, or the
/// name of one of our own files.
fn ours(mut name: String) -> String {
    if name.starts_with(['.', '-']) {
        name.replace_range(..1, "_");
    }
    for suffix in [".part", ".part.map"] {
        if ends_with_ignoring_case(&name, suffix) {
            let dot = name.len() - suffix.len();
            name.replace_range(dot..=dot, "_");
        }
    }
    name
}

/// Shortens a name that is too long. The result contains the start of the root, so that long names
/// that differ at their ends stay different.
fn cut(name: String, root: &Root, bytes_max: usize) -> String {
    if name.len() <= bytes_max { name } else { marked(&name, root, bytes_max) }
}

/// The name of a content if another content already has its name: `NAME (first 8 digits of the
/// root).EXT`.
#[must_use]
pub fn apart(name: &str, root: &Root) -> String {
    marked(name, root, NAME_BYTES_MAX)
}

/// A name with the start of the root before its extension.
fn marked(name: &str, root: &Root, bytes_max: usize) -> String {
    let extension = match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= EXTENSION_BYTES_MAX => &name[dot..],
        _ => "",
    };
    let mark = format!(" ({}){extension}", short(root));
    let stem_bytes = name.len() - extension.len();
    let end = name.floor_char_boundary(stem_bytes.min(bytes_max - mark.len()));
    // The end of the cut name must not combine with the text that follows.
    format!("{}{mark}", name[..end].trim_end_matches(['.', ' ', '\u{200d}']))
}

/// The digits of a root that make names different.
fn short(root: &Root) -> String {
    root.to_string()[..8].to_owned()
}

fn ends_with_ignoring_case(name: &str, suffix: &str) -> bool {
    let (name, suffix) = (name.as_bytes(), suffix.as_bytes());
    name.len() >= suffix.len() && name[name.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
}

/// Names that Windows treats as devices, with any extension.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end_matches(' ').to_uppercase();
    match stem.as_str() {
        "CON" | "PRN" | "AUX" | "NUL" | "CLOCK$" | "CONIN$" | "CONOUT$" => true,
        stem => match stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT")) {
            Some(port) => {
                let mut digits = port.chars();
                matches!(digits.next(), Some('0'..='9' | '¹' | '²' | '³')) && digits.next().is_none()
            }
            None => false,
        },
    }
}

/// Whether the character controls a terminal, ends a line, or reverses the order of characters.
fn is_harmful(c: char) -> bool {
    c.is_control() || matches!(c, '/' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn is_unsafe(c: char) -> bool {
    is_invisible(c) || matches!(c, '/' | '\\' | '<' | '>' | ':' | '"' | '|' | '?' | '*')
}

/// Whether the character is a control, bidirectional, zero-width or separator character: such
/// characters hide, reorder or control. These are U+0000 to U+001F, U+007F to U+009F, U+2028,
/// U+2029, and those of the general category Cf (Unicode 17) that have no glyph.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Root = Root([0xab; 32]);

    fn check_invariants(given: &str) -> String {
        let names = candidates(given, &ROOT);
        for name in &names {
            assert!(!name.is_empty() && name.len() <= NAME_BYTES_MAX, "{given:?} → {name:?}");
            assert!(!name.starts_with(['.', '-']), "{given:?} → {name:?}");
            assert!(!name.chars().any(is_harmful), "{given:?} → {name:?}");
            assert!(!ends_with_ignoring_case(name, ".part"), "{given:?} → {name:?}");
            assert!(!ends_with_ignoring_case(name, ".part.map"), "{given:?} → {name:?}");
        }
        for bytes_max in [NAME_BYTES_MAX, SHORT_NAME_BYTES_MAX] {
            let name = portable(given, &ROOT, bytes_max);
            assert!(names.contains(&name) && name.len() <= bytes_max, "{given:?} → {name:?}");
            assert!(!name.ends_with(['.', ' ']), "{given:?} → {name:?}");
            assert!(!name.chars().any(is_unsafe), "{given:?} → {name:?}");
            assert!(!is_device(&name), "{given:?} → {name:?}");
            assert_eq!(portable(&name, &ROOT, bytes_max), name, "twice is not once: {given:?}");
        }
        assert_eq!(sanitize(&names[0], &ROOT), names[0], "twice is not once: {given:?}");
        names[0].clone()
    }

    #[test]
    fn hostile_names_become_harmless() {
        for (given, expected, portable) in [
            ("song.flac", "song.flac", "song.flac"),
            ("../../etc/passwd", "_._.._etc_passwd", "_._.._etc_passwd"),
            ("..", "_.", "unnamed-abababab"),
            (".", "_", "unnamed-abababab"),
            ("", "unnamed-abababab", "unnamed-abababab"),
            (".bashrc", "_bashrc", "_bashrc"),
            ("-rf", "_rf", "_rf"),
            ("a\0b\u{1b}[31m", "a_b_[31m", "a_b_[31m"),
            ("con", "con", "_con"),
            ("NUL.txt", "NUL.txt", "_NUL.txt"),
            ("com1 .tar.gz", "com1 .tar.gz", "_com1 .tar.gz"),
            ("COM¹", "COM¹", "_COM¹"),
            ("combat", "combat", "combat"),
            ("x.part", "x_part", "x_part"),
            ("x.PART.map", "x_PART.map", "x_PART.map"),
            ("evil\u{202e}gpj.exe", "evil_gpj.exe", "evil_gpj.exe"),
            ("dots...", "dots...", "dots"),
            ("C:\\temp\\x", "C:\\temp\\x", "C__temp_x"),
        ] {
            assert_eq!(check_invariants(given), expected, "{given:?}");
            assert_eq!(super::portable(given, &ROOT, NAME_BYTES_MAX), portable, "{given:?}");
        }
    }

    #[test]
    fn what_a_disk_takes_stays() {
        for name in [
            "12:30 What? \"Yes\" <1> a|b *.txt",
            "👩\u{200d}👩\u{200d}👧.jpg",
            "می\u{200c}خواهم.mp3",
            "🏴\u{e0067}\u{e0062}\u{e007f}.png",
            "עברית\u{200f}.txt",
            "soft\u{ad}hyphen",
            "back\\slash",
            "ends with a dot.",
            " spaces ",
            "aux.c",
            &"ä".repeat(127),
            &"x".repeat(255),
        ] {
            assert_eq!(check_invariants(name), name);
        }
    }

    #[test]
    fn a_long_name_keeps_its_extension_and_a_piece_of_its_root() {
        let long = "長".repeat(90);
        let other = Root([0xcd; 32]);
        for (end, extension) in [("-01.mkv", " (abababab).mkv"), ("-02.mkv", " (abababab).mkv"), ("", " (abababab)")] {
            let name = check_invariants(&format!("{long}{end}"));
            assert!(name.ends_with(extension) && name.len() > NAME_BYTES_MAX - 4, "{name}");
            assert_ne!(sanitize(&format!("{long}{end}"), &other), name);
        }
        let name = check_invariants(&format!("{}.tar.xz", "ä".repeat(300)));
        assert!(name.ends_with(" (abababab).xz") && name.len() > NAME_BYTES_MAX - 8);
        let joined = check_invariants(&"👩\u{200d}".repeat(60));
        assert!(joined.ends_with("👩 (abababab)"), "{joined}");
        check_invariants(&format!("{}.{}", "x".repeat(150), "y".repeat(150)));
        check_invariants(&format!("{}.part{}", "x".repeat(250), "y".repeat(150)));
        check_invariants(&format!("{}{}", "x".repeat(254), " .".repeat(50)));
        check_invariants(&format!("con.{}", "x".repeat(255)));
        check_invariants(&"\u{200d}".repeat(300));
    }

    #[test]
    fn random_names_keep_every_promise() {
        let parts = [
            ".", "..", " ", "-", "/", "\\", "\0", "con", "NUL", "com7", ".part", ".map", "ä", "\u{202e}", "x", "1",
            "*", "💾", "\u{200d}",
        ];
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = |n: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % n as u64) as usize
        };
        for _ in 0..20_000 {
            let length = draw(12);
            let mut given: String = (0..length).map(|_| parts[draw(parts.len())]).collect();
            if draw(8) == 0 {
                given = given.repeat(1 + draw(60));
            }
            check_invariants(&given);
        }
    }

    #[test]
    fn what_is_shown_cannot_command_a_terminal() {
        assert_eq!(printable("blue träin 🐟"), "blue träin 🐟");
        assert_eq!(printable("a\u{1b}]0;x\u{7}\n"), "a\\u{1b}]0;x\\u{7}\\n");
        assert_eq!(printable("a\u{202e}b\u{9b}"), "a\\u{202e}b\\u{9b}");
        assert_eq!(printable_lines("a\nb\r\u{2028}"), "a\nb\\r\\u{2028}");
    }

    #[test]
    fn a_joiner_is_shown_where_a_script_needs_it() {
        for name in ["می\u{200c}خواهم.mp3", "PDF\u{200c}ها", "क्\u{200d}ष", "👩\u{200d}👩\u{200d}👧.jpg"]
        {
            assert_eq!(printable(name), name);
        }
        for (name, shown) in [
            ("pay\u{200d}pal", "pay\\u{200d}pal"),
            ("می\u{200c}", "می\\u{200c}"),
            ("\u{200d}👩", "\\u{200d}👩"),
            ("می\u{200c} x", "می\\u{200c} x"),
            ("م\u{200c}\u{200c}ی", "م\\u{200c}\\u{200c}ی"),
            ("م\u{200d}\u{202e}ی", "م\\u{200d}\\u{202e}ی"),
        ] {
            assert_eq!(printable(name), shown);
        }
    }

    #[test]
    fn a_text_that_was_shown_with_escapes_can_be_read_back() {
        for name in ["tab\there.txt", "two\nlines", "pay\u{200d}pal", "a\u{1b}[2J\u{202e}\\ü", "\r"] {
            assert_eq!(unescaped(&printable(name)).as_deref(), Some(name));
        }
        for name in ["plain", "back\\slash", "\\u{41}", "\\u{200c", "\\u{zz}", "\\u{110000}", "end\\", ""] {
            assert_eq!(unescaped(name), None, "{name}");
        }
    }
}
