//! Names from other peers: a sanitized name does no harm, its last form is safe in every file
//! system, and a printed name controls no terminal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sprat::config::NAME_BYTES_MAX;
use sprat::wire::ids::Root;
use sprat::wire::name;
use sprat::wire::record::name_of;

const ROOT: Root = Root([0xab; 32]);
const DEVICES: [&str; 9] = ["con", "prn", "aux", "nul", "clock$", "conin$", "conout$", "com1", "lpt9"];

fn check_sanitized(given: &str) {
    for safe in name::candidates(given, &ROOT) {
        assert!(!safe.is_empty() && safe.len() <= NAME_BYTES_MAX, "{given:?} → {safe:?}");
        assert!(!safe.starts_with(['.', '-']) && !safe.contains(['/', '\0']), "{given:?} → {safe:?}");
        assert!(!safe.chars().any(char::is_control), "{given:?} → {safe:?}");
        assert!(!safe.contains(['\u{202e}', '\u{2066}', '\u{2028}']), "{given:?} → {safe:?}");
        let lower = safe.to_lowercase();
        assert!(!lower.ends_with(".part") && !lower.ends_with(".part.map"), "{given:?} → {safe:?}");
    }
    let first = name::sanitize(given, &ROOT);
    assert_eq!(name::sanitize(&first, &ROOT), first, "sanitizing again changes it: {given:?}");
    let portable = name::candidates(given, &ROOT).pop().unwrap_or_default();
    assert!(!portable.ends_with(['.', ' ']), "{given:?} → {portable:?}");
    assert!(!portable.contains(['\\', '<', '>', ':', '"', '|', '?', '*']), "{given:?} → {portable:?}");
    assert!(!portable.contains(['\u{200b}', '\u{feff}']), "{given:?} → {portable:?}");
    let stem = portable.to_lowercase();
    let stem = stem.split('.').next().unwrap_or_default().trim_end_matches(' ');
    assert!(!DEVICES.contains(&stem), "{given:?} → {portable:?}");
}

fn check_shown(given: &str) {
    let shown = name::printable(given);
    assert!(!shown.chars().any(char::is_control), "{given:?} → {shown:?}");
    assert!(!shown.contains(['\u{202e}', '\u{2066}', '\u{feff}']), "{given:?} → {shown:?}");
    assert_eq!(name::printable(&shown), shown, "printable text is unchanged");
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    check_sanitized(&text);
    check_shown(&text);
    check_sanitized(name_of(&text));
});
