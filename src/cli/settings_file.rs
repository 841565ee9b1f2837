//! The configuration file of the daemons, in TOML: where it is, and what it sets. It does no I/O:
//! the environment and the reading of files are parameters.
//!
//! A key is the name of an option. Keys in `[super]` and `[peer]` are for that daemon, and win over
//! keys at the top. Keys at the top are for every daemon that reads the file, so each of them must
//! be an option of every daemon.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use argh::{FlagInfo, FlagInfoKind, Optionality};
use toml::Spanned;
use toml::de::{DeString, DeValue};

use super::args::{self, DAEMONS};
use super::nearest::nearest;
use super::origin::{Origin, Setting, key};
use super::paths::folder_of;
use super::settings::Env;

/// Reads a file.
pub(crate) type Read<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// The path of the file for all daemons of a machine.
const GLOBAL: &str = "/etc/sprat/config.toml";
/// Options that choose the file or only print.
const NO_KEYS: [&str; 2] = ["--config", "--help"];

/// A file that was read.
#[derive(Debug)]
pub(crate) struct SettingsFile {
    path: PathBuf,
    text: String,
    /// The home folder, for `~/`.
    home: Option<String>,
}

/// Why a file is refused.
#[derive(Debug)]
pub(crate) struct Wrong {
    /// The file and the line, what is there, and what should be there.
    pub(crate) sentence: String,
    /// Whether the file may still be right for another daemon.
    pub(crate) other_daemon: bool,
}

impl SettingsFile {
    /// The file that an option names, which must exist. Without it, the first of the usual files
    /// that exists.
    pub(crate) fn find(given: Option<&str>, env: Env<'_>, read: Read<'_>) -> Result<Option<SettingsFile>, String> {
        let home = env("HOME").and_then(|home| home.into_string().ok());
        let paths = given.map_or_else(|| places(env), |given| vec![given.into()]);
        for path in paths {
            match read(&path) {
                Ok(text) => return Ok(Some(SettingsFile { path, text, home })),
                Err(error) if given.is_none() && is_absent(&error) => {}
                Err(error) => return Err(format!("cannot read the configuration {}: {error}", path.display())),
            }
        }
        Ok(None)
    }

    /// The values that the file sets for a daemon. The sections of other daemons are checked too.
    pub(crate) fn settings(&self, daemon: &str) -> Result<Vec<Setting>, Wrong> {
        let table = toml::de::DeTable::parse(&self.text);
        let table = table.map_err(|error| self.wrong(error.span().unwrap_or_default(), error.message()))?;
        let (mut common, mut own) = (Vec::new(), Vec::new());
        for (name, value) in table.get_ref().iter() {
            match (DAEMONS.iter().find(|daemon| **daemon == name.get_ref().as_ref()), value.get_ref()) {
                (Some(section), DeValue::Table(table)) => {
                    for (name, value) in table.iter() {
                        let settings = self.read(&[section], name, value)?;
                        own.extend(settings.filter(|_| *section == daemon).into_iter().flatten());
                    }
                }
                _ => common.extend(self.read(&DAEMONS, name, value)?.into_iter().flatten()),
            }
        }
        let is_known = |flag: &str| args::info(daemon).is_some_and(|info| info.flags.iter().any(|f| f.long == flag));
        common.retain(|setting: &Setting| own.iter().all(|one| one.flag != setting.flag));
        match common.iter().find(|setting| !is_known(setting.flag)) {
            Some(Setting { flag, origin, .. }) => Err(Wrong {
                sentence: format!("{origin}: {} is no option of sprat {daemon}; write it in a section", key(flag)),
                other_daemon: true,
            }),
            None => Ok(common.into_iter().chain(own).collect()),
        }
    }

    /// Whether the file has a section for a daemon.
    pub(crate) fn has_section(&self, daemon: &str) -> bool {
        let table = toml::de::DeTable::parse(&self.text);
        table.is_ok_and(|table| {
            table.get_ref().iter().any(|(name, value)| name.get_ref().as_ref() == daemon && value.get_ref().is_table())
        })
    }

