//! The text of docs/flags.md, made from the command tree.

use std::fmt::Write as _;

use clap::{Arg, Command};

const INTRODUCTION: &str = "\
# Commands and flags

<!-- Made from src/cli: `make docs` writes it anew. -->

Flags are written `--flag value`, `--flag=value` or, as Go programs take them, with one dash. A flag
that is given twice counts as the last one. A command line that is not understood ends with exit
code 2, every other failure with 1. A program called `daprd` is `sidegate sidecar`.
";

const HEADER: &str = "\n| flag | default | environment | meaning |\n|---|---|---|---|\n";

/// One section a command, in the order of `--help`.
pub(super) fn text(mut cli: Command) -> String {
    cli.build();
    let mut page = String::from(INTRODUCTION);
    sections(&mut page, &cli, "sidegate");
    page
}

/// A section of each command below `parent` that does something itself.
fn sections(page: &mut String, parent: &Command, path: &str) {
    let commands = parent.get_subcommands();
    for command in commands.filter(|command| command.get_name() != "help") {
        let path = format!("{path} {}", command.get_name());
        if command.is_subcommand_required_set() {
            sections(page, command, &path);
            continue;
        }
        let _ = write!(page, "\n## {path}\n\n");
        let about = command.get_long_about().or_else(|| command.get_about());
        let about = about.map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(page, "{about}\n");
        let usage = command.clone().render_usage().to_string();
        let _ = writeln!(page, "    {}", usage.trim_start_matches("Usage: "));
        table(page, command);
    }
}

fn table(page: &mut String, command: &Command) {
    let mut heading = None;
    for argument in command.get_arguments().filter(|a| !a.is_hide_set()) {
        if argument.get_id() == "help" {
            continue;
        }
        let own = argument.get_help_heading().map(ToOwned::to_owned);
        if heading.as_ref() != Some(&own) {
            if let Some(title) = &own {
                let _ = write!(page, "\n### {title} ({})\n", command.get_name());
            }
            page.push_str(HEADER);
            heading = Some(own);
        }
        let help = argument.get_long_help().or_else(|| argument.get_help());
        let help = cell(&help.map(ToString::to_string).unwrap_or_default());
        // Written in the help where it is not clap that reads the environment or fills in.
        let (help, variable) = cut(&help, "[env: ");
        let (help, told) = cut(&help, "[default: ");
        let default = told.unwrap_or_else(|| default(argument));
        let variable = variable.unwrap_or_default();
        let name = name(argument);
        let _ = writeln!(page, "| {name} | {default} | {variable} | {help} |");
    }
}

/// A text without the part in brackets that begins with `start`, and what is in those, as code.
fn cut(text: &str, start: &str) -> (String, Option<String>) {
    let parts = text
        .split_once(start)
        .and_then(|(before, rest)| Some((before, rest.split_once(']')?)));
    match parts {
        None => (text.to_owned(), None),
        Some((before, (inside, after))) => {
            let rest = format!("{}{after}", before.trim_end());
            (rest, Some(format!("`{inside}`")))
        }
    }
}

fn name(argument: &Arg) -> String {
    let value = argument.get_value_names().unwrap_or_default().join(" ");
    match argument.get_long() {
        None => format!("`{value}`"),
        Some(long) if argument.get_action().takes_values() => format!("`--{long}` {value}"),
        Some(long) => format!("`--{long}`"),
    }
}

fn default(argument: &Arg) -> String {
    let values: Vec<_> = argument
        .get_default_values()
        .iter()
        .filter(|value| argument.get_action().takes_values() && !value.is_empty())
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    values.join(", ")
}

/// Text that stays in one cell of a table.
fn cell(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn docs_show_every_flag() {
        let cli = super::super::Cli::command();
        crate::testing::page::expect_fresh("docs/flags.md", &super::text(cli));
    }
}
