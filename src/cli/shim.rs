//! What argh does not do: `--key=value`, `-h` and `--version`, `-vv`, switches before the command,
//! values from the environment and from a file, and usage errors that are one sentence and exit
//! with 2. It does no I/O: arguments, environment and the reading of files are parameters.

use std::ffi::OsString;

use argh::{ArgsInfo, CommandInfoWithArgs, EarlyExit, FlagInfoKind, FromArgs, Optionality};

use super::args::{self, Command, Top};
use super::layers::{self, is_on};
use super::nearest::nearest;
use super::origin::{Origin, Setting, with_origin};
use super::settings::Env;
use super::settings_file::Read;
use crate::trust::invitation::SCHEME;

/// The meaning of the command line.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// A command to run.
    Run(Box<Run>),
    /// A text to print (help or version). The exit code is 0.
    Print(String),
    /// A usage error.
    Usage(UsageError),
}

/// A command to run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) command: Command,
    pub(crate) name: String,
    /// The values of its options, and where each comes from.
    pub(crate) settings: Vec<Setting>,
    /// Whether standard output must be JSON.
    pub(crate) json: bool,
}

/// A usage error: what is wrong, in one sentence, and where to read more.
#[derive(Debug)]
pub(crate) struct UsageError {
    /// The sentence, in lower case and without a full stop.
    pub(crate) sentence: String,
    /// One line that begins with `Usage:`.
    pub(crate) usage: String,
    /// Whether standard output must be JSON.
    pub(crate) json: bool,
}

/// Widest line of a help text, as argh wraps.
const HELP_COLUMNS: usize = 80;

/// Other users can see the arguments of a process. So an invitation is neither used nor printed.
const NO_INVITATION: &str =
    "an invitation is a secret and is no argument; write it to a file, and run sprat join < FILE";

/// Switches that may be written before the command.
const HOISTED: [&str; 6] = ["-v", "-vv", "-q", "--verbose", "--quiet", "--json"];

/// Reads the command line without the name of the program, the environment and, for a daemon, the
/// configuration file.
pub(crate) fn parse(argv: Vec<OsString>, env: Env<'_>, read: Read<'_>) -> Parsed {
    let mut args = Vec::with_capacity(argv.len());
    let mut lossy = None;
    for arg in argv {
        args.push(arg.into_string().unwrap_or_else(|arg| {
            let text = arg.to_string_lossy().into_owned();
            lossy = Some(text.clone());
            text
        }));
    }
    let json = json_promised(&args, env);
    let error = |sentence: String, command: &str| Parsed::Usage(UsageError { sentence, usage: usage(command), json });
    if args.iter().any(|arg| is_invitation(arg)) {
        return error(NO_INVITATION.into(), "join");
    }
    if let Some(text) = lossy {
        return error(format!("the argument {text:?} is not UTF-8"), "");
    }
    let mut hoisted = Vec::new();
    let mut rest = args.into_iter().peekable();
    let name = loop {
        let Some(arg) = rest.next() else {
            return error("a command is missing".into(), "");
        };
        match arg.as_str() {
            "-h" | "--help" => return Parsed::Print(help(&[])),
            "-V" | "--version" => return Parsed::Print(format!("sprat {}\n", env!("CARGO_PKG_VERSION"))),
            "help" => match rest.next() {
                None => return Parsed::Print(help(&[])),
                Some(command) if args::info(&command).is_some() => return Parsed::Print(help(&[&command])),
                Some(command) => return error(no_command(&command), ""),
            },
            switch if HOISTED.contains(&switch) => hoisted.push(arg),
            option if option.starts_with('-') => {
                let why = "is not an option of sprat itself; write the options of a command after its name";
                return error(format!("{option:?} {why}"), "");
            }
            _ => break arg,
        }
    };
    let Some(info) = args::info(&name) else {
        return error(no_command(&name), "");
    };
    let Completed { args, settings } = match complete(&info, hoisted, rest, env, read) {
        Ok(completed) => completed,
        Err(sentence) => return error(sentence, &name),
    };
    match run_argh(&name, &args) {
        Ok(Ok(command)) => Parsed::Run(Box::new(Run { command, name, settings, json })),
        Ok(Err(help)) => Parsed::Print(help),
        Err(sentence) => error(with_origin(sentence, &settings), &name),
    }
}

