//! Logs in daprd's two forms: `key=value` lines and JSON lines.

use std::fmt;
use std::io::IsTerminal as _;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

/// The levels that `--log-level` takes.
pub const LEVELS: [&str; 5] = ["debug", "info", "warn", "error", "fatal"];

/// What the log looks like, and what stands on every line.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// One of [`LEVELS`]; `fatal` shows errors.
    pub level: String,
    /// JSON lines in place of `key=value`.
    pub json: bool,
    /// The app id, on every line.
    pub app_id: String,
    /// The host name, on every line.
    pub instance: String,
}

/// A level that is none.
#[derive(Debug, thiserror::Error)]
#[error("invalid value for --log-level: {0}; accepted are debug, info, warn, error, fatal")]
pub struct LevelError(String);

/// Installs the log of the process, written to standard output. A second call changes nothing.
pub fn install(config: LogConfig) -> Result<(), LevelError> {
    install_to(config, std::io::stdout)
}

/// The same with another writer.
pub fn install_to<W>(config: LogConfig, writer: W) -> Result<(), LevelError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let level = match config.level.to_ascii_lowercase().as_str() {
        "fatal" => "error".to_owned(),
        "warning" => "warn".to_owned(),
        level if LEVELS.contains(&level) => level.to_owned(),
        _ => return Err(LevelError(config.level)),
    };
    // Libraries log their inner life at debug, secrets of peers included; they get one level less.
    let libraries = if level == "debug" {
        "info"
    } else {
        level.as_str()
    };
    // Watches of the Kubernetes API warn of every attempt that is refused; whoever started them
    // says it once. So does whoever asks AWS, whose library logs answers that it cannot read, and
    // these may hold credentials. Azure's tells of every answer.
    let filter = EnvFilter::new(format!(
        "{libraries},kube_runtime=error,aws_config=off,aws_runtime=off,azure_core=error,\
         azure_identity=error,typespec_client_core=error,sidegate={level},dapr={level}"
    ));
    // Refused only where a log is installed already, in tests.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(writer)
        .event_format(DaprFormat {
            config,
            terminal: std::io::stdout().is_terminal(),
        })
        .try_init();
    Ok(())
}

struct DaprFormat {
    config: LogConfig,
    terminal: bool,
}

impl<S, N> FormatEvent<S, N> for DaprFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = Line {
            config: &self.config,
            event,
            fields: fields.0,
        };
        if self.config.json {
            writeln!(writer, "{}", line.json())
        } else {
            line.text(&mut writer, self.terminal)
        }
    }
}

struct Line<'a> {
    config: &'a LogConfig,
    event: &'a Event<'a>,
    fields: Map<String, Value>,
}

impl Line<'_> {
    fn level(&self) -> &'static str {
        match *self.event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            _ => "debug",
        }
    }

    /// The target, in the form of Dapr's scopes: `sidegate::api::http` is `sidegate.api.http`.
    fn scope(&self) -> String {
        self.event.metadata().target().replace("::", ".")
    }

    fn time() -> String {
        let now = std::time::SystemTime::now();
        k8s_openapi::jiff::Timestamp::try_from(now)
            .map(|time| time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string())
            .unwrap_or_default()
    }

    fn json(mut self) -> Value {
        let mut line = Map::new();
        let mut set = |key: &str, value: String| line.insert(key.to_owned(), Value::from(value));
        set("app_id", self.config.app_id.clone());
        set("instance", self.config.instance.clone());
        set("level", self.level().to_owned());
        set("scope", self.scope());
        set("time", Self::time());
        set("type", "log".to_owned());
        set("ver", env!("CARGO_PKG_VERSION").to_owned());
        line.insert(
            "msg".to_owned(),
            self.fields.remove("message").unwrap_or_default(),
        );
        for (key, value) in self.fields {
            line.entry(key).or_insert(value);
        }
        Value::Object(line)
    }

    fn text(mut self, writer: &mut Writer<'_>, colour: bool) -> fmt::Result {
        let message = self.fields.remove("message").unwrap_or_default();
        let message = message.as_str().unwrap_or_default();
        let level = self.level();
        let (on, off) = if colour {
            (ansi(level), "\u{1b}[0m")
        } else {
            ("", "")
        };
        write!(
            writer,
            "time={:?} level={on}{level}{off} msg={message:?}",
            Self::time()
        )?;
        for (key, value) in &self.fields {
            match value {
                Value::String(text) if is_plain(text) => write!(writer, " {key}={text}")?,
                Value::String(text) => write!(writer, " {key}={text:?}")?,
                other => write!(writer, " {key}={other}")?,
            }
        }
        let LogConfig {
            app_id, instance, ..
        } = self.config;
        let version = env!("CARGO_PKG_VERSION");
        writeln!(
            writer,
            " app_id={app_id} instance={instance} scope={} type=log ver={version}",
            self.scope()
        )
    }
}

fn ansi(level: &str) -> &'static str {
    match level {
        "error" => "\u{1b}[31m",
        "warning" => "\u{1b}[33m",
        "info" => "\u{1b}[36m",
        _ => "\u{1b}[37m",
    }
}

/// Whether a text needs no quotes in the `key=value` form.
fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+:[]".contains(c);
    !text.is_empty() && text.chars().all(plain)
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0
            .insert(field.name().to_owned(), Value::from(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }
}
