//! SIGTERM, SIGINT and SIGHUP. They are caught while a net exists. After the last net is gone, they
//! end the process again. If SIGHUP is ignored when the process starts (by nohup), it stays
//! ignored. Otherwise it has one of two meanings: if the process was started with a terminal, the
//! terminal was closed; if it was started without a terminal, the options must be read again.
//!
//! If the signals stayed caught after the last net is gone, a process that has left its loop and
//! waits for its disk could not be interrupted.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

/// The signals that end a process of this program.
const ENDING: [i32; 3] = [SIGTERM, SIGINT, SIGHUP];

/// The signals that are caught.
static CAUGHT: OnceLock<Vec<i32>> = OnceLock::new();
/// Whether SIGHUP orders the process to read its options again. This is decided at the start,
/// because later the terminal may be closed.
static ORDERS: OnceLock<bool> = OnceLock::new();
/// How many nets exist in this process.
static LIVING: Mutex<usize> = Mutex::new(0);
/// Set while no net exists: then the signals have their default effect.
static DEADLY: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// The signals of one net.
pub(super) struct Caught(pub(super) Signals);

impl Caught {
    pub(super) fn open() -> io::Result<Caught> {
        let mut living = living();
        // This must be registered before the signals of any net, because handlers run in this
        // order. Otherwise a signal could wake a loop, the loop could end and set the flag, and
        // then this handler would see the flag and end the process.
        if DEADLY.get().is_none() {
            let deadly = DEADLY.get_or_init(Arc::default);
            for signal in ending_signals() {
                signal_hook::flag::register_conditional_default(*signal, deadly.clone())?;
            }
        }
        let signals = Signals::new(ending_signals())?;
        *living += 1;
        set_deadly(false);
        Ok(Caught(signals))
    }
}

impl Drop for Caught {
    fn drop(&mut self) {
        let mut living = living();
        *living -= 1;
        set_deadly(*living == 0);
    }
}

/// The signals that end a process of this program. The first call must come before any of the
/// signals is caught.
pub fn ending_signals() -> &'static [i32] {
    CAUGHT.get_or_init(|| {
        ORDERS.get_or_init(|| std::fs::File::open("/dev/tty").is_err());
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ends = |signal: &i32| *signal != SIGHUP || !is_ignored(SIGHUP, &status);
        ENDING.into_iter().filter(ends).collect()
    })
}

/// Whether SIGHUP orders the process to read its options again. This is so if the process was
/// started without a controlling terminal.
pub fn hangup_reloads() -> bool {
    ORDERS.get() == Some(&true)
}

/// Whether the process with this /proc/PID/status ignores the signal (proc(5), `SigIgn`).
fn is_ignored(signal: i32, status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

fn living() -> std::sync::MutexGuard<'static, usize> {
    LIVING.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn set_deadly(now: bool) {
    if let Some(deadly) = DEADLY.get() {
        deadly.store(now, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nohup_ignores_is_read_from_the_status_of_the_process() {
        assert!(is_ignored(SIGHUP, "Name:\tx\nSigIgn:\t0000000000000001\nSigCgt:\t0"));
        assert!(is_ignored(SIGHUP, "SigIgn:\t0000000000001003\n"));
        assert!(!is_ignored(SIGHUP, "SigIgn:\t0000000000001002\n"));
        assert!(!is_ignored(SIGHUP, ""));
    }
}