/// The values of all options of a command with these arguments.
pub(crate) fn settings(
    info: &CommandInfoWithArgs,
    args: &[String],
    env: Env<'_>,
    read: Read<'_>,
) -> Result<Vec<Setting>, String> {
    complete(info, Vec::new(), args.iter().cloned(), env, read).map(|completed| completed.settings)
}

/// The command of a daemon with these values.
pub(crate) fn daemon(info: &CommandInfoWithArgs, settings: &[Setting]) -> Result<Command, String> {
    match run_argh(info.name, &layers::args(info, settings)) {
        Ok(Ok(command)) => Ok(command),
        Ok(Err(help)) => Err(help),
        Err(sentence) => Err(with_origin(sentence, settings)),
    }
}

/// The form of a command or of the program, and where to read more about it. It is a single line,
/// so that people notice the error before it.
pub(crate) fn usage(command: &str) -> String {
    let Some(info) = args::info(command) else {
        return "Usage: sprat COMMAND [OPTIONS]; `sprat --help` lists the commands".to_owned();
    };
    let mut form = format!("Usage: sprat {command}");
    for positional in info.positionals {
        let (before, after) = match positional.optionality {
            Optionality::Required => ("", ""),
            Optionality::Optional => ("[", "]"),
            Optionality::Repeating | Optionality::Greedy => ("[", "...]"),
        };
        form.push_str(&format!(" {before}{}{after}", positional.name));
    }
    format!("{form} [OPTIONS]; `sprat {command} --help` lists them")
}

fn help(command: &[&str]) -> String {
    let args: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
    match Top::from_args(&["sprat"], &args) {
        Err(EarlyExit { output, .. }) => wrapped(&output),
        Ok(_) => unreachable!("--help is a help trigger of every command"),
    }
}

/// argh wraps the options, but not the usage, descriptions and notes.
fn wrapped(help: &str) -> String {
    let mut text = String::with_capacity(help.len());
    for line in help.lines() {
        let indent = if line.starts_with("Usage:") { 4 } else { line.len() - line.trim_start().len() };
        let mut column = 0;
        for (i, word) in line.split(' ').enumerate() {
            if i > 0 && column + 1 + word.chars().count() > HELP_COLUMNS && column > indent {
                text.push('\n');
                text.push_str(&" ".repeat(indent));
                column = indent;
            } else if i > 0 {
                text.push(' ');
                column += 1;
            }
            text.push_str(word);
            column += word.chars().count();
        }
        text.push('\n');
    }
    text
}

/// Whether an argument, or the value after its equals sign, begins as an invitation does.
pub(crate) fn is_invitation(arg: &str) -> bool {
    let begins = |text: &str| {
        let begin = text.trim_ascii_start().as_bytes().get(..SCHEME.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(SCHEME.as_bytes()))
    };
    begins(arg) || arg.split_once('=').is_some_and(|(_, value)| begins(value))
}

fn no_command(name: &str) -> String {
    let known: Vec<&str> = Top::get_args_info().commands.iter().map(|sub| sub.name).collect();
    match nearest(name, known.iter().copied()) {
        Some(meant) => format!("there is no command {name:?}; did you mean {meant}?"),
        None => format!("there is no command {name:?}; the commands are {}", known.join(", ")),
    }
}

fn no_flag(info: &CommandInfoWithArgs, key: &str) -> String {
    let known = info.flags.iter().map(|flag| flag.long);
    match nearest(key, known) {
        Some(meant) => format!("unrecognized argument: {key}; did you mean {meant}?"),
        None => format!("unrecognized argument: {key}"),
    }
}

