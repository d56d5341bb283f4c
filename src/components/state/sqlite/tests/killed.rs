//! What is left of a process that was killed while it wrote.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tokio::task::JoinSet;

use super::{open, put};
use crate::components::state::StateStore as _;
use crate::testing::state_contract::get;

/// Where the child finds the database.
const DATABASE: &str = "SIDEGATE_TEST_DATABASE";
const WRITERS: usize = 8;
/// After how many answers the child is killed.
const ANSWERS: usize = 300;

/// The child of the test below: writes until it is killed, and says what was answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs as a process of another test"]
async fn child_that_writes() {
    let path = PathBuf::from(std::env::var_os(DATABASE).unwrap());
    let store = Arc::new(open(&path, &[]).await);
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for number in 1_usize.. {
                let value = number.to_string();
                let pair = [format!("one{writer}"), format!("two{writer}")];
                let pair = pair.iter().map(|key| put(key, &value)).collect();
                store.transact(pair).await.unwrap();
                let mut out = std::io::stdout().lock();
                writeln!(out, "answered {writer} {number}").unwrap();
            }
        });
    }
    writers.join_next().await;
}

#[tokio::test]
async fn nothing_that_was_answered_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let name = "components::state::sqlite::tests::killed::child_that_writes";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env(DATABASE, &path)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut answered = HashMap::new();
    let mut count = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let words: Vec<_> = line.split(' ').collect();
        if let ["answered", writer, number] = words[..] {
            let number: usize = number.parse().unwrap();
            answered.insert(writer.parse::<usize>().unwrap(), number);
            count += 1;
        }
        if count == ANSWERS {
            // What it said before that is still read.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(count >= ANSWERS, "it ended by itself, after {count}");

    let store = open(&path, &[]).await;
    let number = async |key: String| {
        let item = store.get(&get(&key)).await.unwrap();
        let number = item.map(|item| String::from_utf8(item.value.into()).unwrap());
        number.map_or(0, |number| number.parse::<usize>().unwrap())
    };
    for writer in 0..WRITERS {
        let one = number(format!("one{writer}")).await;
        let two = number(format!("two{writer}")).await;
        let least = answered.get(&writer).copied().unwrap_or_default();
        assert!(one >= least, "{writer}: {one}, and {least} was answered");
        assert!(one <= least + 1, "{writer}: {one} after {least}");
        assert_eq!(one, two, "{writer}: whole transactions");
    }
}
