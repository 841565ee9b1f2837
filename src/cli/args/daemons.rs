//! The options of the daemons: `super` and `peer`.

use std::path::PathBuf;

use super::common::command;
use super::values::{
    chunk_addr, hops, host, key, limit, page_addr, parallel, pin, sessions, share, super_addr, timeout, uploads, zone,
};
use crate::cli::units::{OnOff, Rate, Size, Span};
use crate::node::ShareFolder;
use crate::trust::{Pin, PublicKey};
use crate::wire::HostPort;

/// Options that may change while a daemon runs, when it reads its options again.
pub(crate) const RELOADED: [&str; 14] = [
    "--neighbor",
    "--ttl",
    "--budget",
    "--ping",
    "--memory",
    "--operator",
    "--share",
    "--rescan",
    "--timeout",
    "--parallel",
    "--uploads",
    "--log-level",
    "--quiet",
    "--verbose",
];

command! {
    /// Run a super peer: index the files of its weak peers, answer queries, forward queries to its
    /// neighbors.
    #[argh(
        name = "super",
        example = "{command_name} --listen 192.0.2.1:4777 --neighbor 192.0.2.2:4777"
    )]
    Super {
        /// address of the TCP listener and of the UDP socket; port 0 takes any free port, 0.0.0.0
        /// takes IPv4 only, [::] takes IPv4 and IPv6 [default: [::]:4777]
        #[argh(option, arg_name = "HOST[:PORT]", from_str_fn(super_addr))]
        pub(crate) listen: Option<HostPort>,

        /// a neighboring super peer, which must also name this super peer; may be repeated. Unless
        /// this super peer is open, KEY is required. If HOST is a name, all addresses of the name
        /// are used, and the name is resolved again while the link is down [default: none]
        #[argh(option, arg_name = "[KEY@]HOST[:PORT]", from_str_fn(pin))]
        pub(crate) neighbor: Vec<Pin>,

        /// hops that a query may take if it states no ttl, at most 64 [default: 7]
        #[argh(option, arg_name = "N", from_str_fn(hops))]
        pub(crate) ttl: Option<u8>,

        /// time for a query that states no budget, at most 60s [default: 2s]
        #[argh(option, arg_name = "TIME")]
        pub(crate) budget: Option<Span>,

        /// interval at which a silent weak peer sends a PING [default: 30s]
        #[argh(option, arg_name = "TIME")]
        pub(crate) ping: Option<Span>,

        /// memory for all data of peers and neighbors, at least 16M. If more than 80 % is in use,
        /// new sessions and queries are refused [default: half of the memory of the machine or of
        /// the cgroup, at least 256M]
        #[argh(option, arg_name = "SIZE")]
        pub(crate) memory: Option<Size>,

        /// whether this super peer dials each peer at the address where the peer serves, and marks
        /// the peers that it cannot reach: on or off [default: on]
        #[argh(option, arg_name = "ON|OFF")]
        pub(crate) dial_back: Option<OnOff>,

        /// announce this super peer on the local network (multicast DNS), so that peers find this
        /// super peer without --super [default: off]
        #[argh(switch)]
        pub(crate) announce: bool,

        /// address of a page about this super peer, with metrics at /metrics; port 0 takes any free
        /// port [default: no page; if only a host is given, port 4779]
        #[argh(option, arg_name = "HOST[:PORT]", from_str_fn(page_addr))]
        pub(crate) http: Option<HostPort>,

        /// also accept the credentials that this operator signs; may be repeated [default: only the
        /// credentials that this super peer signs]
        #[argh(option, arg_name = "KEY", from_str_fn(key))]
        pub(crate) operator: Vec<PublicKey>,

        /// in login mode, let hosts at loopback addresses begin handshakes without a limit, for
        /// tests in which all peers are on one host [default: off]
        #[argh(switch)]
        pub(crate) exempt_loopback: bool,

        /// let everybody who can reach this super peer take part, without a login and without
        /// encryption [default: off; on if the super peer listens on a loopback address only and
        /// has no users, operators or keys of neighbors]
        #[argh(switch)]
        pub(crate) open: bool,

        /// name of this daemon, of its state folder, lock and socket [default: super]
        #[argh(option, arg_name = "NAME")]
        pub(crate) name: Option<String>,

        /// path of the Unix socket for `sprat status` and `sprat user` [default:
        /// $RUNTIME_DIRECTORY/NAME.sock, else $XDG_RUNTIME_DIR/sprat/NAME.sock, else NAME.sock in
        /// the state folder]
        #[argh(option, arg_name = "PATH")]
        pub(crate) control: Option<PathBuf>,
    } with daemon, log(" [default: info]", Info)
}

