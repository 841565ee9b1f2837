//! The `sprat` binary. All of its code is in the library.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: sprat::memory::Counted = sprat::memory::Counted;

fn main() -> ExitCode {
    sprat::cli::main()
}
