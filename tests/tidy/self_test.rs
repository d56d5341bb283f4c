//! The rules catch what they are for: made-up sources that break them, and some that do not.

use super::source::Source;
use super::{Finding, files, layers, metrics, packages, text};

/// The one finding in a made-up source, as `line: text`, or nothing.
fn only(findings: Vec<Finding>) -> String {
    let lines: Vec<String> = findings
        .iter()
        .map(|found| format!("{}: {}", found.line, found.text))
        .collect();
    lines.join("\n")
}

#[test]
fn layers_are_seen_through_every_form_of_path() {
    let caught = [
        ("src/base/a.rs", "use crate::process::tasks::Tasks;", 1),
        ("src/base/a.rs", "\nuse crate::{base::x, tls};", 2),
        ("src/base/a.rs", "fn a() { crate::cli::run(); }", 1),
        ("src/base/a.rs", "type A = Vec<crate::api::B>;", 1),
        ("src/base/a.rs", "use super::super::blocks::x;", 1),
        ("src/base/mod.rs", "use super::api;", 1),
        ("src/base/a.rs", "m! { select(crate::tls::y) }", 1),
        ("src/base/a.rs", "#[derive(crate::api::D)] struct S;", 1),
        ("src/app_channel/http.rs", "use crate::components::x;", 1),
        ("src/api/http.rs", "use crate::components::x;", 1),
        ("src/blocks/a.rs", "use crate::api::status;", 1),
        ("src/injector/a.rs", "use crate::blocks::a;", 1),
        ("src/cli/run.rs", "use crate::testing::eventually;", 1),
        (
            "src/api/http.rs",
            "#[cfg(test)]\nuse crate::testing::a;\nuse crate::registry::b;",
            3,
        ),
        (
            "src/api/http.rs",
            "#[cfg(test)]\nmod tests { }\nuse crate::registry::b;",
            3,
        ),
        (
            "src/api/http.rs",
            "use axum::Router; mod tests { use crate::registry::x; }",
            1,
        ),
        ("src/made_up/a.rs", "", 1),
        ("src/blocks/a.rs", "use axum::http;", 1),
        ("src/api/http/a.rs", "use tonic::Status;", 1),
        ("src/auth/a.rs", "fn a() -> kube::Client { }", 1),
        ("src/process/a.rs", "fn a() { std::env::args(); }", 1),
        ("src/process/a.rs", "use std::{env, io};", 1),
        ("src/process/serve.rs", "fn a() { tokio::spawn(b()); }", 1),
        ("src/cli/a.rs", "fn a() { tokio::task::spawn(b()); }", 1),
    ];
    for (path, text, line) in caught {
        let source = Source::made_up(path, text);
        let found = only(layers::check(&source, &source.contents()));
        assert!(
            found.starts_with(&format!("{line}: ")),
            "{path} {text:?}: {found:?}"
        );
        assert_eq!(found.lines().count(), 1, "{path} {text:?}: {found}");
    }
}

#[test]
fn layers_allow_what_the_table_allows() {
    let allowed = [
        (
            "src/base/a.rs",
            "// use crate::api::x;\nconst A: &str = \"crate::api\";",
        ),
        (
            "src/base/a.rs",
            "/// See [`crate::api::x`].\nuse super::names::b;",
        ),
        (
            "src/api/http/a.rs",
            "use super::super::{status, grpc}; use axum::Router;",
        ),
        (
            "src/api/grpc/a.rs",
            "use crate::{auth::x, blocks::{self, y as z}}; use tonic::Status;",
        ),
        (
            "src/base/a.rs",
            "#[cfg(test)]\nmod tests { use crate::{api, testing::certs}; }",
        ),
        (
            "src/base/a.rs",
            "#[cfg(test)]\nfn a(b: (A, B)) { crate::api::b(); std::env::args(); }",
        ),
        (
            "src/cli/run.rs",
            "use std::env; use crate::{api, injector};",
        ),
        (
            "src/testing/fake_app.rs",
            "use crate::process::serve; fn a() { tokio::spawn(b()); }",
        ),
        (
            "src/components/secret_store/kubernetes.rs",
            "use kube::Api;",
        ),
        ("src/process/tasks.rs", "fn a() { tokio::spawn(b()); }"),
        (
            "src/base/a.rs",
            "#[test]\nfn a() { crate::testing::page::expect_fresh(); }",
        ),
        (
            "src/lib.rs",
            "#[cfg(feature = \"testing\")]\npub mod testing;",
        ),
    ];
    for (path, text) in allowed {
        let source = Source::made_up(path, text);
        assert_eq!(
            only(layers::check(&source, &source.contents())),
            "",
            "{path} {text:?}"
        );
    }
}

