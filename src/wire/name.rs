//! Names that come from strangers: how they are made safe for a disk, and how they are shown. Pure
//! text, no IO.

use super::ids::Root;
use crate::config::NAME_BYTES_MAX;

/// Longest extension, in bytes with its dot, that survives when a name is cut.
const EXTENSION_BYTES_MAX: usize = 24;
/// Passes until no rule has anything left to change; a name that needs more is not worth keeping.
const PASSES_MAX: usize = 8;

/// One path component that is safe to create on any file system: never empty, hidden, `.` or `..`,
/// at most [`NAME_BYTES_MAX`] bytes, no device of Windows, none of our own suffixes. Sanitizing
/// twice changes nothing more.
#[must_use]
pub fn sanitize(name: &str, root: &Root) -> String {
    let mut name: String = name.chars().map(|c| if is_unsafe(c) { '_' } else { c }).collect();
    for _ in 0..PASSES_MAX {
        let next = pass(&name);
        if next == name {
            break;
        }
        name = next;
    }
    if name.is_empty() || pass(&name) != name { unnamed(root) } else { name }
}

/// Text as it may be shown on a terminal or written into a log, in one line: what is not plainly
/// visible becomes `\u{…}`.
#[must_use]
pub fn printable(text: &str) -> String {
    shown(text, |_| false)
}

/// As [`printable`], but line ends stay: for text of several lines whose foreign parts were made
/// printable before.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    shown(text, |c| c == '\n')
}

fn shown(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if stays(c) => shown.push(c),
            '\n' | '\r' | '\t' => shown.extend(c.escape_default()),
            c if is_invisible(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

fn unnamed(root: &Root) -> String {
    format!("unnamed-{}", &root.to_string()[..8])
}

fn pass(name: &str) -> String {
    // Windows drops trailing dots and spaces, so that two names would become one (libtorrent's
    // note).
    let mut name = name.trim_end_matches(['.', ' ']).to_owned();
    if name.starts_with(['.', '-']) {
        name.replace_range(..1, "_");
    }
    if is_device(&name) {
        name.insert(0, '_');
    }
    for suffix in [".part", ".part.map"] {
        if ends_with_ignoring_case(&name, suffix) {
            let dot = name.len() - suffix.len();
            name.replace_range(dot..=dot, "_");
        }
    }
    cut(name)
}

fn cut(name: String) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name;
    }
    let extension = match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= EXTENSION_BYTES_MAX => &name[dot..],
        _ => "",
    };
    let mut end = NAME_BYTES_MAX - extension.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{extension}", &name[..end])
}

fn ends_with_ignoring_case(name: &str, suffix: &str) -> bool {
    let (name, suffix) = (name.as_bytes(), suffix.as_bytes());
    name.len() >= suffix.len() && name[name.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
}

/// Names that Windows takes for devices, whatever their extension.
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

fn is_unsafe(c: char) -> bool {
    is_invisible(c) || matches!(c, '/' | '\\' | '<' | '>' | ':' | '"' | '|' | '?' | '*')
}

/// Control, bidirectional, zero-width and separator characters: they hide, reorder or command.
/// U+0000 to U+001F, U+007F to U+009F, U+2028 and U+2029, and those of the general category Cf
/// (Unicode 17) that have no glyph.
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
        let name = sanitize(given, &ROOT);
        assert!(!name.is_empty() && name.len() <= NAME_BYTES_MAX, "{given:?} → {name:?}");
        assert!(!name.starts_with(['.', '-']) && !name.ends_with(['.', ' ']), "{given:?} → {name:?}");
        assert!(!name.chars().any(is_unsafe), "{given:?} → {name:?}");
        assert!(!is_device(&name), "{given:?} → {name:?}");
        assert!(!ends_with_ignoring_case(&name, ".part"), "{given:?} → {name:?}");
        assert!(!ends_with_ignoring_case(&name, ".part.map"), "{given:?} → {name:?}");
        assert_eq!(sanitize(&name, &ROOT), name, "twice is not once: {given:?}");
        name
    }

    #[test]
    fn hostile_names_become_harmless() {
        for (given, expected) in [
            ("song.flac", "song.flac"),
            ("../../etc/passwd", "_._.._etc_passwd"),
            ("..", "unnamed-abababab"),
            (".", "unnamed-abababab"),
            ("", "unnamed-abababab"),
            ("  . . ", "unnamed-abababab"),
            (".bashrc", "_bashrc"),
            ("-rf", "_rf"),
            ("a\0b\u{1b}[31m", "a_b_[31m"),
            ("con", "_con"),
            ("NUL.txt", "_NUL.txt"),
            ("com1 .tar.gz", "_com1 .tar.gz"),
            ("COM¹", "_COM¹"),
            ("combat", "combat"),
            ("x.part", "x_part"),
            ("x.PART.map", "x_PART.map"),
            ("evil\u{202e}gpj.exe", "evil_gpj.exe"),
            ("dots...", "dots"),
            ("C:\\temp\\x", "C__temp_x"),
        ] {
            assert_eq!(check_invariants(given), expected, "{given:?}");
        }
    }

    #[test]
    fn a_long_name_keeps_its_extension() {
        let name = check_invariants(&format!("{}.tar.xz", "ä".repeat(300)));
        assert!(name.ends_with(".xz") && name.len() > NAME_BYTES_MAX - 4);
        check_invariants(&format!("{}.{}", "x".repeat(150), "y".repeat(150)));
        check_invariants(&format!("{}.part{}", "x".repeat(195), "y".repeat(150)));
        check_invariants(&format!("{}{}", "x".repeat(199), " .".repeat(50)));
        check_invariants(&format!("con.{}", "x".repeat(196)));
    }

    #[test]
    fn random_names_keep_every_promise() {
        let parts = [
            ".", "..", " ", "-", "/", "\\", "\0", "con", "NUL", "com7", ".part", ".map", "ä", "\u{202e}", "x", "1",
            "*", "💾",
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
}