    /// The values of one key, which is an option of at least one of these daemons.
    fn read(
        &self,
        daemons: &[&str],
        name: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Option<Vec<Setting>>, Wrong> {
        let flags = daemons.iter().filter_map(|daemon| args::info(daemon)).flat_map(|info| info.flags);
        let flags: Vec<&FlagInfo<'static>> = flags.filter(|flag| !NO_KEYS.contains(&flag.long)).collect();
        let Some(flag) = flags.iter().find(|flag| key(flag.long) == name.get_ref().as_ref()) else {
            let sections = DAEMONS.iter().filter(|_| daemons.len() > 1).map(|daemon| (*daemon).to_owned());
            let keys: Vec<String> = flags.iter().map(|flag| key(flag.long)).chain(sections).collect();
            let meant = nearest(name.get_ref(), keys.iter().map(String::as_str));
            let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
            return Err(self.wrong(name.span(), &format!("there is no key {}{meant}", name.get_ref())));
        };
        let repeats = flag.optionality == Optionality::Repeating;
        let values: Vec<&Spanned<DeValue<'_>>> = match value.get_ref().as_array().filter(|_| repeats) {
            Some(values) => values.iter().collect(),
            None => vec![value],
        };
        let setting = |value: &Spanned<DeValue<'_>>| {
            let wrong = || {
                let (is, write) = (value.get_ref().type_str(), expected(flag));
                let a = if is.starts_with(['a', 'i']) { "an" } else { "a" };
                self.wrong(value.span(), &format!("{} is {a} {is}; write {write}", key(flag.long)))
            };
            let value_text = text(flag, value.get_ref()).ok_or_else(wrong)?;
            let origin = Origin::File { path: self.path.clone(), line: self.line(value.span()) };
            Ok(Setting { flag: flag.long, value: self.expanded(flag, value_text), origin })
        };
        values.into_iter().map(setting).collect::<Result<Vec<_>, _>>().map(Some)
    }

    /// The value with the home folder in place of `~`, as a shell would expand it on the command
    /// line.
    fn expanded(&self, flag: &FlagInfo, text: String) -> String {
        let FlagInfoKind::Option { arg_name } = flag.kind else { return text };
        let is_path = ["DIR", "PATH", "FILE"].iter().any(|kind| arg_name.contains(kind));
        match (&self.home, text.strip_prefix("~/"), text.split_once("=~/")) {
            (Some(home), Some(rest), _) if is_path => format!("{home}/{rest}"),
            (Some(home), None, Some((name, rest))) if is_path && !name.contains('/') => format!("{name}={home}/{rest}"),
            _ => text,
        }
    }

    fn line(&self, span: Range<usize>) -> usize {
        1 + self.text.bytes().take(span.start).filter(|byte| *byte == b'\n').count()
    }

    fn wrong(&self, span: Range<usize>, why: &str) -> Wrong {
        let sentence = format!("{}:{}: {why}", self.path.display(), self.line(span));
        Wrong { sentence, other_daemon: false }
    }
}

/// The usual paths of the file. The first one that exists is used.
fn places(env: Env<'_>) -> Vec<PathBuf> {
    let user = folder_of(env, "XDG_CONFIG_HOME").or_else(|| folder_of(env, "HOME").map(|home| home.join(".config")));
    let user = user.map(|folder| folder.join("sprat/config.toml"));
    let service = folder_of(env, "CONFIGURATION_DIRECTORY").map(|folder| folder.join("config.toml"));
    service.into_iter().chain(user).chain([GLOBAL.into()]).collect()
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// A value in the form in which it is written on the command line; none if it has the wrong type.
fn text(flag: &FlagInfo, value: &DeValue<'_>) -> Option<String> {
    match (&flag.kind, value) {
        (FlagInfoKind::Switch, DeValue::Boolean(on)) => Some(on.to_string()),
        (FlagInfoKind::Option { arg_name: "ON|OFF" }, DeValue::Boolean(on)) => {
            Some(if *on { "on" } else { "off" }.to_owned())
        }
        (FlagInfoKind::Option { arg_name: "N" | "SIZE" | "RATE" | "TIME" }, DeValue::Integer(number)) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
        }
        (FlagInfoKind::Option { arg_name }, DeValue::String(text)) if *arg_name != "N" => Some(text.to_string()),
        _ => None,
    }
}