#[test]
fn a_finding_names_what_may_be_imported() {
    let source = Source::made_up("src/process/a.rs", "\n\nuse crate::tls::reload;");
    let findings = layers::check(&source, &source.contents());
    assert_eq!(findings[0].file, "src/process/a.rs");
    assert_eq!(
        only(findings),
        "3: crate::tls::reload: layer \"process\" may import only: base"
    );
}

#[test]
fn dead_files_are_found() {
    let sources = [
        Source::made_up("src/lib.rs", "pub mod a;\n#[cfg(test)]\nmod b;"),
        Source::made_up("src/main.rs", "fn main() {}"),
        Source::made_up("src/a/mod.rs", "mod c; mod inner { }"),
        Source::made_up("src/a/c.rs", "mod d;"),
        Source::made_up("src/a/c/d.rs", ""),
        Source::made_up("src/a/dead.rs", ""),
        Source::made_up("src/b.rs", ""),
    ];
    let findings = files::check_dead(&sources);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].file, "src/a/dead.rs");
}

#[test]
fn sizes_are_measured_before_and_with_the_tests() {
    let size = |text: String| {
        let source = Source::made_up("src/a.rs", &text);
        only(text::check_size(&source, &source.contents()))
    };
    let tests = "#[cfg(test)]\nmod tests {\n";
    assert_eq!(size("//\n".repeat(400)), "");
    assert_eq!(
        size("//\n".repeat(401)),
        "400: 401 lines before its tests, over 400"
    );
    assert_eq!(
        size(format!(
            "{}{tests}{}}}",
            "//\n".repeat(398),
            "//\n".repeat(199)
        )),
        ""
    );
    assert_eq!(
        size(format!(
            "{}{tests}{}}}",
            "//\n".repeat(398),
            "//\n".repeat(200)
        )),
        "600: 601 lines, over 600"
    );
    assert_eq!(size(format!("//{}", "ä".repeat(98))), "");
    assert_eq!(
        size(format!("\n//{}", "ä".repeat(99))),
        "2: 101 columns, over 100"
    );
}

#[test]
fn notes_need_a_number() {
    let [todo, fixme] = [concat!("TO", "DO"), concat!("FIX", "ME")];
    let notes = |text: String| text::check_notes(&Source::made_up("a.rs", &text)).len();
    assert_eq!(notes(format!("// {todo}(#12): a")), 0);
    assert_eq!(notes(format!("// MY{todo}S {todo}_A")), 0);
    for bad in [": a", "(me)", "(#)", "(#1a)", ""] {
        assert_eq!(notes(format!("// {todo}{bad}")), 1, "{bad:?}");
    }
    assert_eq!(notes(format!("# {fixme}(#1)")), 1);
}

