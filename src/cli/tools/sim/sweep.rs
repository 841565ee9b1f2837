//! Every combination of the values of sweeps.

use crate::cli::args::Sweep;
use crate::error::Failure;

/// Most experiments of one command.
const EXPERIMENTS_MAX: usize = 10_000;

/// The title of the picture of a sweep.
pub(super) fn title(sweeps: &[Sweep]) -> String {
    let swept: Vec<&str> = sweeps.iter().map(|sweep| sweep.name.as_str()).collect();
    format!("sprat sim over {}", swept.join(" and "))
}

/// Every combination of the swept values. The values of the first sweep change slowest. `with`
/// changes one setting.
pub(super) fn combinations<T: Clone>(
    base: &T,
    sweeps: &[Sweep],
    with: impl Fn(&T, &str, &str) -> Result<T, Failure>,
) -> Result<Vec<(Vec<String>, T)>, Failure> {
    let mut all = vec![(Vec::new(), base.clone())];
    for (at, sweep) in sweeps.iter().enumerate() {
        if sweeps[..at].iter().any(|other| other.name == sweep.name) {
            return Err(Failure::usage(format!("--sweep {} is given twice", sweep.name)));
        }
        let mut next = Vec::new();
        for (values, settings) in &all {
            for value in &sweep.values {
                let values: Vec<String> = values.iter().chain([value]).cloned().collect();
                next.push((values, with(settings, &sweep.name, value)?));
            }
        }
        all = next;
        if all.len() > EXPERIMENTS_MAX {
            return Err(Failure::usage(format!("--sweep makes more than {EXPERIMENTS_MAX} experiments")));
        }
    }
    Ok(all)
}