/// The type of value that a key takes.
fn expected(flag: &FlagInfo) -> String {
    let one = match flag.kind {
        FlagInfoKind::Switch | FlagInfoKind::Option { arg_name: "ON|OFF" } => "true or false".to_owned(),
        FlagInfoKind::Option { arg_name: "N" } => "a whole number".to_owned(),
        FlagInfoKind::Option { arg_name: "SIZE" } => "a size, such as \"16M\"".to_owned(),
        FlagInfoKind::Option { arg_name: "RATE" } => "a rate, such as \"10M\"".to_owned(),
        FlagInfoKind::Option { arg_name: "TIME" } => "a time, such as \"30s\"".to_owned(),
        FlagInfoKind::Option { arg_name } => format!("a string, \"{arg_name}\""),
    };
    if flag.optionality == Optionality::Repeating { format!("{one}, or an array of them") } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> SettingsFile {
        SettingsFile { path: "/c".into(), text: text.into(), home: Some("/home/ann".into()) }
    }

    #[test]
    fn a_section_wins_over_the_top_and_each_value_has_its_line() {
        let text = "log_level = \"warn\"\nname = 'x'\n[peer]\nname = \"y\"\nhttp_files = true\nsuper = [\n \"h:1\",\n \
                    \"h:2\"]\nparallel = 0x2\nrescan = 0\nshare = ['~/a', 'b=~/c']\n[super]\nneighbor = 'h:3'\ndial_back = false\n";
        let values = |daemon| {
            let settings = file(text).settings(daemon).unwrap();
            settings.iter().map(|one| format!("{} {} {}", one.flag, one.value, one.origin)).collect::<Vec<_>>()
        };
        let mut peer = values("peer");
        peer.sort();
        assert_eq!(
            peer,
            [
                "--http-files true /c:5",
                "--log-level warn /c:1",
                "--name y /c:4",
                "--parallel 2 /c:9",
                "--rescan 0 /c:10",
                "--share /home/ann/a /c:11",
                "--share b=/home/ann/c /c:11",
                "--super h:1 /c:7",
                "--super h:2 /c:8",
            ]
        );
        assert_eq!(values("super").len(), 4);
    }

    #[test]
    fn what_is_wrong_is_shown_with_its_line_and_the_right_form() {
        for (text, sentence) in [
            ("\nhttp-files = true", "/c:2: there is no key http-files; did you mean http_files?"),
            ("[peer]\nparalel = 2", "/c:2: there is no key paralel; did you mean parallel?"),
            ("[peer]\nneighbor = 'h:1'", "/c:2: there is no key neighbor"),
            ("[pear]\n", "/c:1: there is no key pear; did you mean"),
            ("config = 'x'", "/c:1: there is no key config"),
            ("[super]\nttl = '7'", "/c:2: ttl is a string; write a whole number"),
            ("[super]\nttl = 7.5", "/c:2: ttl is a float; write a whole number"),
            ("ready_file = 5", "/c:1: ready_file is an integer; write a string, \"PATH\""),
            ("http_files = 'yes'", "/c:1: http_files is a string; write true or false"),
            ("[super]\nping = true", "/c:2: ping is a boolean; write a time, such as \"30s\""),
            ("share = [1]", "/c:1: share is an integer; write a string, \"DIR|NAME=DIR\", or an array of them"),
            ("name = ['a']", "/c:1: name is an array; write a string, \"NAME\""),
            ("name = \n", "/c:1: "),
            ("name = 'a'\nname = 'b'", "/c:2: "),
        ] {
            let wrong = file(text).settings("peer").unwrap_err();
            assert!(wrong.sentence.starts_with(sentence) && !wrong.other_daemon, "{text:?}: {}", wrong.sentence);
        }
        let wrong = file("share = '.'").settings("super").unwrap_err();
        assert!(wrong.other_daemon && wrong.sentence.contains("no option of sprat super"), "{}", wrong.sentence);
    }

    #[test]
    fn a_number_of_bytes_may_be_an_integer() {
        for (daemon, text) in [("super", "memory = 1048576"), ("peer", "upload_limit = 1048576")] {
            let settings = file(&format!("[{daemon}]\n{text}")).settings(daemon).unwrap();
            assert_eq!(settings[0].value, "1048576", "{text}");
        }
    }

    #[test]
    fn the_file_is_the_first_that_there_is() {
        let env = |name: &str| match name {
            "CONFIGURATION_DIRECTORY" => Some("/service".into()),
            "HOME" => Some("/home/ann".into()),
            _ => None,
        };
        let found = |given, existing: &[&str]| {
            let read = |path: &Path| match existing.iter().any(|known| Path::new(known) == path) {
                true => Ok(String::new()),
                false => Err(io::Error::from(io::ErrorKind::NotFound)),
            };
            SettingsFile::find(given, &env, &read).map(|file| file.map(|file| file.path))
        };
        let (service, user) = ("/service/config.toml", "/home/ann/.config/sprat/config.toml");
        assert_eq!(found(None, &[]), Ok(None));
        assert_eq!(found(None, &[GLOBAL]), Ok(Some(GLOBAL.into())));
        assert_eq!(found(None, &[user, GLOBAL]), Ok(Some(user.into())));
        assert_eq!(found(None, &[service, user]), Ok(Some(service.into())));
        assert_eq!(found(Some("/x"), &["/x", service]), Ok(Some("/x".into())));
        assert!(found(Some("/x"), &[service]).unwrap_err().contains("/x"));
    }
}
