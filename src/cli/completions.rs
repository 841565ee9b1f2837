//! `sprat completions SHELL`: scripts with which bash, zsh and fish complete a command. They are
//! made from the declarations of the commands and options; no option is named here.

use std::fmt::Write;

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind, Optionality};

use super::args::{self, Completions};
use super::output;
use crate::error::{Exit, Failure};

/// Prints the script of one shell.
pub(crate) fn run(args: &Completions) -> Result<u8, Failure> {
    let program = args::program();
    let script = match args.shell.as_str() {
        "bash" => bash(&program),
        "zsh" => zsh(&program),
        "fish" => fish(&program),
        other => return Err(Failure::usage(format!("{other:?} is no shell of these: bash, zsh, fish"))),
    };
    output::block(&script).map_err(output::unwritable)?;
    Ok(Exit::Ok.code())
}

/// What kind of value completes an option.
enum Value {
    Words(Vec<&'static str>),
    Folder,
    File,
    /// Nothing is known about the value.
    Free,
}

impl Value {
    /// The kind of value, from the name that the help uses for it: `DIR`, `FILE`, `add|list`.
    fn of(name: &'static str) -> Value {
        let words: Vec<&str> = name.split('|').collect();
        if words.len() > 1 && words.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase())) {
            Value::Words(words)
        } else if name == "ON|OFF" {
            Value::Words(vec!["on", "off"])
        } else if name.contains("DIR") {
            Value::Folder
        } else if ["FILE", "PATH"].iter().any(|kind| name.contains(kind)) {
            Value::File
        } else {
            Value::Free
        }
    }

    fn of_flag(flag: &FlagInfo<'static>) -> Option<Value> {
        match flag.kind {
            FlagInfoKind::Switch => None,
            FlagInfoKind::Option { arg_name } => Some(Value::of(arg_name)),
        }
    }

    fn of_operands(info: &CommandInfoWithArgs) -> Value {
        let mut values = info.positionals.iter().map(|positional| Value::of(positional.name));
        values.find(|value| !matches!(value, Value::Free)).unwrap_or(Value::Free)
    }
}

/// Text without characters that are special in quotes of a shell, short enough for a line.
fn plain(description: &str) -> String {
    let brief = description.split(['.', ';', '[']).next().unwrap_or_default().trim();
    brief.chars().filter(|c| !matches!(c, '\'' | '"' | '`' | '\\' | '$' | ']')).collect()
}

fn bash(program: &CommandInfoWithArgs) -> String {
    let names: Vec<&str> = program.commands.iter().map(|sub| sub.name).collect();
    let mut script = String::from(
        "# bash completion for sprat\n_sprat() {\n    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n    \
         local command= flags= values= i\n    for ((i = 1; i < COMP_CWORD; i++)); do\n        \
         [[ ${COMP_WORDS[i]} != -* ]] && command=${COMP_WORDS[i]} && break\n    done\n    COMPREPLY=()\n    \
         case $command,$prev in\n",
    );
    let generate = |value: &Value| match value {
        Value::Words(words) => format!("-W '{}'", words.join(" ")),
        Value::Folder => "-d".to_owned(),
        Value::File => "-f".to_owned(),
        Value::Free => "-W ''".to_owned(),
    };
    let mut operands = String::new();
    for sub in &program.commands {
        for flag in sub.command.flags {
            let Some(value) = Value::of_flag(flag) else { continue };
            let short = flag.short.map(|short| format!("|{},-{short}", sub.name)).unwrap_or_default();
            let _ = writeln!(script, "    {},{}{short}) values=\"{}\" ;;", sub.name, flag.long, generate(&value));
        }
        let flags: Vec<&str> = sub.command.flags.iter().map(|flag| flag.long).collect();
        let value = generate(&Value::of_operands(&sub.command));
        let _ = writeln!(operands, "    {}) flags='{}' values=\"{value}\" ;;", sub.name, flags.join(" "));
    }
    let _ = write!(
        script,
        "    *)\n    case $command in\n    '') flags='--help --version' values=\"-W '{} help'\" ;;\n    help) values=\"-W '{}'\" ;;\n{operands}    \
         esac ;;\n    esac\n    if [[ $cur == -* ]]; then\n        mapfile -t COMPREPLY < <(compgen -W \"$flags\" -- \"$cur\")\n    \
         elif [[ $values ]]; then\n        eval \"mapfile -t COMPREPLY < <(compgen $values -- \\\"\\$cur\\\")\"\n        \
         [[ $values == -[df] ]] && compopt -o filenames\n    fi\n}}\ncomplete -F _sprat sprat\n",
        names.join(" "),
        names.join(" ")
    );
    script
}