fn json_promised(args: &[String], env: Env<'_>) -> bool {
    let flag = args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json" || arg.starts_with("--json="));
    flag || env("SPRAT_JSON").is_some_and(|value| is_on(&value.to_string_lossy()) == Some(true))
}

/// The arguments for argh, and the values of all options.
struct Completed {
    args: Vec<String>,
    settings: Vec<Setting>,
}

/// Splits `--key=value` and `-vv`. For options that were not given, adds values from the
/// environment and from a file.
fn complete(
    info: &CommandInfoWithArgs,
    hoisted: Vec<String>,
    mut given: impl Iterator<Item = String>,
    env: Env<'_>,
    read: Read<'_>,
) -> Result<Completed, String> {
    let mut args = Vec::new();
    let mut operands = Vec::new();
    let mut flags: Vec<Setting> = Vec::new();
    let mut feed = hoisted.into_iter();
    let mut literal = false;
    let mut set = |flag, value| flags.push(Setting { flag, value, origin: Origin::Flag });
    while let Some(arg) = feed.next().or_else(|| given.next()) {
        if arg == "--" {
            literal = true;
            operands.extend(given);
            break;
        }
        // argh would read `-` as an option.
        literal |= arg == "-";
        if arg == "-" || !arg.starts_with('-') {
            operands.push(arg);
            continue;
        }
        if let Some(count) = arg.strip_prefix("-v").filter(|rest| !rest.is_empty() && rest.bytes().all(|b| b == b'v')) {
            args.extend((0..=count.len()).map(|_| "-v".to_owned()));
            set("--verbose", "true".to_owned());
            continue;
        }
        let (key, value) = match arg.split_once('=') {
            Some((key, value)) if key.starts_with("--") => (key.to_owned(), Some(value.to_owned())),
            _ => (arg, None),
        };
        let flag =
            info.flags.iter().find(|flag| flag.long == key || flag.short.is_some_and(|s| key == format!("-{s}")));
        if flag.is_none() && key.len() > 1 && key != "-h" {
            return Err(no_flag(info, &key));
        }
        let takes_value = flag.is_some_and(|flag| matches!(flag.kind, FlagInfoKind::Option { .. }));
        if value.is_some() && flag.is_some() && !takes_value {
            return Err(format!("{key} takes no value"));
        }
        args.push(key);
        // The next argument is the value of the option, even if it looks like an option.
        let value = value.or_else(|| if takes_value { given.next() } else { None });
        if let Some(flag) = flag {
            set(flag.long, value.clone().unwrap_or_else(|| "true".to_owned()));
        }
        args.extend(value);
    }
    let settings = layers::settings(info, flags, env, read)?;
    let below = settings.iter().filter(|setting| setting.origin != Origin::Flag);
    args.splice(0..0, layers::args(info, below));
    args.extend(literal.then(|| "--".to_owned()));
    args.extend(operands);
    Ok(Completed { args, settings })
}

/// The command, or the help text that was requested.
fn run_argh(name: &str, args: &[String]) -> Result<Result<Command, String>, String> {
    let all: Vec<&str> = std::iter::once(name).chain(args.iter().map(String::as_str)).collect();
    match Top::from_args(&["sprat"], &all) {
        Ok(top) => Ok(Ok(top.command)),
        Err(EarlyExit { output, status: Ok(()) }) => Ok(Err(wrapped(&output))),
        Err(EarlyExit { output, status: Err(()) }) => Err(with_remedy(one_sentence(&output))),
    }
}

/// argh's errors begin in upper case, and put each missing argument on a line of its own.
fn one_sentence(output: &str) -> String {
    let mut sentence = String::with_capacity(output.len());
    for line in output.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if !sentence.is_empty() {
            sentence.push_str(if sentence.ends_with(':') { " " } else { ", " });
        }
        sentence.push_str(line);
    }
    let mut chars = sentence.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => "the arguments cannot be read".into(),
    }
}

