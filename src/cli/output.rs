//! Lines on standard output and on standard error.

use std::io::{self, Write};

use crate::wire::name::printable;

/// Prints one line on standard output and flushes it, because its reader may wait for it.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Prints one line on standard error. If that is closed, the line is lost.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Reports an error on standard error.
pub(crate) fn error(sentence: &str) {
    note(&format!("sprat: {}", printable(sentence)));
}
