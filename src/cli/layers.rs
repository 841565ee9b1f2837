//! Where the value of an option comes from: the command line, or else the environment, or else the
//! configuration file of the daemons. It does no I/O: the environment and the reading of files are
//! parameters.
//!
//! The options and the kinds of their values are known only from the declarations in `args`.

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind, Optionality};

use super::args::DAEMONS;
use super::origin::{Origin, Setting, variable};
use super::settings::Env;
use super::settings_file::{Read, SettingsFile};

/// Options of a one-shot command that choose the node to ask.
const ASKED: &[&str] = &["--super", "--control", "--self"];
/// Options that all set the level of the log.
const LEVEL: &[&str] = &["--log-level", "--quiet", "--verbose"];
/// Options that neither the environment nor a file sets.
const FLAGS_ONLY: [&str; 2] = ["--help", "--version"];

/// Whether a word turns a switch on or off; none for any other word.
pub(crate) fn is_on(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "" | "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// The values of all options of a command. `flags` are those from the command line. If one layer
/// sets an option, the lower layers are not used for it.
pub(crate) fn settings(
    info: &CommandInfoWithArgs,
    flags: Vec<Setting>,
    env: Env<'_>,
    read: Read<'_>,
) -> Result<Vec<Setting>, String> {
    let mut settings = flags;
    let variables = from_env(info, env)?;
    add_layer(info, &mut settings, variables);
    if DAEMONS.contains(&info.name) {
        let given = settings.iter().find(|setting| setting.flag == "--config").map(|setting| setting.value.as_str());
        if let Some(file) = SettingsFile::find(given, env, read)? {
            let values = file.settings(info.name).map_err(|wrong| wrong.sentence)?;
            add_layer(info, &mut settings, values);
        }
    }
    Ok(settings)
}

/// Adds the values of options that no higher layer has set.
fn add_layer(info: &CommandInfoWithArgs, settings: &mut Vec<Setting>, mut below: Vec<Setting>) {
    // For a daemon, --super and --control do not exclude each other.
    let groups = if DAEMONS.contains(&info.name) { &[LEVEL][..] } else { &[LEVEL, ASKED] };
    // A switch that is off does not exclude the other options of its group.
    let excludes = |Setting { flag: above, value, .. }: &Setting, flag: &str| {
        let together = value != "false" && groups.iter().any(|group| group.contains(above) && group.contains(&flag));
        *above == flag || together
    };
    below.retain(|one| !settings.iter().any(|setting| excludes(setting, one.flag)));
    settings.append(&mut below);
}

fn from_env(info: &CommandInfoWithArgs, env: Env<'_>) -> Result<Vec<Setting>, String> {
    let mut settings = Vec::new();
    for flag in info.flags.iter().filter(|flag| !FLAGS_ONLY.contains(&flag.long)) {
        let name = variable(flag.long);
        let Some(value) = env(&name).filter(|value| !value.is_empty()) else {
            continue;
        };
        let value = value.into_string().map_err(|_| format!("{name} is not UTF-8"))?;
        let values: Vec<String> = match flag.kind {
            FlagInfoKind::Switch => {
                vec![is_on(&value).ok_or_else(|| format!("{name} is {value:?}; write 1 or 0"))?.to_string()]
            }
            FlagInfoKind::Option { .. } if flag.optionality == Optionality::Repeating => {
                value.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect()
            }
            FlagInfoKind::Option { .. } => vec![value],
        };
        let setting = |value| Setting { flag: flag.long, value, origin: Origin::Variable(name.clone()) };
        settings.extend(values.into_iter().map(setting));
    }
    Ok(settings)
}

/// The arguments that give these values.
pub(crate) fn args<'a>(info: &CommandInfoWithArgs, settings: impl IntoIterator<Item = &'a Setting>) -> Vec<String> {
    let mut args = Vec::new();
    for Setting { flag, value, .. } in settings {
        match info.flags.iter().find(|known| known.long == *flag) {
            Some(FlagInfo { kind: FlagInfoKind::Switch, .. }) if value != "true" => {}
            Some(FlagInfo { kind: FlagInfoKind::Switch, .. }) | None => args.push((*flag).to_owned()),
            Some(FlagInfo { kind: FlagInfoKind::Option { .. }, .. }) => {
                args.extend([(*flag).to_owned(), value.clone()])
            }
        }
    }
    args
}