#[test]
fn sleeps_and_globs_are_found() {
    let check = |path: &str, text: &str| {
        let source = Source::made_up(path, text);
        let contents = source.contents();
        let sleeps = text::check_sleeps(&source, &contents).len();
        (sleeps, text::check_globs(&source, &contents).len())
    };
    let sleeps = "async fn a() { tokio::time::sleep(B).await }";
    assert_eq!(check("tests/it/a.rs", sleeps), (1, 0));
    assert_eq!(
        check("tests/it/a.rs", "use std::thread::{self, sleep};"),
        (1, 0)
    );
    assert_eq!(check("src/a/b.rs", sleeps), (0, 0));
    assert_eq!(
        check("src/a/b.rs", &format!("#[cfg(test)] mod t {{ {sleeps} }}")),
        (1, 0)
    );
    assert_eq!(check("src/testing/fake_app.rs", sleeps), (1, 0));
    assert_eq!(check("src/testing/eventually.rs", sleeps), (0, 0));
    assert_eq!(check("src/a/b.rs", "pub use super::c::*;"), (0, 1));
    assert_eq!(check("src/a/b.rs", "pub(crate) use c::{d::*, e};"), (0, 1));
    assert_eq!(
        check("src/a/b.rs", "pub mod x; use super::*; pub use c::d;"),
        (0, 0)
    );
}

#[test]
fn paths_of_one_machine_are_found() {
    let words = |text: &str| text::check_words(&Source::made_up("a.md", text)).len();
    let bad = ["work", "root", "home"].map(|folder| format!("see /{folder}/x"));
    assert!(bad.iter().all(|text| words(text) == 1));
    let path = ["work", "home"].map(|folder| format!("https://example.org/{folder}/x"));
    assert!(path.iter().all(|text| words(text) == 0));
}

#[test]
fn pages_that_are_not_there_are_found() {
    let links = |text: &str| only(files::check_links(&Source::made_up("docs/a.md", text)));
    assert_eq!(
        links("[a](../Cargo.toml) [b](https://example.org/x.md) [c](#d)"),
        ""
    );
    assert_eq!(
        links("\n[a](no.toml)"),
        "2: link to \"no.toml\", which is not there"
    );
    assert_eq!(
        links("see no.md"),
        "1: mentions \"no.md\", which is not there"
    );
    let index = Source::made_up("docs/README.md", "[a](a.md)");
    let pages = ["docs/README.md", "docs/a.md", "docs/b.md"].map(|p| Source::made_up(p, ""));
    let unlinked = files::check_index(&index, &pages);
    assert_eq!(unlinked.len(), 1);
    assert_eq!(unlinked[0].file, "docs/b.md");
}

#[test]
fn metrics_that_only_one_side_knows_are_found() {
    let source = Source::made_up(
        "src/a.rs",
        "const A: &str = \"dapr_a_total\";\nfn f() { m!(\"sidegate_b\", \"l\" => \"dapr_C\"); }\n\
         #[cfg(test)] mod tests { const D: &str = \"dapr_d\"; }",
    );
    let page = Source::made_up("docs/metrics.md", "| `sidegate_b` | x |\n| `dapr_e` | x |");
    let contents = source.contents();
    assert_eq!(
        only(metrics::check(&[(&source, contents)], &page)),
        "1: docs/metrics.md does not show dapr_a_total\n2: nothing counts dapr_e"
    );
}

#[test]
fn locks_and_licences_are_read() {
    let lock = |text: &str| only(packages::check_lock(&Source::made_up("Cargo.lock", text)));
    assert_eq!(lock("name = \"rustls\"\nname = \"openssl-probe\""), "");
    assert!(lock("name = \"openssl\"").starts_with("1: package \"openssl\" is banned"));
    assert_eq!(
        lock("name = \"ring\"\nname = \"ring\""),
        "2: package \"ring\" is there twice"
    );
    assert!(lock("source = \"git+https://example.org\"").starts_with("1: a package comes from"));
    let allowed = [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-2.0 OR MIT",
        "(MIT OR GPL-3.0) AND ISC",
    ];
    let refused = [
        "GPL-3.0",
        "MIT AND GPL-2.0",
        "(MIT",
        "none given",
        "Apache-2.0 WITH x",
    ];
    assert!(allowed.iter().all(|licence| packages::is_allowed(licence)));
    for licence in refused {
        assert!(!packages::is_allowed(licence), "{licence}");
    }
}
