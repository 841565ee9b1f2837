//! `sprat hash`: prints roots of files as `b3sum` does, and checks lists of roots.
//!
//! A line is the root in lower-case hex digits, two spaces and the path. If the path contains a
//! backslash, a newline or a carriage return, these are written as `\\`, `\n` and `\r`, and the
//! line begins with a backslash.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::args::Hash;
use super::output;
use crate::error::{Exit, Failure};
use crate::wire::Root;

/// The name of standard input.
pub(crate) const STDIN: &str = "-";

/// Runs the command.
pub(crate) fn run(args: &Hash) -> Result<u8, Failure> {
    let stdin = [STDIN.to_owned()];
    let files = if args.files.is_empty() { &stdin[..] } else { &args.files };
    let mut tally = Tally::default();
    for file in files {
        if args.check {
            check(file, args.quiet, &mut tally)?;
            continue;
        }
        match root_of(file) {
            Ok(root) => {
                tally.right += 1;
                match output::exact(&line(&root, file)) {
                    Ok(()) => {}
                    // Files that could not be read still decide the exit code.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                    Err(error) => return Err(output::unwritable(error)),
                }
            }
            Err(error) => {
                output::error(&format!("{file}: {error}"));
                tally.unread += 1;
            }
        }
    }
    Ok(tally.exit().code())
}

/// The results for the files.
#[derive(Debug, Default)]
struct Tally {
    right: u64,
    wrong: u64,
    unread: u64,
}

impl Tally {
    fn exit(&self) -> Exit {
        match self {
            Tally { wrong: 1.., .. } => Exit::Integrity,
            Tally { right: 0, unread: 1.., .. } => Exit::Disk,
            Tally { unread: 1.., .. } => Exit::Partial,
            Tally { .. } => Exit::Ok,
        }
    }
}

/// The root of a file, or of standard input.
pub(crate) fn root_of(file: &str) -> io::Result<Root> {
    if file == STDIN { root_of_all(io::stdin().lock()) } else { root_of_all(File::open(file)?) }
}

fn root_of_all(content: impl Read) -> io::Result<Root> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(content)?;
    Ok(Root(*hasher.finalize().as_bytes()))
}

/// Checks the files of a list.
fn check(list: &str, quiet: bool, tally: &mut Tally) -> Result<(), Failure> {
    let unread = |error: io::Error| Failure::new(Exit::Disk, format!("cannot read the list {list:?}: {error}"));
    let lines: Box<dyn BufRead> = if list == STDIN {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(list).map_err(unread)?))
    };
    for (number, text) in (1..).zip(lines.lines()) {
        let text = text.map_err(unread)?;
        let Some((root, file)) = read_line(&text) else {
            output::error(&format!("line {number} of {list} is not a root, two spaces and a path"));
            tally.unread += 1;
            continue;
        };
        // The path is printed as in the list, so that a program can compare both.
        let shown = escaped(&file).unwrap_or_else(|| file.clone());
        match root_of(&file) {
            Ok(found) if found == root => {
                tally.right += 1;
                if !quiet {
                    print(&format!("{shown}: OK"))?;
                }
            }
            Ok(_) => {
                tally.wrong += 1;
                print(&format!("{shown}: FAILED"))?;
            }
            Err(error) => {
                tally.unread += 1;
                print(&format!("{shown}: FAILED ({error})"))?;
            }
        }
    }
    Ok(())
}

fn print(text: &str) -> Result<(), Failure> {
    output::exact(text).map_err(|error| Failure::new(Exit::Internal, format!("cannot write the output: {error}")))
}

/// The line of a file.
fn line(root: &Root, file: &str) -> String {
    match escaped(file) {
        // The backslash is written before the root.
        Some(path) => format!("\\{root}  {}", &path[1..]),
        None => format!("{root}  {file}"),
    }
}

/// A path with escapes and with the backslash that marks the line. None if the path needs no
/// escapes.
fn escaped(path: &str) -> Option<String> {
    let needs = path.contains(['\\', '\n', '\r']);
    needs.then(|| format!("\\{}", path.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")))
}

/// The root and the path of a line.
fn read_line(text: &str) -> Option<(Root, String)> {
    let text = text.strip_suffix('\r').unwrap_or(text);
    let (is_escaped, text) = text.strip_prefix('\\').map_or((false, text), |text| (true, text));
    let (root, path) = text.split_once("  ")?;
    let root = Root::from_hex(root).filter(|_| root.bytes().all(|byte| !byte.is_ascii_uppercase()))?;
    let path = if is_escaped { unescaped(path)? } else { path.to_owned() };
    // A replacement character is in the place of lost bytes, so no file can have this path.
    let is_path = !path.is_empty() && !path.contains(['\0', char::REPLACEMENT_CHARACTER]);
    is_path.then_some((root, path))
}

fn unescaped(path: &str) -> Option<String> {
    let mut plain = String::with_capacity(path.len());
    let mut chars = path.chars();
    while let Some(next) = chars.next() {
        plain.push(match next {
            '\\' => match chars.next()? {
                'n' => '\n',
                'r' => '\r',
                '\\' => '\\',
                _ => return None,
            },
            other => other,
        });
    }
    Some(plain)
}

/// The path as the user gave it, in the form in which it is printed.
pub(crate) fn shown(path: &Path) -> String {
    crate::wire::name::printable(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

    #[test]
    fn a_line_is_that_of_b3sum_and_is_read_back() {
        let root = Root::from_hex(EMPTY).unwrap();
        for (path, written) in [
            ("a b", format!("{EMPTY}  a b")),
            ("  x", format!("{EMPTY}    x")),
            ("-", format!("{EMPTY}  -")),
            ("a\\b", format!("\\{EMPTY}  a\\\\b")),
            ("a\nb\rc", format!("\\{EMPTY}  a\\nb\\rc")),
            ("ü\u{1b}[m", format!("{EMPTY}  ü\u{1b}[m")),
        ] {
            assert_eq!(line(&root, path), written);
            assert_eq!(read_line(&written), Some((root, path.to_owned())), "{written}");
        }
        assert_eq!(read_line(&format!("{EMPTY}  a\r")), Some((root, "a".to_owned())), "a list with CRLF");
        for wrong in [
            String::new(),
            EMPTY.to_owned(),
            format!("{EMPTY}  "),
            format!("{EMPTY} a"),
            format!("{EMPTY} *a"),
            format!("{}  a", EMPTY.to_uppercase()),
            format!("{}  a", &EMPTY[1..]),
            format!("\\{EMPTY}  a\\x"),
            format!("\\{EMPTY}  a\\"),
            format!("{EMPTY}  a\u{fffd}"),
        ] {
            assert_eq!(read_line(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_exit_code_says_the_worst() {
        let exit = |right, wrong, unread| Tally { right, wrong, unread }.exit();
        assert_eq!([exit(2, 0, 0), exit(0, 0, 0)], [Exit::Ok; 2]);
        assert_eq!([exit(2, 1, 0), exit(0, 1, 1)], [Exit::Integrity; 2]);
        assert_eq!([exit(1, 0, 1), exit(0, 0, 1)], [Exit::Partial, Exit::Disk]);
    }
}
