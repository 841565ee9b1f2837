//! Text on standard output and on standard error. All printed text passes through one formatter:
//! only visible characters and line ends reach a terminal.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::LazyLock;
use std::time::SystemTime;

use serde::Serialize;

use super::columns::Window;
use crate::control;
use crate::error::{Exit, Failure};
use crate::proto::ClientEvent;
use crate::proto::event::Outcome;
use crate::wire::name::{is_invisible, printable, printable_lines};

/// The text as it is printed: lines of visible characters.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if text.contains(|c| c != '\n' && is_invisible(c)) { printable_lines(text).into() } else { text.into() }
}

/// Prints one line on standard output and flushes it, because its reader may wait for it.
pub(crate) fn line(text: &str) -> io::Result<()> {
    block(&format!("{text}\n"))
}

/// Prints a result of a command: a line of text or, with `json`, an event with its fields.
///
/// # Errors
/// Exit 1 if it cannot be written.
pub(crate) fn result<T: Serialize>(json: bool, event: &'static str, fields: &T, text: &str) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Event<'a, T> {
        event: &'static str,
        #[serde(flatten)]
        fields: &'a T,
    }
    let printed = match json {
        true => line(&control::value_line(&Event { event, fields }, SystemTime::now())),
        false => line(text),
    };
    printed.map_err(unwritable)
}

/// Prints `done` for a command that has done everything, if the command prints JSON.
///
/// # Errors
/// Exit 1 if it cannot be written.
pub(crate) fn done(json: bool) -> Result<u8, Failure> {
    let outcome = Outcome { ok: true, ..Outcome::default() };
    let done = control::event_line(&ClientEvent::Done(outcome), SystemTime::now());
    let printed = if json { line(&done) } else { Ok(()) };
    printed.map_err(unwritable)?;
    Ok(Exit::Ok.code())
}

/// Prints complete lines on standard output.
pub(crate) fn block(text: &str) -> io::Result<()> {
    styled(&visible(text))
}

/// Prints text of this program that may contain escapes, such as colors.
pub(crate) fn styled(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Why a command ends that cannot write to standard output. If a reader such as `| head` has read
/// enough, this is not a failure: the exit code is 0, and `cli::run` prints nothing.
pub(crate) fn unwritable(error: io::Error) -> Failure {
    let exit = if error.kind() == io::ErrorKind::BrokenPipe { Exit::Ok } else { Exit::Internal };
    Failure::new(exit, format!("cannot write to standard output: {error}"))
}

/// The columns of a line on standard output, if that is a terminal.
pub(crate) fn width() -> Option<usize> {
    Window::of(io::stdout()).map(|window| window.columns)
}

/// The columns of a line on standard error, if that is a terminal.
pub(crate) fn note_width() -> Option<usize> {
    Window::of(io::stderr()).map(|window| window.columns)
}

/// Prints a path as a line. A program gets its exact bytes, because it may open the path. A
/// terminal gets visible characters.
pub(crate) fn path(path: &Path) -> io::Result<()> {
    exact_bytes(path.as_os_str().as_bytes())
}

/// Prints a line that contains a path. A program gets its exact bytes, a terminal visible
/// characters.
pub(crate) fn exact(text: &str) -> io::Result<()> {
    exact_bytes(text.as_bytes())
}

fn exact_bytes(text: &[u8]) -> io::Result<()> {
    // This is determined only once, and not for each of many files.
    static IS_TERMINAL: LazyLock<bool> = LazyLock::new(|| io::stdout().is_terminal());
    if *IS_TERMINAL {
        return line(&printable(&String::from_utf8_lossy(text)));
    }
    let mut out = io::stdout().lock();
    out.write_all(text)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Prints one line on standard error. If standard error is closed, the line is lost.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{}", visible(text));
}

/// Reports an error on standard error.
pub(crate) fn error(sentence: &str) {
    note(&format!("sprat: {}", printable(sentence)));
}
