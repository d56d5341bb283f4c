//! Child processes, each the head of a process group, whose output is shown with a name in front.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use super::paint::{Colour, Paint};

/// The longest line that is shown in one piece: longer ones are cut into several.
const LINE_BYTES: u64 = 64 * 1024;

/// How long to wait for the last output of processes that were killed. Only one that left its
/// group and kept its output open can use it up.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// What stands before each line of a process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label {
    /// Its name.
    pub(super) name: &'static str,
    /// The colour of the name.
    pub(super) colour: Colour,
    /// For standard output.
    pub(super) stdout: Paint,
    /// For standard error.
    pub(super) stderr: Paint,
}

/// A running process with those that it started itself. All of them are killed when it is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    group: Option<Pid>,
    output: JoinSet<()>,
}

impl Process {
    /// Starts `command` in a process group of its own, so that a Ctrl-C of the terminal does not
    /// reach it by itself.
    /// Its output is shown with `label` before each line, or nowhere.
    pub(super) fn start(mut command: Command, label: Option<Label>) -> io::Result<Self> {
        let output = || label.map_or_else(Stdio::null, |_| Stdio::piped());
        command.stdout(output()).stderr(output());
        let mut child = command.process_group(0).spawn()?;
        let group = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        let mut output = JoinSet::new();
        if let (Some(label), Some(stdout)) = (label, child.stdout.take()) {
            output.spawn(copy_lines(stdout, label.prefix(label.stdout), io::stdout));
        }
        if let (Some(label), Some(stderr)) = (label, child.stderr.take()) {
            output.spawn(copy_lines(stderr, label.prefix(label.stderr), io::stderr));
        }
        Ok(Self {
            child,
            group,
            output,
        })
    }

    /// Waits until the process itself has ended. Cancelling is safe.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Sends a signal to the whole group.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // Fails only where nothing of the group is left.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Kills what is left of the group, and shows the last of its output.
    pub(super) async fn finish(mut self) {
        self.signal(Signal::KILL);
        // The end of the process is known to the caller, and its output may end in any way.
        let _ = self.child.wait().await;
        let rest = async { while self.output.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(LAST_OUTPUT, rest).await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

impl Label {
    fn prefix(self, paint: Paint) -> String {
        paint.paint(self.colour, &format!("{:<7} | ", self.name))
    }
}

/// Copies each line with the prefix before it. What is no UTF-8 is copied as it is.
async fn copy_lines<R, W>(from: R, prefix: String, to: fn() -> W)
where
    R: AsyncRead + Unpin,
    W: io::Write,
{
    let mut from = BufReader::new(from);
    let mut line = prefix.clone().into_bytes();
    loop {
        line.truncate(prefix.len());
        let mut limited = (&mut from).take(LINE_BYTES);
        match limited.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
        let mut to = to();
        // Nobody reads any more: the process must not be stopped by that.
        let _ = to.write_all(&line).and_then(|()| to.flush());
    }
}

/// The exit code that a shell would report: the process's own, or 128 and the signal that ended it.
pub(super) fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code & 0xff).ok())
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        for (raw, code) in [(0, 0), (3 << 8, 3), (255 << 8, 255), (15, 143), (9, 137)] {
            assert_eq!(exit_code(ExitStatus::from_raw(raw)), code, "{raw}");
        }
    }
}
