//! How fast and how small the shipped program is, beside bare servers of the same build:
//! `make bench`.
//!
//! Rates are compared within one run, in rounds that alternate between the two servers, and the
//! median of the rounds' ratios counts: another load on the machine then hits both alike.

#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot run may panic"
)]
#![allow(clippy::print_stdout, reason = "the report is for people")]

mod bare;
mod load;
mod measure;
mod messages;
mod peers;
mod report;
mod servers;
mod state;
mod stores;

use std::path::PathBuf;

use report::Report;

fn main() {
    sidegate::tls::install_provider();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    match words.as_slice() {
        ["serve", rest @ ..] => runtime.block_on(bare::serve(rest)),
        [program, image] => {
            let mut report = Report::default();
            let sizes = [PathBuf::from(program), PathBuf::from(image)];
            runtime.block_on(measure::all(&sizes, &mut report));
            println!("\n{}", report.summary());
        }
        _ => panic!("usage: ratios PATH-OF-SIDEGATE PATH-OF-IMAGE"),
    }
}
