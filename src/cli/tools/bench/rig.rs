//! The processes that a bench starts, and their folder.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use crate::cli::output;
use crate::cli::tools::children::{Children, Daemon, Subnet, interrupt_flag, write_random};
use crate::error::{Exit, Failure};
use crate::trust::PublicKey;

/// Names of the sources of a run.
pub(super) const SOURCES: [&str; 16] = [
    "peer1", "peer2", "peer3", "peer4", "peer5", "peer6", "peer7", "peer8", "peer9", "peer10", "peer11", "peer12",
    "peer13", "peer14", "peer15", "peer16",
];

/// The processes of a run and their folder. When this is dropped, both are removed.
pub(super) struct Rig {
    pub(super) children: Children,
    folder: TempDir,
    pub(super) talks: bool,
    super_peer: Option<Daemon>,
    pub(super) server_pid: Option<u32>,
    pub(super) source_pids: Vec<u32>,
}

impl Rig {
    /// Makes the folder and starts no process yet. Catches signals if no loop of this process does.
    /// With `talks`, reports each step.
    pub(super) fn new(catches_signals: bool, talks: bool) -> Result<Rig, Failure> {
        let folder = tempfile::Builder::new().prefix("sprat-bench-").tempdir();
        let folder =
            folder.map_err(|error| Failure::new(Exit::Disk, format!("cannot make a folder in {}: {error}", temp())))?;
        let interrupted = if catches_signals { interrupt_flag()? } else { Arc::default() };
        let children = Children::new(folder.path(), interrupted)?;
        Ok(Rig { children, folder, talks, super_peer: None, server_pid: None, source_pids: Vec::new() })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a super peer. If this process has an address as its neighbor, the super peer gets it.
    /// If there is an operator, the super peer is in login mode.
    pub(super) fn start_super(
        &mut self,
        subnet: Subnet,
        neighbor: Option<SocketAddr>,
        operator: Option<PublicKey>,
    ) -> Result<SocketAddr, Failure> {
        let listen = SocketAddr::new(subnet.host(1), 0).to_string();
        let mut args: Vec<String> =
            ["super", "--quiet", "--dial-back", "off", "--listen", &listen].map(str::to_owned).into();
        if let Some(neighbor) = neighbor {
            args.extend(["--neighbor".to_owned(), neighbor.to_string()]);
        }
        if let Some(operator) = operator {
            args.extend(["--operator".to_owned(), operator.to_string(), "--exempt-loopback".to_owned()]);
        }
        if self.talks {
            let limit = if operator.is_some() { " --exempt-loopback" } else { "" };
            say(&format!("the super peer runs with --dial-back off{limit}"));
        }
        self.children.start("super", &args)?;
        let daemon = self.children.ready("super")?;
        let listen = daemon.listen;
        self.server_pid = Some(daemon.pid);
        self.super_peer = Some(daemon);
        Ok(listen)
    }

    /// Starts peers that share one file, and waits until all of them are registered at the super
    /// peer.
    pub(super) fn start_sources(&mut self, subnet: Subnet, count: usize, size: u64, name: &str) -> Result<(), Failure> {
        let disk = |error: io::Error| Failure::new(Exit::Disk, format!("cannot write the file to share: {error}"));
        let super_peer = self.super_peer.as_ref().map(|daemon| daemon.listen.to_string()).unwrap_or_default();
        let first = self.path().join(SOURCES[0]);
        for (host, peer) in (10_u8..).zip(&SOURCES[..count]) {
            let share = self.path().join(peer);
            std::fs::create_dir(&share).map_err(disk)?;
            if *peer == SOURCES[0] {
                write_random(&share.join(name), size).map_err(disk)?;
            } else {
                std::fs::hard_link(first.join(name), share.join(name)).map_err(disk)?;
            }
            let listen = SocketAddr::new(subnet.host(host), 0).to_string();
            let share = share.display().to_string();
            let control = self.children.socket(peer).display().to_string();
            let args = [
                "peer",
                "--quiet",
                "--super",
                &super_peer,
                "--share",
                &share,
                "--listen",
                &listen,
                "--control",
                &control,
            ];
            self.children.start(peer, &args.map(str::to_owned))?;
        }
        for peer in &SOURCES[..count] {
            let daemon = self.children.ready(peer)?;
            self.source_pids.push(daemon.pid);
        }
        loop {
            let answer = self.children.ask(&["query", name, "--exact", "--super", &super_peer])?;
            if answer.done()["hits"].as_u64() == Some(count as u64) {
                return Ok(());
            }
            self.children.pause()?;
        }
    }
}

/// Prints on standard error what is being done.
pub(super) fn say(text: &str) {
    output::note(&format!("bench: {text}"));
}

fn temp() -> String {
    std::env::temp_dir().display().to_string()
}
