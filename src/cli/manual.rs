//! `sprat man DIR`: writes the manual pages, in the man(7) language. They are made from the
//! declarations of the commands and options; no option is named here.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind, Optionality};

use super::args::{self, DAEMONS, Man};
use super::origin::{key, variable};
use super::output;
use crate::control::rfc3339;
use crate::error::{Exit, Failure};

/// Longest line of a page, in bytes, as mandoc recommends.
const LINE_BYTES_MAX: usize = 78;

/// Writes one page for the program and one for each command.
pub(crate) fn run(args: &Man) -> Result<u8, Failure> {
    let failed = |path: &Path, error| Failure::new(Exit::Disk, format!("cannot write {}: {error}", path.display()));
    std::fs::create_dir_all(&args.folder).map_err(|error| failed(&args.folder, error))?;
    // This variable is a convention of reproducible builds.
    let epoch = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let date = rfc3339(epoch.map_or_else(SystemTime::now, |since| SystemTime::UNIX_EPOCH + since));
    // If nobody reads the output, the other pages are still written.
    let mut printed = Ok(());
    for (name, text) in pages(date.split('T').next().unwrap_or_default()) {
        let path = args.folder.join(format!("{name}.1"));
        std::fs::write(&path, text).map_err(|error| failed(&path, error))?;
        printed = printed.and_then(|()| output::result(false, "", &(), &path.display().to_string()));
    }
    printed?;
    Ok(Exit::Ok.code())
}

/// The name and the text of each page.
fn pages(date: &str) -> Vec<(String, String)> {
    let program = args::program();
    let of_command = |info: &CommandInfoWithArgs| (format!("sprat-{}", info.name), command_page(info, date));
    let commands = program.commands.iter().map(|sub| of_command(&sub.command));
    std::iter::once(("sprat".to_owned(), program_page(&program, date))).chain(commands).collect()
}

fn program_page(info: &CommandInfoWithArgs, date: &str) -> String {
    let mut page = Page::begin("sprat", "file sharing over super peers", date);
    page.line("\\fBsprat\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR ...]");
    page.section("DESCRIPTION");
    page.text(info.description);
    page.section("COMMANDS");
    for sub in &info.commands {
        page.line(".TP");
        page.line(&format!(".BR sprat\\-{} (1)", escaped(sub.name)));
        page.text(args::brief(sub.command.description));
    }
    page.options(info.flags);
    page.section("EXIT STATUS");
    for code in info.error_codes {
        page.line(".TP");
        page.line(&format!(".B {}", code.code));
        page.text(code.description);
    }
    page.section("NOTES");
    for (i, note) in info.notes.iter().enumerate() {
        page.paragraph(i);
        page.text(note);
    }
    page.end()
}

fn command_page(info: &CommandInfoWithArgs, date: &str) -> String {
    let mut page = Page::begin(&format!("sprat-{}", info.name), args::brief(info.description), date);
    let mut form = format!("\\fBsprat {}\\fR [\\fIOPTION\\fR ...]", info.name);
    for positional in info.positionals {
        let name = escaped(positional.name);
        form.push_str(&match positional.optionality {
            Optionality::Required => format!(" \\fI{name}\\fR"),
            Optionality::Optional => format!(" [\\fI{name}\\fR]"),
            Optionality::Repeating | Optionality::Greedy => format!(" [\\fI{name}\\fR ...]"),
        });
    }
    page.line(&form);
    page.section("DESCRIPTION");
    page.text(info.description);
    if !info.positionals.is_empty() {
        page.section("ARGUMENTS");
    }
    for positional in info.positionals {
        page.line(".TP");
        page.line(&format!("\\fI{}\\fR", escaped(positional.name)));
        page.text(positional.description);
    }
    page.options(info.flags);
    if !info.examples.is_empty() {
        page.section("EXAMPLES");
    }
    for (i, example) in info.examples.iter().enumerate() {
        page.paragraph(i);
        let example = example.replace("{command_name}", &format!("sprat {}", info.name));
        page.line(&format!("\\fB{}\\fR", escaped(&example)));
    }
    page.section("ENVIRONMENT");
    let Some(example) = info.flags.iter().find(|flag| flag.long != "--help") else { return page.end() };
    let file = format!(", and in a configuration file as {}", key(example.long));
    let file = if DAEMONS.contains(&info.name) { file } else { String::new() };
    page.text(&format!(
        "Each option can be set in the environment: {} as {}{file}. A flag overrides it.",
        example.long,
        variable(example.long)
    ));
    page.section("SEE ALSO");
    page.line(".BR sprat (1),");
    page.line(if info.name == "config" { ".BR sprat\\-peer (1)" } else { ".BR sprat\\-config (1)" });
    page.end()
}

