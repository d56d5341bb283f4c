//! The application that runs in the pods of `make e2e`, and what its clients and neighbours run:
//! one static program with a command for each part.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "the scenarios read standard output, and tell by the environment"
)]

mod call;
mod grpc;
mod load;
mod neighbour;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sends one HTTP request and prints the status and the body
    Call(call::Args),
    /// Reads a secret over gRPC and prints it, or the code of the refusal
    GrpcSecret(grpc::Args),
    /// Prints the environment
    Env,
    /// Sends requests until standard input ends, then prints how many there were
    Load(load::Args),
    /// The webhook of a neighbour: adds to every new pod what a file holds
    Neighbour(neighbour::Args),
    /// The application: behind a Service, beside a sidecar
    Serve(serve::Args),
    /// Waits for a signal
    Wait,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Call(args) => call::run(args).await,
        Command::GrpcSecret(args) => grpc::run(args).await,
        Command::Env => {
            for (name, value) in std::env::vars() {
                println!("{name}={value}");
            }
            Ok(())
        }
        Command::Load(args) => load::run(args).await,
        Command::Neighbour(args) => neighbour::run(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Wait => serve::signal().await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
