//! SIGTERM, SIGINT and SIGHUP: caught while a net exists; after the last one is gone they end the
//! process again. A SIGHUP that is ignored when the process starts (by nohup) stays ignored.
//! Otherwise it means that the terminal was closed; or, if the process was started without one, it
//! is an order to read the options again.
//!
//! If they stayed caught after the last net is gone, a process that has left its loop and waits for
//! its disk could not be interrupted.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

/// The signals that end a process of this program.
const ENDING: [i32; 3] = [SIGTERM, SIGINT, SIGHUP];

/// Those of them that are caught.
static CAUGHT: OnceLock<Vec<i32>> = OnceLock::new();
/// Whether SIGHUP is an order to read the options again. It is decided at the start, because a
/// process whose terminal was closed has none any more.
static ORDERS: OnceLock<bool> = OnceLock::new();
/// How many nets exist in this process.
static LIVING: Mutex<usize> = Mutex::new(0);
/// Set while there is none: the signals then have their default effect.
static DEADLY: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// The signals of one net.
pub(super) struct Caught(pub(super) Signals);

impl Caught {
    pub(super) fn open() -> io::Result<Caught> {
        let mut living = living();
        // Registered before the signals of any net, because handlers run in this order: otherwise a
        // loop could be woken, end, and make the signal deadly before this handler looks at the
        // flag.
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

/// The signals that end a process of this program. The first call must come before any of them is
/// caught.
pub fn ending_signals() -> &'static [i32] {
    CAUGHT.get_or_init(|| {
        ORDERS.get_or_init(|| std::fs::File::open("/dev/tty").is_err());
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ends = |signal: &i32| *signal != SIGHUP || !is_ignored(SIGHUP, &status);
        ENDING.into_iter().filter(ends).collect()
    })
}

/// Whether SIGHUP is an order to read the options again: the process was started without a
/// controlling terminal.
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
