//! The options of the commands about keys and accounts.

use std::path::PathBuf;

use super::common::command;
use super::values::{limit, pin, super_addr};
use crate::cli::units::{Rate, Size, Span};
use crate::trust::Pin;
use crate::wire::HostPort;

command! {
    /// Print the public key of a node of this host. Other nodes identify the node by this key. If
    /// the node has no key yet, this command makes the key.
    #[argh(
        name = "id",
        example = "{command_name}",
        example = "{command_name} rotate --name super",
        example = "{command_name} accept KEY@super.example"
    )]
    Id {
        /// rotate: replace the key by a new key, which the old key signs. Peers that expect the old
        /// key accept the new key. Neighbors must name the new key in --neighbor. Restart the node
        /// afterwards. accept: from now on the super peer at HOST must prove KEY
        #[argh(positional, arg_name = "rotate|accept KEY@HOST[:PORT]")]
        pub(crate) action: Vec<String>,

        /// name of the daemon that has the key [default: peer; super if only the super peer has a
        /// key]
        #[argh(option, arg_name = "NAME")]
        pub(crate) name: Option<String>,
    } with state(" [default: as for `sprat peer`]"), json, log(" [default: warn]", Warn)
}

command! {
    /// Read an invitation, or what `sprat operator sign` printed, from a file or standard input.
    /// Join the network: store the super peer with its key, and get a credential for the key of
    /// this node. After that, no command needs --super.
    #[argh(
        name = "join",
        example = "{command_name} invitation.txt",
        example = "{command_name} < invitation.txt"
    )]
    Join {
        /// file with the text [default: standard input]
        #[argh(positional, arg_name = "FILE")]
        pub(crate) file: Option<PathBuf>,

        /// a super peer, with its key; may be repeated. This option is needed only if the text is a
        /// credential that names no super peer [default: the super peers that the text names]
        #[argh(option, long = "super", arg_name = "KEY@HOST[:PORT]", from_str_fn(pin))]
        pub(crate) supers: Vec<Pin>,

        /// fail with exit 5 if the super peer does not answer within this time [default: 10s]
        #[argh(option, arg_name = "TIME")]
        pub(crate) connect_timeout: Option<Span>,

        /// name of the peer that joins [default: peer]
        #[argh(option, arg_name = "NAME")]
        pub(crate) name: Option<String>,
    } with state(" [default: as for `sprat peer`]"), json, log(" [default: warn]", Warn)
}

command! {
    /// Show and change the users of a super peer. If the super peer runs, the command uses its
    /// control socket, and otherwise its state folder. `add` prints an invitation. Send it to the
    /// user, who runs `sprat join` with it. `revoke` takes effect at once.
    #[argh(
        name = "user",
        example = "{command_name} add ann",
        example = "{command_name} list",
        example = "{command_name} revoke ann",
        example = "{command_name} set --class family --files 50000 --upload 10M",
        example = "{command_name} set ann --class family"
    )]
    User {
        /// add: invite a user, or another node of a user; list: list all users; revoke: revoke
        /// users by name, or keys; set: set the class of a user, or the limits of a class
        #[argh(positional, arg_name = "add|list|revoke|set")]
        pub(crate) action: String,

        /// the user; for revoke also a key, as `sprat id` prints it
        #[argh(positional, arg_name = "USER")]
        pub(crate) who: Vec<String>,

        /// class of the user, which is a named set of limits; for set without USER, the class whose
        /// limits are set [default: default]
        #[argh(option, arg_name = "CLASS")]
        pub(crate) class: Option<String>,

        /// add: how long the invitation is valid [default: 7d]
        #[argh(option, arg_name = "TIME")]
        pub(crate) expires: Option<Span>,

        /// add: how long the credential is valid after the user has joined [default: forever]
        #[argh(option, arg_name = "TIME")]
        pub(crate) valid: Option<Span>,

        /// add: address of this super peer in the invitation [default: the address of --listen, or
        /// an address of this host]
        #[argh(option, arg_name = "HOST[:PORT]", from_str_fn(super_addr))]
        pub(crate) at: Option<HostPort>,

        /// revoke: read more names and keys, one a line, from this file, or - for standard input
        /// [default: none]
        #[argh(option, arg_name = "FILE")]
        pub(crate) from: Option<PathBuf>,

        /// set: files that an account of the class may register [default: unchanged]
        #[argh(option, arg_name = "N")]
        pub(crate) files: Option<u64>,

        /// set: bytes of the paths of the files that an account of the class may register [default:
        /// unchanged]
        #[argh(option, arg_name = "SIZE")]
        pub(crate) names: Option<Size>,

        /// set: queries that an account of the class may send per second [default: unchanged]
        #[argh(option, arg_name = "N")]
        pub(crate) queries: Option<u64>,

        /// set: sessions that an account of the class may have at once [default: unchanged]
        #[argh(option, arg_name = "N")]
        pub(crate) sessions: Option<u64>,

        /// set: highest rate at which a peer sends file data to an account of the class, such as
        /// 10M or 100Mbit; 0 means no limit [default: unchanged]
        #[argh(option, arg_name = "RATE", from_str_fn(limit))]
        pub(crate) upload: Option<Rate>,

        /// the control socket of the super peer [default: the socket of the super peer called
        /// --name]
        #[argh(option, arg_name = "PATH")]
        pub(crate) control: Option<PathBuf>,

        /// name of the super peer [default: super]
        #[argh(option, arg_name = "NAME")]
        pub(crate) name: Option<String>,
    } with state(" [default: as for `sprat super`]"), json, log(" [default: warn]", Warn)
}

command! {
    /// Sign credentials that several super peers accept. The super peers need not know each other's
    /// users. `init` makes the key of the operator and prints it. Start each super peer with
    /// --operator and this key. `sign` prints the credential of a user for the key that `sprat id`
    /// prints on the user's host. The credential is not secret. The user runs `sprat join` with it.
    #[argh(
        name = "operator",
        example = "{command_name} init",
        example = "{command_name} sign ann KEY --super KEY@super.example --valid 365d"
    )]
    Operator {
        /// init: make the key if there is none, and print it; sign: print a credential
        #[argh(positional, arg_name = "init|sign")]
        pub(crate) action: String,

        /// sign: name of the account, and key of the user's node
        #[argh(positional, arg_name = "USER KEY")]
        pub(crate) whom: Vec<String>,

        /// sign: class of the account [default: default]
        #[argh(option, arg_name = "CLASS")]
        pub(crate) class: Option<String>,

        /// sign: how long the credential is valid [default: forever]
        #[argh(option, arg_name = "TIME")]
        pub(crate) valid: Option<Span>,

        /// sign: time from now until the credential becomes valid [default: at once]
        #[argh(option, arg_name = "TIME")]
        pub(crate) starts: Option<Span>,

        /// sign: a super peer for the user, with its key; may be repeated [default: none]
        #[argh(option, long = "super", arg_name = "KEY@HOST[:PORT]", from_str_fn(pin))]
        pub(crate) supers: Vec<Pin>,

        /// name of the operator and of its state folder [default: operator]
        #[argh(option, arg_name = "NAME")]
        pub(crate) name: Option<String>,
    } with state(" [default: as for `sprat peer`]"), json, log(" [default: warn]", Warn)
}
