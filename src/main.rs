//! Parses the command line, runs one command, and exits with its code.

fn main() -> std::process::ExitCode {
    sidegate::cli::main()
}
