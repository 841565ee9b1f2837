//! `sprat config`: checks a configuration file, and shows the values of all options of the daemons.

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind, Optionality};
use serde::Serialize;

use super::args::{self, Command, Config, DAEMONS, Peer, Super};
use super::origin::{Setting, key, with_origin};
use super::settings_file::SettingsFile;
use super::{member, output, paths, peer, settings, shim, super_peer};
use crate::config::CHUNK_PORT;
use crate::error::Failure;

/// Runs the command.
pub(crate) fn run(args: &Config) -> Result<u8, Failure> {
    match args.action.as_str() {
        "check" => check(args),
        "show" => show(args),
        other => Err(Failure::usage(format!("{other:?} is no action of config; write check or show"))),
    }
}

/// A file is right if each daemon with a section in it can read it, and at least one daemon can.
fn check(args: &Config) -> Result<u8, Failure> {
    let [path] = &args.of[..] else {
        return Err(Failure::usage("write sprat config check FILE, for one file"));
    };
    let env = |name: &str| std::env::var_os(name);
    let file = SettingsFile::find(Some(path), &env, &paths::read_config).map_err(Failure::usage)?;
    let (mut right, mut refused) = (Vec::new(), None);
    for daemon in DAEMONS {
        let Some((file, info)) = file.as_ref().zip(args::info(daemon)) else { continue };
        match file.settings(daemon) {
            Ok(settings) => {
                let shares = checked(&info, &settings)?;
                if !shares && file.has_section(daemon) {
                    let why = "[peer] names no folder; write share = \"DIR\" or downloads = \"DIR\"";
                    return Err(Failure::usage(format!("{path}: {why}")));
                }
                if !shares {
                    output::note("sprat peer also needs --share DIR or --downloads DIR, which the file does not set");
                }
                right.push(daemon);
            }
            Err(wrong) if wrong.other_daemon => refused = Some(Failure::usage(wrong.sentence)),
            Err(wrong) => return Err(Failure::usage(wrong.sentence)),
        }
    }
    if let (true, Some(failure)) = (right.is_empty(), refused) {
        return Err(failure);
    }
    #[derive(Serialize)]
    struct Right<'a> {
        file: &'a str,
        daemons: &'a [&'a str],
    }
    let text = format!("{path} is right for sprat {}", right.join(" and sprat "));
    output::result(args.json, "config", &Right { file: path, daemons: &right }, &text)?;
    output::done(args.json)
}

/// Checks whether the daemon would accept these values. Its state folder is not read. Returns
/// whether it has a folder for its files; a super peer needs none.
fn checked(info: &CommandInfoWithArgs, settings: &[Setting]) -> Result<bool, Failure> {
    let command = shim::daemon(info, settings).map_err(Failure::usage)?;
    let ended = if let Command::Super(args) = command {
        let Super { name, state, control, ready_file, .. } = &args;
        paths::checked_places(name.as_deref(), [state, control, ready_file].map(Option::as_deref))
            .and_then(|()| settings::checked_page(args.http.as_ref()))
            .and_then(|()| super_peer::limits(&args).map(|_| true))
    } else if let Command::Peer(args) = command {
        let Peer { name, state, control, ready_file, .. } = &args;
        paths::checked_places(name.as_deref(), [state, control, ready_file].map(Option::as_deref))
            .and_then(|()| settings::checked_page(args.http.as_ref()))
            .and_then(|()| settings::listen(args.listen.as_ref(), CHUNK_PORT))
            .and_then(|_| settings::connect_timeout(args.connect_timeout))
            .and_then(|_| member::checked(&args.supers, args.open))
            .and_then(|()| peer::checked(&args))
            .and_then(|_| args.downloads.as_deref().map(|path| paths::absolute("--downloads", path)).transpose())
            .and_then(|downloads| Ok(!paths::shares(args.shares, true)?.is_empty() || downloads.is_some()))
    } else {
        unreachable!("{command:?} is no daemon")
    };
    ended.map_err(|Failure { exit, message }| Failure::new(exit, with_origin(message, settings)))
}

fn show(args: &Config) -> Result<u8, Failure> {
    let (daemons, flags) = match args.of.split_first() {
        None => (&DAEMONS[..], &[][..]),
        Some((daemon, flags)) => match DAEMONS.iter().position(|known| known == daemon) {
            Some(at) => (&DAEMONS[at..=at], flags),
            None => return Err(Failure::usage(format!("{daemon:?} is no daemon; write super or peer"))),
        },
    };
    for daemon in daemons {
        let Some(info) = args::info(daemon) else { continue };
        let env = |name: &str| std::env::var_os(name);
        let settings = shim::settings(&info, flags, &env, &paths::read_config).map_err(Failure::usage)?;
        checked(&info, &settings)?;
        if !args.json {
            output::result(false, "", &(), &format!("[{daemon}]"))?;
        }
        for flag in info.flags.iter().filter(|flag| flag.long != "--help") {
            show_option(args, daemon, flag, &settings)?;
        }
    }
    output::done(args.json)
}

/// Shows one option: as a line of a file if it has a value, and otherwise as a comment with its
/// default.
fn show_option(args: &Config, daemon: &str, flag: &FlagInfo<'static>, settings: &[Setting]) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Shown<'a> {
        daemon: &'a str,
        key: &'a str,
        values: Vec<&'a str>,
        origin: &'a str,
    }
    let key = key(flag.long);
    let set: Vec<&Setting> = settings.iter().filter(|setting| setting.flag == flag.long).collect();
    let values: Vec<&str> = set.iter().map(|setting| setting.value.as_str()).collect();
    let origin = set.first().map_or_else(|| "default".to_owned(), |setting| setting.origin.to_string());
    let quoted = |value: &&str| match (&flag.kind, value.parse::<u64>()) {
        (FlagInfoKind::Switch, _) => (*value).to_owned(),
        (FlagInfoKind::Option { arg_name: "N" }, Ok(number)) => number.to_string(),
        (FlagInfoKind::Option { .. }, _) => format!("{value:?}"),
    };
    let text = match (&values[..], &flag.optionality) {
        ([], _) => format!("# {key}: {}", default_of(flag)),
        // A file cannot name another configuration file.
        (values, _) if flag.long == "--config" => format!("# {key}: {}", values.join(" ")),
        (values, Optionality::Repeating) => {
            format!("{key} = [{}]", values.iter().map(quoted).collect::<Vec<_>>().join(", "))
        }
        (values, _) => format!("{key} = {}", values.last().map(quoted).unwrap_or_default()),
    };
    let text = if args.origin { format!("{text:<40}  # {origin}") } else { text };
    output::result(args.json, "option", &Shown { daemon, key: &key, values, origin: &origin }, &text)
}

/// What the help says about the default of an option.
fn default_of(flag: &FlagInfo<'static>) -> &'static str {
    let stated = flag.description.split_once("[default: ").and_then(|(_, stated)| stated.strip_suffix(']'));
    stated.expect("the text of each option of a daemon ends with its default")
}
