//! The memory budget of a super peer: `--memory`, or half of the memory of the machine or of its
//! cgroup. The rest is for memory that the budget does not count.

use std::fs;

use super::units::Size;
use crate::config::{MEMORY_BUDGET_MIN, MEMORY_NAMED_MIN};
use crate::error::{Exit, Failure};

/// Reads the text of a file, if it can be read.
type Read<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The budget in bytes.
pub(crate) fn budget(given: Option<Size>) -> Result<usize, Failure> {
    match given {
        None => {
            let available = available(&|path| fs::read_to_string(path).ok());
            Ok(available.map_or(MEMORY_BUDGET_MIN, share_of))
        }
        Some(Size(bytes)) if bytes < MEMORY_NAMED_MIN as u64 => {
            let least = Size(MEMORY_NAMED_MIN as u64);
            Err(Failure::new(Exit::Usage, format!("--memory is a size of at least {least}")))
        }
        Some(Size(bytes)) => Ok(in_memory(bytes)),
    }
}

/// The budget for this much memory: half of it. If the least budget is more, it is that budget, but
/// at most four fifths of the memory.
fn share_of(available: u64) -> usize {
    in_memory(available / 2).max(MEMORY_BUDGET_MIN.min(in_memory(available / 5 * 4)))
}

fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The memory of the machine. If a cgroup of this process has a lower limit, that limit.
fn available(read: Read) -> Option<u64> {
    let machine = read("/proc/meminfo").as_deref().and_then(total);
    let cgroups = read("/proc/self/cgroup").unwrap_or_default();
    cgroups.lines().filter_map(|line| limit(line, read)).chain(machine).min()
}

/// The value of `MemTotal:       24684512 kB` in /proc/meminfo, in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

/// The lowest limit of a cgroup and of those above it, from a line of /proc/self/cgroup. In version
/// 2 the line is `0::PATH`, in version 1 `N:CONTROLLERS:PATH`. In a container, the path may be that
/// of the host, and only the root of the tree may exist.
fn limit(line: &str, read: Read) -> Option<u64> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?);
    let (mount, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        some if some.split(',').any(|one| one == "memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return None,
    };
    let mut least = None;
    let mut folder = path.trim_end_matches('/');
    loop {
        // The word `max` means no limit. It is not a number.
        let limit = read(&format!("{mount}{folder}/{file}")).and_then(|text| text.trim().parse::<u64>().ok());
        least = least.into_iter().chain(limit).min();
        let Some(end) = folder.rfind('/') else { return least };
        folder = &folder[..end];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:       24684512 kB\nMemFree:         3653204 kB\n";

    fn with(files: &[(&str, &str)]) -> Option<u64> {
        let find = |path: &str| files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned());
        available(&find)
    }

    #[test]
    fn without_a_cgroup_it_is_the_machines_memory() {
        assert_eq!(with(&[("/proc/meminfo", MEMINFO)]), Some(24_684_512 * 1024));
        assert_eq!(with(&[]), None);
    }

    #[test]
    fn the_least_limit_of_all_cgroups_above_counts() {
        let files = [
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "0::/system.slice/sprat.service\n"),
            ("/sys/fs/cgroup/system.slice/sprat.service/memory.max", "max\n"),
            ("/sys/fs/cgroup/system.slice/memory.max", "1073741824\n"),
        ];
        assert_eq!(with(&files), Some(1 << 30));
    }

    #[test]
    fn version_1_is_read_and_its_path_may_be_of_the_host() {
        let files = [
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "12:cpu,cpuacct:/docker/ab\n5:memory:/docker/ab\n0::/\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n"),
        ];
        assert_eq!(with(&files), Some(512 << 20));
        let unlimited = [files[0], files[1], ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")];
        assert_eq!(with(&unlimited), Some(24_684_512 * 1024));
    }

    #[test]
    fn a_size_that_is_named_is_taken_from_16_mib_on() {
        assert_eq!(budget(Some(Size(16 << 20))), Ok(16 << 20));
        let failure = budget(Some(Size((16 << 20) - 1))).unwrap_err();
        assert_eq!((failure.exit, failure.message.as_str()), (Exit::Usage, "--memory is a size of at least 16.0 MiB"));
        assert!(budget(None).is_ok());
    }

    #[test]
    fn it_is_half_of_the_memory_and_fits_into_it() {
        let mib = |mib: u64| share_of(mib << 20) >> 20;
        assert_eq!([2000, 1000, 400, 320, 100].map(mib), [1000, 500, 256, 256, 80]);
    }
}
