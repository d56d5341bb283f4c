//! `sidegate run`.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use tokio::process::Command;
use tokio::signal::unix::{self, SignalKind, signal};

use super::loopback::{new_token, ready};
use super::paint::{Colour, Paint};
use super::processes::{Label, Process, exit_code};
use crate::base::environment::Environment;
use crate::base::secret::Secret;
use crate::base::token::Token;
use crate::process::free_ports::FreePorts;

/// Run an application with a sidecar of its own on this machine
///
/// Starts a sidecar, waits until its API answers, and starts CMD with DAPR_HTTP_PORT,
/// DAPR_GRPC_PORT, DAPR_API_TOKEN, APP_API_TOKEN, APP_PORT and APP_ID in its environment. Both
/// tokens are made anew unless they are set. Ctrl-C stops both; the exit code is CMD's, 128 and the
/// number of the signal where one ended it.
#[derive(Debug, clap::Args)]
#[command(override_usage = "sidegate run [FLAGS OF sidegate sidecar] -- CMD [ARGUMENTS]")]
pub(super) struct Args {
    /// Flags of `sidegate sidecar`, such as --app-id, --app-port, --app-protocol, --resources-path
    /// and --config, then -- and the application with its arguments. Ports that are not given are
    /// free ones, the app id is the name of CMD, and the sidecar listens on this machine only
    #[arg(
        value_name = "FLAGS -- CMD",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    line: Vec<OsString>,
}

impl Args {
    /// The sidecar's flags and the application's command. None where there is no command.
    fn split(&self) -> Option<(&[OsString], &[OsString])> {
        let is_flag = |text: &OsString| text.as_encoded_bytes().starts_with(b"-");
        if !self.line.first().is_some_and(is_flag) {
            // The `--` before a command without flags is taken away with the command line's form.
            return Some((&[], &self.line));
        }
        let end = self.line.iter().position(|text| text == "--")?;
        let command = &self.line[end + 1..];
        (!command.is_empty()).then_some((&self.line[..end], command))
    }
}

/// Runs both until one of them ends.
pub(super) fn run(args: &Args, environment: &Environment) -> anyhow::Result<ExitCode> {
    let Some((flags, command)) = args.split() else {
        eprintln!(
            "error: no command; write it after \"--\", as in: sidegate run --app-id a -- CMD"
        );
        return Ok(ExitCode::from(2));
    };
    let plan = Plan::of(flags, command, environment)?;
    let label = |name, colour| Label {
        name,
        colour,
        stdout: Paint::of(&std::io::stdout(), environment),
        stderr: Paint::of(&std::io::stderr(), environment),
    };
    let labels = [label("sidecar", Colour::Cyan), label("app", Colour::Green)];
    super::runtime::block_on(super::runtime::RuntimeArgs::default(), plan.run(labels))?
}