/// A page that is being written.
struct Page(String);

impl Page {
    fn begin(name: &str, brief: &str, date: &str) -> Page {
        let mut page = Page(String::new());
        let (title, version) = (escaped(&name.to_uppercase()), env!("CARGO_PKG_VERSION"));
        page.line(&format!(".TH {title} 1 {date} \"sprat {version}\" \"User Commands\""));
        page.section("NAME");
        page.text(&format!("{name} - {}", brief.trim_end_matches('.')));
        page.section("SYNOPSIS");
        page
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn section(&mut self, name: &str) {
        self.line(&format!(".SH {name}"));
    }

    /// Begins a paragraph, except at the start of a section.
    fn paragraph(&mut self, i: usize) {
        if i > 0 {
            self.line(".PP");
        }
    }

    /// Writes wrapped text. Each sentence begins on a new line of the source.
    fn text(&mut self, text: &str) {
        let mut line = String::new();
        for word in text.split_whitespace() {
            let word = escaped(word);
            let ends = line.ends_with(['.', '?', '!']);
            if !line.is_empty() && (ends || line.len() + 1 + word.len() > LINE_BYTES_MAX) {
                self.line(&std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            } else if word.starts_with(['.', '\'']) {
                // Without this mark, roff would read the line as a request.
                line.push_str("\\&");
            }
            line.push_str(&word);
        }
        if !line.is_empty() {
            self.line(&line);
        }
    }

    fn options(&mut self, flags: &[FlagInfo]) {
        self.section("OPTIONS");
        for flag in flags {
            let mut form = flag.short.map(|short| format!("\\fB\\-{short}\\fR, ")).unwrap_or_default();
            // Writing to a string cannot fail.
            let _ = write!(form, "\\fB{}\\fR", escaped(flag.long));
            if let FlagInfoKind::Option { arg_name } = flag.kind {
                let _ = write!(form, " \\fI{}\\fR", escaped(arg_name));
            }
            self.line(".TP");
            self.line(&form);
            self.text(flag.description);
        }
    }

    fn end(self) -> String {
        self.0
    }
}

/// Text in which no character is special to roff.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\e"),
            '-' => escaped.push_str("\\-"),
            '~' => escaped.push_str("\\(ti"),
            '^' => escaped.push_str("\\(ha"),
            '`' => escaped.push_str("\\(ga"),
            '\'' => escaped.push_str("\\(aq"),
            c if c.is_ascii() => escaped.push(c),
            c => {
                let _ = write!(escaped, "\\[u{:04X}]", u32::from(c));
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_every_option() {
        let pages = pages("2026-01-01");
        let program = args::program();
        assert_eq!(pages.len(), 1 + program.commands.len());
        for (sub, (name, page)) in program.commands.iter().zip(&pages[1..]) {
            assert_eq!(*name, format!("sprat-{}", sub.name));
            for flag in sub.command.flags {
                assert!(page.contains(&format!("\\fB{}\\fR", escaped(flag.long))), "{name} {}", flag.long);
            }
            assert!(page.lines().all(|line| !line.ends_with(' ') && !line.is_empty()), "{page}");
        }
    }
}