fn zsh(program: &CommandInfoWithArgs) -> String {
    // In zsh a colon ends a field.
    let plain = |description: &str| plain(description).replace(':', "\\:");
    let action = |value: &Value| match value {
        Value::Words(words) => format!("({})", words.join(" ")),
        Value::Folder => "_files -/".to_owned(),
        Value::File => "_files".to_owned(),
        Value::Free => String::new(),
    };
    let mut script = String::from("#compdef sprat\n_sprat() {\n    local line state\n    local -a commands=(\n");
    for sub in &program.commands {
        let _ = writeln!(script, "        '{}:{}'", sub.name, plain(sub.command.description));
    }
    script.push_str(
        "    )\n    _arguments -C '(-h --help)'{-h,--help}'[print the help]' '(-V --version)'{-V,--version}'[print the version]' \
         '1:command:->command' '*::argument:->argument'\n    case $state in\n    command) _describe command commands ;;\n    \
         argument)\n        case $line[1] in\n",
    );
    for sub in &program.commands {
        let _ = write!(script, "        {}) _arguments", sub.name);
        for flag in sub.command.flags {
            let repeats = if flag.optionality == Optionality::Repeating { "*" } else { "" };
            let value = Value::of_flag(flag).map(|value| format!(":value:{}", action(&value))).unwrap_or_default();
            let _ = write!(script, " \\\n            '{repeats}{}[{}]{value}'", flag.long, plain(flag.description));
        }
        let value = Value::of_operands(&sub.command);
        let _ = writeln!(script, " \\\n            '*:argument:{}' ;;", action(&value));
    }
    script.push_str("        esac ;;\n    esac\n}\nif [[ $funcstack[1] == _sprat ]]; then _sprat \"$@\"; else compdef _sprat sprat; fi\n");
    script
}

fn fish(program: &CommandInfoWithArgs) -> String {
    let action = |value: &Value| match value {
        Value::Words(words) => format!(" -x -a '{}'", words.join(" ")),
        Value::Folder => " -x -a '(__fish_complete_directories)'".to_owned(),
        Value::File => " -r -F".to_owned(),
        Value::Free => " -x".to_owned(),
    };
    let mut script = String::from("# fish completion for sprat\ncomplete -c sprat -f\n");
    for sub in &program.commands {
        let (name, brief) = (sub.name, plain(sub.command.description));
        let _ = writeln!(script, "complete -c sprat -n __fish_use_subcommand -a {name} -d '{brief}'");
        let of = format!("complete -c sprat -n '__fish_seen_subcommand_from {name}'");
        for flag in sub.command.flags {
            let short = flag.short.map(|short| format!(" -s {short}")).unwrap_or_default();
            let value = Value::of_flag(flag).map(|value| action(&value)).unwrap_or_default();
            let long = flag.long.trim_start_matches('-');
            let _ = writeln!(script, "{of} -l {long}{short}{value} -d '{}'", plain(flag.description));
        }
        match Value::of_operands(&sub.command) {
            Value::Words(words) => drop(writeln!(script, "{of} -a '{}'", words.join(" "))),
            Value::Folder | Value::File => drop(writeln!(script, "{of} -F")),
            Value::Free => {}
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_in_the_script_of_each_shell() {
        let program = args::program();
        for (shell, script) in [("bash", bash(&program)), ("zsh", zsh(&program)), ("fish", fish(&program))] {
            for flag in program.commands.iter().flat_map(|sub| sub.command.flags) {
                let name = if shell == "fish" { flag.long.trim_start_matches('-') } else { flag.long };
                assert!(script.contains(name), "{shell} {name}");
            }
        }
        assert!(zsh(&program).contains("'peer:Run a weak peer\\: share folders"));
        assert!(bash(&program).contains("user) flags=") && bash(&program).contains("-W 'add list revoke set'"));
    }
}
