//! How the static program is linked.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "so a build script talks to cargo"
)]

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // A static program relocates itself at its start, and reads its whole table of relocations for
    // that: packed, the table has a twentieth of the size, a megabyte of resident memory less
    // (`make bench`). musl reads such tables since 1.2.4.
    if std::env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("musl") {
        println!("cargo:rustc-link-arg-bins=-z");
        println!("cargo:rustc-link-arg-bins=pack-relative-relocs");
    }
}
