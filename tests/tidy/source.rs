//! Reads Rust sources as tokens, so that comments, strings and formatting cannot fool a rule.

use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A file of the tree.
pub(crate) struct Source {
    /// Its path from the root of the tree, with `/`.
    pub(crate) path: String,
    /// What it holds.
    pub(crate) text: String,
}

/// A path such as `crate::base::names` or `tokio::time::sleep` in a source, `use` trees spread out
/// and `super` and `self` resolved.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mention {
    /// Its segments; the last one is `*` in a glob import.
    pub(crate) path: Vec<String>,
    /// Its line, from 1.
    pub(crate) line: usize,
    /// Whether it stands in code that is compiled for tests only.
    pub(crate) in_test: bool,
    /// Whether it is re-exported.
    pub(crate) is_public_use: bool,
}

/// A `mod name;` in a source.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Submodule {
    /// Its name.
    pub(crate) name: String,
    /// Whether it is compiled for tests only.
    pub(crate) in_test: bool,
}

/// A text in quotes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Literal {
    /// What is in the quotes, escapes as written.
    pub(crate) text: String,
    /// Its line, from 1.
    pub(crate) line: usize,
    /// Whether it stands in code that is compiled for tests only.
    pub(crate) in_test: bool,
}

/// What the rules look at in one source.
#[derive(Default)]
pub(crate) struct Contents {
    /// Every path that the source mentions.
    pub(crate) mentions: Vec<Mention>,
    /// Every text in quotes; documentation is none.
    pub(crate) literals: Vec<Literal>,
    /// Every module that it declares without a body.
    pub(crate) submodules: Vec<Submodule>,
    /// The line where its tests begin: the first module with a body that is for tests only.
    pub(crate) tests_from: Option<usize>,
}

