//! A command on its way to an answer.

use std::borrow::Cow;

use redis::Cmd;

use super::failure::Miss;
use super::hosts::Host;
use super::script::Script;
use super::slots::Slot;

/// Whether a command may be sent again that may have reached the server already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::components) enum Repeat {
    /// It may: twice is as good as once, or better than not at all.
    Allowed,
    /// It may not.
    Denied,
}

/// A command to send. All its keys are in one slot.
pub(super) struct Errand<'a> {
    /// Its place among those that are sent together.
    pub(super) at: usize,
    pub(super) command: Cow<'a, Cmd>,
    repeat: Repeat,
    /// Of its key.
    pub(super) slot: Option<Slot>,
    /// Where a server sent it, and whether the slot only moves there.
    detour: Option<(Host, bool)>,
}

impl<'a> Errand<'a> {
    pub(super) fn new(at: usize, command: &'a Cmd, repeat: Repeat) -> Self {
        Self {
            at,
            command: Cow::Borrowed(command),
            repeat,
            slot: Slot::of_command(command),
            detour: None,
        }
    }

    /// Where a server sent it.
    pub(super) fn detour(&self) -> Option<&Host> {
        self.detour.as_ref().map(|(host, _)| host)
    }

    /// Whether the server has to be told that it was sent there.
    pub(super) fn asks(&self) -> bool {
        matches!(self.detour, Some((_, true)))
    }

    /// What comes after a miss, with the script that servers may lack.
    pub(super) fn after(mut self, miss: &Miss, script: Option<&Script>) -> Next<'a> {
        if miss.lacks_script()
            && let Some(script) = script
            && is_short(&self.command)
        {
            self.command = Cow::Owned(script.in_full(&self.command));
            return Next::Now(self);
        }
        if let Some((host, is_moved)) = miss.redirection() {
            self.detour = Some((host, !is_moved));
            return Next::Now(self);
        }
        self.detour = None;
        if miss.may_repeat(self.repeat == Repeat::Allowed) {
            Next::Later(self)
        } else {
            Next::Never
        }
    }
}

/// When a command is sent again.
pub(super) enum Next<'a> {
    /// At once: to another server, or in other words.
    Now(Errand<'a>),
    /// After a pause.
    Later(Errand<'a>),
    /// Not at all.
    Never,
}

fn is_short(command: &Cmd) -> bool {
    matches!(
        command.args_iter().next(),
        Some(redis::Arg::Simple(b"EVALSHA"))
    )
}
