//! Who may import whom, and where foreign crates have their homes (ARCHITECTURE.md, "Layers").

use super::source::{Contents, Source};
use super::{Finding, finding};

/// What the modules beside each other in the middle may import.
const BELOW: &[&str] = &["base", "process", "tls", "resources"];

/// Every module with what it may import from this crate besides itself.
const LAYERS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("proto", &[]),
    ("process", &["base"]),
    ("tls", &["base", "process"]),
    ("resources", &["base", "process", "tls"]),
    (
        "components",
        &["base", "proto", "process", "tls", "resources"],
    ),
    ("auth", BELOW),
    (
        "app_channel",
        &["base", "proto", "process", "tls", "resources"],
    ),
    ("endpoints", BELOW),
    ("peers", &["base", "proto", "process", "tls", "resources"]),
    ("resiliency", &["base", "process", "resources"]),
    ("injector", BELOW),
    (
        "registry",
        &[
            "base",
            "process",
            "tls",
            "resources",
            "components",
            "endpoints",
            "resiliency",
        ],
    ),
    (
        "blocks",
        &[
            "base",
            "proto",
            "process",
            "resources",
            "registry",
            "components",
            "app_channel",
            "endpoints",
            "peers",
            "resiliency",
        ],
    ),
    (
        "api",
        &["base", "proto", "process", "tls", "auth", "peers", "blocks"],
    ),
];

/// Modules that may import everything: the wiring, and what only tests use.
const TOP: &[&str] = &["cli", "testing", "main", "lib"];

/// A path with the files that may mention it, as beginnings of their paths.
struct Home {
    path: &'static [&'static str],
    homes: &'static [&'static str],
}

const RABBITMQ: &[&str] = &[
    "src/components/rabbitmq",
    "src/components/pubsub/rabbitmq",
    "src/components/binding/rabbitmq",
];

const POSTGRES: &[&str] = &[
    "src/components/postgres",
    "src/components/state/postgres",
    "src/components/configuration/postgres",
];

const HOMES: &[Home] = &[
    Home {
        path: &["axum"],
        homes: &["src/api/http", "src/injector/server", "src/process/admin"],
    },
    Home {
        path: &["tonic"],
        homes: &[
            "src/api/grpc",
            "src/api/internal",
            "src/app_channel/grpc",
            "src/components/pluggable",
            "src/peers",
            "src/process/trace/export",
        ],
    },
    Home {
        path: &["redis"],
        homes: &[
            "src/components/redis/",
            "src/components/pubsub/redis/",
            "src/components/binding/redis",
            "src/components/configuration/redis",
            "src/components/lock/redis",
            "src/components/state/redis/",
        ],
    },
    Home {
        path: &["tokio_postgres"],
        homes: POSTGRES,
    },
    Home {
        path: &["tokio_postgres_rustls"],
        homes: POSTGRES,
    },
    Home {
        path: &["deadpool_postgres"],
        homes: POSTGRES,
    },
    Home {
        path: &["lapin"],
        homes: RABBITMQ,
    },
    Home {
        path: &["async_rs"],
        homes: RABBITMQ,
    },
    Home {
        path: &["async_nats"],
        homes: &["src/components/nats", "src/components/pubsub/jetstream"],
    },
    Home {
        path: &["croner"],
        homes: &["src/components/binding/cron"],
    },
    Home {
        path: &["jiff"],
        homes: &["src/components/binding/cron"],
    },
    Home {
        path: &["kube"],
        homes: &["kubernetes.rs"],
    },
    Home {
        path: &["reqwest"],
        homes: &["src/components/http_client"],
    },
    Home {
        path: &["jsonwebtoken"],
        homes: &["src/components/middleware/bearer"],
    },
    Home {
        path: &["opentelemetry_proto"],
        homes: &["src/process/trace/export"],
    },
    Home {
        path: &["rusqlite"],
        homes: &[
            "src/components/state/sqlite",
            "src/peers/name_resolution/sqlite",
        ],
    },
    Home {
        path: &["mdns_sd"],
        homes: &["src/peers/name_resolution/mdns"],
    },
    Home {
        path: &["std", "env"],
        homes: &["src/cli/"],
    },
    Home {
        path: &["tokio", "spawn"],
        homes: &["src/process/tasks"],
    },
    Home {
        path: &["tokio", "task", "spawn"],
        homes: &["src/process/tasks"],
    },
];

/// What `source` imports though its layer may not, or though it is at home elsewhere.
pub(crate) fn check(source: &Source, contents: &Contents) -> Vec<Finding> {
    let module = module_of(&source.path);
    if module == "testing" {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let row = LAYERS.iter().find(|(name, _)| *name == module);
    if row.is_none() && !TOP.contains(&module) {
        let text = format!("module \"{module}\" has no row in the table of layers");
        findings.push(finding(&source.path, 1, text));
    }
    for mention in contents.mentions.iter().filter(|mention| !mention.in_test) {
        let at = |text| finding(&source.path, mention.line, text);
        let path = mention.path.join("::");
        let target = match mention.path.as_slice() {
            [root, target, ..] if root == "crate" => Some(target.as_str()),
            _ => None,
        };
        if target == Some("testing") {
            findings.push(at(format!("{path}: \"testing\" is for tests only")));
        } else if let (Some((_, allowed)), Some(target)) = (row, target)
            && target != module
            && is_module(target)
            && !allowed.contains(&target)
        {
            let allowed = allowed.join(", ");
            findings.push(at(format!(
                "{path}: layer \"{module}\" may import only: {allowed}"
            )));
        }
        if let Some(home) = HOMES
            .iter()
            .find(|home| home.refuses(&mention.path, source))
        {
            let (name, homes) = (home.path.join("::"), home.homes.join(", "));
            findings.push(at(format!("{path}: {name} is at home only in: {homes}")));
        }
    }
    findings
}

impl Home {
    fn refuses(&self, path: &[String], source: &Source) -> bool {
        let is_it =
            path.len() >= self.path.len() && path.iter().zip(self.path).all(|(a, b)| a == b);
        let is_home = |home: &&str| source.path.starts_with(*home) || source.path.ends_with(*home);
        is_it && !self.homes.iter().any(is_home)
    }
}

fn is_module(name: &str) -> bool {
    LAYERS.iter().any(|(module, _)| *module == name) || TOP.contains(&name)
}

/// `injector` for `src/injector/server.rs`, `lib` for `src/lib.rs`.
fn module_of(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    inside
        .split('/')
        .next()
        .unwrap_or_default()
        .trim_end_matches(".rs")
}

/// The table of layers as ARCHITECTURE.md shows it, one row a module.
pub(crate) fn markdown_rows() -> Vec<String> {
    let row = |(module, allowed): &(&str, &[&str])| match allowed {
        [] => format!("| `{module}` | nothing |"),
        _ => format!("| `{module}` | {} |", allowed.join(", ")),
    };
    LAYERS.iter().map(row).collect()
}