impl Source {
    /// A made-up source, for the rules' own tests.
    pub(crate) fn made_up(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    /// The source as tokens.
    pub(crate) fn contents(&self) -> Contents {
        let tokens: TokenStream = self
            .text
            .parse()
            .unwrap_or_else(|error| panic!("{}: not Rust: {error}", self.path));
        let mut walk = Walk::default();
        walk.tokens(tokens, &Place::of(&self.path));
        walk.contents
    }
}

/// The root of the tree.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `dir` whose name ends in one of `endings`, in the order of their paths.
pub(crate) fn files(dir: &str, endings: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut pending = vec![root().join(dir)];
    while let Some(dir) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else {
            continue;
        };
        for entry in entries.map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                if !is_foreign(&entry) {
                    pending.push(entry);
                }
            } else if endings.iter().any(|end| name(&entry).ends_with(end)) {
                found.push(read(&entry));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Folders that hold nothing of ours.
fn is_foreign(dir: &Path) -> bool {
    let name = name(dir);
    let foreign = ["target", "dist", "node_modules", "__pycache__", ".git"];
    foreign.contains(&name.as_str()) || name.starts_with(".venv")
}

fn name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn read(path: &PathBuf) -> Source {
    let below = path.strip_prefix(root()).unwrap();
    let bytes = std::fs::read(path).unwrap();
    Source {
        path: below.to_string_lossy().replace('\\', "/"),
        text: String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// Where a token stands.
#[derive(Clone)]
struct Place {
    modules: Vec<String>,
    in_test: bool,
}

impl Place {
    fn of(path: &str) -> Self {
        let inside = path
            .strip_prefix("src/")
            .unwrap_or(path)
            .trim_end_matches(".rs");
        let roots = ["lib", "main", "mod"];
        let modules = inside
            .split('/')
            .filter(|part| !roots.contains(part))
            .map(str::to_owned)
            .collect();
        Self {
            modules,
            in_test: !path.starts_with("src/")
                || path.starts_with("src/testing/")
                // A folder's tests in a file of their own.
                || path.ends_with("/tests.rs"),
        }
    }
}

#[derive(Default)]
struct Walk {
    contents: Contents,
}

impl Walk {
    fn tokens(&mut self, tokens: TokenStream, place: &Place) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut for_tests = false;
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let inner = Place {
                in_test: place.in_test || for_tests,
                ..place.clone()
            };
            match token {
                TokenTree::Ident(word) if word == "use" => {
                    at = self.use_tree(&tokens, at, &inner);
                    for_tests = false;
                    continue;
                }
                TokenTree::Ident(word) if word == "mod" => {
                    at = self.module(&tokens, at, inner);
                    for_tests = false;
                    continue;
                }
                TokenTree::Ident(_) => {
                    at = self.path(&tokens, at, &inner);
                    continue;
                }
                TokenTree::Group(group) => {
                    let is_attribute = group.delimiter() == Delimiter::Bracket
                        && at > 0
                        && is_punct(&tokens[at - 1], '#');
                    for_tests |= is_attribute && is_cfg_test(group.stream());
                    self.tokens(group.stream(), &inner);
                    for_tests &= group.delimiter() != Delimiter::Brace;
                }
                TokenTree::Punct(punct) => for_tests &= punct.as_char() != ';',
                TokenTree::Literal(literal) => self.literal(literal, &inner),
            }
            at += 1;
        }
    }

    fn literal(&mut self, literal: &proc_macro2::Literal, place: &Place) {
        let written = literal.to_string();
        if let Some(text) = written.strip_prefix('"') {
            self.contents.literals.push(Literal {
                text: text.trim_end_matches('"').to_owned(),
                line: literal.span().start().line,
                in_test: place.in_test,
            });
        }
    }

    /// `mod name;` or `mod name { … }`. Hands back where to go on.
    fn module(&mut self, tokens: &[TokenTree], at: usize, mut place: Place) -> usize {
        let Some(TokenTree::Ident(name)) = tokens.get(at + 1) else {
            return at + 1;
        };
        match tokens.get(at + 2) {
            Some(TokenTree::Group(body)) => {
                if place.in_test && self.contents.tests_from.is_none() {
                    self.contents.tests_from = Some(tokens[at].span().start().line);
                }
                place.modules.push(name.to_string());
                self.tokens(body.stream(), &place);
            }
            _ => self.contents.submodules.push(Submodule {
                name: name.to_string(),
                in_test: place.in_test,
            }),
        }
        at + 3
    }

    /// A path in an expression or type. Hands back where to go on.
    fn path(&mut self, tokens: &[TokenTree], mut at: usize, place: &Place) -> usize {
        let line = tokens[at].span().start().line;
        let mut path = Vec::new();
        while let Some(TokenTree::Ident(segment)) = tokens.get(at) {
            path.push(segment.to_string());
            at += 1;
            if !is_separator(tokens, at) {
                break;
            }
            at += 2;
        }
        if path.len() > 1 {
            self.mention(&path, line, place, false);
        }
        at
    }

    /// `use …;`. Hands back where to go on.
    fn use_tree(&mut self, tokens: &[TokenTree], at: usize, place: &Place) -> usize {
        let end = tokens[at..]
            .iter()
            .position(|token| is_punct(token, ';'))
            .map_or(tokens.len(), |length| at + length);
        let public = tokens[..at]
            .iter()
            .rev()
            .take(2)
            .any(|token| matches!(token, TokenTree::Ident(word) if word == "pub"))
            && !matches!(tokens[at - 1], TokenTree::Punct(_));
        self.branch(&tokens[at + 1..end], &[], place, public);
        end + 1
    }

    fn branch(&mut self, tokens: &[TokenTree], before: &[String], place: &Place, public: bool) {
        for part in tokens.split(|token| is_punct(token, ',')) {
            let mut path = before.to_vec();
            let Some(first) = part.first() else { continue };
            let line = first.span().start().line;
            let mut leaf = true;
            for token in part {
                match token {
                    TokenTree::Ident(word) if word == "as" => break,
                    TokenTree::Ident(word) => path.push(word.to_string()),
                    TokenTree::Punct(punct) if punct.as_char() == '*' => path.push("*".to_owned()),
                    TokenTree::Group(group) => {
                        let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                        self.branch(&inner, &path, place, public);
                        leaf = false;
                    }
                    _ => {}
                }
            }
            if leaf {
                self.mention(&path, line, place, public);
            }
        }
    }

    fn mention(&mut self, path: &[String], line: usize, place: &Place, is_public_use: bool) {
        self.contents.mentions.push(Mention {
            path: resolve(path, &place.modules),
            line,
            in_test: place.in_test,
            is_public_use,
        });
    }
}

/// The path from the root of the crate, where it begins with `super` or `self`.
fn resolve(path: &[String], modules: &[String]) -> Vec<String> {
    let ups = path.iter().take_while(|part| *part == "super").count();
    let own = usize::from(path.first().is_some_and(|part| part == "self"));
    if ups + own == 0 {
        return path.to_vec();
    }
    let kept = modules.len().saturating_sub(ups);
    let mut whole = vec!["crate".to_owned()];
    whole.extend_from_slice(&modules[..kept]);
    whole.extend_from_slice(&path[ups + own..]);
    whole
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn is_separator(tokens: &[TokenTree], at: usize) -> bool {
    tokens.get(at).is_some_and(|token| is_punct(token, ':'))
        && tokens.get(at + 1).is_some_and(|token| is_punct(token, ':'))
        && matches!(tokens.get(at + 2), Some(TokenTree::Ident(_)))
}

/// `cfg(test)`, alone or in an `all(…)`; the feature that turns on `crate::testing`; a test itself.
fn is_cfg_test(attribute: TokenStream) -> bool {
    let text = attribute.to_string().replace(' ', "");
    let begins = ["cfg(all(test,", "tokio::test"];
    let whole = ["cfg(test)", "cfg(feature=\"testing\")", "test"];
    begins.iter().any(|start| text.starts_with(start)) || whole.contains(&text.as_str())
}