/// Replaces the errors of the standard library, which do not say what to write.
fn with_remedy(sentence: String) -> String {
    const NUMBER: &str = "write a whole number";
    let remedies = [
        ("invalid digit found in string", NUMBER),
        ("cannot parse integer from empty string", NUMBER),
        ("number too large to fit in target type", "write a smaller number"),
        ("invalid float literal", "write a number such as 0.5"),
        ("cannot parse float from empty string", "write a number such as 0.5"),
        (
            "attempted to convert a string that doesn't match an existing log level",
            "write error, warn, info, debug or trace",
        ),
    ];
    match remedies.iter().find_map(|(error, remedy)| Some((sentence.strip_suffix(error)?, remedy))) {
        Some((sentence, remedy)) => format!("{sentence}{remedy}"),
        None => sentence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_with(args: &[&str], env: &[(&str, &str)]) -> Parsed {
        let lookup = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        parse(args.iter().map(OsString::from).collect(), &lookup, &|path| match path.to_str() {
            Some("/c") => Ok("log_level = 'warn'\n[peer]\nparallel = 2\nuploads = 99\n".into()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        })
    }

    fn query(args: &[&str], env: &[(&str, &str)]) -> super::super::args::Query {
        match parse_with(args, env) {
            Parsed::Run(run) => {
                let Command::Query(query) = run.command else { panic!("{args:?}: {run:?}") };
                query
            }
            other @ (Parsed::Print(_) | Parsed::Usage(_)) => panic!("{args:?}: {other:?}"),
        }
    }

    fn sentence(args: &[&str], env: &[(&str, &str)]) -> String {
        match parse_with(args, env) {
            Parsed::Usage(error) => {
                assert!(error.usage.starts_with("Usage: sprat"), "{}", error.usage);
                assert!(!error.usage.contains('\n') && error.usage.contains("--help"), "{}", error.usage);
                error.sentence
            }
            other @ (Parsed::Run(_) | Parsed::Print(_)) => panic!("{args:?}: {other:?}"),
        }
    }

    #[test]
    fn a_value_may_follow_an_equals_sign() {
        assert_eq!(query(&["query", "--ttl=3", "a=b"], &[]).ttl, Some(3));
        assert_eq!(query(&["query", "--ttl", "3", "--", "--ttl=4"], &[]).pattern, "--ttl=4");
        assert_eq!(sentence(&["query", "x", "--json=1"], &[]), "--json takes no value");
    }

    #[test]
    fn words_that_are_not_quoted_are_one_pattern() {
        let words = query(&["query", "blue", "train", "--exact"], &[]);
        assert_eq!((words.pattern.as_str(), &words.also[..]), ("blue", &["train".to_owned()][..]));
    }

    #[test]
    fn help_is_a_pattern_after_query() {
        assert_eq!(query(&["query", "help"], &[]).pattern, "help");
        for args in [&["query", "-h"][..], &["query", "--help"], &["help", "query"]] {
            assert!(matches!(parse_with(args, &[]), Parsed::Print(text) if text.starts_with("Usage: sprat query")));
        }
    }

    #[test]
    fn switches_may_stand_before_the_command_and_be_combined() {
        assert!(query(&["--json", "query", "x"], &[]).json);
        assert_eq!(query(&["query", "x", "-vv"], &[]).verbose, 2);
        assert_eq!(query(&["-vv", "query", "x", "-v"], &[]).verbose, 3);
    }

    #[test]
    fn the_environment_sets_what_no_flag_sets() {
        let env = [("SPRAT_TTL", "5"), ("SPRAT_SUPER", "a:1, b:2"), ("SPRAT_JSON", "0"), ("SPRAT_EXACT", "true")];
        let query_args = query(&["query", "x"], &env);
        assert_eq!((query_args.ttl, query_args.supers.len()), (Some(5), 2));
        assert!(query_args.exact && !query_args.json);
        assert_eq!(query(&["query", "x", "--ttl", "1"], &env).ttl, Some(1));
        assert!(query(&["query", "x", "--control", "/s"], &env).supers.is_empty());
        assert!(sentence(&["query", "x"], &[("SPRAT_TTL", "many")]).ends_with("(from SPRAT_TTL)"));
        assert!(sentence(&["query", "x"], &[("SPRAT_EXACT", "perhaps")]).contains("SPRAT_EXACT"));
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let peer = |args: &[&str], env: &[(&str, &str)]| match parse_with(args, env) {
            Parsed::Run(run) => {
                let Command::Peer(peer) = run.command else { panic!("{args:?}: {run:?}") };
                peer
            }
            other @ (Parsed::Print(_) | Parsed::Usage(_)) => panic!("{args:?}: {other:?}"),
        };
        let env = [("SPRAT_CONFIG", "/c"), ("SPRAT_UPLOADS", "3"), ("SPRAT_SUPER", "h:1"), ("SPRAT_CONTROL", "/s")];
        let (both, quiet) = (peer(&["peer"], &env), peer(&["peer", "--parallel", "5", "-v"], &env));
        assert_eq!((both.parallel, both.uploads, both.log_level), (Some(2), Some(3), Some(log::LevelFilter::Warn)));
        assert_eq!((quiet.parallel, quiet.log_level, quiet.verbose), (Some(5), None, 1));
        assert!(both.supers.len() == 1 && both.control.is_some(), "of a daemon these do not exclude each other");
        let wrong = sentence(&["peer", "--config", "/c"], &[]);
        assert!(wrong.ends_with("write one from 1 to 16 (from /c:4)"), "{wrong}");
        assert!(sentence(&["peer", "--config", "/d"], &[]).contains("/d"));
    }

    #[test]
    fn an_error_is_one_sentence() {
        assert_eq!(sentence(&[], &[]), "a command is missing");
        assert_eq!(sentence(&["query"], &[]), "required positional arguments not provided: PATTERN");
        assert_eq!(sentence(&["query", "x", "--nope"], &[]), "unrecognized argument: --nope");
        assert_eq!(sentence(&["query", "x", "--jsno"], &[]), "unrecognized argument: --jsno; did you mean --json?");
        assert_eq!(
            sentence(&["query", "x", "--max_size=1"], &[]),
            "unrecognized argument: --max_size; did you mean --max-size?"
        );
        assert!(sentence(&["nope"], &[]).starts_with("there is no command \"nope\"; the commands are demo, "));
        assert_eq!(sentence(&["qeury", "x"], &[]), "there is no command \"qeury\"; did you mean query?");
        assert_eq!(sentence(&["help", "search"], &[]), "there is no command \"search\"; did you mean query?");
        assert!(sentence(&["query", "x", "--super", "::1:4777"], &[]).contains("HOST:PORT"));
        assert!(sentence(&["sim", "--supers", "ten"], &[]).ends_with("'ten': write a whole number"));
        assert!(sentence(&["sim", "--supers", "-1"], &[]).ends_with("'-1': write a whole number"));
        assert!(sentence(&["sim", "--loss", "much"], &[]).ends_with("'much': write a number such as 0.5"));
        assert!(sentence(&["super", "--log-level", "loud"], &[]).ends_with("write error, warn, info, debug or trace"));
    }

    #[test]
    fn json_is_promised_even_if_nothing_else_is_right() {
        assert!(matches!(parse_with(&["query", "--json"], &[]), Parsed::Usage(UsageError { json: true, .. })));
        assert!(matches!(
            parse_with(&["status", "--", "--json", "x"], &[]),
            Parsed::Usage(UsageError { json: false, .. })
        ));
        assert!(matches!(parse_with(&["query"], &[("SPRAT_JSON", "1")]), Parsed::Usage(UsageError { json: true, .. })));
    }
}
