//! What a daemon reports to its service manager (sd_notify(3)). Without `NOTIFY_SOCKET` it sends
//! nothing.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;

/// The daemon serves. After a reload, it serves with its new options.
pub(crate) fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Reports to people what the daemon is doing.
pub(crate) fn status(status: &str) {
    send(&[NotifyState::Status(status)]);
}

/// The daemon reads its options again.
pub(crate) fn reloading() {
    let now = NotifyState::monotonic_usec_now();
    send(&[NotifyState::Reloading, now.unwrap_or(NotifyState::Status("reading the options again"))]);
}

/// The daemon begins to end.
pub(crate) fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// The loop of the daemon runs.
pub(crate) fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// How often [`alive`] must be called: twice within the time after which the manager ends the
/// daemon (`WatchdogSec=`).
pub(crate) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|most| most / 2).filter(|every| !every.is_zero())
}

/// The function of the crate would block the loop if the manager does not read.
fn send(state: &[NotifyState]) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let text: String = state.iter().map(|line| format!("{line}\n")).collect();
    let sent = || {
        let to = match socket.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&socket)?,
        };
        let from = UnixDatagram::unbound()?;
        from.set_nonblocking(true)?;
        from.send_to_addr(text.as_bytes(), &to)
    };
    if let Err(error) = sent() {
        log::debug!("the service manager cannot be notified: {error}");
    }
}
