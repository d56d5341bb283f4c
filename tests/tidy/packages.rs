//! The packages that are linked: banned ones, doubles, licences.

use std::process::Command;

use serde_json::Value;

use super::source::{Source, root};
use super::{Finding, finding};

/// Packages that would bring a second TLS stack.
const BANNED: &[&str] = &[
    "aws-lc-rs",
    "aws-lc-sys",
    "native-tls",
    "openssl",
    "openssl-sys",
];

/// Packages of which two versions would be two TLS stacks or two runtimes.
const SINGLE: &[&str] = &[
    "h2",
    "hyper",
    "ring",
    "rustls",
    "rustls-webpki",
    "tokio",
    "tonic",
];

/// Licences that a dependency may have.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Banned packages and doubles in Cargo.lock, and sources other than crates.io.
pub(crate) fn check_lock(lock: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for (at, line) in lock.text.lines().enumerate() {
        let mut report = |text| findings.push(finding(&lock.path, at + 1, text));
        if let Some(name) = quoted(line, "name = ") {
            if BANNED.contains(&name) {
                report(format!(
                    "package \"{name}\" is banned: the one TLS stack is rustls on ring"
                ));
            }
            if SINGLE.contains(&name) && seen.contains(&name) {
                report(format!("package \"{name}\" is there twice"));
            }
            seen.push(name);
        }
        if let Some(from) = quoted(line, "source = ")
            && from != "registry+https://github.com/rust-lang/crates.io-index"
        {
            report(format!(
                "a package comes from \"{from}\", not from crates.io"
            ));
        }
    }
    findings
}

fn quoted<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.strip_prefix(key)?.strip_prefix('"')?.strip_suffix('"')
}

/// Dependencies whose licence is not on the list.
pub(crate) fn check_licences() -> Vec<Finding> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(["--filter-platform", "x86_64-unknown-linux-musl"])
        .current_dir(root())
        .output()
        .expect("cargo is there, since it runs this test");
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 50, "cargo metadata names the dependencies");
    packages
        .iter()
        .filter_map(|package| {
            let name = package["name"].as_str()?;
            let licence = package["license"].as_str().unwrap_or("none given");
            let text = format!("package \"{name}\": licence \"{licence}\" is not on the list");
            (!is_allowed(licence)).then(|| finding("Cargo.toml", 1, text))
        })
        .collect()
}

/// Whether an SPDX expression can be met with the licences of the list.
pub(crate) fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let words = expression.replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = words.split_whitespace().collect();
    let mut at = 0;
    let allowed = any_of(&words, &mut at);
    allowed && at == words.len()
}

fn any_of(words: &[&str], at: &mut usize) -> bool {
    let mut allowed = all_of(words, at);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        allowed |= all_of(words, at);
    }
    allowed
}

fn all_of(words: &[&str], at: &mut usize) -> bool {
    let mut allowed = one(words, at);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        allowed &= one(words, at);
    }
    allowed
}

fn one(words: &[&str], at: &mut usize) -> bool {
    if words.get(*at) == Some(&"(") {
        *at += 1;
        let allowed = any_of(words, at);
        *at += 1;
        return allowed;
    }
    let mut name = words.get(*at).copied().unwrap_or_default().to_owned();
    *at += 1;
    if words.get(*at) == Some(&"WITH") {
        name = format!("{name} WITH {}", words.get(*at + 1).unwrap_or(&""));
        *at += 2;
    }
    LICENCES.contains(&name.as_str())
}
