//! The ready file, for which a script can wait. It appears, complete, once the daemon serves. It is
//! removed when the daemon starts or ends. Only after a kill may it name a process that has ended.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::paths;
use crate::control;
use crate::error::{Exit, Failure};
use crate::wire::HostPort;

/// The one JSON object in the file.
#[derive(Debug, Serialize)]
pub(crate) struct Ready {
    /// `super` or `peer`.
    pub(crate) role: &'static str,
    /// The process id of the daemon.
    pub(crate) pid: u32,
    /// The version of the program.
    pub(crate) version: &'static str,
    /// An address that a program on this host can dial.
    pub(crate) listen: HostPort,
    /// For a peer: the super peer that has sent WELCOME.
    #[serde(rename = "super", skip_serializing_if = "Option::is_none")]
    pub(crate) super_peer: Option<HostPort>,
    /// The path of its control socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) control: Option<PathBuf>,
    /// The address of its page that a program on this host can dial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http: Option<HostPort>,
}

impl Ready {
    /// The object for a daemon that only has a listener.
    pub(crate) fn new(role: &'static str, listen: SocketAddr) -> Ready {
        Ready {
            role,
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION"),
            listen: dialable(listen),
            super_peer: None,
            control: None,
            http: None,
        }
    }
}

/// The address to dial on this host. If the listener is bound to all addresses, it is a loopback
/// address.
pub(crate) fn dialable(listen: SocketAddr) -> HostPort {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    if ip == listen.ip() { HostPort::local(listen) } else { SocketAddr::new(ip, listen.port()).into() }
}

/// The ready file of --ready-file, if there is one.
#[derive(Debug)]
pub(crate) struct ReadyFile(Option<PathBuf>);

impl ReadyFile {
    /// Removes the file of an earlier process.
    pub(crate) fn prepare(path: Option<&Path>) -> Result<ReadyFile, Failure> {
        let path = path.map(|path| paths::absolute("--ready-file", path)).transpose()?;
        if let Some(path) = &path {
            let _ = fs::remove_file(path);
            let _ = fs::remove_file(paths::beside(path));
        }
        Ok(ReadyFile(path))
    }

    /// Writes the file. It replaces an existing one.
    pub(crate) fn write(&self, ready: &Ready) -> Result<(), Failure> {
        let Some(path) = &self.0 else {
            return Ok(());
        };
        let failed =
            |e: String| Failure::new(Exit::Disk, format!("cannot write the ready file {}: {e}", path.display()));
        let line = control::json(ready).map_err(|e| failed(e.to_string()))?;
        paths::write_whole(path, format!("{line}\n").as_bytes()).map_err(|e| failed(e.to_string()))?;
        log::debug!("ready: {}", path.display());
        Ok(())
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_written_as_loopback() {
        for (listen, dial) in [
            ("0.0.0.0:5", "127.0.0.1:5"),
            ("[::]:5", "[::1]:5"),
            ("192.0.2.1:5", "192.0.2.1:5"),
            ("[::ffff:127.0.0.1]:5", "127.0.0.1:5"),
        ] {
            assert_eq!(dialable(listen.parse().unwrap()).to_string(), dial);
        }
    }

    #[test]
    fn the_file_is_whole_and_goes_with_its_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready");
        let file = ReadyFile::prepare(Some(&path)).unwrap();
        assert!(!path.exists());
        file.write(&Ready::new("super", "0.0.0.0:7".parse().unwrap())).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(value["listen"], "127.0.0.1:7");
        assert_eq!(value["pid"], std::process::id());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(file);
        assert!(!path.exists());
    }
}