command! {
    /// Run a weak peer: share folders, serve their files in verified pieces, search and download.
    #[argh(
        name = "peer",
        example = "{command_name} --super 192.0.2.1:4777 --share ~/music"
    )]
    Peer {
        /// a super peer; may be repeated. The first super peer that answers is used; with
        /// --sessions 2, the first two that answer are used. If one that is used fails, another
        /// super peer of the list replaces it [default: the super peers of the network that this
        /// peer has joined; without such a network, the super peers that announce themselves on the
        /// local network]
        #[argh(option, long = "super", arg_name = "[KEY@]HOST[:PORT]", from_str_fn(pin))]
        pub(crate) supers: Vec<Pin>,

        /// take part in an open network, even if this peer has joined a network with a login
        /// [default: off]
        #[argh(switch)]
        pub(crate) open: bool,

        /// number of super peers with which this peer has a session, 1 or 2. The peer registers its
        /// files at each of them, and sends its searches to each of them. If one is lost, the next
        /// super peer of the list replaces it [default: 1]
        #[argh(option, arg_name = "N", from_str_fn(sessions))]
        pub(crate) sessions: Option<usize>,

        /// folder with the files to share; may be repeated. With NAME=DIR the paths of the files
        /// begin with NAME/. At most one share has no NAME. Write ./a=b for a folder with = in its
        /// name [default: none; required without --downloads]
        #[argh(option, long = "share", arg_name = "DIR|NAME=DIR", from_str_fn(share))]
        pub(crate) shares: Vec<ShareFolder>,

        /// folder for downloads that are started without a destination. If the folder is missing,
        /// the peer creates it [default: the first --share]
        #[argh(option, arg_name = "DIR")]
        pub(crate) downloads: Option<PathBuf>,

        /// time between two scans of the shares. A scan finds changes that the system does not
        /// report, such as changes by another machine on a network mount. With 0 there are no such
        /// scans [default: 10m]
        #[argh(option, arg_name = "TIME", from_str_fn(timeout))]
        pub(crate) rescan: Option<Span>,

        /// address on which this peer serves pieces; port 0 takes any free port, 0.0.0.0 takes IPv4
        /// only, [::] takes IPv4 and IPv6. If HOST is a single address, other peers connect to this
        /// address only [default: [::]:4778]
        #[argh(option, arg_name = "HOST[:PORT]", from_str_fn(chunk_addr))]
        pub(crate) listen: Option<HostPort>,

        /// host name or address to which other peers connect [default: the address of --listen; if
        /// --listen is 0.0.0.0 or [::], the address from which the session comes; with [::] also an
        /// address of the other IP version]
        #[argh(option, arg_name = "HOST", from_str_fn(host))]
        pub(crate) advertise: Option<String>,

        /// also serve the share over HTTP, on the port of --listen, so that curl, wget, aria2 and
        /// browsers can list and fetch its files [default: off]
        #[argh(switch)]
        pub(crate) http_files: bool,

        /// like --http-files, but also serve files that this peer does not have. The peer fetches
        /// these files from the network, and forwards each piece as it arrives. /find?q= searches
        /// the network [default: off]
        #[argh(switch)]
        pub(crate) http_gateway: bool,

        /// address of a page about this peer, with metrics at /metrics; port 0 takes any free port
        /// [default: no page; if only a host is given, port 4779]
        #[argh(option, arg_name = "HOST[:PORT]", from_str_fn(page_addr))]
        pub(crate) http: Option<HostPort>,

        /// name of this daemon, of its state folder, lock and socket [default: peer]
        #[argh(option, arg_name = "NAME")]
        pub(crate) name: Option<String>,

        /// fail with exit 5 if no super peer answers within this time at the start [default: 10s]
        #[argh(option, arg_name = "TIME")]
        pub(crate) connect_timeout: Option<Span>,

        /// a download fails if no piece arrives within this time and the sources together send less
        /// than 16 KiB/s. With 0 it never fails for this reason. --timeout of `get` overrides this
        /// option [default: 5m]
        #[argh(option, arg_name = "TIME", from_str_fn(timeout))]
        pub(crate) timeout: Option<Span>,

        /// downloads that run at once, 1 to 8; further downloads wait in the queue [default: 4]
        #[argh(option, arg_name = "N", from_str_fn(parallel))]
        pub(crate) parallel: Option<usize>,

        /// pieces that this peer sends at the same time to peers of a swarm (peers that fetch one
        /// file from each other), 1 to 16 [default: as few as are needed to use all of the
        /// bandwidth]
        #[argh(option, arg_name = "N", from_str_fn(uploads))]
        pub(crate) uploads: Option<usize>,

        /// the place of this machine, such as a rack. A peer fetches a file mostly from peers in
        /// its own zone that fetch the same file [default: none]
        #[argh(option, arg_name = "LABEL", from_str_fn(zone))]
        pub(crate) zone: Option<String>,

        /// highest rate at which this peer sends file data, to all peers together, in bytes per
        /// second such as 10M, or in bits per second such as 100Mbit. 0 means no limit.
        /// `sprat limit` changes this limit [default: 0]
        #[argh(option, arg_name = "RATE", from_str_fn(limit))]
        pub(crate) upload_limit: Option<Rate>,

        /// highest rate at which this peer receives file data, from all sources together. 0 means
        /// no limit. `sprat limit` changes this limit [default: 0]
        #[argh(option, arg_name = "RATE", from_str_fn(limit))]
        pub(crate) download_limit: Option<Rate>,

        /// read commands from standard input even if it is not a terminal [default: only on a
        /// terminal]
        #[argh(switch)]
        pub(crate) prompt: bool,

        /// path of the Unix socket for one-shot commands [default: $RUNTIME_DIRECTORY/NAME.sock,
        /// else $XDG_RUNTIME_DIR/sprat/NAME.sock, else NAME.sock in the state folder]
        #[argh(option, arg_name = "PATH")]
        pub(crate) control: Option<PathBuf>,
    } with daemon, log(" [default: info]", Info)
}
