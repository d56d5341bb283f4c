//! How the static program is linked.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "so a build script talks to cargo"
)]

use std::env::var;
use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

/// Patterns of the names of functions, one a line, in the order in which they are laid out.
/// `image/order.py` writes it.
const ORDER: &str = "image/functions.order";

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={ORDER}");
    if var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("musl") {
        // A static program relocates itself at its start, and reads its whole table of relocations
        // for that: packed, the table has a twentieth of the size, a megabyte of resident memory
        // less (`make bench`). musl reads such tables since 1.2.4.
        link_with(&["-z", "pack-relative-relocs"]);
        // A fault maps the 64 KiB around it: strewn over the program, the functions that run keep
        // nearly half of it resident; side by side, that is nine megabytes less (`make bench`).
        let script = Path::new(&var("OUT_DIR").unwrap_or_default()).join("order.ld");
        fs::write(&script, in_order(&fs::read_to_string(ORDER)?))?;
        link_with(&["-T", &script.display().to_string()]);
    }
    Ok(())
}

/// A linker script that adds one section to those of the linker's own, before the other functions.
/// Compilers put each function into a section of its name; a pattern without one does no harm.
fn in_order(patterns: &str) -> String {
    let mut script = String::from("SECTIONS { .text.ordered : {\n");
    for pattern in patterns.lines() {
        let _ = writeln!(script, "*(.text.{pattern} .text.unlikely.{pattern})");
    }
    script + "} } INSERT BEFORE .text;\n"
}

fn link_with(arguments: &[&str]) {
    for argument in arguments {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
