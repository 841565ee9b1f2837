//! Has the functions that a daemon runs when it starts linked side by side, after `scripts/start.ld`.
//!
//! Only a release build with the linker that comes with the toolchain: whoever names one of their own (mold reads no such file) does
//! without, which costs about a megabyte of pages that are mapped and not used.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=scripts/start.ld");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let own_linker = env::var_os("RUSTC_LINKER").is_some() || flags.contains("link");
    if is("PROFILE", "release") && is("TARGET", "x86_64-unknown-linux-gnu") && !own_linker {
        let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it for every build script");
        println!("cargo::rustc-link-arg-bins=-T");
        println!("cargo::rustc-link-arg-bins={root}/scripts/start.ld");
    }
}