/// Everything that is decided before the first process starts.
#[derive(Debug)]
struct Plan {
    sidecar_flags: Vec<OsString>,
    command: Vec<OsString>,
    http_port: u16,
    /// Names and values for the app; the tokens are for the sidecar too.
    environment: Vec<(&'static str, String)>,
    tokens: [(&'static str, Secret); 2],
    /// Kept to the end, since the app starts when it likes.
    _ports: FreePorts<4>,
}

impl Plan {
    fn of(
        flags: &[OsString],
        command: &[OsString],
        environment: &Environment,
    ) -> anyhow::Result<Self> {
        if value_of(flags, "unix-domain-socket").is_some() {
            bail!("--unix-domain-socket cannot be used here: the app is told ports");
        }
        let mut sidecar_flags = flags.to_vec();
        let mut add = |flag: &str, value: &str| {
            if value_of(flags, flag).is_none() {
                sidecar_flags.push(format!("--{flag}={value}").into());
            }
        };
        let ports = FreePorts::find()?;
        let [http, grpc, app, metrics] = ports.numbers;
        let port = |flag, free| port(flags, flag, free);
        let http_port = port("dapr-http-port", http)?;
        let grpc_port = port("dapr-grpc-port", grpc)?;
        let app_port = port("app-port", app)?;
        let app_id = match value_of(flags, "app-id") {
            Some(given) => given,
            None => app_id(command),
        };
        add("dapr-http-port", &http_port.to_string());
        add("dapr-grpc-port", &grpc_port.to_string());
        add("app-port", &app_port.to_string());
        add("metrics-port", &metrics.to_string());
        add("app-id", &app_id);
        add("dapr-listen-addresses", "127.0.0.1,[::1]");
        add("metrics-listen-address", "127.0.0.1");
        Ok(Self {
            sidecar_flags,
            command: command.to_vec(),
            http_port,
            environment: vec![
                ("DAPR_HTTP_PORT", http_port.to_string()),
                ("DAPR_GRPC_PORT", grpc_port.to_string()),
                ("APP_PORT", app_port.to_string()),
                ("APP_ID", app_id),
            ],
            tokens: [
                ("DAPR_API_TOKEN", token("DAPR_API_TOKEN", environment)?),
                ("APP_API_TOKEN", token("APP_API_TOKEN", environment)?),
            ],
            _ports: ports,
        })
    }

    async fn run(self, labels: [Label; 2]) -> anyhow::Result<ExitCode> {
        let mut signals = Signals::listen()?;
        let mut sidecar =
            Process::start(self.sidecar()?, Some(labels[0])).context("cannot start the sidecar")?;
        tokio::select! {
            () = ready(self.http_port, "/v1.0/healthz/outbound") => {}
            status = sidecar.ended() => {
                sidecar.finish().await;
                eprintln!("error: the sidecar ended before it was ready");
                return Ok(ExitCode::from(exit_code(status?).max(1)));
            }
            asked = signals.next() => {
                stop(sidecar, &mut signals).await;
                return Ok(ExitCode::from(asked.exit_code));
            }
        }
        let mut app = match Process::start(self.app(), Some(labels[1])) {
            Ok(app) => app,
            Err(error) => {
                stop(sidecar, &mut signals).await;
                let program = self.command[0].to_string_lossy();
                return Err(error).context(format!("cannot start {program:?}"));
            }
        };
        let code = until_one_ends(&mut app, &mut sidecar, &mut signals).await?;
        app.signal(Signal::TERM);
        stop(sidecar, &mut signals).await;
        app.finish().await;
        Ok(ExitCode::from(code))
    }

    fn sidecar(&self) -> anyhow::Result<Command> {
        let own = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(own);
        command.arg("sidecar").args(&self.sidecar_flags);
        command.stdin(std::process::Stdio::null());
        self.with_tokens(&mut command);
        Ok(command)
    }

    fn app(&self) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        // A process in the background of a terminal is stopped when it reads from it.
        if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
            command.stdin(std::process::Stdio::null());
        }
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        self.with_tokens(&mut command);
        command
    }

    fn with_tokens(&self, command: &mut Command) {
        for (name, token) in &self.tokens {
            // The environment is how both are told their tokens.
            command.env(name, token.expose());
        }
    }
}

/// The exit code when the app ends, or when the sidecar ends before it.
async fn until_one_ends(
    app: &mut Process,
    sidecar: &mut Process,
    signals: &mut Signals,
) -> anyhow::Result<u8> {
    let mut asked_before = false;
    loop {
        tokio::select! {
            status = app.ended() => return Ok(exit_code(status?)),
            status = sidecar.ended() => {
                eprintln!("error: the sidecar ended while the app was running");
                return Ok(exit_code(status?).max(1));
            }
            asked = signals.next() => {
                app.signal(if asked_before { Signal::KILL } else { asked.signal });
                asked_before = true;
            }
        }
    }
}

/// Asks a process to end and waits for it; a signal meanwhile ends it at once.
async fn stop(mut process: Process, signals: &mut Signals) {
    process.signal(Signal::TERM);
    tokio::select! {
        _ = process.ended() => {}
        _ = signals.next() => {}
    }
    process.finish().await;
}

/// The signals that ask this program to end.
struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hang_up: unix::Signal,
}

struct Asked {
    signal: Signal,
    exit_code: u8,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        let (signal, exit_code) = tokio::select! {
            _ = self.interrupt.recv() => (Signal::INT, 130),
            _ = self.terminate.recv() => (Signal::TERM, 143),
            _ = self.hang_up.recv() => (Signal::HUP, 129),
        };
        Asked { signal, exit_code }
    }
}

/// The last value of a flag in `--flag value`, `--flag=value`, or with one dash.
fn value_of(flags: &[OsString], flag: &str) -> Option<String> {
    let mut value = None;
    let mut flags = flags.iter();
    while let Some(argument) = flags.next() {
        let argument = argument.to_string_lossy();
        let name = argument
            .strip_prefix("--")
            .or_else(|| argument.strip_prefix('-'));
        match name.map(|name| name.split_once('=').unwrap_or((name, ""))) {
            Some((name, given)) if name == flag => {
                value = if argument.contains('=') {
                    Some(given.to_owned())
                } else {
                    flags.next().map(|next| next.to_string_lossy().into_owned())
                };
            }
            _ => {}
        }
    }
    value
}

fn port(flags: &[OsString], flag: &str, free: u16) -> anyhow::Result<u16> {
    let Some(text) = value_of(flags, flag) else {
        return Ok(free);
    };
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => bail!("--{flag} {text:?} is not a port (1-65535)"),
    }
}

/// The name of the program, in the form of an app id.
fn app_id(command: &[OsString]) -> String {
    let name = command
        .first()
        .and_then(|program| Path::new(program).file_stem());
    let name = name.unwrap_or_default().to_string_lossy().to_lowercase();
    let in_form = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let id: String = name.chars().map(in_form).collect();
    let id = id.trim_matches('-');
    if id.is_empty() { "app" } else { id }.to_owned()
}

