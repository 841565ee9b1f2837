//! Options that several commands share, each declared once.
//!
//! argh cannot include one struct of options in another. So `command!` makes the struct of a
//! command from the command's own options and the names of groups: `json`, `log(LEVEL)`,
//! `state(DEFAULT)`, `daemon`, `search`, `asked`, `running`, `download`, `figures`. Each group is
//! one arm of the macro.

use std::path::PathBuf;

use crate::cli::units::Span;
use crate::trust::Pin;
use crate::wire::Policy;

/// The group `search`: the limits and the policy of a search.
#[derive(Debug)]
pub(crate) struct SearchOptions {
    pub(crate) ttl: Option<u8>,
    pub(crate) budget: Option<Span>,
    pub(crate) policy: Option<Policy>,
}

/// The group `asked`: which peer or super peer does the work.
#[derive(Debug)]
pub(crate) struct AskedOptions {
    pub(crate) supers: Vec<Pin>,
    pub(crate) open: bool,
    pub(crate) state: Option<PathBuf>,
    pub(crate) control: Option<PathBuf>,
    pub(crate) name: Option<String>,
    pub(crate) connect_timeout: Option<Span>,
}

macro_rules! command {
    ($(#[$meta:meta])* $name:ident { $($own:tt)* } with $($group:ident $(($($param:tt)*))?),+) => {
        command! { @fields [$($group $(($($param)*))?),+] [$(#[$meta])*] $name { $($own)* } }
        $(command! { @methods $group $(($($param)*))? $name })+
    };

    (@fields [] [$($meta:tt)*] $name:ident { $($fields:tt)* }) => {
        #[derive(argh::FromArgs, argh::ArgsInfo, Debug)]
        #[argh(subcommand, help_triggers("-h", "--help"))]
        $($meta)*
        pub(crate) struct $name { $($fields)* }
    };
    (@fields [search $(, $($more:tt)*)?] $meta:tt $name:ident { $($fields:tt)* }) => {
        command! { @fields [$($($more)*)?] $meta $name { $($fields)*
            /// largest number of hops from the first super peer, 0 to 64 [default: the super peer's
            /// own setting, 7]
            #[argh(option, arg_name = "N", from_str_fn(crate::cli::args::values::hops))]
            pub(crate) ttl: Option<u8>,

            /// longest time for a search, at most 60s [default: the super peer's own setting, 2s]
            #[argh(option, arg_name = "TIME")]
            pub(crate) budget: Option<crate::cli::units::Span>,

            /// how a search spreads. flood: over all links. digest: as flood, but the last hop
            /// leaves out neighbors that cannot have a match. ring: as digest, but a search with a
            /// limit on hits (`query --limit`, `wait --hits`) begins with one hop, and takes more
            /// hops until it has that number of hits. tree: over a spanning tree, with the fewest
            /// messages [default: digest]
            #[argh(option, arg_name = "POLICY")]
            pub(crate) policy: Option<crate::wire::Policy>,
        } }
    };
    (@fields [asked $(, $($more:tt)*)?] $($rest:tt)*) => {
        command! { @fields [supers, running, connect_timeout $(, $($more)*)?] $($rest)* }
    };
    (@fields [supers $(, $($more:tt)*)?] $meta:tt $name:ident { $($fields:tt)* }) => {
        command! { @fields [$($($more)*)?] $meta $name { $($fields)*
            /// ask this super peer, without the help of a running peer; may be repeated: the first
            /// super peer that answers is used [default: the running peer; without a running peer,
            /// a super peer of the network that was joined; without such a network, a super peer
            /// that announces itself on the local network]
            #[argh(
                option,
                long = "super",
                arg_name = "[KEY@]HOST[:PORT]",
                from_str_fn(crate::cli::args::values::pin)
            )]
            pub(crate) supers: Vec<crate::trust::Pin>,

            /// ask in an open network, even if a network with a login was joined [default: off]
            #[argh(switch)]
            pub(crate) open: bool,

            /// state folder; a command that asks no running peer uses the key and the credential in
            /// it [default: as for `sprat peer`]
            #[argh(option, arg_name = "DIR")]
            pub(crate) state: Option<std::path::PathBuf>,
        } }
    };
    (@fields [connect_timeout $(, $($more:tt)*)?] $meta:tt $name:ident { $($fields:tt)* }) => {
        command! { @fields [$($($more)*)?] $meta $name { $($fields)*
            /// fail with exit 5 if no super peer answers within this time [default: 10s]
            #[argh(option, arg_name = "TIME")]
            pub(crate) connect_timeout: Option<crate::cli::units::Span>,
        } }
    };
    (@fields [download $(, $($more:tt)*)?] $meta:tt $name:ident { $($fields:tt)* }) => {
        command! { @fields [$($($more)*)?] $meta $name { $($fields)*
            /// number of the download, as `downloads` lists it
            #[argh(positional, arg_name = "N")]
            pub(crate) number: u64,
        } }
    };
    (@fields [running $(, $($more:tt)*)?] $meta:tt $name:ident { $($fields:tt)* }) => {
        command! { @fields [$($($more)*)?] $meta $name { $($fields)*
            /// ask the running peer with this Unix socket [default: the socket of the peer called
            /// --name]
            #[argh(option, arg_name = "PATH")]
            pub(crate) control: Option<std::path::PathBuf>,

            /// ask the running peer with this name [default: peer]
            #[argh(option, arg_name = "NAME")]
            pub(crate) name: Option<String>,
        } }
    };
    (@fields [state($default:tt) $(, $($more:tt)*)?] $meta:tt $name:ident { $($fields:tt)* }) => {
        command! { @fields [$($($more)*)?] $meta $name { $($fields)*
            /// the state folder of the node
            #[doc = $default]
            #[argh(option, arg_name = "DIR")]
            pub(crate) state: Option<std::path::PathBuf>,
        } }
    };
    (@fields [daemon $(, $($more:tt)*)?] $meta:tt $name:ident { $($fields:tt)* }) => {
        command! { @fields [$($($more)*)?] $meta $name { $($fields)*
            /// state folder, with the key; for a super peer also the users; for a peer also the
            /// credential, digests of files, the queue of downloads and the history of the prompt
            /// [default: $STATE_DIRECTORY/NAME, else $XDG_STATE_HOME/sprat/NAME, else
            /// ~/.local/state/sprat/NAME]
            #[argh(option, arg_name = "DIR")]
            pub(crate) state: Option<std::path::PathBuf>,

            /// read options from this file, which is TOML [default:
            /// $CONFIGURATION_DIRECTORY/config.toml, $XDG_CONFIG_HOME/sprat/config.toml or
            /// /etc/sprat/config.toml, the first file that exists]
            #[argh(option, arg_name = "FILE")]
            #[expect(dead_code, reason = "`layers` reads the file; it is here for the help text")]
            pub(crate) config: Option<std::path::PathBuf>,

            /// write one JSON object to this file when the daemon is ready; the daemon removes the
            /// file when it ends [default: none]
            #[argh(option, arg_name = "PATH")]
            pub(crate) ready_file: Option<std::path::PathBuf>,

            /// form of the log on standard error: text; or json, which is one object per line with
            /// the time, the level, the message, and the fields of the event [default: text]
            #[argh(option, arg_name = "FORMAT")]
            pub(crate) log_format: Option<crate::cli::logging::LogFormat>,
        } }
    };
    (@fields [json $(, $($more:tt)*)?] $meta:tt $name:ident { $($fields:tt)* }) => {
        command! { @fields [$($($more)*)?] $meta $name { $($fields)*
            /// print one JSON object per line; the last one is the event `done` [default: off]
            #[argh(switch)]
            pub(crate) json: bool,
        } }
    };
    (@fields [figures $(, $($more:tt)*)?] $meta:tt $name:ident { $($fields:tt)* }) => {
        command! { @fields [json $(, $($more)*)?] $meta $name { $($fields)*
            /// print comma-separated values: a line of names, then a line for each run [default:
            /// off]
            #[argh(switch)]
            pub(crate) csv: bool,

            /// print a Markdown table [default: off]
            #[argh(switch)]
            pub(crate) md: bool,
        } }
    };
    (@fields [log($default:tt, $level:ident) $(, $($more:tt)*)?] $meta:tt $name:ident { $($fields:tt)* }) => {
        command! { @fields [$($($more)*)?] $meta $name { $($fields)*
            /// log more: -v debug, -vv trace [default: off]
            #[argh(switch, short = 'v')]
            pub(crate) verbose: u8,

            /// log errors only, show no progress [default: off]
            #[argh(switch, short = 'q')]
            pub(crate) quiet: bool,

            /// log level: error, warn, info, debug or trace
            #[doc = $default]
            #[argh(option, arg_name = "LEVEL")]
            pub(crate) log_level: Option<log::LevelFilter>,
        } }
    };

    (@methods search $name:ident) => {
        impl $name {
            pub(crate) fn search(&self) -> crate::cli::args::common::SearchOptions {
                crate::cli::args::common::SearchOptions { ttl: self.ttl, budget: self.budget, policy: self.policy }
            }
        }
    };
    (@methods asked $name:ident) => {
        impl $name {
            pub(crate) fn asked(&self) -> crate::cli::args::common::AskedOptions {
                let (supers, control, name) = (self.supers.clone(), self.control.clone(), self.name.clone());
                let (open, state, connect_timeout) = (self.open, self.state.clone(), self.connect_timeout);
                crate::cli::args::common::AskedOptions { supers, open, state, control, name, connect_timeout }
            }
        }
    };
    (@methods running $name:ident) => {
        impl $name {
            pub(crate) fn asked(&self) -> crate::cli::args::common::AskedOptions {
                let (control, name) = (self.control.clone(), self.name.clone());
                let (supers, open, state, connect_timeout) = (Vec::new(), false, None, None);
                crate::cli::args::common::AskedOptions { supers, open, state, control, name, connect_timeout }
            }
        }
    };
    (@methods log($default:tt, $level:ident) $name:ident) => {
        impl $name {
            pub(crate) fn log_level(&self) -> log::LevelFilter {
                crate::cli::logging::level(self.log_level, self.quiet, self.verbose, log::LevelFilter::$level)
            }
        }
    };
    (@methods $group:ident $(($($param:tt)*))? $name:ident) => {};
}

pub(super) use command;
