//! A PostgreSQL of a test's own, from the programs of this machine.

use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sidegate::testing::eventually::eventually_blocking;

use crate::servers::Server;

/// The account of the database, and of the operating system where this test runs as root, as which
/// PostgreSQL does not run.
const ACCOUNT: &str = "store";
const NOBODY: u32 = 65534;

/// The words of a `connectionString`, with a password that is not asked for on loopback.
pub(crate) fn connection_string(address: SocketAddr) -> String {
    let (host, port) = (address.ip(), address.port());
    format!("host={host} port={port} user={ACCOUNT} password=hunter2 database=postgres")
}

/// PostgreSQL that has every commit on its disk before it answers, where the machine has it.
pub(crate) async fn postgres() -> Option<Server> {
    let programs = programs()?;
    let server = Server::run(move |address, folder| {
        let data = folder.join("data");
        if data.exists() {
            wait_for_the_end(&data);
        } else {
            initialise(&programs, folder, &data);
        }
        let mut command = unprivileged(programs.join("postgres"), folder);
        command
            .arg("-D")
            .arg(data)
            .args(["-c", "listen_addresses=127.0.0.1", "-p"])
            .arg(address.port().to_string())
            .args(["-c", "unix_socket_directories=", "-c", "max_connections=50"]);
        command
    });
    Some(server.await)
}

/// The folder with `postgres` and `initdb`: `POSTGRES_PROGRAMS`, or where Debian has them.
fn programs() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("POSTGRES_PROGRAMS") {
        return Some(folder.into());
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let programs = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    programs
        .filter(|folder| folder.join("initdb").exists())
        .max()
}

/// A command that does not run as root.
fn unprivileged(program: PathBuf, folder: &Path) -> Command {
    let mut command = Command::new(program);
    if folder.metadata().unwrap().uid() == NOBODY {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn initialise(programs: &Path, folder: &Path, data: &Path) {
    if folder.metadata().unwrap().uid() == 0 {
        chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let output = unprivileged(programs.join("initdb"), folder)
        .arg("-D")
        .arg(data)
        .args([
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--username",
            ACCOUNT,
        ])
        .env("HOME", folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Waits until the processes are gone that a killed server started. They end by themselves, and
/// until then no other server may have their data.
fn wait_for_the_end(data: &Path) {
    eventually_blocking("the processes of a killed server end", || {
        let processes = std::fs::read_dir("/proc").unwrap();
        let mut folders = processes
            .filter_map(Result::ok)
            .filter_map(|process| std::fs::read_link(process.path().join("cwd")).ok());
        (!folders.any(|folder| folder == data)).then_some(())
    });
}
