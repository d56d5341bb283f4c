//! Paths of the API, made of names. Pure.

use crate::components::http_client::path_segment;

/// A name or a configured path as the path of a URL: its segments escaped, the slashes between them
/// kept. `None` where no secret can have that name: the server knows no empty segments, no ways up
/// (`.` and `..`), and none of the characters that cannot be seen.
///
/// Invariant: two names have one path only where they are the same name, so that no other spelling
/// reaches a secret.
pub(super) fn escaped(name: &str) -> Option<String> {
    if name.chars().any(cannot_be_seen) {
        return None;
    }
    let segments: Option<Vec<_>> = name.split('/').map(path_segment).collect();
    segments.map(|segments| segments.join("/"))
}

/// Whether the server takes no path with this character: it refuses what is not printable, and of
/// the spaces only the usual one is.
fn cannot_be_seen(character: char) -> bool {
    character.is_control() || (character.is_whitespace() && character != ' ')
}

/// The version of a KV engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Plain paths.
    One,
    /// Each secret has versions; `data` and `metadata` are parts of its paths.
    Two,
}

/// Where the secrets are.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The path of the engine, escaped.
    pub(super) engine: String,
    /// What stands before the names, escaped, with a slash at its end; or nothing.
    pub(super) prefix: String,
}

impl Place {
    /// The path of a secret whose name is escaped.
    pub(super) fn secret(&self, version: Version, name: &str) -> String {
        let Self { engine, prefix } = self;
        match version {
            Version::One => format!("{engine}/{prefix}{name}"),
            Version::Two => format!("{engine}/data/{prefix}{name}"),
        }
    }

    /// The path of a list. The folder is escaped, with a slash at its end; or nothing.
    pub(super) fn list(&self, version: Version, folder: &str) -> String {
        let Self { engine, prefix } = self;
        match version {
            Version::One => format!("{engine}/{prefix}{folder}"),
            Version::Two => format!("{engine}/metadata/{prefix}{folder}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_segments_and_knows_names_that_no_secret_has() {
        for (name, path) in [
            ("x", Some("x")),
            ("a/b c", Some("a/b%20c")),
            ("%2e%2e/a", Some("%252e%252e/a")),
            ("a?b#c", Some("a%3Fb%23c")),
            ("ä+😀", Some("%C3%A4%2B%F0%9F%98%80")),
            ("..x/...", Some("..x/...")),
            ("", None),
            ("/x", None),
            ("x/", None),
            ("a//b", None),
            ("a/./b", None),
            ("a/../b", None),
            ("..", None),
            ("a\nb", None),
            ("a\0", None),
            ("a\u{a0}b", None),
        ] {
            assert_eq!(escaped(name).as_deref(), path, "{name:?}");
        }
    }

    #[test]
    fn each_version_has_its_paths() {
        let place = Place {
            engine: "team/kv".to_owned(),
            prefix: "dapr/".to_owned(),
        };
        assert_eq!(place.secret(Version::One, "a/b"), "team/kv/dapr/a/b");
        assert_eq!(place.secret(Version::Two, "a/b"), "team/kv/data/dapr/a/b");
        assert_eq!(place.list(Version::One, ""), "team/kv/dapr/");
        assert_eq!(place.list(Version::Two, "a/"), "team/kv/metadata/dapr/a/");
    }

    proptest! {
        #[test]
        fn a_path_is_read_back_as_the_name(name in "[a.%/? ä\\\\]{0,8}") {
            if let Some(path) = escaped(&name) {
                let url = format!("http://h/v1/secret/data/dapr/{path}?version=1");
                let url = reqwest::Url::parse(&url).unwrap();
                let read = url.path().strip_prefix("/v1/secret/data/dapr/");
                let read = percent_encoding::percent_decode_str(read.unwrap());
                prop_assert_eq!(read.decode_utf8().unwrap(), name);
            }
        }
    }
}