/// The token that is set, which must be usable, or a new one.
fn token(variable: &'static str, environment: &Environment) -> anyhow::Result<Secret> {
    match Token::parse(variable, environment.value(variable))? {
        Some(parsed) => Ok(parsed.token.secret().clone()),
        None => new_token(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args as _, FromArgMatches as _};

    fn plan(flags: &str, environment: &[(&str, &str)]) -> anyhow::Result<Plan> {
        let flags: Vec<OsString> = flags.split_whitespace().map(OsString::from).collect();
        let command = ["./bin/My_App.py".into(), "--port".into()];
        Plan::of(&flags, &command, &environment.iter().copied().collect())
    }

    fn flags(plan: &Plan) -> Vec<&str> {
        plan.sidecar_flags
            .iter()
            .map(|flag| flag.to_str().unwrap())
            .collect()
    }

    #[test]
    fn splits_flags_from_the_command() {
        for (line, split) in [
            ("run -- a -b", Some("|a -b")),
            ("run -- a -- b", Some("|a -- b")),
            (
                "run --app-id x -- a --app-id y",
                Some("--app-id x|a --app-id y"),
            ),
            ("run -app-id=x -- a -- b", Some("-app-id=x|a -- b")),
            ("run --app-id x", None),
            ("run --app-id x --", None),
        ] {
            let cli = Args::augment_args(clap::Command::new("run"));
            let matches = cli.try_get_matches_from(line.split(' ')).unwrap();
            let args = Args::from_arg_matches(&matches).unwrap();
            let joined = args.split().map(|(flags, command)| {
                let join = |words: &[OsString]| words.join(" ".as_ref()).into_string().unwrap();
                format!("{}|{}", join(flags), join(command))
            });
            assert_eq!(joined.as_deref(), split, "{line}");
        }
    }

    #[test]
    fn fills_in_what_is_not_given() {
        let plan = plan("", &[]).unwrap();
        let http = format!("--dapr-http-port={}", plan.http_port);
        assert!(flags(&plan).contains(&http.as_str()));
        assert!(flags(&plan).contains(&"--app-id=my-app"));
        assert!(flags(&plan).contains(&"--dapr-listen-addresses=127.0.0.1,[::1]"));
        let told = |name| {
            plan.environment
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| v)
        };
        let app_port = format!("--app-port={}", told("APP_PORT").unwrap());
        assert!(flags(&plan).contains(&app_port.as_str()));
        assert_ne!(plan.tokens[0].1.expose(), plan.tokens[1].1.expose());
    }

    #[test]
    fn keeps_what_is_given() {
        let given = "-app-id a --app-port=81 --dapr-http-port 82 --dapr-grpc-port 83 \
                     --metrics-port 84 --metrics-listen-address 127.0.0.2 \
                     --dapr-listen-addresses 127.0.0.3";
        let tokens = [("DAPR_API_TOKEN", "x"), ("APP_API_TOKEN", "y")];
        let plan = plan(given, &tokens).unwrap();
        assert_eq!(flags(&plan), given.split_whitespace().collect::<Vec<_>>());
        assert_eq!(plan.http_port, 82);
        let told = [
            ("DAPR_HTTP_PORT", "82".to_owned()),
            ("DAPR_GRPC_PORT", "83".to_owned()),
            ("APP_PORT", "81".to_owned()),
            ("APP_ID", "a".to_owned()),
        ];
        assert_eq!(plan.environment, told);
        assert_eq!(plan.tokens.each_ref().map(|(_, t)| t.expose()), ["x", "y"]);
    }

    #[test]
    fn refuses_what_it_cannot_hand_on() {
        for (flags, environment, text) in [
            (
                "--app-port 0",
                &[][..],
                "--app-port \"0\" is not a port (1-65535)",
            ),
            (
                "--dapr-http-port=x",
                &[],
                "--dapr-http-port \"x\" is not a port (1-65535)",
            ),
            (
                "--unix-domain-socket /run",
                &[],
                "--unix-domain-socket cannot be used here: the app is told ports",
            ),
            (
                "",
                &[("APP_API_TOKEN", " ")],
                "APP_API_TOKEN is set but blank; give it a token, or unset it to run without one",
            ),
        ] {
            assert_eq!(plan(flags, environment).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn finds_the_last_value_of_a_flag() {
        for (flags, value) in [
            ("--a 1", Some("1")),
            ("-a=1 --a=2", Some("2")),
            ("--b --a", None),
            ("--ab 1", None),
            ("--a=", Some("")),
        ] {
            let flags: Vec<OsString> = flags.split(' ').map(OsString::from).collect();
            assert_eq!(value_of(&flags, "a").as_deref(), value, "{flags:?}");
        }
    }
}
