//! Command lines as Go programs take them, made into what clap takes.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::Command;

/// Brings the arguments of a process into clap's form:
///
/// - a program called `daprd` gets the subcommand `sidecar`;
/// - `-app-id x` becomes `--app-id x` where `app-id` is a flag of the subcommand (Go's flag package
///   takes both, and manifests use both). Values, and all that follows `--`, stay as they are.
pub(super) fn normalise(argv: impl IntoIterator<Item = OsString>, cli: &Command) -> Vec<OsString> {
    let mut argv = argv.into_iter();
    let program = argv.next().unwrap_or_default();
    let mut rest: Vec<OsString> = argv.collect();
    if Path::new(&program).file_stem() == Some(OsStr::new("daprd")) {
        rest.insert(0, "sidecar".into());
    }
    if let Some(command) = rest.first().and_then(|name| cli.find_subcommand(name)) {
        lengthen_flags(&mut rest[1..], command);
    }
    let mut normalised = vec![program];
    normalised.append(&mut rest);
    normalised
}

fn lengthen_flags(arguments: &mut [OsString], command: &Command) {
    let mut is_value = false;
    for argument in arguments {
        if std::mem::take(&mut is_value) {
            continue;
        }
        let Some(text) = argument.to_str() else {
            continue;
        };
        if text == "--" {
            return;
        }
        let Some(flag) = text.strip_prefix('-') else {
            continue;
        };
        let name = flag.strip_prefix('-').unwrap_or(flag);
        let (name, value) = name
            .split_once('=')
            .map_or((name, None), |(n, v)| (n, Some(v)));
        let known = |argument: &&clap::Arg| argument.get_long() == Some(name);
        let Some(known) = command.get_arguments().find(known) else {
            continue;
        };
        is_value = value.is_none() && takes_next(known);
        if !flag.starts_with('-') && name.len() > 1 {
            *argument = format!("-{text}").into();
        }
    }
}

/// Whether the argument after this flag is its value.
fn takes_next(flag: &clap::Arg) -> bool {
    flag.get_action().takes_values() && !flag.is_require_equals_set()
}

/// A boolean as Go's flag packages write it (`strconv.ParseBool`).
pub(super) fn parse_bool(text: &str) -> Result<bool, &'static str> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("accepted are true and false"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, ArgAction};

    fn cli() -> Command {
        let sidecar = Command::new("sidecar")
            .arg(Arg::new("id").long("app-id"))
            .arg(Arg::new("ssl").long("app-ssl").action(ArgAction::SetTrue))
            .arg(
                Arg::new("metrics")
                    .long("enable-metrics")
                    .num_args(0..=1)
                    .require_equals(true),
            );
        Command::new("sidegate").subcommand(sidecar)
    }

    fn normalised(argv: &str) -> String {
        let argv = argv.split(' ').map(OsString::from);
        let normalised = normalise(argv, &cli());
        let text: Vec<_> = normalised.iter().filter_map(|a| a.to_str()).collect();
        text.join(" ")
    }

    #[test]
    fn brings_go_forms_into_claps() {
        for (given, wanted) in [
            ("sidegate sidecar -app-id a", "sidegate sidecar --app-id a"),
            ("sidegate sidecar -app-id=a", "sidegate sidecar --app-id=a"),
            ("/daprd --app-id a", "/daprd sidecar --app-id a"),
            (
                "/daprd -app-ssl -app-id a",
                "/daprd sidecar --app-ssl --app-id a",
            ),
            (
                "/daprd -enable-metrics -app-ssl",
                "/daprd sidecar --enable-metrics --app-ssl",
            ),
            // A value, however it looks, stays a value.
            (
                "/daprd --app-id -app-ssl",
                "/daprd sidecar --app-id -app-ssl",
            ),
            (
                "/daprd -v -x=1 -- -app-id",
                "/daprd sidecar -v -x=1 -- -app-id",
            ),
            ("sidegate -app-id", "sidegate -app-id"),
            ("sidegate", "sidegate"),
        ] {
            assert_eq!(normalised(given), wanted);
        }
    }

    #[test]
    fn reads_gos_booleans() {
        for (text, wanted) in [("true", true), ("T", true), ("0", false), ("False", false)] {
            assert_eq!(parse_bool(text), Ok(wanted), "{text}");
        }
        for bad in ["", "yes", "on", "tRUE"] {
            assert!(parse_bool(bad).is_err(), "{bad}");
        }
    }
}
